"""Which Gaussians touch which tile, nearest first.

Work is cut into chunks of consecutive Gaussians. Each chunk lists its pairs tile by tile; a tile then gathers its runs
from all chunks and sorts them by depth. Equal depths keep the Gaussians' order, so the lists depend neither on the
threads nor on the chunks.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import (
    DEPTH,
    ENTRY,
    HALF_ROW,
    HALF_Y,
    MEAN_X,
    MEAN_Y,
    SLOPE,
    TILE_HEIGHT,
    TILE_WIDTH,
)

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_INVERSE_WIDTH, _INVERSE_HEIGHT = np.float32(1 / TILE_WIDTH), np.float32(1 / TILE_HEIGHT)
_DIGIT = 8
_BUCKETS = 1 << _DIGIT
_FEW = 24
"""Lists up to this length are sorted by insertion."""


@kernel
def find_pairs(
    start,
    stop,
    records,  # (padded N * stride,)
    stride,  # floats of a record
    half_widths,  # (padded N,)
    width,
    height,
    base,
    capacity,
    starts,  # out (N,): first pair of each Gaussian
    counts,  # out (N,): its number of pairs
    entries,  # out (pairs * ENTRY,): this chunk's run begins at `base` and is ordered by tile
    offsets,  # out (tiles + 1,): where each tile's part of it begins
):
    """Lists the tiles that Gaussians start..stop are drawn in. Returns the number of pairs, even where it is more than
    `capacity` and the list therefore incomplete."""
    tiles_x = (width - 1) // TILE_WIDTH + 1
    tiles_y = (height - 1) // TILE_HEIGHT + 1
    tile_of = np.empty(capacity, np.int32)
    rows_of = np.empty(capacity, np.int32)
    owner = np.empty(capacity, np.int32)
    offsets[:] = 0
    right_end, bottom_end = np.float32(width) - _HALF, np.float32(height) - _HALF
    found = 0
    for i in range(start, stop):
        starts[i] = base + found
        counts[i] = 0
        half_x = half_widths[i]
        if half_x <= _ZERO:
            continue
        record = i * stride
        x, y, half_y = records[record + MEAN_X], records[record + MEAN_Y], records[record + HALF_Y]
        # Pixels whose centres lie in the box; all of these are positive, so that int() rounds down.
        first_x = int(max(x - half_x + _HALF, _ZERO))
        last_x = int(min(max(x + half_x - _HALF, _ZERO), right_end))
        first_y = int(max(y - half_y + _HALF, _ZERO))
        last_y = int(min(max(y + half_y - _HALF, _ZERO), bottom_end))
        if first_x > last_x or first_y > last_y:
            continue
        left, right = first_x // TILE_WIDTH, last_x // TILE_WIDTH
        for tile_y in range(first_y // TILE_HEIGHT, last_y // TILE_HEIGHT + 1):
            top = tile_y * TILE_HEIGHT
            row_first, row_last = max(first_y - top, 0), min(last_y - top, TILE_HEIGHT - 1)
            begin, end = left, right
            if left < right:
                # The widest that the ellipse gets within these rows, each way.
                slope, half_row, narrowing = records[record + SLOPE], records[record + HALF_ROW], _ONE / half_y
                lowest = max(np.float32(top + row_first) + _HALF - y, -half_y)
                highest = min(np.float32(top + row_last) + _HALF - y, half_y)
                extreme = slope * half_y * half_y / half_x
                dy = min(max(extreme, lowest), highest)
                reach = (
                    x
                    + slope * dy
                    + half_row * math.sqrt(max(_ONE - (narrowing * dy) * (narrowing * dy), _ZERO))
                    - _HALF
                )
                dy = min(max(-extreme, lowest), highest)
                start_x = (
                    x
                    + slope * dy
                    - half_row * math.sqrt(max(_ONE - (narrowing * dy) * (narrowing * dy), _ZERO))
                    + _HALF
                )
                begin = max(int(max(start_x, _ZERO)) // TILE_WIDTH, left)
                end = min(int(max(reach, _ZERO)) // TILE_WIDTH, right)
            for tile_x in range(begin, end + 1):
                if found < capacity:
                    tile = tile_y * tiles_x + tile_x
                    tile_of[found] = tile
                    rows_of[found] = (row_first << 4) | row_last
                    owner[found] = i
                    offsets[tile] += 1
                found += 1
        counts[i] = base + found - starts[i]
    position = 0
    for tile in range(tiles_x * tiles_y + 1):
        size = offsets[tile]
        offsets[tile] = position
        position += size
    for pair in range(min(found, capacity)):
        tile = tile_of[pair]
        slot = (base + offsets[tile]) * ENTRY
        offsets[tile] += 1
        entries[slot] = owner[pair]
        entries[slot + 1] = base + pair
        entries[slot + 2] = rows_of[pair]
    for tile in range(tiles_x * tiles_y, 0, -1):
        offsets[tile] = offsets[tile - 1]
    offsets[0] = 0
    return found


@kernel
def place_tiles(offsets, tile_starts):
    """Where each tile's list begins (tiles + 1,), from the (chunks, tiles + 1) offsets of its runs."""
    position = 0
    for tile in range(offsets.shape[1] - 1):
        tile_starts[tile] = position
        for chunk in range(offsets.shape[0]):
            position += offsets[chunk, tile + 1] - offsets[chunk, tile]
    tile_starts[offsets.shape[1] - 1] = position


