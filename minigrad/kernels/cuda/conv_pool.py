"""Convolution, bias, max-pooling and ReLU: after the convolution one kernel does the rest, and so does one before its
gradients.
"""

from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda import reductions
from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.conv import conv2d, conv2d_input, conv2d_weight
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.elementwise import compute
from minigrad.kernels.geometry import output_size

Pair = tuple[int, int]

LOSER = -1
"""In place of a winner's place: ReLU let nothing through."""


def conv2d_pool(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    residuals: bool,
    padding: Pair,
    groups: int,
    pool: Pair,
    relu: bool,
) -> tuple[Array, tuple[Array, ...]]:
    """Compute relu(max_pool2d(conv2d(x, weight) + bias)), and in each window the place (0 1 ...) of the winner."""
    y = conv2d(x, weight, padding=padding, groups=groups, **STEPS)
    n, o, *sides = y.shape
    size = [side // step for side, step in zip(sides, pool, strict=True)]
    out, winners = empty((n, o, *size), x.dtype), empty((n, o, *size), np.int8)
    largest.over(out.size, out, winners, y, contiguous(bias), o, tuple(size), tuple(sides), pool, int(relu))
    return out, (winners,)


def conv2d_pool_backward(
    g: Array,
    needs: tuple[bool, ...],
    inputs: tuple[Array, ...],
    out: Any,
    residuals: tuple[Array, ...],
    *,
    padding: Pair,
    groups: int,
    pool: Pair,
    relu: bool,
) -> tuple[Array | None, ...]:
    """Compute the gradients of the convolution from one that is 0 beside the winners."""
    (x, weight, _), (winners,), g = inputs, residuals, contiguous(g)
    options: dict[str, Any] = {"padding": padding, "groups": groups, **STEPS}
    of_x = of_weight = of_bias = None
    if needs[0] or needs[1]:
        axes = zip(x.shape[2:], weight.shape[2:], (1, 1), padding, (1, 1), strict=True)
        sides = tuple([output_size(*axis) for axis in axes])
        dense = empty((*g.shape[:2], *sides), g.dtype)
        spread.over(dense.size, dense, g, winners, g.shape[2:], sides, pool)
        of_x = conv2d_input(dense, weight, shape=x.shape, **options) if needs[0] else None
        of_weight = conv2d_weight(dense, x, shape=weight.shape, **options) if needs[1] else None
    if needs[2]:
        of_bias = reductions.sum(compute(_let_through, g, winners), axis=(0, 2, 3), keepdims=False)
    return of_x, of_weight, of_bias


STEPS: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1)}


@kernel
def largest(
    n: Any, out: Any, winners: Any, y: Any, bias: Any, outputs: Any, size: Any, sides: Any, pool: Any, relu: Any
) -> None:
    """The largest number of each window, and its place: the first of equals, and the last NaN."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rows, column = i // size[1], i % size[1]
        image, row = rows // size[0], rows % size[0]
        first, shift = (image * sides[0] + row * pool[0]) * sides[1] + column * pool[1], bias[image % outputs]
        best, winner = y[first] + shift, 0
        for place in range(1, pool[0] * pool[1]):
            value = y[first + place // pool[1] * sides[1] + place % pool[1]] + shift
            if value > best or value != value:
                best, winner = value, place
        if relu and not best > 0:
            best, winner = best if best != best else type(best)(0), LOSER
        out[i] = best
        winners[i] = winner


@kernel
def spread(n: Any, out: Any, g: Any, winners: Any, size: Any, sides: Any, pool: Any) -> None:
    """The gradient of what is pooled: g at the winners, else 0."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        rows, w = i // sides[1], i % sides[1]
        image, h = rows // sides[0], rows % sides[0]
        row, column = h // pool[0], w // pool[1]
        window = (image * size[0] + row) * size[1] + column
        place = (h - row * pool[0]) * pool[1] + w - column * pool[1]
        if row < size[0] and column < size[1] and winners[window] == place:
            out[i] = g[window]
        else:
            out[i] = 0


def _let_through(g: Any, winner: Any) -> Any:
    return g if winner >= 0 else type(g)(0)
