"""Twelve textured objects modelled in code: what the evaluation needs no foreign data for.

Each is turned so that its left differs from its right and its back from its front: a mirrored answer, or one that
repeats the first view, is worse than a right one. Written to files by `examples/04_model_evaluation_objects.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from gen.data import patterns
from gen.data.modelling import Point, ball, box, curve, decal, extrude, joined, lumpy, placed, revolve, tube, window
from recon.surface.loading import normalised
from recon.surface.mesh import Material, Mesh

Rng = np.random.Generator
Bands = tuple[tuple[float, patterns.Color], ...]
OAK: tuple[patterns.Color, patterns.Color] = ((0.76, 0.54, 0.31), (0.42, 0.24, 0.11))
WALNUT: tuple[patterns.Color, patterns.Color] = ((0.55, 0.33, 0.18), (0.24, 0.12, 0.06))
RUST: patterns.Color = (0.50, 0.25, 0.12)


# Lists of points fill their lines; one point a line would make this module three times as long.
# fmt: off


def mug(rng: Rng) -> Mesh:
    """A hand-painted mug with a sprig in relief and a spoon in it."""
    bands: Bands = ((0.47, (0.93, 0.90, 0.83)), (0.53, (0.12, 0.27, 0.42)), (0.72, (0.88, 0.83, 0.71)))
    bands += ((0.75, (0.72, 0.34, 0.18)), (0.78, (0.88, 0.83, 0.71)), (1.0, (0.15, 0.33, 0.50)))
    glaze = _skin(patterns.speckle(rng, 512, patterns.stripes(rng, 512, bands), (0.30, 0.22, 0.16), 40, 0.35), "glaze")
    blue = _skin(patterns.speckle(rng, 128, (0.15, 0.33, 0.50), (0.07, 0.14, 0.24), 12), "handle")
    green = _skin(patterns.leaves(rng, 128, (0.16, 0.36, 0.16), ((0.25, 0.48, 0.2), (0.40, 0.58, 0.25)), 6), "sprig")
    red = _skin(patterns.speckle(rng, 128, (0.75, 0.16, 0.13), (0.95, 0.65, 0.5), 16), "berry")
    steel = _skin(patterns.metal(rng, 128, (0.72, 0.73, 0.75), (0.5, 0.48, 0.45), 0.15), "spoon")
    wall = [(0, 0), (0.40, 0), (0.45, 0.04), (0.47, 0.12), (0.47, 0.96), (0.455, 1.0), (0.43, 1.0), (0.415, 0.96)]
    parts = [revolve([*wall, (0.41, 0.15), (0.35, 0.08), (0, 0.08)], glaze, segments=64)]
    arch = [(0.44, 0.82, 0), (0.66, 0.88, 0), (0.80, 0.70, 0), (0.78, 0.42, 0), (0.62, 0.22, 0), (0.44, 0.24, 0)]
    parts.append(tube(arch, [(0.05, 0.075)] * 6, blue, sides=16, up=(0, 0, 1)))
    stem = [_on_wall(0.475, a, y) for a, y in ((-48, 0.22), (-38, 0.38), (-22, 0.50), (-2, 0.58))]
    parts.append(tube(stem, [0.014, 0.014, 0.012, 0.008], green, sides=8))
    for angle, height, tilt in ((-52, 0.40, 30), (-28, 0.36, -70), (-34, 0.58, 15), (-8, 0.46, -80), (-16, 0.68, 10)):
        leaf = ball((0, 0, 0), (0.04, 0.1, 0.018), green, segments=12)
        parts.append(placed(placed(leaf, turn=(0, 0, tilt)), _on_wall(0.475, angle, height), turn=(0, angle, 0)))
    for angle, height in ((2, 0.60), (8, 0.54), (9, 0.66)):
        parts.append(ball(_on_wall(0.48, angle, height), (0.035, 0.035, 0.025), red, segments=12))
    handle = [(0.05, 0.12, 0.05), (-0.15, 0.6, -0.05), (-0.34, 1.05, -0.16), (-0.44, 1.38, -0.2)]
    parts.append(tube(handle, [(0.02, 0.012), (0.02, 0.012), (0.03, 0.014), (0.045, 0.016)], steel, sides=8))
    return joined(parts)


def chair(rng: Rng) -> Mesh:
    """A lecture-room chair: slatted back, cushion, and a writing tablet with a book on its left arm."""
    oak = _skin(patterns.wood(rng, 256, *OAK), "oak")
    cloth = _skin(patterns.plaid(rng, 256, (0.22, 0.36, 0.30), ((0.85, 0.80, 0.66), (0.62, 0.16, 0.14))), "cushion")
    cover = _skin(patterns.stripes(rng, 128, ((0.15, (0.75, 0.6, 0.2)), (0.8, (0.50, 0.10, 0.12)),
        (1, (0.75, 0.6, 0.2)))), "book")
    paper = _skin(patterns.wood(rng, 128, (0.95, 0.92, 0.84), (0.80, 0.75, 0.64), bands=40), "paper")
    board = placed(box((0.95, 1.0, 0.07), oak, bevel=0.015), (0, 0.92, 0), turn=(90, 0, 0))
    parts = [board, placed(lumpy(box((0.84, 0.11, 0.86), cloth, bevel=0.04), rng, 0.015, 0.5), (0, 1.0, 0.03))]
    for x in (-0.41, 0.41):
        parts.append(tube([(x * 1.1, 0, 0.46), (x, 0.9, 0.42)], [0.04, 0.055], oak, sides=8, smooth=1))
        post = [(x * 1.12, 0, -0.54), (x, 0.9, -0.43), (x, 1.5, -0.50), (x * 0.97, 2.12, -0.68)]
        parts.append(tube(post, [0.04, 0.055, 0.05, 0.04], oak, sides=8, smooth=4))
        parts.append(tube([(x * 1.05, 0.42, 0.44), (x * 1.05, 0.48, -0.48)], [0.028, 0.028], oak, sides=8, smooth=1))
    parts.append(tube([(-0.43, 0.45, 0), (0.43, 0.45, 0)], [0.028, 0.028], oak, sides=8, smooth=1))
    for height, deep, tall in ((1.14, -0.455, 0.1), (2.02, -0.65, 0.24)):
        rail = [(-0.41, height, deep), (0, height, deep - 0.06), (0.41, height, deep)]
        parts.append(tube(rail, [(0.032, tall / 2)] * 3, oak, sides=12, up=(0, 1, 0)))
    for x in np.linspace(-0.28, 0.28, 5):
        slat = window(box((0.07, 0.86, 0.03), oak, bevel=0.01), rng.uniform(-0.4, 0.4), 0, 1, 1)
        parts.append(placed(slat, (float(x), 1.56, -0.575 - 0.05 * math.cos(3 * x)), turn=(-13, 0, 0)))
    outline = [(-0.16, -0.5), (0.12, -0.5), (0.22, -0.1), (0.28, 0.3), (0.1, 0.52), (-0.22, 0.5), (-0.3, 0.25),
        (-0.14, 0)]
    tablet = extrude(_rounded(outline, 4), 0.05, oak, bevel=0.012)
    parts.append(placed(tablet, (0.46, 1.48, 0.08), turn=(90, 0, 0)))
    for z in (-0.42, 0.25):
        parts.append(tube([(0.42, 0.9, z), (0.5, 1.2, z), (0.46, 1.47, z)], [0.03, 0.03, 0.04], oak, sides=8))
    book = decal(decal(box((0.3, 0.07, 0.4), paper), cover, (0, 1, 0)), cover, (0, -1, 0))
    parts.append(placed(decal(book, cover, (-1, 0, 0)), (0.43, 1.54, 0.26), turn=(0, 20, 0)))
    return joined(parts)


def street_lamp(rng: Rng) -> Mesh:
    """A cast-iron lamp on a curved arm, with an arrow sign on the other side and a basket of flowers in front."""
    iron = _skin(patterns.metal(rng, 256, (0.14, 0.24, 0.22), RUST, 0.25), "iron")
    glass = _skin(patterns.scales(rng, 128, (1.0, 0.86, 0.48), 6, 4, 0.35), "glass")
    sign = _skin(patterns.metal(rng, 256, (0.80, 0.22, 0.15), (0.85, 0.82, 0.75), 0.08), "sign")
    plant = _skin(patterns.leaves(rng, 256, (0.10, 0.22, 0.08), ((0.2, 0.45, 0.15), (0.35, 0.55, 0.2),
        (0.85, 0.3, 0.5)), 10), "plant")
    wicker = _skin(patterns.weave(rng, 128, (0.68, 0.5, 0.3), (0.25, 0.15, 0.08), 10), "wicker")
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
    """A saguaro with three unequal arms in a painted pot, flowers, and a label in front."""
    skin = _skin(patterns.ribs(rng, 384, (0.27, 0.50, 0.24), (0.93, 0.90, 0.70)), "cactus")
    clay, lime, teal = (0.74, 0.38, 0.22), (0.93, 0.87, 0.74), (0.16, 0.46, 0.48)
    bands = ((0.5, clay), (0.58, lime), (0.62, teal), (0.66, lime), (0.7, teal), (0.78, lime), (1.0, clay))
    pot = _skin(patterns.speckle(rng, 256, patterns.stripes(rng, 256, bands), (0.55, 0.26, 0.15), 30, 0.4), "pot")
    soil = _skin(patterns.speckle(rng, 128, (0.30, 0.20, 0.13), (0.62, 0.55, 0.46), 20), "soil")
    petal = _skin(patterns.stripes(rng, 128, ((0.4, (0.98, 0.80, 0.35)), (0.6, (0.95, 0.45, 0.55)),
        (1, (0.80, 0.16, 0.40)))), "petal")
    label = _skin(patterns.wood(rng, 128, *OAK), "label")
    flag = ((0.15, teal), (0.5, lime), (0.62, (0.86, 0.25, 0.40)), (0.85, lime), (1.0, teal))
    picture = _skin(patterns.stripes(rng, 128, flag), "picture")
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
    skin = _skin(patterns.scales(rng, 384, coat, 44, 26, 0.45), "koi")
    fin = _skin(patterns.wood(rng, 256, (0.98, 0.80, 0.55), (0.85, 0.35, 0.12), bands=14), "fin")
    black = _skin(patterns.speckle(rng, 64, (0.05, 0.05, 0.07), (0.3, 0.3, 0.35), 8, 0.2), "pupil")
    gold = _skin(patterns.speckle(rng, 64, (0.90, 0.75, 0.30), (0.5, 0.35, 0.1), 10), "iris")
    spine = [(-1.25, 0.06, -0.42), (-0.9, 0.02, -0.16), (-0.4, 0, 0), (0.1, 0, 0.02), (0.6, -0.02, 0),
        (0.88, -0.05, -0.04), (0.98, -0.07, -0.06)]
    girth = [(0.045, 0.13), (0.08, 0.16), (0.2, 0.33), (0.27, 0.42), (0.23, 0.33), (0.14, 0.18), (0.06, 0.07)]
    parts = [tube(spine, girth, skin, sides=32, smooth=6, up=(0, 1, 0))]
    tail = [(0.1, -0.05), (0.1, 0.05), (-0.15, 0.2), (-0.5, 0.52), (-0.62, 0.5), (-0.45, 0.1), (-0.42, -0.05),
        (-0.55, -0.36), (-0.5, -0.44), (-0.15, -0.16)]
    parts.append(placed(_fin(tail, fin), (-1.22, 0.06, -0.4), turn=(0, -42, 0)))
    back = [(0.35, 0), (0.3, 0.2), (0.12, 0.3), (-0.25, 0.2), (-0.5, 0.06), (-0.5, 0)]
    parts.append(placed(_fin(back, fin), (-0.05, 0.36, 0.01)))
    for side in (-1, 1):
        flap = [(0.1, 0), (0.12, 0.08), (-0.1, 0.38), (-0.3, 0.45), (-0.34, 0.3), (-0.12, 0)]
        spread = 118 if side > 0 else -100
        parts.append(placed(_fin(flap, fin), (0.45, -0.17, 0.19 * side), turn=(spread, 18 * side, 0)))
        low = [(0.08, 0), (0.02, 0.2), (-0.18, 0.28), (-0.14, 0)]
        parts.append(placed(_fin(low, fin), (-0.42, -0.24, 0.1 * side), turn=(150 * side, 0, 0)))
        parts.append(ball((0.72, 0.06, 0.155 * side - 0.01), (0.06, 0.06, 0.045), gold, segments=14))
        parts.append(ball((0.735, 0.065, 0.185 * side - 0.01), (0.034, 0.034, 0.025), black, segments=12))
        barbel = [(0.95, -0.1, 0.03 * side - 0.05), (1.0, -0.2, 0.1 * side), (0.94, -0.3, 0.16 * side)]
        parts.append(tube(barbel, [0.016, 0.012, 0.005], fin, sides=6, smooth=4))
    parts.append(placed(_fin([(0.1, 0), (-0.02, 0.16), (-0.2, 0.24), (-0.16, 0)], fin), (-0.72, -0.18, -0.06),
        turn=(180, -15, 0)))
    return joined([placed(part, turn=(0, -32, 8)) for part in parts])


def stump(rng: Rng) -> Mesh:
    """A tree stump with an axe in it, bracket fungi on one side and a shoot on the other."""
    shell = _skin(patterns.patches(rng, 512, patterns.bark(rng, 512, (0.50, 0.38, 0.27), (0.17, 0.11, 0.07)),
        ((0.33, 0.42, 0.14),), 0.18), "bark")
    rings = _skin(patterns.end_grain(rng, 256, (0.86, 0.70, 0.47), (0.56, 0.37, 0.20)), "end_grain")
    fungus = _skin(patterns.stripes(rng, 128, _bands((0.95, 0.90, 0.80), (0.75, 0.50, 0.28), 5, 0.55)), "fungus")
    ash = _skin(patterns.wood(rng, 256, (0.85, 0.66, 0.42), (0.62, 0.42, 0.22)), "handle")
    steel = _skin(patterns.metal(rng, 256, (0.50, 0.53, 0.57), RUST, 0.35), "steel")
    leaf = _skin(patterns.leaves(rng, 128, (0.2, 0.42, 0.12), ((0.3, 0.55, 0.15), (0.45, 0.66, 0.25)), 6), "leaf")
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
        parts.append(placed(lumpy(cap, rng, 0.06, 1.2), _on_wall(0.55, angle, height), turn=(8, angle, 0), size=size))
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
    brick = _skin(patterns.bricks(rng, 384, (0.66, 0.32, 0.22), (0.78, 0.74, 0.67), 24, 10), "brick")
    stone = _skin(patterns.bricks(rng, 256, (0.56, 0.54, 0.50), (0.32, 0.31, 0.29), 8, 6), "stone")
    tile = _skin(patterns.scales(rng, 384, (0.30, 0.34, 0.42), 14, 16, 0.6), "tile")
    board = _skin(patterns.wood(rng, 256, (0.45, 0.62, 0.55), (0.22, 0.36, 0.32), 5), "board")
    white = _skin(patterns.wood(rng, 128, (0.96, 0.94, 0.88), (0.78, 0.74, 0.66)), "frame")
    glass = _skin(patterns.patches(rng, 128, (0.30, 0.42, 0.52), ((0.62, 0.74, 0.82),), 0.3), "glass")
    bush = _skin(patterns.leaves(rng, 256, (0.1, 0.22, 0.08), ((0.2, 0.42, 0.14), (0.32, 0.52, 0.18),
        (0.44, 0.6, 0.26)), 10), "bush")
    gable = [(-0.8, 0), (0.8, 0), (0.8, 0.95), (0, 1.75), (-0.8, 0.95)]
    parts = [extrude(gable, 1.9, brick), placed(box((1.72, 0.16, 2.02), stone, bevel=0.02), (0, 0.06, 0))]
    for side in (-1, 1):
        parts.append(placed(_roof(tile, white, 1.3, 2.2), (0.46 * side, 1.36, 0), turn=(0, 0, -45 * side)))
    parts.append(tube([(0, 1.83, -1.12), (0, 1.83, 1.12)], [0.06, 0.06], tile, sides=8, smooth=1))
    parts.append(placed(box((0.3, 0.95, 0.34), brick), (0.46, 1.72, -0.45)))
    parts.append(placed(box((0.38, 0.09, 0.42), stone, bevel=0.02), (0.46, 2.2, -0.45)))
    for z in (-0.53, -0.38):
        parts.append(placed(revolve([(0, 0), (0.06, 0), (0.05, 0.2), (0, 0.2)], brick, segments=10), (0.46, 2.22, z)))
    parts += _window(board, board, (-0.3, 0.5, 0.96), (0.42, 0.8), glazed=False)
    parts.append(placed(box((0.62, 0.1, 0.3), stone, bevel=0.015), (-0.3, 0.06, 1.08)))
    parts.append(ball((-0.15, 0.48, 1.02), (0.03, 0.03, 0.03), white, segments=8))
    porch = box((0.7, 0.05, 0.42), white)
    parts.append(placed(decal(porch, tile, (0, 1, 0)), (-0.3, 1.06, 1.1), turn=(22, 0, 0)))
    parts += _window(white, glass, (0.36, 0.6, 0.96), (0.46, 0.5)) + _window(white, glass, (0, 1.22, 0.96),
        (0.34, 0.36))
    for z in (-0.45, 0.4):
        parts += [placed(p, turn=(0, 90, 0)) for p in _window(white, glass, (-z, 0.58, 0.81), (0.5, 0.46))]
    parts += [placed(p, turn=(0, 180, 0)) for p in _window(white, glass, (0, 1.1, 0.96), (0.42, 0.4))]
    parts += [placed(p, turn=(0, 180, 0)) for p in _window(board, board, (0.4, 0.46, 0.96), (0.36, 0.72), glazed=False)]
    shed = [(0, 0), (0.62, 0), (0.62, 0.95), (0, 0.6)]
    parts.append(placed(extrude([(x - 0.62, y) for x, y in shed], 1.1, board), (-0.78, 0, -0.3)))
    parts.append(placed(_roof(tile, white, 0.84, 1.24), (-1.1, 0.83, -0.3), turn=(0, 0, 29)))
    for x, z, r in ((0.55, 1.12, 0.2), (0.92, 0.75, 0.24), (0.3, 1.12, 0.14), (-1.1, 0.42, 0.22)):
        parts.append(lumpy(ball((x, 0.5 * r, z), (r, 0.8 * r, 0.8 * r), bush, segments=14), rng, 0.05, 0.25))
    return joined(parts)


def radio(rng: Rng) -> Mesh:
    """A wooden radio: cloth in front of the loudspeaker, a lit dial, three knobs, an aerial, a tin back."""
    case = _skin(patterns.wood(rng, 512, *WALNUT, bands=8), "walnut")
    cloth = _skin(patterns.weave(rng, 384, (0.86, 0.74, 0.50), (0.42, 0.30, 0.16), 32), "cloth")
    dial = _skin(patterns.dial(rng, 256, (0.96, 0.88, 0.66), (0.20, 0.13, 0.08), (0.85, 0.10, 0.05)), "dial")
    brass = _skin(patterns.metal(rng, 256, (0.80, 0.62, 0.28), (0.42, 0.28, 0.12), 0.2), "brass")
    knob = _skin(patterns.wood(rng, 128, (0.25, 0.20, 0.17), (0.10, 0.08, 0.07), bands=20), "knob")
    tin = _skin(patterns.metal(rng, 256, (0.42, 0.44, 0.42), RUST, 0.3), "tin")
    leather = _skin(patterns.speckle(rng, 128, (0.40, 0.20, 0.10), (0.24, 0.11, 0.05), 28, 0.9), "leather")
    arch = [(-1.0, 0), (1.0, 0), (1.0, 0.85), (0.93, 1.05), (0.78, 1.15), (-0.78, 1.15), (-0.93, 1.05), (-1.0, 0.85)]
    parts = [placed(extrude(arch, 0.62, case, bevel=0.035))]
    parts.append(placed(decal(box((1.02, 0.86, 0.06), case, bevel=0.02), cloth, (0, 0, 1), within=20),
        (-0.36, 0.58, 0.3)))
    for y in np.linspace(0.26, 0.9, 5):
        parts.append(placed(box((1.0, 0.035, 0.05), brass, bevel=0.01), (-0.36, float(y), 0.33)))
    parts.append(placed(decal(box((0.62, 0.36, 0.06), brass, bevel=0.025), dial, (0, 0, 1), within=20),
        (0.56, 0.8, 0.31)))
    disc = [(0, 0), (0.13, 0), (0.13, 0.05), (0.105, 0.12), (0, 0.13)]
    for x, y, size in ((0.38, 0.36, 1.0), (0.72, 0.36, 1.0), (0.55, 0.18, 0.55)):
        parts.append(placed(revolve(disc, knob, segments=20), (x, y, 0.3), turn=(90, 0, 0), size=size))
        parts.append(placed(box((0.03, 0.1, 0.03), brass), (x, y + 0.03 * size, 0.3 + 0.13 * size), size=size))
    grip = [(-0.5, 1.1, 0), (-0.46, 1.3, 0), (-0.2, 1.36, 0), (0.2, 1.36, 0), (0.46, 1.3, 0), (0.5, 1.1, 0)]
    parts.append(tube(grip, [(0.025, 0.075)] * 6, leather, sides=12, up=(0, 0, 1)))
    for x in (-0.5, 0.5):
        parts.append(placed(box((0.1, 0.06, 0.2), brass, bevel=0.015), (x, 1.16, 0)))
    aerial = [(0.8, 1.1, -0.2), (0.86, 1.5, -0.24), (0.95, 2.1, -0.3)]
    parts.append(tube(aerial, [0.03, 0.02, 0.012], brass, sides=8, smooth=2))
    parts.append(ball((0.95, 2.1, -0.3), (0.035, 0.035, 0.035), brass, segments=10))
    parts.append(ball((0.8, 1.15, -0.2), (0.06, 0.06, 0.06), knob, segments=12))
    parts.append(placed(box((1.7, 0.84, 0.05), tin, bevel=0.015), (0, 0.56, -0.31)))
    for y in np.linspace(0.3, 0.8, 6):
        parts.append(placed(box((0.6, 0.03, 0.03), knob), (-0.36, float(y), -0.34)))
    parts.append(placed(revolve(disc, tin, segments=16), (0.5, 0.5, -0.33), turn=(-90, 0, 0), size=1.2))
    for x in (-0.8, 0.8):
        for z in (-0.2, 0.2):
            parts.append(placed(revolve([(0, -0.08), (0.06, -0.08), (0.08, 0.02), (0, 0.02)], knob, segments=12),
                (x, 0, z)))
    return joined(parts)


def basket(rng: Rng) -> Mesh:
    """An open wicker basket with apples, a pear, a loaf that sticks out and a cloth over its rim."""
    wicker = _skin(patterns.weave(rng, 384, (0.80, 0.60, 0.34), (0.32, 0.19, 0.09), 24), "wicker")
    braid = _skin(patterns.scales(rng, 256, (0.66, 0.45, 0.24), 40, 4, 0.7), "braid")
    apple = _skin(patterns.speckle(rng, 256, patterns.patches(rng, 256, (0.72, 0.12, 0.10), ((0.88, 0.62, 0.22),),
        0.12), (0.95, 0.8, 0.55), 30, 0.3), "apple")
    pear = _skin(patterns.speckle(rng, 128, (0.68, 0.72, 0.24), (0.45, 0.38, 0.14), 20), "pear")
    crust = _skin(patterns.stripes(rng, 256, _bands((0.66, 0.38, 0.15), (0.90, 0.72, 0.45), 8, 0.75)), "crust")
    cloth = _skin(patterns.plaid(rng, 256, (0.94, 0.92, 0.88), ((0.20, 0.34, 0.62), (0.20, 0.34, 0.62)), 6), "cloth")
    stalk = _skin(patterns.wood(rng, 64, *WALNUT), "stalk")
    wall = [(0, 0), (0.62, 0), (0.68, 0.05), (0.86, 0.62), (0.82, 0.64), (0.64, 0.08), (0, 0.06)]
    oval = (1.15, 1.0, 0.85)
    parts = [placed(revolve(wall, wicker, segments=48), size=oval)]
    for radius, height, thick in ((0.66, 0.04, 0.05), (0.85, 0.64, 0.06)):
        ring = [_on_wall(radius, a, height) for a in range(0, 360, 30)]
        parts.append(placed(tube(ring, [thick] * 12, braid, sides=8, smooth=3, up=(0, 1, 0), loop=True), size=oval))
    arch = [(-0.96, 0.5, 0), (-0.98, 0.9, 0.02), (-0.7, 1.35, 0.03), (0, 1.55, 0.03), (0.7, 1.35, 0.03),
        (0.98, 0.9, 0.02), (0.96, 0.5, 0)]
    parts.append(tube(arch, [(0.05, 0.07)] * 7, braid, sides=10, up=(0, 0, 1)))
    skin = [(0, 0.04), (0.06, 0), (0.2, 0.05), (0.27, 0.24), (0.2, 0.42), (0.08, 0.45), (0, 0.4)]
    for x, y, z, tilt in ((0.42, 0.34, 0.34, 15), (0.62, 0.4, -0.06, -25), (0.1, 0.4, 0.36, -20), (0.3, 0.42, -0.3, 30),
        (0.34, 0.58, 0.02, 10)):
        fruit = placed(revolve(skin, apple, segments=18, smooth=2), (0, 0, 0), turn=(tilt, 40 * tilt, tilt))
        stem = placed(tube([(0, 0.38, 0), (0.02, 0.5, 0.01)], [0.014, 0.018], stalk, sides=6, smooth=2),
            turn=(tilt, 40 * tilt, tilt))
        parts += [placed(fruit, (x, y, z)), placed(stem, (x, y, z))]
    body = [(0, 0), (0.12, 0.02), (0.24, 0.2), (0.2, 0.4), (0.1, 0.6), (0.06, 0.68), (0, 0.7)]
    parts.append(placed(revolve(body, pear, segments=20, smooth=3), (-0.2, 0.48, 0.42), turn=(25, 0, 25)))
    loaf = [(-0.1, 0.25, -0.1), (-0.4, 0.6, -0.14), (-0.75, 0.98, -0.2), (-1.02, 1.28, -0.26), (-1.08, 1.34, -0.27)]
    parts.append(lumpy(tube(loaf, [0.13, 0.16, 0.16, 0.12, 0.02], crust, sides=16), rng, 0.03, 0.4))
    drape = [(-0.42, 0.5, 0.3), (-0.5, 0.74, 0.62), (-0.56, 0.62, 0.8), (-0.52, 0.3, 0.84), (-0.5, 0.1, 0.8)]
    parts.append(lumpy(tube(drape, [(0.34, 0.025)] * 5, cloth, sides=16, up=(0, 1, 0.5)), rng, 0.05, 0.5))
    return joined(parts)


def guitar(rng: Rng) -> Mesh:
    """A guitar with one cutaway, a dark guard, and its pegs on one side."""
    spruce = _skin(patterns.wood(rng, 512, (0.92, 0.72, 0.42), (0.74, 0.48, 0.22), bands=14), "spruce")
    mahogany = _skin(patterns.wood(rng, 256, (0.52, 0.22, 0.12), (0.26, 0.09, 0.05), bands=7), "mahogany")
    ebony = _skin(patterns.wood(rng, 256, (0.22, 0.16, 0.13), (0.09, 0.06, 0.05), bands=12), "ebony")
    shell = _skin(patterns.patches(rng, 256, (0.30, 0.11, 0.05), ((0.62, 0.30, 0.10), (0.10, 0.04, 0.03)), 0.3),
        "guard")
    steel = _skin(patterns.metal(rng, 128, (0.78, 0.78, 0.76), (0.5, 0.45, 0.36), 0.2), "steel")
    inlay = _skin(patterns.plaid(rng, 128, (0.90, 0.86, 0.74), ((0.15, 0.35, 0.32), (0.6, 0.15, 0.1)), 6), "rosette")
    half = [(0, -1.0), (0.42, -0.96), (0.68, -0.72), (0.72, -0.42), (0.56, -0.12), (0.46, 0.1), (0.52, 0.34)]
    outline = [*half, (0.5, 0.5), (0.3, 0.5), (0.14, 0.38), (-0.1, 0.6), (-0.36, 0.64), (-0.54, 0.44), (-0.46, 0.1),
        (-0.56, -0.12), (-0.72, -0.42), (-0.68, -0.72), (-0.42, -0.96)]
    body = extrude(_rounded(outline, 4), 0.3, mahogany, bevel=0.03)
    parts = [decal(body, spruce, (0, 0, 1), within=20)]
    parts.append(placed(revolve([(0, 0), (0.17, 0), (0.17, 0.012), (0, 0.012)], ebony, segments=28), (0, 0, 0.148),
        turn=(90, 0, 0)))
    ring = [(0.2 * math.cos(a), 0.2 * math.sin(a), 0.15) for a in np.arange(12) * math.pi / 6]
    parts.append(tube(ring, [(0.03, 0.012)] * 12, inlay, sides=8, smooth=3, up=(0, 0, 1), loop=True))
    guard = [(0.1, -0.28), (0.34, -0.5), (0.46, -0.4), (0.4, -0.1), (0.32, 0.12), (0.2, 0.14), (0.24, 0), (0.2, -0.14)]
    parts.append(placed(extrude(_rounded(guard, 3), 0.02, shell), (0.02, 0, 0.155)))
    parts.append(placed(box((0.46, 0.09, 0.05), ebony, bevel=0.015), (0, -0.56, 0.17)))
    parts.append(tube([(0, 0.3, 0.1), (0, 0.7, 0.12), (0, 1.75, 0.12), (0, 1.9, 0.1)], [(0.1, 0.09), (0.085, 0.07),
        (0.07, 0.06), (0.07, 0.04)], mahogany, sides=16, up=(0, 0, 1)))
    board = [(-0.095, 0.2), (0.095, 0.2), (0.075, 1.85), (-0.075, 1.85)]
    parts.append(placed(extrude(board, 0.03, ebony), (0, 0, 0.185)))
    for fret in range(14):
        y = -0.56 + 2.4 * 2 ** (-fret / 12)
        parts.append(placed(box((0.16 + 0.01 * fret / 7, 0.014, 0.016), steel), (0, y, 0.2)))
    head = [(-0.08, 1.82), (0.08, 1.82), (0.13, 1.92), (0.13, 2.3), (0.02, 2.42), (-0.1, 2.46), (-0.15, 2.36),
        (-0.12, 1.92)]
    parts.append(placed(decal(extrude(head, 0.08, mahogany, bevel=0.012), shell, (0, 0, 1), within=20), (0, 0.02, 0.1)))
    for string in range(6):
        x, y = -0.055 + 0.022 * string, 1.97 + 0.07 * string
        parts.append(tube([(1.2 * x, -0.56, 0.21), (x, 1.86, 0.212), (0.4 * x + 0.02, y, 0.16)], [0.005] * 3, steel,
            sides=4, smooth=1))
        parts.append(tube([(0.1, y, 0.1), (0.2, y, 0.1)], [0.012, 0.012], steel, sides=6, smooth=1))
        parts.append(ball((0.22, y, 0.1), (0.035, 0.022, 0.035), inlay, segments=8))
    return joined([placed(part, turn=(-4, -22, 6)) for part in parts])


def bicycle(rng: Rng) -> Mesh:
    """A delivery bicycle with a wicker basket in front, a rack behind and its chain on the right."""
    paint = _skin(patterns.metal(rng, 256, (0.13, 0.42, 0.52), (0.52, 0.30, 0.16), 0.2), "paint")
    rubber = _skin(patterns.weave(rng, 128, (0.20, 0.20, 0.21), (0.06, 0.06, 0.07), 12), "rubber")
    chrome = _skin(patterns.metal(rng, 128, (0.75, 0.76, 0.78), (0.45, 0.40, 0.35), 0.2), "chrome")
    leather = _skin(patterns.speckle(rng, 128, (0.52, 0.28, 0.13), (0.32, 0.15, 0.06), 24, 0.8), "leather")
    wicker = _skin(patterns.weave(rng, 256, (0.82, 0.63, 0.38), (0.36, 0.22, 0.10), 14), "wicker")
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


def anvil(rng: Rng) -> Mesh:
    """A blacksmith's anvil with its hammer, all of the same steel."""
    steel = _skin(patterns.metal(rng, 512, (0.42, 0.44, 0.47), (0.36, 0.36, 0.37), 0.35), "steel")
    dark = _skin(patterns.metal(rng, 128, (0.10, 0.10, 0.11), (0.16, 0.15, 0.15), 0.3), "hole")
    side = [(-0.62, 0), (-0.3, 0), (-0.22, 0.06), (0.22, 0.06), (0.3, 0), (0.62, 0), (0.6, 0.16), (0.34, 0.26),
        (0.24, 0.42)]
    side += [(0.28, 0.58), (0.5, 0.72), (0.5, 0.98), (-0.66, 0.98), (-0.66, 0.82), (-0.4, 0.7), (-0.27, 0.56),
        (-0.24, 0.42), (-0.34, 0.26), (-0.6, 0.16)]
    parts = [extrude(side, 0.5, steel, bevel=0.04), placed(box((1.24, 0.18, 0.7), steel, bevel=0.035), (0, 0.09, 0))]
    parts.append(placed(box((1.22, 0.2, 0.56), steel, bevel=0.03), (-0.1, 0.9, 0)))
    horn = [(0.4, 0.82, 0), (0.62, 0.83, 0), (0.9, 0.87, 0), (1.18, 0.93, 0), (1.28, 0.96, 0)]
    parts.append(tube(horn, [(0.22, 0.15), (0.22, 0.14), (0.16, 0.1), (0.07, 0.05), (0.01, 0.01)], steel, sides=24,
        up=(0, 1, 0)))
    parts.append(placed(box((0.12, 0.02, 0.12), dark), (-0.55, 1.0, 0.08)))
    parts.append(placed(revolve([(0, 0), (0.04, 0), (0.04, 0.02), (0, 0.02)], dark, segments=12), (-0.38, 0.99, -0.12)))
    head = [(0, -0.22), (0.1, -0.22), (0.12, -0.19), (0.12, -0.08), (0.09, -0.05), (0.09, 0.06), (0.05, 0.2), (0, 0.22)]
    parts.append(placed(revolve(head, steel, segments=16), (0.1, 1.1, 0.1), turn=(90, -60, 0)))
    parts.append(tube([(0.02, 1.1, -0.02), (0.3, 1.08, 0.3), (0.62, 1.02, 0.62), (0.72, 1.0, 0.72)],
        [(0.026, 0.036), (0.03, 0.04), (0.04, 0.05), (0.03, 0.04)], steel, sides=12, up=(0, 1, 0)))
    ring = [(-0.2 + 0.13 * math.cos(a), 0.3 + 0.13 * math.sin(a), 0.3) for a in np.arange(8) * math.pi / 4]
    parts.append(placed(tube(ring, [0.03] * 8, steel, sides=10, smooth=4, up=(0, 0, 1), loop=True)))
    parts.append(placed(box((0.12, 0.1, 0.12), steel, bevel=0.02), (-0.2, 0.43, 0.26)))
    return joined([placed(part, turn=(0, -18, 0)) for part in parts])


