"""Softmax cross-entropy on the CPU: one pass over each row of logits forward, one over its softmax backward."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.exponential import exp
from minigrad.kernels.cpu.memory import empty

Array = npt.NDArray[Any]


def softmax_cross_entropy(logits: Array, labels: Array, *, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute -log(softmax(logits)[label]) for each label, and (where asked for) softmax, with the classes last."""
    rows = np.ascontiguousarray(np.moveaxis(logits, 1, -1))
    softmax, losses = empty(rows.shape, rows.dtype), empty(labels.shape, logits.dtype)
    shape = labels.size, logits.shape[1]
    _losses(losses.reshape(-1), softmax.reshape(shape), rows.reshape(shape), np.ascontiguousarray(labels).reshape(-1))
    return losses, (softmax,) if residuals else ()


def softmax_cross_entropy_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array, ...], out: Any, residuals: tuple[Array, ...]
) -> tuple[Array | None, ...]:
    """Compute the cotangent of the logits, g * (softmax - one_hot(labels))."""
    (_, labels), (softmax,) = inputs, residuals
    gradient, shape = np.empty_like(softmax), (g.size, softmax.shape[-1])
    g, labels = np.ascontiguousarray(g).reshape(-1), np.ascontiguousarray(labels).reshape(-1)
    _gradient(gradient.reshape(shape), softmax.reshape(shape), g, labels)
    return np.moveaxis(gradient, -1, 1), None


@kernel
def _losses(losses: Any, softmax: Any, logits: Any, labels: Any) -> None:
    for i in prange(len(logits)):
        row, weights = logits[i], softmax[i]
        anchor = _largest(row, weights)
        anchor = anchor if math.isfinite(anchor) else row.dtype.type(0)  # inf - inf would be NaN
        for j in range(len(row)):
            weights[j] = exp(row[j] - anchor)
        total = _sum(weights)
        losses[i] = math.log(total) - (row[labels[i]] - anchor)
        for j in range(len(row)):
            weights[j] /= total


@kernel
def _gradient(gradient: Any, softmax: Any, g: Any, labels: Any) -> None:
    for i in prange(len(g)):
        for j in range(gradient.shape[1]):
            gradient[i, j] = g[i] * softmax[i, j]
        gradient[i, labels[i]] -= g[i]


@jit(fastmath={"reassoc"})
def _sum(row: Any) -> Any:
    total = row.dtype.type(0)
    for x in row:
        total += x
    return total


@jit
def _largest(row: Any, scratch: Any) -> Any:
    """Find the maximum (of the numbers: a NaN may be passed over) by folding the row in two again and again.

    A fold is a loop that LLVM turns into vectors. It would do so for a plain search only if told that there is no NaN.
    """
    n = len(row)
    scratch[:] = row
    while n > 1:
        half = (n + 1) // 2
        for j in range(n - half):
            scratch[j] = max(scratch[j], scratch[half + j])
        n = half
    return scratch[0]
