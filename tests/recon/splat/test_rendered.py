"""Frames of a fitted scene."""

from __future__ import annotations

import torch

from recon.capture import Source
from recon.capture.orbit import orbit_cameras
from recon.splat.rasterize import rasterize
from recon.splat.rendered import render_frames
from tests.recon.splat.test_rasterize import blobs


def test_frames_show_what_is_rasterized():
    scene = blobs([[0.0, 0.0, 0.0], [0.2, 0.1, -0.1]], [[0.9, 0.2, 0.1], [0.1, 0.3, 0.8]], scale=0.1)
    cameras = orbit_cameras(3, 0.2, size=24)
    frames = render_frames(scene, cameras)
    drawn = rasterize(scene, cameras)
    for i, frame in enumerate(frames):
        torch.testing.assert_close(frame.premultiplied()[..., 3], drawn.alpha[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(frame.premultiplied()[..., :3], drawn.rgb[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(frame.depth(), drawn.depth[i])
        torch.testing.assert_close(frame.normal(), drawn.normal[i])
        assert frame.source is Source.RENDERED
        assert torch.equal(frame.camera.c2w, cameras[i].c2w)
