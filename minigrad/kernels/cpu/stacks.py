"""Products of stacks of matrices by tiles, from operands that are packed in the order in which tiles read them.

A thread computes some columns of a result at a time. It packs so many rows of y as a sum is long, by panels of as many
columns as a tile is wide, and multiplies them by the rows of x, which are packed by tiles beforehand. Matrices y that
meet the same x lie side by side, as if they were one: a panel may begin in one of them and end in the next.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.generic import KERNELS
from minigrad.kernels.cpu.memory import empty
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

DEPTH = 160  # products in one sum, at most: a panel stays in the L1 cache, and rounding is bounded
PANELS = 8  # packed together, at most: a thread's part of y stays in the L2 cache
HEIGHT = 768  # rows of x that are multiplied by them: these stay there, too
PIECES = 16  # of a sum of products for the threads to share, about; each has a sum of its own

COLUMNS = 2 if registers() > 16 else 1  # of a tile, in vectors
ROWS = min(8, (registers() - 2) // COLUMNS)


class Plan(NamedTuple):
    """How stacks x (n g i j) or (g i j) and y (n g j k) are cut into jobs.

    groups, height, depth, width
        The sizes g, i, j and k.
    together, added
        How many of the n matrices lie side by side, and how many products are added up: n and 1, or 1 and n.
    pieces
        The parts of a sum of products.
    panels, chunks, parts
        Panels in a chunk, chunks of the columns, and parts of the rows.
    sums
        Products in one sum.
    left_columns, right_columns
        Whether x and y are in memory column by column.
    """

    groups: int
    height: int
    depth: int
    width: int
    together: int
    added: int
    pieces: int
    panels: int
    chunks: int
    parts: int
    sums: int
    left_columns: bool
    right_columns: bool


def products(x: Array, y: Array) -> Array:
    """Multiply each of some matrices x (g i j) by several y (n g j k), to (n g i k); nothing may be empty."""
    out = empty((*y.shape[:2], x.shape[1], y.shape[3]), x.dtype)
    _multiply(out, x[None], y, len(y), 1, 1)
    return out


def sum_of_products(x: Array, y: Array) -> Array:
    """Sum the products of x (n g i j) and y (n g j k) over n, to (g i k); nothing may be empty."""
    (n, groups, height, _), width = x.shape, y.shape[3]
    pieces = min(n, -(-PIECES // (groups * -(-width // (COLUMNS * lanes(x.dtype))))))
    out = empty((pieces, groups, height, width), x.dtype)
    _multiply(out, x, y, 1, n, pieces)
    return out[0] if pieces == 1 else KERNELS["sum"](out, axis=(0,), keepdims=False)


def _multiply(out: Array, x: Array, y: Array, together: int, added: int, pieces: int) -> None:
    (count, groups, height, depth), width, threads = x.shape, y.shape[3], get_num_threads()
    wide = COLUMNS * lanes(x.dtype)
    tiles, panels, others = -(-height // ROWS), -(-together * width // wide), groups * pieces
    chunk = max(1, min(PANELS, panels * others // (4 * threads)))
    chunks = -(-panels // chunk)
    parts = min(tiles, max(-(-height // HEIGHT), 2 * threads // (chunks * others)))
    sums = -(-depth // -(-depth // DEPTH))  # of about equal length
    (flat_x, left), (flat_y, right) = _flat(x), _flat(y)
    plan = Plan(groups, height, depth, width, together, added, pieces, chunk, chunks, parts, sums, left, right)
    packed = empty((count * groups * tiles * depth * ROWS,), x.dtype)
    scratch = empty((threads, (chunk * sums + ROWS + 1) * wide), x.dtype)
    pack, multiply = _multiplier(lanes(x.dtype))
    pack(packed, flat_x, plan)
    multiply(out.reshape(-1), packed, flat_y, scratch, plan)


def _flat(x: Array) -> tuple[Array, bool]:
    """The elements of a stack of matrices in memory's order, and whether that is column by column."""
    if x.swapaxes(-1, -2).flags.c_contiguous and not x.flags.c_contiguous:
        return x.swapaxes(-1, -2).reshape(-1), True
    return np.ascontiguousarray(x).reshape(-1), False


