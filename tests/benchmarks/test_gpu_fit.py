"""What of the GPU's benchmark can be checked without one; gsplat's part is played by our own rasterizer."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu_fit
from benchmarks._held_out import BACKGROUND, split_of
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize
from tests.recon.splat.balls import ball_capture


class NoStrategy:
    """Keeps the scene's size."""

    def __init__(self, verbose):
        self.steps = []

    def check_sanity(self, splats, optimisers):
        assert set(splats) == set(optimisers)

    def initialize_state(self, scene_scale):
        assert scene_scale > 0
        return {}

    def step_pre_backward(self, splats, optimisers, state, step, info):
        self.steps.append(step)

    def step_post_backward(self, splats, optimisers, state, step, info, packed):
        assert self.steps[-1] == step


def drawn(
    means, quats, scales, opacities, colors, viewmats, intrinsics, width, height, *, sh_degree, packed, backgrounds
):
    scene = Gaussians(means, quats, scales.log(), opacities.logit(), colors)
    cameras = (viewmats, intrinsics, width, height)
    picture = rasterize(scene, cameras, background=backgrounds[0], sh_degree=sh_degree, geometry=False)
    return picture.rgb, picture.alpha, {}


@pytest.fixture
def split():
    frames = ball_capture(10, 32).frames
    return split_of("ball", frames[:7], frames[7:])


def test_the_loop_after_gsplats_trainer_learns(split, monkeypatch):
    monkeypatch.setattr(
        gpu_fit, "find_gsplat", lambda: SimpleNamespace(rasterization=drawn, DefaultStrategy=NoStrategy)
    )
    monkeypatch.setattr(gpu_fit, "_POINTS", 300)
    first, later = (gpu_fit.by_default_strategy(split, steps, device="cpu") for steps in (1, 400))
    assert later.psnr > first.psnr + 3
    assert (later.gaussians, later.steps, later.peak_mib) == (300, 400, None)


def test_ours_beats_an_empty_picture(split):
    row = gpu_fit.ours(split, "cpu", 40)
    nothing = Gaussians(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), -9.0),
        torch.tensor([-9.0]),
        torch.zeros(1, 1, 3),
    )
    assert row.psnr > gpu_fit.scored(split, nothing, 0.0, 0, None).psnr + 3
    table = gpu_fit.markdown({"rows": {"ball, ours": vars(row)}})
    assert "ball, ours" in table
    assert BACKGROUND.shape == (3,)


def test_without_a_gpu_it_says_so(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert gpu_fit.main([str(tmp_path), "-o", str(tmp_path / "out.json")]) == 2
    assert "needs an NVIDIA GPU" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
