"""Taking elements out and putting them back.

Index arrays of a key are numpy's: the host works out which places they mean, and sorts them where they may repeat, so
that one thread adds up, in order, all that goes to one place.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty, from_numpy
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous, same, zeros
from minigrad.kernels.cuda.elementwise import fill
from minigrad.kernels.cuda.views import basic, broadcast_to, lines

Key = tuple[Any, ...]
Sizes = tuple[int, ...]


def getitem(x: Array, *, key: Key) -> Array:
    """x[key]: a view, or with index arrays a copy."""
    if _is_basic(key):
        return basic(x, _whole(key, x.ndim))
    picked = Picked.of(key, x.shape)
    out = empty(picked.shape, x.dtype)
    take_rows.over(out.size, out, contiguous(x), from_numpy(picked.places), len(picked.places), *picked.layout)
    return out


def scatter(g: Array, *, key: Key, shape: Sizes) -> Array:
    """Adjoint of getitem: zeros of `shape` with g added at `key`; equal places add up, in order."""
    out = zeros(shape, g.dtype)
    if _is_basic(key):
        fill(basic(out, _whole(key, len(shape))), same, g)
        return out
    picked = Picked.of(key, shape)
    order, first, targets = (from_numpy(array) for array in picked.runs())
    n = picked.outer * targets.size * picked.layout[1]
    add_rows.over(n, out, contiguous(g), order, first, targets, targets.size, len(picked.places), *picked.layout)
    return out


def index_put(x: Array, value: Array, *, key: Key) -> Array:
    """A copy of x with x[key] = value; of equal places the last wins."""
    out = fill(empty(x.shape, x.dtype), same, x)
    if _is_basic(key):
        fill(basic(out, _whole(key, x.ndim)), same, value)
        return out
    picked = Picked.of(key, x.shape)
    order, first, places = picked.runs()
    last, targets = from_numpy(order[first[1:] - 1]), from_numpy(places)
    values = contiguous(broadcast_to(value, shape=picked.shape))
    n = picked.outer * targets.size * picked.layout[1]
    put_rows.over(n, out, values, last, targets, targets.size, len(picked.places), *picked.layout)
    return out


class Picked(NamedTuple):
    """What a key with index arrays picks: `places` along the middle of an array of (outer, length, inner)."""

    places: np.ndarray
    outer: int
    layout: tuple[int, int]
    shape: Sizes

    @classmethod
    def of(cls, key: Key, shape: Sizes) -> "Picked":
        """Of an array of a shape: slices where one axis has a list of indices, single elements for any other key."""
        axis, last = len(key) - 1, key[-1]
        if isinstance(last, np.ndarray) and last.ndim == 1 and last.dtype != bool and _takes_all(key[:-1]):
            outer, length, inner = lines(shape, axis)
            picked = (*shape[:axis], len(last), *shape[axis + 1 :])
            return cls(last % length if length else last, outer, (length, inner), picked)
        size = math.prod(shape)
        places = np.arange(size).reshape(shape)[key]
        return cls(places.reshape(-1), 1, (size, 1), places.shape)

    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An order in which equal places are neighbours, where each run of them starts (and the end), and its place."""
        order = np.argsort(self.places, kind="stable")
        ordered = self.places[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        return order, np.append(starts, len(order)), ordered[starts]


def _takes_all(key: Key) -> bool:
    return all(isinstance(part, slice) and part == slice(None) for part in key)


def _is_basic(key: Key) -> bool:
    return not any(isinstance(part, np.ndarray) for part in key)


def _whole(key: Key, ndim: int) -> Key:
    """A key of slices, integers and Nones for every axis, from one that may have an ellipsis."""
    used = sum(part is not None and part is not Ellipsis for part in key)
    at = key.index(Ellipsis) if Ellipsis in key else len(key)
    return (*key[:at], *[slice(None)] * (ndim - used), *key[at + 1 :])


@kernel
def take_rows(n: Any, out: Any, x: Any, places: Any, count: Any, length: Any, inner: Any) -> None:
    """out (outer, count, inner) = x (outer, length, inner) at places of its middle."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row = i // inner
        out[i] = x[(row // count * length + places[row % count]) * inner + i % inner]


@kernel
def add_rows(
    n: Any, out: Any, g: Any, order: Any, first: Any, targets: Any, runs: Any, count: Any, length: Any, inner: Any
) -> None:
    """For each run of equal places, the sum of its rows."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row = i // inner
        run, outer = row % runs, row // runs
        total = type(g[0])(0)
        for k in range(first[run], first[run + 1]):
            total += g[(outer * count + order[k]) * inner + i % inner]
        out[(outer * length + targets[run]) * inner + i % inner] = total


@kernel
def put_rows(
    n: Any, out: Any, values: Any, last: Any, targets: Any, runs: Any, count: Any, length: Any, inner: Any
) -> None:
    """For each run of equal places, the last of its rows."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row = i // inner
        run, outer = row % runs, row // runs
        out[(outer * length + targets[run]) * inner + i % inner] = values[
            (outer * count + last[run]) * inner + i % inner
        ]


# ---- one index an element, along one axis ------------------------------------------------------------------------


def take_along_axis(x: Array, indices: Array, *, axis: int) -> Array:
    """Take one element per index along an axis."""
    out = empty(indices.shape, x.dtype)
    sizes = indices.shape[axis], *lines(x.shape, axis)[1:]
    take_each.over(out.size, out, contiguous(x), contiguous(indices), *sizes)
    return out


def scatter_along_axis(g: Array, indices: Array, *, axis: int, shape: Sizes) -> Array:
    """Adjoint of take_along_axis: each element looks through all indices of its line, in order, for itself."""
    out = empty(shape, g.dtype)
    sizes = indices.shape[axis], *lines(shape, axis)[1:]
    add_each.over(out.size, out, contiguous(g), contiguous(indices), *sizes)
    return out


@kernel
def take_each(n: Any, out: Any, x: Any, indices: Any, count: Any, length: Any, inner: Any) -> None:
    """out (outer, count, inner) = x (outer, length, inner) at an index each."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        place = indices[i] % length
        out[i] = x[(i // (count * inner) * length + place) * inner + i % inner]


@kernel
def add_each(n: Any, out: Any, g: Any, indices: Any, count: Any, length: Any, inner: Any) -> None:
    """out (outer, length, inner) = the sum of g (outer, count, inner) where the index is here."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        here, first = i // inner % length, i // (length * inner) * count * inner + i % inner
        total = type(g[0])(0)
        for k in range(count):
            if indices[first + k * inner] % length == here:
                total += g[first + k * inner]
        out[i] = total


def one_hot(labels: Array, *, classes: int, dtype: np.dtype) -> Array:
    """Rows of zeros with a one at each label."""
    out = empty((*labels.shape, classes), dtype)
    ones_at.over(out.size, out, contiguous(labels), classes)
    return out


@kernel
def ones_at(n: Any, out: Any, labels: Any, classes: Any) -> None:
    """Whether an element is the one of its label."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        out[i] = 1 if labels[i // classes] == i % classes else 0


# ---- order ----------------------------------------------------------------------------------------------------------


def argsort(x: Array, *, axis: int, descending: bool) -> Array:
    """Indices that sort along an axis, by counting for each element those before it: stable, and n**2 comparisons."""
    return _ordered(x, axis, descending, x.shape[axis])


def argtopk(x: Array, *, k: int, axis: int, largest: bool) -> Array:
    """Indices of the k first along an axis, after sorting."""
    return _ordered(x, axis, largest, k)


def _ordered(x: Array, axis: int, descending: bool, count: int) -> Array:
    out = empty((*x.shape[:axis], count, *x.shape[axis + 1 :]), np.int64)
    _, *sizes = lines(x.shape, axis)
    rank.over(x.size, out, contiguous(x), *sizes, count, int(descending))
    return out


@kernel
def rank(n: Any, out: Any, x: Any, length: Any, inner: Any, count: Any, descending: Any) -> None:
    """Each element of (outer, length, inner) notes its index at its rank, if that is below `count`."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        here, outer = i // inner % length, i // (length * inner)
        first = outer * length * inner + i % inner
        before = 0
        for k in range(length):
            other = x[first + k * inner]
            earlier = _sorts_before(x[i], other) if descending else _sorts_before(other, x[i])
            later = _sorts_before(other, x[i]) if descending else _sorts_before(x[i], other)
            if earlier or (not later and k < here):
                before += 1
        if before < count:
            out[(outer * count + before) * inner + i % inner] = here


def _sorts_before(x: Any, y: Any) -> Any:
    """Whether x is less; NaN is larger than any number."""
    return x < y or (x == x and y != y)
