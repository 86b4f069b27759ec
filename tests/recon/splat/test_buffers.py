"""Working memory is used again, never by two at a time."""

import gc
import threading

import numpy as np
import pytest
import torch

from recon.capture import orbit_camera
from recon.splat.backend_cpu import buffers
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.rasterize import rasterize
from tests.recon.splat.scenes import random_scene


@pytest.mark.parametrize("count", [0, 1, 1000, 1 << 14, 123_457])
def test_arrays_begin_at_cache_lines_and_have_the_size_asked_for(count):
    array = buffers.empty(count, np.float32)
    assert len(array) == count
    assert array.dtype == np.float32
    assert array.ctypes.data % 64 == 0
    array[:] = 1


def test_memory_that_nobody_has_any_more_is_used_again_and_other_memory_is_not():
    first, second = buffers.empty(50_001, np.float32), buffers.empty(50_001, np.float32)
    assert not np.shares_memory(first, second)
    place = first.ctypes.data
    del first
    assert buffers.empty(50_000, np.int32).ctypes.data == place


@pytest.mark.parametrize(
    "view", [lambda a: a[1000:].reshape(-1, 3), torch.from_numpy, lambda a: torch.from_numpy(a)[5:]]
)
def test_a_view_keeps_its_memory(view):
    array = buffers.empty(70_000, np.float32)
    place = array.ctypes.data
    seen = view(array)
    del array
    other = buffers.empty(70_000, np.float32)
    assert other.ctypes.data != place
    del seen
    assert buffers.empty(70_000, np.float32).ctypes.data == place


def test_not_more_than_a_limit_is_kept(monkeypatch):
    for name, value in (("_free", {}), ("_kept", 0), ("_MOST_KEPT", 100_000)):
        monkeypatch.setattr(buffers, name, value)
    small, large = buffers.empty(10_000, np.uint8), buffers.empty(200_000, np.uint8)
    del large
    assert not buffers._free
    del small
    assert 10_000 <= buffers._kept <= 100_000


def test_cycles_that_are_collected_meanwhile_give_their_memory_back(monkeypatch):
    class Collecting(dict):
        def setdefault(self, *args):
            gc.collect()
            return super().setdefault(*args)

    for name, value in (("_free", Collecting()), ("_kept", 0)):
        monkeypatch.setattr(buffers, name, value)

    def give_back():
        cycle: list[object] = [buffers.empty(10_000, np.uint8)]
        cycle.append(cycle)
        single = buffers.empty(30_000, np.uint8)
        del cycle, single

    worker = threading.Thread(target=give_back, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()
    assert buffers._kept >= 40_000


def test_drawings_made_before_others_are_differentiated_like_those_made_after():
    """A drawing keeps its working memory until its gradients are no longer wanted, also for a second time."""
    gaussians, viewmats, intrinsics = random_scene(4, 300, 1, (40, 30), 2, 3.5)

    def drawn():
        leaves = [tensor.clone().requires_grad_() for tensor in gaussians.tensors()]
        return leaves, rasterize(Gaussians(*leaves), (viewmats, intrinsics, 40, 30)).rgb.square().sum()

    early, early_loss = drawn()
    for _ in range(3):
        late, late_loss = drawn()
        late_grads = torch.autograd.grad(late_loss, late)
    for retain in (True, False):
        early_grads = torch.autograd.grad(early_loss, early, retain_graph=retain)
        assert all(torch.equal(a, b) for a, b in zip(early_grads, late_grads))


def test_one_wide_gaussian_does_not_make_the_next_scene_large(monkeypatch):
    monkeypatch.setattr("recon.splat.backend_cpu.drawing._Room.pairs", 2.0)
    wide = from_points(torch.zeros(1, 3), torch.ones(1, 3), 3.0, opacity=0.9)
    rasterize(wide, [orbit_camera(0.0, 0.0, 0.8, 512, 512)], geometry=False)
    sizes: list[int] = []
    empty = buffers.empty

    def noting(count, dtype):
        sizes.append(count)
        return empty(count, dtype)

    monkeypatch.setattr(buffers, "empty", noting)
    gaussians, viewmats, intrinsics = random_scene(1, 30_000, 0, (64, 64), 1, 5.0)
    rasterize(gaussians, (viewmats, intrinsics, 64, 64), geometry=False)
    assert max(sizes) < 40 * 30_000