@kernel
def gather_tile(tile, offsets, bases, entries, bits, stride, length, keys, order, scratch, sorted_entries, begin):
    """Writes a tile's `length` entries, nearest first, into `sorted_entries` from entry `begin` on.

    Args:
        offsets, bases: where each chunk's run for the tile is.
        entries: the chunks' lists.
        bits: the records, `stride` floats each, as int32: positive floats sort like their bits.
        keys, order, scratch: room for `length` int32 each.
    """
    # Typed: a function that is called with a plain 0 is compiled a second time, for zeros.
    count, differing = np.int64(0), np.int64(0)
    lowest = 0
    for chunk in range(offsets.shape[0]):
        for slot in range(bases[chunk] + offsets[chunk, tile], bases[chunk] + offsets[chunk, tile + 1]):
            key = bits[entries[slot * ENTRY] * stride + DEPTH]
            if count == 0:
                lowest = key
            differing |= key ^ lowest
            keys[count] = key
            order[count] = slot
            count += 1
    if count <= _FEW:
        for i in range(1, count):
            key, slot = keys[i], order[i]
            j = i
            while j > 0 and keys[j - 1] > key:
                keys[j], order[j] = keys[j - 1], order[j - 1]
                j -= 1
            keys[j], order[j] = key, slot
        for i in range(count):
            scratch[i] = order[i]
    else:
        sort_by_key(keys, order, scratch, count, differing)
    for i in range(count):
        source, target = scratch[i] * ENTRY, (begin + i) * ENTRY
        sorted_entries[target] = entries[source]
        sorted_entries[target + 1] = entries[source + 1]
        sorted_entries[target + 2] = entries[source + 2]


@kernel
def sort_by_key(keys, values, out, count, differing):
    """Stable radix sort of positive int32 keys; `out` gets the values in order. Digits in which no bit of `differing`
    is set are passed over. Overwrites keys and values."""
    histogram = np.empty(_BUCKETS, np.int32)
    spare = np.empty(count, np.int32)
    for shift in range(0, 32, _DIGIT):
        if (differing >> shift) & (_BUCKETS - 1) == 0:
            continue
        histogram[:] = 0
        for i in range(count):
            histogram[(keys[i] >> shift) & (_BUCKETS - 1)] += 1
        position = 0
        for bucket in range(_BUCKETS):
            size = histogram[bucket]
            histogram[bucket] = position
            position += size
        for i in range(count):
            bucket = (keys[i] >> shift) & (_BUCKETS - 1)
            target = histogram[bucket]
            histogram[bucket] = target + 1
            spare[target] = keys[i]
            out[target] = values[i]
        for i in range(count):
            keys[i] = spare[i]
            values[i] = out[i]
    for i in range(count):
        out[i] = values[i]
