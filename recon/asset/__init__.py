"""`Mesh` to files that other programs open."""

from recon.asset.formats import write_mesh
from recon.asset.gltf import Asset, GlbError, read_glb, write_glb
from recon.asset.placing import AssetError, place_mesh, placement

__all__ = ["Asset", "AssetError", "GlbError", "place_mesh", "placement", "read_glb", "write_glb", "write_mesh"]
