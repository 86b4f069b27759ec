"""Models a few small objects in code and photographs them: the made-up pictures in assets/photos come from here.

    python examples/02_render_sample_objects.py [FOLDER]

Shows how to build a `Mesh` from the modelling kit's pieces, place a camera on an orbit and draw a picture with alpha.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from gen.data.modelled import kit
from recon.capture import orbit_camera
from recon.surface.mesh import Material, Mesh
from recon.surface.render import Lights, render_mesh

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "photos"
SIZE = 512
FOV = math.radians(33.8)
ELEVATION = math.radians(10)  # both are what the program assumes of a photo that does not say
Color = tuple[float, float, float]


def material(color: Color) -> Material:
    return Material(base_color=torch.tensor([*color, 1.0]))


def revolve(profile: Sequence[tuple[float, float]], color: Color) -> Mesh:
    return kit.revolve(profile, material(color), segments=96, smooth=8)


def tube(path: Sequence[kit.Point], radii: Sequence[float], color: Color) -> Mesh:
    return kit.tube(path, radii, material(color), sides=32, smooth=10, capped=False)


def ball(centre: kit.Point, radii: kit.Point, color: Color) -> Mesh:
    return kit.ball(centre, radii, material(color), segments=64)


def joined(parts: Sequence[Mesh]) -> Mesh:
    """All parts in one mesh, centred and scaled into the unit-diameter sphere; the renderer finds the normals."""
    mesh = kit.joined(parts)
    low, high = mesh.bounds()
    centred = mesh.moved(translation=-(low + high) / 2)
    return replace(centred.moved(0.5 / float(centred.vertices.norm(dim=1).max())), normals=None)


def teapot() -> Mesh:
    glaze, rim, knob = (0.16, 0.42, 0.55), (0.93, 0.88, 0.76), (0.85, 0.55, 0.20)
    return joined(
        [
            revolve([(0, 0), (0.55, 0), (0.62, 0.06), (0.95, 0.45), (0.92, 0.85), (0.55, 1.18), (0.5, 1.2)], glaze),
            revolve([(0.97, 0.52), (1.0, 0.58), (1.0, 0.66), (0.965, 0.72)], rim),
            revolve([(0.56, 1.17), (0.5, 1.26), (0.25, 1.36), (0, 1.4)], rim),
            ball((0, 1.46, 0), (0.12, 0.11, 0.12), knob),
            tube([(0.75, 0.35, 0), (1.15, 0.5, 0), (1.35, 0.95, 0), (1.62, 1.2, 0)], [0.22, 0.17, 0.11, 0.09], glaze),
            tube(
                [(-0.85, 0.95, 0), (-1.3, 1.05, 0), (-1.5, 0.7, 0), (-1.25, 0.35, 0), (-0.88, 0.3, 0)],
                [0.09, 0.09, 0.09, 0.09, 0.09],
                knob,
            ),
        ]
    )


def toadstool() -> Mesh:
    red, cream, stem = (0.78, 0.10, 0.08), (0.97, 0.93, 0.84), (0.90, 0.85, 0.72)
    cap = [(1.0, 0.95), (1.02, 1.02), (0.9, 1.35), (0.55, 1.62), (0, 1.72)]
    parts = [
        revolve([(0, 0), (0.42, 0), (0.48, 0.12), (0.3, 0.5), (0.26, 1.05)], stem),
        revolve([(0.32, 0.72), (0.52, 0.66), (0.34, 0.8)], cream),
        revolve([(0, 1.0), (0.6, 0.97), (1.0, 0.95)], cream),
        revolve(cap, red),
    ]
    for ring, (count, radius, height, size) in enumerate(
        [(1, 0.0, 1.69, 0.17), (6, 0.58, 1.56, 0.14), (9, 0.95, 1.2, 0.12)]
    ):
        for i in range(count):
            a = 2 * math.pi * (i + 0.5 * ring) / count
            parts.append(ball((radius * math.sin(a), height, radius * math.cos(a)), (size, 0.7 * size, size), cream))
    return joined(parts)


def duck() -> Mesh:
    yellow, orange, dark = (0.98, 0.80, 0.12), (0.93, 0.42, 0.07), (0.07, 0.07, 0.09)
    return joined(
        [
            ball((0, 0.5, 0), (0.7, 0.52, 0.95), yellow),
            tube([(0, 0.6, -0.7), (0, 0.8, -1.0), (0, 1.08, -1.22)], [0.36, 0.24, 0.03], yellow),
            ball((0, 1.28, 0.55), (0.45, 0.44, 0.46), yellow),
            ball((0.66, 0.58, -0.08), (0.13, 0.3, 0.52), yellow),
            ball((-0.66, 0.58, -0.08), (0.13, 0.3, 0.52), yellow),
            ball((0, 1.2, 1.02), (0.23, 0.08, 0.22), orange),
            ball((0.2, 1.42, 0.9), (0.07, 0.09, 0.06), dark),
            ball((-0.2, 1.42, 0.9), (0.07, 0.09, 0.06), dark),
        ]
    )


def rocket() -> Mesh:
    white, red, blue, metal = (0.92, 0.92, 0.94), (0.80, 0.13, 0.12), (0.18, 0.36, 0.70), (0.35, 0.36, 0.40)
    fins = []
    for i in range(3):
        a = 2 * math.pi * i / 3 + 0.5
        s, c = math.sin(a), math.cos(a)
        path = [(0.3 * s, 0.75, 0.3 * c), (0.62 * s, 0.4, 0.62 * c), (0.78 * s, -0.08, 0.78 * c)]
        fins.append(tube(path, [0.12, 0.13, 0.06], red))
    return joined(
        [
            revolve([(0.24, 0.12), (0.42, 0.5), (0.5, 1.1), (0.42, 1.7)], white),
            revolve([(0.42, 1.7), (0.27, 2.1), (0, 2.5)], red),
            revolve([(0.16, 0.2), (0.2, 0.12), (0.3, -0.08), (0.27, -0.08), (0.1, 0.1)], metal),
            ball((0, 1.35, 0.44), (0.2, 0.2, 0.09), metal),
            ball((0, 1.35, 0.49), (0.14, 0.14, 0.07), blue),
            *fins,
        ]
    )


OBJECTS: dict[str, tuple[Callable[[], Mesh], float]] = {
    "teapot": (teapot, -20),
    "toadstool": (toadstool, 0),
    "duck": (duck, 35),
    "rocket": (rocket, 15),
}
"""Name: how it is made, and the azimuth in degrees that shows it well."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, azimuth) in OBJECTS.items():
        camera = orbit_camera(math.radians(azimuth), ELEVATION, FOV, SIZE, SIZE)
        rgba = render_mesh(make(), camera, lights=Lights.studio(), supersample=4).rgba
        Image.fromarray((rgba * 255).round().to(torch.uint8).numpy()).save(folder / f"{name}.png", optimize=True)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
