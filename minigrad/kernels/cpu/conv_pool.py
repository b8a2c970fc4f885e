"""Convolution, bias, max-pooling and ReLU in one pass on the CPU, and their gradient.

Forward, a tile holds pooled outputs: one after the other it computes what the convolution has at each place of their
windows, and keeps the largest. The convolution itself is never written. Backward, only the winners have a gradient, so
both gradients of the convolution are sums over winners: of the pixels that a winner saw (for the weight), and of the
weights that it saw them with (for the image). With the channels last, each row of a window is one run of memory.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu import conv, runs
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.runs import copy_runs
from minigrad.kernels.cpu.simd import broadcast, fma, full, is_nan, lanes, load_part, registers, select, store
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

SLICES = 16  # into so many parts the batch is cut for the gradients
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
    (n, _, *image), (o, depth, kh, kw), (ph, pw) = x.shape, weight.shape, pool
    oh, ow = ((side + 2 * p - k + 1) // q for side, p, k, q in zip(image, padding, (kh, kw), pool, strict=True))
    y, winners = empty((n, o, oh, ow), x.dtype), empty((n, o, oh, ow), np.int8)
    if y.size == 0:
        return y, (winners,)
    window = kh + ph - 1, kw + pw - 1  # all that the convolution sees from the places of one pooling window
    room = max(1, runs.ELEMENTS // (depth * window[1] * (min(ph, window[0]) + 1)))
    plan = runs.plan_runs(tuple(image), (oh, ow), window, pool, padding, (1, 1), depth, room, None)
    seen = np.lib.stride_tricks.sliding_window_view(plan.taps.reshape(depth, *window), (kh, kw), axis=(1, 2))
    taps = seen.transpose(1, 2, 0, 3, 4).reshape(ph * pw, depth * kh * kw)  # for each place in the pooling window
    rows, columns = tile_of_maxima(o // groups)
    tiles = -(-o // groups // rows)
    packed = empty((groups * tiles * taps.shape[1] * rows,), x.dtype)
    conv.pack_weights(packed, np.ascontiguousarray(weight).reshape(-1), groups, o // groups, taps.shape[1], rows)
    biases = zeros((groups * tiles * rows,), x.dtype)
    biases.reshape(groups, -1)[:, : o // groups] = bias.reshape(groups, -1)
    scratch = empty((get_num_threads(), plan.size), x.dtype)
    at_once = -(-taps.shape[1] // -(-taps.shape[1] // conv.DEPTH))  # taps of one sum
    compute = maxima(lanes(x.dtype), rows, columns)
    flat = y.reshape(-1), winners.reshape(-1), np.ascontiguousarray(x).reshape(-1)
    compute(
        *flat,
        packed,
        biases,
        scratch,
        plan,
        taps.reshape(-1),
        taps.shape[1],
        at_once,
        n,
        groups,
        o // groups,
        depth,
        oh,
        relu,
    )
    return y, (winners,)


@functools.cache
def tile_of_maxima(outputs: int) -> tuple[int, int]:
    """Choose the rows and vectors of a tile, of which sums, maxima and winners have to fit into the registers."""
    columns = 2 if registers() > 16 else 1
    most = max(1, (registers() - 2) // (3 * columns))
    return -(-outputs // -(-outputs // most)), columns


@functools.cache
def maxima(lanes: int, rows: int, columns: int) -> Callable[..., None]:
    """Compile `conv2d_pool` for tiles of so many outputs by vectors."""
    wide = lanes * columns
    integer = np.int32 if lanes == 16 else np.int64  # as many lanes as the floats
    product = conv.products(rows, columns)

    @kernel
    def compute(
        y: Any, winners: Any, x: Any, weight: Any, bias: Any, scratch: Any, plan: Any, taps: Any,
        depth: Any, at_once: Any, n: Any, groups: Any, outputs: Any, channels: Any, height: Any, relu: Any
    ) -> None:  # fmt: skip
        threads, blocks = len(scratch), n * groups * -(-height // plan.rows)
        for t in prange(threads):
            for block in range(t * blocks // threads, (t + 1) * blocks // threads):
                compute_block(
                    y, winners, x, weight, bias, scratch[t], plan, taps,
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
        for p in range(0, run, wide):
            for tile in range(tiles):
                place = (i * outputs + tile * rows) * plane + row * plan.width + p
                first = (i % groups * tiles + tile) * rows
                compute_run(
                    y, winners, place, plane, min(rows, outputs - tile * rows), min(wide, run - p),
                    copy, p, taps, weight, first * depth, depth, at_once, bias, first, relu
                )  # fmt: skip

    @jit(forceinline=True)
    def compute_run(
        y: Any, winners: Any, place: Any, plane: Any, height: Any, run: Any, x: Any, start: Any, taps: Any,
        weight: Any, first: Any, depth: Any, at_once: Any, bias: Any, output: Any, relu: Any
    ) -> None:  # fmt: skip
        zero = full(y.dtype.type(0), 1, 1)
        best = full(y.dtype.type(-np.inf), rows, columns)
        winner = full(integer(0), rows, columns)
        for r in range(len(taps) // depth):
            total = full(y.dtype.type(0), rows, columns)
            for k in range(0, depth, at_once):  # of a run's last vectors all lanes: what they see is in the copy
                count = min(at_once, depth - k)
                total = total + product(x, start, taps, r * depth + k, weight, first + k * rows, count)
            total = total + broadcast(bias, output, rows)
            wins = (total > best) | is_nan(total)
            best, winner = select(wins, total, best), select(wins, full(integer(r), 1, 1), winner)
        if relu:
            winner = select(best > zero, winner, full(integer(LOSER), 1, 1))
            best = select((best > zero) | is_nan(best), best, zero)
        store(y, place, plane, height, run, best)
        store(winners, place, plane, height, run, winner)

    return compute


def conv2d_pool_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array, ...],
    out: Any,
    residuals: tuple[Array, ...],
    *,
    padding: Pair,
    groups: int,
    pool: Pair,
    relu: bool,
) -> tuple[Array | None, ...]:
    """Compute the gradients from the winners alone.

    Where a pixel or weight is not finite, the zeros of the losers count: 0 * inf is NaN. Then the convolution's own
    gradients are computed, from all places.
    """
    (x, weight, _), (winners,) = inputs, residuals
    (n, _, h, w), (o, depth, kh, kw) = x.shape, weight.shape
    if g.size == 0 or x.size == 0:
        return zeros(x.shape, x.dtype), zeros(weight.shape, x.dtype), zeros((o,), x.dtype)
    slices, threads = min(n, SLICES), get_num_threads()
    pieces = -(-kw * depth // lanes(x.dtype))
    columns = min(pieces, max(1, 24 // kh))
    pitch = -(-pieces // columns) * columns * lanes(x.dtype)
    by_weight = zeros((slices, o * kh * pitch), x.dtype)
    by_bias, finite = np.zeros((slices, o)), np.ones(slices, np.bool_)
    by_x = empty(x.shape if needs[0] else (0,), x.dtype)
    padded = depth * (h + 2 * padding[0]) * (w + 2 * padding[1])
    scratch = empty((threads, 2 * padded), x.dtype)
    found = empty((threads, winners.shape[2] * winners.shape[3]), np.int64)
    a, b = np.divmod(np.arange(pool[0] * pool[1]), pool[1])
    steps = np.append(a * (w + 2 * padding[1]) * depth + b * depth, 0)  # from the first place of a window; LOSER's is 0
    last = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(-1)
    flat = by_x.reshape(-1), by_weight, by_bias, finite, np.ascontiguousarray(g).reshape(-1), winners.reshape(-1)
    sums_over_winners(lanes(x.dtype), kh, columns)(
        *flat, np.ascontiguousarray(x).reshape(-1), last, scratch, found, steps, winners.shape, (depth, h, w),
        padding, pool, (kw, groups, pitch), (needs[0], needs[1])
    )  # fmt: skip
    bias = by_bias.sum(axis=0).astype(x.dtype)
    if not (finite.all() and np.isfinite(weight).all()):
        return *_dense(g, needs, x, weight, winners, padding, groups, pool), bias
    total = by_weight.sum(axis=0, dtype=np.float64).astype(x.dtype).reshape(o, kh, pitch)[:, :, : kw * depth]
    total = np.ascontiguousarray(total.reshape(o, kh, kw, depth).transpose(0, 3, 1, 2))
    return by_x if needs[0] else None, total, bias


def _dense(
    g: Array, needs: tuple[bool, ...], x: Array, weight: Array, winners: Array, padding: Pair, groups: int, pool: Pair
) -> tuple[Array | None, Array | None]:
    """Compute the gradients of the convolution from all places, of which the losers have zeros."""
    (kh, kw), sides = weight.shape[2:], [side + 2 * p for side, p in zip(x.shape[2:], padding, strict=True)]
    spread = zeros((*g.shape[:2], sides[0] - kh + 1, sides[1] - kw + 1), g.dtype)
    for place, (a, b) in enumerate(np.ndindex(pool)):
        part = spread[:, :, a :: pool[0], b :: pool[1]][:, :, : g.shape[2], : g.shape[3]]
        part[...] = np.where(winners == place, g, 0)
    options: dict[str, Any] = {"stride": (1, 1), "padding": padding, "dilation": (1, 1), "groups": groups}
    return (
        conv.conv2d_input(spread, weight, shape=x.shape, **options) if needs[0] else None,
        conv.conv2d_weight(spread, x, shape=weight.shape, **options) if needs[1] else None,
    )


@functools.cache
def sums_over_winners(lanes: int, rows: int, columns: int) -> Callable[..., None]:
    """Compile `conv2d_pool_backward` for windows of so many rows, in pieces of so many vectors."""
    piece = columns * lanes

    @kernel
    def compute(
        by_x: Any, by_weight: Any, by_bias: Any, finite: Any, g: Any, winners: Any, x: Any, weight: Any,
        scratch: Any, found: Any, steps: Any, shape: Any, image: Any, padding: Any, pool: Any, window: Any, needs: Any
    ) -> None:  # fmt: skip
        threads, slices = len(scratch), len(by_weight)
        for t in prange(threads):
            for part in range(t * slices // threads, (t + 1) * slices // threads):
                begin, end = part * shape[0] // slices, (part + 1) * shape[0] // slices
                finite[part] = compute_slice(
                    by_x, by_weight[part], by_bias[part], g, winners, x, weight, scratch[t], found[t], steps,
                    shape, image, padding, pool, window, needs, begin, end
                )  # fmt: skip

    @jit
    def compute_slice(
        by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any, weight: Any, scratch: Any, found: Any,
        steps: Any, shape: Any, image: Any, padding: Any, pool: Any, window: Any, needs: Any, begin: Any, end: Any
    ) -> Any:  # fmt: skip
        """Sum over the images from `begin` to `end`, and say whether all pixels are finite."""
        (_, o, oh, ow), (channels, h, w), (kw, groups, pitch) = shape, image, window
        breadth, size = (w + 2 * padding[1]) * channels, channels * (h + 2 * padding[0]) * (w + 2 * padding[1])
        outputs, row, finite = o // groups, kw * channels, True
        for i in range(begin * groups, end * groups):
            start = i * channels * h * w
            finite &= put_channels_last(scratch, x, start, image, padding)
            if needs[0]:
                scratch[size : 2 * size] = 0
            for m in range(outputs):
                output = i % groups * outputs + m
                place = (i * outputs + m) * oh * ow
                count = 0
                for p in range(oh):
                    for q in range(ow):  # without branches: what is no winner's is overwritten by the next
                        winner = winners[place + p * ow + q]
                        corner = p * pool[0] * breadth + q * pool[1] * channels
                        found[count] = ((p * ow + q) << 32) | (corner + steps[winner])
                        count += winner >= 0
                total = 0.0
                for k in range(count):
                    total += g[place + (found[k] >> 32)]
                by_bias[output] += total
                for k in range(0, row, piece):
                    if needs[1]:
                        add_pixels(
                            by_weight,
                            output * rows * pitch + k,
                            pitch,
                            g,
                            place,
                            scratch,
                            k,
                            breadth,
                            found,
                            count,
                            row - k,
                        )
                    if needs[0]:
                        at = output * rows * row + k
                        add_weights(scratch, size + k, breadth, g, place, weight, at, row, found, count, row - k)
            if needs[0]:
                take_channels_first(by_x, start, scratch, size, image, padding)
        return finite

    @jit
    def put_channels_last(out: Any, x: Any, start: Any, image: Any, padding: Any) -> Any:
        channels, h, w = image
        breadth = (w + 2 * padding[1]) * channels
        out[: (h + 2 * padding[0]) * breadth] = 0
        check = x.dtype.type(0)
        for c in range(channels):
            for i in range(h):
                line, place = start + (c * h + i) * w, (i + padding[0]) * breadth + padding[1] * channels + c
                for j in range(w):
                    out[place + j * channels] = x[line + j]
                    check += x[line + j] * 0  # stays 0, or becomes NaN for good
        return check == 0

    @jit
    def take_channels_first(out: Any, start: Any, x: Any, first: Any, image: Any, padding: Any) -> None:
        channels, h, w = image
        breadth = (w + 2 * padding[1]) * channels
        for c in range(channels):
            for i in range(h):
                line, place = start + (c * h + i) * w, first + (i + padding[0]) * breadth + padding[1] * channels + c
                for j in range(w):
                    out[line + j] = x[place + j * channels]

    @jit
    def add_pixels(
        totals: Any, place: Any, pitch: Any, g: Any, first: Any, x: Any, start: Any, breadth: Any,
        found: Any, count: Any, width: Any
    ) -> None:  # fmt: skip
        """totals[u, j] += g times the pixels that each winner saw; a piece of the rows of a window."""
        total = load_part(totals, place, pitch, rows, columns, rows, piece)
        for k in range(count):
            p, at = found[k] >> 32, found[k] & 0xFFFFFFFF
            seen = load_part(x, start + at, breadth, rows, columns, rows, width)
            total = fma(broadcast(g, first + p, 1), seen, total)
        store(totals, place, pitch, rows, piece, total)

    @jit
    def add_weights(
        x: Any, start: Any, breadth: Any, g: Any, first: Any, weight: Any, place: Any, pitch: Any,
        found: Any, count: Any, width: Any
    ) -> None:  # fmt: skip
        """x[u, j] += g times the weights, at the pixels that each winner saw; a piece of the rows of a window."""
        taps = load_part(weight, place, pitch, rows, columns, rows, width)
        for k in range(count):
            p, at = found[k] >> 32, found[k] & 0xFFFFFFFF
            before = load_part(x, start + at, breadth, rows, columns, rows, width)
            store(x, start + at, breadth, rows, width, fma(broadcast(g, first + p, 1), taps, before))

    return compute
