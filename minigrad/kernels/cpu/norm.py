"""Batch normalisation on the CPU: a part of the channels stays in the cache from its sums to its results.

The part is one channel, walked along the runs that it has in memory, one an image. Where these are short, as for
(n c), it is a block of channels whose columns are walked together, row by row. Sums are float64, those of squares are
taken around a mean, so that a large mean costs no digits, and no order depends on the number of threads.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty

Array = npt.NDArray[Any]

SHORT = 16  # elements, below which a run is not worth a loop of its own
COLUMNS = 64  # in a block, about


class Call(NamedTuple):
    """What is to be done: with images of so many elements a channel, and the options of the op."""

    images: int
    run: int
    eps: Any
    relu: bool
    own: bool  # the statistics are the batch's own


class Tables(NamedTuple):
    """What there is for each channel."""

    mean: Array
    var: Array
    weight: Array
    bias: Array


def batch_norm(
    x: Array, weight: Array, bias: Array, *given: Array, eps: float, relu: bool, residuals: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Normalise each channel by the mean and variance that are given, or else its own; these are the residuals."""
    x, y = np.ascontiguousarray(x), empty(x.shape, x.dtype)
    mean, var = given or (np.empty(weight.shape, x.dtype), np.empty(weight.shape, x.dtype))
    call, tables = _call(x, eps, relu, not given), _tables(mean, var, weight, bias)
    forward = _forward_runs if call.run >= SHORT else _forward_columns
    forward(y.reshape(-1), x.reshape(-1), tuple(tables), tuple(call))
    return y, (mean, var)


def batch_norm_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array, ...],
    out: Any,
    residuals: tuple[Array, ...],
    *,
    eps: float,
    relu: bool,
) -> tuple[Array | None, ...]:
    """Compute the cotangents of x, weight and bias, and of a mean and variance that were given."""
    (x, weight, bias, *given), (mean, var) = inputs, residuals
    x, g, dx = np.ascontiguousarray(x), np.ascontiguousarray(g), empty(x.shape, g.dtype)
    dweight, dbias = np.empty(weight.shape, g.dtype), np.empty(weight.shape, g.dtype)
    call, tables = _call(x, eps, relu, not given), _tables(mean, var, weight, bias)
    backward = _backward_runs if call.run >= SHORT else _backward_columns
    backward(dx.reshape(-1), dweight, dbias, g.reshape(-1), x.reshape(-1), tuple(tables), tuple(call))
    found = [dx, dweight, dbias]
    if given:
        inverse = 1 / np.sqrt(var + call.eps)
        scale = weight * inverse
        found += [-scale * dbias, -0.5 * scale * inverse * dweight]
    return tuple([array if need else None for array, need in zip(found, needs, strict=True)])


def _call(x: Array, eps: float, relu: bool, own: bool) -> Call:
    return Call(len(x), math.prod(x.shape[2:]), x.dtype.type(eps), relu, own)


def _tables(*arrays: Array) -> Tables:
    return Tables(*[np.ascontiguousarray(array) for array in arrays])


# ---- one element, by the same arithmetic in both directions: the sign of the result tells where ReLU was open --------


@jit
def _scale(weight: Any, var: Any, eps: Any) -> Any:
    return weight * (1 / math.sqrt(var + eps))


@jit
def _normal(x: Any, mean: Any, scale: Any, bias: Any, relu: Any) -> Any:
    value = (x - mean) * scale + bias
    return type(value)(0) if relu and value < 0 else value


@jit
def _passed(g: Any, x: Any, mean: Any, scale: Any, bias: Any, relu: Any) -> Any:
    return g if not relu or (x - mean) * scale + bias > 0 else type(g)(0)


# ---- one channel, along its runs -------------------------------------------------------------------------------------


@kernel
def _forward_runs(y: Any, x: Any, arrays: Any, numbers: Any) -> None:
    tables, call = Tables(*arrays), Call(*numbers)
    for c in prange(len(tables.mean)):
        if call.own:
            _moments_of_runs(tables, x, call, c)
        _normalise_runs(y, x, tables, call, c)


@kernel
def _backward_runs(dx: Any, dweight: Any, dbias: Any, g: Any, x: Any, arrays: Any, numbers: Any) -> None:
    tables, call = Tables(*arrays), Call(*numbers)
    for c in prange(len(dbias)):
        along, total = _sums_of_runs(g, x, tables, call, c)
        dweight[c], dbias[c] = along / math.sqrt(tables.var[c] + call.eps), total
        _slopes_of_runs(dx, g, x, tables, dweight, dbias, call, c)


