"""Moving scenes: canonical Gaussians carried by a few rigid motions, which are the bones of the asset."""
