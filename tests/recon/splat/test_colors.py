import dataclasses
import math

import pytest
import torch

from recon.capture import Source
from recon.splat.colors import solve_colors
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.initialise import initial_from_points
from recon.splat.rasterize import rasterize
from tests.recon.splat.balls import CENTRE, RADIUS, ball_capture


def ball_points(count):
    """Points on the ball and their true colours."""
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    return CENTRE + RADIUS * normals, 0.5 + 0.5 * normals


def test_colours_are_solved_without_a_learning_rate():
    points, colors = ball_points(800)
    truth = initial_from_points(points, colors)
    truth = dataclasses.replace(truth, logit_opacities=torch.full((800,), 2.0))
    grey = dataclasses.replace(truth, sh=torch.zeros_like(truth.sh))
    cameras = ball_capture(8, 32).cameras
    pictures = [rasterize(truth, [camera]).rgb[0] for camera in cameras]

    def error(gaussians):
        return sum(float((rasterize(gaussians, [c]).rgb[0] - p).abs().mean()) for c, p in zip(cameras, pictures))

    once, often = solve_colors(grey, cameras, pictures, passes=1), solve_colors(grey, cameras, pictures, passes=10)
    assert error(once) < 0.4 * error(grey)
    assert error(often) < 0.5 * error(once)
    assert torch.equal(often.means, grey.means)


def test_a_start_from_points_is_as_wide_as_their_gaps():
    points, colors = ball_points(400)
    start = initial_from_points(points, colors)
    gap = math.sqrt(4 * math.pi * RADIUS**2 / 400)
    assert float(start.scales.median()) == pytest.approx(gap, rel=0.4)
    assert torch.allclose(start.base_colors, colors, atol=0.021)
    # A colour of exactly 0 would have no gradient and stay.
    assert float(start.base_colors.min()) > 0.01
    assert float(colors.min()) < 0.01


def test_points_that_coincide_keep_a_width():
    start = initial_from_points(torch.zeros(6, 3), torch.rand(6, 3))
    assert torch.isfinite(start.log_scales).all()


@pytest.mark.parametrize("shape", [(3, 3), (8, 2)])
def test_too_few_points_or_colours_are_refused(shape):
    with pytest.raises(ValueError, match="as many colours"):
        initial_from_points(torch.rand(shape[0], 3), torch.rand(*shape))


def test_a_fit_begins_with_what_it_is_given():
    points, colors = ball_points(700)
    start = initial_from_points(points, colors)
    options = FitOptions(iterations=80, initial_gaussians=600, max_gaussians=700, max_size=32)
    capture = ball_capture(8, 32, source=Source.OBSERVED)
    fitted = fit_gaussians(capture, options, start=start)
    assert len(fitted) == 700
    assert picture_error(fitted, capture) < 0.5 * picture_error(start, capture)
    once = fit_gaussians(capture, dataclasses.replace(options, iterations=1), start=start)
    assert (once.means - start.means).abs().max() < 0.01


def picture_error(gaussians, capture):
    """Mean difference to the first frame, premultiplied colour and alpha."""
    drawn = rasterize(gaussians, [capture[0].camera])
    picture = torch.cat((drawn.rgb[0], drawn.alpha[0, ..., None]), -1)
    return float((picture - capture[0].premultiplied()).abs().mean())
