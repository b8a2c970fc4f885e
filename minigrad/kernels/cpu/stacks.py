"""Products of stacks of matrices by tiles.

A thread computes a block of a result at a time: some rows, and some panels, which are as many columns as a tile is
wide. The rows of x are read where they are. So are those of y, but where a panel is not whole, or where many tiles
meet it: then it is packed first, in the order in which tiles read it. Matrices y that meet the same x lie side by side,
as if they were one. A packed panel may begin in one of them and end in the next; others end with their matrix, and the
next matrix is asked for meanwhile.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.np.unsafe.ndarray import to_fixed_tuple

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.generic import KERNELS
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import (
    BYTES,
    broadcast_apart,
    fma,
    full,
    load,
    load_part,
    prefetch,
    registers,
    store,
    store_whole,
    transpose,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]

DEPTH = 256  # products in one sum, at most, which bounds rounding
ELEMENTS = 1 << 16  # of y in a block, about: they stay in the L2 cache
HEIGHT = 256  # rows of x in a block, at most: they stay there, too, and so do the block's results
SHALLOW = 64  # products in one sum, up to which a block is computed row by row
FEW = 128  # rows of x, up to which whole panels are not packed
IDLE = 6  # rows of x that packing takes as long as; of lanes that compute again what others do, so many cost as much
PIECES = 16  # of a sum of products for the threads to share, about; each has a sum of its own
WORK = 1 << 19  # multiplications that are worth another thread

COLUMNS = 3 if registers() > 16 else 1  # of a tile, in vectors
ROWS = min(8, (registers() - 1) // COLUMNS - 1)
ASKS = COLUMNS > 1  # for the next matrix, which takes narrow tiles longer than it saves


class Plan(NamedTuple):
    """How stacks x (n g i j) or (g i j) and y (n g j k) are cut into jobs.

    groups, height, depth, width
        The sizes g, i, j and k.
    together, added
        How many of the n matrices lie side by side, and how many products are added up: n and 1, or 1 and n.
    breadth
        The columns of each that lies there: k, or those of its panels, where none ends in the next matrix.
    pieces
        The parts of a sum of products.
    panels, chunks, parts
        Panels in a block, blocks of the columns, and blocks of the rows.
    sums, rows
        Products in one sum, and in a block: rows of y.
    left_columns, right_columns
        Whether x and y are in memory column by column.
    packed
        Whether panels are packed.
    """

    groups: int
    height: int
    depth: int
    width: int
    together: int
    added: int
    breadth: int
    pieces: int
    panels: int
    chunks: int
    parts: int
    sums: int
    rows: int
    left_columns: bool
    right_columns: bool
    packed: bool


SIZE = len(Plan._fields)


def product(x: Array, y: Array) -> Array:
    """Multiply a matrix x (i j) by y (j k); nothing may be empty."""
    (i, j), k = x.shape, y.shape[1]
    return _multiply(x, y, (1, i, j, k), (i, k))


def products(x: Array, y: Array) -> Array:
    """Multiply each of some matrices x (g i j) by several y (n g j k), to (n g i k); nothing may be empty."""
    (n, groups, j, k), i = y.shape, x.shape[1]
    return _multiply(x, y, (groups, i, j, k), (n, groups, i, k), together=n)


def sum_of_products(x: Array, y: Array) -> Array:
    """Sum the products of x (n g i j) and y (n g j k) over n, to (g i k); nothing may be empty."""
    (n, groups, i, j), k = x.shape, y.shape[3]
    pieces = min(n, -(-PIECES // (groups * -(-k // (COLUMNS * BYTES // x.itemsize)))))
    out = _multiply(x, y, (groups, i, j, k), (pieces, groups, i, k), added=n)
    return out[0] if pieces == 1 else KERNELS["sum"](out, axis=(0,), keepdims=False)


def _multiply(
    x: Array,
    y: Array,
    sizes: tuple[int, int, int, int],
    shape: tuple[int, ...],
    together: int = 1,
    added: int = 1,
) -> Array:
    """Compute a result of that shape; where `added`, its first axis is that of the pieces."""
    (x, left), (y, right) = _flat(x), _flat(y)
    pieces = shape[0] if added > 1 else 1
    turned, plan, jobs, threads, size = _plan(
        *sizes, together, added, pieces, left, right, x.itemsize, get_num_threads()
    )
    multiply, turn = _multiplier(x.itemsize)
    out = empty(shape, x.dtype)
    flat = out.ravel()
    scratch = workspaces(threads, size, x.dtype)
    if not turned:
        multiply(jobs, threads, flat, x, y, scratch, plan)
        return out
    multiply(jobs, threads, flat, y, x, scratch, plan)
    out = empty(shape, x.dtype)
    turn(pieces * sizes[0], 1, out.ravel(), flat, shape[-2], shape[-1])
    return out


def _flat(x: Array) -> tuple[Array, bool]:
    """The elements of a stack of matrices in memory's order, and whether that is column by column."""
    if not x.flags.c_contiguous:
        turned = x.swapaxes(-1, -2)
        if turned.flags.c_contiguous:
            return turned.ravel(), True
    return x.ravel(), False


