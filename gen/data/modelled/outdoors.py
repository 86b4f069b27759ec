"""Evaluation objects from outside: street lamp, cactus, fish, stump, house, bicycle."""

from __future__ import annotations

import math

import numpy as np

from gen.data.modelled import patterns
from gen.data.modelled.kit import ball, box, decal, extrude, joined, lumpy, placed, revolve, tube, window
from gen.data.modelled.parts import (
    OAK,
    RUST,
    Rng,
    banded,
    coated,
    on_wall,
    pane,
    thin_fin,
    tiled_slab,
)
from recon.surface.mesh import Mesh

# Lists of points fill their lines; one point a line would make this module three times as long.
# fmt: off


def street_lamp(rng: Rng) -> Mesh:
    """A cast-iron lamp on a curved arm, with an arrow sign on the other side and a basket of flowers in front."""
    iron = coated(patterns.metal(rng, 256, (0.14, 0.24, 0.22), RUST, 0.25), "iron")
    glass = coated(patterns.scales(rng, 128, (1.0, 0.86, 0.48), 6, 4, 0.35), "glass")
    sign = coated(patterns.metal(rng, 256, (0.80, 0.22, 0.15), (0.85, 0.82, 0.75), 0.08), "sign")
    plant = coated(patterns.leaves(rng, 256, (0.10, 0.22, 0.08), ((0.2, 0.45, 0.15), (0.35, 0.55, 0.2),
        (0.85, 0.3, 0.5)), 10), "plant")
    wicker = coated(patterns.weave(rng, 128, (0.68, 0.5, 0.3), (0.25, 0.15, 0.08), 10), "wicker")
    foot = [(0, 0), (0.36, 0), (0.36, 0.1), (0.28, 0.14), (0.24, 0.3), (0.15, 0.4), (0.13, 0.75), (0.17, 0.8),
        (0.17, 0.86)]
    shaft = [(0.085, 0.92), (0.07, 1.9), (0.1, 1.94), (0.1, 2.0), (0.06, 2.04), (0.05, 2.9), (0.09, 2.94), (0.05, 3.02),
        (0, 3.12)]
    parts = [revolve([*foot, *shaft], iron, segments=16)]
    arm = [(0, 2.7, 0), (0.12, 3.05, 0), (0.45, 3.28, 0), (0.78, 3.15, 0), (0.82, 2.92, 0)]
    parts.append(tube(arm, [0.045, 0.045, 0.04, 0.035, 0.03], iron, sides=10, up=(0, 0, 1)))
    scroll = [(0.05, 2.45, 0), (0.3, 2.6, 0), (0.5, 2.85, 0), (0.46, 3.05, 0), (0.3, 3.02, 0), (0.3, 2.9, 0),
        (0.38, 2.9, 0)]
    parts.append(tube(scroll, [0.025] * 6 + [0.015], iron, sides=8, up=(0, 0, 1)))
    lantern = [(0, 0), (0.11, 0.02), (0.13, 0.06), (0.22, 0.5), (0.21, 0.52), (0, 0.52)]
    parts.append(placed(revolve(lantern, glass, segments=6), (0.82, 2.2, 0)))
    roof = [(0, 0.5), (0.27, 0.5), (0.26, 0.54), (0.12, 0.68), (0.08, 0.7), (0.08, 0.75), (0, 0.78)]
    parts.append(placed(revolve(roof, iron, segments=6), (0.82, 2.2, 0)))
    parts.append(placed(revolve([(0, -0.08), (0.05, -0.04), (0.14, 0), (0.14, 0.05), (0, 0.05)], iron, segments=6),
        (0.82, 2.2, 0)))
    for angle in np.arange(6) * math.pi / 3:
        x, z = math.sin(angle), math.cos(angle)
        bar = [(0.82 + 0.13 * x, 2.24, 0.13 * z), (0.82 + 0.225 * x, 2.72, 0.225 * z)]
        parts.append(tube(bar, [0.016, 0.016], iron, sides=6, smooth=1))
    arrow = [(-0.95, 0), (-0.72, -0.17), (-0.72, -0.12), (0, -0.12), (0, 0.12), (-0.72, 0.12), (-0.72, 0.17)]
    parts.append(placed(extrude(arrow, 0.04, sign, bevel=0.008), (-0.06, 2.45, 0.04), turn=(0, 12, 0)))
    parts.append(tube([(0, 2.62, 0), (-0.4, 2.66, 0.06), (-0.5, 2.56, 0.1)], [0.018, 0.018, 0.012], iron, sides=8))
    hook = [(0, 1.95, 0), (-0.05, 2.08, 0.2), (-0.08, 1.98, 0.36), (-0.08, 1.75, 0.38)]
    parts.append(tube(hook, [0.022, 0.022, 0.02, 0.012], iron, sides=8))
    parts.append(placed(revolve([(0, 0), (0.12, 0.02), (0.2, 0.12), (0.23, 0.25), (0, 0.25)], wicker, segments=20),
        (-0.08, 1.42, 0.38)))
    for x, y, z, r in ((0, 1.72, 0.38, 0.2), (-0.2, 1.66, 0.42, 0.13), (0.1, 1.64, 0.5, 0.14), (-0.1, 1.62, 0.56, 0.1)):
        parts.append(lumpy(ball((x - 0.04, y, z), (r, 0.8 * r, r), plant, segments=14), rng, 0.03, 0.2))
    return joined(parts)


