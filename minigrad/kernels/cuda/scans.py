"""Running sums along an axis: chunks of it side by side, each from the sum of those before it."""

import functools
from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import Kernel, element, kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.division import divisor, split
from minigrad.kernels.cuda.elementwise import SAME
from minigrad.kernels.cuda.intrinsics import shared
from minigrad.kernels.cuda.lanes import EACH, WARP, WARPS, bounds, in_parts, lanes, share
from minigrad.kernels.cuda.machine import machine
from minigrad.kernels.cuda.reductions import along_lines
from minigrad.kernels.cuda.views import lines


def cumulative_sum(x: Array, *, axis: int) -> Array:
    """Sum up to each element; float32 is summed in float64, so that errors do not run along."""
    out = empty(x.shape, x.dtype)
    _sum_up(out, contiguous(x), *lines(x.shape, axis))
    return out


def _sum_up(out: Array, x: Array, outer: int, length: int, inner: int) -> None:
    chunks, size = in_parts(length, inner)
    n, wide = outer * chunks * inner, np.dtype(np.float64) if x.dtype == np.float32 else x.dtype
    before, layout = empty((n,), wide), (length, divisor(inner), divisor(chunks), size)
    if chunks > 1:
        totals = empty((n,), wide)
        share(along_lines(SAME["add"], wide), n, lanes(size, inner), totals, x, wide.type(0), *layout)
        _sum_up(before, totals, outer, chunks, inner)
    if n and inner == 1 and length > EACH:
        threads = min(machine().threads, 1 << (size - 1).bit_length())
        across_chunks(wide)(n, threads, out, x, before, wide.type(0), length, divisor(chunks), size)
    else:
        down_chunks.over(n, out, x, before, wide.type(0), *layout)


@functools.cache
def across_chunks(dtype: np.dtype) -> Kernel:
    """The kernel for rows: a block goes through a chunk, and each time its threads sum up as many elements."""
    number, room = element(dtype), WARP * WARPS

    @kernel
    def run(out: Any, x: Any, before: Any, zero: Any, length: Any, chunks: Any, size: Any) -> None:
        sums = shared(room, number)
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        row, chunk = split(cuda.blockIdx.x, chunks)
        carried = before[cuda.blockIdx.x - 1] if chunk > 0 else zero
        start, stop = bounds(chunk, size, length)
        for first in range(start, stop, threads):
            here = row * length + first + thread
            total, step = zero + (x[here] if first + thread < stop else type(x[0])(0)), 1
            sums[thread] = total
            while step < threads:  # Hillis and Steele: each sum reaches twice as far as before
                cuda.syncthreads()
                total += sums[thread - step] if thread >= step else zero
                cuda.syncthreads()
                sums[thread] = total
                step *= 2
            cuda.syncthreads()
            if first + thread < stop:
                out[here] = carried + total
            carried += sums[threads - 1]
            cuda.syncthreads()  # until all have read that

    return run


@kernel
def down_chunks(
    n: Any, out: Any, x: Any, before: Any, zero: Any, length: Any, inner: Any, chunks: Any, size: Any
) -> None:
    """The running sums of each chunk of a column, a thread each; `before` has those up to the end of each."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        outer, chunk = split(rest, chunks)
        top, total = outer * length * inner[0] + column, before[i - inner[0]] if chunk > 0 else zero
        first, stop = bounds(chunk, size, length)
        for k in range(first, stop):
            total += x[top + k * inner[0]]
            out[top + k * inner[0]] = total
