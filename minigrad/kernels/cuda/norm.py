"""Batch normalisation: blocks sum up parts of a channel, in order, and one pass over the images uses the sums.

x is (images, channels, run). Sums are float64, and those of squares are taken around the first element of the channel,
so that a large mean costs no digits.
"""

import math
from typing import Any

import numpy as np
from numba import cuda, float64

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.machine import machine
from minigrad.kernels.cuda.reductions import BLOCK

PART = 8192
"""Elements of a channel that a block sums up, at most."""


def batch_norm(
    x: Array, weight: Array, bias: Array, *given: Array, eps: float, relu: bool, residuals: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Normalise each channel by the mean and variance that are given, or else its own; these are the residuals."""
    x, weight, bias = contiguous(x), contiguous(weight), contiguous(bias)
    mean, var = map(contiguous, given) if given else _moments(x)
    y = empty(x.shape, x.dtype)
    normalise.over(
        y.size, y, x, mean, var, weight, bias, x.dtype.type(eps), int(relu), x.shape[1], math.prod(x.shape[2:])
    )
    return y, (mean, var)


def _layout(x: Array) -> tuple[int, int, int, int]:
    """Images, channels, the run of a channel in an image, and the parts of a channel."""
    images, channels, run = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    return images, channels, run, -(-images * run // PART) or 1


def _moments(x: Array) -> tuple[Array, Array]:
    layout = _, channels, _, parts = _layout(x)
    mean, var = empty((channels,), x.dtype), empty((channels,), x.dtype)
    first, second = empty((channels, parts), np.float64), empty((channels, parts), np.float64)
    if x.size:
        sum_moments(channels * parts, machine().threads, first, second, x, *layout)
    merge_moments.over(channels, mean, var, first, second, x, *layout)
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
    images, channels, run, parts = layout = _layout(x)
    first, second = empty((channels, parts), np.float64), empty((channels, parts), np.float64)
    if x.size:
        sum_slopes(channels * parts, machine().threads, first, second, g, x, *tables, *layout)
    dweight, dbias, dmean, dvar = (empty((channels,), g.dtype) for _ in range(4))
    merge_slopes.over(channels, dweight, dbias, dmean, dvar, first, second, *tables[:5], int(x.size > 0), parts)
    dx = empty(x.shape, g.dtype)
    slopes.over(dx.size, dx, g, x, dweight, dbias, *tables, int(not given), images, channels, run)
    found = [dx, dweight, dbias, dmean, dvar][: len(inputs)]
    return tuple([array if need else None for array, need in zip(found, needs, strict=True)])


def _add_in_block(first: Any, second: Any, one: Any, two: Any) -> None:
    """Sum two numbers a thread over the threads of a block, two by two; the sums belong to the block."""
    ones = cuda.shared.array(BLOCK, float64)
    twos = cuda.shared.array(BLOCK, float64)  # on a line of its own: the simulator tells shared arrays apart by lines
    thread, step = cuda.threadIdx.x, cuda.blockDim.x // 2
    ones[thread], twos[thread] = one, two
    while step > 0:
        cuda.syncthreads()
        if thread < step:
            ones[thread] += ones[thread + step]
            twos[thread] += twos[thread + step]
        step //= 2
    if thread == 0:
        first[cuda.blockIdx.x], second[cuda.blockIdx.x] = ones[0], twos[0]


@kernel
def sum_moments(first: Any, second: Any, x: Any, images: Any, channels: Any, run: Any, parts: Any) -> None:
    """For each part of a channel, the sums of x and of its squares, counted from the channel's first element."""
    channel, part = cuda.blockIdx.x // parts, cuda.blockIdx.x % parts
    one, two, origin, count = float64(0), float64(0), float64(x[channel * run]), images * run
    for e in range(part * count // parts + cuda.threadIdx.x, (part + 1) * count // parts, cuda.blockDim.x):
        away = float64(x[(e // run * channels + channel) * run + e % run]) - origin
        one += away
        two += away * away
    _add_in_block(first, second, one, two)


@kernel
def merge_moments(
    n: Any, mean: Any, var: Any, first: Any, second: Any, x: Any, images: Any, channels: Any, run: Any, parts: Any
) -> None:
    """The mean of each channel, and the mean squared distance from it."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        one, two, count = float64(0), float64(0), float64(images * run)
        for part in range(parts if count > 0 else 0):
            one += first[i * parts + part]
            two += second[i * parts + part]
        away = one / count
        mean[i] = (float64(x[i * run]) if count > 0 else float64(0)) + away
        var[i] = two / count - away * away


@kernel
def normalise(
    n: Any, y: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: Any, relu: Any, channels: Any, run: Any
) -> None:
    """The results."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        c = i // run % channels
        value = _before_relu(x[i], mean[c], type(x[i])(1) / math.sqrt(var[c] + eps), weight[c], bias[c])
        y[i] = value if value > 0 or value != value or not relu else type(value)(0)


def _before_relu(x: Any, mean: Any, inverse: Any, weight: Any, bias: Any) -> Any:
    """The result, which the backward computes again, to the bit, for the ReLU."""
    return (x - mean) * (weight * inverse) + bias


def _arriving(g: Any, x: Any, mean: Any, inverse: Any, weight: Any, bias: Any, relu: Any) -> Any:
    """What of a cotangent gets through the ReLU."""
    return g if not relu or _before_relu(x, mean, inverse, weight, bias) > 0 else type(g)(0)


@kernel
def sum_slopes(
    first: Any, second: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: Any, relu: Any,
    images: Any, channels: Any, run: Any, parts: Any,
) -> None:  # fmt: skip
    """For each part of a channel, the sums of g, and of g times the normalised x."""
    c, part = cuda.blockIdx.x // parts, cuda.blockIdx.x % parts
    one, two, inverse, count = float64(0), float64(0), type(eps)(1) / math.sqrt(var[c] + eps), images * run
    for e in range(part * count // parts + cuda.threadIdx.x, (part + 1) * count // parts, cuda.blockDim.x):
        i = (e // run * channels + c) * run + e % run
        slope = _arriving(g[i], x[i], mean[c], inverse, weight[c], bias[c], relu)
        one += float64(slope)
        two += float64(slope * ((x[i] - mean[c]) * inverse))
    _add_in_block(first, second, one, two)


@kernel
def merge_slopes(
    n: Any, dweight: Any, dbias: Any, dmean: Any, dvar: Any, first: Any, second: Any,
    mean: Any, var: Any, weight: Any, bias: Any, eps: Any, some: Any, parts: Any,
) -> None:  # fmt: skip
    """The cotangents of the tables."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        one, two, inverse = float64(0), float64(0), type(eps)(1) / math.sqrt(var[i] + eps)
        for part in range(parts if some else 0):
            one += first[i * parts + part]
            two += second[i * parts + part]
        dbias[i], dweight[i] = one, two
        dmean[i] = -weight[i] * inverse * type(inverse)(one)
        dvar[i] = type(inverse)(-0.5) * weight[i] * inverse * inverse * type(inverse)(two)


@kernel
def slopes(
    n: Any, dx: Any, g: Any, x: Any, dweight: Any, dbias: Any,
    mean: Any, var: Any, weight: Any, bias: Any, eps: Any, relu: Any, own: Any, images: Any, channels: Any, run: Any,
) -> None:  # fmt: skip
    """The cotangent of x; through its own moments too, where they are."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        c = i // run % channels
        inverse = type(x[i])(1) / math.sqrt(var[c] + eps)
        slope = _arriving(g[i], x[i], mean[c], inverse, weight[c], bias[c], relu)
        if own:
            share = type(x[i])(1) / type(x[i])(images * run)
            slope -= (dbias[c] + (x[i] - mean[c]) * inverse * dweight[c]) * share
        dx[i] = weight[c] * inverse * slope
