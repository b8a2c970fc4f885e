"""Matrix products on the CPU: the threads of the other kernels for those of a layer, BLAS for the rest.

BLAS has threads of its own, which go on spinning for milliseconds after a product and take the processor from the
kernels that follow: a convnet whose linear layers go through a threaded BLAS takes three times as long. Where a product
is small it is therefore computed here, or in pieces for which BLAS wakes no threads; where it is large BLAS is worth
its threads.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.conv import correlate
from minigrad.kernels.cpu.generic import SILENCE
from minigrad.kernels.cpu.memory import empty, zeros

Array = npt.NDArray[Any]

TINY, LARGE = 1 << 14, 1 << 24  # multiplications, between which a product is computed here
PIECE = 1 << 18  # multiplications that OpenBLAS does on one thread
NARROW = 8  # rows or columns, below which vectors would be mostly empty


def matmul(x: Array, y: Array) -> Array:
    """Multiply matrices (... i j) and (... j k), as `numpy.matmul` does."""
    if y.ndim == 1:
        return matmul(x, y[:, None])[..., 0]
    if x.ndim == 1:
        return matmul(x[None], y)[..., 0, :]
    if x.ndim > 2 or y.ndim > 2:
        return _multiply_stacks(x, y)
    if x.dtype.kind == "f" and TINY < x.size * y.shape[1] <= LARGE:
        if min(len(x), y.shape[1]) < NARROW:
            return _multiply_in_pieces(x, y)
        images, kernels = y[None, :, None, :], x[:, :, None, None]  # a convolution of one pixel
        return correlate(images, kernels, (1, y.shape[1]), (1, 1), (0, 0), (1, 1), groups=1)[0, :, 0]
    return _multiply(x, y)


def _multiply(x: Array, y: Array) -> Array:
    return np.asarray(SILENCE.run(np.matmul, x, y))


def _multiply_stacks(x: Array, y: Array) -> Array:
    """Leave stacks of small matrices to BLAS; compute the products of larger ones one by one."""
    (i, j), k = x.shape[-2:], y.shape[-1]
    if x.dtype.kind != "f" or i * j * k <= PIECE:
        return _multiply(x, y)
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = np.broadcast_to(x, (*stack, i, j)), np.broadcast_to(y, (*stack, j, k))
    out = empty((*stack, i, k), x.dtype)
    for index in np.ndindex(stack):
        out[index] = matmul(x[index], y[index])
    return out


def _multiply_in_pieces(x: Array, y: Array) -> Array:
    """Multiply a few rows or columns by a matrix, so much of it at a time as lies together in memory."""
    if len(x) > y.shape[1]:
        return _multiply_in_pieces(y.T, x.T).T
    out = zeros((len(x), y.shape[1]), x.dtype)
    by_rows = y.strides[0] >= y.strides[1]
    step = max(1, PIECE // (len(x) * y.shape[by_rows]))
    for first in range(0, y.shape[not by_rows], step):
        piece = slice(first, first + step)
        if by_rows:
            SILENCE.run(np.add, out, _multiply(x[:, piece], y[piece]), out)
        else:
            out[:, piece] = _multiply(x, y[:, piece])
    return out
