"""Gaussians as viser's client takes them, and clips of them as our pages carry them."""

from __future__ import annotations

import gzip
from base64 import b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines._shown_moving import MovingSplats
    from recon.splat.gaussians import Gaussians

_MOST_BYTES, _LEAST_MOMENTS = 3_500_000, 6
"""Of a clip in a page, before it is compressed, and the moments that are worth leaving out Gaussians for."""
_EACH = 22
"""Bytes of a Gaussian at a moment: place 3 x 2, covariance 6 x 2, colour and opacity 4."""


def splat_arrays(gaussians: Gaussians) -> dict[str, NDArray[np.float32]]:
    """As `add_gaussian_splats` wants them: their colours are the mean over all directions."""
    import torch

    from recon.splat.rotations import rotations_from_quats

    spread = rotations_from_quats(gaussians.quats) * gaussians.log_scales.exp()[:, None, :]
    return {
        "centers": gaussians.means.numpy(),
        "covariances": (spread @ spread.transpose(1, 2)).numpy(),
        "rgbs": gaussians.base_colors.numpy(),
        "opacities": torch.sigmoid(gaussians.logit_opacities)[:, None].numpy(),
    }


def splat_buffer(gaussians: Gaussians) -> NDArray[np.uint32]:
    """(N, 8) as viser keeps them: centre 3 x float32, nothing, the covariance's upper triangle 6 x float16, RGBA."""
    import numpy as np

    arrays = splat_arrays(gaussians)
    packed = np.zeros((len(gaussians), 8), np.uint32)
    packed[:, :3] = np.ascontiguousarray(arrays["centers"]).view(np.uint32)
    triangle = arrays["covariances"].reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
    packed[:, 4:7] = np.ascontiguousarray(triangle, np.float16).view(np.uint32)
    rgba = np.concatenate((arrays["rgbs"], arrays["opacities"]), axis=1)
    packed[:, 7:] = np.ascontiguousarray((rgba.clip(0, 1) * 255).round().astype(np.uint8)).view(np.uint32)
    return packed


def clip_json(splats: MovingSplats) -> dict[str, Any]:
    """A clip for a page: as many of its moments, evenly, as fit; of very many Gaussians those that show most.

    Returns:
        `times` in seconds, `count` of Gaussians at each, `reach` (places are from -reach to reach), `blends` (whether a
        Gaussian is the same at all moments), and `data`, base64 of gzip: for each moment all places (uint16), all
        covariances (float16), all colours (uint8), from the second on as differences, which compress better.
    """
    import numpy as np

    stated = splats.times
    scenes = [splat_buffer(splats.at(stated[0]))]
    most = max(len(scenes[0]), 1)
    room = max(_LEAST_MOMENTS, _MOST_BYTES // (_EACH * most))
    chosen = np.unique(np.linspace(0, len(stated) - 1, min(room, len(stated))).round().astype(int)).tolist()
    times = [stated[place] for place in chosen]
    scenes = [splat_buffer(splats.at(time)) for time in times]
    blends = all(len(scene) == len(scenes[0]) for scene in scenes)
    count = min(max(map(len, scenes)), _MOST_BYTES // (_EACH * len(scenes)))
    scenes = [_fitted(scene, count) for scene in (_same(scenes, count) if blends else scenes)]
    reach = max(float(np.abs(scene[:, :3].view(np.float32)).max(initial=1e-6)) for scene in scenes)
    moments = [_moment(scene, reach) for scene in scenes]
    changes = [tuple(now - then for now, then in zip(*pair)) for pair in zip(moments[1:], moments)]
    data = b"".join(part.tobytes() for parts in (moments[0], *changes) for part in parts)
    return {
        "times": [round(time, 5) for time in times],
        "count": count,
        "reach": reach,
        "blends": blends,
        "data": b64encode(gzip.compress(data, mtime=0)).decode("ascii"),
    }


def _same(scenes: list[NDArray[np.uint32]], count: int) -> list[NDArray[np.uint32]]:
    """The same Gaussians of all moments, those that show most at the first."""
    kept = _most_seen(scenes[0], count)
    return [scene[kept] for scene in scenes]


def _fitted(scene: NDArray[np.uint32], count: int) -> NDArray[np.uint32]:
    """So many: those that show most, or with others that do not show."""
    import numpy as np

    if len(scene) > count:
        return scene[_most_seen(scene, count)]
    return np.concatenate((scene, np.zeros((count - len(scene), 8), np.uint32)))


def _most_seen(scene: NDArray[np.uint32], count: int) -> NDArray[np.int64]:
    """Places, rising, of the Gaussians with the largest product of opacity and area."""
    import numpy as np

    triangle = np.ascontiguousarray(scene[:, 4:7]).view(np.float16).astype(np.float32)
    size = triangle[:, 0] + triangle[:, 3] + triangle[:, 5]
    weight = (scene[:, 7] >> 24) * size
    return np.sort(np.argsort(-weight, kind="stable")[:count])


def _moment(scene: NDArray[np.uint32], reach: float) -> tuple[NDArray[Any], ...]:
    """Places, covariances (their bits) and colours, of types whose differences wrap around."""
    import numpy as np

    places = np.ascontiguousarray(scene[:, :3]).view(np.float32)
    steps = ((places / reach + 1) / 2 * 65535).round().clip(0, 65535).astype("<u2")
    spread = np.ascontiguousarray(scene[:, 4:7]).view(np.uint16).astype("<u2")
    return steps, spread, np.ascontiguousarray(scene[:, 7:]).view(np.uint8)
