import dataclasses
import math

import pytest
import torch

from recon.capture import Capture, Source, frame_from_tensors, orbit_camera
from recon.splat.corrections import (
    NO_CORRECTIONS,
    CorrectionOptions,
    FrameCorrections,
    corrected_capture,
    decided,
)
from recon.splat.fit import fit_scene
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import from_points
from recon.splat.rasterize import rasterize
from tests.recon.splat.balls import ball_capture

QUICK = FitOptions(iterations=150, initial_gaussians=600, max_gaussians=800, max_size=48, grid=48, renew_every=40)
ODD = 4
"""The frame that is off."""


def ball_with(odd, source=Source.OBSERVED, *, views=10, geometry=False):
    """True views of the ball but for one generated frame, made by `odd` from the true one."""
    frames = list(ball_capture(views, 48, geometry=geometry, source=source))
    frames[ODD] = dataclasses.replace(odd(frames[ODD]), source=Source.GENERATED)
    return Capture(tuple(frames))


def turned(camera, angle, shift):
    """The camera moved by a turn about the vertical through the origin, then by a shift."""
    c, s = math.cos(angle), math.sin(angle)
    return camera.moved(torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]), torch.tensor(shift))


def pose_error(camera, truth):
    """(radians between, distance between the origins seen) of two poses."""
    relative = camera.w2c @ torch.linalg.inv(truth.w2c)
    cosine = (relative[:3, :3].trace() - 1) / 2
    return float(cosine.clamp(-1, 1).arccos()), float((camera.w2c - truth.w2c)[:3, 3].norm())


def with_options(**changes):
    return dataclasses.replace(QUICK, corrections=dataclasses.replace(CorrectionOptions(), **changes))


def test_a_wrong_pose_is_found_while_the_scene_is_fitted():
    truth = ball_capture(6, 48)[ODD].camera
    wrong = turned(truth, 0.0, [0.02, 0.02, 0.0])
    capture = ball_with(lambda frame: dataclasses.replace(frame, camera=wrong), views=6)
    fit = fit_scene(capture, with_options(pose_rate=4e-3))
    assert pose_error(fit.capture[ODD].camera, truth)[1] < 0.4 * pose_error(wrong, truth)[1]


def slopes(loss, corrections):
    return torch.autograd.grad(loss, corrections.leaves(), allow_unused=True, materialize_grads=True)


def test_a_known_scene_tells_how_its_camera_is_turned_and_shifted():
    scene = from_points(0.6 * torch.rand(200, 3) - 0.3, torch.rand(200, 3), 0.03, opacity=0.8)
    truth = orbit_camera(0.3, 0.2, 0.6, 48, 48)
    wanted = rasterize(scene, [truth]).rgb
    frame = frame_from_tensors(turned(truth, 0.05, [0.01, -0.02, 0.01]), wanted[0], source=Source.GENERATED)
    corrections = FrameCorrections([frame], CorrectionOptions(pose_rate=5e-3), 100)
    for step in range(100):
        drawn = rasterize(scene, (corrections.viewmat(0)[None], truth.intrinsics[None], 48, 48)).rgb
        corrections.step(step, slopes((drawn - wanted).abs().mean(), corrections))
    found = dataclasses.replace(frame.camera, c2w=frame.camera.c2w @ corrections.result()[0].motion.inverse())
    assert max(pose_error(found, truth)) < 0.1 * max(pose_error(frame.camera, truth))


def zoomed(camera, factor):
    """The camera with a longer lens, drawn back so that the world's origin keeps its size."""
    c2w, intrinsics = camera.c2w.clone(), camera.intrinsics.clone()
    c2w[:3, 3] *= factor
    intrinsics[:2, :2] *= factor
    return dataclasses.replace(camera, c2w=c2w, intrinsics=intrinsics)


