"""Matrix products on the CPU, on the threads of the other kernels; small ones and integers are left to numpy.

A threaded BLAS beside these threads would cost more than it gives: its threads go on spinning for milliseconds after a
product and take the processor from the kernels that follow.

A thread computes some columns of the result at a time. It packs so many rows of y as a sum is long, by panels of as
many columns as a tile is wide, and multiplies them by the rows of x, which are packed by tiles beforehand.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.generic import KERNELS, SILENCE
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.simd import (
    broadcast,
    fma,
    full,
    lanes,
    load,
    load_part,
    registers,
    store,
    store_whole,
    transpose,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]

SMALL = 1 << 18  # multiplications that OpenBLAS does on the calling thread, faster than threads could be called
NARROW = 8  # rows or columns, below which vectors would be mostly empty
DEPTH = 160  # products in one sum, at most: a panel stays in the L1 cache, and rounding is bounded
PANELS = 8  # packed together, at most: a thread's part of y stays in the L2 cache
HEIGHT = 768  # rows of x that are multiplied by them: these stay there, too

COLUMNS = 2 if registers() > 16 else 1  # of a tile, in vectors
ROWS = min(8, (registers() - 2) // COLUMNS)


def matmul(x: Array, y: Array) -> Array:
    """Multiply matrices (... i j) and (... j k), as `numpy.matmul` does."""
    if y.ndim == 1:
        return matmul(x, y[:, None])[..., 0]
    if x.ndim == 1:
        return matmul(x[None], y)[..., 0, :]
    if x.ndim > 2 or y.ndim > 2:
        return _multiply_stacks(x, y)
    if x.dtype.kind != "f" or x.size * y.shape[1] <= SMALL:
        return _multiply(x, y)
    fewest = min(len(x), y.shape[1])
    if fewest < NARROW:
        return _multiply_in_pieces(x, y)
    if y.shape[1] == fewest and fewest < COLUMNS * lanes(x.dtype):
        return np.ascontiguousarray(_multiply_tiles(y.T, x.T).T)
    return _multiply_tiles(x, y)


def linear(x: Array, weight: Array, bias: Array | None = None, *, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute x @ weight.T + bias, where x may have any number of leading axes."""
    out = matmul(_rows(x), weight.T)
    if bias is not None:
        SILENCE.run(np.add, out, bias, out)
    return out.reshape(*x.shape[:-1], len(weight)), ()


def linear_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array, ...], out: Any, residuals: tuple[Array, ...]
) -> tuple[Array | None, ...]:
    """Compute the cotangents of x, weight and bias; that of the weight is in the weight's own order of memory."""
    x, weight = inputs[:2]
    g = _rows(g)
    return (
        matmul(g, weight).reshape(x.shape) if needs[0] else None,
        matmul(g.T, _rows(x)) if needs[1] else None,
        *(KERNELS["sum"](g, axis=(0,), keepdims=False) if need else None for need in needs[2:]),
    )


def _rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _multiply(x: Array, y: Array) -> Array:
    return np.asarray(SILENCE.run(np.matmul, x, y))


def _multiply_stacks(x: Array, y: Array) -> Array:
    """Leave stacks of small matrices to BLAS; compute the products of larger ones one by one."""
    (i, j), k = x.shape[-2:], y.shape[-1]
    if x.dtype.kind != "f" or i * j * k <= SMALL:
        return _multiply(x, y)
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = np.broadcast_to(x, (*stack, i, j)), np.broadcast_to(y, (*stack, j, k))
    out = empty((*stack, i, k), x.dtype)
    for index in np.ndindex(stack):
        out[index] = matmul(x[index], y[index])
    return out


