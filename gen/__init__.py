"""The orbit generator: model, pipeline, training and dataset rendering."""
