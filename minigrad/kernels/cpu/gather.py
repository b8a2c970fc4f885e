"""Taking and scattering along an axis on the CPU. Each thread owns whole lines along the axis."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]

LINES = 64  # neighbouring lines that one thread goes through together: they share cache lines


def take_along_axis(x: Array, indices: Array, *, axis: int) -> Array:
    """Take one element per index: see `reference.take_along_axis`."""
    out = empty(indices.shape, x.dtype)
    if out.size:
        bits = f"u{x.itemsize}"  # the same machine code for all types of a size
        lines = lines_of(out, axis).view(bits)
        _take(_bundles(lines), sharing(out.size), lines, lines_of(x, axis).view(bits), lines_of(indices, axis))
    return out


def scatter_along_axis(g: Array, indices: Array, *, axis: int, shape: tuple[int, ...]) -> Array:
    """Apply the adjoint of take_along_axis: see `reference.scatter_along_axis`. Equal indices add up in order."""
    x = zeros(shape, g.dtype)
    if g.size:
        lines = lines_of(x, axis)
        _scatter(_bundles(lines), sharing(g.size), lines, lines_of(g, axis), lines_of(indices, axis))
    return x


def add_slices(x: Array, g: Array, indices: Array, axis: int) -> None:
    """x[..., indices, ...] += g along an axis, in a contiguous x. Equal indices add up in order."""
    lines, given = lines_of(x, axis), lines_of(g, axis)
    _scatter(_bundles(lines), sharing(g.size), lines, given, np.broadcast_to(indices[:, None], given.shape))


def lines_of(x: Array, axis: int) -> Array:
    """x as a contiguous array of (before the axis, the axis, after the axis)."""
    axis %= x.ndim
    return np.ascontiguousarray(x).reshape(math.prod(x.shape[:axis]), x.shape[axis], -1)


def _bundles(lines: Array) -> int:
    return len(lines) * -(-lines.shape[2] // LINES)


@shared
def _take(thread: Any, begin: Any, end: Any, out: Any, x: Any, indices: Any) -> None:
    bundles = -(-out.shape[2] // LINES)
    for part in range(begin, end):
        i, first = part // bundles, part % bundles * LINES
        stop = min(first + LINES, out.shape[2])
        for k in range(out.shape[1]):
            for j in range(first, stop):
                out[i, k, j] = x[i, indices[i, k, j], j]


@shared
def _scatter(thread: Any, begin: Any, end: Any, x: Any, g: Any, indices: Any) -> None:
    bundles = -(-x.shape[2] // LINES)
    for part in range(begin, end):
        i, first = part // bundles, part % bundles * LINES
        stop = min(first + LINES, x.shape[2])
        for k in range(g.shape[1]):
            for j in range(first, stop):
                x[i, indices[i, k, j], j] += g[i, k, j]
