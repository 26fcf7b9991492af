"""Measures what scripts/compile makes of real models, beside other ways to run them.

    $(scripts/venv 0.27) scripts/bench/compilers.py [--tune 200] [--only magika ocr_rec]

The models of scripts/make_relax_models.py, and two networks of scripts/make_models.py, go through the classic compiler,
through today's with TVM's own pipeline for CPUs, and through scripts/compile --relax, tuned too if that is wanted.
gotvm runs them; onnxruntime runs the ONNX file. Everything is compiled for this machine's CPU and measured in turn; a
figure is the least time of one inference, the one that other programs disturbed least.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from tvm import relax

from children import Child, Maker, alternate
from prepare import HERE, ROOT, THREADS, run
from report import Table, keep, machine, show, show_time, write

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compile_onnx import input_shapes, read_onnx
from make_relax_models import MODELS as REAL
from relax_artifacts import cpu_target, link_library
from relax_onnx import load
from tvm_targets import native_cpu

NETWORKS = ("mobilenet_nchw", "resnet18")
NAMES = (*REAL, *NETWORKS)


class Subject(NamedTuple):
    """A model, as a file and as what each compiler made of it."""

    name: str
    file: Path
    shape: str  # scripts/compile's option
    dtype: str
    made: Path  # a folder


def prepare(name: str, models: Path, out: Path) -> Subject:
    """Find or export the ONNX file of a model."""
    file = (models if name in REAL else out) / name / f"{name}.onnx"
    if name in NETWORKS:
        classic = subprocess.run([ROOT / "scripts/venv", "0.19"], check=True, stdout=subprocess.PIPE, text=True)
        run(classic.stdout.strip(), HERE / "export_onnx.py", "--out", out, name)
    (value,) = onnx.load(str(file), load_external_data=False).graph.input[:1]
    tensor = value.type.tensor_type
    declared = f"{value.name}={','.join(str(dim.dim_value) for dim in tensor.shape.dim)}"
    shape = REAL[name].shape_option() if name in REAL else declared
    return Subject(name, file, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name, out / name)


def compile_default(subject: Subject) -> None:
    """Compile with TVM's own pipeline for CPUs."""
    model = read_onnx(subject.file)
    module, target = load(model, input_shapes(model, [subject.shape])), cpu_target(native_cpu())
    with target:
        executable = relax.build(module, target=target, relax_pipeline=relax.get_default_pipeline(target))
    link_library(executable, subject.made / "default.so")


def compile_all(subject: Subject, trials: int) -> dict[str, Path]:
    """Compile in every way; the result is what gotvm opens."""
    command = [ROOT / "scripts/compile", subject.file, "--shape", subject.shape, "--cpu", "native", "--out"]
    compile_default(subject)
    run(*command, subject.made, "--relax", "--name", "relax")
    run(*command, subject.made / "classic")
    made = {"default": "default.so", "relax": "relax.so"}
    if trials:
        run(*command, subject.made, "--relax", "--name", "tuned", "--tune", trials)
        made["tuned"] = "tuned.so"
    made["classic"] = "classic"
    return {name: subject.made / file for name, file in made.items()}


def makers(subject: Subject, made: Mapping[str, Path], program: Path) -> dict[str, Maker]:
    """What runs the model, by name and number of threads."""
    name, _, dims = subject.shape.rpartition("=")
    given = [name, subject.dtype, dims]
    found: dict[str, Maker] = {}
    for threads in THREADS:
        for way, path in made.items():
            found[f"{way}/{threads}"] = partial(
                Child, [program, path, *given, threads], {"TVM_NUM_THREADS": str(threads)}
            )
        command = [sys.executable, HERE / "ort.py", subject.file, *given, threads]
        found[f"onnx/{threads}"] = partial(Child, command)
    return found


def measure(subject: Subject, made: Mapping[str, Path], program: Path, rounds: int, table: Table) -> None:
    """The rows of one model."""
    samples = keep(table, subject.name, alternate(makers(subject, made, program), "5 1", 1, rounds))
    for threads in THREADS:
        names = [f"{way}/{threads}" for way in (*made, "onnx")]
        times = [min((min(answer) for answer in samples.answers[name] if answer), default=None) for name in names]
        ratios = [time / times[-1] if time and times[-1] else None for time in times[:-1]]
        cells = [f"{show_time(time)} ({show(ratio)})" for time, ratio in zip(times[:-1], ratios, strict=True)]
        figures = {"model": subject.name, "threads": threads, **dict(zip(names, times, strict=True))}
        table.row([subject.name, str(threads), *cells, show_time(times[-1])], figures)


def main() -> None:
    """Compile, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "build/models", help="what make_relax_models.py made")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench/compilers", help="folder to write to")
    parser.add_argument("--tune", type=int, default=0, metavar="TRIALS", help="measure a tuned executable too")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each")
    args = parser.parse_args()
    about, out = machine(), args.out.resolve()
    program = out / "opened"
    out.mkdir(parents=True, exist_ok=True)
    run("go", "build", "-o", program, "./opened", cwd=HERE)
    ways = ["TVM's pipeline", "scripts/compile --relax", *(["tuned"] if args.tune else []), "classic"]
    table = Table("One inference (and times onnxruntime's)", ["model", "threads", *ways, "onnxruntime"])
    os.environ.pop("TVM_NUM_THREADS", None)
    for name in args.only:
        subject = prepare(name, args.models.resolve(), out)
        measure(subject, compile_all(subject, args.tune), program, args.rounds, table)
    print(table.text())
    write([table], about, out)


if __name__ == "__main__":
    main()
