"""Tiles to pictures: the forward pass, front to back, one row of one Gaussian at a time.

The working state of a tile is a small array of planes: the light that is left, then sums of features. Vectors start
where a Gaussian's row starts, not at multiples of their length, so that few lanes are idle. Closed pixels keep their
light with a minus sign, so that it counts as nothing from then on and is still known exactly at the end.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.splat.backend_cpu.binning import gather_tile
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import (
    ACROSS,
    ALONG,
    BLUE,
    COLORS,
    DEPTH,
    ENTRY,
    FEATURES,
    FEW_VECTORS,
    GREEN,
    HALF_ROW,
    HALF_Y,
    LOG_OPACITY,
    MEAN_X,
    MEAN_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    PITCH,
    RECORD,
    RED,
    SLOPE,
    STATE,
    TILE_HEIGHT,
    TILE_WIDTH,
)
from recon.splat.backend_cpu.projection import LOG_MIN_ALPHA
from recon.splat.backend_cpu.simd import (
    LANES,
    any_positive,
    fast_exp2,
    fma,
    lane_numbers,
    less_product,
    load,
    maximum,
    minimum,
    minus_magnitude,
    prefetch,
    splat,
    store,
    store_truncated,
    truncated,
    where_greater,
    where_less,
)
from recon.splat.backend_torch import MAX_ALPHA, MIN_TRANSMITTANCE

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
SMALLEST, LARGEST = LOG_MIN_ALPHA, np.float32(math.log2(MAX_ALPHA))
DARK = np.float32(MIN_TRANSMITTANCE)
LAST_COLUMN, END_COLUMN = np.float32(TILE_WIDTH - 1), np.float32(TILE_WIDTH)
ROWS = max(TILE_HEIGHT, LANES)
BATCH = 8
"""Gaussians that are prepared together, and between two looks at whether the outer rows of a tile are closed."""


@kernel
def open_pixels(light, tile_x, tile_y, width, height):
    """Sets the light of the tile's pixels inside the picture to 1, and of all others of the state to 0."""
    columns = min(width - tile_x * TILE_WIDTH, TILE_WIDTH)
    for row in range(TILE_HEIGHT):
        inside = columns if tile_y * TILE_HEIGHT + row < height else 0
        for column in range(PITCH):
            light[row * PITCH + column] = ONE if column < inside else ZERO


@kernel
def lay_rows(begin, end, sorted_entries, records, left, top, columns, shifts, exponents, vector_counts):
    """For each of a batch of Gaussians, how many vectors one of its rows needs, and for each row of the tile: the first
    column that the Gaussian may be drawn in, that column less the Gaussian's centre in the row, and log-opacity less
    the row's part of the exponent.

    All rows of all of them at once, because otherwise every Gaussian would begin with waiting for its record and for a
    chain of scalar steps.
    """
    for slot in range(begin, end):
        record, target = sorted_entries[slot * ENTRY] * RECORD, (slot - begin) * ROWS
        mean_x, mean_y = records[record + MEAN_X] - left, records[record + MEAN_Y] - top
        slope, across = records[record + SLOPE], records[record + ACROSS]
        half_row, log_opacity = records[record + HALF_ROW], splat(records[record + LOG_OPACITY])
        vector_counts[slot - begin] = (int(half_row + half_row) + LANES) // LANES
        for row in range(0, TILE_HEIGHT, LANES):
            dy = lane_numbers() + (np.float32(row) - mean_y)
            centre = dy * slope + mean_x
            column = truncated(minimum(maximum(centre - (half_row - ONE), splat(ZERO)), splat(END_COLUMN)))
            store_truncated(columns, target + row, column)
            store(shifts, target + row, column - centre)
            store(exponents, target + row, log_opacity - dy * dy * across)


@kernel
def narrow_row(records, record, left, dy):
    """The first column of a row of a wide Gaussian, and how many vectors it needs."""
    narrowing = dy / records[record + HALF_Y]
    half = records[record + HALF_ROW] * math.sqrt(max(ONE - narrowing * narrowing, ZERO))
    centre = records[record + MEAN_X] - left + records[record + SLOPE] * dy
    column = int(min(max(centre - half + ONE, ZERO), END_COLUMN))
    return column, (int(min(max(centre + half, ZERO), LAST_COLUMN)) - column + LANES) // LANES


@kernel
def row_is_open(light, row):
    brightest = load(light, row * PITCH)
    for column in range(LANES, TILE_WIDTH, LANES):
        brightest = maximum(brightest, load(light, row * PITCH + column))
    return any_positive(brightest)


@kernel
def open_rows(light, first, last):
    """The first and the last of rows first..last that are still open; the first is the larger where none is."""
    while first <= last and not row_is_open(light, first):
        first += 1
    while first <= last and not row_is_open(light, last):
        last -= 1
    return first, last


