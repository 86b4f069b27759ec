"""Cameras of pictures without any are found where they were, and pictures that tell nothing are refused."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recon.capture import Camera, orbit_camera, sfm
from recon.capture.pairs import EXHAUSTIVE, EXHAUSTIVE_UNORDERED, pairs_to_match
from recon.capture.ray_cameras import fit_rotation
from recon.capture.sfm import SfmOptions, Solved, SolveError, solve_cameras
from recon.capture.unposed import UnposedFrame

SIZE = 224
CAMERAS = [
    orbit_camera(math.radians(15 * step), 0.2 + 0.1 * (step % 2), math.radians(45), SIZE, SIZE) for step in range(7)
]


def speckled_ball(camera: Camera, radius: float = 0.45) -> torch.Tensor:
    """(H, W, 4) a ball of solid noise, on nothing."""
    origin, directions = camera.rays()
    a, b = directions.square().sum(-1), (directions * origin).sum(-1)
    inside = b**2 - a * (origin.square().sum() - radius**2)
    points = origin + ((-b - inside.clamp_min(0).sqrt()) / a)[..., None] * directions
    return torch.cat((noise_at(2 * points, 28), (inside > 0).float()[..., None]), dim=-1)


def speckled_room(camera: Camera, side: float = 3.5) -> torch.Tensor:
    """(H, W, 4) the walls of a room about the origin, through the camera's lens."""
    origin, directions = camera.rays()
    if camera.distortion is not None:
        y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
        pixels = np.stack((x, y), axis=-1).reshape(-1, 1, 2)
        straight = cv2.undistortPoints(pixels, camera.intrinsics.double().numpy(), camera.distortion.double().numpy())
        local = torch.from_numpy(straight).float().reshape(camera.height, camera.width, 2)
        directions = torch.nn.functional.pad(local, (0, 1), value=1.0) @ camera.c2w[:3, :3].T
    distance = ((directions.sign() * side / 2 - origin) / directions).amin(dim=-1, keepdim=True)
    colour = noise_at((origin + distance * directions) * 1.9 / side, 44)
    return torch.cat((colour, torch.ones_like(distance)), dim=-1)


