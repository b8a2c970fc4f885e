"""Kernels that copy: into one piece, into another dtype, side by side."""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from minigrad import kernels
from minigrad.kernels.cuda.array import Array, empty, row_major
from minigrad.kernels.cuda.elementwise import fill
from minigrad.kernels.cuda.machine import machine
from minigrad.kernels.cuda.views import basic


def same(x: Any) -> Any:
    """x."""
    return x


def contiguous(x: Array) -> Array:
    """x, or a copy of it in one piece."""
    return x if x.in_one_piece else fill(empty(x.shape, x.dtype), same, x)


def to_numpy(x: Array) -> np.ndarray:
    """Copy an array of the device to the host, when all that computes it has run."""
    out = np.empty(x.shape, x.dtype)
    if out.size:
        whole = contiguous(x)
        machine().download(out, whole.buffer, whole.offset * whole.dtype.itemsize)
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
    return fill(empty(shape, dtype), same, full(shape=(), value=0, dtype=np.dtype(dtype)))


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


def full(*, shape: tuple[int, ...], value: Any, dtype: np.dtype) -> Array:
    """An array filled with one value, which takes no memory until somebody reads it there."""
    with np.errstate(all="ignore"):
        return Array.filled(np.array(value, dtype)[()], shape)
