"""The derivative of `compositing_2d`: gradients of the pictures to gradients of every pair of a disk and a tile."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math
from typing import Any

import numpy as np

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
)
from recon.splat.backend_cpu.compositing_2d import LOW_PASS
from recon.splat.backend_cpu.compositing_backward import read_tile
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
    PAIR,
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
    prefetch,
    splat,
    store,
    store_sums,
    where_greater,
    where_less,
)

_TWO = np.float32(2)
_TWO_LN2 = np.float32(2 * math.log(2))


def _backward(geometry: bool) -> Any:
    """The backward kernel, for gradients of colours and alpha alone or of depth and normals too."""
    features = FEATURES if geometry else COLORS

    @kernel
    def composite_backward(
        tiles,
        tile_starts,
        sorted_entries,
        entries_read,
        records,
        width,
        height,
        picture,  # as drawn, planes of LIGHT, ALPHA and features
        picture_grad,  # ((1 + features) * plane,): of the light left (minus that of alpha), and of the features
        pair_grads,  # out (pairs * PAIR,)
    ):
        """Gradients of every (disk, tile) pair, walking front to back a second time, as `compositing_backward` does.

        Where the ray meets the disk before the filter wins, the exponent is E = N w² with N quadratic in d and
        w = 1 / (1 + tilt · d), and the depth is z w: their derivatives in tilt · d are -2 E w and -z w².
        """
        tiles_x = (width - 1) // TILE_WIDTH + 1
        row_length = tiles_x * TILE_WIDTH
        plane = row_length * ((height - 1) // TILE_HEIGHT + 1) * TILE_HEIGHT
        # Planes: light, what is behind, then the gradients of the features.
        state = np.zeros((2 + FEATURES) * STATE, np.float32)
        lanes, nothing, one = lane_numbers(), splat(ZERO), splat(ONE)
        smallest, largest, dark, low_pass = splat(SMALLEST), splat(LARGEST), splat(DARK), splat(LOW_PASS)
        for index in range(tiles.shape[0]):
            tile = tiles[index]
            tile_y, tile_x = tile // tiles_x, tile % tiles_x
            open_pixels(state, tile_x, tile_y, width, height)
            corner = tile_y * TILE_HEIGHT * row_length + tile_x * TILE_WIDTH
            read_tile(picture, picture_grad, corner, row_length, plane, features, state)
            left = np.float32(tile_x * TILE_WIDTH) + HALF
            top = np.float32(tile_y * TILE_HEIGHT) + HALF
            first_open, last_open = 0, TILE_HEIGHT - 1
            begin = tile_starts[tile]
            end = begin + entries_read[tile]
            for slot in range(begin, end):
                if (slot - begin) % BATCH == 0:
                    first_open, last_open = open_rows(state, first_open, last_open)
                    for later in range(slot + BATCH, min(slot + 2 * BATCH, end)):
                        prefetch(records, sorted_entries[later * ENTRY] * DISK_RECORD)
                        prefetch(records, sorted_entries[later * ENTRY] * DISK_RECORD + DISK_X)
                        prefetch(pair_grads, sorted_entries[later * ENTRY + 1] * PAIR)
                record = sorted_entries[slot * ENTRY] * DISK_RECORD
                target = sorted_entries[slot * ENTRY + 1] * PAIR
                rows = sorted_entries[slot * ENTRY + 2]
                first, last = max(rows >> 4, first_open), min(rows & 15, last_open)
                along, tilt = splat(records[record + ALONG]), splat(records[record + TILT_X])
                depth, log_opacity = splat(records[record + DEPTH]), splat(records[record + LOG_OPACITY])
                red, green, blue = records[record + RED], records[record + GREEN], records[record + BLUE]
                opaque = records[record + LOG_OPACITY] > LARGEST
                from_left = left - records[record + DISK_X]
                sum_1, sum_p, sum_pp = nothing, nothing, nothing
                sum_y, sum_py, sum_yy = nothing, nothing, nothing
                tilt_1, tilt_x, tilt_y = nothing, nothing, nothing
                low_x, low_y = nothing, nothing
                sum_red, sum_green, sum_blue, sum_depth = nothing, nothing, nothing, nothing
                sum_nx, sum_ny, sum_nz = nothing, nothing, nothing
                for row in range(first, last + 1):
                    y = top + np.float32(row)
                    dy = y - records[record + DISK_Y]
                    column, vectors = narrow_row(records, record, left, y - records[record + MEAN_Y])
                    shift, down = records[record + DISK_SLOPE] * dy, splat(dy)
                    across = splat(records[record + ACROSS] * dy * dy)
                    row_tilt, row_low = splat(ONE + records[record + TILT_Y] * dy), splat(LOW_PASS * dy * dy)
                    for _ in range(vectors):
                        dx = lanes + (from_left + np.float32(column))
                        p = dx - shift
                        w = one / fma(dx, tilt, row_tilt)
                        met = fma(p * p, along, across) * w * w
                        low = fma(dx * dx, low_pass, row_low)
                        # Where the filter wins, w and the exponent may be infinite, and must not meet a zero.
                        w = where_less(met, low, w, one)
                        inside = where_less(met, low, met, nothing)
                        x = log_opacity - where_less(met, low, met, low)
                        if opaque:
                            x = minimum(x, largest)
                        alpha = fast_exp2(x)
                        alpha = where_less(x, smallest, nothing, alpha)
                        o = row * PITCH + column
                        light = load(state, o)
                        after = less_product(light, alpha, light)
                        weight = where_greater(after, dark, alpha * light, nothing)
                        store(state, o, where_greater(after, dark, after, nothing))

                        grad_red, grad_green = load(state, o + 2 * STATE), load(state, o + 3 * STATE)
                        grad_blue = load(state, o + 4 * STATE)
                        value = fma(grad_blue, splat(blue), fma(grad_green, splat(green), grad_red * red))
                        sum_red = fma(weight, grad_red, sum_red)
                        sum_green = fma(weight, grad_green, sum_green)
                        sum_blue = fma(weight, grad_blue, sum_blue)
                        if geometry:
                            grad_depth, grad_nx = load(state, o + 5 * STATE) * w, load(state, o + 6 * STATE)
                            grad_ny, grad_nz = load(state, o + 7 * STATE), load(state, o + 8 * STATE)
                            value = fma(grad_depth, depth, value)
                            value = fma(grad_nx, splat(records[record + NORMAL_X]), value)
                            value = fma(grad_ny, splat(records[record + NORMAL_Y]), value)
                            value = fma(grad_nz, splat(records[record + NORMAL_Z]), value)
                            grad_depth = weight * grad_depth
                            sum_depth = sum_depth + grad_depth
                            sum_nx = fma(weight, grad_nx, sum_nx)
                            sum_ny = fma(weight, grad_ny, sum_ny)
                            sum_nz = fma(weight, grad_nz, sum_nz)

                        behind = less_product(load(state, o + STATE), weight, value)
                        store(state, o + STATE, behind)
                        # Times alpha, since d alpha / d exponent is -alpha; at the cap it is 0.
                        grad = alpha * less_product(behind / (one - alpha), light, value)
                        grad = where_greater(after, dark, grad, nothing)
                        if opaque:
                            grad = where_less(x, largest, grad, nothing)
                        sum_1 = sum_1 + grad
                        of_plane = where_less(met, low, grad, nothing)
                        of_filter = grad - of_plane
                        low_x, low_y = fma(of_filter, dx, low_x), fma(of_filter, down, low_y)
                        of_tilt = of_plane * w * inside * -_TWO_LN2
                        if geometry:
                            of_tilt = where_less(met, low, less_product(of_tilt, grad_depth * w, depth), nothing)
                        tilt_1, tilt_x = tilt_1 + of_tilt, fma(of_tilt, dx, tilt_x)
                        tilt_y = fma(of_tilt, down, tilt_y)
                        square = of_plane * w * w
                        square_p, square_y = square * p, square * down
                        sum_p, sum_y = sum_p + square_p, sum_y + square_y
                        sum_pp, sum_py = fma(square_p, p, sum_pp), fma(square_y, p, sum_py)
                        sum_yy = fma(square_y, down, sum_yy)
                        column += LANES
                # Moving the centre moves d the other way, in the quadratic form, in tilt · d and in the filter.
                slope = records[record + DISK_SLOPE]
                p_grad, y_grad = sum_p * (along * _TWO_LN2), sum_y * (records[record + ACROSS] * _TWO_LN2)
                centre_x = nothing - p_grad - tilt_1 * tilt - low_x * _TWO
                centre_y = p_grad * slope - y_grad - tilt_1 * records[record + TILT_Y] - low_y * _TWO
                sums = (
                    sum_1, centre_x, centre_y, sum_pp, sum_py, sum_yy, sum_red, sum_green,
                    sum_blue, sum_depth, sum_nx, sum_ny, sum_nz, tilt_x, tilt_y, nothing,
                )  # fmt: skip
                store_sums(pair_grads, target, sums)
            for slot in range(end, tile_starts[tile + 1]):
                target = sorted_entries[slot * ENTRY + 1] * PAIR
                for k in range(0, PAIR, LANES):
                    store(pair_grads, target + k, nothing)

    return composite_backward


composite_colors_backward = _backward(False)
composite_geometry_backward = _backward(True)
