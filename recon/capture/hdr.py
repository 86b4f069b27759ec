"""High dynamic range video to sRGB: what phones record in HLG or PQ, as an ordinary screen would show it."""

from __future__ import annotations

from typing import Literal

import numpy as np

Transfer = Literal["pq", "hlg"]
TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""By the number that ITU-T H.273 gives the transfer function."""

_WHITE = 203.0
"""Candela per square metre of diffuse white (ITU-R BT.2408); sRGB's white here."""
_PEAK = 1000.0
"""Of the display that HLG's system gamma is made for."""
_KNEE = 0.8
"""Linear value above which highlights are compressed, so that they end at white without a border."""
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""ITU-R BT.2087, annex 1."""


def tone_mapped(pixels: np.ndarray, transfer: Transfer) -> np.ndarray:
    """(H, W, 3) uint16 BT.2020 with the transfer function to (H, W, 3) uint8 sRGB.

    What is brighter than 0.8 of diffuse white is compressed, which leaves diffuse white itself at 243 of 255.
    """
    signal = pixels.astype(np.float32) / 65535
    light = _pq(signal) if transfer == "pq" else _hlg(signal)
    linear = np.clip(light / _WHITE @ _BT2020_TO_BT709.T, 0, None)
    over = np.maximum(linear - _KNEE, 0)
    linear = np.minimum(linear, _KNEE) + (1 - _KNEE) * over / (over + (1 - _KNEE))
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055)
    return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)


def _pq(signal: np.ndarray) -> np.ndarray:
    """Candela per square metre (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    powered = signal ** (1 / m2)
    return 10000 * (np.maximum(powered - c1, 0) / (c2 - c3 * powered)) ** (1 / m1)


def _hlg(signal: np.ndarray) -> np.ndarray:
    """Candela per square metre on a display of 1000 (ITU-R BT.2100), system gamma 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.678, 0.0593], np.float32)
    return _PEAK * scene * np.maximum(luminance, 1e-6)[..., None] ** 0.2
