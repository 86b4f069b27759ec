"""What a view generator must beat: copy the input, the mean of all training objects, the nearest training object.

None of them looks at the hidden side; each shows how far a figure gets without any understanding of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared


@dataclass(frozen=True)
class TrainingViews:
    """What is remembered of the training objects, all drawn through the same cameras and in the same light.

    Attributes:
        ids: the objects, N of them.
        input_views: (N, S, S, 4) uint8 straight alpha, each object from the input's camera.
        mean_views: (V, S, S, 4) float32 straight alpha, the mean over the objects at each target camera.
    """

    ids: tuple[str, ...]
    input_views: Tensor
    mean_views: Tensor

    def nearest(self, rgba: Tensor) -> str:
        """The training object whose input view differs least from `rgba` (S, S, 4), by squared error of the
        premultiplied colours and alpha.

        Raises:
            ValueError: if the picture has another size than the remembered views.
        """
        if rgba.shape != self.input_views.shape[1:]:
            raise ValueError(f"expected a picture of {tuple(self.input_views.shape[1:])}, found {tuple(rgba.shape)}")
        wanted = premultiplied(rgba)
        errors = [
            (premultiplied(batch.float() / 255) - wanted).square().sum((1, 2, 3))
            for batch in self.input_views.split(256)
        ]
        return self.ids[int(torch.cat(errors).argmin())]


def remember_training_views(
    ids: Sequence[str],
    load: Callable[[str], Mesh],
    input_camera: Camera,
    target_cameras: Sequence[Camera],
    *,
    lights: Lights | None,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> TrainingViews:
    """Draw every training object once from the input's camera and once from each target, keeping only the mean
    of the latter.

    Args:
        ids: training objects only: the caller keeps test objects out.
        load: returns an object's mesh in the house's frame.
        track: wraps the ids in a progress display.

    Raises:
        ValueError: if there is no object.
    """
    if not ids:
        raise ValueError("no training objects to remember")
    size = (input_camera.height, input_camera.width, 4)
    inputs = torch.empty((len(ids), *size), dtype=torch.uint8)
    total = np.zeros((len(target_cameras), *size), dtype=np.float64)
    for index, name in enumerate(track(ids)):
        prepared = prepare_mesh(load(name))
        first = render_prepared(prepared, input_camera, lights=lights).rgba
        inputs[index] = (first * 255).round().to(torch.uint8)
        for view, camera in enumerate(target_cameras):
            total[view] += premultiplied(render_prepared(prepared, camera, lights=lights).rgba).numpy()
    return TrainingViews(tuple(ids), inputs, straight(torch.from_numpy(total / len(ids)).float()))


def copy_input(rgba: Tensor, count: int) -> Tensor:
    """(count, H, W, 4): the input (H, W, 4) in every view."""
    return rgba.expand(count, *rgba.shape).clone()


def premultiplied(rgba: Tensor) -> Tensor:
    """(..., 4) colour multiplied by alpha."""
    return torch.cat((rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]), dim=-1)


def straight(rgba: Tensor) -> Tensor:
    """(..., 4) colour divided by alpha; black where alpha is 0."""
    alpha = rgba[..., 3:]
    color = torch.where(alpha > 0, rgba[..., :3] / alpha.clamp_min(1e-6), torch.zeros_like(rgba[..., :3]))
    return torch.cat((color.clamp(0, 1), alpha), dim=-1)
