"""Reconstruction: from a `Capture` to Gaussians, a textured mesh and files that other tools open."""
