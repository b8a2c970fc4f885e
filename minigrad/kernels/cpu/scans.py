"""Running sums and products, and the products of whole axes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.gather import lines_of
from minigrad.kernels.cpu.generic import quiet, reduced_as_rows
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]


def cumulative_sum(x: Array, *, axis: int) -> Array:
    """Sum up to each element; float32 is summed in float64, so that errors do not run along."""
    return quiet(_wide, np.add, x, axis)


def cumulative_prod(x: Array, *, axis: int, residuals: bool) -> tuple[Array, tuple[()]]:
    """Multiply up to each element; float32 is multiplied in float64."""
    return quiet(_wide, np.multiply, x, axis), ()


def _wide(function: np.ufunc, x: Array, axis: int) -> Array:
    dtype = np.dtype(np.float64) if x.dtype == np.float32 else x.dtype
    return function.accumulate(x, axis=axis, dtype=dtype).astype(x.dtype, copy=False)


def cumulative_prod_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Array, residuals: tuple[()], *, axis: int
) -> tuple[Array]:
    """Compute the cotangent without a division: zeros in x are nothing special."""
    (x,) = inputs
    gradient = empty(x.shape, x.dtype)
    np.copyto(gradient, g)
    if x.size:
        lines = [lines_of(array, axis) for array in (gradient, x, out)]
        _products(len(lines[0]), sharing(x.size), *lines)
    return (gradient,)


@shared
def _products(thread: Any, first: Any, stop: Any, gradient: Any, x: Any, out: Any) -> None:
    for i in range(first, stop):
        _product(gradient[i], x[i], out[i])


@jit
def _product(gradient: Any, x: Any, out: Any) -> None:
    """From g[k] make (the product before k) * r[k], with r[k] = g[k] + x[k + 1] * r[k + 1]."""
    for k in range(len(x) - 2, -1, -1):
        for j in range(x.shape[1]):
            gradient[k, j] += x[k + 1, j] * gradient[k + 1, j]
    for k in range(1, len(x)):
        for j in range(x.shape[1]):
            gradient[k, j] *= out[k - 1, j]


def prod(x: Array, *, axis: tuple[int, ...], keepdims: bool, residuals: bool) -> tuple[Array, tuple[()]]:
    """Multiply over axes, in the dtype of x."""
    reduce: Callable[..., Array] = np.multiply.reduce
    return np.asarray(quiet(reduce, x, axis=axis, keepdims=keepdims, dtype=x.dtype)), ()


def prod_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array],
    out: Any,
    residuals: tuple[()],
    *,
    axis: tuple[int, ...],
    keepdims: bool,
) -> tuple[Array]:
    """Compute the cotangent without a division: the product before an element, times that after it."""
    rows, back = reduced_as_rows(inputs[0], axis)
    return (back(quiet(_others, rows, g.reshape(*rows.shape[:-1], 1))),)


def _others(rows: Array, g: Array) -> Array:
    before, after = np.ones_like(rows), np.ones_like(rows)
    np.multiply.accumulate(rows[..., :-1], axis=-1, out=before[..., 1:])
    np.multiply.accumulate(rows[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return g * before * after
