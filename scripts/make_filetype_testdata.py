"""Makes sample/filetype/testdata: what magika's own library does with contents and scores, for tests without a model.

    $(scripts/venv magika) scripts/make_filetype_testdata.py

The library works with a configuration of our own, whose blocks are so small that a few bytes reach every border, and in
place of its network with one that notes what it is given and returns the scores that it is told to.

    config.min.json, content_types_kb.min.json    the configuration, in magika's form, and magika's words for its types
    paths.json        what magika takes things for that are no ordinary files
    contents.json     contents, and the tokens that reach the network or, where it is not asked, the type
    decisions.json    scores, and what magika makes of them
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import magika
import numpy as np

OUT = Path(__file__).resolve().parent.parent / "sample" / "filetype" / "testdata"
PACKAGE = Path(magika.__file__).parent
LABELS = ["aidl", "markdown", "png", "python", "randombytes", "randomtxt", "txt"]
CONFIG: dict[str, Any] = {
    "beg_size": 6,
    "mid_size": 0,
    "end_size": 5,
    "use_inputs_at_offsets": False,
    "medium_confidence_threshold": 0.5,
    "min_file_size_for_dl": 3,
    "padding_token": 256,
    "block_size": 8,
    "target_labels_space": LABELS,
    "thresholds": {"markdown": 0.75, "aidl": 0.9, "randomtxt": 0.625},
    "overwrite_map": {"randombytes": "unknown", "randomtxt": "txt"},
}
NO_MODEL = ["directory", "empty", "txt", "unknown"]

# Contents are all combinations: white space and what only looks like it, on either side of text and other bytes, around
# the sizes above. The é of two bytes is cut by the end of a block.
BEFORE = [b"", b" ", b"\t\n\v\f\r ", b"\x1c", b"\x00", b"\xc2\xa0", b" " * 8]
MIDDLE = [b"", b"a", b"abc", b"abcdef", b"a b\nc d", b"abcdefg\xc3\xa9", b"0123456789abcdef", bytes(range(0xF8, 0x100))]
AFTER = [b"", b"\n", b" \r\f\v\n\t", b"\x85", b"\x00", b" " * 9]


class Recorder:
    """Stands in for the network."""

    def __init__(self) -> None:
        self.tokens: list[int] | None = None
        self.scores = np.full(len(LABELS), 1 / len(LABELS), "float32")

    def run(self, _outputs: list[str], inputs: dict[str, Any]) -> list[np.ndarray]:
        """Note the tokens, return the scores."""
        (self.tokens,) = inputs["bytes"]
        return [self.scores[np.newaxis]]


def small_magika(recorder: Recorder) -> magika.Magika:
    """Magika with the configuration above, and no network."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.min.json").write_text(json.dumps(CONFIG))
        (Path(folder) / "model.onnx").symlink_to(next(PACKAGE.glob("models/*/model.onnx")))
        identifier = magika.Magika(model_dir=Path(folder))
    identifier._onnx_session = recorder
    return identifier


def describe(info: Any) -> str:
    """A type as magika's command writes it."""
    return f"{info.description} ({info.group})"


def paths(identifier: magika.Magika) -> dict[str, str]:
    """Things that are no ordinary files, and links."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "folder").mkdir()
        (folder / "empty").touch()
        (folder / "short").write_bytes(b"a")
        os.mkfifo(folder / "pipe")
        for target in ("folder", "empty", "short"):
            (folder / f"link-to-{target}").symlink_to(target)
        return {p.name: str(identifier.identify_path(p).output.label) for p in sorted(folder.iterdir())}


def contents(identifier: magika.Magika, recorder: Recorder) -> list[dict[str, Any]]:
    """What becomes of every content."""
    entries = []
    for content in dict.fromkeys(b"".join(parts) for parts in itertools.product(BEFORE, MIDDLE, AFTER)):
        recorder.tokens = None
        result = identifier.identify_bytes(content)
        answer: dict[str, Any] = {"tokens": recorder.tokens} if recorder.tokens else {"label": str(result.output.label)}
        entries.append({"content": base64.b64encode(content).decode(), **answer})
    return entries


def decisions(identifier: magika.Magika, recorder: Recorder) -> list[dict[str, Any]]:
    """What becomes of scores around the thresholds."""
    entries = []

    def decide(scores: np.ndarray) -> None:
        recorder.scores = scores.astype("float32")
        prediction = identifier.identify_bytes(b"long enough").prediction
        low = prediction.overwrite_reason == "low_confidence"
        entry = {
            "scores": recorder.scores.tolist(),
            "label": str(prediction.output.label),
            "guess": str(prediction.dl.label),
            "score": prediction.score,
            "type": describe(prediction.output),
            "perhaps": describe(prediction.dl) if low else "",
        }
        entries.append(entry)

    for index, label in enumerate(LABELS):
        threshold = np.float32(CONFIG["thresholds"].get(label, CONFIG["medium_confidence_threshold"]))
        for score in (0.3, np.nextafter(threshold, np.float32(0)), np.nextafter(threshold, np.float32(2)), 1):
            scores = np.full(len(LABELS), (1 - score) / (len(LABELS) - 1))
            scores[index] = score
            decide(scores)
    exact = np.zeros(len(LABELS))
    exact[LABELS.index("markdown")] = CONFIG["thresholds"]["markdown"]
    decide(exact)
    decide(np.full(len(LABELS), 0.125))  # the first of equals
    return entries


def write(name: str, value: Any) -> None:
    """Write a file, a line for each entry of a list."""
    if isinstance(value, list):
        text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]\n"
    else:
        text = json.dumps(value, indent=1) + "\n"
    (OUT / name).write_text(text)


def main() -> None:
    """Make all files."""
    OUT.mkdir(parents=True, exist_ok=True)
    recorder = Recorder()
    identifier = small_magika(recorder)
    words = json.loads((PACKAGE / "config/content_types_kb.min.json").read_text())
    write("config.min.json", CONFIG)
    used = sorted({*LABELS, *NO_MODEL})
    fields = ("description", "group", "is_text")  # what the program reads
    write("content_types_kb.min.json", {label: {field: words[label][field] for field in fields} for label in used})
    write("paths.json", paths(identifier))
    write("contents.json", contents(identifier, recorder))
    write("decisions.json", decisions(identifier, recorder))


if __name__ == "__main__":
    main()
