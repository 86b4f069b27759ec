"""How much arithmetic a picture needs, and how much this machine could do in the same time.

Counted are pairs of a pixel and a Gaussian that blend: opacity of at least 1/255 there, before the pixel is closed.
Work on pairs that turn out not to blend, on idle lanes, and on Gaussians (projection, sorting) counts as nothing, so
that the share says how far the whole call is from arithmetic that nobody could leave out.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks._contestants import Case
from benchmarks._scenes import SceneSize, shell, views
from recon._jit import compiled
from recon.splat.backend_cpu.jit import for_each_chunk, kernel, thread_count
from recon.splat.backend_cpu.simd import LANES, fma, splat, store
from recon.splat.backend_torch import MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE, DrawOptions, project

_EXPONENT = 4  # a difference, a square, and a multiply-add onto what the row has in common
_EXP = 12  # a polynomial of degree four by multiply-adds, rounding, the power of two
_BLEND = 3  # weight and light left
_PER_CHANNEL = 2  # one multiply-add
_GRADIENT = 12  # of the opacity (7) and its five sums (mean, conic, opacity) within a row
_CHAINS = 12  # multiply-adds in flight: latency times ports, and some
_ROUNDS = 1_000_000


def flops_per_pair(case: Case, backward: bool) -> int:
    """Additions and multiplications, a multiply-add being two."""
    channels = 3 if case == "rgb" else 7
    again = _EXPONENT + _EXP + _BLEND
    forward = again + _PER_CHANNEL * channels
    # Backward every channel is needed twice: in the value of a pair, and in the gradient of its feature.
    return forward + (again + 2 * _PER_CHANNEL * channels + _GRADIENT if backward else 0)


def blended_pairs(scene: SceneSize) -> int:
    """Pairs of a pixel and a Gaussian that blend, by a plain walk over the Gaussians from front to back."""
    camera, gaussians = views(scene)[0], shell(scene)
    options = DrawOptions(camera.width, camera.height, geometry=False)
    with torch.no_grad():
        seen = project(*gaussians.tensors(), camera.w2c, camera.intrinsics, options)
    arrays = (tensor.numpy() for tensor in (seen.means, seen.conics, seen.opacities))
    return int(_count(*arrays, camera.width, camera.height))


@compiled()
def _count(means, conics, opacities, width, height):  # type: ignore[no-untyped-def]
    light = np.ones((height, width))
    pairs = 0
    for i in range(len(means)):
        xx, xy, yy = conics[i]
        # The ellipse on which the opacity has fallen to its minimum, in its bounding box.
        reach = 2 * np.log(max(opacities[i] / MIN_ALPHA, 1.0))
        determinant = xx * yy - xy * xy
        half_x, half_y = np.sqrt(reach * yy / determinant), np.sqrt(reach * xx / determinant)
        for y in range(max(0, int(means[i, 1] - half_y - 0.5)), min(height, int(means[i, 1] + half_y + 1.5))):
            for x in range(max(0, int(means[i, 0] - half_x - 0.5)), min(width, int(means[i, 0] + half_x + 1.5))):
                dx, dy = x + 0.5 - means[i, 0], y + 0.5 - means[i, 1]
                power = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
                alpha = min(opacities[i] * np.exp(-power), MAX_ALPHA)
                if alpha < MIN_ALPHA or light[y, x] < 0:
                    continue
                after = light[y, x] * (1 - alpha)
                if after <= MIN_TRANSMITTANCE:
                    light[y, x] = -1
                    continue
                light[y, x] = after
                pairs += 1
    return pairs


def fma_peak(repeats: int = 50) -> float:
    """Flops a second of multiply-adds on registers alone, on all threads; the best of `repeats`."""
    threads = thread_count()
    out = np.zeros((threads, LANES), np.float32)

    def once() -> float:
        started = time.perf_counter()
        for_each_chunk(threads, lambda chunk: _chains(_ROUNDS, np.float32(0.999), out[chunk]))
        return time.perf_counter() - started

    once()
    return 2 * LANES * _CHAINS * _ROUNDS * threads / min(once() for _ in range(repeats))


@kernel
def _chains(rounds, factor, out):  # type: ignore[no-untyped-def]
    m, c = splat(factor), splat(np.float32(0.001))
    a0, a1, a2, a3 = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(2)), splat(np.float32(3))
    a4, a5, a6, a7 = splat(np.float32(4)), splat(np.float32(5)), splat(np.float32(6)), splat(np.float32(7))
    a8, a9, a10, a11 = splat(np.float32(8)), splat(np.float32(9)), splat(np.float32(10)), splat(np.float32(11))
    for _ in range(rounds):
        a0, a1, a2, a3 = fma(a0, m, c), fma(a1, m, c), fma(a2, m, c), fma(a3, m, c)
        a4, a5, a6, a7 = fma(a4, m, c), fma(a5, m, c), fma(a6, m, c), fma(a7, m, c)
        a8, a9, a10, a11 = fma(a8, m, c), fma(a9, m, c), fma(a10, m, c), fma(a11, m, c)
    store(out, 0, a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11)
