"""Silhouettes by GrabCut from several seeds; one that another confirms is kept.

Rother, Kolmogorov, Blake: GrabCut, SIGGRAPH 2004, as OpenCV has it. Its random numbers are seeded before every run,
so that the same picture always gives the same silhouette.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon.capture.backdrop import Backdrop, border_ring

_ITERATIONS = 3
_SEED = 20240229
_CERTAIN = 0.55


@dataclass(frozen=True)
class Vote:
    """The outcome of several segmentations.

    Attributes:
        mask: (H, W) bool, the chosen silhouette, of the picture's size or of the backdrop's.
        agreement: overlap (intersection over union) of the chosen with the one that confirms it best, 0..1.
        from_backdrop: the plain backdrop's own silhouette was chosen.
    """

    mask: np.ndarray
    agreement: float
    from_backdrop: bool


def vote(rgb: np.ndarray, salient: np.ndarray, backdrop: Backdrop) -> Vote:
    """Find the subject's silhouette.

    Args:
        rgb: (H, W, 3) uint8 picture of a few hundred pixels a side.
        salient: (H, W) float32 in [0, 1].
        backdrop: the backdrop fitted to the same picture, of any size; where it is plain its own silhouette wins
            unless all others contradict it.
    """
    small = backdrop.resized(rgb.shape[1], rgb.shape[0])
    masks = [clean(run_grabcut(rgb, seed)) for seed in seed_masks(salient, small)]
    if backdrop.plain:
        own = clean(small.subject)
        agreement = max((iou(own, mask) for mask in masks), default=0.0)
        if plausibility(own) > 0 and (agreement > _CERTAIN or backdrop.certain):
            return Vote(_settle(backdrop, masks), max(agreement, 0.5), True)
        masks.append(own)
    weight = np.array([plausibility(mask) for mask in masks])
    overlap = np.array([[iou(a, b) for b in masks] for a in masks]) * (weight > 0)
    np.fill_diagonal(overlap, 0)
    support = overlap.max(axis=1)  # not the mean: seeds that find a part only outvote those that find the whole
    score = support * weight * np.array([_compactness(mask) for mask in masks])
    best = int(np.argmax(score))
    return Vote(masks[best], float(support[best]) if weight[best] > 0 else 0.0, False)


def _settle(backdrop: Backdrop, masks: list[np.ndarray]) -> np.ndarray:
    """The backdrop's own silhouette without what only it counts as subject: windows and shadows, which are
    of the backdrop's hue and which no GrabCut took."""
    import cv2

    size = backdrop.subject.shape[::-1]
    taken = [cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in masks if m.any()]
    if not taken:
        return clean(backdrop.subject)
    return clean(backdrop.subject & ~((backdrop.bare | backdrop.dimmed) & ~np.logical_or.reduce(taken)))


def sharpen(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Let GrabCut redraw the outline of a coarse silhouette on a finer picture, within a narrow band.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (h, w) bool, a smaller picture's silhouette.
    """
    import cv2

    size = (rgb.shape[1], rgb.shape[0])
    coarse = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    reach = np.ones((3, 3), np.uint8)
    steps = max(2, round(2.5 * size[0] / mask.shape[1]))
    seed = np.where(coarse > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    seed[cv2.erode(coarse, reach, iterations=steps) > 0] = cv2.GC_FGD
    seed[cv2.dilate(coarse, reach, iterations=steps) == 0] = cv2.GC_BGD
    seed[border_ring(*coarse.shape) & (coarse == 0)] = cv2.GC_BGD  # no shadow that happens to reach the border
    redrawn = clean(run_grabcut(rgb, seed, iterations=1))
    return redrawn if iou(redrawn, coarse > 0) > 0.6 else coarse > 0


def seed_masks(salient: np.ndarray, backdrop: Backdrop) -> list[np.ndarray]:
    """GrabCut masks from saliency, from the departure from the border's colours, and from the picture's middle."""
    import cv2

    height, width = salient.shape
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5)
    central = np.exp(-(radius**2) / (2 * 0.25**2))
    departure = 1 - np.exp(-backdrop.distance / 8)
    ring = border_ring(height, width)
    disc = np.where(radius < 0.33, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    disc[radius < 0.06] = cv2.GC_FGD
    disc[ring] = cv2.GC_BGD
    if backdrop.plain:
        return [_seed(departure * (0.3 + 0.7 * central)), disc]
    frame = np.full(salient.shape, cv2.GC_PR_FGD, np.uint8)
    frame[ring] = cv2.GC_BGD
    joint = np.sqrt(np.clip(salient, 0, 1) * departure) * (0.35 + 0.65 * central)
    return [_seed(salient * (0.2 + 0.8 * central)), _seed(joint), disc, frame]


def _seed(score: np.ndarray) -> np.ndarray:
    """Scores to GrabCut's four labels around Otsu's threshold; the border is never certain foreground."""
    import cv2
    from skimage.filters import threshold_otsu

    threshold = float(threshold_otsu(score)) if np.ptp(score) > 1e-6 else 0.5
    high = float(np.quantile(score[score >= threshold], 0.6)) if (score >= threshold).any() else 1.0
    ring = border_ring(*score.shape)
    mask = np.full(score.shape, cv2.GC_PR_BGD, np.uint8)
    mask[score >= threshold] = cv2.GC_PR_FGD
    mask[score < 0.25 * threshold] = cv2.GC_BGD
    mask[(score >= high) & ~ring] = cv2.GC_FGD
    mask[ring & (score < threshold)] = cv2.GC_BGD
    return mask


def run_grabcut(rgb: np.ndarray, mask: np.ndarray, iterations: int = _ITERATIONS) -> np.ndarray:
    """(H, W) bool foreground; empty when the mask lacks either side."""
    import cv2

    foreground = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    if foreground.sum() < 10 or (~foreground).sum() < 10:
        return np.zeros(mask.shape, bool)
    result = mask.copy()
    cv2.setRNGSeed(_SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(rgb, result, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return (result == cv2.GC_FGD) | (result == cv2.GC_PR_FGD)


def clean(mask: np.ndarray) -> np.ndarray:
    """The mask without specks and pinholes: parts of at least a fiftieth of the largest stay."""
    import cv2

    if not mask.any():
        return mask
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    kept = np.isin(labels, np.flatnonzero(area >= max(0.02 * area.max(), 1)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    pinholes = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < 0.0004 * mask.size)
    return kept | np.isin(labels, pinholes[pinholes > 0])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two bool masks; two empty masks do not overlap."""
    union = float((a | b).sum())
    return float((a & b).sum()) / union if union else 0.0


def plausibility(mask: np.ndarray) -> float:
    """0..1: a subject has some area, leaves some, and does not run along the border."""
    share = float(mask.mean())
    if share < 0.003 or share > 0.95:
        return 0.0
    along_border = float(mask[border_ring(*mask.shape)].mean())
    return float(np.clip(1.3 - 2.2 * along_border, 0.05, 1.0)) * min(1.0, share / 0.02)


def wholeness(mask: np.ndarray) -> float:
    """The largest connected part's share of a mask; 0 for an empty one."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return float(stats[1:, cv2.CC_STAT_AREA].max(initial=0) / max(mask.sum(), 1))


def _compactness(mask: np.ndarray) -> float:
    """0..1: one part, near the middle of the picture."""
    if not mask.any():
        return 0.0
    offset = np.argwhere(mask).mean(0) / mask.shape - 0.5
    return wholeness(mask) * float(np.exp(-2 * np.hypot(*offset)))
