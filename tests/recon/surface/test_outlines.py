import dataclasses
import math
from functools import partial

import pytest
import torch

from recon.capture import Source, frame_from_tensors, orbit_camera
from recon.surface.close import is_watertight
from recon.surface.outlines import fit_outlines
from recon.surface.render import render_mesh
from tests.recon.surface.test_decimate import distance_to_torus, torus


def frames_of(mesh, source=Source.OBSERVED, count=12):
    cameras = [orbit_camera(i * 2 * math.pi / count, 0.5 if i % 2 else -0.3, 0.6, 128, 128) for i in range(count)]
    return [
        frame_from_tensors(camera, render_mesh(mesh, camera).rgba, source=source, name=f"{i}")
        for i, camera in enumerate(cameras)
    ]


def overlap(mesh, frames):
    shares = []
    for frame in frames:
        drawn, given = render_mesh(mesh, frame.camera).rgba[..., 3] > 0.5, frame.rgba()[..., 3] > 0.5
        shares.append(float((drawn & given).sum() / (drawn | given).sum()))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("source", Source)
def test_a_shrunken_mesh_grows_back_to_the_pictures_outlines(source):
    true = torus()
    normals = torch.nn.functional.normalize(torch.stack(torch.autograd.grad(
        distance_to_torus(true.vertices.requires_grad_()).sum(), true.vertices)), dim=-1)[0]  # fmt: skip
    true = dataclasses.replace(true, vertices=true.vertices.detach())
    thin = dataclasses.replace(true, vertices=true.vertices - 0.006 * normals)
    frames = frames_of(true, source)
    fitted = fit_outlines(thin, frames)
    assert is_watertight(fitted)
    assert overlap(thin, frames) < 0.97
    assert overlap(fitted, frames) > 0.985
    assert distance_to_torus(fitted.vertices).abs().mean() < 0.5 * distance_to_torus(thin.vertices).abs().mean()


def test_a_mesh_that_fits_stays():
    mesh = torus()
    fitted = fit_outlines(mesh, frames_of(mesh))
    assert (fitted.vertices - mesh.vertices).norm(dim=1).max() < 0.003


def test_pictures_of_something_else_move_nothing_far():
    mesh = torus()
    other = dataclasses.replace(mesh, vertices=0.3 * mesh.vertices)
    fitted = fit_outlines(mesh, frames_of(other))
    assert (fitted.vertices - mesh.vertices).norm(dim=1).median() < 5e-4


def test_a_subject_that_the_picture_cuts_off_is_not_drawn_to_the_cut():
    mesh = torus()
    cut = [
        dataclasses.replace(frame, camera=dataclasses.replace(frame.camera, width=64), load_rgba=partial(half, frame))
        for frame in frames_of(mesh)
    ]
    assert (fit_outlines(mesh, cut).vertices - mesh.vertices).norm(dim=1).max() < 0.004


def half(frame):
    return frame.rgba()[:, :64]
