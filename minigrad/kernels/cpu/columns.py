"""The copy of images in which all that one tap of a sliding window sees is a contiguous run.

The outputs are computed in blocks: some rows of some images. For each horizontal tap v a block has its own copy of
its input, shifted, padded and thinned by the stride:

    columns[c, v, f, b, q, j] = x[n + b, c, (row + q) * sh + f - top, j * sw + v * dw - left]

Tap (c, u, v) of the output (b, i, j) of the block finds its element at f = u * dh % sh and q = i + u * dh // sh.
That is a constant distance from the output's own place in the order (b, q, j), so the tap sees a run. A convolution
is a sum of runs and a max-pooling their maximum: loops that LLVM turns into vector instructions.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.geometry import inside

Array = npt.NDArray[Any]
Pair = tuple[int, int]

POSITIONS = 1024  # outputs in a block, about: what is computed for them stays in the L1 cache
ELEMENTS = 1 << 16  # elements in a copy, at most (where one channel allows): they stay in the L2 cache
LANES = 32  # runs are computed in multiples of this, so that vectors leave no remainder


class Plan(NamedTuple):
    """How outputs are cut into blocks, and where a block finds its input.

    taps
        Where in `columns` the run of each tap (c u v) starts.
    lines
        For each line (f b q) of `columns` its image b, and its row q * sh + f - top from the block's own on.
    views
        For each v the first j inside the image, how many j are inside, and the element that the first one sees.
    channels, images, rows
        The size of a block: input channels, images, output rows.
    span, width
        Lines from one image to the next in a run, and outputs in a line.
    kh, kw, sh, sw, top, left, dh, dw
        The window: its size, stride, padding and dilation.
    size, run
        The elements of `columns`, and the length of a run in whole vectors.
    """

    taps: Array
    lines: Array
    views: Array
    channels: int
    images: int
    rows: int
    span: int
    width: int
    kh: int
    kw: int
    sh: int
    sw: int
    top: int
    left: int
    dh: int
    dw: int
    size: int
    run: int


@functools.lru_cache(maxsize=1024)
def plan_blocks(
    n: int, channels: int, w: int, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Plan:
    """Plan blocks of up to n images and `channels` channels, from the width w of the images and the output's size."""
    (oh, ow), (kh, kw), (sh, sw), (top, left), (dh, dw) = size, kernel, stride, padding, dilation
    rows = min(oh, max(1, POSITIONS // ow))
    images = min(n, max(1, POSITIONS // (4 * rows * ow)))
    span, phases = rows + (kh - 1) * dh // sh, min(sh, (kh - 1) * dh + 1)
    copied = kw * phases * images * span * ow
    channels = min(channels, max(1, ELEMENTS // copied))
    c, u, v = np.ogrid[:channels, :kh, :kw]
    taps = (((c * kw + v) * phases + u * dh % sh) * images * span + u * dh // sh) * ow
    f, b, q = np.indices((phases, images, span)).reshape(3, -1)
    views = []
    for start in range(-left, kw * dw - left, dw):
        first, stop = inside(ow, start, sw, w)
        views.append((first, stop - first, start + first * sw))
    run = -(-((images - 1) * span + rows) * ow // LANES) * LANES
    return Plan(
        taps.ravel().astype(np.uintp),
        np.stack((b, q * sh + f - top), axis=1),
        np.array(views),
        *(channels, images, rows, span, ow),
        *(*kernel, *stride, *padding, *dilation),
        *(channels * copied + LANES, run),
    )


@jit
def copy_columns(columns: Any, x: Any, n: Any, channel: Any, channels: Any, row: Any, edge: Any, plan: Any) -> None:
    """Fill `columns` for the block at image n and output row `row`, with `edge` outside the images."""
    start = 0
    for c in range(channel, channel + channels):
        for first, count, left in plan.views:
            for b, top in plan.lines:
                line = columns[start : start + plan.width]
                start += plan.width
                for j in range(len(line)):
                    line[j] = edge
                h = row * plan.sh + top
                if n + b < len(x) and 0 <= h < x.shape[2]:
                    seen, inner = x[n + b, c, h, left :: plan.sw], line[first:]
                    for j in range(count):
                        inner[j] = seen[j]
