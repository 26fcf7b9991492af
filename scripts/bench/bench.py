"""Measures gotvm beside TVM's own runtime, the Go binding that TVM published, and onnxruntime. `make bench` calls it.

Everything that is compared runs in turn, in one session; figures are medians over rounds, ratios medians of the ratios
within a round. Results go to results.md and results.json. A missed goal is marked, and is no failure: noise happens.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from groups import GROUPS
from prepare import (
    MODELS,
    ROOT,
    Bench,
    build_go,
    build_native,
    build_published,
    check_onnx,
    export_onnx,
    package_of,
    prepare_model,
)
from report import machine, write


def prepare(options: argparse.Namespace, relax_python: str = "") -> Bench:
    """Build everything; `relax_python` is for the group relax alone."""
    out: Path = options.out.resolve()
    made = options.models.resolve()
    (out / "models").mkdir(parents=True, exist_ok=True)
    tvm = package_of(options.tvm_python, "tvm")
    build_native(out)
    build_go(out)
    build_published(tvm, out)
    export_onnx(options.tvm_python, made, out / "models")
    models = [prepare_model(name, made, out / "models") for name in options.only_models]
    for model in models:
        print(f"{model.name}: onnxruntime and TVM differ by {check_onnx(model):.1e} at most", flush=True)
    sets, rounds = (1, 3) if options.quick else (3, 7)
    build = options.build.resolve()
    return Bench(
        out=out,
        tvm=tvm,
        library=build / "libtvm_runtime.so",
        pool=build / "bench_threads",
        opencl=build / "bench_opencl",
        models=models,
        made=made,
        quick=options.quick,
        sets=options.sets or sets,
        rounds=options.rounds or rounds,
        relax_python=relax_python,
    )


def add_options(parser: argparse.ArgumentParser, default_models: list[str]) -> None:
    """What both benchmarks take."""
    parser.add_argument("--quick", action="store_true", help="short, for trying the benchmarks themselves")
    parser.add_argument("--sets", type=int, help="processes of each program")
    parser.add_argument("--rounds", type=int, help="measurements in each process")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="where make has built the library")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for programs and results")
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "models", help="what `make models` made")
    parser.add_argument("--only-models", nargs="+", choices=MODELS, default=default_models)
    parser.add_argument("--tvm-python", required=True, help="the Python that has TVM 0.19")


def clean_environment() -> None:
    """The programs run with default settings."""
    for variable in ("TVM_NUM_THREADS", "OMP_NUM_THREADS", "GOMAXPROCS", "GOGC", "GOMEMLIMIT"):
        os.environ.pop(variable, None)


def main() -> None:
    """Build, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "groups", nargs="*", default=list(GROUPS), metavar="GROUP", help=f"of {', '.join(GROUPS)}; default all"
    )
    add_options(parser, default_models=list(MODELS))
    parser.add_argument("--relax-python", required=True, help="the Python that has TVM 0.27")
    options = parser.parse_args()
    for name in options.groups:
        if name not in GROUPS:
            parser.error(f"there is no group {name}")
    clean_environment()
    about = machine()
    bench = prepare(options, options.relax_python)
    tables = []
    for name in options.groups:
        print(f"measuring: {name} …", flush=True)
        new = GROUPS[name](bench)
        print("\n".join(table.text() for table in new), flush=True)
        tables += new
        write(tables, about, bench.out)
    missed = [cell for table in tables for cell in table.missed()]
    print(f"\n{len(missed)} goals missed" + "".join(f"\n  {cell}" for cell in missed))
    print(f"{bench.out / 'results.md'}, {bench.out / 'results.json'}")


if __name__ == "__main__":
    main()
