"""What a transforms.json names, as it lies on disk."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from recon.capture import Capture
from recon.capture.errors import CaptureError
from recon.capture.images import read_rgba
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.capture.stored import points_file, read_stored
from tests.recon.splat.balls import ball_capture


def test_stored_frames_are_the_capture_s_own(tmp_path):
    frames = [replace(frame, time=0.5 * i) for i, frame in enumerate(ball_capture(3, 16))]
    weighted = replace(frames[1], load_weight=lambda: torch.full((16, 16), 0.5))
    write_transforms(Capture((frames[0], weighted, frames[2])), tmp_path / "capture")
    read = read_transforms(tmp_path / "capture")
    stored = read_stored(tmp_path / "capture")
    assert [frame.trusted is not None for frame in stored] == [False, True, False]
    for ours, its in zip(read, stored, strict=True):
        assert torch.equal(ours.rgba(), read_rgba(its.picture))
        assert torch.equal(ours.camera.c2w, its.camera.c2w)
        assert ours.time == its.time


def test_a_lens_stays_and_a_world_with_z_up_is_turned(tmp_path):
    write_transforms(ball_capture(3, 16), tmp_path / "capture")
    listing = tmp_path / "capture" / "transforms.json"
    meta = json.loads(listing.read_text())
    del meta["turnabout_world"]
    listing.write_text(json.dumps(meta | {"k1": 0.1, "p2": 0.01}))
    frame, read = read_stored(listing)[0], read_transforms(listing)[0]
    assert read.camera.distortion is None
    torch.testing.assert_close(frame.camera.distortion, torch.tensor([0.1, 0.0, 0.0, 0.01]))
    torch.testing.assert_close(frame.camera.c2w, read.camera.c2w)


def test_points_that_are_named_and_missing_are_an_error(tmp_path):
    write_transforms(ball_capture(3, 16), tmp_path / "capture")
    assert points_file(tmp_path / "capture") is None
    listing = tmp_path / "capture" / "transforms.json"
    listing.write_text(json.dumps(json.loads(listing.read_text()) | {"ply_file_path": "gone.ply"}))
    with pytest.raises(CaptureError, match=r"gone\.ply"):
        points_file(tmp_path / "capture")
