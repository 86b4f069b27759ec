import math

import pytest
import torch

from recon.capture import frame_from_tensors, orbit_camera
from recon.metrics.topology import component_count
from recon.surface.close import is_watertight
from recon.surface.manifold import twin_edges
from recon.surface.mesh import face_normals
from recon.surface.seen import seen_by, seen_faces, seen_part
from tests.recon.surface.test_decimate import torus


def camera(azimuth=0.0, elevation=0.2):
    return orbit_camera(azimuth, elevation, 0.6, 128, 128)


def test_what_is_seen_faces_the_camera_and_nothing_stands_before_it():
    mesh = torus()
    middles = mesh.vertices[mesh.faces].mean(1)
    seen = seen_faces(mesh, [camera(elevation=0.0)], 0.01)
    # From the level, the near outside of the ring is seen; its hole and what lies behind are not.
    near = (middles[:, 2] > 0.3) & (middles[:, 1].abs() < 0.05) & (middles[:, [0, 2]].norm(dim=1) > 0.36)
    far = middles[:, 2] < -0.1
    assert seen[near & (middles[:, 0].abs() < 0.1)].double().mean() > 0.95
    assert not seen[far & (middles[:, 1].abs() < 0.05)].any()


def test_the_seen_part_is_open_in_one_piece_and_on_the_surface():
    mesh = torus()
    part = seen_part(mesh, [camera(a) for a in (-0.6, 0.0, 0.6)], 0.01)
    assert not is_watertight(part)
    assert component_count(part) == 1
    assert 0.2 * len(mesh.faces) < len(part.faces) < 0.8 * len(mesh.faces)
    assert (twin_edges(part.faces.numpy()) < 0).any()
    known = {tuple(v) for v in mesh.vertices.tolist()}
    assert all(tuple(v) in known for v in part.vertices.tolist())


def test_seen_from_all_sides_nothing_is_missing():
    mesh = torus()
    around = [camera(i * math.pi / 4, e) for i in range(8) for e in (-1.2, -0.3, 0.6, 1.3)]
    part = seen_part(mesh, around, 0.02)
    assert len(part.faces) > 0.995 * len(mesh.faces)


def test_a_surface_that_no_camera_sees_is_refused():
    mesh = torus()
    away = camera()
    moved = away.moved(torch.eye(3), torch.tensor([10.0, 0, 0]))
    with pytest.raises(ValueError, match="same world"):
        seen_part(mesh, [moved], 0.01)


def test_how_well_a_face_is_seen_is_its_slant_times_the_pixel_s_trust():
    mesh = torus()
    view = camera(elevation=0.0)
    whole = frame_from_tensors(view, torch.ones(128, 128, 4), name="a")
    half = frame_from_tensors(view, torch.ones(128, 128, 4), name="b", weight=torch.full((128, 128), 0.5))
    seen = seen_by(mesh, [whole], 0.01)
    torch.testing.assert_close(seen_by(mesh, [half], 0.01), seen / 2)
    torch.testing.assert_close(seen_by(mesh, [half, whole, half], 0.01), seen)  # the best counts
    assert (seen_by(mesh, [], 0.01) == 0).all()
    middles = mesh.vertices[mesh.faces].mean(1)
    normals = torch.nn.functional.normalize(face_normals(mesh.vertices, mesh.faces), dim=-1)
    towards = normals @ torch.nn.functional.normalize(view.centre, dim=0)
    assert seen[(towards > 0.9) & (middles[:, 2] > 0.3)].min() > 0.7
    assert (seen[towards < -0.3] == 0).all()
    assert (seen[(middles[:, 2] < -0.3) & (middles[:, 1].abs() < 0.03)] == 0).all()  # behind the near side
