"""Every splat format: what comes back, what other libraries read, what is refused, and what a failed write leaves."""

from __future__ import annotations

import dataclasses
import os
import sys

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from recon._open3d import import_open3d
from recon.capture import CaptureError
from recon.splat.files import SplatsError
from recon.splat.formats import read_splats, write_splats
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.zorder import morton_order

gsply = pytest.importorskip("gsply")

NAMES = ["a.ply", "a.compressed.ply", "a.splat", "a.spz"]
LOSSY = NAMES[1:]


def plausible_scene(count: int = 7, degree: int = 3, seed: int = 0, extent: float = 1.0) -> Gaussians:
    """Values such as fits have, at the edge of what the formats can hold or inside."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(*shape, generator=random) - 1

    return Gaussians(
        extent * uniform(count, 3),
        uniform(count, 4),
        -2.5 + 7 * uniform(count, 3),
        8 * uniform(count),
        torch.cat((1.7 * uniform(count, 1, 3), 0.99 * uniform(count, (degree + 1) ** 2 - 1, 3)), dim=1),
    )


def turned_by(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(N,) how far unit quaternions are apart, as the distance of the nearer of b and -b."""
    a, b = (torch.nn.functional.normalize(quats, dim=1) for quats in (a, b))
    return torch.minimum((a - b).norm(dim=1), (a + b).norm(dim=1))


scenes = st.builds(
    plausible_scene,
    count=st.integers(1, 600),
    degree=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    extent=st.sampled_from([1e-3, 0.5, 1.0, 60.0]),
)


@settings(max_examples=20, deadline=None)
@given(scene=scenes)
def test_a_ply_comes_back_bit_for_bit(tmp_path_factory, scene):
    path = tmp_path_factory.getbasetemp() / "a.ply"
    write_splats(scene, path)
    assert all(torch.equal(a, b) for a, b in zip(scene.tensors(), read_splats(path).tensors()))


@settings(max_examples=20, deadline=None)
@given(scene=scenes)
def test_a_splat_comes_back_within_what_its_docstring_states(tmp_path_factory, scene):
    path = tmp_path_factory.getbasetemp() / "a.splat"
    write_splats(scene, path)
    back = read_splats(path)
    assert back.sh_degree == 0
    assert torch.equal(back.means, scene.means)
    assert torch.allclose(back.log_scales, scene.log_scales, atol=2e-6)
    assert (back.opacities - scene.opacities).abs().max() < 1 / 510 + 1e-6
    assert (back.base_colors - scene.base_colors).abs().max() < 1 / 510 + 1e-6
    assert turned_by(back.quats, scene.quats).max() < 0.0085


@settings(max_examples=20, deadline=None)
@given(scene=scenes)
def test_an_spz_comes_back_within_what_its_docstring_states(tmp_path_factory, scene):
    path = tmp_path_factory.getbasetemp() / "a.spz"
    write_splats(scene, path)
    back = read_splats(path)
    assert back.sh_degree == scene.sh_degree
    assert (back.means - scene.means).abs().max() < 1 / 131072 + 1e-6
    assert (back.log_scales - scene.log_scales.clamp(-10, 5.9)).abs().max() < 1 / 32 + 1e-5
    assert (back.opacities - scene.opacities).abs().max() < 1 / 510 + 1e-6
    assert (back.sh[:, 0] - scene.sh[:, 0]).abs().max() < 1 / 76.5 + 1e-5
    if scene.sh_degree:
        assert (back.sh[:, 1:] - scene.sh[:, 1:]).abs().max() < 1 / 256 + 1e-5
    assert turned_by(back.quats, scene.quats).max() < 0.0025


@settings(max_examples=20, deadline=None)
@given(scene=scenes)
def test_a_compressed_ply_comes_back_within_what_its_docstring_states(tmp_path_factory, scene):
    path = tmp_path_factory.getbasetemp() / "a.compressed.ply"
    write_splats(scene, path)
    back = read_splats(path)
    scene = scene.select(torch.from_numpy(morton_order(scene.means.double().numpy())))
    assert back.sh_degree == scene.sh_degree
    steps = torch.tensor([4094.0, 2046.0, 4094.0])
    for start in range(0, len(scene), 256):
        part = slice(start, start + 256)
        for found, true in ((back.means[part], scene.means[part]), (back.log_scales[part], scene.log_scales[part])):
            spread = true.max(0).values - true.min(0).values
            assert ((found - true).abs() < spread / steps * 1.001 + 2e-6 * true.abs().max()).all()
        colors = 0.5 + SH_DC * scene.sh[part, 0]
        off = SH_DC * (back.sh[part, 0] - scene.sh[part, 0]).abs()
        assert (off < (colors.max(0).values - colors.min(0).values) / 510 * 1.001 + 1e-6).all()
    assert (back.opacities - scene.opacities).abs().max() < 1 / 510 + 1e-6
    if scene.sh_degree:
        assert (back.sh[:, 1:] - scene.sh[:, 1:]).abs().max() < 1 / 64 + 1e-5
    assert turned_by(back.quats, scene.quats).max() < 0.0025


