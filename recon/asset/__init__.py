"""`Mesh` to files that other programs open."""

from recon.asset.animation import AnimationReport
from recon.asset.formats import write_mesh
from recon.asset.gltf import Asset, GlbError, read_glb, write_glb
from recon.asset.mesh_sequence import write_mesh_sequence_glb, write_morph_glb
from recon.asset.placing import AssetError, place_mesh, placement
from recon.asset.skinned_gltf import write_skinned_glb

__all__ = [
    "AnimationReport",
    "Asset",
    "AssetError",
    "GlbError",
    "place_mesh",
    "placement",
    "read_glb",
    "write_glb",
    "write_mesh",
    "write_mesh_sequence_glb",
    "write_morph_glb",
    "write_skinned_glb",
]
