"""The gradient of the weight of a 3x3 convolution by Winograd's algorithm.

It is the transpose of `winograd.correlate`: with d the squares that the weight's windows see and g the gradients of the
output squares,

    gradient = G' (sum over all squares of (A g A') * (B' d B)) G

Here vectors are channels and outputs, side by side: in the order (i j t c) of the transformed squares, i j being the
element and t the square, the sums are matrix products over t. Pixels get into this order by transposing.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu import precision, winograd
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.runs import odd_lines
from minigrad.kernels.cpu.simd import (
    arrange,
    broadcast,
    collect,
    fma,
    full,
    lanes,
    load,
    load_grid,
    load_part,
    registers,
    store,
    store_whole,
    transpose,
    turn,
)
from minigrad.kernels.cpu.threads import get_num_threads, parts_of, sharing
from minigrad.kernels.cpu.winograd_transforms import TRANSFORMS

Array = npt.NDArray[Any]
Pair = tuple[int, int]

SQUARES = 64  # in a panel, about: transformed, they stay in the L2 cache
SLICES = 16  # of the panels, at most
SUMS = 1 << 20  # of all slices, about, where one has many: they stay in a cache
TRANSFORMING = 6.0  # what transforming a pixel takes, in the time of direct sums for one channel and output
WINDOWS = 2.5  # and an element of a window


class Bands(NamedTuple):
    """Images cut into bands of squares, and bands into panels that a thread transforms and multiplies together.

    n, groups, channels, outputs
        The images, the groups, and how many channels and outputs each has.
    height, breadth, oh, ow, top, left
        The sizes of an image and of an output, and the padding.
    down, across
        Squares in a column and a row of an output.
    lines, together, slices
        Lines of squares in a band, images in a panel, and slices of the panels.
    tiles, parts
        Tiles of outputs, and into how many parts they are cut.
    wide, high
        The distances from what one square has of the channels and of the outputs to the next.
    apart, given_apart
        The distances from one element to the next, of the images and of the gradients: see `winograd.Squares`.
    seen, given, size
        Where the scratch has the transformed images and gradients, after pixels of either, and its size.
    """

    n: int
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
    lines: int
    together: int
    slices: int
    tiles: int
    parts: int
    wide: int
    high: int
    apart: int
    given_apart: int
    seen: int
    given: int
    size: int


def weight_gradient(g: Array, x: Array, shape: tuple[int, ...], padding: Pair, groups: int) -> Array | None:
    """Apply the adjoint of weight -> conv2d(x, weight); None where direct sums do it better."""
    n, size, (o, channels, _, _), width, threads = len(x), g.shape[2:], shape, lanes(x.dtype), get_num_threads()
    case = n, (size[0], size[1]), channels, o // groups, TRANSFORMING, WINDOWS, 1, winograd.WORTH, precision.squares()
    m = winograd.best_square(*case)
    if not m:
        return None
    rows, columns = tile_of_sums(o // groups, -(-channels // width))
    plan = plan_bands(g.shape, x.shape, padding, groups, m, rows, columns * width, width, threads)
    scratch = workspaces(threads, plan.size, x.dtype)
    totals = empty((plan.slices, groups, plan.tiles, plan.wide, rows, (m + 2) ** 2), x.dtype)
    weight = empty(shape, x.dtype)
    multiply, finish = sums_over_squares(width, rows, columns, m)
    flat_g, flat_x = g.ravel(), x.ravel()
    multiply(plan.slices * groups * plan.parts, len(scratch), totals.ravel(), flat_g, flat_x, scratch, plan)
    finish(o, sharing(totals.size), weight.ravel(), totals.ravel(), plan)
    return weight if np.isfinite(weight).all() else None


@functools.cache
def tile_of_sums(outputs: int, vectors: int) -> tuple[int, int]:
    """Choose the outputs and vectors of channels of a tile of sums."""
    columns = 1
    if registers() > 16:
        columns = 3 if vectors % 3 == 0 else min(vectors, 2)
    most = min(12, (registers() - 1) // columns - 1)
    return -(-outputs // -(-outputs // most)), columns


@functools.lru_cache(maxsize=1024)
def plan_bands(
    g: tuple[int, ...], x: tuple[int, ...], padding: Pair, groups: int, m: int, rows: int, columns: int, width: int,
    threads: int,
) -> Bands:  # fmt: skip
    """Plan for gradients and images of these shapes, tiles of so many outputs and channels, vectors of `width`."""
    (n, o, oh, ow), (_, c, height, breadth) = g, x
    channels, outputs, elements = c // groups, o // groups, (m + 2) ** 2
    down, across, tiles = -(-oh // m), -(-ow // m), -(-outputs // rows)
    lines = min(down, max(1, SQUARES // across))
    lines = -(-down // -(-down // lines))
    together = min(n, max(1, SQUARES // (lines * across)))
    panels = -(-n // together) * -(-down // lines)
    wide = -(-channels // columns) * columns
    slices = max(1, min(panels, SLICES, SUMS // (elements * o * channels)))
    parts = parts_of(slices * groups, 1, tiles, threads, winograd.IDLE)
    high = -(-(-(-tiles // parts) * rows) // width) * width
    squares = lines * across * together
    pixels = (m * lines + 2) * (m * across + 2) + width
    seen = pixels * max(wide, high)
    apart, given_apart = odd_lines(squares * wide), odd_lines(squares * high)
    given = seen + elements * apart
    return Bands(
        *(n, groups, channels, outputs, height, breadth, oh, ow, *padding, down, across),
        *(lines, together, slices, tiles, parts, wide, high, apart, given_apart),
        *(seen, given, given + elements * given_apart + width),
    )


@functools.cache
def sums_over_squares(lanes: int, rows: int, columns: int, m: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile `weight_gradient` for squares of side m, and tiles of so many outputs by vectors of channels."""
    side, elements, block = m + 2, (m + 2) ** 2, columns * lanes
    of = TRANSFORMS[m]
    transform_input, transform_gradient, transform_window, factor = of.input, of.gradient, of.window, of.factor**2

    @shared
    def multiply(thread: Any, first: Any, stop: Any, totals: Any, g: Any, x: Any, scratch: Any, plan: Any) -> None:
        """totals[slice, group, tile of outputs, i, j, tile of channels, output, channel] = the sums over a slice."""
        clear_last(scratch[thread], plan)
        for k in range(first, stop):
            sum_slice(totals, g, x, scratch[thread], plan, k)

    @jit
    def clear_last(scratch: Any, plan: Any) -> None:
        """Write zeros for outputs of the last tile that there are not, whose sums no one reads.

        What else may be there, such as denormal numbers, could be slow to multiply.
        """
        nothing = full(scratch.dtype.type(0), elements, 1)
        for t in range(plan.together * plan.lines * plan.across):
            store_whole(scratch, plan.given + t * plan.high + plan.high - lanes, plan.given_apart, nothing)

    @jit
    def sum_slice(totals: Any, g: Any, x: Any, scratch: Any, plan: Any, k: Any) -> None:
        """Sum over one slice of the panels: one part of a group's outputs."""
        part, group, piece = k % plan.parts, k // plan.parts % plan.groups, k // plan.parts // plan.groups
        first, last = part * plan.tiles // plan.parts, (part + 1) * plan.tiles // plan.parts
        outputs = min(last * rows, plan.outputs) - first * rows
        bands = -(-plan.down // plan.lines)
        panels = -(-plan.n // plan.together) * bands
        width = plan.across * m
        start = piece * panels // plan.slices
        for panel in range(start, (piece + 1) * panels // plan.slices):
            i, line, t = panel // bands * plan.together, panel % bands * plan.lines, 0
            lines = min(plan.lines, plan.down - line)
            for image in range(i, min(i + plan.together, plan.n)):
                place = (image * plan.groups + group) * plan.channels * plan.height * plan.breadth
                copy_pixels(
                    scratch, x, place, plan.channels, plan.height, plan.breadth,
                    line * m - plan.top, -plan.left, lines * m + 2, width + 2, plan.wide
                )  # fmt: skip
                transform_images(scratch, plan.seen + t * plan.wide, plan.apart, plan, lines)
                place = ((image * plan.groups + group) * plan.outputs + first * rows) * plan.oh * plan.ow
                copy_pixels(
                    scratch, g, place, outputs, plan.oh, plan.ow, line * m, 0, lines * m, width, plan.high
                )  # fmt: skip
                transform_gradients(scratch, plan.given + t * plan.high, plan.given_apart, plan, lines, outputs)
                t += lines * plan.across
            place = ((piece * plan.groups + group) * plan.tiles + first) * elements * rows * plan.wide
            add_products(totals, place, scratch, plan, t, last - first, panel == start)

    @jit
    def copy_pixels(
        pixels: Any, x: Any, image: Any, channels: Any, height: Any, breadth: Any,
        top: Any, left: Any, lines: Any, width: Any, pitch: Any
    ) -> None:  # fmt: skip
        """pixels[i, j, c] = x[c, top + i, left + j], zero outside of the image.

        Whole vectors are written, also where a line ends: the next line overwrites what is too much.
        """
        zero = full(pixels.dtype.type(0), 1, 1)
        for c in range(0, channels, lanes):
            for i in range(lines):
                at, first, stop = i * width * pitch + c, 0, 0
                if 0 <= top + i < height:
                    first, stop = min(width, max(0, -left)), max(0, min(width, breadth - left))
                for j in range(first):
                    store_whole(pixels, at + j * pitch, 0, zero)
                for j in range(first, stop, lanes):
                    place = image + (c * height + top + i) * breadth + left + j
                    seen = load_part(x, place, height * breadth, lanes, 1, channels - c, stop - j)
                    store_whole(pixels, at + j * pitch, pitch, transpose(seen))
                for j in range(max(first, stop), width):
                    store_whole(pixels, at + j * pitch, 0, zero)

    @jit
    def transform_images(scratch: Any, place: Any, step: Any, plan: Any, lines: Any) -> None:
        """scratch[place:], in the order (i j t c), = B' d B for each square d that pixels of images have."""
        pitch = (m * plan.across + 2) * plan.wide
        for t in range(lines * plan.across):
            start = t // plan.across * m * pitch + t % plan.across * m * plan.wide
            for c in range(0, plan.channels, lanes):
                d = load_grid(scratch, start + c, pitch, plan.wide, side, side)
                d = turn(transform_input(turn(transform_input(d))))
                store_whole(scratch, place + t * plan.wide + c, step, arrange(d, elements))

    @jit
    def transform_gradients(scratch: Any, place: Any, step: Any, plan: Any, lines: Any, outputs: Any) -> None:
        """scratch[place:], in the order (i j t o), = A g A' for each square g that pixels of gradients have."""
        pitch = m * plan.across * plan.high
        for t in range(lines * plan.across):
            start = t // plan.across * m * pitch + t % plan.across * m * plan.high
            for o in range(0, outputs, lanes):
                d = load_grid(scratch, start + o, pitch, plan.high, m, m)
                d = turn(transform_gradient(turn(transform_gradient(d))))
                store_whole(scratch, place + t * plan.high + o, step, arrange(d, elements))

    @jit
    def add_products(totals: Any, to: Any, scratch: Any, plan: Any, count: Any, tiles: Any, fresh: Any) -> None:
        """totals[to:] (+)= the sum over the squares t of given[i, j, t, o] * seen[i, j, t, c], tile by tile."""
        for tile in range(tiles):
            for k in range(elements):
                for c in range(0, plan.wide, block):
                    seen = plan.seen + k * plan.apart + c
                    given = plan.given + k * plan.given_apart + tile * rows
                    if c + lanes < plan.channels:
                        add_whole(totals, to, scratch, seen, given, plan, count, fresh)
                    else:
                        add_last(totals, to, scratch, seen, given, plan, count, fresh)
                    to += rows * block

    def adder(columns: int) -> Callable[..., None]:
        """Compile the sum for one tile of outputs and so many vectors of channels."""

        @jit(forceinline=True)
        def add(
            totals: Any, to: Any, scratch: Any, seen: Any, given: Any, plan: Any, count: Any, fresh: Any
        ) -> None:  # fmt: skip
            total = full(totals.dtype.type(0), rows, columns)
            for t in range(count):
                pixels = load(scratch, seen + t * plan.wide, 0, 1, columns)
                total = fma(broadcast(scratch, given + t * plan.high, rows), pixels, total)
            if not fresh:
                total = load(totals, to, block, rows, columns) + total
            store_whole(totals, to, block, total)

        return add

    add_whole, add_last = adder(columns), adder(1)

    @shared
    def finish(thread: Any, first: Any, stop: Any, weight: Any, totals: Any, plan: Any) -> None:
        for output in range(first, stop):
            finish_output(weight, totals, plan, output)

    @jit
    def finish_output(weight: Any, totals: Any, plan: Any, output: Any) -> None:
        """Add the slices' sums u of one output, and write G' u G."""
        scale = full(totals.dtype.type(factor), 1, 1)
        group, o = output // plan.outputs, output % plan.outputs
        pitch = rows * plan.wide
        tile = (group * plan.tiles + o // rows) * elements * pitch
        for c in range(0, plan.channels, lanes):
            start = tile + (c // block * rows + o % rows) * block + c % block
            d = load(totals, start, pitch, elements, 1)
            for piece in range(1, plan.slices):
                d = d + load(totals, start + piece * plan.groups * plan.tiles * elements * pitch, pitch, elements, 1)
            d = turn(transform_window(turn(transform_window(arrange(d, side))))) * scale
            count = 9 * min(lanes, plan.channels - c)
            store(weight, (output * plan.channels + c) * 9, 0, 1, count, collect(arrange(d, 9)))

    return multiply, finish