@pytest.mark.parametrize("degree", range(4))
def test_gsply_reads_from_a_plain_ply_what_was_written(tmp_path, degree):
    scene = plausible_scene(9, degree)
    write_splats(scene, tmp_path / "a.ply")
    found = gsply.plyread(tmp_path / "a.ply")
    assert np.array_equal(found.means, scene.means)
    assert np.array_equal(found.quats, scene.quats)
    assert np.array_equal(found.scales, scene.log_scales)
    assert np.array_equal(found.opacities, scene.logit_opacities)
    assert np.array_equal(found.sh0, scene.sh[:, 0])
    assert np.array_equal(found.shN.reshape(9, -1, 3), scene.sh[:, 1:])


def test_mesh_libraries_find_the_centres_in_a_plain_ply(tmp_path):
    scene = plausible_scene(9, 3)
    write_splats(scene, tmp_path / "a.ply")
    assert np.allclose(trimesh.load(tmp_path / "a.ply").vertices, scene.means, atol=1e-6)
    cloud = import_open3d().io.read_point_cloud(str(tmp_path / "a.ply"))
    assert np.allclose(np.asarray(cloud.points), scene.means, atol=1e-6)


@pytest.mark.parametrize("name", ["splats.ply", "SPLATS.PLY"])
def test_a_compressed_ply_is_known_by_its_header(tmp_path, name):
    scene = plausible_scene()
    write_splats(scene, tmp_path / "a.compressed.ply")
    (tmp_path / "a.compressed.ply").rename(tmp_path / name)
    assert len(read_splats(tmp_path / name)) == len(scene)


@pytest.mark.parametrize("name", ["a.sog", "a", "a.ply.gz"])
def test_other_names_are_refused_with_those_that_are_known(tmp_path, name):
    (tmp_path / name).write_bytes(b"ply\n")
    with pytest.raises(CaptureError, match=r"\.ply, \.splat, \.spz"):
        read_splats(tmp_path / name)
    with pytest.raises(SplatsError, match=r"\.ply, \.splat, \.spz"):
        write_splats(plausible_scene(), tmp_path / "new" / name)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_is_refused_and_a_missing_one_not_found(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        read_splats(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(SplatsError, match=name.replace(".", r"\.")):
        read_splats(tmp_path / name)


@pytest.mark.parametrize("name", LOSSY)
def test_what_a_format_cannot_hold_is_refused_before_a_file_is_there(tmp_path, name):
    nothing = plausible_scene(0)
    bad = plausible_scene()
    bad.means[2, 1] = torch.nan
    for scene, message in ((nothing, "no Gaussians"), (bad, "1 Gaussians with NaN")):
        with pytest.raises(SplatsError, match=message):
            write_splats(scene, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, name):
    write_splats(plausible_scene(3), tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_splats(plausible_scene(9), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.compressed.ply", "a.spz"])
def test_without_gsply_the_extra_is_named_and_plain_formats_go_on(tmp_path, monkeypatch, name):
    scene = plausible_scene()
    write_splats(scene, tmp_path / name)
    monkeypatch.setitem(sys.modules, "gsply", None)
    for action in (lambda: read_splats(tmp_path / name), lambda: write_splats(scene, tmp_path / name)):
        with pytest.raises(SplatsError, match=r"pip install 'turnabout\[formats\]'"):
            action()
    for plain in ("b.ply", "b.splat"):
        write_splats(scene, tmp_path / plain)
        assert len(read_splats(tmp_path / plain)) == len(scene)


def test_gradients_and_other_precisions_are_no_obstacle(tmp_path):
    scene = plausible_scene().map(lambda tensor: tensor.double().requires_grad_())
    for name in NAMES:
        write_splats(scene, tmp_path / name)
        assert len(read_splats(tmp_path / name)) == len(scene)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    position=st.integers(0, 900),
    replacement=st.binary(min_size=1, max_size=6),
    cut=st.integers(0, 100),
)
def test_whatever_happens_to_the_bytes_the_answer_is_a_scene_or_a_reason(
    tmp_path_factory, name, position, replacement, cut
):
    path = tmp_path_factory.getbasetemp() / name
    write_splats(plausible_scene(3, 1), path)
    data = path.read_bytes()
    path.write_bytes(data[:position] + replacement + data[position + len(replacement) : len(data) - cut])
    try:
        scene = read_splats(path)
    except SplatsError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in scene.tensors())


def test_the_order_of_the_z_curve_visits_octant_after_octant():
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    assert morton_order(corners).tolist() == list(range(8))
    shuffled = np.random.default_rng(0).permutation(8)
    assert np.array_equal(corners[shuffled][morton_order(corners[shuffled])], corners)


def test_scenes_far_from_the_origin_keep_their_places_in_an_spz(tmp_path):
    scene = plausible_scene(50, 0, extent=300_000.0)
    write_splats(scene, tmp_path / "a.spz")
    assert (read_splats(tmp_path / "a.spz").means - scene.means).abs().max() < 1 / 16
    too_far = dataclasses.replace(scene, means=scene.means * 20)
    with pytest.raises(SplatsError, match="from the origin"):
        write_splats(too_far, tmp_path / "b.spz")
