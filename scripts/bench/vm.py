"""A Relax model in TVM 0.27's own virtual machine, from Python; the same as native/vm.c.

    vm.py MODE PREFIX INPUT SHAPE

MODE run serves requests "REPEAT NUMBER", MODE first prints the first result.
"""

from __future__ import annotations

import sys

import numpy as np
import tvm
from tvm import relax

from serving import serve


def main() -> None:
    """Open and run."""
    mode, prefix, _, shape = sys.argv[1:]
    machine = relax.VirtualMachine(tvm.runtime.load_module(f"{prefix}.so"), tvm.cpu(0))
    value = np.fromfile(f"{prefix}.in", "<f4").reshape([int(dim) for dim in shape.split(",")])
    data, function = tvm.runtime.tensor(value), machine["main"]
    if mode == "first":
        print(*function(data).numpy().ravel()[:10])
    else:
        serve(lambda: function(data))


if __name__ == "__main__":
    main()
