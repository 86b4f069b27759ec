"""Which Gaussians touch which tile, nearest first.

One radix sort orders all Gaussians by depth; scattering them in that order leaves every tile's list sorted, so no
tile sorts anything. Work is cut into chunks of consecutive Gaussians, each of which knows in advance where its entries
go, so the result does not depend on threads.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import HALF_X, HALF_Y, MEAN_X, MEAN_Y, REACH, TILE_HEIGHT, TILE_WIDTH, XX, XY, YY

_DIGIT = 11
_BUCKETS = 1 << _DIGIT


@kernel
def sort_by_depth(keys, order, scratch):
    """Stable argsort of positive int32 keys into `order`, leaving out zeros; returns how many were sorted.

    Three passes of 11 bits; a pass whose digit is the same for all keys is skipped.
    """
    histogram = np.zeros((3, _BUCKETS), np.int64)
    total = 0
    for i in range(keys.shape[0]):
        key = keys[i]
        if key > 0:
            histogram[0, key & (_BUCKETS - 1)] += 1
            histogram[1, (key >> _DIGIT) & (_BUCKETS - 1)] += 1
            histogram[2, key >> (2 * _DIGIT)] += 1
            order[total] = i
            total += 1
    for digit in range(3):
        shift = digit * _DIGIT
        position, trivial = 0, False
        for bucket in range(_BUCKETS):
            size = histogram[digit, bucket]
            trivial = trivial or size == total
            histogram[digit, bucket] = position
            position += size
        if trivial:
            continue
        for j in range(total):
            i = order[j]
            bucket = (keys[i] >> shift) & (_BUCKETS - 1)
            scratch[histogram[digit, bucket]] = i
            histogram[digit, bucket] += 1
        for j in range(total):
            order[j] = scratch[j]
    return total


@kernel
def running_sum(counts, starts):
    """starts[i] = counts[0] + ... + counts[i - 1], also for i = len(counts); returns the total."""
    total = 0
    for i in range(counts.shape[0]):
        starts[i] = total
        total += counts[i]
    starts[counts.shape[0]] = total
    return total


@kernel
def _span(a, b, determinant, level, lo, hi, extreme):
    """The x-interval of the ellipse a x² + 2 b x y + c y² <= level over the band lo <= y <= hi.

    `determinant` is a c - b², and `extreme` the y of the ellipse's rightmost point; the leftmost one lies opposite.
    """
    y = min(max(extreme, lo), hi)
    upper = (-b * y + math.sqrt(max(a * level - determinant * y * y, 0.0))) / a
    y = min(max(-extreme, lo), hi)
    lower = (-b * y - math.sqrt(max(a * level - determinant * y * y, 0.0))) / a
    return lower, upper


@kernel
def find_pairs(start, stop, records, counts, starts, tiles_x, width, height, pair_tiles, pair_rows):
    """For Gaussians start..stop: the tiles that hold one of their pixels, and which rows of them.

    Writes tile and (first row << 4 | last row) of each pair from starts[i] on, and lowers counts[i] from a bound to
    the number of pairs.
    """
    for i in range(start, stop):
        if counts[i] == 0:
            continue
        record = records[i]
        x, y = np.float64(record[MEAN_X]), np.float64(record[MEAN_Y])
        a, b, c = np.float64(record[XX]) * 16, np.float64(record[XY]) * 8, np.float64(record[YY]) * 16
        level = 2 * np.float64(record[REACH])
        half_x, half_y = np.float64(record[HALF_X]), np.float64(record[HALF_Y])
        determinant = level * c / (half_x * half_x)  # a c - b² would cancel for needles
        extreme_y, extreme_x = -b / c * half_x, -b / a * half_y
        pair = starts[i]
        first = max(math.floor((y - half_y) / TILE_HEIGHT), 0)
        last = min(math.floor((y + half_y) / TILE_HEIGHT), (height - 1) // TILE_HEIGHT)
        for tile_y in range(first, last + 1):
            centre_y = tile_y * TILE_HEIGHT + 0.5 - y
            lo, hi = max(centre_y, -half_y), min(centre_y + (TILE_HEIGHT - 1), half_y)
            if lo > hi:
                continue
            left, right = _span(a, b, determinant, level, lo, hi, extreme_y)
            pixel_first = max(math.ceil(x + left - 0.5), 0)
            pixel_last = min(math.floor(x + right - 0.5), width - 1)
            if pixel_first > pixel_last:
                continue
            for tile_x in range(pixel_first // TILE_WIDTH, pixel_last // TILE_WIDTH + 1):
                centre_x = tile_x * TILE_WIDTH + 0.5 - x
                lo, hi = max(centre_x, -half_x), min(centre_x + (TILE_WIDTH - 1), half_x)
                if lo > hi:
                    continue
                upper, lower = _span(c, b, determinant, level, lo, hi, extreme_x)
                row_first = max(math.ceil(y + upper - 0.5) - tile_y * TILE_HEIGHT, 0)
                row_last = min(math.floor(y + lower - 0.5) - tile_y * TILE_HEIGHT, TILE_HEIGHT - 1)
                if row_first > row_last or pair >= starts[i + 1]:
                    continue
                pair_tiles[pair] = tile_y * tiles_x + tile_x
                pair_rows[pair] = (row_first << 4) | row_last
                pair += 1
        counts[i] = pair - starts[i]


@kernel
def count_entries(start, stop, order, starts, counts, pair_tiles, histogram):
    """histogram[tile] = how many of the Gaussians order[start..stop] touch the tile."""
    histogram[:] = 0
    for j in range(start, stop):
        i = order[j]
        for pair in range(starts[i], starts[i] + counts[i]):
            histogram[pair_tiles[pair]] += 1


@kernel
def place_chunks(histograms, tile_starts):
    """Turns (chunks, tiles) counts into the position of each chunk's first entry; fills the (tiles + 1,) starts."""
    position = 0
    for tile in range(histograms.shape[1]):
        tile_starts[tile] = position
        for chunk in range(histograms.shape[0]):
            size = histograms[chunk, tile]
            histograms[chunk, tile] = position
            position += size
    tile_starts[histograms.shape[1]] = position
    return position


@kernel
def scatter_entries(start, stop, order, starts, counts, pair_tiles, pair_rows, positions, entries):
    """Writes (Gaussian, pair, rows) of every pair of order[start..stop] into its tile's part of `entries` (E, 3)."""
    for j in range(start, stop):
        i = order[j]
        for pair in range(starts[i], starts[i] + counts[i]):
            tile = pair_tiles[pair]
            slot = positions[tile]
            positions[tile] = slot + 1
            entries[slot, 0] = i
            entries[slot, 1] = pair
            entries[slot, 2] = pair_rows[pair]
