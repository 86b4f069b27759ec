"""Evaluation objects from inside a house: mug, chair, radio, basket, guitar, anvil."""

from __future__ import annotations

import math

import numpy as np

from gen.data.modelled import patterns
from gen.data.modelled.kit import ball, box, decal, extrude, joined, lumpy, placed, revolve, tube, window
from gen.data.modelled.parts import (
    OAK,
    RUST,
    WALNUT,
    Bands,
    Rng,
    banded,
    coated,
    on_wall,
    rounded,
)
from recon.surface.mesh import Mesh

# Lists of points fill their lines; one point a line would make this module three times as long.
# fmt: off


def mug(rng: Rng) -> Mesh:
    """A hand-coated mug with a sprig in relief and a spoon in it."""
    bands: Bands = ((0.47, (0.93, 0.90, 0.83)), (0.53, (0.12, 0.27, 0.42)), (0.72, (0.88, 0.83, 0.71)))
    bands += ((0.75, (0.72, 0.34, 0.18)), (0.78, (0.88, 0.83, 0.71)), (1.0, (0.15, 0.33, 0.50)))
    glaze = coated(patterns.speckle(rng, 512, patterns.stripes(rng, 512, bands), (0.30, 0.22, 0.16), 40, 0.35), "glaze")
    blue = coated(patterns.speckle(rng, 128, (0.15, 0.33, 0.50), (0.07, 0.14, 0.24), 12), "handle")
    green = coated(patterns.leaves(rng, 128, (0.16, 0.36, 0.16), ((0.25, 0.48, 0.2), (0.40, 0.58, 0.25)), 6), "sprig")
    red = coated(patterns.speckle(rng, 128, (0.75, 0.16, 0.13), (0.95, 0.65, 0.5), 16), "berry")
    steel = coated(patterns.metal(rng, 128, (0.72, 0.73, 0.75), (0.5, 0.48, 0.45), 0.15), "spoon")
    wall = [(0, 0), (0.40, 0), (0.45, 0.04), (0.47, 0.12), (0.47, 0.96), (0.455, 1.0), (0.43, 1.0), (0.415, 0.96)]
    parts = [revolve([*wall, (0.41, 0.15), (0.35, 0.08), (0, 0.08)], glaze, segments=64)]
    arch = [(0.44, 0.82, 0), (0.66, 0.88, 0), (0.80, 0.70, 0), (0.78, 0.42, 0), (0.62, 0.22, 0), (0.44, 0.24, 0)]
    parts.append(tube(arch, [(0.05, 0.075)] * 6, blue, sides=16, up=(0, 0, 1)))
    stem = [on_wall(0.475, a, y) for a, y in ((-48, 0.22), (-38, 0.38), (-22, 0.50), (-2, 0.58))]
    parts.append(tube(stem, [0.014, 0.014, 0.012, 0.008], green, sides=8))
    for angle, height, tilt in ((-52, 0.40, 30), (-28, 0.36, -70), (-34, 0.58, 15), (-8, 0.46, -80), (-16, 0.68, 10)):
        leaf = ball((0, 0, 0), (0.04, 0.1, 0.018), green, segments=12)
        parts.append(placed(placed(leaf, turn=(0, 0, tilt)), on_wall(0.475, angle, height), turn=(0, angle, 0)))
    for angle, height in ((2, 0.60), (8, 0.54), (9, 0.66)):
        parts.append(ball(on_wall(0.48, angle, height), (0.035, 0.035, 0.025), red, segments=12))
    handle = [(0.05, 0.12, 0.05), (-0.15, 0.6, -0.05), (-0.34, 1.05, -0.16), (-0.44, 1.38, -0.2)]
    parts.append(tube(handle, [(0.02, 0.012), (0.02, 0.012), (0.03, 0.014), (0.045, 0.016)], steel, sides=8))
    return joined(parts)


def chair(rng: Rng) -> Mesh:
    """A lecture-room chair: slatted back, cushion, and a writing tablet with a book on its left arm."""
    oak = coated(patterns.wood(rng, 256, *OAK), "oak")
    cloth = coated(patterns.plaid(rng, 256, (0.22, 0.36, 0.30), ((0.85, 0.80, 0.66), (0.62, 0.16, 0.14))), "cushion")
    cover = coated(patterns.stripes(rng, 128, ((0.15, (0.75, 0.6, 0.2)), (0.8, (0.50, 0.10, 0.12)),
        (1, (0.75, 0.6, 0.2)))), "book")
    paper = coated(patterns.wood(rng, 128, (0.95, 0.92, 0.84), (0.80, 0.75, 0.64), bands=40), "paper")
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
    tablet = extrude(rounded(outline, 4), 0.05, oak, bevel=0.012)
    parts.append(placed(tablet, (0.46, 1.48, 0.08), turn=(90, 0, 0)))
    for z in (-0.42, 0.25):
        parts.append(tube([(0.42, 0.9, z), (0.5, 1.2, z), (0.46, 1.47, z)], [0.03, 0.03, 0.04], oak, sides=8))
    book = decal(decal(box((0.3, 0.07, 0.4), paper), cover, (0, 1, 0)), cover, (0, -1, 0))
    parts.append(placed(decal(book, cover, (-1, 0, 0)), (0.43, 1.54, 0.26), turn=(0, 20, 0)))
    return joined(parts)


