"""The losses of a picture and their gradients in few sweeps over it, for `recon.splat.losses`.

The first sweep blurs picture and target (11 taps, separable), and leaves what the blurred sums contribute to the
gradient; the second blurs that back. Rows and columns near the border are divided by the part of the window that is
inside, as in the plain version.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.simd import LANES, fma, load, splat, store, sum_lanes, where_greater

RADIUS = 5
MARGIN = 16
"""Floats of zeros to the left and, at least, to the right of every row; a multiple of any vector's length."""
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


@kernel
def pad_row(source, start, width, factor, padded, position, pitch):
    """A row of `source`, times a factor, into a row with margins."""
    for column in range(0, pitch, LANES):
        store(padded, position + column, splat(_ZERO))
    whole = width // LANES * LANES
    for column in range(0, whole, LANES):
        store(padded, position + MARGIN + column, load(source, start + column) * factor)
    for column in range(whole, width):
        padded[position + MARGIN + column] = source[start + column] * factor


@kernel
def pad(source, height, width, factor, padded, pitch):
    """(H * W,) times a factor into rows with margins, (H * pitch,)."""
    for row in range(height):
        pad_row(source, row * width, width, factor, padded, row * pitch, pitch)


@kernel
def compose(colors, alpha, height, width, background, padded, pitch):
    """Colours (C * H * W,) over black, of coverage alpha (H * W,), over a background (C,) into rows with margins; one
    plane more holds alpha, ((C + 1) * H * pitch,)."""
    channels, whole = background.shape[0], width // LANES * LANES
    for c in range(channels):
        for row in range(height):
            start, position = row * width, (c * height + row) * pitch
            pad_row(colors, c * height * width + start, width, _ONE, padded, position, pitch)
            for column in range(0, whole, LANES):
                place = position + MARGIN + column
                through = splat(_ONE) - load(alpha, start + column)
                store(padded, place, fma(through, splat(background[c]), load(padded, place)))
            for column in range(whole, width):
                padded[position + MARGIN + column] += (_ONE - alpha[start + column]) * background[c]
    for row in range(height):
        pad_row(alpha, row * width, width, _ONE, padded, (channels * height + row) * pitch, pitch)


@kernel
def compare_masks(
    height,
    pitch,
    background,  # (C,)
    mask_weight,
    image,  # ((C + 1) * H * pitch,), as composed
    target,
    trust,  # (H * pitch,): weight of each pixel, divided by their sum and by the number of channels
    gradient,  # (C * H * pitch,): of the colours' loss in `image`
    by_color,  # out (H * pitch,): gradient of the colours' loss in alpha, through the background
    by_mask,  # out: of the masks' loss
    residual,  # out: mean difference of the colours, and the weighted one of the masks
):
    """Returns the masks' loss."""
    channels, plane = background.shape[0], height * pitch
    share, nothing = np.float32(channels), splat(_ZERO)
    total = 0.0
    for row in range(height):
        row_total = nothing
        for column in range(MARGIN, pitch - MARGIN, LANES):
            o = row * pitch + column
            through, difference = nothing, nothing
            for c in range(channels):
                off = load(image, c * plane + o) - load(target, c * plane + o)
                difference = difference + where_greater(off, nothing, off, nothing - off)
                through = through - load(gradient, c * plane + o) * background[c]
            off = load(image, channels * plane + o) - load(target, channels * plane + o)
            magnitude = where_greater(off, nothing, off, nothing - off)
            slope = load(trust, o) * (mask_weight * share)
            falling = where_greater(nothing, off, nothing - slope, nothing)
            store(by_color, o, through)
            store(by_mask, o, where_greater(off, nothing, slope, falling))
            store(residual, o, difference / share + magnitude * mask_weight)
            row_total = row_total + slope * magnitude
        total += sum_lanes(row_total)
    return total


@kernel
def _blur_row(buffer, offset, column, taps):
    """The horizontal blur of a row of `buffer` at a vector of columns."""
    total = load(buffer, offset + column - RADIUS) * taps[0]
    for k in range(1, 2 * RADIUS + 1):
        total = fma(load(buffer, offset + column + k - RADIUS), splat(taps[k]), total)
    return total


