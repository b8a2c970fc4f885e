"""Winograd's convolution for windows of 3x3: fewer products, for sums before and after them.

An output square of m x m sees a square of side m + 2. That and the window are transformed, B' d B and G w G', so that
the transformed output is their product, element by element, summed over the channels (Lavin and Gray, 2015):

    y = A' (sum over c of (G w[c] G') * (B' d[c] B)) A

Of the 9 m^2 products of an output square and a channel (m + 2)^2 remain. In the order (i j c t) of the transformed
squares, i j being the element and t the square, they are matrix products over c.

The transforms stand in `winograd_transforms.py`.

Sums of far-away elements cancel in y, but not where one of them is infinite, NaN or so large that they overflow. Then
the result is not finite, and the caller computes it by direct sums.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu import precision
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.runs import odd_lines
from minigrad.kernels.cpu.simd import (
    arrange,
    broadcast,
    collect_lines,
    deal_lines,
    fma,
    full,
    lanes,
    load,
    registers,
    store_whole,
    sum_rows,
    turn,
)
from minigrad.kernels.cpu.sums import pack_tile, plan_packing
from minigrad.kernels.cpu.threads import get_num_threads, parts_of
from minigrad.kernels.cpu.winograd_transforms import TRANSFORMS

Array = npt.NDArray[Any]
Pair = tuple[int, int]

DEPTH = 96  # channels in one sum, at most: what bounds its rounding
TRANSFORMING = 3.5  # what transforming a pixel takes, in the time of direct sums for one channel and output
WINDOWS = 11  # and an element of a window
IDLE = 0.3  # of the threads' time, about what transforming images takes: each part of the outputs does
WORTH = 0.9  # the part of the time of direct sums, as estimated, below which they are forgone


class Squares(NamedTuple):
    """Images cut into squares of outputs, and squares into panels that a thread transforms and multiplies together.

    groups, channels, outputs
        The groups, and how many channels and outputs each has.
    height, breadth, oh, ow, top, left
        The sizes of an image and of an output, and the padding.
    down, across, total
        Squares in a column and a row of an output, and in all images.
    panel, pitch
        Squares in a panel, and the distance from what one channel has of them to the next.
    seen, step
        The distances from one element to the next, of the squares and of the weights: odd numbers of cache lines, as
        powers of two would put all elements into one set of a cache.
    """

    groups: int
    channels: int
    outputs: int
    height: int
    breadth: int
    oh: int
    ow: int
    top: int
    left: int
    down: int
    across: int
    total: int
    panel: int
    pitch: int
    seen: int
    step: int


def correlate(
    x: Array, weight: Array, size: Pair, padding: Pair, groups: int, turned: bool = False, worth: float = WORTH
) -> Array | None:
    """Cross-correlate images with windows of 3x3, stride and dilation 1; None where direct sums do it better.

    Where the weight is `turned`, its channels and outputs change roles, and its taps are in reverse.
    """
    (n, _, height, breadth), outputs, channels = x.shape, weight.shape[0] // groups, weight.shape[1]
    if turned:
        outputs, channels = channels, outputs
    width = lanes(x.dtype)
    m = best_square(n, size, channels, outputs, TRANSFORMING, WINDOWS, width, worth, precision.squares())
    if not m:
        return None
    rows, columns = tile_of_products(outputs)
    down, across = (-(-s // m) for s in size)
    panel = columns * width
    pitch = panel if across % width == 0 else panel + width  # whole vectors are written, also where a line ends
    plan = Squares(
        *(groups, channels, outputs),
        *(height, breadth, *size, *padding),
        *(down, across, n * down * across),
        *(panel, pitch, odd_lines(channels * pitch), odd_lines(channels * rows + width)),
    )
    threads, elements, tiles = get_num_threads(), (m + 2) ** 2, -(-outputs // rows)
    panels = groups * -(-plan.total // panel)
    parts = parts_of(panels, 1, tiles, threads, IDLE)  # of the outputs
    packed = empty((groups * tiles * elements * plan.step,), x.dtype)
    scratch = workspaces(threads, elements * (plan.seen + rows * pitch) + pitch + width, x.dtype)
    y, finite = empty((n, groups * outputs, *size), x.dtype), np.ones(threads, np.bool_)
    transform_weights, multiply = products_of_squares(width, rows, columns, m)
    packing = plan_packing(weight.shape, groups, rows, turned)
    transform_weights(groups * tiles, threads, packed, weight.ravel(), scratch, packing, plan)
    flat = y.ravel(), x.ravel()
    multiply(panels * parts, threads, *flat, packed, scratch, finite, plan, parts)
    return y if finite.all() else None


@functools.lru_cache(maxsize=1024)
def best_square(
    n: int, size: Pair, channels: int, outputs: int, transforms: float, windows: float, width: int, worth: float,
    sides: tuple[int, ...],
) -> int:  # fmt: skip
    """Choose one of the sides of the squares; 0 for direct sums.

    `transforms` and `windows` are the times of transforming a pixel and an element of a window, as parts of that of the
    sums for one channel and output, by vectors of `width` squares.
    """

    def time(m: int) -> float:
        """The time as a part of that of direct sums."""
        down, across = (-(-s // m) for s in size)
        idle = -(-across // width) * width / across
        squares = m * m * down * across / (size[0] * size[1])  # above 1 where the last ones are not whole
        products = (m + 2) ** 2 / (9 * m * m) + transforms * idle * (1 / channels + 1 / outputs)
        return squares * products + windows * (m + 2) ** 2 / (n * size[0] * size[1])

    best = min(sides, key=time, default=0)
    return best if best and time(best) < worth else 0


@functools.cache
def tile_of_products(outputs: int) -> tuple[int, int]:
    """Choose the outputs and vectors of squares of a tile of products."""
    columns = 2 if registers() > 16 else 1
    most = min(12, registers() // columns - 2)
    return -(-outputs // -(-outputs // most)), columns


@functools.cache
def products_of_squares(lanes: int, rows: int, columns: int, m: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile `correlate` for squares of side m, and tiles of so many outputs by vectors of squares."""
    side, pixels, elements = m + 2, m * m, (m + 2) ** 2
    of = TRANSFORMS[m]
    transform_input, transform_output, transform_weight, factor = of.input, of.output, of.weight, of.factor**2

    @shared
    def transform_weights(
        thread: Any, first: Any, stop: Any, packed: Any, weight: Any, scratch: Any, packing: Any, plan: Any
    ) -> None:  # fmt: skip
        """Write G w G' in the order (group, tile of outputs, i j, channel, output)."""
        tiles = -(-plan.outputs // rows)
        for tile in range(first, stop):
            pack_tile(scratch[thread], 0, weight, tile // tiles, tile % tiles, 0, 9, packing)
            transform_tile(packed, tile * elements * plan.step, scratch[thread], plan)

    @jit
    def transform_tile(packed: Any, place: Any, weight: Any, plan: Any) -> None:
        """The same for one tile of weights (channel, tap, output); what is after its last output is overwritten."""
        for c in range(plan.channels):
            for r in range(0, rows, lanes):
                d = arrange(load(weight, c * 9 * rows + r, rows, 9, 1), 3)
                d = turn(transform_weight(turn(transform_weight(d))))
                store_whole(packed, place + c * rows + r, plan.step, arrange(d, elements))

    @shared
    def multiply(
        thread: Any, first: Any, stop: Any, y: Any, x: Any, weight: Any, scratch: Any, finite: Any,
        plan: Any, parts: Any
    ) -> None:  # fmt: skip
        for block in range(first, stop):
            finite[thread] &= multiply_block(y, x, weight, scratch[thread], plan, block, parts)

    @jit
    def multiply_block(y: Any, x: Any, weight: Any, scratch: Any, plan: Any, block: Any, parts: Any) -> Any:
        """Compute one part of a group's outputs in one panel of squares; return whether they are finite."""
        part, group, first = block % parts, block // parts % plan.groups, block // parts // plan.groups * plan.panel
        count, tiles = min(plan.panel, plan.total - first), -(-plan.outputs // rows)
        sums = elements * plan.seen  # where the scratch has products
        zeros = sums + elements * rows * plan.pitch  # and zeros, unless a result is not finite
        scratch[zeros : zeros + plan.pitch] = 0
        transform_images(scratch, x, plan, group, first, count)
        for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
            sum_products(scratch, sums, weight, (group * tiles + tile) * elements * plan.step, plan)
            transform_sums(y, scratch, sums, zeros, plan, group, tile * rows, first, count)
        result = True
        for t in range(zeros, zeros + count):
            result &= scratch[t] == 0
        return result

    @jit
    def locate(plan: Any, first: Any, t: Any, count: Any) -> Any:
        """The image, line and column of a square, and for how many squares a vector runs on from there."""
        line, across = (first + t) // plan.across, (first + t) % plan.across
        return line // plan.down, line % plan.down * m, across * m, min(lanes, plan.across - across, count - t)

    @jit
    def transform_images(seen: Any, x: Any, plan: Any, group: Any, first: Any, count: Any) -> None:
        """seen[i, j, c, t] = B' d B, where d is what the square first + t sees of a group's channel c.

        After the last square come zeros: what else may be there, such as denormal numbers, could be slow to multiply.
        """
        image, t = plan.height * plan.breadth, 0
        while t < count:
            i, down, across, run = locate(plan, first, t, count)
            top, left = down - plan.top, across - plan.left
            stop = min(plan.breadth - left, m * run + 2)
            start = (i * plan.groups + group) * plan.channels * image + top * plan.breadth + left
            for c in range(plan.channels):
                d = deal_lines(x, start + c * image, plan.breadth, -top, plan.height - top, -left, stop, m, side)
                d = turn(transform_input(turn(transform_input(d))))
                store_whole(seen, c * plan.pitch + t, plan.seen, arrange(d, elements))
            t += run
        for t in range(count, plan.panel, lanes):
            for c in range(plan.channels):
                store_whole(seen, c * plan.pitch + t, plan.seen, full(seen.dtype.type(0), elements, 1))

    @jit
    def sum_products(scratch: Any, sums: Any, weight: Any, start: Any, plan: Any) -> None:
        """sums[i, j, o, t] = the sum over c of weight[i, j, c, o] * scratch[i, j, c, t]."""
        depth = -(-plan.channels // -(-plan.channels // DEPTH))
        for k in range(elements):
            to = sums + k * rows * plan.pitch
            for c in range(0, plan.channels, depth):
                total = full(scratch.dtype.type(0), rows, columns)
                for e in range(c, min(c + depth, plan.channels)):
                    seen = load(scratch, k * plan.seen + e * plan.pitch, 0, 1, columns)
                    total = fma(broadcast(weight, start + k * plan.step + e * rows, rows), seen, total)
                if c > 0:
                    total = load(scratch, to, plan.pitch, rows, columns) + total
                store_whole(scratch, to, plan.pitch, total)

    @jit
    def transform_sums(
        y: Any, scratch: Any, sums: Any, zeros: Any, plan: Any, group: Any, output: Any, first: Any, count: Any
    ) -> None:
        """Write A' m A for the sums m of a tile of outputs, and add zero times all of it to `zeros`."""
        plane, t = plan.oh * plan.ow, 0
        scale, zero = full(scratch.dtype.type(factor), 1, 1), full(scratch.dtype.type(0), 1, 1)
        while t < count:
            i, down, across, run = locate(plan, first, t, count)
            height, width = min(m, plan.oh - down), min(m * run, plan.ow - across)
            start = ((i * plan.groups + group) * plan.outputs + output) * plane + down * plan.ow + across
            check = load(scratch, zeros + t, 0, 1, 1)
            for r in range(min(rows, plan.outputs - output)):
                d = arrange(load(scratch, sums + r * plan.pitch + t, rows * plan.pitch, elements, 1), side)
                d = turn(transform_output(turn(transform_output(d)))) * scale
                check = fma(sum_rows(arrange(d, pixels)), zero, check)
                if width == m * lanes:
                    collect_lines(y, start + r * plane, plan.ow, height, None, d)
                else:
                    collect_lines(y, start + r * plane, plan.ow, height, width, d)
            store_whole(scratch, zeros + t, 0, check)
            t += run

    return transform_weights, multiply
