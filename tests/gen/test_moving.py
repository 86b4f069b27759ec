"""Training on what moves: tasks, scenes of single moments, and runs on still and moving things together."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from gen.data.dataset import OrbitDataset
from gen.data.mixing import DatasetMix
from gen.data.render import plan_dataset, render_dataset
from gen.gauge import make_gauge, stack_cameras
from gen.objective import flow_loss
from gen.splats import PixelGaussians, draw
from gen.tasks import draft_example, draw_tasks, group_times, views_needed
from gen.train import train
from recon.capture import orbit_camera
from recon.splat.backend_cuda import gsplat_is_here
from tests.gen.moving import OPTIONS, write_solids
from tests.gen.small import random_network, render_solids
from tests.gen.test_train import OPTIONS as TRAINING


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    solids = write_solids(folder / "solids")
    render_dataset(plan_dataset(solids, replace(OPTIONS, views=24)), folder / "data")
    return OrbitDataset(folder / "data")


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return render_solids(tmp_path_factory.mktemp("solids"), size=16, views=12)


def test_videos_are_shown_and_other_views_of_their_times_are_asked_for(moving):
    videos = 0
    for seed in range(6):
        example = draft_example(moving, np.random.default_rng(seed), 6, 96, 16).develop()
        batch, levels = example.batch, example.tasks.levels
        assert not batch.times[:, 0].any()
        shown = levels[..., 0] == 0
        for scene in range(len(levels)):
            seen = batch.c2w[scene, :6][shown[scene]]
            times = batch.times[scene, :6][shown[scene]]
            if len(seen) == 3 and (seen == seen[0]).all() and len(times.unique()) == 3:
                videos += 1
                asked = batch.times[scene, 3:]
                assert torch.isin(asked, times).all()
                assert not (batch.c2w[scene, 3:] == seen[0]).flatten(1).all(dim=1).any()
    assert videos > 0.3 * 6 * 16


def test_a_scene_that_moves_shows_as_many_frames_as_times(moving):
    tasks = draw_tasks(np.random.default_rng(0), 2000, 8, 16, moments=4)
    usual = tasks.camera_known[:, 0] & (tasks.levels[:, 0, 0] == 0)
    shown = (tasks.levels[usual][..., 0] == 0).sum(dim=1)
    assert 0.65 < (shown == 4).float().mean() < 0.8


def test_tasks_of_what_stands_still_are_those_from_before_there_were_times():
    first, second = (draw_tasks(np.random.default_rng(3), 50, 6, 32, *more) for more in ((), (1,)))
    assert torch.equal(first.levels, second.levels)
    assert torch.equal(first.camera_known, second.camera_known)


def test_frames_are_grouped_by_time():
    groups = group_times(np.array([[0, 1, 0, 2], [5, 5, 5, 5]], np.float32))
    assert groups.tolist() == [
        [[0, 2, -1, -1], [1, -1, -1, -1], [3, -1, -1, -1]],
        [[0, 1, 2, 3], [-1] * 4, [-1] * 4],
    ]


def gaussians_and_gauge(seed: int = 0):
    """Random Gaussians of three frames, and five cameras that see them, of two scenes."""
    generator = torch.Generator().manual_seed(seed)
    cameras = [orbit_camera(angle, 0.2, math.radians(40), 8, 8) for angle in (0.0, 0.7, 2.0, 3.5, 5.0)]
    c2w, intrinsics = (x.expand(2, *x.shape).clone() for x in stack_cameras(cameras))

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(2, 3, 8, 8, *shape, generator=generator)

    means, sizes = rand(3) - 0.5, torch.full((2, 3, 8, 8), -2.5)
    told = PixelGaussians(means, sizes, rand(), rand(3), torch.tensor([[True] * 3, [True, False, True]]))
    return told, make_gauge(c2w, intrinsics, 8, 8)


def test_every_frame_is_drawn_from_the_gaussians_of_its_own_time():
    told, gauge = gaussians_and_gauge()
    times = torch.tensor([[0.0, 1, 0, 1, 2], [0.0, 1, 1, 0, 1]])
    drawn = draw(told, gauge, 8, 8, torch.from_numpy(group_times(times.numpy())))
    for scene in range(2):
        for frame in range(5):
            lends = (times[scene, :3] == times[scene, frame]) & told.kept[scene]
            alone = replace(told, kept=told.kept.clone())
            alone.kept[scene] = lends
            expected = draw(alone, gauge, 8, 8)[scene, frame]
            torch.testing.assert_close(drawn[scene, frame], expected)
    assert bool((drawn[0, 4] == -1).all())  # nothing tells of that time


@pytest.mark.skipif(not torch.cuda.is_available() or not gsplat_is_here(), reason="needs a GPU and gsplat")
def test_a_gpu_draws_every_time_as_the_processor_does():
    told, gauge = gaussians_and_gauge()
    moments = torch.from_numpy(group_times(np.array([[0, 1, 0, 1, 2], [0, 1, 1, 0, 1]], np.float32)))
    there = replace(gauge, **{f.name: getattr(gauge, f.name).cuda() for f in fields(gauge)})
    drawn = draw(told.to(torch.device("cuda")), there, 8, 8, moments.cuda())
    assert (drawn.cpu() - draw(told, gauge, 8, 8, moments)).abs().max() < 0.01


def test_gaussians_of_one_time_are_drawn_as_ever_and_lend_the_same_gradients():
    told, gauge = gaussians_and_gauge()
    pictures, gradients = [], []
    for moments in (None, torch.from_numpy(group_times(np.zeros((2, 5), np.float32)))):
        colors = told.colors.clone().requires_grad_()
        pictures.append(draw(replace(told, colors=colors), gauge, 8, 8, moments))
        pictures[-1].square().sum().backward()
        gradients.append(colors.grad)
    torch.testing.assert_close(*pictures)
    torch.testing.assert_close(*gradients)


def test_the_network_is_told_the_seconds(moving):
    told = []
    network = random_network()

    def listening(frames, levels, rays, times, known):
        told.append(times)
        return network(frames, levels, rays, times, known)

    example = draft_example(moving, np.random.default_rng(0), 4, 24, 16).develop()
    loss = flow_loss(listening, example)
    assert torch.isfinite(loss)
    assert torch.equal(told[0], example.batch.times[:, :4])
    assert told[0].abs().max() > 0.1
    shifted = replace(example, batch=replace(example.batch, times=example.batch.times * 1.5))
    assert not torch.equal(flow_loss(network, shifted), loss)


def test_still_and_moving_things_train_together_and_the_loss_falls(still, moving, tmp_path):
    losses = []
    mix = DatasetMix([still, moving])
    train(mix, tmp_path, replace(TRAINING, steps=60), lambda step, loss: losses.append(loss))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    with pytest.raises(ValueError, match="another dataset"):
        train(moving, tmp_path, replace(TRAINING, steps=61))


def test_a_network_of_still_things_goes_on_with_moving_ones(still, moving, tmp_path):
    train(still, tmp_path / "first", replace(TRAINING, steps=3))
    train(moving, tmp_path / "second", replace(TRAINING, steps=3, init=str(tmp_path / "first")))


def test_a_mixed_run_that_was_stopped_ends_with_the_same_weights(still, moving, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, loss):
        if step == 4:
            raise Stop

    mix = DatasetMix([still, moving], [1, 2])
    train(mix, tmp_path / "whole", TRAINING)
    with pytest.raises(Stop):
        train(mix, tmp_path / "parts", TRAINING, stop)
    train(mix, tmp_path / "parts", TRAINING)
    assert (tmp_path / "whole/ema.safetensors").read_bytes() == (tmp_path / "parts/ema.safetensors").read_bytes()


def test_a_moving_dataset_with_too_few_views_is_refused_with_what_it_needs(tmp_path):
    assert views_needed(1) == 10
    assert views_needed(6) == 18
    solids = write_solids(tmp_path / "solids")
    render_dataset(plan_dataset(solids, replace(OPTIONS, views=8)), tmp_path / "data")
    with pytest.raises(ValueError, match=r"8 views.*--views 12"):
        train(OrbitDataset(tmp_path / "data"), tmp_path / "run", TRAINING)
