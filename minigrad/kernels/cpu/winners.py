"""The gradients of `conv2d_pool` on the CPU.

Only the winners of the pooling windows have a gradient, so both gradients of the convolution are sums over winners: of
the pixels that a winner saw (for the weight), and of the weights that it saw them with (for the image). With the
channels last, each row of a window is one run of memory. Where few zeros suffice, a pixel is filled up to whole
vectors: then all loads and stores are of cache lines, and a sum that the last winner stored is there at once.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu import conv
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import fill, up
from minigrad.kernels.cpu.memory import empty, workspaces, zeros
from minigrad.kernels.cpu.parallel import kernel, parallel_for
from minigrad.kernels.cpu.simd import (
    broadcast,
    fma,
    full,
    lanes,
    load,
    load_half,
    load_part,
    registers,
    store,
    store_whole,
    transpose,
)
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

SLICES = 16  # into so many parts the batch is cut, at most


class Plan(NamedTuple):
    """How the winners of a batch are gone through.

    n, groups, channels, outputs
        The images, the groups, and the channels and outputs of each.
    h, w, top, left
        The size of an image, and the padding.
    slices
        The parts of the batch: each has sums of its own, and they are added up at the end.
    pixel, length, pitch
        The elements of a pixel, of a row of a window, and from one row to the next in the weight and its gradient.
    width, size
        The elements of a line of an image's copy, and of the copy.
    """

    n: int
    groups: int
    channels: int
    outputs: int
    h: int
    w: int
    top: int
    left: int
    slices: int
    pixel: int
    length: int
    pitch: int
    width: int
    size: int


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
    o = len(weight)
    if g.size == 0 or x.size == 0:
        sums = zeros(x.shape, x.dtype), zeros(weight.shape, x.dtype), np.where(winners < 0, 0, g).sum((0, 2, 3))
        return tuple([array if need else None for array, need in zip(sums, needs, strict=True)])
    plan, compute = _plan(x.shape, weight.shape, padding, groups, lanes(x.dtype))
    corners, steps = _where_winners_look(winners.shape[2:], pool, plan.width, plan.pixel)
    threads, taps = get_num_threads(), o * weight.shape[2] * plan.pitch
    by_x = empty(x.shape if needs[0] else (0,), x.dtype)
    by_weight, by_bias = empty((plan.slices, taps if needs[1] else 0), x.dtype), zeros((plan.slices, o + 1), x.dtype)
    scratch = workspaces(threads, 2 * plan.size, x.dtype)
    found = workspaces(threads, plan.outputs * (len(corners) + 1), np.int64)
    last, total, bias = zeros((taps,), x.dtype), empty(weight.shape, x.dtype), empty((o + 1,), x.dtype)
    compute(
        threads, total, bias, by_x.ravel(), by_weight, by_bias, g.ravel(),
        winners.ravel(), x.ravel(), np.ascontiguousarray(weight), last, scratch,
        found, corners, steps, plan, needs
    )  # fmt: skip
    given = (by_x, total) if bias[o] == 0 else _dense(g, needs, x, weight, winners, padding, groups, pool)
    return tuple([array if need else None for array, need in zip((*given, bias[:o]), needs, strict=True)])


@functools.lru_cache(maxsize=256)
def _plan(
    x: tuple[int, ...], weight: tuple[int, ...], padding: Pair, groups: int, wide: int
) -> tuple[Plan, Callable[..., None]]:
    """Plan for arrays of these shapes, and find the kernel."""
    (n, _, h, w), (o, channels, kh, kw) = x, weight
    pixel = elements_of_pixel(channels, kw, wide)
    length, width = kw * pixel, (w + 2 * padding[1]) * pixel
    columns, pitch = pieces_of_row(length, kh, wide)
    size = up((h + 2 * padding[0]) * width, wide) + pitch + wide * pixel  # of a copy, and what is read beyond it
    plan = Plan(n, groups, channels, o // groups, h, w, *padding, min(n, SLICES), pixel, length, pitch, width, size)
    compute = sums_over_winners(wide, kh, columns, pixel % wide == 0 and length == pitch, 2 * length <= wide)
    return plan, compute


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


@functools.lru_cache(maxsize=32)  # tables as large as images
def _where_winners_look(size: tuple[int, ...], pool: Pair, width: int, pixel: int) -> tuple[Array, Array]:
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
def sums_over_winners(lanes: int, rows: int, columns: int, filled: bool, half: bool) -> Callable[..., None]:
    """Compile `conv2d_pool_backward` for windows of so many rows, in pieces of so many vectors, or of half a vector."""
    piece = columns * lanes
    see = load_half if half else load  # half vectors seldom lie across two cache lines

    @kernel
    def compute(
        threads: Any, total: Any, bias: Any, by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any,
        weight: Any, last: Any, scratch: Any, found: Any, corners: Any, steps: Any, plan: Any, needs: Any
    ) -> None:  # fmt: skip
        """Compute all gradients; after the bias comes zero times all pixels and weights: NaN, if one is not finite."""
        outputs, check = len(bias) - 1, pack(last, weight, plan)
        args = by_x, by_weight, by_bias, g, winners, x, last, scratch, found, corners, steps, plan, needs
        parallel_for(compute_slices, plan.slices, threads, args)
        if needs[1]:
            parallel_for(add_slices, outputs, threads, (total, by_weight, plan))
        for o in range(outputs + 1):
            bias[o] = sum_column(by_bias, o) + (check if o == outputs else 0)

    @jit
    def compute_slices(
        thread: Any, first: Any, stop: Any, by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any,
        weight: Any, scratch: Any, found: Any, corners: Any, steps: Any, plan: Any, needs: Any
    ) -> None:  # fmt: skip
        for part in range(first, stop):
            begin, end = part * plan.n // plan.slices, (part + 1) * plan.n // plan.slices
            compute_slice(
                by_x, by_weight[part], by_bias[part], g, winners, x, weight, scratch[thread], found[thread],
                corners, steps, begin * plan.groups, end * plan.groups, plan, needs
            )  # fmt: skip

    @jit
    def pack(last: Any, weight: Any, plan: Any) -> Any:
        """Put the channels of the weight last, and return zero times the sum of all of it."""
        outputs, channels, _, taps = weight.shape
        check = weight.dtype.type(0)
        for o in range(outputs):
            for c in range(channels):
                for u in range(rows):
                    for v in range(taps):
                        tap = weight[o, c, u, v]
                        last[(o * rows + u) * plan.pitch + v * plan.pixel + c] = tap
                        check += tap * 0
        return check

    @jit
    def add_slices(thread: Any, first: Any, stop: Any, weight: Any, by_weight: Any, plan: Any) -> None:
        """Add what the slices found for some outputs, with the channels of the weight first again."""
        _, channels, _, taps = weight.shape
        for row in range(first * rows, stop * rows):
            start = row * plan.pitch
            for k in range(start, start + plan.pitch, lanes):
                total = load(by_weight, k, 0, 1, 1)
                for part in range(1, plan.slices):
                    total = total + load(by_weight, part * by_weight.shape[1] + k, 0, 1, 1)
                store_whole(by_weight, k, 0, total)
            for c in range(channels):
                for v in range(taps):
                    weight[row // rows, c, row % rows, v] = by_weight[0, start + v * plan.pixel + c]

    @jit
    def sum_column(x: Any, column: Any) -> Any:
        total = x.dtype.type(0)
        for row in range(len(x)):
            total += x[row, column]
        return total

    @jit
    def compute_slice(
        by_x: Any, by_weight: Any, by_bias: Any, g: Any, winners: Any, x: Any, weight: Any, scratch: Any, found: Any,
        corners: Any, steps: Any, begin: Any, end: Any, plan: Any, needs: Any
    ) -> None:  # fmt: skip
        """Sum over the groups of images from `begin` to `end`."""
        positions, image, zero = len(corners), plan.channels * plan.h * plan.w, x.dtype.type(0)
        block, counts = rows * plan.pitch, found[plan.outputs * positions :]
        fill(scratch, 0, 2 * plan.size, zero)
        for i in range(begin, end):
            output, place = i % plan.groups * plan.outputs, i * plan.outputs * positions
            by_bias[-1] += zero_times(x, i * image, image)
            put_channels_last(scratch, x, i * image, plan)
            if needs[0]:
                fill(scratch, plan.size, 2 * plan.size, zero)
            for m in range(plan.outputs):
                at = place + m * positions
                counts[m] = find(found, m * positions, winners, at, corners, steps)
                by_bias[output + m] += sum_chosen(g, winners, at, positions)
                for k in range(0, plan.length if needs[1] else 0, piece):
                    add_pixels(
                        by_weight, (output + m) * block + k, i < begin + plan.groups, g, at, scratch, k,
                        found, m * positions, counts[m], plan
                    )  # fmt: skip
            for m in range(plan.outputs if needs[0] else 0):  # afterwards: one copy at a time is in the L1 cache
                for k in range(0, plan.length, piece):
                    add_weights(
                        scratch, k, g, place + m * positions, weight, (output + m) * block + k,
                        found, m * positions, counts[m], plan
                    )  # fmt: skip
            if needs[0]:
                take_channels_first(by_x, i * image, scratch, plan)

    @jit(fastmath={"reassoc"})
    def zero_times(x: Any, start: Any, count: Any) -> Any:
        """Return zero times the sum of some numbers: NaN, if one of them is not finite."""
        zero = x.dtype.type(0)
        check = zero
        for i in range(np.uintp(start), np.uintp(start + count)):
            check += x[i] * zero
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
    def lines_of(plan: Any) -> Any:
        """The lines of an image, and their pixels: it is one line where no padding is between them."""
        return (plan.h, plan.w) if plan.left else (1, plan.h * plan.w)

    @jit
    def put_channels_last(out: Any, x: Any, start: Any, plan: Any) -> None:
        (h, w), pixel = lines_of(plan), plan.pixel
        for c in range(0, plan.channels, lanes if filled else 1):
            for i in range(h):
                line, to = start + (c * h + i) * w, (plan.top + i) * plan.width + plan.left * pixel + c
                if filled:
                    for j in range(0, w, lanes):
                        square = load_part(x, line + j, h * w, lanes, 1, min(lanes, plan.channels - c), w - j)
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
    def take_channels_first(out: Any, start: Any, x: Any, plan: Any) -> None:
        """Bring the second copy back to the image."""
        (h, w), pixel = lines_of(plan), plan.pixel
        for c in range(0, plan.channels, lanes if filled else 1):
            for i in range(h):
                line, at = start + (c * h + i) * w, plan.size + (plan.top + i) * plan.width + plan.left * pixel + c
                if filled:
                    for j in range(0, w, lanes):
                        square = transpose(load(x, at + j * pixel, pixel, lanes, 1))
                        store(out, line + j, h * w, plan.channels - c, w - j, square)
                else:
                    for j in range(w):
                        out[line + j] = x[at + j * pixel]

    @jit
    def add_pixels(
        totals: Any, to: Any, fresh: Any, g: Any, place: Any, x: Any, start: Any,
        found: Any, first: Any, count: Any, plan: Any
    ) -> None:  # fmt: skip
        """totals[u, j] (+)= g times the pixels that winners saw; a piece of the rows of a window, or beyond them."""
        total = full(g.dtype.type(0), rows, columns)
        if not fresh:
            total = load(totals, to, plan.pitch, rows, columns)
        for k in range(np.uintp(first), np.uintp(first + count)):
            p, seen = found[k] >> 32, start + (found[k] & 0xFFFFFFFF)
            total = fma(broadcast(g, place + p, 1), see(x, seen, plan.width, rows, columns), total)
        store_whole(totals, to, plan.pitch, total)

    @jit
    def add_weights(
        x: Any, start: Any, g: Any, place: Any, weight: Any, at: Any,
        found: Any, first: Any, count: Any, plan: Any
    ) -> None:  # fmt: skip
        """x[u, j] += g times the weights, at the second copy's pixels that winners saw; a piece of the rows."""
        taps, width = load(weight, at, plan.pitch, rows, columns), plan.width
        for k in range(np.uintp(first), np.uintp(first + count)):
            p, seen = found[k] >> 32, plan.size + start + (found[k] & 0xFFFFFFFF)
            if filled:
                total = fma(broadcast(g, place + p, 1), taps, load(x, seen, width, rows, columns))
                store_whole(x, seen, width, total)
            else:
                before = load_part(x, seen, width, rows, columns, rows, plan.length - start)
                total = fma(broadcast(g, place + p, 1), taps, before)
                store(x, seen, width, rows, plan.length - start, total)

    return compute
