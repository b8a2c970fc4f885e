"""What pools and depthwise convolutions share: windows that tile an image, and lines of images dealt out by a stride.

Lines have room on both sides. Element e of a line goes to place e // stride of part e % stride. Then what one tap of a
sliding window meets at neighbouring positions are neighbours, too, and vectors do the work. Rows of results are written
from the last vector to the first, and row after row: so a vector may stick out of its row, into what is written after
it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels import geometry
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import collect as put_together
from minigrad.kernels.cpu.simd import deal as spread_out
from minigrad.kernels.cpu.simd import full, lanes, load, load_line, registers, size, store, store_whole, width

Array = npt.NDArray[Any]
Pair = tuple[int, int]

LINES = max(1, registers() // 8)  # lines that are computed together
MOST = 4  # parts that vectors are dealt out to; for larger strides, elements are moved one by one
ELEMENTS = 1 << 12  # in the scratch of a band, about: they stay in the L1 cache


class Plan(NamedTuple):
    """How windows that may overlap are computed: each image in bands of rows.

    h, w, oh, ow
        The sizes of the image and of the pooled one.
    sh, sw, above
        The strides, and how many rows above its own a band begins to read.
    left, places, pitch
        Of a dealt line: the room before it, the places of the image in a part, and from part to part.
    wide
        The positions of a line, up to whole vectors.
    span, band, bands
        The lines that a band reads, the rows that it writes, and the bands of an image.
    images
        How many images there are.
    """

    h: int
    w: int
    oh: int
    ow: int
    sh: int
    sw: int
    above: int
    left: int
    places: int
    pitch: int
    wide: int
    span: int
    band: int
    bands: int
    images: int


def up(count: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-count // step) * step


def band_of(rows: int, fitting: int, step: int) -> int:
    """Cut rows into bands of about the same height: a multiple of `step`, at most `fitting` where that is possible."""
    bands = -(-rows // max(step, fitting // step * step))
    return up(-(-rows // bands), step)


def pooled_size(image: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    """The size of the pooled image."""
    axes = zip(image, kernel_size, stride, padding, dilation, strict=True)
    oh, ow = (geometry.output_size(*axis, ceil_mode) for axis in axes)
    return oh, ow


def tiles(image: Pair, size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> bool:
    """Whether the windows tile the image, and are so narrow that vectors are dealt out to their columns."""
    covered = size[0] * stride[0], size[1] * stride[1]
    return (kernel_size, padding, dilation, covered) == (stride, (0, 0), (1, 1), image) and stride[1] <= MOST


@functools.lru_cache(maxsize=256)
def plan_lines(
    images: int,
    image: Pair,
    size: Pair,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    copies: int,
    dtype: Any,
) -> tuple[Plan, Array]:
    """The plan, and where the taps of a row are in a dealt line; so many `copies` of a line of positions are kept."""
    (h, w), (oh, ow), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = image, size, window, stride, padding, dilation
    vector = lanes(dtype)
    columns = np.arange(kw) * dw - pw
    wide, places, left = up(ow, vector), up(-(-w // sw), vector), up(max(0, -(-pw // sw)), vector)
    pitch = left + up(max(places, (kw * dw - dw - pw) // sw + wide), vector)
    fitting = ELEMENTS // (sw * pitch + copies * wide)
    if copies:  # for each row of the image, not of positions
        fitting = (fitting - (kh - 1) * dh - 1) // sh + 1
    band = band_of(oh, fitting, LINES)
    span = up((band - 1) * sh + (kh - 1) * dh + 1, LINES)
    bands = -(-oh // band)
    plan = Plan(h, w, oh, ow, sh, sw, ph, left, places, pitch, wide, span, band, bands, images)
    return plan, columns % sw * pitch + left + columns // sw


@jit(forceinline=True)
def end_of(unit: Any, height: Any, width: Any, plan: Any) -> Any:
    """Where the rows of a band end, the unit-th of all images, in an array of images."""
    n, band = unit // plan.bands, unit % plan.bands
    return (n * height + min(height, (band + 1) * plan.band)) * width


@jit(forceinline=True)
def fill(x: Any, first: Any, stop: Any, value: Any) -> None:
    """Write a value to whole vectors."""
    for e in range(first, stop, width(x)):
        store_whole(x, e, 0, full(value, 1, 1))


@jit(forceinline=True)
def put(x: Any, to: Any, end: Any, rest: Any, row: Any) -> None:
    """Write a row of vectors of which `rest` elements matter; up to x[end] anything may be written beyond."""
    if to + size(row) <= end:
        store_whole(x, to, 0, row)
    else:
        store(x, to, 0, 1, rest, row)


@jit(forceinline=True)
def put_lines(y: Any, to: Any, q: Any, end: Any, tile: Any, plan: Any) -> None:
    """Write vectors of some rows of positions at y[to + q]; up to y[end] anything may be written beyond."""
    if to + (LINES - 1) * plan.ow + q + size(tile) <= end:
        store_whole(y, to + q, plan.ow, tile)
    else:
        store(y, to + q, plan.ow, (end - to) // plan.ow, plan.ow - q, tile)


@functools.cache
def window_reader(ways: int) -> Callable[..., Any]:
    """Compile `read(x, at, rest)`: a row under windows that tile an image, dealt out; `rest` windows matter."""

    @jit(forceinline=True)
    def read(x: Any, at: Any, rest: Any) -> Any:
        if at + ways * width(x) <= len(x):
            return spread_out(load(x, at, 0, 1, ways))
        return spread_out(load_line(x, at, rest * ways, ways, 0))

    return read


@functools.cache
def dealer(ways: int) -> Callable[..., None]:
    """Compile `deal(lines, to, x, at, rows, rest, plan)`.

    It deals out the sum of some rows that begin at x[at]; `rest` comes after its end.
    """

    @jit(forceinline=True)
    def deal_vectors(lines: Any, to: Any, x: Any, at: Any, rows: Any, rest: Any, plan: Any) -> None:
        e, block = 0, ways * width(x)
        for q in range(to, to + plan.places, width(x)):
            count = plan.w - e
            if block <= count:
                total = load(x, at + e, 0, 1, ways)
                for r in range(1, rows):
                    total = total + load(x, at + r * plan.w + e, 0, 1, ways)
            else:
                total = load_line(x, at + e, count, ways, rest)
                for r in range(1, rows):
                    total = total + load_line(x, at + r * plan.w + e, count, ways, rest)
            store_whole(lines, q, plan.pitch, spread_out(total))
            e += block

    @jit(forceinline=True)
    def deal_elements(lines: Any, to: Any, x: Any, at: Any, rows: Any, rest: Any, plan: Any) -> None:
        for p in range(min(plan.sw, plan.w)):
            for q in range((plan.w - p + plan.sw - 1) // plan.sw):
                e = at + q * plan.sw + p
                total = x[e]
                for r in range(1, rows):
                    total += x[e + r * plan.w]
                lines[to + p * plan.pitch + q] = total

    return deal_vectors if ways <= MOST else deal_elements


@functools.cache
def band_dealer(ways: int) -> Callable[..., None]:
    """Compile `deal_band(lines, x, unit, rest, plan)`: the rows under the unit-th band of all images, `rest` around."""
    deal = dealer(ways)

    @jit
    def deal_band(lines: Any, x: Any, unit: Any, rest: Any, plan: Any) -> None:
        image, top = unit // plan.bands, unit % plan.bands * plan.band * plan.sh - plan.above
        above, line = min(max(0, -top), plan.span), plan.sw * plan.pitch
        below = max(above, min(plan.span, plan.h - top))
        fill(lines, 0, above * line, rest)
        for r in range(above, below):
            deal(lines, r * line + plan.left, x, (image * plan.h + top + r) * plan.w, 1, rest, plan)
        fill(lines, below * line, plan.span * line, rest)

    return deal_band


@functools.cache
def collector(ways: int) -> Callable[..., None]:
    """Compile `collect(x, at, end, parts, start, plan)`.

    It puts the parts at parts[start:], each `plan.places` long, together to a row of w elements at x[at]. Up to x[end]
    anything may be written beyond.
    """

    @jit(forceinline=True)
    def collect_vectors(x: Any, at: Any, end: Any, parts: Any, start: Any, plan: Any) -> None:
        for q in range(plan.places - width(x), -1, -width(x)):
            e = q * ways
            put(x, at + e, end, plan.w - e, put_together(load(parts, start + q, plan.places, ways, 1)))

    @jit(forceinline=True)
    def collect_elements(x: Any, at: Any, end: Any, parts: Any, start: Any, plan: Any) -> None:
        for p in range(min(plan.sw, plan.w)):
            for q in range((plan.w - p + plan.sw - 1) // plan.sw):
                x[at + q * plan.sw + p] = parts[start + p * plan.places + q]

    return collect_vectors if ways <= MOST else collect_elements
