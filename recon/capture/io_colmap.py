"""COLMAP's models, text and binary, with the pictures they were solved from: read as captures, and written.

COLMAP's camera axes, pixel centres and quaternions (wxyz) are ours. It does not say which way is up, so the world is
left as it is and `to_source` is the identity.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from recon.capture import colmap_model
from recon.capture.camera import Camera
from recon.capture.colmap_model import ModelCamera, ModelImage, find_file
from recon.capture.conversions import quat_from_rotation, rotation_from_quat, without_distortion
from recon.capture.errors import CaptureError, CaptureWarning
from recon.capture.files import unique_names, whole_folder, within
from recon.capture.images import decode_picture, picture_size, read_grey, write_rgba
from recon.capture.lenses import resized_to_stored, undistorted_rgba, undistorted_weight
from recon.capture.types import Capture, Frame

_MODEL_FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0")
_FILES = ("cameras.bin", "cameras.txt", "images.bin", "images.txt")
_NAMED = 3
"""Missing pictures that a message names."""


def find_colmap(path: Path) -> Path | None:
    """The folder of the model that `path` is, belongs to, or holds in COLMAP's usual places; None if there is none."""
    path = Path(path)
    if path.name in _FILES and path.is_file():
        path = path.parent
    for folder in _MODEL_FOLDERS:
        if find_file(path / folder, "cameras") and find_file(path / folder, "images"):
            return path / folder
    return None


def read_colmap(path: Path, pictures: Path | None = None) -> Capture:
    """Read a model folder (`cameras` and `images`, as .bin or .txt), or a project folder with `sparse/0`, `sparse` or
    `colmap/sparse/0`.

    Frames come in the order of their pictures' names. Distorted pictures are undistorted as they are loaded, and
    their cameras are pinholes; pixels that undistortion could not fill get weight 0. Pictures stored at another size
    than their camera states are taken to be scaled. `masks/` beside the picture folder, with COLMAP's names
    (`a.jpg.png`) or the pictures' own (`a.png`), becomes the alpha of pictures without any: black is outside.
    Pictures of the model that are not there are left out with a warning, as a user may have removed bad ones.

    Args:
        pictures: the folder that the model's names are relative to; None looks for `images` in and above the model's
            folder, then for the names themselves.

    Raises:
        CaptureError: if the model is damaged, a camera is neither a pinhole nor of OpenCV's lenses, its fisheye
            included, a name leaves the picture folder, a size contradicts its camera, or none of the pictures is there.
    """
    model = _model(path)
    cameras_file, listing = find_file(model, "cameras"), find_file(model, "images")
    assert cameras_file is not None
    assert listing is not None
    lenses = colmap_model.read_cameras(cameras_file)
    images = sorted(colmap_model.read_images(listing), key=lambda image: image.name)
    if not images:
        raise CaptureError(listing, found="no picture", expected="registered pictures", remedy="Solve the cameras.")
    folder = _picture_folder(Path(path), model, listing, images) if pictures is None else Path(pictures)
    files = [within(listing, image.name, folder) for image in images]
    missing = [image.name for image, file in zip(images, files, strict=True) if not os.path.isfile(file)]
    if len(missing) == len(images):
        raise _without_pictures(listing, missing, [folder])
    if missing:
        warnings.warn(
            f"{listing}: {len(missing)} of {len(images)} pictures are not in {folder} and left out: {_some(missing)}",
            CaptureWarning,
            stacklevel=2,
        )
    names = unique_names([os.path.splitext(image.name)[0] for image in images])
    frames = []
    for image, file, name in zip(images, files, names, strict=True):
        if os.path.isfile(file):
            lens = lenses.get(image.camera)
            if lens is None:
                raise CaptureError(
                    listing,
                    found=f"a picture of camera {image.camera}",
                    expected=f"cameras that {cameras_file.name} states",
                    remedy="Export the model again.",
                )
            camera = resized_to_stored(listing, _camera(listing, lens, image), picture_size(file))
            frames.append(_frame(camera, file, _mask(folder, image.name), name))
    return Capture(tuple(frames))


def has_points(path: Path) -> bool:
    """Whether the model comes with its sparse points."""
    model = find_colmap(path)
    return model is not None and find_file(model, "points3D") is not None


