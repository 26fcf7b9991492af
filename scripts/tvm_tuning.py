"""Tuning with TVM's MetaSchedule: candidates for every operator are compiled and timed on this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm
from tvm import meta_schedule

from compile_tuning import search
from tvm_artifacts import PASS_CONFIG, Compiled


def make_builder() -> Any:
    """A builder of candidates that compiles as compile_relay does."""
    config = dict(PASS_CONFIG)

    def register() -> None:
        """Run in every worker process."""

        def build(module: Any, target: Any, _params: Any) -> Any:
            prepare = tvm.tir.transform.RemoveWeightLayoutRewriteBlock(skip_ndarray_rewrite=True)
            with tvm.transform.PassContext(opt_level=3, config=config):
                return tvm.build(prepare(module), target=target)

        tvm.register_func("gotvm.build_candidate", build, override=True)

    return meta_schedule.builder.LocalBuilder(f_build="gotvm.build_candidate", initializer=register)


def tune(module: Any, target: Any, params: Mapping[str, Any], trials: int, folder: Path) -> Any:
    """Search for fast variants of the operators: see compile_tuning.search."""
    logging.getLogger("tvm.meta_schedule").setLevel(logging.ERROR)
    relay_tuning = meta_schedule.relay_integration
    extracted = relay_tuning.extract_tasks(module, target, dict(params), pass_config=relay_config())
    tasks, weights = relay_tuning.extracted_tasks_to_tune_contexts(extracted, str(folder), seed=1)
    return search(meta_schedule, meta_schedule.derived_object, tasks, weights, make_builder(), trials, folder)


def relay_config() -> dict[str, Any]:
    """The options that turn records into code."""
    return {"relay.backend.use_meta_schedule": True, "relay.backend.tir_converter": "default", **PASS_CONFIG}


def compile_tuned(database: Any, module: Any, target: Any, params: Mapping[str, Any]) -> Compiled:
    """Compile a Relay module with the best records of a database."""
    built = meta_schedule.relay_integration.compile_relay(
        database, module, target, dict(params), pass_config=relay_config()
    )
    return Compiled(built.get_lib(), built.get_graph_json(), built.get_params())
