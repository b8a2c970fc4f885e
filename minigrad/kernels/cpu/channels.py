"""The gradient of a weight by vectors of channels: for each tap and output, sums over positions of g times the pixel.

The channels of a pixel are laid side by side, with zeros around an image. There each tap of each position sees
vectors, whatever stride and dilation are, and nothing is left over where a line ends; g stays as it is, number by
number. For few channels positions are lanes (`conv.sums_over_outputs`), with a copy for each tap in a line.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import fill
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import broadcast_apart, fma, full, lanes, load, load_at, registers, store_whole
from minigrad.kernels.cpu.stacks import packers
from minigrad.kernels.cpu.threads import get_num_threads, sharing

Array = npt.NDArray[Any]
Pair = tuple[int, int]

FILLED = 0.9  # of the lanes of vectors of channels, at least
FEWEST = 4  # outputs, at least: they share the channels that a tile loads
LONGEST = 512  # positions in a line, which is in one sum
POSITIONS = 128  # in a sum of float32, about: what a tile reads stays in the caches, and rounding is bounded
VECTORS = 4  # of channels in a copy, at most
PARTS = 16  # into so many the sum is cut for the threads, where the batch allows


class Plan(NamedTuple):
    """How the sums of a group are cut: channels into passes, outputs into bands of rows, units of bands into slices.

    n, groups, outputs, channels
        The images, the groups, and the outputs and channels of each.
    height, breadth, oh, ow
        The sizes of an image and of an output.
    sh, sw, top, left
        The strides and the paddings.
    rows, together
        The rows in a band, and the images whose bands make a unit.
    span, pitch, size
        The lines of a copy, the pixels of a line, and the elements of a copy.
    passes, slices
        In how many pieces channels are copied, and units are summed.
    """

    n: int
    groups: int
    outputs: int
    channels: int
    height: int
    breadth: int
    oh: int
    ow: int
    sh: int
    sw: int
    top: int
    left: int
    rows: int
    together: int
    span: int
    pitch: int
    size: int
    passes: int
    slices: int


def pays(shape: tuple[int, ...], groups: int, size: Pair, dtype: np.dtype) -> bool:
    """Whether channels fill vectors that several taps and outputs share, and lines are short enough for one sum."""
    wide, (o, channels, *window) = lanes(dtype), shape
    filled = channels >= FILLED * wide * -(-channels // wide)
    return filled and o // groups >= FEWEST and math.prod(window) > 1 and size[1] <= LONGEST


def conv2d_weight(
    g: Array, x: Array, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Apply the adjoint of weight -> conv2d(x, weight): see `reference.conv2d_weight`; nothing may be empty."""
    job, threads = _plan(g.shape, x.shape, shape, stride, padding, dilation, groups, g.dtype), get_num_threads()
    plan, totals, weight = job.plan, empty(job.totals, g.dtype), empty(shape, g.dtype)
    scratch = workspaces(threads, plan.together * plan.size, g.dtype)
    flat_g, flat_x = g.ravel(), x.ravel()
    job.compute(len(totals), threads, totals, flat_g, flat_x, scratch, job.places, plan)
    job.finish(job.tiles, sharing(totals.size), weight.ravel(), totals, len(job.places), plan)
    return weight


class Job(NamedTuple):
    """What the shapes of a call say.

    compute, finish
        The kernels: sums over slices of the positions, and sums of those.
    totals, tiles
        The shape of the slices' sums, and how many tiles of outputs all passes have.
    places, plan
        Where taps see the channels of a position, and how all is cut.
    """

    compute: Callable[..., None]
    finish: Callable[..., None]
    totals: Pair
    tiles: int
    places: Array
    plan: Plan


