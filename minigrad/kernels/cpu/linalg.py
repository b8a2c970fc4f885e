"""Matrix products on the CPU, on the threads of the other kernels; small ones and integers are left to numpy.

A threaded BLAS beside these threads would cost more than it gives: its threads go on spinning for milliseconds after a
product and take the processor from the kernels that follow.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.generic import KERNELS, quiet, quietly
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.stacks import product, products

Array = npt.NDArray[Any]

SMALL = 1 << 18  # multiplications that OpenBLAS does on the calling thread, faster than threads could be called
LITTLE = 1 << 15  # multiplications, of one of many products, below which BLAS is faster than tiles
NARROW = 8  # rows or columns, below which vectors would be mostly empty


def matmul(x: Array, y: Array) -> Array:
    """Multiply matrices (... i j) and (... j k), as `numpy.matmul` does."""
    if x.ndim == y.ndim == 2:
        if x.dtype.kind != "f" or x.size * y.shape[1] <= SMALL:
            try:  # as `quiet` does, without its call; np.matmul takes half a microsecond longer
                return quietly(x.dot, y)
            except RuntimeError:
                return quiet(x.dot, y)
        return _multiply_in_pieces(x, y) if min(len(x), y.shape[1]) < NARROW else product(x, y)
    if y.ndim == 1:
        return matmul(x, y[:, None])[..., 0]
    if x.ndim == 1:
        return matmul(x[None], y)[..., 0, :]
    return _multiply_stacks(x, y)


def linear(x: Array, weight: Array, bias: Array | None = None, *, residuals: bool) -> tuple[Array, tuple[Array, ...]]:
    """Compute x @ weight.T + bias, where x may have any number of leading axes."""
    out = matmul(_rows(x), weight.T)
    if bias is not None:
        quiet(np.add, out, bias, out)
    return out.reshape(*x.shape[:-1], len(weight)), ()


def linear_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array, ...], out: Any, residuals: tuple[Array, ...]
) -> tuple[Array | None, ...]:
    """Compute the cotangents of x, weight and bias; that of the weight is in the weight's own order of memory."""
    x, weight = inputs[:2]
    g = _rows(g)
    return (
        matmul(g, weight).reshape(x.shape) if needs[0] else None,
        matmul(g.T, _rows(x)) if needs[1] else None,
        *(KERNELS["sum"](g, axis=(0,), keepdims=False) if need else None for need in needs[2:]),
    )


def _rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _multiply_stacks(x: Array, y: Array) -> Array:
    """Leave stacks of small matrices to BLAS; compute the products of larger ones by tiles, narrow ones one by one."""
    (*stack, i, j), (*others, _, k) = x.shape, y.shape
    if not others:
        return matmul(x.reshape(math.prod(stack) * i, j), y).reshape(*stack, i, k)
    work, narrow = i * j * k, min(i, k) < NARROW
    if x.dtype.kind != "f" or work <= (SMALL if narrow else LITTLE) or 0 in stack or 0 in others:
        return np.asarray(quiet(np.matmul, x, y))
    if not stack and not narrow:
        return products(x[None], y.reshape(-1, 1, j, k)).reshape(*others, i, k)
    if stack != others:
        stack = list(np.broadcast_shapes(tuple(stack), tuple(others)))
        x, y = np.broadcast_to(x, (*stack, i, j)), np.broadcast_to(y, (*stack, j, k))
    if narrow:
        return np.stack([matmul(x[index], y[index]) for index in np.ndindex(*stack)]).reshape(*stack, i, k)
    return products(x.reshape(-1, i, j), y.reshape(1, -1, j, k)).reshape(*stack, i, k)


def _multiply_in_pieces(x: Array, y: Array) -> Array:
    """Multiply a few rows or columns by a matrix; where lanes would lie across its rows, so much of it at a time as
    OpenBLAS does on the calling thread.
    """
    if len(x) > y.shape[1]:
        return np.ascontiguousarray(_multiply_in_pieces(y.T, x.T).T)
    if y.strides[0] >= y.strides[1]:
        return product(x, y)
    out = empty((len(x), y.shape[1]), x.dtype)
    step = max(1, SMALL // (len(x) * len(y)))
    for first in range(0, y.shape[1], step):
        piece = slice(first, first + step)
        out[:, piece] = quiet(x.dot, y[:, piece])
    return out
