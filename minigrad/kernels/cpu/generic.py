"""The kernels that numpy does well, under the names of the ops."""

import builtins
import contextvars
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.kernels.cpu.memory import SMALL, empty, zeros

Array = np.ndarray

LARGE = 1 << 18  # bytes, from which memory of the pool saves a ufunc more than it costs

SHARED = {
    *("add", "subtract", "multiply", "divide", "maximum", "minimum"),
    *("negative", "abs", "square", "sqrt", "exp", "tanh"),
}
"""The ufuncs that have a compiled kernel for large arrays."""

KERNELS: dict[str, Callable[..., Any]] = {}


def _compiled(name: str, *arrays: Array) -> Array | None:
    """Compute an op on large arrays by a compiled kernel; None if there is none for such operands."""
    from minigrad.kernels.cpu import elementwise

    return elementwise.compute(name, *arrays)


_QUIET = contextvars.Context()  # in which numpy gives IEEE results and no warnings
_QUIET.run(np.seterr, all="ignore")
quietly = _QUIET.run


def quiet(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function without numpy's warnings, for a tenth of what `np.errstate` costs."""
    try:
        return quietly(function, *args, **options)
    except RuntimeError:  # a context is entered once at a time, and another thread is inside
        return _QUIET.copy().run(function, *args, **options)


def _kernel(function: Callable[..., Any], name: str = "") -> Callable[..., Array]:
    """Enter a function in the table: without numpy's warnings, and with 0-d results as arrays."""

    def kernel(*arrays: Array, **options: Any) -> Array:
        return np.asarray(quiet(function, *arrays, **options))

    KERNELS[name or function.__name__] = kernel
    return kernel


def _ufunc(function: np.ufunc, name: str = "") -> None:
    """Enter a numpy ufunc. Where all operands have one dtype and are large, it is compiled, or else its result goes to
    memory from the pool.
    """
    name = name or function.__name__
    results = {types[0]: types[-1] for types in function.types if len(set(types[: function.nin])) == 1}

    def place(x: Array, y: Array) -> Array | None:
        if x.dtype is not y.dtype or x.dtype.char not in results:
            return None
        return empty(x.shape if x.shape == y.shape else np.broadcast(x, y).shape, np.dtype(results[x.dtype.char]))

    def large(*arrays: Array) -> Array:
        out = _compiled(name, *arrays) if name in SHARED else None
        return quiet(function, *arrays, out=place(arrays[0], arrays[-1])) if out is None else out

    def unary(x: Array) -> Array:
        if x.nbytes >= LARGE:
            return large(x)
        try:
            out = quietly(function, x)
        except RuntimeError:
            out = quiet(function, x)
        return out if out.__class__ is Array else np.asarray(out)

    def binary(x: Array, y: Array) -> Array:
        if x.nbytes >= LARGE or y.nbytes >= LARGE:
            return large(x, y)
        try:  # as `quiet` does, without its call
            out = quietly(function, x, y)
        except RuntimeError:
            out = quiet(function, x, y)
        return out if out.__class__ is Array else np.asarray(out)

    KERNELS[name] = unary if function.nin == 1 else binary


def _entered(function: Callable[..., Array]) -> Callable[..., Array]:
    """Enter a function that is quiet and returns an array: it needs none of what `_kernel` adds."""
    KERNELS[function.__name__] = function
    return function


for _function in (
    *(np.add, np.subtract, np.multiply, np.divide, np.floor_divide, np.remainder, np.negative, np.square),
    *(np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.sin, np.cos, np.tanh, np.logaddexp),
    *(np.sign, np.floor, np.ceil, np.maximum, np.minimum, np.isnan, np.isinf, np.isfinite),
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.logical_and, np.logical_or, np.logical_not),
):
    _ufunc(_function)
_ufunc(np.absolute, "abs")
_ufunc(np.power, "pow")
_kernel(np.where)
_kernel(np.round)


