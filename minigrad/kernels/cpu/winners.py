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

from minigrad.kernels.cpu import conv
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import up
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.parallel import kernel, parallel_for
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
    by_weight, by_bias = zeros((slices, o * kh * pitch if needs[1] else 0), x.dtype), zeros((slices, o + 1), x.dtype)
    scratch = empty((threads, up(2 * size, BYTES)), x.dtype)
    corners, steps = _where_winners_look(winners.shape[2:], pool, width, pixel)
    found = empty((threads, o // groups * len(corners)), np.int64)
    counts = empty((threads, o // groups), np.int64)
    last, total, bias = zeros((o * kh * pitch,), x.dtype), empty(weight.shape, x.dtype), empty((o + 1,), x.dtype)
    compute = sums_over_winners(wide, kh, columns, pixel % wide == 0 and kw * pixel == pitch)
    compute(
        threads, total, bias, by_x.reshape(-1), by_weight, by_bias, np.ascontiguousarray(g).reshape(-1),
        winners.reshape(-1), np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(weight), last, scratch, size,
        found, counts, corners, steps, (n, groups, o // groups), (depth, h, w), padding, (kw * pixel, pixel, pitch),
        needs
    )  # fmt: skip
    given = (by_x, total) if bias[o] == 0 else _dense(g, needs, x, weight, winners, padding, groups, pool)
    return tuple([array if need else None for array, need in zip((*given, bias[:o]), needs, strict=True)])


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
def sums_over_winners(lanes: int, rows: int, columns: int, filled: bool) -> Callable[..., None]:
    """Compile `conv2d_pool_backward` for windows of so many rows, in pieces of so many vectors."""
    piece = columns * lanes

    @kernel
    def compute(
        threads: Any, total: Any, bias: Any, by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any,
        weight: Any, last: Any, scratch: Any, size: Any, found: Any, counts: Any, corners: Any, steps: Any,
        batch: Any, image: Any, padding: Any, row: Any, needs: Any
    ) -> None:  # fmt: skip
        """Compute all gradients; after the bias comes zero times all pixels and weights: NaN, if one is not finite."""
        outputs, check = len(bias) - 1, pack(last, weight, row[1], row[2])
        args = (
            by_x, by_weight, by_bias, g, winners, x, last, scratch, size, found, counts, corners, steps,
            batch, image, padding, row, needs
        )  # fmt: skip
        parallel_for(compute_slices, len(by_weight), threads, args)
        if needs[1]:
            parallel_for(add_slices, outputs, threads, (total, by_weight, row[1], row[2]))
        for o in range(outputs + 1):
            bias[o] = sum_column(by_bias, o) + (check if o == outputs else 0)

    @jit
    def compute_slices(
        thread: Any, first: Any, stop: Any, by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any,
        last: Any, scratch: Any, size: Any, found: Any, counts: Any, corners: Any, steps: Any,
        batch: Any, image: Any, padding: Any, row: Any, needs: Any
    ) -> None:  # fmt: skip
        slices = len(by_weight)
        for part in range(first, stop):
            begin, end = part * batch[0] // slices, (part + 1) * batch[0] // slices
            compute_slice(
                by_x, by_weight[part], by_bias[part], g, winners, x, last, scratch[thread], size, found[thread],
                counts[thread], corners, steps, begin, end, batch, image, padding, row, needs
            )  # fmt: skip

    @jit
    def pack(last: Any, weight: Any, pixel: Any, pitch: Any) -> Any:
        """Put the channels of the weight last, and return zero times the sum of all of it."""
        outputs, channels, _, taps = weight.shape
        check = weight.dtype.type(0)
        for o in range(outputs):
            for c in range(channels):
                for u in range(rows):
                    for v in range(taps):
                        tap = weight[o, c, u, v]
                        last[(o * rows + u) * pitch + v * pixel + c] = tap
                        check += tap * 0
        return check

    @jit
    def add_slices(
        thread: Any, first: Any, stop: Any, weight: Any, by_weight: Any, pixel: Any, pitch: Any
    ) -> None:  # fmt: skip
        """Add what the slices found for some outputs, with the channels of the weight first again."""
        _, channels, _, taps = weight.shape
        slices, step = by_weight.shape
        for row in range(first * rows, stop * rows):
            start = row * pitch
            for k in range(start, start + pitch, lanes):
                total = load(by_weight, k, 0, 1, 1)
                for part in range(1, slices):
                    total = total + load(by_weight, part * step + k, 0, 1, 1)
                store_whole(by_weight, k, 0, total)
            for c in range(channels):
                for v in range(taps):
                    weight[row // rows, c, row % rows, v] = by_weight[0, start + v * pixel + c]

    @jit
    def sum_column(x: Any, column: Any) -> Any:
        total = x.dtype.type(0)
        for row in range(len(x)):
            total += x[row, column]
        return total

    @jit
    def compute_slice(
        by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any, weight: Any, scratch: Any, size: Any,
        found: Any, counts: Any, corners: Any, steps: Any, begin: Any, end: Any,
        batch: Any, image: Any, padding: Any, row: Any, needs: Any
    ) -> None:  # fmt: skip
        """Sum over the images from `begin` to `end`."""
        (_, groups, outputs), (channels, h, w), (length, pixel, pitch) = batch, image, row
        width, positions = (w + 2 * padding[1]) * pixel, len(corners)
        corner = padding[0] * width + padding[1] * pixel
        lines = (h, w) if padding[1] else (1, h * w)
        clear(scratch, 0, 2 * size)
        for i in range(begin * groups, end * groups):
            start = i * channels * h * w
            by_bias[groups * outputs] += zero_times(x, start, channels * h * w)
            put_channels_last(scratch, corner, width, x, start, channels, lines, pixel)
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
                take_channels_first(by_x, start, scratch, size + corner, width, channels, lines, pixel)

    @jit
    def clear(x: Any, start: Any, stop: Any) -> None:
        for i in range(start, stop):
            x[i] = 0

    @jit(fastmath={"reassoc"})
    def zero_times(x: Any, start: Any, count: Any) -> Any:
        """Return zero times the sum of some numbers: NaN, if one of them is not finite."""
        check = x.dtype.type(0)
        for i in range(np.uintp(start), np.uintp(start + count)):
            check += x[i] * 0
        return check

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
    def put_channels_last(
        out: Any, corner: Any, width: Any, x: Any, start: Any, channels: Any, lines: Any, pixel: Any
    ) -> None:  # fmt: skip
        h, w = lines
        for c in range(0, channels, lanes if filled else 1):
            for i in range(h):
                line, to = start + (c * h + i) * w, corner + i * width + c
                if filled:
                    for j in range(0, w, lanes):
                        square = load_part(x, line + j, h * w, lanes, 1, min(lanes, channels - c), w - j)
                        store(out, to + j * pixel, pixel, w - j, lanes, transpose(square))
                elif pixel == 1:
                    copy(out, to, x, line, w)
                else:
                    for j in range(w):
                        out[to + j * pixel] = x[line + j]

    @jit
    def copy(out: Any, to: Any, x: Any, start: Any, count: Any) -> None:
        for j in range(np.uintp(count)):
            out[np.uintp(to) + j] = x[np.uintp(start) + j]

    @jit
    def take_channels_first(
        out: Any, start: Any, x: Any, corner: Any, width: Any, channels: Any, lines: Any, pixel: Any
    ) -> None:  # fmt: skip
        h, w = lines
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

    return compute
