"""Meshes to files: glTF and friends."""
