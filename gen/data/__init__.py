"""Training data: objects in, rendered orbits out, and reading them back."""
