"""Writes the Relax executables that the tests of gotvm load.

Run it once under each compiler; the version is found from tvm.__version__, and only its files are replaced:

    for v in 0.25 0.26 0.27; do $(scripts/venv $v) scripts/make_relax_testdata.py --out gotvm/testdata/relax; done

Needed besides: gcc, and aarch64-linux-gnu-gcc for the case for linux/arm64.

    <version>/<case>/model.so             bytecode
    <version>/<case>/model-compiled.so    compiled mode, where the manifest says so
    <version>/<case>/model.params         parameters to pass, if the case has any
    <version>/<case>/reference.params     a TVM params file with every tensor that goes in or comes out
    v1/<case>/                            bytecode rewritten into the older format V1, by hand
    arm64/<case>/                         the same for linux/arm64; the references come from the host's CPU
    linked/<case>/model.o, ...            system libraries, to link into a program: prefix gotvm_<case>_
    manifest.json                         all of them; each call with arguments and results

In the manifest an argument or a result is one of {"tensor": key in reference.params, "dtype", "shape"}, {"param": key
in model.params}, {"shape": [...]}, {"tuple": [...]}, {"int": n}, {"float": x}, {"bool": b}, {"string": s} or null.
The results are what the compiler's own VM computed from the bytecode; where a reference from numpy or onnxruntime
exists, the two are compared here, and so are both modes. Every run gives the same files.

`--platform arm64` (or armhf) writes all of it for that machine, but for the folder arm64; the references are the
host's, those in gotvm/testdata.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from tvm import relax, tirx

import relax_cases_odd  # noqa: F401  (adds to CASES)
import relax_cases_ops  # noqa: F401  (likewise)
from relax_artifacts import cpu_target, link_library, link_object, open_vm, rewrite_as_v1, to_tensor
from relax_cases import CASES, NEWEST, Call, Case, Rows, Shape
from testdata_manifest import update_manifest
from testdata_numpy import generator
from tvm_params import params_bytes
from tvm_version import VERSION

CPU = "x86-64-v2"
SMALL = {"opt-level": 1}
# The triple, what the names of the compiler and the linker begin with, and options. (With "armv7-linux-gnueabihf",
# LLVM takes "linux" for the vendor, and its calls of libgcc are wrong.)
CROSS = {
    "arm64": ("aarch64-linux-gnu", "aarch64-linux-gnu-", {}),
    "armhf": ("armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf-", {"mfloat-abi": "hard"}),
}
HOST = "amd64"
HOST_DATA = Path(__file__).resolve().parent.parent / "gotvm" / "testdata" / "relax"
LIBRARIES = {"bytecode": "model.so", "compiled": "model-compiled.so"}


def make_case(name: str) -> Case:
    """The case of that name, from its own seed."""
    return CASES[name](generator(name))


class References:
    """Values as the manifest writes them; the tensors are collected for reference.params."""

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}

    def describe(self, value: Any, key: str) -> Any:
        """The manifest's form of an argument or a result."""
        if value is None or isinstance(value, Mapping):
            return value
        if isinstance(value, (Shape, tvm_ffi.Shape)):
            return {"shape": [int(n) for n in value]}
        if isinstance(value, (bool, np.bool_)):
            return {"bool": bool(value)}
        if isinstance(value, int):
            return {"int": value}
        if isinstance(value, float):
            return {"float": value}
        if isinstance(value, str):
            return {"param": value[1:]} if value.startswith("@") else {"string": value}
        if isinstance(value, (list, tuple, tvm_ffi.Array)):
            return {"tuple": [self.describe(item, f"{key}.{index}") for index, item in enumerate(value)]}
        tensor = to_tensor(value) if isinstance(value, np.ndarray) else value
        self.tensors[key] = tensor
        return {"tensor": key, "dtype": str(tensor.dtype), "shape": [int(n) for n in tensor.shape]}


def to_tvm(value: Any, params: Mapping[str, np.ndarray]) -> Any:
    """An argument for the VM."""
    if isinstance(value, Shape):
        return tvm_ffi.Shape(value)
    if isinstance(value, str) and value.startswith("@"):
        return to_tensor(params[value[1:]])
    if isinstance(value, (list, tuple)):
        return tvm_ffi.convert([to_tvm(item, params) for item in value])
    return to_tensor(value) if isinstance(value, np.ndarray) else value


