import math
from dataclasses import fields, replace

import pytest
import torch

from gen.gauge import APPEARANCE, encode, encode_appearance, make_gauge, stack_cameras
from gen.predict import ask, believe
from gen.splats import depth_offsets, draw, draw_frames, pixel_gaussians, pixel_points
from recon.capture import orbit_camera
from recon.splat.backend_cuda import gsplat_is_here
from tests.gen.small import random_network

SIZE = 32


def ball(count: int = 3):
    """Views of a ball of half the framed radius, painted by its normals: gauge, channels, and its true raw numbers."""
    places = ((0.0, 0.0), (0.8, 0.2), (0.4, 0.1))  # the last one between the others
    cameras = [orbit_camera(*place, math.radians(34), SIZE, SIZE) for place in places[:count]]
    c2w, intrinsics = stack_cameras(cameras)
    gauge = make_gauge(c2w[None], intrinsics[None], SIZE, SIZE)
    depths, normals = [], []
    for camera in cameras:
        origin, directions = camera.rays()
        a, b, c = directions.square().sum(-1), directions @ origin, origin @ origin - 0.25**2
        root = b.square() - a * c
        z = torch.where(root > 0, (-b - root.clamp_min(0).sqrt()) / a, 0)
        depths.append(z)
        normals.append(torch.nn.functional.normalize(camera.unproject(z), dim=-1) * (z > 0)[..., None])
    depth, normal = torch.stack(depths)[None], torch.stack(normals)[None]
    alpha = (depth > 0).float()[..., None]
    rgba = torch.cat(((normal * 0.4 + 0.5) * alpha, alpha), dim=-1)
    return gauge, rgba, depth, normal, cameras


def true_raw(gauge, rgba, depth, cameras):
    """What a perfect network would tell of the ball's pixels."""
    points = torch.stack([c.unproject(d) for c, d in zip(cameras, depth[0])])[None]
    points = torch.einsum("bij,bfhwj->bfhwi", gauge.rotation, points) / gauge.unit[:, None, None, None, None]
    nearest = torch.linalg.cross(gauge.rays[..., :3], gauge.rays[..., 3:])
    along = ((points - nearest) * gauge.rays[..., :3]).sum(-1)
    raw = torch.zeros(*depth.shape, 9)
    raw[..., 4] = torch.atanh((along / 1.05).clamp(-0.99, 0.99))
    raw[..., 3] = torch.where(rgba[..., 3] > 0, 4.0, -6.0)
    return raw


def test_the_pixels_of_one_view_lie_where_its_depth_says():
    gauge, rgba, depth, normal, cameras = ball()
    points = pixel_points(true_raw(gauge, rgba, depth, cameras), gauge)
    solid = depth > 0
    channels = encode(rgba, depth, normal, gauge)
    assert torch.allclose(depth_offsets(points, gauge)[solid], channels[..., 4][solid], atol=1e-3)
    assert torch.allclose(points[solid].norm(dim=-1), torch.tensor(0.5), atol=1e-3)


def test_shown_views_lend_their_colours_to_the_others():
    """Gaussians of two shown views, at the true depths, draw the third."""
    gauge, rgba, depth, _, cameras = ball()
    raw = true_raw(gauge, rgba, depth, cameras)
    frames = torch.randn(1, 3, SIZE, SIZE, 8, generator=torch.Generator().manual_seed(0))
    frames[:, :2, ..., APPEARANCE] = encode_appearance(rgba[:, :2])
    levels = torch.tensor([[[0.0, 1], [0, 1], [1, 1]]])
    kept = torch.tensor([[True, True, False]])
    gaussians = pixel_gaussians(raw, pixel_points(raw, gauge), frames, levels, gauge, kept)
    assert len(gaussians.scene(0)) == 2 * SIZE * SIZE
    drawn = draw(gaussians, gauge, SIZE, SIZE)[0] * 0.5 + 0.5
    inside = rgba[0, 0, ..., 3] > 0.5
    assert (drawn[0] - rgba[0, 0])[inside].abs().mean() < 0.08
    covered = (drawn[2, ..., 3] > 0.5) & (rgba[0, 2, ..., 3] > 0.5)
    assert covered.sum() > 0.9 * (rgba[0, 2, ..., 3] > 0.5).sum()
    assert (drawn[2] - rgba[0, 2])[covered].abs().mean() < 0.08


