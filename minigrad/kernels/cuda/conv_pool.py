"""Convolution, bias, max-pooling and ReLU: windows of four are pooled before anything is written.

After other convolutions one kernel does the rest. One spreads the gradient before those of the convolution.
"""

from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels.cuda import reductions
from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.conv import conv2d, conv2d_input, conv2d_largest, conv2d_weight
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.division import divisor, split
from minigrad.kernels.cuda.elementwise import compute
from minigrad.kernels.cuda.windows import divisors, pixel
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
    options: dict[str, Any] = {"padding": padding, "groups": groups}
    found = conv2d_largest(x, weight, bias, pool=pool, relu=relu, **options)
    if found is not None:
        return found[0], found[1:]
    y = conv2d(x, weight, **options, **STEPS)
    n, o, *sides = y.shape
    size = [side // step for side, step in zip(sides, pool, strict=True)]
    out, winners = empty((n, o, *size), x.dtype), empty((n, o, *size), np.int8)
    sizes = divisor(o), *divisors((size[0], size[1])), tuple(sides), pool, int(relu)
    largest.over(out.size, out, winners, y, contiguous(bias), *sizes)
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
        spread.over(dense.size, dense, g, winners, g.shape[2:], *divisors((sides[0], sides[1])), *divisors(pool))
        of_x = conv2d_input(dense, weight, shape=x.shape, **options) if needs[0] else None
        of_weight = conv2d_weight(dense, x, shape=weight.shape, **options) if needs[1] else None
    if needs[2]:
        of_bias = reductions.sum(compute(_let_through, g, winners), axis=(0, 2, 3), keepdims=False)
    return of_x, of_weight, of_bias


STEPS: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1)}


@kernel
def largest(
    n: Any, out: Any, winners: Any, y: Any, bias: Any, outputs: Any, oh: Any, ow: Any, sides: Any, pool: Any, relu: Any
) -> None:
    """The largest number of each window, and its place: the first of equals, and the last NaN."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, row, column = pixel(i, oh, ow)
        _, channel = split(plane, outputs)
        first, shift = (plane * sides[0] + row * pool[0]) * sides[1] + column * pool[1], bias[channel]
        best, winner = y[first] + shift, 0
        for u in range(pool[0]):
            for v in range(pool[1]):
                value = y[first + u * sides[1] + v] + shift
                if value > best or value != value:
                    best, winner = value, u * pool[1] + v
        if relu and not best > 0:
            best, winner = best if best != best else type(best)(0), LOSER
        out[i] = best
        winners[i] = winner


@kernel
def spread(n: Any, out: Any, g: Any, winners: Any, size: Any, h: Any, w: Any, ph: Any, pw: Any) -> None:
    """The gradient of what is pooled: g at the winners, else 0."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        plane, row, column = pixel(i, h, w)
        (p, u), (q, v) = split(row, ph), split(column, pw)
        window = (plane * size[0] + p) * size[1] + q
        won = p < size[0] and q < size[1] and winners[window] == u * pw[0] + v
        out[i] = g[window] if won else type(g[0])(0)


def _let_through(g: Any, winner: Any) -> Any:
    return g if winner >= 0 else type(g)(0)
