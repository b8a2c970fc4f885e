"""The comparison: a process a library, which take turns, A B A B, each idle while another works."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from benchmarks.row import FLAT, Row, device
from benchmarks.worker import ON_CPU
from minigrad.errors import MinigradError

POOLS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
HOPELESS = 1.5
"""A layout that takes so many times as long as the better one in the first turn is not timed again."""
BUSY = 150
"""Interruptions a second that a quiet machine does not have."""


class BenchmarkError(MinigradError):
    """A side of a comparison failed."""


@dataclass(frozen=True)
class Pace:
    """How long to measure: so many turns of each side, of so many seconds."""

    rounds: int = 5
    seconds: float = 0.1


class Worker:
    """The process of one library; `benchmarks.worker` is its other end."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **{f"{pool}_NUM_THREADS": str(threads) for pool in POOLS}},
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises
        ------
        BenchmarkError
            If the process ends instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            row = request.get("load") or request.get("memory") or ""
            raise BenchmarkError(f"the process of {self.library} ended {row}; its messages stand above")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


class Turns:
    """What one contestant's turns have shown so far."""

    def __init__(self, worker: Worker, layout: str) -> None:
        self.worker = worker
        self.layout = layout
        self._found: list[dict[str, float]] = []

    def take(self, seconds: float) -> None:
        """Measure once more."""
        self._found.append(self.worker.ask(measure=self.layout, seconds=seconds))

    def median(self, figure: str) -> float:
        """Return the median of a figure over the turns."""
        return statistics.median(one[figure] for one in self._found)

    @property
    def ms(self) -> float:
        """The median time of a call."""
        return self.median("ms")

    @property
    def faults(self) -> float:
        """The median of the page faults a call."""
        return round(self.median("faults"), 1)


def compare(
    rows: Iterable[tuple[str, Row]], threads: int, libraries: Iterable[str], pace: Pace
) -> Iterator[dict[str, Any]]:
    """Time rows (each with the name of its suite) with as many threads, in minigrad and in other libraries.

    Yields
    ------
    dict
        A row of the table: name, suite, threads, recorded, ours_ms, ours_faults, ours_memory, and torch_ms,
        torch_faults, torch_memory, torch_layout, ratio (torch_ms / ours_ms) if torch is among the libraries; `peers`
        holds the times of the others that have a side, and `busy` says whether other programs took the cores away
        meanwhile. What was not measured is None.
    """
    with ExitStack() as stack:
        everywhere = ("ours", "torch", ON_CPU)
        workers = {name: stack.enter_context(Worker(name, threads)) for name in ("ours", *libraries)}
        for suite, row in rows:
            sides = {name: worker for name, worker in workers.items() if name in (*everywhere, *row.peers)}
            turns = _take_turns(suite, row, sides, pace)
            yield _result(suite, row, threads, turns)


def _take_turns(suite: str, row: Row, workers: dict[str, Worker], pace: Pace) -> list[Turns]:
    turns = []
    for name, worker in workers.items():
        layouts = row.layouts if name == "torch" else FLAT
        if worker.ask(load=[suite, row.name], layouts=layouts)["ready"]:
            turns += [Turns(worker, layout) for layout in layouts]
    for _ in range(min(pace.rounds, row.rounds)):
        for contestant in turns:
            contestant.take(pace.seconds)
        rivals = [contestant for contestant in turns if contestant.worker.library == "torch"]
        best = min((rival.ms for rival in rivals), default=0.0)
        turns = [one for one in turns if one not in rivals or one.ms <= HOPELESS * best]
    return turns


def _result(suite: str, row: Row, threads: int, turns: list[Turns]) -> dict[str, Any]:
    ours, *others = turns
    rivals = [one for one in others if one.worker.library == "torch"]
    best = min(rivals, key=lambda rival: rival.ms, default=None)
    return {
        "name": row.name,
        "suite": suite,
        "threads": threads,
        "recorded": row.recorded,
        "ours_ms": ours.ms,
        "torch_ms": best and best.ms,
        "ratio": best and best.ms / ours.ms,
        "ours_faults": ours.faults,
        "torch_faults": best and best.faults,
        "torch_layout": best and best.layout,
        "ours_memory": _memory(suite, row, threads, ours),
        "torch_memory": best and _memory(suite, row, threads, best),
        "busy": max(one.median("interruptions") for one in turns) > BUSY,
        "peers": {one.worker.library: one.ms for one in others if one not in rivals},
    }


def _memory(suite: str, row: Row, threads: int, side: Turns) -> int | None:
    if row.at_batch is None or device() != "cpu":
        return None
    with Worker(side.worker.library, threads) as fresh:
        return fresh.ask(memory=[suite, row.name], layout=side.layout)["bytes"]
