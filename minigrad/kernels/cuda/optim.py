"""Optimiser steps: one pass over a parameter and its state."""

import math
from typing import Any

from numba import cuda

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.copies import contiguous


def sgd_step(
    x: Array, g: Array, delta: Array | None = None, *, lr: float, momentum: float, nesterov: bool, decay: float
) -> tuple[Array, ...]:
    """Move x against its gradient g: see `reference.sgd_step`."""
    scalar, moved = x.dtype.type, empty(x.shape, x.dtype)
    if delta is None:
        plain_step.over(x.size, moved, contiguous(x), contiguous(g), scalar(lr), scalar(decay))
        return (moved,)
    new, settings = empty(x.shape, x.dtype), (scalar(lr), scalar(momentum), int(nesterov), scalar(decay))
    momentum_step.over(x.size, moved, new, contiguous(x), contiguous(g), contiguous(delta), *settings)
    return moved, new


def adam_step(
    *arrays: Array, steps: int, lr: float, betas: tuple[float, float], eps: float, decay: float
) -> tuple[Array, Array, Array]:
    """Move x against its gradient, scaled by its moments: see `reference.adam_step`."""
    x, (first, second) = arrays[0], betas
    moved, mean, square = (empty(x.shape, x.dtype) for _ in range(3))
    rate, correction = lr / (1 - first**steps), 1 - second**steps
    settings = (first, 1 - first, second, 1 - second, rate, correction, eps, decay)
    moments_step.over(x.size, moved, mean, square, *map(contiguous, arrays), *map(x.dtype.type, settings))
    return moved, mean, square


@kernel
def plain_step(n: Any, moved: Any, x: Any, g: Any, lr: Any, decay: Any) -> None:
    """Gradient descent."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        moved[i] = x[i] - lr * (g[i] + decay * x[i] if decay else g[i])


@kernel
def momentum_step(
    n: Any, moved: Any, new: Any, x: Any, g: Any, delta: Any, lr: Any, momentum: Any, nesterov: Any, decay: Any
) -> None:
    """Gradient descent with a running step."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        slope = g[i] + decay * x[i] if decay else g[i]
        step = momentum * delta[i] + slope
        new[i] = step
        moved[i] = x[i] - lr * (slope + momentum * step if nesterov else step)


@kernel
def moments_step(
    n: Any, moved: Any, new_mean: Any, new_square: Any, x: Any, g: Any, mean: Any, square: Any,
    first: Any, first_rest: Any, second: Any, second_rest: Any, rate: Any, correction: Any, eps: Any, decay: Any,
) -> None:  # fmt: skip
    """Adam."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        slope = g[i] + decay * x[i] if decay else g[i]
        average = first * mean[i] + first_rest * slope
        squares = second * square[i] + second_rest * slope * slope
        new_mean[i], new_square[i] = average, squares
        moved[i] = x[i] - rate * average / (math.sqrt(squares / correction) + eps)
