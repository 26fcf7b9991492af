"""What the scripts for today's TVM (Relax, 0.25 to 0.27) share: targets, linking, running.

The counterpart of tvm_artifacts.py for the classic compilers.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tvm_targets import LINK_OPTIONS, link_shared

VM_MAGIC_V1, VM_MAGIC_V2 = 0xD225DE2F4214151D, 0xD225DE2F4214151E


def cpu_target(cpu: str, triple: str = "", features: Sequence[str] = (), **more: Any) -> Any:
    """A CPU target; these versions take no target strings with options."""
    options: dict[str, Any] = {"kind": "llvm", "mcpu": cpu, **more}
    if triple:
        options["mtriple"] = triple
    if features:
        options["mattr"] = list(features)
    return tvm.target.Target(options)


def link_library(executable: Any, path: Path, linker: str = "gcc", options: Sequence[str] = ()) -> None:
    """Link a compiled module into a shared object with the given C compiler."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def create(output: str, objects: Sequence[str], **kwargs: Any) -> None:
        given = (*kwargs.get("options", ()), *LINK_OPTIONS, "-Wl,-z,norelro", *options)
        link_shared(linker, output, objects, given)

    create.output_format = "so"  # type: ignore[attr-defined]
    executable.export_library(str(path), fcompile=create)


def link_object(executable: Any, path: Path, linker: str = "ld") -> None:
    """Merge a compiled system library into one object file, to be linked into a program."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def create(output: str, objects: Sequence[str], **_: Any) -> None:
        subprocess.run([linker, "-r", "--strip-debug", "-o", output, *objects], check=True)

    create.output_format = "o"  # type: ignore[attr-defined]
    executable.export_library(str(path), fcompile=create)


def rewrite_as_v1(path: Path) -> None:
    """Turn a library's executable into format V1, as TVM 0.22 wrote it: without the section of memory scopes."""
    data = bytearray(path.read_bytes())
    magic = data.index(struct.pack("<Q", VM_MAGIC_V2))
    position = magic + 8

    def count() -> int:
        nonlocal position
        position += 8
        return struct.unpack_from("<Q", data, position - 8)[0]

    def skip_strings(number: int) -> None:
        nonlocal position
        for _ in range(number):
            length = count()
            position += length

    skip_strings(1)
    for _ in range(count()):
        position += 4
        skip_strings(1)
        position += 32
        skip_strings(count())
    assert count() == 0, f"{path}: has memory scopes"
    # Before the executable: the blob's size, its import tree with one import, the module's kind, the executable's size.
    blob, size = magic - 90, struct.unpack_from("<Q", data, magic - 8)[0]
    total, roots = struct.unpack_from("<QQ", data, blob)
    assert roots == 3, f"{path}: not the import tree of a model for CPUs"
    data[position - 8 : blob + 8 + total] = data[position : blob + 8 + total] + bytes(8)
    struct.pack_into("<QQ", data, magic - 8, size - 8, VM_MAGIC_V1)
    struct.pack_into("<Q", data, blob, total - 8)
    path.write_bytes(data)


def to_tensor(array: Any) -> Any:
    """A TVM tensor with the elements of a numpy array."""
    return tvm.runtime.tensor(np.ascontiguousarray(array).reshape(np.shape(array)))


def open_vm(path: Path) -> Any:
    """The compiler's own VM for a library, on the CPU."""
    return relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu(0))
