"""nerfstudio's `transforms.json`: the form in which captures lie on disk.

Format: https://docs.nerf.studio/quickstart/data_conventions.html (OpenGL camera axes, pixel centres at +0.5).
Extra keys of ours, which other readers skip: `turnabout_world`, `to_source`, `depth_unit`, and in frames `name`,
`time`, `source`, `weight_path`, `normal_path`. A file with `"turnabout_world": "y_up"` is in our world frame as it
stands; any other is taken to have Z up, and is rotated to ours on reading. `to_source` leads back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.capture.camera import Camera, intrinsics_from_fov
from recon.capture.conversions import (
    Z_UP_TO_Y_UP,
    opencv_from_opengl,
    opengl_from_opencv,
    without_distortion,
)
from recon.capture.errors import CaptureError
from recon.capture.files import (
    inside,
    list_of_frames,
    matrix,
    number,
    pixels,
    read_json,
    times_of,
    unique_names,
    whole_folder,
    write_json,
)
from recon.capture.images import picture_size, read_array, read_grey, read_rgb8, read_rgba, save_png, write_rgba
from recon.capture.lenses import resized_to_stored, undistorted_rgba, undistorted_weight
from recon.capture.types import Capture, Frame, Similarity, Source

FILE_NAME = "transforms.json"
_INTRINSICS = ("fl_x", "fl_y", "cx", "cy")
_OPENCV_DISTORTION = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE = "OPENCV_FISHEYE"
_FISHEYE_DISTORTION = ("k1", "k2", "k3", "k4")
_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE", _FISHEYE)
LAYOUT = "nerfstudio's transforms.json"
_NERFSTUDIO_DEPTH_UNIT = 1e-3


def is_ours(meta: Mapping[str, Any]) -> bool:
    """Whether a listing is in our world; nerfstudio's own have Z up."""
    return meta.get("turnabout_world") == "y_up"


def read_transforms(path: Path) -> Capture:
    """Read a folder with a `transforms.json`, or such a file.

    Pictures, depth and weights are loaded when asked for; their headers are checked now. Distorted pictures are
    undistorted as they are loaded, and their cameras are pinholes; pixels that undistortion could not fill get
    weight 0. A `mask_path` says which pixels to trust (nerfstudio's meaning), so it becomes the weight; a subject's
    silhouette belongs in the picture's alpha. A depth picture without a stated `depth_unit` is in millimetres.

    Raises:
        CaptureError: if the file, a camera or a picture is unusable, or a path leaves the folder.
    """
    path = Path(path)
    listing = path / FILE_NAME if path.is_dir() else path
    meta = read_json(listing, LAYOUT)
    entries = list_of_frames(listing, meta)
    ours = is_ours(meta)
    files = [inside(listing, entry.get("file_path"), pictures=True) for entry in entries]
    names = unique_names([str(entry.get("name") or file.stem) for entry, file in zip(entries, files, strict=True)])
    frames = []
    for entry, file, name, time in zip(entries, files, names, times_of(listing, entries), strict=True):
        camera = read_camera(listing, meta, entry, picture_size(file))
        frames.append(replace(_read_frame(listing, meta, entry, file, name, camera, ours=ours), time=time))
    if ours:
        return Capture(tuple(frames), _read_similarity(listing, meta.get("to_source")))
    return Capture(tuple(frames), _applied(listing, meta).inverse()).moved(Z_UP_TO_Y_UP)