@_kernel
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) from exp(-|x|), which cannot overflow."""
    out = _compiled("sigmoid", x) if x.nbytes >= SMALL else None
    if out is None:
        small = np.exp(-np.abs(x))
        out = np.where(x >= 0, 1, small) / (1 + small)
    return out


@_kernel
def relu(x: Array) -> Array:
    """max(x, 0), with NaN kept."""
    out = _compiled("relu", x) if x.nbytes >= SMALL else None
    return np.maximum(x, 0) + x.dtype.type(0) if out is None else out  # of -0.0 the maximum may be -0.0


@_kernel
def where_positive(x: Array, y: Array) -> Array:
    """x where y > 0, else 0."""
    out = _compiled("where_positive", x, y) if x.nbytes >= SMALL else None
    return np.where(y > 0, x, x.dtype.type(0)) if out is None else out


@_kernel
def astype(x: Array, *, dtype: np.dtype) -> Array:
    """Convert, always into a new array."""
    out = empty(x.shape, dtype)
    np.copyto(out, x, casting="unsafe")
    return out


def _reduced(name: str, x: Array, axis: tuple[int, ...], keepdims: bool) -> Array | None:
    """Reduce a large array by a compiled kernel; None if there is none for it."""
    if x.nbytes < SMALL or not axis or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        return None
    from minigrad.kernels.cpu import reduce

    out = reduce.over_axes(getattr(reduce, name), x, axis)
    return np.expand_dims(out, axis) if keepdims else out


_add_up: Callable[..., Any] = np.add.reduce


@_entered
def sum(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Sum in the dtype of x, many float32 in float64 where numpy would add them one by one.

    Along neighbours numpy adds pairwise; elsewhere it does not, and after 2**24 ones the sum stands still.
    """
    if x.nbytes >= SMALL:
        out = _reduced("SUM", x, axis, keepdims)
        if out is not None:
            return out
    dtype = x.dtype
    if x.size > 1024 and dtype.char == "f" and not (x.ndim - 1 in axis and x.flags.c_contiguous):
        dtype = np.dtype(np.float64) if math.prod(x.shape[i] for i in axis) > 1024 else dtype
    try:
        out = quietly(_add_up, x, axis, dtype, None, keepdims)
    except RuntimeError:
        out = quiet(_add_up, x, axis, dtype, None, keepdims)
    return np.asarray(out, x.dtype)


@_kernel
def argmax(x: Array, *, axis: int, keepdims: bool) -> Array:
    """Index of the first maximum along an axis; the first NaN where there is one."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


@_kernel
def argmin(x: Array, *, axis: int, keepdims: bool) -> Array:
    """Index of the first minimum along an axis; the first NaN where there is one."""
    return np.argmin(x, axis=axis, keepdims=keepdims)


def reduced_as_rows(x: Array, axis: tuple[int, ...]) -> tuple[Array, Callable[[Array], Array]]:
    """x with some axes as one, the last, and the way back."""
    order = [i for i in range(x.ndim) if i not in axis] + list(axis)
    moved = x.transpose(order)
    kept = moved.shape[: x.ndim - len(axis)]
    rows = moved.reshape(*kept, math.prod(moved.shape[len(kept) :]))
    return rows, lambda rows: rows.reshape(moved.shape).transpose(np.argsort(order))


def _extreme(name: str, value: np.ufunc, place: Callable[..., Array]) -> None:
    """Enter an extreme over axes, as a fused op's kernels: its gradient goes to the first place that has it."""

    def forward(x: Array, *, axis: tuple[int, ...], keepdims: bool, residuals: bool) -> tuple[Array, tuple[()]]:
        out = _reduced(name.upper(), x, axis, keepdims)
        return np.asarray(value.reduce(x, axis=axis, keepdims=keepdims)) if out is None else out, ()

    def backward(
        g: Array,
        needs: tuple[bool, ...],
        inputs: tuple[Array],
        out: Any,
        residuals: tuple[()],
        *,
        axis: tuple[int, ...],
        keepdims: bool,
    ) -> tuple[Array]:
        rows, back = reduced_as_rows(inputs[0], axis)
        gradient = zeros(rows.shape, g.dtype)
        np.put_along_axis(gradient, place(rows, axis=-1)[..., None], g.reshape(*rows.shape[:-1], 1), axis=-1)
        return (back(gradient),)

    KERNELS[name], KERNELS[f"{name}_backward"] = forward, backward


