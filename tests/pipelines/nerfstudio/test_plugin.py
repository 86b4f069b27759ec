"""The plug-in's parts, in nerfstudio's environment: `tests/acceptance/test_nerfstudio.py` runs this file there."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("nerfstudio", reason="nerfstudio is in an environment of its own: make nerfstudio")

from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanagerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.scene_box import SceneBox

from pipelines.nerfstudio.dataparser import CaptureParserConfig
from pipelines.nerfstudio.frames import camera_of, training_capture
from pipelines.nerfstudio.model import SplatsModel, SplatsModelConfig
from pipelines.nerfstudio.optimiser import SplatStepsConfig
from pipelines.nerfstudio.pipeline import started
from recon.capture import Camera, Capture, Similarity, frame_from_tensors
from recon.capture.conversions import Z_UP_TO_Y_UP, opengl_from_opencv
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.normalise import NormaliseError
from recon.splat.comparing import by_kernels, target_of
from recon.splat.corrections import NO_CORRECTIONS, FrameCorrections
from recon.splat.fit import most_gaussians, start_on_solid
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians
from recon.splat.optimise import SplatOptimiser
from tests.recon.splat.balls import CENTRE, RADIUS, ball_capture

VIEWS = FIT_PRESETS["views"]


def written(folder: Path, capture: Capture | None = None, **changes: object) -> Path:
    write_transforms(ball_capture(9, 32) if capture is None else capture, folder)
    listing = folder / "transforms.json"
    listing.write_text(json.dumps(json.loads(listing.read_text()) | changes))
    return folder


def some_scene(count: int = 400) -> Gaussians:
    capture = ball_capture(9, 32)
    return start_on_solid(capture.frames, replace(VIEWS, grid=32), count, torch.Generator().manual_seed(0))


def model_of(scene: Gaussians, **options: Any) -> SplatsModel:
    box = SceneBox(aabb=torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
    config = SplatsModelConfig(**options)
    model = config.setup(scene_box=box, num_train_data=9, metadata={}, device="cpu", grad_scaler=None, seed_points=None)
    model.begin(scene, Similarity(), 1000, 0.15)
    return model.train()


def test_cameras_go_to_nerfstudio_and_back(tmp_path):
    outputs = CaptureParserConfig(data=written(tmp_path / "c"), eval_interval=0).setup().get_dataparser_outputs("train")
    assert [file.stem for file in outputs.image_filenames] == [f"view-{i:02d}" for i in range(9)]
    for index, frame in enumerate(ball_capture(9, 32)):
        camera = camera_of(outputs.cameras[index : index + 1])
        back = camera.moved(Z_UP_TO_Y_UP.rotation, Z_UP_TO_Y_UP.translation)
        torch.testing.assert_close(back.c2w, frame.camera.c2w, atol=1e-6, rtol=0)
        torch.testing.assert_close(back.intrinsics, frame.camera.intrinsics)


def test_every_eighth_frame_is_held_out_as_nerfstudio_does(tmp_path):
    folder = written(tmp_path / "c")
    theirs = NerfstudioDataParserConfig(data=folder, eval_mode="interval")
    for split in ("train", "val", "test"):
        ours = CaptureParserConfig(data=folder).setup().get_dataparser_outputs(split)
        assert ours.image_filenames == theirs.setup().get_dataparser_outputs(split).image_filenames


def test_a_lens_is_nerfstudio_s_own(tmp_path):
    folder = written(tmp_path / "c", k1=0.1, k2=-0.02, k3=0.003, p1=0.004, p2=-0.005)
    ours, theirs = (
        config.setup().get_dataparser_outputs("train").cameras.distortion_params
        for config in (CaptureParserConfig(data=folder), NerfstudioDataParserConfig(data=folder, eval_mode="interval"))
    )
    torch.testing.assert_close(ours, theirs.expand_as(ours))
    assert ours.abs().sum() > 0
    with pytest.raises(ValueError, match="k4 to k6"):
        CaptureParserConfig(data=written(tmp_path / "d", k6=0.1)).setup().get_dataparser_outputs("train")


def test_frames_with_weights_and_without_are_refused(tmp_path):
    frames = list(ball_capture(9, 32))
    frames[3] = replace(frames[3], load_weight=lambda: torch.ones(32, 32))
    folder = written(tmp_path / "c", Capture(tuple(frames)))
    with pytest.raises(ValueError, match="give all or none"):
        CaptureParserConfig(data=folder).setup().get_dataparser_outputs("train")


def test_a_capture_of_several_moments_is_refused(tmp_path):
    frames = [replace(frame, time=0.1 * i) for i, frame in enumerate(ball_capture(9, 32))]
    parser = CaptureParserConfig(data=written(tmp_path / "c", Capture(tuple(frames))))
    manager = FullImageDatamanagerConfig(dataparser=parser, cache_images_type="uint8").setup(device="cpu")
    with pytest.raises(ValueError, match="several moments"):
        training_capture(manager)


def test_what_is_trained_on_is_the_capture_s_frames(tmp_path):
    parser = CaptureParserConfig(data=written(tmp_path / "c"))
    manager = FullImageDatamanagerConfig(dataparser=parser, cache_images_type="uint8").setup(device="cpu")
    trained = training_capture(manager)
    given = [frame for index, frame in enumerate(ball_capture(9, 32)) if index % 8]
    assert len(trained) == len(given) == 7
    for ours, frame in zip(trained, given, strict=True):
        assert torch.equal(ours.rgba(), (frame.rgba() * 255).round() / 255)


def test_a_step_s_gradients_are_those_of_our_own_fit():
    scene, frames = some_scene(), list(ball_capture(9, 32))
    options = replace(VIEWS, corrections=NO_CORRECTIONS)
    optimiser = SplatOptimiser(scene, options.rates, 1, torch.Generator())
    targets, background = [target_of(frame, 256) for frame in frames], torch.tensor([0.2, 0.5, 0.7])
    corrections = FrameCorrections(frames, NO_CORRECTIONS, 1)
    expected = by_kernels([(2, background)], optimiser, targets, corrections, options).scene

    model = model_of(scene, background_color="black")
    model._get_background_color = lambda: background
    outputs = model.get_outputs(nerfstudio_camera(frames[2].camera))
    batch = {"image": frames[2].rgba(), "image_idx": 2}
    losses = model.get_loss_dict(outputs, batch)
    torch.stack(list(losses.values())).sum().backward()
    for parameter, gradient in zip(model.get_param_groups()["gaussians"], expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=2e-6, rtol=2e-3)


def nerfstudio_camera(camera: Camera) -> Cameras:
    """The same in the same world."""
    k, pose = camera.intrinsics, opengl_from_opencv(camera.c2w)[None, :3]
    return Cameras(pose, k[0, 0], k[1, 1], k[0, 2], k[1, 2], camera.width, camera.height)


def test_steps_are_those_of_our_optimiser_and_renewed_gaussians_are_the_model_s():
    scene = some_scene(60)
    model = model_of(scene)
    parameters = model.get_param_groups()["gaussians"]
    steps = SplatStepsConfig().setup(parameters)
    steps.begin(iterations=5, extent=2.0, seed=7)
    rates = replace(VIEWS.rates, means=2 * VIEWS.rates.means)
    ours = SplatOptimiser(scene.with_sh_degree(1), rates, 5, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        gradients = [torch.randn(p.shape, generator=generator) for p in parameters]
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        steps.step()
        ours.step(gradients)
        steps.renew(90, 0.15)
        ours.renew(90, max_scale=0.3)
    assert len(model.gaussians) == ours.count > 60
    assert all(map(torch.equal, model.gaussians.tensors(), ours.gaussians.tensors()))


def test_lr_is_a_factor_on_all_step_sizes():
    model = model_of(some_scene(60))
    steps = SplatStepsConfig(lr=0.5).setup(model.get_param_groups()["gaussians"])
    before = model.gaussians.map(lambda tensor: tensor.detach().clone())
    steps.begin(iterations=1000, extent=1.0, seed=0)
    for parameter in model.get_param_groups()["gaussians"]:
        parameter.grad = torch.ones_like(parameter)
    steps.step()
    for name, rate in (("means", VIEWS.rates.means), ("log_scales", VIEWS.rates.log_scales)):
        moved = getattr(before, name) - getattr(model.gaussians, name).detach()
        torch.testing.assert_close(moved, torch.full_like(moved, rate / 2), rtol=0.02, atol=1e-6)


def test_a_start_covers_the_hull_in_the_capture_s_own_world():
    away = Similarity(translation=torch.tensor([3.0, -1.0, 2.0]), scale=5.0)
    scene, to_unit, most_wide = started(ball_capture(9, 32).moved(away), None, "auto", replace(VIEWS, grid=48), 500)
    distances = (away.inverse().apply(scene.means) - CENTRE).norm(dim=-1)
    assert len(scene) == 500
    assert float((distances - RADIUS).abs().median()) < 0.05
    assert to_unit.scale == pytest.approx(0.5 / (RADIUS * 5), rel=0.15)
    assert most_wide == VIEWS.max_scale


def test_a_scene_without_silhouettes_starts_from_its_points():
    frames = [
        frame_from_tensors(f.camera, torch.cat((f.rgba()[..., :3], torch.ones(32, 32, 1)), -1), name=f.name)
        for f in ball_capture(9, 32)
    ]
    opaque = Capture(tuple(frames))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    colors = torch.full((50, 3), 200, dtype=torch.uint8)
    scene, _, _ = started(opaque, (points, colors), "auto", VIEWS, 500)
    torch.testing.assert_close(scene.means[:50], points, atol=1e-5, rtol=0)
    torch.testing.assert_close(scene.base_colors[:50], colors / 255, atol=1e-5, rtol=0)
    with pytest.raises(NormaliseError):
        started(opaque, (points, colors), "hull", VIEWS, 500)


def test_a_model_takes_as_many_gaussians_as_its_checkpoint_has():
    first, second = model_of(some_scene(70)), model_of(some_scene(50))
    second.load_state_dict(first.state_dict())
    assert all(map(torch.equal, second.gaussians.tensors(), first.gaussians.tensors()))


def test_fewer_gaussians_end_where_frames_show_few_pixels():
    targets = [target_of(frame, 32) for frame in ball_capture(9, 32)]
    covered = 9 * math.pi * (RADIUS / 0.5 / 1.1 * 16) ** 2
    found = most_gaussians(targets, replace(VIEWS, pixels_per_gaussian=1.0))
    assert found == pytest.approx(covered, rel=0.15)
