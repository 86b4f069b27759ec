"""Point clouds as other programs write them, and the ones that come with captures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recon._open3d import import_open3d
from recon.capture.io_colmap import write_colmap
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.reading import read_capture
from recon.splat.files import SplatsError
from recon.splat.points import read_capture_points, read_points
from tests.recon.splat.balls import ball_capture

PLACES = torch.tensor([[0.1, 0.2, 0.3], [-0.25, 0.0, 0.125], [0.0, 0.4, -0.1]])
BYTES = torch.tensor([[255, 0, 51], [0, 102, 204], [10, 20, 30]])


def sparse(path: Path, places: torch.Tensor = PLACES) -> Path:
    """A file with the header of ns-process-data's sparse_pc.ply."""
    lines = ["ply", "format ascii 1.0", f"element vertex {len(places)}"]
    lines += [f"property float {axis}" for axis in "xyz"] + [f"property uint8 {c}" for c in ("red", "green", "blue")]
    rows = [" ".join(map(repr, [*p.tolist(), *c.tolist()])) for p, c in zip(places, BYTES)]
    path.write_text("\n".join([*lines, "end_header", *rows, ""]))
    return path


def test_points_of_ns_process_data_are_read(tmp_path):
    places, colors = read_points(sparse(tmp_path / "sparse_pc.ply"))
    torch.testing.assert_close(places, PLACES)
    torch.testing.assert_close(colors, BYTES / 255)


@pytest.mark.parametrize("kind", ["float", "bytes", "none"])
def test_points_of_open3d_are_read_whatever_its_colours_are(tmp_path, kind):
    o3d = import_open3d()
    cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(PLACES.double().numpy()))
    if kind == "bytes":  # as ns-export pointcloud stores them
        cloud.point.colors = o3d.core.Tensor(BYTES.numpy().astype(np.uint8))
    elif kind == "float":
        cloud.point.colors = o3d.core.Tensor((BYTES / 255).numpy())
    cloud.point.normals = o3d.core.Tensor(torch.ones(3, 3).numpy())
    assert o3d.t.io.write_point_cloud(str(tmp_path / "cloud.ply"), cloud)
    places, colors = read_points(tmp_path / "cloud.ply")
    torch.testing.assert_close(places, PLACES)
    expected = torch.full((3, 3), 0.5) if kind == "none" else BYTES / 255
    torch.testing.assert_close(colors, expected, atol=1 / 255, rtol=0)


def test_what_holds_no_points_is_refused_by_name(tmp_path):
    text = sparse(tmp_path / "a.ply").read_text()
    (tmp_path / "b.ply").write_text(text.replace("float z", "float depth"))
    (tmp_path / "c.ply").write_text(text.replace("0.125", "nan"))
    (tmp_path / "d.ply").write_text(text[:-40])
    for name, found in (("b", "no columns z"), ("c", "not finite"), ("d", r"2 lines|lines of|bytes after")):
        with pytest.raises(SplatsError, match=found) as caught:
            read_points(tmp_path / f"{name}.ply")
        assert f"{name}.ply" in str(caught.value)


def named(folder: Path, *, ours: bool, points: str | None = "sparse_pc.ply") -> Path:
    """A capture of a ball that names a cloud; where it is not ours, its world has Z up."""
    write_transforms(ball_capture(3, 16), folder)
    listing = folder / "transforms.json"
    meta = json.loads(listing.read_text())
    if points is not None:
        meta["ply_file_path"] = points
    if not ours:
        del meta["turnabout_world"]
    listing.write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("ours", [True, False])
def test_a_capture_s_points_are_in_the_world_that_it_is_read_in(tmp_path, ours):
    folder = named(tmp_path / "capture", ours=ours)
    sparse(folder / "sparse_pc.ply")
    found = read_capture_points(folder)
    assert found is not None
    # Cameras and points have gone the same way: pixels are those that the file's own world gives.
    before = ball_capture(3, 16)[1].camera.project(PLACES)[0]
    torch.testing.assert_close(read_capture(folder)[1].camera.project(found[0])[0], before, atol=1e-3, rtol=1e-4)
    assert torch.equal(read_capture_points(folder / "transforms.json")[0], found[0])


def test_a_capture_without_points_has_none_and_colmap_s_are_found(tmp_path):
    assert read_capture_points(named(tmp_path / "capture", ours=True, points=None)) is None
    write_colmap(ball_capture(3, 16), tmp_path / "colmap", (PLACES, BYTES / 255))
    places, colors = read_capture_points(tmp_path / "colmap")
    torch.testing.assert_close(places, PLACES)
    torch.testing.assert_close(colors, BYTES / 255)


def test_points_outside_of_the_capture_are_refused(tmp_path):
    sparse(tmp_path / "sparse_pc.ply")
    with pytest.raises(ValueError, match="outside of the capture"):
        read_capture_points(named(tmp_path / "capture", ours=True, points="../sparse_pc.ply"))
