"""The error function and its complement: numpy has neither."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import SMALL, empty
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]

_integral, _tail = (
    math.erf,
    math.erfc,
)  # a kernel is filed by all that its names mean, and `erf` means the function here


def erf(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return _filled(_erf, x)


def erfc(x: Array) -> Array:
    """1 - erf(x)."""
    return _filled(_erfc, x)


def _filled(function: Callable[..., None], x: Array) -> Array:
    out = empty(x.shape, x.dtype)
    parts = get_num_threads() if x.nbytes >= SMALL else 1
    function(out.reshape(-1), np.ascontiguousarray(x).reshape(-1), parts)
    return out


@kernel
def _erf(out: Any, x: Any, parts: Any) -> None:
    for p in prange(parts):
        _erf_part(out, x, p * len(out) // parts, (p + 1) * len(out) // parts)


@jit
def _erf_part(out: Any, x: Any, start: Any, stop: Any) -> None:
    for i in range(start, stop):
        out[i] = _integral(x[i])


@kernel
def _erfc(out: Any, x: Any, parts: Any) -> None:
    for p in prange(parts):
        _erfc_part(out, x, p * len(out) // parts, (p + 1) * len(out) // parts)


@jit
def _erfc_part(out: Any, x: Any, start: Any, stop: Any) -> None:
    for i in range(start, stop):
        out[i] = _tail(x[i])
