"""LPIPS, the learned perceptual distance of two pictures (Zhang et al. 2018), for those who bring its weights.

The weights come as a safetensors file, which the package `lpips` (0.1, with torchvision) makes in two lines:

    import lpips, safetensors.torch
    safetensors.torch.save_model(lpips.LPIPS(net="alex"), "lpips-alex.safetensors")

`net="vgg"` works as well; the file's names tell which it is. Neither package is needed afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from recon.metrics.errors import MetricError

CUTS = {"alex": (2, 5, 8, 10, 12), "vgg": (4, 9, 16, 23, 30)}
"""The original's slices of each network: features are compared after that many layers."""
SMALLEST = {"alex": 31, "vgg": 16}
"""Sides of the smallest picture, in pixels, of which the last slice still sees one."""
NORM_FLOOR = 1e-10
"""Added to the length of a pixel's features before dividing by it, as the original does."""
REMEDY = "make the file as recon/metrics/lpips.py says"


@dataclass(frozen=True, eq=False)
class Lpips:
    """The distance under one file's weights; call it with two batches of pictures.

    Attributes:
        net: "alex" or "vgg", the network whose features are compared.
        sha256: digest of the weights' file, hexadecimal.
        layers: that network.
        shift, scale: (1, 3, 1, 1), what pictures in [-1, 1] are normalised with.
        channel_weights: (1, C, 1, 1) of each slice.
    """

    net: str
    sha256: str
    layers: nn.Sequential = field(repr=False)
    shift: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    channel_weights: tuple[Tensor, ...] = field(repr=False)

    @torch.no_grad()
    def __call__(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Distance (...) of pictures (..., H, W, 3), sRGB in [0, 1], on the CPU; 0 for equal ones, lower is better.

        Raises:
            MetricError: if the shapes differ, are not (..., H, W, 3), or the pictures are too small for the network.
        """
        shape, smallest = tuple(predicted.shape), SMALLEST[self.net]
        if shape != tuple(truth.shape):
            raise MetricError(f"pictures differ in shape: {shape} against {tuple(truth.shape)}")
        if len(shape) < 3 or shape[-1] != 3:
            raise MetricError(f"LPIPS needs pictures (..., H, W, 3), got {shape}")
        if min(shape[-3:-1]) < smallest:
            raise MetricError(
                f"LPIPS ({self.net}) needs pictures of {smallest} px or more on each side, got {shape[-3]}x{shape[-2]}"
            )
        pairs = zip(predicted.reshape(-1, *shape[-3:]), truth.reshape(-1, *shape[-3:]), strict=True)
        values = [self._distance(a, b) for a, b in pairs]  # one by one, for the features are large
        return torch.tensor(values).reshape(shape[:-3])

    def _distance(self, a: Tensor, b: Tensor) -> float:
        """Weighted squared differences of unit features of two pictures (H, W, 3): mean over pixels, sum of slices."""
        features = zip(self.channel_weights, self._features(a), self._features(b), strict=True)
        return sum(float((weights * (x - y).square()).sum(1).mean()) for weights, x, y in features)

    def _features(self, picture: Tensor) -> Iterator[Tensor]:
        """(1, C, h, w) features of a picture (H, W, 3) after each slice, of length 1 at each pixel."""
        x = (picture.float().movedim(-1, 0)[None] * 2 - 1 - self.shift) / self.scale
        for start, stop in pairwise((0, *CUTS[self.net])):
            x = self.layers[start:stop](x)
            yield x / (x.norm(dim=1, keepdim=True) + NORM_FLOOR)


def load_lpips(path: Path) -> Lpips:
    """The distance whose weights are in the safetensors file at `path`; the module's head says how it is made.

    Raises:
        MetricError: if there is no such file, or not with the weights of `LPIPS(net="alex")` or `LPIPS(net="vgg")`.
    """
    try:
        data = path.read_bytes()
        found = load(data)
    except OSError as error:
        raise MetricError(f"{path}: expected LPIPS weights, found no readable file ({error.strerror})") from error
    except (SafetensorError, KeyError) as error:  # KeyError: of a number type that the reader lacks
        raise MetricError(f"{path}: expected a safetensors file, found something else ({error}); {REMEDY}") from error
    # The last layers have two names in the original, either of which may have been written.
    found = {f"lin{name[5:]}" if name.startswith("lins.") else name: tensor for name, tensor in found.items()}
    net = "vgg" if "net.slice1.2.weight" in found else "alex"

    def take(name: str, shape: tuple[int, ...]) -> Tensor:
        expected = f'{path}: expected {name} {shape} of LPIPS(net="{net}")'
        if name not in found:
            raise MetricError(f"{expected}, found {len(found)} tensors, but none of this name; {REMEDY}")
        if found[name].shape != shape:
            raise MetricError(f"{expected}, found {tuple(found[name].shape)}; {REMEDY}")
        tensor = found[name].float()
        if not tensor.isfinite().all():
            raise MetricError(f"{expected}, found NaN or infinity in it; {REMEDY}")
        return tensor

    with torch.device("meta"):
        layers = _alexnet() if net == "alex" else _vgg16()
    state = {}
    for name, parameter in layers.named_parameters():
        number = sum(cut <= int(name.split(".")[0]) for cut in CUTS[net]) + 1
        state[name] = take(f"net.slice{number}.{name}", tuple(parameter.shape))
    layers.load_state_dict(state, assign=True)
    shift, scale = (take(f"scaling_layer.{name}", (1, 3, 1, 1)) for name in ("shift", "scale"))
    channels = [len(state[f"{cut - 2}.bias"]) for cut in CUTS[net]]  # of the convolution before a slice's last ReLU
    channel_weights = tuple(take(f"lin{i}.model.1.weight", (1, n, 1, 1)) for i, n in enumerate(channels))
    return Lpips(net, hashlib.sha256(data).hexdigest(), layers, shift, scale, channel_weights)


def _alexnet() -> nn.Sequential:
    """The convolutions of torchvision's AlexNet (Krizhevsky 2014)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _vgg16() -> nn.Sequential:
    """The convolutions of torchvision's VGG-16 (Simonyan and Zisserman 2014)."""
    layers: list[nn.Module] = []
    before = 3
    for count, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        if layers:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
    return nn.Sequential(*layers)
