"""Which of a video's frames to reconstruct from: sharp ones, as far apart as the camera or the object moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon.capture.errors import CaptureError
from recon.capture.video import Scan

FEWEST_FRAMES = 3
"""Fewer views are no capture."""
_BLACK = 2.0
"""Standard deviation of the luma (0 to 255) below which a frame shows nothing."""
_AS_SHARP = 0.9
"""Of the sharpest candidate: frames above this count as equally sharp, and the one in the middle is taken."""
_BLURRED = 0.2
"""Of the usual sharpness: chosen frames below this are left out."""


@dataclass(frozen=True)
class Choice:
    """What `choose_frames` chose.

    Attributes:
        indices: of the frames, rising.
        sharpness: (K,) each one's sharpness over the chosen ones' median.
        overlap: (K - 1,) share of the picture that neighbours have in common, as far as motion tells: 1 less what moves
            fastest has moved in between, at least 0.
        blurred: frames that were left out because all around them was blurred.
        empty: frames of the video that show nothing.
    """

    indices: tuple[int, ...]
    sharpness: np.ndarray
    overlap: np.ndarray
    blurred: int
    empty: int


def choose_frames(scan: Scan, count: int, path: Path) -> Choice:
    """At most `count` frames, spaced by motion, not by time, so that a pause yields one frame and haste many.

    The way that the pictures move is cut into `count` equal pieces; of each piece the sharpest frame is taken, the
    nearest to its middle among equally sharp ones. The way grows with the root of the motion: half of what makes one
    frame's motion larger than another's is speed, the other half is how near the part is that happens to move.

    Args:
        scan: of the whole video.
        count: at most so many.
        path: the video, for messages.

    Raises:
        CaptureError: if fewer than three frames show something, or nothing moves.
    """
    shows = scan.contrast > _BLACK
    if not shows.any():
        raise _refused(path, f"{len(shows)} frames that are black or of one colour", "Check the video in a player.")
    if int(shows.sum()) < FEWEST_FRAMES:
        raise _refused(
            path,
            f"{len(shows)} frame{'s' * (len(shows) > 1)}, {int(shows.sum())} of them not empty",
            "Film all around the object; a single picture goes to `img2mesh`.",
        )
    # Flow into and out of an empty frame means nothing.
    moved = scan.motion * shows * np.concatenate(([False], shows[:-1]))
    way = np.cumsum(np.sqrt(moved))
    if way[-1] <= 0:
        raise _refused(path, "a video in which nothing moves", "Film all around the object, or let it turn.")
    piece = np.minimum((way / way[-1] * count).astype(int), count - 1)
    chosen = [_best(np.flatnonzero(shows & (piece == k)), way, scan, (k + 0.5) / count * way[-1]) for k in range(count)]
    kept = np.array([index for index in chosen if index is not None])
    usual = float(np.median(scan.sharpness[kept]))
    sharp = scan.sharpness[kept] >= _BLURRED * usual
    blurred, kept = int((~sharp).sum()), kept[sharp]
    if len(kept) < FEWEST_FRAMES:
        raise _refused(path, f"{len(kept)} frames that differ and are sharp", "Film all around the object, slowly.")
    return Choice(
        tuple(int(index) for index in kept),
        scan.sharpness[kept] / max(usual, 1e-9),
        np.clip(1 - np.diff(np.cumsum(moved)[kept]), 0, 1),
        blurred,
        int((~shows).sum()),
    )


def _best(candidates: np.ndarray, way: np.ndarray, scan: Scan, middle: float) -> int | None:
    if len(candidates) == 0:
        return None
    sharpness = scan.sharpness[candidates]
    good = candidates[sharpness >= _AS_SHARP * sharpness.max()]
    return int(good[np.abs(way[good] - middle).argmin()])


def _refused(path: Path, found: str, remedy: str) -> CaptureError:
    return CaptureError(path, found=found, expected="three or more different views of one object", remedy=remedy)
