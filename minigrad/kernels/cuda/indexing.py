"""Taking elements out and putting them back.

Index arrays of a key are numpy's: the host works out which places they mean, and sorts them where they may repeat, so
that one thread adds up, in order, all that goes to one place.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty, from_numpy, row_major
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous, same, to_numpy, zeros
from minigrad.kernels.cuda.division import divisor, quotient, split
from minigrad.kernels.cuda.elementwise import compute, fill
from minigrad.kernels.cuda.machine import SIMULATED
from minigrad.kernels.cuda.sorting import ordered
from minigrad.kernels.cuda.views import basic, broadcast_to, lines

Key = tuple[Any, ...]
Sizes = tuple[int, ...]


def getitem(x: Array, *, key: Key) -> Array:
    """x[key]: a view, or with index arrays a copy."""
    if _is_basic(key):
        return basic(x, _whole(key, x.ndim))
    picked = Picked.of(key, x.shape)
    out = empty(picked.shape, x.dtype)
    length, inner = picked.layout
    sizes = divisor(len(picked.places)), length, divisor(inner)
    take_rows.over(out.size, out, contiguous(x), from_numpy(picked.places), *sizes)
    return out


def scatter(g: Array, *, key: Key, shape: Sizes) -> Array:
    """Adjoint of getitem: zeros of `shape` with g added at `key`; equal places add up, in order."""
    out = zeros(shape, g.dtype)
    if _is_basic(key):
        fill(basic(out, _whole(key, len(shape))), same, g)
        return out
    picked = Picked.of(key, shape)
    order, first, targets = (from_numpy(array) for array in picked.runs())
    length, inner = picked.layout
    sizes = divisor(targets.size), len(picked.places), length, divisor(inner)
    add_rows.over(picked.outer * targets.size * inner, out, contiguous(g), order, first, targets, *sizes)
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
    length, inner = picked.layout
    sizes = divisor(targets.size), len(picked.places), length, divisor(inner)
    put_rows.over(picked.outer * targets.size * inner, out, values, last, targets, *sizes)
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
        places = _places(key, shape)
        return cls(places.reshape(-1), 1, (size, 1), places.shape)

    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An order in which equal places are neighbours, where each run of them starts (and the end), and its place."""
        order = np.argsort(self.places, kind="stable")
        ordered = self.places[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        return order, np.append(starts, len(order)), ordered[starts]


def _places(key: Key, shape: Sizes) -> np.ndarray:
    """Where the elements of x[key] lie in an x of a shape, one after another: the sum of what each axis says."""
    total = np.broadcast_to(np.zeros((), np.int64), shape)[key]
    for step, own in zip(row_major(shape), np.ogrid[tuple(map(slice, shape))], strict=True):
        total = total + np.broadcast_to(own * step, shape)[key]
    return total


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
        row, column = split(i, inner)
        outer, k = split(row, count)
        out[i] = x[(outer * length + places[k]) * inner[0] + column]


@kernel
def add_rows(
    n: Any, out: Any, g: Any, order: Any, first: Any, targets: Any, runs: Any, count: Any, length: Any, inner: Any
) -> None:
    """For each run of equal places, the sum of its rows."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row, column = split(i, inner)
        outer, run = split(row, runs)
        total = type(g[0])(0)
        for k in range(first[run], first[run + 1]):
            total += g[(outer * count + order[k]) * inner[0] + column]
        out[(outer * length + targets[run]) * inner[0] + column] = total


@kernel
def put_rows(
    n: Any, out: Any, values: Any, last: Any, targets: Any, runs: Any, count: Any, length: Any, inner: Any
) -> None:
    """For each run of equal places, the last of its rows."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row, column = split(i, inner)
        outer, run = split(row, runs)
        value = values[(outer * count + last[run]) * inner[0] + column]
        out[(outer * length + targets[run]) * inner[0] + column] = value


# ---- one index an element, along one axis ------------------------------------------------------------------------


def take_along_axis(x: Array, indices: Array, *, axis: int) -> Array:
    """Take one element per index along an axis."""
    out = empty(indices.shape, x.dtype)
    _, length, inner = lines(x.shape, axis)
    sizes = divisor(indices.shape[axis]), length, divisor(inner)
    take_each.over(out.size, out, contiguous(x), contiguous(indices), *sizes)
    return out


def scatter_along_axis(g: Array, indices: Array, *, axis: int, shape: Sizes) -> Array:
    """Adjoint of take_along_axis: each element adds up, in order, what has its index."""
    out, (_, length, inner), count = empty(shape, g.dtype), lines(shape, axis), indices.shape[axis]
    sizes = count, divisor(length), divisor(inner)
    if count <= FEW:
        add_each.over(out.size, out, contiguous(g), contiguous(indices), *sizes)
    else:
        counted, places = ordered(compute(_from_start, indices, Array.filled(np.int64(length), ())), axis)
        add_ordered.over(out.size, out, contiguous(g), counted, places, *sizes)
    return out


FEW = 2 if SIMULATED else 32
"""Indices of a line that every element may look through."""


def _from_start(index: Any, length: Any) -> Any:
    return index + length if index < 0 else index


@kernel
def take_each(n: Any, out: Any, x: Any, indices: Any, count: Any, length: Any, inner: Any) -> None:
    """out (outer, count, inner) = x (outer, length, inner) at an index each; 0 for one that is out of range."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        place = indices[i] + (length if indices[i] < 0 else 0)
        known = place >= 0 and place < length
        out[i] = x[(quotient(rest, count) * length + place) * inner[0] + column] if known else type(x[0])(0)


@kernel
def add_each(n: Any, out: Any, g: Any, indices: Any, count: Any, length: Any, inner: Any) -> None:
    """out (outer, length, inner) = the sum of g (outer, count, inner) where the index is here."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        outer, here = split(rest, length)
        first, total = outer * count * inner[0] + column, type(g[0])(0)
        for k in range(count):
            if _from_start(indices[first + k * inner[0]], length[0]) == here:
                total += g[first + k * inner[0]]
        out[i] = total


@kernel
def add_ordered(n: Any, out: Any, g: Any, ordered: Any, places: Any, count: Any, length: Any, inner: Any) -> None:
    """The same from the indices in order, and where they were: equal ones are neighbours."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rest, column = split(i, inner)
        outer, here = split(rest, length)
        first, total, low, high = outer * count * inner[0] + column, type(g[0])(0), 0, count
        while low < high:
            half = (low + high) // 2
            low, high = (half + 1, high) if ordered[first + half * inner[0]] < here else (low, half)
        while low < count and ordered[first + low * inner[0]] == here:
            total += g[first + places[first + low * inner[0]] * inner[0]]
            low += 1
        out[i] = total


def argwhere(x: Array) -> Array:
    """The places of what is not zero, found on the host: how many there are is the shape of the result."""
    return from_numpy(np.argwhere(to_numpy(x)))


def one_hot(labels: Array, *, classes: int, dtype: np.dtype) -> Array:
    """Rows of zeros with a one at each label."""
    out = empty((*labels.shape, classes), dtype)
    ones_at.over(out.size, out, contiguous(labels), divisor(classes))
    return out


@kernel
def ones_at(n: Any, out: Any, labels: Any, classes: Any) -> None:
    """Whether an element is the one of its label."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        row, place = split(i, classes)
        out[i] = 1 if labels[row] == place else 0
