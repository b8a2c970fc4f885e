"""out[i] = f(x[i], ...) for arrays that lie anyhow: a function of numbers is all that an op has to write."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, int32, int64

from minigrad.kernels import scalars
from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import Kernel, kernel
from minigrad.kernels.cuda.division import divisor, quotient
from minigrad.kernels.cuda.intrinsics import load, load4, store4
from minigrad.kernels.cuda.views import broadcast_to

Function = Callable[..., Any]
Sizes = tuple[int, ...]

ABSENT = np.int32(0)
"""What a kernel is given for inputs that its function does not have."""


@functools.cache
def anyhow(f: Function, inputs: int, index: Any) -> Kernel:
    """The kernel for any strides, of one to three inputs, each an array or a number; `index` is a type of integers.

    A thread finds out once where it is along each axis. It does so for inputs too that are numbers, in vain: the
    compiler leaves that out.
    """
    g = _of_three(f, inputs)

    @kernel
    def each(
        n: Any, sizes: Any, factors: Any, shifts: Any,
        out: Any, o: Any, x: Any, s: Any, y: Any, t: Any, z: Any, u: Any,
    ) -> None:  # fmt: skip
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            rest, at, a, b, c = index(i), index(0), index(0), index(0), index(0)
            for axis in range(len(sizes) - 1, 0, -1):
                rows = index(quotient(int64(rest), (sizes[axis], factors[axis], shifts[axis])))
                step = index(rest - rows * index(sizes[axis]))
                at, a = index(at + step * index(o[axis])), index(a + step * index(s[axis]))
                b, c = index(b + step * index(t[axis])), index(c + step * index(u[axis]))
                rest = rows
            first, second = load(x, index(a + rest * index(s[0]))), load(y, index(b + rest * index(t[0])))
            out[index(at + rest * index(o[0]))] = g(first, second, load(z, index(c + rest * index(u[0]))))

    return each


@functools.cache
def in_step(f: Function, inputs: int) -> Kernel:
    """The kernel for numbers, and arrays that lie as the output does: four elements at a time."""
    g = _of_three(f, inputs)

    @kernel
    def each(n: Any, out: Any, x: Any, y: Any, z: Any) -> None:
        for i in range(4 * cuda.grid(1), n - 3, 4 * cuda.gridsize(1)):
            a, b, c = load4(x, i), load4(y, i), load4(z, i)
            store4(out, i, g(a[0], b[0], c[0]), g(a[1], b[1], c[1]), g(a[2], b[2], c[2]), g(a[3], b[3], c[3]))
        for i in range(n - n % 4 + cuda.grid(1), n, cuda.gridsize(1)):
            out[i] = g(load(x, i), load(y, i), load(z, i))

    return each


def _of_three(f: Function, inputs: int) -> Function:
    """A function of one to three numbers as one of three."""
    return (lambda x, y, z: f(x), lambda x, y, z: f(x, y), f)[inputs - 1]


def fill(out: Array, f: Function, *inputs: Array) -> Array:
    """Write f of the inputs, which broadcast to the shape of `out`; returns `out`."""
    if not out.size:
        return out
    inputs = tuple([x if x.shape == out.shape else broadcast_to(x, shape=out.shape) for x in inputs])
    absent = [ABSENT] * (3 - len(inputs))
    operands = [*[x if x.constant is None else x.constant for x in inputs], *absent]
    if by_fours(out) and all(x.constant is not None or by_fours(x) for x in inputs):
        in_step(f, len(inputs)).over(out.size, out, *operands)
        return out
    sizes, *strides = joined(out.shape, *[array.strides for array in (out, *inputs)])
    reach = max(sum(abs(step) * (size - 1) for size, step in zip(sizes, one, strict=True)) for one in strides)
    strides += [(0,) * len(sizes)] * len(absent)
    laid = [part for pair in zip((out, *operands), strides, strict=True) for part in pair]
    index = int32 if max(reach, out.size) < 2**31 else int64
    anyhow(f, len(inputs), index).over(out.size, *zip(*map(divisor, sizes), strict=True), *laid)
    return out


def by_fours(array: Array) -> bool:
    """Whether an array can be read four elements at a time."""
    return array.offset % 4 == 0 and array.in_one_piece


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
    rows = zip(*columns or [(1,) + (0,) * len(strides)], strict=True)
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
    return one if x > zero else -one if x < zero else x if x != x else zero


def _floor(x: Any) -> Any:
    return x // type(x)(1) if abs(x) < type(x)(LARGE) else x


def _ceil(x: Any) -> Any:
    return -_floor(-x)


def _round(x: Any) -> Any:
    below, one = _floor(x), type(x)(1)
    twice = (x - below) + (x - below)
    up = twice > one or (twice == one and below % (one + one) == one)  # of two neighbours the even one
    return below + one if up else below


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
    "round": _round,
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
