"""What the scripts share: writing compiled models to files, and running them for reference outputs.

Works with the classic (Relay) compilers TVM 0.19 and TVM 0.9.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tvm
from tvm import relay
from tvm.contrib import graph_executor

from tvm_params import params_bytes
from tvm_targets import LINK_OPTIONS, link_shared
from tvm_version import VERSION

# No downloads of tuning logs during a build, and no advice to tune on every operator.
os.environ.setdefault("TOPHUB_LOCATION", "NONE")
for name in ("autotvm", "strategy", "topi"):
    logging.getLogger(name).setLevel(logging.ERROR)

# LLVM finds common subexpressions itself. TVM 0.19's own pass makes float variables whose debug records LLVM 22 rejects
# ("location of #dbg_declare must be a pointer or int").
PASS_CONFIG = {"tir.disable_cse_tir": True} if VERSION == "0.19" else {}


class Compiled(NamedTuple):
    """A compiled model: the TVM library, the graph as JSON text, and the parameters by name."""

    library: Any
    graph: str
    params: Mapping[str, Any]


class Triple(NamedTuple):
    """The three files of a graph executor model."""

    library: Path
    graph: Path
    params: Path


def build_factory(
    module: Any, target: Any, params: Mapping[str, Any], executor: Any = None, config: Mapping[str, Any] | None = None
) -> Any:
    """Compile a Relay module for the graph executor or another one; the result can be exported whole."""
    options = {"executor": executor} if executor else {}
    with tvm.transform.PassContext(opt_level=3, config={**PASS_CONFIG, **(config or {})}):
        return relay.build(module, target=target, params=dict(params), **options)


def compile_relay(module: Any, target: Any, params: Mapping[str, Any], executor: Any = None) -> Compiled:
    """Compile a Relay module for the graph executor."""
    built = build_factory(module, target, params, executor)
    return Compiled(built.get_lib(), built.get_graph_json(), built.get_params())


def link_library(module: Any, path: Path, linker: str = "gcc", options: Sequence[str] = ()) -> None:
    """Link a TVM module into a shared object with the given C compiler."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def create(output: str, objects: Sequence[str], **kwargs: Any) -> None:
        link_shared(linker, output, objects, [*kwargs.get("options", []), *LINK_OPTIONS, *options])

    create.output_format = "so"  # type: ignore[attr-defined]
    module.export_library(str(path), fcompile=create)


def write_triple(
    compiled: Compiled, folder: Path, name: str, linker: str = "gcc", options: Sequence[str] = ()
) -> Triple:
    """Write <name>.so, <name>.json and <name>.params into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    triple = Triple(folder / f"{name}.so", folder / f"{name}.json", folder / f"{name}.params")
    link_library(compiled.library, triple.library, linker, options)
    triple.graph.write_text(compiled.graph, encoding="utf-8")
    triple.params.write_bytes(params_bytes(compiled.params))
    return triple


def write_objects(compiled: Compiled, path: Path, name: str = "default") -> None:
    """Write a tar archive of object files: a factory, as export_library writes it, with the parameters sorted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    create = tvm.get_global_func("tvm.graph_executor_factory.create")
    pairs = [part for key in sorted(compiled.params) for part in (key, compiled.params[key])]
    create(compiled.graph, compiled.library, name, *pairs).export_library(str(path))


def check_symbols(path: Path, symbols: Sequence[str]) -> None:
    """Fail unless the library has all the dynamic symbols."""
    table = subprocess.run(["nm", "-D", str(path)], check=True, stdout=subprocess.PIPE).stdout.decode()
    present = {line.split()[-1] for line in table.splitlines()}
    missing = sorted(set(symbols) - present)
    assert not missing, f"{path}: no symbols {missing}"


def run_triple(triple: Triple, inputs: Mapping[str, Any]) -> list[Any]:
    """Load the three files into the compiler's own runtime and run them once; inputs and outputs are TVM tensors."""
    library = tvm.runtime.load_module(str(triple.library))
    module = graph_executor.create(triple.graph.read_text(encoding="utf-8"), library, tvm.cpu(0))
    module.load_params(triple.params.read_bytes())
    for name, tensor in inputs.items():
        module.set_input(name, tensor)
    module.run()
    return [module.get_output(i) for i in range(module.get_num_outputs())]


def run_factory(path: Path, inputs: Mapping[str, Any]) -> list[Any]:
    """The same for a library that build_factory's result was linked into."""
    module = tvm.runtime.load_module(str(path))["default"](tvm.cpu(0))
    for name, tensor in inputs.items():
        module["set_input"](name, tensor)
    module["run"]()
    return [module["get_output"](i) for i in range(module["get_num_outputs"]())]