def read_camera(listing: Path, meta: dict[str, Any], entry: dict[str, Any], size: tuple[int, int] | None) -> Camera:
    """The camera of one entry of a `transforms.json`, in the file's world but with our camera axes.

    Args:
        listing: the file, for messages.
        meta, entry: the top level and the frame; the frame's intrinsics win.
        size: the picture's (width, height), to which intrinsics stated for another size are scaled.

    Raises:
        CaptureError: if something is missing, not finite or contradictory.
    """

    def value(key: str) -> float | None:
        raw = entry.get(key, meta.get(key))
        return None if raw is None else number(listing, raw, key)

    model = entry.get("camera_model", meta.get("camera_model", "OPENCV"))
    if model not in _MODELS:
        raise CaptureError(
            listing,
            found=f"camera model {model!r}",
            expected="one of " + ", ".join(_MODELS),
            remedy="Undistort the pictures to a pinhole camera first.",
        )
    width, height = entry.get("w", meta.get("w")), entry.get("h", meta.get("h"))
    if width is None or height is None:
        if size is None:
            raise CaptureError(listing, found="no w and h", expected="the size in pixels", remedy="Add both.")
        width, height = size
    width, height = pixels(listing, width, "w"), pixels(listing, height, "h")
    c2w = opencv_from_opengl(matrix(listing, entry.get("transform_matrix"), "transform_matrix"))
    fisheye = model == _FISHEYE
    distortion = [value(key) or 0.0 for key in (_FISHEYE_DISTORTION if fisheye else _OPENCV_DISTORTION)]
    while len(distortion) > 4 and not distortion[-1]:
        distortion.pop()
    count = next(n for n in (4, 5, 8) if n >= len(distortion))
    distortion += [0.0] * (count - len(distortion))
    try:
        intrinsics = _read_intrinsics(listing, value, width, height)
        camera = Camera(c2w.float(), intrinsics, width, height, torch.tensor(distortion), fisheye)
    except CaptureError:
        raise
    except ValueError as cause:
        name = str(entry.get("file_path", "?"))[:80]
        raise CaptureError(
            listing, found=f"{cause} (frame {name})", expected="a usable camera", remedy="Correct or drop that frame."
        ) from cause
    return camera if size is None else resized_to_stored(listing, camera, size)


def write_transforms(capture: Capture, folder: Path) -> None:
    """Write a capture as a new folder: `transforms.json`, `images/` (8-bit RGBA) and what else the frames have.

    Cameras come back exactly; pictures to 1/510, depth to half of `depth_unit` (a power of ten, stated), normals to
    half a degree, weights to 1/131070. The folder appears whole or not at all.

    Raises:
        CaptureError: if `folder` exists and is not empty, or a frame's name is no file name.
    """
    folder = Path(folder)
    names = [frame.name for frame in capture]
    for name, clean in zip(names, unique_names(names), strict=True):
        if name != clean:
            raise CaptureError(
                folder,
                found=f"a frame named {name!r}",
                expected="names of letters, digits, dot, dash and underscore, unique even where case is ignored",
                remedy="Rename the frame.",
            )
    meta: dict[str, Any] = {"camera_model": "OPENCV", "turnabout_world": "y_up"}
    meta["to_source"] = {
        "rotation": capture.to_source.rotation.tolist(),
        "translation": capture.to_source.translation.tolist(),
        "scale": float(capture.to_source.scale),
    }
    intrinsics = [_intrinsics_entry(frame.camera) for frame in capture]
    shared = all(entry == intrinsics[0] for entry in intrinsics)
    if shared:
        meta.update(intrinsics[0])
    with whole_folder(folder) as temporary:
        meta["frames"] = [
            _write_frame(frame, temporary) | ({} if shared else entry)
            for frame, entry in zip(capture, intrinsics, strict=True)
        ]
        write_json(temporary / FILE_NAME, meta)


