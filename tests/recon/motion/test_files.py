"""Moving Gaussians in other programs' files."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import torch

from recon.capture import CaptureError
from recon.motion.files import read_4dgs, write_4dgs, write_ply_sequence
from recon.motion.moving import MovingGaussians
from recon.motion.trajectories import Trajectories
from recon.splat.files import SplatsError
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.ply import read_ply

pytest.importorskip("fourdgs")


def waving(count: int = 40, *, degree: int = 0) -> MovingGaussians:
    """Two bases over one second, from second 2 on; one stands still."""
    generator = torch.Generator().manual_seed(0)
    points, colors = (torch.rand(count, 3, generator=generator) for _ in range(2))
    canonical = from_points(points, colors, 0.05, opacity=0.6, sh_degree=degree)
    canonical = dataclasses.replace(canonical, quats=torch.randn(count, 4, generator=generator))
    angles = torch.linspace(0, 1.2, 11)
    quats = torch.zeros(11, 2, 4)
    quats[:, 0, 0] = 1
    quats[:, 1, 0], quats[:, 1, 3] = (angles / 2).cos(), (angles / 2).sin()
    shifts = torch.zeros(11, 2, 3)
    shifts[:, 1, 1] = 0.2 * angles
    motion = Trajectories(torch.linspace(2, 3, 11), torch.zeros(2, 3), quats, shifts)
    share = points[:, :1]
    weights = torch.cat((1 - share, share), dim=1)
    return MovingGaussians(
        canonical, motion, torch.tensor([[0, 1]]).expand(count, 2), weights, 0.1 * torch.ones(count, 1, 3)
    )


def same_turns(first: Gaussians, second: Gaussians) -> torch.Tensor:
    a, b = (torch.nn.functional.normalize(scene.quats, dim=1) for scene in (first, second))
    return (a * b).sum(1).abs()


def test_every_time_is_an_exact_ply(tmp_path):
    moving = waving(degree=2)
    times = [2.0, 2.33, 3.0]
    assert write_ply_sequence(moving, tmp_path / "plys", times) == 3
    assert sorted(path.name for path in (tmp_path / "plys").iterdir()) == ["0000.ply", "0001.ply", "0002.ply"]
    for index, time in enumerate(times):
        expected = moving.at(time)
        for found, wanted in zip(read_ply(tmp_path / "plys" / f"{index:04d}.ply").tensors(), expected.tensors()):
            torch.testing.assert_close(found, wanted)


def test_a_folder_that_holds_something_stays_as_it_is(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(CaptureError, match="existing content"):
        write_ply_sequence(waving(), tmp_path, [2.0])
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_container_comes_back_within_its_steps(tmp_path):
    moving = waving()
    size = write_4dgs(moving, tmp_path / "a.4dgs", fps=20)
    assert size == (tmp_path / "a.4dgs").stat().st_size
    found = read_4dgs(tmp_path / "a.4dgs")
    assert [time for time, _ in found] == pytest.approx([i / 20 for i in range(21)])
    for time, scene in found:
        expected = moving.at(2 + time)
        torch.testing.assert_close(scene.means, expected.means, atol=0.003, rtol=0)
        torch.testing.assert_close(scene.scales, expected.scales, atol=0, rtol=0.006)
        torch.testing.assert_close(scene.opacities, expected.opacities, atol=0.6 / 255, rtol=0)
        torch.testing.assert_close(scene.base_colors, expected.base_colors, atol=0.6 / 255, rtol=0)
        torch.testing.assert_close(same_turns(scene, expected), torch.ones(len(scene)), atol=1e-5, rtol=0)


def test_fourdgs_itself_finds_no_fault_and_moves_what_is_between_two_times(tmp_path):
    from fourdgs.keyframe_delta_file import decode_streamed, render_at
    from fourdgs.validate import validate

    moving = waving()
    write_4dgs(moving, tmp_path / "a.4dgs", fps=20)
    data = (tmp_path / "a.4dgs").read_bytes()
    report = validate(data)
    assert report.ok
    assert [str(finding) for finding in report.findings if finding.severity != "note"] == []
    state = render_at(decode_streamed(data), 0.375)
    torch.testing.assert_close(torch.from_numpy(state["centers"]).float(), moving.at(2.375).means, atol=0.004, rtol=0)
    assert float(abs(torch.from_numpy(state["opacity"]) - 0.6).max()) < 0.6 / 255


def test_only_the_constant_of_the_harmonics_travels_in_a_container(tmp_path):
    moving = waving(degree=2)
    write_4dgs(moving, tmp_path / "a.4dgs")
    assert read_4dgs(tmp_path / "a.4dgs")[0][1].sh_degree == 0


def test_a_still_scene_is_a_container_with_one_time(tmp_path):
    moving = waving()
    motion = Trajectories(torch.zeros(1), torch.zeros(2, 3), moving.motion.quats[:1], moving.motion.shifts[:1])
    write_4dgs(dataclasses.replace(moving, motion=motion), tmp_path / "a.4dgs")
    assert len(read_4dgs(tmp_path / "a.4dgs")) == 1


def test_without_fourdgs_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fourdgs", None)
    for act in (lambda: write_4dgs(waving(), tmp_path / "a.4dgs"), lambda: read_4dgs(tmp_path / "a.4dgs")):
        with pytest.raises(SplatsError, match=r"turnabout\[formats\]"):
            act()


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path, moving = tmp_path / "a.4dgs", waving()
    write_4dgs(moving, path)
    before = path.read_bytes()
    lost = dataclasses.replace(moving.canonical, means=moving.canonical.means * torch.nan)
    with pytest.raises(SplatsError, match="NaN"):
        write_4dgs(dataclasses.replace(moving, canonical=lost), path)
    nothing = MovingGaussians(
        moving.canonical.select(torch.zeros(0, dtype=torch.int64)),
        moving.motion,
        moving.bases[:0],
        moving.weights[:0],
        moving.waves[:0],
    )
    with pytest.raises(SplatsError, match="no Gaussians"):
        write_4dgs(nothing, path)
    with pytest.raises(ValueError, match="positive"):
        write_4dgs(moving, path, fps=0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_containers_are_refused_and_nothing_else_happens(tmp_path):
    path = tmp_path / "a.4dgs"
    write_4dgs(waving(), path, fps=5)
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(4):
            place, value = (int(torch.randint(0, end, (1,), generator=generator)) for end in (len(whole), 256))
            damaged[place] = value
        path.write_bytes(damaged)
        try:
            read_4dgs(path)
        except SplatsError:
            refused += 1
    assert refused > 30
    for data in (b"", b"ply\n", whole[:100]):
        path.write_bytes(data)
        with pytest.raises(SplatsError):
            read_4dgs(path)
