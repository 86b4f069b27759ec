import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recon.capture.ordering import differences, tour
from tests.recon.capture.turning import shipped_object, turned


def around(places):
    """A closed tour as a set of unordered neighbours."""
    return {frozenset(pair) for pair in zip(places, [*places[1:], places[0]])}


@given(st.permutations(range(11)))
def test_points_on_a_circle_are_visited_in_turn(order):
    angles = 2 * np.pi * np.array(order) / 11
    points = np.stack((np.cos(angles), 0.6 * np.sin(angles)), 1)
    found = tour(np.linalg.norm(points[:, None] - points, axis=2))
    assert around([order[i] for i in found]) == around(list(range(11)))


def test_pictures_of_a_turning_object_are_put_in_order():
    order = np.random.default_rng(3).permutation(16)
    seen = turned(shipped_object("mug"), 2 * np.pi * order / 16, elevation=10)
    found = tour(differences(seen.pictures)[0])
    assert around([int(order[i]) for i in found]) == around(list(range(16)))


def test_a_picture_does_not_differ_from_itself_and_differences_are_symmetric():
    for apart in differences(turned(shipped_object("radio"), [0.0, 0.3, 0.6]).pictures):
        np.testing.assert_allclose(apart, apart.T)
        assert (np.diag(apart) == 0).all()
        assert apart[0, 2] > apart[0, 1] > 0


def test_what_only_moves_sideways_is_nearly_the_same_row_by_row():
    picture = turned(shipped_object("radio"), [0.0]).pictures[0]
    moved, mirrored = picture.roll(6, 1), picture.flip(1)
    _, still, moving = differences([picture, moved, mirrored])
    assert moving[0, 1] / moving[0, 2] < 0.5 * still[0, 1] / still[0, 2]
