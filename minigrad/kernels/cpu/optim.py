"""Optimiser steps on the CPU: one pass over a parameter and its state."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]

FEW = 1 << 14  # elements that one thread moves faster than several: waking them takes longer


def sgd_step(
    x: Array, g: Array, delta: Array | None = None, *, lr: float, momentum: float, nesterov: bool, decay: float
) -> tuple[Array, ...]:
    """Move x against its gradient g: see `reference.sgd_step`."""
    scalar = x.dtype.type
    settings = scalar(lr), scalar(momentum), nesterov, scalar(decay)
    parts = _parts(x)
    moved = empty(x.shape, x.dtype)
    if delta is None:
        nothing = moved.ravel()[:0]
        _sgd(parts, moved.ravel(), nothing, x.ravel(), g.ravel(), nothing, *settings)
        return (moved,)
    new = empty(x.shape, x.dtype)
    _sgd(parts, moved.ravel(), new.ravel(), x.ravel(), g.ravel(), delta.ravel(), *settings)
    return moved, new


def adam_step(
    *arrays: Array, steps: int, lr: float, betas: tuple[float, float], eps: float, decay: float
) -> tuple[Array, Array, Array]:
    """Move x against its gradient, scaled by its moments: see `reference.adam_step`."""
    x = arrays[0]
    moved, mean, square = (empty(x.shape, x.dtype) for _ in range(3))
    first, second = betas
    rate, correction = lr / (1 - first**steps), 1 - second**steps
    settings = (first, 1 - first, second, 1 - second, rate, correction, eps, decay)
    flat = [array.ravel() for array in (moved, mean, square, *arrays)]
    _adam(_parts(x), *flat, tuple(map(x.dtype.type, settings)))
    return moved, mean, square


def _parts(x: Array) -> int:
    """How many threads to share x among."""
    return get_num_threads() if x.size > FEW else 1


@kernel
def _sgd(
    parts: Any, moved: Any, new: Any, x: Any, g: Any, delta: Any, lr: Any, momentum: Any, nesterov: Any, decay: Any
) -> None:
    if parts == 1:
        _sgd_part(moved, new, x, g, delta, lr, momentum, nesterov, decay)
        return
    for part in prange(parts):
        i, j = part * len(x) // parts, (part + 1) * len(x) // parts
        _sgd_part(moved[i:j], new[i:j], x[i:j], g[i:j], delta[i:j], lr, momentum, nesterov, decay)


@jit
def _sgd_part(
    moved: Any, new: Any, x: Any, g: Any, delta: Any, lr: Any, momentum: Any, nesterov: Any, decay: Any
) -> None:
    for i in range(np.uintp(len(x))):
        slope = g[i] + decay * x[i] if decay else g[i]
        if len(delta):
            new[i] = momentum * delta[i] + slope
            slope = slope + momentum * new[i] if nesterov else new[i]
        moved[i] = x[i] - lr * slope


@kernel
def _adam(
    parts: Any, moved: Any, new_mean: Any, new_square: Any, x: Any, g: Any, mean: Any, square: Any, factors: Any
) -> None:
    if parts == 1:
        _adam_part(moved, new_mean, new_square, x, g, mean, square, factors)
        return
    for part in prange(parts):
        i, j = part * len(x) // parts, (part + 1) * len(x) // parts
        _adam_part(moved[i:j], new_mean[i:j], new_square[i:j], x[i:j], g[i:j], mean[i:j], square[i:j], factors)


@jit
def _adam_part(
    moved: Any, new_mean: Any, new_square: Any, x: Any, g: Any, mean: Any, square: Any, factors: Any
) -> None:
    first, first_rest, second, second_rest, rate, correction, eps, decay = factors
    for i in range(np.uintp(len(x))):
        slope = g[i] + decay * x[i] if decay else g[i]
        new_mean[i] = first * mean[i] + first_rest * slope
        new_square[i] = second * square[i] + second_rest * slope * slope
        moved[i] = x[i] - rate * new_mean[i] / (np.sqrt(new_square[i] / correction) + eps)
