"""A pytest plugin: each array of numpy lies between two pages that nobody may touch.

    python -m pytest -p tests.guard -n auto tests/test_kernels.py     # make test-bounds runs all that it serves

A kernel that reads or writes beyond an array, or in one that is gone, ends its process at once, and pytest names the
test. New memory is full of NaN, for kernels that read what nobody has written. Arrays end where the second page begins;
with GUARD=before in the environment they begin where the first one ends. For Linux and macOS.
"""

import ctypes
import mmap
import os

import numba
import numpy as np
from numba.types import intp, uintp, void
from numpy._core import _multiarray_umath, multiarray

from minigrad.kernels.cpu import memory

PAGE, BEFORE = mmap.PAGESIZE, os.environ.get("GUARD") == "before"
NOBODY, US, ALONE = 0, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
SET_HANDLER = 304  # the place of PyDataMem_SetHandler among numpy's C functions


def c(name, result, *arguments):
    function = getattr(ctypes.CDLL(None), name)
    function.restype, function.argtypes = result, arguments
    return function


address, size_t, number = ctypes.c_ssize_t, ctypes.c_size_t, ctypes.c_int
_map = c("mmap", address, address, size_t, number, number, number, address)
_protect = c("mprotect", number, address, size_t, number)
_unmap = c("munmap", number, address, size_t)
_fill = c("memset", address, address, number, size_t)


@numba.njit
def room(size):
    return max(1, -(-size // PAGE)) * PAGE


@numba.njit
def new(size, value):
    whole = _map(0, room(size) + 2 * PAGE, NOBODY, ALONE, -1, 0)
    if whole == -1 or _protect(whole + PAGE, room(size), US):
        return 0
    array = whole + PAGE + (0 if BEFORE else room(size) - size)
    _fill(array, value, size)
    return array


@numba.cfunc(intp(intp, uintp))
def allocate(context, size):
    return new(intp(size), 255)


@numba.cfunc(intp(intp, uintp, uintp))
def allocate_zeros(context, count, size):
    return new(intp(count * size), 0)


@numba.cfunc(intp(intp, intp, uintp))
def reallocate(context, array, size):
    return 0  # of no array is its size known here, and no test needs it


@numba.cfunc(void(intp, intp, uintp))
def free(context, array, size):
    if array:
        size = intp(size)
        _unmap(array - PAGE - (0 if BEFORE else room(size) - size), room(size) + 2 * PAGE)


class Handler(ctypes.Structure):
    """PyDataMem_Handler."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        *[(function, ctypes.c_void_p) for function in ("malloc", "calloc", "realloc", "free")],
    ]


HANDLER = Handler(b"guard", 1, None, *[it.address for it in (allocate, allocate_zeros, reallocate, free)])
NAME = ctypes.c_char_p(b"mem_handler")


def install():
    capsule, pointer = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetPointer
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(_multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])
    set_handler(capsule(ctypes.addressof(HANDLER), NAME, None))
    memory.SMALL = 1 << 62  # no array lies in the pool, whose blocks are larger


def pytest_configure():
    install()


def pytest_runtest_setup():
    assert multiarray.get_handler_name(np.empty(1 << 10)) == "guard"
