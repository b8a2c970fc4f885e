"""The dtypes, and how they mix.

Promotion is that of the Python array API standard (2024.12), with three answers where the standard leaves the
question open: a float wins over an integer or boolean whatever its width, a boolean becomes the other's dtype, and
a python scalar is weak (it takes the tensor's dtype unless its kind is higher).
"""

import functools
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, DtypeError, OperandError

boolean = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64))
float32, float64 = np.dtype("float32"), np.dtype("float64")

SUPPORTED = (boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)
DEFAULT = {bool: boolean, int: int64, float: float32}
"""The dtype of a python scalar on its own."""

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def as_dtype(value: Any) -> np.dtype:
    """Return `value` (a dtype, a name such as "float32", or a python type) as one of the supported dtypes.

    Raises
    ------
    DtypeError
        If minigrad has no such dtype.

    Examples
    --------
    >>> as_dtype("float64"), as_dtype(int)
    (dtype('float64'), dtype('int64'))
    """
    if isinstance(value, type) and value in DEFAULT:
        return DEFAULT[value]
    try:
        dtype = np.dtype(np.dtype(value).type)  # in native byte order
    except (TypeError, ValueError):
        dtype = None
    if value is None or dtype is None or dtype not in SUPPORTED:  # to numpy, None is float64
        names = ", ".join(str(known) for known in SUPPORTED)
        raise DtypeError(f"{value!r} is not a dtype of minigrad\nhint: the dtypes are {names}")
    return dtype


def is_floating(dtype: np.dtype) -> bool:
    """Whether a dtype is float32 or float64, and so can carry gradients."""
    return dtype.kind == "f"


@functools.cache
def promote(*dtypes: np.dtype) -> np.dtype:
    """Return the dtype in which values of `dtypes` meet.

    Raises
    ------
    DtypeError
        For uint64 beside a signed integer (no integer dtype holds both), and for a dtype that minigrad has not.

    Examples
    --------
    >>> promote(int8, uint8), promote(int64, float32), promote(float32, float64)
    (dtype('int16'), dtype('float32'), dtype('float64'))
    """
    dtypes = tuple(as_dtype(dtype) for dtype in dtypes)
    floats = [dtype for dtype in dtypes if is_floating(dtype)]
    if floats:
        return max(floats, key=lambda dtype: dtype.itemsize)
    result = np.result_type(*dtypes)
    if is_floating(result):
        names = " and ".join(sorted({str(dtype) for dtype in dtypes}))
        raise DtypeError(f"{names} have no common integer dtype\nhint: convert one of them with astype")
    return result


def weak(scalar: bool | int | float, dtype: np.dtype) -> np.dtype:
    """Return the dtype in which a python scalar meets a tensor of `dtype`.

    Raises
    ------
    OperandError
        If it is no number.

    Examples
    --------
    >>> weak(2, float64), weak(2.5, int32), weak(True, uint8)
    (dtype('float64'), dtype('float32'), dtype('uint8'))
    """
    own = next((default for kind, default in DEFAULT.items() if isinstance(scalar, kind)), None)  # bool before int
    if own is None:
        raise OperandError(f"a {type(scalar).__name__} is neither a tensor nor a number")
    return dtype if _RANK[own.kind] <= _RANK[dtype.kind] else own


def fitted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert an array, shared where it has the dtype already; floats become integers by leaving out their fraction.

    Raises
    ------
    ArgumentError
        If an element does not fit in an integer dtype.

    Examples
    --------
    >>> fitted(np.array([1.5, -2.5]), int8)
    array([ 1, -2], dtype=int8)
    """
    with np.errstate(all="ignore"):  # a float out of range becomes infinite
        made = array.astype(dtype, copy=False)
    if made.dtype.kind in "iu" and made.dtype != array.dtype and not np.array_equal(made, np.trunc(array)):
        raise ArgumentError(f"the data does not fit in {made.dtype}")
    return made
