"""Tiles to pictures of disks: the forward pass of `compositing`, where every ray is intersected with every disk.

See `layout` for the intersection. A pixel sees the disk with the smaller of the exponent there and that of the
low-pass filter; where the filter wins, the depth is that of the disk's centre.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.splat.backend_cpu.binning import gather_tile
from recon.splat.backend_cpu.compositing import (
    BATCH,
    DARK,
    HALF,
    LARGEST,
    ONE,
    SMALLEST,
    ZERO,
    narrow_row,
    open_pixels,
    open_rows,
    write_tile,
)
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import (
    ACROSS,
    ALONG,
    BLUE,
    COLORS,
    DEPTH,
    DISK_RECORD,
    DISK_SLOPE,
    DISK_X,
    DISK_Y,
    ENTRY,
    FEATURES,
    GREEN,
    LOG_OPACITY,
    MEAN_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    PITCH,
    RED,
    STATE,
    TILE_HEIGHT,
    TILE_WIDTH,
    TILT_X,
    TILT_Y,
)
from recon.splat.backend_cpu.simd import (
    LANES,
    fast_exp2,
    fma,
    lane_numbers,
    less_product,
    load,
    minimum,
    minus_magnitude,
    prefetch,
    splat,
    store,
    where_greater,
    where_less,
)

LOW_PASS = np.float32(1 / math.log(2))
"""The filter's exponent, to base 2, is this times the squared distance in pixels."""


def _forward(geometry: bool) -> Any:
    """The forward kernel, for colours alone or with depth, normals and median depth."""
    sums = FEATURES + 1 if geometry else COLORS

    @kernel
    def composite(
        tiles,  # (T,) tile numbers of this chunk
        tile_starts,
        offsets,
        bases,
        entries,  # the chunks' lists
        sorted_entries,  # out: the tiles' lists
        entries_read,  # out, per tile: how many entries were looked at before every pixel was closed
        records,
        bits,
        width,
        height,
        background,  # (3,)
        picture,  # out (planes * plane,)
    ):
        """Sorts and draws tiles."""
        tiles_x = (width - 1) // TILE_WIDTH + 1
        row_length = tiles_x * TILE_WIDTH
        plane = row_length * ((height - 1) // TILE_HEIGHT + 1) * TILE_HEIGHT
        state = np.empty((3 + FEATURES) * STATE, np.float32)
        longest = 0
        for index in range(tiles.shape[0]):
            longest = max(longest, tile_starts[tiles[index] + 1] - tile_starts[tiles[index]])
        keys, order = np.empty(longest, np.int32), np.empty(longest, np.int32)
        scratch = np.empty(longest, np.int32)
        lanes, nothing, half, one = lane_numbers(), splat(ZERO), splat(HALF), splat(ONE)
        smallest, largest, dark, low_pass = splat(SMALLEST), splat(LARGEST), splat(DARK), splat(LOW_PASS)
        for index in range(tiles.shape[0]):
            tile = tiles[index]
            tile_y, tile_x = tile // tiles_x, tile % tiles_x
            begin, end = tile_starts[tile], tile_starts[tile + 1]
            gather_tile(
                tile, offsets, bases, entries, bits, DISK_RECORD, end - begin, keys, order, scratch, sorted_entries,
                begin,
            )  # fmt: skip
            state[STATE:] = ZERO
            open_pixels(state, tile_x, tile_y, width, height)
            left = np.float32(tile_x * TILE_WIDTH) + HALF
            top = np.float32(tile_y * TILE_HEIGHT) + HALF
            first_open, last_open = 0, TILE_HEIGHT - 1
            read = 0
            for slot in range(begin, end):
                if read % BATCH == 0:
                    first_open, last_open = open_rows(state, first_open, last_open)
                    if first_open > last_open:
                        break
                    for later in range(slot + BATCH, min(slot + 2 * BATCH, end)):
                        prefetch(records, sorted_entries[later * ENTRY] * DISK_RECORD)
                        prefetch(records, sorted_entries[later * ENTRY] * DISK_RECORD + RED)
                record = sorted_entries[slot * ENTRY] * DISK_RECORD
                rows = sorted_entries[slot * ENTRY + 2]
                first, last = max(rows >> 4, first_open), min(rows & 15, last_open)
                along, tilt = splat(records[record + ALONG]), splat(records[record + TILT_X])
                depth, log_opacity = splat(records[record + DEPTH]), splat(records[record + LOG_OPACITY])
                red, green, blue = records[record + RED], records[record + GREEN], records[record + BLUE]
                opaque = records[record + LOG_OPACITY] > LARGEST
                from_left = left - records[record + DISK_X]
                for row in range(first, last + 1):
                    y = top + np.float32(row)
                    dy = y - records[record + DISK_Y]
                    column, vectors = narrow_row(records, record, left, y - records[record + MEAN_Y])
                    shift = records[record + DISK_SLOPE] * dy
                    across = splat(records[record + ACROSS] * dy * dy)
                    row_tilt, row_low = splat(ONE + records[record + TILT_Y] * dy), splat(LOW_PASS * dy * dy)
                    for _ in range(vectors):
                        dx = lanes + (from_left + np.float32(column))
                        p = dx - shift
                        w = one / fma(dx, tilt, row_tilt)
                        met = fma(p * p, along, across) * w * w
                        low = fma(dx * dx, low_pass, row_low)
                        x = log_opacity - where_less(met, low, met, low)
                        if opaque:
                            x = minimum(x, largest)
                        alpha = fast_exp2(x)
                        alpha = where_less(x, smallest, nothing, alpha)
                        o = row * PITCH + column
                        light = load(state, o)
                        after = less_product(light, alpha, light)  # negative where closed, as light is
                        weight = where_greater(after, dark, alpha * light, nothing)
                        store(state, o, where_greater(after, dark, after, minus_magnitude(light)))
                        o += STATE
                        store(state, o, fma(weight, splat(red), load(state, o)))
                        o += STATE
                        store(state, o, fma(weight, splat(green), load(state, o)))
                        o += STATE
                        store(state, o, fma(weight, splat(blue), load(state, o)))
                        if geometry:
                            here = where_less(met, low, depth * w, depth)
                            o += STATE
                            store(state, o, fma(weight, here, load(state, o)))
                            o += STATE
                            store(state, o, fma(weight, splat(records[record + NORMAL_X]), load(state, o)))
                            o += STATE
                            store(state, o, fma(weight, splat(records[record + NORMAL_Y]), load(state, o)))
                            o += STATE
                            store(state, o, fma(weight, splat(records[record + NORMAL_Z]), load(state, o)))
                            o += STATE
                            # At most one disk of a pixel passes one half, so a sum does for a choice.
                            median = where_greater(light, half, where_greater(after, half, nothing, here), nothing)
                            store(state, o, load(state, o) + median)
                            o += STATE
                            store(state, o, load(state, o) + weight)
                        column += LANES
                read += 1
            entries_read[tile] = read
            corner = tile_y * TILE_HEIGHT * row_length + tile_x * TILE_WIDTH
            write_tile(state, corner, row_length, plane, background, sums, geometry, picture)

    return composite


composite_colors = _forward(False)
composite_geometry = _forward(True)
