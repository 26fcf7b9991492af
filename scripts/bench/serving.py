"""What answers the requests of children.py in programs written in Python: harness.Serve and harness.Times of Go's."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(run: Callable[[], Any]) -> None:
    """Answer requests "REPEAT NUMBER": nanoseconds that one call took, on average over NUMBER calls, REPEAT times."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        repeat, number = map(int, line.split())
        for _ in range(max(number, 2)):  # warms up
            run()
        times = []
        for _ in range(repeat):
            start = time.perf_counter_ns()
            for _ in range(number):
                run()
            times.append((time.perf_counter_ns() - start) / number)
        print(json.dumps(times), flush=True)
