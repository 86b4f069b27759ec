"""nerfstudio's cameras and batches as ours, and our `Capture` of what a data manager holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanager
from torch import Tensor

from recon.capture import Camera, Capture, Frame
from recon.capture.conversions import opencv_from_opengl
from recon.splat.resizing import resized


@dataclass(frozen=True)
class Compared:
    """A picture as a loss wants it, on the model's device.

    Attributes:
        color: (H, W, 3) premultiplied by alpha.
        alpha: (H, W); 1 where the picture has none.
        weight: (H, W) which pixels count.
    """

    color: Tensor
    alpha: Tensor
    weight: Tensor

    def over(self, background: Tensor) -> Tensor:
        """(H, W, 3) over a colour (3,) or a picture (H, W, 3)."""
        return self.color + (1 - self.alpha[..., None]) * background.to(self.color)


def camera_of(cameras: Cameras) -> Camera:
    """The only one of `cameras` as a pinhole, in nerfstudio's world."""
    one = cameras.flatten()
    c2w = torch.eye(4)
    c2w[:3] = one.camera_to_worlds[0].detach().cpu()
    intrinsics = one.get_intrinsics_matrices()[0].detach().cpu().float()
    return Camera(opencv_from_opengl(c2w), intrinsics, int(one.width[0]), int(one.height[0]))


def compared(batch: dict[str, Any], size: tuple[int, ...], device: torch.device | str) -> Compared:
    """An image of a batch, uint8 or in [0, 1], (H, W, 3) or with alpha, at (height, width) `size`."""
    picture = premultiplied(batch["image"]).to(device)
    height, width = size
    # Plane by plane, as the kernels of the loss want it.
    picture = resized(picture, (height, width), "area").permute(2, 0, 1).contiguous().permute(1, 2, 0)
    weight = picture.new_ones(height, width)
    if "mask" in batch:
        weight = resized(batch["mask"].to(picture), (height, width), "area")[..., 0].contiguous()
    return Compared(picture[..., :3], picture[..., 3], weight)


def premultiplied(image: Tensor) -> Tensor:
    """(H, W, 4) float32 of an image (H, W, 3 or 4), uint8 or in [0, 1], straight alpha."""
    rgba = straight(image)
    return torch.cat((rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]), dim=-1)


def straight(image: Tensor) -> Tensor:
    """(H, W, 4) float32 of an image (H, W, 3 or 4), uint8 or in [0, 1]."""
    values = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    return values if values.shape[-1] == 4 else torch.cat((values, torch.ones_like(values[..., :1])), dim=-1)


def training_capture(manager: FullImageDatamanager) -> Capture:
    """The frames that are trained on, undistorted, in nerfstudio's world.

    Raises:
        ValueError: if they are of several moments: the fit is of a scene that stands still.
    """
    cameras = manager.train_dataset.cameras
    if cameras.times is not None and len(torch.unique(cameras.times)) > 1:
        raise ValueError(
            "the capture's frames are of several moments, and the method turnabout fits what stands still; "
            "`turnabout video2scene4d` fits what moves"
        )
    frames = []
    for index, data in enumerate(manager.cached_train):
        frames.append(_frame(camera_of(cameras[index : index + 1]), data, index))
    return Capture(tuple(frames))


def _frame(camera: Camera, data: dict[str, Any], index: int) -> Frame:
    def rgba() -> Tensor:
        return straight(data["image"].cpu())

    def weight() -> Tensor:
        return data["mask"].cpu().float()[..., 0]

    return Frame(camera, rgba, name=f"frame_{index:05d}", load_weight=weight if "mask" in data else None)
