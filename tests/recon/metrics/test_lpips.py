"""LPIPS: agreement with the original on weights anyone can draw again, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from recon.metrics.errors import MetricError
from recon.metrics.lpips import Lpips, load_lpips

CONVOLUTIONS = {
    "alex": {
        "net.slice1.0": (64, 3, 11, 11),
        "net.slice2.3": (192, 64, 5, 5),
        "net.slice3.6": (384, 192, 3, 3),
        "net.slice4.8": (256, 384, 3, 3),
        "net.slice5.10": (256, 256, 3, 3),
    },
    "vgg": {
        "net.slice1.0": (64, 3, 3, 3),
        "net.slice1.2": (64, 64, 3, 3),
        "net.slice2.5": (128, 64, 3, 3),
        "net.slice2.7": (128, 128, 3, 3),
        "net.slice3.10": (256, 128, 3, 3),
        "net.slice3.12": (256, 256, 3, 3),
        "net.slice3.14": (256, 256, 3, 3),
        "net.slice4.17": (512, 256, 3, 3),
        "net.slice4.19": (512, 512, 3, 3),
        "net.slice4.21": (512, 512, 3, 3),
        "net.slice5.24": (512, 512, 3, 3),
        "net.slice5.26": (512, 512, 3, 3),
        "net.slice5.28": (512, 512, 3, 3),
    },
}
COMPARED = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}

# The package lpips 0.1.4 on these weights and pictures: its LPIPS(net=...) with its state dict replaced by `weights`,
# called with normalize=True, its torchvision a stub with the layers of alexnet().features and vgg16().features.
ORIGINAL = {"alex": (0.2306914, 0.8848257, 0.9088563), "vgg": (0.3219635, 0.7646344, 0.7524439)}


def weights(net: str) -> dict[str, torch.Tensor]:
    """The original's state dict, with uniform numbers in place of trained ones, signals kept at their size."""
    generator = torch.Generator().manual_seed(7)
    state = {
        "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1),
        "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1),
    }
    for name, shape in CONVOLUTIONS[net].items():
        bound = (6 / (shape[1] * shape[2] * shape[3])) ** 0.5
        state[f"{name}.weight"] = (2 * torch.rand(shape, generator=generator) - 1) * bound
        state[f"{name}.bias"] = 0.3 * (2 * torch.rand(shape[0], generator=generator) - 1)
    for number, channels in enumerate(COMPARED[net]):
        state[f"lin{number}.model.1.weight"] = torch.rand(1, channels, 1, 1, generator=generator)
    return state


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches (3, 53, 70, 3): noise that is darkened, turned round, and drawn anew."""
    generator = torch.Generator().manual_seed(11)
    truth, other = torch.rand(2, 3, 53, 70, 3, generator=generator)
    return torch.stack((truth[0] * 0.7, truth[1].flip(0), other[2])), truth


@pytest.fixture(scope="module")
def alex(tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    path = tmp_path_factory.mktemp("lpips") / "alex.safetensors"
    save_file(weights("alex"), path)
    return load_lpips(path)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_distance_is_that_of_the_original(net: str, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file(weights(net), path)
    distance = load_lpips(path)
    assert distance.net == net
    assert distance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert distance(*pictures()).tolist() == pytest.approx(ORIGINAL[net], rel=1e-4)


def test_equal_pictures_have_no_distance_and_others_the_same_both_ways(alex: Lpips):
    predicted, truth = pictures()
    assert alex(truth, truth).tolist() == [0, 0, 0]
    assert torch.allclose(alex(predicted, truth), alex(truth, predicted))


def test_the_distance_grows_with_the_difference(alex: Lpips):
    predicted, truth = pictures()
    near, far = (alex(truth.lerp(predicted, amount), truth) for amount in (0.2, 0.8))
    assert (near < far).all()


def test_batch_dimensions_are_kept(alex: Lpips):
    predicted, truth = pictures()
    flat = alex(predicted, truth)
    assert torch.equal(alex(predicted[:, None], truth[:, None]), flat[:, None])
    assert torch.equal(alex(predicted[1], truth[1]), flat[1])
    assert alex(predicted[:0], truth[:0]).shape == (0,)


def test_either_name_of_the_last_layers_will_do(alex: Lpips, tmp_path: Path):
    state = weights("alex")
    aliases = {f"lins.{i}.model.1.weight": state[f"lin{i}.model.1.weight"].clone() for i in range(5)}
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("lin")}
    for number, content in enumerate((trunk | aliases, state | aliases)):
        path = tmp_path / f"{number}.safetensors"
        save_file(content, path)
        assert torch.equal(load_lpips(path)(*pictures()), alex(*pictures()))


@pytest.mark.parametrize(
    ("name", "replacement", "message"),
    [
        ("lin3.model.1.weight", None, r"expected lin3\.model\.1\.weight \(1, 256, 1, 1\) .* none of this name"),
        ("net.slice1.0.weight", None, r'of LPIPS\(net="alex"\), found 16 tensors'),
        ("net.slice2.3.bias", torch.zeros(191), r"expected net\.slice2\.3\.bias \(192,\) .* found \(191,\)"),
        ("net.slice4.8.bias", torch.full((256,), torch.nan), r"slice4\.8\.bias .* found NaN or infinity"),
    ],
)
def test_other_weights_are_refused(name: str, replacement: torch.Tensor | None, message: str, tmp_path: Path):
    state = weights("alex")
    del state[name]
    if replacement is not None:
        state[name] = replacement
    path = tmp_path / "bad.safetensors"
    save_file(state, path)
    with pytest.raises(MetricError, match=rf"bad\.safetensors: .*{message}"):
        load_lpips(path)


def test_a_pickled_file_is_refused_unread(tmp_path: Path):
    path = tmp_path / "alex.pth"
    torch.save({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, path)
    with pytest.raises(MetricError, match=r"alex\.pth: expected a safetensors file, found something else .* make the"):
        load_lpips(path)


def test_a_cut_file_is_refused(tmp_path: Path):
    path = tmp_path / "cut.safetensors"
    save_file(weights("alex"), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MetricError, match=r"cut\.safetensors: expected a safetensors file"):
        load_lpips(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(MetricError, match=r"none\.safetensors: .*, found no readable file \(No such"):
        load_lpips(tmp_path / "none.safetensors")


def test_the_smallest_picture_is_measured_and_smaller_ones_are_refused(alex: Lpips):
    assert alex(torch.zeros(31, 31, 3), torch.ones(31, 31, 3)) > 0
    with pytest.raises(MetricError, match=r"LPIPS \(alex\) needs pictures of 31 px or more on each side, got 40x30"):
        alex(torch.zeros(40, 30, 3), torch.ones(40, 30, 3))


@pytest.mark.parametrize(
    ("shape", "other", "message"),
    [
        ((40, 40, 3), (40, 41, 3), "differ in shape"),
        ((40, 40, 4), (40, 40, 4), r"\(\.\.\., H, W, 3\), got \(40, 40, 4\)"),
        ((40, 3), (40, 3), r"got \(40, 3\)"),
    ],
)
def test_other_shapes_are_refused(alex: Lpips, shape: tuple[int, ...], other: tuple[int, ...], message: str):
    with pytest.raises(MetricError, match=message):
        alex(torch.zeros(shape), torch.zeros(other))
