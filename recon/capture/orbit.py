"""Camera paths: circles and waves around the object, and paths from files. Angles in radians, in files in degrees."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from recon.capture.camera import Camera, orbit_camera
from recon.capture.conversions import Z_UP_TO_Y_UP, without_distortion
from recon.capture.errors import CaptureError
from recon.capture.files import list_of_frames, number, read_json
from recon.capture.io_nerfstudio import is_ours, read_camera

DEFAULT_FOV = math.radians(33.8)
"""Field of view where nothing better is known; also the evaluation protocol's."""
MAX_CAMERAS = 256
"""More cameras in one path are refused: all views are drawn at once."""
_EXPECTED = "a nerfstudio transforms.json or a list of {azimuth, elevation, fov, distance, roll} in degrees"


def orbit_cameras(
    frames: int, elevation: float, fov: float = DEFAULT_FOV, size: int = 256, *, start: float = 0.0
) -> tuple[Camera, ...]:
    """A closed circle: `frames` square views, evenly spaced, the first at azimuth `start`.

    Raises:
        ValueError: if `frames` is not positive.
    """
    return wave_cameras(frames, elevation, 0.0, fov, size, start=start)


def wave_cameras(
    frames: int, elevation: float, amplitude: float, fov: float = DEFAULT_FOV, size: int = 256, *, start: float = 0.0
) -> tuple[Camera, ...]:
    """A closed orbit whose elevation is `elevation + amplitude * sin(azimuth)`: the protocol's second path with
    10 and 20 degrees.

    Raises:
        ValueError: if `frames` is not positive.
    """
    if frames < 1:
        raise ValueError(f"an orbit needs at least one frame, got {frames}")
    azimuths = [start + 2 * math.pi * i / frames for i in range(frames)]
    return tuple(orbit_camera(a, elevation + amplitude * math.sin(a), fov, size, size) for a in azimuths)


def read_camera_path(file: Path, size: int, *, elevation: float = 0.0, fov: float = DEFAULT_FOV) -> tuple[Camera, ...]:
    """Pinhole cameras from a file, each made to fit `size` pixels on its longer side.

    Two forms are understood. A JSON list of objects with any of `azimuth`, `elevation`, `fov`, `roll` (degrees) and
    `distance` (in object diameters; the framing distance when absent), relative to the input view's azimuth. Or a
    nerfstudio `transforms.json`, whose pictures need not exist: its poses stay where they are around the object, the
    unit-diameter sphere at the origin; a world with Z up is turned to ours. What is to be drawn has no lens, so
    distortion is dropped.

    Args:
        elevation, fov: radians, used where the list does not say.

    Raises:
        CaptureError: if the file is neither, has no or more than `MAX_CAMERAS` cameras, or one that is unusable.
    """
    file = Path(file)
    meta = read_json(file, _EXPECTED)
    if isinstance(meta, list):
        if not meta or not all(isinstance(entry, dict) for entry in meta):
            raise CaptureError(file, found="no list of objects", expected=_EXPECTED, remedy="Correct it.")
        _check_count(file, len(meta))
        return tuple(_listed(file, entry, size, elevation, fov) for entry in meta)
    move = (Z_UP_TO_Y_UP.rotation, Z_UP_TO_Y_UP.translation)
    cameras = []
    entries = list_of_frames(file, meta)
    _check_count(file, len(entries))
    for entry in entries:
        camera = read_camera(file, meta, entry, None)
        if camera.fisheye:
            raise CaptureError(file, found="a fisheye", expected="pinholes to draw", remedy="Give a pinhole's fl_x.")
        camera = without_distortion(camera)
        scale = size / max(camera.width, camera.height)
        camera = camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
        cameras.append(camera if is_ours(meta) else camera.moved(*move))
    return tuple(cameras)


def _check_count(file: Path, count: int) -> None:
    if count > MAX_CAMERAS:
        raise CaptureError(
            file,
            found=f"{count} cameras",
            expected=f"at most {MAX_CAMERAS}",
            remedy="Leave some out, or draw the rest in a second run.",
        )


def _listed(file: Path, entry: dict[str, Any], size: int, elevation: float, fov: float) -> Camera:
    unknown = set(entry) - {"azimuth", "elevation", "fov", "roll", "distance"}
    if unknown:
        found = f"the key {sorted(unknown)[0]!r}"[:80]
        raise CaptureError(file, found=found, expected=_EXPECTED, remedy="Remove or rename it.")

    def radians(key: str, default: float) -> float:
        return math.radians(number(file, entry[key], key)) if key in entry else default

    distance = number(file, entry["distance"], "distance") if "distance" in entry else None
    if distance is not None and distance <= 0.5:
        raise CaptureError(
            file,
            found=f"distance {distance:g}, inside the object's bounding sphere",
            expected="more than 0.5 object diameters",
            remedy="Move the camera out or leave distance away.",
        )
    azimuth, elevation = radians("azimuth", 0.0), radians("elevation", elevation)
    fov, roll = radians("fov", fov), radians("roll", 0.0)
    try:
        return orbit_camera(azimuth, elevation, fov, size, size, distance, roll)
    except ValueError as cause:
        raise CaptureError(file, found=str(cause), expected=_EXPECTED, remedy="Correct that entry.") from cause
