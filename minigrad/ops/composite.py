"""Normalised exponentials, and other functions of ops that deserve a name."""

import math
from typing import Any

import numpy as np

from minigrad.dtypes import float32, is_floating
from minigrad.ops.checks import axes, one_axis, variable
from minigrad.ops.elementwise import exp, isfinite, log, where
from minigrad.ops.kinds import composite, fused
from minigrad.ops.reduce import Axis, max, sum
from minigrad.ops.samples import along_axis, reduction
from minigrad.ops.shape import squeeze


def _floating(op: str, x: Any) -> Any:
    return x if is_floating(variable(op, "x", x).dtype) else x.astype(float32)


def _anchor(x: Any, axis: Axis) -> Any:
    """The maximum, as a constant to subtract before exp; 0 where there is none or it is infinite: never inf - inf."""
    if 0 in x.shape:
        return sum(x.detach(), axis=axis, keepdims=True)
    top = max(x.detach(), axis=axis, keepdims=True)
    return where(isfinite(top), top, 0.0)


def _softmax_oracle(x: Any, axis: Any) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


@composite(
    sample=reduction(min_side=1),
    oracle=lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
)
def logsumexp(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))), without overflow; where all x are -inf its derivative is 0.

    >>> mg.logsumexp(mg.tensor([1000.0, 0.0]))
    tensor(1000.)
    """
    x = _floating("logsumexp", x)
    gone = axes("logsumexp", axis, x)
    anchor = _anchor(x, gone)
    total = sum(exp(x - anchor), axis=gone, keepdims=True)
    nothing = total == 0  # where log has an infinite slope, and all exp(x) have slope 0
    result = log(where(nothing, 1.0, total)) + where(nothing, -math.inf, anchor)
    return result if keepdims else squeeze(result, axis=gone)


def _along(op: str, axis: int, x: Any) -> tuple[tuple[Any], dict[str, Any]]:
    x = _floating(op, x)
    return (x,), {"axis": one_axis(op, axis, len(x.shape), x)}


def _softmax(x: Any, axis: int) -> Any:
    weights = exp(x - _anchor(x, axis))
    return weights / sum(weights, axis=axis, keepdims=True)


@fused(
    plain=_softmax,
    saves_out=True,
    signature="... -> ...",
    sample=along_axis(min_side=2),
    oracle=_softmax_oracle,
)
def softmax(x: Any, /, *, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis, without overflow.

    >>> mg.softmax(mg.tensor([0.0, 0.0, -1000.0]))
    tensor([0.5, 0.5, 0. ])
    """
    return _along("softmax", axis, x)


def _log_softmax(x: Any, axis: int) -> Any:
    shifted = x - _anchor(x, axis)
    return shifted - log(sum(exp(shifted), axis=axis, keepdims=True))


@fused(
    plain=_log_softmax,
    saves_out=True,
    signature="... -> ...",
    sample=along_axis(min_side=2),
    oracle=lambda x, axis: np.log(_softmax_oracle(x, axis)),
)
def log_softmax(x: Any, /, *, axis: int = -1) -> Any:
    """log(softmax(x)), exact where the softmax underflows.

    >>> mg.log_softmax(mg.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    return _along("log_softmax", axis, x)
