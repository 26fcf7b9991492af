"""Compiles an ONNX model with TVM 0.27 into a Relax executable, one file that gotvm runs.

Use scripts/compile --relax, which makes the Python environment first.
"""

from __future__ import annotations

import argparse
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import compile_interrupt  # noqa: F401  (handles Ctrl-C)

# isort: split
import numpy as np
import onnxruntime
from tvm import relax, tirx

from compile_messages import UserError, errors_in_one_line, last_line, stage
from compile_onnx import Shape, input_shapes, read_onnx, show, warn_of_contradictions
from compile_output import file_name, new_files
from relax_artifacts import cpu_target, link_library, open_vm, to_tensor
from relax_onnx import load
from relax_passes import fused_kernels, lower
from relax_tuning import tuned_kernels
from tvm_targets import PLATFORMS, Resolved, check_cpu, check_linker, choose_cpu

EXAMPLES = """examples:
  scripts/compile --relax resnet.onnx --out model
  scripts/compile --relax resnet.onnx --out model --shape data=1,3,224,224 --cpu native --check
  scripts/compile --relax bert.onnx --out model --shape tokens=batch,length
  scripts/compile --relax resnet.onnx --out model --target arm64 --cpu cortex-a72
  scripts/compile --relax resnet.onnx --out model --cpu native --tune 1000
"""


def resolve(name: str, cpu: str | None) -> Resolved:
    """The target of a machine named in PLATFORMS."""
    platform = PLATFORMS[name]
    options = dict(option.lstrip("-").split("=", 1) for option in shlex.split(platform.options))
    chosen = choose_cpu(name, cpu)
    triple, features = options.pop("mtriple", ""), options.pop("mattr", "")
    target = cpu_target(chosen, triple, features.split(",") if features else (), **options)
    check_cpu(target, chosen)
    check_linker(platform.linker, platform.package)
    return Resolved(target, platform.linker, name == "amd64", platform.link_options)


def build(module: Any, resolved: Resolved, mode: str, trials: int, folder: Path) -> Any:
    """Compile, after tuning if that is wanted."""
    try:
        with resolved.target:
            with stage("choosing layouts, fusing operators"):
                kernels = fused_kernels(module)
            if trials:
                with stage(f"tuning, {trials} trials on this machine"):
                    kernels = tuned_kernels(kernels, resolved.target, trials, folder)
            with stage(f"compiling for {resolved.target.attrs['mcpu']}"):
                lowered = lower(kernels)
                refuse_python(lowered)
                return relax.build(lowered, target=resolved.target, relax_pipeline=None, exec_mode=mode)
    except RuntimeError as error:
        raise UserError(f"TVM cannot compile the model: {last_line(error)}") from error


def refuse_python(module: Any) -> None:
    """Refuse models that call functions of TVM's Python package, which no other program has."""
    needed: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, relax.ExternFunc) and node.global_symbol.startswith("relax.run."):
            needed.add(str(node.global_symbol))

    for _, function in module.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    if needed:
        raise UserError(f"the model needs {', '.join(sorted(needed))}, which exists in Python only")


def tensors_of(annotation: Any) -> list[Any]:
    """The types of the tensors in a type, in order."""
    fields = getattr(annotation, "fields", None)
    return [annotation] if fields is None else [tensor for field in fields for tensor in tensors_of(field)]


def describe(annotation: Any) -> str:
    """The type of a tensor as text."""
    if getattr(annotation, "shape", None) is None:
        return str(annotation)
    sizes = [int(dim) if isinstance(dim, tirx.IntImm) else str(dim) for dim in annotation.shape]
    return f"{annotation.dtype} {show(sizes)}"


def summary(module: Any, path: Path) -> str:
    """What was written, and how to call it."""
    main = module["main"]
    lines = [f"  input  {var.name}  {describe(var.ty)}" for var in main.params]
    lines += [f"  output {index}  {describe(kind)}" for index, kind in enumerate(tensors_of(main.ret_ty))]
    return "\n".join(["compile: done", f"  {path}  {path.stat().st_size / 1024:,.1f} KB", *lines])


