"""Temporary folders that compile_interrupt.py knows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

folders: list[Path] = []


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder that goes at the end of the block, or with Ctrl-C."""
    folder = Path(tempfile.mkdtemp(prefix=".compile-", dir=parent))
    folders.append(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
