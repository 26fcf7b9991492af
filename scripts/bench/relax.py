"""The group of Relax executables, beside TVM 0.27's own virtual machine: driven from C like ours, and from Python."""

from __future__ import annotations

from functools import cache, partial

from children import Child, Maker, Spawner, alternate, number
from prepare import HERE, THREADS, Bench, Model, package_of, prepare_real_relax, prepare_small_relax
from report import KIB, MIB, Goal, Table, keep, show, show_time


@cache
def tvm_libraries(python: str) -> str:
    """TVM 0.27's own, with a colon between them."""
    ffi, tvm = package_of(python, "tvm_ffi"), package_of(python, "tvm")
    return f"{ffi}/lib/libtvm_ffi.so:{tvm}/lib/libtvm_runtime.so"


def commands(bench: Bench, model: Model, mode: str) -> dict[str, list[object]]:
    """What runs a model, by name."""
    arguments, files = model.arguments(), model.arguments()[:3]
    programs: dict[str, list[object]] = {
        "tvm": [bench.program("vm"), tvm_libraries(bench.relax_python), mode, *files],
        "python": [bench.relax_python, HERE / "vm.py", mode, *files],
        "ours": [bench.program("vm"), bench.library, mode, *files],
    }
    if mode == "first":
        programs["go"] = [bench.program("gotvm"), mode, *arguments]
    if model.output_name:
        programs["onnx"] = [bench.program("onnx"), mode, *arguments]
    return programs


def run_makers(bench: Bench, model: Model, threads: int) -> dict[str, Maker]:
    """What runs a model again and again."""
    env = {"TVM_NUM_THREADS": str(threads), **bench.env()}
    programs = commands(bench, model, "run")
    for name, mode in (("go", "run"), ("fresh", "fresh")):
        programs[name] = [bench.program("gotvm"), mode, *model.arguments(), threads]
    if "onnx" in programs:
        programs["onnx"].append(threads)
    return {name: partial(Child, command, env) for name, command in programs.items()}


def calls(bench: Bench, models: list[Model]) -> Table:
    """Small models: what is around the kernels."""
    table = Table(
        "Relax: one call, bound input and new output, 1 thread",
        [
            *("model", "TVM 0.27, from C", "gotvm, from C", "gotvm ÷ TVM", "goal", "TVM, from Python"),
            *("Session.Run", "÷ TVM from Python", "Session.Run, bound output"),
        ],
        [
            (
                "From C means the same program on either library, through TVMFFIFunctionCall. The 12 operators each "
                "negate one number: overhead alone."
            )
        ],
    )
    request = "41 500"  # short, so that other programs disturb few of them
    for model in models:
        samples = keep(table, model.name, alternate(run_makers(bench, model, 1), request, bench.sets, bench.rounds))
        time = number()
        times = {name: samples.median(name, time) for name in samples.answers}
        to_tvm, to_python = samples.compare("ours", "tvm", time), samples.compare("fresh", "python", time)
        table.row(
            [
                *(model.name, show_time(times["tvm"]), show_time(times["ours"]), show(to_tvm), Goal(0.5).mark(to_tvm)),
                *(show_time(times["python"]), show_time(times["fresh"]), show(to_python), show_time(times["go"])),
            ],
            {"model": model.name, "ns": times, "to_tvm": to_tvm, "to_python": to_python},
        )
    return table


def runs(bench: Bench, models: list[Model]) -> Table:
    """Models of some size, the same file for all but onnxruntime."""
    table = Table(
        "Relax: one inference",
        [
            *("model", "threads", "TVM 0.27, from C", "gotvm, from C", "gotvm ÷ TVM", "goal"),
            *("Session.Run", "onnxruntime_go", "gotvm ÷ onnxruntime_go"),
        ],
    )
    for model in models:
        makers = {
            f"{name}/{threads}": make
            for threads in THREADS
            for name, make in run_makers(bench, model, threads).items()
            if name not in ("python", "fresh")
        }
        request = "3 3" if bench.quick else "9 5"
        samples = keep(table, model.name, alternate(makers, request, bench.sets, bench.rounds))
        time = number()
        for threads in THREADS:
            times = {name: samples.median(f"{name}/{threads}", time) for name in ("tvm", "ours", "go", "onnx")}
            to_tvm, to_onnx = (
                samples.compare(f"ours/{threads}", f"{other}/{threads}", time) for other in ("tvm", "onnx")
            )
            table.row(
                [
                    *(model.name, str(threads), show_time(times["tvm"]), show_time(times["ours"])),
                    *(show(to_tvm), Goal(1.02).mark(to_tvm)),
                    *(show_time(times["go"]), show_time(times["onnx"]), show(to_onnx)),
                ],
                {"model": model.name, "threads": threads, "ns": times, "to_tvm": to_tvm, "to_onnx": to_onnx},
            )
    return table


def first(bench: Bench, models: list[Model]) -> Table:
    """From exec to the first result."""
    names = {"go": "gotvm", "ours": "gotvm, C", "tvm": "TVM 0.27, C", "python": "TVM 0.27, Python"}
    names["onnx"] = "onnxruntime_go"
    table = Table(
        "Relax: from exec to the first result, and peak memory until then",
        ["model", "file", *names.values(), "gotvm ÷ TVM, C", "memory ÷ TVM, C"],
    )
    for model in models:
        makers = {
            name: partial(Spawner, bench.program("spawn"), command, bench.env())
            for name, command in commands(bench, model, "first").items()
        }
        samples = keep(table, model.name, alternate(makers, "", 1, 4 if bench.quick else 20))
        for answer in (answer for answers in samples.answers.values() for answer in answers if answer):
            model.check_line(answer["line"])
        time, peak = number("first_ns"), number("peak_kib")
        cells = dict.fromkeys(names, "")
        for name in makers:
            memory = samples.median(name, peak)
            mib = "" if memory is None else f", {memory / KIB:.0f} MiB"
            cells[name] = show_time(samples.median(name, time)) + mib
        ratios = [samples.compare("go", "tvm", of) for of in (time, peak)]
        table.row(
            [model.name, show(model.weight_bytes / MIB, "MiB", 1), *cells.values(), *map(show, ratios)],
            {"model": model.name, "cells": cells, "ratios": ratios},
        )
    return table


def relax(bench: Bench) -> list[Table]:
    """All of it."""
    out = bench.out / "relax"
    small = prepare_small_relax(bench.relax_python, out)
    real = prepare_real_relax(bench.relax_python, bench.made, out)
    return [calls(bench, small), runs(bench, real), first(bench, real)]
