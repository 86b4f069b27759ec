"""The `cpu` backend draws and differentiates a half-converged fit of photographs like the float64 oracle."""

from __future__ import annotations

import pytest

from benchmarks._held_out import DINO, DINO_HELD_OUT, dino
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.resizing import shrunk
from tests.recon.splat.scenes import clear_pixels
from tests.recon.splat.test_backends import FIELDS, assert_like_the_oracle
from tests.shared_data import shared_path


@pytest.fixture(scope="module")
def photographs():
    """Captures of the dinosaur, and 3,000 Gaussians that were to become it, stopped on the way."""
    folder = shared_path(f"captures/{DINO}").parent
    shared_path(f"captures/{DINO_HELD_OUT}")
    split = dino(folder, 96)
    options = FitOptions(
        iterations=100, initial_gaussians=2500, max_gaussians=3000, pixels_per_gaussian=0.5, max_size=96, grid=64,
        renew_every=20, sh_degree=1,
    )  # fmt: skip
    return split, fit_gaussians(split.capture, options)


@pytest.mark.parametrize("primitive", ["3d", "2d"])
@pytest.mark.parametrize("view", [0, 9, 20])
def test_cpu_matches_the_oracle_on_a_half_converged_fit_of_photographs(photographs, primitive, view):
    split, gaussians = photographs
    assert len(gaussians) >= 2500
    camera = shrunk(split.held_out[view].camera, 45)
    scene = (gaussians, camera.w2c[None], camera.intrinsics[None])
    size = camera.width, camera.height
    # The fit, and with it how much of the picture is clear, differs a little from one processor to the next.
    assert clear_pixels(scene, *size, primitive=primitive).float().mean() > 0.6
    assert_like_the_oracle(scene, size, FIELDS, "cpu", "cpu", primitive=primitive)
