"""Targets by short names: what TVM calls them, which C compiler links for them, and which package has it."""

from __future__ import annotations

import difflib
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

import tvm

from compile_messages import UserError

# Linked with a C compiler, so that models need libc and libm but no C++ library; -s drops the symbols nobody looks up.
LINK_OPTIONS = ("-O2", "-s", "-lm", "-Wl,-z,noseparate-code", "-Wl,--build-id=none")


class Platform(NamedTuple):
    """A kind of machine that models are compiled for."""

    options: str
    cpu: str
    linker: str
    package: str
    link_options: tuple[str, ...] = ()


# With RELRO, the linker for arm64 pads files to the largest page that machines there have, 64 KB.
# armhf: LLVM takes the second part of a triple for the vendor; without the system, its calls of libgcc are wrong.
PLATFORMS = {
    "amd64": Platform("", "x86-64-v3", "gcc", "gcc"),
    "arm64": Platform(
        "-mtriple=aarch64-linux-gnu -mattr=+neon",
        "generic",
        "aarch64-linux-gnu-gcc",
        "gcc-aarch64-linux-gnu",
        ("-Wl,-z,norelro",),
    ),
    "armhf": Platform(
        "-mtriple=armv7-unknown-linux-gnueabihf -mfloat-abi=hard -mattr=+neon",
        "generic",
        "arm-linux-gnueabihf-gcc",
        "gcc-arm-linux-gnueabihf",
    ),
}


class Resolved(NamedTuple):
    """A target ready for the compiler, and the linker for its host code."""

    target: Any
    linker: str
    native: bool
    link_options: tuple[str, ...] = ()


def native_cpu() -> str:
    """LLVM's name of this machine's CPU."""
    return tvm.get_global_func("target.llvm_get_system_cpu")()


def choose_cpu(name: str, cpu: str | None) -> str:
    """The CPU that code for a machine named in PLATFORMS is for, given the option --cpu."""
    if cpu == "native" and name != "amd64":
        raise UserError(f"--cpu native is this machine's CPU, which is not {name}: name one, such as cortex-a72")
    return native_cpu() if cpu == "native" else cpu or PLATFORMS[name].cpu


def check_cpu(target: Any, cpu: str) -> None:
    """Refuse CPU names that LLVM does not know for the target."""
    known = [str(name) for name in tvm.get_global_func("target.llvm_get_cpu_archlist")(target)]
    if cpu not in known:
        close = difflib.get_close_matches(cpu, known, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"--cpu {cpu}: LLVM does not know this CPU for the target{hint}")


def check_linker(linker: str, package: str) -> None:
    """Refuse to start when the linker is missing."""
    if shutil.which(linker) is None:
        raise UserError(f"no linker for the target: {linker} not found; install it with 'apt-get install {package}'")


def link_shared(linker: str, output: str, objects: Sequence[str], options: Sequence[str]) -> None:
    """Link object files into a shared object with a C compiler, and say in one line what it says is wrong."""
    command = [linker, "-shared", "-fPIC", "-o", output, *objects, *options]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode == 0:
        return
    # That of collect2 says only that ld failed.
    lines = [line for line in result.stdout.decode(errors="replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("collect2:")] or [f"exit status {result.returncode}"]
    raise UserError(f"{linker} fails: {next((line for line in lines if 'error' in line.lower()), lines[-1])}")


def platform_target(name: str, cpu: str | None, libs: str) -> Resolved:
    """The target of a machine named in PLATFORMS."""
    platform = PLATFORMS[name]
    chosen = choose_cpu(name, cpu)
    target = tvm.target.Target(f"llvm {platform.options} -mcpu={chosen}{libs}")
    check_cpu(target, chosen)
    check_linker(platform.linker, platform.package)
    return Resolved(target, platform.linker, name == "amd64", platform.link_options)


def custom_target(text: str, cpu: str | None, libs: str, host: str) -> Resolved:
    """A target given as TVM writes it; code that runs on the host is compiled for `host`."""
    try:
        target = tvm.target.Target(text + libs)
    except (ValueError, tvm.TVMError) as error:
        raise UserError(f"--target {text}: neither one of {', '.join(PLATFORMS)} nor a TVM target") from error
    if target.kind.name != "llvm":
        base = platform_target(host, cpu, "")
        return base._replace(target=tvm.target.Target(target, base.target), native=False)
    if cpu is not None:
        raise UserError("--cpu goes with the short target names: write -mcpu into the target itself")
    triple = str(target.attrs.get("mtriple", ""))
    if not triple or triple.startswith("x86_64"):
        return Resolved(target, PLATFORMS["amd64"].linker, native=True)
    for platform in PLATFORMS.values():
        if f"-mtriple={triple} " in platform.options:
            check_linker(platform.linker, platform.package)
            return Resolved(target, platform.linker, False, platform.link_options)
    check_linker(f"{triple}-gcc", f"gcc-{triple}")
    return Resolved(target, f"{triple}-gcc", native=False)


def resolve(text: str, cpu: str | None = None, blas: str = "none", host: str = "amd64") -> Resolved:
    """The target and linker for the options --target, --cpu, --blas and --host."""
    libs = " -libs=cblas" if blas == "openblas" else ""
    if text in PLATFORMS:
        return platform_target(text, cpu, libs)
    return custom_target(text, cpu, libs, host)
