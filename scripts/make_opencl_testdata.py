"""Writes the models for OpenCL that the tests of gotvm load.

Run it once under each compiler; only the files of its generation are replaced:

    $(scripts/venv 0.19) scripts/make_opencl_testdata.py     # TVM 0.19
    $(scripts/venv 0.9)  scripts/make_opencl_testdata.py     # TVM 0.9

    <out>/<generation>/<case>/model.so           a factory library for target opencl
    <out>/<generation>/<case>/reference.params   `in:<input name>` and `out:<index>`

With --all it writes the large model too, which is not in the repository.

The outputs are those of the same model compiled for target llvm, in the compiler's own runtime on the CPU; where
there is an easy numpy reference, the two are compared here. No OpenCL device is needed.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tvm
from tvm import relay
from tvm.relay import testing

from make_models import initial_params
from testdata_numpy import generator, softmax
from tvm_artifacts import build_factory, link_library, run_factory
from tvm_params import write_reference
from tvm_version import VERSION

HOST = "llvm -mcpu=x86-64-v2"


class Case(NamedTuple):
    """A model, and inputs to run it on."""

    arguments: Sequence[Any]
    body: Any
    inputs: Mapping[str, np.ndarray]
    params: Mapping[str, np.ndarray] = {}
    expected: Sequence[np.ndarray] | None = None
    mixed: bool = False  # some operators are for the CPU


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small float32 numbers of both signs."""
    return rng.uniform(-1, 1, shape).astype("float32")


def var(name: str, array: np.ndarray) -> Any:
    """An argument for an array."""
    return relay.var(name, shape=array.shape, dtype=array.dtype.name)


def mlp(rng: np.random.Generator) -> Case:
    """Three dense layers and a softmax."""
    sizes = (64, 48, 32, 10)
    x = numbers(rng, 4, sizes[0])
    params: dict[str, np.ndarray] = {}
    expected = x
    arguments = [var("data", x)]
    body = arguments[0]
    for layer, (inner, outer) in enumerate(zip(sizes, sizes[1:])):
        weight, bias = numbers(rng, outer, inner), numbers(rng, outer)
        params.update({f"w{layer}": weight, f"b{layer}": bias})
        arguments += [var(f"w{layer}", weight), var(f"b{layer}", bias)]
        body = relay.nn.bias_add(relay.nn.dense(body, arguments[-2]), arguments[-1])
        expected = expected @ weight.T + bias
        if layer < len(sizes) - 2:
            body = relay.nn.relu(body)
            expected = np.maximum(expected, 0)
    return Case(arguments, relay.nn.softmax(body), {"data": x}, params, [softmax(expected)])


def conv(rng: np.random.Generator) -> Case:
    """Two convolutions with pooling, and a dense layer."""
    x = numbers(rng, 1, 3, 12, 12)
    params = {"w0": numbers(rng, 8, 3, 3, 3), "w1": numbers(rng, 8, 8, 3, 3), "w2": numbers(rng, 5, 8)}
    data, weights = var("data", x), [var(name, array) for name, array in params.items()]
    body = relay.nn.relu(relay.nn.conv2d(data, weights[0], padding=(1, 1), channels=8, kernel_size=(3, 3)))
    body = relay.nn.max_pool2d(body, pool_size=(2, 2), strides=(2, 2))
    body = relay.nn.relu(relay.nn.conv2d(body, weights[1], padding=(1, 1), channels=8, kernel_size=(3, 3)))
    body = relay.nn.batch_flatten(relay.nn.global_avg_pool2d(body))
    return Case([data, *weights], relay.nn.dense(body, weights[2]), {"data": x}, params)


def mixed(rng: np.random.Generator) -> Case:
    """Operators on the device and on the CPU in turns, each with a parameter of its own."""
    x = numbers(rng, 3, 16)
    params = {name: numbers(rng, 3, 16) for name in ("w0", "w1", "w2")}
    data, weights = var("data", x), [var(name, array) for name, array in params.items()]
    gpu, cpu = tvm.device("opencl", 0), tvm.cpu(0)
    body = relay.annotation.on_device(relay.multiply(data, weights[0]), gpu)
    body = relay.annotation.on_device(relay.tanh(relay.add(body, weights[1])), cpu)
    body = relay.annotation.on_device(relay.subtract(body, weights[2]), gpu)
    expected = np.tanh(x * params["w0"] + params["w1"]) - params["w2"]
    return Case([data, *weights], body, {"data": x}, params, [expected], mixed=True)


