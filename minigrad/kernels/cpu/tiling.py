"""Pools whose windows tile the images, or are the images: nothing is shared, every element is read and written once.

Where windows tile images, row r of the pooled ones, counted through all of them, lies under the rows r * kh, ... of the
images, counted likewise. Vectors may stick out of their row, as in lines.py.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.simd import (
    broadcast,
    collect,
    deal,
    full,
    load,
    load_line,
    load_wide,
    maximum,
    roll,
    select,
    size,
    store,
    store_whole,
    sum_rows,
    width,
)

MOST = 4  # columns of a window, up to which vectors are dealt out


@functools.cache
def averages(ways: int) -> Callable[..., None]:
    """Compile the mean of windows of so many columns: `compute(y, x, columns, kh, threads)`, `columns` those of y."""

    @kernel
    def compute(y: Any, x: Any, columns: Any, kh: Any, threads: Any) -> None:
        rows = len(y) // columns
        for t in prange(threads):
            compute_rows(t * rows // threads, (t + 1) * rows // threads, y, x, columns, kh)

    @jit
    def compute_rows(first: Any, stop: Any, y: Any, x: Any, columns: Any, kh: Any) -> None:
        lanes, w, end = width(y), columns * ways, stop * columns
        count = full(x.dtype.type(kh * ways), 1, 1)
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                at, to, rest = r * kh * w + q * ways, r * columns + q, columns - q
                if at + (kh - 1) * w + lanes * ways <= len(x):
                    total = load(x, at, 0, 1, ways)
                    for u in range(1, kh):
                        total = total + load(x, at + u * w, 0, 1, ways)
                else:
                    total = load_line(x, at, rest * ways, ways, 0)
                    for u in range(1, kh):
                        total = total + load_line(x, at + u * w, rest * ways, ways, 0)
                _put(y, to, end, rest, sum_rows(deal(total)) / count)

    return compute


@functools.cache
def averages_backward(ways: int) -> Callable[..., None]:
    """Compile the adjoint of `averages`: `compute(dx, g, columns, kh, threads)`, `columns` those of g."""

    @kernel
    def compute(dx: Any, g: Any, columns: Any, kh: Any, threads: Any) -> None:
        rows = len(g) // columns
        for t in prange(threads):
            compute_rows(t * rows // threads, (t + 1) * rows // threads, dx, g, columns, kh)

    @jit
    def compute_rows(first: Any, stop: Any, dx: Any, g: Any, columns: Any, kh: Any) -> None:
        lanes, w, end = width(g), columns * ways, stop * columns * kh * ways
        count, zeros = full(g.dtype.type(kh * ways), 1, 1), full(g.dtype.type(0), ways, 1)
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                share = _load(g, r * columns + q, columns - q) / count
                row = collect(share + zeros)
                for u in range(kh):
                    _put(dx, (r * kh + u) * w + q * ways, end, (columns - q) * ways, row)

    return compute


@functools.cache
def maxima_backward(ways: int) -> Callable[..., None]:
    """Compile `compute(dx, g, taps, numbers, columns, kh, threads)`: each element of g goes to the tap of its window.

    `numbers` counts the taps, in integers as wide as the floats.
    """

    @kernel
    def compute(dx: Any, g: Any, taps: Any, numbers: Any, columns: Any, kh: Any, threads: Any) -> None:
        rows = len(g) // columns
        for t in prange(threads):
            compute_rows(t * rows // threads, (t + 1) * rows // threads, dx, g, taps, numbers, columns, kh)

    @jit
    def compute_rows(first: Any, stop: Any, dx: Any, g: Any, taps: Any, numbers: Any, columns: Any, kh: Any) -> None:
        lanes, w, end = width(g), columns * ways, stop * columns * kh * ways
        zero = full(g.dtype.type(0), 1, 1)
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                at, rest = r * columns + q, columns - q
                share = _load(g, at, rest)
                if at + lanes <= len(taps):
                    tap = load_wide(taps, at, None, numbers)
                else:
                    tap = load_wide(taps, at, rest, numbers)
                for u in range(kh):
                    row = collect(select(tap == broadcast(numbers, u * ways, ways), share, zero))
                    _put(dx, (r * kh + u) * w + q * ways, end, rest * ways, row)

    return compute


@kernel
def extremes(y: Any, taps: Any, x: Any, numbers: Any, count: Any, scratch: Any, places: Any) -> None:
    """The maximum of each image of `count` pixels, and its place."""
    threads = len(scratch)
    for t in prange(threads):
        _extremes(t * len(y) // threads, (t + 1) * len(y) // threads, y, taps, x, numbers, count, scratch[t], places[t])


@jit
def _extremes(
    first: Any, stop: Any, y: Any, taps: Any, x: Any, numbers: Any, count: Any, scratch: Any, places: Any
) -> None:
    lanes = width(x)
    for n in range(first, stop):
        top = full(x.dtype.type(-np.inf), 1, 1)
        for e in range(0, count, lanes):
            top = maximum(top, _pixels(x, n * count + e, count - e))
        top = maximum(top, roll(top, 8))  # of eight lanes itself
        top = maximum(top, roll(top, 4))
        top = maximum(top, roll(top, 2))
        top = maximum(top, roll(top, 1))
        place = full(numbers.dtype.type(count), 1, 1)
        for e in range((count - 1) // lanes * lanes, -1, -lanes):
            place = select(_pixels(x, n * count + e, count - e) == top, load(numbers, e, 0, 1, 1), place)
        place = _smaller(place, roll(place, 8))
        place = _smaller(place, roll(place, 4))
        place = _smaller(place, roll(place, 2))
        place = _smaller(place, roll(place, 1))
        store_whole(scratch, 0, 0, top)
        store_whole(places, 0, 0, place)
        y[n], taps[n] = scratch[0], places[0]
        if places[0] == count:  # only NaN equals nothing; the last one wins
            for e in range(count):
                if np.isnan(x[n * count + e]):
                    taps[n] = e


@jit(forceinline=True)
def _smaller(x: Any, y: Any) -> Any:
    return select(y < x, y, x)


@jit(forceinline=True)
def _pixels(x: Any, at: Any, rest: Any) -> Any:
    if width(x) <= rest:
        return load(x, at, 0, 1, 1)
    return load_line(x, at, rest, 1, -np.inf)


@kernel
def give(dx: Any, g: Any, taps: Any, count: Any, threads: Any) -> None:
    """Give each element of g to one pixel of its image of `count` pixels."""
    for t in prange(threads):
        _give(t * len(g) // threads, (t + 1) * len(g) // threads, dx, g, taps, count)


@jit
def _give(first: Any, stop: Any, dx: Any, g: Any, taps: Any, count: Any) -> None:
    _clear(dx, first * count, stop * count)
    for n in range(first, stop):
        dx[n * count + taps[n]] = g[n]


@jit
def _clear(x: Any, first: Any, stop: Any) -> None:
    zero = full(x.dtype.type(0), 1, 1)
    whole = first + (stop - first) // width(x) * width(x)
    for e in range(first, whole, width(x)):
        store_whole(x, e, 0, zero)
    if whole < stop:
        store(x, whole, 0, 1, stop - whole, zero)


@kernel
def repeat(dx: Any, g: Any, count: Any, threads: Any) -> None:
    """Share each element of g out to the `count` pixels of its image."""
    for t in prange(threads):
        _repeat(t * len(g) // threads, (t + 1) * len(g) // threads, dx, g, count)


@jit
def _repeat(first: Any, stop: Any, dx: Any, g: Any, count: Any) -> None:
    for n in range(first, stop):
        share = full(g[n] / g.dtype.type(count), 1, 1)
        for e in range((count - 1) // width(dx) * width(dx), -1, -width(dx)):
            _put(dx, n * count + e, stop * count, count - e, share)


@jit(forceinline=True)
def _load(x: Any, at: Any, rest: Any) -> Any:
    """A vector of which `rest` elements matter."""
    if at + width(x) <= len(x):
        return load(x, at, 0, 1, 1)
    return load_line(x, at, rest, 1, 0)


@jit(forceinline=True)
def _put(x: Any, to: Any, end: Any, rest: Any, row: Any) -> None:
    """Write a row of vectors of which `rest` elements matter; up to x[end] anything may be written beyond."""
    if to + size(row) <= end:
        store_whole(x, to, 0, row)
    else:
        store(x, to, 0, 1, rest, row)
