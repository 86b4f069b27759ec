"""The derivative of `compositing`: gradients of the pictures to gradients of every pair of a Gaussian and a tile."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any

import numpy as np

from recon.splat.backend_cpu.compositing import (
    BATCH,
    DARK,
    HALF,
    LARGEST,
    ONE,
    ROWS,
    SMALLEST,
    ZERO,
    lay_rows,
    narrow_row,
    open_pixels,
    open_rows,
)
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import (
    ALONG,
    BLUE,
    COLORS,
    DEPTH,
    ENTRY,
    FEATURES,
    FEW_VECTORS,
    GREEN,
    LOG_OPACITY,
    MEAN_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    PAIR,
    PITCH,
    RECORD,
    RED,
    STATE,
    TILE_HEIGHT,
    TILE_WIDTH,
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


@kernel
def read_tile(
    picture,
    picture_grad,
    corner,  # of the tile in a plane of the picture
    row_length,
    plane,
    features,
    state,  # out: planes from the second on
):
    """The state that the backward pass of a tile begins with: what is behind, and the gradients of the features."""
    for row in range(TILE_HEIGHT):
        for column in range(0, TILE_WIDTH, LANES):
            position = corner + row * row_length + column
            o = row * PITCH + column
            behind = load(picture_grad, position) * load(picture, position)
            for channel in range(features):
                grad = load(picture_grad, position + (1 + channel) * plane)
                store(state, o + (2 + channel) * STATE, grad)
                behind = fma(grad, load(picture, position + (2 + channel) * plane), behind)
            store(state, o + STATE, behind)


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
        """Gradients of every (Gaussian, tile) pair, walking front to back a second time.

        With weights w_i = alpha_i T_i, q_i the sum over features of gradient times value, and T the light left at the
        end with its gradient g, the gradient in alpha_i is T_i q_i - (g T + sum over j > i of w_j q_j) / (1 - alpha_i).
        The sum over all j is known from the forward pass, so that one number per pixel is enough; the background that
        shines through the light left is part of it.
        """
        tiles_x = (width - 1) // TILE_WIDTH + 1
        row_length = tiles_x * TILE_WIDTH
        plane = row_length * ((height - 1) // TILE_HEIGHT + 1) * TILE_HEIGHT
        # Planes: light, what is behind, then the gradients of the features.
        state = np.zeros((2 + FEATURES) * STATE, np.float32)
        columns, shifts = np.empty(BATCH * ROWS, np.int32), np.empty(BATCH * ROWS, np.float32)
        exponents, vector_counts = np.empty(BATCH * ROWS, np.float32), np.empty(BATCH, np.int64)
        lanes, nothing, everything = lane_numbers(), splat(ZERO), splat(ONE)
        smallest, largest, dark = splat(SMALLEST), splat(LARGEST), splat(DARK)
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
                        prefetch(records, sorted_entries[later * ENTRY] * RECORD)
                        prefetch(pair_grads, sorted_entries[later * ENTRY + 1] * PAIR)
                    batch_end = min(slot + BATCH, end)
                    lay_rows(
                        slot, batch_end, sorted_entries, records, left, top, columns, shifts, exponents, vector_counts
                    )
                record = sorted_entries[slot * ENTRY] * RECORD
                target = sorted_entries[slot * ENTRY + 1] * PAIR
                rows = sorted_entries[slot * ENTRY + 2]
                first, last = max(rows >> 4, first_open), min(rows & 15, last_open)
                along = splat(-records[record + ALONG])
                red, green, blue = records[record + RED], records[record + GREEN], records[record + BLUE]
                sum_1, sum_p, sum_pp = nothing, nothing, nothing
                sum_n, sum_pn, sum_nn = nothing, nothing, nothing
                sum_red, sum_green, sum_blue, sum_depth = nothing, nothing, nothing, nothing
                sum_nx, sum_ny, sum_nz = nothing, nothing, nothing
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
                            grad_depth, grad_nx = load(state, o + 5 * STATE), load(state, o + 6 * STATE)
                            grad_ny, grad_nz = load(state, o + 7 * STATE), load(state, o + 8 * STATE)
                            value = fma(grad_depth, splat(records[record + DEPTH]), value)
                            value = fma(grad_nx, splat(records[record + NORMAL_X]), value)
                            value = fma(grad_ny, splat(records[record + NORMAL_Y]), value)
                            value = fma(grad_nz, splat(records[record + NORMAL_Z]), value)
                            sum_depth = fma(weight, grad_depth, sum_depth)
                            sum_nx = fma(weight, grad_nx, sum_nx)
                            sum_ny = fma(weight, grad_ny, sum_ny)
                            sum_nz = fma(weight, grad_nz, sum_nz)

                        behind = less_product(load(state, o + STATE), weight, value)
                        store(state, o + STATE, behind)
                        # Times alpha, since d alpha / d exponent is -alpha; at the cap it is 0.
                        grad = alpha * less_product(behind / (everything - alpha), light, value)
                        grad = where_greater(after, dark, grad, nothing)
                        if opaque:
                            grad = where_less(x, largest, grad, nothing)
                        along_p = grad * p
                        sum_1 = sum_1 + grad
                        sum_p = sum_p + along_p
                        sum_pp = fma(along_p, p, sum_pp)
                        column += LANES
                        p = p + np.float32(LANES)
                    # Sums of sums: a row is counted once more for every row from it on, and so weighted by its place.
                    sum_n, sum_pn = sum_n + sum_1, sum_pn + sum_p
                    sum_nn = sum_nn + sum_n
                    dy += ONE
                # With n the rows from a row to the last, itself included, its dy is `end_y` - n.
                end_y = splat(dy)
                sum_nn = sum_nn + sum_nn - sum_n  # n (n + 1) / 2 to n²
                sum_y = fma(end_y, sum_1, nothing - sum_n)
                sum_py = fma(end_y, sum_p, nothing - sum_pn)
                sum_yy = fma(end_y, fma(end_y, sum_1, nothing - (sum_n + sum_n)), sum_nn)
                sums = (
                    sum_1, sum_p, sum_pp, sum_y, sum_py, sum_yy, sum_red, sum_green,
                    sum_blue, sum_depth, sum_nx, sum_ny, sum_nz, nothing, nothing, nothing,
                )  # fmt: skip
                store_sums(pair_grads, target, sums)
            for slot in range(end, tile_starts[tile + 1]):
                target = sorted_entries[slot * ENTRY + 1] * PAIR
                for k in range(0, PAIR, LANES):
                    store(pair_grads, target + k, nothing)

    return composite_backward


composite_colors_backward = _backward(False)
composite_geometry_backward = _backward(True)