@jit
def _moments_of_runs(tables: Any, x: Any, call: Any, c: Any) -> None:
    """Run by run, each around its own mean; the distances between the means are added (Chan et al., 1979)."""
    total = squares = 0.0
    for i in range(call.images):
        start = (i * len(tables.mean) + c) * call.run
        part = _sum(x, start, start + call.run)
        squares += _sum_squares(x, start, start + call.run, part / call.run)
        if i:
            apart = part / call.run - total / (i * call.run)
            squares += apart * apart * call.run * i / (i + 1)
        total += part
    count = call.images * call.run
    tables.mean[c], tables.var[c] = total / count, squares / count


@jit(fastmath={"reassoc"})
def _sum(x: Any, start: Any, stop: Any) -> Any:
    total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        total += np.float64(x[i])
    return total


@jit(fastmath={"reassoc"})
def _sum_squares(x: Any, start: Any, stop: Any, centre: Any) -> Any:
    total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        distance = np.float64(x[i]) - centre
        total += distance * distance
    return total


@jit
def _normalise_runs(y: Any, x: Any, tables: Any, call: Any, c: Any) -> None:
    mean, bias, relu = tables.mean[c], tables.bias[c], call.relu
    scale = _scale(tables.weight[c], tables.var[c], call.eps)
    for i in range(call.images - 1, -1, -1):  # the last ones are in the cache
        start = np.uintp((i * len(tables.mean) + c) * call.run)
        for j in range(start, start + np.uintp(call.run)):
            y[j] = _normal(x[j], mean, scale, bias, relu)


@jit
def _sums_of_runs(g: Any, x: Any, tables: Any, call: Any, c: Any) -> Any:
    """The sums of what passes ReLU: each times the distance of x from the mean, and as it is."""
    mean, bias, relu = tables.mean[c], tables.bias[c], call.relu
    scale = _scale(tables.weight[c], tables.var[c], call.eps)
    along = total = 0.0
    for i in range(call.images):
        start = (i * len(tables.mean) + c) * call.run
        part_along, part = _sums(g, x, start, start + call.run, mean, scale, bias, relu)
        along += part_along
        total += part
    return along, total


@jit(fastmath={"reassoc"})
def _sums(g: Any, x: Any, start: Any, stop: Any, mean: Any, scale: Any, bias: Any, relu: Any) -> Any:
    along = total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        passed = np.float64(_passed(g[i], x[i], mean, scale, bias, relu))
        along += passed * np.float64(x[i] - mean)
        total += passed
    return along, total


@jit
def _slopes_of_runs(dx: Any, g: Any, x: Any, tables: Any, dweight: Any, dbias: Any, call: Any, c: Any) -> None:
    mean, bias, relu, own = tables.mean[c], tables.bias[c], call.relu, call.own
    scale = _scale(tables.weight[c], tables.var[c], call.eps)
    tilt, level = _through_moments(tables, dweight, dbias, call, c)
    for i in range(call.images - 1, -1, -1):
        start = np.uintp((i * len(dbias) + c) * call.run)
        for j in range(start, start + np.uintp(call.run)):
            slope = scale * _passed(g[j], x[j], mean, scale, bias, relu)
            dx[j] = slope - (tilt * (x[j] - mean) + level) if own else slope


@jit
def _through_moments(tables: Any, dweight: Any, dbias: Any, call: Any, c: Any) -> Any:
    """What each element does to the result through the variance, a unit of distance, and through the mean."""
    inverse = _scale(type(call.eps)(1), tables.var[c], call.eps)
    share = tables.weight[c] * inverse / type(call.eps)(call.images * call.run)
    return share * inverse * dweight[c], share * dbias[c]


# ---- a block of columns, row by row ----------------------------------------------------------------------------------


