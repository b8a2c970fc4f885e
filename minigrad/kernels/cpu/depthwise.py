"""Depthwise convolution on the CPU: each channel has a kernel of its own, so there is little to do for a pixel.

Runs as for other convolutions would take longer to copy than to use. The lines of a channel are dealt out once, with
their padding, and a tap sees some of them from a place of its own on; tiles are lines by vectors of positions.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.runs import Runs, clear, deal_lines, plan_runs
from minigrad.kernels.cpu.simd import (
    broadcast,
    fma,
    full,
    lanes,
    load,
    load_at,
    load_part,
    registers,
    store,
    store_whole,
    sum_lanes,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

NARROW = 12  # positions in a line, from which on a vector is filled well enough
POSITIONS = 4096  # in a band, about: its lines stay in the L1 cache
LINES = max(1, registers() // 8)  # of a tile
SLICES = 16  # into so many parts the batch is cut for the gradient of a weight
TAPS = 9 if registers() > 16 else 3  # whose sums over positions are in registers together


def pays(shape: tuple[int, ...], groups: int, size: Pair) -> bool:
    """Whether a weight of this shape is one for which the kernels here are faster than those of all convolutions."""
    return shape[:2] == (groups, 1) and groups > 1 and size[1] >= NARROW


def correlate(x: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Cross-correlate each channel with its kernel, to an output of any size and after any padding."""
    (n, c, *_), (oh, ow) = x.shape, size
    plan, taps = _plan(x.shape[2:], size, weight.shape[2:], stride, padding, dilation)
    columns = min(2, -(-ow // lanes(x.dtype)))
    beyond = LINES * plan.sw * plan.part + columns * lanes(x.dtype)  # what tiles at the end see of the rest
    scratch = empty((get_num_threads(), plan.size - plan.dealt + beyond), x.dtype)
    y = empty((n, c, oh, ow), x.dtype)
    flat = y.reshape(-1), np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(weight).reshape(-1)
    sums_over_taps(lanes(x.dtype), columns)(*flat, scratch, plan, taps, n, c, oh)
    return y


def conv2d_weight(g: Array, x: Array, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Compute the gradient of each channel's kernel: see `reference.conv2d_weight`."""
    n, c, oh, ow = g.shape
    plan, taps = _plan(x.shape[2:], (oh, ow), shape[2:], stride, padding, dilation)
    together = min(TAPS, len(taps))
    scratch = empty((get_num_threads(), plan.size - plan.dealt + together + lanes(x.dtype)), x.dtype)
    slices = min(n, SLICES)
    totals = np.zeros((slices, c, len(taps)))
    flat = np.ascontiguousarray(g).reshape(-1), np.ascontiguousarray(x).reshape(-1)
    sums_over_positions(lanes(x.dtype), together)(totals, *flat, scratch, plan, taps, n, c, oh)
    return totals.sum(axis=0).astype(x.dtype).reshape(shape)


@functools.lru_cache(maxsize=256)
def _plan(image: Pair, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> tuple[Runs, Array]:
    """The plan of one channel's lines, and where each tap begins in them."""
    plan = plan_runs(image, size, kernel, stride, padding, dilation, 1, POSITIONS, None)
    rows = np.arange(kernel[0]) * dilation[0]
    lines = rows % plan.sh * plan.span + rows // plan.sh
    return plan, (lines[:, None] * plan.sw * plan.part + plan.views).reshape(-1)


@functools.cache
def sums_over_taps(lanes: int, columns: int) -> Callable[..., None]:
    """Compile `correlate` for tiles of so many vectors a line."""
    wide = columns * lanes

    @kernel
    def compute(
        y: Any, x: Any, weight: Any, scratch: Any, plan: Any, taps: Any, n: Any, channels: Any, height: Any
    ) -> None:  # fmt: skip
        threads, images, bands = len(scratch), n * channels, -(-height // plan.rows)
        for t in prange(threads):
            for band in range(bands):
                clear(scratch[t], 0, scratch.shape[1])
                for i in range(t * images // threads, (t + 1) * images // threads):
                    compute_band(y, x, weight, scratch[t], plan, taps, i, i % channels, band * plan.rows, height)

    @jit
    def compute_band(
        y: Any, x: Any, weight: Any, lines: Any, plan: Any, taps: Any, i: Any, c: Any, row: Any, height: Any
    ) -> None:  # fmt: skip
        deal_lines(lines, 0, x, i * plan.height * plan.breadth, row, plan)
        line, count = plan.sw * plan.part, min(plan.rows, height - row)
        for q in range(0, count, LINES):
            for j in range(0, plan.width, wide):
                total = products(lines, q * line + j, line, taps, weight, c * len(taps))
                place = (i * height + row + q) * plan.width + j
                if q + LINES <= count and j + wide <= plan.width:
                    store_whole(y, place, plan.width, total)
                else:
                    store(y, place, plan.width, count - q, plan.width - j, total)

    @jit(forceinline=True)
    def products(lines: Any, start: Any, pitch: Any, taps: Any, weight: Any, first: Any) -> Any:
        total = full(lines.dtype.type(0), LINES, columns)
        for k in range(np.uintp(len(taps))):
            seen = load(lines, start + taps[k], pitch, LINES, columns)
            total = fma(broadcast(weight, np.uintp(first) + k, 1), seen, total)
        return total

    return compute


@functools.cache
def sums_over_positions(lanes: int, together: int) -> Callable[..., None]:
    """Compile `conv2d_weight` for so many taps at a time; the last ones may begin earlier, and are found twice."""

    @kernel
    def compute(
        totals: Any, g: Any, x: Any, scratch: Any, plan: Any, taps: Any, n: Any, channels: Any, height: Any
    ) -> None:  # fmt: skip
        threads, slices, bands = len(scratch), len(totals), -(-height // plan.rows)
        parts = (SLICES + slices - 1) // slices  # of the channels, where the batch is small
        for t in prange(threads):
            for job in range(t * slices * parts // threads, (t + 1) * slices * parts // threads):
                piece, part = job // parts, job % parts
                add_images(
                    totals[piece], g, x, scratch[t], plan, taps, piece * n // slices, (piece + 1) * n // slices,
                    part * channels // parts, (part + 1) * channels // parts, channels, bands, height
                )  # fmt: skip

    @jit
    def add_images(
        totals: Any, g: Any, x: Any, lines: Any, plan: Any, taps: Any, begin: Any, end: Any,
        first: Any, stop: Any, channels: Any, bands: Any, height: Any
    ) -> None:  # fmt: skip
        for band in range(bands):
            clear(lines, 0, len(lines))
            for i in range(begin, end):
                for c in range(first, stop):
                    add_band(totals[c], g, x, lines, plan, taps, i * channels + c, band * plan.rows, height)

    @jit
    def add_band(
        totals: Any, g: Any, x: Any, lines: Any, plan: Any, taps: Any, i: Any, row: Any, height: Any
    ) -> None:  # fmt: skip
        deal_lines(lines, 0, x, i * plan.height * plan.breadth, row, plan)
        first, count = (i * height + row) * plan.width, min(plan.rows, height - row)
        for k in range(0, len(taps), together):
            tap = min(k, len(taps) - together)
            sums = sum_lanes(products(g, first, lines, plan.sw * plan.part, taps, tap, count, plan.width))
            end = len(lines) - together - lanes
            store_whole(lines, end, 0, sums)
            for j in range(k - tap, together):
                totals[tap + j] += lines[end + j]

    @jit(forceinline=True)
    def products(
        g: Any, first: Any, lines: Any, pitch: Any, taps: Any, tap: Any, count: Any, width: Any
    ) -> Any:  # fmt: skip
        """The sums over positions of g and what each of some taps sees, lane by lane."""
        whole, total = width // lanes * lanes, full(g.dtype.type(0), 1, together)
        for q in range(count):
            for j in range(0, whole, lanes):
                seen = load_at(lines, q * pitch + j, taps, tap, together, None)
                total = fma(load(g, first + j, 0, 1, 1), seen, total)
            if whole < width:
                seen = load_at(lines, q * pitch + whole, taps, tap, together, width - whole)
                total = fma(load_part(g, first + whole, 0, 1, 1, 1, width - whole), seen, total)
            first += width
        return total

    return compute
