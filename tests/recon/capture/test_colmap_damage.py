"""Damaged and hostile COLMAP models: one clear error, whatever is wrong, and never more memory than the file has."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.capture import CaptureError
from recon.capture.colmap_model import MAX_POINTS, read_cameras, read_images, read_points
from recon.capture.errors import CaptureWarning
from recon.capture.io_colmap import read_colmap, read_colmap_points

CAMERA = struct.pack("<IiQQ4d", 1, 1, 8, 6, 10.0, 10.0, 4.0, 3.0)
IMAGE = struct.pack("<I7dI", 5, 1.0, 0, 0, 0, 0, 0, 2.0, 1) + b"a.png\0" + struct.pack("<Q2dQ", 1, 3.5, 2.5, 9)
POINT = struct.pack("<Q3d3BdQ2I", 9, 0.1, 0.2, 0.3, 200, 100, 50, 0.4, 1, 5, 0)
WHOLE = {
    "cameras.bin": struct.pack("<Q", 1) + CAMERA,
    "images.bin": struct.pack("<Q", 1) + IMAGE,
    "points3D.bin": struct.pack("<Q", 1) + POINT,
}
TEXT = {
    "cameras.txt": "# cameras\n1 PINHOLE 8 6 10 10 4 3\n",
    "images.txt": "# images\n\n5 1 0 0 0 0 0 2 1 a.png\n3.5 2.5 9\n6 1 0 0 0 0 0 3 1 a.png\n\n",
    "points3D.txt": "9 0.1 0.2 0.3 200 100 50 0.4 5 0\n",
}


def model(folder: Path, **changes: bytes | str) -> Path:
    """A whole model, binary unless changes are texts, of which some files are changed; `a.png` lies beside."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(folder / "a.png")
    texts = any(isinstance(change, str) for change in changes.values())
    for name, content in (TEXT if texts else WHOLE).items():
        changed = changes.get(name.split(".")[0], content)
        (folder / name).write_bytes(changed.encode() if isinstance(changed, str) else changed)
    return folder


def refused(folder: Path, found: str) -> None:
    def read() -> None:
        read_colmap_points(folder)
        read_colmap(folder)

    with pytest.raises(CaptureError, match="found") as caught:
        read()
    assert found in str(caught.value)
    assert caught.value.remedy


def test_the_whole_models_are_read(tmp_path: Path) -> None:
    binary, text = read_colmap(model(tmp_path / "a")), read_colmap(model(tmp_path / "b", cameras=TEXT["cameras.txt"]))
    assert (len(binary), len(text)) == (1, 2)
    assert torch.equal(binary[0].camera.c2w, text[0].camera.c2w)
    torch.testing.assert_close(read_colmap_points(tmp_path / "b")[0], torch.tensor([[0.1, 0.2, 0.3]]))


@pytest.mark.parametrize(
    ("name", "read"), [("cameras.bin", read_cameras), ("images.bin", read_images), ("points3D.bin", read_points)]
)
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, name: str, read) -> None:
    for length in range(len(WHOLE[name])):
        (tmp_path / name).write_bytes(WHOLE[name][:length])
        with pytest.raises(CaptureError, match=f"{name}: found"):
            read(tmp_path / name)