# fmt: on


MODELLED: dict[str, Callable[[Rng], Mesh]] = {
    "anvil": anvil,
    "basket": basket,
    "bicycle": bicycle,
    "cactus": cactus,
    "chair": chair,
    "fish": fish,
    "guitar": guitar,
    "house": house,
    "mug": mug,
    "radio": radio,
    "street_lamp": street_lamp,
    "stump": stump,
}
"""Object id: how it is made. Not yet centred or scaled (`recon.surface.loading.normalised`)."""

TIERS = dict.fromkeys(MODELLED, "A") | {"bicycle": "B", "fish": "B", "street_lamp": "B", "anvil": "C"}
"""As in `gen.data.sources.ObjectInfo`."""


def make(name: str) -> Mesh:
    """One of `MODELLED`, always the same, in our world frame and inside the sphere of diameter 1."""
    return normalised(MODELLED[name](np.random.default_rng(list(name.encode()))))


def _skin(texture: Tensor, name: str) -> Material:
    return Material(texture=texture, name=name)


def _on_wall(radius: float, degrees: float, height: float) -> Point:
    """A point on an upright cylinder; 0 is in front, 90 at +X."""
    angle = math.radians(degrees)
    return radius * math.sin(angle), height, radius * math.cos(angle)


def _fin(outline: list[tuple[float, float]], material: Material) -> Mesh:
    """A thin upright sheet with a rounded outline, counter-clockwise."""
    return extrude(_rounded(outline, 3), 0.03, material, bevel=0.008)


