"""The one-file packagings of the models in gotvm/testdata/models, beside deploy.so, deploy.json and deploy.params:

factory.so    the factory library: relay.build(…).export_library
package.tar   the three files as tvmc packs them: TVM 0.19 in PAX format, TVM 0.9 in GNU's, which older Pythons wrote
aot.so        the model for the AOT executor
pools.so      the same with unified static memory planning: the caller gives constants and scratch memory

Libraries for this machine are run in the compiler's own runtime, and must give what the three files give.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relay
from tvm.relay.backend import Executor

from testdata_models import Case
from tvm_artifacts import build_factory, link_library, run_factory
from tvm_targets import Resolved
from tvm_version import VERSION

# Those in the repository; scripts/test-models makes all.
COMMITTED = ("bool", "conv", "dense", "linked_params", "multi_output", "odd_names")
# The AOT executor's compiler leaves an output unset that is another one's twin, and does not compile a model without
# inputs, nor most calls of external functions.
NO_AOT = ("input_output", "constants_only", "cblas", "nms", "nms_indices", "all_class_nms", "topk")
# TVM 0.9 plans pools for some models that its code writes beyond.
POOLS = ("conv",) if VERSION == "0.9" else ("conv", "dense", "lstm")
AOT = {"interface-api": "packed", "unpacked-api": False}


def build(case: Case, resolved: Resolved, executor: Any, config: Mapping[str, Any]) -> Any:
    """The factory of a case."""
    module = tvm.IRModule.from_expr(relay.Function(case.arguments, case.body))
    params = {name: tvm.nd.array(array) for name, array in case.params.items()}
    return build_factory(module, f"{resolved.target} {case.options}".strip(), params, executor, config)


def clean(name: str) -> str:
    """An input's name as the AOT executor has it."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else "_" for byte in name.encode())


def write_library(path: Path, case: Case, resolved: Resolved, factory: Any, reference: Sequence[Any]) -> str:
    """Link a factory, and run it where that is possible."""
    link_library(factory, path, resolved.linker, resolved.link_options)
    if resolved.native:
        rename: Callable[[str], str] = str if path.name == "factory.so" else clean
        outputs = run_factory(path, {rename(name): tensor for name, tensor in case.tensors().items()})
        assert len(outputs) == len(reference), f"{path}: {len(outputs)} outputs, expected {len(reference)}"
        for index, (output, expected) in enumerate(zip(outputs, reference)):
            np.testing.assert_allclose(
                output.numpy(), expected.numpy(), case.rtol, case.atol, err_msg=f"{path}: output {index}"
            )
    return path.name


def write_tar(path: Path, folder: Path) -> str:
    """Pack the three files; every run gives the same archive."""
    old = VERSION == "0.9"
    with tarfile.open(str(path), "w", format=tarfile.GNU_FORMAT if old else tarfile.PAX_FORMAT) as tar:
        for ending in ("so", "json", "params"):
            source = folder / f"deploy.{ending}"
            info = tarfile.TarInfo(f"mod.{ending}")
            info.size = source.stat().st_size
            info.mtime = 1600000000 if old else 1600000000.25  # type: ignore[assignment]
            with source.open("rb") as file:
                tar.addfile(info, file)
    return path.name


def write_packages(name: str, case: Case, resolved: Resolved, folder: Path, reference: Sequence[Any]) -> list[str]:
    """Write the packagings of a case whose three files are in the folder; their names."""
    written = [
        write_library(folder / "factory.so", case, resolved, build(case, resolved, case.executor, {}), reference),
        write_tar(folder / "package.tar", folder),
    ]
    if name in NO_AOT:
        return written
    factory = build(case, resolved, Executor("aot", AOT), {})
    written.append(write_library(folder / "aot.so", case, resolved, factory, reference))
    if name in POOLS:
        factory = build(case, resolved, Executor("aot", AOT), {"tir.usmp.enable": True})
        written.append(write_library(folder / "pools.so", case, resolved, factory, reference))
    return written