@kernel
def write_tile(
    state,
    corner,  # of the tile in a plane of the picture
    row_length,
    plane,
    background,  # (3,)
    sums,  # planes of the state that are planes of the picture, after the light
    weighed,  # whether one more is the sum of weights
    picture,  # out (planes * plane,)
):
    """The finished state of a tile to the picture, with the background behind its colours.

    Depth is divided by alpha, which must then be right to all its digits where it is small: it is the sum of weights,
    not what is missing from the light left.
    """
    for row in range(TILE_HEIGHT):
        for column in range(0, TILE_WIDTH, LANES):
            o = row * PITCH + column
            position = corner + row * row_length + column
            light = splat(ZERO) - minus_magnitude(load(state, o))
            store(picture, position, light)
            alpha = load(state, o + (1 + sums) * STATE) if weighed else splat(ONE) - light
            store(picture, position + plane, alpha)
            for channel in range(COLORS):
                o += STATE
                color = fma(light, splat(background[channel]), load(state, o))
                store(picture, position + (2 + channel) * plane, color)
            for channel in range(COLORS, sums):
                o += STATE
                store(picture, position + (2 + channel) * plane, load(state, o))


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
        columns, shifts = np.empty(BATCH * ROWS, np.int32), np.empty(BATCH * ROWS, np.float32)
        exponents, vector_counts = np.empty(BATCH * ROWS, np.float32), np.empty(BATCH, np.int64)
        lanes, nothing, half = lane_numbers(), splat(ZERO), splat(HALF)
        smallest, largest, dark = splat(SMALLEST), splat(LARGEST), splat(DARK)
        for index in range(tiles.shape[0]):
            tile = tiles[index]
            tile_y, tile_x = tile // tiles_x, tile % tiles_x
            begin, end = tile_starts[tile], tile_starts[tile + 1]
            gather_tile(
                tile, offsets, bases, entries, bits, RECORD, end - begin, keys, order, scratch, sorted_entries, begin
            )
            state[STATE:] = ZERO
            open_pixels(state, tile_x, tile_y, width, height)
            left = np.float32(tile_x * TILE_WIDTH) + HALF
            top = np.float32(tile_y * TILE_HEIGHT) + HALF
            first_open, last_open = np.int64(0), np.int64(TILE_HEIGHT - 1)
            read = 0
            for slot in range(begin, end):
                if read % BATCH == 0:
                    first_open, last_open = open_rows(state, first_open, last_open)
                    if first_open > last_open:
                        break
                    for later in range(slot + BATCH, min(slot + 2 * BATCH, end)):
                        prefetch(records, sorted_entries[later * ENTRY] * RECORD)
                    batch_end = min(slot + BATCH, end)
                    lay_rows(
                        slot, batch_end, sorted_entries, records, left, top, columns, shifts, exponents, vector_counts
                    )
                record = sorted_entries[slot * ENTRY] * RECORD
                rows = sorted_entries[slot * ENTRY + 2]
                first, last = max(rows >> 4, first_open), min(rows & 15, last_open)
                along = splat(-records[record + ALONG])
                red, green, blue = records[record + RED], records[record + GREEN], records[record + BLUE]
                place = (slot - begin) % BATCH
                vectors = vector_counts[place]
                wide, opaque = vectors > FEW_VECTORS, records[record + LOG_OPACITY] > LARGEST
                dy = top + np.float32(first) - records[record + MEAN_Y]
                for row in range(first, last + 1):
                    column, p = columns[place * ROWS + row], lanes + shifts[place * ROWS + row]
                    exponent = splat(exponents[place * ROWS + row])
                    if wide:
                        start = column
                        column, vectors = narrow_row(records, record, left, dy)
                        p = p + np.float32(column - start)
                    for _ in range(vectors):
                        x = fma(p * p, along, exponent)
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
                            depth = splat(records[record + DEPTH])
                            o += STATE
                            store(state, o, fma(weight, depth, load(state, o)))
                            o += STATE
                            store(state, o, fma(weight, splat(records[record + NORMAL_X]), load(state, o)))
                            o += STATE
                            store(state, o, fma(weight, splat(records[record + NORMAL_Y]), load(state, o)))
                            o += STATE
                            store(state, o, fma(weight, splat(records[record + NORMAL_Z]), load(state, o)))
                            o += STATE
                            # At most one Gaussian of a pixel passes one half, so a sum does for a choice.
                            median = where_greater(light, half, where_greater(after, half, nothing, depth), nothing)
                            store(state, o, load(state, o) + median)
                            o += STATE
                            store(state, o, load(state, o) + weight)
                        column += LANES
                        p = p + np.float32(LANES)
                    dy += ONE
                read += 1
            entries_read[tile] = read
            corner = tile_y * TILE_HEIGHT * row_length + tile_x * TILE_WIDTH
            write_tile(state, corner, row_length, plane, background, sums, geometry, picture)

    return composite


composite_colors = _forward(False)
composite_geometry = _forward(True)
