"""The vector type of the kernels does on eight lanes what numpy does."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from recon.splat.backend_cpu import simd
from recon.splat.backend_cpu.jit import for_each_chunk

X = np.linspace(-2, 3, 8, dtype=np.float32)
Y = np.array([3, -1, 0.5, 2, 1, -4, 0.25, 1], dtype=np.float32)


@njit
def arithmetic(x, y, scalar, out):
    a, b = simd.load(x, 0), simd.load(y, 0)
    simd.store(out, 0, a + b * scalar)
    simd.store(out, 8, scalar - a / b)
    simd.store(out, 16, simd.fma(a, b, simd.splat(scalar)))
    simd.store(out, 24, simd.where_greater(a, b, a, b))
    simd.store(out, 32, simd.where_less(a, b, a, b))
    return simd.any_positive(a), simd.any_positive(a * a * np.float32(-1))


@njit
def exponential(t, out):
    for i in range(0, t.shape[0], 8):
        simd.store(out, i, simd.exp_minus_8(simd.load(t, i)))


@njit
def sums(x, out):
    rows = (
        simd.load(x, 0),
        simd.load(x, 8),
        simd.load(x, 16),
        simd.load(x, 24),
        simd.load(x, 32),
        simd.load(x, 40),
        simd.load(x, 48),
        simd.load(x, 56),
    )
    simd.store(out, 0, simd.transposed_sums(rows))


def test_vector_arithmetic_is_that_of_numpy():
    out = np.empty(40, np.float32)
    two = np.float32(2)
    assert arithmetic(X, Y, two, out) == (True, False)
    expected = (X + Y * two, two - X / Y, X * Y + two, np.maximum(X, Y), np.minimum(X, Y))
    np.testing.assert_allclose(out.reshape(5, 8), np.stack(expected), rtol=1e-6)


def test_the_exponential_is_good_to_three_parts_in_a_million():
    t = np.linspace(0, simd.EXP_RANGE, 80_000, dtype=np.float32)
    out = np.empty_like(t)
    exponential(t, out)
    np.testing.assert_allclose(out, np.exp(-8 * t.astype(np.float64)), rtol=3e-6)
    outside = np.array([-1, 5, np.inf, -np.inf, 1, 2, 3, 4], np.float32)
    clamped = np.empty_like(outside)
    exponential(outside, clamped)
    assert clamped[0] == pytest.approx(1, abs=1e-6)
    assert clamped[1] == pytest.approx(np.exp(-8 * simd.EXP_RANGE), rel=1e-5)


def test_eight_vectors_are_summed_each_into_its_lane():
    x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    out = np.empty(8, np.float32)
    sums(x.reshape(-1), out)
    np.testing.assert_allclose(out, x.sum(1), rtol=1e-5)


def test_every_chunk_is_done_once():
    done: list[int] = []
    for_each_chunk(100, done.append)
    assert sorted(done) == list(range(100))
    for_each_chunk(0, done.append)
    assert len(done) == 100


def test_an_error_in_a_chunk_comes_out():
    def work(chunk: int) -> None:
        if chunk == 7:
            raise KeyError("seven")

    with pytest.raises(KeyError, match="seven"):
        for_each_chunk(20, work)
