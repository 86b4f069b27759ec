"""A segmentation network small enough to be written in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_network(path: Path, gain: float = 40.0, threshold: float = 0.35, *, last: str = "Sigmoid") -> Path:
    """A network of one 1x1 convolution: `last(gain * (threshold - brightness))`, so that what is dark is the subject.

    Its input is 64 pixels a side, so it is given ImageNet's statistics, which the convolution undoes.
    """
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    weight = numpy_helper.from_array((-gain / 3 * deviation).astype(np.float32).reshape(1, 3, 1, 1), "weight")
    bias = numpy_helper.from_array(np.array([gain * (threshold - mean.mean())], np.float32), "bias")
    nodes = [
        helper.make_node("Conv", ["picture", "weight", "bias"], ["score"]),
        helper.make_node(last, ["score"], ["matte"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("matte", TensorProto.FLOAT, [1, 1, 64, 64])],
        [weight, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
