"""Batch normalisation: lanes sum up parts of a channel, in order, and one pass over the images uses the sums.

x is (images, channels, run). Sums are float64, and those of squares are taken around the first element of the channel,
so that a large mean costs no digits. Where a run is whole fours, a thread has four elements, all of one channel.
"""

import math
from typing import Any

import numpy as np
from numba import cuda, float64

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.division import divisor, quotient, split
from minigrad.kernels.cuda.elementwise import SAME, by_fours
from minigrad.kernels.cuda.intrinsics import load4, shared, store4
from minigrad.kernels.cuda.lanes import WARPS, bounds, folding, lanes, own_line, share, turns

PART = 8192
"""Elements of a channel that lanes sum up, at most."""

added = folding(SAME["add"])


def batch_norm(
    x: Array, weight: Array, bias: Array, *given: Array, eps: float, relu: bool, residuals: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Normalise each channel by the mean and variance that are given, or else its own; these are the residuals."""
    x, weight, bias = contiguous(x), contiguous(weight), contiguous(bias)
    mean, var = map(contiguous, given) if given else _moments(x)
    y, (each, _, *layout) = empty(x.shape, x.dtype), _layout(x)
    settings = x.dtype.type(eps), int(relu), each, *layout
    normalise.over(y.size // each, y, x, mean, var, weight, bias, *settings)
    return y, (mean, var)


def _layout(*arrays: Array) -> tuple[int, int, tuple[int, int, int], tuple[int, int, int]]:
    """How many neighbours a thread has, the images, and what divides by the channels and by the run of a channel."""
    images, channels, *sides = arrays[0].shape
    run = math.prod(sides)
    return 4 if run % 4 == 0 and all(map(by_fours, arrays)) else 1, images, divisor(channels), divisor(run)


def _parts(x: Array, each: int) -> tuple[int, int]:
    """In how many parts to cut a channel, and their size."""
    count = x.size // max(1, x.shape[1])
    parts = -(-count // PART) or 1
    return parts, -(-count // (parts * each)) * each


def _moments(x: Array) -> tuple[Array, Array]:
    (each, *layout), channels = _layout(x), x.shape[1]
    parts, size = _parts(x, each)
    mean, var = empty((channels,), x.dtype), empty((channels,), x.dtype)
    first, second = empty((channels, parts), np.float64), empty((channels, parts), np.float64)
    if x.size:
        sizes = each, *layout, divisor(parts), size
        share(sum_moments, channels * parts, lanes(-(-size // each), 1), first, second, x, *sizes)
    merge_moments.over(channels, mean, var, first, second, x, *layout, parts)
    return mean, var


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
    g, x = contiguous(g), contiguous(x)
    tables = (mean, var, contiguous(weight), contiguous(bias), x.dtype.type(eps), int(relu))
    (each, *layout), channels = _layout(x, g), x.shape[1]
    parts, size = _parts(x, each)
    first, second = empty((channels, parts), np.float64), empty((channels, parts), np.float64)
    if x.size:
        sizes = each, *layout, divisor(parts), size
        share(sum_slopes, channels * parts, lanes(-(-size // each), 1), first, second, g, x, *tables, *sizes)
    dweight, dbias, dmean, dvar = (empty((channels,), g.dtype) for _ in range(4))
    merge_slopes.over(channels, dweight, dbias, dmean, dvar, first, second, *tables[:5], int(x.size > 0), parts)
    dx, own = empty(x.shape, g.dtype), x.dtype.type(0 if given else channels / max(1, x.size))
    image_slopes.over(dx.size // each, dx, g, x, dweight, dbias, *tables, own, each, *layout[1:])
    found = [dx, dweight, dbias, dmean, dvar][: len(inputs)]
    return tuple([array if need else None for array, need in zip(found, needs, strict=True)])


@kernel
def sum_moments(
    n: Any, count: Any, bits: Any, first: Any, second: Any, x: Any,
    each: Any, images: Any, channels: Any, run: Any, parts: Any, size: Any,
) -> None:  # fmt: skip
    """For each part of a channel, the sums of x and of its squares, counted from the channel's first element."""
    board = shared(WARPS, float64)
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        line, lane, wanted = own_line(i, count, bits)
        channel, part = split(line, parts)
        start, stop = bounds(part, size, images * run[0])
        one, two, origin = float64(0), float64(0), float64(x[channel * run[0]])
        far = bits + (2 if each == 4 else 0)
        for k in range(turns(start + each * lane, stop, far)):
            e = start + each * lane + (k << far)
            image, place = split(e, run)
            at = (image * channels[0] + channel) * run[0] + place
            if each == 4:
                a, b, c, d = load4(x, at)
                a, b, c, d = float64(a) - origin, float64(b) - origin, float64(c) - origin, float64(d) - origin
                one += (a + b) + (c + d)
                two += (a * a + b * b) + (c * c + d * d)
            else:
                away = float64(x[at]) - origin
                one += away
                two += away * away
        one, two = added(one, bits, board), added(two, bits, board)
        if lane == 0 and wanted:
            first[line], second[line] = one, two


@kernel
def merge_moments(
    n: Any, mean: Any, var: Any, first: Any, second: Any, x: Any, images: Any, channels: Any, run: Any, parts: Any
) -> None:
    """The mean of each channel, and the mean squared distance from it."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        one, two, count = float64(0), float64(0), float64(images * run[0])
        for part in range(parts if count > 0 else 0):
            one += first[i * parts + part]
            two += second[i * parts + part]
        away = one / count
        mean[i] = (float64(x[i * run[0]]) if count > 0 else float64(0)) + away
        var[i] = two / count - away * away


@kernel
def normalise(
    n: Any, y: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: Any, relu: Any,
    each: Any, channels: Any, run: Any,
) -> None:  # fmt: skip
    """The results."""
    for group in range(cuda.grid(1), n, cuda.gridsize(1)):
        i = each * group
        _, c = split(quotient(i, run), channels)
        table = mean[c], _inverse_root(var[c], eps), weight[c], bias[c]
        if each == 4:
            first, second, third, last = load4(x, i)
            first, second = _result(first, table, relu), _result(second, table, relu)
            store4(y, i, first, second, _result(third, table, relu), _result(last, table, relu))
        else:
            y[i] = _result(x[i], table, relu)


def _inverse_root(var: Any, eps: Any) -> Any:
    return type(eps)(1) / math.sqrt(var + eps)


def _before_relu(x: Any, table: Any) -> Any:
    """The result, which the backward computes again, to the bit, for the ReLU."""
    mean, inverse, weight, bias = table
    return (x - mean) * (weight * inverse) + bias


def _result(x: Any, table: Any, relu: Any) -> Any:
    value = _before_relu(x, table)
    return value if value > 0 or value != value or not relu else type(value)(0)


def _arriving(g: Any, x: Any, table: Any, relu: Any) -> Any:
    """What of a cotangent gets through the ReLU."""
    return g if not relu or _before_relu(x, table) > 0 else type(g)(0)


@kernel
def sum_slopes(
    n: Any, count: Any, bits: Any, first: Any, second: Any, g: Any, x: Any,
    mean: Any, var: Any, weight: Any, bias: Any, eps: Any, relu: Any,
    each: Any, images: Any, channels: Any, run: Any, parts: Any, size: Any,
) -> None:  # fmt: skip
    """For each part of a channel, the sums of g, and of g times the normalised x."""
    board = shared(WARPS, float64)
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        line, lane, wanted = own_line(i, count, bits)
        channel, part = split(line, parts)
        start, stop = bounds(part, size, images * run[0])
        table = mean[channel], _inverse_root(var[channel], eps), weight[channel], bias[channel]
        one, two = float64(0), float64(0)
        far = bits + (2 if each == 4 else 0)
        for k in range(turns(start + each * lane, stop, far)):
            e = start + each * lane + (k << far)
            image, place = split(e, run)
            at = (image * channels[0] + channel) * run[0] + place
            if each == 4:
                a, b, c, d = load4(x, at)
                p, q, r, s = load4(g, at)
                p, q, r, s = (
                    _arriving(p, a, table, relu),
                    _arriving(q, b, table, relu),
                    _arriving(r, c, table, relu),
                    _arriving(s, d, table, relu),
                )
                one += (float64(p) + float64(q)) + (float64(r) + float64(s))
                two += (_slant(p, a, table) + _slant(q, b, table)) + (_slant(r, c, table) + _slant(s, d, table))
            else:
                slope = _arriving(g[at], x[at], table, relu)
                one += float64(slope)
                two += _slant(slope, x[at], table)
        one, two = added(one, bits, board), added(two, bits, board)
        if lane == 0 and wanted:
            first[line], second[line] = one, two


def _slant(slope: Any, x: Any, table: Any) -> Any:
    """A slope times the normalised x."""
    return float64(slope * ((x - table[0]) * table[1]))


@kernel
def merge_slopes(
    n: Any, dweight: Any, dbias: Any, dmean: Any, dvar: Any, first: Any, second: Any,
    mean: Any, var: Any, weight: Any, bias: Any, eps: Any, some: Any, parts: Any,
) -> None:  # fmt: skip
    """The cotangents of the tables."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        one, two, inverse = float64(0), float64(0), _inverse_root(var[i], eps)
        for part in range(parts if some else 0):
            one += first[i * parts + part]
            two += second[i * parts + part]
        dbias[i], dweight[i] = one, two
        dmean[i] = -weight[i] * inverse * type(inverse)(one)
        dvar[i] = type(inverse)(-0.5) * weight[i] * inverse * inverse * type(inverse)(two)


@kernel
def image_slopes(
    n: Any, dx: Any, g: Any, x: Any, dweight: Any, dbias: Any,
    mean: Any, var: Any, weight: Any, bias: Any, eps: Any, relu: Any, own: Any, each: Any, channels: Any, run: Any,
) -> None:  # fmt: skip
    """The cotangent of x; through its own moments too, of which an element has a share `own`."""
    for group in range(cuda.grid(1), n, cuda.gridsize(1)):
        i = each * group
        _, k = split(quotient(i, run), channels)
        table = mean[k], _inverse_root(var[k], eps), weight[k], bias[k]
        sums = dbias[k], dweight[k]
        if each == 4:
            a, b, c, d = load4(x, i)
            p, q, r, s = load4(g, i)
            p, q = _slope(p, a, table, relu, own, sums), _slope(q, b, table, relu, own, sums)
            store4(dx, i, p, q, _slope(r, c, table, relu, own, sums), _slope(s, d, table, relu, own, sums))
        else:
            dx[i] = _slope(g[i], x[i], table, relu, own, sums)


def _slope(g: Any, x: Any, table: Any, relu: Any, own: Any, sums: Any) -> Any:
    mean, inverse, weight, _ = table
    slope = _arriving(g, x, table, relu)
    if own > 0:
        slope -= (sums[0] + (x - mean) * inverse * sums[1]) * own
    return weight * inverse * slope
