"""Where things stand in the arrays that kernels share.

Every Gaussian that is on the screen has a 64-byte record; every pair of a Gaussian and a tile it touches has a 64-byte
gradient row of its own, which makes the backward pass free of atomics and independent of scheduling.

The exponent of a Gaussian is kept completed to squares: with d the pixel less the mean and p = dx - SLOPE dy it is
ALONG p² + ACROSS dy², a sum of two positive terms, which needles cannot cancel. Exponents and opacities count in powers
of two, so that one sum and one exponential give the opacity at a pixel.
"""

from __future__ import annotations

from recon.splat.backend_cpu.simd import LANES

TILE_WIDTH = 64
TILE_HEIGHT = 16
"""Wide, so that few Gaussians touch two tiles; not wider, so that small pictures have enough of them for all threads
and the state of a tile stays in the nearest cache."""
FEW_VECTORS = 16 // LANES
"""Up to this many, every row of a Gaussian gets as many vectors as its widest: what that wastes on lanes costs less
than a branch that nobody can predict."""
PITCH = TILE_WIDTH + FEW_VECTORS * LANES
"""Floats of a row of a tile's working state: vectors start anywhere in the tile and may reach over its right side."""
STATE = PITCH * TILE_HEIGHT + 32
"""Floats of a plane of the state. Planes must not lie near a multiple of 4 kB apart: the processor then takes a load
from one for a load of what was just stored into another, and waits."""

RECORD = 16
"""Floats of a screen record: the names below. The projections write it, and their derivatives read it, whole, in this
order."""
MEAN_X, MEAN_Y = 0, 1  # pixels
ALONG, SLOPE, ACROSS = 2, 3, 4
OPACITY = 5
RED, GREEN, BLUE = 6, 7, 8
DEPTH = 9
NORMAL_X, NORMAL_Y, NORMAL_Z = 10, 11, 12
LOG_OPACITY = 13  # to base 2
HALF_ROW = 14  # half the width in pixels of the widest row of what is drawn
HALF_Y = 15  # half the height; row dy is HALF_ROW sqrt(1 - (dy / HALF_Y)²) to each side of its centre, SLOPE dy

DISK_RECORD = 32
"""Floats of the record of a disk: those of a Gaussian, where MEAN_X, MEAN_Y, SLOPE, HALF_ROW and HALF_Y are an ellipse
around all that is drawn of it, and the names below. With d the pixel less (DISK_X, DISK_Y), the ray meets the disk at
depth DEPTH w, w = 1 / (1 + TILT_X dx + TILT_Y dy), with exponent (ALONG p² + ACROSS dy²) w², p = dx - DISK_SLOPE dy."""
DISK_X, DISK_Y = 16, 17  # the projected centre, pixels
DISK_SLOPE = 18
TILT_X, TILT_Y = 19, 20  # 1/pixels

PAIR = 16
"""Floats of a pair's gradient row: with g the gradient in the exponent, the sums over the tile's pixels of g, g p,
g p², g dy, g p dy, g dy², then the gradients of the record's features in their order from RED on, three spare.

Of a disk: the sum of g, the gradients in DISK_X and DISK_Y, the sums of g w² times p², p dy and dy² over the pixels
whose rays meet it, then those of the features, then those in TILT_X and TILT_Y, one spare."""

FEATURES = 7  # red, green, blue, depth, normal
COLORS = 3
LIGHT, ALPHA, MEDIAN = 0, 1, 9
"""Planes of a picture: the light left at the end, alpha, red, green, blue, and with geometry depth, normal and median
depth."""
PLANES = 10

CAMERA = 20
"""Floats of a camera: rotation rows and translation (3 x 4), fx, fy, cx, cy, centre in the world, 1 spare."""
ENTRY = 3
"""Integers of an entry of a tile's list: Gaussian, pair, and its rows of the tile (first << 4 | last)."""
