"""Kernels that copy: into one piece, into another dtype, side by side."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import cuda

from minigrad import kernels
from minigrad.kernels.cuda.array import Array, empty, row_major
from minigrad.kernels.cuda.compiler import Kernel, element, kernel
from minigrad.kernels.cuda.division import divisor, split
from minigrad.kernels.cuda.elementwise import fill, joined
from minigrad.kernels.cuda.intrinsics import shared
from minigrad.kernels.cuda.machine import SIMULATED, machine
from minigrad.kernels.cuda.views import basic


def same(x: Any) -> Any:
    """x."""
    return x


def contiguous(x: Array) -> Array:
    """x, or a copy of it in one piece."""
    if x.in_one_piece:
        return x
    out = empty(x.shape, x.dtype)
    sizes, _, strides = joined(x.shape, out.strides, x.strides)
    if out.size and x.constant is None and 1 in strides[:-1]:
        down = strides.index(1)
        if min(sizes[down], sizes[-1]) >= SIDE // 4:
            return _transposed(out, x, sizes, strides, down)
    return fill(out, same, x)


SIDE = 2 if SIMULATED else 32
"""Rows and columns of the squares that are transposed in shared memory."""


def _transposed(out: Array, x: Array, sizes: tuple[int, ...], strides: tuple[int, ...], down: int) -> Array:
    """Copy an array in which neighbours lie along the axis `down`, not along the last."""
    last, steps, other = len(sizes) - 1, row_major(sizes), [i for i in range(len(sizes) - 1) if i != down]
    batch = [tuple([of[i] for i in other]) or (fill,) for of, fill in ((sizes, 1), (steps, 0), (strides, 0))]
    squares = -(-sizes[down] // SIDE), -(-sizes[last] // SIDE)
    blocks, layout = math.prod(batch[0]) * math.prod(squares), (sizes[down], sizes[last], steps[down], strides[last])
    transpose(x.dtype)(blocks, machine().threads, out, x, *map(divisor, squares), *layout, *batch)
    return out


@functools.cache
def transpose(dtype: np.dtype) -> Kernel:
    """The kernel that copies a square a block: it reads along the one axis, and writes along the other."""
    number, line = element(dtype), SIDE + 1  # so that a column is spread over all banks
    room = SIDE * line

    @kernel
    def copy(
        out: Any, x: Any, squares_down: Any, squares_across: Any, down: Any, across: Any, out_step: Any, step: Any,
        sizes: Any, o: Any, s: Any,
    ) -> None:  # fmt: skip
        square = shared(room, number)
        near, far, lines = cuda.threadIdx.x % SIDE, cuda.threadIdx.x // SIDE, cuda.blockDim.x // SIDE
        rest, column = split(cuda.blockIdx.x, squares_across)
        rest, row = split(rest, squares_down)
        row, column, to, start = row * SIDE, column * SIDE, 0, 0
        for axis in range(len(sizes) - 1, -1, -1):
            before = rest // sizes[axis]
            to += (rest - before * sizes[axis]) * o[axis]
            start += (rest - before * sizes[axis]) * s[axis]
            rest = before
        for k in range(far, SIDE, lines):
            if row + near < down and column + k < across:
                square[k * line + near] = x[start + row + near + (column + k) * step]
        cuda.syncthreads()
        for k in range(far, SIDE, lines):
            if row + k < down and column + near < across:
                out[to + (row + k) * out_step + column + near] = square[near * line + k]

    return copy


def to_numpy(x: Array) -> np.ndarray:
    """Copy an array of the device to the host, when all that computes it has run."""
    from minigrad.kernels.cuda.checks import settle

    out, whole = np.empty(x.shape, x.dtype), contiguous(x)
    settle(*[(out, whole.buffer, whole.offset * whole.dtype.itemsize)] if out.size else ())
    return out


def to_device(x: Array, *, device: str, source: str) -> Any:
    """x on another device."""
    return kernels.backend(device).from_numpy(to_numpy(x))


def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    """A view; of what does not lie in one piece, a view of a copy."""
    return contiguous(x).view(shape, row_major(shape))


def astype(x: Array, *, dtype: np.dtype) -> Array:
    """Convert, always into a new array."""
    return fill(empty(x.shape, dtype), _conversion(np.dtype(dtype)), x)


@functools.cache
def _conversion(dtype: np.dtype) -> Callable[..., Any]:
    if dtype == np.bool_:
        return _truth
    to = getattr(numba, dtype.name)
    return lambda x: to(x)


def _truth(x: Any) -> Any:
    return x != 0


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of zeros, in memory of its own."""
    kind = np.dtype(dtype)
    return Array.of(machine().zeros(math.prod(shape) * kind.itemsize), kind, shape, row_major(shape), 0)


def concat(*arrays: Array, axis: int) -> Array:
    """Join along an axis."""
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    out, start = empty(tuple(shape), arrays[0].dtype), 0
    for array in arrays:
        stop = start + array.shape[axis]
        fill(basic(out, (*[slice(None)] * axis, slice(start, stop))), same, array)
        start = stop
    return out


def scalar(value: Any, dtype: np.dtype) -> Array:
    """A number as an array without axes."""
    return full(shape=(), value=value, dtype=dtype)


def full(*, shape: tuple[int, ...], value: Any, dtype: np.dtype) -> Array:
    """An array filled with one value, which takes no memory until somebody reads it there."""
    with np.errstate(all="ignore"):
        return Array.filled(np.array(value, dtype)[()], shape)
