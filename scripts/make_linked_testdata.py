"""Makes gotvm/testdata/linked, for the test of models that are linked into a program.

    $(scripts/venv 0.19) scripts/make_linked_testdata.py

Two models, y = 2x + 1 and y = 3x + 5 for x float32 [4], whose functions have the same names: if one captured the
other's, the results would show it. The first as object files for scripts/link-model, for the graph executor (graph.tar)
and for the AOT executor (aot.tar); the second as libraries (graph.so, aot.so).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tvm
from tvm import relay

from tvm_artifacts import build_factory, link_library

OUT = Path(__file__).resolve().parent.parent / "gotvm" / "testdata" / "linked"
TARGET = "llvm -mcpu=x86-64-v2 -opt-level=1"
EXECUTORS = {"graph": None, "aot": relay.backend.Executor("aot", {"interface-api": "packed", "unpacked-api": False})}


def build(scale: float, offset: float, executor: Any) -> Any:
    """A factory of y = scale * x + offset."""
    x = relay.var("x", shape=(4,), dtype="float32")
    y = relay.add(relay.multiply(x, relay.const(scale)), relay.const(offset))
    return build_factory(tvm.IRModule.from_expr(relay.Function([x], y)), TARGET, {}, executor)


def main() -> None:
    """Build all."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, executor in EXECUTORS.items():
        build(2.0, 1.0, executor).export_library(str(OUT / f"{name}.tar"))
        link_library(build(3.0, 5.0, executor).module, OUT / f"{name}.so")


if __name__ == "__main__":
    main()
