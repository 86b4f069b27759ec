"""Cameras as `ns-export cameras` writes them, beside the capture that was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from recon.capture import Capture, Similarity
from recon.capture.conversions import Z_UP_TO_Y_UP, opengl_from_opencv
from recon.capture.errors import CaptureError
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.reading import read_capture
from tests.recon.splat.balls import CENTRE, ball_capture

MOVE = Similarity(translation=torch.tensor([0.1, -0.2, 0.3]), scale=0.4)
"""What nerfstudio did to the world in which it trained."""


def exported(folder: Path, *names: str) -> tuple[Capture, Path]:
    """A capture, and a list of some of its poses in another world with Z up, in another order."""
    capture = ball_capture(5, 24)
    write_transforms(capture, folder)
    listing = folder / "transforms_train.json"
    moved = {frame.name: frame for frame in capture.moved(Z_UP_TO_Y_UP.inverse()).moved(MOVE)}
    poses = [opengl_from_opencv(moved[name].camera.c2w)[:3].tolist() for name in names]
    paths = [f"/data/of/somebody/images/{name}.png" for name in names]
    listing.write_text(json.dumps([{"file_path": f, "transform": p} for f, p in zip(paths, poses)]))
    return capture, listing


def test_poses_come_from_the_export_and_lenses_and_pictures_from_the_capture(tmp_path):
    capture, listing = exported(tmp_path / "capture", "view-03", "view-00")
    found = read_capture(listing)
    there = Z_UP_TO_Y_UP.apply(MOVE.apply(Z_UP_TO_Y_UP.inverse().apply(CENTRE[None])))
    assert [frame.name for frame in found] == ["view-03", "view-00"]
    for frame, given in zip(found, (capture[3], capture[0]), strict=True):
        torch.testing.assert_close(frame.camera.project(there)[0], given.camera.project(CENTRE[None])[0])
        assert torch.equal(frame.rgba(), (given.rgba() * 255).round() / 255)


def test_an_export_that_is_not_of_that_capture_is_refused(tmp_path):
    _, listing = exported(tmp_path / "capture", "view-01")
    good = json.loads(listing.read_text())
    for change, found in (
        ([good[0] | {"file_path": "images/other.png"}], "other.png"),
        ([good[0] | {"transform": [[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}], "not a rotation"),
        ([good[0] | {"transform": "none"}], "transform"),
        ([], "no list of poses"),
    ):
        listing.write_text(json.dumps(change))
        with pytest.raises(CaptureError, match=found):
            read_capture(listing)


def test_an_export_alone_has_no_lenses(tmp_path):
    _, listing = exported(tmp_path / "capture", "view-01")
    (tmp_path / "capture" / "transforms.json").unlink()
    with pytest.raises(CaptureError, match=r"no transforms\.json beside it"):
        read_capture(listing)
