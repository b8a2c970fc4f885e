"""Max-pooling on the CPU.

The taps of a window are compared in raster order: one wins that is larger than the best so far, or NaN. Windows are
separable: the best of each row of taps is found first, once for all windows that share it. Backward, each element goes
to the pixel that its window took.
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
    band_dealer,
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
from minigrad.kernels.cpu.reduce import MAX
from minigrad.kernels.cpu.simd import (
    as_integers,
    broadcast,
    collect,
    first_true,
    full,
    full_like,
    is_nan,
    lanes,
    load,
    load_first,
    load_wide,
    row,
    select,
    store_first,
    store_whole,
    width,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

_largest = MAX.over_run


def max_pool2d(
    x: Array, residuals: bool, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Take the maximum of each window, and remember the tap that has it: see `reference.max_pool2d_argmax`."""
    n, c, *image = x.shape
    h, w = image
    size = pooled_size((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    y = empty((n, c, *size), x.dtype)
    taps = empty((n, c, *size), np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)
    if y.size == 0:
        return y, (taps,)
    flat, threads = (y.ravel(), taps.ravel(), x.ravel()), get_num_threads()
    window = (h, w), size, kernel_size, stride, padding, dilation
    if tiles(*window):
        _tiles(stride[1])(n * c * size[0], threads, *flat, size[1], kernel_size[0])
    elif (kernel_size, padding, dilation) == ((h, w), (0, 0), (1, 1)):
        _images(n * c, threads, *flat, h * w)
    else:
        plan, tables = _plan(n * c, *window, x.dtype)
        lines = workspaces(threads, plan.span * plan.sw * plan.pitch, x.dtype)
        best = workspaces(threads, plan.span * plan.wide, x.dtype)
        chosen = workspaces(threads, plan.span * plan.wide, tables[-1].dtype)
        _windows(stride[1])(plan.images * plan.bands, threads, *flat, lines, best, chosen, *tables, tuple(plan))
    return y, (taps,)


def max_pool2d_argmax(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Find the maximum of each window: see `reference.max_pool2d_argmax`."""
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    _, (taps,) = max_pool2d(x, True, ceil_mode=ceil_mode, **options)
    u, v = np.divmod(taps.astype(np.int64), kernel_size[1])
    top, left = (np.arange(taps.shape[2 + a]) * stride[a] - padding[a] for a in (0, 1))
    return (top[:, None] + u * dilation[0]) * x.shape[3] + left + v * dilation[1]


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
    n, c, h, w = x.shape
    dx, (oh, ow) = empty(x.shape, g.dtype), g.shape[2:]
    flat, threads = (dx.ravel(), g.ravel(), taps.ravel()), get_num_threads()
    if dx.size and tiles((h, w), (oh, ow), kernel_size, stride, padding, dilation):
        numbers = np.arange(kernel_size[0] * kernel_size[1], dtype=f"i{g.itemsize}")
        _tiles_backward(stride[1])(n * c * oh, threads, *flat, numbers, ow, kernel_size[0])
    elif dx.size:
        steps = np.add.outer(np.arange(kernel_size[0]) * dilation[0] * w, np.arange(kernel_size[1]) * dilation[1])
        _windows_backward(n * c, threads, *flat, steps.ravel(), h, w, oh, ow, *stride, *padding)
    return (dx,)


@jit(forceinline=True)
def _challenge(top: Any, tap: Any, new: Any, number: Any) -> Any:
    """The best so far and their taps, after a tap of this number."""
    wins = (new > top) | is_nan(new)
    return select(wins, new, top), select(wins, full_like(tap, number), tap)


# ---- windows that tile the images ------------------------------------------------------------------------------------


@functools.cache
def _tiles(ways: int) -> Callable[..., None]:
    """Compile the maxima of windows of so many columns: row r of y lies under the rows r * kh, ... of all images."""
    read = window_reader(ways)

    @shared
    def compute(_: Any, first: Any, stop: Any, y: Any, taps: Any, x: Any, columns: Any, kh: Any) -> None:
        lanes, end = width(y), stop * columns
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                at, to, rest = (r * kh * columns + q) * ways, r * columns + q, columns - q
                top, tap = full(x.dtype.type(-np.inf), 1, 1), as_integers(full(x.dtype.type(0), 1, 1))
                for u in range(kh):
                    seen = read(x, at + u * columns * ways, rest)
                    top, tap = _challenge(top, tap, row(seen, 0), u * ways)
                    if ways > 1:
                        top, tap = _challenge(top, tap, row(seen, 1), u * ways + 1)
                    if ways > 2:
                        top, tap = _challenge(top, tap, row(seen, 2), u * ways + 2)
                    if ways > 3:
                        top, tap = _challenge(top, tap, row(seen, 3), u * ways + 3)
                put(y, to, end, rest, top)
                put(taps, to, end, rest, tap)

    return compute


@functools.cache
def _tiles_backward(ways: int) -> Callable[..., None]:
    """Compile the adjoint: each element of g at the tap of its window, zeros at the others."""

    @shared
    def compute(_: Any, first: Any, stop: Any, dx: Any, g: Any, taps: Any, numbers: Any, columns: Any, kh: Any) -> None:
        lanes, end = width(g), stop * columns * kh * ways
        zero = full(g.dtype.type(0), 1, 1)
        for r in range(first, stop):
            for q in range((columns - 1) // lanes * lanes, -1, -lanes):
                at, rest = r * columns + q, columns - q
                whole = at + lanes <= len(g)
                share = load_first(g, at, lanes if whole else rest, 0)
                tap = load_wide(taps, at, None, numbers) if whole else load_wide(taps, at, rest, numbers)
                for u in range(kh):
                    mine = collect(select(tap == broadcast(numbers, u * ways, ways), share, zero))
                    put(dx, ((r * kh + u) * columns + q) * ways, end, rest * ways, mine)

    return compute


# ---- windows that are the images -------------------------------------------------------------------------------------


@shared
def _images(_: Any, first: Any, stop: Any, y: Any, taps: Any, x: Any, count: Any) -> None:
    """The maximum of each image of `count` pixels, and its place."""
    for n in range(first, stop):
        top, place = _largest(x, n * count, count), count
        for e in range((count - 1) // width(x) * width(x), -1, -width(x)):
            lane = first_true(load_first(x, n * count + e, count - e, -np.inf) == full(top, 1, 1))
            place = e + lane if lane < width(x) else place
        if place == count:  # only NaN equals nothing; the last one wins
            for e in range(count):
                place = e if np.isnan(x[n * count + e]) else place
        y[n], taps[n] = top, place


# ---- other windows ---------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> tuple[Plan, tuple[Array, ...]]:
    """The plan and its tables.

    Where the taps of a row are in a dealt line; where the rows of a window are among those of maxima; the first taps
    inside the image, by row and by column.
    """
    (kh, kw), (dh, _) = window, dilation
    plan, offsets = plan_lines(images, image, size, window, stride, padding, dilation, 2, dtype)
    firsts = [np.zeros(up(size[a], step), f"i{dtype.itemsize}") for a, step in enumerate((LINES, lanes(dtype)))]
    for a, first in enumerate(firsts):
        for i in range(size[a]):
            first[i] = geometry.inside(window[a], i * stride[a] - padding[a], dilation[a], image[a])[0]
    return plan, (offsets, np.arange(kh) * dh * plan.wide, firsts[0] * kw, firsts[1])


@functools.cache
def _windows(ways: int) -> Callable[..., None]:
    """Compile the maxima for a horizontal stride."""
    deal_band = band_dealer(ways)

    @shared
    def compute(
        t: Any, first: Any, stop: Any, y: Any, taps: Any, x: Any, lines_of: Any, best_of: Any, chosen_of: Any,
        offsets: Any, rows: Any, tops: Any, columns: Any, numbers: Any
    ) -> None:  # fmt: skip
        plan = Plan(*numbers)
        lines, best, chosen = lines_of[t], best_of[t], chosen_of[t]
        end, least = end_of(stop - 1, plan.oh, plan.ow, plan), x.dtype.type(-np.inf)
        fill(lines, 0, len(lines), least)
        for unit in range(first, stop):
            n, i = unit // plan.bands, unit % plan.bands * plan.band
            deal_band(lines, x, unit, least, plan)
            for r in range(0, plan.span, LINES):
                for q in range(0, plan.wide, width(x)):
                    _row_maxima(best, chosen, lines, r, q, offsets, columns, plan)
            for m in range(0, min(plan.band, plan.oh - i), LINES):
                to = (n * plan.oh + i + m) * plan.ow
                for q in range(plan.wide - width(x), -1, -width(x)):
                    top, tap = _column_maxima(best, chosen, m, q, i, rows, tops, len(offsets), plan)
                    put_lines(y, to, q, end, top, plan)
                    put_lines(taps, to, q, end, tap, plan)

    return compute


@jit(forceinline=True)
def _row_maxima(best: Any, chosen: Any, lines: Any, r: Any, q: Any, offsets: Any, columns: Any, plan: Any) -> None:
    """The maxima of a row of taps. That of -inf only is the first that is inside the image."""
    step = plan.sw * plan.pitch
    corner, to = r * step + q, r * plan.wide + q
    top, tap = load(lines, corner + offsets[0], step, LINES, 1), load(columns, q, 0, LINES, 1)
    for v in range(1, len(offsets)):
        top, tap = _challenge(top, tap, load(lines, corner + offsets[v], step, LINES, 1), v)
    store_whole(best, to, plan.wide, top)
    store_whole(chosen, to, plan.wide, tap)


@jit(forceinline=True)
def _column_maxima(best: Any, chosen: Any, m: Any, q: Any, i: Any, rows: Any, tops: Any, kw: Any, plan: Any) -> Any:
    """The maxima of a column of rows, and their taps."""
    step = plan.sh * plan.wide
    corner = m * step + q
    top = load(best, corner, step, LINES, 1)
    tap = load(chosen, corner, step, LINES, 1) + broadcast(tops, i + m, LINES)
    for u in range(1, len(rows)):
        new = load(best, corner + rows[u], step, LINES, 1)
        wins = (new > top) | is_nan(new)
        top = select(wins, new, top)
        tap = select(wins, load(chosen, corner + rows[u], step, LINES, 1) + full_like(tap, u * kw), tap)
    return top, tap


@shared
def _windows_backward(
    _: Any, first: Any, stop: Any, dx: Any, g: Any, taps: Any, steps: Any, h: Any, w: Any, oh: Any, ow: Any, sh: Any,
    sw: Any, ph: Any, pw: Any
) -> None:  # fmt: skip
    """Add each element of g to the pixel `steps` of its tap from the corner of its window; image by image."""
    for n in range(first, stop):
        _clear(dx, n * h * w, (n + 1) * h * w)
        for i in range(oh):
            corner, at = n * h * w + (i * sh - ph) * w - pw, (n * oh + i) * ow
            for j in range(ow):
                k = np.uintp(at + j)  # unsigned, or numba asks whether it counts from the end
                dx[np.uintp(corner + j * sw + steps[np.uintp(taps[k])])] += g[k]


@jit(forceinline=True)
def _clear(x: Any, first: Any, stop: Any) -> None:
    """Write zeros, as vectors: of a plain loop LLVM makes a call of the C library, which takes three times as long."""
    zero = full(x.dtype.type(0), 1, 1)
    for e in range(first, stop, width(x)):
        store_first(x, e, stop - e, zero)
