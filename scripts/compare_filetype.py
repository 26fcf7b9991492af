"""Compares sample/filetype with magika's command, on files of many types; see scripts/test-filetype.

    $(scripts/venv magika) scripts/compare_filetype.py PROGRAM MODEL.so... --work FOLDER

The types and scores that the program prints must be those that the command has in its JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from filetype_files import found, made

FEWEST_FILES, FEWEST_TYPES = 100, 30
TOLERANCE = 1e-3
CUT = 1e-3  # magika cuts its scores to three digits
LINE = re.compile(r"(?P<type>.+? \(\w+\))(?:, perhaps (?P<perhaps>.+ \(\w+\)))?(?: (?P<score>[01]\.\d{4}))?")


def describe(info: dict[str, Any]) -> str:
    """A type as both programs write it."""
    return f"{info['description']} ({info['group']})"


def magika(paths: list[Path]) -> list[dict[str, Any]]:
    """What magika's command says."""
    command = [str(Path(sys.executable).with_name("magika")), "--json", *map(str, paths)]
    results = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert [result["path"] for result in results] == list(map(str, paths)), "magika left files out"
    return [result["result"]["value"] for result in results]


def complaint(line: str, path: Path, expected: dict[str, Any]) -> str:
    """What is wrong with a line of ours, or nothing."""
    prefix = f"{path}: "
    match = LINE.fullmatch(line.removeprefix(prefix))
    if not line.startswith(prefix) or not match:
        return f"not a line for {path}"
    asked = expected["dl"]["label"] != "undefined"
    if match["type"] != describe(expected["output"]):
        return "another type"
    if match["perhaps"] and match["perhaps"] != describe(expected["dl"]):
        return "another guess"
    if (match["score"] is not None) != asked:
        return "one of them has a score, the other asked no model"
    if asked and not -TOLERANCE <= float(match["score"]) - expected["score"] <= CUT + TOLERANCE:
        return "another score"
    return ""


def main() -> None:
    """Compare, and fail if there is a difference or if there were too few files."""
    parser = argparse.ArgumentParser(description="compare sample/filetype with magika's command")
    parser.add_argument("program", help="sample/filetype, built")
    parser.add_argument("models", nargs="+", type=Path, help="the same model, compiled in several ways")
    parser.add_argument("--work", type=Path, required=True, help="folder for files that are made; it is emptied")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    paths = [*made(args.work), *found()]
    expected = magika(paths)
    types = Counter(value["output"]["label"] for value in expected)
    print(f"{len(paths)} files of {len(types)} types:", ", ".join(f"{label} {n}" for label, n in sorted(types.items())))
    if len(paths) < FEWEST_FILES or len(types) < FEWEST_TYPES:
        sys.exit(f"FAIL: want at least {FEWEST_FILES} files of {FEWEST_TYPES} types")
    failed = 0
    for model in args.models:
        command = [args.program, "-model", str(model), *map(str, paths)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        assert len(lines) == len(paths), f"{model}: {len(lines)} lines for {len(paths)} files"
        complaints = 0
        for line, path, value in zip(lines, paths, expected, strict=True):
            if what := complaint(line, path, value):
                labels = f"{value['output']['label']}, by the model {value['dl']['label']} {value['score']:.3f}"
                print(f"{what}: {line}\n    magika: {labels}")
                complaints += 1
        print(f"{model}: {len(paths) - complaints} of {len(paths)} as magika")
        failed += complaints
    if failed:
        sys.exit("FAIL: the answers differ")


if __name__ == "__main__":
    main()
