"""Convolution by vectors of images: a vector holds one pixel of as many images as it has lanes.

The pixels of a band of lines are laid out one after the other, with zeros around the images. There each tap of each
output sees whole vectors, whatever stride, dilation and padding are, and nothing is left over where a line ends: places
of outputs and of taps are tables. For batches that do not fill vectors, positions are lanes (`conv.sums_over_taps`).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu import sums
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import fill, up
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import (
    arrange,
    lanes,
    load,
    load_at,
    load_part,
    store,
    store_at,
    store_whole,
    transpose,
)
from minigrad.kernels.cpu.sums import Job, plan_packing, sum_over_taps, tile_of_sums
from minigrad.kernels.cpu.threads import get_num_threads, parts_of

Array = npt.NDArray[Any]
Pair = tuple[int, int]

FILLED = 0.9  # of the lanes, at least
ELEMENTS = 1 << 16  # of a copy and of a band's sums, about: they stay in the L2 cache


class Plan(NamedTuple):
    """How a convolution is cut: images into blocks of a vector, lines of the output into bands, channels into passes.

    n, groups, channels, outputs
        The images, the groups, and the channels and outputs of each.
    h, w, oh, ow
        The sizes of the input and of the output.
    band, bands, together
        The lines of the output in a band, the bands, and the channels of a pass.
    up, down, top, span, pitch
        The line `line * up // down - top` of the input is the first under the band that begins with an output's
        `line`; `span` of them are copied, each to so many pixels.
    size, room
        The elements of a copy, and of the sums of a band.
    """

    n: int
    groups: int
    channels: int
    outputs: int
    h: int
    w: int
    oh: int
    ow: int
    band: int
    bands: int
    together: int
    up: int
    down: int
    top: int
    span: int
    pitch: int
    size: int
    room: int


@functools.lru_cache(maxsize=1024)
def pays(
    n: int, weight: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, dilation: Pair,
    groups: int, wide: int, adjoint: bool,
) -> bool:  # fmt: skip
    """Whether n images fill vectors, and this is estimated to be faster than `conv.sums_over_taps`.

    Both are estimated as parts of the time of the multiplications. Here images are turned over before, and outputs
    afterwards. There, outputs of an image are to fill vectors, and each line is copied for each tap across.
    """
    o, channels, *window = weight
    outputs, area, strides = o // groups, math.prod(window), math.prod(stride)
    down, across = (_axis(*axis, adjoint) for axis in zip(window, stride, padding, dilation, strict=True))
    if not fills(n, wide) or down.reach(1) * across.reach(-(-size[1] // across.step)) * wide > ELEMENTS:
        return False
    if adjoint:
        return True
    turned = 20 * strides / (area * outputs) + 24 / (area * channels)
    idle = up(math.prod(size), wide) / math.prod(size) - 1
    copied = stride[1] * (20 * up(size[1], wide) / size[1] - 10) / (window[0] * outputs)
    return turned < idle + copied


def fills(n: int, wide: int) -> bool:
    """Whether n images fill vectors, but for a few lanes."""
    return n >= FILLED * up(n, wide)


def correlate(x: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Cross-correlate to an output of any size, after any padding, also a negative one; nothing may be empty."""
    return _compute(x, weight, size, stride, padding, dilation, groups, False)


