"""Stable sorting along an axis: short runs by counting, and runs of twice the length by merging, again and again.

Every element finds its own place: within a run it counts those that come before it, and among those of the run beside
it, which are sorted, it searches by halves. So nothing depends on timing, and an axis of any length is sorted in
n log(n)**2 steps, all elements side by side.
"""

from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.division import divisor, split
from minigrad.kernels.cuda.machine import SIMULATED
from minigrad.kernels.cuda.views import basic, lines

RUN = 2 if SIMULATED else 32
"""Elements of the first runs, a power of two."""


def argsort(x: Array, *, axis: int, descending: bool) -> Array:
    """Indices that sort along an axis."""
    _, places = ordered(x, axis, descending)
    return places


def argtopk(x: Array, *, k: int, axis: int, largest: bool) -> Array:
    """Indices of the k first along an axis, after sorting."""
    return basic(argsort(x, axis=axis, descending=largest), (*[slice(None)] * axis, slice(0, k)))


def ordered(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    """x sorted along an axis, and where its elements were."""
    _, length, inner = lines(x.shape, axis)
    sizes, run = (divisor(length), divisor(inner), int(descending)), RUN
    new, new_places = empty(x.shape, x.dtype), empty(x.shape, np.int64)
    sort_runs.over(x.size, new, new_places, contiguous(x), *sizes)
    while run < length:
        old, places, new, new_places = new, new_places, empty(x.shape, x.dtype), empty(x.shape, np.int64)
        merge_runs.over(x.size, new, new_places, old, places, *sizes, run)
        run *= 2
    return new, new_places


@kernel
def sort_runs(n: Any, new: Any, new_places: Any, x: Any, length: Any, inner: Any, descending: Any) -> None:
    """Each element of (outer, length, inner) goes to its place in the run that it is in."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        outer, here = split(rest, length)
        top, first = outer * length[0] * inner[0] + column, here - here % RUN
        before = 0
        for k in range(first, min(first + RUN, length[0])):
            other = x[top + k * inner[0]]
            if _comes_before(other, x[i], descending) or (k < here and not _comes_before(x[i], other, descending)):
                before += 1
        to = top + (first + before) * inner[0]
        new[to] = x[i]
        new_places[to] = here


@kernel
def merge_runs(
    n: Any, new: Any, new_places: Any, old: Any, places: Any, length: Any, inner: Any, descending: Any, run: Any
) -> None:
    """Each element of two runs goes to its place in both together; of equal ones those of the first run come first."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        outer, here = split(rest, length)
        top, value = outer * length[0] * inner[0] + column, old[i]
        first = here - here % (2 * run)
        middle, is_first = min(first + run, length[0]), here < first + run
        low, high = (middle, min(middle + run, length[0])) if is_first else (first, middle)
        start = low
        while low < high:  # how many of the other run come before
            half = (low + high) // 2
            other = old[top + half * inner[0]]
            comes = _comes_before(other, value, descending) if is_first else not _comes_before(value, other, descending)
            low, high = (half + 1, high) if comes else (low, half)
        to = top + (here + low - start - (0 if is_first else run)) * inner[0]
        new[to] = value
        new_places[to] = places[i]


def _comes_before(x: Any, y: Any, descending: Any) -> Any:
    return _is_less(y, x) if descending else _is_less(x, y)


def _is_less(x: Any, y: Any) -> Any:
    """Whether x is less; NaN is larger than any number."""
    return x < y or (x == x and y != y)
