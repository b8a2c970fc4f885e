"""The gradients of `conv2d_pool` on the CPU.

Only the winners of the pooling windows have a gradient, so both gradients of the convolution are sums over winners: of
the pixels that a winner saw (for the weight), and of the weights that it saw them with (for the image). With the
channels last, each row of a window is one run of memory. Where few zeros suffice, a pixel is filled up to whole
vectors: then all loads and stores are of cache lines, and a sum that the last winner stored is there at once.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu import conv
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.lines import up
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.simd import (
    BYTES,
    broadcast,
    fma,
    lanes,
    load,
    load_part,
    registers,
    store,
    store_whole,
    transpose,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

SLICES = 16  # into so many parts the batch is cut


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
        nothing = zeros(x.shape, x.dtype), zeros(weight.shape, x.dtype), zeros((o,), x.dtype)
        return tuple([array if need else None for array, need in zip(nothing, needs, strict=True)])
    wide, threads = lanes(x.dtype), get_num_threads()
    pixel = elements_of_pixel(depth, kw, wide)
    columns, pitch = pieces_of_row(kw * pixel, kh, wide)
    width, slices = (w + 2 * padding[1]) * pixel, min(n, SLICES)
    size = up((h + 2 * padding[0]) * width, BYTES) + pitch + wide * pixel  # of a copy, and what is read beyond it
    by_x = empty(x.shape if needs[0] else (0,), x.dtype)
    by_weight = zeros((slices, o * kh * pitch if needs[1] else 0), x.dtype)
    by_bias, finite = np.zeros((slices, o)), np.ones(slices, np.bool_)
    scratch = empty((threads, up(2 * size, BYTES)), x.dtype)
    corners, steps = _where_winners_look(winners.shape[2:], pool, width, pixel)
    found = empty((threads, o // groups * len(corners)), np.int64)
    counts = empty((threads, o // groups), np.int64)
    last = zeros((o, kh, pitch), x.dtype)
    last[:, :, : kw * pixel].reshape(o, kh, kw, pixel)[..., :depth] = weight.transpose(0, 2, 3, 1)
    compute, finish = sums_over_winners(wide, kh, columns, pixel % wide == 0 and kw * pixel == pitch)
    compute(
        by_x.reshape(-1), by_weight, by_bias, finite, np.ascontiguousarray(g).reshape(-1), winners.reshape(-1),
        np.ascontiguousarray(x).reshape(-1), last.reshape(-1), scratch, size, found, counts, corners, steps,
        (n, groups, o // groups), (depth, h, w), padding, (kw * pixel, pixel, pitch), needs
    )  # fmt: skip
    bias = by_bias.sum(axis=0).astype(x.dtype) if needs[2] else None
    if not (finite.all() and np.isfinite(weight).all()):
        return *_dense(g, needs, x, weight, winners, padding, groups, pool), bias
    total = None
    if needs[1]:
        total = empty(weight.shape, x.dtype)
        finish(total, by_weight, pixel, pitch)
    return by_x if needs[0] else None, total, bias


def elements_of_pixel(channels: int, taps: int, lanes: int) -> int:
    """Fill pixels up to whole vectors, where a row of some taps is not twice as long then."""
    filled = up(channels, lanes)
    return filled if taps * filled <= 2 * up(taps * channels, lanes) else channels


def pieces_of_row(row: int, rows: int, lanes: int) -> Pair:
    """Choose the vectors of a piece, of which all rows of a window fit into the registers, and the length of a row."""
    vectors = -(-row // lanes)
    pieces = -(-vectors // max(1, (registers() - 6) // rows))
    columns = -(-vectors // pieces)
    return columns, pieces * columns * lanes


@functools.lru_cache(maxsize=256)
def _where_winners_look(size: Pair, pool: Pair, width: int, pixel: int) -> tuple[Array, Array]:
    """The pooling windows, each as its number << 32 | its first pixel, and the steps from there to a winner's.

    A winner looks as far as its place (0 1 ...) is from the first; the first step is LOSER's.
    """
    places = np.arange(size[0] * size[1])
    p, q = np.divmod(places, size[1])
    a, b = np.divmod(np.arange(pool[0] * pool[1]), pool[1])
    return places << 32 | (p * pool[0] * width + q * pool[1] * pixel), np.insert(a * width + b * pixel, 0, 0)


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
def sums_over_winners(
    lanes: int, rows: int, columns: int, filled: bool
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile `conv2d_pool_backward` for windows of so many rows, in pieces of so many vectors."""
    piece = columns * lanes

    @kernel
    def compute(
        by_x: Any, by_weight: Any, by_bias: Any, finite: Any, g: Any, winners: Any, x: Any, weight: Any,
        scratch: Any, size: Any, found: Any, counts: Any, corners: Any, steps: Any,
        batch: Any, image: Any, padding: Any, row: Any, needs: Any
    ) -> None:  # fmt: skip
        threads, slices = len(scratch), len(by_weight)
        for t in prange(threads):
            for part in range(t * slices // threads, (t + 1) * slices // threads):
                begin, end = part * batch[0] // slices, (part + 1) * batch[0] // slices
                finite[part] = compute_slice(
                    by_x, by_weight[part], by_bias[part], g, winners, x, weight, scratch[t], size, found[t], counts[t],
                    corners, steps, begin, end, batch, image, padding, row, needs
                )  # fmt: skip

    @jit
    def compute_slice(
        by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any, weight: Any, scratch: Any, size: Any,
        found: Any, counts: Any, corners: Any, steps: Any, begin: Any, end: Any,
        batch: Any, image: Any, padding: Any, row: Any, needs: Any
    ) -> Any:  # fmt: skip
        """Sum over the images from `begin` to `end`, and say whether all pixels are finite."""
        (_, groups, outputs), (channels, h, w), (length, pixel, pitch) = batch, image, row
        width, positions, whole = (w + 2 * padding[1]) * pixel, len(corners), True
        corner = padding[0] * width + padding[1] * pixel
        clear(scratch, 0, 2 * size)
        for i in range(begin * groups, end * groups):
            start = i * channels * h * w
            whole &= all_finite(x, start, channels * h * w)
            put_channels_last(scratch, corner, width, x, start, image, pixel)
            if needs[0]:
                clear(scratch, size, 2 * size)
            for m in range(outputs):
                output, place = i % groups * outputs + m, (i * outputs + m) * positions
                counts[m] = find(found, m * positions, winners, place, corners, steps)
                by_bias[output] += sum_chosen(g, winners, place, positions)
                for k in range(0, length if needs[1] else 0, piece):
                    at = output * rows * pitch + k
                    add_pixels(by_weight, at, pitch, g, place, scratch, k, width, found, m * positions, counts[m])
            for m in range(outputs if needs[0] else 0):  # afterwards, so that one copy at a time is in the L1 cache
                output, place = i % groups * outputs + m, (i * outputs + m) * positions
                for k in range(0, length, piece):
                    at = output * rows * pitch + k
                    add_weights(
                        scratch, size + k, width, g, place, weight, at, pitch,
                        found, m * positions, counts[m], length - k
                    )  # fmt: skip
            if needs[0]:
                take_channels_first(by_x, start, scratch, size + corner, width, image, pixel)
        return whole

    @jit
    def clear(x: Any, start: Any, stop: Any) -> None:
        for i in range(start, stop):
            x[i] = 0

    @jit(fastmath={"reassoc"})
    def all_finite(x: Any, start: Any, count: Any) -> Any:
        check = x.dtype.type(0)
        for i in range(np.uintp(start), np.uintp(start + count)):
            check += x[i] * 0  # stays 0, or becomes NaN for good
        return check == 0

    @jit
    def find(found: Any, first: Any, winners: Any, place: Any, corners: Any, steps: Any) -> Any:
        """List the winners, each as its position and where what it saw begins; return how many there are."""
        count = np.uintp(0)
        for p in range(np.uintp(len(corners))):  # without branches: what is no winner's is overwritten by the next
            winner = np.intp(winners[np.uintp(place) + p])
            found[np.uintp(first) + count] = corners[p] + steps[np.uintp(winner + 1)]
            count += np.uintp(winner >= 0)
        return np.intp(count)

    @jit(fastmath={"reassoc"})
    def sum_chosen(g: Any, winners: Any, place: Any, count: Any) -> Any:
        total = g.dtype.type(0)
        for p in range(np.uintp(place), np.uintp(place + count)):
            total += g[p] if winners[p] >= 0 else g.dtype.type(0)
        return total

    @jit
    def put_channels_last(out: Any, corner: Any, width: Any, x: Any, start: Any, image: Any, pixel: Any) -> None:
        channels, h, w = image
        for c in range(0, channels, lanes if filled else 1):
            for i in range(h):
                line, to = start + (c * h + i) * w, corner + i * width + c
                if filled:
                    for j in range(0, w, lanes):
                        square = load_part(x, line + j, h * w, lanes, 1, min(lanes, channels - c), w - j)
                        store(out, to + j * pixel, pixel, w - j, lanes, transpose(square))
                else:
                    for j in range(w):
                        out[to + j * pixel] = x[line + j]

    @jit
    def take_channels_first(out: Any, start: Any, x: Any, corner: Any, width: Any, image: Any, pixel: Any) -> None:
        channels, h, w = image
        for c in range(0, channels, lanes if filled else 1):
            for i in range(h):
                line, at = start + (c * h + i) * w, corner + i * width + c
                if filled:
                    for j in range(0, w, lanes):
                        square = transpose(load(x, at + j * pixel, pixel, lanes, 1))
                        store(out, line + j, h * w, channels - c, w - j, square)
                else:
                    for j in range(w):
                        out[line + j] = x[at + j * pixel]

    @jit
    def add_pixels(
        totals: Any, at: Any, pitch: Any, g: Any, place: Any, x: Any, start: Any, width: Any,
        found: Any, first: Any, count: Any
    ) -> None:  # fmt: skip
        """totals[u, j] += g times the pixels that each winner saw; a piece of the rows of a window, or beyond them."""
        total = load(totals, at, pitch, rows, columns)
        for k in range(np.uintp(first), np.uintp(first + count)):
            p, seen = found[k] >> 32, start + (found[k] & 0xFFFFFFFF)
            total = fma(broadcast(g, place + p, 1), load(x, seen, width, rows, columns), total)
        store_whole(totals, at, pitch, total)

    @jit
    def add_weights(
        x: Any, start: Any, width: Any, g: Any, place: Any, weight: Any, at: Any, pitch: Any,
        found: Any, first: Any, count: Any, length: Any
    ) -> None:  # fmt: skip
        """x[u, j] += g times the weights, at the pixels that each winner saw; a piece of the rows of a window."""
        taps = load(weight, at, pitch, rows, columns)
        for k in range(np.uintp(first), np.uintp(first + count)):
            p, seen = found[k] >> 32, start + (found[k] & 0xFFFFFFFF)
            if filled:
                total = fma(broadcast(g, place + p, 1), taps, load(x, seen, width, rows, columns))
                store_whole(x, seen, width, total)
            else:
                before = load_part(x, seen, width, rows, columns, rows, length)
                store(x, seen, width, rows, length, fma(broadcast(g, place + p, 1), taps, before))

    @kernel
    def finish(weight: Any, totals: Any, pixel: Any, pitch: Any) -> None:
        """Add what the slices found, in float64, with the channels first again."""
        outputs, channels, _, taps = weight.shape
        for o in prange(outputs):
            for c in range(channels):
                for u in range(rows):
                    for v in range(taps):
                        total = 0.0
                        for part in range(len(totals)):
                            total += totals[part, (o * rows + u) * pitch + v * pixel + c]
                        weight[o, c, u, v] = total

    return compute, finish
