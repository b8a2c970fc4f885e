"""Values that must lie in a range: a kernel notes one that does not, and the next wait of the same thread raises.

So nobody waits for labels and indices, which are right. What is computed with wrong ones reads no memory but its own.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, float64

from minigrad.kernels.cuda.array import Array, row_major
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.machine import machine

ROOM = 1024
"""Checks between two waits; one more waits itself."""

Complaint = Callable[[Any], Exception]


class _Open(threading.local):
    """The checks of a thread of which nobody knows yet how they end: a note (whether, which value) each."""

    def __init__(self) -> None:
        self.notes: Any = None
        self.complaints: list[tuple[np.dtype, Complaint]] = []


_open = _Open()


def check_within(x: Array, *, low: Any, high: Any, complain: Complaint) -> None:
    """See that all values are in [low, high]; else complain(value) is raised, later."""
    if not x.size:
        return
    if len(_open.complaints) == ROOM:
        settle()
    if not _open.complaints:
        _open.notes = Array.of(machine().zeros(16 * ROOM), np.dtype(np.float64), (ROOM, 2), row_major((ROOM, 2)), 0)
    own = _open.notes.view((2,), (1,), 2 * len(_open.complaints))
    _open.complaints.append((x.dtype, complain))
    limits = (int(low), int(high)) if x.dtype.kind in "iu" else (np.float64(low), np.float64(high))
    note_outside.over(x.size, own, contiguous(x), *limits)


def settle() -> None:
    """Raise what a check of this thread has found, if one has; waits where there was any."""
    complaints, notes = _open.complaints, _open.notes
    if not complaints:
        return
    _open.complaints, _open.notes = [], None
    found = np.empty((len(complaints), 2))
    machine().download(found, notes.buffer, 0)
    for (wrong, value), (dtype, complain) in zip(found, complaints, strict=True):
        if wrong:
            error = complain(int(value) if dtype.kind in "iu" else dtype.type(value).item())
            error.add_note("the GPU found it after the call, which had gone on: this call is the first that waits")
            raise error


@kernel
def note_outside(n: Any, notes: Any, x: Any, low: Any, high: Any) -> None:
    """Note one of the values that are not in the range."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        if not (x[i] >= low and x[i] <= high):
            notes[0], notes[1] = float64(1), float64(x[i])