def _read_intrinsics(listing: Path, value: Callable[[str], float | None], width: int, height: int) -> Tensor:
    fl_x, fl_y, cx, cy = (value(key) for key in _INTRINSICS)
    angle_x, angle_y = value("camera_angle_x"), value("camera_angle_y")
    if fl_x is None and angle_x is not None:
        fl_x = width * float(intrinsics_from_fov(angle_x, 1, 1)[0, 0])
    if fl_y is None and angle_y is not None:
        fl_y = height * float(intrinsics_from_fov(angle_y, 1, 1)[0, 0])
    focal = fl_x if fl_x is not None else fl_y
    if focal is None:
        raise CaptureError(
            listing, found="neither fl_x nor camera_angle_x", expected="a focal length", remedy="Add fl_x in pixels."
        )
    return torch.tensor(
        [
            [focal if fl_x is None else fl_x, 0.0, width / 2 if cx is None else cx],
            [0.0, focal if fl_y is None else fl_y, height / 2 if cy is None else cy],
            [0.0, 0.0, 1.0],
        ]
    )


def _read_frame(
    listing: Path, meta: dict[str, Any], entry: dict[str, Any], file: Path, name: str, camera: Camera, *, ours: bool
) -> Frame:
    source = entry.get("source", Source.OBSERVED)
    if source not in list(Source):
        raise CaptureError(
            listing, found=f"source {source!r}"[:80], expected="one of " + ", ".join(Source), remedy="Correct it."
        )

    def optional(key: str) -> Path | None:
        return None if entry.get(key) is None else inside(listing, entry[key])

    weight, mask, depth, normal = (optional(k) for k in ("weight_path", "mask_path", "depth_file_path", "normal_path"))
    unit = number(listing, entry.get("depth_unit", meta.get("depth_unit", _NERFSTUDIO_DEPTH_UNIT)), "depth_unit")
    distorted = camera.distortion is not None
    if distorted and (depth or (ours and normal)):
        raise CaptureError(
            listing,
            found=f"depth or normals on the distorted frame {name!r}",
            expected="them on undistorted frames only",
            remedy="Undistort the capture first.",
        )
    trust = weight or mask
    return Frame(
        camera=without_distortion(camera),
        load_rgba=partial(_load_rgba, file, camera),
        source=Source(source),
        name=name,
        load_depth=None if depth is None else partial(_load_depth, depth, unit, camera),
        load_normal=partial(_load_normal, normal, camera) if ours and normal is not None else None,
        load_weight=partial(_load_weight, trust, camera) if trust is not None or distorted else None,
    )


def _load_rgba(file: Path, camera: Camera) -> Tensor:
    return undistorted_rgba(read_rgba(file), camera)


def _load_depth(file: Path, unit: float, camera: Camera) -> Tensor:
    depth = read_array(file) if file.suffix == ".npy" else read_grey(file)[0] * unit
    return _of_size(file, depth, camera).clamp_min(0)


def _load_normal(file: Path, camera: Camera) -> Tensor:
    normal = _of_size(file, read_rgb8(file).float() / 127.5 - 1, camera)
    length = normal.norm(dim=-1, keepdim=True)
    return torch.where(length > 0.5, normal / length.clamp_min(1e-6), 0.0)


def _load_weight(file: Path | None, camera: Camera) -> Tensor:
    if file is None:
        return undistorted_weight(None, camera)
    values, white = read_grey(file)
    return undistorted_weight(_of_size(file, values / white, camera), camera)


def _of_size(file: Path, values: Tensor, camera: Camera) -> Tensor:
    if values.shape[:2] != (camera.height, camera.width):
        raise CaptureError(
            file,
            found=f"{values.shape[1]}x{values.shape[0]} pixels",
            expected=f"{camera.width}x{camera.height} as its picture has",
            remedy="Resample it to the picture's size (depth and masks by nearest neighbour).",
        )
    return values


def _read_similarity(listing: Path, entry: Any) -> Similarity:
    if entry is None:
        return Similarity()
    if not isinstance(entry, dict):
        raise CaptureError(listing, found="a senseless to_source", expected="an object", remedy="Remove it.")
    rotation = matrix(listing, entry.get("rotation"), "to_source.rotation", ((3, 3),))
    translation = matrix(listing, [entry.get("translation")], "to_source.translation", ((1, 3),))
    scale = _positive(listing, entry.get("scale", 1.0), "to_source.scale")
    if not _is_rotation(rotation):
        raise CaptureError(
            listing,
            found="a to_source.rotation with scale, shear or mirror",
            expected="a rotation",
            remedy="Put the scale into to_source.scale, or remove to_source.",
        )
    return Similarity(rotation.float(), translation[0].float(), scale)


