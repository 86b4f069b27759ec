import dataclasses

import pytest
import torch

from recon.capture import Capture, Source, frame_from_tensors, orbit_camera
from recon.capture.orbit import orbit_cameras
from recon.field.fit import first_field, fit_field
from recon.field.fit_options import FIELD_PRESETS, FieldOptions
from recon.field.optimise import laid_anew
from recon.field.rendering import render_field
from recon.metrics.images import psnr
from recon.splat.initialise import initial_volume
from recon.splat.rendered import straight
from recon.splat.volume import SignedVolume
from recon.surface.extract import extract_surface
from tests.recon.splat.balls import CENTRE, RADIUS, ball_capture, ball_frame, distance_to_ball

QUICK = FieldOptions(resolutions=(40, 56), steps=(60, 60), rays=1024, max_size=64, grid=48, renew_every=25)


def held_out_psnr(field, capture):
    """Over white, from between the capture's cameras."""
    values = []
    for turn in (0.4, 2.3, 4.1):
        frame = ball_frame(orbit_camera(turn, 0.3, 0.7, 64, 64), "held")
        drawn = render_field(field, frame.camera)
        wanted = frame.premultiplied()
        picture = drawn.rgb[0] + 1 - drawn.alpha[0][..., None]
        values.append(float(psnr(picture, wanted[..., :3] + 1 - wanted[..., 3:])))
    return sum(values) / len(values)


def off(field):
    """Mean distance of the surface's vertices from the ball, in spacings."""
    return float(distance_to_ball(extract_surface(field.volume()).vertices).abs().mean()) / field.spacing


def test_a_fit_beats_the_hull_it_began_with_in_shape_and_in_colour():
    # From few views the hull has edges, and nobody has told the colours of what it adds.
    capture = ball_capture(6, 64)
    options = dataclasses.replace(QUICK, steps=(150, 150))
    start = first_field(initial_volume(capture.frames, options.grid), capture.frames, options)
    fitted = fit_field(capture, options)
    assert off(laid_anew(start, 56, 3.5)) > 0.5
    assert off(fitted) < 0.7 * off(laid_anew(start, 56, 3.5))
    assert held_out_psnr(fitted, capture) > held_out_psnr(start, capture) + 4
    assert held_out_psnr(fitted, capture) > 24


