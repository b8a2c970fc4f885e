"""Running sums, products and sums of exponentials along an axis, and the product of whole axes.

Products are taken without a division in any derivative, so zeros are nothing special.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.dtypes import float32, int64, is_floating, uint64
from minigrad.errors import ArgumentError
from minigrad.ops.checks import axes, full, one_axis, require, variable
from minigrad.ops.elementwise import logaddexp
from minigrad.ops.kinds import Bad, composite, fused, linear
from minigrad.ops.reduce import Axis, sum
from minigrad.ops.samples import Call, Draw, along_axis, reduction
from minigrad.ops.shape import concat, part_of, permute_dims, reshape


def _wide(x: Any) -> Any:
    """x, or in place of booleans and small integers 64-bit integers, as in `sum`."""
    return x if is_floating(x.dtype) else x.astype(uint64 if x.dtype.kind == "u" else int64)


def _reversed(x: Any, axis: int) -> Any:
    return part_of(x, axis, slice(None, None, -1))


def _running(op: str, x: Any, axis: int | None, include_initial: bool, initial: int) -> tuple[Any, int]:
    """The operand of a running op, perhaps behind a first element, and its axis."""
    ndim = len(variable(op, "x", x).shape)
    rows = [("x", "", x)]
    headline = f"{op}: axis is needed with {ndim} axes"
    require(axis is not None or ndim == 1, ArgumentError, headline, rows)
    at = one_axis(op, 0 if axis is None else axis, ndim, x)
    x = _wide(x)
    if include_initial:
        first = full((*x.shape[:at], 1, *x.shape[at + 1 :]), initial, x.dtype, x)
        x = concat([first, x], axis=at)
    return x, at


def _running_sample(draw: Draw) -> Call:
    (x,), options = along_axis()(draw)
    return (x,), options | {"include_initial": draw.boolean()}


def _running_oracle(accumulate: Callable[..., Any], first: float) -> Callable[..., Any]:
    def oracle(x: Any, axis: int, include_initial: bool) -> Any:
        rows = np.moveaxis(x, axis, 0)
        if include_initial:
            rows = np.concatenate([np.full_like(rows, first, shape=(1, *rows.shape[1:])), rows])
        found = [accumulate(rows[: k + 1], axis=0) for k in range(len(rows))]
        return np.moveaxis(np.reshape(found, rows.shape), 0, axis)

    return oracle


@linear(
    lambda g, x, axis: _reversed(cumulative_sum.run(_reversed(g, axis), axis=axis), axis),
    signature="... -> ...",
    sample=_running_sample,
    oracle=_running_oracle(np.sum, 0.0),
    bad=(
        Bad(lambda t: cumulative_sum(t(2, 3)), ArgumentError, "cumulative_sum: axis is needed with 2 axes"),
        Bad(lambda t: cumulative_sum(t()), ArgumentError, "cumulative_sum: axis is needed with 0 axes"),
        Bad(lambda t: cumulative_sum(t(2), axis=1), ArgumentError, "cumulative_sum: no axis 1 in 1 dimensions"),
    ),
)
def cumulative_sum(x: Any, /, *, axis: int | None = None, include_initial: bool = False) -> Any:
    """out[k] = x[0] + ... + x[k] along an axis, which may be left out if there is only one.

    Parameters
    ----------
    x
        Any shape. Booleans and small integers are summed as 64-bit integers.
    axis
        Along which to sum.
    include_initial
        Whether the sum of nothing comes first: the axis is longer by one then.

    Returns
    -------
    Tensor
        The shape of x, but for that axis.

    Raises
    ------
    ArgumentError
        If there is no such axis, or no axis is given and there is not exactly one.

    >>> mg.cumulative_sum(mg.tensor([1.0, 2.0, 3.0]), include_initial=True)
    tensor([0., 1., 3., 6.])
    """
    x, at = _running("cumulative_sum", x, axis, include_initial, 0)
    return (x,), {"axis": at}


def _doubling(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A running op by an associative function: each step combines runs with the runs before them, twice as long."""

    def run(x: Any, axis: int) -> Any:
        step = 1
        while step < x.shape[axis]:
            later = combine(part_of(x, axis, slice(step, None)), part_of(x, axis, slice(None, -step)))
            x = concat([part_of(x, axis, slice(None, step)), later], axis=axis)
            step *= 2
        return x

    return run


@fused(
    plain=_doubling(lambda x, y: x * y),
    saves_out=True,
    signature="... -> ...",
    sample=_running_sample,
    oracle=_running_oracle(np.prod, 1.0),
)
def cumulative_prod(x: Any, /, *, axis: int | None = None, include_initial: bool = False) -> Any:
    """out[k] = x[0] * ... * x[k] along an axis; parameters as for `cumulative_sum`, where the first product is 1.

    >>> mg.cumulative_prod(mg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 2., 6.])
    """
    x, at = _running("cumulative_prod", x, axis, include_initial, 1)
    return (x,), {"axis": at}


_logarithms = _doubling(logaddexp)


@composite(
    view=True,
    sample=along_axis(),
    oracle=lambda x, axis: np.log(np.add.accumulate(np.exp(x), axis=axis)),
)
def logcumsumexp(x: Any, /, *, axis: int) -> Any:
    """log(exp(x[0]) + ... + exp(x[k])) along an axis, without overflow.

    >>> mg.logcumsumexp(mg.tensor([0.0, 0.0, 1000.0]), axis=0)
    tensor([0.0000e+00, 6.9315e-01, 1.0000e+03])
    """
    at = one_axis("logcumsumexp", axis, len(variable("logcumsumexp", "x", x).shape), x)
    return _logarithms(x if is_floating(x.dtype) else x.astype(float32), at)


def _prod_sample(draw: Draw) -> Call:
    """An array with a zero here and there."""
    (x,), options = reduction()(draw)
    return (np.where(draw.integers(x.shape, 0, 4) == 0, 0.0, x),), options


def _halving(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The product of the two halves of what is left, again and again."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axis)
    shape = tuple(1 if i in axis else x.shape[i] for i in range(len(x.shape)) if keepdims or i in kept)
    count = math.prod(x.shape[i] for i in axis)
    x = reshape(permute_dims(x, kept + axis), (*(x.shape[i] for i in kept), count))
    if count == 0:
        x = sum(x, axis=-1) + 1
    while count > 1:
        half = count // 2
        product = x[..., :half] * x[..., half : 2 * half]
        x = product if count % 2 == 0 else concat([product, x[..., 2 * half :]], axis=-1)
        count = x.shape[-1]
    return reshape(x, shape)


@fused(
    plain=_halving,
    signature="... -> ...",
    method="prod",
    sample=_prod_sample,
    oracle=np.prod,
)
def prod(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product over an axis, several, or (None) all; 1 over no elements.

    Booleans and small integers are multiplied as 64-bit integers.

    >>> mg.prod(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([3., 8.])
    """
    gone = axes("prod", axis, variable("prod", "x", x))
    return (_wide(x),), {"axis": gone, "keepdims": bool(keepdims)}
