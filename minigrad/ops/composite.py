"""Ordinary functions of ops that deserve a name: normalised exponentials."""

from typing import Any

import numpy as np

from minigrad.dtypes import float32, is_floating
from minigrad.ops.checks import axes, variable
from minigrad.ops.elementwise import exp, isfinite, log, logaddexp, where
from minigrad.ops.kinds import composite
from minigrad.ops.reduce import Axis, max, sum
from minigrad.ops.samples import along_axis, reduction, unary
from minigrad.ops.shape import squeeze


def _floating(op: str, x: Any) -> Any:
    return x if is_floating(variable(op, "x", x).dtype) else x.astype(float32)


def _anchor(x: Any, axis: Axis) -> Any:
    """The maximum, as a constant to subtract before exp (0 where it is infinite, so that inf - inf never appears)."""
    top = max(x.detach(), axis=axis, keepdims=True)
    return where(isfinite(top), top, 0.0)


def _softmax_oracle(x: Any, axis: Any) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


@composite(
    sample=reduction(min_side=1),
    oracle=lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
)
def logsumexp(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))), without overflow.

    >>> mg.logsumexp(mg.tensor([1000.0, 0.0]))
    tensor(1000.)
    """
    x = _floating("logsumexp", x)
    anchor = _anchor(x, axis)
    result = log(sum(exp(x - anchor), axis=axis, keepdims=True)) + anchor
    return result if keepdims else squeeze(result, axis=axes("logsumexp", axis, x))


@composite(sample=along_axis(min_side=1), oracle=_softmax_oracle)
def softmax(x: Any, /, *, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis, without overflow.

    >>> mg.softmax(mg.tensor([0.0, 0.0, -1000.0]))
    tensor([0.5, 0.5, 0. ])
    """
    x = _floating("softmax", x)
    weights = exp(x - _anchor(x, axis))
    return weights / sum(weights, axis=axis, keepdims=True)


@composite(sample=along_axis(min_side=1), oracle=lambda x, axis: np.log(_softmax_oracle(x, axis)))
def log_softmax(x: Any, /, *, axis: int = -1) -> Any:
    """log(softmax(x)), exact where the softmax underflows.

    >>> mg.log_softmax(mg.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    x = _floating("log_softmax", x)
    shifted = x - _anchor(x, axis)
    return shifted - log(sum(exp(shifted), axis=axis, keepdims=True))


@composite(sample=unary(), oracle=lambda x: np.log(1 + np.exp(x)))
def softplus(x: Any, /) -> Any:
    """log(1 + exp(x)), without overflow.

    >>> mg.softplus(mg.tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """
    return logaddexp(x, 0.0)
