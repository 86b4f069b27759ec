import dataclasses
import math

import pytest
import torch

from recon.capture import Source, frame_from_tensors, orbit_camera
from recon.surface._texel_kernels import rasterize_atlas
from recon.surface.mesh import Material, Mesh
from recon.surface.refine_texture import refine_texture
from recon.surface.render import render_mesh
from recon.surface.texture import BakeError
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import box

SIZE = 64


def checkered() -> Mesh:
    """A box with a texture of random grey squares, eight texels wide."""
    mesh = unwrap(box((0.6, 0.5, 0.4)), SIZE)
    squares = torch.rand(SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(0))
    texture = (squares.repeat_interleave(8, 0).repeat_interleave(8, 1)[..., None].expand(-1, -1, 3) * 255).byte()
    return dataclasses.replace(mesh, materials=(Material(texture=texture.contiguous()),))


def frames(mesh, source=Source.OBSERVED):
    cameras = [orbit_camera(i * math.pi / 4, e, 0.6, 96, 96) for i in range(8) for e in (-0.6, 0.6)]
    return [
        frame_from_tensors(c, render_mesh(mesh, c, supersample=4).rgba, source=source, name=f"{i}")
        for i, c in enumerate(cameras)
    ]


def blurred(mesh: Mesh) -> Mesh:
    picture = mesh.materials[0].texture.permute(2, 0, 1)[None].float()
    soft = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(picture, (3, 3, 3, 3), mode="replicate"), 7, 1)
    return dataclasses.replace(
        mesh, materials=(Material(texture=soft[0].permute(1, 2, 0).round().byte().contiguous()),)
    )


def error(mesh, truth):
    camera = orbit_camera(0.35, 0.3, 0.6, 96, 96)  # none of the frames'
    drawn, wanted = (render_mesh(m, camera, supersample=4).rgba[..., :3] for m in (mesh, truth))
    return float((drawn - wanted).square().mean().sqrt())


def test_a_blurred_texture_becomes_as_sharp_as_the_pictures():
    truth = checkered()
    start = blurred(truth)
    refined = refine_texture(start, frames(truth))
    assert error(refined, truth) < 0.4 * error(start, truth)
    assert torch.equal(refined.vertices, start.vertices)


def test_a_texture_that_fits_stays():
    truth = checkered()
    assert error(refine_texture(truth, frames(truth)), truth) < 0.3 * error(blurred(truth), truth)


@pytest.mark.parametrize("source", [Source.RENDERED, Source.GENERATED])
def test_pictures_that_were_made_up_do_not_speak(source):
    start = blurred(checkered())
    assert refine_texture(start, frames(checkered(), source)) is start


def test_texels_that_nothing_shows_stay():
    truth = checkered()
    start = blurred(truth)
    one, whole = (refine_texture(start, shown).materials[0].texture for shown in (frames(truth)[:1], frames(truth)))
    owner, _, _ = rasterize_atlas(truth.uvs.double().numpy() * SIZE, truth.faces.numpy(), SIZE)
    on_surface = torch.from_numpy(owner >= 0)
    changed = (one != start.materials[0].texture).any(-1) & on_surface
    assert 0.1 < changed.sum() / on_surface.sum() < 0.7  # a view shows three of six sides
    assert ((whole != start.materials[0].texture).any(-1) & on_surface).sum() > 1.3 * changed.sum()


def test_a_mesh_without_texture_is_refused():
    with pytest.raises(BakeError, match="no texture"):
        refine_texture(unwrap(box(), 64), [])
