"""Tiles to pictures: the forward pass, front to back, one row of a tile at a time.

The working state of a tile is a small array of rows: the light that is left, then sums of features. Closed pixels keep
their light with a minus sign, so that it counts as nothing from then on and is still known exactly at the end.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import (
    BLUE,
    DEPTH,
    FEATURES,
    GREEN,
    MEAN_X,
    MEAN_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPACITY,
    PLANES,
    RED,
    TILE_HEIGHT,
    TILE_PIXELS,
    TILE_WIDTH,
    XX,
    XY,
    YY,
)
from recon.splat.backend_cpu.simd import (
    LANES,
    any_positive,
    exp_minus_8,
    fma,
    load,
    splat,
    store,
    transposed_sums,
    where_greater,
    where_less,
)
from recon.splat.backend_torch import MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_MIN_ALPHA, _MAX_ALPHA = np.float32(MIN_ALPHA), np.float32(MAX_ALPHA)
_MIN_LIGHT = np.float32(MIN_TRANSMITTANCE)
_LANE_CENTRES = np.arange(LANES, dtype=np.float32) + _HALF
CLOSING_PERIOD = 8
"""How many Gaussians pass between two looks at whether the outer rows of a tile are closed."""


@kernel
def open_pixels(light, tile_x, tile_y, width, height):
    """Sets the light of the tile's pixels inside the picture to 1 and of the others to 0."""
    for row in range(TILE_HEIGHT):
        for lane in range(TILE_WIDTH):
            inside = tile_x * TILE_WIDTH + lane < width and tile_y * TILE_HEIGHT + row < height
            light[row * LANES + lane] = _ONE if inside else _ZERO


@kernel
def composite(
    tiles,  # (T,) tile numbers of this chunk
    tile_starts,
    entries,  # (E, 3)
    records,  # (N * RECORD,)
    tiles_x,
    width,
    height,
    picture,  # out (PLANES * padded height * padded width,)
    entries_read,  # out, per tile: how many entries were looked at before every pixel was closed
):
    """Draws tiles."""
    row_length = tiles_x * TILE_WIDTH
    plane = picture.shape[0] // PLANES
    state = np.empty(PLANES * TILE_PIXELS, np.float32)
    lanes = _LANE_CENTRES.copy()
    nothing, half = splat(_ZERO), splat(_HALF)
    min_alpha, max_alpha, min_light = splat(_MIN_ALPHA), splat(_MAX_ALPHA), splat(_MIN_LIGHT)
    for index in range(tiles.shape[0]):
        tile = tiles[index]
        tile_y, tile_x = tile // tiles_x, tile % tiles_x
        state[:] = _ZERO
        open_pixels(state, tile_x, tile_y, width, height)
        left = np.float32(tile_x * TILE_WIDTH)
        top = np.float32(tile_y * TILE_HEIGHT) + _HALF
        first_open, last_open = 0, TILE_HEIGHT - 1
        read = 0
        for slot in range(tile_starts[tile], tile_starts[tile + 1]):
            record = entries[slot, 0] * 16
            rows = entries[slot, 2]
            read += 1
            first, last = max(rows >> 4, first_open), min(rows & 15, last_open)
            if first <= last:
                dx = load(lanes, 0) + (left - records[record + MEAN_X])
                xx, xy = dx * dx * records[record + XX], dx * records[record + XY]
                yy, opacity = records[record + YY], splat(records[record + OPACITY])
                red, green = splat(records[record + RED]), splat(records[record + GREEN])
                blue, depth = splat(records[record + BLUE]), splat(records[record + DEPTH])
                normal_x, normal_y = splat(records[record + NORMAL_X]), splat(records[record + NORMAL_Y])
                normal_z = splat(records[record + NORMAL_Z])
                dy = top + np.float32(first) - records[record + MEAN_Y]
                for row in range(first, last + 1):
                    o = row * LANES
                    power = fma(xy, splat(dy), xx + yy * dy * dy)
                    alpha = opacity * exp_minus_8(power)
                    alpha = where_less(alpha, max_alpha, alpha, max_alpha)
                    alpha = where_less(alpha, min_alpha, nothing, alpha)
                    left_over = load(state, o)
                    light = where_greater(left_over, nothing, left_over, nothing)
                    weight = alpha * light
                    after = light - weight
                    weight = where_greater(after, min_light, weight, nothing)
                    closed = where_less(left_over, nothing, left_over, nothing - left_over)
                    store(state, o, where_greater(after, min_light, after, closed))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, red, load(state, o)))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, green, load(state, o)))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, blue, load(state, o)))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, depth, load(state, o)))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, normal_x, load(state, o)))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, normal_y, load(state, o)))
                    o += TILE_PIXELS
                    store(state, o, fma(weight, normal_z, load(state, o)))
                    o += TILE_PIXELS
                    # At most one Gaussian of a pixel passes one half, so a sum does for a choice.
                    median = where_greater(light, half, where_greater(after, half, nothing, depth), nothing)
                    store(state, o, load(state, o) + median)
                    o += TILE_PIXELS
                    store(state, o, load(state, o) + weight)
                    dy += _ONE
            if read % CLOSING_PERIOD == 0:
                while first_open <= last_open and not any_positive(load(state, first_open * LANES)):
                    first_open += 1
                while first_open <= last_open and not any_positive(load(state, last_open * LANES)):
                    last_open -= 1
                if first_open > last_open:
                    break
        entries_read[tile] = read
        corner = tile_y * TILE_HEIGHT * row_length + tile_x * TILE_WIDTH
        for row in range(TILE_HEIGHT):
            light = load(state, row * LANES)
            store(picture, corner + row * row_length, where_less(light, nothing, nothing - light, light))
            for channel in range(1, PLANES):
                pixels = load(state, channel * TILE_PIXELS + row * LANES)
                store(picture, channel * plane + corner + row * row_length, pixels)