@functools.lru_cache(maxsize=1 << 10)
def _plan(
    groups: int,
    height: int,
    depth: int,
    width: int,
    together: int,
    added: int,
    pieces: int,
    left: bool,
    right: bool,
    itemsize: int,
    threads: int,
) -> tuple[bool, Array, int, int, int]:
    """Plan a product.

    Returns
    -------
    tuple
        Whether the transposed operands are to be multiplied, in reverse, as then less has to be turned over; the
        numbers of the plan; how many jobs it has, for how many threads, and how much scratch each of them needs.
    """
    turned = right and together == 1 and height * width + (0 if left else height * depth) < depth * width
    if turned:
        height, width, left, right = width, height, False, not left
    lanes, others = BYTES // itemsize, groups * pieces
    wide = COLUMNS * lanes
    threads = max(1, min(threads, added * together * groups * height * depth * width // WORK))
    sums = -(-depth // -(-depth // DEPTH))  # of about equal length
    few = not right and height <= FEW and width >= wide and -width % lanes * height <= IDLE * width
    breadth = -(-width // wide) * wide if few and together > 1 else width
    tiles, panels = -(-height // ROWS), -(-together * breadth // wide)
    rows = min(depth, sums * (1 if left else max(1, ELEMENTS // (panels * wide) // sums)))
    parts, chunks = -(-height // HEIGHT), -(-panels // max(1, ELEMENTS // (rows * wide)))
    if others * chunks * parts % threads:
        if height > together * width:
            parts = min(tiles, -(-parts // threads) * threads)
        else:
            chunks = min(panels, -(-chunks // threads) * threads)
    broken = breadth % wide > 0 if together > 1 else width < wide and width % lanes > 0
    packed = right or height > FEW or broken
    scratch = ((-(-panels // chunks) * rows if packed else 0) + ROWS + 1) * wide if packed or width % lanes else 0
    plan = Plan(
        groups, height, depth, width, together, added, breadth, pieces, panels, chunks, parts, sums, rows, left, right,
        packed
    )  # fmt: skip
    return turned, np.array(plan, np.int64), others * chunks * parts, threads, scratch


@functools.cache
def _multiplier(itemsize: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile the product, for elements of so many bytes, and the transposition of a stack."""
    lanes = BYTES // itemsize
    wide = COLUMNS * lanes
    pack_rows, pack_columns = packers(lanes)
    multiply_tile, multiply_and_ask = tiles(lanes)

    @shared
    def multiply(
        thread: Any, first: Any, stop: Any, out: Any, x: Any, y: Any, scratch: Any, numbers: Any
    ) -> None:  # fmt: skip
        plan, packed = Plan(*to_fixed_tuple(numbers, SIZE)), scratch[thread]  # type: ignore[call-arg]
        for job in range(first, stop):
            multiply_block(out, x, y, packed, plan, job)

    @jit(forceinline=True)
    def multiply_block(out: Any, x: Any, y: Any, packed: Any, plan: Any, job: Any) -> None:
        """Compute one part of the rows of a group's result, in one chunk of its columns; of a sum, one piece."""
        part, chunk, other = job % plan.parts, job // plan.parts % plan.chunks, job // plan.parts // plan.chunks
        group, piece = other % plan.groups, other // plan.groups
        tiles = -(-plan.height // ROWS)
        top, bottom = part * tiles // plan.parts, (part + 1) * tiles // plan.parts
        begin = chunk * plan.panels // plan.chunks * wide
        end = min((chunk + 1) * plan.panels // plan.chunks * wide, plan.together * plan.breadth)
        first, last = piece * plan.added // plan.pieces, (piece + 1) * plan.added // plan.pieces
        rows, columns, deep = bottom - top, -(-(end - begin) // wide), plan.rows > SHALLOW
        for n in range(first, last):
            for k in range(0, plan.depth, plan.rows):
                count, fresh = min(plan.rows, plan.depth - k), n == first and k == 0
                at = n, group, piece, k, count, fresh
                if plan.packed:
                    pack(packed, y, plan, at, begin, end)
                for outer in range(columns if deep else rows):
                    for inner in range(rows if deep else columns):
                        i, j = (inner, outer) if deep else (outer, inner)
                        multiply_one(out, x, y, packed, plan, at, top + i, begin + j * wide, begin, end)

    @jit
    def pack(packed: Any, y: Any, plan: Any, at: Any, begin: Any, end: Any) -> None:
        """Copy the columns from `begin` to `end` of matrices side by side to (panels count wide)."""
        n, group, _, k, count, _ = at
        j = begin
        while j < end:
            i, p = n + j // plan.width, j % plan.width
            run, start = min(end - j, plan.width - p), (i * plan.groups + group) * plan.depth * plan.width
            if plan.right_columns:
                pack_columns(packed, j - begin, y, start + p * plan.depth + k, plan.depth, count, run, wide)
            else:
                pack_rows(packed, j - begin, y, start + k * plan.width + p, plan.width, count, run)
            j += run

    @jit(forceinline=True)
    def multiply_one(
        out: Any, x: Any, y: Any, packed: Any, plan: Any, at: Any, tile: Any, j: Any, begin: Any, end: Any
    ) -> None:
        """Compute one tile, where rows meet the panel that begins with column j."""
        n, group, piece, k, count, fresh = at
        row, run = tile * ROWS, min(wide, end - j)
        height = min(ROWS, plan.height - row)
        i, p = (j // plan.breadth, j % plan.breadth) if plan.together > 1 else (0, j)  # matrix, and column in it
        left, down, along = (n * plan.groups + group) * plan.height * plan.depth, plan.depth, 1
        if plan.left_columns:
            down, along = 1, plan.height
        left += row * down + k * along
        to = (((piece + i) * plan.groups + group) * plan.height + row) * plan.width + p
        right, pitch, source, shift = (j - begin) * count, wide, packed, 0
        if not plan.packed:
            right, pitch, source = (((n + i) * plan.groups + group) * plan.depth + k) * plan.width + p, plan.width, y
            run = min(run, plan.width - p)
            shift = -run % lanes  # the last panel begins earlier, to be whole vectors; what they share is the same
        whole = (run + shift) % lanes == 0 and p + run <= plan.width
        if shift and (plan.sums < plan.depth or plan.added > 1):
            whole = False  # what they share must not be added twice
        place, step, target = to - shift, plan.width, out
        if not whole:
            place, step, target = len(packed) - (ROWS + 1) * wide, wide, packed
        right, run = right - shift, run + shift
        over, asks = fresh or not whole, ASKS and not plan.packed and i + 1 < plan.together
        asks = asks and run == wide and height == ROWS
        for first in range(0, count, plan.sums):
            depth = min(plan.sums, count - first)
            if asks:  # for this tile's share of the next matrix
                ahead = (((n + i + 1) * plan.groups + group) * plan.width + p + row * wide // plan.height) * plan.depth
                multiply_and_ask(target, place, step, x, left, down, along, source, right, pitch, depth, over, ahead)
            else:
                multiply_tile(target, place, step, x, left, down, along, source, right, pitch, height, run, depth, over)
            left, right, over = left + depth * along, right + depth * pitch, False
        if not whole:
            put(out, to, plan, height, p, run - shift, fresh, packed, place + shift)

    @jit
    def put(
        out: Any, place: Any, plan: Any, height: Any, p: Any, count: Any, fresh: Any, packed: Any, spare: Any
    ) -> None:
        """Bring packed[spare:], a tile of which some columns are meant, from p on, to the matrices they belong to."""
        j = 0
        while j < count:
            run = min(count - j, plan.width - p)
            total = load(packed, spare + j, wide, ROWS, COLUMNS)
            if not fresh:
                total = load_part(out, place, plan.width, ROWS, COLUMNS, height, run) + total
            store(out, place, plan.width, height, run, total)
            place += plan.groups * plan.height * plan.width - p
            j, p = j + run, 0

    @shared
    def turn(thread: Any, first: Any, stop: Any, out: Any, x: Any, height: Any, width: Any) -> None:
        """Copy matrices (height width) that are in memory column by column."""
        for i in range(first, stop):
            start = i * height * width
            pack_columns(out[start:], 0, x, start, height, height, width, width)

    return multiply, turn


def tiles(lanes: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile the product of up to ROWS rows and a panel, by the smallest tiles that hold it, and one that asks.

    The rows x[left:], `down` apart, each element `along` from the last, meet the rows y[right:], which are a `pitch`
    apart; of the panel, `run` columns are needed. The result, or what it adds to others that are there, goes to rows
    of out[place:], a `step` apart.

    The second function is for whole tiles and asks for y[ahead:] meanwhile: in ROWS calls, for as much as they meet.
    """
    pace = COLUMNS * lanes // ROWS

    def one(rows: int, columns: int, asks: bool = False) -> Callable[..., None]:
        """A tile."""

        @jit(inline="always")
        def multiply(
            out: Any, place: Any, step: Any, x: Any, left: Any, down: Any, along: Any, y: Any, right: Any, pitch: Any,
            depth: Any, fresh: Any, ahead: Any = 0,
        ) -> None:  # fmt: skip
            total = full(x.dtype.type(0), rows, columns)
            for k in range(depth):
                if asks:
                    prefetch(y, ahead + k * pace, 1)
                column = broadcast_apart(x, left + k * along, down, rows)
                total = fma(column, load(y, right + k * pitch, 0, 1, columns), total)
            if not fresh:
                total = load(out, place, step, rows, columns) + total
            store_whole(out, place, step, total)

        return multiply

    def of(columns: int) -> Callable[..., None]:
        """Tiles of so many vectors, or less."""
        whole, four, two, last = (one(rows, columns) for rows in (ROWS, 4, 2, 1))
        narrower = of(columns - 1) if columns > 1 else whole

        @jit(inline="always" if columns < COLUMNS else "never")
        def multiply(
            out: Any, place: Any, step: Any, x: Any, left: Any, down: Any, along: Any, y: Any, right: Any, pitch: Any,
            height: Any, run: Any, depth: Any, fresh: Any,
        ) -> None:  # fmt: skip
            if columns > 1 and run <= (columns - 1) * lanes:
                narrower(out, place, step, x, left, down, along, y, right, pitch, height, run, depth, fresh)
            elif height == ROWS:
                whole(out, place, step, x, left, down, along, y, right, pitch, depth, fresh)
            else:
                if height & 4:
                    four(out, place, step, x, left, down, along, y, right, pitch, depth, fresh)
                    place, left = place + 4 * step, left + 4 * down
                if height & 2:
                    two(out, place, step, x, left, down, along, y, right, pitch, depth, fresh)
                    place, left = place + 2 * step, left + 2 * down
                if height & 1:
                    last(out, place, step, x, left, down, along, y, right, pitch, depth, fresh)

        return multiply

    return of(COLUMNS), one(ROWS, COLUMNS, asks=True)


def packers(lanes: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile two ways to copy a matrix (count columns) from y[start:] to panels (count size).

    `first` is the place of its first column in them; what the last panel has after its last column may be overwritten.
    One way is for matrices in the order of rows, `pitch` apart, and panels as wide as a tile, the other for the order
    of columns.
    """
    wide = COLUMNS * lanes

    @jit
    def from_rows(packed: Any, first: Any, y: Any, start: Any, pitch: Any, count: Any, columns: Any) -> None:
        j = 0
        while j < columns:
            lane, at = (first + j) % wide, start + j
            place, run = (first + j) // wide * count * wide + lane, min(wide - lane, columns - j)
            if run == wide:
                for k in range(count):
                    store_whole(packed, place + k * wide, 0, load(y, at + k * pitch, 0, 1, COLUMNS))
            else:
                for k in range(count):
                    part = load_part(y, at + k * pitch, 0, 1, COLUMNS, 1, run)
                    store(packed, place + k * wide, 0, 1, wide - lane, part)
            j += run

    @jit
    def from_columns(
        packed: Any, first: Any, y: Any, start: Any, pitch: Any, count: Any, columns: Any, size: Any
    ) -> None:  # fmt: skip
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
