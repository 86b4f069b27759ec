"""Surfaces: from splats or depth to a closed, decimated, unwrapped, textured `Mesh`; and drawing one."""
