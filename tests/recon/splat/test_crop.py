"""What lies in a region is cut out of pictures that show much more."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import trimesh

from recon.capture import Capture, Similarity, frame_from_tensors, orbit_camera
from recon.splat.crop import SCENE_FIT, Region, cropped, framed_region
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh

SIZE = 80
CAMERAS = [orbit_camera(2 * math.pi * i / 14, math.radians(25), math.radians(40), SIZE, SIZE) for i in range(14)]
QUICK = replace(SCENE_FIT, iterations=700, max_size=SIZE).limited(12_000)


def coloured(solid: trimesh.Trimesh, rgb: tuple[float, float, float], grain: float) -> Mesh:
    solid = solid.subdivide().subdivide()
    noise = torch.rand(len(solid.vertices), 3, generator=torch.Generator().manual_seed(1)) * grain
    colors = (torch.tensor(rgb) + noise).clamp(0, 1)
    return Mesh(torch.from_numpy(solid.vertices).float(), torch.from_numpy(solid.faces).int(), colors=colors)


def joined(a: Mesh, b: Mesh) -> Mesh:
    faces = torch.cat((a.faces, b.faces + len(a.vertices)))
    return Mesh(torch.cat((a.vertices, b.vertices)), faces, colors=torch.cat((a.colors, b.colors)))


@pytest.fixture(scope="module")
def scene():
    """A capsule above a table: opaque pictures, and the capsule's true masks."""
    subject = coloured(trimesh.creation.capsule(height=0.4, radius=0.16), (0.7, 0.1, 0.1), 0.2)
    table = trimesh.creation.box((3.0, 0.1, 3.0), trimesh.transformations.translation_matrix((0, -0.7, 0)))
    whole = joined(subject, coloured(table.subdivide().subdivide(), (0.2, 0.4, 0.3), 0.5))
    frames, masks = [], []
    for index, camera in enumerate(CAMERAS):
        rgba = render_mesh(whole, camera).rgba
        sky = torch.tensor([0.5, 0.6, 0.8])
        rgb = rgba[..., :3] * rgba[..., 3:] + sky * (1 - rgba[..., 3:])
        frames.append(frame_from_tensors(camera, torch.cat((rgb, torch.ones(SIZE, SIZE, 1)), -1), name=f"{index}"))
        masks.append(render_mesh(subject, camera).rgba[..., 3] > 0.5)
    return Capture(tuple(frames)), masks


def test_the_subject_is_cut_out_of_its_surroundings(scene):
    capture, masks = scene
    # As a solver might have left it: elsewhere, of another size. Sphere and answer are in that world.
    moved = capture.moved(Similarity(translation=torch.tensor([4.0, 1.0, -2.0]), scale=3.0))
    found = cropped(moved, Region(torch.tensor([4.0, 1.0, -2.0]), torch.full((3,), 1.5)), options=QUICK)
    assert len(found) == len(capture)
    assert torch.equal(found[3].camera.c2w, moved[3].camera.c2w)
    overlap = []
    for frame, mask in zip(found, masks, strict=True):
        alpha = frame.rgba()[..., 3] > 0.5
        overlap.append(float((alpha & mask).sum() / (alpha | mask).sum()))
    assert sum(overlap) / len(overlap) > 0.8
    whole = [float(mask.float().mean()) for mask in masks]
    assert sum(whole) / len(whole) < 0.2, "taking everything would not do"


def test_a_region_in_which_nothing_is_seen_is_refused(scene):
    with pytest.raises(ValueError, match="nothing in the region"):
        cropped(scene[0], Region(torch.tensor([0.0, 30.0, 0.0]), torch.full((3,), 0.1)), options=QUICK)


def test_the_region_that_cameras_look_at_is_found():
    region = framed_region(tuple(CAMERAS))
    assert torch.allclose(region.centre, torch.zeros(3), atol=1e-3)
    assert float(region.half[0]) == pytest.approx(0.55, rel=0.01)  # the unit sphere and the house's margin
    shifted = Capture(
        tuple(frame_from_tensors(c, torch.ones(SIZE, SIZE, 4), name=f"{i}") for i, c in enumerate(CAMERAS))
    )
    shifted = shifted.moved(Similarity(translation=torch.tensor([1.0, 2.0, 3.0]), scale=2.0))
    region = framed_region(shifted.cameras)
    assert torch.allclose(region.centre, torch.tensor([1.0, 2.0, 3.0]), atol=1e-2)
    assert float(region.half[0]) == pytest.approx(1.1, rel=0.01)


def test_cameras_that_look_one_way_or_apart_tell_no_region():
    side_by_side = [CAMERAS[0].moved(torch.eye(3), torch.tensor([0.1 * i, 0.0, 0.0])) for i in range(4)]
    with pytest.raises(ValueError, match="same way"):
        framed_region(tuple(side_by_side))
    outward = []
    for camera in CAMERAS:
        c2w = camera.c2w.clone()
        c2w[:3, 0], c2w[:3, 2] = -c2w[:3, 0], -c2w[:3, 2]
        outward.append(replace(camera, c2w=c2w))
    with pytest.raises(ValueError, match="one place"):
        framed_region(tuple(outward))


def test_boxes_have_corners_and_spheres_have_none():
    points = torch.tensor([[0.9, 0.9, 0.9], [0.0, 0.0, 0.99], [1.1, 0.0, 0.0]])
    box, sphere = (Region(torch.zeros(3), torch.ones(3), is_box=kind) for kind in (True, False))
    assert box.contains(points).tolist() == [True, True, False]
    assert sphere.contains(points).tolist() == [False, True, False]
    for region in (box, sphere):
        unit = region.moved(region.to_unit_sphere())
        assert float(unit.half.norm() if unit.is_box else unit.half[0]) == pytest.approx(0.5)