def noise_at(places: torch.Tensor, cells: int) -> torch.Tensor:
    """(H, W, 3) colours at places (H, W, 3) in [-1, 1], the same for the same place."""
    noise = torch.rand(1, 3, cells, cells, cells, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.grid_sample(noise, places[None, None], align_corners=False)[0, :, 0].permute(1, 2, 0)


def unposed(name: str, load: Callable[[], torch.Tensor]) -> UnposedFrame:
    return UnposedFrame(name, load, SIZE, SIZE)


PICTURES = [unposed(f"view-{index}", partial(speckled_ball, camera)) for index, camera in enumerate(CAMERAS)]
GREY = unposed("grey", lambda: torch.full((SIZE, SIZE, 4), 0.5).index_fill(2, torch.tensor(3), 1.0))


@pytest.fixture(scope="module")
def solved() -> Solved:
    """The ball's views and, between them, a picture of nothing."""
    return solve_cameras([*PICTURES[:3], GREY, *PICTURES[3:]])


def turns_off(solution: Solved, cameras: list[Camera]) -> float:
    """Largest angle in degrees by which a rotation is off, after the best common one."""
    found = torch.stack([camera.c2w[:3, :3] for camera in solution.capture.cameras])
    true = torch.stack([camera.c2w[:3, :3] for camera in cameras])
    common = fit_rotation(found.mT.reshape(-1, 3), true.mT.reshape(-1, 3))
    off = (common @ found).mT @ true
    return max(math.degrees(math.acos(min(1.0, (float(turn.trace()) - 1) / 2))) for turn in off)


def test_the_pictures_of_the_object_are_registered_and_the_other_is_named(solved: Solved) -> None:
    assert solved.registered == (True, True, True, False, True, True, True, True)
    assert [frame.name for frame in solved.capture] == [picture.name for picture in PICTURES]
    assert solved.share == 7 / 8
    assert "7 of 8 pictures" in solved.describe()
    assert solved.confidence == "fair"


def test_cameras_are_where_they_were(solved: Solved) -> None:
    assert turns_off(solved, CAMERAS) < 1
    places = torch.stack([camera.centre for camera in solved.capture.cameras]).double()
    truth = torch.stack([camera.centre for camera in CAMERAS]).double()
    apart, true_apart = torch.pdist(places), torch.pdist(truth)
    torch.testing.assert_close(apart / apart.mean(), true_apart / true_apart.mean(), atol=0.02, rtol=0)
    focal = float(CAMERAS[0].intrinsics[0, 0])
    assert all(abs(float(camera.intrinsics[0, 0]) / focal - 1) < 0.05 for camera in solved.capture.cameras)


def test_sparse_points_lie_on_the_object_and_in_its_colours(solved: Solved) -> None:
    assert len(solved.points) > 100
    assert solved.reprojection_error < 1
    assert solved.track_length > 2.5
    off = 0.0
    for frame in solved.capture:
        pixels, depth = frame.camera.project(solved.points)
        ahead = (depth > 0) & ((pixels > 1) & (pixels < SIZE - 1)).all(-1)
        column, row = pixels[ahead].long().unbind(-1)
        off = max(off, 1 - float((frame.rgba()[row, column, 3] > 0.5).float().mean()))
    assert off < 0.1  # those on the outline may fall beside it
    assert 0.2 < float(solved.colours.mean()) < 0.8
    assert float(solved.colours.std()) > 0.02


def test_the_same_seed_gives_the_same_bytes(solved: Solved) -> None:
    again = solve_cameras([*PICTURES[:3], GREY, *PICTURES[3:]])
    assert torch.equal(again.points, solved.points)
    assert torch.equal(again.colours, solved.colours)
    for one, other in zip(again.capture.cameras, solved.capture.cameras, strict=True):
        assert torch.equal(one.c2w, other.c2w)
        assert torch.equal(one.intrinsics, other.intrinsics)


def test_nothing_is_printed_and_nothing_is_left_behind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told: list[tuple[str, int, int]] = []
    solve_cameras(PICTURES[:3], progress=lambda *report: told.append(report))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert {what for what, _, _ in told} == {"features", "matching", "solving"}
    assert all(0 <= done <= total for _, done, total in told)
    assert ("features", 3, 3) in told


def test_a_world_that_stands_still_behind_a_turning_object_is_masked_out() -> None:
    noise = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(5))
    room = torch.nn.functional.interpolate(noise, (SIZE, SIZE), mode="bilinear")[0].permute(1, 2, 0)

    def in_the_room(camera: Camera) -> torch.Tensor:
        rgba = speckled_ball(camera)
        return torch.cat((rgba[..., :3] * rgba[..., 3:] + room * (1 - rgba[..., 3:]), rgba[..., 3:]), dim=-1)

    solution = solve_cameras([unposed(f"{index}", partial(in_the_room, c)) for index, c in enumerate(CAMERAS)])
    assert solution.share == 1
    assert turns_off(solution, CAMERAS) < 1


def test_a_known_focal_length_and_lenses_of_their_own_are_accepted() -> None:
    focal = float(CAMERAS[0].intrinsics[0, 0])
    pictures = [replace(picture, focal=focal) for picture in PICTURES[:4]]
    solution = solve_cameras(pictures, SfmOptions(shared_camera=False, camera_model="SIMPLE_PINHOLE"))
    assert solution.share == 1
    assert turns_off(solution, CAMERAS[:4]) < 1
    assert len({float(camera.intrinsics[0, 0]) for camera in solution.capture.cameras}) == 4


