"""Elementwise ops on large contiguous arrays, on all threads: numpy computes on one.

A sigmoid of float32 is within 2.5 units in the last place of the true value, denormal results included.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange, types
from numba.extending import overload

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.exponential import exp
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Kernel = Callable[..., None]


def at(x: Any, i: Any) -> Any:
    """x[i], or x itself where it is a number."""


@overload(at, strict=False)
def _choose(x: Any, i: Any) -> Any:
    return (lambda x, i: x[i]) if isinstance(x, types.Array) else (lambda x, i: x)


def _unary(function: Callable[[Any], Any]) -> Kernel:
    function = jit(function)

    @jit
    def part(out: Any, x: Any, start: Any, stop: Any) -> None:
        for i in range(np.uintp(start), np.uintp(stop)):
            out[i] = function(x[i])

    @kernel
    def share(out: Any, x: Any, parts: Any) -> None:
        for p in prange(parts):
            part(out, x, np.intp(p) * len(out) // parts, (np.intp(p) + 1) * len(out) // parts)

    return share


def _binary(function: Callable[[Any, Any], Any]) -> Kernel:
    function = jit(function)

    @jit
    def part(out: Any, x: Any, y: Any, start: Any, stop: Any) -> None:
        for i in range(np.uintp(start), np.uintp(stop)):
            out[i] = function(at(x, i), at(y, i))

    @kernel
    def share(out: Any, x: Any, y: Any, parts: Any) -> None:
        for p in prange(parts):
            part(out, x, y, np.intp(p) * len(out) // parts, (np.intp(p) + 1) * len(out) // parts)

    return share


# Functions with names, by which their machine code is filed; `_unary` and `_binary` take them to arrays.


def _relu(x: Any) -> Any:
    return type(x)(0) if x < 0 else x


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) from exp(-|x|), which cannot overflow."""
    one, small = type(x)(1), exp(-abs(x))
    return (small if x < 0 else one) / (one + small)


def _exp(x: Any) -> Any:
    return exp(x)


def _add(x: Any, y: Any) -> Any:
    return x + y


def _subtract(x: Any, y: Any) -> Any:
    return x - y


def _multiply(x: Any, y: Any) -> Any:
    return x * y


def _divide(x: Any, y: Any) -> Any:
    return x / y


def _maximum(x: Any, y: Any) -> Any:
    return x if x > y or x != x else y  # NaN is not itself


def _minimum(x: Any, y: Any) -> Any:
    return x if x < y or x != x else y


def _where_positive(x: Any, y: Any) -> Any:
    return x if y > 0 else type(x)(0)


_UNARY = (_relu, _sigmoid, _exp)
_BINARY = (_add, _subtract, _multiply, _divide, _maximum, _minimum, _where_positive)
KERNELS: dict[str, Kernel] = {
    **{function.__name__[1:]: _unary(function) for function in _UNARY},
    **{function.__name__[1:]: _binary(function) for function in _BINARY},
}

FLOAT32 = ("exp", "sigmoid")  # of a float64, the C library takes one exponential at a time, and numpy several


def shared(name: str, *arrays: Array) -> Array | None:
    """Compute an op on all threads; None if its operands are no contiguous floats of one shape, or numbers."""
    first = arrays[0] if arrays[0].ndim else arrays[-1]
    if first.dtype.char not in ("f" if name in FLOAT32 else "fd"):
        return None
    for array in arrays:
        fits = array.ndim == 0 or (array.shape == first.shape and array.flags.c_contiguous)
        if not fits or array.dtype is not first.dtype:
            return None
    out = empty(first.shape, first.dtype)
    operands = [array.reshape(-1) if array.ndim else first.dtype.type(array) for array in arrays]
    KERNELS[name](out.reshape(-1), *operands, get_num_threads())
    return out
