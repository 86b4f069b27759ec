"""NeRF-synthetic ("Blender") captures: `transforms_train.json` with one field of view, OpenGL axes and Z up.

Format: Mildenhall et al., NeRF (2020), https://github.com/bmild/nerf. Pictures carry straight alpha.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from recon.capture.camera import Camera, intrinsics_from_fov
from recon.capture.conversions import Z_UP_TO_Y_UP, opencv_from_opengl, opengl_from_opencv
from recon.capture.errors import CaptureError
from recon.capture.files import (
    inside,
    list_of_frames,
    matrix,
    number,
    read_json,
    times_of,
    unique_names,
    whole_folder,
    write_json,
)
from recon.capture.images import picture_size, read_rgba, write_rgba
from recon.capture.types import Capture, Frame

FILE_NAME = "transforms_train.json"
_LAYOUT = "NeRF-synthetic's transforms_*.json"


def read_nerf_synthetic(path: Path) -> Capture:
    """Read a listing such as `transforms_train.json`, or the folder that holds one of that name.

    The world is turned from Z up to ours; `to_source` leads back. Names without an ending are looked for as PNG,
    WebP and JPEG.

    Raises:
        CaptureError: if the listing, a camera or a picture is unusable, or a path leaves the folder.
    """
    path = Path(path)
    listing = path / FILE_NAME if path.is_dir() else path
    meta = read_json(listing, _LAYOUT)
    entries = list_of_frames(listing, meta)
    angle = number(listing, meta.get("camera_angle_x"), "camera_angle_x")
    files = [inside(listing, entry.get("file_path"), pictures=True) for entry in entries]
    names = unique_names([file.stem for file in files])
    frames = []
    for entry, file, name, time in zip(entries, files, names, times_of(listing, entries), strict=True):
        width, height = picture_size(file)
        c2w = opencv_from_opengl(matrix(listing, entry.get("transform_matrix"), "transform_matrix")).float()
        try:
            intrinsics = intrinsics_from_fov(angle, width, width)
            intrinsics[1, 2] = height / 2
            camera = Camera(c2w, intrinsics, width, height)
        except ValueError as cause:
            raise CaptureError(
                listing, found=f"{cause} ({name})", expected="a usable camera", remedy="Correct or drop that frame."
            ) from cause
        frames.append(Frame(camera=camera, load_rgba=partial(read_rgba, file), time=time, name=name))
    return Capture(tuple(frames)).moved(Z_UP_TO_Y_UP)


def write_nerf_synthetic(capture: Capture, folder: Path) -> None:
    """Write a new folder with `transforms_train.json` and `train/NAME.png`, in a world with Z up.

    Depth, normals, weights, sources and `to_source` have no place in this format and are left out.

    Raises:
        CaptureError: if the cameras do not share one centred, square-pixelled pinhole, or `folder` is not empty.
    """
    folder = Path(folder)
    first = capture[0].camera
    for frame in capture:
        camera = frame.camera
        centred = torch.tensor([camera.width / 2, camera.height / 2])
        same = (camera.width, camera.height) == (first.width, first.height)
        same = same and torch.allclose(camera.intrinsics, first.intrinsics, rtol=1e-5)
        square = abs(float(camera.intrinsics[0, 0] / camera.intrinsics[1, 1]) - 1) < 1e-5
        if not (same and square and torch.allclose(camera.intrinsics[:2, 2], centred, atol=1e-3)) or (
            camera.distortion is not None
        ):
            raise CaptureError(
                folder,
                found=f"frame {frame.name!r} with a camera of its own",
                expected="one pinhole for all frames, square pixels, the principal point in the middle",
                remedy="Write a nerfstudio transforms.json instead.",
            )
    source = capture.moved(Z_UP_TO_Y_UP.inverse())
    meta: dict[str, Any] = {"camera_angle_x": first.fov_x, "frames": []}
    with whole_folder(folder) as temporary:
        (temporary / "train").mkdir()
        for frame in source:
            write_rgba(temporary / "train" / f"{frame.name}.png", frame.rgba())
            entry = {"file_path": f"./train/{frame.name}", "time": float(frame.time)}
            meta["frames"].append(entry | {"transform_matrix": opengl_from_opencv(frame.camera.c2w).tolist()})
        write_json(temporary / FILE_NAME, meta)
