"""Where things stand in the arrays that kernels share.

A tile is one vector wide, so that a row of a tile is one register. Every Gaussian that is on the screen has a
64-byte record; every pair of a Gaussian and a tile it touches has a 64-byte gradient row of its own, which makes the
backward pass free of atomics and independent of scheduling.
"""

from __future__ import annotations

from recon.splat.backend_cpu.simd import LANES

TILE_WIDTH = LANES
TILE_HEIGHT = 16
TILE_PIXELS = TILE_WIDTH * TILE_HEIGHT

RECORD = 16
"""Floats of a screen record: the names below."""
MEAN_X, MEAN_Y = 0, 1  # pixels
XX, XY, YY = 2, 3, 4  # the exponent over 8 is XX dx² + XY dx dy + YY dy²
OPACITY = 5
RED, GREEN, BLUE = 6, 7, 8
DEPTH = 9
NORMAL_X, NORMAL_Y, NORMAL_Z = 10, 11, 12
REACH = 13  # the Gaussian is drawn where its exponent is below this
HALF_X, HALF_Y = 14, 15  # half the size in pixels of the box around what is drawn

PLANES = 10
"""Planes of a picture: the light left at the end, the record's features in their order, median depth, alpha. Alpha is
one minus the light, but each is kept as it was summed up: near 0 and near 1 one of them is far more exact."""
FEATURES = 7  # red, green, blue, depth, normal
MEDIAN, ALPHA = 8, 9

CAMERA = 20
"""Doubles of a camera: rotation rows and translation (3 x 4), fx, fy, cx, cy, centre in the world, 1 spare."""
