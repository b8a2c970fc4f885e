"""Batch normalisation on the CPU: one sweep over the images for the sums of each channel, one for the results.

Both go through memory in its own order. The sums have parts, which do not depend on the number of threads: where a
channel is a long run of memory in each image, a part is one run, else it is a column of some images laid out as rows.
Sums are float64, and those of squares are taken around the mean of the part, so that a large mean costs no digits.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels import scalars
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.elementwise import of_vectors
from minigrad.kernels.cpu.generic import quiet
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import kernel, parallel_for
from minigrad.kernels.cpu.simd import fma, full, full_like, load_first, store, store_first, widen, width
from minigrad.kernels.cpu.threads import sharing
from minigrad.kernels.scalars import choose, constant

Array = npt.NDArray[Any]

LONG = 16  # elements, from which a run is worth a loop of its own
BLOCK = 1 << 13  # elements, about: of runs, what a thread takes at a time
ROWS = 32  # what a thread takes at a time
WORK = 4  # of an element, in what `sharing` counts: it is gone through twice, in float64


class Call(NamedTuple):
    """What is to be done: with images of so many elements a channel, so many of them a part, by the op's options."""

    images: int
    run: int
    rows: int  # of which the columns are added up
    columns: int  # of a channel
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
    y = empty(x.shape, x.dtype)
    mean, var = map(np.array, given) if given else np.empty((2, *weight.shape), x.dtype)
    call = _call(x, eps, relu, not given)
    forward = _forward_columns if call.run < LONG else _forward_runs
    tables = _tables(mean, var, weight, bias)
    forward(sharing(WORK * x.size), y.ravel(), x.ravel(), *_room(x, call), tables, tuple(call))
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
    dx = empty(x.shape, g.dtype)
    dweight, dbias = np.empty((2, *weight.shape), g.dtype)
    call = _call(x, eps, relu, not given)
    backward = _backward_columns if call.run < LONG else _backward_runs
    flat = dx.ravel(), dweight, dbias, g.ravel(), x.ravel()
    backward(sharing(WORK * x.size), *flat, *_room(x, call), _tables(mean, var, weight, bias), tuple(call))
    found = [dx, dweight, dbias, *[None] * len(given)]
    if any(needs[3:]):
        found[3:] = quiet(_through_statistics, var + call.eps, weight, dweight, dbias)
    return tuple([array if need else None for array, need in zip(found, needs, strict=True)])


def _through_statistics(var: Array, weight: Array, dweight: Array, dbias: Array) -> list[Array]:
    """Compute the cotangents of a mean and a variance (eps included) that were given; NaN for a variance below 0."""
    inverse = 1 / np.sqrt(var)
    scale = weight * inverse
    return [-scale * dbias, -0.5 * scale * inverse * dweight]


def _call(x: Array, eps: float, relu: bool, own: bool) -> Call:
    run = math.prod(x.shape[2:])
    rows, columns = (ROWS, run) if run < LONG else (1, 1)
    return Call(len(x), run, rows, columns, x.dtype.type(eps), relu, own)


