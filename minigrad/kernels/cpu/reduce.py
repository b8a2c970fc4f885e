"""Sums of large arrays on the CPU, over rows or columns, by threads, in an order that does not depend on their number.

Sixteen vectors are added up at a time, and then such sums; long sums are made of parts, which float64 adds up.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.simd import (
    add_wide,
    full,
    lanes,
    load,
    load_part,
    registers,
    store,
    store_whole,
    sum_lanes,
    width,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]

TOGETHER = max(1, registers() // 4)  # rows, or vectors of columns, that are summed together
DOUBLES = 8  # in a vector
CHUNK = 16  # vectors that are added up one after the other
PART = 8000  # elements of a long row that are a part of it (a power of two would be all in one set of the L1 cache)
FEW = 16  # rows
HEIGHT = 1 << 8  # rows of a part of a column


def sums(x: Array, axis: tuple[int, ...]) -> Array:
    """Sum a C-contiguous array of floats over axes next to each other, at least one; no side is 0."""
    first, stop = min(axis), max(axis) + 1
    outer, count, inner = (int(np.prod(part)) for part in (x.shape[:first], x.shape[first:stop], x.shape[stop:]))
    if inner > 1:
        found = _column_sums(x.reshape(outer, count, inner))
    elif outer < FEW and count >= 2 * PART:
        found = np.array([_long_sum(row) for row in x.reshape(outer, count)], x.dtype)
    else:
        found = row_sums(x.reshape(outer, count))
    return found.reshape(x.shape[:first] + x.shape[stop:])


def row_sums(x: Array, dtype: Any = None) -> Array:
    """Sum the rows of a matrix, at least one element each."""
    found = empty((len(x),), dtype or x.dtype)
    if len(x):
        scratch = np.empty((get_num_threads(), TOGETHER * DOUBLES), np.float64)
        _row_sums(found, x.reshape(-1), x.shape[1], scratch)
    return found


def _long_sum(row: Array) -> Any:
    whole = len(row) // PART * PART
    parts = row_sums(row[:whole].reshape(-1, PART), np.float64)
    return np.add.reduce(parts) + np.add.reduce(row[whole:], dtype=np.float64)


@kernel
def _row_sums(sums: Any, x: Any, count: Any, scratch: Any) -> None:
    threads = len(scratch)
    for t in prange(threads):
        _row_sums_of(t * len(sums) // threads, (t + 1) * len(sums) // threads, sums, x, count, scratch[t])


@jit
def _row_sums_of(first: Any, stop: Any, sums: Any, x: Any, count: Any, scratch: Any) -> None:
    step = width(x)
    for n in range(first, stop, TOGETHER):
        height = min(TOGETHER, stop - n)
        total = full(0.0, TOGETHER, 1)
        for e in range(0, count, CHUNK * step):
            part = full(x.dtype.type(0), TOGETHER, 1)
            for q in range(e, min(e + CHUNK * step, count), step):
                if height == TOGETHER and q + step <= count:
                    part = part + load(x, n * count + q, count, TOGETHER, 1)
                else:
                    part = part + load_part(x, n * count + q, count, TOGETHER, 1, height, count - q)
            total = add_wide(total, part)
        store_whole(scratch, 0, 0, sum_lanes(total))
        for m in range(height):
            sums[n + m] = scratch[m]


def _column_sums(x: Array) -> Array:
    """(outer count inner) -> (outer inner)."""
    outer, count, inner = x.shape
    parts = empty((outer, -(-count // HEIGHT), inner), x.dtype)
    blocks = -(-inner // (TOGETHER * lanes(x.dtype)))
    _column_sums_of_parts(parts.reshape(-1), x.reshape(-1), count, inner, parts.shape[1], blocks, get_num_threads())
    if parts.shape[1] == 1:
        return parts
    return np.add.reduce(parts, axis=1, dtype=np.float64).astype(x.dtype)


@kernel
def _column_sums_of_parts(parts: Any, x: Any, count: Any, inner: Any, heights: Any, blocks: Any, threads: Any) -> None:
    units = len(parts) // inner * blocks
    for t in prange(threads):
        _column_sums_of(t * units // threads, (t + 1) * units // threads, parts, x, count, inner, heights, blocks)


@jit
def _column_sums_of(
    first: Any, stop: Any, parts: Any, x: Any, count: Any, inner: Any, heights: Any, blocks: Any
) -> None:
    for unit in range(first, stop):
        k, column = unit // blocks, unit % blocks * TOGETHER * width(x)
        row = k // heights * count + k % heights * HEIGHT
        height = min(HEIGHT, count - k % heights * HEIGHT)
        rest = inner - column
        total = full(x.dtype.type(0), 1, TOGETHER)
        for r in range(row, row + height, CHUNK):
            part = full(x.dtype.type(0), 1, TOGETHER)
            for at in range(r, min(r + CHUNK, row + height)):
                if rest >= TOGETHER * width(x):
                    part = part + load(x, at * inner + column, 0, 1, TOGETHER)
                else:
                    part = part + load_part(x, at * inner + column, 0, 1, TOGETHER, 1, rest)
            total = total + part
        store(parts, k * inner + column, 0, 1, rest, total)
