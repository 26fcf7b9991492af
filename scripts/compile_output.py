"""Where the compile scripts write: files appear, or take the place of older ones, when all of them are made."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from compile_messages import UserError
from compile_temporary import temporary_folder


def file_name(text: str) -> str:
    """The value of --name."""
    if not text or "/" in text:
        raise argparse.ArgumentTypeError("expected a file name, without a folder and without an ending")
    return text


@contextmanager
def new_files(folder: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Paths to write files to that move to `folder` at the end; where anything fails, what is there stays as it is."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            work = stack.enter_context(temporary_folder(folder))
        except OSError as error:
            what = "is a file, not a folder" if folder.is_file() else f"cannot write there: {error.strerror}"
            raise UserError(f"--out {folder}: {what}") from error
        for name in names:
            if (folder / name).is_dir():
                raise UserError(f"{folder / name}: is a folder, where a file is to be")
        yield [work / name for name in names]
        for name in names:
            (work / name).replace(folder / name)
