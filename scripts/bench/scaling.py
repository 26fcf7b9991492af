"""Measures how throughput grows with cores and with sessions, on as many cores as there are. `make bench-scaling`.

Writes scaling.csv and scaling.svg. Three curves for each program: one session on all of c cores; a session for each of
c cores; any number of sessions on all cores.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import add_options, clean_environment, prepare
from children import Child, ChildError
from plot import Chart, Line, write_svg
from prepare import Bench, Model
from report import machine

PEERS = ("gotvm", "published", "onnx")
TITLES = {"gotvm": "gotvm", "published": "published binding", "onnx": "onnxruntime_go"}


class Point(NamedTuple):
    """One measurement: sessions, each with so many threads (0: the program's default), on so many cores."""

    curve: str
    program: str
    cores: int
    sessions: int
    threads: int


def core_list() -> list[int]:
    """The cores that may be used, second hardware threads last."""
    allowed = sorted(os.sched_getaffinity(0))
    seconds = set()
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        if siblings.exists():
            first = int(siblings.read_text(encoding="ascii").replace("-", ",").split(",")[0])
            if first != cpu and first in allowed:
                seconds.add(cpu)
    return [cpu for cpu in allowed if cpu not in seconds] + sorted(seconds)


def steps(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12 … up to most."""
    result = {1, most} | {n for power in range(12) for n in (2**power, 3 * 2**power) if n <= most}
    return sorted(result)


def points(cores: int, most_sessions: int, programs: list[str]) -> Iterator[Point]:
    """All that is to be measured."""
    for program in programs:
        for count in steps(cores):
            yield Point("one session on all cores", program, count, 1, count)
            yield Point("a session for each core", program, count, count, 1)
        for count in steps(most_sessions):
            yield Point("sessions on all cores", program, cores, count, 0)


def measure(bench: Bench, model: Model, point: Point, cpus: list[int], seconds: float) -> float:
    """Runs per second."""
    env = bench.env()
    command = [bench.program(point.program), "many", *model.arguments()]
    if point.program == "published":
        if point.threads:
            env["TVM_NUM_THREADS"] = str(point.threads)
    else:
        command.append(str(point.threads) if point.threads else "-")
        if point.threads > 1:
            env["TVM_NUM_THREADS"] = str(point.threads)  # the pool's own default may be less than all cores
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus[: point.cores])  # which the program inherits
    try:
        child = Child(command, env)
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        return float(child.ask(f"{point.sessions} {seconds}")["rate"])
    finally:
        child.close()


def charts(model: str, rates: dict[Point, float]) -> list[Chart]:
    """A chart for each curve, and one for each program's line in it."""
    result = []
    for curve in dict.fromkeys(point.curve for point in rates):
        by_cores = curve != "sessions on all cores"
        chart = Chart(f"{model}: {curve}", "cores" if by_cores else "sessions", "runs per second")
        for program in dict.fromkeys(point.program for point in rates):
            mine = [point for point in rates if point.curve == curve and point.program == program]
            chart.lines.append(Line(TITLES[program], [(p.cores if by_cores else p.sessions, rates[p]) for p in mine]))
        ours = chart.lines[0].points
        if by_cores and ours:
            chart.lines.append(
                Line("linear", [(count, ours[0][1] * count / ours[0][0]) for count, _ in ours], dashed=True)
            )
        result.append(chart)
    return result


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, default_models=["mlp", "mobilenet_nchw"])
    parser.add_argument("--programs", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--sessions", type=int, help="most sessions; default four for each core, at least 16")
    parser.add_argument("--seconds", type=float, help="length of one measurement")
    options = parser.parse_args()
    clean_environment()
    cpus = core_list()
    bench = prepare(options)
    seconds = options.seconds or (0.3 if bench.quick else 2)
    repeats = 1 if bench.quick else 3
    drawn = []
    with (bench.out / "scaling.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["model", *Point._fields, "runs per second"])
        for model in bench.models:
            todo = list(points(len(cpus), options.sessions or max(16, 4 * len(cpus)), options.programs))
            samples: dict[Point, list[float]] = {point: [] for point in todo}
            for _ in range(repeats):
                for point in todo:
                    try:
                        samples[point].append(measure(bench, model, point, cpus, seconds))
                    except (ChildError, BrokenPipeError) as error:
                        print(f"{model.name}, {point}: {error}")
            rates = {point: median(values) for point, values in samples.items() if values}
            for point, rate in rates.items():
                table.writerow([model.name, *point, f"{rate:.1f}"])
                what = f"{model.name:16} {point.curve:26} {point.program:10}"
                print(f"{what} {point.cores:4} cores {point.sessions:4} sessions {rate:12.1f}/s", flush=True)
            drawn += charts(model.name, rates)
    about = machine()
    write_svg(bench.out / "scaling.svg", drawn, f"{about['cpu']}, {len(cpus)} cores")
    print(f"{bench.out / 'scaling.csv'}, {bench.out / 'scaling.svg'}")


if __name__ == "__main__":
    main()
