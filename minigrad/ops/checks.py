"""What ops check before a kernel runs: operands, dtypes, broadcasting, axes, pairs."""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.dtypes import boolean, float32, is_floating, promote, uint64, weak
from minigrad.errors import (
    ArgumentError,
    DtypeError,
    OperandError,
    OutOfMemoryError,
    ShapeError,
    message,
    shape_text,
)
from minigrad.graph import Variable, wrap

SCALARS = (bool, int, float)

FAR = 2**40
"""A distance that leads out of every image, and that kernels can still compute with."""

FULL, CHECK_WITHIN = kernels.Kernels("full"), kernels.Kernels("check_within")


def full(shape: tuple[int, ...], value: Any, dtype: np.dtype, like: Any) -> Any:
    """A constant of the class and device of `like`."""
    return wrap(FULL[like._array.__class__](shape=shape, value=value, dtype=dtype))


def constant(scalar: bool | int | float, like: Any) -> Any:
    """A python scalar in its own dtype, of the class and device of `like`."""
    return full((), scalar, weak(scalar, boolean), like)


def zeros_like(spec: Any, like: Any) -> Any:
    """Zeros of the shape and dtype of `spec`, of the class and device of `like`."""
    return full(spec.shape, 0, spec.dtype, like)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum x over the axes along which `shape` was broadcast: the transpose of broadcast_to."""
    if x.shape == shape:
        return x
    extra = len(x.shape) - len(shape)
    stretched = [extra + i for i, size in enumerate(shape) if size == 1 and x.shape[extra + i] != 1]
    if not stretched:
        return x.sum(axis=tuple(range(extra)))
    x = x.sum(axis=(*range(extra), *stretched), keepdims=True)
    return x.reshape(shape) if extra else x


def operands(op: str, names: Sequence[str], values: Sequence[Any], dtypes: str = "any") -> list[Any]:
    """Turn the inputs of an op into variables of one dtype.

    Python scalars and ndarrays take the class and device of the first variable. `dtypes` says what the op computes
    with: "any", "comparable" (a python integer may be beyond the others' dtype), "boolean", "numeric" (no booleans) or
    "floating" (integers and booleans are converted to float32).
    """
    if dtypes != "boolean" and alike(values):
        return list(values)
    like = next((value for value in values if isinstance(value, Variable)), None)
    if like is None:
        kinds = ", ".join(type(value).__name__ for value in values)
        raise OperandError(f"{op}: no tensor among the inputs ({kinds})\nhint: make one with minigrad.tensor(...)")
    if dtypes == "comparable" and like.dtype.kind in "iu" and _without_common_integer(values):
        return [operand(op, name, value, value.dtype, like) for name, value in zip(names, values, strict=True)]
    dtype = like.dtype
    if dtype.kind == "f" and dtypes != "boolean" and all(x is like or x.__class__ in (float, int) for x in values):
        return [x if x is like else operand(op, name, x, dtype, like) for name, x in zip(names, values, strict=True)]
    strong: list[np.dtype] = [value.dtype for value in values if isinstance(value, (Variable, np.ndarray))]
    dtype = promote(*strong) if len(set(strong)) > 1 else strong[0]
    for value in values:
        if isinstance(value, SCALARS):
            dtype = weak(value, dtype)
        elif isinstance(value, np.generic):
            dtype = promote(dtype, value.dtype)
    if dtypes == "comparable" and dtype.kind in "iu":
        values = [_infinite(value, dtype) for value in values]
        dtype = float32 if any(isinstance(value, float) for value in values) else dtype
    if dtypes == "floating" and not is_floating(dtype):
        dtype = float32
    if (dtypes == "numeric" and dtype == boolean) or (dtypes == "boolean" and dtype != boolean):
        rows = [(name, "", value) for name, value in zip(names, values, strict=True) if isinstance(value, Variable)]
        if dtype == boolean:
            hint = "combine truth values with & | ~, or convert with astype"
            raise DtypeError(message(f"{op}: booleans have no arithmetic", rows, hint))
        raise DtypeError(message(f"{op}: {dtype} is not boolean", rows, "compare first, e.g. x != 0"))
    return [operand(op, name, value, dtype, like) for name, value in zip(names, values, strict=True)]


def _without_common_integer(values: Sequence[Any]) -> bool:
    """Whether uint64 is beside a signed dtype: the kernels compare both exactly, and no integer dtype holds both."""
    kinds = [value.dtype for value in values if isinstance(value, (Variable, np.ndarray, np.generic))]
    return uint64 in kinds and all(kind.kind == "i" for kind in kinds if kind != uint64) and len(set(kinds)) > 1


def _infinite(value: Any, dtype: np.dtype) -> Any:
    """An infinity for a python integer beyond an integer dtype: all numbers of the dtype compare with both alike."""
    if not isinstance(value, int) or np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        return value
    return math.inf if value > 0 else -math.inf


def operand(op: str, name: str, value: Any, dtype: np.dtype, like: Any) -> Any:
    """Turn one input into a variable of `dtype`."""
    if isinstance(value, (*SCALARS, np.generic)):
        try:
            return full((), value, dtype, like)
        except (OverflowError, ValueError):
            raise ArgumentError(f"{op}: {name} = {value} does not fit in {dtype}") from None
    if isinstance(value, np.ndarray):
        return wrap(kernels.backend(like.device).from_numpy(value.astype(dtype)))
    value = variable(op, name, value)
    return value if value.dtype == dtype else value.astype(dtype)


def variable(op: str, name: str, value: Any) -> Any:
    """Require a tensor."""
    if isinstance(value, Variable):
        return value
    raise OperandError(
        f"{op}: {name} is a {type(value).__name__}, not a tensor\nhint: make one with minigrad.tensor(...)"
    )


def broadcasting(
    function: Callable[..., Any], dtypes: str, check: Callable[..., None] | None = None
) -> Callable[..., Any]:
    """The check of an elementwise op: inputs of one dtype whose shapes broadcast, and what `check` adds."""
    op, names = function.__name__, tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def bind(*values: Any) -> tuple[Sequence[Any], dict[str, Any]]:
        if len(values) != len(names):
            raise OperandError(f"{op}: expected {len(names)} inputs ({', '.join(names)}), got {len(values)}")
        inputs = operands(op, names, values, dtypes)
        broadcast_shapes(op, names, inputs)
        if check:
            check(*inputs)
        return inputs, {}

    return bind


def alike(values: Sequence[Any]) -> bool:
    """Whether all inputs are float variables of one dtype: the common case, in which there is nothing to convert."""
    dtype = values[0]._array.dtype if isinstance(values[0], Variable) else None
    if dtype is None or dtype.kind != "f":
        return False
    for value in values:  # noqa: SIM110 (all() of a generator takes twice as long)
        if not isinstance(value, Variable) or value._array.dtype is not dtype:
            return False
    return True


def broadcast_shapes(op: str, names: Sequence[str], inputs: Sequence[Any]) -> tuple[int, ...]:
    """The common shape of the inputs, or a ShapeError that names the axis."""
    distinct = {x.shape for x in inputs} - {()}
    if len(distinct) < 2:
        return distinct.pop() if distinct else ()
    ndim = max(len(x.shape) for x in inputs)
    result = []
    for axis in range(-ndim, 0):
        sizes = {x.shape[axis] for x in inputs if len(x.shape) >= -axis and x.shape[axis] != 1}
        if len(sizes) > 1:
            listed = " and ".join(str(x.shape[axis]) for x in inputs if len(x.shape) >= -axis and x.shape[axis] != 1)
            rows = [(name, "", x) for name, x in zip(names, inputs, strict=True)]
            hint = "shapes are aligned at the right; sizes must be equal or 1"
            raise ShapeError(message(f"{op}: shapes do not broadcast, {listed} at axis {axis}", rows, hint))
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def axes(op: str, axis: Any, x: Any) -> tuple[int, ...]:
    """The axes meant by `axis` (None: all; an int; a tuple of ints), counted from 0 and in order."""
    ndim = len(x.shape)
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    result = sorted(one_axis(op, one, ndim, x) for one in given)
    if len(set(result)) < len(result):
        raise ArgumentError(f"{op}: axis = {axis} names an axis twice")
    return tuple(result)


def one_axis(op: str, axis: Any, ndim: int, x: Any = None) -> int:
    """One axis, counted from 0."""
    index = integer(op, "axis", axis)
    if not -ndim <= index < ndim:
        rows = [("x", "", x)] if x is not None else []
        raise ArgumentError(message(f"{op}: no axis {index} in {ndim} dimensions", rows))
    return index % ndim


def integer(op: str, name: str, value: Any) -> int:
    """Require an integer (a bool is not one)."""
    if value.__class__ is int:
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{op}: {name} = {value!r} is not an integer") from None


def number(op: str, name: str, value: Any) -> float:
    """Require a number (text that float() would read is none)."""
    if not isinstance(value, Real):
        raise ArgumentError(f"{op}: {name} = {value!r} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise ArgumentError(f"{op}: {name} = {value} is beyond all floats") from None


def pair(op: str, name: str, value: Any, minimum: int) -> tuple[int, int]:
    """An int or two of them, for height and width."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ArgumentError(f"{op}: {name} = {value} is neither an integer nor a pair")
    height, width = values
    if height.__class__ is width.__class__ is int and minimum <= height <= FAR and minimum <= width <= FAR:
        return height, width
    height, width = integer(op, name, height), integer(op, name, width)
    if min(height, width) < minimum:
        raise ArgumentError(f"{op}: {name} = {value} is less than {minimum}")
    return min(height, FAR), min(width, FAR)


def shape_of(op: str, value: Any) -> tuple[int, ...]:
    """Sizes given as one int or a sequence of them."""
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    for size in sizes:
        if size.__class__ is not int:
            return tuple([integer(op, "shape", one) for one in sizes])
    return tuple(sizes)


@contextmanager
def memory_for(op: str, shape: Sequence[int]) -> Iterator[None]:
    """Say what an array was to be that there is no memory for."""
    try:
        yield
    except (MemoryError, ValueError, OverflowError) as error:  # numpy has a class for each size
        raise OutOfMemoryError(f"{op}: out of memory for an array of shape {shape_text(shape)}") from error


def require(condition: bool, error: type[Exception], headline: str, rows: Sequence[Any] = (), hint: str = "") -> None:
    """Raise unless the condition holds."""
    if not condition:
        raise error(message(headline, rows, hint))


def require_within(values: Any, low: Any, high: Any, error: type[Exception], complaint: Callable[[], str]) -> None:
    """Raise unless all values are in [low, high]; the complaint has a place for one that is not.

    A device that looks at them later (`check_within`) lets whoever waits for it next know.
    """
    array = values._array
    if _looks_later(array.__class__):
        text = complaint()  # written now: what it tells of should not be kept until then
        CHECK_WITHIN[array.__class__](array, low=low, high=high, complain=lambda wrong: error(text.format(wrong)))
    elif array.size and not (array.min() >= low and array.max() <= high):
        wrong = array[~((array >= low) & (array <= high))]
        raise error(complaint().format(wrong[0].item()))


@functools.cache
def _looks_later(array_type: type) -> bool:
    return CHECK_WITHIN.there(array_type)