def _room(x: Array, call: Call) -> tuple[Array, Array]:
    """Room for the factors of each column or run of an image, and for two sums of each part."""
    width = x.shape[1] * call.columns
    return np.empty((5, width), x.dtype), np.empty((2, -(-call.images // call.rows), width))


def _tables(*arrays: Array) -> tuple[Array, ...]:
    """Bring arrays into order; a NamedTuple would take numba a microsecond to read."""
    return tuple([np.ascontiguousarray(array) for array in arrays])


# ---- the whole -------------------------------------------------------------------------------------------------------


@kernel
def _forward_runs(
    threads: Any, y: Any, x: Any, factors: Any, parts: Any, arrays: Any, numbers: Any
) -> None:  # fmt: skip
    tables, call = Tables(*arrays), Call(*numbers)
    blocks = _blocks(parts, call)
    if call.own:
        parallel_for(_moments_of_runs, blocks, threads, (parts, x, call))
        _merge_moments(tables, parts, call)
    _fill_factors(factors, tables, call)
    parallel_for(_normalise_runs, blocks, threads, (y, x, factors, call))


@kernel
def _forward_columns(
    threads: Any, y: Any, x: Any, factors: Any, parts: Any, arrays: Any, numbers: Any
) -> None:  # fmt: skip
    tables, call = Tables(*arrays), Call(*numbers)
    if call.own:
        parallel_for(_moments_of_columns, parts.shape[1], threads, (parts, x, call))
        _merge_moments(tables, parts, call)
    _fill_factors(factors, tables, call)
    parallel_for(_normalise_columns, parts.shape[1], threads, (y, x, factors, call))


@kernel
def _backward_runs(
    threads: Any, dx: Any, dweight: Any, dbias: Any, g: Any, x: Any, factors: Any, parts: Any, arrays: Any, numbers: Any
) -> None:
    tables, call = Tables(*arrays), Call(*numbers)
    blocks = _blocks(parts, call)
    _fill_factors(factors, tables, call)
    parallel_for(_sums_of_runs, blocks, threads, (parts, g, x, factors, call))
    _merge_sums(dweight, dbias, factors, parts, tables, call)
    parallel_for(_slopes_of_runs, blocks, threads, (dx, g, x, factors, call))


@kernel
def _backward_columns(
    threads: Any, dx: Any, dweight: Any, dbias: Any, g: Any, x: Any, factors: Any, parts: Any, arrays: Any, numbers: Any
) -> None:
    tables, call = Tables(*arrays), Call(*numbers)
    _fill_factors(factors, tables, call)
    parallel_for(_sums_of_columns, parts.shape[1], threads, (parts, g, x, factors, call))
    _merge_sums(dweight, dbias, factors, parts, tables, call)
    parallel_for(_slopes_of_columns, parts.shape[1], threads, (dx, g, x, factors, call))


# ---- channels --------------------------------------------------------------------------------------------------------


@jit
def _merge_moments(tables: Any, parts: Any, call: Any) -> None:
    """Squares around the means of the parts, and of the distances of these from the mean (Chan et al., 1979)."""
    for c in range(len(tables.mean)):
        total = squares = 0.0
        for k in range(parts.shape[1]):
            for j in range(c * call.columns, (c + 1) * call.columns):
                total += parts[0, k, j]
        mean = total / (call.images * call.run)
        for k in range(parts.shape[1]):
            count = min(call.rows, call.images - k * call.rows) * (call.run // call.columns)
            for j in range(c * call.columns, (c + 1) * call.columns):
                apart = parts[0, k, j] / count - mean
                squares += parts[1, k, j] + count * apart * apart
        tables.mean[c], tables.var[c] = mean, squares / (call.images * call.run)


@jit
def _fill_factors(factors: Any, tables: Any, call: Any) -> None:
    """Mean, scale and bias of the channel of each column."""
    for c in range(len(tables.mean)):
        scale = tables.weight[c] / math.sqrt(tables.var[c] + call.eps)
        for j in range(c * call.columns, (c + 1) * call.columns):
            factors[0, j], factors[1, j], factors[2, j] = tables.mean[c], scale, tables.bias[c]


@jit
def _merge_sums(dweight: Any, dbias: Any, factors: Any, parts: Any, tables: Any, call: Any) -> None:
    """Add up; what each element does through the variance, for a unit of distance, and through the mean are factors."""
    for c in range(len(dbias)):
        along = total = 0.0
        for k in range(parts.shape[1]):
            for j in range(c * call.columns, (c + 1) * call.columns):
                along += parts[0, k, j]
                total += parts[1, k, j]
        deviation = math.sqrt(tables.var[c] + call.eps)
        dweight[c], dbias[c] = along / deviation, total
        share = tables.weight[c] / deviation / (call.images * call.run)
        for j in range(c * call.columns, (c + 1) * call.columns):
            factors[3, j], factors[4, j] = share * dweight[c] / deviation, share * dbias[c]


# ---- elements --------------------------------------------------------------------------------------------------------


def normal(x: Any, mean: Any, scale: Any, bias: Any, relu: Any) -> Any:
    """A number, or a vector of them, of a channel."""
    value, zero = (x - mean) * scale + bias, constant(x, 0)
    return choose(value < zero, zero, value) if relu else value


def passed(g: Any, x: Any, mean: Any, scale: Any, bias: Any, relu: Any) -> Any:
    """What of g passes ReLU: the arithmetic is that of `normal`, so the sign is."""
    return choose((x - mean) * scale + bias > constant(x, 0), g, constant(x, 0)) if relu else g


_normal, _passed = (jit(scalars.linked(function, jit)) for function in (normal, passed))
_normal_vector, _passed_vector = (jit(forceinline=True)(of_vectors(function)) for function in (normal, passed))


# ---- runs ------------------------------------------------------------------------------------------------------------


@jit
def _blocks(parts: Any, call: Any) -> Any:
    together = max(1, BLOCK // call.run)
    return (parts.shape[1] * parts.shape[2] + together - 1) // together


@jit
def _runs(call: Any, channels: Any, first: Any, stop: Any) -> Any:
    """The runs of some blocks."""
    together = max(1, BLOCK // call.run)
    return range(first * together, min(stop * together, call.images * channels))


@jit
def _moments_of_runs(thread: Any, first: Any, stop: Any, parts: Any, x: Any, call: Any) -> None:
    for r in _runs(call, parts.shape[2], first, stop):
        image, c = divmod(r, parts.shape[2])
        total = _sum(x, r * call.run, (r + 1) * call.run)
        parts[0, image, c] = total
        parts[1, image, c] = _sum_squares(x, r * call.run, (r + 1) * call.run, total / call.run)


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
def _normalise_runs(thread: Any, first: Any, stop: Any, y: Any, x: Any, factors: Any, call: Any) -> None:
    relu = call.relu
    for r in _runs(call, factors.shape[1], first, stop):
        c = r % factors.shape[1]
        mean, scale, bias = factors[0, c], factors[1, c], factors[2, c]
        for i in range(np.uintp(r * call.run), np.uintp((r + 1) * call.run)):
            y[i] = _normal(x[i], mean, scale, bias, relu)


@jit
def _sums_of_runs(
    thread: Any, first: Any, stop: Any, parts: Any, g: Any, x: Any, factors: Any, call: Any
) -> None:  # fmt: skip
    for r in _runs(call, factors.shape[1], first, stop):
        image, c = divmod(r, factors.shape[1])
        bounds = r * call.run, (r + 1) * call.run
        along, total = _sums(g, x, *bounds, factors[0, c], factors[1, c], factors[2, c], call.relu)
        parts[0, image, c], parts[1, image, c] = along, total


@jit(fastmath={"reassoc"})
def _sums(g: Any, x: Any, start: Any, stop: Any, mean: Any, scale: Any, bias: Any, relu: Any) -> Any:
    """The sums of what passes ReLU: each times the distance of x from the mean, and as it is."""
    along = total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        passed = np.float64(_passed(g[i], x[i], mean, scale, bias, relu))
        along += passed * np.float64(x[i] - mean)
        total += passed
    return along, total


@jit
def _slopes_of_runs(
    thread: Any, first: Any, stop: Any, dx: Any, g: Any, x: Any, factors: Any, call: Any
) -> None:  # fmt: skip
    relu, own = call.relu, call.own
    for r in _runs(call, factors.shape[1], first, stop):
        c = r % factors.shape[1]
        mean, scale, bias, tilt, level = factors[0, c], factors[1, c], factors[2, c], factors[3, c], factors[4, c]
        for i in range(np.uintp(r * call.run), np.uintp((r + 1) * call.run)):
            slope = scale * _passed(g[i], x[i], mean, scale, bias, relu)
            dx[i] = slope - (tilt * (x[i] - mean) + level) if own else slope


# ---- columns ---------------------------------------------------------------------------------------------------------


@jit
def _rows(call: Any, width: Any, first: Any, stop: Any) -> Any:
    """Where the rows of some parts begin."""
    return range(first * call.rows * width, min(stop * call.rows, call.images) * width, max(width, 1))


@jit(forceinline=True)
def _table(factors: Any, which: Any, j: Any) -> Any:
    """One of the factors, of a vector of columns from the j-th on."""
    return load_first(factors, which * factors.shape[1] + j, factors.shape[1] - j, 0)


@jit
def _moments_of_columns(thread: Any, first: Any, stop: Any, parts: Any, x: Any, call: Any) -> None:
    columns, nothing = parts.shape[2], widen(full(x.dtype.type(0), 1, 1))
    for k in range(first, stop):
        rows = _rows(call, columns, k, k + 1)
        for j in range(0, columns, width(x)):
            total = squares = nothing
            for row in rows:
                total = total + widen(load_first(x, row + j, columns - j, 0))
            centre = total * full_like(total, 1 / len(rows))
            for row in rows:
                distance = widen(load_first(x, row + j, columns - j, 0)) - centre
                squares = fma(distance, distance, squares)
            _keep(parts, k, j, total, squares)


@jit(forceinline=True)
def _keep(parts: Any, k: Any, j: Any, first: Any, second: Any) -> None:
    """Put two sums of a part to a vector of columns from the j-th on."""
    _, count, columns = parts.shape
    store(parts, k * columns + j, 0, 1, columns - j, first)
    store(parts, (count + k) * columns + j, 0, 1, columns - j, second)


@jit
def _normalise_columns(
    thread: Any, first: Any, stop: Any, y: Any, x: Any, factors: Any, call: Any
) -> None:  # fmt: skip
    columns, relu = factors.shape[1], call.relu
    for row in _rows(call, columns, first, stop):
        for j in range(0, columns, width(x)):
            i, rest = row + j, columns - j
            mean, scale, bias = _table(factors, 0, j), _table(factors, 1, j), _table(factors, 2, j)
            store_first(y, i, rest, _normal_vector(load_first(x, i, rest, 0), mean, scale, bias, relu))


@jit
def _sums_of_columns(
    thread: Any, first: Any, stop: Any, parts: Any, g: Any, x: Any, factors: Any, call: Any
) -> None:  # fmt: skip
    columns, relu, nothing = factors.shape[1], call.relu, widen(full(x.dtype.type(0), 1, 1))
    for k in range(first, stop):
        for j in range(0, columns, width(x)):
            rest, along, total = columns - j, nothing, nothing
            mean, scale, bias = _table(factors, 0, j), _table(factors, 1, j), _table(factors, 2, j)
            for row in _rows(call, columns, k, k + 1):
                value = load_first(x, row + j, rest, 0)
                through = widen(_passed_vector(load_first(g, row + j, rest, 0), value, mean, scale, bias, relu))
                along = fma(through, widen(value - mean), along)
                total = total + through
            _keep(parts, k, j, along, total)


@jit
def _slopes_of_columns(
    thread: Any, first: Any, stop: Any, dx: Any, g: Any, x: Any, factors: Any, call: Any
) -> None:  # fmt: skip
    columns, relu, own = factors.shape[1], call.relu, call.own
    for row in _rows(call, columns, first, stop):
        for j in range(0, columns, width(x)):
            i, rest = row + j, columns - j
            value, mean, scale = load_first(x, i, rest, 0), _table(factors, 0, j), _table(factors, 1, j)
            through = _passed_vector(load_first(g, i, rest, 0), value, mean, scale, _table(factors, 2, j), relu)
            slope = scale * through
            if own:
                slope = slope - (_table(factors, 3, j) * (value - mean) + _table(factors, 4, j))
            store_first(dx, i, rest, slope)
