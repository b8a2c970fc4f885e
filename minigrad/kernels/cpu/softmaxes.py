"""Softmax and its logarithm on the CPU, row by row: the largest is subtracted first, so that nothing overflows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.reduce import MAX, SUM
from minigrad.kernels.cpu.simd import full, load_first, store_first, width
from minigrad.kernels.cpu.threads import sharing
from minigrad.kernels.cpu.transcendental import exp

Array = npt.NDArray[Any]

_largest, _sum, _sum_of_lanes = MAX.over_run, SUM.over_run, SUM.over_lanes


def softmax(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute exp(x) / sum(exp(x)) along an axis."""
    return _along(_softmax, axis, x), ()


def softmax_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[Array, ...], *, axis: int
) -> tuple[Array]:
    """Compute y * (g - sum(g * y))."""
    return (_along(_softmax_backward, axis, g, out),)


def log_softmax(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute x - log(sum(exp(x))) along an axis."""
    return _along(_log_softmax, axis, x), ()


def log_softmax_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[Array, ...], *, axis: int
) -> tuple[Array]:
    """Compute g - exp(y) * sum(g)."""
    return (_along(_log_softmax_backward, axis, g, out),)


def _along(by_rows: Callable[..., None], axis: int, *arrays: Array) -> Array:
    """Run a kernel on one or two arrays, row by row along an axis."""
    x, y = (as_rows(array, axis) for array in (arrays[0], arrays[-1]))
    out = empty(x.shape, x.dtype)
    if out.size:
        rows = [array.reshape(-1, x.shape[-1]) for array in (out, x, y)]
        by_rows(len(rows[0]), sharing(4 * x.size), *rows)
    return out if axis == out.ndim - 1 else np.moveaxis(out, -1, axis)


def as_rows(x: Array, axis: int) -> Array:
    """Put an axis last, with the elements along it next to each other."""
    return np.ascontiguousarray(x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1))  # which takes 3 us


def _by_rows(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function of rows, `function(out, x, y)`, for matrices."""
    function = jit(function)

    @shared
    def some(_: Any, first: Any, stop: Any, out: Any, x: Any, y: Any) -> None:
        for i in range(first, stop):
            function(out[i], x[i], y[i])

    return some


@jit
def exponentials(weights: Any, row: Any) -> Any:
    """Put exp(row - anchor) into weights; return the anchor, which is the largest, and their sum."""
    largest = _largest(row, 0, len(row))
    anchor = largest if math.isfinite(largest) else row.dtype.type(0)  # inf - inf would be NaN
    total = full(row.dtype.type(0), 1, 1)
    for j in range(0, len(row), width(row)):
        rest = len(row) - j
        weight = exp(load_first(row, j, rest, -np.inf) - full(anchor, 1, 1))
        store_first(weights, j, rest, weight)
        total = total + weight
    return anchor, _sum_of_lanes(total)


@_by_rows
def _softmax(out: Any, x: Any, _: Any) -> None:
    scale = 1 / exponentials(out, x)[1]
    for j in range(len(x)):
        out[j] *= scale


@_by_rows
def _softmax_backward(dx: Any, g: Any, y: Any) -> None:
    along = _sum_of_products(g, y)
    for j in range(len(g)):
        dx[j] = y[j] * (g[j] - along)


@_by_rows
def _log_softmax(out: Any, x: Any, _: Any) -> None:
    anchor, total = exponentials(out, x)
    level = x.dtype.type(math.log(total))
    for j in range(len(x)):
        out[j] = (x[j] - anchor) - level


@_by_rows
def _log_softmax_backward(dx: Any, g: Any, y: Any) -> None:
    total = full(_sum(g, 0, len(g)), 1, 1)
    for j in range(0, len(g), width(g)):
        rest = len(g) - j
        store_first(dx, j, rest, load_first(g, j, rest, 0) - exp(load_first(y, j, rest, 0)) * total)


@jit(fastmath={"reassoc"})
def _sum_of_products(x: Any, y: Any) -> Any:
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total
