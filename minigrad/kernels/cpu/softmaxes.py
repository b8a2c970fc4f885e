"""Softmax and its logarithm on the CPU, row by row: the largest is subtracted first, so that nothing overflows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.exponential import exp
from minigrad.kernels.cpu.memory import empty

Array = npt.NDArray[Any]


def softmax(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute exp(x) / sum(exp(x)) along an axis."""
    rows = as_rows(x, axis)
    out = empty(rows.shape, x.dtype)
    _by_rows(_softmax, out, rows)
    return np.moveaxis(out, -1, axis), ()


def softmax_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[Array, ...], *, axis: int
) -> tuple[Array]:
    """Compute y * (g - sum(g * y))."""
    rows = as_rows(g, axis)
    dx = empty(rows.shape, g.dtype)
    _by_rows(_softmax_backward, dx, rows, as_rows(out, axis))
    return (np.moveaxis(dx, -1, axis),)


def log_softmax(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute x - log(sum(exp(x))) along an axis."""
    rows = as_rows(x, axis)
    out = empty(rows.shape, x.dtype)
    _by_rows(_log_softmax, out, rows)
    return np.moveaxis(out, -1, axis), ()


def log_softmax_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[Array, ...], *, axis: int
) -> tuple[Array]:
    """Compute g - exp(y) * sum(g)."""
    rows = as_rows(g, axis)
    dx = empty(rows.shape, g.dtype)
    _by_rows(_log_softmax_backward, dx, rows, as_rows(out, axis))
    return (np.moveaxis(dx, -1, axis),)


def as_rows(x: Array, axis: int) -> Array:
    """Put an axis last, with the elements along it next to each other."""
    return np.ascontiguousarray(np.moveaxis(x, axis, -1))


def _by_rows(function: Callable[..., None], *arrays: Array) -> None:
    if arrays[0].size:
        function(*(array.reshape(-1, array.shape[-1]) for array in arrays))


@jit
def exponentials(weights: Any, row: Any) -> Any:
    """Put exp(row - anchor) into weights; return the anchor, which is the largest, and their sum."""
    anchor = _largest(row, weights)
    anchor = anchor if math.isfinite(anchor) else row.dtype.type(0)  # inf - inf would be NaN
    for j in range(len(row)):
        weights[j] = exp(row[j] - anchor)
    return anchor, _sum(weights)


@kernel
def _softmax(out: Any, x: Any) -> None:
    for i in prange(len(x)):
        _, total = exponentials(out[i], x[i])
        scale = 1 / total
        for j in range(x.shape[1]):
            out[i, j] *= scale


@kernel
def _softmax_backward(dx: Any, g: Any, y: Any) -> None:
    for i in prange(len(g)):
        along = _sum_of_products(g[i], y[i])
        for j in range(g.shape[1]):
            dx[i, j] = y[i, j] * (g[i, j] - along)


@kernel
def _log_softmax(out: Any, x: Any) -> None:
    for i in prange(len(x)):
        anchor, total = exponentials(out[i], x[i])
        level = out.dtype.type(math.log(total))
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - anchor) - level


@kernel
def _log_softmax_backward(dx: Any, g: Any, y: Any) -> None:
    for i in prange(len(g)):
        total = _sum(g[i])
        for j in range(g.shape[1]):
            dx[i, j] = g[i, j] - exp(y[i, j]) * total


@jit(fastmath={"reassoc"})
def _sum(row: Any) -> Any:
    total = row.dtype.type(0)
    for j in range(len(row)):
        total += row[j]
    return total


@jit(fastmath={"reassoc"})
def _sum_of_products(x: Any, y: Any) -> Any:
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@jit
def _largest(row: Any, scratch: Any) -> Any:
    """Find the maximum (of the numbers: a NaN may be passed over) by folding the row in two again and again.

    A fold is a loop that LLVM turns into vectors. It would do so for a plain search only if told that there is no NaN.
    """
    n = len(row)
    for j in range(n):
        scratch[j] = row[j]
    while n > 1:
        half = (n + 1) // 2
        for j in range(n - half):
            a, b = scratch[j], scratch[half + j]
            scratch[j] = b if b > a else a
        n = half
    return scratch[0]
