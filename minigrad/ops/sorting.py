"""Sorting along an axis: a discrete order, and a linear take by it."""

from typing import Any

import numpy as np

from minigrad.errors import ArgumentError
from minigrad.ops.checks import integer, one_axis, require, variable
from minigrad.ops.index import take_along_axis
from minigrad.ops.kinds import Bad, composite, discrete
from minigrad.ops.samples import Call, Draw, Sample


def _sample(distinct: bool) -> Sample:
    def sample(draw: Draw) -> Call:
        shape = draw.shape(min_dims=1)
        x = draw.distinct(shape) if distinct else draw.integers(shape, 0, 2) * 1.0
        return (x,), {"axis": draw.integer(-len(shape), len(shape) - 1), "descending": draw.boolean()}

    return sample


def _order(x: Any, axis: int, descending: bool) -> Any:
    rows = np.moveaxis(x, axis, -1)
    places = np.empty(rows.shape, np.int64)
    for i in np.ndindex(rows.shape[:-1]):
        places[i] = sorted(range(rows.shape[-1]), key=rows[i].__getitem__, reverse=descending)
    return np.moveaxis(places, -1, axis)


def _along(op: str, x: Any, axis: int) -> int:
    return one_axis(op, axis, len(variable(op, "x", x).shape), x)


@discrete(sample=_sample(distinct=False), oracle=_order)
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that sort x along an axis; NaN is larger than any number.

    Equal elements keep their order, whether `stable` asks for it or not.

    >>> mg.argsort(mg.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    return (x,), {"axis": _along("argsort", x, axis), "descending": bool(descending)}


@composite(
    sample=_sample(distinct=True),
    oracle=lambda x, axis, descending: np.flip(np.sort(x, axis=axis), axis if descending else ()),
    bad=(Bad(lambda t: sort(t(2, 3), axis=2), ArgumentError, "sort: no axis 2 in 2 dimensions"),),
)
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """x sorted along an axis; NaN is larger than any number.

    In the gradient equal elements keep their order, whether `stable` asks for it or not.

    >>> mg.sort(mg.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([3., 2., 1.])
    """
    at = _along("sort", x, axis)
    return _taken(x, argsort.run(x, axis=at, descending=bool(descending)), at)


def _taken(x: Any, places: Any, axis: int) -> Any:
    return take_along_axis.run(x, indices=places._array, axis=axis)


def _topk_sample(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    axis = draw.integer(-len(shape), len(shape) - 1)
    return (draw.distinct(shape), draw.integer(0, shape[axis])), {"axis": axis, "largest": draw.boolean()}


def _topk_order(x: Any, k: int, axis: int, largest: bool) -> Any:
    return np.take(_order(x, axis, largest), range(k), axis)


def _first(op: str, x: Any, k: int, axis: int) -> tuple[int, int]:
    at, count = _along(op, x, axis), integer(op, "k", k)
    size = x.shape[at]
    headline = f"{op}: k = {count} is not between 0 and the {size} elements of axis {at}"
    require(0 <= count <= size, ArgumentError, headline, [("x", "", x)])
    return at, count


@discrete(sample=_topk_sample, oracle=_topk_order)
def argtopk(x: Any, /, k: int, *, axis: int = -1, largest: bool = True) -> Any:
    """Where the k largest (or smallest) elements along an axis are, in their order; of equal ones the first are taken.

    >>> mg.argtopk(mg.tensor([3.0, 1.0, 4.0, 1.0]), 3)
    tensor([2, 0, 1])
    """
    at, count = _first("argtopk", x, k, axis)
    return (x,), {"k": count, "axis": at, "largest": bool(largest)}


@composite(
    sample=_topk_sample,
    oracle=lambda x, k, axis, largest: np.take_along_axis(x, _topk_order(x, k, axis, largest), axis),
    bad=(
        Bad(lambda t: topk(t(2, 3), 4), ArgumentError, "topk: k = 4 is not between 0 and the 3 elements of axis 1"),
        Bad(lambda t: topk(t(3), 1.5), ArgumentError, "topk: k = 1.5 is not an integer"),
    ),
)
def topk(x: Any, /, k: int, *, axis: int = -1, largest: bool = True) -> Any:
    """The k largest (or smallest) elements along an axis, in their order; `argtopk` says where they are.

    NaN is larger than any number.

    >>> mg.topk(mg.tensor([3.0, 1.0, 4.0, 1.0]), 2)
    tensor([4., 3.])
    """
    at, count = _first("topk", x, k, axis)
    return _taken(x, argtopk.run(x, k=count, axis=at, largest=bool(largest)), at)