@kernel
def composite_backward(
    tiles,
    tile_starts,
    entries,
    records,
    tiles_x,
    width,
    height,
    picture,
    picture_grad,  # ((1 + FEATURES) * plane,): of the light left, and of the features
    entries_read,
    geometry,  # whether depth or normals have a gradient
    pair_grads,  # out (pairs * 16,): six moments of the exponent's gradient, then the features'
):
    """Gradients of every (Gaussian, tile) pair, walking front to back a second time.

    With weights w_i = alpha_i T_i, q_i the sum over features of gradient times value, and T the light left at the end
    with its gradient g, the gradient in alpha_i is T_i q_i - (g T + sum over j > i of w_j q_j) / (1 - alpha_i).
    The sum over all j is known from the forward pass, so that one number per pixel is enough. g T is kept apart from
    it, because it may be far smaller and still be all there is.
    """
    row_length = tiles_x * TILE_WIDTH
    plane = picture.shape[0] // PLANES
    # Rows: light, the sum over what is behind, g T, then the gradients of the features.
    state = np.empty((3 + FEATURES) * TILE_PIXELS, np.float32)
    lanes = _LANE_CENTRES.copy()
    nothing, everything = splat(_ZERO), splat(_ONE)
    min_alpha, max_alpha, min_light = splat(_MIN_ALPHA), splat(_MAX_ALPHA), splat(_MIN_LIGHT)
    for index in range(tiles.shape[0]):
        tile = tiles[index]
        tile_y, tile_x = tile // tiles_x, tile % tiles_x
        open_pixels(state, tile_x, tile_y, width, height)
        corner = tile_y * TILE_HEIGHT * row_length + tile_x * TILE_WIDTH
        for row in range(TILE_HEIGHT):
            position = corner + row * row_length
            store(state, 2 * TILE_PIXELS + row * LANES, load(picture_grad, position) * load(picture, position))
            behind = nothing
            for channel in range(1, 1 + FEATURES):
                position += plane
                grad = load(picture_grad, position)
                store(state, (2 + channel) * TILE_PIXELS + row * LANES, grad)
                behind = fma(grad, load(picture, position), behind)
            store(state, TILE_PIXELS + row * LANES, behind)
        left = np.float32(tile_x * TILE_WIDTH)
        top = np.float32(tile_y * TILE_HEIGHT) + _HALF
        first_open, last_open = 0, TILE_HEIGHT - 1
        begin = tile_starts[tile]
        end = begin + entries_read[tile]
        for slot in range(begin, end):
            record = entries[slot, 0] * 16
            target = entries[slot, 1] * 16
            rows = entries[slot, 2]
            first, last = max(rows >> 4, first_open), min(rows & 15, last_open)
            dx = load(lanes, 0) + (left - records[record + MEAN_X])
            sum_1, sum_y, sum_yy = nothing, nothing, nothing
            sum_red, sum_green, sum_blue, sum_depth = nothing, nothing, nothing, nothing
            sum_nx, sum_ny, sum_nz = nothing, nothing, nothing
            if first <= last:
                xx, xy = dx * dx * records[record + XX], dx * records[record + XY]
                yy, opacity = records[record + YY], splat(records[record + OPACITY])
                red, green = splat(records[record + RED]), splat(records[record + GREEN])
                blue = splat(records[record + BLUE])
                dy = top + np.float32(first) - records[record + MEAN_Y]
                for row in range(first, last + 1):
                    o = row * LANES
                    power = fma(xy, splat(dy), xx + yy * dy * dy)
                    uncapped = opacity * exp_minus_8(power)
                    alpha = where_less(uncapped, max_alpha, uncapped, max_alpha)
                    alpha = where_less(alpha, min_alpha, nothing, alpha)
                    light = load(state, o)
                    weight = alpha * light
                    after = light - weight
                    weight = where_greater(after, min_light, weight, nothing)
                    alpha = where_greater(after, min_light, alpha, nothing)
                    store(state, o, where_greater(after, min_light, after, nothing))

                    grad_red, grad_green = load(state, o + 3 * TILE_PIXELS), load(state, o + 4 * TILE_PIXELS)
                    grad_blue = load(state, o + 5 * TILE_PIXELS)
                    value = fma(grad_blue, blue, fma(grad_green, green, grad_red * red))
                    sum_red = fma(weight, grad_red, sum_red)
                    sum_green = fma(weight, grad_green, sum_green)
                    sum_blue = fma(weight, grad_blue, sum_blue)
                    if geometry:
                        grad_depth, grad_nx = load(state, o + 6 * TILE_PIXELS), load(state, o + 7 * TILE_PIXELS)
                        grad_ny, grad_nz = load(state, o + 8 * TILE_PIXELS), load(state, o + 9 * TILE_PIXELS)
                        value = fma(grad_depth, splat(records[record + DEPTH]), value)
                        value = fma(grad_nx, splat(records[record + NORMAL_X]), value)
                        value = fma(grad_ny, splat(records[record + NORMAL_Y]), value)
                        value = fma(grad_nz, splat(records[record + NORMAL_Z]), value)
                        sum_depth = fma(weight, grad_depth, sum_depth)
                        sum_nx = fma(weight, grad_nx, sum_nx)
                        sum_ny = fma(weight, grad_ny, sum_ny)
                        sum_nz = fma(weight, grad_nz, sum_nz)

                    behind = load(state, o + TILE_PIXELS) - weight * value
                    store(state, o + TILE_PIXELS, behind)
                    # Times alpha, d alpha / d exponent is -alpha; at the cap it is 0.
                    moved = where_less(uncapped, max_alpha, alpha, nothing)
                    behind = behind + load(state, o + 2 * TILE_PIXELS)
                    grad_power = moved * (behind / (everything - alpha) - light * value)
                    along_y = grad_power * dy
                    sum_1 = sum_1 + grad_power
                    sum_y = sum_y + along_y
                    sum_yy = fma(along_y, splat(dy), sum_yy)
                    dy += _ONE
            sum_x = sum_1 * dx
            moments = (sum_1, sum_x, sum_x * dx, sum_y, sum_y * dx, sum_yy, sum_red, sum_green)
            store(pair_grads, target, transposed_sums(moments))
            features = (sum_blue, sum_depth, sum_nx, sum_ny, sum_nz, nothing, nothing, nothing)
            store(pair_grads, target + LANES, transposed_sums(features))
            if (slot - begin + 1) % CLOSING_PERIOD == 0:
                while first_open <= last_open and not any_positive(load(state, first_open * LANES)):
                    first_open += 1
                while first_open <= last_open and not any_positive(load(state, last_open * LANES)):
                    last_open -= 1
        for slot in range(end, tile_starts[tile + 1]):
            target = entries[slot, 1] * 16
            store(pair_grads, target, nothing)
            store(pair_grads, target + LANES, nothing)