def cactus(rng: Rng) -> Mesh:
    """A saguaro with three unequal arms in a coated pot, flowers, and a label in front."""
    skin = coated(patterns.ribs(rng, 384, (0.27, 0.50, 0.24), (0.93, 0.90, 0.70)), "cactus")
    clay, lime, teal = (0.74, 0.38, 0.22), (0.93, 0.87, 0.74), (0.16, 0.46, 0.48)
    bands = ((0.5, clay), (0.58, lime), (0.62, teal), (0.66, lime), (0.7, teal), (0.78, lime), (1.0, clay))
    pot = coated(patterns.speckle(rng, 256, patterns.stripes(rng, 256, bands), (0.55, 0.26, 0.15), 30, 0.4), "pot")
    soil = coated(patterns.speckle(rng, 128, (0.30, 0.20, 0.13), (0.62, 0.55, 0.46), 20), "soil")
    petal = coated(patterns.stripes(rng, 128, ((0.4, (0.98, 0.80, 0.35)), (0.6, (0.95, 0.45, 0.55)),
        (1, (0.80, 0.16, 0.40)))), "petal")
    label = coated(patterns.wood(rng, 128, *OAK), "label")
    flag = ((0.15, teal), (0.5, lime), (0.62, (0.86, 0.25, 0.40)), (0.85, lime), (1.0, teal))
    picture = coated(patterns.stripes(rng, 128, flag), "picture")
    wall = [(0, 0), (0.36, 0), (0.40, 0.04), (0.52, 0.6), (0.58, 0.62), (0.6, 0.76), (0.54, 0.78), (0.5, 0.66),
        (0, 0.6)]
    parts = [revolve(wall, pot, segments=40)]
    parts.append(lumpy(ball((0, 0.62, 0), (0.5, 0.1, 0.5), soil, segments=24), rng, 0.02, 0.3))
    stem = [(0, 0.6, 0), (0.02, 1.1, 0), (0.0, 1.7, 0.02), (-0.02, 2.2, 0), (-0.02, 2.42, 0), (-0.02, 2.5, 0)]
    arms = [(stem, [0.24, 0.27, 0.27, 0.24, 0.16, 0.03]), ([(0, 1.15, 0), (0.4, 1.15, 0.06), (0.56, 1.35, 0.08),
        (0.57, 1.85, 0.08), (0.57, 1.95, 0.08)], [0.12, 0.14, 0.14, 0.12, 0.02]),
        ([(0, 1.6, 0), (-0.32, 1.6, 0.1), (-0.44, 1.74, 0.14), (-0.45, 2.0, 0.14), (-0.45, 2.08, 0.14)],
        [0.1, 0.115, 0.12, 0.1, 0.02]), ([(0, 0.9, 0), (-0.1, 0.9, 0.32), (-0.13, 1.0, 0.44), (-0.14, 1.2, 0.46),
        (-0.14, 1.26, 0.46)], [0.09, 0.1, 0.11, 0.09, 0.02])]
    for number, (path, radii) in enumerate(arms):
        arm = tube(path, radii, skin, sides=28 if number == 0 else 18, smooth=6, up=(0.2, 0.1, 1))
        parts.append(arm if number == 0 else window(arm, 0, 0.2 * number, 1, 0.35))
    for top, size in (((-0.02, 2.46, 0), 1.0), ((0.57, 1.92, 0.08), 0.7), ((0.1, 2.12, 0.23), 0.6)):
        for angle in range(0, 360, 45):
            leaf = [(0, 0, 0.02), (0, 0.1, 0.09), (0, 0.13, 0.2)]
            flower = tube(leaf, [(0.02, 0.01), (0.05, 0.012), (0.012, 0.008)], petal, sides=6, smooth=3, up=(0, 1, 0.2))
            parts.append(placed(placed(flower, turn=(0, angle, 0)), top, size=size))
        parts.append(ball((top[0], top[1] + 0.06 * size, top[2]), (0.05 * size,) * 3, petal, segments=10))
    plate = decal(box((0.46, 0.32, 0.03), label), picture, (0, 0, 1), within=20)
    parts.append(placed(plate, (0.24, 1.06, 0.41), turn=(-8, 15, -6)))
    parts.append(tube([(0.24, 0.55, 0.37), (0.24, 1.0, 0.39)], [0.022, 0.022], label, sides=8, smooth=1))
    for x, z, r in ((0.32, 0.22, 0.09), (0.2, 0.36, 0.06), (-0.34, -0.1, 0.08)):
        parts.append(lumpy(ball((x, 0.7, z), (r, 0.7 * r, r), soil, segments=10), rng, 0.02, 0.2))
    return joined(parts)


