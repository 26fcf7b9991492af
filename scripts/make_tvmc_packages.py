"""Writes what tvmc makes of an ONNX file, for the tests of packages: needs TVM 0.19.

package.tar       the usual one: mod.so, mod.json, mod.params
objects.tar       with object files instead of a library
vm.tar            for Relay's virtual machine
vm.so             the library of that
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tvm.driver import tvmc

import tvm_artifacts  # noqa: F401  (no downloads, no advice)


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description="write tvmc packages of an ONNX file")
    parser.add_argument("model", type=Path, help="the ONNX file")
    parser.add_argument("--shape", required=True, help="name and shape of the input, such as x=1,3,224,224")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()

    name, _, dims = args.shape.partition("=")
    shapes = {name: [int(dim) for dim in dims.split(",")]}
    args.out.mkdir(parents=True, exist_ok=True)
    for file, options in {
        "package.tar": {"output_format": "so"},
        "objects.tar": {"output_format": "tar"},
        "vm.tar": {"output_format": "so", "use_vm": True},
    }.items():
        model = tvmc.load(str(args.model), shape_dict=shapes)
        tvmc.compile(model, target="llvm", package_path=str(args.out / file), **options)
        if file == "vm.tar":
            (args.out / "vm.so").write_bytes(Path(model.lib_path).read_bytes())
        print(args.out / file, flush=True)


if __name__ == "__main__":
    main()
