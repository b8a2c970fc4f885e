"""Convolution, bias, max-pooling and ReLU in one pass on the CPU; their gradient is in winners.py.

A tile holds pooled outputs: one after the other it computes what the convolution has at each place of their windows,
and keeps the largest. The convolution itself is never written.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu import conv, images, runs, sums
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import fill, up
from minigrad.kernels.cpu.memory import empty, workspaces, zeros
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.runs import copy_runs
from minigrad.kernels.cpu.simd import broadcast, full, is_nan, lanes, registers, select, store, store_at
from minigrad.kernels.cpu.sums import pack_weights, plan_packing
from minigrad.kernels.cpu.threads import get_num_threads

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
    if y.size == 0 or x.size == 0:  # all sums are of nothing
        y[...] = np.maximum(bias, 0 if relu else -np.inf).reshape(o, 1, 1)
        winners[...] = np.where(y > 0, 0, LOSER) if relu else 0
        return y, (winners,)
    full = images.fills(len(x), lanes(x.dtype))
    rows, columns = tile_of_maxima(o // groups, 2 if full else 1)
    size, step = depth * kh * kw, up(o // groups, rows)
    packed = pack_weights(weight, plan_packing(weight.shape, groups, rows))
    biases = zeros((groups * step,), x.dtype)
    biases.reshape(groups, -1)[:, : o // groups] = bias.reshape(groups, -1)
    at_once = -(-size // -(-size // sums.DEPTH))  # taps of one sum
    flat = y.ravel(), winners.ravel(), x.ravel(), packed, biases
    threads, bounds = get_num_threads(), (size, at_once, relu)
    if full:
        sizes, wide = (n, groups, depth, o // groups), lanes(x.dtype)
        args = sizes, (image[0], image[1]), (oh, ow), (kh, kw), pool, padding
        plan, taps, *tables = _plan_of_images(*args, wide, rows, threads)
        scratch = workspaces(threads, plan.size + plan.room, x.dtype)
        chosen = workspaces(threads, plan.room, np.dtype(f"i{x.itemsize}"))
        compute = maxima_of_images(wide, rows, columns)
        jobs = -(-n // wide) * groups * plan.bands
        compute(jobs, threads, *flat, scratch, chosen, plan, taps, *tables, bounds)
        return y, (winners,)
    plan, taps = _plan(tuple(image), (oh, ow), (kh, kw), pool, padding, depth)
    scratch = workspaces(threads, plan.size, x.dtype)
    scratch.fill(0)  # lanes beyond a run see it: were it denormal, slowly
    jobs = n * groups * -(-oh // plan.rows)
    maxima(lanes(x.dtype), rows)(jobs, threads, *flat, scratch, plan, taps, groups, o // groups, depth, oh, bounds)
    return y, (winners,)


@functools.lru_cache(maxsize=256)
def _plan(image: Pair, size: Pair, kernel: Pair, pool: Pair, padding: Pair, channels: int) -> tuple[runs.Runs, Array]:
    """The plan for windows of all that the places of one pooling window see, and the taps of each place."""
    window = kernel[0] + pool[0] - 1, kernel[1] + pool[1] - 1
    room = max(1, runs.ELEMENTS // (channels * window[1] * (min(pool[0], window[0]) + 1)))
    plan = runs.plan_runs(image, size, window, pool, padding, (1, 1), channels, room, None)
    seen = np.lib.stride_tricks.sliding_window_view(plan.taps.reshape(channels, *window), kernel, axis=(1, 2))
    return plan, seen.transpose(1, 2, 0, 3, 4).ravel()


@functools.lru_cache(maxsize=256)
def _plan_of_images(
    sizes: tuple[int, int, int, int], image: Pair, size: Pair, kernel: Pair, pool: Pair, padding: Pair,
    wide: int, rows: int, threads: int,
) -> Any:  # fmt: skip
    """The same for vectors of images, and the tables of places, pixels and copies."""
    window = kernel[0] + pool[0] - 1, kernel[1] + pool[1] - 1
    args = sizes, image, size, window, pool, padding, (1, 1), False, wide, rows, threads, True
    plan, _, _, taps, *tables = images.plan_bands(*args)
    seen = np.lib.stride_tricks.sliding_window_view(taps.reshape(sizes[2], *window), kernel, axis=(1, 2))
    return plan, seen.transpose(1, 2, 0, 3, 4).ravel(), *tables


@functools.cache
def tile_of_maxima(outputs: int, columns: int) -> Pair:
    """Choose how many outputs are computed together: their sums, maxima and winners have to fit into the registers."""
    most = max(1, (registers() - 2) // (3 * columns))
    return -(-outputs // -(-outputs // most)), columns


def winner_of_places(product: Callable[..., Any], rows: int, columns: int, integer: Any) -> Callable[..., Any]:
    """Compile the comparison of the places of windows: a tile of the largest sums, and one of their places."""

    @jit(forceinline=True)
    def compare(
        x: Any, start: Any, taps: Any, weight: Any, first: Any, bias: Any, output: Any, bounds: Any
    ) -> Any:  # fmt: skip
        depth, at_once, relu = bounds
        zero = weight.dtype.type(0)
        best = full(zero if relu else weight.dtype.type(-np.inf), rows, columns)
        winner = full(integer(0), rows, columns)
        for r in range(len(taps) // depth):
            total = full(zero, rows, columns)
            for k in range(0, depth, at_once):  # of a run's last vectors all lanes: what they see is in the copy
                count = min(at_once, depth - k)
                total = total + product(x, start, taps[r * depth + k :], weight, first + k * rows, count)
            total = total + broadcast(bias, output, rows)
            wins = (total > best) | is_nan(total)
            best, winner = select(wins, total, best), select(wins, full(integer(r), 1, 1), winner)
        if relu:
            winner = select(best > full(zero, 1, 1), winner, full(integer(LOSER), 1, 1))
        return best, winner

    return compare


@functools.cache
def maxima(lanes: int, rows: int) -> Callable[..., None]:
    """Compile `conv2d_pool` for tiles of so many outputs by one vector of positions."""
    compare = winner_of_places(conv.products(rows, 1), rows, 1, np.int32 if lanes == 16 else np.int64)

    @shared
    def compute(
        thread: Any, begin: Any, end: Any, y: Any, winners: Any, x: Any, weight: Any, bias: Any, scratch: Any,
        plan: Any, taps: Any, groups: Any, outputs: Any, channels: Any, height: Any, bounds: Any
    ) -> None:  # fmt: skip
        copy, bands, tiles, plane = scratch[thread], -(-height // plan.rows), -(-outputs // rows), height * plan.width
        for block in range(begin, end):
            i, row = block // bands, block % bands * plan.rows
            copy_runs(copy, 0, x, i * channels * plan.height * plan.breadth, channels, row, plan)
            run = min(plan.rows, height - row) * plan.width
            for p in range(0, run, lanes):
                for tile in range(tiles):
                    place = (i * outputs + tile * rows) * plane + row * plan.width + p
                    output = (i % groups * tiles + tile) * rows
                    best, winner = compare(copy, p, taps, weight, output * bounds[0], bias, output, bounds)
                    store(y, place, plane, min(rows, outputs - tile * rows), min(lanes, run - p), best)
                    store(winners, place, plane, min(rows, outputs - tile * rows), min(lanes, run - p), winner)

    return compute


@functools.cache
def maxima_of_images(lanes: int, rows: int, columns: int) -> Callable[..., None]:
    """Compile `conv2d_pool` for tiles of so many outputs by positions of vectors of images."""
    integer = np.int32 if lanes == 16 else np.int64  # as many lanes as the floats
    copy_band, put_back = images.layout(lanes)

    @shared
    def compute(
        thread: Any, begin: Any, end: Any, y: Any, winners: Any, x: Any, weight: Any, bias: Any, scratch: Any,
        chosen: Any, plan: Any, taps: Any, places: Any, pixels: Any, copied: Any, bounds: Any
    ) -> None:  # fmt: skip
        copies, largest, tiles = scratch[thread, : plan.size], scratch[thread, plan.size :], -(-plan.outputs // rows)
        which = chosen[thread]
        fill(copies, 0, plan.size, x.dtype.type(0))
        for job in range(begin, end):
            band, group = job % plan.bands * plan.band, job // plan.bands % plan.groups
            image = job // plan.bands // plan.groups * lanes
            count, height = min(lanes, plan.n - image), min(plan.band, plan.oh - band)
            at = (image * plan.groups + group) * plan.channels * plan.h * plan.w
            copy_band(copies, x, at, count, plan.channels, band * plan.up - plan.top, copied, plan)
            for tile in range(tiles):
                output, to, p = (group * tiles + tile) * rows, tile * rows * plan.band * plan.ow * lanes, 0
                while p + columns <= height * plan.ow:
                    many(
                        largest, chosen[thread], to, copies, places, pixels, p, taps, weight, bias, output, bounds, plan
                    )
                    p += columns
                while p < height * plan.ow:
                    one(
                        largest, chosen[thread], to, copies, places, pixels, p, taps, weight, bias, output, bounds, plan
                    )
                    p += 1
            first = (image * plan.groups + group) * plan.outputs
            put_back(y, first, count, band, height, largest, plan)
            put_back(winners, first, count, band, height, which, plan)

    def comparer(columns: int) -> Callable[..., None]:
        compare = winner_of_places(images.products(rows, columns), rows, columns, integer)

        @jit(forceinline=True)
        def keep(
            largest: Any, chosen: Any, to: Any, copies: Any, places: Any, pixels: Any, p: Any, taps: Any,
            weight: Any, bias: Any, output: Any, bounds: Any, plan: Any
        ) -> None:  # fmt: skip
            best, winner = compare((copies, places), p, taps, weight, output * bounds[0], bias, output, bounds)
            store_at(largest, to, plan.band * plan.ow * lanes, pixels, p, None, best)
            store_at(chosen, to, plan.band * plan.ow * lanes, pixels, p, None, winner)

        return keep

    many, one = comparer(columns), comparer(1)
    return compute