def check(actual: Any, expected: Any, case: Case, what: str) -> None:
    """Compare a result of the VM with what it must be; `expected` may hold numpy arrays or the VM's own values."""
    if isinstance(expected, Rows):
        count = int(actual[1].numpy()[0])
        assert sorted(actual[0].numpy()[:count].tolist()) == sorted(expected), f"{what}: {actual}, expected {expected}"
    elif isinstance(expected, (list, tuple, tvm_ffi.Array)) and not isinstance(expected, (Shape, tvm_ffi.Shape)):
        assert len(actual) == len(expected), f"{what}: {len(actual)} results, expected {len(expected)}"
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            check(one, other, case, f"{what}.{index}")
    elif hasattr(expected, "shape") and hasattr(expected, "dtype"):
        wanted = expected if isinstance(expected, np.ndarray) else expected.numpy()
        array = actual.numpy()
        assert array.dtype == wanted.dtype, f"{what}: {array.dtype}, expected {wanted.dtype}"
        assert array.shape == wanted.shape, f"{what}: {array.shape}, expected {wanted.shape}"
        np.testing.assert_allclose(array, wanted, max(case.rtol, 1e-4), case.atol, err_msg=what)
    elif isinstance(expected, (Shape, tvm_ffi.Shape)):
        assert list(actual) == list(expected), f"{what}: {list(actual)}, expected {list(expected)}"
    else:
        assert actual == expected, f"{what}: {actual}, expected {expected}"


def run_call(machine: Any, call: Call, case: Case) -> Any:
    """One call in the compiler's own VM."""
    return machine[call.function](*(to_tvm(argument, case.params) for argument in call.arguments))


def describe_type(annotation: Any) -> dict[str, Any]:
    """The type of a parameter: unknown dimensions are -1, an unknown shape is null."""
    if hasattr(annotation, "fields"):
        return {"kind": "tuple", "fields": [describe_type(field) for field in annotation.fields]}
    kinds = {"TensorType": "tensor", "TensorStructInfo": "tensor", "ShapeType": "shape", "ShapeStructInfo": "shape"}
    kind = kinds.get(type(annotation).__name__, "other")
    result: dict[str, Any] = {"kind": kind}
    if kind == "tensor":
        result["dtype"] = str(annotation.dtype)
        result["shape"] = None if annotation.shape is None else [constant(dim) for dim in annotation.shape]
    return result


def constant(dim: Any) -> int:
    """A dimension, -1 where it is unknown."""
    return int(dim) if isinstance(dim, (int, tirx.IntImm)) else -1


def describe_functions(module: Any) -> list[dict[str, Any]]:
    """The functions that can be called from outside, with their parameters."""
    result = []
    for name, function in sorted((var.name_hint, function) for var, function in module.functions.items()):
        if isinstance(function, relax.Function) and function.attrs and "global_symbol" in function.attrs:
            params = [{"name": name_of(var), **describe_type(type_of(var))} for var in function.params]
            result.append({"name": name, "params": params})
    return result


def name_of(var: Any) -> str:
    """The name of a variable; the property's name differs between the versions."""
    return str(var.name_hint if hasattr(var, "name_hint") else var.name)


def type_of(var: Any) -> Any:
    """The type of a variable; the property's name differs between the versions."""
    return var.ty if hasattr(var, "ty") else var.struct_info


def sort_shape_functions(module: Any) -> Any:
    """Put what these functions store, all of it independent, in a fixed order: TVM's own depends on addresses."""
    for var, function in module.functions.items():
        if var.name_hint.startswith("shape_func") and isinstance(function.body, tirx.SeqStmt):
            stores = sorted(function.body, key=lambda store: int(store.indices[0]))
            module.update_func(var, function.with_body(tirx.SeqStmt(stores)))
    return module


def pipeline(name: str, target: Any) -> Callable[[Any], Any]:
    """What a case goes through before relax.build: TVM's passes, or those of scripts/compile."""
    if name == "compile":
        from relax_passes import fused_kernels, lower  # these are for the newest version only

        return lambda module: lower(fused_kernels(module))
    return relax.get_default_pipeline(target) if name == "fused" else relax.get_pipeline(name)