@kernel
def _forward_columns(y: Any, x: Any, arrays: Any, numbers: Any) -> None:
    tables, call = Tables(*arrays), Call(*numbers)
    together = max(1, COLUMNS // max(1, call.run))
    for block in prange((len(tables.mean) + together - 1) // together):
        first, stop = block * together, min((block + 1) * together, len(tables.mean))
        if call.own:
            _moments_of_columns(tables, x, call, first, stop)
        _normalise_columns(y, x, tables, call, first, stop)


@kernel
def _backward_columns(dx: Any, dweight: Any, dbias: Any, g: Any, x: Any, arrays: Any, numbers: Any) -> None:
    tables, call = Tables(*arrays), Call(*numbers)
    together = max(1, COLUMNS // max(1, call.run))
    for block in prange((len(dbias) + together - 1) // together):
        first, stop = block * together, min((block + 1) * together, len(dbias))
        _sums_of_columns(dweight, dbias, g, x, tables, call, first, stop)
        _slopes_of_columns(dx, g, x, tables, dweight, dbias, call, first, stop)


@jit(allocates=True)
def _moments_of_columns(tables: Any, x: Any, call: Any, first: Any, stop: Any) -> None:
    width, pitch, start = (stop - first) * call.run, len(tables.mean) * call.run, first * call.run
    count = call.images * call.run
    mean, var = np.zeros(width), np.zeros(width)
    for i in range(call.images):
        row = np.uintp(i * pitch + start)
        for j in range(np.uintp(width)):
            mean[j] += x[row + j]
    _pool(mean, call.run, count)
    for i in range(call.images):
        row = np.uintp(i * pitch + start)
        for j in range(np.uintp(width)):
            distance = x[row + j] - mean[j]
            var[j] += distance * distance
    _pool(var, call.run, count)
    for c in range(first, stop):
        tables.mean[c], tables.var[c] = mean[(c - first) * call.run], var[(c - first) * call.run]


@jit
def _pool(sums: Any, run: Any, count: Any) -> None:
    """Add up the columns of each channel, and divide."""
    for start in range(0, len(sums), run):
        total = 0.0
        for j in range(start, start + run):
            total += sums[j]
        for j in range(start, start + run):
            sums[j] = total / count


@jit(allocates=True)
def _spread(table: Any, run: Any, first: Any, stop: Any) -> Any:
    """What a table has for a block of channels, once for each column."""
    columns = np.zeros((stop - first) * run, table.dtype)
    for j in range(len(columns)):
        columns[j] = table[first + j // run]
    return columns


@jit(allocates=True)
def _scales(tables: Any, call: Any, first: Any, stop: Any) -> Any:
    scales = _spread(tables.weight, call.run, first, stop)
    for j in range(len(scales)):
        scales[j] = _scale(scales[j], tables.var[first + j // call.run], call.eps)
    return scales


@jit(allocates=True)
def _normalise_columns(y: Any, x: Any, tables: Any, call: Any, first: Any, stop: Any) -> None:
    mean, bias = _spread(tables.mean, call.run, first, stop), _spread(tables.bias, call.run, first, stop)
    scale, relu = _scales(tables, call, first, stop), call.relu
    for i in range(call.images):
        row = np.uintp((i * len(tables.mean) + first) * call.run)
        for j in range(np.uintp(len(mean))):
            y[row + j] = _normal(x[row + j], mean[j], scale[j], bias[j], relu)


@jit(allocates=True)
def _sums_of_columns(dweight: Any, dbias: Any, g: Any, x: Any, tables: Any, call: Any, first: Any, stop: Any) -> None:
    mean, bias = _spread(tables.mean, call.run, first, stop), _spread(tables.bias, call.run, first, stop)
    scale, relu = _scales(tables, call, first, stop), call.relu
    along, total = np.zeros(len(mean)), np.zeros(len(mean))
    for i in range(call.images):
        row = np.uintp((i * len(dbias) + first) * call.run)
        for j in range(np.uintp(len(mean))):
            passed = np.float64(_passed(g[row + j], x[row + j], mean[j], scale[j], bias[j], relu))
            along[j] += passed * np.float64(x[row + j] - mean[j])
            total[j] += passed
    _pool(along, call.run, 1)
    _pool(total, call.run, 1)
    for c in range(first, stop):
        j = (c - first) * call.run
        dweight[c], dbias[c] = along[j] / math.sqrt(tables.var[c] + call.eps), total[j]


@jit(allocates=True)
def _slopes_of_columns(
    dx: Any, g: Any, x: Any, tables: Any, dweight: Any, dbias: Any, call: Any, first: Any, stop: Any
) -> None:
    mean, bias = _spread(tables.mean, call.run, first, stop), _spread(tables.bias, call.run, first, stop)
    scale, relu, own = _scales(tables, call, first, stop), call.relu, call.own
    tilt, level = np.empty_like(mean), np.empty_like(mean)
    for j in range(len(mean)):
        tilt[j], level[j] = _through_moments(tables, dweight, dbias, call, first + j // call.run)
    for i in range(call.images):
        row = np.uintp((i * len(dbias) + first) * call.run)
        for j in range(np.uintp(len(mean))):
            slope = scale[j] * _passed(g[row + j], x[row + j], mean[j], scale[j], bias[j], relu)
            dx[row + j] = slope - (tilt[j] * (x[row + j] - mean[j]) + level[j]) if own else slope
