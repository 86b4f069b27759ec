"""Frames are chosen by how far things moved and how sharp they are, whatever the video's speed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon.capture.errors import CaptureError
from recon.capture.frame_choice import choose_frames
from recon.capture.video import Scan, scan_video
from tests.recon.capture.video_files import noise, sliding, write_video

PATH = Path("a.mp4")


def scan_of(motion, sharpness=None, contrast=None):
    motion = np.array(motion, float)
    sharpness = np.full(len(motion), 100.0) if sharpness is None else np.array(sharpness, float)
    contrast = np.full(len(motion), 50.0) if contrast is None else np.array(contrast, float)
    return Scan(np.arange(len(motion)) / 25, sharpness, motion, contrast, 64, 48)


def test_a_pause_yields_one_frame_and_haste_many():
    motion = [0] + [0.01] * 40 + [0] * 100 + [0.04] * 20
    chosen = np.array(choose_frames(scan_of(motion), 16, PATH).indices)
    assert len(chosen) == 16
    assert (np.diff(np.sqrt(motion).cumsum()[chosen]) < 1.6 * np.sqrt(motion).sum() / 16).all()
    assert ((chosen > 40) & (chosen <= 140)).sum() <= 1
    slow, fast = (chosen <= 40).sum() / 40, (chosen > 140).sum() / 20
    assert fast == pytest.approx(2 * slow, rel=0.3)


def test_of_frames_near_each_other_the_sharp_one_is_taken():
    sharpness = [100.0 if index % 7 == 3 else 40.0 for index in range(70)]
    chosen = choose_frames(scan_of([0] + [0.01] * 69, sharpness), 10, PATH)
    assert all(index % 7 == 3 for index in chosen.indices)
    assert chosen.blurred == 0


def test_a_stretch_that_is_blurred_throughout_is_left_out_and_counted():
    sharpness = [5.0 if 30 <= index < 50 else 100.0 for index in range(100)]
    chosen = choose_frames(scan_of([0] + [0.01] * 99, sharpness), 10, PATH)
    assert chosen.blurred == 2
    assert not any(30 <= index < 50 for index in chosen.indices)


def test_overlap_is_what_neighbours_have_in_common():
    chosen = choose_frames(scan_of([0] + [0.02] * 50), 5, PATH)
    assert np.allclose(chosen.overlap, 0.8, atol=0.03)


def test_black_frames_are_never_chosen():
    contrast = [0.5 if index < 20 else 50.0 for index in range(60)]
    chosen = choose_frames(scan_of([0] + [0.02] * 59, None, contrast), 12, PATH)
    assert min(chosen.indices) >= 20
    assert chosen.empty == 20


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (scan_of([0.0]), "1 frame,"),
        (scan_of([0] + [0.01] * 9, None, [0.0] * 10), "black"),
        (scan_of([0.0] * 30), "nothing moves"),
    ],
    ids=["one frame", "all black", "a still"],
)
def test_what_is_no_capture_is_refused(scan, words):
    with pytest.raises(CaptureError, match=words):
        choose_frames(scan, 8, PATH)


def test_of_a_real_video_with_blurred_frames_the_sharp_ones_are_chosen(tmp_path):
    pictures = sliding([0] + [2] * 15 + [0] * 15 + [4] * 15)
    for index in range(0, len(pictures), 2):
        pictures[index] = cv2.GaussianBlur(pictures[index], (0, 0), 3)
    chosen = choose_frames(scan_video(write_video(tmp_path / "a.mp4", pictures)), 8, PATH)
    assert len(chosen.indices) >= 6
    assert all(index % 2 == 1 for index in chosen.indices)


def test_a_black_video_and_a_still_one_are_refused(tmp_path):
    black = write_video(tmp_path / "black.mp4", [np.zeros((96, 144, 3), np.uint8)] * 10)
    still = write_video(tmp_path / "still.mp4", [noise()] * 10)
    for path in (black, still):
        with pytest.raises(CaptureError):
            choose_frames(scan_video(path), 8, path)
