"""The manifests of the test models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def update_manifest(path: Path, entries: Sequence[Mapping[str, Any]], whole: bool) -> None:
    """Replace the entries; with `whole` also those of the same generations that are not made any more."""
    known: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    places, generations = {entry["dir"] for entry in entries}, {entry["gen"] for entry in entries}
    kept = [entry for entry in known if entry["dir"] not in places and not (whole and entry["gen"] in generations)]
    merged = sorted([*kept, *entries], key=lambda entry: (entry["gen"], entry["case"]))
    path.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
