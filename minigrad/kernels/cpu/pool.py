"""Pooling on the CPU: maxima over the runs of `columns`, and averages as convolutions with ones."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels import geometry
from minigrad.kernels.cpu.columns import copy_columns, plan_blocks
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.conv import conv2d_input, correlate
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

inside = jit(geometry.inside)


def max_pool2d_argmax(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Find the maximum of each window: see `reference.max_pool2d_argmax`."""
    n, c, h, w = x.shape
    size = _size((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    places = empty((n * c, *size), np.int64)
    if places.size:
        plan = plan_blocks(n * c, 1, w, size, kernel_size, stride, padding, dilation)
        threads = get_num_threads()
        columns = zeros((threads, plan.size), x.dtype)
        best, steps = empty((threads, plan.run), x.dtype), empty((threads, plan.run), np.int32)
        images = np.ascontiguousarray(x).reshape(n * c, 1, h, w)
        _argmax_blocks(places, images, columns, best, steps, plan)
    return places.reshape(n, c, *size)


def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """Average each window: see `reference.avg_pool2d`."""
    n, c, h, w = x.shape
    size = _size((h, w), kernel_size, stride, padding, (1, 1), ceil_mode)
    ones = np.ones((1, 1, *kernel_size), x.dtype)
    sums = correlate(x.reshape(n * c, 1, h, w), ones, size, stride, padding, (1, 1), groups=1)
    counts = _counts((h, w), size, kernel_size, stride, padding, count_include_pad)
    return sums.reshape(n, c, *size) / counts.astype(x.dtype)


def avg_pool2d_input(
    g: Array,
    *,
    shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Apply the adjoint of avg_pool2d: see `reference.avg_pool2d_input`."""
    n, c, *size = g.shape
    counts = _counts(shape[2:], size, kernel_size, stride, padding, count_include_pad)
    shares = g / counts.astype(g.dtype)
    ones = np.ones((1, 1, *kernel_size), g.dtype)
    image = (n * c, 1, *shape[2:])
    window = {"stride": stride, "padding": padding, "dilation": (1, 1)}
    return conv2d_input(shares.reshape(n * c, 1, *size), ones, shape=image, groups=1, **window).reshape(shape)


def _size(image: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    axes = zip(image, kernel_size, stride, padding, dilation, strict=True)
    oh, ow = (geometry.output_size(*axis, ceil_mode) for axis in axes)
    return oh, ow


def _counts(image: Any, size: Any, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool) -> Array:
    """The divisors of the windows (oh ow)."""
    rows, columns = (
        [geometry.averaged(i, *axis, count_include_pad) for i in range(size[a])]
        for a, axis in enumerate(zip(image, kernel_size, stride, padding, strict=True))
    )
    return np.outer(rows, columns)


@kernel
def _argmax_blocks(places: Any, x: Any, columns: Any, best: Any, steps: Any, plan: Any) -> None:
    threads = len(columns)
    bands = -(-places.shape[1] // plan.rows)
    blocks = -(-len(places) // plan.images) * bands
    for t in prange(threads):
        for block in range(t * blocks // threads, (t + 1) * blocks // threads):
            n, row = block // bands * plan.images, block % bands * plan.rows
            _argmax_block(places, x, columns[t], best[t], steps[t], n, row, plan)


@jit
def _argmax_block(places: Any, x: Any, columns: Any, best: Any, steps: Any, n: Any, row: Any, plan: Any) -> None:
    """Compute the block at image n and row `row`."""
    h, w = x.shape[2:]
    copy_columns(columns, x, n, 0, 1, row, -np.inf, plan)
    _argmax_runs(best, steps, columns, w, plan)
    for b in range(min(plan.images, len(places) - n)):
        for i in range(min(plan.rows, places.shape[1] - row)):
            line, run = places[n + b, row + i], steps[(b * plan.span + i) * plan.width :]
            top = (row + i) * plan.sh - plan.top
            for j in range(len(line)):
                left = j * plan.sw - plan.left
                line[j] = top * w + left + run[j] if run[j] >= 0 else _first_pixel(top, left, h, w, plan)


@jit
def _argmax_runs(best: Any, steps: Any, columns: Any, w: Any, plan: Any) -> None:
    """Find how far the first largest element under each window is from its corner; -1 where all are -inf."""
    for p in range(len(best)):
        best[p] = -np.inf
        steps[p] = -1
    for u in range(plan.kh):
        for v in range(plan.kw):
            tap, step = plan.taps[u * plan.kw + v], np.int32(u * plan.dh * w + v * plan.dw)
            for p in range(np.uintp(len(best))):
                new = columns[tap + p]
                wins = (new > best[p]) | (new != new)
                best[p] = new if wins else best[p]
                steps[p] = step if wins else steps[p]


@jit
def _first_pixel(top: Any, left: Any, h: Any, w: Any, plan: Any) -> Any:
    """The first pixel of the image under the window whose corner is at (top, left); 0 if there is none."""
    (u, u_stop), (v, v_stop) = inside(plan.kh, top, plan.dh, h), inside(plan.kw, left, plan.dw, w)
    return (top + u * plan.dh) * w + left + v * plan.dw if u < u_stop and v < v_stop else 0
