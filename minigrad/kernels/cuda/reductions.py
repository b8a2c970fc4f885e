"""Sums and extremes over axes, in an order that depends on sizes alone: the same bits each time.

An array is (outer, length, inner), see `lanes`. Long lines are cut in parts, whose results are reduced in turn.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, int64

from minigrad.kernels.cuda.array import Array, empty, row_major
from minigrad.kernels.cuda.compiler import Kernel, element, kernel
from minigrad.kernels.cuda.copies import astype, contiguous
from minigrad.kernels.cuda.division import divisor, split
from minigrad.kernels.cuda.elementwise import SAME
from minigrad.kernels.cuda.intrinsics import shared
from minigrad.kernels.cuda.lanes import WARPS, bounds, folding, in_parts, lanes, own_line, share, turns
from minigrad.kernels.cuda.views import lines, permute_dims

Function = Callable[..., Any]


@functools.cache
def along_lines(f: Function, dtype: np.dtype) -> Kernel:
    """The kernel that reduces parts of lines, to numbers of a dtype."""
    number, folded = element(dtype), folding(f)

    @kernel
    def reduce(
        n: Any, count: Any, bits: Any, out: Any, x: Any, start: Any, length: Any, inner: Any, parts: Any, size: Any
    ) -> None:
        board = shared(WARPS, number)
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            line, lane, wanted = own_line(i, count, bits)
            rest, column = split(line, inner)
            outer, part = split(rest, parts)
            first, stop = bounds(part, size, length)
            top, total = outer * length * inner[0] + column, start
            for k in range(turns(first + lane, stop, bits)):
                total = f(total, x[top + (first + lane + (k << bits)) * inner[0]])
            total = folded(total, bits, board)
            if lane == 0 and wanted:
                out[line] = total

    return reduce


def reduced(f: Function, start: Any, x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Reduce over axes, one run of neighbours after another, from the last."""
    shape, whole = list(x.shape), contiguous(x)
    first = len(shape)
    while first > 0:
        last = first
        while first > 0 and (first - 1 in axis) == (last - 1 in axis):
            first -= 1
        if last - 1 in axis:
            outer, length, inner = (math.prod(part) for part in (shape[:first], shape[first:last], shape[last:]))
            whole = _in_parts(f, start, whole, outer, length, inner)
            shape[first:last] = [1] * (last - first)
    kept = tuple(shape) if keepdims else tuple([size for i, size in enumerate(shape) if i not in axis])
    return whole.view(kept, row_major(kept))


def _in_parts(f: Function, start: Any, x: Array, outer: int, length: int, inner: int) -> Array:
    value = x.dtype.type(start)
    while True:
        parts, size = in_parts(length, inner)
        out = empty((outer * parts * inner,), x.dtype)
        reduce, layout = along_lines(f, x.dtype), (length, divisor(inner), divisor(parts), size)
        share(reduce, out.size, lanes(size, inner), out, x, value, *layout)
        if parts == 1:
            return out
        x, length = out, parts


