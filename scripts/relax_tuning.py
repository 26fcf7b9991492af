"""Tuning with TVM's MetaSchedule: variants of every kernel are compiled and timed on this machine.

A variant is used only where it is faster than the kernel as relax_schedule.py makes it, so that few trials do no harm.
"""

from __future__ import annotations

import importlib
import logging
import os
import statistics
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule

from compile_tuning import search
from relax_artifacts import to_tensor
from relax_schedule import constant_arguments, kernel_calls, schedule

# A variant must take less than this part of the time, so that noise alone does not choose it.
WORTHWHILE = 0.95


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


def tune(module: Any, target: Any, trials: int, folder: Path) -> Any:
    """Search for fast variants of the kernels: see compile_tuning.search."""
    logging.getLogger("tvm.s_tir.meta_schedule").setLevel(logging.ERROR)
    import_intrinsics()
    folder.mkdir(parents=True, exist_ok=True)
    integration = meta_schedule.relax_integration
    tasks, weights = integration.extracted_tasks_to_tune_contexts(
        integration.extract_tasks(module, target), str(folder), seed=1
    )
    return search(meta_schedule, derived_object, tasks, weights, make_builder(), trials, folder)


def stopwatch(function: Any, target: Any) -> Callable[[], float]:
    """Compile a kernel; the result tells how many seconds a call takes."""
    kernel = function.with_attr("global_symbol", "kernel")
    library = tvm.compile(tvm.IRModule({"kernel": kernel}), target=target).jit()
    rng = np.random.default_rng(1)
    tensors = []
    for parameter in function.params:
        shape = [int(dim) for dim in parameter.shape]
        tensors.append(to_tensor(rng.integers(0, 2, shape).astype(str(parameter.dtype))))
    timer = library.time_evaluator("kernel", tvm.cpu(0), number=3, repeat=3, min_repeat_ms=5)
    return lambda: statistics.median(timer(*tensors).results)


def is_faster(variant: Any, ours: Any, target: Any) -> bool:
    """Whether one kernel is faster than another, measured in turn."""
    one, other = stopwatch(variant, target), stopwatch(ours, target)
    return statistics.median(one() / other() for _ in range(5)) < WORTHWHILE


def is_static(function: Any) -> bool:
    """Whether the shapes of a kernel's parameters are numbers."""
    shapes = [getattr(parameter, "shape", None) for parameter in function.params]
    return all(shape is not None and all(isinstance(dim, tirx.IntImm) for dim in shape) for shape in shapes)


def is_fit(function: Any) -> bool:
    """Whether a function can take part in the search."""
    return isinstance(function, relax.Function) or (isinstance(function, tirx.PrimFunc) and is_static(function))


def tuned_kernels(module: Any, target: Any, trials: int, folder: Path) -> Any:
    """The module, with a tuned variant in the place of each kernel for which the search found a faster one."""
    tunable = tvm.target.Target({**target.export(), "num-cores": os.cpu_count()})
    static = tvm.IRModule({var: function for var, function in module.functions_items() if is_fit(function)})
    database = tune(static, tunable, trials, folder)
    sites, found, faster = kernel_calls(module), 0, 0
    for var, function in static.functions_items():
        if not isinstance(function, tirx.PrimFunc):
            continue
        kernel = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
        variant = database.query_schedule(kernel, tunable, var.name_hint)
        if variant is None:
            continue
        found += 1
        ours, _ = schedule(function, target, constant_arguments(sites.get(var.name_hint, [])))
        if is_faster(variant.mod["main"], ours, target):
            module[var] = variant.mod["main"].with_attrs({**function.attrs, "tirx.is_scheduled": True})
            faster += 1
    print(f"compile:   a faster variant for {faster} of {found} kernels", flush=True)
    return module
