import torch
from hypothesis import given
from hypothesis import strategies as st

from recon.surface.manifold import keep_faces, split_to_manifold, twin_edges
from recon.surface.mesh import Mesh
from tests.recon.metrics.shapes import box


def soup(faces: list[list[int]], count: int) -> Mesh:
    generator = torch.Generator().manual_seed(0)
    return Mesh(torch.rand(count, 3, generator=generator), torch.tensor(faces))


def is_manifold(mesh: Mesh) -> bool:
    """Every edge has one face, or two that agree; and around every vertex there is one fan."""
    faces = mesh.faces.numpy()
    directed = {}
    for f, face in enumerate(faces.tolist()):
        for k in range(3):
            edge = (face[k], face[(k + 1) % 3])
            if edge in directed:
                return False
            directed[edge] = f
    for vertex in range(len(mesh.vertices)):
        around = [f for f, face in enumerate(faces.tolist()) if vertex in face]
        reached, waiting = set(around[:1]), around[:1]
        while waiting:
            face = faces[waiting.pop()].tolist()
            for k in range(3):
                if vertex in (face[k], face[(k + 1) % 3]):
                    other = directed.get((face[(k + 1) % 3], face[k]))
                    if other is not None and other not in reached:
                        reached.add(other)
                        waiting.append(other)
        if reached != set(around):
            return False
    return True


def test_twins_of_a_closed_box_are_each_others():
    faces = box().faces.numpy()
    twins = twin_edges(faces).ravel()
    assert (twins >= 0).all()
    assert (twins[twins] == torch.arange(len(twins)).numpy()).all()


def test_an_edge_of_three_faces_has_no_twin_and_is_parted():
    fan = soup([[0, 1, 2], [1, 0, 3], [0, 1, 4]], 5)
    assert twin_edges(fan.faces.numpy())[0, 0] == -1
    parted = split_to_manifold(fan)
    assert is_manifold(parted)
    assert len(parted.faces) == 3
    assert len(parted.vertices) == 9


def test_surfaces_that_touch_in_a_point_part():
    bow_tie = soup([[0, 1, 2], [0, 3, 4]], 5)
    assert len(split_to_manifold(bow_tie).vertices) == 6


def test_a_closed_box_with_doubled_vertices_is_welded_and_stays_closed():
    cube = box()
    doubled = Mesh(cube.vertices[cube.faces.reshape(-1)], torch.arange(36).reshape(-1, 3))
    welded = split_to_manifold(doubled)
    assert len(welded.vertices) == 8
    assert (twin_edges(welded.faces.numpy()) >= 0).all()


def test_faces_without_area_and_copies_go():
    mesh = soup([[0, 1, 2], [2, 0, 1], [0, 0, 1]], 3)
    assert len(split_to_manifold(mesh).faces) == 1


@given(st.lists(st.lists(st.integers(0, 7), min_size=3, max_size=3, unique=True), min_size=1, max_size=25))
def test_any_soup_becomes_a_manifold_of_the_same_triangles(faces):
    mesh = soup(faces, 8)
    parted = split_to_manifold(mesh)
    assert is_manifold(parted)
    before = {tuple(sorted(map(tuple, mesh.vertices[face].tolist()))) for face in mesh.faces}
    after = {tuple(sorted(map(tuple, parted.vertices[face].tolist()))) for face in parted.faces}
    assert before == after


def test_kept_faces_bring_what_belongs_to_their_vertices():
    cube = box()
    colored = Mesh(cube.vertices, cube.faces, colors=cube.vertices + 0.5, face_material=torch.zeros(12).long())
    half = keep_faces(colored, torch.arange(12) < 2)
    assert len(half.faces) == len(half.face_material) == 2
    assert torch.equal(half.colors, half.vertices + 0.5)