def sum(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """The sum, in the dtype of x."""
    return reduced(SAME["add"], 0, x, axis, keepdims)


def any(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Whether any element is true."""
    return reduced(_either, False, _truths(x), axis, keepdims)


def all(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Whether all elements are true."""
    return reduced(_both, True, _truths(x), axis, keepdims)


def _either(x: Any, y: Any) -> Any:
    return x or y


def _both(x: Any, y: Any) -> Any:
    return x and y


def _truths(x: Array) -> Array:
    return x if x.dtype == np.bool_ else astype(x, dtype=np.dtype(np.bool_))


# ---- extremes ----------------------------------------------------------------------------------------------------


def _above(x: Any, y: Any) -> Any:
    """Whether x takes the place of y, which came first; of NaNs the first stays."""
    return x > y or (x != x and y == y)


def _below(x: Any, y: Any) -> Any:
    return x < y or (x != x and y == y)


@functools.cache
def best_of_parts(better: Function, found: bool, dtype: np.dtype) -> Kernel:
    """The kernel for the extreme of each part, and where it is: at its index, or where `found` at the noted one."""
    number, best_of_all, first_of_all = element(dtype), folding(_chooser(better)), folding(SAME["minimum"])

    @kernel
    def search(
        n: Any, count: Any, bits: Any, values: Any, places: Any, x: Any, noted: Any,
        length: Any, inner: Any, parts: Any, size: Any,
    ) -> None:  # fmt: skip
        board = shared(WARPS, number)
        indices = shared(WARPS, int64)
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            line, lane, wanted = own_line(i, count, bits)
            rest, column = split(line, inner)
            outer, part = split(rest, parts)
            first, stop = bounds(part, size, length)
            top, place = outer * length * inner[0] + column, first + lane if first + lane < stop else first
            own = x[top + place * inner[0]]
            for k in range(1, turns(first + lane, stop, bits)):
                r = first + lane + (k << bits)
                if better(x[top + r * inner[0]], own):
                    own, place = x[top + r * inner[0]], r
            best = best_of_all(own, bits, board)
            place = first_of_all(int64(place if own == best or own != own else length), bits, indices)
            if lane == 0 and wanted:
                values[line] = x[top + place * inner[0]]
                places[line] = noted[top + place * inner[0]] if found else place

    return search


@functools.cache
def _chooser(better: Function) -> Function:
    return lambda x, y: x if better(x, y) else y


def _extreme(better: Function, x: Array, outer: int, length: int, inner: int) -> tuple[Array, Array]:
    """The extremes of (outer, length, inner) along its middle, and their indices."""
    values, noted, found = contiguous(x), empty((0,), np.int64), False
    while True:
        parts, size = in_parts(length, inner)
        shape = (outer * parts * inner,)
        best, places = empty(shape, x.dtype), empty(shape, np.int64)
        search, layout = best_of_parts(better, found, x.dtype), (length, divisor(inner), divisor(parts), size)
        share(search, best.size, lanes(size, inner), best, places, values, noted, *layout)
        if parts == 1:
            return best, places
        values, noted, length, found = best, places, parts, True


def _argument(better: Function) -> Callable[..., Array]:
    """The index of an extreme along an axis, as a kernel."""

    def kernel(x: Array, *, axis: int, keepdims: bool) -> Array:
        before, behind = x.shape[:axis], x.shape[axis + 1 :]
        _, places = _extreme(better, x, *lines(x.shape, axis))
        shape = (*before, *[1] * keepdims, *behind)
        return places.view(shape, row_major(shape))

    return kernel


argmax, argmin = _argument(_above), _argument(_below)


def _rows(x: Array, axis: tuple[int, ...]) -> tuple[Array, list[int], int]:
    """x with the reduced axes behind the others, the order of its axes then, and how many elements are reduced."""
    order = [i for i in range(x.ndim) if i not in axis] + list(axis)
    return permute_dims(x, axes=tuple(order)), order, math.prod(x.shape[i] for i in axis)


@kernel
def at_places(n: Any, out: Any, g: Any, places: Any, length: Any) -> None:
    """Rows of zeros, with the number g at one place of each."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row, place = split(i, length)
        out[i] = g[row] if place == places[row] else type(g[row])(0)


def _over_axes(better: Function) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An extreme over axes, as a fused op's kernels: it keeps the first place that has it, where its gradient goes."""

    def forward(x: Array, *, axis: tuple[int, ...], keepdims: bool, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
        moved, _, length = _rows(x, axis)
        values, places = _extreme(better, moved, math.prod(moved.shape[: x.ndim - len(axis)]), length, 1)
        shape = tuple([1 if i in axis else size for i, size in enumerate(x.shape) if keepdims or i not in axis])
        return values.view(shape, row_major(shape)), (places,) if residuals else ()

    def backward(
        g: Array,
        needs: tuple[bool, ...],
        inputs: tuple[Array],
        out: Any,
        residuals: tuple[Array],
        *,
        axis: tuple[int, ...],
        keepdims: bool,
    ) -> tuple[Array]:
        moved, order, length = _rows(inputs[0], axis)
        gradient = empty(moved.shape, g.dtype)
        at_places.over(gradient.size, gradient, contiguous(g), *residuals, divisor(length))
        return (permute_dims(gradient, axes=tuple(np.argsort(order).tolist())),)

    return forward, backward


max, max_backward = _over_axes(_above)
min, min_backward = _over_axes(_below)
