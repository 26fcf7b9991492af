"""Writes the Relax executables for OpenCL that the tests of gotvm load, with TVM 0.27:

    $(scripts/venv 0.27) scripts/make_opencl_relax_testdata.py

    <out>/<case>/model.so               bytecode
    <out>/<case>/model-compiled.so      compiled mode
    <out>/<case>/reference.params       `in:<index>` are the arguments of main, `out:<index>` what it returns

The cases are some of relax_cases.py, and two that are here. The outputs are those of the same model compiled for the
CPU, in the compiler's own virtual machine. No OpenCL device is needed.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax
from tvm.ir import IRModule
from tvm.relax import VDevice
from tvm.script import relax as R

import relax_cases_ops  # noqa: F401  (adds to the cases)
from make_relax_testdata import make_case, run_call
from relax_artifacts import cpu_target, link_library, open_vm, to_tensor
from relax_cases import Call, Case, Shape, case, function, op, symbol, variable
from testdata_numpy import normal
from tvm_params import write_reference

# Those with a function main of tensors alone. (TVM 0.27's kernels for cumsum want 32 work items to go in step, which
# those of a CPU do not, so ops_gather is not among them.)
CASES = (
    "mlp",
    "mlp_dynamic",
    "cond",
    "mixed",
    "ops_sort",
    "order_dynamic",
    "cnn",
    "transformer",
    "transformer_dynamic",
)
# Those in the repository; scripts/test-models makes all.
COMMITTED = ("mlp", "mlp_dynamic", "cond", "mixed")


@case("order_dynamic")
def order_dynamic(rng: np.random.Generator) -> Case:
    """sort, argsort, topk and argmax of any number of rows."""
    x = rng.permutation(40).reshape(5, 8).astype("float32")
    builder, data = relax.BlockBuilder(), variable("x", x, (symbol("rows"), x.shape[1]))

    def body(emit: Callable[[Any], Any]) -> Any:
        top = emit(op.topk(data, 3, 1))
        least = emit(op.argsort(data, 1)), emit(op.argmax(data, 1))
        return emit(relax.Tuple([emit(op.sort(data, 1)), *least, *(emit(relax.TupleGetItem(top, i)) for i in (0, 1))]))

    function(builder, "main", [data], body)
    descending = np.argsort(-x, 1)[:, :3]
    expected = [np.sort(x, 1), np.argsort(x, 1).astype("int32"), x.argmax(1)]
    return Case(builder.get(), [Call("main", [x], [*expected, -np.sort(-x, 1)[:, :3], descending.astype("int32")])])


@case("mixed")
def mixed(rng: np.random.Generator, places: Sequence[VDevice] = ()) -> Case:
    """Operators on the first of two places and on the second in turns, with copies between; or all in one."""
    first, second = places or (None, None)
    x, y = normal(rng, 3, 16), normal(rng, 3, 16)
    builder = relax.BlockBuilder(IRModule({}, global_infos={"vdevice": list(places)}) if places else None)
    data = [relax.Var(name, R.Tensor(array.shape, "float32", first)) for name, array in (("x", x), ("y", y))]

    def body(emit: Callable[[Any], Any]) -> Any:
        def move(value: Any, place: VDevice | None) -> Any:
            return emit(op.to_vdevice(value, place)) if place else value

        product = move(emit(op.multiply(*data)), second)
        return emit(op.subtract(move(emit(op.tanh(product)), first), data[1]))

    function(builder, "main", data, body)
    return Case(builder.get(), [Call("main", [x, y], np.tanh(x * y) - y)])


def host_target() -> Any:
    """Code for x86-64 processors of 2009 and later."""
    return cpu_target("x86-64-v2", **{"opt-level": 1})


def opencl_target() -> Any:
    """The target for any OpenCL device."""
    return tvm.target.Target({"kind": "opencl"}, host=host_target())


def module_of(name: str) -> Any:
    """A case's module for OpenCL."""
    if name != "mixed":
        return make_case(name).module
    places = [VDevice(target, 0, "global") for target in (opencl_target(), host_target())]
    return mixed(np.random.default_rng(0), places).module


def build(name: str, mode: str) -> Any:
    """Compile a case; every kernel gets the default schedule of GPUs."""
    target = opencl_target()
    with target:
        module = relax.get_default_pipeline(target)(module_of(name))
    return relax.build(module, target=target, relax_pipeline=None, exec_mode=mode)


def flatten(value: Any) -> list[Any]:
    """The tensors in a result."""
    if isinstance(value, (list, tuple, tvm_ffi.Array)) and not isinstance(value, (Shape, tvm_ffi.Shape)):
        return [tensor for item in value for tensor in flatten(item)]
    return [value]


def write_case(name: str, folder: Path) -> None:
    """Write one model in both modes, and its reference."""
    case = make_case(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    call = next(call for call in case.calls if call.function == "main")
    cpu = cpu_target("x86-64-v2")
    with cpu:
        module = relax.get_default_pipeline(cpu)(case.module)
    link_library(relax.build(module, target=cpu, relax_pipeline=None), folder / "cpu.so")
    outputs = flatten(run_call(open_vm(folder / "cpu.so"), call, case))
    for index, (output, expected) in enumerate(zip(outputs, flatten(call.expected), strict=True)):
        np.testing.assert_allclose(output.numpy(), expected, 1e-4, 1e-5, err_msg=f"{name}: output {index}")
    (folder / "cpu.so").unlink()
    arguments = [case.params[value[1:]] if isinstance(value, str) else value for value in call.arguments]
    inputs = {str(i): to_tensor(np.asarray(value)) for i, value in enumerate(arguments)}
    write_reference(folder / "reference.params", inputs, outputs)
    for mode, file in (("bytecode", "model.so"), ("compiled", "model-compiled.so")):
        link_library(build(name, mode), folder / file)
        print(f"{folder}/{file}: {(folder / file).stat().st_size} bytes", flush=True)


def main() -> None:
    """Write all cases."""
    parser = argparse.ArgumentParser(description="write the Relax executables for OpenCL that the tests load")
    parser.add_argument("--out", type=Path, default=Path("gotvm/testdata/opencl/tvm0.27"), help="folder to write to")
    parser.add_argument("--all", action="store_true", help="the larger models too")
    parser.add_argument("--only", nargs="*", help="only these cases")
    args = parser.parse_args()
    for name in args.only or (CASES if args.all else COMMITTED):
        write_case(name, args.out / name)


if __name__ == "__main__":
    main()
