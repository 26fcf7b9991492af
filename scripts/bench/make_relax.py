"""Compiles Relax models of which a call costs hardly anything in kernels, for TVM 0.27's venv.

    $(scripts/venv 0.27) scripts/bench/make_relax.py --out DIR

DIR/operators.so, DIR/operators-compiled.so: twelve operators on one element; reference.params: its input and output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tvm import relax

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relax_artifacts import cpu_target, link_library, to_tensor
from tvm_params import write_reference

OPERATORS = 12


def module() -> object:
    """main(x) = x, negated an even number of times."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = x
            for _ in range(OPERATORS):
                y = builder.emit(relax.op.negative(y))
            y = builder.emit_output(y)
        builder.emit_func_output(y)
    return builder.get()


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description="compile Relax models for the benchmark of calls")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    out = parser.parse_args().out
    target = cpu_target("x86-64-v2")
    with target:
        lowered = relax.get_pipeline("default")(module())
    for mode, name in (("bytecode", "operators.so"), ("compiled", "operators-compiled.so")):
        link_library(relax.build(lowered, target=target, relax_pipeline=None, exec_mode=mode), out / name)
    value = to_tensor(np.full(1, 0.5, "float32"))
    write_reference(out / "reference.params", {"0.0": value}, [value])


if __name__ == "__main__":
    main()
