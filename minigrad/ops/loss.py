"""Losses that are worth a kernel."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.dtypes import float32, int64, is_floating
from minigrad.errors import ArgumentError, DtypeError, ShapeError, message
from minigrad.ops.checks import require_within, variable
from minigrad.ops.composite import log_softmax
from minigrad.ops.index import take_along_axis
from minigrad.ops.kinds import Bad, fused
from minigrad.ops.reduce import mean, sum
from minigrad.ops.samples import Call, Draw
from minigrad.ops.shape import expand_dims, squeeze

REDUCTIONS: dict[str, Callable[[Any], Any]] = {"mean": mean, "sum": sum, "none": lambda losses: losses}


def _plain(logits: Any, labels: Any, reduction: str) -> Any:
    chosen = take_along_axis(log_softmax(logits, axis=1), expand_dims(labels, axis=1), axis=1)
    return REDUCTIONS[reduction](-squeeze(chosen, axis=1))


def _sample(draw: Draw) -> Call:
    reduction = draw.choice(["mean", "sum", "none"])
    n, *more = draw.shape(min_dims=1, min_side=int(reduction == "mean"))
    c = draw.integer(2, 5)  # the gradient for a single class is zero, in which no error would show
    return (draw.array((n, c, *more)), draw.integers((n, *more), 0, c)), {"reduction": reduction}


def _oracle(logits: Any, labels: Any, reduction: str) -> Any:
    chosen = np.take_along_axis(logits, np.expand_dims(labels, 1), 1)
    losses = np.log(np.exp(logits - chosen).sum(axis=1))
    return losses if reduction == "none" else getattr(np, reduction)(losses)


@fused(
    plain=_plain,
    signature="n c ..., n ... -> (n ...)",
    sample=_sample,
    oracle=_oracle,
    bad=(
        Bad(
            lambda t: softmax_cross_entropy(t(2, 3), t(2)),
            DtypeError,
            "softmax_cross_entropy: labels of dtype float32 are not integers",
        ),
        Bad(
            lambda t: softmax_cross_entropy(t(2, 3), t(3, dtype="int64")),
            ShapeError,
            "softmax_cross_entropy: the labels do not have the logits' shape without c\n"
            "  logits (n c ...) = (2, 3)  float32 cpu\n"
            "  labels (n ...)   = (3,)    int64 cpu",
        ),
        Bad(
            lambda t: softmax_cross_entropy(t(2, 0), t(2, dtype="int64")),
            ArgumentError,
            "softmax_cross_entropy: label 0 is not one of the c=0 classes\n"
            "  logits (n c ...) = (2, 0)  float32 cpu\n"
            "  labels (n ...)   = (2,)    int64 cpu",
        ),
        Bad(
            lambda t: softmax_cross_entropy(t(2, 3), t(2, dtype="int64"), reduction="avg"),
            ArgumentError,
            "softmax_cross_entropy: reduction = 'avg' is not one of 'mean', 'sum', 'none'",
        ),
    ),
)
def softmax_cross_entropy(logits: Any, labels: Any, /, *, reduction: str = "none") -> Any:
    """-log(softmax(logits)[label]) for each label, or their mean or sum.

    Parameters
    ----------
    logits
        (n c ...), any floats (integers are converted to float32).
    labels
        (n ...), integers in [0, c).
    reduction
        "mean" (NaN over no labels), "sum" or "none".

    Returns
    -------
    Tensor
        (n ...), or () for a mean or sum; without overflow, whatever the size of the logits.

    Raises
    ------
    DtypeError
        If the labels are not integers.
    ShapeError, ArgumentError
        If the shapes do not fit, a label is out of range, or the reduction is none of the three.

    >>> mg.softmax_cross_entropy(mg.tensor([[0.0, 0.0], [1000.0, 0.0]]), mg.tensor([1, 1]))
    tensor([6.9315e-01, 1.0000e+03])
    """
    if reduction not in REDUCTIONS:
        names = ", ".join(map(repr, REDUCTIONS))
        raise ArgumentError(f"softmax_cross_entropy: reduction = {reduction!r} is not one of {names}")
    classes = _check(variable("softmax_cross_entropy", "logits", logits), labels)
    places = labels if labels.dtype == int64 else labels.astype(int64)

    def complaint() -> str:
        headline = f"softmax_cross_entropy: label {{}} is not one of the c={classes} classes"
        return message(headline, _rows(logits, labels))

    require_within(labels, 0, classes - 1, ArgumentError, complaint)
    return (logits if is_floating(logits.dtype) else logits.astype(float32), places), {"reduction": reduction}


def _check(logits: Any, labels: Any) -> int:
    """The number of classes, after a check of dtypes and shapes."""
    op, kind = "softmax_cross_entropy", variable("softmax_cross_entropy", "labels", labels).dtype.kind
    if kind not in "iu":
        headline = f"{op}: labels of dtype {labels.dtype} are not integers"
        hint = "convert them with astype, after making sure that none is NaN" if kind == "f" else ""
        raise DtypeError(message(headline, _rows(logits, labels), hint))
    if len(logits.shape) < 2 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ShapeError(message(f"{op}: the labels do not have the logits' shape without c", _rows(logits, labels)))
    return logits.shape[1]


def _rows(logits: Any, labels: Any) -> list[tuple[str, str, Any]]:
    return [("logits", "n c ...", logits), ("labels", "n ...", labels)]
