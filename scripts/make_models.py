"""Compiles known networks with TVM 0.19, for `make models`, examples and benchmarks.

    $(scripts/venv 0.19) scripts/make_models.py [--out build/models] [--cpu native] [--only mlp resnet18]

Weights are seeded and He-initialised: the outputs mean nothing, the work is real. Every model gets a folder with
<name>.so, <name>.json, <name>.params, and reference.params: `in:<input name>`, and `out:<index>` as TVM's own runtime
computes it.

    $(scripts/venv 0.19) scripts/make_models.py --stand-in sample/deploy/testdata

writes the small network with mobilenet's interface that is committed with sample/deploy. Its reference.params holds
only `out:0`: its input is 224 * 224 * 3 numbers where number i is (i mod 251) / 250. With `--platform arm64` it is for
that machine, and the reference still comes from the host's CPU.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tvm
from tvm import relay
from tvm.relay import testing

from tvm_artifacts import compile_relay, run_triple, write_triple
from tvm_params import write_reference
from tvm_targets import PLATFORMS, Resolved, resolve

SEED = 1
STAND_IN_CPU = "x86-64-v2"


class Network(NamedTuple):
    """A network without weights, and the name and shape of its input."""

    function: Any
    input_name: str
    shape: tuple[int, ...]


def mobilenet(layout: str) -> Network:
    """MobileNet 1.0 for 1001 classes."""
    shape = (224, 224, 3) if layout == "NHWC" else (3, 224, 224)
    function = testing.mobilenet.mobile_net(num_classes=1001, data_shape=(1, *shape), dtype="float32", layout=layout)
    return Network(rename_input(function, "data", "input"), "input", (1, *shape))


def resnet18() -> Network:
    """ResNet-18 for 1000 classes."""
    shape = (3, 224, 224)
    function = testing.resnet.get_net(1, 1000, num_layers=18, image_shape=shape, dtype="float32")
    return Network(function, "data", (1, *shape))


def mlp() -> Network:
    """Three dense layers for 28x28 pictures."""
    return Network(testing.mlp.get_net(1, 10, image_shape=(1, 28, 28)), "data", (1, 1, 28, 28))


def stand_in() -> Network:
    """Two convolutions with few channels and a classifier, with the interface of mobilenet in NHWC."""
    data = relay.var("input", shape=(1, 224, 224, 3))
    layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
    first, second = relay.var("conv1_weight", shape=(5, 5, 3, 6)), relay.var("conv2_weight", shape=(3, 3, 6, 8))
    classes = relay.var("dense_weight", shape=(1001, 8))
    x = relay.nn.relu(relay.nn.conv2d(data, first, strides=4, channels=6, kernel_size=5, padding=2, **layouts))
    x = relay.nn.relu(relay.nn.conv2d(x, second, strides=2, channels=8, kernel_size=3, padding=1, **layouts))
    x = relay.nn.batch_flatten(relay.nn.global_avg_pool2d(x, layout="NHWC"))
    body = relay.nn.softmax(relay.nn.dense(x, classes))
    return Network(relay.Function([data, first, second, classes], body), "input", (1, 224, 224, 3))


NETWORKS: dict[str, Callable[[], Network]] = {
    "mobilenet": lambda: mobilenet("NHWC"),
    "mobilenet_nchw": lambda: mobilenet("NCHW"),
    "resnet18": resnet18,
    "mlp": mlp,
}


def rename_input(function: Any, old: str, new: str) -> Any:
    """The function with one parameter renamed."""
    named = {var.name_hint: var for var in function.params}
    replacement = relay.var(new, named[old].type_annotation)
    body = relay.bind(function.body, {named[old]: replacement})
    return relay.Function([replacement if name == old else var for name, var in named.items()], body)


def fan_ins(function: Any) -> dict[str, int]:
    """For every weight, how many products make one output element."""
    result: dict[str, int] = {}

    def visit(node: Any) -> None:
        if not isinstance(node, relay.Call) or getattr(node.op, "name", "") not in ("nn.conv2d", "nn.dense"):
            return
        weight = node.args[1]
        size = math.prod(int(dim) for dim in weight.checked_type.shape)
        outputs = node.attrs.channels if node.op.name == "nn.conv2d" else weight.checked_type.shape[0]
        result[weight.name_hint] = size // int(outputs)

    relay.analysis.post_order_visit(function, visit)
    return result


def initial_params(function: Any, input_name: str, rng: np.random.Generator) -> dict[str, Any]:
    """He-initialised weights; normalisation layers that change nothing; no biases."""
    scales = {name: math.sqrt(2 / fan_in) for name, fan_in in fan_ins(function).items()}
    params = {}
    for var in function.params:
        name, shape = var.name_hint, [int(dim) for dim in var.checked_type.shape]
        if name == input_name:
            continue
        if name in scales:
            array = rng.standard_normal(shape) * scales[name]
        else:
            array = np.full(shape, 1.0 if name.endswith(("gamma", "var")) else 0.0)
        params[name] = tvm.nd.array(array.astype("float32"))
    return params


def build(network: Network, resolved: Resolved, folder: Path, name: str) -> Callable[[Mapping[str, Any]], list[Any]]:
    """Compile a network and write its files; the result runs them."""
    module = relay.transform.InferType()(tvm.IRModule.from_expr(network.function))
    params = initial_params(module["main"], network.input_name, np.random.default_rng(SEED))
    compiled = compile_relay(module, resolved.target, params)
    triple = write_triple(compiled, folder, name, resolved.linker, resolved.link_options)
    return lambda inputs: run_triple(triple, inputs)


def write_network(name: str, resolved: Resolved, out: Path) -> None:
    """Compile one of NETWORKS and write its reference."""
    network = NETWORKS[name]()
    folder = out / name
    run = build(network, resolved, folder, name)
    values = np.random.default_rng(SEED).random(network.shape).astype("float32")
    inputs = {network.input_name: tvm.nd.array(values)}
    outputs = run(inputs)
    write_reference(folder / "reference.params", inputs, outputs)
    print(f"{folder}: input {network.input_name} {list(network.shape)}, output {list(outputs[0].shape)}", flush=True)


def write_stand_in(folder: Path, platform: str) -> None:
    """Compile the stand-in for mobilenet: for the host, which computes the reference, then for the platform."""
    network = stand_in()
    run = build(network, resolve("amd64", STAND_IN_CPU), folder, "mobilenet")
    numbers = np.arange(math.prod(network.shape)) % 251
    outputs = run({"input": tvm.nd.array((numbers / 250).astype("float32").reshape(network.shape))})
    write_reference(folder / "reference.params", {}, outputs)
    if platform != "amd64":
        build(network, resolve(platform), folder, "mobilenet")


def main() -> None:
    """Compile what was asked for."""
    parser = argparse.ArgumentParser(description="compile known networks with TVM 0.19")
    parser.add_argument("--out", type=Path, default=Path("build/models"), help="folder to write to")
    parser.add_argument("--cpu", default="native", help="LLVM's name of the CPU, or native")
    parser.add_argument("--only", nargs="+", choices=sorted(NETWORKS), default=list(NETWORKS), help="only these")
    parser.add_argument("--stand-in", type=Path, metavar="DIR", help="write only the stand-in for mobilenet, here")
    parser.add_argument(
        "--platform", choices=sorted(PLATFORMS), default="amd64", help="machine that the stand-in is for"
    )
    args = parser.parse_args()
    if args.stand_in:
        write_stand_in(args.stand_in, args.platform)
        return
    resolved = resolve("amd64", args.cpu)
    for name in args.only:
        write_network(name, resolved, args.out)


if __name__ == "__main__":
    main()
