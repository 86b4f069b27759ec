"""Subjects before a plain backdrop: a smooth colour surface is fitted to what reaches the picture's border.

Studio pictures, product shots and rendered pictures have a backdrop whose colour changes slowly: white, a gradient, a
vignette. Such a backdrop is a low polynomial of the position; what departs
from it and is no soft shadow is the subject.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_MAX_SIGMA = 5.0
_MIN_BORDER = 0.55
_DARKEST_SHADOW = 0.55
_SHARPEST_SHADOW = 2.0
_FADING_SHARE = 0.3
_DIGITAL_SIGMA = (
    0.5  # below it the backdrop was painted, not photographed: what is enclosed is flat but for compression
)
_FLAT_RESIDUAL = 1.2


@dataclass(frozen=True)
class Backdrop:
    """A fitted backdrop.

    Attributes:
        distance: (H, W) float32, how far each pixel's colour is from the backdrop, in its standard deviations.
        subject: (H, W) bool, the subject as this model alone sees it.
        bare: (H, W) bool, of the backdrop's colour, wherever it lies: perhaps seen through the subject.
        dimmed: (H, W) bool, of nearly the backdrop's hue: perhaps a shadow that ends too sharply to be told.
        sigma: standard deviation of the backdrop about the surface, CIELAB units.
        border: share of the picture's border that belongs to it.
    """

    distance: np.ndarray
    subject: np.ndarray
    bare: np.ndarray
    dimmed: np.ndarray
    sigma: float
    border: float

    @property
    def plain(self) -> bool:
        """Whether the picture really has a plain backdrop."""
        return self.sigma < _MAX_SIGMA and self.border > _MIN_BORDER

    def resized(self, width: int, height: int) -> Backdrop:
        """The same finding on another pixel grid."""
        import cv2

        def shrink(values: np.ndarray) -> np.ndarray:
            return cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)

        return replace(
            self,
            distance=shrink(self.distance),
            subject=shrink(self.subject) > 0.5,
            bare=shrink(self.bare) > 0.5,
            dimmed=shrink(self.dimmed) > 0.5,
        )

    @property
    def certain(self) -> bool:
        """Whether it is so plain all around that nothing else can be meant."""
        return self.sigma < 0.3 * _MAX_SIGMA and self.border > 0.95


def fit_backdrop(lab: np.ndarray) -> Backdrop:
    """Fit the backdrop of a (H, W, 3) float32 CIELAB picture (L 0..100), growing from the border inward."""
    import cv2

    height, width = lab.shape[:2]
    ring = border_ring(height, width)
    inside = np.zeros((height, width), np.uint8)
    member = _majority(lab, ring)
    sigma = 3.0
    for order, reach in ((1, 4.0), (2, 4.0), (3, 3.5), (4, 3.5), (4, 3.5)):
        surface, sigma = _fit_surface(lab, member, order)
        residual = np.linalg.norm(lab - surface, axis=2)
        candidate = (residual < max(reach * sigma, 2.5)).astype(np.uint8)
        member = _connected_to(candidate, ring) if (candidate[ring] > 0).any() else ring & (inside > 0)
        if member.sum() < 50:
            break
    tolerance = max(3.5 * sigma, 3.0)
    distance = (residual / max(sigma, 0.6)).astype(np.float32)
    gradient = cv2.GaussianBlur(np.abs(cv2.Laplacian(lab[..., 0], cv2.CV_32F)), (0, 0), 1.5)
    # less light of the same colour scales (L + 16, a, b) by one factor, as CIELAB is a cube root of linear light
    offset = np.array([16.0, 0.0, 0.0])
    dimming = (lab[..., 0] + 16) / np.maximum(surface[..., 0] + 16, 1.0)
    hue_error = np.linalg.norm((lab + offset) - dimming[..., None] * (surface + offset), axis=2)
    shadow = (dimming > _DARKEST_SHADOW) & (dimming < 1) & (hue_error < 2.5 + 2 * sigma + 14 * (1 - dimming))
    bare = residual < tolerance
    dimmed = (dimming > _DARKEST_SHADOW) & (dimming < 1.1) & (hue_error < 6 + 2 * sigma + 14 * abs(1 - dimming))
    shadow &= (gradient < _SHARPEST_SHADOW) & ~bare
    shadow = _adjoining(shadow, bare)
    backdrop = _connected_to((bare | shadow).astype(np.uint8), ring & bare)
    holes = _holes(residual, sigma, backdrop)
    return Backdrop(
        distance=distance,
        subject=~(backdrop | holes),
        bare=bare,
        dimmed=dimmed,
        sigma=float(sigma),
        border=float(bare[ring].mean()),
    )


def border_ring(height: int, width: int) -> np.ndarray:
    """(H, W) bool: the outermost two hundredths of the picture, at least two pixels."""
    thickness = max(2, round(0.02 * min(height, width)))
    ring = np.ones((height, width), bool)
    ring[thickness:-thickness, thickness:-thickness] = False
    return ring


def _majority(lab: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """The border pixels that agree with a plane fitted to most of them."""
    member = ring.copy()
    for _ in range(8):
        surface, _ = _fit_surface(lab, member, 1)
        residual = np.linalg.norm(lab - surface, axis=2)
        limit = max(np.median(residual[ring]) * 2.0, 1.0)
        updated = ring & (residual < limit)
        if updated.sum() < 0.3 * ring.sum():
            break
        member = updated
    return member


def _fit_surface(lab: np.ndarray, member: np.ndarray, order: int) -> tuple[np.ndarray, float]:
    """Least-squares polynomial of total degree `order` through the members, and their deviation from it."""
    height, width = member.shape
    y, x = np.mgrid[0:height, 0:width]
    x, y = (2 * (x + 0.5) / width - 1).ravel(), (2 * (y + 0.5) / height - 1).ravel()
    basis = np.stack([x**i * y**j for i in range(order + 1) for j in range(order + 1 - i)], axis=1)
    chosen = np.flatnonzero(member)
    chosen = chosen[:: max(1, len(chosen) // 6000)]
    design, target = basis[chosen], lab.reshape(-1, 3)[chosen]
    ridge = 1e-4 * len(chosen) * np.eye(basis.shape[1])
    ridge[0, 0] = 0.0
    coefficients = np.linalg.solve(design.T @ design + ridge, design.T @ target)
    residual = np.linalg.norm(design @ coefficients - target, axis=1)
    sigma = float(np.sqrt(np.mean(np.minimum(residual, 3 * np.median(residual) + 0.5) ** 2)))
    return (basis @ coefficients).reshape(height, width, 3), sigma


def _connected_to(candidate: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The parts of `candidate` (uint8) that hold one of `seeds`."""
    import cv2

    _, labels = cv2.connectedComponents(candidate, connectivity=4)
    wanted = np.unique(labels[seeds & (candidate > 0)])
    return np.isin(labels, wanted[wanted > 0])


