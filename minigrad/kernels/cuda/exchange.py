"""Arrays of the GPU for other libraries, and theirs for us: DLPack and the CUDA array interface.

Others get our memory, marked read-only. Of theirs we take a copy, within the GPU: so they may change it afterwards.
"""

import contextlib
import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    PYFUNCTYPE,
    Structure,
    addressof,
    c_char_p,
    c_int64,
    c_uint64,
    c_void_p,
    py_object,
)
from typing import Any

import numpy as np

from minigrad.errors import DeviceError, DtypeError
from minigrad.kernels.cuda.array import Array, empty, row_major
from minigrad.kernels.cuda.copies import same
from minigrad.kernels.cuda.elementwise import fill
from minigrad.kernels.cuda.machine import SIMULATED, machine

CUDA, DEFAULT_STREAM, READ_ONLY, COPIED = 2, 1, 1, 2
KINDS = {"i": 0, "u": 1, "f": 2, "b": 6}


class _Tensor(Structure):
    _fields_ = [
        *(("data", c_void_p), ("device", ctypes.c_int32), ("number", ctypes.c_int32), ("ndim", ctypes.c_int32)),
        *(("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)),
        *(("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)),
    ]


class _Versioned(Structure):
    _fields_ = [
        *(("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", c_void_p), ("deleter", c_void_p)),
        *(("flags", c_uint64), ("tensor", _Tensor)),
    ]


OLD, NEW = c_char_p(b"dltensor"), c_char_p(b"dltensor_versioned")

_api = ctypes.pythonapi
_is_valid = PYFUNCTYPE(ctypes.c_int, c_void_p, c_char_p)(("PyCapsule_IsValid", _api))
_pointer = PYFUNCTYPE(c_void_p, c_void_p, c_char_p)(("PyCapsule_GetPointer", _api))
_new_capsule = PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", _api))

_lent: dict[int, Any] = {}
"""What other libraries still use, by the address of its DLPack record."""


@CFUNCTYPE(None, c_void_p)
def _give_back(record: int) -> None:
    """Called by a library that no longer uses an array: ours may go when what it has asked for by then has run."""
    *_, stream = kept = _lent.pop(record)
    with contextlib.suppress(DeviceError):
        machine().order(stream, machine().stream)
    del kept


@PYFUNCTYPE(None, c_void_p)
def _unused(capsule: int) -> None:
    """Called where a capsule dies; one that a library has taken has another name."""
    if _is_valid(capsule, NEW):
        _give_back(_pointer(capsule, NEW))


def to_dlpack(array: Array, stream: int | None, max_version: tuple[int, int] | None, copy: bool | None) -> Any:
    """A capsule, as `__dlpack__` returns it, of an array that the consumer can read in its stream from now on."""
    if SIMULATED:
        raise BufferError("the simulator's arrays are in no GPU")
    if max_version is None or max_version[0] < 1:
        raise BufferError(
            "this array is read-only, which DLPack can say from version 1.0 on: ask for max_version=(1, 0)"
        )
    if copy:
        array = fill(empty(array.shape, array.dtype), same, array)
    stream = DEFAULT_STREAM if stream is None else stream
    if stream != -1:
        machine().order(machine().stream, stream)
    record, sizes = _Versioned(), (c_int64 * max(array.ndim, 1))
    shape, strides = sizes(*array.shape), sizes(*array.strides)
    record.major, record.minor, record.deleter = 1, 0, ctypes.cast(_give_back, c_void_p)
    record.flags = COPIED if copy else READ_ONLY
    record.tensor = _Tensor(
        *(array.buffer.address, CUDA, machine().number, array.ndim),
        *(KINDS[array.dtype.kind], 8 * array.dtype.itemsize, 1),
        *(shape, strides, array.offset * array.dtype.itemsize),
    )
    _lent[addressof(record)] = record, shape, strides, array, max(stream, DEFAULT_STREAM)
    return _new_capsule(addressof(record), NEW, ctypes.cast(_unused, c_void_p))


def from_dlpack(x: Any) -> Array:
    """A copy of another library's array on our GPU.

    Raises
    ------
    DeviceError
        If it is on another GPU.
    DtypeError
        If it has no dtype of ours.
    """
    driver = machine()
    where = tuple(map(int, x.__dlpack_device__()))
    if SIMULATED or where != (CUDA, driver.number):
        raise DeviceError(f"from_dlpack: the array is on device {where}, not on the GPU of this process")
    try:
        capsule = x.__dlpack__(stream=driver.stream, max_version=(1, 0))
    except TypeError:  # from before version 1.0
        capsule = x.__dlpack__(stream=driver.stream)
    if _is_valid(id(capsule), NEW):
        tensor = _Versioned.from_address(_pointer(id(capsule), NEW)).tensor
    else:
        tensor = _Tensor.from_address(_pointer(id(capsule), OLD))
    shape = tuple(tensor.shape[: tensor.ndim]) if tensor.ndim else ()
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.ndim and tensor.strides else row_major(shape)
    dtype = _dtype(tensor)
    address = (tensor.data or 0) + tensor.byte_offset
    theirs = Array.of(_Theirs(address - address % 16), dtype, shape, strides, address % 16 // dtype.itemsize)
    ours = fill(empty(shape, dtype), same, theirs)
    driver.synchronize()  # then the capsule may go, and their memory with it
    return ours


class _Theirs:
    """A buffer that is not ours to free."""

    def __init__(self, address: int) -> None:
        self.address = address


def _dtype(tensor: _Tensor) -> np.dtype:
    kind = {code: kind for kind, code in KINDS.items()}.get(tensor.code)
    size = tensor.bits // 8
    if kind is None or tensor.lanes != 1 or (kind == "f" and size not in (4, 8)):
        raise DtypeError(f"from_dlpack: minigrad has no dtype of kind {tensor.code} with {tensor.bits} bits")
    return np.dtype(np.bool_ if kind == "b" else f"{kind}{size}")


def interface(array: Array) -> dict[str, Any]:
    """The value of `__cuda_array_interface__`."""
    if SIMULATED:
        raise AttributeError("the simulator's arrays are in no GPU")
    size = array.dtype.itemsize
    return {
        "version": 3,
        "shape": array.shape,
        "typestr": array.dtype.str,
        "data": (array.buffer.address + array.offset * size if array.size else 0, True),
        "strides": None if array.in_one_piece else tuple([stride * size for stride in array.strides]),
        "stream": machine().stream,
    }
