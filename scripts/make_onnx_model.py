"""Writes a small ONNX model, and reference.params: an input and what ONNX's own reference evaluator makes of it.

    build/venv-0.19/bin/python scripts/make_onnx_model.py --out DIR

For testing scripts/compile from an ONNX file to a result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tvm_params import write_reference

INPUT_SHAPE = (1, 3, 16, 16)


def make_model(random: np.random.Generator) -> onnx.ModelProto:
    """Convolution, ReLU, average over the picture, dense layer and softmax; the batch size is left open."""
    weights = {
        "filter": random.normal(0, 0.3, (8, 3, 3, 3)),
        "bias": random.normal(0, 0.1, (8,)),
        "dense": random.normal(0, 0.5, (8, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["picture.1", "filter", "bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("picture.1", TensorProto.FLOAT, ["batch", *INPUT_SHAPE[1:]])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    model = make_model(random)
    onnx.checker.check_model(model)
    onnx.save(model, str(out / "model.onnx"))
    picture = random.normal(0, 1, INPUT_SHAPE).astype(np.float32)
    (probabilities,) = ReferenceEvaluator(model).run(None, {"picture.1": picture})
    write_reference(out / "reference.params", {"picture.1": picture}, [probabilities])


if __name__ == "__main__":
    main()
