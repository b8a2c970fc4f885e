"""Pooling on the CPU.

A line of an image is dealt out by the stride: with padding, element e goes to place e // stride of part e % stride.
Then what one tap of the window meets at neighbouring positions are neighbours, too, and vectors do the work: in a
forward pass each position gathers from its taps, in a backward pass each element from the positions that it is under.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels import geometry
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.conv import conv2d_input, correlate
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.simd import (
    broadcast,
    collect,
    deal,
    full,
    is_nan,
    lanes,
    load,
    registers,
    select,
    store,
    store_whole,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Shape = tuple[int, ...]


LINES = max(1, registers() // 8)  # lines of positions that are computed together


class Plan(NamedTuple):
    """The numbers of a pool."""

    sh: int  # the stride
    sw: int
    lead: int  # rows, and places, before those of the image
    left: int
    rows: int
    pitch: int  # from part to part of a line
    lanes: int  # of a vector


# ---- maxima ----------------------------------------------------------------------------------------------------------


def max_pool2d(
    x: Array, residuals: bool, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Take the maximum of each window, and remember the tap that has it: see `reference.max_pool2d_argmax`."""
    n, c, h, w = x.shape
    size = _size((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    y = empty((n * c, *size), x.dtype)
    taps = empty((n * c, *size), np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)
    if y.size:
        window = kernel_size, stride, padding, dilation
        plan, offsets, numbers = _forward_plan((h, w), size, *window, x.dtype)
        rows, columns = _first_taps((h, w), size, *window, plan.lanes, numbers.dtype)
        parts = np.full((get_num_threads(), plan.rows * plan.sw * plan.pitch), -np.inf, x.dtype)
        images = np.ascontiguousarray(x).reshape(n * c, h, w)
        _max(y, taps, images, parts, offsets, numbers, rows, columns, plan)
    return y.reshape(n, c, *size), (taps.reshape(n, c, *size),)


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
    (n, c, h, w), (oh, ow) = x.shape, g.shape[2:]
    dx = empty((n * c, h, w), g.dtype)
    if dx.size:
        window = kernel_size, stride, padding, dilation
        plan, offsets, numbers, bounds = _backward_plan((h, w), (oh, ow), *window, g.dtype)
        threads = get_num_threads()
        spread = zeros((threads, plan.rows * plan.pitch), g.dtype)
        chosen = zeros((threads, plan.rows * plan.pitch), numbers.dtype)
        dealt = empty((threads, LINES, plan.sw, up(-(-w // plan.sw), plan.lanes)), g.dtype)
        flat = (array.reshape(n * c, oh, ow) for array in (np.ascontiguousarray(g), taps))
        _max_backward(dx, *flat, spread, chosen, dealt, offsets, numbers, bounds, plan)
    return (dx.reshape(x.shape),)


# ---- averages, as convolutions with ones ---------------------------------------------------------------------------


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


def _counts(image: Any, size: Any, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool) -> Array:
    """The divisors of the windows (oh ow)."""
    rows, columns = (
        [geometry.averaged(i, *axis, count_include_pad) for i in range(size[a])]
        for a, axis in enumerate(zip(image, kernel_size, stride, padding, strict=True))
    )
    return np.outer(rows, columns)


# ---- geometry --------------------------------------------------------------------------------------------------------


def _size(image: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    axes = zip(image, kernel_size, stride, padding, dilation, strict=True)
    oh, ow = (geometry.output_size(*axis, ceil_mode) for axis in axes)
    return oh, ow


@functools.lru_cache(maxsize=256)
def _forward_plan(
    image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> tuple[Plan, Array, Array]:
    """The plan, where each tap of the first window is in a dealt image, and the taps' numbers."""
    (h, w), (oh, ow), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = image, size, window, stride, padding, dilation
    wide = lanes(dtype)
    left = -(-pw // sw)
    pitch = max(left + up(-(-w // sw), wide), left + (kw * dw - dw - pw) // sw + up(ow, wide))
    rows = max(ph + h, (up(oh, LINES) - 1) * sh + (kh - 1) * dh + 1)
    taps = [(u * dh, v * dw - pw) for u in range(kh) for v in range(kw)]
    offsets = [(row * sw + column % sw) * pitch + left + column // sw for row, column in taps]
    return Plan(sh, sw, ph, left, rows, pitch, wide), np.array(offsets), _numbers(kh * kw, dtype)


@functools.lru_cache(maxsize=256)
def _backward_plan(
    image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> tuple[Plan, Array, Array, Array]:
    """The plan, and for each tap that an element can be under, where the position is then, and the tap's number.

    Rows r and columns c with the same remainders r % sh and c % sw are under the same taps: those from
    bounds[r % sh, c % sw] to the next of the bounds. Positions are those of the element (r // sh, c // sw) and further.
    """
    (h, w), (oh, ow), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = image, size, window, stride, padding, dilation
    wide = lanes(dtype)
    lead, left = ((k * d - d - p) // s for k, s, p, d in zip(window, stride, padding, dilation, strict=True))
    lead, left = max(lead, 0), max(left, 0)
    pitch = left + max(ow, up(-(-w // sw), wide) + -(-pw // sw))
    rows = lead + max(oh, up(-(-h // sh), LINES) + -(-ph // sh))
    taps = [(u * kw + v, u * dh - ph, v * dw - pw) for u in range(kh) for v in range(kw)]
    taps.sort(key=lambda tap: (tap[1] % sh, tap[2] % sw))
    offsets = [(lead - row // sh) * pitch + left - column // sw for _, row, column in taps]
    parts = [row % sh * sw + column % sw for _, row, column in taps]
    bounds = np.searchsorted(parts, range(sh * sw + 1))
    numbers = _numbers(kh * kw, dtype)[[tap[0] for tap in taps]]
    return Plan(sh, sw, lead, left, rows, pitch, wide), np.array(offsets), numbers, bounds


def up(count: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-count // step) * step


def _first_taps(
    image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, wide: int, dtype: Any
) -> tuple[Array, Array]:
    """The numbers of the first taps that are inside the image: the sum of one for the row and one for the column."""
    firsts = []
    for a, step in enumerate((LINES, wide)):
        first = np.zeros(up(size[a], step), dtype)
        for i in range(size[a]):
            first[i] = geometry.inside(window[a], i * stride[a] - padding[a], dilation[a], image[a])[0]
        firsts.append(first)
    return firsts[0] * dtype.type(window[1]), firsts[1]


def _numbers(count: int, dtype: Any) -> Array:
    """0, 1, ... as integers as wide as the elements."""
    return np.arange(count, dtype=f"i{np.dtype(dtype).itemsize}")


@kernel
def _max(
    y: Any, taps: Any, x: Any, parts: Any, offsets: Any, numbers: Any, first: Any, columns: Any, plan: Any
) -> None:
    threads = len(parts)
    for t in prange(threads):
        for n in range(t * len(x) // threads, (t + 1) * len(x) // threads):
            _deal_image(parts[t], x[n], -np.inf, plan)
            for i in range(0, y.shape[1], LINES):
                for j in range(0, y.shape[2], plan.lanes):
                    _max_tile(y[n], taps[n], parts[t], i, j, offsets, numbers, first, columns, plan)


@jit
def _max_tile(
    y: Any, taps: Any, parts: Any, i: Any, j: Any, offsets: Any, numbers: Any, first: Any, columns: Any, plan: Any
) -> None:
    """The maxima of a vector of positions of each of some lines. The maximum of -inf only is the first pixel."""
    step = plan.sh * plan.sw * plan.pitch
    corner = i * step + j
    best = full(parts.dtype.type(-np.inf), LINES, 1)
    tap = load(columns, j, 0, 1, 1) + broadcast(first, i, LINES)
    for k in range(len(offsets)):
        new = load(parts, corner + offsets[k], step, LINES, 1)
        wins = (new > best) | is_nan(new)
        best = select(wins, new, best)
        tap = select(wins, broadcast(numbers, k, 1), tap)
    height, width = y.shape
    to = i * width + j
    if i + LINES <= height and j + plan.lanes <= width:
        store_whole(y, to, width, best)
        store_whole(taps, to, width, tap)
    else:
        store(y, to, width, height - i, width - j, best)
        store(taps, to, width, height - i, width - j, tap)


@kernel
def _max_backward(
    dx: Any,
    g: Any,
    taps: Any,
    spread: Any,
    chosen: Any,
    dealt: Any,
    offsets: Any,
    numbers: Any,
    bounds: Any,
    plan: Any,
) -> None:
    threads = len(dealt)
    for t in prange(threads):
        for n in range(t * len(dx) // threads, (t + 1) * len(dx) // threads):
            _spread(spread[t], g[n], plan)
            _spread(chosen[t], taps[n], plan)
            for r in range(0, dx.shape[1], plan.sh * LINES):
                for a in range(min(plan.sh, dx.shape[1] - r)):
                    _max_backward_rows(r // plan.sh, a, spread[t], chosen[t], dealt[t], offsets, numbers, bounds, plan)
                    for m in range(min(LINES, (dx.shape[1] - r - a + plan.sh - 1) // plan.sh)):
                        _collect_row(dx[n], r + m * plan.sh + a, dealt[t, m], plan)


@jit
def _spread(to: Any, x: Any, plan: Any) -> None:
    """Copy lines into the middle of longer ones."""
    for i in range(len(x)):
        start = (plan.lead + i) * plan.pitch + plan.left
        for j in range(np.uintp(x.shape[1])):
            to[np.uintp(start) + j] = x[i, j]


@jit
def _max_backward_rows(
    i: Any, a: Any, spread: Any, chosen: Any, dealt: Any, offsets: Any, numbers: Any, bounds: Any, plan: Any
) -> None:
    """Rows i * sh + a, (i + 1) * sh + a, ... of dx: the sum over the positions of which an element is the maximum."""
    _, parts, pitch = dealt.shape
    zero = full(spread.dtype.type(0), 1, 1)
    for p in range(parts):
        first, stop = bounds[a * parts + p], bounds[a * parts + p + 1]
        for q in range(0, pitch, plan.lanes):
            corner = i * plan.pitch + q
            total = full(spread.dtype.type(0), LINES, 1)
            for k in range(first, stop):
                start = corner + offsets[k]
                mine = load(chosen, start, plan.pitch, LINES, 1) == broadcast(numbers, k, 1)
                total = total + select(mine, load(spread, start, plan.pitch, LINES, 1), zero)
            store_whole(dealt, p * pitch + q, parts * pitch, total)


def _row_collector(ways: int) -> Any:
    @jit
    def collect_row(x: Any, start: Any, dealt: Any, plan: Any) -> None:
        width, pitch, block = x.shape[1], dealt.shape[1], ways * plan.lanes
        for q in range(0, pitch, plan.lanes):
            e = q * ways
            tile = load(dealt, q, pitch, ways, 1)
            if e + block <= width:
                collect(x, start + e, None, tile)
            else:
                collect(x, start + e, width - e, tile)

    return collect_row


_collect_1, _collect_2, _collect_3 = map(_row_collector, (1, 2, 3))


@jit
def _collect_row(x: Any, r: Any, dealt: Any, plan: Any) -> None:
    """Put the parts of a row together."""
    start = r * x.shape[1]
    if plan.sw == 1:
        _collect_1(x, start, dealt, plan)
    elif plan.sw == 2:
        _collect_2(x, start, dealt, plan)
    elif plan.sw == 3:
        _collect_3(x, start, dealt, plan)
    else:
        for e in range(x.shape[1]):
            x[r, e] = dealt[e % plan.sw, e // plan.sw]


def _row_dealer(ways: int) -> Any:
    @jit
    def deal_row(parts: Any, to: Any, x: Any, start: Any, rest: Any, plan: Any) -> None:
        width, block = x.shape[1], ways * plan.lanes
        e = 0
        for q in range(to, to + plan.pitch, plan.lanes):
            if e + block <= width:
                store_whole(parts, q, plan.pitch, deal(x, start + e, None, ways, rest))
            elif e < width:
                store_whole(parts, q, plan.pitch, deal(x, start + e, width - e, ways, rest))
            e += block

    return deal_row


_deal_1, _deal_2, _deal_3 = map(_row_dealer, (1, 2, 3))


@jit
def _deal_image(parts: Any, x: Any, rest: Any, plan: Any) -> None:
    """Deal the rows of an image out by the stride; `rest` comes after the end of each."""
    height, width = x.shape
    for r in range(height):
        to = (plan.lead + r) * plan.sw * plan.pitch + plan.left
        if plan.sw == 1:
            _deal_1(parts, to, x, r * width, rest, plan)
        elif plan.sw == 2:
            _deal_2(parts, to, x, r * width, rest, plan)
        elif plan.sw == 3:
            _deal_3(parts, to, x, r * width, rest, plan)
        else:
            for e in range(width):
                parts[to + e % plan.sw * plan.pitch + e // plan.sw] = x[r, e]
