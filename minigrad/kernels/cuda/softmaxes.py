"""Normalised exponentials along an axis, and the loss on them, by lanes for each line of (outer, length, inner).

A line is read three times, the second and third time from the cache, instead of once from memory for each op.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import Kernel, element, kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.division import divisor, split
from minigrad.kernels.cuda.elementwise import SAME
from minigrad.kernels.cuda.intrinsics import shared
from minigrad.kernels.cuda.lanes import WARPS, folding, lanes, own_line, share, turns
from minigrad.kernels.cuda.reductions import sum
from minigrad.kernels.cuda.views import broadcast_to, lines


def softmax(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[()]]:
    """exp(x) / sum(exp(x))."""
    return _exponentials(x, axis, logarithm=0), ()


def log_softmax(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[()]]:
    """x - log(sum(exp(x)))."""
    return _exponentials(x, axis, logarithm=1), ()


def _exponentials(x: Array, axis: int, logarithm: int) -> Array:
    out, (n, length, inner) = empty(x.shape, x.dtype), lines(x.shape, axis)
    share(exponentials(x.dtype), n * inner, lanes(length, inner), out, contiguous(x), length, divisor(inner), logarithm)
    return out


def softmax_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[()], *, axis: int
) -> tuple[Array]:
    """The cotangent: out (g - sum(g out))."""
    return (_slopes(g, out, axis, logarithm=0),)


def log_softmax_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[()], *, axis: int
) -> tuple[Array]:
    """The cotangent: g - exp(out) sum(g)."""
    return (_slopes(g, out, axis, logarithm=1),)


def _slopes(g: Array, out: Array, axis: int, logarithm: int) -> Array:
    gradient, (n, length, inner) = empty(g.shape, g.dtype), lines(g.shape, axis)
    layout = length, divisor(inner), logarithm
    share(slopes(g.dtype), n * inner, lanes(length, inner), gradient, contiguous(g), out, *layout)
    return gradient


def softmax_cross_entropy(
    logits: Array, labels: Array, *, reduction: str, residuals: bool
) -> tuple[Array, tuple[Array, ...]]:
    """-log(softmax(logits)[label]) for each label; kept for the backward is the softmax."""
    softmax, losses = empty(logits.shape, logits.dtype), empty(labels.shape, logits.dtype)
    part = logits.dtype.type(1 / max(labels.size, 1) if reduction == "mean" else 1)
    _, length, inner = lines(logits.shape, 1)
    arrays = losses, softmax, contiguous(logits), contiguous(labels)
    share(surprise(logits.dtype), losses.size, lanes(length, inner), *arrays, length, divisor(inner), part)
    if reduction != "none":
        losses = sum(losses, axis=tuple(range(losses.ndim)), keepdims=False)
    return losses, (softmax,)


def softmax_cross_entropy_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array, ...],
    out: Any,
    residuals: tuple[Array, ...],
    *,
    reduction: str,
) -> tuple[Array | None, ...]:
    """The cotangent of the logits: g (softmax - one_hot(labels))."""
    (_, labels), (softmax,) = inputs, residuals
    gradient = empty(softmax.shape, g.dtype)
    part = g.dtype.type(1 / max(labels.size, 1) if reduction == "mean" else 1)
    each, (_, *sizes) = contiguous(broadcast_to(g, shape=labels.shape)), lines(softmax.shape, 1)
    less_one.over(gradient.size, gradient, each, softmax, contiguous(labels), *map(divisor, sizes), part)
    return gradient, None


@functools.cache
def _exponentials_of(dtype: np.dtype) -> Callable[..., Any]:
    """A function: the maximum of a line (0 where that is infinite), and the sum of its exponentials from there."""
    largest, added, least = folding(SAME["maximum"]), folding(SAME["add"]), dtype.type(-math.inf)

    def sum_of_exponentials(x: Any, top: Any, length: Any, inner: Any, lane: Any, bits: Any, board: Any) -> Any:
        anchor, total = least, type(least)(0)
        for k in range(turns(lane, length, bits)):
            value = x[top + (lane + (k << bits)) * inner]
            anchor = value if value > anchor or value != value else anchor
        anchor = largest(anchor, bits, board)
        anchor = anchor if anchor - anchor == 0 else type(anchor)(0)
        for k in range(turns(lane, length, bits)):
            total += math.exp(x[top + (lane + (k << bits)) * inner] - anchor)
        return anchor, added(total, bits, board)

    return sum_of_exponentials


@functools.cache
def exponentials(dtype: np.dtype) -> Kernel:
    """The kernel for the softmax of each line, or its logarithm."""
    number, sum_of_exponentials = element(dtype), _exponentials_of(dtype)

    @kernel
    def normalise(n: Any, count: Any, bits: Any, out: Any, x: Any, length: Any, inner: Any, logarithm: Any) -> None:
        board = shared(WARPS, number)
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            line, lane, wanted = own_line(i, count, bits)
            outer, column = split(line, inner)
            top = outer * length * inner[0] + column
            anchor, total = sum_of_exponentials(x, top, length, inner[0], lane, bits, board)
            for k in range(turns(lane, length if wanted else 0, bits)):
                at = top + (lane + (k << bits)) * inner[0]
                away = x[at] - anchor
                out[at] = away - math.log(total) if logarithm else math.exp(away) / total

    return normalise


@functools.cache
def slopes(dtype: np.dtype) -> Kernel:
    """The kernel for the cotangent of each line."""
    number, zero, added = element(dtype), dtype.type(0), folding(SAME["add"])

    @kernel
    def slope(
        n: Any, count: Any, bits: Any, gradient: Any, g: Any, out: Any, length: Any, inner: Any, logarithm: Any
    ) -> None:
        board = shared(WARPS, number)
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            line, lane, wanted = own_line(i, count, bits)
            outer, column = split(line, inner)
            top, total = outer * length * inner[0] + column, zero
            for k in range(turns(lane, length, bits)):
                at = top + (lane + (k << bits)) * inner[0]
                total += g[at] if logarithm else g[at] * out[at]
            total = added(total, bits, board)
            for k in range(turns(lane, length if wanted else 0, bits)):
                at = top + (lane + (k << bits)) * inner[0]
                gradient[at] = g[at] - math.exp(out[at]) * total if logarithm else out[at] * (g[at] - total)

    return slope


@functools.cache
def surprise(dtype: np.dtype) -> Kernel:
    """The kernel for the loss of each line, times a part, and its softmax; NaN for a label that is no class."""
    number, sum_of_exponentials, nan = element(dtype), _exponentials_of(dtype), dtype.type(math.nan)

    @kernel
    def lose(
        n: Any, count: Any, bits: Any, losses: Any, softmax: Any, logits: Any, labels: Any,
        length: Any, inner: Any, part: Any,
    ) -> None:  # fmt: skip
        board = shared(WARPS, number)
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            line, lane, wanted = own_line(i, count, bits)
            outer, column = split(line, inner)
            top, label = outer * length * inner[0] + column, labels[line]
            anchor, total = sum_of_exponentials(logits, top, length, inner[0], lane, bits, board)
            for k in range(turns(lane, length if wanted else 0, bits)):
                at = top + (lane + (k << bits)) * inner[0]
                softmax[at] = math.exp(logits[at] - anchor) / total
            if lane == 0 and wanted:
                known = label >= 0 and label < length
                away = logits[top + label * inner[0]] - anchor if known else nan
                losses[line] = (math.log(total) - away) * part

    return lose


@kernel
def less_one(n: Any, gradient: Any, g: Any, softmax: Any, labels: Any, length: Any, inner: Any, part: Any) -> None:
    """The softmax, less one at the label, times the line's cotangent."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        outer, place = split(rest, length)
        line = outer * inner[0] + column
        gradient[i] = (softmax[i] - type(part)(1 if labels[line] == place else 0)) * (g[line] * part)