_extreme("max", np.maximum, np.argmax)
_extreme("min", np.minimum, np.argmin)


@_kernel
def any(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Whether any element is true."""
    return np.any(x, axis=axis, keepdims=keepdims)


@_kernel
def all(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Whether all elements are true."""
    return np.all(x, axis=axis, keepdims=keepdims)


@_entered
def alias(x: Array) -> Array:
    """x itself: arrays are never changed, so it can be shared."""
    return x


@_entered
def to_device(x: Array, *, device: str, source: str) -> Any:
    """x on another device."""
    return kernels.backend(device).from_numpy(x)


@_entered
def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    """A view where the strides allow one."""
    return x.reshape(shape)


@_entered
def permute_dims(x: Array, *, axes: tuple[int, ...]) -> Array:
    """A view with the strides in another order."""
    return x.transpose(axes)


@_entered
def broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    """A view with stride 0 along the new axes."""
    return np.broadcast_to(x, shape)


@_kernel
def concat(*arrays: Array, axis: int) -> Array:
    """Join along an axis."""
    return np.concatenate(arrays, axis=axis)


@_entered
def getitem(x: Array, *, key: tuple[Any, ...]) -> Array:
    """numpy's x[key]."""
    if _one_axis(key):
        return np.take(x, key[-1], len(key) - 1)  # the same, and on later axes ten times as fast
    return np.asarray(x[key])


@_kernel
def scatter(g: Array, *, key: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    """Adjoint of getitem: zeros of `shape` with g added at `key`; equal positions add up, in order."""
    out = zeros(shape, g.dtype)
    if not builtins.any(isinstance(part, np.ndarray) for part in key):
        out[key] = g
    elif g.nbytes >= LARGE and _one_axis(key):
        from minigrad.kernels.cpu.gather import add_slices

        add_slices(out, g, key[-1], axis=len(key) - 1)
    else:
        np.add.at(out, key, g)
    return out


def _one_axis(key: tuple[Any, ...]) -> bool:
    """Whether a key is one list of indices, behind axes that are taken whole."""
    last = key[-1] if key else None
    if not isinstance(last, np.ndarray) or last.ndim != 1 or last.dtype == bool:
        return False
    return builtins.all(isinstance(part, slice) and part == slice(None) for part in key[:-1])


@_kernel
def index_put(x: Array, value: Array, *, key: tuple[Any, ...]) -> Array:
    """A copy of x with x[key] = value; of equal positions the last wins."""
    out = x.copy()
    out[key] = value
    return out


@_entered
@functools.lru_cache(maxsize=1 << 10)
def scalar(value: float, dtype: np.dtype) -> Array:
    """A number as an array without axes. Equal numbers share one, so 0 has no place here: there are two."""
    return full(shape=(), value=value, dtype=dtype)


@_entered
def full(*, shape: tuple[int, ...], value: float, dtype: np.dtype) -> Array:
    """An array filled with one value."""
    try:
        scalar = quietly(np.array, value, dtype)
    except RuntimeError:
        scalar = quiet(np.array, value, dtype)
    if not shape:
        return scalar
    out = empty(shape, dtype)
    out.fill(scalar)
    return out


@_kernel
def argsort(x: Array, *, axis: int, descending: bool) -> Array:
    """Indices that sort along an axis; of equals the first stays first, and NaN is larger than any number."""
    return _order(x, axis, descending)


def _order(x: Array, axis: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(x, axis=axis, stable=True)
    places = np.argsort(np.flip(x, axis), axis=axis, stable=True)
    return x.shape[axis] - 1 - np.flip(places, axis)


@_kernel
def argtopk(x: Array, *, k: int, axis: int, largest: bool) -> Array:
    """Indices of the k first along an axis, after sorting."""
    return np.take(_order(x, axis, largest), np.arange(k), axis)


@_kernel
def argwhere(x: Array) -> Array:
    """The places of what is not zero, a row each."""
    return np.argwhere(x)


@_kernel
def one_hot(labels: Array, *, classes: int, dtype: np.dtype) -> Array:
    """Rows of zeros with a one at each label."""
    out = zeros((*labels.shape, classes), dtype)
    np.put_along_axis(out, labels[..., None], 1, axis=-1)
    return out