def order(rng: np.random.Generator) -> Case:
    """sort, argsort, topk and argmax of one input; without equal numbers, so that there is one answer."""
    x = rng.permutation(60).reshape(3, 20).astype("float32")
    data = var("data", x)
    top = relay.topk(data, k=4, axis=1, ret_type="both", dtype="int32")
    body = relay.Tuple(
        [relay.sort(data), relay.argsort(data, dtype="int32"), top[0], top[1], relay.argmax(data, axis=1)]
    )
    descending = np.argsort(-x, axis=1)[:, :4]
    expected = [
        np.sort(x),
        np.argsort(x).astype("int32"),
        np.take_along_axis(x, descending, 1),
        descending.astype("int32"),
        x.argmax(axis=1).astype("int32"),
    ]
    return Case([data], body, {"data": x}, {}, expected)


def scalars(rng: np.random.Generator) -> Case:
    """Element types beside float32, more than one dimension of work groups, and a scalar output."""
    x, i = numbers(rng, 2, 5, 7), rng.integers(-1000, 1000, (2, 5, 7)).astype("int64")
    data, index = var("data", x), var("index", i)
    half = relay.cast(relay.cast(data, "float64") / relay.const(2.0, "float64"), "float32")
    body = relay.Tuple([relay.sum(data), relay.cast(index * index, "int32"), relay.transpose(half, (2, 0, 1))])
    expected = [x.sum(), (i * i).astype("int32"), (x / 2).transpose(2, 0, 1)]
    return Case([data, index], body, {"data": x, "index": i}, {}, expected)


def resnet18(rng: np.random.Generator) -> Case:
    """ResNet-18 for pictures of 64x64, up to the scores of its 1000 classes."""
    x = numbers(rng, 1, 3, 64, 64)
    function = testing.resnet.get_net(1, 1000, num_layers=18, image_shape=x.shape[1:], dtype="float32")
    function = relay.transform.InferType()(tvm.IRModule.from_expr(function))["main"]
    params = {name: array.numpy() for name, array in initial_params(function, "data", rng).items()}
    return Case(function.params, function.body.args[0], {"data": x}, params)


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "mlp": mlp,
    "conv": conv,
    "mixed": mixed,
    "order": order,
    "scalars": scalars,
    "resnet18": resnet18,
}
LARGE_CASES = ("resnet18",)
# What of them an older compiler is for: to see that its libraries run.
OLD_CASES = ("mlp",)


def build(case: Case, target: Any) -> Any:
    """A factory of the case, which keeps its parameters as arguments."""
    module = tvm.IRModule.from_expr(relay.Function(case.arguments, case.body))
    params = {name: tvm.nd.array(array) for name, array in case.params.items()}
    return build_factory(module, target, params)


def opencl_target(case: Case) -> Any:
    """The target, or those of a model for two kinds of device."""
    device = tvm.target.Target("opencl", host=HOST)
    return {"opencl": device, "cpu": tvm.target.Target(HOST, host=HOST)} if case.mixed else device


def run_on_cpu(case: Case, folder: Path) -> list[Any]:
    """What the model for the CPU gives in the compiler's own runtime."""
    if case.mixed:
        case = case._replace(body=StripDevices().visit(case.body))
    path = folder / "cpu.so"
    link_library(build(case, HOST), path)
    outputs = run_factory(path, {name: tvm.nd.array(array) for name, array in case.inputs.items()})
    path.unlink()
    return outputs


class StripDevices(relay.ExprMutator):
    """Removes the marks that say where operators run."""

    def visit_call(self, call: Any) -> Any:
        """A call, or its argument where it is such a mark."""
        if getattr(call.op, "name", "") == "on_device":
            return self.visit(call.args[0])
        return super().visit_call(call)


def write_case(name: str, folder: Path) -> None:
    """Write one model and its reference."""
    case = CASES[name](generator(name))
    folder.mkdir(parents=True)
    outputs = run_on_cpu(case, folder)
    for index, (output, expected) in enumerate(zip(outputs, case.expected or ())):
        np.testing.assert_allclose(output.numpy(), expected, 1e-4, 1e-5, err_msg=f"{name}: output {index}")
    inputs = {key: tvm.nd.array(array) for key, array in case.inputs.items()}
    write_reference(folder / "reference.params", inputs, outputs)
    link_library(build(case, opencl_target(case)), folder / "model.so")
    print(f"{folder}: {(folder / 'model.so').stat().st_size} bytes", flush=True)


def main() -> None:
    """Write what the running compiler is for."""
    parser = argparse.ArgumentParser(description="write the models for OpenCL that the tests load")
    parser.add_argument("--out", type=Path, default=Path("gotvm/testdata/opencl"), help="folder to write to")
    parser.add_argument("--all", action="store_true", help="the large model too")
    parser.add_argument("--only", nargs="*", help="only these cases")
    args = parser.parse_args()
    new = [name for name in CASES if args.all or name not in LARGE_CASES]
    names = new if VERSION == "0.19" else OLD_CASES
    for name in args.only or names:
        folder = args.out / f"tvm{VERSION}" / name
        shutil.rmtree(folder, ignore_errors=True)
        write_case(name, folder)


if __name__ == "__main__":
    main()