def fish(rng: Rng) -> Mesh:
    """A koi that turns: patches unlike on its sides, thin fins, barbels."""
    coat = patterns.patches(rng, 384, (0.95, 0.92, 0.86), ((0.90, 0.36, 0.10), (0.13, 0.12, 0.14)), 0.3)
    skin = coated(patterns.scales(rng, 384, coat, 44, 26, 0.45), "koi")
    fin = coated(patterns.wood(rng, 256, (0.98, 0.80, 0.55), (0.85, 0.35, 0.12), bands=14), "fin")
    black = coated(patterns.speckle(rng, 64, (0.05, 0.05, 0.07), (0.3, 0.3, 0.35), 8, 0.2), "pupil")
    gold = coated(patterns.speckle(rng, 64, (0.90, 0.75, 0.30), (0.5, 0.35, 0.1), 10), "iris")
    spine = [(-1.25, 0.06, -0.42), (-0.9, 0.02, -0.16), (-0.4, 0, 0), (0.1, 0, 0.02), (0.6, -0.02, 0),
        (0.88, -0.05, -0.04), (0.98, -0.07, -0.06)]
    girth = [(0.045, 0.13), (0.08, 0.16), (0.2, 0.33), (0.27, 0.42), (0.23, 0.33), (0.14, 0.18), (0.06, 0.07)]
    parts = [tube(spine, girth, skin, sides=32, smooth=6, up=(0, 1, 0))]
    tail = [(0.1, -0.05), (0.1, 0.05), (-0.15, 0.2), (-0.5, 0.52), (-0.62, 0.5), (-0.45, 0.1), (-0.42, -0.05),
        (-0.55, -0.36), (-0.5, -0.44), (-0.15, -0.16)]
    parts.append(placed(thin_fin(tail, fin), (-1.22, 0.06, -0.4), turn=(0, -42, 0)))
    back = [(0.35, 0), (0.3, 0.2), (0.12, 0.3), (-0.25, 0.2), (-0.5, 0.06), (-0.5, 0)]
    parts.append(placed(thin_fin(back, fin), (-0.05, 0.36, 0.01)))
    for side in (-1, 1):
        flap = [(0.1, 0), (0.12, 0.08), (-0.1, 0.38), (-0.3, 0.45), (-0.34, 0.3), (-0.12, 0)]
        spread = 118 if side > 0 else -100
        parts.append(placed(thin_fin(flap, fin), (0.45, -0.17, 0.19 * side), turn=(spread, 18 * side, 0)))
        low = [(0.08, 0), (0.02, 0.2), (-0.18, 0.28), (-0.14, 0)]
        parts.append(placed(thin_fin(low, fin), (-0.42, -0.24, 0.1 * side), turn=(150 * side, 0, 0)))
        parts.append(ball((0.72, 0.06, 0.155 * side - 0.01), (0.06, 0.06, 0.045), gold, segments=14))
        parts.append(ball((0.735, 0.065, 0.185 * side - 0.01), (0.034, 0.034, 0.025), black, segments=12))
        barbel = [(0.95, -0.1, 0.03 * side - 0.05), (1.0, -0.2, 0.1 * side), (0.94, -0.3, 0.16 * side)]
        parts.append(tube(barbel, [0.016, 0.012, 0.005], fin, sides=6, smooth=4))
    parts.append(placed(thin_fin([(0.1, 0), (-0.02, 0.16), (-0.2, 0.24), (-0.16, 0)], fin), (-0.72, -0.18, -0.06),
        turn=(180, -15, 0)))
    return joined([placed(part, turn=(0, -32, 8)) for part in parts])


