"""The groups of measurements, tables each."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from functools import partial

from children import Child, Maker, Spawner, alternate, number
from prepare import THREADS, Bench, Model
from relax import relax
from report import KIB, MIB, Goal, Table, keep, show, show_time

SESSIONS = 16
IDLE_US = (0, 10, 1000)  # of csrc/test/bench_threads.c
TITLES = {
    "gotvm": "gotvm, OpenFiles",
    "published_on_gotvm": "gotvm, published API",
    "published": "published binding",
    "onnx": "onnxruntime_go",
}


# One inference, without and with what is around it.


def run_makers(bench: Bench, model: Model, threads: int) -> dict[str, Maker]:
    """What runs a model, by name and number of threads."""
    env = {"TVM_NUM_THREADS": str(threads), **bench.env()}
    files = model.arguments()
    commands: Mapping[str, list[object]] = {
        "tvm": [bench.program("runtime"), bench.tvm / "libtvm_runtime.so", *files[:3]],
        "floor": [bench.program("floor"), *files[:2], threads],
        "run": [bench.program("runtime"), bench.library, *files[:3]],
        "session": [bench.program("gotvm"), "run", *files, threads],
        "onnx": [bench.program("onnx"), "run", *files, threads],
    }
    return {f"{name}/{threads}": partial(Child, command, env) for name, command in commands.items()}


def run_model(bench: Bench, model: Model, alone: Table, bound: Table) -> None:
    """The rows of one model."""
    small = model.weight_bytes < MIB
    makers = {name: make for threads in THREADS for name, make in run_makers(bench, model, threads).items()}
    if bench.quick:
        request, sets = ("5 500" if small else "3 1"), bench.sets
    else:  # small models differ from process to process, by where their memory lies
        request, sets = ("15 1000", 3 * bench.sets) if small else ("9 1", bench.sets)
    samples = keep(alone, model.name, alternate(makers, request, sets, bench.rounds))
    time = number()
    for threads in THREADS:
        names = [f"{name}/{threads}" for name in ("floor", "tvm", "run", "session", "onnx")]
        floor, tvm, ours, session, onnx = names
        times = {name: samples.median(name, time) for name in names}
        to_tvm, to_floor, to_onnx = (samples.compare(ours, other, time) for other in (tvm, floor, onnx))
        more = samples.compare(session, ours, time, operator.sub)
        alone.row(
            [
                *(model.name, str(threads), show_time(times[floor]), show_time(times[tvm]), show_time(times[ours])),
                *(show(to_tvm), Goal(1.02).mark(to_tvm), show(to_floor), show_time(times[onnx]), show(to_onnx)),
            ],
            {"model": model.name, "threads": threads, "ns": times, "to_tvm": to_tvm, "to_floor": to_floor},
        )
        goal = Goal(1000, 0, unit=" ns").mark(more) if small else ""
        bound.row(
            [model.name, str(threads), show_time(times[ours]), show_time(times[session]), show_time(more), goal],
            {"model": model.name, "threads": threads, "more_ns": more},
        )
    if small:
        for what, name in (("run alone", "run"), ("Session.Run", "session")):
            ratio = samples.compare(f"{name}/2", f"{name}/1", time)
            alone.note(f"{model.name}, {what}: time with 2 threads ÷ with 1", ratio, Goal(1))


def run_alone(bench: Bench) -> list[Table]:
    """One inference."""
    alone = Table(
        "One inference: run alone",
        [
            *("model", "threads", "C loop over the kernels", "TVM, time_evaluator", "gotvm"),
            *("gotvm ÷ TVM", "goal", "gotvm ÷ C loop", "onnxruntime_go", "gotvm ÷ onnxruntime_go"),
        ],
    )
    bound = Table(
        "One inference: Session.Run with bound input and output",
        ["model", "threads", "gotvm, run alone", "gotvm, Session.Run", "more", "goal"],
        ["Where a run takes milliseconds a microsecond cannot be seen."],
    )
    for model in bench.models:
        run_model(bench, model, alone, bound)
    return [alone, bound]


# Calls between Go and C.

CALLS = (  # name, title, goal in crossings, goal in allocations
    ("crossing", "empty crossing from Go to C", None, None),
    ("no_arguments", "packed function, no arguments", None, None),
    ("three_ints", "packed function, 3 ints", None, None),
    ("three_arrays", "packed function, 3 arrays", Goal(5, 1), Goal(1, 0)),
    ("callback", "Go callback, 2 ints", Goal(12, 1), None),
    ("error", "error of a Go callback", Goal(30, 1), None),
    ("empty", "Empty of 4 floats, and Close", None, None),
    ("view", "DataOf of 602 KB", None, Goal(0, 0)),
    ("copy", "AsSlice of 602 KB", None, None),
)
OURS_ALONE = ("crossing", "view")


def call(bench: Bench, table: Table, name: str, title: str, goals: tuple[Goal | None, Goal | None]) -> None:
    """A row."""
    library = bench.program("calls.so")
    programs = ("gotvm",) if name in OURS_ALONE else ("gotvm", "published")
    makers = {program: partial(Child, [bench.program(program), "calls", library]) for program in programs}
    request = f"{name} {5 if bench.quick else 15} {30 if name == 'copy' else 2000}"
    samples = keep(table, name, alternate(makers, request, bench.sets, bench.rounds))
    time, allocations = number("ns"), number("allocs")
    ours = samples.median("gotvm", time)
    crossings = samples.median("gotvm", lambda answer: time(answer) / number("crossing_ns")(answer))
    allocated = samples.median("gotvm", allocations)
    cells = [
        *(title, show_time(ours), show(crossings, digits=1), goals[0].mark(crossings) if goals[0] else ""),
        *(show(allocated, digits=0), goals[1].mark(allocated) if goals[1] else ""),
    ]
    figures = {"name": name, "ns": ours, "crossings": crossings, "allocations": allocated}
    if name in OURS_ALONE:
        cells += ["", "", ""]
    else:
        theirs, ratio = samples.median("published", time), samples.compare("published", "gotvm", time)
        cells += [show_time(theirs), show(samples.median("published", allocations), digits=0), show(ratio, digits=1)]
        figures["published_ns"] = theirs
    table.row(cells, figures)


def calls(bench: Bench) -> list[Table]:
    """All calls."""
    table = Table(
        "Calls",
        [
            *("", "gotvm", "crossings", "goal", "allocations", "goal"),
            *("published binding", "allocations", "published ÷ gotvm"),
        ],
        ["The published binding's arrays have no Close."],
    )
    for name, title, *goals in CALLS:
        call(bench, table, name, title, (goals[0], goals[1]))
    return [table]


# From exec to the first result.


def first_of_model(bench: Bench, model: Model, times_table: Table, memory_table: Table) -> None:
    """The rows of one model."""
    spawn = bench.program("spawn")
    makers = {
        name: partial(Spawner, spawn, [bench.program(name), "first", *model.arguments()], bench.env())
        for name in TITLES
    }
    samples = keep(times_table, model.name, alternate(makers, "", 1, 4 if bench.quick else 20))
    for answers in samples.answers.values():
        for answer in filter(None, answers):
            model.check_line(answer["line"])
    time, peak = number("first_ns"), number("peak_kib")
    times = {name: samples.median(name, time) for name in makers}
    memory = {name: samples.median(name, lambda answer: peak(answer) / KIB) for name in makers}
    ratios = [samples.compare(name, "published", time) for name in ("gotvm", "published_on_gotvm")]
    weights, activations = model.weight_bytes / MIB, model.activation_bytes / MIB
    goal = Goal(round(weights + activations + 20, 1), 1)
    half = Goal(0.5).mark(ratios[0]) if model.weight_bytes > MIB else ""
    times_table.row(
        [model.name, *map(show_time, times.values()), show(ratios[0]), half, show(ratios[1])],
        {"model": model.name, "first_ns": times, "ratios": ratios},
    )
    memory_table.row(
        [
            *(model.name, show(weights, digits=1), show(activations, digits=1)),
            *(show(mib, digits=1) for mib in memory.values()),
            goal.mark(memory["gotvm"]),
        ],
        {"model": model.name, "peak_mib": memory, "weights_mib": weights, "activations_mib": activations},
    )


def first(bench: Bench) -> list[Table]:
    """All models."""
    titles = TITLES.values()
    times = Table(
        "From exec to the first result",
        ["model", *titles, "OpenFiles ÷ published", "goal", "published API ÷ published"],
        ["Of mlp, most is the start of a Go program."],
    )
    memory = Table(
        "Peak memory until the first result, MiB",
        ["model", "weights", "activations", *titles, "goal for OpenFiles"],
        ["The goal is weights + activations + 20 MiB."],
    )
    for model in bench.models:
        first_of_model(bench, model, times, memory)
    return [times, memory]


# Many goroutines.


def many_of_model(bench: Bench, model: Model, table: Table, cores: int) -> None:
    """The row of one model."""
    files, ours = model.arguments(), bench.program("gotvm")
    commands: Mapping[str, tuple[list[object], int]] = {
        "one": ([ours, "many", *files, 1], 1),
        "per core": ([ours, "many", *files, 1], cores),
        "gotvm": ([ours, "many", *files, "-"], SESSIONS),
        "published": ([bench.program("published"), "many", *files], SESSIONS),
        "onnx": ([bench.program("onnx"), "many", *files, "-"], SESSIONS),
    }
    makers = {name: partial(Child, command, bench.env()) for name, (command, _) in commands.items()}
    requests = {name: f"{count} {1 if bench.quick else 3}" for name, (_, count) in commands.items()}
    samples = keep(table, model.name, alternate(makers, requests, bench.sets, max(1, bench.rounds // 2)))
    rate = number("rate")
    rates = {name: samples.median(name, rate) for name in makers}
    threads = {name: max(filter(None, samples.values(name, number("threads"))), default=None) for name in makers}
    per_core = samples.compare("gotvm", "per core", rate)
    times_one = samples.compare("gotvm", "one", rate, lambda mine, one: mine / (one * cores))
    shown = {name: (show(rates[name], digits=0), show(threads[name], digits=0)) for name in makers}
    table.row(
        [
            *(model.name, shown["one"][0], shown["per core"][0], shown["gotvm"][0]),
            *(show(per_core), Goal(0.95, at_least=True).mark(per_core), show(times_one)),
            *(shown["gotvm"][1], Goal(24, 0).mark(threads["gotvm"]), *shown["published"], *shown["onnx"]),
        ],
        {"model": model.name, "rates": rates, "threads": threads, "to_per_core": per_core, "to_cores": times_one},
    )


def many(bench: Bench) -> list[Table]:
    """16 goroutines with a session each."""
    cores = len(os.sched_getaffinity(0))
    table = Table(
        f"{SESSIONS} goroutines with a session each, default settings, {cores} cores: runs per second",
        [
            *("model", "1 session, 1 thread", "1 such for each core, at once", "gotvm"),
            *("gotvm ÷ 1 for each core", "goal", "gotvm ÷ (cores × 1 session)", "threads", "goal"),
            *("published binding", "threads", "onnxruntime_go", "threads"),
        ],
    )
    for model in bench.models:
        if model.name != "mobilenet":  # as the other one
            many_of_model(bench, model, table, cores)
    return [table]


# What is used for nothing.


def waste(bench: Bench) -> list[Table]:
    """Processor time between runs, memory of arrays that are gone."""
    table = Table(
        "At rest, and garbage",
        ["", "gotvm", "goal", "published binding", "onnxruntime_go"],
        ["onnxruntime_go's tensors must be destroyed by hand; here, as the others', they are not."],
    )
    mlp = next((model.arguments() for model in bench.models if model.name == "mlp"), None)
    rows: list[tuple[str, list[str], str, str, Goal]] = []
    if mlp:
        title = "processor time of one mlp each 10 ms, for 2 s, 2 threads: ms"
        rows.append(("idle", [*mlp, "2"], title, "cpu_ms", Goal(100, 0)))
    title = "peak memory with 3,000 short-lived arrays of 0.57 MiB: MiB"
    rows.append(("arrays", [], title, "peak_mib", Goal(160, 0)))
    names = ("gotvm", "published", "onnx")
    env = {"TVM_NUM_THREADS": "2", **bench.env()}
    for mode, arguments, title, key, goal in rows:
        makers = {name: partial(Child, [bench.program(name), mode, *arguments], env) for name in names}
        samples = keep(table, mode, alternate(makers, mode, 1 if bench.quick else 5, 1))
        values = {name: samples.median(name, number(key)) for name in names}
        ours, *others = (show(value, digits=0) for value in values.values())
        table.row([title, ours, goal.mark(values["gotvm"]), *others], {"name": mode, "values": values})
    return [table]


# The pool of threads.


def pool(bench: Bench) -> list[Table]:
    """The latency of parallel regions."""
    table = Table("An empty region over 2 threads, after idling", ["", *(f"{us} µs" for us in IDLE_US)])
    library = bench.tvm / "libtvm_runtime.so"
    makers = {
        "gotvm": partial(Child, [bench.pool, "--serve"]),
        "tvm": partial(Child, [bench.pool, "--serve", library], {"TVM_NUM_THREADS": "2"}),
    }
    samples = keep(table, "pool", alternate(makers, "go", bench.sets, max(1, bench.rounds // 2)))

    def row(title: str, program: str, kind: str) -> None:
        micros = [samples.median(program, number(kind, i)) for i in range(len(IDLE_US))]
        times = [None if us is None else us * 1000 for us in micros]
        table.row([title, *map(show_time, times)], {"name": f"{kind}/{program}", "ns": times})

    for kind, title in (("empty", "tasks that do nothing"), ("meet", "tasks that wait for each other")):
        row(f"{title}: gotvm, made to use both threads", "gotvm", kind)
        row(f"{title}: TVM", "tvm", kind)
        ratios = [samples.compare("gotvm", "tvm", number(kind, i)) for i in range(len(IDLE_US))]
        table.row([f"{title}: gotvm ÷ TVM", *map(show, ratios)], {"name": f"{kind}/ratio", "ratios": ratios})
    row("tasks that do nothing: gotvm as it decides, inline", "gotvm", "decided")
    return [table]


# OpenCL.

OPENCL_MODELS = (  # of gotvm/testdata/opencl
    ("mlp, TVM 0.19", "tvm0.19/mlp", "model.so"),
    ("conv net, TVM 0.19", "tvm0.19/conv", "model.so"),
    ("mlp, TVM 0.27, bytecode", "tvm0.27/mlp", "model.so"),
    ("mlp, TVM 0.27, compiled", "tvm0.27/mlp", "model-compiled.so"),
)


def opencl(bench: Bench) -> list[Table]:
    """Launches of kernels, and whole runs; the program measures both sides in pairs."""
    table = Table(
        "OpenCL: launching kernels, and one inference until it is done",
        [
            *("model", "kernels", "driver, a launch", "gotvm, a launch", "more", "goal"),
            *("C loop over the kernels", "gotvm", "gotvm ÷ C loop"),
        ],
        ["The C loop makes the same calls of the driver as gotvm, with the same arguments."],
    )
    for title, model, file in OPENCL_MODELS:
        makers = {"opencl": partial(Child, [bench.opencl, "--serve", model, file])}
        samples = keep(table, title, alternate(makers, "go", bench.sets, bench.rounds))
        keys = ("launches", "driver_launch_ns", "launch_ns", "more_ns", "driver_run_ns", "run_ns", "ratio")
        launches, theirs, ours, more, loop, run, ratio = (samples.median("opencl", number(key)) for key in keys)
        table.row(
            [
                *(title, show(launches, digits=0), show_time(theirs), show_time(ours), show_time(more)),
                *(Goal(1500, 0, unit=" ns").mark(more), show_time(loop), show_time(run), show(ratio)),
            ],
            {"model": title, "more_ns": more, "to_loop": ratio},
        )
    return [table]


GROUPS: dict[str, Callable[[Bench], list[Table]]] = {
    "run": run_alone,
    "calls": calls,
    "first": first,
    "many": many,
    "waste": waste,
    "pool": pool,
    "opencl": opencl,
    "relax": relax,
}