def picture_folder(path: Path) -> Path:
    """Where the pictures of the model at `path` lie.

    Raises:
        CaptureError: if there is no model, it is damaged, or none of its pictures is found.
    """
    model = _model(path)
    listing = find_file(model, "images") or model
    return _picture_folder(Path(path), model, listing, colmap_model.read_images(listing))


def read_colmap_points(path: Path) -> tuple[Tensor, Tensor]:
    """The model's sparse points: (N, 3) float32 places in the world that `read_colmap` gives, and (N, 3) float32
    colours in [0, 1]. After a capture was moved, `to_source.inverse()` brings them along.

    Raises:
        CaptureError: if there is no `points3D` file, or it is damaged.
    """
    model = _model(path)
    file = find_file(model, "points3D")
    if file is None:
        raise CaptureError(model, found="no points3D", expected="points3D.bin or points3D.txt", remedy="Copy it there.")
    places, colours = colmap_model.read_points(file)
    return torch.from_numpy(places).float(), torch.from_numpy(colours).float() / 255


def write_colmap(capture: Capture, folder: Path, points: tuple[Tensor, Tensor] | None = None) -> None:
    """Write a new folder with `images/NAME.png` (8-bit RGBA) and a binary model in `sparse/0`.

    The world is ours as it stands. Depth, normals, weights, times, sources and `to_source` have no place in this format
    and are left out. Programs that start splats from COLMAP's points need `points`.

    Args:
        points: (N, 3) places and (N, 3) colours in [0, 1], as `read_colmap_points` gives them.

    Raises:
        CaptureError: if a camera has skew, a frame's name is no file name, or `folder` is not empty.
    """
    folder = Path(folder)
    names = [frame.name for frame in capture]
    if names != unique_names(names):
        wrong = next(name for name, clean in zip(names, unique_names(names), strict=True) if name != clean)
        found = f"frame name {wrong!r}"[:120]
        raise CaptureError(folder, found=found, expected="unique file names", remedy="Rename the frame.")
    lenses = [_lens(folder, frame.camera) for frame in capture]
    cameras = list(dict.fromkeys(lenses))
    images = []
    for frame, lens in zip(capture, lenses, strict=True):
        w2c = torch.linalg.inv(frame.camera.c2w.double())
        w, x, y, z = quat_from_rotation(w2c[:3, :3]).tolist()
        tx, ty, tz = w2c[:3, 3].tolist()
        images.append(ModelImage(f"{frame.name}.png", cameras.index(lens) + 1, (w, x, y, z), (tx, ty, tz)))
    places, colours = (torch.zeros(0, 3), torch.zeros(0, 3)) if points is None else points
    with whole_folder(folder) as temporary:
        (temporary / "images").mkdir()
        (temporary / "sparse" / "0").mkdir(parents=True)
        for frame in capture:
            write_rgba(temporary / "images" / f"{frame.name}.png", frame.rgba())
        rounded = (colours.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        colmap_model.write_model(temporary / "sparse" / "0", cameras, images, places.double().cpu().numpy(), rounded)


def camera_from_colmap(lens: ModelCamera, rotation: Sequence[float], translation: Sequence[float]) -> Camera:
    """The camera of COLMAP's lens and its world-to-camera motion, rotation as a unit quaternion wxyz.

    Raises:
        ValueError: if the numbers are those of no camera.
    """
    values = list(lens.parameters)
    if lens.model in colmap_model.ONE_FOCAL_LENGTH:
        values.insert(1, values[0])
    fx, fy, cx, cy, *distortion = values
    if distortion:  # OpenCV has 4, 5 or 8, fisheyes 4; FULL_OPENCV is its 8, the others the beginning of the 4
        distortion += [0.0] * (4 - len(distortion))
    turn = rotation_from_quat(torch.tensor([list(rotation)], dtype=torch.float64))[0]
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = turn.T
    c2w[:3, 3] = -turn.T @ torch.tensor(list(translation), dtype=torch.float64)
    intrinsics = torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    bent = torch.tensor(distortion) if distortion else None
    return Camera(c2w.float(), intrinsics, lens.width, lens.height, bent, lens.model.endswith("_FISHEYE"))


def _model(path: Path) -> Path:
    model = find_colmap(path)
    if model is None:
        raise CaptureError(
            path,
            found="no COLMAP model" if Path(path).exists() else "no such file or folder",
            expected="cameras.bin and images.bin (or .txt) there, or in sparse/0, sparse or colmap/sparse/0",
            remedy="Name the folder with the model.",
        )
    return model


def _camera(listing: Path, lens: ModelCamera, image: ModelImage) -> Camera:
    try:
        return camera_from_colmap(lens, image.rotation, image.translation)
    except ValueError as cause:
        raise CaptureError(
            listing,
            found=f"{cause} ({image.name[:80]})",
            expected="a usable camera",
            remedy="Correct or remove that picture.",
        ) from cause


def _picture_folder(path: Path, model: Path, listing: Path, images: list[ModelImage]) -> Path:
    """The first of the usual places in which a picture of the model lies."""
    top, model = (path if path.is_dir() else path.parent).resolve(), model.resolve()
    projects = [top, model, model.parent, model.parent.parent]  # of project/sparse/0
    if projects[-1].name == "colmap":
        projects.append(projects[-1].parent)
    places = list(dict.fromkeys([*(project / "images" for project in projects), top]))
    for place in places:
        if any(os.path.isfile(within(listing, image.name, place)) for image in images):
            return place
    raise _without_pictures(listing, [image.name for image in images], places)


def _without_pictures(listing: Path, names: list[str], places: list[Path]) -> CaptureError:
    return CaptureError(
        listing,
        found=f"none of its {len(names)} pictures ({_some(names)}) in " + ", ".join(map(str, places)),
        expected="the pictures beside the model",
        remedy="Copy them to a folder images beside sparse.",
    )


def _some(names: list[str]) -> str:
    return ", ".join(name[:60] for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _mask(pictures: Path, name: str) -> Path | None:
    """The mask of a picture in `masks` beside the picture folder; `name` was found to stay inside that."""
    folder = pictures.parent / "masks"
    for candidate in (f"{name}.png", os.path.splitext(name)[0] + ".png"):
        file = within(folder, candidate, folder)
        if os.path.isfile(file):
            return file
    return None


def _frame(camera: Camera, file: Path, mask: Path | None, name: str) -> Frame:
    if mask is not None and picture_size(mask) != (camera.width, camera.height):
        width, height = picture_size(mask)
        raise CaptureError(
            mask,
            found=f"{width}x{height} pixels",
            expected=f"{camera.width}x{camera.height} as {file.name} has",
            remedy="Resample the mask to the picture's size.",
        )
    return Frame(
        camera=without_distortion(camera),
        load_rgba=partial(_load_rgba, file, mask, camera),
        name=name,
        load_weight=None if camera.distortion is None else partial(undistorted_weight, None, camera),
    )


def _load_rgba(file: Path, mask: Path | None, camera: Camera) -> Tensor:
    picture = decode_picture(file)
    rgba = torch.ones(*picture.rgb.shape[:2], 4)
    rgba[..., :3] = torch.from_numpy(picture.rgb).float() / 255
    if picture.alpha is not None and picture.alpha.min(initial=255) < 255:
        rgba[..., 3] = torch.from_numpy(picture.alpha).float() / 255
    elif mask is not None:
        values, white = read_grey(mask)
        rgba[..., 3] = values / white
    return undistorted_rgba(rgba, camera)


def _lens(folder: Path, camera: Camera) -> ModelCamera:
    (fx, skew, cx), (_, fy, cy), _ = camera.intrinsics.double().tolist()
    if skew:
        raise CaptureError(folder, found="a camera with skew", expected="none", remedy="Resample its picture first.")
    distortion = [] if camera.distortion is None else camera.distortion.double().tolist()
    if not distortion:
        model = "PINHOLE"
    elif camera.fisheye:
        model = "OPENCV_FISHEYE"
    elif len(distortion) <= 4:
        model = "OPENCV"
    else:
        model = "FULL_OPENCV"
    distortion += [0.0] * (colmap_model.PARAMETERS[model] - 4 - len(distortion))
    return ModelCamera(model, camera.width, camera.height, (fx, fy, cx, cy, *distortion))
