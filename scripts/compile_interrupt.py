"""Ctrl-C ends a compile script in its handler. To be imported first, as loading the compiler takes a while.

As an exception, in a function that TVM calls, it would come out as another one, or make TVM hang or crash.
"""

from __future__ import annotations

import os
import shutil
import signal
from typing import Any

import compile_temporary


def end(*_: Any) -> None:
    """The handler."""
    for folder in compile_temporary.folders:
        shutil.rmtree(folder, ignore_errors=True)
    os.write(2, b"compile: interrupted\n")
    os._exit(128 + signal.SIGINT)


signal.signal(signal.SIGINT, end)
