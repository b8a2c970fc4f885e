"""Reductions on the CPU: each row by one thread, several rows in a tile, in an order of its own."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.simd import (
    add_wide,
    full,
    load,
    load_part,
    registers,
    store_whole,
    sum_lanes,
    width,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]

ROWS = max(1, registers() // 4)  # that are summed together
DOUBLES = 8  # in a vector


def row_sums(x: Array) -> Array:
    """Sum the rows of a matrix, at least one element each."""
    sums = empty((len(x),), x.dtype)
    if len(x):
        _row_sums(sums, x.reshape(-1), x.shape[1], np.empty((get_num_threads(), ROWS * DOUBLES), np.float64))
    return sums


@kernel
def _row_sums(sums: Any, x: Any, count: Any, scratch: Any) -> None:
    threads = len(scratch)
    for t in prange(threads):
        _row_sums_of(t * len(sums) // threads, (t + 1) * len(sums) // threads, sums, x, count, scratch[t])


@jit
def _row_sums_of(first: Any, stop: Any, sums: Any, x: Any, count: Any, scratch: Any) -> None:
    """Sum 16 vectors in the dtype of x, and such sums in float64."""
    lanes = width(x)
    chunk = 16 * lanes
    for n in range(first, stop, ROWS):
        height = min(ROWS, stop - n)
        total = full(0.0, ROWS, 1)
        for e in range(0, count, chunk):
            part = full(x.dtype.type(0), ROWS, 1)
            for q in range(e, min(e + chunk, count), lanes):
                if height == ROWS and q + lanes <= count:
                    part = part + load(x, n * count + q, count, ROWS, 1)
                else:
                    part = part + load_part(x, n * count + q, count, ROWS, 1, height, count - q)
            total = add_wide(total, part)
        store_whole(scratch, 0, 0, sum_lanes(total))
        for m in range(height):
            sums[n + m] = scratch[m]
