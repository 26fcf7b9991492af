"""Compares the time of one inference with TVM's own runtime, in pairs of processes, and prints medians and ratios.

    make models && build/venv-0.19/bin/python scripts/bench_models.py

TVM's side is its time_evaluator on `run` alone; gotvm's is Session.Run from Go, inputs bound, outputs copied.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

MODELS = ("mlp", "mobilenet", "mobilenet_nchw", "resnet18")
THREADS = (1, 2)
ROOT = Path(__file__).resolve().parent.parent


def tvm_seconds(path: Path) -> float:
    """Time of one run in TVM's runtime, in this process."""
    import tvm
    from tvm.contrib import graph_executor

    library = tvm.runtime.load_module(f"{path}.so")
    module = graph_executor.create(Path(f"{path}.json").read_text(), library, tvm.cpu())
    module.load_params(Path(f"{path}.params").read_bytes())
    reference = tvm.runtime.load_param_dict((path.parent / "reference.params").read_bytes())
    for name, value in reference.items():
        if name.startswith("in:"):
            module.set_input(name[3:], value)
    module.run()
    evaluate = module.module.time_evaluator("run", tvm.cpu(), number=1, repeat=5, min_repeat_ms=200)
    return statistics.median(evaluate().results)


def child(arguments: list[str], threads: int, **environment: str) -> str:
    """The output of a process that may use that many threads."""
    env = {**os.environ, **environment, "TVM_NUM_THREADS": str(threads)}
    return subprocess.run(arguments, env=env, check=True, capture_output=True, text=True).stdout


def gotvm_seconds(test: Path, models: Path, name: str, threads: int) -> float:
    """Time of one run of the Go package."""
    pattern = f"^BenchmarkModel$/^{name}$/^threads={threads}$"
    output = child(
        [str(test), "-test.run=^$", f"-test.bench={pattern}", "-test.benchtime=1s"], threads, GOTVM_MODELS=str(models)
    )
    return float(re.search(r"([\d.]+) ns/op", output).group(1)) / 1e9


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "models")
    parser.add_argument("--pairs", type=int, default=5, help="processes of each side for each row")
    parser.add_argument("--tvm", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tvm:
        print(tvm_seconds(options.tvm))
        return
    test = ROOT / "build" / "gotvm.test"
    subprocess.run(["go", "test", "-c", "-o", str(test), "./gotvm"], cwd=ROOT, check=True)
    print(f"{'model':16} {'threads':>7} {'TVM':>12} {'gotvm':>12} {'ratio':>6}")
    for name in MODELS:
        for threads in THREADS:
            theirs, ours = [], []
            for _ in range(options.pairs):
                path = options.models / name / name
                theirs.append(float(child([sys.executable, __file__, "--tvm", str(path)], threads)))
                ours.append(gotvm_seconds(test, options.models.resolve(), name, threads))
            ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
            tvm_us, our_us = statistics.median(theirs) * 1e6, statistics.median(ours) * 1e6
            print(f"{name:16} {threads:7} {tvm_us:9.1f} µs {our_us:9.1f} µs {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
