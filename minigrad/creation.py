"""Making tensors from data, constants and ranges."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.dtypes import SUPPORTED, as_dtype, boolean, fitted, float32, int64, is_floating, promote, weak
from minigrad.errors import ArgumentError, DeviceError, DtypeError, OperandError, OutOfMemoryError, shape_text
from minigrad.ops.checks import SCALARS, integer, memory_for, shape_of
from minigrad.tensor import Tensor

Shape = int | Sequence[int]


def tensor(data: Any, *, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Make a tensor with a copy of the data.

    Parameters
    ----------
    data
        A number, nested sequences of numbers, an ndarray, or a tensor (whose graph is left behind).
    dtype
        By default that of an ndarray or tensor; float32, int64 or bool for python numbers.
    device
        Where the array is kept.
    requires_grad
        Whether to record what is computed from it.

    Raises
    ------
    DtypeError
        If the data has a dtype that minigrad has not, or that cannot have the gradient asked for.
    OperandError
        If the data is ragged, or not numbers.
    ArgumentError
        If the data does not fit in an integer dtype.

    Examples
    --------
    >>> mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> mg.tensor([1, 2], dtype="float64")
    tensor([1., 2.], dtype=float64)
    """
    return _made(_array(data, dtype).copy(), device, requires_grad)


def asarray(data: Any, *, dtype: Any = None, device: str = "cpu", copy: bool | None = None) -> Tensor:
    """Make a tensor that shares memory with an ndarray where it can.

    Whoever shares an array promises not to change it while the tensor, or anything computed from it, is in use.
    `copy=True` always copies; `copy=False` raises where sharing is impossible.

    >>> mg.asarray(np.ones(2))
    tensor([1., 1.], dtype=float64)
    """
    source = data.detach().numpy() if isinstance(data, Tensor) else data
    array = _array(data, dtype)
    if copy:
        array = array.copy()
    elif copy is False and not (isinstance(source, np.ndarray) and np.shares_memory(array, source)):
        raise ArgumentError("asarray: copy=False, but this data cannot be shared\nhint: leave copy out, or use tensor")
    return _made(array, device, False)


def from_dlpack(x: Any, /, *, copy: bool | None = None) -> Tensor:
    """Make a tensor of another library's array, on the device where it is, by the DLPack protocol.

    On the CPU memory is shared where it can be: whoever shares an array promises not to change it while the tensor, or
    anything computed from it, is in use. On a GPU the elements are copied, within the GPU.

    Parameters
    ----------
    x
        An array with `__dlpack__` and `__dlpack_device__`: of numpy, PyTorch, CuPy, JAX, ...
    copy
        True always copies; False raises where memory cannot be shared.

    Raises
    ------
    OperandError
        If it is no such array, or not of numbers.
    DtypeError
        If minigrad has no such dtype.
    DeviceError
        If it is neither on the CPU nor on the GPU of this process.
    ArgumentError
        If `copy` is False and memory cannot be shared.

    Examples
    --------
    >>> mg.from_dlpack(np.ones(2, np.float32))
    tensor([1., 1.])
    """
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise OperandError(f"from_dlpack: a {type(x).__name__} has no __dlpack__\nhint: minigrad.tensor copies data")
    place = int(x.__dlpack_device__()[0])
    if place == 1:
        return asarray(np.from_dlpack(x), copy=copy)
    if place != 2:
        raise DeviceError(f"from_dlpack: minigrad has no device of DLPack's kind {place}")
    if copy is False:
        raise ArgumentError("from_dlpack: copy=False, but what is on a GPU is copied")
    return Tensor._wrap(kernels.backend("cuda").from_dlpack(x))


def _array(data: Any, dtype: Any) -> np.ndarray:
    """Any data as an ndarray of a supported dtype, shared where possible."""
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        data = data.detach().numpy()
    try:
        array = np.asarray(data) if isinstance(data, (np.ndarray, np.generic)) else np.array(_plain(data))
    except (ValueError, TypeError) as error:
        raise OperandError("the data is ragged: its rows differ in length or nesting") from error
    if array.dtype.kind not in "biuf":
        raise OperandError(f"cannot make a tensor of {type(data).__name__} with dtype {array.dtype}")
    if wanted is None and isinstance(data, (np.ndarray, np.generic)):
        wanted = array.dtype.newbyteorder("=")
        if wanted not in SUPPORTED:
            raise DtypeError(f"minigrad has no {array.dtype}\nhint: pass dtype, e.g. dtype='float32'")
    return fitted(array, _common_dtype(data) if wanted is None else wanted)


def _plain(data: Any) -> Any:
    """Nested sequences with the tensors in them turned into ndarrays."""
    if isinstance(data, Tensor):
        return data.detach().numpy()
    if isinstance(data, (list, tuple)):
        return [_plain(one) for one in data]
    return data