def stump(rng: Rng) -> Mesh:
    """A tree stump with an axe in it, bracket fungi on one side and a shoot on the other."""
    shell = coated(patterns.patches(rng, 512, patterns.bark(rng, 512, (0.50, 0.38, 0.27), (0.17, 0.11, 0.07)),
        ((0.33, 0.42, 0.14),), 0.18), "bark")
    rings = coated(patterns.end_grain(rng, 256, (0.86, 0.70, 0.47), (0.56, 0.37, 0.20)), "end_grain")
    fungus = coated(patterns.stripes(rng, 128, banded((0.95, 0.90, 0.80), (0.75, 0.50, 0.28), 5, 0.55)), "fungus")
    ash = coated(patterns.wood(rng, 256, (0.85, 0.66, 0.42), (0.62, 0.42, 0.22)), "handle")
    steel = coated(patterns.metal(rng, 256, (0.50, 0.53, 0.57), RUST, 0.35), "steel")
    leaf = coated(patterns.leaves(rng, 128, (0.2, 0.42, 0.12), ((0.3, 0.55, 0.15), (0.45, 0.66, 0.25)), 6), "leaf")
    trunk = revolve([(0, 0), (0.72, 0), (0.62, 0.12), (0.55, 0.35), (0.53, 0.7), (0.54, 0.92), (0.5, 0.96), (0, 0.96)],
        shell, segments=40)
    parts = [decal(lumpy(trunk, rng, 0.06, 0.9), rings, (0, 1, 0), within=35)]
    for angle in (10, 75, 130, 200, 255, 310):
        long = rng.uniform(0.85, 1.15)
        root = [(0, 0.4, 0.35), (0.03, 0.22, 0.56), (0, 0.09, 0.75), (0.08, 0.03, long)]
        parts.append(placed(tube(root, [0.16, 0.15, 0.11, 0.03], shell, sides=12, smooth=3), turn=(0, angle, 0)))
    for angle, height, size in ((62, 0.42, 0.22), (84, 0.58, 0.26), (100, 0.36, 0.17), (70, 0.74, 0.16),
        (112, 0.68, 0.13)):
        cap = revolve([(0, -0.25), (0.5, -0.12), (0.98, -0.02), (1, 0.06), (0.6, 0.25), (0, 0.32)], fungus, segments=24,
            smooth=2)
        parts.append(placed(lumpy(cap, rng, 0.06, 1.2), on_wall(0.55, angle, height), turn=(8, angle, 0), size=size))
    handle = [(0.02, 1.02, 0.02), (-0.3, 1.36, 0.16), (-0.62, 1.62, 0.24), (-0.9, 1.92, 0.36)]
    parts.append(tube(handle, [(0.035, 0.05), (0.034, 0.048), (0.036, 0.05), (0.05, 0.065)], ash, sides=12,
        up=(0.3, 1, 0)))
    blade = [(-0.1, 0.12), (-0.1, -0.1), (0.06, -0.08), (0.2, -0.16), (0.36, -0.24), (0.4, 0), (0.36, 0.2), (0.2, 0.13),
        (0.06, 0.1)]
    parts.append(placed(extrude(blade, 0.1, steel, bevel=0.035), (0.02, 1.08, 0.02), turn=(0, 155, -52)))
    shoot = [(-0.52, 0.3, 0.3), (-0.72, 0.5, 0.42), (-0.76, 0.78, 0.46)]
    parts.append(tube(shoot, [0.03, 0.022, 0.012], leaf, sides=8))
    for x, y, z, tilt in ((-0.66, 0.5, 0.5, -50), (-0.84, 0.62, 0.42, 60), (-0.68, 0.74, 0.54, -40),
        (-0.86, 0.82, 0.46, 50), (-0.76, 0.9, 0.48, 5)):
        parts.append(placed(ball((0, 0, 0), (0.065, 0.12, 0.015), leaf, segments=10), (x, y, z), turn=(20, 20, tilt)))
    return joined(parts)


