"""Products of matrices: operands of any strides, leading axes that broadcast."""

import math

import numpy as np

from minigrad.kernels.cuda.array import Array, row_major
from minigrad.kernels.cuda.elementwise import joined
from minigrad.kernels.cuda.machine import remembered
from minigrad.kernels.cuda.plans import Axis, Product, chosen, compute, evenly
from minigrad.kernels.cuda.views import broadcast_to

Sizes = tuple[int, ...]


def matmul(x: Array, y: Array) -> Array:
    """x @ y over the last two axes; a vector is a row at the left and a column at the right."""
    left = x.view((1, *x.shape), (0, *x.strides)) if x.ndim == 1 else x
    right = y.view((*y.shape, 1), (*y.strides, 0)) if y.ndim == 1 else y
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left, right = (broadcast_to(one, shape=(*batch, *one.shape[-2:])) for one in (left, right))
    shape = *batch, left.shape[-2], right.shape[-1]
    products, parts = _plan(x.dtype, shape, left.shape[-1], left.strides, right.strides)
    out = compute(products, parts, shape, left, right)
    kept = batch + shape[-2:][x.ndim == 1 : 2 - (y.ndim == 1)]
    return out.view(kept, row_major(kept))


@remembered(1024)
def _plan(dtype: np.dtype, shape: Sizes, terms: int, left: Sizes, right: Sizes) -> tuple[tuple[Product, ...], int]:
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
    return (Product(dtype, math.prod(shape), axes, *along, tile, parts),), parts


def _batches(shape: Sizes, *strides: Sizes) -> Axis:
    """Where each matrix of the operands and of the output begins."""
    (first, *rest), *steps = [(1,) * (not row) + row for row in joined(shape, *strides)]
    places = np.indices(rest).reshape(len(rest), math.prod(rest))
    inner = np.stack([np.array(step[1:], np.int64) @ places for step in steps], axis=1)
    return Axis(first * len(inner), inner, tuple(step[0] for step in steps))
