"""Which TVM runs."""

from __future__ import annotations

import tvm

VERSION = ".".join(tvm.__version__.split(".")[:2])  # such as 0.19
