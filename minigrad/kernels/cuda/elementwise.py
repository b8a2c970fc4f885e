"""out[i] = f(x[i], ...) for arrays that lie anyhow: a function of numbers is all that an op has to write."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from minigrad.kernels import scalars
from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import Kernel, kernel
from minigrad.kernels.cuda.intrinsics import load4, store4
from minigrad.kernels.cuda.views import broadcast_to

Function = Callable[..., Any]
Sizes = tuple[int, ...]

AXES = 4
"""How many axes the kernels count with, after axes that are passed through alike have become one."""


def place(i: Any, sizes: Any, strides: Any) -> Any:
    """Where element i of an array of four axes lies."""
    rows, d = i // sizes[3], i % sizes[3]
    planes, c = rows // sizes[2], rows % sizes[2]
    return planes // sizes[1] * strides[0] + planes % sizes[1] * strides[1] + c * strides[2] + d * strides[3]


@functools.cache
def anyhow(f: Function, inputs: int) -> Kernel:
    """The kernel for any strides, of one to three inputs."""

    @kernel
    def one(n: Any, sizes: Any, out: Any, o: Any, x: Any, s: Any) -> None:
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            out[place(i, sizes, o)] = f(x[place(i, sizes, s)])

    @kernel
    def two(n: Any, sizes: Any, out: Any, o: Any, x: Any, s: Any, y: Any, t: Any) -> None:
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            out[place(i, sizes, o)] = f(x[place(i, sizes, s)], y[place(i, sizes, t)])

    @kernel
    def three(n: Any, sizes: Any, out: Any, o: Any, x: Any, s: Any, y: Any, t: Any, z: Any, u: Any) -> None:
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            out[place(i, sizes, o)] = f(x[place(i, sizes, s)], y[place(i, sizes, t)], z[place(i, sizes, u)])

    return (one, two, three)[inputs - 1]


@functools.cache
def in_step(f: Function, inputs: int) -> Kernel:
    """The kernel for one or two inputs that lie as the output does, four elements at a time."""

    @kernel
    def one(n: Any, out: Any, x: Any) -> None:
        for i in range(4 * cuda.grid(1), n - 3, 4 * cuda.gridsize(1)):
            a = load4(x, i)
            store4(out, i, f(a[0]), f(a[1]), f(a[2]), f(a[3]))
        for i in range(n - n % 4 + cuda.grid(1), n, cuda.gridsize(1)):
            out[i] = f(x[i])

    @kernel
    def two(n: Any, out: Any, x: Any, y: Any) -> None:
        for i in range(4 * cuda.grid(1), n - 3, 4 * cuda.gridsize(1)):
            a, b = load4(x, i), load4(y, i)
            store4(out, i, f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3]))
        for i in range(n - n % 4 + cuda.grid(1), n, cuda.gridsize(1)):
            out[i] = f(x[i], y[i])

    return (one, two)[inputs - 1]


def fill(out: Array, f: Function, *inputs: Array) -> Array:
    """Write f of the inputs, which broadcast to the shape of `out`; returns `out`."""
    if not out.size:
        return out
    inputs = tuple([x if x.shape == out.shape else broadcast_to(x, shape=out.shape) for x in inputs])
    arrays = (out, *inputs)
    if len(inputs) < 3 and all(map(_by_fours, arrays)):
        in_step(f, len(inputs)).over(out.size, *arrays)
        return out
    sizes, *strides = joined(out.shape, *[array.strides for array in arrays])
    if len(sizes) > AXES:
        for i in range(sizes[0]):  # so many axes are rare: one launch for each place along the first
            inner = [
                array.view(sizes[1:], s[1:], array.offset + i * s[0]) for array, s in zip(arrays, strides, strict=True)
            ]
            fill(inner[0], f, *inner[1:])
        return out
    missing = AXES - len(sizes)
    laid = [part for array, s in zip(arrays, strides, strict=True) for part in (array, (0,) * missing + s)]
    anyhow(f, len(inputs)).over(out.size, (1,) * missing + sizes, *laid)
    return out


def _by_fours(array: Array) -> bool:
    """Whether an array can be read four elements at a time."""
    return array.dtype.kind == "f" and array.in_one_piece and array.offset % 4 == 0


def joined(shape: Sizes, *strides: Sizes) -> list[Sizes]:
    """Sizes, and strides of several arrays, with neighbouring axes as one where they all pass through both alike.

    >>> joined((2, 3, 4), (12, 4, 1), (0, 4, 1))
    [(2, 12), (12, 1), (0, 1)]
    """
    columns: list[tuple[int, ...]] = []
    for size, *steps in zip(shape, *strides, strict=True):
        if size == 1:
            continue
        if columns and all(before == size * step for before, step in zip(columns[-1][1:], steps, strict=True)):
            columns[-1] = (columns[-1][0] * size, *steps)
        else:
            columns.append((size, *steps))
    rows = zip(*columns, strict=True) if columns else [()] * (1 + len(strides))
    return [tuple(row) for row in rows]


def compute(f: Function, *inputs: Array, dtype: Any = None) -> Array:
    """f of the inputs, which broadcast, in a new array of their dtype or another."""
    shape = inputs[0].shape
    if any(x.shape != shape for x in inputs):
        shape = np.broadcast_shapes(*[x.shape for x in inputs])
    return fill(empty(shape, dtype or inputs[0].dtype), f, *inputs)


def _maximum(x: Any, y: Any) -> Any:
    return x if x > y or x != x else y


def _minimum(x: Any, y: Any) -> Any:
    return x if x < y or x != x else y


def _sign(x: Any) -> Any:
    zero, one = type(x)(0), type(x)(1)
    return one if x > zero else -one if x < zero else x


def _floor(x: Any) -> Any:
    return x // type(x)(1) if abs(x) < type(x)(LARGE) else x


def _ceil(x: Any) -> Any:
    return -_floor(-x)


def _remainder(x: Any, y: Any) -> Any:
    return x % y


def _logaddexp(x: Any, y: Any) -> Any:
    if x == y:  # infinities too, whose difference is no number
        return x + type(x)(LOG2)
    apart = x - y
    return _maximum(x, y) + math.log1p(math.exp(-abs(apart))) if apart == apart else apart


LARGE = 2.0**52
"""From here on every number is an integer."""

LOG2 = math.log(2)

SAME: dict[str, Function] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "floor_divide": lambda x, y: x // y,
    "remainder": _remainder,
    "pow": lambda x, y: x**y,
    "negative": lambda x: -x,
    "abs": lambda x: abs(x),
    "sign": _sign,
    "square": lambda x: x * x,
    "floor": _floor,
    "ceil": _ceil,
    "exp": lambda x: math.exp(x),
    "expm1": lambda x: math.expm1(x),
    "log": lambda x: math.log(x),
    "log1p": lambda x: math.log1p(x),
    "sqrt": lambda x: math.sqrt(x),
    "sin": lambda x: math.sin(x),
    "cos": lambda x: math.cos(x),
    "tanh": lambda x: math.tanh(x),
    "erf": lambda x: math.erf(x),
    "erfc": lambda x: math.erfc(x),
    "sigmoid": scalars.logistic,
    "relu": lambda x: x if x > 0 or x != x else type(x)(0),
    "where_positive": lambda x, y: x if y > 0 else type(x)(0),
    "maximum": _maximum,
    "minimum": _minimum,
    "logaddexp": _logaddexp,
}
"""The ops whose result has the dtype of their inputs."""

TRUTHS: dict[str, Function] = {
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "logical_and": lambda x, y: x and y,
    "logical_or": lambda x, y: x or y,
    "logical_not": lambda x: not x,
    "isnan": lambda x: x != x,
    "isinf": lambda x: abs(x) == math.inf,
    "isfinite": lambda x: x - x == 0,
}
"""The ops whose result is boolean."""

KERNELS: dict[str, Callable[..., Array]] = {
    **{name: functools.partial(compute, f) for name, f in SAME.items()},
    **{name: functools.partial(compute, f, dtype=np.bool_) for name, f in TRUTHS.items()},
}


def where(condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, else y."""
    return compute(_chosen, condition, x, y, dtype=x.dtype)


def _chosen(condition: Any, x: Any, y: Any) -> Any:
    return x if condition else y
