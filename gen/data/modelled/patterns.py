"""Textures coated by rules: wood, bark, bricks, cloth, rust ... for the objects of `gen.data.modelled.objects`.

Every pattern takes a seeded generator and a side in pixels and returns an (H, W, 3) uint8 sRGB image. Patterns repeat
seamlessly to the sides, so that they close around a turned piece. Colours are sRGB in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Color = tuple[float, float, float]
Ground = Color | Tensor
"""What lies under a pattern: a colour or another picture of its size."""
Rng = np.random.Generator
Field = NDArray[Any]
"""(size, size) numbers, row 0 on top."""


def wood(rng: Rng, size: int, light: Color, dark: Color, planks: int = 1, bands: int = 5) -> Tensor:
    """Boards side by side with their grain running down the picture."""
    x, _ = _coordinates(size)
    plank = np.floor(x * planks)
    swirl = noise(rng, size, (2, 3), 3)
    grain = np.abs((x * bands + 2.2 * swirl + 5 * rng.random(planks)[plank.astype(int) % planks]) % 1 - 0.5) * 2
    fibre = noise(rng, size, (4, size // 3), 2)
    tint = rng.uniform(-0.15, 0.15, planks)[plank.astype(int) % planks] if planks > 1 else 0
    pores = np.clip(noise(rng, size, (size // 12, size // 2), 1) * 4 - 2.6, 0, 1)
    image = _blend(dark, light, 0.45 * grain + 0.6 * fibre - 0.4 * pores + 0.15 * noise(rng, size, (3, 3)) + tint)
    if planks > 1:
        gap = np.abs(x * planks - np.round(x * planks)) * size / planks
        image = image * (0.35 + 0.65 * np.clip(gap / 2, 0, 1))[..., None]
    return _picture(image)


def bark(rng: Rng, size: int, light: Color, dark: Color) -> Tensor:
    """Ridges that run down, parted by dark cracks."""
    ridge = np.abs(noise(rng, size, (4, 14), 3) - 0.5) * 4
    crumbs = noise(rng, size, (size // 4, size // 2), 1)
    return _picture(_blend(dark, light, 0.75 * np.clip(ridge, 0, 1) + 0.45 * crumbs - 0.13))


def end_grain(rng: Rng, size: int, light: Color, dark: Color, rings: int = 14) -> Tensor:
    """A sawn trunk: rings about the picture's middle, and a few cracks."""
    x, y = _coordinates(size)
    radius, angle = np.hypot(x - 0.5, y - 0.5), np.arctan2(y - 0.5, x - 0.5)
    wobble = noise(rng, size, (3, 3), 2)
    ring = np.abs((2 * radius * rings + 1.5 * wobble) % 1 - 0.5) * 2
    spread = np.abs((angle[..., None] - rng.uniform(-3, 3, 7) + 0.5 * wobble[..., None]) * radius[..., None]).min(-1)
    crack = np.clip(spread * size / 3, 0, 1) * 0.6 + 0.4
    value = 0.6 * ring + 0.4 * noise(rng, size, (size // 4, size // 4), 2)
    return _picture(_blend(dark, light, value) * crack[..., None])


def bricks(rng: Rng, size: int, color: Color, mortar: Color, rows: int = 12, columns: int = 5) -> Tensor:
    """A wall in running bond; every brick has its own shade."""
    x, y = _coordinates(size)
    row = np.floor(y * rows)
    along = x * columns + 0.5 * (row % 2)
    shade = rng.uniform(-0.22, 0.22, (rows, columns))[row.astype(int), along.astype(int) % columns]
    edge = np.minimum(np.minimum(along % 1, 1 - along % 1) * size / columns, _to_edge(y * rows) * size / rows)
    rough = noise(rng, size, (size // 4, size // 4), 2) - 0.5
    body = np.array(color) * (1 + shade + 0.35 * rough)[..., None]
    joint = np.array(mortar) * (1 + 0.3 * rough)[..., None]
    return _picture(_lerp(joint, body, np.clip(edge / 1.5 - 0.6 + 0.6 * rough, 0, 1)))


def scales(rng: Rng, size: int, ground: Ground, rows: int = 12, columns: int = 8, shade: float = 0.5) -> Tensor:
    """Round tiles or scales that overlap downward, over a colour or a picture."""
    x, y = _coordinates(size)
    distance, tint = np.full((size, size), np.inf), np.zeros((size, size))
    tints = rng.uniform(-0.16, 0.16, (rows, columns))
    for above in (2, 1, 0):  # a tile covers those of the rows below it, so the upper one is laid last
        row = np.floor(y * rows) - 2 + above
        along = x * columns + 0.5 * (row % 2)
        reach = np.hypot(along % 1 - 0.5, (y * rows - row) * 0.45) / 0.66
        covered = reach < 1
        distance = np.where(covered, reach, distance)
        tint = np.where(covered, tints[row.astype(int) % rows, along.astype(int) % columns], tint)
    light = 1 + tint + 0.2 * (noise(rng, size, (size // 5, size // 5), 2) - 0.5)
    light *= 1 - shade * np.clip(distance, 0, 1) ** 4
    return _picture(_laid(ground, size) * light[..., None])


def weave(rng: Rng, size: int, light: Color, dark: Color, strands: int = 16) -> Tensor:
    """Wicker: flat strands, each over one and under the next."""
    x, y = _coordinates(size)
    column, row = np.floor(x * strands).astype(int), np.floor(y * strands).astype(int)
    level = (column + row) % 2 == 0
    across, along = np.where(level, y, x) * strands % 1, np.where(level, x, y) * strands % 1
    bulge = np.sin(np.pi * across) ** 0.6 * (0.55 + 0.45 * np.sin(np.pi * along))
    tint = rng.uniform(-0.18, 0.18, (2, strands))
    own = np.where(level, tint[0][row], tint[1][column])
    fibre = np.where(level, noise(rng, size, (size // 2, 8)), noise(rng, size, (8, size // 2))) - 0.5
    return _picture(_blend(dark, light, bulge + own + 0.3 * fibre))


def plaid(rng: Rng, size: int, ground: Color, bands: tuple[Color, ...], count: int = 4) -> Tensor:
    """Checked cloth: the same coloured bands crosswise, in visible threads."""
    x, y = _coordinates(size)
    warp, weft = _bands(x * count % 1, ground, bands), _bands(y * count % 1, ground, bands)
    thread = np.indices((size, size)).sum(0) // 2 % 2
    cloth = np.where(thread[..., None] == 0, 0.7 * warp + 0.3 * weft, 0.3 * warp + 0.7 * weft)
    return _picture(cloth * (0.86 + 0.28 * noise(rng, size, (size // 3, size // 3), 2))[..., None])


def speckle(rng: Rng, size: int, ground: Ground, spots: Color, cells: int = 24, share: float = 0.6) -> Tensor:
    """A ground with round spots of many sizes, like glazed stoneware or fruit."""
    distance, chance = scattered(rng, size, cells)
    radius = 0.12 + 0.28 * (chance * 7 % 1)
    inside = np.clip((radius - distance) * size / cells, 0, 1) * (chance < share)
    tone = 0.9 + 0.12 * noise(rng, size, (6, 6)) + 0.12 * (noise(rng, size, (size // 3, size // 3), 2) - 0.5)
    return _picture(_lerp(_laid(ground, size), np.array(spots), 0.85 * inside) * tone[..., None])


def metal(rng: Rng, size: int, color: Color, rust: Color, worn: float = 0.3) -> Tensor:
    """Brushed or coated metal with scratches; `worn` is about the share that has rusted or lost its paint."""
    brushed = noise(rng, size, (size // 2, 5), 2) - 0.5
    cloudy = noise(rng, size, (5, 5), 5)
    edge = np.quantile(cloudy, worn)
    mask = np.clip((edge - cloudy) * 24, 0, 1)
    pits = noise(rng, size, (size // 4, size // 4), 3)
    base = np.array(color) * (1 + 0.28 * brushed + 0.25 * (cloudy - 0.5))[..., None]
    flaky = np.array(rust) * (0.55 + 0.9 * pits)[..., None]
    return _picture(_lerp(base, flaky, mask))


def leaves(rng: Rng, size: int, ground: Ground, tones: tuple[Color, ...], cells: int = 14) -> Tensor:
    """Foliage: overlapping leaves in several tones, each with its midrib."""
    image = _laid(ground, size)
    for layer in range(4):
        x, y, chance = _offsets(rng, size, cells)
        turn = chance * 40 + layer
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        inside = np.clip((0.28 * (1 - (along / 0.62) ** 2) - np.abs(across)) * size / cells, 0, 1)
        tone = np.array(tones)[(chance * 97).astype(int) % len(tones)] * (0.75 + 0.1 * layer)
        rib = 1 - 0.3 * np.clip(1 - np.abs(across) * size / cells / 0.8, 0, 1)
        image = _lerp(image, tone * (rib + 0.3 * along)[..., None], inside)
    return _picture(image)


def patches(rng: Rng, size: int, ground: Ground, over: tuple[Color, ...], share: float = 0.35) -> Tensor:
    """Ragged patches of further colours on a ground, like a koi's."""
    image = _laid(ground, size) * (0.9 + 0.2 * noise(rng, size, (size // 4, size // 4), 2))[..., None]
    for color in over:
        cloud = noise(rng, size, (3, 4), 4)
        inside = np.clip((cloud - np.quantile(cloud, 1 - share)) * 40, 0, 1)
        image = _lerp(image, np.array(color) * (0.85 + 0.3 * noise(rng, size, (32, 32), 2))[..., None], inside)
    return _picture(image)


def ribs(rng: Rng, size: int, color: Color, spine: Color, count: int = 12, rows: int = 20) -> Tensor:
    """A cactus' skin: dark furrows that run down, and a star of spines at every step of a ridge."""
    x, y = _coordinates(size)
    across = x * count % 1 - 0.5
    step = y * rows % 1 - 0.5
    skin = (
        np.array(color) * (1.08 - 1.5 * np.abs(across) ** 1.5 + 0.3 * (noise(rng, size, (48, 48), 2) - 0.5))[..., None]
    )
    reach = np.hypot(across * rows / count * 1.6, step)
    star = np.abs(np.sin(4 * np.arctan2(step, across * rows / count))) < 0.45
    inside = (reach < 0.12) | (star & (reach < 0.48))
    return _picture(_lerp(skin, np.array(spine), 0.85 * inside))


def stripes(rng: Rng, size: int, bands: tuple[tuple[float, Color], ...]) -> Tensor:
    """Level bands from the top down, each given with the height (0 to 1) where it ends; brushed on by hand."""
    _, y = _coordinates(size)
    height = y + 0.012 * (noise(rng, size, (4, 10), 3) - 0.5)
    image = np.zeros((size, size, 3))
    start = -1.0
    for end, color in bands:
        image[(height >= start) & (height < end)] = color
        start = end
    image[height >= start] = bands[-1][1]
    return _picture(image * (0.88 + 0.24 * noise(rng, size, (size // 2, 12), 3))[..., None])


def dial(rng: Rng, size: int, ground: Color, ink: Color, needle: Color) -> Tensor:
    """An instrument's scale without letters: three rows of ticks and a needle right of the middle."""
    x, y = _coordinates(size)
    image = np.array(ground) * (1.05 - 0.25 * np.abs(x - 0.45) + 0.12 * noise(rng, size, (64, 64), 2))[..., None]
    inside = (x > 0.06) & (x < 0.94)
    for row, (count, height) in enumerate(((44, 0.12), (22, 0.2), (30, 0.1))):
        middle = 0.25 + 0.25 * row
        tick = (np.abs(x * count % 1 - 0.5) < 0.16) & (np.abs(y - middle) < height / 2)
        image = _lerp(image, np.array(ink), 0.85 * (tick & inside))
    return _picture(_lerp(image, np.array(needle), 1.0 * (np.abs(x - 0.63) < 0.012)))


def noise(rng: Rng, size: int, cells: tuple[int, int], octaves: int = 4) -> Field:
    """Fractal value noise in [0, 1] that repeats to all sides; `cells` lattice points down and across."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        rows, columns = (min(count * 2**octave, size) for count in cells)
        lattice = rng.random((rows, columns))
        y, x = np.arange(size) * rows / size, np.arange(size) * columns / size
        top, left = y.astype(int), x.astype(int)
        down, right = _ease(y - top)[:, None], _ease(x - left)[None]
        upper = lattice[top][:, left] * (1 - right) + lattice[top][:, (left + 1) % columns] * right
        below = (top + 1) % rows
        lower = lattice[below][:, left] * (1 - right) + lattice[below][:, (left + 1) % columns] * right
        total += (upper * (1 - down) + lower * down) * 0.5**octave
    total -= total.min()
    return total / total.max()


def scattered(rng: Rng, size: int, cells: int) -> tuple[Field, Field]:
    """Distance to the nearest of cells x cells jittered points, in cells, and that point's own number in [0, 1)."""
    x, y, chance = _offsets(rng, size, cells)
    return np.hypot(x, y), chance


def _offsets(rng: Rng, size: int, cells: int) -> tuple[Field, Field, Field]:
    """Way from the nearest jittered point right and down, in cells, and that point's own number."""
    points = rng.uniform(0.1, 0.9, (cells, cells, 2))
    numbers = rng.random((cells, cells))
    x, y = (value * cells for value in _coordinates(size))
    best = np.full((size, size), np.inf)
    found = np.zeros((3, size, size))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row, column = np.floor(y).astype(int) + down, np.floor(x).astype(int) + right
            point = points[row % cells, column % cells]
            dx, dy = x - column - point[..., 0], y - row - point[..., 1]
            near = np.hypot(dx, dy)
            found = np.where(near < best, (dx, dy, numbers[row % cells, column % cells]), found)
            best = np.minimum(best, near)
    return found[0], found[1], found[2]


def _coordinates(size: int) -> tuple[Field, Field]:
    """Middles of the texels right and down, in [0, 1]."""
    y, x = (np.indices((size, size)) + 0.5) / size
    return x, y


def _bands(position: Field, ground: Color, bands: tuple[Color, ...]) -> Field:
    """(H, W, 3) colours of a stripe's cross-section: the ground, then each band, a third of it as wide."""
    palette = np.array([ground, ground, ground, *bands])
    return palette[(position * len(palette)).astype(int)]


def _laid(ground: Ground, size: int) -> Field:
    """(size, size, 3) of a ground."""
    if isinstance(ground, Tensor):
        return ground.numpy() / 255.0
    return np.broadcast_to(np.array(ground), (size, size, 3))


def _to_edge(value: Field) -> Field:
    """Distance to the nearest whole number."""
    return np.minimum(value % 1, 1 - value % 1)


def _ease(value: Field) -> Field:
    return value * value * (3 - 2 * value)


def _blend(a: Color, b: Color, share: Field) -> Field:
    return _lerp(np.array(a), np.array(b), np.clip(share, 0, 1))


def _lerp(a: Field, b: Field, share: Field) -> Field:
    return a + (b - a) * share[..., None]


def _picture(image: Field) -> Tensor:
    return torch.from_numpy((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
