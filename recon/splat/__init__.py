"""Gaussian splats: the type, the rasterizer and its backends, losses and the fit."""
