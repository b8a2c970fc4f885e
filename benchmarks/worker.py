"""One library in a process of its own, so that no thread pools fight: `python -m benchmarks.worker LIBRARY THREADS`.

It reads a request a line from standard input, and answers each with a line; both are JSON:

    {"load": [SUITE, ROW], "layouts": [...]}       {"ready": ...}: whether the row is prepared and warm in each layout
    {"measure": LAYOUT, "seconds": 0.1}            {"ms", "faults"} of one call, and "interruptions" a second
    {"memory": [SUITE, ROW], "layout": LAYOUT}     {"bytes": ...}: what training takes; for a fresh process

Only one row is in memory at a time. A peer that cannot run a row is not ready; ours and PyTorch must be.
"""

import ctypes
import gc
import importlib
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.row import DEVICE, Row, Step, device
from benchmarks.suites import find

if sys.platform != "win32":
    import resource

PRECISION = "BENCHMARKS_CONV_PRECISION"  # in the environment of the processes
TF32 = "BENCHMARKS_TF32"
ON_CPU = "minigrad on the CPU"
MODULES = {"ours": "minigrad", "torch": "torch"}
SAMPLE = {"cpu": 1e-4, "cuda": 5e-3}
"""Seconds that one reading of the clock spans at least; on a GPU it is read when all is done."""


class Usage:
    """What the system counts from here on for this process and the processes that it waits for; on Windows nothing."""

    def __init__(self) -> None:
        self._before = self._counted()

    def _counted(self) -> tuple[float, int, int]:
        both = []
        if sys.platform != "win32":
            both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(one.ru_minflt for one in both), sum(one.ru_nivcsw for one in both)

    def since(self, calls: int) -> dict[str, float]:
        """Return the minor page faults a call, and how often a second another program took the core away."""
        seconds, faults, interruptions = (
            now - before for now, before in zip(self._counted(), self._before, strict=True)
        )
        return {"faults": faults / calls, "interruptions": interruptions / seconds}


def finish() -> None:
    """Wait for the device to have done what it was told to."""
    if device() == "cuda":
        for name in ("minigrad", "torch"):
            if name in sys.modules:
                sys.modules[name].cuda.synchronize()


def repeat(step: Step, times: int) -> float:
    """Return the seconds that so many calls take."""
    calls = range(times)
    start = time.perf_counter()
    for _ in calls:
        step()
    finish()
    return time.perf_counter() - start


def measure(step: Step, seconds: float, single: bool = False) -> dict[str, float]:
    """Say what one call costs: the median over a turn of so many seconds, or a `single` call.

    A turn begins with calls that do not count: caches and threads come back from the other library's turn.
    """
    if single:
        usage = Usage()
        return {"ms": 1e3 * repeat(step, 1), **usage.since(1)}
    cost, until = math.inf, time.perf_counter() + seconds / 5
    while cost == math.inf or time.perf_counter() < until:
        cost = min(cost, repeat(step, 1))
    times = max(1, math.ceil(SAMPLE[device()] / cost))
    samples: list[float] = []
    usage, until = Usage(), time.perf_counter() + seconds
    while time.perf_counter() < until or not samples:
        samples.append(repeat(step, times))
    return {"ms": 1e3 * statistics.median(samples) / times, **usage.since(times * len(samples))}


def prepare(row: Row, library: str, layout: str) -> Step:
    """Return the call to time."""
    if library == "torch":
        import torch

        formats = {"channels_last": torch.channels_last}
        return row.torch(formats.get(layout, torch.contiguous_format))
    return row.ours() if library == "ours" else row.peers[library]()


def training_memory(row: Row, library: str, layout: str) -> int | None:
    """Return the bytes by which this process grows to hold a net, its data, and three training steps.

    A step at batch 2 comes first, so that what the libraries load and compile does not count. Linux only.
    """
    assert row.at_batch is not None
    prepare(row.at_batch(2), library, layout)()
    gc.collect()
    if library == "ours":
        importlib.import_module("minigrad").release_memory()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts again
        before = _status("VmRSS")
        repeat(prepare(row, library, layout), 3)
        return _status("VmHWM") - before
    except (AttributeError, OSError, TypeError):
        return None


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def limit_threads(library: str, threads: int) -> None:
    """Keep a library to so many threads (a peer by the cores that it sees), and ours to a precision."""
    if library in MODULES:
        module = importlib.import_module(MODULES[library])
        module.set_num_threads(threads)
        if library == "ours" and PRECISION in os.environ:
            module.set_conv_precision(os.environ[PRECISION])
        if device() == "cuda" and library == "ours":
            module.cuda.allow_tf32(TF32 in os.environ)
        elif device() == "cuda":
            module.backends.cuda.matmul.allow_tf32 = module.backends.cudnn.allow_tf32 = TF32 in os.environ
    elif hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main() -> None:
    """Serve requests until standard input ends."""
    library, threads = sys.argv[1], int(sys.argv[2])
    if library == ON_CPU:
        library, os.environ[DEVICE] = "ours", "cpu"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints goes to standard error
    limit_threads(library, threads)
    steps: dict[str, Step] = {}
    row: Row
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = {}
        if "load" in request:
            steps.clear()
            row = find(*request["load"])
            try:
                steps |= {layout: prepare(row, library, layout) for layout in request["layouts"]}
                for step in () if row.processes else steps.values():
                    repeat(step, 3)
            except Exception as error:
                if library in MODULES:
                    raise
                print(f"{library}, {row.name}: {error}", file=sys.stderr)
            answer = {"ready": bool(steps)}
        elif "measure" in request:
            answer = measure(steps[request["measure"]], request["seconds"], row.processes)
        else:
            answer = {"bytes": training_memory(find(*request["memory"]), library, request["layout"])}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
