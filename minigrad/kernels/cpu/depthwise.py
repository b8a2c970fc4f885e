"""Depthwise convolution on the CPU: each channel has a kernel of its own, so there is little to do for a pixel.

Runs as for other convolutions would take longer to copy than to use. The lines of a channel are dealt out once, with
their padding, and taps see them from places of their own on. Taps above each other see the same lines, which are loaded
once for all of them: tiles are lines by vectors of positions, and loads are what takes the time.

While a thread computes one band, it has the next one dealt out already. What has just been stored is not there yet for
loads that begin elsewhere, and what comes from far away is asked for in time.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.generic import quiet
from minigrad.kernels.cpu.lines import LINES, Plan, band_dealer, end_of, fill, plan_lines, put_lines
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import (
    broadcast,
    fma_rows,
    full,
    lanes,
    load,
    load_at,
    load_grid,
    load_part,
    prefetch,
    registers,
    size,
    store_whole,
    sum_lanes,
    turn,
    width,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

NARROW = 12  # positions in a line, from which on a vector is filled well enough
TALL = 8  # taps above each other that may share what they load: it has to stay in the registers
SLICES = 16  # into so many parts the batch is cut for the gradient of a weight


def pays(shape: tuple[int, ...], groups: int, size: Pair) -> bool:
    """Whether a weight of this shape is one for which the kernels here are faster than those of all convolutions."""
    return shape[:2] == (groups, 1) and groups > 1 and size[1] >= NARROW


def correlate(x: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Cross-correlate each channel with its kernel, to an output of any size and after any padding."""
    (n, c, *image), threads = x.shape, get_num_threads()
    plan, taps, rows = _plan(n * c, tuple(image), size, weight.shape[2:], stride, padding, dilation, x.dtype)
    columns = min(2, plan.wide // lanes(x.dtype))
    y, scratch = empty((n, c, *size), x.dtype), _scratch(threads, plan, x.dtype)
    flat_weight = (weight.swapaxes(2, 3) if rows > 1 else weight).ravel()
    flat_y, flat_x = y.ravel(), x.ravel()
    compute = sums_over_taps(lanes(x.dtype), stride[1], rows, columns)
    compute(plan.images * plan.bands, threads, flat_y, flat_x, flat_weight, scratch, taps, c, tuple(plan))
    return y


def conv2d_weight(g: Array, x: Array, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Compute the gradient of each channel's kernel: see `reference.conv2d_weight`."""
    (n, c, *size), threads = g.shape, get_num_threads()
    plan, taps, rows = _plan(n * c, x.shape[2:], tuple(size), shape[2:], stride, padding, dilation, x.dtype)
    columns = max(1, min(len(taps), (registers() - LINES) // (2 * rows + LINES - 1)))
    slices = min(n, SLICES)
    parts = -(-SLICES // slices)  # of the channels, where the batch is small
    totals, scratch = np.zeros((slices, c, len(taps) * rows)), _scratch(threads, plan, x.dtype)
    flat_g, flat_x = g.ravel(), x.ravel()
    near = rows > 1 and stride[1] == dilation[1] == 1
    compute = sums_over_positions(lanes(x.dtype), stride[1], rows, columns, near)
    compute(slices * parts, threads, totals, flat_g, flat_x, scratch, taps, n, c, parts, tuple(plan))
    gradient = quiet(np.sum, totals, 0)
    gradient = quiet(gradient.astype, x.dtype)
    return gradient.reshape(c, 1, *shape[:1:-1]).swapaxes(2, 3) if rows > 1 else gradient.reshape(shape)


@functools.lru_cache(maxsize=256)
def _plan(
    images: int, image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, dtype: Any
) -> tuple[Plan, Array, int]:
    """The plan, where taps begin in the lines, and how many from there on, one above the other, see line after line."""
    plan, columns = plan_lines(images, image, size, window, stride, padding, dilation, 0, dtype)
    if stride[0] == dilation[0] == 1 and window[0] <= TALL:
        return plan, columns, window[0]
    rows = np.arange(window[0]) * dilation[0] * plan.sw * plan.pitch
    return plan, np.add.outer(rows, columns).ravel(), 1


def _scratch(threads: int, plan: Plan, dtype: Any) -> Array:
    """Memory for two bands a thread, each with two vectors more: a tile may stick out, or its sums need a place.

    Both share what lies between threads.
    """
    return workspaces(threads, 2 * (plan.span * plan.sw * plan.pitch + 2 * lanes(dtype)), dtype).reshape(threads, 2, -1)


@functools.cache
def sums_over_taps(lanes: int, ways: int, rows: int, columns: int) -> Callable[..., None]:
    """Compile `correlate` for a horizontal stride, taps above each other, and vectors of positions in a tile."""
    deal_band, wide, seen_lines = band_dealer(ways), columns * lanes, LINES + rows - 1

    @shared
    def compute(
        t: Any, first: Any, stop: Any, y: Any, x: Any, weight: Any, scratch: Any, taps: Any, channels: Any,
        numbers: Any
    ) -> None:  # fmt: skip
        plan, zero = Plan(*numbers), x.dtype.type(0)
        end = end_of(stop - 1, plan.oh, plan.ow, plan)
        for half in range(2):
            fill(scratch[t, half], 0, scratch.shape[2], zero)
        for unit in range(first, stop + 1):
            if unit < stop:
                deal_band(scratch[t, unit % 2], x, unit, zero, plan)
            if unit > first:
                sum_band(y, scratch[t, (unit - 1) % 2], weight, taps, unit - 1, channels, end, plan)

    @jit
    def sum_band(y: Any, lines: Any, weight: Any, taps: Any, unit: Any, channels: Any, end: Any, plan: Any) -> None:
        image, i = unit // plan.bands, unit % plan.bands * plan.band
        line, kernel = plan.sw * plan.pitch, image % channels * len(taps) * rows
        for m in range(0, min(plan.band, plan.oh - i), LINES):
            to = (image * plan.oh + i + m) * plan.ow
            for q in range((plan.wide - 1) // wide * wide, -1, -wide):
                total = products(lines, m * plan.sh * line + q, plan.sh * line, taps, weight, kernel)
                put_lines(y, to, q, end, total, plan)

    @jit(forceinline=True)
    def products(lines: Any, start: Any, pitch: Any, taps: Any, weight: Any, kernel: Any) -> Any:
        total = full(lines.dtype.type(0), LINES, columns)
        for k in range(len(taps)):
            seen = load(lines, start + taps[k], pitch, seen_lines, columns)
            total = fma_rows(broadcast(weight, kernel + k * rows, rows), seen, total)
        return total

    return compute


@functools.cache
def sums_over_positions(lanes: int, ways: int, rows: int, columns: int, near: bool) -> Callable[..., None]:
    """Compile `conv2d_weight` for a horizontal stride, taps above each other, and so many of these together.

    The last ones may begin earlier, and are found twice. They are `near` where each sees what is next to what the last
    one saw.
    """
    deal_band = band_dealer(ways)

    @shared
    def compute(
        t: Any, first: Any, stop: Any, totals: Any, g: Any, x: Any, scratch: Any, taps: Any, n: Any, channels: Any,
        parts: Any, numbers: Any
    ) -> None:  # fmt: skip
        plan, slices = Plan(*numbers), len(totals)
        for half in range(2):
            fill(scratch[t, half], 0, scratch.shape[2], x.dtype.type(0))
        for job in range(first, stop):
            piece, part = job // parts, job % parts
            add_images(
                totals[piece], g, x, scratch[t], taps, piece * n // slices, (piece + 1) * n // slices,
                part * channels // parts, (part + 1) * channels // parts, channels, plan
            )  # fmt: skip

    @jit
    def add_images(
        totals: Any, g: Any, x: Any, scratch: Any, taps: Any, begin: Any, end: Any, first: Any, stop: Any,
        channels: Any, plan: Any
    ) -> None:  # fmt: skip
        """Add the sums over some images of some channels: these are neighbours, and bands follow one another."""
        together = (stop - first) * plan.bands
        for k in range((end - begin) * together + 1):
            if k < (end - begin) * together:
                unit = ((begin + k // together) * channels + first) * plan.bands + k % together
                deal_band(scratch[k % 2], x, unit, x.dtype.type(0), plan)
            if k > 0:
                unit = ((begin + (k - 1) // together) * channels + first) * plan.bands + (k - 1) % together
                add_band(totals[unit // plan.bands % channels], g, scratch[(k - 1) % 2], taps, unit, plan)

    @jit
    def add_band(totals: Any, g: Any, lines: Any, taps: Any, unit: Any, plan: Any) -> None:
        image, i = unit // plan.bands, unit % plan.bands * plan.band
        count, at = min(plan.band, plan.oh - i), (image * plan.oh + i) * plan.ow
        for k in range(0, len(taps), columns):
            tap = min(k, len(taps) - columns)
            sums = sum_lanes(turn(products(g, at, lines, taps, tap, count, plan)))
            end = len(lines) - size(sums)
            store_whole(lines, end, 0, sums)
            for j in range((k - tap) * rows, columns * rows):
                totals[tap * rows + j] += lines[end + j]

    add_lines, add_line = _adder(LINES, rows, columns, near), _adder(1, rows, columns, near)

    @jit(forceinline=True)
    def products(g: Any, at: Any, lines: Any, taps: Any, tap: Any, count: Any, plan: Any) -> Any:
        """The sums over positions of g and what each of some taps sees, lane by lane."""
        total, whole = full(g.dtype.type(0), rows, columns), count // LINES * LINES
        pitch, band = plan.sh * plan.sw * plan.pitch, count * plan.ow
        for m in range(0, whole, LINES):
            total = add_lines(total, g, at + m * plan.ow, lines, m * pitch, pitch, taps, tap, plan.ow, band)
        for m in range(whole, count):
            total = add_line(total, g, at + m * plan.ow, lines, m * pitch, pitch, taps, tap, plan.ow, band)
        return total

    return compute


def _adder(height: int, rows: int, columns: int, near: bool) -> Callable[..., Any]:
    """Compile: add the products of so many lines of g and what taps see; as much of g's next band is asked for.

    The place of one tap is that of all that are near: the addresses of each by itself would not fit into the registers.
    """
    above = height + rows - 1

    @jit(forceinline=True)
    def add(
        total: Any, g: Any, at: Any, lines: Any, start: Any, pitch: Any, taps: Any, tap: Any, count: Any, band: Any
    ) -> Any:  # fmt: skip
        whole = count // width(g) * width(g)
        for j in range(0, whole, width(g)):
            prefetch(g, at + band + j * height, height)
            if near:
                seen = load_grid(lines, start + taps[tap] + j, pitch, 1, above, columns)
            else:
                seen = load_at(lines, start + j, pitch, above, taps, tap, columns, None)
            total = fma_rows(load(g, at + j, count, height, 1), seen, total)
        if whole < count:
            seen = load_at(lines, start + whole, pitch, above, taps, tap, columns, count - whole)
            given = load_part(g, at + whole, count, height, 1, height, count - whole)
            total = fma_rows(given, seen, total)
        return total

    return add
