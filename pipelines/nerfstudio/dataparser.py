"""`turnabout-data`: captures in their own world, for every method of nerfstudio.

nerfstudio's own parser reads them too, but turns, centres and scales the world. Here it is only set upright as
nerfstudio has it, with Z up, so what is exported fits the capture: `turnabout make_asset --up +z` undoes the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from recon.capture.conversions import Z_UP_TO_Y_UP, opengl_from_opencv
from recon.capture.stored import StoredFrame, read_stored
from recon.splat.points import read_capture_points

_UPRIGHT = Z_UP_TO_Y_UP.inverse()


@dataclass
class CaptureParserConfig(DataParserConfig):
    """A folder with a transforms.json, as turnabout and ns-process-data write them."""

    _target: type = field(default_factory=lambda: CaptureParser)
    data: Path = Path()
    """The folder, or the file."""
    eval_interval: int = 8
    """Every so-manieth frame, beginning with the first, is held out; 0: none, and all are evaluated."""


class CaptureParser(DataParser):
    """Opens a capture, in our world with Z up; frames in the order of their files' names, as nerfstudio sorts them."""

    config: CaptureParserConfig

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Any) -> DataparserOutputs:
        frames = sorted(read_stored(self.config.data), key=lambda frame: frame.picture)
        interval = self.config.eval_interval
        held_out = [interval == 0 or index % interval == 0 for index in range(len(frames))]
        wanted = [not held or interval == 0 for held in held_out] if split == "train" else held_out
        chosen = [frame for frame, take in zip(frames, wanted) if take]
        if not chosen:
            raise ValueError(
                f"{self.config.data}: one frame alone cannot be split; end the command with turnabout-data "
                "--eval-interval 0"
            )
        masks = [frame.trusted for frame in chosen if frame.trusted is not None]
        if len(masks) not in (0, len(chosen)):
            raise ValueError(f"{self.config.data}: some frames have weights or masks, some have not; give all or none")
        to_original = torch.cat((_UPRIGHT.rotation, _UPRIGHT.translation[:, None]), 1)
        return DataparserOutputs(
            image_filenames=[frame.picture for frame in chosen],
            cameras=_cameras(chosen),
            scene_box=SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])),
            mask_filenames=masks or None,
            metadata=_points(self.config.data),
            dataparser_transform=to_original,
            dataparser_scale=1.0,
        )


def _cameras(frames: Sequence[StoredFrame]) -> Cameras:
    cameras = [frame.camera.moved(_UPRIGHT.rotation, _UPRIGHT.translation) for frame in frames]
    intrinsics = torch.stack([camera.intrinsics for camera in cameras])
    kinds = [CameraType.FISHEYE if camera.fisheye else CameraType.PERSPECTIVE for camera in cameras]
    return Cameras(
        camera_to_worlds=torch.stack([opengl_from_opencv(camera.c2w)[:3] for camera in cameras]),
        fx=intrinsics[:, 0, 0],
        fy=intrinsics[:, 1, 1],
        cx=intrinsics[:, 0, 2],
        cy=intrinsics[:, 1, 2],
        width=torch.tensor([camera.width for camera in cameras]),
        height=torch.tensor([camera.height for camera in cameras]),
        distortion_params=torch.stack([_distortion(frame) for frame in frames]),
        camera_type=torch.tensor([kind.value for kind in kinds])[:, None],
        times=torch.tensor([frame.time for frame in frames])[:, None],
    )


def _distortion(frame: StoredFrame) -> torch.Tensor:
    """(6,) k1, k2, k3, k4, p1, p2, as nerfstudio orders them; k4 is a fisheye's.

    Raises:
        ValueError: for a lens with k4 to k6, which nerfstudio has not.
    """
    if frame.camera.distortion is None:
        return torch.zeros(6)
    given = frame.camera.distortion.tolist()
    if frame.camera.fisheye:
        return torch.tensor([*given, 0.0, 0.0])
    k1, k2, p1, p2, *rest = given
    if any(rest[1:]):
        raise ValueError(f"{frame.picture}: its lens has the coefficients k4 to k6, which nerfstudio does not know")
    return torch.tensor([k1, k2, rest[0] if rest else 0.0, 0.0, p1, p2])


def _points(data: Path) -> dict[str, Any]:
    """What nerfstudio's splatting methods, and ours, begin with."""
    points = read_capture_points(data)
    if points is None:
        return {}
    places, colors = points
    return {"points3D_xyz": _UPRIGHT.apply(places), "points3D_rgb": (colors * 255).round().to(torch.uint8)}


captures = DataParserSpecification(CaptureParserConfig(), "Captures of turnabout or ns-process-data, in their world")
