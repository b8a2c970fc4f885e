"""Lines of images dealt out by a stride, with room on both sides.

Element e of a line goes to place e // stride of part e % stride. Then what one tap of a sliding window meets at
neighbouring positions are neighbours, too, and vectors do the work. Rows of results are written from the last vector to
the first, and row after row: so a vector may stick out of its row, into what is written after it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import collect as put_together
from minigrad.kernels.cpu.simd import deal as spread_out
from minigrad.kernels.cpu.simd import load, load_line, registers, store, store_whole, width

LINES = max(1, registers() // 8)  # lines that are computed together
MOST = 4  # parts that vectors are dealt out to; for larger strides, elements are moved one by one
ELEMENTS = 1 << 12  # in the scratch of a band, about: they stay in the L1 cache


class Plan(NamedTuple):
    """How the result of a pool, forward or backward, is computed: each image in bands of rows.

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


@functools.cache
def dealer(ways: int) -> Callable[..., None]:
    """Compile `deal(lines, to, x, at, rows, rest, plan)`.

    It deals out the sum of some rows that begin at x[at]; `rest` comes after its end.
    """

    @jit(forceinline=True)
    def deal_vectors(lines: Any, to: Any, x: Any, at: Any, rows: Any, rest: Any, plan: Any) -> None:
        e, lanes = 0, width(x)
        block = ways * lanes
        for q in range(to, to + plan.places, lanes):
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
def collector(ways: int) -> Callable[..., None]:
    """Compile `collect(x, at, end, parts, start, plan)`.

    It puts the parts at parts[start:], each `plan.places` long, together to a row of w elements at x[at]. Up to x[end]
    anything may be written beyond.
    """

    @jit(forceinline=True)
    def collect_vectors(x: Any, at: Any, end: Any, parts: Any, start: Any, plan: Any) -> None:
        lanes = width(x)
        block = ways * lanes
        for q in range(plan.places - lanes, -1, -lanes):
            e = q * ways
            row = put_together(load(parts, start + q, plan.places, ways, 1))
            if at + e + block <= end:
                store_whole(x, at + e, 0, row)
            else:
                store(x, at + e, 0, 1, plan.w - e, row)

    @jit(forceinline=True)
    def collect_elements(x: Any, at: Any, end: Any, parts: Any, start: Any, plan: Any) -> None:
        for p in range(min(plan.sw, plan.w)):
            for q in range((plan.w - p + plan.sw - 1) // plan.sw):
                x[at + q * plan.sw + p] = parts[start + p * plan.places + q]

    return collect_vectors if ways <= MOST else collect_elements
