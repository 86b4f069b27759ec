"""The vector type of the kernels does on its lanes what numpy does."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from recon.splat.backend_cpu import columns, simd
from recon.splat.backend_cpu.jit import for_each_chunk

X = np.linspace(-2, 3, 16, dtype=np.float32)
Y = np.tile(np.array([3, -1, 0.5, 2, 1, -4, 0.25, 1], dtype=np.float32), 2)
LANES = simd.LANES


@njit
def arithmetic(x, y, scalar, out):
    a, b = simd.load(x, 0), simd.load(y, 0)
    simd.store(out, 0, a + b * scalar)
    simd.store(out, LANES, scalar - a / b)
    simd.store(out, 2 * LANES, simd.fma(a, b, simd.splat(scalar)))
    simd.store(out, 3 * LANES, simd.where_greater(a, b, a, b))
    simd.store(out, 4 * LANES, simd.where_less(a, b, a, b))
    simd.store(out, 5 * LANES, simd.maximum(a, b) - simd.minimum(a, b))
    simd.store(out, 6 * LANES, simd.less_product(a, b, simd.lane_numbers()))
    simd.store(out, 7 * LANES, simd.minus_magnitude(a))
    simd.store(out, 8 * LANES, simd.truncated(a))
    return simd.any_positive(a * a), simd.any_positive(a * a * np.float32(-1))


@njit
def functions(t, powers, fast_powers, logarithms, roots):
    for i in range(0, t.shape[0], LANES):
        a = simd.load(t, i)
        simd.store(powers, i, simd.exp2(a))
        simd.store(fast_powers, i, simd.fast_exp2(a))
        positive = a * a + np.float32(1e-3)
        simd.store(logarithms, i, simd.log2(positive))
        simd.store(roots, i, simd.square_root(positive))


@njit
def sums(x, out):
    rows = (
        simd.load(x, 0), simd.load(x, 16), simd.load(x, 32), simd.load(x, 48),
        simd.load(x, 64), simd.load(x, 80), simd.load(x, 96), simd.load(x, 112),
        simd.load(x, 128), simd.load(x, 144), simd.load(x, 160), simd.load(x, 176),
        simd.load(x, 192), simd.load(x, 208), simd.load(x, 224), simd.load(x, 240),
    )  # fmt: skip
    simd.store_sums(out, 0, rows)
    return simd.sum_lanes(rows[3])


@njit
def rows_of_a_table(table, rows, out):
    value = columns.gather(table, rows, 5, 2)
    simd.store(out, 0, value)
    columns.add_rows(table, 1, 5, 4, value)


@njit
def transposing(table, first, valid, out, sums):
    a, b, c = columns.read_3(table, first, np.empty(3 * LANES, np.float32))
    simd.store(out, 0, a)
    simd.store(out, LANES, b)
    simd.store(out, 2 * LANES, c)
    columns.add_columns_3(sums, 0, simd.load(valid, 0), (a, b, c))
    columns.add_valid(sums, 3 * LANES, simd.load(valid, 0), b)


@njit
def transposing_four(table, first, valid, out, sums):
    a, b, c, d = columns.read_4(table, first, np.empty(4 * LANES, np.float32))
    simd.store(out, 0, a)
    simd.store(out, LANES, b)
    simd.store(out, 2 * LANES, c)
    simd.store(out, 3 * LANES, d)
    columns.add_columns_4(sums, 0, simd.load(valid, 0), (a, b, c, d))


@njit
def transposing_sixteen(table, first, stride, out, copy):
    vectors = columns.columns_16(table, first * stride, stride)
    for k, value in enumerate(vectors):
        simd.store(out, k * LANES, value)
    columns.set_columns_16(copy, first * stride, stride, vectors)


def test_vector_arithmetic_is_that_of_numpy():
    out = np.empty(9 * LANES, np.float32)
    two, x, y = np.float32(2), X[:LANES], Y[:LANES]
    assert arithmetic(x, y, two, out) == (True, False)
    expected = (
        x + y * two, two - x / y, x * y + two, np.maximum(x, y), np.minimum(x, y), np.abs(x - y),
        x - y * np.arange(LANES), -np.abs(x), np.trunc(x),
    )  # fmt: skip
    np.testing.assert_allclose(out.reshape(9, LANES), np.stack(expected), rtol=1e-6, atol=1e-6)


def test_exponentials_logarithms_and_roots_are_as_good_as_they_say():
    t = np.linspace(-120, 120, 80_000, dtype=np.float32)
    powers, fast_powers, logarithms, roots = (np.empty_like(t) for _ in range(4))
    functions(t, powers, fast_powers, logarithms, roots)
    exact = t.astype(np.float64)
    positive = (t * t + np.float32(1e-3)).astype(np.float64)
    np.testing.assert_allclose(powers, np.exp2(exact), rtol=3e-7)
    np.testing.assert_allclose(fast_powers, np.exp2(exact), rtol=3e-6)
    np.testing.assert_allclose(logarithms, np.log2(positive), rtol=3e-7, atol=3e-7)
    np.testing.assert_allclose(roots, np.sqrt(positive), rtol=2e-7)


def test_the_exponential_is_clamped():
    t = np.array([-np.inf, -1e4, 1e4, np.inf] * 4, np.float32)
    powers = np.empty_like(t)
    functions(t, powers, np.empty_like(t), np.empty_like(t), np.empty_like(t))
    np.testing.assert_allclose(powers, [2.0**-126, 2.0**-126, 2.0**127, 2.0**127] * 4, rtol=1e-6)


def test_sixteen_vectors_are_summed_each_into_its_place():
    x = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    out = np.empty(16, np.float32)
    total = sums(x.reshape(-1), out)
    np.testing.assert_allclose(out, x[:, :LANES].sum(1), rtol=1e-5, atol=1e-5)
    assert total == pytest.approx(x[3, :LANES].sum(), rel=1e-5)


def test_columns_of_a_table_are_gathered_and_added_to():
    table = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    rows = np.random.default_rng(2).integers(0, 20, LANES)
    before, out = table.copy(), np.empty(LANES, np.float32)
    rows_of_a_table(table.reshape(-1), rows, out)
    np.testing.assert_array_equal(out, before[rows, 2])
    np.testing.assert_array_equal(table[1 : 1 + LANES, 4], before[1 : 1 + LANES, 4] + out)
    np.testing.assert_array_equal(table[:, :4], before[:, :4])


@pytest.mark.parametrize("first", [0, 3, 20 - LANES, 18])
@pytest.mark.parametrize(("width", "kernel"), [(3, transposing), (4, transposing_four)])
def test_narrow_tables_are_taken_apart_and_added_to_where_lanes_are_valid(first, width, kernel):
    table = np.random.default_rng(1).normal(size=(20, width)).astype(np.float32)
    valid = (np.arange(LANES) % 3 != 1).astype(np.float32)
    out, sums = np.empty((width, LANES), np.float32), np.ones(4 * LANES, np.float32)
    kernel(table.reshape(-1), first, valid, out.reshape(-1), sums)
    rows = table[np.minimum(first + np.arange(LANES), 19)]
    np.testing.assert_array_equal(out, rows.T)
    added = 1 + np.where(valid[:, None] > 0, rows, 0)
    np.testing.assert_array_equal(sums[: width * LANES].reshape(LANES, width), added)
    if width == 3:
        np.testing.assert_array_equal(sums[3 * LANES :], added[:, 1])


@pytest.mark.parametrize("stride", [16, 32])
def test_wide_tables_are_taken_apart_and_put_together(stride):
    table = np.random.default_rng(1).normal(size=(2 * LANES, stride)).astype(np.float32)
    out, copy = np.empty((16, LANES), np.float32), np.zeros_like(table)
    transposing_sixteen(table.reshape(-1), LANES, stride, out.reshape(-1), copy.reshape(-1))
    np.testing.assert_array_equal(out, table[LANES:, :16].T)
    np.testing.assert_array_equal(copy[LANES:, :16], table[LANES:, :16])
    assert not copy[:LANES].any()
    assert not copy[:, 16:].any()


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
