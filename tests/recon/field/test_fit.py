import dataclasses
import math
from pathlib import Path

import pytest
import torch

from recon.capture import Capture, Source, frame_from_tensors, orbit_camera
from recon.capture.orbit import orbit_cameras
from recon.field.fit import fit_field
from recon.field.fit_options import FIELD_PRESETS, FieldOptions
from recon.field.optimise import laid_anew
from recon.field.rendering import render_field
from recon.metrics.images import psnr
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.initialise import initial_volume
from recon.splat.rendered import straight
from recon.splat.volume import SignedVolume
from recon.surface.extract import extract_surface
from recon.surface.fusion import surface_of
from recon.surface.loading import load_mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared
from tests.recon.splat.balls import ball_capture, ball_frame, distance_to_ball

ROOT = Path(__file__).parents[3]
QUICK = FieldOptions(resolutions=(40, 56), steps=(60, 60), rays=1024, max_size=64, grid=48, renew_every=25)


def off(field):
    """Mean distance of the surface's vertices from the ball, in spacings."""
    return float(distance_to_ball(extract_surface(field.volume()).vertices).abs().mean()) / field.spacing


def test_a_fit_of_a_rendered_object_beats_the_hull_in_shape_and_the_mean_picture_in_colour():
    mesh = load_mesh(ROOT / "assets" / "eval" / "basket.glb")
    prepared, lights = prepare_mesh(mesh), Lights.studio()

    def seen(camera):
        return render_prepared(prepared, camera, lights=lights, supersample=2).rgba

    def over_white(rgba):
        return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]

    turns = [2 * math.pi * index / 14 for index in range(14)]
    cameras = [orbit_camera(turn, math.radians(20 + 25 * math.sin(3 * turn)), 0.6, 64, 64) for turn in turns]
    capture = Capture(tuple(frame_from_tensors(c, seen(c), name=f"{i}") for i, c in enumerate(cameras)))
    options = FieldOptions(resolutions=(56, 72), steps=(150, 150), rays=1024, max_size=64, grid=56, renew_every=50)
    field, truth = fit_field(capture, options), TrueShape.of(mesh, seed=0)
    hull = compare_meshes(extract_surface(initial_volume(capture.frames, 72)), truth, seed=0).chamfer
    assert compare_meshes(surface_of(field, capture.frames), truth, seed=0).chamfer < 0.85 * hull

    mean = torch.stack([over_white(frame.rgba()) for frame in capture]).mean(0)
    for turn in (0.2, 1.8, 3.3, 5.0):
        camera = orbit_camera(turn, 0.5, 0.6, 64, 64)
        drawn, wanted = render_field(field, camera), over_white(seen(camera))
        assert psnr(drawn.rgb[0] + 1 - drawn.alpha[0][..., None], wanted) > psnr(mean, wanted) + 8


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
    assert set(FIELD_PRESETS) == set(FIT_PRESETS) - {"views"}


def test_a_generated_frame_among_true_ones_does_not_smooth_their_surface_away():
    true = ball_capture(12, 48)
    one = Capture((*true.frames[:-1], dataclasses.replace(true[11], source=Source.GENERATED)))
    errors = [
        float(distance_to_ball(extract_surface(fit_field(capture, QUICK).volume()).vertices).abs().mean())
        for capture in (true, one)
    ]
    assert errors[1] < 1.2 * errors[0]


def test_generated_frames_get_a_smoother_surface():
    # Every picture shows the ball shifted a little, each to another side.
    def shifted(source):
        frames = []
        for index, frame in enumerate(ball_capture(10, 48)):
            rgba = frame.rgba().roll((index % 3 - 1, index * 7 % 3 - 1), (0, 1))
            frames.append(frame_from_tensors(frame.camera, rgba, source=source, name=frame.name))
        return Capture(tuple(frames))

    solid = initial_volume(ball_capture(12, 48).frames, QUICK.grid)

    def unevenness(source):
        volume = fit_field(shifted(source), QUICK, solid=solid).volume()
        return float(distance_to_ball(extract_surface(volume).vertices).std()) / volume.spacing

    assert unevenness(Source.GENERATED) < 0.8 * unevenness(Source.OBSERVED)
