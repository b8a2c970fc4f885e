"""Images laid out so that all that one tap of a sliding window sees is a contiguous run.

The outputs of an image are computed in bands of some rows. For each horizontal tap v, a band has its own copy of the
input under it, shifted, padded and thinned by the stride:

    runs[c, v, f, q, j] = x[n, c, (row + q) * sh + f - top, j * sw + v * dw - left]

Tap (c, u, v) of the output (i, j) of the band finds its element at f = u * dh % sh and q = i + u * dh // sh. That is a
constant distance from the output's own place in the order (i, j), so a tap sees a run, and vectors of outputs meet
vectors of inputs. Where the images themselves are such runs, as for windows of one pixel, nothing is copied.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import BYTES, full, load_every, store
from minigrad.kernels.geometry import inside

Array = npt.NDArray[Any]
Pair = tuple[int, int]


ELEMENTS = 1 << 16  # in a copy, at most (where one channel allows): they stay in the L2 cache


class Runs(NamedTuple):
    """How outputs are cut into bands, and where a band finds its input.

    taps
        Where the run of each tap (c u v) of some channels starts.
    views
        For each v the first j inside the image, the j after the last, and the element that j = 0 sees.
    channels, rows, span, width, pitch
        The channels of a copy, the output rows of a band, the lines of a copy for one f, the outputs in a line, the
        distance from one f to the next.
    depth, phases, sh, sw, top
        The taps of a channel, the number of f, the stride, the padding above.
    height, breadth
        The size of the images.
    size
        The elements of a copy, and of the vector that it may end in; 0: the images themselves are runs.
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
    views = [(*inside(ow, start, sw, w), start) for start in range(-left, kw * dw - left, dw)]
    in_place = kw == 1 and (ow, left, top, sh, sw) == (w, 0, 0, 1, 1) and oh + (kh - 1) * dh <= h
    pitch = -(-span * ow // 16) | 1  # cache lines of float32: an odd number, so that taps spread over the cache's sets
    pitch *= 16
    copied = kw * phases * pitch
    together = channels
    if depth is not None:
        fitting = depth // (kh * kw) if in_place else min(depth // (kh * kw), ELEMENTS // copied)
        together = -(-channels // -(-channels // max(1, fitting)))
    c, u, v = np.ogrid[:together, :kh, :kw]
    copy = ((c * kw + v) * phases + u * dh % sh) * pitch + u * dh // sh * ow
    taps = np.broadcast_to(c * h * w + u * dh * w if in_place else copy, (together, kh, kw))
    return Runs(
        taps.ravel().astype(np.intp),
        np.array(views),
        *(together, rows, span, ow),
        *(pitch, kh * kw, phases, sh, sw, top, h, w),
        0 if in_place else together * copied + BYTES,
    )


@jit
def copy_runs(runs: Any, start: Any, x: Any, image: Any, channels: Any, row: Any, plan: Any) -> None:
    """Fill runs[start:] for the band at output row `row`, with zeros outside the image.

    `image` is the place in x, which is flat, of the first of the channels.
    """
    views, lines = len(plan.views), plan.span * plan.width
    for i in range(channels * views * plan.phases):
        f, v, c = i % plan.phases, i // plan.phases % views, i // plan.phases // views
        first, stop, left = plan.views[v, 0], plan.views[v, 1], plan.views[v, 2]
        top = row * plan.sh + f - plan.top
        above = min(max(0, -(top // plan.sh)), plan.span)
        below = max(above, min(plan.span, (plan.height - 1 - top) // plan.sh + 1))
        place = start + i * plan.pitch
        at, pitch = image + (c * plan.height + top) * plan.breadth + left, plan.sh * plan.breadth
        _clear(runs, place, place + above * plan.width)
        if plan.sw == 1:
            _copy_lines(runs, place, plan.width, x, at, pitch, above, below, first, stop)
        elif plan.sw == 2:
            _copy_every_second(runs, place, plan.width, x, at, pitch, above, below, first, stop)
        elif plan.sw == 3:
            _copy_every_third(runs, place, plan.width, x, at, pitch, above, below, first, stop)
        else:
            _clear(runs, place, place + lines)
            for q in range(above, below):
                for j in range(first, stop):
                    runs[place + q * plan.width + j] = x[at + q * pitch + j * plan.sw]
        _clear(runs, place + below * plan.width, place + lines)


@jit
def _clear(runs: Any, start: Any, stop: Any) -> None:
    for i in range(start, stop, BYTES // runs.itemsize):
        store(runs, i, 0, 1, stop - i, full(runs.dtype.type(0), 1, 1))


def _copier(step: int) -> Any:
    """Compile: runs[place + q * width + j] = x[at + q * pitch + j * step] for first <= j < stop, zero for other j.

    Whole vectors are written, the last of each line first: what it writes beyond its line is then overwritten.
    """

    @jit
    def copy(
        runs: Any, place: Any, width: Any, x: Any, at: Any, pitch: Any, above: Any, below: Any, first: Any, stop: Any
    ) -> None:
        lanes = BYTES // x.itemsize
        for j in range((width - 1) // lanes * lanes, -1, -lanes):
            for q in range(above, below):
                seen = load_every(x, at + q * pitch + j * step, step, first - j, stop - j)
                store(runs, place + q * width + j, 0, 1, lanes, seen)

    return copy


_copy_lines, _copy_every_second, _copy_every_third = _copier(1), _copier(2), _copier(3)