def _multiply_in_pieces(x: Array, y: Array) -> Array:
    """Multiply a few rows or columns by a matrix, so much of it at a time as lies together in memory."""
    if len(x) > y.shape[1]:
        return np.ascontiguousarray(_multiply_in_pieces(y.T, x.T).T)
    out = zeros((len(x), y.shape[1]), x.dtype)
    by_rows = y.strides[0] >= y.strides[1]
    step = max(1, SMALL // (len(x) * y.shape[by_rows]))
    for first in range(0, y.shape[not by_rows], step):
        piece = slice(first, first + step)
        if by_rows:
            SILENCE.run(np.add, out, _multiply(x[:, piece], y[piece]), out)
        else:
            out[:, piece] = _multiply(x, y[:, piece])
    return out


def _multiply_tiles(x: Array, y: Array) -> Array:
    (height, depth), width = x.shape, y.shape[1]
    threads = get_num_threads()
    tiles, panels = -(-height // ROWS), -(-width // (COLUMNS * lanes(x.dtype)))
    together = max(1, min(PANELS, panels // (4 * threads)))
    chunks = -(-panels // together)
    parts = min(tiles, max(-(-height // HEIGHT), 2 * threads // chunks))
    packed = empty((tiles * depth * ROWS,), x.dtype)
    _pack_rows(packed, *_flat(x), height, depth)
    sums = -(-depth // -(-depth // DEPTH))  # products in one of about equal sums
    scratch = empty((threads, together * COLUMNS * lanes(x.dtype) * sums), x.dtype)
    out = empty((height, width), x.dtype)
    multiply = _multiplier(lanes(x.dtype))
    multiply(out.reshape(-1), packed, *_flat(y), scratch, height, depth, width, together, chunks, parts, sums)
    return out


def _flat(x: Array) -> tuple[Array, bool]:
    """The elements of a matrix in memory's order, and whether that is column by column."""
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return x.T.reshape(-1), True
    return np.ascontiguousarray(x).reshape(-1), False


@kernel
def _pack_rows(packed: Any, x: Any, by_columns: Any, height: Any, depth: Any) -> None:
    """Copy x (height depth) to (tiles depth rows), with zeros for rows beyond the last."""
    down, across = (1, height) if by_columns else (depth, 1)
    for tile in prange(-(-height // ROWS)):
        count = min(ROWS, height - tile * ROWS)
        for k in range(depth):
            start, place = tile * ROWS * down + k * across, (tile * depth + k) * ROWS
            for m in range(ROWS):
                packed[place + m] = x[start + m * down] if m < count else 0


@functools.cache
def _multiplier(lanes: int) -> Callable[..., None]:
    """Compile the product for elements of which a vector has so many."""
    wide = COLUMNS * lanes

    @kernel
    def multiply(
        out: Any, x: Any, y: Any, by_columns: Any, scratch: Any,
        height: Any, depth: Any, width: Any, together: Any, chunks: Any, parts: Any, sums: Any
    ) -> None:  # fmt: skip
        threads, jobs = len(scratch), chunks * parts
        for t in prange(threads):
            for job in range(t * jobs // threads, (t + 1) * jobs // threads):
                multiply_chunk(
                    out, x, y, by_columns, scratch[t],
                    height, depth, width, together, job // parts, job % parts, parts, sums
                )  # fmt: skip

    @jit
    def multiply_chunk(
        out: Any, x: Any, y: Any, by_columns: Any, packed: Any,
        height: Any, depth: Any, width: Any, together: Any, chunk: Any, part: Any, parts: Any, sums: Any
    ) -> None:  # fmt: skip
        """Compute one part of the rows of the result, in one chunk of its columns."""
        tiles, begin, end = -(-height // ROWS), chunk * together * wide, min((chunk + 1) * together * wide, width)
        for k in range(0, depth, sums):
            count = min(sums, depth - k)
            if by_columns:
                pack_columns(packed, y, begin, end, k, count, depth)
            else:
                pack_panels(packed, y, begin, end, k, count, width)
            for j in range(begin, end, wide):
                for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
                    total = products(x, (tile * depth + k) * ROWS, packed, (j - begin) * count, count)
                    i = tile * ROWS
                    put(out, i * width + j, width, min(ROWS, height - i), min(wide, width - j), total, k == 0)

    @jit(forceinline=True)
    def products(x: Any, tile: Any, y: Any, panel: Any, depth: Any) -> Any:
        """A tile of the sums over k of x[k, m] * y[k, j]."""
        total = full(x.dtype.type(0), ROWS, COLUMNS)
        for k in range(depth):
            total = fma(broadcast(x, tile + k * ROWS, ROWS), load(y, panel + k * wide, 0, 1, COLUMNS), total)
        return total

    @jit(forceinline=True)
    def put(out: Any, place: Any, pitch: Any, height: Any, count: Any, total: Any, fresh: Any) -> None:
        """out[m, j] (+)= total[m, j], for the tile's rows and elements that exist."""
        if height == ROWS and count == wide:
            if not fresh:
                total = load(out, place, pitch, ROWS, COLUMNS) + total
            store_whole(out, place, pitch, total)
        else:
            if not fresh:
                total = load_part(out, place, pitch, ROWS, COLUMNS, height, count) + total
            store(out, place, pitch, height, count, total)

    @jit
    def pack_panels(packed: Any, y: Any, begin: Any, end: Any, k: Any, count: Any, pitch: Any) -> None:
        """Copy rows k, k + 1, ... of y (depth width), from column `begin` to `end`, to (panels count wide)."""
        for i in range(count):
            start = (k + i) * pitch
            for j in range(begin, end, wide):
                place = (j - begin) * count + i * wide
                if j + wide <= end:
                    store_whole(packed, place, 0, load(y, start + j, 0, 1, COLUMNS))
                else:
                    store_whole(packed, place, 0, load_part(y, start + j, 0, 1, COLUMNS, 1, end - j))

    @jit
    def pack_columns(packed: Any, y: Any, begin: Any, end: Any, k: Any, count: Any, pitch: Any) -> None:
        """The same from y in the order of its columns, by square tiles that are transposed."""
        for j in range(begin, end, lanes):
            place, height = (j - begin) // wide * wide * count + (j - begin) % wide, min(lanes, end - j)
            for i in range(0, count, lanes):
                start = j * pitch + k + i
                if height == lanes and i + lanes <= count:
                    store_whole(packed, place + i * wide, wide, transpose(load(y, start, pitch, lanes, 1)))
                else:
                    square = transpose(load_part(y, start, pitch, lanes, 1, height, count - i))
                    store(packed, place + i * wide, wide, count - i, lanes, square)

    return multiply
