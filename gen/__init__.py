"""The orbit generator: model, pipeline, training and dataset rendering."""

from typing import Any


def __getattr__(name: str) -> Any:
    # diffusers looks for the classes that a saved pipeline names in the package itself; importing them here
    # eagerly would make every import of `gen` wait for diffusers.
    if name in ("OrbitModel", "OrbitPipeline"):
        import gen.pipeline

        return getattr(gen.pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
