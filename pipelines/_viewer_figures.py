"""What a run's report says that viewers want to know, in words and units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines._shown import Shown

_STAGES = {
    "mesh": "Mesh",
    "motion": "Motion",
    "splat": "Splats",
    "field": "Field",
    "capture": "Capture",
    "cameras": "Cameras",
}


def _db(value: float) -> str:
    return f"{value:.1f} dB"


def _share(value: float) -> str:
    return f"{value:.0%}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) > 9999 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_WORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "against_observed masked_psnr": ("likeness to the photos", _db),
    "against_observed masked_ssim": ("structural likeness to the photos (SSIM)", _plain),
    "against_observed mask_iou": ("overlap with the photos' outlines", _share),
    "against_generated masked_psnr": ("likeness to generated frames", _db),
    "against_generated masked_ssim": ("structural likeness to generated frames (SSIM)", _plain),
    "against_generated mask_iou": ("overlap with generated frames' outlines", _share),
    "faces": ("triangles", _plain),
    "vertices": ("vertices", _plain),
    "watertight": ("closed", _plain),
    "components": ("pieces", _plain),
    "texels_from observed": ("texture from photos", _share),
    "texels_from generated": ("texture from generated frames", _share),
    "texels_from rendered": ("texture from splats", _share),
    "texels_from filled": ("texture filled in", _share),
    "texture used": ("texture in use", _share),
    "texture islands": ("texture islands", _plain),
    "texture texels_per_metre median": ("texels a metre", _plain),
    "bones": ("bones", _plain),
    "keys": ("keys", _plain),
    "bytes": ("size of the file", lambda value: f"{value / 1e6:.1f} MB"),
    "moves_by": ("moves by", _plain),
    "meshes": ("meshes that take turns", _plain),
    "largest_key_error": ("largest error of left-out keys, of its size", lambda value: f"{value:.2%}"),
    "gaussians": ("Gaussians", _plain),
    "seconds": ("length", _seconds),
    "moments": ("moments", _plain),
    "bases": ("rigid motions", _plain),
    "frames observed": ("photos", _plain),
    "frames generated": ("generated frames", _plain),
    "frames rendered": ("rendered frames", _plain),
}
"""Names and units of a stage's figures by their place in the report."""
_HIDDEN = {
    "keys_before",
    "roots",
    "reference_seconds",
    "residual",
    "residual_of_one_basis",
    "texture texels_per_metre high",
    "texture texels_per_metre low",
}
"""What says nothing to those who look."""


def figures_of(thing: Shown) -> list[tuple[str, str]]:
    """Names and values, those with words of their own first in a stage; others as the report names them.

    Raises:
        OptionsError: if the report cannot be read.
    """
    quality = thing.report().get("quality")
    found: list[tuple[str, str]] = []
    for stage, label in _STAGES.items():
        figures = quality.get(stage) if isinstance(quality, dict) else None
        if not isinstance(figures, dict):
            continue
        flat = _flat({key: value for key, value in figures.items() if not key.startswith("to_")})
        for key in [*(key for key in _WORDS if key in flat), *(key for key in flat if key not in _WORDS)]:
            if key not in _HIDDEN:
                found.append(_worded(label, key, flat[key]))
    return found


def _worded(stage: str, key: str, value: Any) -> tuple[str, str]:
    words, shown = _WORDS.get(key, (key.replace("_", " "), _plain))
    try:
        return f"{stage}: {words}", shown(value)
    except (TypeError, ValueError):  # a report of another version
        return f"{stage}: {words}", str(value)


def _flat(figures: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in figures.items():
        name = f"{before} {key}".strip()
        if isinstance(value, dict):
            flat |= _flat(value, name)
        elif isinstance(value, (bool, int, float, str)):
            flat[name] = value
    return flat
