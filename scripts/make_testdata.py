"""Writes the compiled models and libraries that the tests of gotvm load.

Run it once under each compiler; the generation is found from tvm.__version__, and only its files are replaced:

    $(scripts/venv 0.19) scripts/make_testdata.py --out gotvm/testdata     # TVM 0.19
    $(scripts/venv 0.9)  scripts/make_testdata.py --out gotvm/testdata     # TVM 0.9

Needed besides: gcc, and aarch64-linux-gnu-gcc for testdata/arm64.

    models/<generation>/<case>/deploy.so, deploy.json, deploy.params, reference.params, and of some cases (with
                                --packages, of all) the one-file packagings that testdata_packages.py lists
    models/manifest.json        all of them, with inputs, outputs and tolerances
    arm64/<case>/...            a few for linux/arm64
    lib/*.so                    single libraries for direct calls

reference.params is a TVM params file: `in:<input name>` are the inputs, `out:<index>` what the compiler's own
runtime computed from them. Where a numpy reference exists, the two are compared here. Every run gives the same
files.

`--platform arm64` (or armhf) writes all models and libraries for that machine, but for the folder arm64. The
references of models for other machines are the host's, those in gotvm/testdata.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relay

import testdata_models_calls  # noqa: F401  (adds to CASES)
from testdata_libs import write_libraries
from testdata_manifest import update_manifest
from testdata_models import CASES, Case
from testdata_numpy import generator
from testdata_packages import COMMITTED, write_packages
from tvm_artifacts import Compiled, check_symbols, compile_relay, run_triple, write_triple
from tvm_params import write_reference
from tvm_targets import PLATFORMS, Resolved
from tvm_version import VERSION

TARGETS = {
    "amd64": "llvm -mcpu=x86-64-v2",
    "arm64": "llvm -mtriple=aarch64-linux-gnu",
    "armhf": f"llvm {PLATFORMS['armhf'].options}",
}
# The LLVM 14 of TVM 0.9 gets this strided convolution wrong for 32-bit ARM when it optimises.
MISCOMPILED = {("armhf", "tvm0.9"): ("workspace",)}
ARM64_CASES = ("conv", "dense", "parallel")
HOST_DATA = Path(__file__).resolve().parent.parent / "gotvm" / "testdata"


def compile_case(case: Case, target: str) -> Compiled:
    """Compile one case for a target."""
    module = tvm.IRModule.from_expr(relay.Function(case.arguments, case.body))
    params = {name: tvm.nd.array(array) for name, array in case.params.items()}
    return compile_relay(module, f"{target} {case.options}".strip(), params, case.executor)


def values(tensor: Any) -> np.ndarray:
    """The elements of a TVM tensor as numpy can compute with them; TVM gives bfloat16 as its 16 bits."""
    array = tensor.numpy()
    return (array.astype("uint32") << 16).view("float32") if tensor.dtype == "bfloat16" else array


def check_numpy(name: str, case: Case, outputs: Sequence[Any]) -> None:
    """Compare the outputs with the numpy reference, if there is one."""
    if case.expected is None:
        return
    assert len(outputs) == len(case.expected), f"{name}: {len(outputs)} outputs, expected {len(case.expected)}"
    for index, (output, expected) in enumerate(zip(outputs, case.expected)):
        actual = values(output)
        assert actual.shape == np.shape(expected), (
            f"{name}: output {index} is {actual.shape}, expected {np.shape(expected)}"
        )
        np.testing.assert_allclose(actual, expected, max(case.rtol, 1e-4), case.atol, err_msg=f"{name}: output {index}")


def describe(gen: str, name: str, folder: str, case: Case, outputs: Sequence[Any]) -> dict[str, Any]:
    """The manifest's entry for one case, without its packagings."""
    return {
        "gen": gen,
        "case": name,
        "dir": folder,
        "inputs": [{"name": k, "dtype": case.dtype(v), "shape": list(v.shape)} for k, v in case.inputs.items()],
        "outputs": [{"dtype": tensor.dtype, "shape": [int(n) for n in tensor.shape]} for tensor in outputs],
        "rtol": case.rtol,
        "atol": case.atol,
    }


