"""Compiles an ONNX model with TVM 0.19 into the three files that gotvm runs.

Use scripts/compile, which makes the Python environment first.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import compile_interrupt  # noqa: F401  (handles Ctrl-C)

# isort: split
import tvm
from tvm import relay
from tvm.relay.analysis import post_order_visit

from compile_messages import UserError, errors_in_one_line, last_line, stage
from compile_onnx import Shape, import_error, input_shapes, read_onnx, show, warn_of_contradictions
from compile_output import file_name, new_files
from tvm_artifacts import Compiled, compile_relay, write_objects, write_triple
from tvm_targets import PLATFORMS, Resolved, resolve
from tvm_tuning import compile_tuned, tune

EXAMPLES = """examples:
  scripts/compile resnet.onnx --out model
  scripts/compile resnet.onnx --out model --shape data=1,3,224,224 --cpu native
  scripts/compile resnet.onnx --out model --target arm64 --cpu cortex-a72
  scripts/compile resnet.onnx --out model --cpu native --tune 1000

today's compiler, which makes one Relax executable: scripts/compile --relax --help
"""


class Imported(NamedTuple):
    """A model as a Relay module."""

    module: Any
    params: Mapping[str, Any]


def check_static(module: Any) -> None:
    """Refuse models with shapes that depend on data: the graph executor has none."""
    dynamic: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, relay.Call) and relay.ty.is_dynamic(node.checked_type):
            dynamic.append(str(getattr(node.op, "name", "a function")))

    post_order_visit(module["main"], visit)
    if dynamic:
        raise UserError(
            f"the output shape of operator {dynamic[0]} depends on the data: such models cannot be compiled"
        )


def import_model(model: Any, shapes: Mapping[str, Shape], layout: str | None) -> Imported:
    """Translate ONNX to Relay."""
    try:
        module, params = relay.frontend.from_onnx(model, shape=dict(shapes), freeze_params=True)
    except tvm.error.OpNotImplemented as error:
        raise UserError(last_line(error)) from error
    except Exception as error:
        if isinstance(error, KeyError) and isinstance(error.args[0], relay.Var):
            name = error.args[0].name_hint
            raise UserError(f"TVM 0.19 cannot import If or Loop with a body that uses {name}: try --relax") from error
        raise import_error(error) from error
    module = relay.transform.InferType()(module)
    check_static(module)
    return Imported(convert_layout(module, layout) if layout else module, params)


def convert_layout(module: Any, layout: str) -> Any:
    """Compute convolutions in the given layout; the inputs and outputs of the model stay as they are."""
    wanted = {name: [layout, "default"] for name in ("nn.conv2d", "nn.conv2d_transpose", "qnn.conv2d")}
    wanted.update({name: [layout] for name in ("nn.max_pool2d", "nn.avg_pool2d", "nn.global_avg_pool2d")})
    passes = tvm.transform.Sequential([relay.transform.ConvertLayout(wanted), relay.transform.FoldConstant()])
    with tvm.transform.PassContext(opt_level=3):
        return passes(module)


def build(imported: Imported, resolved: Resolved, trials: int, tuning_folder: Path) -> Compiled:
    """Compile, after tuning if that is wanted."""
    try:
        if trials == 0:
            with stage(f"compiling for {resolved.target}"):
                return compile_relay(imported.module, resolved.target, imported.params)
        with stage(f"tuning, {trials} trials on this machine"):
            target = tvm.target.Target(f"{resolved.target} -num-cores={os.cpu_count()}")
            database = tune(imported.module, target, imported.params, trials, tuning_folder)
        with stage(f"compiling for {resolved.target}"):
            return compile_tuned(database, imported.module, target, imported.params)
    except tvm.TVMError as error:
        raise UserError(f"TVM cannot compile the model: {last_line(error)}") from error


def describe_tensors(graph: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """One line for each input and output, as the runtime will see them."""

    def line(kind: str, name: str, node: int, index: int) -> str:
        entry = graph["node_row_ptr"][node] + index
        return f"  {kind:6} {name}  {graph['attrs']['dltype'][1][entry]} {show(graph['attrs']['shape'][1][entry])}"

    names = {node: graph["nodes"][node]["name"] for node in graph["arg_nodes"]}
    lines = [line("input", name, node, 0) for node, name in names.items() if name not in params]
    return lines + [line("output", str(i), head[0], head[1]) for i, head in enumerate(graph["heads"])]


def summary(compiled: Compiled, files: Sequence[Path]) -> str:
    """What was written, and how to call it."""
    lines = [f"  {path}  {path.stat().st_size / 1024:,.1f} KB" for path in files]
    return "\n".join(["compile: done", *lines, *describe_tensors(json.loads(compiled.graph), compiled.params)])


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/compile",
        description="compile an ONNX model into the three files that gotvm runs: NAME.so, NAME.json, NAME.params",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="ONNX file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--name", type=file_name, default="deploy", help="file name without its ending (default: deploy)"
    )
    parser.add_argument("--target", default="amd64", help=f"{', '.join(PLATFORMS)}, or a TVM target (default: amd64)")
    parser.add_argument("--cpu", help="LLVM's name of the CPU, or native (default: x86-64-v3 on amd64, else generic)")
    parser.add_argument("--host", default="amd64", choices=sorted(PLATFORMS), help="the machine around a GPU target")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=DIMS", help="shape of an input")
    parser.add_argument(
        "--layout",
        choices=("NCHW", "NHWC"),
        help="compute convolutions in this layout (default: as in the model; with --tune, NHWC)",
    )
    parser.add_argument(
        "--blas",
        choices=("none", "openblas"),
        default="none",
        help="who multiplies matrices; with openblas, a BLAS that gotvm opens at run time (README.md says which)",
    )
    parser.add_argument(
        "--objects", action="store_true", help="write NAME.tar instead, object files for scripts/link-model"
    )
    parser.add_argument(
        "--tune",
        type=int,
        default=0,
        metavar="TRIALS",
        help="first time this many variants of the operators here: hours for thousands; OUT/NAME-tuning keeps records",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """All stages."""
    if args.tune < 0:
        raise UserError("--tune: the number of trials cannot be negative")
    with stage(f"reading {args.model}"):
        model = read_onnx(args.model)
        shapes = input_shapes(model, args.shape)
        warn_of_contradictions(model)
    resolved = resolve(args.target, args.cpu, args.blas, args.host)
    if args.tune and not resolved.native:
        raise UserError("--tune times candidates on this machine: it goes with --target amd64 only")
    # MetaSchedule searches the layouts of weights itself, and does so for NHWC only.
    layout = args.layout or ("NHWC" if args.tune else None)
    with stage(f"importing {len(model.graph.node)} operators" + (f", convolutions in {layout}" if layout else "")):
        imported = import_model(model, shapes, layout)
    endings = ("tar",) if args.objects else ("so", "json", "params")
    with new_files(args.out, [f"{args.name}.{ending}" for ending in endings]) as files:
        compiled = build(imported, resolved, args.tune, args.out / f"{args.name}-tuning")
        if args.objects:
            write_objects(compiled, files[0])
        else:
            with stage(f"linking with {resolved.linker}"):
                write_triple(compiled, files[0].parent, args.name, resolved.linker, resolved.link_options)
    print(summary(compiled, [args.out / file.name for file in files]))


def main() -> None:
    """Run."""
    args = parse_arguments()
    warnings.filterwarnings("ignore", module="tvm")
    with errors_in_one_line(args.debug):
        run(args)


if __name__ == "__main__":
    main()