def test_a_lens_is_found_where_there_is_one_and_undone(solved: Solved) -> None:
    assert all(frame.load_weight is None for frame in solved.capture)
    straight = [orbit_camera(math.radians(12 * step), 0.2, math.radians(60), SIZE, SIZE) for step in range(5)]
    barrel = [replace(camera, distortion=torch.tensor([-0.15, 0.0, 0.0, 0.0])) for camera in straight]
    solution = solve_cameras([unposed(f"{index}", partial(speckled_room, lens)) for index, lens in enumerate(barrel)])
    assert solution.share == 1
    assert turns_off(solution, straight) < 1
    middle = slice(SIZE // 5, -SIZE // 5)
    found, true = solution.capture[2], speckled_room(straight[2])[middle, middle, :3]
    assert abs(float(found.camera.intrinsics[0, 0] / straight[2].intrinsics[0, 0]) - 1) < 0.02
    off = (found.rgba()[middle, middle, :3] - true).abs().mean()
    assert off < 0.5 * (speckled_room(barrel[2])[middle, middle, :3] - true).abs().mean()


def test_large_pictures_are_solved_scaled_and_come_back_whole() -> None:
    solution = solve_cameras(PICTURES[:4], SfmOptions(max_image_size=SIZE - 32))
    assert solution.share == 1
    camera = solution.capture[0].camera
    assert (camera.width, camera.height) == (SIZE, SIZE)
    assert abs(float(camera.intrinsics[0, 2]) - SIZE / 2) < 1e-3
    assert solution.capture[0].rgba().shape == (SIZE, SIZE, 4)


@pytest.mark.parametrize(
    ("pictures", "found"),
    [
        ([], "0 pictures"),
        (PICTURES[:1], "1 pictures"),
        ([GREY] * 1001, "1001 pictures"),
        ([replace(GREY, name=str(index)) for index in range(3)], "no two of 3 pictures"),
        ([PICTURES[0], GREY], "no two of 2 pictures"),
    ],
)
def test_pictures_that_tell_nothing_are_refused(pictures: list[UnposedFrame], found: str) -> None:
    with pytest.raises(SolveError, match=found) as caught:
        solve_cameras(pictures, source="shelf")
    assert str(caught.value).startswith("shelf: found")
    assert caught.value.remedy


def test_without_pycolmap_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(SolveError, match=r"pip install 'turnabout\[colmap\]'"):
        solve_cameras(PICTURES)


def test_pictures_too_small_or_empty_are_left_out() -> None:
    odd = [unposed("dot", lambda: torch.ones(1, 1, 4)), unposed("nothing", lambda: torch.zeros(SIZE, SIZE, 4))]
    assert solve_cameras([*odd, *PICTURES[:3]]).registered == (False, False, True, True, True)


def test_every_pair_is_compared_unless_many_pictures_follow_each_other() -> None:
    assert len(pairs_to_match(EXHAUSTIVE, ordered=True)) == EXHAUSTIVE * (EXHAUSTIVE - 1) // 2
    assert len(pairs_to_match(100, ordered=False)) == 4950
    pairs = pairs_to_match(200, ordered=True)
    assert len(pairs) < 200 * 199 / 4
    assert all(0 <= i < j < 200 for i, j in pairs)
    assert pairs == sorted(set(pairs))
    assert {(0, 1), (50, 60), (0, 199)} <= set(pairs)


def test_what_pictures_look_like_chooses_their_pairs(monkeypatch) -> None:
    asked = []

    def choose(count, *, ordered, likeness):
        asked.append(likeness)
        return pairs_to_match(count, ordered=ordered)

    monkeypatch.setattr(sfm, "pairs_to_match", choose)
    dark = replace(PICTURES[0], name="dark", load_rgba=lambda: PICTURES[0].rgba() * torch.tensor([0.5, 0.5, 0.5, 1.0]))
    solve_cameras([*PICTURES[:3], dark])
    (likeness,) = asked
    assert likeness.shape == (4, 192)
    apart = np.linalg.norm(likeness - likeness[3], axis=1)
    assert apart[0] < 0.2 * apart[1:3].min()  # the same picture in less light


def test_many_pictures_in_no_order_are_compared_with_those_that_look_alike() -> None:
    count = 3 * EXHAUSTIVE_UNORDERED
    place = np.random.default_rng(0).permutation(count)  # on a line; names tell nothing
    pairs = set(pairs_to_match(count, ordered=False, likeness=place[:, None].astype(float)))
    at = np.argsort(place)
    assert all((min(a, b), max(a, b)) in pairs for a, b in pairwise(at))
    assert len(pairs) < count * (count - 1) / 4


def test_pictures_that_tell_of_several_focal_lengths_are_not_given_one() -> None:
    wide, long = (
        [orbit_camera(math.radians(15 * step), 0.2, math.radians(fov), SIZE, SIZE) for step in range(7)]
        for fov in (45, 30)
    )
    mixed = [pair[step % 2] for step, pair in enumerate(zip(wide, long, strict=True))]
    pictures = [
        replace(unposed(f"view-{i}", partial(speckled_ball, camera)), focal=float(camera.intrinsics[0, 0]))
        for i, camera in enumerate(mixed)
    ]
    found = solve_cameras(pictures)
    assert all(found.registered)
    for frame, camera in zip(found.capture, mixed, strict=True):
        assert float(frame.camera.intrinsics[0, 0]) == pytest.approx(float(camera.intrinsics[0, 0]), rel=0.03)


def test_signals_end_the_program_as_before_once_colmap_is_there() -> None:
    code = (
        "import signal; from recon.capture._pycolmap import import_pycolmap; from recon.capture.errors import *; "
        "import_pycolmap(CaptureError, 'x'); import os; os.kill(os.getpid(), signal.SIGTERM)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stderr == ""
