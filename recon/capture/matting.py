"""The subject's matte: from the file's alpha, from a network whose weights the user has, or by pip-only vision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recon.capture.backdrop import border_ring, fit_backdrop
from recon.capture.errors import PhotoError
from recon.capture.grabcut import iou, sharpen, vote, wholeness
from recon.capture.matte import refine
from recon.capture.saliency import saliency

if TYPE_CHECKING:
    from recon.capture.photo import Photo

_VOTING_SIDE = 176
_OUTLINE_SIDE = 352
_MIN_AGREEMENT = 0.8
_MAX_COLOURS_SHARED = 0.72
_MIN_WHOLENESS = 0.7
_FILLED = 0.4
_MIN_SIDE_SHARE = 0.25
_SUPPLY = "Crop to one subject on a plain background, or save the picture as PNG with a transparent background."
_POINT_OUT = (
    "Crop closer to one subject, take it before a plain background, save the picture as PNG with a transparent "
    "background, or let a network find the subject (--matting)."
)
_Change = Callable[[np.ndarray], np.ndarray]
_IMAGENET = (np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32))


def find_foreground(photo: Photo, weights: Path | None = None) -> Tensor:
    """(H, W) float32 alpha of the photo's subject.

    The file's own alpha wins where it says anything, and is taken to be meant: it may show several parts
    (`count_subjects`). Otherwise `weights`, an ONNX file of a segmentation network
    (ISNet, U2-Net), is used when given; otherwise the backdrop model and GrabCut. The same photo always gives the
    same matte.

    Raises:
        PhotoError: if no subject is found, if it cannot be told from its surroundings, if it fills or leaves the
            picture, if there are several, or if the network cannot be run. The message says what to do.
    """
    if photo.has_matte:
        assert photo.alpha is not None
        alpha = photo.alpha.float() / 255
        if 0 < float(alpha.max()) <= 0.5:
            raise PhotoError(
                photo.path,
                found=f"an alpha that is nowhere above one half (at most {float(alpha.max()):.0%})",
                expected="a subject that is opaque",
                remedy="Make the subject opaque, or remove the alpha so that the subject is looked for.",
            )
        _check_size(photo.path, (alpha > 0.5).numpy(), _SUPPLY)
        return alpha
    rgb = photo.rgb.numpy()
    if weights is not None:
        matte = _network_matte(rgb, weights)
    else:
        matte = _classical_matte(photo.path, rgb)
    _check_size(photo.path, matte > 0.5, _SUPPLY)
    _check_sides(photo.path, matte > 0.5)
    count = count_subjects(torch.from_numpy(matte) > 0.5)
    if count > 1:
        raise PhotoError(
            photo.path, found=f"{count} separate subjects of like size", expected="one subject", remedy=_SUPPLY
        )
    return torch.from_numpy(matte)


def count_subjects(mask: Tensor) -> int:
    """How many separate parts of a (H, W) bool silhouette are at least 0.6 times as large as the largest."""
    import cv2

    small = cv2.resize(mask.numpy().astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA) > 0.5
    joined = cv2.morphologyEx(small.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas > 0.6 * areas.max(initial=0)).sum())


def cut_off(photo: Photo, alpha: Tensor) -> float:
    """Which share of the outline of a photo's matte, (H, W) float32, lies on the picture's border.

    Where the subject was found rather than given, the border is as wide as the one that GrabCut never takes.
    """
    import cv2

    mask = (alpha > 0.5).numpy()
    padded = np.pad(mask, 1).astype(np.uint8)
    outline = mask & (cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0)
    border = border_ring(*mask.shape)
    if photo.has_matte:
        border[1:-1, 1:-1] = False
    return float(outline[border].sum() / max(outline.sum(), 1))


def _classical_matte(path: Path, rgb: np.ndarray) -> np.ndarray:
    """(H, W) float32 matte by the backdrop model and GrabCut."""
    outline = _shrink(rgb, _OUTLINE_SIDE)
    if min(_shrink(outline, _VOTING_SIDE).shape[:2]) < 16:
        raise PhotoError(
            path,
            found=f"a picture of {rgb.shape[1]} x {rgb.shape[0]} pixels",
            expected="sides of at least 16 pixels and no extreme format",
            remedy="Use a larger picture.",
        )
    return refine(rgb, _confirmed_silhouette(path, outline))


def _confirmed_silhouette(path: Path, rgb: np.ndarray) -> np.ndarray:
    """The silhouette, or the refusal, that at least two of three looks at the picture agree on.

    What hangs by a hair comes out differently in the mirror and without the outermost hundredth.
    """
    inset = max(1, round(0.01 * min(rgb.shape[:2])))
    looks: tuple[tuple[_Change, _Change], ...] = (
        (lambda picture: picture, lambda mask: mask),
        (lambda picture: np.ascontiguousarray(picture[:, ::-1]), lambda mask: mask[:, ::-1]),
        (
            lambda picture: np.ascontiguousarray(picture[inset:-inset, inset:-inset]),
            lambda mask: np.pad(mask, inset, mode="edge"),
        ),
    )
    masks: list[np.ndarray] = []
    refusals: list[PhotoError] = []
    for change, back in looks:
        try:
            mask = back(_silhouette(path, change(rgb)))
        except PhotoError as refusal:
            refusals.append(refusal)
            if len(refusals) > 1:
                raise refusals[0] from None
            continue
        for earlier in masks:
            if iou(earlier, mask) > _MIN_AGREEMENT:
                return earlier
        masks.append(mask)
    raise PhotoError(
        path,
        found="no clear subject (it comes out differently in the mirror and when the picture is cropped a little)",
        expected="one subject that stands out from its surroundings",
        remedy=_POINT_OUT,
    )


def _silhouette(path: Path, outline: np.ndarray) -> np.ndarray:
    """(H, W) bool silhouette in a (H, W, 3) uint8 picture of a few hundred pixels a side.

    Raises:
        PhotoError: if there is none or nothing confirms it.
    """
    import cv2

    small = _shrink(outline, _VOTING_SIDE)
    backdrop = fit_backdrop(cv2.cvtColor(outline.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    result = vote(small, np.zeros(lab.shape[:2], np.float32) if backdrop.plain else saliency(lab), backdrop)
    if not result.mask.any():
        raise PhotoError(
            path, found="no subject that differs from the background", expected="one subject", remedy=_POINT_OUT
        )
    if result.from_backdrop:
        return result.mask
    if result.agreement < _MIN_AGREEMENT:
        raise PhotoError(
            path,
            found=f"no clear subject (ways to find it overlap by {result.agreement:.0%} only)",
            expected="one subject that stands out from its surroundings",
            remedy=_POINT_OUT,
        )
    if wholeness(result.mask) < _MIN_WHOLENESS:
        raise PhotoError(
            path,
            found="no whole subject but scattered parts (features of something larger?)",
            expected="one subject with background around it",
            remedy=_POINT_OUT,
        )
    if _colours_shared(small, result.mask) > _MAX_COLOURS_SHARED:
        raise PhotoError(
            path,
            found="no subject whose colours differ from its surroundings",
            expected="one subject that stands out",
            remedy=_POINT_OUT,
        )
    return sharpen(outline, result.mask)


def _colours_shared(rgb: np.ndarray, mask: np.ndarray) -> float:
    """Intersection of the colour histograms inside and outside of a silhouette: above 0.75 for textures and noise,
    below 0.6 for pictures of something."""
    bins = (rgb // 32).astype(np.int64) @ np.array([64, 8, 1])
    inside, outside = (np.bincount(bins[part], minlength=512) / max(part.sum(), 1) for part in (mask, ~mask))
    return float(np.minimum(inside, outside).sum())


def _network_matte(rgb: np.ndarray, weights: Path) -> np.ndarray:
    """Run an ONNX segmentation network: one (1, 3, S, S) input, a first output with the matte in [0, 1].

    Other programs stretch the answer to that range, which makes a subject out of the noise of an empty answer; a
    network that ends in a sigmoid, as ISNet and U2-Net do, needs no stretching.
    """
    import cv2

    weights = Path(weights)
    if not weights.is_file():
        raise PhotoError(weights, found="no file", expected="ONNX weights", remedy="Check the path.")
    try:
        import onnxruntime
    except ImportError as cause:
        raise PhotoError(
            weights,
            found="weights but no onnxruntime to run them",
            expected="the optional matting packages",
            remedy='Install them with: pip install ".[matting]" (in the checkout)',
        ) from cause
    try:
        session: Any = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        side = entry.shape[2] if isinstance(entry.shape[2], int) else 1024
        pixels = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        # U2-Net (320 pixels) was trained with ImageNet's statistics, ISNet (1024) with plain centring
        pixels = (pixels - _IMAGENET[0]) / _IMAGENET[1] if side <= 512 else pixels - 0.5
        output = np.asarray(session.run(None, {entry.name: pixels.transpose(2, 0, 1)[None]})[0], np.float32)
    except Exception as cause:  # onnxruntime's errors share no public base class
        raise PhotoError(
            weights,
            found=f"a network that cannot be run ({type(cause).__name__}: {str(cause)[:120]})",
            expected="ISNet or U2-Net as ONNX, one (1, 3, S, S) input",
            remedy="Download the weights again.",
        ) from cause
    matte = output.reshape(-1, *output.shape[-2:])[0]
    if matte.ndim != 2 or not np.isfinite(matte).all():
        raise PhotoError(
            weights, found=f"an output of shape {output.shape}", expected="(1, 1, S, S)", remedy="Use other weights."
        )
    if matte.min() < -0.01 or matte.max() > 1.01:
        raise PhotoError(
            weights,
            found=f"a matte with values from {matte.min():.3g} to {matte.max():.3g}",
            expected="values from 0 to 1, as of a network that ends in a sigmoid",
            remedy="Export the network with its last activation, or use other weights.",
        )
    return np.clip(cv2.resize(matte, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR), 0, 1)


def _check_size(path: Path, mask: np.ndarray, remedy: str) -> None:
    share = float(mask.mean())
    extent = np.ptp(np.argwhere(mask), axis=0) + 1 if mask.any() else np.zeros(2)
    if share == 0 or max(extent) < 8 or share < 0.0005:
        found = "an empty foreground" if share == 0 else f"a foreground of {share:.2%} of the picture"
        raise PhotoError(path, found=found, expected="a subject at least 8 pixels long", remedy=remedy)
    if share > 0.97 or float(mask[border_ring(*mask.shape)].mean()) > 0.75:
        raise PhotoError(
            path,
            found="a foreground that fills the whole picture",
            expected="a subject with background around it",
            remedy="Take the picture from farther away. " + remedy,
        )


def _check_sides(path: Path, mask: np.ndarray) -> None:
    """A large subject that was found may be cut off at two sides, which the run warns of; beyond that it is a part."""
    thickness = max(2, round(0.02 * min(mask.shape)))
    edges = (mask[:thickness].any(0), mask[-thickness:].any(0), mask[:, :thickness].any(1), mask[:, -thickness:].any(1))
    sides = sum(float(edge.mean()) > _MIN_SIDE_SHARE for edge in edges)
    if sides > 2 and float(mask.mean()) > _FILLED:
        raise PhotoError(
            path,
            found=f"a subject that fills the picture and runs out of it on {sides} sides",
            expected="the whole subject with background around it",
            remedy="Take the picture from farther away. " + _SUPPLY,
        )


def _shrink(rgb: np.ndarray, side: int) -> np.ndarray:
    import cv2

    scale = side / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
