"""What the compile scripts say: how far they are, and what is wrong, in one line."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

# How TVM prints a constant, in the middle of a sentence.
CONSTANT = re.compile(
    r'metadata\["[^"]*"\]\[\d+\]\s*# Metadata omitted\. Use show_meta=True in script\(\) method to show it\.'
)


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
    text = CONSTANT.sub("a constant", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def one_line(error: Exception) -> str:
    """An error in one line, with its kind where that may be all that it says."""
    if isinstance(error, UserError):
        return str(error)
    line, kind = last_line(error), type(error).__name__
    return line if isinstance(error, (OSError, RuntimeError)) or kind in line else f"{kind}: {line}"


@contextmanager
def errors_in_one_line(debug: bool) -> Iterator[None]:
    """End the program with one line where something fails; with `debug`, let the error through."""
    try:
        yield
    except Exception as error:
        if debug:
            raise
        sys.exit(f"compile: error: {one_line(error)}")
