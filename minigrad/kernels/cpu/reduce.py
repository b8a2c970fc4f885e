"""Sums and extremes of large arrays on the CPU, over rows or columns, in an order that depends on the shape only.

Up to sixteen tiles are combined one after the other, and then what they gave; long rows and columns are made of parts.
So the error of a sum grows with the logarithm of its length.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import (
    arrange,
    first_lane,
    full,
    lanes,
    load,
    load_first,
    load_part,
    maximum,
    minimum,
    roll,
    row,
    size,
    store,
    store_whole,
    width,
)
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]

COLUMNS = 4  # vectors in a tile
CHUNK = 16  # tiles that are combined one after the other
PART = 8000  # elements of a part of a long row
HEIGHT = 1 << 8  # of a part of a column


class Reduction(NamedTuple):
    """Compiled: what combines many elements into one.

    over_rows
        `call(units, threads, y, x, count, parts)`: each part of each row of x, a row of `count`, into an element of y.
    over_columns
        `call(units, threads, y, x, count, inner, parts, blocks)`: each part of each matrix (count inner) in x into a
        row of y, by blocks of columns.
    over_run
        For kernels: so many elements from x[at] on into a number.
    over_lanes
        For kernels: the lanes of a vector into a number.
    """

    over_rows: Callable[..., None]
    over_columns: Callable[..., None]
    over_run: Callable[..., Any]
    over_lanes: Callable[..., Any]


class Step(NamedTuple):
    """Combine matrices (length inner) to some parts of columns each; of all, `size` elements are left."""

    size: int
    length: int
    inner: int
    parts: int


def _reduction(combine: Callable[[Any, Any], Any], start: float) -> Reduction:
    """Compile what combines elements by a function of tiles; nothing at all gives `start`."""

    @shared
    def over_rows(_: Any, begin: Any, stop: Any, y: Any, x: Any, count: Any, parts: Any) -> None:
        n, part = begin // parts, begin % parts
        for k in range(begin, stop):
            first = part * PART
            y[k] = over_run(x, n * count + first, min(PART, count - first))
            n, part = (n, part + 1) if part + 1 < parts else (n + 1, 0)

    @jit(forceinline=True)
    def over_run(x: Any, at: Any, count: Any) -> Any:
        block, nothing = COLUMNS * width(x), x.dtype.type(start)
        whole = count // block * block
        total = full(nothing, 1, COLUMNS)
        for e in range(0, whole, CHUNK * block):
            part = load(x, at + e, 0, 1, COLUMNS)
            for q in range(e + block, min(e + CHUNK * block, whole), block):
                part = combine(part, load(x, at + q, 0, 1, COLUMNS))
            total = combine(total, part)
        pairs = arrange(total, 2)
        pair = arrange(combine(row(pairs, 0), row(pairs, 1)), 2)
        vector = combine(row(pair, 0), row(pair, 1))
        for e in range(whole, count, width(x)):
            vector = combine(vector, load_first(x, at + e, count - e, nothing))
        return over_lanes(vector)

    @jit(forceinline=True)
    def over_lanes(vector: Any) -> Any:
        if size(vector) > 8:
            vector = combine(vector, roll(vector, 8))
        vector = combine(vector, roll(vector, 4))
        vector = combine(vector, roll(vector, 2))
        return first_lane(combine(vector, roll(vector, 1)))

    @shared
    def over_columns(
        _: Any, begin: Any, stop: Any, y: Any, x: Any, count: Any, inner: Any, parts: Any, blocks: Any
    ) -> None:
        for unit in range(begin, stop):
            over_block(unit // blocks, unit % blocks * COLUMNS * width(x), y, x, count, inner, parts)

    @jit
    def over_block(k: Any, column: Any, y: Any, x: Any, count: Any, inner: Any, parts: Any) -> None:
        begin, rest = k // parts * count + k % parts * HEIGHT, inner - column
        stop = min(begin + HEIGHT, (k // parts + 1) * count)
        total = full(x.dtype.type(start), 1, COLUMNS)
        for r in range(begin, stop, CHUNK):
            part = full(x.dtype.type(start), 1, COLUMNS)
            for at in range(r * inner + column, min(r + CHUNK, stop) * inner, inner):
                if rest >= COLUMNS * width(x):
                    part = combine(part, load(x, at, 0, 1, COLUMNS))
                else:
                    part = combine(part, load_part(x, at, 0, 1, COLUMNS, 1, rest))
            total = combine(total, part)
        if rest >= COLUMNS * width(x):
            store_whole(y, k * inner + column, 0, total)
        else:
            store(y, k * inner + column, 0, 1, rest, total)

    return Reduction(over_rows, over_columns, over_run, over_lanes)


SUM, MAX, MIN = _reduction(operator.add, 0.0), _reduction(maximum, -math.inf), _reduction(minimum, math.inf)


def over_axes(reduction: Reduction, x: Array, axis: tuple[int, ...]) -> Array:
    """Combine the elements of a C-contiguous array of floats over some axes, none of size 0."""
    steps, shape = _plan(x.shape, axis)
    y = x.ravel()
    for step in steps:
        x, y = y, empty((step.size,), x.dtype)
        if step.inner == 1:
            reduction.over_rows(step.size, sharing(x.size), y, x, step.length, step.parts)
        else:
            blocks = -(-step.inner // (COLUMNS * lanes(x.dtype)))
            units = step.size // step.inner * blocks
            reduction.over_columns(units, sharing(x.size), y, x, step.length, step.inner, step.parts, blocks)
    return y.reshape(shape)


@functools.lru_cache(maxsize=256)
def _plan(shape: tuple[int, ...], axis: tuple[int, ...]) -> tuple[list[Step], tuple[int, ...]]:
    """The steps, and the shape that is left: run after run of neighbouring axes, from the last on, part by part."""
    steps: list[Step] = []
    left = sorted(axis)
    while left:
        stop = left.pop() + 1
        first = stop - 1
        while left and left[-1] == first - 1:
            first = left.pop()
        outer, count, inner = (math.prod(sizes) for sizes in (shape[:first], shape[first:stop], shape[stop:]))
        while not steps or count > 1:
            parts = -(-count // (PART if inner == 1 else HEIGHT))
            steps.append(Step(outer * parts * inner, count, inner, parts))
            count = parts
        shape = shape[:first] + shape[stop:]
    return steps, shape
