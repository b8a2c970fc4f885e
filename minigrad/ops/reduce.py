"""Reductions: sums and what follows from them, and the places and values of extremes."""

import builtins
import math
from typing import Any

import numpy as np

from minigrad.dtypes import float32, int64, is_floating, uint64
from minigrad.errors import ArgumentError, ShapeError
from minigrad.ops.checks import axes, number, one_axis, require, variable
from minigrad.ops.index import take_along_axis
from minigrad.ops.kinds import Bad, composite, discrete, fused, linear
from minigrad.ops.powers import root
from minigrad.ops.samples import Call, Draw, along_axis, axis_of, reduction
from minigrad.ops.shape import broadcast_to, reshape

Axis = int | tuple[int, ...] | None


def _repeat(g: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    if g.shape and not keepdims:
        g = reshape.run(g, shape=tuple([1 if i in axis else size for i, size in enumerate(x.shape)]))
    return broadcast_to.run(g, shape=x.shape)


@linear(
    _repeat,
    signature="... -> ...",
    method="sum",
    sample=reduction(),
    oracle=lambda x, axis, keepdims: np.add.reduce(x, axis=axis, keepdims=keepdims),
    bad=(
        Bad(lambda t: sum(t(2, 3), axis=2), ArgumentError, "sum: no axis 2 in 2 dimensions"),
        Bad(lambda t: sum(t(2, 3), axis=(0, 0)), ArgumentError, "sum: axis = (0, 0) names an axis twice"),
        Bad(lambda t: sum(t(2, 3), axis=0.5), ArgumentError, "sum: axis = 0.5 is not an integer"),
    ),
)
def sum(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over an axis, several, or (None) all. Booleans and small integers are summed as 64-bit integers.

    >>> mg.sum(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    gone = axes("sum", axis, variable("sum", "x", x))
    if not is_floating(x.dtype):
        x = x.astype(uint64 if x.dtype.kind == "u" else int64)
    return (x,), {"axis": gone, "keepdims": bool(keepdims)}


@discrete(method="any", sample=reduction(), oracle=np.any)
def any(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any element is true (nonzero).

    >>> mg.any(mg.tensor([[True, False], [False, False]]), axis=1)
    tensor([ True, False])
    """
    return (x,), {"axis": axes("any", axis, variable("any", "x", x)), "keepdims": bool(keepdims)}


@discrete(method="all", sample=reduction(), oracle=np.all)
def all(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all elements are true (nonzero).

    >>> mg.all(mg.tensor([[True, True], [True, False]]), axis=1)
    tensor([ True, False])
    """
    return (x,), {"axis": axes("all", axis, variable("all", "x", x)), "keepdims": bool(keepdims)}


@composite(
    method="mean",
    sample=reduction(min_side=1),
    oracle=np.mean,
)
def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The arithmetic mean; NaN over no elements.

    >>> mg.mean(mg.tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    count = _count("mean", axis, x)
    x = x if is_floating(x.dtype) else x.astype(float32)
    return sum(x, axis=axis, keepdims=keepdims) / count


@composite(
    method="var",
    sample=reduction(min_side=1),
    oracle=np.var,
    bad=(Bad(lambda t: var(t(2), correction="x"), ArgumentError, "var: correction = 'x' is not a number"),),
)
def var(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance: squared distances from the mean, summed and divided by (count - correction).

    >>> mg.var(mg.tensor([1.0, 2.0, 6.0]), correction=1)
    tensor(7.)
    """
    count, correction = _count("var", axis, x), number("var", "correction", correction)
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / builtins.max(count - correction, 0)


def _std_sample(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1, min_side=2)
    return (draw.distinct(shape),), {"axis": axis_of(draw, len(shape)), "keepdims": draw.boolean(), "correction": 1}


@composite(
    method="std",
    sample=_std_sample,
    oracle=lambda x, axis, keepdims, correction: np.std(x, axis=axis, keepdims=keepdims, ddof=correction),
)
def std(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The standard deviation, sqrt(var); its derivative is 0 where all elements are equal.

    >>> mg.std(mg.tensor([1.0, 1.0, 4.0, 4.0]))
    tensor(1.5)
    """
    gone = axes("std", axis, variable("std", "x", x))
    return root(var(x, axis=gone, correction=correction, keepdims=keepdims))


def _count(op: str, axis: Axis, x: Any) -> int:
    return math.prod(x.shape[i] for i in axes(op, axis, variable(op, "x", x)))


# ---- extremes --------------------------------------------------------------------------------------------------------


def _one_axis(op: str, axis: int | None, x: Any, keepdims: bool) -> tuple[tuple[Any], dict[str, Any]]:
    ndim = len(variable(op, "x", x).shape)
    if axis is None:  # all elements in one line
        keepdims = keepdims and ndim > 0
        x = reshape(x, (*[1] * (ndim - 1), -1) if keepdims and x.size else (x.size,))
        axis = -1
    at = one_axis(op, axis, len(x.shape), x)
    require(x.shape[at] > 0, ShapeError, f"{op}: axis {at} has no elements", [("x", "", x)])
    return (x,), {"axis": at, "keepdims": bool(keepdims)}


@discrete(
    method="argmax",
    sample=along_axis(distinct=True, min_side=1),
    oracle=np.argmax,
    bad=(Bad(lambda t: argmax(t(2, 0), axis=1), ShapeError, "argmax: axis 1 has no elements"),),
)
def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the first maximum (of the first NaN, if there is one) along an axis, or in x as one line.

    >>> mg.argmax(mg.tensor([[1.0, 5.0], [7.0, 5.0]]), axis=1)
    tensor([1, 0])
    """
    return _one_axis("argmax", axis, x, keepdims)


@discrete(method="argmin", sample=along_axis(distinct=True, min_side=1), oracle=np.argmin)
def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the first minimum (of the first NaN, if there is one) along an axis, or in x as one line.

    >>> mg.argmin(mg.tensor([[1.0, 5.0], [7.0, 5.0]]), axis=1)
    tensor([0, 1])
    """
    return _one_axis("argmin", axis, x, keepdims)


def _chosen(place: Any) -> Any:
    """The op that takes x at `place` along the reduced axes, moved to the end and flattened into one."""

    def take(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        kept = tuple(i for i in range(len(x.shape)) if i not in axis)
        count = math.prod(x.shape[i] for i in axis)
        rows = x.permute_dims(kept + axis).reshape((*(x.shape[i] for i in kept), count))
        values = take_along_axis(rows, place(rows, axis=-1, keepdims=True), axis=-1)
        return values.reshape(
            tuple(1 if i in axis else x.shape[i] for i in range(len(x.shape)) if keepdims or i in kept)
        )

    return take


def _some(op: str, axis: Axis, x: Any, keepdims: bool) -> tuple[tuple[Any], dict[str, Any]]:
    gone = axes(op, axis, variable(op, "x", x))
    require(builtins.all(x.shape[i] for i in gone), ShapeError, f"{op}: no elements to choose from", [("x", "", x)])
    return (x,), {"axis": gone, "keepdims": bool(keepdims)}


@fused(
    plain=_chosen(argmax),
    signature="... -> ...",
    method="max",
    sample=reduction(distinct=True, min_side=1),
    oracle=np.max,
    bad=(Bad(lambda t: max(t(2, 0)), ShapeError, "max: no elements to choose from"),),
)
def max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The maximum; the gradient goes to the first place that has it.

    >>> mg.max(mg.tensor([[1.0, 5.0], [7.0, 5.0]]), axis=1)
    tensor([5., 7.])
    """
    return _some("max", axis, x, keepdims)


@fused(
    plain=_chosen(argmin),
    signature="... -> ...",
    method="min",
    sample=reduction(distinct=True, min_side=1),
    oracle=np.min,
)
def min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The minimum; the gradient goes to the first place that has it.

    >>> mg.min(mg.tensor([[1.0, 5.0], [7.0, 5.0]]), axis=1)
    tensor([1., 5.])
    """
    return _some("min", axis, x, keepdims)
