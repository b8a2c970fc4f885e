"""Optimiser steps on the CPU: one pass over a parameter and its state."""

from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]

WORK = 4  # of an element, in what `sharing` counts: several arrays are gone through


def sgd_step(
    x: Array, g: Array, delta: Array | None = None, *, lr: float, momentum: float, nesterov: bool, decay: float
) -> tuple[Array, ...]:
    """Move x against its gradient g: see `reference.sgd_step`."""
    settings = float(lr), float(momentum), bool(nesterov), float(decay)
    moved, threads = empty(x.shape, x.dtype), sharing(WORK * x.size)
    if delta is None:
        nothing = moved.ravel()[:0]
        _sgd(x.size, threads, moved.ravel(), nothing, x.ravel(), g.ravel(), nothing, *settings)
        return (moved,)
    new = empty(x.shape, x.dtype)
    _sgd(x.size, threads, moved.ravel(), new.ravel(), x.ravel(), g.ravel(), delta.ravel(), *settings)
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
    _adam(x.size, sharing(WORK * x.size), *flat, tuple(map(x.dtype.type, settings)))
    return moved, mean, square


@shared
def _sgd(
    thread: Any, first: Any, stop: Any, moved: Any, new: Any, x: Any, g: Any, delta: Any,
    lr: Any, momentum: Any, nesterov: Any, decay: Any
) -> None:  # fmt: skip
    scalar = x.dtype.type
    lr, momentum, decay = scalar(lr), scalar(momentum), scalar(decay)
    for i in range(np.uintp(first), np.uintp(stop)):
        slope = g[i] + decay * x[i] if decay else g[i]
        if len(delta):
            new[i] = momentum * delta[i] + slope
            slope = slope + momentum * new[i] if nesterov else new[i]
        moved[i] = x[i] - lr * slope


@shared
def _adam(
    thread: Any, first: Any, stop: Any, moved: Any, new_mean: Any, new_square: Any, x: Any, g: Any,
    mean: Any, square: Any, factors: Any
) -> None:  # fmt: skip
    beta, rest, beta_2, rest_2, rate, correction, eps, decay = factors
    for i in range(np.uintp(first), np.uintp(stop)):
        slope = g[i] + decay * x[i] if decay else g[i]
        new_mean[i] = beta * mean[i] + rest * slope
        new_square[i] = beta_2 * square[i] + rest_2 * slope * slope
        moved[i] = x[i] - rate * new_mean[i] / (np.sqrt(new_square[i] / correction) + eps)
