"""Parameter files, as TVM's save_param_dict writes them; works with every TVM."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tvm

PARAMS_MAGIC = 0xF7E58D4F05049CB7


def params_bytes(params: Mapping[str, Any]) -> bytes:
    """A params file as TVM writes it, but with the entries sorted: TVM's own order differs from run to run."""
    names = {name: name.encode() for name in sorted(params)}
    parts = [struct.pack("<QQQ", PARAMS_MAGIC, 0, len(names))]
    parts += [struct.pack("<Q", len(raw)) + raw for raw in names.values()]
    parts.append(struct.pack("<Q", len(names)))
    for name, raw in names.items():
        single = bytes(tvm.runtime.save_param_dict({name: params[name]}))
        parts.append(single[40 + len(raw) :])
    return b"".join(parts)


def write_reference(path: Path, inputs: Mapping[str, Any], outputs: Sequence[Any]) -> None:
    """Write tensors as one params file with the names `in:<input name>` and `out:<index>`."""
    entries: dict[str, Any] = {f"in:{name}": tensor for name, tensor in inputs.items()}
    entries.update({f"out:{index}": tensor for index, tensor in enumerate(outputs)})
    path.write_bytes(params_bytes(entries))
