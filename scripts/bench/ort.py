"""An ONNX model in onnxruntime, from Python; the same as opened/main.go.

    ort.py PATH INPUT DTYPE SHAPE THREADS

It serves requests "REPEAT NUMBER". The input is zeros.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

from serving import serve


def main() -> None:
    """Open and run."""
    path, name, dtype, shape, threads = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {name: np.zeros([int(dim) for dim in shape.split(",")], dtype)}
    serve(lambda: session.run(None, inputs))


if __name__ == "__main__":
    main()
