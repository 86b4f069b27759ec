"""Moving scenes on disk."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from recon.motion.moving_file import read_moving, write_moving
from recon.splat.files import SplatsError
from tests.recon.motion.test_optimise import scene


def test_a_moving_scene_comes_back_to_the_bit(tmp_path):
    moving = scene()
    write_moving(moving, tmp_path / "moving.safetensors")
    found = read_moving(tmp_path / "moving.safetensors")
    for time in (1.0, 1.37, 2.0):
        for a, b in zip(found.at(time).tensors(), moving.at(time).tensors()):
            assert torch.equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["moving.safetensors"]


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "moving.safetensors"
    write_moving(scene(), path)
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SplatsError, match="moving Gaussians"):
            read_moving(path)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda m: dataclasses.replace(m, bases=m.bases + 90), "not there"),
        (lambda m: dataclasses.replace(m, bases=m.bases - 90), "not there"),
        (lambda m: dataclasses.replace(m, weights=m.weights * 2), "sum to 1"),
        (lambda m: dataclasses.replace(m, waves=m.waves + float("nan")), "not finite"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path, broken, words):
    write_moving(broken(scene()), tmp_path / "moving.safetensors")
    with pytest.raises(SplatsError, match=words):
        read_moving(tmp_path / "moving.safetensors")


def test_another_file_of_tensors_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"means": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(SplatsError, match="another file"):
        read_moving(tmp_path / "other.safetensors")