def test_a_known_scene_tells_the_focal_length_that_all_frames_share():
    scene = from_points(0.6 * torch.rand(200, 3) - 0.3, torch.rand(200, 3), 0.03, opacity=0.8)
    truths = [orbit_camera(azimuth, 0.2, 0.9, 48, 48) for azimuth in (0.3, 2.0, 4.0)]
    wanted = [rasterize(scene, [truth]).rgb[0] for truth in truths]
    frames = [
        frame_from_tensors(zoomed(truth, 1.2), torch.zeros(48, 48, 4), name=f"{i}", source=Source.OBSERVED)
        for i, truth in enumerate(truths)
    ]
    corrections = FrameCorrections(frames, CorrectionOptions(focal=True, focal_rate=1e-2), 90)
    for step in range(90):
        index = step % 3
        seen = corrections.viewmat(index)[None], corrections.intrinsics(frames[index].camera.intrinsics)[None]
        loss = (rasterize(scene, (*seen, 48, 48)).rgb[0] - wanted[index]).abs().mean()
        corrections.step(step, slopes(loss, corrections))
    found = corrections.result()
    assert found[0].focal == pytest.approx(1 / 1.2, rel=0.02)
    assert found[0].focal == found[1].focal == found[2].focal
    moved = corrected_capture(Capture(tuple(frames)), found)
    for frame, truth in zip(moved, truths):
        assert max(pose_error(frame.camera, truth)) < 0.05
        assert torch.allclose(frame.camera.intrinsics, truth.intrinsics, rtol=0.02)


def test_observed_cameras_move_if_asked_once_the_scene_has_settled():
    capture = ball_capture(6, 32, source=Source.OBSERVED)
    options = CorrectionOptions(observed_pose=True, focal=True, settled=0.5)
    corrections = FrameCorrections(list(capture), options, 10)

    def ask(step):
        asked = corrections.viewmat(1).sum() + corrections.intrinsics(capture[1].camera.intrinsics).sum()
        corrections.step(step, slopes(asked, corrections))
        return corrections.result()

    early = ask(5)[1]
    assert early.focal == 1
    assert early.motion == pytest.approx(torch.eye(4), abs=1e-6)
    late = ask(6)[1]
    assert late.focal < 1
    assert (late.motion[:3, :3] - torch.eye(3)).abs().max() > 1e-4


def test_a_wrong_exposure_is_found_and_undone():
    gain = torch.tensor([0.8, 0.9, 1.1])

    def dark(frame):
        rgba = frame.rgba()
        return frame_from_tensors(frame.camera, torch.cat((rgba[..., :3] * gain, rgba[..., 3:]), -1), name=frame.name)

    truth = ball_capture(10, 48)[ODD].rgba()
    capture = ball_with(dark)
    fit = fit_scene(capture, with_options(exposure_rate=2e-2))
    inside = truth[..., 3] > 0.5
    before, after = (float((c[ODD].rgba() - truth)[inside].abs().mean()) for c in (capture, fit.capture))
    assert after < 0.5 * before


def test_what_was_observed_stays_as_it_is():
    capture = ball_with(lambda frame: frame)
    fit = fit_scene(capture, dataclasses.replace(QUICK, iterations=30))
    for index, (found, given) in enumerate(zip(fit.capture, capture, strict=True)):
        moved = not torch.equal(fit.corrections[index].motion, torch.eye(4))
        assert moved == (index == ODD)
        if not moved:
            assert torch.equal(found.camera.c2w, given.camera.c2w)
            assert torch.equal(found.rgba(), given.rgba())
            assert torch.equal(found.weight(), given.weight())


def test_observed_frames_get_an_exposure_if_asked_and_their_mean_stays():
    capture = ball_capture(8, 32, source=Source.OBSERVED)
    fit = fit_scene(capture, dataclasses.replace(with_options(observed_exposure=True), iterations=40))
    gains = torch.stack([found.gain for found in fit.corrections])
    assert (gains - 1).abs().max() > 1e-4
    assert gains.mean(0) == pytest.approx(torch.ones(3), abs=1e-5)


def test_pixels_that_the_scene_cannot_explain_are_doubted_and_harm_less():
    truth = ball_capture(12, 48, source=Source.GENERATED)
    frames = list(truth)
    for index in (ODD, ODD + 1):
        rgba = frames[index].rgba().clone()
        rgba[:, :24] = 0
        frames[index] = frame_from_tensors(truth[index].camera, rgba, name=f"{index}", source=Source.GENERATED)
    longer = dataclasses.replace(QUICK, iterations=300)
    plain, careful = (
        fit_scene(Capture(tuple(frames)), dataclasses.replace(longer, corrections=chosen))
        for chosen in (NO_CORRECTIONS, dataclasses.replace(NO_CORRECTIONS, confidence=True))
    )
    confidence = careful.corrections[ODD].confidence
    covered = truth[ODD].rgba()[..., 3].reshape(16, 3, 16, 3).mean((1, 3)) > 0.9
    assert confidence[:, :7][covered[:, :7]].mean() < 0.5
    assert confidence[:, 9:][covered[:, 9:]].mean() > 0.9
    assert careful.corrections[0].confidence.mean() > 0.95
    assert outline_error(careful, truth[ODD]) < 0.8 * outline_error(plain, truth[ODD])