def _applied(listing: Path, meta: dict[str, Any]) -> Similarity:
    """What nerfstudio did to the original world before it wrote the file."""
    scale = _positive(listing, meta.get("applied_scale", 1.0), "applied_scale")
    if meta.get("applied_transform") is None:
        return Similarity(scale=scale)
    applied = matrix(listing, meta["applied_transform"], "applied_transform")
    rotation = applied[:3, :3]
    if not _is_rotation(rotation):
        return Similarity(scale=scale)
    return Similarity(rotation.float(), scale * applied[:3, 3].float(), scale)


def _positive(listing: Path, value: Any, what: str) -> float:
    scale = number(listing, value, what)
    if scale < 1e-9:
        found = f"{what} = {scale:g}"
        raise CaptureError(listing, found=found, expected="a positive scale", remedy="Correct or remove that entry.")
    return scale


def _is_rotation(matrix3: Tensor) -> bool:
    off = (matrix3 @ matrix3.T - torch.eye(3, dtype=matrix3.dtype)).abs().max()
    return bool(off <= 1e-3 and torch.det(matrix3) > 0)


def _intrinsics_entry(camera: Camera) -> dict[str, Any]:
    k = camera.intrinsics.tolist()
    if k[0][1] != 0 or k[1][0] != 0:
        raise CaptureError(FILE_NAME, found="a camera with skew", expected="none", remedy="Resample its picture first.")
    entry: dict[str, Any] = {"fl_x": k[0][0], "fl_y": k[1][1], "cx": k[0][2], "cy": k[1][2]}
    entry |= {"w": camera.width, "h": camera.height}
    if camera.distortion is not None:
        names = _FISHEYE_DISTORTION if camera.fisheye else _OPENCV_DISTORTION
        entry |= dict(zip(names, camera.distortion.tolist(), strict=False))
    if camera.fisheye:
        entry["camera_model"] = _FISHEYE
    return entry


def _write_frame(frame: Frame, folder: Path) -> dict[str, Any]:
    def place(kind: str) -> Path:
        (folder / kind).mkdir(exist_ok=True)
        return folder / kind / f"{frame.name}.png"

    write_rgba(place("images"), frame.rgba())
    entry: dict[str, Any] = {"file_path": f"images/{frame.name}.png", "name": frame.name}
    entry["transform_matrix"] = opengl_from_opencv(frame.camera.c2w).tolist()
    entry |= {"time": float(frame.time), "source": str(frame.source)}
    depth, normal = frame.depth(), frame.normal()
    if depth is not None:
        unit = _depth_unit(float(depth.max()))
        steps = (depth.double().clamp_min(0) / unit).round()
        save_png(place("depth"), torch.where((depth > 0) & (steps == 0), 1.0, steps).cpu().numpy().astype(np.uint16))
        entry |= {"depth_file_path": f"depth/{frame.name}.png", "depth_unit": unit}
    if normal is not None:
        save_png(place("normal"), ((normal.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy())
        entry["normal_path"] = f"normal/{frame.name}.png"
    if frame.load_weight is not None:
        weight = (frame.weight().double().clamp(0, 1) * 65535).round()
        save_png(place("weight"), weight.cpu().numpy().astype(np.uint16))
        entry["weight_path"] = f"weight/{frame.name}.png"
    return entry


def _depth_unit(largest: float) -> float:
    """The smallest power of ten that fits `largest` into 16 bits."""
    return 10.0 ** math.ceil(math.log10(max(largest, 1e-6) / 65535.0))
