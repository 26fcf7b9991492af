"""What the compile scripts say: how far they are, and what is wrong, in one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can put right; the message is one line."""


@contextmanager
def stage(text: str) -> Iterator[None]:
    """Announce a stage, and say how long it took."""
    print(f"compile: {text} ...", flush=True)
    start = time.monotonic()
    yield
    print(f"compile: {text}: {time.monotonic() - start:.1f} s", flush=True)


def last_line(error: Exception) -> str:
    """The line of a TVM error that says what is wrong: the last one, as a traceback comes first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def errors_in_one_line(debug: bool) -> Iterator[None]:
    """End the program with one line where something fails; with `debug`, let the error through."""
    try:
        yield
    except (UserError, OSError, RuntimeError) as error:
        if debug:
            raise
        text = str(error) if isinstance(error, UserError) else last_line(error)
        sys.exit(f"compile: error: {text}")
