"""Images laid out so that all that one tap of a sliding window sees is a contiguous run.

The outputs of an image are computed in bands of some rows. For each horizontal tap v, a band has its own copy of the
input under it, shifted, padded and thinned by the stride:

    runs[c, v, f, q, j] = x[n, c, (row + q) * sh + f - top, j * sw + v * dw - left]

Tap (c, u, v) of the output (i, j) of the band finds its element at f = u * dh % sh and q = i + u * dh // sh. That is a
constant distance from the output's own place in the order (i, j), so a tap sees a run, and vectors of outputs meet
vectors of inputs. Where the images themselves are such runs, as for windows of one pixel, nothing is copied.

A copy of the lines for one v is made by columns of vectors, which read the same part of all lines: so one mask serves
them all where they meet the padding.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import BYTES, full, load_every, store, store_whole, width

Array = npt.NDArray[Any]
Pair = tuple[int, int]


LINE = BYTES // 4  # elements of float32 in a cache line
ELEMENTS = 1 << 16  # in a copy, at most (where one channel allows): they stay in the L2 cache


class Runs(NamedTuple):
    """How outputs are cut into bands, and where a band finds its input.

    taps
        Where the run of each tap (c u v) of some channels starts.
    views
        For each v the place in a line that j = 0 sees, and from which j on and up to which it is in the image.
    channels, rows, span, width, pitch
        The channels of a copy, the output rows of a band, the lines of a copy for one f, the outputs in a line, the
        distance from one f to the next.
    depth, phases, sh, sw, top
        The taps of a channel, the number of f, the stride, the padding above.
    height, breadth
        The size of the images.
    size
        The elements of a copy, and of the vectors that it may end in; 0: the images themselves are runs.
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
    size: int


def odd_lines(count: int) -> int:
    """Round up to an odd number of cache lines: what lies so far apart is not all in one set of the cache."""
    return (-(-count // LINE) | 1) * LINE


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
    pitch = odd_lines((span - 1) * ow + last)
    copied = kw * phases * pitch
    steps = range(-left, kw * dw - left, dw)
    together = channels
    if depth is not None:
        fitting = depth // (kh * kw) if in_place else min(depth // (kh * kw), ELEMENTS // copied)
        together = -(-channels // -(-channels // max(1, fitting)))
    c, u, v = np.ogrid[:together, :kh, :kw]
    copy = ((c * kw + v) * phases + u * dh % sh) * pitch + u * dh // sh * ow
    taps = np.broadcast_to(c * h * w + u * dh * w if in_place else copy, (together, kh, kw))
    return Runs(
        taps.ravel().astype(np.intp),
        np.array([(step, min(ow, max(0, -(step // sw))), max(0, min(ow, (w - 1 - step) // sw + 1))) for step in steps]),
        *(together, rows, span, ow),
        *(pitch, kh * kw, phases, sh, sw, top, h, w),
        0 if in_place else together * copied + BYTES,
    )


@jit
def copy_runs(runs: Any, start: Any, x: Any, image: Any, channels: Any, row: Any, plan: Any) -> None:
    """Fill runs[start:] for the band at output row `row`, with zeros outside the image.

    `image` is the place in x, which is flat, of the first of the channels.
    """
    line, kw = plan.sh * plan.breadth, len(plan.views)
    for f in range(plan.phases):
        top = row * plan.sh + f - plan.top
        above = min(max(0, -(top // plan.sh)), plan.span)
        below = max(above, min(plan.span, (plan.height - 1 - top) // plan.sh + 1))
        for k in range(channels * kw):
            c, v = k // kw, k % kw
            place = start + (k * plan.phases + f) * plan.pitch
            at = image + (c * plan.height + top + above * plan.sh) * plan.breadth
            clear(runs, place, place + above * plan.width)
            _copy(runs, place + above * plan.width, x, at, line, below - above, v, plan)
            clear(runs, place + below * plan.width, place + plan.span * plan.width)


@jit
def clear(runs: Any, start: Any, stop: Any) -> None:
    """Fill with zeros."""
    for i in range(start, stop, width(runs)):
        store(runs, i, 0, 1, stop - i, full(runs.dtype.type(0), 1, 1))


def _copier(ways: int) -> Any:
    """Compile a copy of lines, of which each `ways`-th element is taken."""

    @jit
    def copy_lines(
        runs: Any, place: Any, count: Any, x: Any, at: Any, pitch: Any, lines: Any, first: Any, stop: Any
    ) -> None:  # fmt: skip
        """Copy by whole vectors, from the last in a line to the first: what is written beyond a line is overwritten."""
        lanes = width(runs)
        for j in range((count - 1) // lanes * lanes, -1, -lanes):
            source, to = at + j * ways, place + j
            end = source + (lines - 1) * pitch + lanes * ways
            if first <= j and (j + lanes <= stop or stop == count) and end <= len(x):
                for q in range(lines):
                    store_whole(runs, to + q * count, 0, load_every(x, source + q * pitch, ways, None, None))
            else:
                for q in range(lines):
                    store_whole(runs, to + q * count, 0, load_every(x, source + q * pitch, ways, first - j, stop - j))

    return copy_lines


_copy_1, _copy_2, _copy_3 = map(_copier, (1, 2, 3))


@jit(forceinline=True)
def _copy(runs: Any, place: Any, x: Any, at: Any, pitch: Any, lines: Any, v: Any, plan: Any) -> None:
    """Copy what the horizontal tap v sees of some lines."""
    at, first, stop = at + plan.views[v, 0], plan.views[v, 1], plan.views[v, 2]
    if plan.sw == 1:
        _copy_1(runs, place, plan.width, x, at, pitch, lines, first, stop)
    elif plan.sw == 2:
        _copy_2(runs, place, plan.width, x, at, pitch, lines, first, stop)
    elif plan.sw == 3:
        _copy_3(runs, place, plan.width, x, at, pitch, lines, first, stop)
    else:
        for q in range(lines):
            for j in range(plan.width):
                seen = x[at + q * pitch + j * plan.sw] if first <= j < stop else x.dtype.type(0)
                runs[place + q * plan.width + j] = seen
