"""Tables of results, with goals."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from children import Samples

KIB = 1 << 10
MIB = 1 << 20


@dataclass
class Goal:
    """What a figure is to be at most (or at least), after rounding as it is shown."""

    limit: float
    digits: int = 2
    at_least: bool = False
    unit: str = ""

    def mark(self, value: float | None) -> str:
        """ok or MISSED, with the goal."""
        if value is None:
            return "?"
        shown = round(value, self.digits)
        met = shown >= self.limit if self.at_least else shown <= self.limit
        return f"{'ok' if met else 'MISSED'} ({'≥' if self.at_least else '≤'} {self.limit:g}{self.unit})"


@dataclass
class Table:
    """One group of measurements."""

    title: str
    columns: Sequence[str]
    notes: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)

    def row(self, cells: list[str], figures: dict[str, Any]) -> None:
        """Append a row: cells as shown, and the numbers behind them."""
        assert len(cells) == len(self.columns), f"{self.title}: {cells}"
        self.rows.append(cells)
        self.figures.append(figures)

    def note(self, text: str, value: float | None, goal: Goal) -> None:
        """Append a figure with a goal that has no place in the columns."""
        self.notes.append(f"{text}: {show(value)}, {goal.mark(value)}")
        self.figures.append({"note": text, "value": value})

    def missed(self) -> list[str]:
        """What misses its goal."""
        rows = [(" ".join(row[:2]), cell) for row in self.rows for cell in row if "MISSED" in cell]
        return [f"{self.title}: {row}: {cell}" for row, cell in rows] + [
            note for note in self.notes if "MISSED" in note
        ]

    def text(self) -> str:
        """For a terminal."""
        lines = [list(self.columns), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        notes = ["", *self.notes] if self.notes else []
        return "\n".join(["", f"## {self.title}", "", *(align(line, widths) for line in lines), *notes])

    def markdown(self) -> str:
        """For a README."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"## {self.title}", "", *body, "", "\n\n".join(self.notes), ""])


def keep(table: Table, name: str, samples: Samples) -> Samples:
    """Put samples into a table, and say which programs failed."""
    table.samples[name] = samples.answers
    table.notes += [f"{name}, {program} failed: {reason}" for program, reason in samples.failures.items()]
    return samples


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A line of text: the first cell to the left, the others to the right."""
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def show(value: float | None, unit: str = "", digits: int = 2) -> str:
    """A number for a cell."""
    return "failed" if value is None else f"{value:.{digits}f}{f' {unit}' if unit else ''}"


def show_time(ns: float | None) -> str:
    """Nanoseconds in a unit that suits them."""
    if ns is None:
        return "failed"
    for unit, size in (("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.{1 if ns > 100 * size else 2}f} {unit}"
    return f"{ns:.{0 if abs(ns) >= 10 else 1}f} ns"


def command_output(*command: str) -> str:
    """What a command prints."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", info)
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "go": command_output("go", "version"),
        "commit": command_output("git", "rev-parse", "--short", "HEAD"),
    }


def write(tables: Sequence[Table], about: dict[str, Any], out: Path) -> None:
    """results.json and results.md."""
    heading = f"{about['cpu']}, {about['cores']} cores, load {about['load']:.1f} at the start"
    (out / "results.json").write_text(
        json.dumps({"about": about, "tables": [asdict(table) for table in tables]}, indent=1), encoding="utf-8"
    )
    markdown = "\n".join(table.markdown() for table in tables)
    (out / "results.md").write_text(f"{heading}\n\n{markdown}", encoding="utf-8")
