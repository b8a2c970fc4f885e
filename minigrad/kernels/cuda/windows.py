"""Windows that slide over images: patches and pools. Each element of a result gathers what belongs to it."""

import math
from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import astype, contiguous
from minigrad.kernels.geometry import averaged, inside, output_size

Pair = tuple[int, int]
Sizes = tuple[int, ...]


def _positions(
    image: Sizes, window: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool = False
) -> Pair:
    oh, ow = (output_size(*axis, ceil_mode) for axis in zip(image, window, stride, padding, dilation, strict=True))
    return oh, ow


# ---- patches -----------------------------------------------------------------------------------------------------


def unfold(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Copy what each tap of the window sees: (n c h w) to (n, c kh kw, oh ow)."""
    n, c, h, w = x.shape
    size = _positions((h, w), kernel_size, stride, padding, dilation)
    out = empty((n, c * math.prod(kernel_size), math.prod(size)), x.dtype)
    see.over(out.size, out, contiguous(x), (h, w), kernel_size, size, stride, padding, dilation)
    return out


@kernel
def see(n: Any, out: Any, x: Any, image: Any, window: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> None:
    """One pixel, or the zero of the padding, for each tap at each position."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        tap, position = i // (size[0] * size[1]), i % (size[0] * size[1])
        plane, u, v = tap // (window[0] * window[1]), tap // window[1] % window[0], tap % window[1]
        row = position // size[1] * stride[0] + u * dilation[0] - padding[0]
        column = position % size[1] * stride[1] + v * dilation[1] - padding[1]
        seen = 0 <= row < image[0] and 0 <= column < image[1]
        out[i] = x[(plane * image[0] + row) * image[1] + column] if seen else type(x[0])(0)


def fold(g: Array, *, shape: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Add up what each tap of the window sees: (n, c kh kw, oh ow) to (n c h w), where `shape` is (h, w)."""
    size = _positions(shape, kernel_size, stride, padding, dilation)
    out = empty((g.shape[0], g.shape[1] // math.prod(kernel_size), *shape), g.dtype)
    gather_seen.over(out.size, out, contiguous(g), shape, kernel_size, size, stride, padding, dilation)
    return out


@kernel
def gather_seen(
    n: Any, out: Any, g: Any, image: Any, window: Any, size: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    """For each pixel, the sum over the taps that see it, each from one position."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane = i // (image[0] * image[1])
        row, column = i // image[1] % image[0] + padding[0], i % image[1] + padding[1]
        total = type(g[0])(0)
        for u in range(window[0]):
            down = row - u * dilation[0]
            if down >= 0 and down % stride[0] == 0 and down // stride[0] < size[0]:
                for v in range(window[1]):
                    across = column - v * dilation[1]
                    if across >= 0 and across % stride[1] == 0 and across // stride[1] < size[1]:
                        tap = (plane * window[0] + u) * window[1] + v
                        total += g[(tap * size[0] + down // stride[0]) * size[1] + across // stride[1]]
        out[i] = total


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
    pick.over(values.size, values, places, contiguous(x), image, kernel_size, size, stride, padding, dilation)
    return values, places


@kernel
def pick(
    n: Any,
    values: Any,
    places: Any,
    x: Any,
    image: Any,
    window: Any,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
) -> None:
    """The first of the largest pixels of each window; of NaNs the last."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        top = i // (size[0] * size[1]) * image[0] * image[1]
        row = i // size[1] % size[0] * stride[0] - padding[0]
        column = i % size[1] * stride[1] - padding[1]
        first, stop = inside(window[0], row, dilation[0], image[0])
        left, right = inside(window[1], column, dilation[1], image[1])
        place = (
            (row + first * dilation[0]) * image[1] + column + left * dilation[1] if first < stop and left < right else 0
        )
        best = x[top + place]
        for u in range(first, stop):
            for v in range(left, right):
                here = (row + u * dilation[0]) * image[1] + column + v * dilation[1]
                pixel = x[top + here]
                if pixel > best or pixel != pixel:
                    best, place = pixel, here
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
    gather_picked.over(
        gradient.size, gradient, contiguous(g), *residuals, image, kernel_size, size, stride, padding, dilation
    )
    return (gradient,)


@kernel
def gather_picked(
    n: Any, out: Any, g: Any, places: Any, image: Any, window: Any, size: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    """For each pixel, the sum over the windows that picked it."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, here = i // (image[0] * image[1]), i % (image[0] * image[1])
        row, column = here // image[1] + padding[0], here % image[1] + padding[1]
        top, bottom = over(row, window[0], stride[0], dilation[0], size[0])
        left, right = over(column, window[1], stride[1], dilation[1], size[1])
        total = type(g[0])(0)
        for p in range(top, bottom):
            for q in range(left, right):
                at = (plane * size[0] + p) * size[1] + q
                if places[at] == here:
                    total += g[at]
        out[i] = total


def over(place: Any, window: Any, stride: Any, dilation: Any, size: Any) -> Any:
    """The windows, as (first, stop), that reach over a place counted from the start of the padding."""
    reach = place - (window - 1) * dilation
    return max(0, -(-reach // stride)), min(size, place // stride + 1)


# ---- average-pool ------------------------------------------------------------------------------------------------


def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """The mean of each window, (n c h w) to (n c oh ow)."""
    image = (x.shape[2], x.shape[3])
    size = _positions(image, kernel_size, stride, padding, (1, 1), ceil_mode)
    out = empty((*x.shape[:2], *size), x.dtype)
    average.over(out.size, out, contiguous(x), image, kernel_size, size, stride, padding, int(count_include_pad))
    return out


@kernel
def average(
    n: Any, out: Any, x: Any, image: Any, window: Any, size: Any, stride: Any, padding: Any, include: Any
) -> None:
    """The sum of each window's pixels, over their number."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        top = i // (size[0] * size[1]) * image[0] * image[1]
        p, q = i // size[1] % size[0], i % size[1]
        row, column = p * stride[0] - padding[0], q * stride[1] - padding[1]
        first, stop = inside(window[0], row, 1, image[0])
        left, right = inside(window[1], column, 1, image[1])
        total = type(x[0])(0)
        for u in range(first, stop):
            for v in range(left, right):
                total += x[top + (row + u) * image[1] + column + v]
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
    gather_shares.over(out.size, out, contiguous(g), image, kernel_size, size, stride, padding, int(count_include_pad))
    return out


@kernel
def gather_shares(
    n: Any, out: Any, g: Any, image: Any, window: Any, size: Any, stride: Any, padding: Any, include: Any
) -> None:
    """For each pixel, the sum over the windows that reach over it, each divided by its count."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, here = i // (image[0] * image[1]), i % (image[0] * image[1])
        top, bottom = over(here // image[1] + padding[0], window[0], stride[0], 1, size[0])
        left, right = over(here % image[1] + padding[1], window[1], stride[1], 1, size[1])
        total = type(g[0])(0)
        for p in range(top, bottom):
            for q in range(left, right):
                share = type(g[0])(_count(p, q, image, window, stride, padding, include))
                total += g[(plane * size[0] + p) * size[1] + q] / share
        out[i] = total
