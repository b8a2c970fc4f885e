"""Values that must lie in a range: a kernel notes one that does not, and the next wait, in any thread, raises.

So nobody waits for labels and indices, which are right. What is computed with wrong ones reads no memory but its own.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, row_major
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.machine import machine

ROOM = 1024
"""Checks between two waits; one more waits itself."""

WIDE = {"i": np.dtype(np.int64), "u": np.dtype(np.uint64)}
"""In which dtype a value is noted, by the kind of its own; all others in float64."""

PACKAGE = os.path.join(str(Path(__file__).parents[2]), "")

Complaint = Callable[[Any], Exception]


class _Open:
    """Checks of which nobody knows yet how they end; of all threads, which compute in one stream.

    Each has a note of two numbers: whether, and which value.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.complaints: list[tuple[np.dtype, Complaint, str]] = []
        self.notes: Any = None


_open = _Open()


def check_within(x: Array, *, low: Any, high: Any, complain: Complaint) -> None:
    """See that all values are in [low, high]; else complain(value) is raised, later."""
    if not x.size:
        return
    kind, whole = WIDE.get(x.dtype.kind, np.dtype(np.float64)), contiguous(x)
    limits = (np.float64(low), np.float64(high)) if kind == np.float64 else (int(low), int(high))
    with _open.lock:
        if len(_open.complaints) == ROOM:
            settle()
        if _open.notes is None:
            _open.notes = machine().zeros(16 * ROOM)
        own = Array.of(_open.notes, kind, (2,), row_major((2,)), 2 * len(_open.complaints))
        _open.complaints.append((kind, complain, _place_of_call()))
        note_outside.over(x.size, own, whole, *limits)


def _place_of_call() -> str:
    frame = sys._getframe()
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def settle(*copies: tuple[np.ndarray, Any, int]) -> None:
    """Wait for copies (see `Driver.download`) and for the checks, if there are any, and raise what one has found."""
    with _open.lock:
        complaints, notes = _open.complaints, _open.notes
        clear()
    found = np.empty((len(complaints), 2), np.int64)
    if complaints:
        copies = (*copies, (found, notes, 0))
    if copies:
        machine().download(*copies)
    for note, (kind, complain, place) in zip(found, complaints, strict=True):
        if note[0]:
            error = complain(note.view(kind)[1].item())
            error.add_note(f"the GPU found it after the call, at {place}: this call is the first that waits")
            raise error
    with _open.lock:
        if _open.notes is None:
            _open.notes = notes  # in which nothing was written


def clear() -> None:
    """Forget all checks."""
    with _open.lock:
        _open.complaints, _open.notes = [], None


@kernel
def note_outside(n: Any, notes: Any, x: Any, low: Any, high: Any) -> None:
    """Note one of the values that are not in the range."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        if not (x[i] >= low and x[i] <= high):
            notes[0], notes[1] = 1, x[i]
