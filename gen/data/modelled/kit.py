"""A small modelling kit: closed textured pieces that are put together to objects (`gen.data.modelled.objects`).

Pieces are `Mesh`es of one material with texture coordinates in [0, 1]. Lengths are whatever the caller counts in;
`recon.surface.loading.normalised` makes them ours at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recon.surface.mesh import Material, Mesh, face_normals
from recon.surface.render import prepare_mesh

Point = tuple[float, float, float]
CREASE = math.radians(50)
"""Edges that bend by more stay sharp; an octagonal tube is round."""


def revolve(profile: Sequence[tuple[float, float]], material: Material, *, segments: int = 48, smooth: int = 1) -> Mesh:
    """A surface of revolution about +Y.

    Args:
        profile: (radius, height) points with the surface's outside on the right of the way through them; closed if it
            begins and ends on the axis.
        smooth: samples between neighbours on a Catmull-Rom curve; 1 joins the points by straight lines.
    """
    rings = curve(profile, smooth)
    angle = torch.arange(segments) * (2 * math.pi / segments)
    radius, height = rings[:, :1].clamp_min(0), rings[:, 1:].expand(-1, segments)
    return grid(torch.stack((radius * angle.sin(), height, radius * angle.cos()), -1), material)


def tube(
    path: Sequence[Point],
    radii: Sequence[float] | Sequence[tuple[float, float]],
    material: Material,
    *,
    sides: int = 12,
    smooth: int = 6,
    up: Point = (0.3, 0.1, 1.0),
    loop: bool = False,
    capped: bool = True,
) -> Mesh:
    """A round or oval tube along the Catmull-Rom curve through `path`.

    Args:
        radii: one a point; pairs are (across, along `up`).
        up: direction that the path never takes; orients oval sections.
        loop: the path returns to its first point.
        capped: close the ends.
    """
    points = curve(
        [(*p, *(r if isinstance(r, tuple) else (r, r))) for p, r in zip(path, radii, strict=True)], smooth, loop
    )
    centre, wide, high = points[:, :3], points[:, None, 3:4], points[:, None, 4:]
    if loop:
        tangent = centre.roll(-1, 0) - centre.roll(1, 0)
    else:
        tangent = torch.gradient(centre, dim=0)[0]
    tangent = torch.nn.functional.normalize(tangent, dim=1)
    side = torch.nn.functional.normalize(torch.linalg.cross(tangent, torch.tensor([up], dtype=torch.float32)), dim=1)
    other = torch.linalg.cross(tangent, side)
    angle = (torch.arange(sides) * (2 * math.pi / sides))[None, :, None]
    rings = centre[:, None] + high * (wide / high * (angle.cos() * side[:, None]) + angle.sin() * other[:, None])
    if loop:
        rings = torch.cat((rings, rings[:1]))
    elif capped:
        ends = centre[[0, -1], None].expand(-1, sides, -1)
        rings = torch.cat((ends[:1], rings, ends[1:]))
    return grid(rings, material)


def ball(centre: Point, radii: Point, material: Material, *, segments: int = 24) -> Mesh:
    """An axis-aligned ellipsoid."""
    angle = torch.linspace(-math.pi / 2, math.pi / 2, segments // 2 + 1).tolist()
    mesh = revolve([(math.cos(a), math.sin(a)) for a in angle], material, segments=segments)
    return replace(mesh, vertices=mesh.vertices * torch.tensor(radii) + torch.tensor(centre))


def extrude(outline: Sequence[tuple[float, float]], depth: float, material: Material, *, bevel: float = 0.0) -> Mesh:
    """An outline in the XY plane, counter-clockwise seen from +Z, made `depth` thick about z = 0.

    Args:
        outline: (x, y) points; their mean sees all of it.
        bevel: width of the slanted edge on both sides.
    """
    points = torch.tensor(outline, dtype=torch.float32)
    edges = torch.nn.functional.normalize(points.roll(-1, 0) - points, dim=1)
    normals = torch.stack((edges[:, 1], -edges[:, 0]), 1)
    corner = normals + normals.roll(1, 0)
    inner = points - bevel * 2 * corner / (corner * corner).sum(1, keepdim=True)
    half = depth / 2
    middle = points.mean(0).expand_as(points)
    rows = [
        (middle, -half),
        (inner, -half),
        (points, bevel - half),
        (points, half - bevel),
        (inner, half),
        (middle, half),
    ]
    rings = torch.stack([torch.cat((p, torch.full((len(p), 1), z)), 1) for p, z in rows])
    return box_mapped(grid(rings, material))


def box(size: Point, material: Material, *, bevel: float = 0.0) -> Mesh:
    """A block about the origin, its twelve edges slanted by `bevel`."""
    x, y, b = size[0] / 2, size[1] / 2, bevel
    if b == 0:
        outline = [(-x, -y), (x, -y), (x, y), (-x, y)]
    else:
        outline = [(b - x, -y), (x - b, -y), (x, b - y), (x, y - b), (x - b, y), (b - x, y), (-x, y - b), (-x, b - y)]
    return extrude(outline, size[2], material, bevel=bevel)


def placed(mesh: Mesh, at: Point = (0, 0, 0), *, turn: Point = (0, 0, 0), size: Point | float = 1.0) -> Mesh:
    """The piece scaled, turned by degrees about X, then Y, then Z, and moved. Positive sizes only."""
    x, y, z = (mesh.vertices * torch.tensor(size)).unbind(1)
    a, b, c = (math.radians(angle) for angle in turn)
    y, z = math.cos(a) * y - math.sin(a) * z, math.sin(a) * y + math.cos(a) * z
    x, z = math.cos(b) * x + math.sin(b) * z, math.cos(b) * z - math.sin(b) * x
    x, y = math.cos(c) * x - math.sin(c) * y, math.sin(c) * x + math.cos(c) * y
    return replace(mesh, vertices=torch.stack((x, y, z), 1) + torch.tensor(at))


def lumpy(mesh: Mesh, rng: np.random.Generator, amount: float, wavelength: float) -> Mesh:
    """The piece with every point pushed about by up to roughly `amount`, smoothly over `wavelength`."""
    places, back = torch.unique(mesh.vertices + 0.0, dim=0, return_inverse=True)  # seams stay closed
    for _ in range(3):
        direction = torch.from_numpy(rng.normal(size=(2, 3)).astype(np.float32))
        along, push = torch.nn.functional.normalize(direction, dim=1)
        wave = (places * along).sum(1, keepdim=True) * (2 * math.pi / wavelength) + rng.uniform(0, 6.28)
        places = places + amount / 2 * wave.sin() * push
    return replace(mesh, vertices=places[back])


def window(mesh: Mesh, left: float, top: float, width: float, height: float) -> Mesh:
    """The piece showing only a part of its picture."""
    assert mesh.uvs is not None
    return replace(mesh, uvs=mesh.uvs * torch.tensor([width, height]) + torch.tensor([left, top]))


def box_mapped(mesh: Mesh) -> Mesh:
    """Texture coordinates as if the picture were thrown onto the piece from all six sides, in one scale."""
    corners = mesh.vertices[mesh.faces]
    low, high = mesh.bounds()
    normals = face_normals(mesh.vertices, mesh.faces)
    axis = normals.abs().argmax(1)
    direction = torch.nn.functional.one_hot(axis, 3) * normals.gather(1, axis[:, None]).sign()
    uvs = 0.5 + _seen_from(corners - (low + high) / 2, direction) / (high - low).max()
    return _unshared(mesh, uvs.clamp(0, 1))


def decal(mesh: Mesh, material: Material, direction: Point, *, within: float = 45.0) -> Mesh:
    """The piece with another picture on its faces that look along an axis, within so many degrees; it fills them."""
    normals = torch.nn.functional.normalize(face_normals(mesh.vertices, mesh.faces), dim=1)
    towards = torch.tensor(direction, dtype=torch.float32)
    chosen = (normals * towards).sum(1) > math.cos(math.radians(within))
    assert mesh.uvs is not None
    uvs = mesh.uvs[mesh.faces]
    flat = _seen_from(mesh.vertices[mesh.faces[chosen]], towards.expand(int(chosen.sum()), 3))
    low, high = flat.amin((0, 1)), flat.amax((0, 1))
    uvs[chosen] = (flat - low) / (high - low)
    owners = torch.where(chosen, len(mesh.materials), _owners(mesh))
    return replace(_unshared(mesh, uvs), materials=(*mesh.materials, material), face_material=owners)


def joined(parts: Sequence[Mesh]) -> Mesh:
    """All parts in one mesh with a material for each different one of theirs, and normals that keep creases sharp."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    slots: dict[int, tuple[int, Material]] = {}
    owners = []
    for part in parts:
        own = torch.tensor([slots.setdefault(id(m), (len(slots), m))[0] for m in part.materials])
        owners.append(own[_owners(part)])
    mesh = Mesh(
        vertices=torch.cat([part.vertices for part in parts]),
        faces=torch.cat([part.faces + int(start) for part, start in zip(parts, starts[:-1], strict=True)]),
        uvs=torch.cat([part.uvs for part in parts if part.uvs is not None]),
        materials=tuple(material for _, material in slots.values()),
        face_material=torch.cat(owners),
    )
    return _with_normals(mesh)