@kernel
def compare(
    first,
    last,
    height,
    pitch,
    plane,  # offset of the channel's plane
    image,  # (C * H * pitch,), padded
    target,
    weight,  # (H * pitch,): of each pixel, divided by their sum and by the number of channels
    taps,  # (11,)
    row_scale,  # (H,): one over the part of the window that is inside
    column_scale,  # (pitch,), 0 in the margins
    l1_share,
    ssim_share,
    c1,  # the two constants of the structural similarity
    c2,
    by_mean,  # out (C * H * pitch,): gradient in the blurred picture, before it is blurred back
    by_square,  # out: in the blurred square
    by_product,  # out: in the blurred product with the target
):
    """Rows first..last of one channel; returns the loss that they add."""
    buffer = np.zeros(5 * pitch, np.float32)
    nothing = splat(_ZERO)
    total = nothing
    for row in range(first, last):
        for column in range(0, pitch, LANES):
            x, y, xx, yy, xy = nothing, nothing, nothing, nothing, nothing
            for k in range(max(-RADIUS, -row), min(RADIUS, height - 1 - row) + 1):
                o = plane + (row + k) * pitch + column
                tap = splat(taps[k + RADIUS] * row_scale[row])
                a, b = load(image, o), load(target, o)
                wa, wb = a * tap, b * tap
                x, y = x + wa, y + wb
                xx, yy, xy = fma(wa, a, xx), fma(wb, b, yy), fma(wa, b, xy)
            store(buffer, column, x)
            store(buffer, pitch + column, y)
            store(buffer, 2 * pitch + column, xx)
            store(buffer, 3 * pitch + column, yy)
            store(buffer, 4 * pitch + column, xy)
        for column in range(MARGIN, pitch - MARGIN, LANES):
            scale = load(column_scale, column)
            x, y = _blur_row(buffer, 0 * pitch, column, taps) * scale, _blur_row(buffer, pitch, column, taps) * scale
            xx = _blur_row(buffer, 2 * pitch, column, taps) * scale
            yy = _blur_row(buffer, 3 * pitch, column, taps) * scale
            xy = _blur_row(buffer, 4 * pitch, column, taps) * scale
            # ssim = (luminance_top structure_top) / (luminance_bottom structure_bottom)
            luminance_top, luminance_bottom = x * y * _TWO + c1, fma(x, x, fma(y, y, splat(c1)))
            structure_top = (xy - x * y) * _TWO + c2
            structure_bottom = (xx - x * x) + (yy - y * y) + c2
            inverse = splat(_ONE) / (luminance_bottom * structure_bottom)
            ssim = luminance_top * structure_top * inverse
            o = row * pitch + column
            trust = load(weight, o)
            total = total + trust * (splat(_ONE) - ssim) * ssim_share
            # Gradients of minus ssim, scaled for the way back through the blur.
            back = trust * scale * (-ssim_share * row_scale[row])
            squares = nothing - ssim * luminance_bottom * inverse
            products = luminance_top * inverse * _TWO
            means = (y * structure_top * _TWO - x * ssim * structure_bottom * _TWO) * inverse
            means = means - x * squares * _TWO - y * products
            store(by_mean, plane + o, back * means)
            store(by_square, plane + o, back * squares)
            store(by_product, plane + o, back * products)
            difference = load(image, plane + o) - load(target, plane + o)
            magnitude = where_greater(difference, nothing, difference, nothing - difference)
            total = total + trust * magnitude * l1_share
    return sum_lanes(total)


@kernel
def gather_gradient(
    first, last, height, pitch, plane, image, target, weight, taps, l1_share, by_mean, by_square, by_product, gradient
):
    """Rows first..last of one channel of the gradient in the picture, (C * H * pitch,)."""
    buffer = np.zeros(3 * pitch, np.float32)
    nothing = splat(_ZERO)
    for row in range(first, last):
        for column in range(MARGIN, pitch - MARGIN, LANES):
            means, squares, products = nothing, nothing, nothing
            for k in range(max(-RADIUS, -row), min(RADIUS, height - 1 - row) + 1):
                o = plane + (row + k) * pitch + column
                tap = splat(taps[k + RADIUS])
                means = fma(load(by_mean, o), tap, means)
                squares, products = fma(load(by_square, o), tap, squares), fma(load(by_product, o), tap, products)
            store(buffer, column, means)
            store(buffer, pitch + column, squares)
            store(buffer, 2 * pitch + column, products)
        for column in range(MARGIN, pitch - MARGIN, LANES):
            o = plane + row * pitch + column
            a, b = load(image, o), load(target, o)
            squares = _blur_row(buffer, pitch, column, taps) * a * _TWO
            products = _blur_row(buffer, 2 * pitch, column, taps) * b
            slope = load(weight, row * pitch + column) * l1_share
            absolute = where_greater(a, b, slope, where_greater(b, a, nothing - slope, nothing))
            store(gradient, o, _blur_row(buffer, 0 * pitch, column, taps) + squares + products + absolute)
