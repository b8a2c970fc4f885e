"""Images laid out so that all that one tap of a sliding window sees is a contiguous run.

The outputs of an image are computed in bands of some rows. For each horizontal tap v, a band has its own copy of the
input under it, shifted, padded and thinned by the stride:

    runs[c, v, f, q, j] = x[n, c, (row + q) * sh + f - top, j * sw + v * dw - left]

Tap (c, u, v) of the output (i, j) of the band finds its element at f = u * dh % sh and q = i + u * dh // sh. That is a
constant distance from the output's own place in the order (i, j), so a tap sees a run, and vectors of outputs meet
vectors of inputs. Where the images themselves are such runs, as for windows of one pixel, nothing is copied.

Each line of the input is first dealt out by the stride, once for all v: element e goes to place e // sw of part e % sw.
There what the outputs of a line see is contiguous, and copies are of whole vectors.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import BYTES, deal, full, load, load_line, store, store_whole

Array = npt.NDArray[Any]
Pair = tuple[int, int]


LINE = BYTES // 4  # elements of float32 in a cache line
ELEMENTS = 1 << 16  # in a copy, at most (where one channel allows): they stay in the L2 cache


class Runs(NamedTuple):
    """How outputs are cut into bands, and where a band finds its input.

    taps
        Where the run of each tap (c u v) of some channels starts.
    views
        For each v the place that j = 0 sees in a line that is dealt out.
    channels, rows, span, width, pitch
        The channels of a copy, the output rows of a band, the lines of a copy for one f, the outputs in a line, the
        distance from one f to the next.
    depth, phases, sh, sw, top
        The taps of a channel, the number of f, the stride, the padding above.
    height, breadth
        The size of the images.
    lead, part, dealt
        The zeros before a part, the distance from one part to the next, and where the first dealt line is.
    size
        The elements of a copy, of the vectors that it may end in, and of the lines that are dealt out for it; 0: the
        images themselves are runs.
    """

    taps: Array
    views: Array
    channels: int
    rows: int
    span: int
    width: int
    pitch: int
    depth: int
    phases: int
    sh: int
    sw: int
    top: int
    height: int
    breadth: int
    lead: int
    part: int
    dealt: int
    size: int


@functools.lru_cache(maxsize=1024)
def plan_runs(
    image: Pair,
    size: Pair,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    channels: int,
    positions: int,
    depth: int | None,
) -> Runs:
    """Plan bands of about `positions` outputs and copies of about `depth` taps (None: of all channels).

    `image` and `size` are those of the input and the output, `channels` how many there are to sum over.
    """
    (h, w), (oh, ow), (kh, kw), (sh, sw), (top, left), (dh, dw) = image, size, window, stride, padding, dilation
    rows = min(oh, max(1, positions // ow))
    rows = -(-oh // -(-oh // rows))  # bands of about the same height
    span, phases = rows + (kh - 1) * dh // sh, min(sh, (kh - 1) * dh + 1)
    in_place = depth is not None and kw == 1 and (ow, left, top, sh, sw) == (w, 0, 0, 1, 1) and oh + (kh - 1) * dh <= h
    last = LINE * -(-ow // LINE)  # what is copied of a line
    pitch = -(-((span - 1) * ow + last) // LINE) | 1  # an odd number of cache lines: taps spread over the cache's sets
    pitch *= LINE
    copied = kw * phases * pitch
    lead = max(0, -(-left // sw))
    steps = range(-left, kw * dw - left, dw)
    part = max(lead + LINE * -(-w // (sw * LINE)), lead + steps[-1] // sw + last)
    together = channels
    if depth is not None:
        fitting = depth // (kh * kw) if in_place else min(depth // (kh * kw), ELEMENTS // copied)
        together = -(-channels // -(-channels // max(1, fitting)))
    c, u, v = np.ogrid[:together, :kh, :kw]
    copy = ((c * kw + v) * phases + u * dh % sh) * pitch + u * dh // sh * ow
    taps = np.broadcast_to(c * h * w + u * dh * w if in_place else copy, (together, kh, kw))
    dealt = together * copied + BYTES
    return Runs(
        taps.ravel().astype(np.intp),
        np.array([step % sw * part + lead + step // sw for step in steps]),
        *(together, rows, span, ow),
        *(pitch, kh * kw, phases, sh, sw, top, h, w),
        *(lead, part, dealt, 0 if in_place else dealt + phases * span * sw * part),
    )


@jit
def copy_runs(runs: Any, start: Any, x: Any, image: Any, channels: Any, row: Any, plan: Any) -> None:
    """Fill runs[start:] for the band at output row `row`, with zeros outside the image.

    `image` is the place in x, which is flat, of the first of the channels.
    """
    views, line, dealt = len(plan.views), plan.sw * plan.part, start + plan.dealt
    clear(runs, dealt, start + plan.size)
    for c in range(channels):
        deal_lines(runs, dealt, x, image + c * plan.height * plan.breadth, row, plan)
        for v in range(views):
            for f in range(plan.phases):
                place = start + ((c * views + v) * plan.phases + f) * plan.pitch
                _copy_lines(runs, place, plan.width, dealt + f * plan.span * line + plan.views[v], line, plan.span)


@jit
def deal_lines(runs: Any, dealt: Any, x: Any, image: Any, row: Any, plan: Any) -> None:
    """Deal out the lines of one channel under a band, where there was nothing but zeros, or the same band before."""
    line = plan.sw * plan.part
    for f in range(plan.phases):
        top = row * plan.sh + f - plan.top
        above = min(max(0, -(top // plan.sh)), plan.span)
        below = min(plan.span, (plan.height - 1 - top) // plan.sh + 1)
        for q in range(above, below):
            at = image + (top + q * plan.sh) * plan.breadth
            _deal(runs, dealt + (f * plan.span + q) * line + plan.lead, plan.part, x, at, plan.breadth, plan.sw)


@jit
def clear(runs: Any, start: Any, stop: Any) -> None:
    """Fill with zeros."""
    for i in range(start, stop, BYTES // runs.itemsize):
        store(runs, i, 0, 1, stop - i, full(runs.dtype.type(0), 1, 1))


@jit(forceinline=True)
def _copy_lines(runs: Any, place: Any, width: Any, at: Any, pitch: Any, count: Any) -> None:
    """Copy lines by whole vectors: what is written beyond a line is overwritten with the next."""
    lanes = BYTES // runs.itemsize
    for q in range(count):
        start, source, j = place + q * width, at + q * pitch, 0
        while j < width:
            store_whole(runs, start + j, 0, load(runs, source + j, 0, 1, 1))
            j += lanes


def _dealer(ways: int) -> Any:
    """Compile: element e of a line to place e // ways of part e % ways."""

    @jit(forceinline=True)
    def deal_line(runs: Any, place: Any, pitch: Any, x: Any, at: Any, breadth: Any) -> None:
        lanes, zero = BYTES // x.itemsize, x.dtype.type(0)
        e = 0
        while e + ways * lanes <= breadth:
            store_whole(runs, place, pitch, deal(load(x, at + e, 0, 1, ways)))
            e += ways * lanes
            place += lanes
        if e < breadth:
            store_whole(runs, place, pitch, deal(load_line(x, at + e, breadth - e, ways, zero)))

    return deal_line


_deal_1, _deal_2, _deal_3 = map(_dealer, (1, 2, 3))


@jit(forceinline=True)
def _deal(runs: Any, place: Any, pitch: Any, x: Any, at: Any, breadth: Any, ways: Any) -> None:
    if ways == 1:
        _deal_1(runs, place, pitch, x, at, breadth)
    elif ways == 2:
        _deal_2(runs, place, pitch, x, at, breadth)
    elif ways == 3:
        _deal_3(runs, place, pitch, x, at, breadth)
    else:
        for p in range(ways):
            for e in range(p, breadth, ways):
                runs[place + p * pitch + e // ways] = x[at + e]