def _rounded(outline: list[tuple[float, float]], steps: int) -> list[tuple[float, float]]:
    return [(x, y) for x, y in curve(outline, steps, loop=True).tolist()]


def _bands(first: patterns.Color, second: patterns.Color, count: int, share: float) -> Bands:
    """`count` times the first colour over `share` of the way and the second over the rest."""
    ends = ((i + part, color) for i in range(count) for part, color in ((share, first), (1.0, second)))
    return tuple((end / count, color) for end, color in ends)


def _roof(tile: Material, edge: Material, wide: float, long: float) -> Mesh:
    """A slab tiled on both sides, its tiles pointing to +X."""
    slab = decal(decal(box((long, 0.07, wide), edge), tile, (0, 1, 0)), tile, (0, -1, 0))
    return placed(slab, turn=(0, 90, 0))


def _window(
    frame: Material, pane: Material, at: Point, size: tuple[float, float], *, glazed: bool = True
) -> list[Mesh]:
    """A framed pane on a wall that looks to +Z, with glazing bars or without (a door)."""
    x, y, z = at
    wide, tall = size
    parts = [placed(decal(box((wide, tall, 0.05), pane), pane, (0, 0, 1)), at)]
    for side in (-1, 1):
        parts.append(placed(box((0.05, tall + 0.09, 0.09), frame), (x + side * wide / 2, y, z)))
        parts.append(placed(box((wide + 0.1, 0.05, 0.1), frame), (x, y + side * tall / 2, z)))
    if glazed:
        parts.append(placed(box((0.03, tall, 0.07), frame), at))
        parts.append(placed(box((wide, 0.03, 0.075), frame), at))
    return parts
