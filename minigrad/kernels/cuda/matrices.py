"""Products of matrices: operands of any strides, leading axes that broadcast."""

import math
from typing import Any

import numpy as np

from minigrad.kernels.cuda import reductions
from minigrad.kernels.cuda.array import Array, row_major
from minigrad.kernels.cuda.copies import contiguous, reshape
from minigrad.kernels.cuda.elementwise import joined
from minigrad.kernels.cuda.machine import remembered
from minigrad.kernels.cuda.plans import Axis, Product, chosen, compute, evenly
from minigrad.kernels.cuda.views import broadcast_to, permute_dims

Sizes = tuple[int, ...]


def matmul(x: Array, y: Array) -> Array:
    """x @ y over the last two axes; a vector is a row at the left and a column at the right."""
    if y.ndim == 2 < x.ndim and x.in_one_piece:  # all rows together
        return _product(_flat(x), y, None).view((*x.shape[:-1], y.shape[1]), row_major((*x.shape[:-1], y.shape[1])))
    left = x.view((1, *x.shape), (0, *x.strides)) if x.ndim == 1 else x
    right = y.view((*y.shape, 1), (*y.strides, 0)) if y.ndim == 1 else y
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left, right = (broadcast_to(one, shape=(*batch, *one.shape[-2:])) for one in (left, right))
    out = _product(left, right, None)
    kept = batch + out.shape[-2:][x.ndim == 1 : 2 - (y.ndim == 1)]
    return out.view(kept, row_major(kept))


def linear(x: Array, weight: Array, bias: Array | None = None, *, residuals: bool) -> tuple[Array, tuple[()]]:
    """x @ weight.mT + bias, where the bias is added to the sums before they are written."""
    out = _product(_flat(x), _transposed(weight), None if bias is None else contiguous(bias))
    shape = *x.shape[:-1], weight.shape[0]
    return out.view(shape, row_major(shape)), ()


def linear_backward(
    g: Array, needs: tuple[bool, ...], inputs: tuple[Array, ...], out: Any, residuals: tuple[()]
) -> tuple[Array | None, ...]:
    """Compute the cotangents of x, weight and bias, of which g has rows."""
    (x, weight), rows = inputs[:2], _flat(g)
    of_x = _product(rows, weight, None).view(x.shape, row_major(x.shape)) if needs[0] else None
    of_weight = _product(_transposed(rows), _flat(x), None) if needs[1] else None
    of_bias = (reductions.sum(rows, axis=(0,), keepdims=False) if need else None for need in needs[2:])
    return of_x, of_weight, *of_bias


def _flat(x: Array) -> Array:
    """x as one matrix of all its rows."""
    return x if x.ndim == 2 else reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _transposed(x: Array) -> Array:
    return permute_dims(x, axes=(1, 0))


def _product(left: Array, right: Array, bias: Array | None) -> Array:
    """The products of matrices with as many leading axes, plus a number for each column."""
    shape = *left.shape[:-1], right.shape[-1]
    finish = "as they are" if bias is None else "bias"
    products, parts = _plan(left.dtype, shape, left.shape[-1], left.strides, right.strides, finish)
    return compute(products, parts, shape, left, right, bias)


@remembered(1024)
def _plan(
    dtype: np.dtype, shape: Sizes, terms: int, left: Sizes, right: Sizes, finish: str
) -> tuple[tuple[Product, ...], int]:
    (*batch, m, n), steps = shape, row_major(shape)
    batches = _batches(tuple(batch), left[:-2], right[:-2], steps[:-2])
    axes = (
        evenly(m, left[-2], 0, steps[-2]),
        evenly(n, right[-1], 0, 1),
        evenly(terms, right[-2], 0, left[-1]),
        batches,
    )
    along = (
        "terms" if m == 1 or abs(left[-1]) <= abs(left[-2]) else "outer",
        "outer" if n > 1 and abs(right[-1]) <= abs(right[-2]) else "terms",
    )
    tile, parts = chosen(m, n, terms, batches.size, dtype, *along)
    return (Product(dtype, math.prod(shape), axes, *along, tile, parts, finish=finish),), parts


def _batches(shape: Sizes, *strides: Sizes) -> Axis:
    """Where each matrix of the operands and of the output begins."""
    (first, *rest), *steps = [(1,) * (not row) + row for row in joined(shape, *strides)]
    places = np.indices(rest).reshape(len(rest), math.prod(rest))
    inner = np.stack([np.array(step[1:], np.int64) @ places for step in steps], axis=1)
    return Axis(first * len(inner), inner, tuple(step[0] for step in steps))