def example_inputs(session: Any, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Random inputs for onnxruntime; unknown dimensions become 3."""
    rng = np.random.default_rng(1)
    inputs = {}
    for value in session.get_inputs():
        shape = [size if isinstance(size, int) else 3 for size in shapes[value.name]]
        if "float" in value.type or "double" in value.type:
            kind = {"tensor(float16)": "float16", "tensor(double)": "float64"}.get(value.type, "float32")
            inputs[value.name] = rng.random(shape).astype(kind)
        else:
            kind = value.type[7:-1]
            inputs[value.name] = rng.integers(0, 2, shape).astype(kind)
    return inputs


def open_reference(path: Path) -> Any:
    """The model in onnxruntime, for check."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"--check: onnxruntime does not take the model: {last_line(error)}") from error


def check(session: Any, shapes: Mapping[str, Shape], path: Path) -> None:
    """Compare the compiled model with onnxruntime on random inputs."""
    inputs = example_inputs(session, shapes)
    expected = session.run(None, inputs)
    result = open_vm(path.resolve())["main"](*(to_tensor(inputs[name]) for name in shapes))
    actual = [result] if hasattr(result, "numpy") else list(result)
    worst = 0.0
    for wanted, got in zip(expected, actual, strict=True):
        values = got.numpy()
        if (values.dtype, values.shape) != (wanted.dtype, wanted.shape):
            theirs = f"{wanted.dtype} {show(wanted.shape)}"
            raise UserError(f"--check: a result is {values.dtype} {show(values.shape)}; onnxruntime's is {theirs}")
        worst = max(worst, relative_difference(values, wanted))
    print(f"compile: largest difference from onnxruntime, relative to its largest number: {worst:.1e}", flush=True)
    if worst > 1e-2:
        raise UserError("--check: the results are not onnxruntime's")


def relative_difference(values: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of two arrays, as a part of the second's largest number; infinite if one alone is NaN."""
    ours, theirs = values.astype("float64"), wanted.astype("float64")
    same = (ours == theirs) | np.isnan(ours) & np.isnan(theirs)  # infinities too
    largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-6)
    return float(np.nan_to_num(np.abs(ours[~same] - theirs[~same]), nan=np.inf).max(initial=0.0) / largest)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/compile --relax",
        description="compile an ONNX model into a Relax executable that gotvm runs: NAME.so",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="ONNX file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--name", type=file_name, default="model", help="file name without its ending (default: model)")
    parser.add_argument("--target", default="amd64", choices=sorted(PLATFORMS), help="the machine (default: amd64)")
    parser.add_argument("--cpu", help="LLVM's name of the CPU, or native (default: x86-64-v3 on amd64, else generic)")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=DIMS",
        help="shape of an input; names stand for dimensions that stay unknown, at some cost in speed",
    )
    parser.add_argument(
        "--objects", action="store_true", help="write NAME.tar instead, object files for scripts/link-model"
    )
    parser.add_argument("--mode", choices=("bytecode", "compiled"), default="bytecode", help="how main itself is kept")
    parser.add_argument("--check", action="store_true", help="compare with onnxruntime on random inputs")
    parser.add_argument(
        "--tune",
        type=int,
        default=0,
        metavar="TRIALS",
        help="time this many variants of the kernels here, and use those that are faster: hours for thousands; "
        "OUT/NAME-relax-tuning keeps records",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser.parse_args()


def compile_model(args: argparse.Namespace) -> None:
    """All stages."""
    if args.tune < 0:
        raise UserError("--tune: the number of trials cannot be negative")
    if args.objects and args.check:
        raise UserError("--check opens a library: it does not go with --objects")
    resolved = resolve(args.target, args.cpu)
    if (args.tune or args.check) and not resolved.native:
        raise UserError("--tune and --check run the model on this machine: they go with --target amd64 only")
    with stage(f"reading {args.model}"):
        model = read_onnx(args.model)
        shapes = input_shapes(model, args.shape, symbols=True)
        warn_of_contradictions(model)
    reference = open_reference(args.model) if args.check else None
    with stage(f"importing {len(model.graph.node)} operators"):
        module = load(model, shapes)
    with new_files(args.out, [f"{args.name}.{'tar' if args.objects else 'so'}"]) as (path,):
        executable = build(module, resolved, args.mode, args.tune, args.out / f"{args.name}-relax-tuning")
        if args.objects:
            executable.export_library(str(path))
        else:
            with stage(f"linking with {resolved.linker}"):
                link_library(executable, path, resolved.linker, resolved.link_options)
        if reference:
            with stage("comparing with onnxruntime"):
                check(reference, shapes, path)
    print(summary(module, args.out / path.name))


def main() -> None:
    """Run."""
    args = parse_arguments()
    warnings.filterwarnings("ignore", module="tvm")
    with errors_in_one_line(args.debug):
        compile_model(args)


if __name__ == "__main__":
    main()
