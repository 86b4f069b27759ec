from typing import Any

import numpy as np
import torch

from gen.data.photo import PhotoOptions, photographed
from gen.gauge import encode_appearance

CLEAN = PhotoOptions(share=0.0, distortion=0.0)


def discs(count: int = 12, size: int = 48) -> torch.Tensor:
    """Premultiplied pictures of a two-coloured disc."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    alpha = ((x - size / 2).hypot(y - size / 2) < size / 3).float()[..., None]
    color = torch.where(x[..., None] < size / 2, torch.tensor([0.8, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.7]))
    return torch.cat((color * alpha, alpha), dim=-1).expand(count, size, size, 4).contiguous()


def test_without_flaws_pictures_stay_as_they_are():
    pictures = discs()
    assert torch.equal(photographed(pictures, np.random.default_rng(0), CLEAN), pictures)


def test_flawed_pictures_are_valid_show_the_same_thing_and_differ_from_each_other():
    pictures = discs()
    before = pictures.clone()
    flawed = photographed(pictures, np.random.default_rng(0), PhotoOptions(share=1.0))
    assert torch.equal(pictures, before)
    assert flawed.shape == pictures.shape
    assert flawed.dtype == torch.float32
    assert 0 <= float(flawed.min()) <= float(flawed.max()) <= 1
    assert bool((flawed[..., :3] <= flawed[..., 3:] + 1e-6).all())  # premultiplied
    difference = (flawed - pictures).abs().mean(dim=(1, 2, 3))
    assert 0.005 < float(difference.median()) < 0.1
    assert len({float(d) for d in difference}) == len(pictures)
    overlap = ((flawed[..., 3] > 0.5) & (pictures[..., 3] > 0.5)).float().sum() / (pictures[..., 3] > 0.5).float().sum()
    assert overlap > 0.85


def test_the_same_stream_gives_the_same_flaws():
    first, second = (photographed(discs(), np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, photographed(discs(), np.random.default_rng(4)))


def test_lenses_bend_the_rim_and_not_the_middle():
    pictures = discs(32)
    bent = photographed(pictures, np.random.default_rng(0), PhotoOptions(share=1.0, distortion=0.3, blur=0.0, noise=0.0,
        white_balance=0.0, exposure=0.0, jpeg=(100, 100), matte=0.0))  # fmt: skip
    areas = (bent[..., 3] > 0.5).float().sum(dim=(1, 2)) / (pictures[..., 3] > 0.5).float().sum(dim=(1, 2))
    assert float(areas.max() - areas.min()) > 0.05
    middle = encode_appearance(bent)[:, 23:25, 23:25, 3] > 0.9
    assert middle.all(dim=(1, 2)).float().mean() > 0.8  # the others have a hole there


def test_no_picture_is_no_trouble():
    assert photographed(discs()[:0], np.random.default_rng(0)).shape == (0, 48, 48, 4)


NONE: dict[str, Any] = {
    "share": 1.0,
    "distortion": 0.0,
    "blur": 0.0,
    "noise": 0.0,
    "white_balance": 0.0,
    "exposure": 0.0,
}


def flawed(count: int = 300, **flaws) -> tuple[torch.Tensor, torch.Tensor]:
    """Straight colours well inside of the disc's two halves (N, 2, 8, 8, 3), and alpha (N, 48, 48)."""
    options = PhotoOptions(**{**NONE, "jpeg": (100, 100), "matte": 0.0, **flaws})
    pictures = photographed(discs(count), np.random.default_rng(1), options)
    inside = torch.stack([pictures[:, 20:28, x : x + 8] for x in (12, 28)], dim=1)
    return inside[..., :3] / inside[..., 3:].clamp_min(1e-3), pictures[..., 3]


COLORS = torch.tensor([[0.8, 0.2, 0.1], [0.1, 0.3, 0.7]])[:, None, None]


def whole(colors: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The pictures without a hole where the colours are looked at."""
    return colors[(alpha[:, 20:28, 12:36] > 0.99).all(dim=(1, 2))]


def test_each_flaw_befalls_its_share_of_the_pictures_and_does_what_it_is_called():
    colors, alpha = flawed()
    assert (whole(colors, alpha) - COLORS).abs().max() < 0.03  # nothing but a very good JPEG
    wrong = (alpha != discs(1)[..., 3]).flatten(1).any(dim=1)
    assert 0.4 < wrong.float().mean() < 0.6  # mattes
    pierced = (alpha[:, 24 - 9 : 24 + 9, 24 - 9 : 24 + 9] < 0.5).flatten(1).any(dim=1)
    assert 0.01 < pierced.float().mean() < 0.1  # one in five of those, where the hole lies in the middle

    grain = whole(*flawed(noise=0.1)) - COLORS
    assert 0.03 < grain.std(dim=(1, 2, 3, 4)).mean() < 0.07
    tinted = whole(*flawed(white_balance=0.2)).mean(dim=(2, 3))[:, 0] / COLORS[0, 0, 0]
    assert 0.1 < tinted[:, 1].log().std() < 0.3
    assert abs(float(torch.corrcoef(tinted[:, 1:].T)[0, 1])) < 0.3  # each channel by itself
    exposed = whole(*flawed(exposure=0.15)).mean(dim=(2, 3))[:, 0] / COLORS[0, 0, 0]
    assert torch.corrcoef(exposed[:, 1:].T)[0, 1] > 0.95  # all channels alike
    poor = (whole(*flawed(jpeg=(5, 5))) - COLORS).abs().mean(dim=(1, 2, 3, 4)) > 0.02
    assert 0.4 < poor.float().mean() < 0.6


def test_a_blur_softens_the_edge_in_two_of_five_pictures():
    options = PhotoOptions(**{**NONE, "blur": 0.06, "jpeg": (100, 100), "matte": 0.0})
    pictures = photographed(discs(300), np.random.default_rng(1), options)
    edge = (pictures[:, 24, 24, 0] - pictures[:, 24, 23, 0]).abs()
    assert 0.2 < (edge < 0.34).float().mean() < 0.4  # sharp: 0.7; through a JPEG, whose colours are coarse: 0.36


def test_pictures_need_not_be_square():
    tall = photographed(discs()[:, :, 8:40], np.random.default_rng(0), PhotoOptions(share=1.0))
    assert tall.shape == (12, 48, 32, 4)
    holes = photographed(torch.ones(400, 16, 64, 4), np.random.default_rng(0), PhotoOptions(**NONE))[..., 3] < 0.5
    columns = holes.any(dim=(0, 1)).nonzero()
    assert 8 < int(columns.min()) < 24 < 40 < int(columns.max()) < 56  # a fifth from the border on, along the width