def outline_error(fit, truth):
    """Mean difference of the masks of the fitted and the true ball."""
    drawn = rasterize(fit.gaussians, [truth.camera]).alpha[0]
    return float((drawn - truth.rgba()[..., 3]).abs().mean())


def test_corrections_are_the_same_for_the_same_seed():
    capture = ball_capture(6, 32, geometry=True, source=Source.GENERATED)
    first, second = (fit_scene(capture, dataclasses.replace(QUICK, iterations=20), seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.gaussians.tensors(), second.gaussians.tensors()))
    assert all(torch.equal(a.motion, b.motion) for a, b in zip(first.corrections, second.corrections))


def test_a_motion_turns_about_the_origin_that_the_camera_sees():
    frames = ball_capture(3, 32, source=Source.GENERATED).frames
    corrections = FrameCorrections(frames, CorrectionOptions(pose_rate=0.1), 10)
    # Asks for a turn about the camera's x axis only.
    asked = corrections.viewmat(1)[1, :3] @ torch.tensor([0.3, 0.2, 0.5])
    corrections.step(1, slopes(asked, corrections))
    motion = corrections.result()[1].motion
    assert motion[:3, :3] @ motion[:3, :3].T == pytest.approx(torch.eye(3), abs=1e-5)
    assert torch.linalg.matrix_norm(motion[:3, :3] - torch.eye(3)) > 0.05
    assert torch.equal(corrections.result()[0].motion, torch.eye(4))


def test_the_corrected_capture_keeps_normals_on_their_pixels():
    frame = ball_capture(3, 32, geometry=True, source=Source.GENERATED)[0]
    found = FrameCorrections([frame], CorrectionOptions(), 10).result()[0]
    c, s = math.cos(0.1), math.sin(0.1)
    motion = torch.eye(4)
    motion[:2, :2] = torch.tensor([[c, -s], [s, c]])
    moved = corrected_capture(Capture((frame,)), [dataclasses.replace(found, motion=motion)])[0]
    assert torch.allclose(moved.camera.w2c, motion @ frame.camera.w2c, atol=1e-5)
    local = frame.normal() @ frame.camera.c2w[:3, :3]
    assert torch.allclose(moved.normal() @ moved.camera.c2w[:3, :3], local, atol=1e-5)


def generated_mask(alpha):
    rgba = torch.cat((torch.zeros(32, 32, 3), alpha[..., None]), -1)
    return decided(frame_from_tensors(ball_capture(1, 32)[0].camera, rgba, source=Source.GENERATED))


def test_a_decided_mask_covers_as_much_as_was_expected_where_that_is_likeliest():
    alpha = torch.rand(32, 32, generator=torch.Generator().manual_seed(0)) ** 2
    mask = generated_mask(alpha).rgba()[..., 3]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask.sum() == alpha.sum().round()
    assert alpha[mask == 1].min() > alpha[mask == 0].max()


def test_the_less_certain_a_decision_the_less_it_weighs():
    alpha = torch.linspace(0, 1, 1024).view(32, 32)
    weight = generated_mask(alpha).weight().flatten()
    least = int(weight.argmin())
    assert (weight[:least].diff() <= 0).all()
    assert (weight[least:].diff() >= 0).all()
    assert weight[0] == weight[-1] == 1
    assert weight[least] < 0.01


@pytest.mark.parametrize("covered", [0, 1, 500, 1024])
def test_a_mask_without_doubt_stays_as_it_is(covered):
    alpha = (torch.arange(1024) < covered).float().view(32, 32)
    frame = generated_mask(alpha)
    assert torch.equal(frame.rgba()[..., 3], alpha)
    assert (frame.weight() == 1).all()


def test_observed_masks_stay_soft():
    frame = ball_capture(1, 32, source=Source.OBSERVED)[0]
    assert decided(frame) is frame


def test_generated_depth_only_starts_the_fit_unless_asked():
    def losses(**changes):
        heard = []
        capture = ball_with(lambda frame: frame, views=6, geometry=True)
        options = dataclasses.replace(with_options(**changes), iterations=12)
        fit_scene(capture, options, progress=lambda done, total, figures: heard.append("depth" in figures))
        return heard

    assert sum(losses()) == 12 - 2  # two passes over six frames, of which one was generated
    assert sum(losses(generated_geometry=1.0)) == 12