def make_case(name: str) -> Case:
    """The case of that name, from its own seed."""
    return CASES[name](generator(name))


def resolve(platform: str) -> Resolved:
    """The target and linker that test data for the platform is made with."""
    chosen = PLATFORMS[platform]
    return Resolved(TARGETS[platform], chosen.linker, platform == "amd64", chosen.link_options)


def write_host(name: str, case: Case, folder: Path) -> list[Any]:
    """Compile one case for the host, check it, write its files; its outputs."""
    triple = write_triple(compile_case(case, TARGETS["amd64"]), folder, "deploy")
    check_symbols(triple.library, case.symbols)
    inputs = case.tensors()
    outputs = run_triple(triple, inputs)
    check_numpy(name, case, outputs)
    write_reference(folder / "reference.params", inputs, outputs)
    return outputs


def write_cross(case: Case, resolved: Resolved, folder: Path) -> None:
    """Compile one case for another machine and write its files, but for the reference."""
    triple = write_triple(compile_case(case, resolved.target), folder, "deploy", resolved.linker, resolved.link_options)
    check_symbols(triple.library, case.symbols)


def host_entry(gen: str, name: str) -> dict[str, Any]:
    """The entry of the host's model in its manifest."""
    entries = json.loads((HOST_DATA / "models" / "manifest.json").read_text(encoding="utf-8"))
    return next(entry for entry in entries if (entry["gen"], entry["case"]) == (gen, name))


def write_model(gen: str, name: str, resolved: Resolved, out: Path, all_packages: bool) -> dict[str, Any]:
    """Write one case for the platform; its entry in the manifest."""
    case = make_case(name)
    folder = out / "models" / gen / name
    outputs: list[Any] = []
    if resolved.native:
        outputs = write_host(name, case, folder)
        entry = describe(gen, name, f"{gen}/{name}", case, outputs)
    else:
        write_cross(case, resolved, folder)
        shutil.copyfile(HOST_DATA / "models" / gen / name / "reference.params", folder / "reference.params")
        entry = host_entry(gen, name)
    wanted = all_packages or name in COMMITTED
    packages = write_packages(name, case, resolved, folder, outputs) if wanted else []
    print(f"{gen}/{name}: library {(folder / 'deploy.so').stat().st_size} bytes", *packages, flush=True)
    return {**entry, "packages": packages}


def write_arm64(name: str, gen: str, out: Path) -> None:
    """Write one case for linux/arm64, with the reference of the host's model."""
    folder = out / "arm64" / name
    write_cross(make_case(name), resolve("arm64"), folder)
    shutil.copyfile(out / "models" / gen / name / "reference.params", folder / "reference.params")
    print(f"arm64/{name}: library {(folder / 'deploy.so').stat().st_size} bytes", flush=True)


def main() -> None:
    """Write everything that the running compiler can make."""
    parser = argparse.ArgumentParser(description="write the models and libraries that the tests load")
    parser.add_argument("--out", type=Path, default=Path("gotvm/testdata"), help="folder to write to")
    parser.add_argument("--only", nargs="*", help="only these cases (the manifest is left alone)")
    parser.add_argument("--platform", choices=sorted(TARGETS), default="amd64", help="machine that runs the tests")
    parser.add_argument("--packages", action="store_true", help="write all cases in all packagings")
    args = parser.parse_args()

    gen, resolved = f"tvm{VERSION}", resolve(args.platform)
    if args.only is not None:
        for name in args.only:
            write_model(gen, name, resolved, args.out, args.packages)
        return
    shutil.rmtree(args.out / "models" / gen, ignore_errors=True)
    names = [name for name in CASES if name not in MISCOMPILED.get((args.platform, gen), ())]
    entries = [write_model(gen, name, resolved, args.out, args.packages) for name in names]
    update_manifest(args.out / "models" / "manifest.json", entries, whole=True)
    if gen == "tvm0.19" and resolved.native:
        for name in ARM64_CASES:
            write_arm64(name, gen, args.out)
    write_libraries(gen, resolved, args.out / "lib")


if __name__ == "__main__":
    main()
