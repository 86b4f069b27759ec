"""Surfaces that pictures agree on: hollows are found, solids stay, and frames that cannot tell are not asked."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture import Capture, Frame, Source, frame_from_tensors
from recon.capture.orbit import orbit_camera
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.splat import volume
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.initialise import initial_volume
from recon.splat.volume import SignedVolume
from recon.surface import stereo
from recon.surface._stereo_kernels import compare_colors
from recon.surface.baselines import hull_mesh
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh
from recon.surface.stereo import StereoOptions, comparable, move_to_agreement, stereo_volume

QUICK = StereoOptions(resolution=40, reaches=(0.16, 0.08))


def colored(solid: trimesh.Trimesh) -> Mesh:
    """A mesh with a pattern that is fixed to its surface."""
    vertices = torch.from_numpy(np.asarray(solid.vertices, np.float32))
    waves = torch.tensor([[23.0, 31.0, 17.0], [13.0, -29.0, 37.0], [-41.0, 19.0, 11.0]])
    colors = 0.5 + 0.2 * torch.sin(vertices @ waves.T)
    return Mesh(vertices, torch.from_numpy(np.asarray(solid.faces, np.int64)), colors=colors)


def bowl() -> Mesh:
    """Turned from a profile: a wall, and a hollow a tenth of the object deep."""
    profile = [(0, -0.15), (0.35, -0.15), (0.4, 0.12), (0.33, 0.12), (0.3, 0.03), (0, 0.03)]
    corners = np.array(profile)
    fine = np.concatenate([np.linspace(a, b, 24, endpoint=False) for a, b in itertools.pairwise(corners)])
    turned = trimesh.creation.revolve(np.concatenate((fine, corners[-1:])), sections=128)
    turned.apply_transform(trimesh.transformations.rotation_matrix(-math.pi / 2, (1, 0, 0)))
    return colored(turned)


def frames_of(mesh: Mesh, size: tuple[int, int] = (96, 96), views: int = 16) -> list[Frame]:
    """Level and from above, in turns."""
    frames = []
    for index in range(views):
        elevation = math.radians((10, 40)[index % 2])
        camera = orbit_camera(2 * math.pi * index / views, elevation, math.radians(40), size[0], size[1])
        rgba = render_mesh(mesh, camera).rgba
        frames.append(frame_from_tensors(camera, rgba, name=f"{index:02d}"))
    return frames


def test_a_hollow_that_silhouettes_cannot_tell_is_found():
    truth = bowl()
    frames = frames_of(truth)
    hull = hull_mesh([f.camera for f in frames], [f.rgba()[..., 3] for f in frames], 40)
    moved = move_to_agreement(hull, frames, QUICK)
    assert torch.equal(moved.faces, hull.faces)
    shape = TrueShape.of(truth, seed=0)
    before, after = (compare_meshes(mesh, shape, seed=0).chamfer for mesh in (hull, moved))
    assert after < 0.6 * before


def test_the_volume_is_empty_in_the_hollow_and_solid_in_the_wall():
    frames = frames_of(bowl())
    solid = stereo_volume(frames, 48, QUICK)
    hull = stereo.visual_hull([f.camera for f in frames], [f.rgba()[..., 3] for f in frames], 48)
    assert solid is not None

    def at(grid, *point: float) -> float:
        index = ((torch.tensor(point) - grid.origin) / grid.spacing).round().long()
        return float(grid.values[tuple(index)])

    for x, z in ((0, 0), (0.15, 0), (0, -0.15)):
        assert at(hull, x, 0.08, z) < 0 < at(solid, x, 0.08, z)
    assert at(solid, 0.35, 0.0, 0.0) < 0
    assert at(solid, 0.0, -0.05, 0.0) < 0


def test_a_ball_stays_what_it_is():
    truth = colored(trimesh.creation.icosphere(5, 0.45))
    frames = frames_of(truth)
    hull = hull_mesh([f.camera for f in frames], [f.rgba()[..., 3] for f in frames], 40)
    moved = move_to_agreement(hull, frames, QUICK)
    shape = TrueShape.of(truth, seed=0)
    before, after = (compare_meshes(mesh, shape, seed=0).chamfer for mesh in (hull, moved))
    assert after < 1.1 * before


def test_what_shows_one_colour_everywhere_stays_near_its_hull():
    gray = trimesh.creation.icosphere(4, 0.45)
    truth = Mesh(torch.from_numpy(np.asarray(gray.vertices, np.float32)), torch.from_numpy(np.asarray(gray.faces)))
    frames = frames_of(truth)
    hull = hull_mesh([f.camera for f in frames], [f.rgba()[..., 3] for f in frames], 40)
    moved = move_to_agreement(hull, frames, QUICK)
    assert (moved.vertices - hull.vertices).norm(dim=1).mean() < 0.01


def test_pictures_of_several_sizes_are_compared():
    truth = bowl()
    frames = frames_of(truth, (96, 64), 8) + [
        frame_from_tensors(f.camera, f.rgba(), name=f"tall {f.name}") for f in frames_of(truth, (64, 96), 8)
    ]
    solid = stereo_volume(frames, 48, QUICK)
    assert solid is not None
    centre = ((torch.tensor([0, 0.08, 0]) - solid.origin) / solid.spacing).round().long()
    assert float(solid.values[tuple(centre)]) > 0


def test_frames_that_cannot_tell_are_not_asked():
    frames = frames_of(bowl(), (48, 48), 8)
    assert comparable(frames)
    camera, rgba = frames[0].camera, frames[0].rgba()
    generated = frame_from_tensors(camera, rgba, source=Source.GENERATED, name="generated")
    with_depth = frame_from_tensors(camera, rgba, depth=torch.ones(48, 48), name="with depth")
    for unfit in (frames[:7], [*frames, generated], [*frames, with_depth]):
        assert not comparable(unfit)
        assert stereo_volume(unfit, 48, QUICK) is None


def test_silhouettes_that_do_not_meet_give_nothing():
    frames = frames_of(bowl(), (48, 48), 8)
    empty = [frame_from_tensors(f.camera, torch.zeros(48, 48, 4), name=f.name) for f in frames]
    assert stereo_volume(empty, 48, QUICK) is None


def test_parts_too_thin_for_the_coarse_surface_stay():
    ball = trimesh.creation.icosphere(4, 0.25)
    rod = trimesh.creation.cylinder(
        0.01, 0.8, transform=trimesh.transformations.rotation_matrix(math.pi / 2, (1, 0, 0))
    )
    rod.apply_translation((0, 0, 0.35))
    frames = frames_of(colored(trimesh.util.concatenate((ball, rod.subdivide().subdivide()))), (192, 192), 12)
    found, hull = stereo_volume(frames, 96), initial_volume(frames, 96)
    assert found is not None
    axis = torch.linspace(-0.35, 0.35, 60)
    index = ((torch.stack((0 * axis, axis, 0 * axis + 0.35), dim=1) - hull.origin) / hull.spacing).round().long()
    solid = (hull.values[tuple(index.T)] < 0).float().mean()
    assert solid > 0.3
    assert (found.values[tuple(index.T)] < 0).float().mean() >= 0.95 * solid


def test_of_many_frames_an_even_choice_is_compared(monkeypatch):
    frames = frames_of(bowl(), (32, 32), 18)
    hull = hull_mesh([f.camera for f in frames], [f.rgba()[..., 3] for f in frames], 32)
    compared: list[Frame] = []
    views = stereo._views

    def noted(chosen, size):
        compared.extend(chosen)
        return views(chosen, size)

    monkeypatch.setattr(stereo, "_views", noted)
    monkeypatch.setattr(stereo, "_MOST", 10)
    move_to_agreement(hull, frames, StereoOptions(reaches=(0.05,)))
    high = sum(f.camera.centre[1] > f.camera.centre.norm() * 0.5 for f in compared)
    assert len(compared) == 10
    assert 3 <= high <= 7


def test_a_fit_begins_on_the_given_solid():
    frames = frames_of(bowl(), (48, 48), 8)
    ball = SignedVolume(
        (torch.stack(torch.meshgrid(*3 * [torch.linspace(-0.5, 0.5, 40)], indexing="ij")).norm(dim=0) - 0.2),
        torch.full((3,), -0.5),
        1 / 39,
    )
    seen: list[torch.Tensor] = []
    options = FitOptions(iterations=2, initial_gaussians=500, max_gaussians=500, grid=40, steps_at_once=1)
    fit_gaussians(Capture(tuple(frames)), options, solid=ball, watch=lambda _, scene: seen.append(scene.means.clone()))
    assert (seen[0].norm(dim=1) - 0.2).abs().max() < 0.05
    with pytest.raises(ValueError, match="no surface"):
        fit_gaussians(Capture(tuple(frames)), options, solid=ball.with_values(ball.values.abs() + 1))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"steps": 3}, {"resolution": 8}, {"stiffness": -1.0}, {"reaches": (0.0,)}]
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="stereo needs"):
        StereoOptions(**wrong)


def test_a_surface_without_faces_is_refused():
    nothing = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="without faces"):
        move_to_agreement(nothing, frames_of(bowl(), (32, 32), 8))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_result_does_not_depend_on_the_number_of_threads(monkeypatch, workers):
    frames = frames_of(bowl(), (48, 48), 8)
    expected = stereo_volume(frames, 40, QUICK)
    monkeypatch.setattr(volume.os, "cpu_count", lambda: workers)
    found = stereo_volume(frames, 40, QUICK)
    assert expected is not None
    assert found is not None
    assert torch.equal(found.values, expected.values)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05]))
def test_the_kernel_finds_the_spread_of_what_the_views_show(seed, tau):
    rng = np.random.default_rng(seed)
    frames = frames_of(bowl(), (32, 24), 5)
    views = stereo._views(frames, 256)
    points = rng.uniform(-0.3, 0.3, (20, 3)).astype(np.float32)
    normals = rng.normal(size=(20, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shifts = np.array([-0.05, 0.0, 0.03], np.float32)
    depths = np.full(views.pictures.shape[:3], 10, np.float32)  # nothing is hidden
    found = [np.empty((20, 3), np.float32) for _ in range(3)]
    limits = np.array([0.01, 0.12, tau], np.float32)
    asked = (points, normals, shifts, views.pictures, depths, views.sizes, views.poses, views.pinholes, limits)
    compare_colors(0, 20, *asked, *found)
    for v in range(20):
        for k, shift in enumerate(shifts):
            variance, seen, unseen = plain(frames, points[v], normals[v], float(shift), tau)
            assert found[1][v, k] == pytest.approx(seen, rel=1e-3, abs=1e-4)
            assert found[2][v, k] == pytest.approx(unseen, rel=1e-3, abs=1e-4)
            assert found[0][v, k] == pytest.approx(variance, rel=1e-2, abs=1e-5)


def plain(frames: list[Frame], point: np.ndarray, normal: np.ndarray, shift: float, tau: float):
    """The same by way of `Camera.project` and `grid_sample`."""
    colors, trust, unseen = [], [], 0.0
    place = torch.from_numpy(point + shift * normal)
    for frame in frames:
        camera = frame.camera
        toward = camera.centre - torch.from_numpy(point)
        cosine = float(toward @ torch.from_numpy(normal) / toward.norm())
        pixel, _ = camera.project(place[None])
        size = torch.tensor([camera.width, camera.height])
        inside = bool(((pixel[0] >= 0.5) & (pixel[0] < size - 0.5)).all())
        if cosine <= 0.12 or not inside:
            continue
        picture = frame.premultiplied()
        grid = (pixel / size * 2 - 1)[None, None]
        shown = torch.nn.functional.grid_sample(picture.permute(2, 0, 1)[None], grid, align_corners=False)[0, :, 0, 0]
        if shown[3] < 0.2:
            unseen += cosine
        elif shown[3] >= 0.8:
            colors.append(shown[:3] / shown[3])
            trust.append(cosine)
    if not colors:
        return 0.0, 0.0, unseen
    stacked, weights = torch.stack(colors), torch.tensor(trust)

    def mean(by: torch.Tensor) -> torch.Tensor:
        return (by[:, None] * stacked).sum(0) / by.sum()

    def squared(middle: torch.Tensor) -> torch.Tensor:
        return (stacked - middle).square().sum(1)

    middle, slack = mean(weights), 0.0 if tau == 0 else 1 / tau**2
    if tau > 0:
        middle = mean(weights / (1 + squared(middle) * slack) ** 2)
    distances = squared(middle)
    return float((weights * distances / (1 + distances * slack)).sum() / weights.sum()), sum(trust), unseen
