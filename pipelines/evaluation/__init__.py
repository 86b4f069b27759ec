"""How good are generated views and meshes? The parts of `python -m pipelines.evaluate` (`docs/evaluation.md`)."""
