"""What tuning has in common for both compilers: MetaSchedule's search, and a line for each round of it.

MetaSchedule is another package in each of them, so it is an argument here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# The least and the most candidates of an operator in a round.
ROUND = (8, 64)


def reporting(meta_schedule: Any, derived: Callable[[type], type], inner: Any, trials: int) -> Any:
    """A builder as `inner` that prints a line for every round, when its candidates are compiled and not timed yet.

    `derived` is this TVM's derived_object.
    """

    @derived
    class ReportingBuilder(meta_schedule.builder.PyBuilder):  # type: ignore[misc, name-defined]
        """What TVM calls."""

        def __init__(self) -> None:
            super().__init__()
            self.done, self.failed, self.start = 0, 0, time.monotonic()

        def build(self, build_inputs: Any) -> Any:
            """Called by TVM for every round."""
            results = inner.build(build_inputs)
            self.done += len(results)
            self.failed += sum(result.error_msg is not None for result in results)
            failed = f", {self.failed} did not compile" if self.failed else ""
            seconds = time.monotonic() - self.start
            print(f"compile:   {self.done} candidates of about {trials}{failed}, {seconds:.0f} s", flush=True)
            return results

    return ReportingBuilder()


def search(
    meta_schedule: Any,
    derived: Callable[[type], type],
    tasks: Sequence[Any],
    weights: Sequence[Any],
    builder: Any,
    trials: int,
    folder: Path,
) -> Any:
    """Run about that many trials; records are kept in the folder, and later runs with it build on them."""
    os.environ.setdefault("CXX", "gcc")
    smallest, largest = ROUND
    return meta_schedule.tune.tune_tasks(
        tasks=tasks,
        task_weights=weights,
        work_dir=str(folder),
        max_trials_global=trials,
        num_trials_per_iter=max(smallest, min(largest, trials // (2 * len(tasks)))),
        builder=reporting(meta_schedule, derived, builder, trials),
    )
