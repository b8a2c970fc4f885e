"""The patches of images under a window, as columns, and the adjoint: patches added up into images."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.lines import MOST, put
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.runs import clear
from minigrad.kernels.cpu.simd import load_every, width
from minigrad.kernels.cpu.threads import sharing
from minigrad.kernels.geometry import output_size

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def unfold(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Copy what each tap of the window sees: (n c h w) to (n, c kh kw, oh ow)."""
    n, c, *image = x.shape
    size, seen = _views(tuple(image), kernel_size, stride, padding, dilation)
    patches = empty((n, c * kernel_size[0] * kernel_size[1], size[0] * size[1]), x.dtype)
    if patches.size:
        flat = patches.ravel(), x.ravel()
        _unfold(stride[1])(n * c, sharing(patches.size), *flat, *seen, *image, *size, stride[0])
    return patches


def fold(g: Array, *, shape: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Add up what each tap of the window sees: (n, c kh kw, oh ow) to (n c h w), where `shape` is (h, w)."""
    n, c = len(g), g.shape[1] // (kernel_size[0] * kernel_size[1])
    size, seen = _views(shape, kernel_size, stride, padding, dilation)
    x = empty((n, c, *shape), g.dtype)
    if x.size:
        flat = x.ravel(), g.ravel()
        _fold(n * c, sharing(g.size), *flat, *seen, *shape, *size, *stride)
    return x


@functools.lru_cache(maxsize=256)
def _views(image: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> tuple[Pair, tuple[Array, Array]]:
    """The size of the output and, for each tap of either axis: what output 0 sees, and which outputs see the image."""
    oh, ow = (output_size(*axis) for axis in zip(image, window, stride, padding, dilation, strict=True))
    rows, columns = (
        np.array(
            [
                (first, min(size, max(0, -(first // step))), max(0, min(size, (side - 1 - first) // step + 1)))
                for first in range(-margin, taps * apart - margin, apart)
            ]
        )
        for side, size, taps, step, margin, apart in zip(
            image, (oh, ow), window, stride, padding, dilation, strict=True
        )
    )
    return (oh, ow), (rows, columns)


@functools.cache
def _unfold(ways: int) -> Callable[..., None]:
    """Compile `unfold` for a horizontal stride."""

    @shared
    def copy_planes(
        _: Any, begin: Any, end: Any, patches: Any, x: Any, rows: Any, columns: Any,
        h: Any, w: Any, oh: Any, ow: Any, sh: Any
    ) -> None:  # fmt: skip
        kw = len(columns)
        depth = len(rows) * kw
        for i in range(begin, end):
            for k in range(depth):
                (row, above, below), (column, first, stop) = rows[k // kw], columns[k % kw]
                to, at = (i * depth + k) * oh * ow, (i * h + row) * w + column
                clear(patches, to, to + above * ow)
                copy_lines(
                    patches, to + above * ow, end * depth * oh * ow, ow,
                    x, at + above * sh * w, sh * w, below - above, first, stop
                )  # fmt: skip
                clear(patches, to + below * ow, to + oh * ow)

    @jit
    def copy_lines(
        y: Any, to: Any, end: Any, count: Any, x: Any, at: Any, pitch: Any, lines: Any, first: Any, stop: Any
    ) -> None:
        if ways > MOST:
            for q in range(lines):
                for j in range(count):
                    y[to + q * count + j] = x[at + q * pitch + j * ways] if first <= j < stop else x.dtype.type(0)
            return
        lanes = width(x)
        for q in range(lines):
            for j in range((count - 1) // lanes * lanes, -1, -lanes):
                source = at + q * pitch + j * ways
                if first <= j and j + lanes <= stop and source + lanes * ways <= len(x):
                    seen = load_every(x, source, ways, None, None)
                else:
                    seen = load_every(x, source, ways, first - j, stop - j)
                put(y, to + q * count + j, end, count - j, seen)

    return copy_planes


@shared
def _fold(
    _: Any, begin: Any, end: Any, x: Any, patches: Any, rows: Any, columns: Any,
    h: Any, w: Any, oh: Any, ow: Any, sh: Any, sw: Any
) -> None:  # fmt: skip
    """Clear one image after the other, and add what each tap saw to its pixels."""
    kw = len(columns)
    depth = len(rows) * kw
    for i in range(begin, end):
        clear(x, i * h * w, (i + 1) * h * w)
        for k in range(depth):
            (row, above, below), (column, first, stop) = rows[k // kw], columns[k % kw]
            for q in range(above, below):
                at, to = ((i * depth + k) * oh + q) * ow, (i * h + row + q * sh) * w + column
                for j in range(first, stop):
                    x[np.uintp(to + j * sw)] += patches[np.uintp(at + j)]