def house(rng: Rng) -> Mesh:
    """A brick cottage with a tiled roof, a chimney and a lean-to on one side, the door in front."""
    brick = coated(patterns.bricks(rng, 384, (0.66, 0.32, 0.22), (0.78, 0.74, 0.67), 24, 10), "brick")
    stone = coated(patterns.bricks(rng, 256, (0.56, 0.54, 0.50), (0.32, 0.31, 0.29), 8, 6), "stone")
    tile = coated(patterns.scales(rng, 384, (0.30, 0.34, 0.42), 14, 16, 0.6), "tile")
    board = coated(patterns.wood(rng, 256, (0.45, 0.62, 0.55), (0.22, 0.36, 0.32), 5), "board")
    white = coated(patterns.wood(rng, 128, (0.96, 0.94, 0.88), (0.78, 0.74, 0.66)), "frame")
    glass = coated(patterns.patches(rng, 128, (0.30, 0.42, 0.52), ((0.62, 0.74, 0.82),), 0.3), "glass")
    bush = coated(patterns.leaves(rng, 256, (0.1, 0.22, 0.08), ((0.2, 0.42, 0.14), (0.32, 0.52, 0.18),
        (0.44, 0.6, 0.26)), 10), "bush")
    gable = [(-0.8, 0), (0.8, 0), (0.8, 0.95), (0, 1.75), (-0.8, 0.95)]
    parts = [extrude(gable, 1.9, brick), placed(box((1.72, 0.16, 2.02), stone, bevel=0.02), (0, 0.06, 0))]
    for side in (-1, 1):
        parts.append(placed(tiled_slab(tile, white, 1.3, 2.2), (0.46 * side, 1.36, 0), turn=(0, 0, -45 * side)))
    parts.append(tube([(0, 1.83, -1.12), (0, 1.83, 1.12)], [0.06, 0.06], tile, sides=8, smooth=1))
    parts.append(placed(box((0.3, 0.95, 0.34), brick), (0.46, 1.72, -0.45)))
    parts.append(placed(box((0.38, 0.09, 0.42), stone, bevel=0.02), (0.46, 2.2, -0.45)))
    for z in (-0.53, -0.38):
        parts.append(placed(revolve([(0, 0), (0.06, 0), (0.05, 0.2), (0, 0.2)], brick, segments=10), (0.46, 2.22, z)))
    parts += pane(board, board, (-0.3, 0.5, 0.96), (0.42, 0.8), glazed=False)
    parts.append(placed(box((0.62, 0.1, 0.3), stone, bevel=0.015), (-0.3, 0.06, 1.08)))
    parts.append(ball((-0.15, 0.48, 1.02), (0.03, 0.03, 0.03), white, segments=8))
    porch = box((0.7, 0.05, 0.42), white)
    parts.append(placed(decal(porch, tile, (0, 1, 0)), (-0.3, 1.06, 1.1), turn=(22, 0, 0)))
    parts += pane(white, glass, (0.36, 0.6, 0.96), (0.46, 0.5)) + pane(white, glass, (0, 1.22, 0.96),
        (0.34, 0.36))
    for z in (-0.45, 0.4):
        parts += [placed(p, turn=(0, 90, 0)) for p in pane(white, glass, (-z, 0.58, 0.81), (0.5, 0.46))]
    parts += [placed(p, turn=(0, 180, 0)) for p in pane(white, glass, (0, 1.1, 0.96), (0.42, 0.4))]
    parts += [placed(p, turn=(0, 180, 0)) for p in pane(board, board, (0.4, 0.46, 0.96), (0.36, 0.72), glazed=False)]
    shed = [(0, 0), (0.62, 0), (0.62, 0.95), (0, 0.6)]
    parts.append(placed(extrude([(x - 0.62, y) for x, y in shed], 1.1, board), (-0.78, 0, -0.3)))
    parts.append(placed(tiled_slab(tile, white, 0.84, 1.24), (-1.1, 0.83, -0.3), turn=(0, 0, 29)))
    for x, z, r in ((0.55, 1.12, 0.2), (0.92, 0.75, 0.24), (0.3, 1.12, 0.14), (-1.1, 0.42, 0.22)):
        parts.append(lumpy(ball((x, 0.5 * r, z), (r, 0.8 * r, 0.8 * r), bush, segments=14), rng, 0.05, 0.25))
    return joined(parts)


