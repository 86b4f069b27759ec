"""Twelve textured objects modelled in code: what the evaluation needs no foreign data for.

Each is turned so that its left differs from its right and its back from its front: a mirrored answer, or one that
repeats the first view, is worse than a right one. Written to files by `examples/04_model_evaluation_objects.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gen.data.modelled import indoors, outdoors
from gen.data.modelled.parts import Rng
from recon.surface.loading import normalised
from recon.surface.mesh import Mesh

MODELLED: dict[str, Callable[[Rng], Mesh]] = {
    "anvil": indoors.anvil,
    "basket": indoors.basket,
    "bicycle": outdoors.bicycle,
    "cactus": outdoors.cactus,
    "chair": indoors.chair,
    "fish": outdoors.fish,
    "guitar": indoors.guitar,
    "house": outdoors.house,
    "mug": indoors.mug,
    "radio": indoors.radio,
    "street_lamp": outdoors.street_lamp,
    "stump": outdoors.stump,
}
"""Object id: how it is made. Not yet centred or scaled (`recon.surface.loading.normalised`)."""

TIERS = dict.fromkeys(MODELLED, "A") | {"bicycle": "B", "fish": "B", "street_lamp": "B", "anvil": "C"}
"""As in `gen.data.sources.ObjectInfo`."""


def make(name: str) -> Mesh:
    """One of `MODELLED`, always the same, in our world frame and inside the sphere of diameter 1."""
    return normalised(MODELLED[name](np.random.default_rng(list(name.encode()))))
