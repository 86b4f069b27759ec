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
