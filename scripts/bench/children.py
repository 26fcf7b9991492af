"""Programs that the benchmarks compare: started once, asked in turn, and stopped in between."""

from __future__ import annotations

import json
import operator
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

ANSWER_SECONDS = 300


class ChildError(Exception):
    """A program ended, or said nothing in time."""


class Child:
    """A program that answers lines of words with lines of JSON. It is stopped while it is not asked, so that
    waiting threads of one do not disturb another."""

    def __init__(self, command: Sequence[object], env: Mapping[str, str] | None = None, ready: bool = True) -> None:
        self.command = [str(word) for word in command]
        pipe = subprocess.PIPE
        env = {**os.environ, **(env or {})}
        self.process = subprocess.Popen(self.command, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self.process.stdin and self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout
        if ready:
            self.read()
            self.process.send_signal(signal.SIGSTOP)

    def read(self) -> Any:
        """The next line of JSON."""
        return json.loads(self.read_line())

    def read_line(self) -> str:
        """The next line."""
        if not select.select([self.answers], [], [], ANSWER_SECONDS)[0]:
            self.close()
            raise ChildError(f"{self.command[0]}: no answer in {ANSWER_SECONDS} s")
        line = self.answers.readline().decode()
        if not line:
            self.process.kill()
            _, errors = self.process.communicate()
            last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise ChildError(f"{' '.join(self.command[:3])}: {last[0][:300]}")
        return line

    def ask(self, request: str) -> Any:
        """The answer to one request."""
        self.process.send_signal(signal.SIGCONT)
        self.requests.write(f"{request}\n".encode())
        self.requests.flush()
        answer = self.read()
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.communicate()


class Spawner(Child):
    """A program that native/spawn starts anew for each request."""

    def __init__(self, spawn: str, command: Sequence[object], env: Mapping[str, str] | None = None) -> None:
        super().__init__([spawn, *command], env, ready=False)

    def ask(self, _request: str = "") -> dict[str, Any]:
        """What one run took."""
        self.requests.write(b"\n")
        self.requests.flush()
        first, end, peak, line = self.read_line().split(" ", 3)
        return {"first_ns": int(first), "end_ns": int(end), "peak_kib": int(peak), "line": line.strip()}


Maker = Callable[[], Child]
Number = Callable[[Any], float]  # something in an answer


def number(*path: str | int) -> Number:
    """The number at a place in an answer; where a list is there, its median."""

    def of(answer: Any) -> float:
        for key in path:
            answer = answer[key]
        return median(answer) if isinstance(answer, list) else float(answer)

    return of


class Samples:
    """What programs answered: for each of them one answer a round, None where it failed."""

    def __init__(self, names: Iterable[str]) -> None:
        self.answers: dict[str, list[Any]] = {name: [] for name in names}
        self.failures: dict[str, str] = {}

    def values(self, name: str, of: Number) -> list[float | None]:
        """A number from each answer."""
        return [None if answer is None else of(answer) for answer in self.answers[name]]

    def median(self, name: str, of: Number) -> float | None:
        """The median over the rounds; None when all failed."""
        values = [value for value in self.values(name, of) if value is not None]
        return median(values) if values else None

    def compare(
        self, ours: str, theirs: str, of: Number, how: Callable[[float, float], float] = operator.truediv
    ) -> float | None:
        """The median over the rounds of the ratio, or of what `how` makes of a pair."""
        pairs = zip(self.values(ours, of), self.values(theirs, of), strict=True)
        values = [how(a, b) for a, b in pairs if a is not None and b is not None]
        return median(values) if values else None


def alternate(makers: Mapping[str, Maker], requests: str | Mapping[str, str], sets: int, rounds: int) -> Samples:
    """Ask all programs in turn: `rounds` times, in another order each time, in each of `sets` new processes."""
    samples = Samples(makers)
    for _ in range(sets):
        children: dict[str, Child] = {}
        for name, make in makers.items():
            try:
                children[name] = make()
            except ChildError as error:
                samples.failures[name] = str(error)
        for turn in range(rounds):
            for answers in samples.answers.values():
                answers.append(None)
            first = turn % max(len(children), 1)
            order = [*children][first:] + [*children][:first]
            for name in order[:: 1 if turn % 2 else -1]:
                try:
                    request = requests if isinstance(requests, str) else requests[name]
                    samples.answers[name][-1] = children[name].ask(request)
                except (ChildError, BrokenPipeError) as error:
                    samples.failures[name] = str(error)
                    del children[name]
        for child in children.values():
            child.close()
    return samples
