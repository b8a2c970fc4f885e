"""Softmax cross-entropy on the CPU: one pass over each row of logits forward, one over its softmax backward."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.softmaxes import as_rows, exponentials
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]


def softmax_cross_entropy(
    logits: Array, labels: Array, *, reduction: str, residuals: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Compute -log(softmax(logits)[label]) for each label, and (where asked for) softmax, with the classes last."""
    rows = as_rows(logits, 1)
    softmax, losses = empty(rows.shape, rows.dtype), np.empty(labels.shape, rows.dtype)
    shape = labels.size, logits.shape[1]
    threads = sharing(4 * rows.size)
    _losses(
        labels.size, threads, losses.ravel(), softmax.reshape(shape), rows.reshape(shape), labels.ravel()
    )  # fmt: skip
    if reduction != "none":
        losses = np.asarray(np.add.reduce(losses, axis=None))
        if reduction == "mean":
            losses /= max(labels.size, 1)
    return losses, (softmax,) if residuals else ()


def softmax_cross_entropy_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array, ...],
    out: Any,
    residuals: tuple[Array, ...],
    *,
    reduction: str,
) -> tuple[Array | None, ...]:
    """Compute the cotangent of the logits, g * (softmax - one_hot(labels))."""
    (_, labels), (softmax,) = inputs, residuals
    shape = labels.size, softmax.shape[-1]
    share = g / max(labels.size, 1) if reduction == "mean" else g
    shares = share.ravel() if reduction == "none" else np.full(labels.size, share, g.dtype)
    gradient = empty(softmax.shape, g.dtype)
    flat = gradient.reshape(shape), softmax.reshape(shape), shares, labels.ravel()
    _gradient(labels.size, sharing(gradient.size), *flat)
    return gradient if gradient.ndim == 2 else np.moveaxis(gradient, -1, 1), None


@shared
def _losses(thread: Any, first: Any, stop: Any, losses: Any, softmax: Any, logits: Any, labels: Any) -> None:
    for i in range(first, stop):
        row, weights = logits[i], softmax[i]
        anchor, total = exponentials(weights, row)
        losses[i] = math.log(total) - (row[labels[i]] - anchor)
        scale = 1 / total
        for j in range(len(row)):
            weights[j] *= scale


@shared
def _gradient(thread: Any, first: Any, stop: Any, gradient: Any, softmax: Any, g: Any, labels: Any) -> None:
    for i in range(first, stop):
        for j in range(gradient.shape[1]):
            gradient[i, j] = g[i] * softmax[i, j]
        gradient[i, labels[i]] -= g[i]