def radio(rng: Rng) -> Mesh:
    """A wooden radio: cloth in front of the loudspeaker, a lit dial, three knobs, an aerial, a tin back."""
    case = coated(patterns.wood(rng, 512, *WALNUT, bands=8), "walnut")
    cloth = coated(patterns.weave(rng, 384, (0.86, 0.74, 0.50), (0.42, 0.30, 0.16), 32), "cloth")
    dial = coated(patterns.dial(rng, 256, (0.96, 0.88, 0.66), (0.20, 0.13, 0.08), (0.85, 0.10, 0.05)), "dial")
    brass = coated(patterns.metal(rng, 256, (0.80, 0.62, 0.28), (0.42, 0.28, 0.12), 0.2), "brass")
    knob = coated(patterns.wood(rng, 128, (0.25, 0.20, 0.17), (0.10, 0.08, 0.07), bands=20), "knob")
    tin = coated(patterns.metal(rng, 256, (0.42, 0.44, 0.42), RUST, 0.3), "tin")
    leather = coated(patterns.speckle(rng, 128, (0.40, 0.20, 0.10), (0.24, 0.11, 0.05), 28, 0.9), "leather")
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
    wicker = coated(patterns.weave(rng, 384, (0.80, 0.60, 0.34), (0.32, 0.19, 0.09), 24), "wicker")
    braid = coated(patterns.scales(rng, 256, (0.66, 0.45, 0.24), 40, 4, 0.7), "braid")
    apple = coated(patterns.speckle(rng, 256, patterns.patches(rng, 256, (0.72, 0.12, 0.10), ((0.88, 0.62, 0.22),),
        0.12), (0.95, 0.8, 0.55), 30, 0.3), "apple")
    pear = coated(patterns.speckle(rng, 128, (0.68, 0.72, 0.24), (0.45, 0.38, 0.14), 20), "pear")
    crust = coated(patterns.stripes(rng, 256, banded((0.66, 0.38, 0.15), (0.90, 0.72, 0.45), 8, 0.75)), "crust")
    cloth = coated(patterns.plaid(rng, 256, (0.94, 0.92, 0.88), ((0.20, 0.34, 0.62), (0.20, 0.34, 0.62)), 6), "cloth")
    stalk = coated(patterns.wood(rng, 64, *WALNUT), "stalk")
    wall = [(0, 0), (0.62, 0), (0.68, 0.05), (0.86, 0.62), (0.82, 0.64), (0.64, 0.08), (0, 0.06)]
    oval = (1.15, 1.0, 0.85)
    parts = [placed(revolve(wall, wicker, segments=48), size=oval)]
    for radius, height, thick in ((0.66, 0.04, 0.05), (0.85, 0.64, 0.06)):
        ring = [on_wall(radius, a, height) for a in range(0, 360, 30)]
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
    spruce = coated(patterns.wood(rng, 512, (0.92, 0.72, 0.42), (0.74, 0.48, 0.22), bands=14), "spruce")
    mahogany = coated(patterns.wood(rng, 256, (0.52, 0.22, 0.12), (0.26, 0.09, 0.05), bands=7), "mahogany")
    ebony = coated(patterns.wood(rng, 256, (0.22, 0.16, 0.13), (0.09, 0.06, 0.05), bands=12), "ebony")
    shell = coated(patterns.patches(rng, 256, (0.30, 0.11, 0.05), ((0.62, 0.30, 0.10), (0.10, 0.04, 0.03)), 0.3),
        "guard")
    steel = coated(patterns.metal(rng, 128, (0.78, 0.78, 0.76), (0.5, 0.45, 0.36), 0.2), "steel")
    inlay = coated(patterns.plaid(rng, 128, (0.90, 0.86, 0.74), ((0.15, 0.35, 0.32), (0.6, 0.15, 0.1)), 6), "rosette")
    half = [(0, -1.0), (0.42, -0.96), (0.68, -0.72), (0.72, -0.42), (0.56, -0.12), (0.46, 0.1), (0.52, 0.34)]
    outline = [*half, (0.5, 0.5), (0.3, 0.5), (0.14, 0.38), (-0.1, 0.6), (-0.36, 0.64), (-0.54, 0.44), (-0.46, 0.1),
        (-0.56, -0.12), (-0.72, -0.42), (-0.68, -0.72), (-0.42, -0.96)]
    body = extrude(rounded(outline, 4), 0.3, mahogany, bevel=0.03)
    parts = [decal(body, spruce, (0, 0, 1), within=20)]
    parts.append(placed(revolve([(0, 0), (0.17, 0), (0.17, 0.012), (0, 0.012)], ebony, segments=28), (0, 0, 0.148),
        turn=(90, 0, 0)))
    ring = [(0.2 * math.cos(a), 0.2 * math.sin(a), 0.15) for a in np.arange(12) * math.pi / 6]
    parts.append(tube(ring, [(0.03, 0.012)] * 12, inlay, sides=8, smooth=3, up=(0, 0, 1), loop=True))
    guard = [(0.1, -0.28), (0.34, -0.5), (0.46, -0.4), (0.4, -0.1), (0.32, 0.12), (0.2, 0.14), (0.24, 0), (0.2, -0.14)]
    parts.append(placed(extrude(rounded(guard, 3), 0.02, shell), (0.02, 0, 0.155)))
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


def anvil(rng: Rng) -> Mesh:
    """A blacksmith's anvil with its hammer, all of the same steel."""
    steel = coated(patterns.metal(rng, 512, (0.42, 0.44, 0.47), (0.36, 0.36, 0.37), 0.35), "steel")
    dark = coated(patterns.metal(rng, 128, (0.10, 0.10, 0.11), (0.16, 0.15, 0.15), 0.3), "hole")
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
