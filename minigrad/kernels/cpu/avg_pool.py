"""Average-pooling on the CPU.

Windows are separable: sums are taken down the rows first, then along the columns, and what windows share is added up
once. The adjoint does the same with what reaches each row, and then each column.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels import geometry
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import (
    LINES,
    Plan,
    collector,
    dealer,
    end_of,
    fill,
    plan_lines,
    pooled_size,
    put,
    put_lines,
    tiles,
    up,
    window_reader,
)
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.reduce import SUM, over_axes
from minigrad.kernels.cpu.simd import (
    broadcast,
    collect,
    fma,
    full,
    lanes,
    load,
    load_first,
    store_whole,
    sum_rows,
    width,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """Average each window: see `reference.avg_pool2d`."""
    n, c, h, w = x.shape
    if (kernel_size, padding) == ((h, w), (0, 0)) and x.size:
        return over_axes(SUM, np.ascontiguousarray(x), (2, 3)).reshape(n, c, 1, 1) / x.dtype.type(h * w)
    size = pooled_size((h, w), kernel_size, stride, padding, (1, 1), ceil_mode)
    y = empty((n, c, *size), x.dtype)
    if y.size == 0:
        return y
    flat, threads = (y.ravel(), x.ravel()), get_num_threads()
    if tiles((h, w), size, kernel_size, stride, padding):
        _tiles(stride[1])(n * c * size[0], threads, *flat, size[1], kernel_size[0])
    else:
        window = (h, w), size, kernel_size, stride, padding
        plan, offsets = plan_lines(n * c, *window, (1, 1), 0, x.dtype)
        lines = workspaces(threads, plan.band * plan.sw * plan.pitch, x.dtype)
        counts = _counts(*window, count_include_pad, x.dtype)
        _windows(stride[1])(
            plan.images * plan.bands, threads, *flat, lines, offsets, kernel_size[0], *counts, tuple(plan)
        )
    return y


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
    n, c, h, w = shape
    size, dx = g.shape[2:], empty(shape, g.dtype)
    if dx.size == 0:
        return dx
    flat, threads = (dx.ravel(), g.ravel()), get_num_threads()
    if (kernel_size, padding) == ((h, w), (0, 0)):
        _images_backward(n * c, threads, *flat, h * w)
    elif tiles((h, w), size, kernel_size, stride, padding):
        _tiles_backward(stride[1])(n * c * size[0], threads, *flat, size[1], kernel_size[0])
    else:
        window = (h, w), size, kernel_size, stride, padding
        plan, tables = _backward_plan(n * c, *window, g.dtype)
        lines = workspaces(threads, LINES * plan.pitch, g.dtype)
        parts = workspaces(threads, LINES * plan.sw * plan.places, g.dtype)
        shares = [1 / counts for counts in _counts(*window, count_include_pad, g.dtype)]
        _windows_backward(stride[1])(
            plan.images * plan.bands, threads, *flat, lines, parts, *tables, *shares, tuple(plan)
        )
    return dx


@functools.lru_cache(maxsize=256)
def _counts(
    image: Pair, size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool, dtype: Any
) -> tuple[Array, Array]:
    """The numbers of rows and of columns that each window divides by, and ones up to whole vectors."""
    counts = []
    for a, axis in enumerate(zip(image, kernel_size, stride, padding, strict=True)):
        count = np.ones(up(size[a], max(LINES, lanes(dtype))), dtype)
        count[: size[a]] = [geometry.averaged(i, *axis, count_include_pad) for i in range(size[a])]
        counts.append(count)
    return counts[0], counts[1]


# ---- windows that tile the images ------------------------------------------------------------------------------------


@functools.cache
def _tiles(ways: int) -> Callable[..., None]:
    """Compile the means of windows of so many columns: row r of y lies under the rows r * kh, ... of all images."""
    read = window_reader(ways)

    @shared
    def compute(_: Any, first: Any, stop: Any, y: Any, x: Any, columns: Any, kh: Any) -> None:
        lanes, end = width(y), stop * columns
        count = full(x.dtype.type(kh * ways), 1, 1)
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                at, rest = (r * kh * columns + q) * ways, columns - q
                total = read(x, at, rest)
                for u in range(1, kh):
                    total = total + read(x, at + u * columns * ways, rest)
                put(y, r * columns + q, end, rest, sum_rows(total) / count)

    return compute


@functools.cache
def _tiles_backward(ways: int) -> Callable[..., None]:
    """Compile the adjoint: each element of g is shared out to its window."""

    @shared
    def compute(_: Any, first: Any, stop: Any, dx: Any, g: Any, columns: Any, kh: Any) -> None:
        lanes, end = width(g), stop * columns * kh * ways
        count, zeros = full(g.dtype.type(kh * ways), 1, 1), full(g.dtype.type(0), ways, 1)
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                at, rest = r * columns + q, columns - q
                share = load_first(g, at, lanes if at + lanes <= len(g) else rest, 0) / count
                line = collect(share + zeros)
                for u in range(kh):
                    put(dx, ((r * kh + u) * columns + q) * ways, end, rest * ways, line)

    return compute


# ---- windows that are the images -------------------------------------------------------------------------------------


@shared
def _images_backward(_: Any, first: Any, stop: Any, dx: Any, g: Any, count: Any) -> None:
    """Share each element of g out to the `count` pixels of its image."""
    for n in range(first, stop):
        share = full(g[n] / g.dtype.type(count), 1, 1)
        for e in range((count - 1) // width(dx) * width(dx), -1, -width(dx)):
            put(dx, n * count + e, stop * count, count - e, share)


# ---- other windows ---------------------------------------------------------------------------------------------------


@functools.cache
def _windows(ways: int) -> Callable[..., None]:
    """Compile the means for a horizontal stride."""
    deal = dealer(ways)

    @shared
    def compute(
        t: Any, first: Any, stop: Any, y: Any, x: Any, lines_of: Any, offsets: Any, height: Any, rows: Any,
        columns: Any, numbers: Any
    ) -> None:  # fmt: skip
        plan = Plan(*numbers)
        lines, zero = lines_of[t], x.dtype.type(0)
        end, step = end_of(stop - 1, plan.oh, plan.ow, plan), plan.sw * plan.pitch
        fill(lines, 0, len(lines), zero)
        for unit in range(first, stop):
            n, i = unit // plan.bands, unit % plan.bands * plan.band
            for m in range(min(plan.band, plan.oh - i)):
                start = (i + m) * plan.sh - plan.above
                top, bottom = max(0, start), min(plan.h, start + height)
                deal(lines, m * step + plan.left, x, (n * plan.h + top) * plan.w, bottom - top, zero, plan)
            for m in range(0, min(plan.band, plan.oh - i), LINES):
                to = (n * plan.oh + i + m) * plan.ow
                for q in range(plan.wide - width(x), -1, -width(x)):
                    total = _sum_of_taps(lines, m * step + q, step, offsets, 0, len(offsets))
                    count = broadcast(rows, i + m, LINES) * load(columns, q, 0, 1, 1)
                    put_lines(y, to, q, end, total / count, plan)

    return compute


@jit(forceinline=True)
def _sum_of_taps(lines: Any, corner: Any, step: Any, offsets: Any, first: Any, stop: Any) -> Any:
    """Of some lines, the sum of what the taps meet."""
    total = full(lines.dtype.type(0), LINES, 1)
    for k in range(first, stop):
        total = total + load(lines, corner + offsets[k], step, LINES, 1)
    return total


@functools.lru_cache(maxsize=256)
def _backward_plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dtype: Any
) -> tuple[Plan, tuple[Array, Array, Array]]:
    """The plan, for each row the first position that reaches it and that after the last, and the same for columns.

    Columns c with the same remainder c % sw are reached alike: from c // sw, by the distances in `offsets` from
    bounds[c % sw] to the next of the bounds.
    """
    (h, w), (oh, ow), (kh, kw), (sh, sw), (ph, pw) = image, size, window, stride, padding
    vector = lanes(dtype)
    wide, places, left = up(ow, vector), up(-(-w // sw), vector), up(max(0, (kw - 1 - pw) // sw), vector)
    pitch = left + up(max(wide, places - (-pw // sw)), vector)
    plan = Plan(h, w, oh, ow, sh, sw, ph, left, places, pitch, wide, LINES, LINES, -(-h // LINES), images)
    row = np.arange(h) + ph
    stop = np.minimum(row // sh + 1, oh)
    reach = np.stack([np.minimum(np.maximum(0, -((kh - 1 - row) // sh)), stop), stop], axis=1)
    columns = sorted(range(-pw, kw - pw), key=lambda column: column % sw)
    bounds = np.searchsorted([column % sw for column in columns], range(sw + 1))
    return plan, (reach, np.array([left - column // sw for column in columns]), bounds)


@functools.cache
def _windows_backward(ways: int) -> Callable[..., None]:
    """Compile the adjoint for a horizontal stride."""
    put_row = collector(ways)

    @shared
    def compute(
        t: Any, first: Any, stop: Any, dx: Any, g: Any, lines_of: Any, parts_of: Any, reach: Any, offsets: Any,
        bounds: Any, rows: Any, columns: Any, numbers: Any
    ) -> None:  # fmt: skip
        plan = Plan(*numbers)
        lines, parts = lines_of[t], parts_of[t]
        end, size = end_of(stop - 1, plan.h, plan.w, plan), plan.sw * plan.places
        fill(lines, 0, len(lines), g.dtype.type(0))
        for unit in range(first, stop):
            n, r = unit // plan.bands, unit % plan.bands * LINES
            height = min(LINES, plan.h - r)
            for m in range(height):
                for q in range(0, plan.wide, width(g)):
                    total = full(g.dtype.type(0), 1, 1)
                    for i in range(reach[r + m, 0], reach[r + m, 1]):
                        seen = load_first(g, (n * plan.oh + i) * plan.ow + q, plan.ow - q, 0)
                        total = fma(broadcast(rows, i, 1), seen, total)
                    store_whole(lines, m * plan.pitch + plan.left + q, 0, total * load(columns, q, 0, 1, 1))
            for p in range(plan.sw):
                for q in range(0, plan.places, width(g)):
                    total = _sum_of_taps(lines, q, plan.pitch, offsets, bounds[p], bounds[p + 1])
                    store_whole(parts, p * plan.places + q, size, total)
            for m in range(height):
                put_row(dx, (n * plan.h + r + m) * plan.w, end, parts, m * size, plan)

    return compute
