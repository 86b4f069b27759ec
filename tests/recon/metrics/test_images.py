"""Picture measures: analytic cases and agreement with scikit-image."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from recon.metrics.errors import MetricError
from recon.metrics.images import flip, flip_available, high_frequency_energy, mask_iou, over_white, psnr, ssim
from recon.metrics.views import compare_views, resize_views


def noisy_pair(size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    truth = torch.rand(size, size, 3, generator=generator)
    noise = 0.2 * torch.randn(size, size, 3, generator=generator)
    return (truth + noise).clamp(0, 1), truth


def disc(radius: float, size: int = 64, shift: float = 0.0) -> torch.Tensor:
    """(1, size, size, 4) red disc with a hard edge."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    inside = ((x - size / 2 - shift) ** 2 + (y - size / 2) ** 2).sqrt() < radius
    color = torch.tensor([0.8, 0.1, 0.1]).expand(size, size, 3)
    return torch.cat((color, inside[..., None].float()), dim=-1)[None]


def test_psnr_agrees_with_scikit_image():
    predicted, truth = noisy_pair()
    expected = peak_signal_noise_ratio(truth.numpy(), predicted.numpy(), data_range=1)
    assert float(psnr(predicted, truth)) == pytest.approx(expected, abs=1e-4)


def test_ssim_agrees_with_scikit_image():
    predicted, truth = noisy_pair()
    expected = structural_similarity(
        truth.numpy(),
        predicted.numpy(),
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert float(ssim(predicted, truth)) == pytest.approx(expected, abs=1e-5)


def test_a_constant_error_gives_its_psnr_inside_any_mask():
    truth = torch.full((2, 20, 20, 3), 0.5)
    mask = torch.zeros(2, 20, 20, dtype=torch.bool)
    mask[:, 5:9, 5:9] = True
    assert torch.allclose(psnr(truth + 0.1, truth, mask), torch.full((2,), 20.0), atol=1e-4)


def test_identical_pictures_score_sixty_decibel_and_full_similarity():
    _, truth = noisy_pair()
    assert float(psnr(truth, truth)) == pytest.approx(60)
    assert float(ssim(truth, truth)) == pytest.approx(1)


def test_the_masked_measures_do_not_see_the_background():
    small, large = disc(12), disc(12, size=128)
    recolored = [d * torch.tensor([0.5, 1, 1, 1]) for d in (small, large)]
    near, far = compare_views(recolored[0], small), compare_views(recolored[1], large)
    assert float(far.psnr - near.psnr) > 5
    assert float(far.masked_psnr) == pytest.approx(float(near.masked_psnr), abs=1e-3)


def test_mask_overlap_of_shifted_squares_is_a_third():
    a, b = torch.zeros(2, 12, 12, dtype=torch.bool)
    a[2:6, 2:6] = True
    b[2:6, 4:8] = True
    assert float(mask_iou(a, b)) == pytest.approx(1 / 3)


def test_two_empty_pictures_agree():
    empty = torch.zeros(1, 32, 32, 4)
    scores = compare_views(empty, empty)
    assert float(scores.mask_iou) == 1
    assert float(scores.masked_psnr) == pytest.approx(60)


def test_high_frequency_energy_of_a_checkerboard_is_all_of_its_variance():
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    board = ((x + y) % 2).float()[..., None].expand(16, 16, 3)
    assert float(high_frequency_energy(board)) == pytest.approx(0.25, abs=1e-6)
    assert float(high_frequency_energy(torch.full((16, 16, 3), 0.7))) == pytest.approx(0, abs=1e-9)


def test_blur_lowers_and_noise_raises_sharpness():
    truth = disc(20)
    soft = resize_views(resize_views(truth, 16), 64)
    noise = 0.2 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    grainy = torch.cat((truth[..., :3] + noise[..., :3], truth[..., 3:]), dim=-1)
    assert float(compare_views(soft, truth).sharpness) < 0.5
    assert float(compare_views(grainy, truth).sharpness) > 1.2


def test_every_measure_prefers_the_smaller_shift():
    truth = disc(20)
    near, far = compare_views(disc(20, shift=1), truth), compare_views(disc(20, shift=6), truth)
    for name in ("psnr", "ssim", "masked_psnr", "masked_ssim", "mask_iou"):
        assert float(getattr(near, name)) > float(getattr(far, name)), name


@pytest.mark.skipif(not flip_available(), reason="the optional package flip-evaluator is not installed")
def test_flip_is_zero_for_equal_pictures_and_grows_with_the_difference():
    truth = over_white(disc(20))
    values = [float(flip(over_white(disc(20, shift=s)), truth)) for s in (0, 1, 6)]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[0] < values[1] < values[2]


def test_resizing_keeps_colour_clean_at_soft_edges():
    resized = resize_views(disc(20), 24)
    visible = resized[resized[..., 3] > 0.01][:, :3]
    assert torch.allclose(visible, torch.tensor([0.8, 0.1, 0.1]).expand_as(visible), atol=1e-3)


def test_pictures_of_different_size_are_refused():
    with pytest.raises(MetricError, match="differ in shape"):
        psnr(torch.zeros(8, 8, 3), torch.zeros(8, 9, 3))


def test_pictures_smaller_than_the_ssim_window_are_refused():
    with pytest.raises(MetricError, match="above 10 px"):
        ssim(torch.zeros(10, 10, 3), torch.zeros(10, 10, 3))