@pytest.mark.parametrize("form", ["binary", "text"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_a_capture_or_a_clear_error(tmp_path: Path, form: str, data) -> None:
    contents = WHOLE if form == "binary" else {name: text.encode() for name, text in TEXT.items()}
    folder = model(tmp_path / "c", **({} if form == "binary" else {"cameras": TEXT["cameras.txt"]}))
    name = data.draw(st.sampled_from(sorted(contents)))
    damaged = bytearray(contents[name])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(damaged)
    with suppress(CaptureError), warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        read_colmap_points(folder)
        for frame in read_colmap(folder):
            frame.rgba()


@pytest.mark.parametrize("count", [2, 1000, 2**31, 2**63, 2**64 - 1])
@pytest.mark.parametrize(
    ("kind", "at"), [("cameras", 0), ("images", 0), ("points3D", 0), ("images", 78), ("points3D", 51)]
)
def test_counts_that_the_file_cannot_hold_are_refused(tmp_path: Path, kind: str, at: int, count: int) -> None:
    content = bytearray(WHOLE[f"{kind}.bin"])
    assert struct.unpack_from("<Q", content, at) == (1,)
    struct.pack_into("<Q", content, at, count)
    refused(model(tmp_path / "c", **{kind: bytes(content)}), f"{kind}.bin")


def test_more_points_than_are_held_are_refused_before_they_are_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "c")
    with (folder / "points3D.bin").open("wb") as file:
        file.write(struct.pack("<Q", MAX_POINTS + 1))
        file.truncate(8 + 51 * (MAX_POINTS + 1))  # a hole, no bytes on the disk
    refused(folder, f"a count of {MAX_POINTS + 1} points")


def camera(model_number: int = 1, width: int = 8, height: int = 6, *parameters: float) -> bytes:
    values = parameters or (10.0, 10.0, 4.0, 3.0)
    return struct.pack(f"<QIiQQ{len(values)}d", 1, 1, model_number, width, height, *values)


def image(name: str = "a.png", camera_number: int = 1, pose: tuple[float, ...] = (1, 0, 0, 0, 0, 0, 2)) -> bytes:
    return struct.pack("<QI7dI", 1, 5, *pose, camera_number) + name.encode() + b"\0" + struct.pack("<Q", 0)


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"cameras": camera(77)}, "camera model number 77"),
        ({"cameras": camera(-1)}, "camera model number -1"),
        ({"cameras": camera(10, 8, 6, *[1.0] * 12)}, "camera model THIN_PRISM_FISHEYE"),
        ({"cameras": camera(1, 0)}, "width = 0"),
        ({"cameras": camera(1, 2**63)}, "width = "),
        ({"cameras": camera(1, 8, 2**40)}, "height = "),
        ({"cameras": camera(1, 8, 6, NAN, 10, 4, 3)}, "NaN or infinity in camera 1"),
        ({"cameras": camera(1, 8, 6, 10, 10, 4, float("inf"))}, "NaN or infinity in camera 1"),
        ({"cameras": camera(4, 8, 6, 10, 10, 4, 3, NAN, 0, 0, 0)}, "NaN or infinity in camera 1"),
        ({"cameras": camera(4, 8, 6, 10, 10, 4, 3, 1e300, 0, 0, 0)}, "distortion contains NaN or infinity"),
        ({"cameras": camera(1, 8, 6, 1e300, 10, 4, 3)}, "NaN or infinity"),
        ({"cameras": camera(1, 8, 6, -10, 10, 4, 3)}, "positive focal lengths"),
        ({"cameras": camera(1, 8, 6, 1e12, 10, 4, 3)}, "focal length of 1e+12"),
        ({"cameras": camera(1, 80, 80)}, "a picture of 8x6 for a camera of 80x80"),
        ({"cameras": struct.pack("<Q", 2) + CAMERA + CAMERA}, "two cameras with the id 1"),
        ({"cameras": struct.pack("<Q", 0)}, "a picture of camera 1"),
        ({"images": struct.pack("<Q", 0)}, "no picture"),
        ({"images": image(camera_number=4)}, "a picture of camera 4"),
        ({"images": image(pose=(0, 0, 0, 0, 0, 0, 2))}, "no finite pose"),
        ({"images": image(pose=(NAN, 0, 0, 0, 0, 0, 2))}, "no finite pose"),
        ({"images": image(pose=(1e300, 0, 0, 0, 0, 0, 2))}, "no finite pose"),
        ({"images": image(pose=(1, 0, 0, 0, 0, NAN, 2))}, "no finite pose"),
        ({"images": image(pose=(1, 0, 0, 0, 0, 1e300, 2))}, "NaN or infinity"),
        ({"images": image("../outside.png")}, "outside of the capture"),
        ({"images": image("/etc/hostname")}, "outside of the capture"),
        ({"images": image("..\\outside.png")}, "outside of the capture"),
        ({"images": image("link.png")}, "outside of the capture"),
        ({"images": image("gone.png")}, "none of its 1 pictures (gone.png)"),
        ({"images": image("")}, "path ''"),
        ({"images": image(".")}, "none of its 1 pictures"),
        ({"images": image("a.png/" * 50)}, "none of its 1 pictures"),
        ({"images": image("x" * 400 + ".png")}, "expected a file name"),
        ({"images": image("x" * 5000)}, "name that does not end"),
        ({"images": image().replace(b"a.png", b"\xff.png")}, "no UTF-8"),
        (
            {"points3D": WHOLE["points3D.bin"].replace(struct.pack("<d", 0.2), struct.pack("<d", NAN))},
            "points with NaN",
        ),
        ({"cameras": "1 PINHOLE 8 6 10 10 4\n"}, "7 columns in '1 PINHOLE"),
        ({"cameras": "1 PINHOLE\n"}, "2 columns"),
        ({"cameras": "1 PINHOLE -8 6 10 10 4 3\n"}, "width = -8"),
        ({"cameras": "1 PINHOLE 8.5 6 10 10 4 3\n"}, "'8.5' where a whole number belongs"),
        ({"cameras": "1 PINHOLE 8 6 nan 10 4 3\n"}, "NaN or infinity in camera 1"),
        ({"cameras": "1 PINHOLE 8 6 ten 10 4 3\n"}, "'ten'"),
        ({"cameras": "1 FOV 8 6 10 10 4 3 1\n"}, "camera model FOV"),
        ({"cameras": "1 HOLE 8 6 10 10 4 3\n"}, "camera model HOLE"),
        ({"cameras": "\xff\n"}, "1 columns in"),
        ({"cameras": "--1 PINHOLE 8 6 10 10 4 3\n"}, "'--1' where a whole number belongs"),
        ({"images": "5 1 0 0 0 0 0 2 1\n\n"}, "9 columns"),
        ({"images": "5 1 0 0 0 0 0 2 1 a.png\n6 1 0 0 0 0 0 2 1 a.png\n"}, "10 columns of image points"),
        ({"images": "5 1 0 0 0 0 0 2 one a.png\n"}, "'one' where a whole number belongs"),
        ({"points3D": "9 0.1 0.2 0.3 200 100 50\n"}, "7 columns for point 9"),
        ({"points3D": "9 0.1 0.2 inf 200 100 50 0.4\n"}, "points with NaN"),
        ({"points3D": "9 0.1 0.2 0.3 red 100 50 0.4\n"}, "'red' where a whole number belongs"),
    ],
)
def test_a_bad_model_is_refused_by_name(tmp_path: Path, changes: dict[str, bytes | str], found: str) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "outside.png")
    folder = model(tmp_path / "c", **changes)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    refused(folder, found)


def test_a_folder_without_a_model_says_where_one_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"no COLMAP model; expected .*sparse/0"):
        read_colmap(tmp_path)
    with pytest.raises(CaptureError, match="no such file or folder"):
        read_colmap(tmp_path / "gone")
    (model(tmp_path / "c") / "points3D.bin").unlink()
    with pytest.raises(CaptureError, match=r"no points3D; expected points3D\.bin"):
        read_colmap_points(tmp_path / "c")
