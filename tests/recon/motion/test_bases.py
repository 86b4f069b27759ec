"""How many rigid motions explain tracks, and which."""

from __future__ import annotations

import torch

from recon.motion.bases import BasisOptions, find_bases
from recon.motion.trajectories import blended_points
from tests.recon.motion.scenes import arm, bend_at, hinged

TIMES = torch.linspace(0, 1, 9)


def points(count=600):
    generator = torch.Generator().manual_seed(0)
    mesh = arm(bend_at(0.5))
    chosen = mesh.vertices[mesh.faces[torch.randint(0, len(mesh.faces), (count,), generator=generator)]]
    share = torch.rand(count, 3, generator=generator).log().neg()
    return (share[..., None] / share.sum(1)[:, None, None] * chosen).sum(1)


def found(tracks, reference=4, **options):
    return find_bases(tracks, reference, torch.ones(tracks.shape[1]), TIMES, BasisOptions(**options))


def test_a_hinge_is_two_motions():
    tracks = hinged(points(), TIMES)
    bases = found(tracks, tolerance=0.002)
    assert bases.motion.bases == 2
    assert bases.residual < 0.002
    assert bases.alone > 10 * bases.residual


def test_what_is_rigid_is_one_motion():
    start = points()
    turns = [torch.linalg.matrix_exp(torch.tensor([[0, -t, 0], [t, 0, 0], [0, 0, 0.0]])) for t in TIMES]
    tracks = torch.stack([start @ turn.T + torch.tensor([t, 0, 0]) for turn, t in zip(turns, TIMES)])
    bases = found(tracks, reference=0)
    assert bases.motion.bases == 1
    assert bases.residual < 1e-4


def test_noise_is_no_reason_for_more_bases():
    generator = torch.Generator().manual_seed(1)
    tracks = hinged(points(), TIMES)
    tracks = tracks + 0.002 * torch.randn(tracks.shape, generator=generator)
    assert found(tracks, tolerance=0.0005).motion.bases <= 4


def test_the_number_of_bases_stays_below_its_limit():
    start = points()
    bent = torch.stack(
        [start + torch.stack((t * start[:, 1] ** 2, 0 * start[:, 1], 0 * start[:, 1]), 1) for t in TIMES]
    )
    assert found(bent, reference=0, tolerance=1e-6, gain=0.0, most=3).motion.bases == 3
    more = found(bent, reference=0, tolerance=1e-6, gain=0.0, most=8)
    assert 3 < more.motion.bases <= 8
    assert more.residual < found(bent, reference=0, most=1).residual / 4


def test_blended_points_follow_their_tracks_and_rest_at_the_reference():
    tracks = hinged(points(), TIMES)
    bases = found(tracks)
    for place, time in enumerate(TIMES.tolist()):
        moved = blended_points(tracks[4], bases.bases, bases.weights, bases.motion.matrices(time))
        limit = 1e-6 if place == 4 else 0.02
        assert float((moved - tracks[place]).norm(dim=1).quantile(0.95)) <= limit
    assert bases.motion.rest_time() == 0.5
    torch.testing.assert_close(bases.weights.sum(1), torch.ones(len(bases.weights)))
