"""Adam's step in one pass over a parameter, for `recon.splat.optimise`."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.simd import LANES, load, square_root, store


@kernel
def adam(start, stop, parameter, grad, first, second, sizes, keep_first, keep_second, epsilon):
    """Entries start..stop of flat float32 arrays: both moments move towards the gradient, the parameter steps.

    `sizes` holds the step sizes of whole vectors; they repeat, and `start` is a multiple of their number.
    """
    whole = start + (stop - start) // LANES * LANES
    place = 0
    for i in range(start, whole, LANES):
        g, m, v = load(grad, i), load(first, i), load(second, i)
        m = m + (g - m) * keep_first
        v = v + (g * g - v) * keep_second
        store(first, i, m)
        store(second, i, v)
        store(parameter, i, load(parameter, i) - m * load(sizes, place) / (square_root(v) + epsilon))
        place += LANES
        if place == sizes.shape[0]:
            place = 0
    for i in range(whole, stop):
        g = grad[i]
        m = first[i] + (g - first[i]) * keep_first
        v = second[i] + (g * g - second[i]) * keep_second
        first[i] = m
        second[i] = v
        parameter[i] -= sizes[place + i - whole] * m / (math.sqrt(v) + epsilon)
