"""Pooling on the CPU, on lines that are dealt out by the stride: see lines.py.

Windows are separable. A maximum is taken along the columns first, then along the rows, a sum the other way round, and
what windows share is computed once. Backward, each element gathers from the positions that it is under.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels import geometry
from minigrad.kernels.cpu import tiling
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.lines import ELEMENTS, LINES, Plan, band_of, collector, dealer, up
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.reduce import SUM, over_axes
from minigrad.kernels.cpu.simd import (
    broadcast,
    full,
    is_nan,
    lanes,
    load,
    load_line,
    load_wide,
    select,
    store,
    store_whole,
    width,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Shape = tuple[int, ...]


# ---- maxima ----------------------------------------------------------------------------------------------------------


def max_pool2d(
    x: Array, residuals: bool, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Take the maximum of each window, and remember the tap that has it: see `reference.max_pool2d_argmax`."""
    n, c, h, w = x.shape
    size = _size((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    y = empty((n, c, *size), x.dtype)
    taps = empty((n, c, *size), np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)
    if y.size == 0:
        return y, (taps,)
    flat = y.reshape(-1), taps.reshape(-1), np.ascontiguousarray(x).reshape(-1)
    threads = get_num_threads()
    if (h, w) == kernel_size and padding == (0, 0) and dilation == (1, 1):
        vector = lanes(x.dtype)
        numbers = _numbers(up(h * w, vector), x.dtype)
        scratch, places = empty((threads, vector), x.dtype), empty((threads, vector), numbers.dtype)
        tiling.extremes(*flat, numbers, h * w, scratch, places)
    else:
        window = (h, w), size, kernel_size, stride, padding, dilation
        plan, tables = _max_plan(n * c, *window, x.dtype)
        lines = empty((threads, plan.span * plan.sw * plan.pitch), x.dtype)
        best = empty((threads, plan.span * plan.wide), x.dtype)
        chosen = empty((threads, plan.span * plan.wide), tables[-1].dtype)
        _maxima(stride[1])(*flat, lines, best, chosen, *tables, plan)
    return y, (taps,)


def max_pool2d_argmax(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Find the maximum of each window: see `reference.max_pool2d_argmax`."""
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    _, (taps,) = max_pool2d(x, True, ceil_mode=ceil_mode, **options)
    u, v = np.divmod(taps.astype(np.int64), kernel_size[1])
    row, column = (np.arange(taps.shape[2 + a]) * stride[a] - padding[a] for a in (0, 1))
    return (row[:, None] + u * dilation[0]) * x.shape[3] + column + v * dilation[1]


def max_pool2d_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array],
    out: Any,
    residuals: tuple[Array, ...],
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Array]:
    """Give every element of g to the pixel that its window took."""
    (x,), (taps,) = inputs, residuals
    n, c, *image = x.shape
    dx = empty(x.shape, g.dtype)
    if dx.size == 0:
        return (dx,)
    flat = dx.reshape(-1), np.ascontiguousarray(g).reshape(-1), taps.reshape(-1)
    threads = get_num_threads()
    if tuple(image) == kernel_size and padding == (0, 0) and dilation == (1, 1):
        tiling.give(*flat, image[0] * image[1], threads)
    elif _tiled(tuple(image), g.shape[2:], kernel_size, stride, padding) and dilation == (1, 1):
        numbers = _numbers(kernel_size[0] * kernel_size[1], g.dtype)
        tiling.maxima_backward(stride[1])(*flat, numbers, g.shape[3], kernel_size[0], threads)
    else:
        window = tuple(image), g.shape[2:], kernel_size, stride, padding, dilation
        plan, tables = _max_backward_plan(n * c, *window, g.dtype)
        shares = empty((threads, plan.span * plan.pitch), g.dtype)
        chosen = empty((threads, plan.span * plan.pitch), tables[1].dtype)
        parts = empty((threads, plan.band * plan.sw * plan.places), g.dtype)
        _maxima_backward(stride[1])(*flat, shares, chosen, parts, *tables, plan)
    return (dx,)


@functools.lru_cache(maxsize=256)
def _max_plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> tuple[Plan, tuple[Array, ...]]:
    """The plan and its tables.

    Where the taps of a row are in a dealt line; where the rows of a window are among those of maxima; the numbers of
    the taps of the first row and of the first column; the first taps inside the image, by row and by column.
    """
    (kh, kw), (dh, _) = window, dilation
    plan, offsets = _forward_plan(images, image, size, window, stride, padding, dilation, 2, dtype)
    rows = np.arange(kh) * dh * plan.wide
    numbers = _numbers(max(kh, kw), dtype)
    firsts = [np.zeros(up(size[a], step), numbers.dtype) for a, step in enumerate((LINES, lanes(dtype)))]
    for a, first in enumerate(firsts):
        for i in range(size[a]):
            first[i] = geometry.inside(window[a], i * stride[a] - padding[a], dilation[a], image[a])[0]
    return plan, (offsets, rows, numbers[:kw], numbers[:kh] * kw, firsts[0] * kw, firsts[1])


@functools.cache
def _maxima(ways: int) -> Callable[..., None]:
    """Compile `max_pool2d` for a horizontal stride."""
    deal = dealer(ways)

    @kernel
    def compute(
        y: Any, taps: Any, x: Any, lines: Any, best: Any, chosen: Any, offsets: Any, rows: Any, numbers: Any,
        steps: Any, tops: Any, columns: Any, plan: Any
    ) -> None:  # fmt: skip
        threads = len(lines)
        for t in prange(threads):
            compute_share(
                t, threads, y, taps, x, lines[t], best[t], chosen[t], offsets, rows, numbers, steps, tops, columns, plan
            )

    @jit
    def compute_share(
        t: Any, threads: Any, y: Any, taps: Any, x: Any, lines: Any, best: Any, chosen: Any, offsets: Any, rows: Any,
        numbers: Any, steps: Any, tops: Any, columns: Any, plan: Any
    ) -> None:  # fmt: skip
        first, stop = _units(t, threads, plan)
        end, least = _end(stop, plan.oh, plan.ow, plan), x.dtype.type(-np.inf)
        _fill(lines, 0, len(lines), least)
        for unit in range(first, stop):
            n, i = unit // plan.bands, unit % plan.bands * plan.band
            for r in range(plan.span):
                row, to = i * plan.sh - plan.above + r, r * plan.sw * plan.pitch
                if 0 <= row < plan.h:
                    deal(lines, to + plan.left, x, (n * plan.h + row) * plan.w, 1, least, plan)
                else:
                    _fill(lines, to, to + plan.sw * plan.pitch, least)
            for r in range(0, plan.span, LINES):
                for q in range(0, plan.wide, width(x)):
                    _row_maxima(best, chosen, lines, r, q, offsets, numbers, columns, plan)
            for m in range(0, min(plan.band, plan.oh - i), LINES):
                to = (n * plan.oh + i + m) * plan.ow
                for q in range(plan.wide - width(x), -1, -width(x)):
                    top, tap = _column_maxima(best, chosen, m, q, i, rows, steps, tops, plan)
                    _put(y, to, q, end, top, plan)
                    _put(taps, to, q, end, tap, plan)

    return compute


@jit(forceinline=True)
def _row_maxima(
    best: Any, chosen: Any, lines: Any, r: Any, q: Any, offsets: Any, numbers: Any, columns: Any, plan: Any
) -> None:
    """The maxima of a row of taps. That of -inf only is the first that is inside the image."""
    step = plan.sw * plan.pitch
    corner, to = r * step + q, r * plan.wide + q
    top, tap = load(lines, corner + offsets[0], step, LINES, 1), load(columns, q, 0, LINES, 1)
    for v in range(1, len(offsets)):
        new = load(lines, corner + offsets[v], step, LINES, 1)
        wins = (new > top) | is_nan(new)
        top = select(wins, new, top)
        tap = select(wins, broadcast(numbers, v, 1), tap)
    store_whole(best, to, plan.wide, top)
    store_whole(chosen, to, plan.wide, tap)


@jit(forceinline=True)
def _column_maxima(best: Any, chosen: Any, m: Any, q: Any, i: Any, rows: Any, steps: Any, tops: Any, plan: Any) -> Any:
    """The maxima of a column of rows, and their taps."""
    step = plan.sh * plan.wide
    corner = m * step + q
    top = load(best, corner, step, LINES, 1)
    tap = load(chosen, corner, step, LINES, 1) + broadcast(tops, i + m, LINES)
    for u in range(1, len(rows)):
        new = load(best, corner + rows[u], step, LINES, 1)
        wins = (new > top) | is_nan(new)
        top = select(wins, new, top)
        tap = select(wins, load(chosen, corner + rows[u], step, LINES, 1) + broadcast(steps, u, 1), tap)
    return top, tap


@functools.lru_cache(maxsize=256)
def _max_backward_plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> tuple[Plan, tuple[Array, Array, Array]]:
    """The plan, and for each tap that an element can be under, where the position is then, and the tap's number.

    Rows r and columns c with the same remainders r % sh and c % sw are under the same taps: those from
    bounds[r % sh, c % sw] to the next of the bounds. Positions are those of the element (r // sh, c // sw) and further.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window, stride, padding, dilation
    plan = _backward_plan(images, image, size, window, stride, padding, dilation, dtype)
    taps = [(u * kw + v, u * dh - ph, v * dw - pw) for u in range(kh) for v in range(kw)]
    taps.sort(key=lambda tap: (tap[1] % sh, tap[2] % sw))
    offsets = [(plan.above - row // sh) * plan.pitch + plan.left - column // sw for _, row, column in taps]
    bounds = np.searchsorted([row % sh * sw + column % sw for _, row, column in taps], range(sh * sw + 1))
    return plan, (np.array(offsets), np.array([tap[0] for tap in taps], f"i{np.dtype(dtype).itemsize}"), bounds)


@functools.cache
def _maxima_backward(ways: int) -> Callable[..., None]:
    """Compile `max_pool2d_backward` for a horizontal stride."""
    collect = collector(ways)

    @kernel
    def compute(
        dx: Any, g: Any, taps: Any, shares: Any, chosen: Any, parts: Any, offsets: Any, numbers: Any, bounds: Any,
        plan: Any
    ) -> None:  # fmt: skip
        threads = len(parts)
        for t in prange(threads):
            compute_share(
                t, threads, dx, g, taps, shares[t], chosen[t], parts[t], offsets, numbers, bounds, plan
            )  # fmt: skip

    @jit
    def compute_share(
        t: Any, threads: Any, dx: Any, g: Any, taps: Any, shares: Any, chosen: Any, parts: Any, offsets: Any,
        numbers: Any, bounds: Any, plan: Any
    ) -> None:  # fmt: skip
        first, stop = _units(t, threads, plan)
        end = _end(stop, plan.h, plan.w, plan)
        _fill(shares, 0, len(shares), g.dtype.type(0))
        for unit in range(first, stop):
            n, r = unit // plan.bands, unit % plan.bands * plan.band
            for k in range(plan.span):
                _put_in_place(shares, chosen, g, taps, n, r // plan.sh - plan.above + k, k * plan.pitch, plan)
            for s in range(0, plan.band // plan.sh, LINES):
                for part in range(plan.sh * plan.sw):
                    for q in range(0, plan.places, width(g)):
                        _sum_of_mine(parts, shares, chosen, s, part, q, offsets, numbers, bounds, plan)
            for m in range(min(plan.band, plan.h - r)):
                collect(dx, (n * plan.h + r + m) * plan.w, end, parts, m * plan.sw * plan.places, plan)

    return compute


@jit(forceinline=True)
def _put_in_place(shares: Any, chosen: Any, g: Any, taps: Any, n: Any, i: Any, to: Any, plan: Any) -> None:
    """Copy a row of g and of the taps into the middle of longer ones; what is no row of g is zero."""
    if not 0 <= i < plan.oh:
        _fill(shares, to, to + plan.pitch, g.dtype.type(0))
        return
    start = (n * plan.oh + i) * plan.ow
    for q in range(0, plan.wide, width(g)):
        place = to + plan.left + q
        store_whole(shares, place, 0, load_line(g, start + q, plan.ow - q, 1, g.dtype.type(0)))
        if start + q + width(g) <= len(taps):
            store_whole(chosen, place, 0, load_wide(taps, start + q, None, chosen))
        else:
            store_whole(chosen, place, 0, load_wide(taps, start + q, plan.ow - q, chosen))


@jit(forceinline=True)
def _sum_of_mine(
    parts: Any, shares: Any, chosen: Any, s: Any, part: Any, q: Any, offsets: Any, numbers: Any, bounds: Any, plan: Any
) -> None:
    """A part of the rows s * sh + a, (s + 1) * sh + a, ...: each element gets from the positions that took it."""
    corner, size = s * plan.pitch + q, plan.sh * plan.sw * plan.places
    total = full(shares.dtype.type(0), LINES, 1)
    for k in range(bounds[part], bounds[part + 1]):
        at = corner + offsets[k]
        mine = load(chosen, at, plan.pitch, LINES, 1) == broadcast(numbers, k, 1)
        total = select(mine, total + load(shares, at, plan.pitch, LINES, 1), total)
    store_whole(parts, s * size + part * plan.places + q, size, total)


# ---- averages --------------------------------------------------------------------------------------------------------


def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """Average each window: see `reference.avg_pool2d`."""
    n, c, h, w = x.shape
    if (h, w) == kernel_size and padding == (0, 0):
        return over_axes(SUM, np.ascontiguousarray(x), (2, 3)).reshape(n, c, 1, 1) / x.dtype.type(h * w)
    size = _size((h, w), kernel_size, stride, padding, (1, 1), ceil_mode)
    y = empty((n, c, *size), x.dtype)
    if y.size == 0:
        return y
    flat = y.reshape(-1), np.ascontiguousarray(x).reshape(-1)
    if _tiled((h, w), size, kernel_size, stride, padding):
        tiling.averages(stride[1])(*flat, size[1], kernel_size[0], get_num_threads())
    else:
        plan, offsets = _forward_plan(n * c, (h, w), size, kernel_size, stride, padding, (1, 1), 0, x.dtype)
        counts = _counts((h, w), size, kernel_size, stride, padding, count_include_pad, x.dtype)
        lines = empty((get_num_threads(), plan.band * plan.sw * plan.pitch), x.dtype)
        _averages(stride[1])(*flat, lines, offsets, kernel_size[0], *counts, plan)
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
    n, c, *image = shape
    h, w = image
    dx = empty(shape, g.dtype)
    if dx.size == 0:
        return dx
    flat = dx.reshape(-1), np.ascontiguousarray(g).reshape(-1)
    if (h, w) == kernel_size and padding == (0, 0):
        tiling.repeat(*flat, h * w, get_num_threads())
        return dx
    if _tiled((h, w), g.shape[2:], kernel_size, stride, padding):
        tiling.averages_backward(stride[1])(*flat, g.shape[3], kernel_size[0], get_num_threads())
        return dx
    plan, reach, offsets, bounds = _average_backward_plan(
        n * c, (h, w), g.shape[2:], kernel_size, stride, padding, g.dtype
    )
    counts = _counts((h, w), g.shape[2:], kernel_size, stride, padding, count_include_pad, g.dtype)
    threads = get_num_threads()
    shares = empty((threads, plan.span * plan.pitch), g.dtype)
    parts = empty((threads, plan.sw * plan.places), g.dtype)
    sums = empty((threads, plan.span * plan.sw * plan.places), g.dtype)
    _averages_backward(stride[1])(*flat, shares, parts, sums, reach, offsets, bounds, *counts, plan)
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


@functools.cache
def _averages(ways: int) -> Callable[..., None]:
    """Compile `avg_pool2d` for a horizontal stride."""
    deal = dealer(ways)

    @kernel
    def compute(
        y: Any, x: Any, lines: Any, offsets: Any, height: Any, rows: Any, columns: Any, plan: Any
    ) -> None:  # fmt: skip
        threads = len(lines)
        for t in prange(threads):
            compute_share(t, threads, y, x, lines[t], offsets, height, rows, columns, plan)

    @jit
    def compute_share(
        t: Any, threads: Any, y: Any, x: Any, lines: Any, offsets: Any, height: Any, rows: Any, columns: Any, plan: Any
    ) -> None:
        first, stop = _units(t, threads, plan)
        end, zero = _end(stop, plan.oh, plan.ow, plan), x.dtype.type(0)
        _fill(lines, 0, len(lines), zero)
        for unit in range(first, stop):
            n, i = unit // plan.bands, unit % plan.bands * plan.band
            for m in range(min(plan.band, plan.oh - i)):
                start = (i + m) * plan.sh - plan.above
                top, bottom = max(0, start), min(plan.h, start + height)
                to = m * plan.sw * plan.pitch + plan.left
                deal(lines, to, x, (n * plan.h + top) * plan.w, bottom - top, zero, plan)
            for m in range(0, min(plan.band, plan.oh - i), LINES):
                to = (n * plan.oh + i + m) * plan.ow
                for q in range(plan.wide - width(x), -1, -width(x)):
                    count = broadcast(rows, i + m, LINES) * load(columns, q, 0, 1, 1)
                    _put(y, to, q, end, _row_sum(lines, m, q, offsets, plan) / count, plan)

    return compute


@jit(forceinline=True)
def _row_sum(lines: Any, m: Any, q: Any, offsets: Any, plan: Any) -> Any:
    step = plan.sw * plan.pitch
    corner = m * step + q
    total = load(lines, corner + offsets[0], step, LINES, 1)
    for v in range(1, len(offsets)):
        total = total + load(lines, corner + offsets[v], step, LINES, 1)
    return total


@functools.lru_cache(maxsize=256)
def _average_backward_plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dtype: Any
) -> tuple[Plan, Array, Array, Array]:
    """The plan, for each row the first position that reaches it and that after the last, and the same for columns.

    Columns c with the same remainder c % sw are reached alike: from c // sw, by the distances in `offsets` from
    bounds[c % sw] to the next of the bounds.
    """
    (h, _), (kh, kw), (sh, sw), (ph, pw) = image, window, stride, padding
    plan = _backward_plan(images, image, size, window, stride, padding, (1, 1), dtype)
    row = np.arange(h) + ph
    stop = np.minimum(row // sh + 1, size[0])
    reach = np.stack([np.minimum(np.maximum(0, -((kh - 1 - row) // sh)), stop), stop], axis=1)
    columns = sorted(range(-pw, kw - pw), key=lambda column: column % sw)
    bounds = np.searchsorted([column % sw for column in columns], range(sw + 1))
    return plan, reach, np.array([plan.left - column // sw for column in columns]), bounds


@functools.cache
def _averages_backward(ways: int) -> Callable[..., None]:
    """Compile `avg_pool2d_input` for a horizontal stride."""
    collect = collector(ways)

    @kernel
    def compute(
        dx: Any, g: Any, shares: Any, parts: Any, sums: Any, reach: Any, offsets: Any, bounds: Any, rows: Any,
        columns: Any, plan: Any
    ) -> None:  # fmt: skip
        threads = len(shares)
        for t in prange(threads):
            compute_share(
                t, threads, dx, g, shares[t], parts[t], sums[t], reach, offsets, bounds, rows, columns, plan
            )  # fmt: skip

    @jit
    def compute_share(
        t: Any, threads: Any, dx: Any, g: Any, shares: Any, parts: Any, sums: Any, reach: Any, offsets: Any,
        bounds: Any, rows: Any, columns: Any, plan: Any
    ) -> None:  # fmt: skip
        first, stop = _units(t, threads, plan)
        end = _end(stop, plan.h, plan.w, plan)
        _fill(shares, 0, len(shares), g.dtype.type(0))
        for unit in range(first, stop):
            n, r = unit // plan.bands, unit % plan.bands * plan.band
            low, last = reach[r, 0], min(r + plan.band, plan.h)
            high = reach[last - 1, 1]
            for i in range(low, high):
                _share_out(shares, (i - low) * plan.pitch + plan.left, g, n, i, rows, columns, plan)
            for k in range(high - low):
                _spread_row(parts, shares, k * plan.pitch, offsets, bounds, plan)
                collect(sums, k * plan.sw * plan.places, len(sums), parts, 0, plan)
            for row in range(r, last):
                _column_sum(dx, (n * plan.h + row) * plan.w, end, sums, reach[row, 0] - low, reach[row, 1] - low, plan)

    return compute


@jit(forceinline=True)
def _share_out(shares: Any, to: Any, g: Any, n: Any, i: Any, rows: Any, columns: Any, plan: Any) -> None:
    """Divide a row of g by the counts of its windows."""
    start = (n * plan.oh + i) * plan.ow
    for q in range(0, plan.wide, width(g)):
        count = broadcast(rows, i, 1) * load(columns, q, 0, 1, 1)
        store_whole(shares, to + q, 0, load_line(g, start + q, plan.ow - q, 1, g.dtype.type(0)) / count)


@jit(forceinline=True)
def _spread_row(parts: Any, shares: Any, start: Any, offsets: Any, bounds: Any, plan: Any) -> None:
    """The sums along a row of the shares that reach each column, as parts."""
    for p in range(plan.sw):
        for q in range(0, plan.places, width(shares)):
            total = full(shares.dtype.type(0), 1, 1)
            for k in range(bounds[p], bounds[p + 1]):
                total = total + load(shares, start + q + offsets[k], 0, 1, 1)
            store_whole(parts, p * plan.places + q, 0, total)


@jit(forceinline=True)
def _column_sum(dx: Any, to: Any, end: Any, sums: Any, first: Any, stop: Any, plan: Any) -> None:
    """A row of dx: the sum of some rows."""
    pitch = plan.sw * plan.places
    for e in range((plan.w - 1) // width(dx) * width(dx), -1, -width(dx)):
        total = full(sums.dtype.type(0), 1, 1)
        for k in range(first, stop):
            total = total + load(sums, k * pitch + e, 0, 1, 1)
        if to + e + width(dx) <= end:
            store_whole(dx, to + e, 0, total)
        else:
            store(dx, to + e, 0, 1, plan.w - e, total)


# ---- what both have in common ----------------------------------------------------------------------------------------


def _size(image: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    axes = zip(image, kernel_size, stride, padding, dilation, strict=True)
    oh, ow = (geometry.output_size(*axis, ceil_mode) for axis in axes)
    return oh, ow


def _tiled(image: Pair, size: Pair, kernel_size: Pair, stride: Pair, padding: Pair) -> bool:
    """Whether the windows tile the image, so that `tiling` has the faster kernels."""
    covered = size[0] * stride[0], size[1] * stride[1]
    return kernel_size == stride and padding == (0, 0) and covered == image and stride[1] <= tiling.MOST


@functools.lru_cache(maxsize=256)
def _numbers(count: int, dtype: Any) -> Array:
    """0, 1, ... as integers as wide as the elements."""
    return np.arange(count, dtype=f"i{np.dtype(dtype).itemsize}")


@functools.lru_cache(maxsize=256)
def _forward_plan(
    images: int,
    image: Pair,
    size: Pair,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    copies: int,
    dtype: Any,
) -> tuple[Plan, Array]:
    """The plan, and where the taps of a row are in a dealt line; so many `copies` of a line of positions are kept."""
    (h, w), (oh, ow), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = image, size, window, stride, padding, dilation
    vector = lanes(dtype)
    columns = np.arange(kw) * dw - pw
    wide, places, left = up(ow, vector), up(-(-w // sw), vector), up(-(-pw // sw), vector)
    pitch = left + up(max(places, (kw * dw - dw - pw) // sw + wide), vector)
    fitting = ELEMENTS // (sw * pitch + copies * wide)
    if copies:  # for each row of the image, not of positions
        fitting = (fitting - (kh - 1) * dh - 1) // sh + 1
    band = band_of(oh, fitting, LINES)
    span = up((band - 1) * sh + (kh - 1) * dh + 1, LINES)
    bands = -(-oh // band)
    plan = Plan(h, w, oh, ow, sh, sw, ph, left, places, pitch, wide, span, band, bands, images)
    return plan, columns % sw * pitch + left + columns // sw


def _backward_plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> Plan:
    (h, w), (oh, ow), (sh, sw) = image, size, stride
    vector = lanes(dtype)
    above, before = (max(0, (k * d - d - p) // s) for k, s, p, d in zip(window, stride, padding, dilation, strict=True))
    wide, places, left = up(ow, vector), up(-(-w // sw), vector), up(before, vector)
    pitch = left + up(max(wide, places - (-padding[1] // sw)), vector)
    fitting = ELEMENTS // (2 * pitch + sh * sw * places) * sh
    band = band_of(h, fitting, LINES * sh)
    span = above + band // sh - (-padding[0] // sh) + 1
    return Plan(h, w, oh, ow, sh, sw, above, left, places, pitch, wide, span, band, -(-h // band), images)


@jit(forceinline=True)
def _units(t: Any, threads: Any, plan: Any) -> Any:
    """The bands, of all images, that are thread t's."""
    units = plan.images * plan.bands
    return t * units // threads, (t + 1) * units // threads


@jit(forceinline=True)
def _end(stop: Any, height: Any, width: Any, plan: Any) -> Any:
    """Where the rows of the bands before `stop` end, in an array of images."""
    n, band = (stop - 1) // plan.bands, (stop - 1) % plan.bands
    return (n * height + min(height, (band + 1) * plan.band)) * width


@jit(forceinline=True)
def _fill(x: Any, first: Any, stop: Any, value: Any) -> None:
    for e in range(first, stop, width(x)):
        store_whole(x, e, 0, full(value, 1, 1))


@jit(forceinline=True)
def _put(y: Any, to: Any, q: Any, end: Any, tile: Any, plan: Any) -> None:
    """Write vectors of some rows at y[to + q]; up to y[end] anything may be written beyond."""
    if to + (LINES - 1) * plan.ow + q + width(y) <= end:
        store_whole(y, to + q, plan.ow, tile)
    else:
        store(y, to + q, plan.ow, (end - to) // plan.ow, plan.ow - q, tile)