def build(case: Case, mode: str, target: Any, **options: Any) -> Any:
    """Compile a case."""
    with target:
        module = sort_shape_functions(pipeline(case.pipeline, target)(case.module))
    return relax.build(module, target=target, relax_pipeline=None, exec_mode=mode, **options)


def write_cross(gen: str, name: str, platform: str, out: Path) -> dict[str, Any]:
    """Compile one case for another machine, with all else of the host's; its entry in the manifest."""
    entries = json.loads((HOST_DATA / "manifest.json").read_text(encoding="utf-8"))
    entry: dict[str, Any] = next(entry for entry in entries if entry["dir"] == f"{gen}/{name}")
    folder = out / gen / name
    shutil.rmtree(folder, ignore_errors=True)
    write_libraries(make_case(name), platform, folder)
    for path in (HOST_DATA / gen / name).glob("*.params"):
        shutil.copyfile(path, folder / path.name)
    print(f"{gen}/{name}", *entry["libs"], flush=True)
    return entry


def write_host(gen: str, case: Case, folder: Path) -> dict[str, Any]:
    """Compile one case in its modes, check it, write its files; the result is its entry in the manifest."""
    name = folder.name
    shutil.rmtree(folder, ignore_errors=True)
    references = References()
    entry: dict[str, Any] = {"gen": gen, "case": name, "dir": f"{gen}/{name}", "libs": {}}
    results: list[Any] = []
    for mode in case.modes:
        path = folder / LIBRARIES[mode]
        link_library(build(case, mode, target_of(HOST)[0]), path)
        entry["libs"][mode] = path.name
        print(f"{gen}/{name}: {mode} {path.stat().st_size} bytes", flush=True)
        if not case.runs:
            continue
        machine = open_vm(path)
        actual = [run_call(machine, call, case) for call in case.calls]
        for index, call in enumerate(case.calls):
            if call.expected is not None:
                check(actual[index], call.expected, case, f"{name} {mode} call {index}")
            if results:
                check(actual[index], results[index], case, f"{name} {mode} call {index} against bytecode")
        results = results or actual
    entry.update(functions=describe_functions(case.module), needs=list(case.needs), runs=case.runs)
    made = zip(case.calls, results, strict=case.runs)  # no results where it does not run
    entry["calls"] = [describe_call(references, index, *both) for index, both in enumerate(made)]
    entry.update(rtol=case.rtol, atol=case.atol)
    if references.tensors:
        (folder / "reference.params").write_bytes(params_bytes(references.tensors))
    if case.params:
        entry["params"] = "model.params"
        (folder / "model.params").write_bytes(
            params_bytes({key: to_tensor(value) for key, value in case.params.items()})
        )
    return entry


def target_of(platform: str) -> tuple[Any, str]:
    """The target of a platform, and what the names of its compiler and linker begin with."""
    if platform == HOST:
        return cpu_target(CPU, **SMALL), ""
    triple, prefix, options = CROSS[platform]
    return cpu_target("generic", triple, ["+neon"], **SMALL, **options), prefix


def write_libraries(case: Case, platform: str, folder: Path) -> None:
    """Compile one case for another machine."""
    target, prefix = target_of(platform)
    for mode in case.modes:
        link_library(build(case, mode, target), folder / LIBRARIES[mode], f"{prefix}gcc")


def describe_call(references: References, index: int, call: Call, result: Any) -> dict[str, Any]:
    """The manifest's entry for one call."""
    arguments = [references.describe(value, f"in:{index}.{i}") for i, value in enumerate(call.arguments)]
    return {"function": call.function, "args": arguments, "result": references.describe(result, f"out:{index}")}


def copy_entry(original: Mapping[str, Any], gen: str, out: Path, libs: Mapping[str, str]) -> dict[str, Any]:
    """The entry of a case that is written once more in another form, with the same references."""
    name = original["case"]
    for path in (out / original["dir"]).glob("*.params"):
        shutil.copyfile(path, out / gen / name / path.name)
    return {**original, "gen": gen, "dir": f"{gen}/{name}", "libs": dict(libs)}


def write_v1(original: Mapping[str, Any], _platform: str, out: Path) -> dict[str, Any]:
    """The bytecode of a case in the older format."""
    path = out / "v1" / original["case"] / LIBRARIES["bytecode"]
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out / original["dir"] / path.name, path)
    rewrite_as_v1(path)
    return copy_entry(original, "v1", out, {"bytecode": path.name})


