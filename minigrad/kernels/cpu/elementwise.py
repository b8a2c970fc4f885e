"""Elementwise ops on large contiguous arrays of floats, on all threads: numpy computes on one.

Operands are broadcast run by run. A sigmoid is within 2.5 units in the last place of the true value, a hyperbolic
tangent within 3, denormal results included.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from minigrad.kernels import scalars
from minigrad.kernels.cpu import transcendental
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import (
    full,
    full_like,
    is_nan,
    load_first,
    maximum,
    minimum,
    select,
    sqrt,
    store_first,
    width,
)
from minigrad.kernels.cpu.threads import sharing
from minigrad.kernels.cpu.transcendental import erf as integral
from minigrad.kernels.cpu.transcendental import erfc as tail
from minigrad.kernels.cpu.transcendental import exp as exponential
from minigrad.kernels.cpu.transcendental import tanh as hyperbolic_tangent

Array = npt.NDArray[Any]
Kernel = Callable[..., None]
Shape = tuple[int, ...]

SHORT, MANY = 1 << 5, 1 << 15  # elements of a run, and runs: numpy broadcasts shorter ones, and more, as fast


class Runs(NamedTuple):
    """How two operands are broadcast: along each run of the result, one moves on with it and the other may stand still.

    shape, length
        Of the result, and of a run: its last axes, so many that in each of them the same operands move.
    x_moves, y_moves
        Whether they do.
    x_begins, y_begins
        Where they are at the beginning of each run.
    """

    shape: Shape
    length: int
    x_moves: bool
    y_moves: bool
    x_begins: Array
    y_begins: Array


def of_vectors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers from `scalars.py` as one of tiles, to be compiled."""
    compile = jit(forceinline=True)
    return scalars.linked(function, compile, math=transcendental, constant=full_like, choose=select)


def _unary(function: Callable[[Any], Any]) -> Kernel:
    function = jit(forceinline=True)(function)

    @shared
    def part(_: Any, start: Any, stop: Any, out: Any, x: Any) -> None:
        for i in range(start, stop, width(out)):
            store_first(out, i, stop - i, function(load_first(x, i, stop - i, 0)))

    return part


def _binary(function: Callable[[Any, Any], Any]) -> Kernel:
    function = jit(forceinline=True)(function)

    @shared
    def part(
        _: Any, start: Any, stop: Any, out: Any, x: Any, y: Any, length: Any, x_moves: Any, y_moves: Any,
        x_begins: Any, y_begins: Any
    ) -> None:  # fmt: skip
        n = start // length
        while start < stop:
            done, count = start - n * length, min(stop, (n + 1) * length) - start
            i, j = x_begins[n], y_begins[n]
            if x_moves and y_moves:
                along(out, start, x, i + done, y, j + done, count)
            elif x_moves:
                along(out, start, x, i + done, full(y[j], 1, 1), 0, count)
            else:
                along(out, start, full(x[i], 1, 1), 0, y, j + done, count)
            start, n = start + count, n + 1

    @jit
    def along(out: Any, to: Any, x: Any, i: Any, y: Any, j: Any, count: Any) -> None:
        for e in range(0, count, width(out)):
            rest = count - e
            store_first(out, to + e, rest, function(_vector(x, i + e, rest), _vector(y, j + e, rest)))

    return part


def _vector(x: Any, at: Any, count: Any) -> Any:
    """A vector of an array, or the tile itself that stands in for one."""


@overload(_vector, strict=False)
def _choose(x: Any, at: Any, count: Any) -> Any:
    if isinstance(x, types.Array):
        return lambda x, at, count: load_first(x, at, count, 0)
    return lambda x, at, count: x


# Functions with names, by which their machine code is filed; `_unary` and `_binary` take them to arrays. What a name
# means in this file counts, too: `erf` is a function of arrays here, and has another name for tiles.


def _relu(x: Any) -> Any:
    zero = full_like(x, 0)
    return select((x > zero) | is_nan(x), x, zero)


def _exp(x: Any) -> Any:
    return exponential(x)


def _erf(x: Any) -> Any:
    return integral(x)


def _erfc(x: Any) -> Any:
    return tail(x)


def _tanh(x: Any) -> Any:
    return hyperbolic_tangent(x)


def _negative(x: Any) -> Any:
    return -x


def _abs(x: Any) -> Any:
    return abs(x)


def _square(x: Any) -> Any:
    return x * x


def _sqrt(x: Any) -> Any:
    return sqrt(x)


def _add(x: Any, y: Any) -> Any:
    return x + y


def _subtract(x: Any, y: Any) -> Any:
    return x - y


def _multiply(x: Any, y: Any) -> Any:
    return x * y


def _divide(x: Any, y: Any) -> Any:
    return x / y


def _maximum(x: Any, y: Any) -> Any:
    return maximum(x, y)


def _minimum(x: Any, y: Any) -> Any:
    return minimum(x, y)


def _where_positive(x: Any, y: Any) -> Any:
    return select(y > full_like(y, 0), x, full_like(x, 0))


UNARY = {
    function.__name__[1:]: _unary(function)
    for function in (_relu, _exp, _erf, _erfc, _tanh, _negative, _abs, _square, _sqrt)
}
UNARY["sigmoid"] = _unary(of_vectors(scalars.logistic))
BINARY = {
    function.__name__[1:]: _binary(function)
    for function in (_add, _subtract, _multiply, _divide, _maximum, _minimum, _where_positive)
}


def erf(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return _compute_unary("erf", x)


def erfc(x: Array) -> Array:
    """1 - erf(x)."""
    return _compute_unary("erfc", x)


def _compute_unary(name: str, x: Array) -> Array:
    out = empty(x.shape, x.dtype)
    UNARY[name](out.size, sharing(out.size), out.ravel(), x.ravel())
    return out


def compute(name: str, *arrays: Array) -> Array | None:
    """Compute an op on all threads; None if its operands are no contiguous floats, or broadcast in short runs."""
    dtype = arrays[0].dtype
    if dtype.char not in "fd":
        return None
    for array in arrays:
        if array.dtype is not dtype or not array.flags.c_contiguous:
            return None
    if name in UNARY:
        return _compute_unary(name, arrays[0])
    x, y = arrays
    runs = _runs(x.shape, y.shape)
    if runs is None:
        return None
    out = empty(runs.shape, dtype)
    BINARY[name](out.size, sharing(out.size), out.ravel(), x.ravel(), y.ravel(), *runs[1:])
    return out


@functools.lru_cache(maxsize=16)
def _runs(x: Shape, y: Shape) -> Runs | None:
    shape = np.broadcast_shapes(x, y)
    shapes = [(1,) * (len(shape) - len(own)) + own for own in (x, y)]
    moves = [(m == size, n == size) for m, n, size in zip(*shapes, shape, strict=True)]
    first = len(shape) - 1
    while first and moves[first - 1] == moves[-1]:
        first -= 1
    length = math.prod(shape[first:])
    if length < SHORT or math.prod(shape[:first]) > MANY:
        return None
    begins = []
    for own, moving in zip(shapes, moves[-1], strict=True):
        places = np.arange(math.prod(own[:first])) * (length if moving else 1)
        begins.append(np.broadcast_to(places.reshape(own[:first]), shape[:first]).copy().ravel())
    return Runs(shape, length, *moves[-1], *begins)
