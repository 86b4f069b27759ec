"""What the benchmarks of surfaces and assets say, from results that are known."""

from benchmarks import asset, surface
from benchmarks.tables import placed


def shape(chamfer: float, watertight: bool) -> dict:
    return {"chamfer": chamfer, "f_0.02": 0.9, "normal_consistency": 0.8, "watertight": watertight, "faces": 10}


def test_surfaces_stand_side_by_side_and_closing_is_measured():
    rows = {
        name: {
            surface.OURS: shape(0.01 + more, True),
            surface.OPEN: shape(0.01, False),
            surface.POISSON: shape(0.02, name == "a"),
            surface.HULL: shape(0.03, True),
            "textured_psnr": 20.0,
            "splats_psnr": 21.0,
        }
        for name, more in (("a", 0.0), ("b", 0.002))
    }
    text = surface.markdown({"objects": rows})
    assert "| ours | 0.0110 [0.0100, 0.0120] | 0.900 | 0.800 | 2 of 2 |" in text
    assert "| Open3D Poisson, same depth | 0.0200 | 0.900 | 0.800 | 1 of 2 |" in text
    assert "Closing: +10.0% chamfer" in text
    assert "| difference | -1.00 |" in text


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