def adjoint(g: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Compute the gradient of images of a size, from that of their cross-correlation; nothing may be empty."""
    return _compute(g, weight, size, stride, padding, dilation, groups, True)


def _compute(
    x: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int, adjoint: bool
) -> Array:
    args = (x.shape[2], x.shape[3]), weight.shape, size, stride, padding, dilation, groups, adjoint
    return sum_over_taps(x, weight, _plan(len(x), *args, x.dtype, get_num_threads()))


@functools.lru_cache(maxsize=256)
def _plan(
    n: int, image: Pair, weight: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    adjoint: bool, dtype: Any, threads: int,
) -> Job:  # fmt: skip
    wide, (outputs, channels, *window) = lanes(dtype), (weight[0] // groups, *weight[1:])
    if adjoint:
        outputs, channels = channels, outputs
    rows, columns = tile_of_sums(outputs)
    args = image, size, (window[0], window[1]), stride, padding, dilation, adjoint, wide, rows, threads
    plan, met, *tables = plan_bands((n, groups, channels, outputs), *args)
    packing, blocks = plan_packing(weight, groups, rows, adjoint, met), -(-n // wide) * groups * plan.bands
    scratch, shape = plan.size + plan.room, (n, groups * outputs, *size)
    compute = sums_over_taps(wide, rows, columns)
    return Job(compute, blocks, min(threads, blocks), packing, tuple(tables), (plan,), scratch, shape)


class Axis(NamedTuple):
    """How outputs along an axis see the input: those that are `step` apart meet the same taps, `advance` further on.

    met, offsets
        For each of the first `step` outputs the taps that it meets, and the places that it sees.
    """

    step: int
    advance: int
    met: list[Array]
    offsets: list[Array]

    @property
    def first(self) -> int:
        """The first place that is seen."""
        return min(int(places.min()) for places in self.offsets if len(places))

    def reach(self, count: int) -> int:
        """How many places are seen, from the first on, by `count` outputs that meet the same taps."""
        last = max(int(places.max()) for places in self.offsets if len(places))
        return last - self.first + 1 + (count - 1) * self.advance


def _axis(taps: int, stride: int, padding: int, dilation: int, adjoint: bool) -> Axis:
    tap = np.arange(taps)
    if not adjoint:
        return Axis(1, stride, [tap], [tap * dilation - padding])
    seen = [residue + padding - tap * dilation for residue in range(stride)]
    met = [np.flatnonzero(places % stride == 0) for places in seen]
    return Axis(stride, 1, met, [places[taps] // stride for places, taps in zip(seen, met, strict=True)])


def plan_bands(
    sizes: tuple[int, int, int, int], image: Pair, size: Pair, window: Pair, stride: Pair, padding: Pair,
    dilation: Pair, adjoint: bool, wide: int, rows: int, threads: int, whole: bool = False,
) -> Any:  # fmt: skip
    """Plan bands, with all channels in a pass, where `whole`.

    Returns the plan, the taps that each share meets, the shares, and the tables of taps, places, pixels and copies.
    """
    channels, outputs, (h, w), (oh, ow) = sizes[2], sizes[3], image, size
    down, across = (_axis(*axis, adjoint) for axis in zip(window, stride, padding, dilation, strict=True))
    pitch = across.reach(-(-ow // across.step))
    deepest = max(len(u) * len(v) for u in down.met for v in across.met)
    tiles, lines = -(-outputs // rows), -(-oh // down.step)

    def fits(count: int) -> tuple[int, int, int]:
        """The channels of a pass, and the elements of a channel's copy and of the sums, for so many lines a share."""
        channel = (down.reach(count) * pitch + 1) * wide
        together = channels if whole else max(1, min(channels, sums.DEPTH // deepest, ELEMENTS // channel))
        return together, channel, tiles * rows * count * down.step * ow * wide

    count = next(k for k in range(lines, 0, -1) if k == 1 or max(math.prod(fits(k)[:2]), fits(k)[2]) <= ELEMENTS)
    alone = -(-sizes[0] // wide) * sizes[1]  # jobs, if a band were all lines
    together, _, _ = fits(count)  # for any number of threads
    bands = parts_of(alone, -(-lines // count), lines, threads)
    count = -(-lines // bands)  # bands of about the same height
    _, channel, room = fits(count)
    span = down.reach(count)
    shares, met = [], []
    taps: list[Array] = []
    places: list[Array] = []
    pixels: list[Array] = []
    for a, b in np.ndindex(down.step, across.step):
        columns = len(range(b, ow, across.step))
        k, i, j = np.ogrid[:together, : len(down.met[a]), : len(across.met[b])]
        rows_seen, columns_seen = down.offsets[a] - down.first, across.offsets[b] - across.first
        seen = k * channel + (rows_seen[i] * pitch + columns_seen[j]) * wide
        q, r = np.ogrid[:count, :columns]
        tap = sum(map(len, taps))
        weight = sizes[1] * tiles * rows * channels * (tap // together)
        shares.append((a, down.step, sum(map(len, places)), columns, tap, seen[0].size, weight))
        met.append(tuple((down.met[a][:, None] * window[1] + across.met[b]).ravel().tolist()))
        taps.append(seen.ravel())
        places.append(((q * down.advance * pitch + r * across.advance) * wide).ravel())
        pixels.append((((a + q * down.step) * ow + b + r * across.step) * wide).ravel())
    line, column = np.ogrid[:span, :w]
    column = column - across.first
    copied = np.where((column >= 0) & (column < pitch), line * pitch + column, span * pitch) * wide
    plan = Plan(
        *(*sizes, h, w, oh, ow, count * down.step, bands, together, down.advance, down.step, -down.first, span, pitch),
        *(together * channel, room + wide * wide),
    )
    tables = [np.concatenate(table).astype(np.intp) for table in (taps, places, pixels)]
    return plan, tuple(met), np.array(shares, np.intp), *tables, copied.ravel().astype(np.intp)


@functools.cache
def layout(lanes: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile the way of a band's pixels to vectors of images, and that of its outputs back."""

    @jit
    def copy_band(
        copies: Any, x: Any, at: Any, images: Any, channels: Any, row: Any, copied: Any, plan: Any
    ) -> None:  # fmt: skip
        """Lay out the lines from `row` on of some channels, x[at:], of some images, with zeros for lines outside."""
        line, zero = plan.pitch * lanes, x.dtype.type(0)
        image = plan.groups * plan.channels * plan.h * plan.w
        above = min(max(0, -row), plan.span)
        below = max(above, min(plan.span, plan.h - row))
        for c in range(channels):
            base = c * (plan.span * line + lanes)
            fill(copies, base, base + above * line, zero)
            fill(copies, base + below * line, base + plan.span * line, zero)
            start, count = at + (c * plan.h + row + above) * plan.w, (below - above) * plan.w
            for k in range(0, count, lanes):
                if images == lanes and k + lanes <= count:
                    square = transpose(load(x, start + k, image, lanes, 1))
                    store_at(copies, base, 0, copied, above * plan.w + k, None, arrange(square, 1))
                else:
                    square = transpose(load_part(x, start + k, image, lanes, 1, images, count - k))
                    store_at(copies, base, 0, copied, above * plan.w + k, count - k, arrange(square, 1))

    @jit
    def put_back(y: Any, output: Any, images: Any, band: Any, height: Any, sums: Any, plan: Any) -> None:
        """Bring the sums of a band to their images."""
        plane, run, pitch = plan.oh * plan.ow, height * plan.ow, plan.band * plan.ow * lanes
        image = plan.groups * plan.outputs * plane
        for o in range(plan.outputs):
            place = (output + o) * plane + band * plan.ow
            for p in range(0, run, lanes):
                square = transpose(load(sums, o * pitch + p * lanes, lanes, lanes, 1))
                if images == lanes and p + lanes <= run:
                    store_whole(y, place + p, image, square)
                else:
                    store(y, place + p, image, images, run - p, square)

    return copy_band, put_back


@functools.cache
def sums_over_taps(lanes: int, rows: int, columns: int) -> Callable[..., None]:
    """Compile the convolution for tiles of so many outputs by positions."""
    copy_band, put_back = layout(lanes)

    @shared
    def compute(
        thread: Any, first: Any, stop: Any, y: Any, x: Any, weight: Any, shares: Any, taps: Any, places: Any,
        pixels: Any, copied: Any, scratch: Any, plan: Any
    ) -> None:  # fmt: skip
        copies, sums = scratch[thread, : plan.size], scratch[thread, plan.size :]
        fill(copies, 0, plan.size, x.dtype.type(0))
        for job in range(first, stop):
            band, group = job % plan.bands * plan.band, job // plan.bands % plan.groups
            image = job // plan.bands // plan.groups * lanes
            images, height = min(lanes, plan.n - image), min(plan.band, plan.oh - band)
            for c in range(0, plan.channels, plan.together):
                count, row = min(plan.together, plan.channels - c), band * plan.up // plan.down - plan.top
                at = ((image * plan.groups + group) * plan.channels + c) * plan.h * plan.w
                copy_band(copies, x, at, images, count, row, copied, plan)
                for share in range(len(shares)):
                    add_share(sums, copies, weight, shares[share], taps, places, pixels, group, c, count, height, plan)
            put_back(y, (image * plan.groups + group) * plan.outputs, images, band, height, sums, plan)

    @jit
    def add_share(
        sums: Any, copies: Any, weight: Any, share: Any, taps: Any, places: Any, pixels: Any,
        group: Any, c: Any, count: Any, height: Any, plan: Any
    ) -> None:  # fmt: skip
        """Add what some channels from c on give to the outputs of a share."""
        first, step, start, width, tap, depth, origin = share
        stop = start + max(0, -((first - height) // step)) * width
        pitch, tiles = plan.band * plan.ow * lanes, -(-plan.outputs // rows)
        for tile in range(tiles):
            at = origin + ((group * tiles + tile) * plan.channels + c) * depth * rows
            to, p = tile * rows * pitch, start
            while p + columns <= stop:
                many(sums, to, pitch, copies, places, pixels, p, taps, tap, weight, at, count * depth, c == 0)
                p += columns
            while p < stop:
                one(sums, to, pitch, copies, places, pixels, p, taps, tap, weight, at, count * depth, c == 0)
                p += 1

    def adder(columns: int) -> Callable[..., None]:
        product = products(rows, columns)

        @jit(forceinline=True)
        def add(
            sums: Any, to: Any, pitch: Any, copies: Any, places: Any, pixels: Any, p: Any, taps: Any, tap: Any,
            weight: Any, at: Any, depth: Any, fresh: Any
        ) -> None:  # fmt: skip
            """sums[m, pixels[p]] (+)= the products of the taps."""
            total = product((copies, places), p, taps[tap:], weight, at, depth)
            if not fresh:
                total = load_at(sums, to, pitch, rows, pixels, p, columns, None) + total
            store_at(sums, to, pitch, pixels, p, None, total)

        return add

    many, one = adder(columns), adder(1)

    return compute


@functools.cache
def products(rows: int, columns: int) -> Callable[..., Any]:
    """Compile the sums over k of weight[k, m] * copies[places[p] + taps[k]], for x = (copies, places) and some p."""

    @jit(forceinline=True)
    def load_tap(x: Any, p: Any, tap: Any) -> Any:
        copies, places = x
        return load_at(copies, tap, 0, 1, places, p, columns, None)

    return sums.products(rows, columns, load_tap)
