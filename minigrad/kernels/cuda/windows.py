"""Windows that slide over images: patches and pools. Each element of a result gathers what belongs to it."""

import math
from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import astype, contiguous
from minigrad.kernels.cuda.division import divisor, quotient, split
from minigrad.kernels.geometry import averaged, output_size

Pair = tuple[int, int]
Sizes = tuple[int, ...]


def _positions(
    image: Sizes, window: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool = False
) -> Pair:
    oh, ow = (output_size(*axis, ceil_mode) for axis in zip(image, window, stride, padding, dilation, strict=True))
    return oh, ow


def divisors(pair: Pair) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """What divides by each of two sizes."""
    return divisor(pair[0]), divisor(pair[1])


def pixel(i: Any, h: Any, w: Any) -> Any:
    """The plane, row and column of element i of planes of a height and a width, each as `divisor` has it."""
    rest, column = split(i, w)
    plane, row = split(rest, h)
    return plane, row, column


def inside(count: Any, start: Any, step: Any, size: Any) -> Any:
    """As of `geometry`, with what `divisor` says of the step."""
    first = quotient(step[0] - 1 - start, step) if start < 0 else 0
    stop = quotient(size - 1 - start, step) + 1 if start < size else 0
    return min(first, count), min(stop, count)


# ---- patches -----------------------------------------------------------------------------------------------------


