"""Tuning with TVM's MetaSchedule: variants of every kernel are compiled and timed on this machine.

A variant is used only where it is faster than the kernel as relax_schedule.py makes it, so that few trials do no harm.
"""

from __future__ import annotations

import importlib
import logging
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule

from relax_artifacts import to_tensor
from relax_schedule import constant_arguments, kernel_calls, schedule

ROUND = (8, 64)


@derived_object
class ReportingBuilder(meta_schedule.builder.PyBuilder):
    """A builder that prints one line for every round of candidates."""

    def __init__(self, inner: Any, total: int) -> None:
        super().__init__()
        self.inner, self.total, self.done, self.failed, self.start = inner, total, 0, 0, time.monotonic()

    def build(self, build_inputs: Any) -> Any:
        """Called by TVM for every round, before the candidates are timed."""
        results = self.inner.build(build_inputs)
        self.done += len(results)
        self.failed += sum(result.error_msg is not None for result in results)
        failed = f", {self.failed} did not compile" if self.failed else ""
        seconds = time.monotonic() - self.start
        print(f"compile:   {self.done} of {self.total} candidates{failed}, {seconds:.0f} s", flush=True)
        return results


def make_builder() -> Any:
    """A builder of candidates; TVM's own build function imports intrinsics too."""

    def register() -> None:
        """Run in every worker process."""

        def build(module: Any, target: Any, _params: Any) -> Any:
            prepare = tvm.s_tir.transform.RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)
            return tvm.tirx.build(prepare(module), target=target)

        tvm.register_global_func("gotvm.build_candidate", build, override=True)

    return meta_schedule.builder.LocalBuilder(f_build="gotvm.build_candidate", initializer=register)


def import_intrinsics() -> None:
    """Import the intrinsics of x86 alone: MetaSchedule would import those of all GPUs, which takes a minute."""
    name = "tvm.s_tir.tensor_intrin"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(Path(tvm.s_tir.__file__).parent / "tensor_intrin")]
        sys.modules[name] = package
        importlib.import_module(f"{name}.x86")


def search(module: Any, target: Any, trials: int, folder: Path) -> Any:
    """Run about that many trials; records are kept in the folder, and later runs with it build on them."""
    os.environ.setdefault("CXX", "gcc")
    logging.getLogger("tvm.s_tir.meta_schedule").setLevel(logging.ERROR)
    import_intrinsics()
    folder.mkdir(parents=True, exist_ok=True)
    integration = meta_schedule.relax_integration
    contexts, weights = integration.extracted_tasks_to_tune_contexts(
        integration.extract_tasks(module, target), str(folder), seed=1
    )
    smallest, largest = ROUND
    return meta_schedule.tune.tune_tasks(
        tasks=contexts,
        task_weights=weights,
        work_dir=str(folder),
        max_trials_global=trials,
        num_trials_per_iter=max(smallest, min(largest, trials // (2 * len(contexts)))),
        builder=ReportingBuilder(make_builder(), trials),
    )


def stopwatch(target: Any) -> Callable[[Any], float]:
    """A function that compiles a kernel and tells how many seconds a call takes."""

    def measure(function: Any) -> float:
        kernel = function.with_attr("global_symbol", "kernel")
        library = tvm.compile(tvm.IRModule({"kernel": kernel}), target=target).jit()
        rng = np.random.default_rng(1)
        tensors = []
        for parameter in function.params:
            shape = [int(dim) for dim in parameter.shape]
            tensors.append(to_tensor(rng.integers(0, 2, shape).astype(str(parameter.dtype))))
        timer = library.time_evaluator("kernel", tvm.cpu(0), number=3, repeat=5, min_repeat_ms=5)
        return statistics.median(timer(*tensors).results)

    return measure


def is_static(function: Any) -> bool:
    """Whether the shapes of a kernel's parameters are numbers."""
    shapes = [getattr(parameter, "shape", None) for parameter in function.params]
    return all(shape is not None and all(isinstance(dim, tirx.IntImm) for dim in shape) for shape in shapes)


def tuned_kernels(module: Any, target: Any, trials: int, folder: Path) -> Any:
    """The module, with a tuned variant in the place of each kernel for which the search found a faster one."""
    tunable = tvm.target.Target({**target.export(), "num-cores": os.cpu_count()})
    static = tvm.IRModule({var: function for var, function in module.functions_items() if is_fit(function)})
    database = search(static, tunable, trials, folder)
    measure, sites, kept, faster = stopwatch(target), kernel_calls(module), 0, 0
    for var, function in static.functions_items():
        record = isinstance(function, tirx.PrimFunc) and database.query_tuning_record(
            tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), tunable, var.name_hint
        )
        if not record:
            continue
        kept += 1
        ours, _ = schedule(function, target, constant_arguments(sites.get(var.name_hint, [])))
        if statistics.median(float(seconds) for seconds in record.run_secs) < measure(ours):
            found = database.query_schedule(
                tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), tunable, var.name_hint
            )
            module[var] = found.mod["main"].with_attrs({**function.attrs, "tirx.is_scheduled": True})
            faster += 1
    print(f"compile:   a faster variant for {faster} of {kept} kernels", flush=True)
    return module


def is_fit(function: Any) -> bool:
    """Whether a function can take part in the search."""
    return isinstance(function, relax.Function) or isinstance(function, tirx.PrimFunc) and is_static(function)