def test_a_seed_repeats_to_the_byte_and_another_differs():
    capture = ball_capture(6, 48)
    options = dataclasses.replace(QUICK, steps=(30, 20))
    first, again, other = (fit_field(capture, options, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.points, again.points)
    assert torch.equal(first.inside, again.inside)
    assert torch.equal(first.distances, again.distances)
    assert torch.equal(first.colors, again.colors)
    assert not torch.equal(other.distances[: len(first)], first.distances[: len(other)])


def test_depths_of_rendered_frames_move_the_surface_and_generated_ones_do_not():
    # A ball by its silhouettes, whose depths say that it is hollowed by 0.04 on the side of the cameras.
    capture = ball_capture(4, 48, geometry=True)

    def hollowed(source):
        return Capture(
            tuple(
                frame_from_tensors(
                    frame.camera,
                    frame.rgba(),
                    source=source,
                    name=frame.name,
                    depth=torch.where(frame.depth() > 0, frame.depth() + 0.04, 0),
                )
                for frame in capture
            )
        )

    solid = initial_volume(ball_capture(12, 48).frames, QUICK.grid)
    options = dataclasses.replace(QUICK, depth_weight=2.0)
    inner = {}
    for source in (Source.RENDERED, Source.GENERATED):
        field = fit_field(hollowed(source), options, solid=solid)
        drawn = render_field(field, capture[0].camera).median_depth[0]
        middle = (capture[0].rgba()[..., 3] > 0.99) & (drawn > 0)
        inner[source] = float((drawn - capture[0].depth())[middle].median())
    assert inner[Source.RENDERED] > 0.02
    assert inner[Source.GENERATED] < 0.01


def test_pixels_without_weight_say_nothing():
    capture = ball_capture(8, 48)
    frames = list(capture.frames)
    lying = torch.cat((torch.zeros(48, 48, 3), torch.ones(48, 48, 1)), dim=-1)
    frames[0] = frame_from_tensors(frames[0].camera, lying, name="lying", weight=torch.zeros(48, 48))
    solid = initial_volume(capture.frames, QUICK.grid)
    options = dataclasses.replace(QUICK, steps=(40, 20))
    with_it = fit_field(Capture(tuple(frames)), options, solid=solid)
    trusted = [frame_from_tensors(frames[0].camera, lying, name="lying"), *frames[1:]]
    believed = fit_field(Capture(tuple(trusted)), options, solid=solid)
    camera = capture[0].camera
    wanted = capture[0].rgba()
    errors = [
        float((straight(d.rgb[0], d.alpha[0]) - wanted)[wanted[..., 3] > 0.9].abs().mean())
        for d in (render_field(field, camera) for field in (with_it, believed))
    ]
    assert errors[0] < 0.8 * errors[1]


def test_a_band_laid_anew_keeps_the_surface_and_its_colours():
    field = fit_field(ball_capture(6, 48), dataclasses.replace(QUICK, steps=(40, 20)))
    finer = laid_anew(field, 80, 3.5)
    assert abs(off(finer) * finer.spacing - off(field) * field.spacing) < 0.1 * field.spacing
    camera = orbit_camera(0.5, 0.2, 0.7, 48, 48)
    before, after = render_field(field, camera), render_field(dataclasses.replace(finer, sharpness=6 * 55 / 79), camera)
    assert (before.rgb - after.rgb).abs().mean() < 0.02


def test_harmonics_learn_a_colour_that_follows_the_camera():
    # A ball that is red for cameras on +x and green for others: no single colour is right.
    def seen(camera, name):
        frame = ball_frame(camera, name)
        share = 0.5 + 0.5 * float(torch.nn.functional.normalize(camera.centre, dim=0)[0])
        color = torch.tensor([share, 1 - share, 0.2]).expand(48, 48, 3)
        return frame_from_tensors(camera, torch.cat((color, frame.rgba()[..., 3:]), -1), name=name)

    cameras = orbit_cameras(12, 0.3, 0.7, 48)
    capture = Capture(tuple(seen(camera, f"view_{i}") for i, camera in enumerate(cameras)))
    errors = []
    for degree in (0, 1):
        field = fit_field(capture, dataclasses.replace(QUICK, sh_degree=degree))
        drawn = [render_field(field, frame.camera).rgb[0] - frame.premultiplied()[..., :3] for frame in capture]
        errors.append(float(torch.stack(drawn).abs().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_progress_counts_every_step():
    told = []
    options = dataclasses.replace(QUICK, steps=(3, 2))
    fit_field(ball_capture(4, 32), options, progress=lambda done, total, figures: told.append((done, total, *figures)))
    assert told == [(i, 5, "color", "mask") for i in range(1, 6)]


def test_what_shows_nothing_is_refused():
    capture = ball_capture(4, 32)
    empty = Capture(tuple(frame_from_tensors(f.camera, torch.zeros(32, 32, 4), name=f.name) for f in capture))
    with pytest.raises(ValueError, match="none of the 4 frames shows"):
        fit_field(empty, QUICK)
    nothing = SignedVolume(torch.ones(48, 48, 48), torch.full((3,), -0.55), 1.1 / 47)
    with pytest.raises(ValueError, match="no surface"):
        fit_field(capture, QUICK, solid=nothing)


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolutions": (64,)},
        {"resolutions": (16, 32)},
        {"resolutions": (64, 4096)},
        {"steps": (0, 5)},
        {"rays": 0},
        {"max_size": 0},
        {"sh_degree": 4},
        {"step": 0.0},
        {"step": float("nan")},
        {"width": 0.5},
        {"sharpness": (5.0, 2.0)},
        {"sharpness": (0.0, 2.0)},
        {"grid": 8},
    ],
)
def test_options_that_cannot_be_met_are_refused(wrong):
    with pytest.raises(ValueError, match="a field needs"):
        dataclasses.replace(QUICK, **wrong)


def test_presets_are_named_like_those_of_splats():
    from recon.splat.fit_options import FIT_PRESETS

    assert set(FIELD_PRESETS) == set(FIT_PRESETS) - {"views"}
    assert CENTRE.norm() + RADIUS < 0.5