def bicycle(rng: Rng) -> Mesh:
    """A delivery bicycle with a wicker basket in front, a rack behind and its chain on the right."""
    paint = coated(patterns.metal(rng, 256, (0.13, 0.42, 0.52), (0.52, 0.30, 0.16), 0.2), "paint")
    rubber = coated(patterns.weave(rng, 128, (0.20, 0.20, 0.21), (0.06, 0.06, 0.07), 12), "rubber")
    chrome = coated(patterns.metal(rng, 128, (0.75, 0.76, 0.78), (0.45, 0.40, 0.35), 0.2), "chrome")
    leather = coated(patterns.speckle(rng, 128, (0.52, 0.28, 0.13), (0.32, 0.15, 0.06), 24, 0.8), "leather")
    wicker = coated(patterns.weave(rng, 256, (0.82, 0.63, 0.38), (0.36, 0.22, 0.10), 14), "wicker")
    parts = []
    for hub in (-0.95, 0.95):
        tyre = [(hub + 0.62 * math.cos(a), 0.66 + 0.62 * math.sin(a), 0) for a in np.arange(12) * math.pi / 6]
        rim = [(hub + 0.56 * math.cos(a), 0.66 + 0.56 * math.sin(a), 0) for a in np.arange(12) * math.pi / 6]
        parts.append(tube(tyre, [0.05] * 12, rubber, sides=8, smooth=3, up=(0, 0, 1), loop=True))
        parts.append(tube(rim, [(0.022, 0.035)] * 12, chrome, sides=6, smooth=3, up=(0, 0, 1), loop=True))
        parts.append(tube([(hub, 0.66, -0.1), (hub, 0.66, 0.1)], [0.05, 0.05], chrome, sides=10, smooth=1,
            up=(0, 1, 0)))
        for spoke in range(14):
            a = spoke * math.tau / 14
            reach = [(hub, 0.66, 0.06 * (-1) ** spoke), (hub + 0.56 * math.cos(a), 0.66 + 0.56 * math.sin(a), 0)]
            parts.append(tube(reach, [0.008, 0.008], chrome, sides=4, smooth=1))
    seat, crank, head = (-0.42, 1.42, 0.0), (-0.18, 0.58, 0.0), (0.62, 1.45, 0.0)
    for path, radius in (([seat, crank], 0.042), ([crank, (0.28, 0.78, 0.0), (0.68, 1.22, 0.0)], 0.048),
        ([(-0.36, 1.2, 0.0), head], 0.04), ([(0.57, 1.6, 0.0), (0.72, 1.12, 0.0)], 0.05), ([(-0.43, 1.62, 0.0), seat],
        0.025)):
        parts.append(tube(path, [radius] * len(path), paint, sides=10, smooth=4))
    for z in (-0.09, 0.09):
        parts.append(tube([crank, (-0.4, 0.6, z), (-0.95, 0.66, z)], [0.03, 0.025, 0.022], paint, sides=8, smooth=2))
        parts.append(tube([(-0.4, 1.3, 0), (-0.55, 1.15, z), (-0.95, 0.66, z)], [0.025, 0.022, 0.02], paint, sides=8,
            smooth=2))
        parts.append(tube([(0.71, 1.15, 0.5 * z), (0.8, 0.95, z), (0.95, 0.66, z)], [0.03, 0.028, 0.022], paint,
            sides=8, smooth=2))
    bar = [(0.3, 1.72, -0.44), (0.5, 1.76, -0.36), (0.6, 1.74, -0.12), (0.6, 1.74, 0.12), (0.5, 1.76, 0.36),
        (0.3, 1.72, 0.44)]
    parts.append(tube(bar, [0.024] * 6, chrome, sides=8, smooth=4, up=(0, 1, 0)))
    parts.append(tube([(0.6, 1.76, 0), (0.56, 1.6, 0)], [0.03, 0.03], chrome, sides=8, smooth=1))
    for z in (-0.43, 0.43):
        parts.append(tube([(0.26, 1.71, 1.02 * z), (0.42, 1.745, 0.93 * z)], [0.036, 0.036], leather, sides=8, smooth=2,
            up=(0, 1, 0)))
    saddle = [(-0.72, 1.68, 0), (-0.58, 1.69, 0), (-0.4, 1.68, 0), (-0.2, 1.66, 0)]
    parts.append(tube(saddle, [(0.1, 0.05), (0.15, 0.06), (0.07, 0.05), (0.035, 0.035)], leather, sides=14,
        up=(0, 1, 0)))
    parts.append(placed(revolve([(0, 0), (0.19, 0), (0.19, 0.02), (0, 0.02)], chrome, segments=20), (*crank[:2], 0.09),
        turn=(90, 0, 0)))
    chain = [(-0.18, 0.77, 0.1), (-0.95, 0.74, 0.1), (-1.03, 0.66, 0.1), (-0.95, 0.58, 0.1), (-0.18, 0.39, 0.1),
        (0.01, 0.58, 0.1)]
    parts.append(tube(chain, [0.014] * 6, rubber, sides=6, smooth=4, up=(0, 0, 1), loop=True))
    for side in (-1, 1):
        pedal = (crank[0] + 0.2 * side, crank[1] - 0.2 * side, 0.16 * side)
        parts.append(tube([(*crank[:2], 0.13 * side), (pedal[0], pedal[1], 0.13 * side)], [0.022, 0.018], chrome,
            sides=6, smooth=1))
        parts.append(placed(box((0.18, 0.04, 0.14), rubber, bevel=0.01), (pedal[0], pedal[1], 0.2 * side)))
    hamper = [(0, 0), (0.2, 0), (0.29, 0.36), (0.25, 0.36), (0.18, 0.05), (0, 0.05)]
    parts.append(placed(revolve(hamper, wicker, segments=24), (0.98, 1.36, 0), size=(1, 1, 1.15)))
    parts.append(tube([(0.62, 1.5, 0), (0.8, 1.42, 0), (1.0, 1.37, 0)], [0.02] * 3, chrome, sides=6, smooth=2))
    parts.append(ball((0.8, 1.12, 0.13), (0.1, 0.08, 0.08), chrome, segments=12))
    for z in (-0.12, 0, 0.12):
        parts.append(tube([(-0.5, 1.3, 0.6 * z), (-0.65, 1.36, z), (-1.35, 1.36, z)], [0.016] * 3, paint, sides=6,
            smooth=2))
    parts.append(placed(box((0.04, 0.03, 0.3), paint), (-1.32, 1.36, 0)))
    for z in (-0.12, 0.12):
        parts.append(tube([(-1.2, 1.36, z), (-0.96, 0.68, z)], [0.014] * 2, paint, sides=6, smooth=1))
    return joined([placed(part, turn=(0, -28, 0)) for part in parts])
