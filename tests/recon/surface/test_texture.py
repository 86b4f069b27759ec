"""Baking pictures of a known object onto its surface: colours come back, nothing bleeds, nothing shows a seam."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from recon.capture import Camera, Frame, Source, frame_from_tensors, orbit_camera
from recon.surface.mesh import Material, Mesh
from recon.surface.render import render_mesh
from recon.surface.texture import BakeError, BakeOptions, bake, bake_texture
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import box, joined, sphere

SIZE = 256


def view(azimuth: float, size: int = 128, elevation: float = 10) -> Camera:
    return orbit_camera(math.radians(azimuth), math.radians(elevation), math.radians(40), size, size)


def coloured(mesh: Mesh) -> Mesh:
    """A smooth pattern that depends on the place alone."""
    return Mesh(mesh.vertices, mesh.faces, colors=0.5 + 0.4 * torch.sin(mesh.vertices * torch.tensor([7.0, 9.0, 8.0])))


def picture(mesh: Mesh, camera: Camera, *, source: Source = Source.OBSERVED, name: str = "photo", tint=None) -> Frame:
    rgba = render_mesh(mesh, camera).rgba
    if tint is not None:
        rgba = torch.cat(((rgba[..., :3] * tint[0] + tint[1]).clamp(0, 1), rgba[..., 3:]), -1)
    return frame_from_tensors(camera, rgba, source=source, name=name)


def orbit(mesh: Mesh, count: int, *, size: int = 128, **kwargs) -> list[Frame]:
    return [
        picture(mesh, view(360 * i / count, size, 30 if i % 2 else -20), name=f"frame{i}", **kwargs)
        for i in range(count)
    ]


def error(truth: Mesh, baked: Mesh, camera: Camera) -> torch.Tensor:
    """Absolute colour differences where both are opaque."""
    expected, found = render_mesh(truth, camera).rgba, render_mesh(baked, camera).rgba
    both = (expected[..., 3] > 0.99) & (found[..., 3] > 0.99)
    return (expected[..., :3] - found[..., :3]).abs()[both]


@functools.cache
def ball() -> tuple[Mesh, Mesh]:
    mesh = coloured(sphere(0.5, 4))
    return mesh, unwrap(Mesh(mesh.vertices, mesh.faces), SIZE)


def test_an_orbit_of_pictures_gives_back_the_colours_from_new_views():
    truth, flat = ball()
    baked = bake_texture(flat, orbit(truth, 8), BakeOptions(SIZE))
    for azimuth in (20, 200):
        assert float(error(truth, baked, view(azimuth)).mean()) < 0.015


def test_a_grey_card_stays_the_same_grey():
    truth = Mesh(
        sphere(0.5, 3).vertices, sphere(0.5, 3).faces, materials=(Material(torch.tensor([0.5, 0.5, 0.5, 1.0])),)
    )
    baked = bake_texture(unwrap(truth, SIZE), orbit(truth, 4), BakeOptions(SIZE))
    texture = baked.materials[0].texture
    assert texture is not None
    grey = round(float(orbit(truth, 1)[0].rgba()[64, 64, 0]) * 255)
    assert int((texture.int() - grey).abs().max()) <= 1


def test_the_background_does_not_bleed_onto_the_object():
    truth, flat = ball()
    frame = picture(truth, view(0))
    rgba = frame.rgba().clone()
    rgba[..., :3] = torch.where(rgba[..., 3:] > 0.7, rgba[..., :3], torch.tensor([0.0, 1.0, 0.0]))
    green = frame_from_tensors(frame.camera, rgba, name="green")
    # The mesh reaches beyond the picture's outline, as a wrong shape does.
    wide = unwrap(Mesh(truth.vertices * 1.06, truth.faces), SIZE)
    texture = bake_texture(wide, [green], BakeOptions(SIZE)).materials[0].texture
    clean = bake_texture(wide, [frame], BakeOptions(SIZE)).materials[0].texture
    assert texture is not None
    assert clean is not None
    assert int((texture.int() - clean.int()).abs().max()) <= 2


def test_what_stands_in_front_is_not_painted_on_what_is_behind():
    wall = box((1.0, 0.8, 0.05), (0, 0, -0.3))
    post = box((0.15, 0.8, 0.15), (0, 0, 0.3))
    colors = torch.cat((torch.tensor([[0.2, 0.3, 0.9]]).expand(8, 3), torch.tensor([[0.9, 0.2, 0.1]]).expand(8, 3)))
    truth = joined(wall, post)
    truth = Mesh(truth.vertices, truth.faces, colors=colors)
    baked = bake_texture(
        unwrap(Mesh(truth.vertices, truth.faces), SIZE), [picture(truth, view(0, elevation=0))], BakeOptions(SIZE)
    )
    aside = render_mesh(baked, view(35, elevation=0)).rgba
    expected = render_mesh(truth, view(35, elevation=0)).rgba
    on_wall = (expected[..., 2] > 0.8) & (expected[..., 3] > 0.99)
    assert float(aside[on_wall][:, 0].max()) < 0.45  # no red on the blue wall, but a soft fill behind the post


def test_narrow_faces_between_sharp_edges_are_painted():
    slab, camera = box((0.9, 0.08, 0.6)), view(0, 256, 20)
    drawn = render_mesh(slab, camera)
    rim = drawn.normal[..., 2] > 0.9
    rgba = drawn.rgba.clone()
    rgba[..., :3] = torch.where(rim[..., None], torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0.9, 0.5, 0.1]))
    baked = bake_texture(unwrap(slab, SIZE), [frame_from_tensors(camera, rgba)], BakeOptions(SIZE))
    again = render_mesh(baked, camera).rgba[rim]
    assert float((again[:, 2] > 0.7).float().mean()) > 0.7


def test_the_photograph_wins_where_it_sees_and_others_take_its_colours():
    truth, flat = ball()
    tint = (torch.tensor([0.8, 0.9, 0.85]), torch.tensor([0.1, 0.0, 0.02]))
    frames = [picture(truth, view(0, 256)), *orbit(truth, 8, source=Source.GENERATED, tint=tint)]
    matched = bake_texture(flat, frames, BakeOptions(SIZE))
    plain = bake_texture(flat, frames, BakeOptions(SIZE, match_colors=False))
    assert float(error(truth, matched, view(0)).mean()) < 0.01
    assert float(error(truth, matched, view(180)).mean()) < 0.5 * float(error(truth, plain, view(180)).mean())


def test_no_seam_shows_between_the_photograph_and_the_rest():
    truth, flat = ball()
    tint = (torch.tensor([0.8, 0.9, 0.85]), torch.tensor([0.1, 0.0, 0.02]))
    frames = [picture(truth, view(0, 256)), *orbit(truth, 8, source=Source.GENERATED, tint=tint)]
    baked = bake_texture(flat, frames, BakeOptions(SIZE))
    camera = view(60, 256)

    def steepest(mesh: Mesh) -> float:
        drawn = render_mesh(mesh, camera).rgba
        steps = (drawn[:, 1:, :3] - drawn[:, :-1, :3]).abs().amax(-1)
        inside = (drawn[:, 1:, 3] > 0.99) & (drawn[:, :-1, 3] > 0.99)
        return float(torch.quantile(steps[inside], 0.999))

    assert steepest(baked) < 1.6 * steepest(truth)


def test_a_photograph_covers_the_front_of_a_mesh_of_another_shape():
    truth, flat = ball()
    other = Mesh(flat.vertices * torch.tensor([1.12, 0.92, 1.0]), flat.faces, flat.uvs)
    photo = [picture(truth, view(0, 256))]
    fitted, plain = bake(other, photo, BakeOptions(SIZE)), bake(other, photo, BakeOptions(SIZE, fit_outline=False))
    assert fitted.observed > plain.observed + 0.02


def test_every_texel_is_painted_even_where_nothing_looked():
    truth, flat = ball()
    result = bake(flat, [picture(truth, view(0))], BakeOptions(SIZE))
    texture = result.mesh.materials[0].texture
    assert texture is not None
    assert texture.shape == (SIZE, SIZE, 3)
    assert int(texture.sum(-1).min()) > 60  # the pattern has no black
    assert result.filled > 0.3
    assert result.observed + result.generated + result.filled == pytest.approx(1)


def test_distrusted_pixels_are_not_used():
    truth, flat = ball()
    good = picture(truth, view(0), name="good")
    wrong = good.rgba().clone()
    wrong[..., 0] = 1 - wrong[..., 0]
    bad = frame_from_tensors(good.camera, wrong, name="bad", weight=torch.zeros(128, 128))
    with_bad = bake_texture(flat, [good, bad], BakeOptions(SIZE)).materials[0].texture
    without = bake_texture(flat, [good], BakeOptions(SIZE)).materials[0].texture
    assert with_bad is not None
    assert without is not None
    assert torch.equal(with_bad, without)


def test_the_same_input_gives_the_same_bytes():
    truth, flat = ball()
    frames = orbit(truth, 3)
    first, second = (bake_texture(flat, frames, BakeOptions(SIZE)).materials[0].texture for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def test_what_cannot_be_baked_is_refused_with_a_remedy():
    truth, flat = ball()
    with pytest.raises(BakeError, match="unwrap it first"):
        bake(truth, orbit(truth, 1))
    with pytest.raises(BakeError, match="at least one frame"):
        bake(flat, [])
    with pytest.raises(BakeError, match="none of the 1 frames sees"):
        bake(flat.moved(1.0, torch.tensor([50.0, 0, 0])), orbit(truth, 1))
    with pytest.raises(BakeError, match="16 to 8192"):
        BakeOptions(texture_size=8)
    bent = Camera(view(0).c2w, view(0).intrinsics, 128, 128, torch.tensor([0.1, 0, 0, 0]))
    with pytest.raises(BakeError, match="undistort"):
        bake(flat, [frame_from_tensors(bent, torch.ones(128, 128, 4))])