def write_arm64(original: Mapping[str, Any], _platform: str, out: Path) -> dict[str, Any]:
    """Cross-compile one case for linux/arm64."""
    write_libraries(make_case(original["case"]), "arm64", out / "arm64" / original["case"])
    return copy_entry(original, "arm64", out, original["libs"])


def write_linked(original: Mapping[str, Any], platform: str, out: Path) -> dict[str, Any]:
    """One case as object files for a program."""
    name = original["case"]
    case, folder = make_case(name), out / "linked" / name
    case = case._replace(module=case.module.with_attr("system_lib_prefix", f"gotvm_{name}_"))
    libs = {mode: Path(LIBRARIES[mode]).with_suffix(".o").name for mode in case.modes}
    target, prefix = target_of(platform)
    for mode, file in libs.items():
        link_object(build(case, mode, target, system_lib=True), folder / file, f"{prefix}ld")
    return copy_entry(original, "linked", out, libs)


FORMS = {"v1": (write_v1, ("mlp", "nested")), "arm64": (write_arm64, ("cnn",)), "linked": (write_linked, ("mlp",))}


def write_forms(entries: Sequence[Mapping[str, Any]], platform: str, out: Path) -> list[Mapping[str, Any]]:
    """What exists in other forms than a library for the host in today's format; from the newest compiler."""
    made = []
    for form, (write, names) in FORMS.items():
        shutil.rmtree(out / form, ignore_errors=True)
        if form not in CROSS or platform == HOST:
            made += [write(entry, platform, out) for entry in entries if entry["case"] in names]
    return made


def register_callbacks() -> None:
    """The functions that models call; the tests register the same in Go."""

    def describe(x: Any, shape: Any, number: int, text: str, dtype: Any, nested: Any, ratio: float) -> Any:
        """Checks what arrives, and returns the first two dimensions of the shape."""
        rows = int(x.shape[0])
        assert list(shape) == [rows, 3, 5] and number == 7 and text == "text" and str(dtype) == "float16"
        assert len(nested) == 2 and len(nested[1]) == 1 and ratio == 2.5
        np.testing.assert_array_equal(nested[1][0].numpy(), x.numpy())
        return to_tensor(np.array(list(shape)[:2]))

    def fail(_x: Any) -> Any:
        raise ValueError("made to fail")

    def turn(pair: Any) -> Any:
        return tvm_ffi.convert([pair[1], pair[0]])

    add_one = "gotvm.test.add_one"
    tvm_ffi.register_global_func(add_one, lambda x: to_tensor(x.numpy() + np.float32(1)))
    tvm_ffi.register_global_func(add_one + "_into", lambda x, out: out.copyfrom(x.numpy() + np.float32(1)))
    tvm_ffi.register_global_func("gotvm.test.describe", describe)
    tvm_ffi.register_global_func("gotvm.test.fail", fail)
    tvm_ffi.register_global_func("gotvm.test.turn", turn)


def main() -> None:
    """Write everything that the running compiler can make."""
    parser = argparse.ArgumentParser(description="write the Relax executables that the tests load")
    parser.add_argument("--out", type=Path, default=Path("gotvm/testdata/relax"), help="folder to write to")
    parser.add_argument("--only", nargs="*", help="only these cases")
    parser.add_argument("--platform", choices=[HOST, *CROSS], default=HOST, help="machine that runs the tests")
    parser.add_argument("--pipeline", help="compile all cases by this one, to check it: see Case.pipeline")
    args = parser.parse_args()

    gen = f"tvm{VERSION}"
    register_callbacks()
    if args.only is None:
        shutil.rmtree(args.out / gen, ignore_errors=True)
    entries: list[Mapping[str, Any]] = []
    for name in args.only or CASES:
        if args.platform != HOST:
            entries.append(write_cross(gen, name, args.platform, args.out))
            continue
        case = make_case(name)
        case = case._replace(pipeline=args.pipeline or case.pipeline)
        entries.append(write_host(gen, case, args.out / gen / name))
    if VERSION == NEWEST and args.only is None:
        entries += write_forms(entries, args.platform, args.out)
    update_manifest(args.out / "manifest.json", entries, whole=args.only is None)


if __name__ == "__main__":
    main()
