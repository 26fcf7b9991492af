"""Writes the networks of make_models.py as ONNX files, with the same weights, for onnxruntime.

    $(scripts/venv 0.19) scripts/bench/export_onnx.py --out DIR [NAME …]

Convolutions of ONNX want NCHW: where a network has NHWC its weights are transposed here, and its input in the graph.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relay

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from make_models import NETWORKS, SEED, Network, initial_params

TO_OIHW = {"OIHW": (0, 1, 2, 3), "HWIO": (3, 2, 0, 1), "HWOI": (2, 3, 0, 1)}
TO_NCHW = (0, 3, 1, 2)
CHANNELS_LAST = 3


def numbers(values: Any) -> list[int]:
    """A Relay array as a list."""
    return [int(value) for value in values]


class Exporter:
    """Translates one Relay function, operator by operator."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.channels_last = len(network.shape) == 4 and network.shape[CHANNELS_LAST] == 3
        self.main = relay.transform.InferType()(tvm.IRModule.from_expr(network.function))["main"]
        params = initial_params(self.main, network.input_name, np.random.default_rng(SEED))
        self.params = {name: value.numpy() for name, value in params.items()}
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.names: dict[Any, str] = {}

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node with one output, and give that output's name."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        """A weight, whose name may differ from Relay's when it is transposed."""
        self.weights[name] = np.ascontiguousarray(value)
        return name

    def argument(self, node: Any, index: int) -> str:
        """The name of an operator's argument."""
        return self.names[node.args[index]]

    def parameter(self, node: Any, index: int) -> np.ndarray:
        """The value of an operator's argument that is a weight."""
        return self.params[node.args[index].name_hint]

    def conv2d(self, node: Any) -> str:
        """A convolution without bias."""
        attrs = node.attrs
        weight = self.parameter(node, 1).transpose(TO_OIHW[attrs.kernel_layout])
        name = self.constant(node.args[1].name_hint, weight)
        return self.add(
            "Conv",
            [self.argument(node, 0), name],
            kernel_shape=list(weight.shape[2:]),
            strides=numbers(attrs.strides),
            pads=numbers(attrs.padding),
            dilations=numbers(attrs.dilation),
            group=int(attrs.groups),
        )

    def batch_norm(self, node: Any) -> str:
        """A normalisation by fixed averages. relay.testing's first one of NHWC networks is over the wrong axis; as
        all its elements are the same, that is the same as over the right one."""
        values = [self.parameter(node, index) for index in (1, 2, 3, 4)]
        if not node.attrs.scale:
            values[0] = np.ones_like(values[0])
        if self.channels_last and int(node.attrs.axis) != CHANNELS_LAST:
            channels = int(node.args[0].checked_type.shape[CHANNELS_LAST])
            assert all((value == value[0]).all() for value in values), "a normalisation is not over channels"
            values = [np.full(channels, value[0]) for value in values]
        names = [self.constant(arg.name_hint, value) for arg, value in zip(node.args[1:], values, strict=True)]
        return self.add("BatchNormalization", [self.argument(node, 0), *names], epsilon=float(node.attrs.epsilon))

    def bias_add(self, node: Any) -> str:
        """A bias along the last axis of two."""
        return self.add("Add", [self.argument(node, 0), self.constant(node.args[1].name_hint, self.parameter(node, 1))])

    def dense(self, node: Any) -> str:
        """A product with a transposed weight."""
        name = self.constant(node.args[1].name_hint, self.parameter(node, 1))
        return self.add("Gemm", [self.argument(node, 0), name], transB=1)

    def max_pool2d(self, node: Any) -> str:
        """The largest in a window."""
        attrs = node.attrs
        return self.add(
            "MaxPool",
            [self.argument(node, 0)],
            kernel_shape=numbers(attrs.pool_size),
            strides=numbers(attrs.strides),
            pads=numbers(attrs.padding),
        )

    def call(self, node: Any) -> str:
        """Any operator."""
        translators = {
            "nn.conv2d": self.conv2d,
            "nn.batch_norm": self.batch_norm,
            "nn.bias_add": self.bias_add,
            "nn.dense": self.dense,
            "nn.max_pool2d": self.max_pool2d,
            "nn.relu": lambda n: self.add("Relu", [self.argument(n, 0)]),
            "nn.global_avg_pool2d": lambda n: self.add("GlobalAveragePool", [self.argument(n, 0)]),
            "nn.batch_flatten": lambda n: self.add("Flatten", [self.argument(n, 0)]),
            "nn.softmax": lambda n: self.add("Softmax", [self.argument(n, 0)], axis=int(n.attrs.axis)),
            "add": lambda n: self.add("Add", [self.argument(n, 0), self.argument(n, 1)]),
        }
        return translators[node.op.name](node)

    def visit(self, node: Any) -> None:
        """Translate one node, after those that it needs."""
        if isinstance(node, relay.Call):
            self.names[node] = self.call(node)
        elif isinstance(node, relay.TupleGetItem):
            self.names[node] = self.names[node.tuple_value]
        elif isinstance(node, relay.Var) and node.name_hint == self.network.input_name:
            name = node.name_hint
            self.names[node] = self.add("Transpose", [name], perm=TO_NCHW) if self.channels_last else name

    def export(self) -> onnx.ModelProto:
        """The whole network."""
        relay.analysis.post_order_visit(self.main.body, self.visit)
        self.nodes.append(helper.make_node("Identity", [self.names[self.main.body]], ["output"]))
        shape = numbers(self.main.body.checked_type.shape)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(self.network.input_name, TensorProto.FLOAT, list(self.network.shape))],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def main() -> None:
    """Export what was asked for."""
    parser = argparse.ArgumentParser(description="write the networks of make_models.py as ONNX files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    args = parser.parse_args()
    for name in args.names:
        path = args.out / name / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(Exporter(NETWORKS[name]()).export(), str(path))


if __name__ == "__main__":
    main()
