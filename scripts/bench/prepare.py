"""Makes what the benchmarks run: programs, the published binding, and the models in all the forms that are needed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CFLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", f"-I{ROOT}/csrc")
MODELS = ("mlp", "mobilenet", "mobilenet_nchw", "resnet18")
THREADS = (1, 2)  # that models are measured with
RELAX_TESTS = ROOT / "gotvm" / "testdata" / "relax" / "tvm0.27"
RELAX_SMALL = {  # of the tests, and of make_relax.py
    "12 operators": "operators.so",
    "12 operators, compiled": "operators-compiled.so",
    "mlp": RELAX_TESTS / "mlp" / "model.so",
    "mlp, compiled": RELAX_TESTS / "mlp" / "model-compiled.so",
    "mlp, any batch": RELAX_TESTS / "mlp_dynamic" / "model.so",
    "transformer": RELAX_TESTS / "transformer" / "model.so",
}
RELAX_REAL = ("ocr_cls", "ocr_rec")  # of make_relax_models.py
PARAMS_HEAD = 8 + 8  # magic number, reserved
TENSOR_HEAD = 8 + 8 + 8  # likewise, and the device


PACKAGE = "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('{}').origin))"


def package_of(python: str, name: str) -> Path:
    """Where a Python has a package."""
    output = subprocess.run([python, "-c", PACKAGE.format(name)], capture_output=True, text=True, check=True).stdout
    return Path(output.strip())


def run(*command: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in command], cwd=cwd, env={**os.environ, **(env or {})}, check=True)


def read_params(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a params file, all of float32."""
    data = path.read_bytes()
    at = PARAMS_HEAD

    def take(form: str) -> Any:
        nonlocal at
        at += struct.calcsize(form)
        return struct.unpack_from(f"<{form}", data, at - struct.calcsize(form))[0]

    names = []
    for _ in range(take("Q")):
        size = take("Q")
        names.append(data[at : at + size].decode())
        at += size
    tensors = {}
    take("Q")
    for name in names:
        at += TENSOR_HEAD
        ndim, dtype = take("I"), take("I")
        assert dtype == 2 | 32 << 8 | 1 << 16, f"{path}: {name} is not float32"
        shape = [take("q") for _ in range(ndim)]
        size = take("Q")
        tensors[name] = np.frombuffer(data, "<f4", size // 4, at).reshape(shape)
        at += size
    return tensors


@dataclass
class Model:
    """A model of float32, with one input and one output."""

    name: str
    prefix: Path
    input: str
    shape: list[int]
    output_name: str  # in the ONNX file
    output: np.ndarray
    weight_bytes: int  # of a Relax model: of the whole file
    activation_bytes: int = 0

    def arguments(self) -> list[str]:
        """What programs of harness.ParseModel take."""
        shape, out_shape = (",".join(map(str, dims)) for dims in (self.shape, self.output.shape))
        return [str(self.prefix), self.input, shape, self.output_name, out_shape]

    def check_line(self, line: str) -> None:
        """The first elements of a result, as a program printed them, must be right."""
        got = [float(word) for word in re.sub(r"[\[\]]", "", line).split()]
        np.testing.assert_allclose(got, self.output.ravel()[: len(got)], rtol=1e-3, atol=1e-5, err_msg=self.name)


def link(source: Path, target: Path) -> None:
    """Make target a link to source, in place of what it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())


def write_reference(prefix: Path, value: np.ndarray, output: np.ndarray) -> None:
    """What programs read: the elements of input and output."""
    value.tofile(prefix.with_suffix(".in"))
    output.tofile(prefix.with_suffix(".out"))


def prepare_model(name: str, made: Path, out: Path) -> Model:
    """Put a model's files, its input and its output next to its ONNX file."""
    prefix = out / name / name
    for ending in (".so", ".json", ".params"):
        link((made / name / name).with_suffix(ending), prefix.with_suffix(ending))
    reference = read_params(made / name / "reference.params")
    (input_name,) = (key[3:] for key in reference if key.startswith("in:"))
    value, output = reference[f"in:{input_name}"], reference["out:0"]
    write_reference(prefix, value, output)
    weights = read_params(prefix.with_suffix(".params"))
    graph = json.loads(prefix.with_suffix(".json").read_text(encoding="utf-8"))
    return Model(
        name,
        prefix,
        input_name,
        list(value.shape),
        "output",
        output,
        sum(tensor.nbytes for tensor in weights.values()),
        activations(graph, set(weights)),
    )


def activations(graph: dict[str, Any], weights: set[str]) -> int:
    """Bytes of the graph's storage that is not weights'."""
    sizes: dict[int, int] = {}
    ids, shapes = graph["attrs"]["storage_id"][1], graph["attrs"]["shape"][1]
    for number, node in enumerate(graph["nodes"]):
        if node["name"] in weights:
            continue
        for entry in range(graph["node_row_ptr"][number], graph["node_row_ptr"][number + 1]):
            sizes[ids[entry]] = max(sizes.get(ids[entry], 0), 4 * math.prod(shapes[entry]))
    return sum(sizes.values())


def export_onnx(tvm_python: str, made: Path, out: Path) -> None:
    """ONNX files of all models, unless those that are there are of this state."""
    sources = [HERE / "export_onnx.py", ROOT / "scripts" / "make_models.py", made / "made-by"]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = out / "onnx-made-by"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return
    run(tvm_python, HERE / "export_onnx.py", "--out", out, *MODELS)
    stamp.write_text(state, encoding="utf-8")


def prepare_relax(name: str, library: Path, reference_file: Path, keys: tuple[str, str], out: Path) -> Model:
    """The same for a Relax executable; keys are what its input is called in the reference and in the model. Its ONNX
    file, where it has one, lies next to the reference."""
    prefix, onnx = out / name / name, reference_file.parent / f"{name}.onnx"
    link(library, prefix.with_suffix(".so"))
    output_name = ""
    if onnx.exists():
        link(onnx, prefix.with_suffix(".onnx"))
        output_name = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"]).get_outputs()[0].name
    reference = read_params(reference_file)
    value, output = reference[f"in:{keys[0]}"], reference["out:0"]
    write_reference(prefix, value, output)
    return Model(name, prefix, keys[1], list(value.shape), output_name, output, library.stat().st_size)


def prepare_small_relax(python: str, out: Path) -> list[Model]:
    """Models of which a call is mostly what is around the kernels."""
    made = out / "operators"
    made.mkdir(parents=True, exist_ok=True)
    run(python, HERE / "make_relax.py", "--out", made)
    models = []
    for name, file in RELAX_SMALL.items():
        library = made / file
        models.append(prepare_relax(name, library, library.parent / "reference.params", ("0.0", "x"), out))
    return models


def prepare_real_relax(python: str, made: Path, out: Path) -> list[Model]:
    """Trained models; those that are not there are made."""
    missing = [name for name in RELAX_REAL if not (made / name / f"{name}-relax.so").exists()]
    if missing:
        run(python, ROOT / "scripts" / "make_relax_models.py", "--out", made, "--only", *missing)
    folders = {name: made / name for name in RELAX_REAL}
    return [
        prepare_relax(name, folder / f"{name}-relax.so", folder / "reference.params", ("x", "x"), out)
        for name, folder in folders.items()
    ]


def check_onnx(model: Model) -> float:
    """The largest difference between what onnxruntime and TVM make of the input; it must be small."""
    session = onnxruntime.InferenceSession(str(model.prefix.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    value = np.fromfile(model.prefix.with_suffix(".in"), "<f4").reshape(model.shape)
    (output,) = session.run([model.output_name], {model.input: value})
    np.testing.assert_allclose(output, model.output, rtol=1e-3, atol=1e-5, err_msg=f"{model.name}: ONNX and TVM differ")
    return float(np.abs(output - model.output).max())


def build_native(out: Path) -> None:
    """The C programs."""
    for name in ("floor", "runtime", "spawn", "vm"):
        source = HERE / "native" / f"{name}.c"
        run("cc", *CFLAGS, source, "-o", out / name, "-lcjson", "-ldl", "-pthread")
    run("cc", *CFLAGS, "-shared", "-fPIC", HERE / "native" / "calls.c", "-o", out / "calls.so")


def build_go(out: Path) -> None:
    """Our side and onnxruntime's."""
    for package, name in (("gotvm", "gotvm"), ("published", "published_on_gotvm"), ("onnx", "onnx")):
        run("go", "build", "-o", out / name, f"./{package}", cwd=HERE)


def build_published(tvm: Path, out: Path) -> None:
    """The published binding's side: the same source as published_on_gotvm, with another module in gotvm's place. The
    binding's sources and the runtime are those of the compiler's wheel."""
    binding = out / "published-binding"
    shutil.rmtree(binding, ignore_errors=True)
    (binding / "gotvm").mkdir(parents=True)
    for source in (tvm / "golang" / "src").iterdir():
        if (source.suffix in (".go", ".h") and not source.name.endswith("_test.go")) or source.name == "gotvm.cc":
            shutil.copy(source, binding / "gotvm")
    (binding / "go.mod").write_text("module github.com/gotvm/gotvm\n\ngo 1.24\n", encoding="utf-8")
    modfile = out / "published.mod"
    original = (HERE / "go.mod").read_text(encoding="utf-8")
    modfile.write_text(original.replace("=> ../..", f"=> {binding}"), encoding="utf-8")
    shutil.copy(HERE / "go.sum", modfile.with_suffix(".sum"))
    includes = (tvm / "include", tvm / "3rdparty" / "dlpack" / "include", tvm / "3rdparty" / "dmlc-core" / "include")
    env = {
        "CGO_CPPFLAGS": " ".join(f"-I{path}" for path in includes),
        "CGO_CFLAGS": "-O2",
        "CGO_CXXFLAGS": "-O2 -std=c++17",
        "CGO_LDFLAGS": f"-L{tvm} -ltvm_runtime -Wl,-rpath,{tvm}",
    }
    run("go", "build", f"-modfile={modfile}", "-o", out / "published", "./published", cwd=HERE, env=env)


@dataclass
class Bench:
    """Where everything is, and how long to measure."""

    out: Path
    tvm: Path  # the package of the compiler's wheel
    library: Path  # ours
    pool: Path  # csrc/test/bench_threads.c
    opencl: Path  # csrc/test/bench_opencl.c
    models: list[Model]
    made: Path  # what `make models` made
    quick: bool
    sets: int
    rounds: int
    relax_python: str  # that has TVM 0.27

    def program(self, name: str) -> str:
        """One of the programs that were built."""
        return str(self.out / name)

    def env(self) -> dict[str, str]:
        """Where the Go program finds onnxruntime."""
        (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
        return {"ONNXRUNTIME": str(library)}