def unfold(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Copy what each tap of the window sees: (n c h w) to (n, c kh kw, oh ow)."""
    n, c, h, w = x.shape
    size = _positions((h, w), kernel_size, stride, padding, dilation)
    out = empty((n, c * math.prod(kernel_size), math.prod(size)), x.dtype)
    see.over(out.size, out, contiguous(x), (h, w), *divisors(kernel_size), *divisors(size), stride, padding, dilation)
    return out


@kernel
def see(
    n: Any, out: Any, x: Any, image: Any, kh: Any, kw: Any, oh: Any, ow: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    """One pixel, or the zero of the padding, for each tap at each position."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        tap, p, q = pixel(i, oh, ow)
        plane, u, v = pixel(tap, kh, kw)
        row, column = p * stride[0] + u * dilation[0] - padding[0], q * stride[1] + v * dilation[1] - padding[1]
        seen = 0 <= row < image[0] and 0 <= column < image[1]
        out[i] = x[(plane * image[0] + row) * image[1] + column] if seen else type(x[0])(0)


def fold(g: Array, *, shape: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Add up what each tap of the window sees: (n, c kh kw, oh ow) to (n c h w), where `shape` is (h, w)."""
    size = _positions(shape, kernel_size, stride, padding, dilation)
    out = empty((g.shape[0], g.shape[1] // math.prod(kernel_size), *shape), g.dtype)
    steps = *divisors(stride), padding, dilation
    gather_seen.over(out.size, out, contiguous(g), *divisors(shape), kernel_size, size, *steps)
    return out


@kernel
def gather_seen(
    n: Any, out: Any, g: Any, h: Any, w: Any, window: Any, size: Any, sh: Any, sw: Any, padding: Any, dilation: Any
) -> None:
    """For each pixel, the sum over the taps that see it, each from one position."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, row, column = pixel(i, h, w)
        total = type(g[0])(0)
        for u in range(window[0]):
            p = position(row + padding[0] - u * dilation[0], sh, size[0])
            for v in range(window[1] if p >= 0 else 0):
                q = position(column + padding[1] - v * dilation[1], sw, size[1])
                if q >= 0:
                    total += g[(((plane * window[0] + u) * window[1] + v) * size[0] + p) * size[1] + q]
        out[i] = total


def position(start: Any, stride: Any, size: Any) -> Any:
    """Which position of the window starts at a place counted from the start of the padding; -1 if none does."""
    if start < 0:
        return -1
    p, rest = split(start, stride)
    return p if rest == 0 and p < size else -1


# ---- max-pool ----------------------------------------------------------------------------------------------------


def max_pool2d(x: Array, *, residuals: bool, **options: Any) -> tuple[Array, tuple[Array, ...]]:
    """The maximum of each window; kept for the backward is where it was."""
    values, places = _maxima(x, **options)
    return values, (places,) if residuals else ()


def max_pool2d_argmax(x: Array, **options: Any) -> Array:
    """Where each window has its maximum, as an int64 index into the h * w pixels."""
    _, places = _maxima(x, **options)
    return astype(places, dtype=np.dtype(np.int64))


def _maxima(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    image = (x.shape[2], x.shape[3])
    size = _positions(image, kernel_size, stride, padding, dilation, ceil_mode)
    values, places = empty((*x.shape[:2], *size), x.dtype), empty((*x.shape[:2], *size), np.int32)
    steps = stride, padding, *divisors(dilation)
    pick.over(values.size, values, places, contiguous(x), image, kernel_size, *divisors(size), *steps)
    return values, places


@kernel
def pick(
    n: Any, values: Any, places: Any, x: Any,
    image: Any, window: Any, oh: Any, ow: Any, stride: Any, padding: Any, dh: Any, dw: Any,
) -> None:  # fmt: skip
    """The first of the largest pixels of each window; of NaNs the last."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, p, q = pixel(i, oh, ow)
        top, row, column = plane * image[0] * image[1], p * stride[0] - padding[0], q * stride[1] - padding[1]
        first, stop = inside(window[0], row, dh, image[0])
        left, right = inside(window[1], column, dw, image[1])
        place = (row + first * dh[0]) * image[1] + column + left * dw[0] if first < stop and left < right else 0
        best = x[top + place]
        for u in range(first, stop):
            for v in range(left, right):
                here = (row + u * dh[0]) * image[1] + column + v * dw[0]
                value = x[top + here]
                if value > best or value != value:
                    best, place = value, here
        values[i] = best
        places[i] = place


def max_pool2d_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array],
    out: Any,
    residuals: tuple[Array],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Array]:
    """The cotangent of each pixel: the sum of those of the windows, in order, whose maximum it is."""
    shape = inputs[0].shape
    image, size = (shape[2], shape[3]), (g.shape[2], g.shape[3])
    gradient = empty(shape, g.dtype)
    steps = *divisors(stride), padding, dilation
    gather_picked.over(gradient.size, gradient, contiguous(g), *residuals, *divisors(image), kernel_size, size, *steps)
    return (gradient,)


@kernel
def gather_picked(
    n: Any, out: Any, g: Any, places: Any,
    h: Any, w: Any, window: Any, size: Any, sh: Any, sw: Any, padding: Any, dilation: Any,
) -> None:  # fmt: skip
    """For each pixel, the sum over the windows that picked it."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, row, column = pixel(i, h, w)
        here = row * w[0] + column
        top, bottom = reaching(row + padding[0], window[0], sh, dilation[0], size[0])
        left, right = reaching(column + padding[1], window[1], sw, dilation[1], size[1])
        total = type(g[0])(0)
        for p in range(top, bottom):
            for q in range(left, right):
                at = (plane * size[0] + p) * size[1] + q
                if places[at] == here:
                    total += g[at]
        out[i] = total


def reaching(place: Any, window: Any, stride: Any, dilation: Any, size: Any) -> Any:
    """The windows, as (first, stop), that reach over a place counted from the start of the padding."""
    reach = place - (window - 1) * dilation
    first = quotient(reach + stride[0] - 1, stride) if reach > 0 else 0
    return first, min(size, quotient(place, stride) + 1)


# ---- average-pool ------------------------------------------------------------------------------------------------


def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """The mean of each window, (n c h w) to (n c oh ow)."""
    image = (x.shape[2], x.shape[3])
    size = _positions(image, kernel_size, stride, padding, (1, 1), ceil_mode)
    out = empty((*x.shape[:2], *size), x.dtype)
    steps = stride, padding, int(count_include_pad)
    average.over(out.size, out, contiguous(x), image, kernel_size, *divisors(size), *steps)
    return out


@kernel
def average(
    n: Any, out: Any, x: Any, image: Any, window: Any, oh: Any, ow: Any, stride: Any, padding: Any, include: Any
) -> None:
    """The sum of each window's pixels, over their number."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, p, q = pixel(i, oh, ow)
        top, row, column = plane * image[0] * image[1], p * stride[0] - padding[0], q * stride[1] - padding[1]
        total = type(x[0])(0)
        for u in range(max(row, 0), min(row + window[0], image[0])):
            for v in range(max(column, 0), min(column + window[1], image[1])):
                total += x[top + u * image[1] + v]
        out[i] = total / type(x[0])(_count(p, q, image, window, stride, padding, include))


def _count(p: Any, q: Any, image: Any, window: Any, stride: Any, padding: Any, include: Any) -> Any:
    """By how many elements the window at (p, q) divides."""
    rows = averaged(p, image[0], window[0], stride[0], padding[0], include != 0)
    return rows * averaged(q, image[1], window[1], stride[1], padding[1], include != 0)


def avg_pool2d_input(
    g: Array,
    *,
    shape: Sizes,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Adjoint of avg_pool2d: each pixel gathers its share of every window over it."""
    out, image, size = empty(shape, g.dtype), (shape[2], shape[3]), (g.shape[2], g.shape[3])
    steps = *divisors(stride), padding, int(count_include_pad)
    gather_shares.over(out.size, out, contiguous(g), *divisors(image), kernel_size, size, *steps)
    return out


@kernel
def gather_shares(
    n: Any, out: Any, g: Any, h: Any, w: Any, window: Any, size: Any, sh: Any, sw: Any, padding: Any, include: Any
) -> None:
    """For each pixel, the sum over the windows that reach over it, each divided by its count."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, row, column = pixel(i, h, w)
        top, bottom = reaching(row + padding[0], window[0], sh, 1, size[0])
        left, right = reaching(column + padding[1], window[1], sw, 1, size[1])
        total = type(g[0])(0)
        for p in range(top, bottom):
            for q in range(left, right):
                share = type(g[0])(_count(p, q, (h[0], w[0]), window, (sh[0], sw[0]), padding, include))
                total += g[(plane * size[0] + p) * size[1] + q] / share
        out[i] = total
