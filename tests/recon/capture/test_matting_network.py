"""Segmentation networks as ONNX files: a tiny one is written, loaded and run as ISNet would be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recon.capture.errors import PhotoError
from recon.capture.matting import find_foreground
from recon.capture.photo import Photo, read_photo
from tests.recon.capture.network import save_network
from tests.shared_data import ROOT


def dark_disc() -> tuple[Photo, torch.Tensor]:
    """A dark disc on light ground, 120x90 pixels, and its silhouette."""
    y, x = torch.meshgrid(torch.arange(90) + 0.5, torch.arange(120) + 0.5, indexing="ij")
    disc = (x - 55) ** 2 + (y - 48) ** 2 < 25**2
    rgb = torch.where(disc[..., None], torch.tensor([30, 20, 40]), torch.tensor([225, 230, 235])).to(torch.uint8)
    return Photo(Path("disc.png"), rgb), disc


def test_a_network_finds_the_subject(tmp_path: Path) -> None:
    photo, disc = dark_disc()
    found = find_foreground(photo, save_network(tmp_path / "net.onnx")) > 0.5
    assert float((found & disc).sum() / (found | disc).sum()) > 0.95


def test_a_photograph_s_matte_is_the_network_s_answer_at_the_photograph_s_size(tmp_path: Path) -> None:
    photo = read_photo(ROOT / "assets" / "photos" / "coffee.jpg")
    found = find_foreground(photo, save_network(tmp_path / "net.onnx", threshold=0.3))
    assert found.shape == photo.rgb.shape[:2]
    dark = photo.rgb.float().mean(-1) / 255 < 0.3
    assert float(((found > 0.5) & dark).sum() / ((found > 0.5) | dark).sum()) > 0.8


def test_a_subject_that_a_network_finds_on_three_sides_of_the_picture_is_refused(tmp_path: Path) -> None:
    y, x = torch.meshgrid(torch.arange(90), torch.arange(120), indexing="ij")
    close = torch.where((x - 75).abs() + (y - 45).abs() < 70, 20, 230).to(torch.uint8)[..., None].expand(90, 120, 3)
    weights = save_network(tmp_path / "net.onnx")
    with pytest.raises(PhotoError, match="runs out of it on 3 sides"):
        find_foreground(Photo(Path("close.png"), close.contiguous()), weights)


def test_a_network_s_weak_answer_is_no_subject(tmp_path: Path) -> None:
    photo, _ = dark_disc()
    weights = save_network(tmp_path / "net.onnx", gain=4.0, threshold=-1.6)  # sigmoid: between 0.0005 and 0.001
    with pytest.raises(PhotoError, match="an empty foreground"):
        find_foreground(photo, weights)


def test_a_network_without_its_last_activation_is_refused(tmp_path: Path) -> None:
    photo, _ = dark_disc()
    with pytest.raises(PhotoError, match=r"values from .* to .*sigmoid"):
        find_foreground(photo, save_network(tmp_path / "net.onnx", last="Identity"))


def test_a_file_that_is_no_network_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(PhotoError, match=r"net\.onnx: found a network that cannot be run"):
        find_foreground(dark_disc()[0], tmp_path / "net.onnx")
