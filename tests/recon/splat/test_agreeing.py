"""Mistakes that single mattes make are cut away by the others; a true silhouette is not."""

from __future__ import annotations

import math

import torch

from recon.capture import Capture, frame_from_tensors, orbit_camera
from recon.splat.agreeing import agreed_mattes

SIZE = 96
CAMERAS = [orbit_camera(2 * math.pi * i / 12, 0.3, math.radians(40), SIZE, SIZE) for i in range(12)]


def ball(camera, radius=0.3):
    """(H, W) true mask of a ball about the origin."""
    origin, directions = camera.rays()
    unit = torch.nn.functional.normalize(directions, dim=-1)
    return (torch.linalg.cross(unit, origin.expand_as(unit)).norm(dim=-1) < radius).float()


def capture_with(masks):
    frames = []
    for index, (camera, mask) in enumerate(zip(CAMERAS, masks, strict=True)):
        rgba = torch.cat((torch.full((SIZE, SIZE, 3), 0.4), mask[..., None]), dim=-1)
        frames.append(frame_from_tensors(camera, rgba, name=f"{index}"))
    return Capture(tuple(frames))


NAMES = [str(index) for index in range(12)]


def test_a_stripe_that_one_picture_takes_for_the_subject_goes_and_the_subject_stays():
    masks = [ball(camera) for camera in CAMERAS]
    wrong = [mask.clone() for mask in masks]
    wrong[2][:, 4:9] = 1
    wrong[7][80:, :] = 1
    agreed = agreed_mattes(capture_with(wrong), NAMES)
    for frame, mask in zip(agreed, masks, strict=True):
        alpha = frame.rgba()[..., 3]
        assert float(alpha[mask > 0].mean()) > 0.995
        assert float(alpha[mask == 0].mean()) < 0.04  # a margin of a grid spacing around the ball


def test_a_piece_that_one_picture_misses_does_not_cost_the_others_theirs():
    masks = [ball(camera) for camera in CAMERAS]
    missing = [mask.clone() for mask in masks]
    missing[5][:, : SIZE // 2] = 0
    agreed = agreed_mattes(capture_with(missing), NAMES)
    kept = [float(frame.rgba()[..., 3].sum() / mask.sum()) for frame, mask in zip(agreed, missing, strict=True)]
    assert min(kept) > 0.97


def test_mattes_that_were_given_stay_as_they_are():
    wrong = [ball(camera) for camera in CAMERAS]
    wrong[2][:, 4:9] = 1
    agreed = agreed_mattes(capture_with(wrong), [name for name in NAMES if name != "2"])
    assert torch.equal(agreed[2].rgba()[..., 3], wrong[2])


def test_a_subject_that_no_picture_holds_as_a_whole_is_left_alone():
    masks = [ball(camera, radius=2.0) for camera in CAMERAS]
    small = [mask * (torch.arange(SIZE) < 20 + 5 * i)[None] for i, mask in enumerate(masks)]
    capture = capture_with(small)
    assert agreed_mattes(capture, NAMES) is capture
