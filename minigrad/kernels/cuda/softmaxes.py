"""Normalised exponentials along an axis, and the loss on them: a thread for each line of (outer, length, inner).

A line is read three times, the second and third time from the cache, instead of once from memory for each op.
"""

import math
from typing import Any

from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
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
    if out.size:
        exponentials.over(n * inner, out, contiguous(x), length, inner, logarithm)
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
    if gradient.size:
        slopes.over(n * inner, gradient, contiguous(g), out, length, inner, logarithm)
    return gradient


def softmax_cross_entropy(
    logits: Array, labels: Array, *, reduction: str, residuals: bool
) -> tuple[Array, tuple[Array, ...]]:
    """-log(softmax(logits)[label]) for each label; kept for the backward is the softmax."""
    softmax, losses = empty(logits.shape, logits.dtype), empty(labels.shape, logits.dtype)
    share = logits.dtype.type(1 / max(labels.size, 1) if reduction == "mean" else 1)
    _, length, inner = lines(logits.shape, 1)
    surprise.over(losses.size, losses, softmax, contiguous(logits), contiguous(labels), length, inner, share)
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
    share = g.dtype.type(1 / max(labels.size, 1) if reduction == "mean" else 1)
    each = contiguous(broadcast_to(g, shape=labels.shape))
    less_one.over(gradient.size, gradient, each, softmax, contiguous(labels), *lines(softmax.shape, 1)[1:], share)
    return gradient, None


def _sum_of_exponentials(x: Any, top: Any, length: Any, inner: Any) -> Any:
    """The maximum of a line (0 where that is infinite), and the sum of its exponentials from there."""
    anchor = x[top]
    for k in range(1, length):
        value = x[top + k * inner]
        anchor = value if value > anchor or value != value else anchor
    anchor = anchor if anchor - anchor == 0 else type(anchor)(0)
    total = type(anchor)(0)
    for k in range(length):
        total += math.exp(x[top + k * inner] - anchor)
    return anchor, total


@kernel
def exponentials(n: Any, out: Any, x: Any, length: Any, inner: Any, logarithm: Any) -> None:
    """Softmax of each line, or its logarithm."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        top = i // inner * length * inner + i % inner
        anchor, total = _sum_of_exponentials(x, top, length, inner)
        for k in range(length):
            away = x[top + k * inner] - anchor
            out[top + k * inner] = away - math.log(total) if logarithm else math.exp(away) / total


@kernel
def slopes(n: Any, gradient: Any, g: Any, out: Any, length: Any, inner: Any, logarithm: Any) -> None:
    """The cotangent of each line."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        top = i // inner * length * inner + i % inner
        total = type(g[0])(0)
        for k in range(length):
            at = top + k * inner
            total += g[at] if logarithm else g[at] * out[at]
        for k in range(length):
            at = top + k * inner
            gradient[at] = g[at] - math.exp(out[at]) * total if logarithm else out[at] * (g[at] - total)


@kernel
def surprise(n: Any, losses: Any, softmax: Any, logits: Any, labels: Any, length: Any, inner: Any, share: Any) -> None:
    """The loss of each line, times a share, and its softmax."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        top = i // inner * length * inner + i % inner
        anchor, total = _sum_of_exponentials(logits, top, length, inner)
        losses[i] = (math.log(total) - (logits[top + labels[i] * inner] - anchor)) * share
        for k in range(length):
            softmax[top + k * inner] = math.exp(logits[top + k * inner] - anchor) / total


@kernel
def less_one(n: Any, gradient: Any, g: Any, softmax: Any, labels: Any, length: Any, inner: Any, share: Any) -> None:
    """The softmax, less one at the label, times the line's cotangent."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        line = i // (length * inner) * inner + i % inner
        here = labels[line] == i // inner % length
        gradient[i] = (softmax[i] - type(share)(1 if here else 0)) * (g[line] * share)