def test_what_is_noise_lends_no_colour():
    gauge, rgba, depth, _, cameras = ball(1)
    raw = true_raw(gauge, rgba, depth, cameras)
    frames = encode_appearance(rgba)
    frames = torch.cat((frames, torch.zeros_like(frames)), dim=-1)
    kept = torch.ones(1, 1, dtype=torch.bool)
    gaussians = pixel_gaussians(raw, pixel_points(raw, gauge), frames, torch.ones(1, 1, 2), gauge, kept)
    assert torch.allclose(gaussians.colors, torch.tensor(0.5), atol=1e-6)


def predicted(known: torch.Tensor):
    gauge, rgba, depth, normal, _ = ball()
    network = random_network()
    frames = encode(rgba, depth, normal, gauge).requires_grad_()
    levels = torch.tensor([[[0.0, 1], [1, 1], [1, 1]]])
    told = ask(network, frames, levels, gauge.rays, torch.zeros(1, 3), known)
    return gauge, network, told, believe(told, frames, levels, gauge, known)


def test_every_frame_is_drawn_and_gradients_reach_the_network():
    gauge, network, told, belief = predicted(torch.ones(1, 3, dtype=torch.bool))
    channels = belief.channels(gauge)
    assert channels.shape == (1, 3, SIZE, SIZE, 8)
    assert told.rays.shape == (1, 3, 64, 6)
    assert told.up.shape == (1, 3, 3)
    pictures = channels.detach()[..., APPEARANCE]
    assert -1 <= float(pictures.min()) <= float(pictures.max()) <= 1 + 1e-5
    (channels.square().mean() + told.rays.square().mean() + told.up.square().mean()).backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert missing == ["unknown_camera", "unknown_first_camera"]  # no camera is hidden here


def test_frames_with_hidden_cameras_lend_nothing_but_are_drawn():
    gauge, *_, belief = predicted(torch.tensor([[True, False, True]]))
    assert len(belief.gaussians.scene(0)) == 2 * SIZE * SIZE
    assert belief.channels(gauge)[:, 1, ..., 3].max() > -1
    *_, nothing = predicted(torch.zeros(1, 3, dtype=torch.bool))
    assert bool((nothing.channels(gauge)[..., APPEARANCE] == -1).all())


def test_finished_frames_have_the_depth_and_the_normals_of_the_surface_in_the_world():
    gauge, rgba, depth, normal, cameras = ball()
    raw = true_raw(gauge, rgba, depth, cameras)
    frames = torch.cat((encode_appearance(rgba), torch.zeros_like(rgba)), dim=-1)
    known = torch.ones(1, 3, dtype=torch.bool)
    gaussians = pixel_gaussians(raw, pixel_points(raw, gauge), frames, torch.zeros(1, 3, 2), gauge, known)
    turned = torch.einsum("bij,bfhwj->bfhwi", gauge.rotation, normal)
    drawn, found, facing = draw_frames(gaussians, turned, gauge, SIZE, SIZE)
    both = (found > 0) & (depth[0] > 0)
    assert both.sum() > 0.9 * (depth > 0).sum()
    assert (found - depth[0])[both].abs().mean() < 0.07  # two pixels, as wide as the Gaussians are
    assert (facing * normal[0]).sum(-1)[both].mean() > 0.97
    assert bool((facing[found == 0] == 0).all())
    assert bool((drawn[..., :3] <= drawn[..., 3:] + 1e-6).all())


@pytest.mark.skipif(not torch.cuda.is_available() or not gsplat_is_here(), reason="needs a GPU and gsplat")
def test_a_gpu_draws_what_the_processor_draws():
    gauge, rgba, depth, _, cameras = ball()
    raw = true_raw(gauge, rgba, depth, cameras)
    frames = torch.cat((encode_appearance(rgba), torch.zeros_like(rgba)), dim=-1)
    kept = torch.tensor([[True, True, False]])
    gaussians = pixel_gaussians(raw, pixel_points(raw, gauge), frames, torch.zeros(1, 3, 2), gauge, kept)
    there = replace(gauge, **{f.name: getattr(gauge, f.name).cuda() for f in fields(gauge)})
    drawn = draw(gaussians.to(torch.device("cuda")), there, SIZE, SIZE)
    assert (drawn.cpu() - draw(gaussians, gauge, SIZE, SIZE)).abs().max() < 0.01
