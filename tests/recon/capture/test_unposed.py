"""Pictures without cameras keep their order, their times and what is known of their lenses, on disk and off."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from recon.capture.camera import orbit_camera
from recon.capture.errors import CaptureError
from recon.capture.types import frame_from_tensors
from recon.capture.unposed import (
    UnposedFrame,
    frame_photo,
    is_video,
    photo_files,
    read_unposed,
    shrunk_picture,
    write_unposed,
)


def frame(name="a", focal=None, time=0.0):
    picture = torch.rand(6, 8, 4, generator=torch.Generator().manual_seed(len(name)))
    return UnposedFrame(name, lambda: (picture * 255).round() / 255, 8, 6, time, focal, "IMG 1.JPG")


def test_what_is_written_is_read(tmp_path):
    given = [frame("a", 9.5, 0.25), frame("b"), frame("a")]
    write_unposed(iter(given), tmp_path / "frames")
    found = read_unposed(tmp_path / "frames")
    assert [f.name for f in found] == ["a", "b", "a-2"]
    for before, after in zip(given, found, strict=True):
        assert torch.allclose(before.rgba(), after.rgba(), atol=1e-6)
        assert (after.width, after.height, after.time) == (8, 6, before.time)
        assert (after.focal, after.origin) == (before.focal, before.origin)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def frames():
        yield frame("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_unposed(frames(), tmp_path / "frames")
    assert list(tmp_path.iterdir()) == []


def test_a_path_out_of_the_folder_and_a_senseless_focal_length_are_refused(tmp_path):
    write_unposed([frame("a", 9.0)], tmp_path / "frames")
    listing = tmp_path / "frames" / "unposed.json"
    good = json.loads(listing.read_text())
    for change in ({"file_path": "../../etc/passwd"}, {"focal": -1.0}, {"time": "soon"}):
        listing.write_text(json.dumps({"frames": [good["frames"][0] | change]}))
        with pytest.raises(CaptureError):
            read_unposed(tmp_path / "frames")


def test_numbers_in_names_count_by_value(tmp_path):
    for name in ("IMG_10.png", "IMG_9.PNG", "a.jpg", "IMG_2.png", "notes.txt"):
        Image.new("RGB", (2, 2)).save(tmp_path / name) if name != "notes.txt" else (tmp_path / name).write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in photo_files(tmp_path)] == ["a.jpg", "IMG_2.png", "IMG_9.PNG", "IMG_10.png"]


def test_too_many_pictures_are_refused_before_any_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("recon.capture.unposed.MAX_PHOTOS", 2)
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"")
    with pytest.raises(CaptureError, match="3 pictures"):
        photo_files(tmp_path)


def test_videos_are_told_by_their_names(tmp_path):
    (tmp_path / "A.MP4").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"")
    assert is_video(tmp_path / "A.MP4")
    assert not is_video(tmp_path / "a.png")
    assert not is_video(tmp_path)


def test_shrinking_keeps_what_lies_under_the_alpha_out_of_the_colours():
    picture = torch.zeros(8, 8, 4)
    picture[:, :4] = torch.tensor([1.0, 0.5, 0.25, 1.0])
    picture[:, 4:, :3] = torch.tensor([0.0, 1.0, 0.0])  # hidden
    small = shrunk_picture(picture, 2)
    assert small.shape == (2, 2, 4)
    assert torch.allclose(small[:, 0], torch.tensor([1.0, 0.5, 0.25, 1.0]))
    assert torch.equal(shrunk_picture(picture, 8), picture)


def test_a_captures_picture_is_a_photo_with_its_matte():
    camera = orbit_camera(0.0, 0.1, 0.7, 8, 8)
    matted, opaque = torch.full((8, 8, 4), 0.5), torch.ones(8, 8, 4)
    assert frame_photo(frame_from_tensors(camera, matted)).alpha is not None
    assert frame_photo(frame_from_tensors(camera, opaque)).alpha is None