@functools.cache
def _multiplier(lanes: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile the packing of x and the product, for elements of which a vector has so many."""
    wide = COLUMNS * lanes
    (tile_from_rows, tile_from_columns), (panels_from_rows, panels_from_columns) = (
        packers(lanes, ROWS),
        packers(lanes, wide),
    )

    @kernel
    def pack(packed: Any, x: Any, plan: Any) -> None:
        """Copy x (matrices height depth) to (matrices tiles depth ROWS)."""
        for tile in prange(plan.added * plan.groups * -(-plan.height // ROWS)):
            pack_tile(packed, x, plan, tile)

    @jit
    def pack_tile(packed: Any, x: Any, plan: Any, tile: Any) -> None:
        tiles = -(-plan.height // ROWS)
        matrix, row, to = tile // tiles * plan.height * plan.depth, tile % tiles * ROWS, tile * plan.depth * ROWS
        height = min(ROWS, plan.height - row)
        if plan.left_columns:
            tile_from_rows(packed[to:], 0, x, matrix + row, plan.height, plan.depth, height)
        else:
            tile_from_columns(packed[to:], 0, x, matrix + row * plan.depth, plan.depth, plan.depth, height)

    @kernel
    def multiply(out: Any, x: Any, y: Any, scratch: Any, plan: Any) -> None:
        threads, jobs = len(scratch), plan.pieces * plan.groups * plan.chunks * plan.parts
        for t in prange(threads):
            for job in range(t * jobs // threads, (t + 1) * jobs // threads):
                multiply_chunk(out, x, y, scratch[t], plan, job)

    @jit
    def multiply_chunk(out: Any, x: Any, y: Any, packed: Any, plan: Any, job: Any) -> None:
        """Compute one part of the rows of a group's result, in one chunk of its columns; of a sum, one piece."""
        part, chunk, other = job % plan.parts, job // plan.parts % plan.chunks, job // plan.parts // plan.chunks
        group, piece = other % plan.groups, other // plan.groups
        tiles = -(-plan.height // ROWS)
        begin, step = chunk * plan.panels * wide, plan.panels * wide
        end = min(begin + step, plan.together * plan.width)
        first, last = piece * plan.added // plan.pieces, (piece + 1) * plan.added // plan.pieces
        spare = plan.panels * plan.sums * wide
        for n in range(first, last):
            for k in range(0, plan.depth, plan.sums):
                count, fresh = min(plan.sums, plan.depth - k), n == first and k == 0
                pack_chunk(packed, y, plan, n, group, begin, end, k, count)
                for j in range(begin, end, wide):
                    i, p = piece + j // plan.width, j % plan.width  # the result, and the column in it
                    run = min(wide, end - j)
                    for tile in range(part * tiles // plan.parts, (part + 1) * tiles // plan.parts):
                        start = (((n * plan.groups + group) * tiles + tile) * plan.depth + k) * ROWS
                        total = products(x, start, packed, (j - begin) * count, count)
                        place = ((i * plan.groups + group) * plan.height + tile * ROWS) * plan.width + p
                        height = min(ROWS, plan.height - tile * ROWS)
                        if p + run <= plan.width:
                            put(out, place, plan.width, height, run, total, fresh)
                        else:
                            put_across(out, place, plan, height, p, run, total, fresh, packed, spare)

    @jit
    def pack_chunk(
        packed: Any, y: Any, plan: Any, n: Any, group: Any, begin: Any, end: Any, k: Any, count: Any
    ) -> None:  # fmt: skip
        """Copy rows k, k + 1, ... of matrices side by side, from column `begin` to `end`, to (panels count wide)."""
        j = begin
        while j < end:
            i, p = n + j // plan.width, j % plan.width
            run, start = min(end - j, plan.width - p), (i * plan.groups + group) * plan.depth * plan.width
            if plan.right_columns:
                panels_from_columns(packed, j - begin, y, start + p * plan.depth + k, plan.depth, count, run)
            else:
                panels_from_rows(packed, j - begin, y, start + k * plan.width + p, plan.width, count, run)
            j += run

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
    def put_across(
        out: Any, place: Any, plan: Any, height: Any, p: Any, count: Any, total: Any, fresh: Any, spare: Any, at: Any
    ) -> None:
        """The same where the tile's columns, from p on, belong to several matrices; by way of spare[at:]."""
        store_whole(spare, at, wide, total)
        j = 0
        while j < count:
            run = min(count - j, plan.width - p)
            put(out, place, plan.width, height, run, load(spare, at + j, wide, ROWS, COLUMNS), fresh)
            place += plan.groups * plan.height * plan.width - p
            j, p = j + run, 0

    return pack, multiply


@functools.cache
def packers(lanes: int, size: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile two ways to copy a matrix (count columns) from y[start:] to panels (count size).

    `first` is the place of its first column in them; what comes after the last one may be overwritten. One way is for
    matrices in the order of rows, `pitch` apart, the other for those in the order of columns.
    """
    vectors = -(-size // lanes)

    @jit
    def from_rows(packed: Any, first: Any, y: Any, start: Any, pitch: Any, count: Any, columns: Any) -> None:
        for k in range(count):
            j = 0
            while j < columns:
                lane, at = (first + j) % size, start + k * pitch + j
                place = ((first + j) // size * count + k) * size + lane
                if lane == 0 and j + size <= columns and size == vectors * lanes:
                    store_whole(packed, place, 0, load(y, at, 0, 1, vectors))
                else:
                    store(packed, place, 0, 1, size - lane, load_part(y, at, 0, 1, vectors, 1, columns - j))
                j += size - lane

    @jit
    def from_columns(packed: Any, first: Any, y: Any, start: Any, pitch: Any, count: Any, columns: Any) -> None:
        j = 0
        while j < columns:
            lane, at = (first + j) % size, start + j * pitch
            place, wide = (first + j) // size * count * size + lane, min(size - lane, lanes)
            height = min(wide, columns - j)
            for k in range(0, count, lanes):
                if height == lanes and k + lanes <= count:
                    store_whole(packed, place + k * size, size, transpose(load(y, at + k, pitch, lanes, 1)))
                else:
                    square = transpose(load_part(y, at + k, pitch, lanes, 1, height, count - k))
                    store(packed, place + k * size, size, count - k, wide, square)
            j += wide

    return from_rows, from_columns
