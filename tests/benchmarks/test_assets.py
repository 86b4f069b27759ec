"""What the benchmarks of surfaces and assets say, from results that are known."""

import torch

from benchmarks import asset, surface
from benchmarks.tables import placed
from recon.capture.orbit import orbit_cameras
from recon.surface.baselines import bounding_sphere


def shape(chamfer: float, watertight: bool) -> dict:
    return {"chamfer": chamfer, "f_0.02": 0.9, "normal_consistency": 0.8, "watertight": watertight, "faces": 10}


def test_surfaces_stand_side_by_side_and_closing_is_measured():
    rows = {
        name: {
            surface.OURS: shape(0.01 + more, True),
            surface.OPEN: shape(0.01, False),
            surface.POISSON: shape(0.02, name == "a"),
            surface.HULL: shape(0.03, True),
            surface.FIELD: shape(0.008, True),
            "textured_psnr": 20.0,
            "splats_psnr": 21.0,
            "views_psnr": 21.5,
            "field_psnr": 22.0,
            "field_textured_psnr": 20.5,
            "thinness": 0.1 + more,
            "splats_seconds": 3.0,
            "views_seconds": 9.0,
            "field_seconds": 14.0,
        }
        for name, more in (("a", 0.0), ("b", 0.002))
    }
    text = surface.markdown({"objects": rows})
    assert "| ours | 0.0110 [0.0100, 0.0120] | 0.900 | 0.800 | 2 of 2 |" in text
    assert "| Open3D Poisson, same depth | 0.0200 | 0.900 | 0.800 | 1 of 2 |" in text
    assert "Closing: +10.0% chamfer" in text
    assert "| its splats | 21.00 |" in text
    assert "| its field | 22.00 |" in text
    assert "| field | 14 |" in text
    # Object by object, the thinner one first.
    assert text.index("| b | 0.10 | 0.0120 | 0.0080 | 21.00 | 21.50 | 22.00 |") < text.index("| a | 0.10 | 0.0100 |")


def test_wire_is_thin_and_a_disc_is_not():
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    disc = ((x - 64) ** 2 + (y - 64) ** 2 < 30**2).float()
    wire = ((x - y).abs() < 2).float()
    assert surface.thinness(disc[None]) < 0.05
    assert surface.thinness(wire[None]) > 0.95
    assert 0.05 < surface.thinness(torch.maximum(disc, wire)[None]) < 0.5


def test_gloss_adds_light_that_follows_the_camera_and_keeps_the_masks():
    mesh = bounding_sphere()
    cameras = orbit_cameras(4, 0.2, size=32)
    dull, bright = surface._views(mesh, cameras, 0.0), surface._views(mesh, cameras, 0.8)
    assert torch.equal(dull[..., 3], bright[..., 3])
    added = (bright - dull)[..., :3].mean(dim=(1, 2, 3))
    assert added.min() >= 0
    assert added.max() > 0.01


def test_an_assets_steps_add_up_and_bakes_are_compared():
    row = {
        "steps": {"surface": 2.0, "texturing": 3.0},
        "peak_mib": 1000,
        "bake": {"seconds": 2.0, "psnr": 25.0},
        "open3d": {"seconds": 20.0, "psnr": 23.5},
    }
    document = {"settings": {"faces": 50_000, "texture_size": 2048}, "objects": [row, row]}
    text = asset.markdown(document)
    assert "| **all** | **5.0** (5.0 to 5.0) |" in text
    assert "| ratio, difference | 10.0× | +1.50 |" in text
    assert "peak memory 1000 MiB" in text
    assert text in placed("<!-- asset -->\n<!-- end of asset -->", "asset", text)