def _common_dtype(data: Any) -> np.dtype:
    """The dtype in which nested numbers and arrays meet: numbers are weak beside arrays."""
    strong, numbers = set(), {}
    pending = [data]
    while pending:
        one = pending.pop()
        if isinstance(one, (list, tuple, range)):
            pending += one
        elif isinstance(one, SCALARS) and not isinstance(one, np.generic):  # np.float64 is a float
            numbers[type(one)] = one
        else:
            strong.add(one.dtype if isinstance(one, Tensor) else np.asarray(one).dtype)
    dtype = promote(*strong) if strong else boolean if numbers else float32
    for number in numbers.values():
        dtype = weak(number, dtype)
    return dtype


def _made(array: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    made = Tensor._wrap(kernels.backend(device).from_numpy(array))
    if requires_grad:
        made.requires_grad = True
    return made


# ---- constants -------------------------------------------------------------------------------------------------------


def full(
    shape: Shape, fill_value: float, *, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A tensor filled with one value.

    >>> mg.full((2,), 7)
    tensor([7, 7])
    """
    filling = _array(fill_value, dtype)
    if filling.ndim:
        raise ArgumentError(f"full: the value has shape {shape_text(filling.shape)}, one number is needed")
    sizes = _sizes("full", shape)
    with memory_for("full", sizes):
        return _made(np.full(sizes, filling), device, requires_grad)


def zeros(shape: Shape, *, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    >>> mg.zeros((2, 2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    sizes, kind = _sizes("zeros", shape), as_dtype(dtype)
    with memory_for("zeros", sizes):
        return _made(np.zeros(sizes, kind), device, requires_grad)


def ones(shape: Shape, *, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    >>> mg.ones(3)
    tensor([1., 1., 1.])
    """
    sizes, kind = _sizes("ones", shape), as_dtype(dtype)
    with memory_for("ones", sizes):
        return _made(np.ones(sizes, kind), device, requires_grad)


def zeros_like(x: Tensor, /) -> Tensor:
    """Zeros of the shape, dtype and device of x."""
    return zeros(x.shape, dtype=x.dtype, device=x.device)


def ones_like(x: Tensor, /) -> Tensor:
    """Ones of the shape, dtype and device of x."""
    return ones(x.shape, dtype=x.dtype, device=x.device)


def full_like(x: Tensor, /, fill_value: float) -> Tensor:
    """One value in the shape, dtype and device of x."""
    return full(x.shape, fill_value, dtype=x.dtype, device=x.device)


def _sizes(function: str, shape: Shape) -> tuple[int, ...]:
    sizes = shape_of(function, shape)
    if min(sizes, default=0) < 0:
        raise ArgumentError(f"{function}: a negative size in shape {sizes}")
    return sizes


# ---- ranges and patterns ---------------------------------------------------------------------------------------------


def arange(
    start: float, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: str = "cpu"
) -> Tensor:
    """Numbers from start (included) to stop (excluded); from 0 to start if stop is left out.

    >>> mg.arange(3), mg.arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1. , 1.5]))
    """
    if step == 0:
        raise ArgumentError("arange: step is 0")
    first, last = (0, start) if stop is None else (start, stop)
    try:
        values = np.arange(first, last, step)
    except (TypeError, ValueError):
        raise ArgumentError(f"arange: no range leads from {first} to {last} in steps of {step}") from None
    except MemoryError:
        raise OutOfMemoryError(f"arange: out of memory for the numbers from {first} to {last}") from None
    default = float32 if is_floating(values.dtype) else int64
    return _made(_array(values, default if dtype is None else dtype), device, False)


def linspace(start: float, stop: float, num: int, *, dtype: Any = float32, device: str = "cpu") -> Tensor:
    """`num` evenly spaced numbers from start to stop, both included.

    >>> mg.linspace(0, 1, 5)
    tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    count = integer("linspace", "num", num)
    if count < 0:
        raise ArgumentError(f"linspace: num = {count} is negative")
    with memory_for("linspace", (count,)):
        values = np.linspace(start, stop, count)
    return _made(_array(values, dtype), device, False)


def eye(rows: int, columns: int | None = None, /, *, k: int = 0, dtype: Any = float32, device: str = "cpu") -> Tensor:
    """A matrix with ones on a diagonal, k places to the right of the main one: the identity matrix.

    >>> mg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    sizes = height, width = _sizes("eye", (rows, rows if columns is None else columns))
    kind = as_dtype(dtype)
    with memory_for("eye", sizes):
        return _made(np.eye(height, width, integer("eye", "k", k), dtype=kind), device, False)
