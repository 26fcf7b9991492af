"""Tuning with TVM's MetaSchedule: candidates for every operator are compiled and timed on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm
from tvm import meta_schedule

from compile_onnx import TuningProgress
from tvm_artifacts import PASS_CONFIG, Compiled

ROUND = (8, 64)


@meta_schedule.derived_object
class ReportingBuilder(meta_schedule.builder.PyBuilder):
    """A builder that prints one line for every round of candidates."""

    def __init__(self, inner: Any, trials: int) -> None:
        super().__init__()
        self.inner, self.progress = inner, TuningProgress(trials)

    def build(self, build_inputs: Any) -> Any:
        """Called by TVM for every round."""
        results = self.inner.build(build_inputs)
        self.progress.report(results)
        return results


def make_builder() -> Any:
    """A builder of candidates that compiles as compile_relay does."""
    config = dict(PASS_CONFIG)

    def register() -> None:
        """Run in every worker process."""

        def build(module: Any, target: Any, params: Any) -> Any:
            prepare = tvm.tir.transform.RemoveWeightLayoutRewriteBlock(skip_ndarray_rewrite=True)
            with tvm.transform.PassContext(opt_level=3, config=config):
                return tvm.build(prepare(module), target=target)

        tvm.register_func("gotvm.build_candidate", build, override=True)

    return meta_schedule.builder.LocalBuilder(f_build="gotvm.build_candidate", initializer=register)


def tune(module: Any, target: Any, params: Mapping[str, Any], trials: int, folder: Path) -> Any:
    """Run about that many trials; records are kept in the folder, and later runs with it build on them."""
    os.environ.setdefault("CXX", "gcc")
    logging.getLogger("tvm.meta_schedule").setLevel(logging.ERROR)
    relay_tuning = meta_schedule.relay_integration
    extracted = relay_tuning.extract_tasks(module, target, dict(params), pass_config=relay_config())
    tasks, weights = relay_tuning.extracted_tasks_to_tune_contexts(extracted, str(folder), seed=1)
    smallest, largest = ROUND
    return meta_schedule.tune.tune_tasks(
        tasks=tasks,
        task_weights=weights,
        work_dir=str(folder),
        max_trials_global=trials,
        num_trials_per_iter=max(smallest, min(largest, trials // (2 * len(tasks)))),
        builder=ReportingBuilder(make_builder(), trials),
    )


def relay_config() -> dict[str, Any]:
    """The options that turn records into code."""
    return {"relay.backend.use_meta_schedule": True, "relay.backend.tir_converter": "default", **PASS_CONFIG}


def compile_tuned(database: Any, module: Any, target: Any, params: Mapping[str, Any]) -> Compiled:
    """Compile a Relay module with the best records of a database."""
    built = meta_schedule.relay_integration.compile_relay(
        database, module, target, dict(params), pass_config=relay_config()
    )
    return Compiled(built.get_lib(), built.get_graph_json(), built.get_params())
