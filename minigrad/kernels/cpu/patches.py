"""The patches of images under a window, as columns, and the adjoint: patches added up into images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.geometry import output_size

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def unfold(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Copy what each tap of the window sees: (n c h w) to (n, c kh kw, oh ow)."""
    n, c, h, w = x.shape
    padded = _with_margin(x, padding)
    size = _positions((h, w), kernel_size, stride, padding, dilation)
    patches = empty((n, c, *kernel_size, *size), x.dtype)
    for u, v, rows, columns in _taps(kernel_size, size, stride, dilation):
        patches[:, :, u, v] = padded[:, :, rows, columns]
    return patches.reshape(n, c * kernel_size[0] * kernel_size[1], size[0] * size[1])


def fold(g: Array, *, shape: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Add up what each tap of the window sees: (n, c kh kw, oh ow) to (n c h w), where `shape` is (h, w)."""
    n, c = len(g), g.shape[1] // (kernel_size[0] * kernel_size[1])
    (h, w), (ph, pw) = shape, padding
    size = _positions(shape, kernel_size, stride, padding, dilation)
    patches = g.reshape(n, c, *kernel_size, *size)
    padded = zeros((n, c, h + 2 * ph, w + 2 * pw), g.dtype)
    for u, v, rows, columns in _taps(kernel_size, size, stride, dilation):
        padded[:, :, rows, columns] += patches[:, :, u, v]
    return padded[:, :, ph : ph + h, pw : pw + w].copy() if ph or pw else padded


def _with_margin(x: Array, padding: Pair) -> Array:
    if padding == (0, 0):
        return x
    (n, c, h, w), (ph, pw) = x.shape, padding
    padded = zeros((n, c, h + 2 * ph, w + 2 * pw), x.dtype)
    padded[:, :, ph : ph + h, pw : pw + w] = x
    return padded


def _positions(image: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    oh, ow = (output_size(*axis) for axis in zip(image, window, stride, padding, dilation, strict=True))
    return oh, ow


def _taps(window: Pair, size: Pair, stride: Pair, dilation: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    """Yield each tap of the window with the rows and columns of the padded image that it sees."""
    for u, v in np.ndindex(*window):
        rows, columns = (
            slice(tap * dilation[a], tap * dilation[a] + (size[a] - 1) * stride[a] + 1, stride[a])
            for a, tap in enumerate((u, v))
        )
        yield u, v, rows, columns
