"""How many threads the kernels compute on: one number for the whole process."""

import contextlib
import functools
import os
import sys
from pathlib import Path

_chosen: int | None = None
alone = False
"""Whether this process was forked from one whose kernels had threads: it has inherited none, and cannot start any."""


def get_num_threads() -> int:
    """Return the number that was chosen, or else that of the cores; 1 in a process that has to compute alone."""
    return 1 if alone else _chosen or default()


def sharing(elements: int) -> int:
    """Return how many threads are worth starting for so many elements, with little to do for each."""
    most = elements >> 15
    return min(get_num_threads(), most) if most > 1 else 1


@functools.lru_cache(maxsize=1024)
def parts_of(blocks: int, least: int, most: int, threads: int, idle: float = 0.1) -> int:
    """Return into how many parts, from `least` to `most`, to cut each block, so that no thread waits long for another.

    They are as few as will do, as parts of a block may have to do the same first: `idle` of the threads' time may be
    lost.

    >>> parts_of(3, 1, 8, 1), parts_of(3, 1, 8, 2), parts_of(2, 1, 8, 16), parts_of(99, 1, 8, 2)
    (1, 2, 8, 1)
    """
    worth = (k for k in range(least, most) if blocks * k >= (1 - idle) * threads * -(-blocks * k // threads))
    return next(worth, most)


def choose(count: int | None) -> None:
    """Choose from 1 to `limit()`, from the next call of a kernel on; None for the default."""
    global _chosen
    _chosen = count


def limit() -> int:
    """Return how many threads numba starts: NUMBA_NUM_THREADS, or as many as there are processors for this process."""
    wanted = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else len(_processors())


@functools.cache
def default() -> int:
    """Return NUMBA_NUM_THREADS, or how many cores this process may use: arithmetic gains nothing from half a core."""
    if os.environ.get("NUMBA_NUM_THREADS"):
        return limit()
    return len({_siblings(processor) for processor in _processors()})


def _processors() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _siblings(processor: int) -> str:
    """Name the core of a processor by all processors that share it, where the system tells; else by itself."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(processor)


def _after_fork() -> None:
    global alone
    with contextlib.suppress(KeyError, AttributeError, ValueError):  # numba not loaded, or without threads so far
        alone = bool(sys.modules["numba"].threading_layer())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
