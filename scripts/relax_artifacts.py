"""What the scripts for today's TVM (Relax, 0.25 to 0.27) share: targets, linking, parameter files, running.

The counterpart of tvm_artifacts.py for the classic compilers.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

# Linked with a C compiler, so that models need libc and libm but no C++ library; -s drops the symbols nobody looks up.
LINK_OPTIONS = ("-O2", "-s", "-lm", "-Wl,-z,noseparate-code", "-Wl,--build-id=none", "-Wl,-z,norelro")
PARAMS_MAGIC = 0xF7E58D4F05049CB7
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
        command = [linker, "-shared", "-fPIC", "-o", output, *objects, *kwargs.get("options", ()), *LINK_OPTIONS]
        subprocess.run([*command, *options], check=True)

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


def params_bytes(params: Mapping[str, Any]) -> bytes:
    """A params file as TVM's save_param_dict writes it, with the entries sorted by name."""
    names = {name: name.encode() for name in sorted(params)}
    parts = [struct.pack("<QQQ", PARAMS_MAGIC, 0, len(names))]
    parts += [struct.pack("<Q", len(raw)) + raw for raw in names.values()]
    parts.append(struct.pack("<Q", len(names)))
    for name, raw in names.items():
        single = bytes(tvm.runtime.save_param_dict({name: params[name]}))
        parts.append(single[40 + len(raw) :])
    return b"".join(parts)


def open_vm(path: Path) -> Any:
    """The compiler's own VM for a library, on the CPU."""
    return relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu(0))
