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
from minigrad.kernels.cpu.generic import KERNELS
from minigrad.kernels.cpu.lines import fill
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import broadcast_apart, fma, full, lanes, load, load_at, registers, store_whole
from minigrad.kernels.cpu.stacks import packers
from minigrad.kernels.cpu.threads import get_num_threads

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
    lane, outputs, taps = lanes(g.dtype), shape[0] // groups, math.prod(shape[2:])
    vectors = -(-shape[1] // lane)
    passes = -(-vectors // VECTORS)
    vectors = -(-vectors // passes)
    plan = _plan(g.shape, x.shape, shape, stride, padding, dilation, groups, passes, vectors * lane)
    u, v, c = np.ogrid[: shape[2], : shape[3], :vectors]
    places = (((u * dilation[0] * plan.pitch + v * dilation[1]) * vectors + c) * lane).reshape(-1)
    rows, columns = tile_of_channels(outputs, len(places))
    tiles = -(-outputs // rows), -(-len(places) // columns)
    totals = empty((passes * groups * plan.slices, math.prod(tiles) * rows * columns * lane), g.dtype)
    scratch = workspaces(get_num_threads(), plan.together * plan.size, g.dtype)
    flat_g, flat_x = np.ascontiguousarray(g).reshape(-1), np.ascontiguousarray(x).reshape(-1)
    compute = sums_of_channels(lane, vectors, rows, columns)
    compute(len(totals), len(scratch), totals, flat_g, flat_x, scratch, places, plan)
    sums = KERNELS["sum"](totals.reshape(passes * groups, plan.slices, -1), axis=(1,), keepdims=False)
    found = sums.reshape(passes, groups, *tiles, rows, columns, lane).transpose(1, 2, 4, 0, 3, 5, 6)
    found = found.reshape(groups, tiles[0] * rows, passes, tiles[1] * columns, lane)
    found = found[:, _found(outputs, rows)][:, :, :, _found(len(places), columns)]
    found = found.reshape(groups * outputs, passes, taps, vectors * lane).swapaxes(2, 3)
    return np.ascontiguousarray(found.reshape(shape[0], -1, taps)[:, : shape[1]]).reshape(shape)


def _plan(
    g: tuple[int, ...], x: tuple[int, ...], weight: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair,
    groups: int, passes: int, wide: int,
) -> Plan:  # fmt: skip
    (n, o, oh, ow), (h, w), (channels, kh, kw) = g, x[2:], weight[1:]
    rows = min(oh, max(1, POSITIONS // ow))
    rows = -(-oh // -(-oh // rows))  # bands of about the same height
    together = max(1, min(n, POSITIONS // (rows * ow)))
    span = (rows - 1) * stride[0] + (kh - 1) * dilation[0] + 1
    pitch = max(padding[1] + w, (ow - 1) * stride[1] + (kw - 1) * dilation[1] + 1)
    slices = min(-(-n // together) * -(-oh // rows), -(-PARTS // (groups * passes)))
    return Plan(
        *(n, groups, o // groups, channels, h, w, oh, ow, *stride, *padding),
        *(rows, together, span, pitch, span * pitch * wide, passes, slices),
    )


def _found(count: int, step: int) -> Array:
    """Where each of `count` things is among those of tiles of `step`, the last of which begins where it fits."""
    thing = np.arange(count)
    return thing + np.maximum(thing // step * step - (count - step), 0)


@functools.cache
def tile_of_channels(outputs: int, vectors: int) -> Pair:
    """Choose the outputs and vectors of a tile: few that are computed twice, few loads, and all in the registers."""

    def cost(tile: Pair) -> float:
        rows, columns = tile
        return -(-outputs // rows) * -(-vectors // columns) * (max(rows * columns, 8) + 0.3 * (rows + columns))

    tiles = [(m, v) for m in range(1, min(outputs, 12) + 1) for v in range(1, min(vectors, 4) + 1)]
    return min((tile for tile in tiles if tile == (1, 1) or (tile[0] + 1) * tile[1] < registers()), key=cost)


@functools.cache
def sums_of_channels(lanes: int, vectors: int, rows: int, columns: int) -> Callable[..., None]:
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

    return compute
