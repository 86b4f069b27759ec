"""The splatting benchmarks in small, without peers: they run, count rightly, and say what is missing."""

from __future__ import annotations

import json
import stat
from dataclasses import replace

import pytest
import torch

from benchmarks import fit, rasterize, tables
from benchmarks._contestants import contestants
from benchmarks._curves import Point, converged, our_curve, psnr_after, seconds_to
from benchmarks._errors import BenchmarkError
from benchmarks._flops import blended_pairs, flops_per_pair, fma_peak
from benchmarks._held_out import Split, composed, dino, lego, rendered_objects
from benchmarks._opensplat import check_program, run_program, write_data
from benchmarks._scenes import SceneSize, shell, views
from benchmarks._steps import shell_capture, step_options, time_steps
from recon.capture.io_nerfstudio import read_transforms
from recon.splat.backend_torch import MIN_ALPHA, MIN_TRANSMITTANCE, DrawOptions, alphas_at_pixels, project
from recon.splat.fit_options import FIT_PRESETS
from tests.shared_data import shared_path

TINY = SceneSize(300, 24)
QUICK = replace(FIT_PRESETS["views"], iterations=40, initial_gaussians=500, max_gaussians=600, max_size=32, grid=48)


def test_blended_pairs_are_those_of_the_oracle():
    camera, gaussians = views(TINY)[0], shell(TINY)
    options = DrawOptions(TINY.size, TINY.size, geometry=False)
    seen = project(*gaussians.tensors(), camera.w2c, camera.intrinsics, options)
    alphas = alphas_at_pixels(seen, TINY.size, TINY.size)
    alphas = torch.where(alphas < MIN_ALPHA, 0, alphas)
    blended = (alphas > 0) & (torch.cumprod(1 - alphas, dim=-1) > MIN_TRANSMITTANCE)
    assert blended_pairs(TINY) == int(blended.sum()) > 1000


def test_gradients_and_geometry_take_more_arithmetic():
    counts = [flops_per_pair(case, backward) for backward in (False, True) for case in ("rgb", "all")]
    assert counts == sorted(counts)
    assert fma_peak(repeats=2) > 1e8


def test_the_rasterizer_is_timed_and_absent_peers_are_named(tmp_path):
    options = rasterize.RasterizeBenchmarkOptions(tmp_path / "r.json", threads=(1,), repeats=2, scenes=(TINY,))
    text = rasterize.markdown(rasterize.run(options))
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert len(rows) == 4
    assert all(row["times"]["ours"]["wall"] > 0 and 0 < row["fma_share"] < 1 for row in rows)
    assert "--opensplat-kernels" in text
    assert "--gsplat-reference" in text
    assert "RGB: forward + backward, 300 @ 24², 1 thread" in text
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- rasterize -->\nold\n<!-- end of rasterize -->\nafter\n")
    assert tables.main([str(tmp_path / "r.json"), "--into", str(page)]) == 0
    assert page.read_text() == f"before\n<!-- rasterize -->\n\n{text}\n\n<!-- end of rasterize -->\nafter\n"


def test_peers_that_are_named_must_be_there(tmp_path):
    with pytest.raises(BenchmarkError, match="opensplat_kernels"):
        contestants(tmp_path, None)
    with pytest.raises(BenchmarkError, match="torch reference"):
        contestants(None, tmp_path / "none.py")
    assert fit.main(["-o", str(tmp_path / "f.json"), "--opensplat", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("start", ["points", "shell"])
def test_a_fit_of_a_fixed_count_is_timed_step_by_step(start):
    assert step_options(TINY, 5).max_gaussians == TINY.count
    times = time_steps(TINY, 5, start)
    assert times.wall > 0
    assert times.cpu > 0


def test_a_fit_of_the_views_gets_better_on_views_that_it_does_not_see(tmp_path):
    capture = shell_capture(SceneSize(2000, 32))
    split = Split("shell", replace(capture, frames=capture.frames[::2]), capture.frames[1::6])
    curve = our_curve(split, QUICK, samples=4)
    assert [point.steps for point in curve] == [10, 20, 30, 40]
    assert curve[-1].psnr > curve[0].psnr + 1
    assert curve[-1].cpu > curve[0].cpu
    document = {"load": 0.0, "steps": [], "subjects": {"shell": {"ours": [vars(point) for point in curve]}}}
    assert f"| shell | {curve[-1].psnr:.2f} |" in fit.markdown(document)


def test_convergence_is_reached_near_the_best_and_interpolated():
    slow = [Point(i, 10.0 * i, None, psnr, 1) for i, psnr in enumerate((10.0, 20.0, 29.95, 30.0))]
    quick = [Point(i, 1.0 * i, None, psnr, 1) for i, psnr in enumerate((10.0, 28.9, 30.9))]
    psnr, seconds = converged(slow)
    assert psnr == pytest.approx(29.9)
    assert seconds == pytest.approx(20, abs=0.1)
    assert seconds_to(quick, psnr) == pytest.approx(1.5)
    assert seconds_to(quick, 31) is None
    assert psnr_after(quick, 0.5) == pytest.approx(19.45)
    assert psnr_after(quick, 3) is None


def test_the_peers_folder_reads_back_as_the_same_capture(tmp_path):
    capture = shell_capture(TINY)
    write_data(capture, shell(TINY), tmp_path / "data")
    back = read_transforms(tmp_path / "data")
    assert len(back) == len(capture)
    torch.testing.assert_close(back[3].rgba()[..., :3], composed(capture[3]), atol=1e-3, rtol=0)


def test_a_program_that_prints_its_steps_is_timed_and_one_that_fails_is_named(tmp_path):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do echo "Step $i: 0.5 (1%)"; done\nexit $FAILS\n')
    with pytest.raises(BenchmarkError, match="nothing that can be run"):
        check_program(program)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    check_program(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAILS", "0")
        run = run_program(program, tmp_path, tmp_path / "out", 8, [])
        patch.setenv("FAILS", "3")
        with pytest.raises(BenchmarkError, match="exit code 3"):
            run_program(program, tmp_path, tmp_path / "out", 8, [])
    assert list(run.seconds) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert run.seconds_per_step() >= 0


def test_held_out_views_look_at_the_same_subject_and_are_not_among_the_given():
    shared_path("captures/middlebury_dino_heldout")
    for make, count in ((dino, 23), (lego, 10)):
        split = make(shared_path("captures"), 48)
        assert len(split.held_out) == count
        centres = torch.stack([camera.centre for camera in split.capture.cameras])
        for frame in split.held_out:
            assert torch.cdist(frame.camera.centre[None], centres).min() > 1e-3
            pixel = frame.camera.project(torch.zeros(1, 3))[0][0].long()
            around = frame.rgba()[pixel[1] - 3 : pixel[1] + 4, pixel[0] - 3 : pixel[0] + 4, 3]
            assert around.max() > 0.5


def test_objects_are_judged_from_other_elevations():
    shared_path("objects/objects_train.zip")
    split = next(rendered_objects(shared_path("objects"), 1, 32))
    assert (len(split.capture), len(split.held_out)) == (21, 12)
    heights = {round(float(frame.camera.centre[1]), 3) for frame in split.held_out}
    assert len(heights) == 3
    assert round(float(split.capture[0].camera.centre[1]), 3) not in heights