def curve(points: Sequence[tuple[float, ...]], steps: int, loop: bool = False) -> Tensor:
    """(M, D) samples of the Catmull-Rom curve through the points, `steps` from each to the next."""
    given = torch.tensor(points, dtype=torch.float32)
    if loop:
        before, after = given[-1:], given[:2]
    else:
        before, after = 2 * given[:1] - given[1:2], 2 * given[-1:] - given[-2:-1]
    p = torch.cat((before, given, after))
    t = (torch.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    samples = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    samples = samples.reshape(-1, given.shape[1])
    return samples if loop else torch.cat((samples, given[-1:]))


def grid(rings: Tensor, material: Material) -> Mesh:
    """Rings of points (R, S, 3), closed around, joined by triangles: u runs around, v down from the last ring to the
    first by the length of the way."""
    rings = torch.cat((rings, rings[:, :1]), 1)
    rows, columns = rings.shape[:2]
    index = torch.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat((torch.stack((a, d, c), -1).reshape(-1, 3), torch.stack((a, c, b), -1).reshape(-1, 3)))
    vertices = rings.reshape(-1, 3)
    corners = vertices[faces]
    faces = faces[(corners != corners.roll(1, 1)).any(-1).all(-1)]  # at poles, triangles shrink to lines
    way = torch.cat((torch.zeros(1), (rings[1:] - rings[:-1]).norm(dim=-1).mean(1).cumsum(0)))
    v = (1 - way / way[-1])[:, None].expand(-1, columns)
    u = torch.linspace(0, 1, columns).expand(rows, -1)
    return Mesh(vertices, faces, uvs=torch.stack((u, v), -1).reshape(-1, 2), materials=(material,))


def _seen_from(points: Tensor, direction: Tensor) -> Tensor:
    """(F, 3, 2) right and down of points (F, 3, 3) to who looks at them against an axis direction (F, 3); from above
    and below, the front is at the bottom."""
    upward = direction[:, 1:2].abs() > 0.5
    up = torch.where(upward, -direction.new_tensor([0, 0, 1]) * direction[:, 1:2], direction.new_tensor([0, 1, 0]))
    right = torch.linalg.cross(up, direction)
    return torch.stack(((points * right[:, None]).sum(-1), -(points * up[:, None]).sum(-1)), -1)


def _owners(mesh: Mesh) -> Tensor:
    """(F,) the material of every face."""
    return torch.zeros(len(mesh.faces), dtype=torch.int64) if mesh.face_material is None else mesh.face_material


def _unshared(mesh: Mesh, uvs: Tensor) -> Mesh:
    """The mesh with a vertex of its own for every corner, and their texture coordinates (F, 3, 2)."""
    faces = torch.arange(3 * len(mesh.faces)).reshape(-1, 3)
    return replace(mesh, vertices=mesh.vertices[mesh.faces].reshape(-1, 3), faces=faces, uvs=uvs.reshape(-1, 2))


def _with_normals(mesh: Mesh) -> Mesh:
    """The mesh with one vertex for each different position, normal and texture coordinate of a corner."""
    assert mesh.uvs is not None
    normals = torch.from_numpy(prepare_mesh(mesh, crease=CREASE).normals).reshape(-1, 3)
    flat = mesh.faces.reshape(-1)
    rows = torch.cat((mesh.vertices[flat], mesh.uvs[flat], normals), 1)
    _, first, corner = np.unique(rows.numpy(), axis=0, return_index=True, return_inverse=True)
    chosen = torch.from_numpy(first)
    return replace(
        mesh,
        vertices=mesh.vertices[flat[chosen]],
        faces=torch.from_numpy(corner.reshape(-1, 3)),
        uvs=mesh.uvs[flat[chosen]],
        normals=normals[chosen],
    )
