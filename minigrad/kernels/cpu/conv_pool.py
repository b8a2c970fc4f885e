"""Convolution, bias, max-pooling and ReLU in one pass on the CPU; their gradient is in winners.py.

A tile holds pooled outputs: one after the other it computes what the convolution has at each place of their windows,
and keeps the largest. The convolution itself is never written.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu import conv, runs
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.runs import copy_runs
from minigrad.kernels.cpu.simd import broadcast, full, is_nan, lanes, registers, select, store
from minigrad.kernels.cpu.threads import get_num_threads
from minigrad.kernels.cpu.weights import pack_weights

Array = npt.NDArray[Any]
Pair = tuple[int, int]

LOSER = -1  # in place of a winner's place: ReLU let nothing through


def conv2d_pool(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    residuals: bool,
    padding: Pair,
    groups: int,
    pool: Pair,
    relu: bool,
) -> tuple[Array, tuple[Array, ...]]:
    """Compute relu(max_pool2d(conv2d(x, weight) + bias)), and in each window the place (0 1 ...) of the winner."""
    (n, _, *image), (o, depth, kh, kw) = x.shape, weight.shape
    oh, ow = ((side + 2 * p - k + 1) // q for side, p, k, q in zip(image, padding, (kh, kw), pool, strict=True))
    y, winners = empty((n, o, oh, ow), x.dtype), empty((n, o, oh, ow), np.int8)
    if y.size == 0:
        return y, (winners,)
    plan, taps = _plan(tuple(image), (oh, ow), (kh, kw), pool, padding, depth)
    rows, size = rows_of_tile(o // groups), depth * kh * kw
    tiles = -(-o // groups // rows)
    packed, _ = pack_weights([weight], groups, rows)
    biases = zeros((groups * tiles * rows,), x.dtype)
    biases.reshape(groups, -1)[:, : o // groups] = bias.reshape(groups, -1)
    scratch = zeros((get_num_threads(), plan.size), x.dtype)  # lanes beyond a run see it: were it denormal, slowly
    at_once = -(-size // -(-size // conv.DEPTH))  # taps of one sum
    compute = maxima(lanes(x.dtype), rows)
    flat = y.reshape(-1), winners.reshape(-1), np.ascontiguousarray(x).reshape(-1)
    compute(
        n * groups * -(-oh // plan.rows), len(scratch), *flat, packed, biases, scratch, plan, taps,
        size, at_once, groups, o // groups, depth, oh, relu
    )  # fmt: skip
    return y, (winners,)


@functools.lru_cache(maxsize=256)
def _plan(image: Pair, size: Pair, kernel: Pair, pool: Pair, padding: Pair, channels: int) -> tuple[runs.Runs, Array]:
    """The plan for windows of all that the places of one pooling window see, and the taps of each place."""
    window = kernel[0] + pool[0] - 1, kernel[1] + pool[1] - 1
    room = max(1, runs.ELEMENTS // (channels * window[1] * (min(pool[0], window[0]) + 1)))
    plan = runs.plan_runs(image, size, window, pool, padding, (1, 1), channels, room, None)
    seen = np.lib.stride_tricks.sliding_window_view(plan.taps.reshape(channels, *window), kernel, axis=(1, 2))
    return plan, seen.transpose(1, 2, 0, 3, 4).reshape(-1)


@functools.cache
def rows_of_tile(outputs: int) -> int:
    """Choose how many outputs are computed together: their sums, maxima and winners have to fit into the registers."""
    most = max(1, (registers() - 2) // 3)
    return -(-outputs // -(-outputs // most))


@functools.cache
def maxima(lanes: int, rows: int) -> Callable[..., None]:
    """Compile `conv2d_pool` for tiles of so many outputs by one vector of positions."""
    integer = np.int32 if lanes == 16 else np.int64  # as many lanes as the floats
    product = conv.products(rows, 1)

    @shared
    def compute(
        thread: Any, first: Any, stop: Any, y: Any, winners: Any, x: Any, weight: Any, bias: Any, scratch: Any,
        plan: Any, taps: Any, depth: Any, at_once: Any, groups: Any, outputs: Any, channels: Any, height: Any, relu: Any
    ) -> None:  # fmt: skip
        for block in range(first, stop):
            compute_block(
                y, winners, x, weight, bias, scratch[thread], plan, taps,
                depth, at_once, block, groups, outputs, channels, height, relu
            )  # fmt: skip

    @jit
    def compute_block(
        y: Any, winners: Any, x: Any, weight: Any, bias: Any, copy: Any, plan: Any, taps: Any,
        depth: Any, at_once: Any, block: Any, groups: Any, outputs: Any, channels: Any, height: Any, relu: Any
    ) -> None:  # fmt: skip
        """Compute a group's outputs in one band of an image."""
        bands, tiles, plane = -(-height // plan.rows), -(-outputs // rows), height * plan.width
        i, row = block // bands, block % bands * plan.rows
        copy_runs(copy, 0, x, i * channels * plan.height * plan.breadth, channels, row, plan)
        run = min(plan.rows, height - row) * plan.width
        for p in range(0, run, lanes):
            for tile in range(tiles):
                place = (i * outputs + tile * rows) * plane + row * plan.width + p
                first = (i % groups * tiles + tile) * rows
                compute_run(
                    y, winners, place, plane, min(rows, outputs - tile * rows), min(lanes, run - p),
                    copy, p, taps, weight, first * depth, depth, at_once, bias, first, relu
                )  # fmt: skip

    @jit(forceinline=True)
    def compute_run(
        y: Any, winners: Any, place: Any, plane: Any, height: Any, run: Any, x: Any, start: Any, taps: Any,
        weight: Any, first: Any, depth: Any, at_once: Any, bias: Any, output: Any, relu: Any
    ) -> None:  # fmt: skip
        zero = full(y.dtype.type(0), 1, 1)
        best = full(y.dtype.type(-np.inf), rows, 1)
        winner = full(integer(0), rows, 1)
        for r in range(len(taps) // depth):
            total = full(y.dtype.type(0), rows, 1)
            for k in range(0, depth, at_once):  # of a run's last vectors all lanes: what they see is in the copy
                count = min(at_once, depth - k)
                total = total + product(x, start, taps[r * depth + k :], weight, first + k * rows, count)
            total = total + broadcast(bias, output, rows)
            wins = (total > best) | is_nan(total)
            best, winner = select(wins, total, best), select(wins, full(integer(r), 1, 1), winner)
        if relu:
            winner = select(best > zero, winner, full(integer(LOSER), 1, 1))
            best = select((best > zero) | is_nan(best), best, zero)
        store(y, place, plane, height, run, best)
        store(winners, place, plane, height, run, winner)

    return compute
