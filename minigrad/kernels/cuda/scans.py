"""Running sums along an axis: chunks of it side by side, each from the sum of those before it."""

from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.views import lines

CHUNK = 256
"""Elements that a thread sums up, at most."""


def cumulative_sum(x: Array, *, axis: int) -> Array:
    """Sum up to each element; float32 is summed in float64, so that errors do not run along."""
    out = empty(x.shape, x.dtype)
    _sum_up(out, contiguous(x), *lines(x.shape, axis))
    return out


def _sum_up(out: Array, x: Array, outer: int, length: int, inner: int) -> None:
    chunks = -(-length // CHUNK)
    n = outer * chunks * inner
    before = empty((n,), np.float64 if x.dtype == np.float32 else x.dtype)
    if chunks > 1:
        totals = empty((n,), before.dtype)
        total_of_chunks.over(n, totals, x, length, inner, chunks)
        _sum_up(before, totals, outer, chunks, inner)
    run_through_chunks.over(n, out, x, before, length, inner, chunks)


@kernel
def total_of_chunks(n: Any, totals: Any, x: Any, length: Any, inner: Any, chunks: Any) -> None:
    """The sum of each chunk of (outer, length, inner) along its middle."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        chunk, top = i // inner % chunks, i // (inner * chunks) * length * inner + i % inner
        total = type(totals[0])(0)
        for k in range(chunk * length // chunks, (chunk + 1) * length // chunks):
            total += x[top + k * inner]
        totals[i] = total


@kernel
def run_through_chunks(n: Any, out: Any, x: Any, before: Any, length: Any, inner: Any, chunks: Any) -> None:
    """The running sums of each chunk, where `before` has those up to the end of each."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        chunk, top = i // inner % chunks, i // (inner * chunks) * length * inner + i % inner
        total = before[i - inner] if chunk > 0 else type(before[0])(0)
        for k in range(chunk * length // chunks, (chunk + 1) * length // chunks):
            total += x[top + k * inner]
            out[top + k * inner] = total