def _adjoining(shadow: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """The shadows that fade into the backdrop along a good part of their outline; pale parts of the subject end
    in an edge instead."""
    import cv2

    count, labels = cv2.connectedComponents(shadow.astype(np.uint8), connectivity=4)
    rim, contact = np.zeros(count), np.zeros(count)
    for axis in (0, 1):
        for step in (-1, 1):
            neighbour = np.roll(labels, step, axis)
            outside = (labels != neighbour) & (labels > 0)
            rim += np.bincount(labels[outside], minlength=count)
            contact += np.bincount(labels[outside & np.roll(plain, step, axis)], minlength=count)
    fading = np.flatnonzero(contact > _FADING_SHARE * rim)
    return np.isin(labels, fading[fading > 0])


def _holes(residual: np.ndarray, sigma: float, backdrop: np.ndarray) -> np.ndarray:
    """Enclosed windows on the backdrop (between chair legs), told from pale parts of the subject by their flatness."""
    import cv2

    enclosed = ((residual < max(2.5 * sigma, 2.0)) & ~backdrop).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(enclosed, connectivity=4)
    area = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    share = np.bincount(labels[residual < sigma + 0.3], minlength=count) / np.maximum(area, 1)
    half = np.bincount(labels[residual < _FLAT_RESIDUAL], minlength=count) / np.maximum(area, 1)
    flat = (share > 0.8) | ((half > 0.5) & (sigma < _DIGITAL_SIGMA))
    windows = np.flatnonzero(flat & (area > 0.001 * backdrop.size))
    return np.isin(labels, windows[windows > 0])