@functools.lru_cache(maxsize=256)
def _plan(
    g: tuple[int, ...], x: tuple[int, ...], weight: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
    groups: int, dtype: Any,
) -> Job:  # fmt: skip
    (n, o, oh, ow), (h, w), (channels, kh, kw), lane = g, x[2:], weight[1:], lanes(dtype)
    vectors = -(-channels // lane)
    passes = -(-vectors // VECTORS)
    vectors = -(-vectors // passes)
    band = min(oh, max(1, POSITIONS // ow))
    band = -(-oh // -(-oh // band))  # bands of about the same height
    together = max(1, min(n, POSITIONS // (band * ow)))
    span = (band - 1) * stride[0] + (kh - 1) * dilation[0] + 1
    pitch = max(padding[1] + w, (ow - 1) * stride[1] + (kw - 1) * dilation[1] + 1)
    slices = min(-(-n // together) * -(-oh // band), -(-PARTS // (groups * passes)))
    plan = Plan(
        *(n, groups, o // groups, channels, h, w, oh, ow, *stride, *padding),
        *(band, together, span, pitch, span * pitch * vectors * lane, passes, slices),
    )
    u, v, c = np.ogrid[:kh, :kw, :vectors]
    places = (((u * dilation[0] * pitch + v * dilation[1]) * vectors + c) * lane).ravel()
    rows, columns = tile_of_channels(plan.outputs, len(places))
    tiles = -(-plan.outputs // rows)
    totals = passes * groups * slices, tiles * -(-len(places) // columns) * rows * columns * lane
    return Job(*sums_of_channels(lane, vectors, rows, columns), totals, passes * groups * tiles, places, plan)


@functools.cache
def tile_of_channels(outputs: int, vectors: int) -> Pair:
    """Choose the outputs and vectors of a tile: few that are computed twice, few loads, and all in the registers."""

    def cost(tile: Pair) -> float:
        rows, columns = tile
        return -(-outputs // rows) * -(-vectors // columns) * (max(rows * columns, 8) + 0.3 * (rows + columns))

    tiles = [(m, v) for m in range(1, min(outputs, 12) + 1) for v in range(1, min(vectors, 4) + 1)]
    return min((tile for tile in tiles if tile == (1, 1) or (tile[0] + 1) * tile[1] < registers()), key=cost)


@functools.cache
def sums_of_channels(
    lanes: int, vectors: int, rows: int, columns: int
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile `conv2d_weight` for vectors of channels in a copy, and tiles of outputs by such vectors.

    Where tiles do not fit, the last one begins earlier, and what it shares with the one before is computed twice.
    """
    wide, across = vectors * lanes, columns * lanes
    copy_line = packers(lanes)[1]

    @shared
    def compute(
        thread: Any, first: Any, stop: Any, totals: Any, g: Any, x: Any, scratch: Any, places: Any, plan: Any
    ) -> None:  # fmt: skip
        fill(scratch[thread], 0, scratch.shape[1], x.dtype.type(0))
        for block in range(first, stop):
            sum_block(totals[block], g, x, scratch[thread], places, plan, block)

    @jit
    def sum_block(totals: Any, g: Any, x: Any, copies: Any, places: Any, plan: Any, block: Any) -> None:
        """Sum over one slice of the units: the gradients of a group's weights at the channels of one pass."""
        part, other, bands = block % plan.slices, block // plan.slices, -(-plan.oh // plan.rows)
        group, c = other % plan.groups, other // plan.groups * wide
        units = -(-plan.n // plan.together) * bands
        first, last = part * units // plan.slices, (part + 1) * units // plan.slices
        for unit in range(first, last):
            image, row = unit // bands * plan.together, unit % bands * plan.rows
            images = min(plan.together, plan.n - image)
            for b in range(images):
                channel = ((image + b) * plan.groups + group) * plan.channels + c
                copy_band(copies, b * plan.size, x, channel, min(wide, plan.channels - c), row, plan)
            place = ((image * plan.groups + group) * plan.outputs * plan.oh + row) * plan.ow
            add_unit(totals, g, place, copies, places, images, min(plan.rows, plan.oh - row), unit == first, plan)

    @jit
    def copy_band(copies: Any, start: Any, x: Any, channel: Any, channels: Any, row: Any, plan: Any) -> None:
        """Lay side by side the channels of the pixels under a band, and zeros for lines outside the image."""
        line, plane, top = plan.pitch * wide, plan.height * plan.breadth, row * plan.sh - plan.top
        for r in range(plan.span):
            to = start + r * line
            if 0 <= top + r < plan.height:
                at = channel * plane + (top + r) * plan.breadth
                copy_line(copies[to + plan.left * wide :], 0, x, at, plane, plan.breadth, channels, wide)
            else:
                fill(copies, to, to + line, x.dtype.type(0))

    @jit
    def add_unit(
        totals: Any, g: Any, place: Any, copies: Any, places: Any, images: Any, lines: Any, fresh: Any, plan: Any
    ) -> None:  # fmt: skip
        """totals[o, k] (+)= the sum over images, lines and j of g[o] * copies[places[k]], for all tiles of o and k."""
        plane, tile = plan.oh * plan.ow, 0
        for o in range(0, plan.outputs, rows):
            first = place + min(o, plan.outputs - rows) * plane
            for k in range(0, len(places), columns):
                tap, total = min(k, len(places) - columns), full(g.dtype.type(0), rows, columns)
                for b in range(images):
                    at, start = first + b * plan.groups * plan.outputs * plane, b * plan.size
                    for i in range(lines):
                        line = start + i * plan.sh * plan.pitch * wide
                        total = add_line(total, g, at + i * plan.ow, plane, copies, line, places, tap, plan)
                if not fresh:
                    total = load(totals, tile, across, rows, columns) + total
                store_whole(totals, tile, across, total)
                tile += rows * across

    @jit(forceinline=True)
    def add_line(
        total: Any, g: Any, at: Any, plane: Any, copies: Any, start: Any, places: Any, tap: Any, plan: Any
    ) -> Any:  # fmt: skip
        for j in range(plan.ow):
            seen = load_at(copies, start + j * plan.sw * wide, 0, 1, places, tap, columns, None)
            total = fma(broadcast_apart(g, at + j, plane, rows), seen, total)
        return total

    @shared
    def finish(
        thread: Any, first: Any, stop: Any, weight: Any, totals: Any, depth: Any, plan: Any
    ) -> None:  # fmt: skip
        """Add what the slices found for a tile of outputs and a pass, and put it in its place."""
        tiles, deep = -(-plan.outputs // rows), -(-depth // columns)
        for i in range(first, stop):
            other, tile = i // tiles, i % tiles
            for k in range(deep):
                at = (tile * deep + k) * rows * across
                total = load(totals[other * plan.slices], at, across, rows, columns)
                for part in range(1, plan.slices):
                    total = load(totals[other * plan.slices + part], at, across, rows, columns) + total
                store_whole(totals[other * plan.slices], at, across, total)
                put(
                    weight, totals[other * plan.slices], at, other, tile, min(k * columns, depth - columns), depth, plan
                )

    @jit
    def put(
        weight: Any, sums: Any, at: Any, other: Any, tile: Any, first: Any, depth: Any, plan: Any
    ) -> None:  # fmt: skip
        """Write a tile of sums, whose vectors are the taps and channels from `first` on."""
        taps, output = depth // vectors, min(tile * rows, plan.outputs - rows)
        for m in range(tile * rows - output, rows):
            for v in range(columns):
                tap, c = (first + v) // vectors, other // plan.groups * wide + (first + v) % vectors * lanes
                to = ((other % plan.groups * plan.outputs + output + m) * plan.channels + c) * taps + tap
                for lane in range(min(lanes, plan.channels - c)):
                    weight[np.uintp(to + lane * taps)] = sums[np.uintp(at + m * across + v * lanes + lane)]

    return compute, finish
