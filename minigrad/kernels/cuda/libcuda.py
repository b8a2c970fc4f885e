"""NVIDIA's driver library by ctypes: the functions that `driver` calls, which raise where they fail."""

import ctypes
import sys
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_void_p
from typing import Any, NoReturn

from minigrad.errors import DeviceError, NoDeviceError, OutOfMemoryError

NAME = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

OUT = POINTER(c_void_p)
"""Where a function writes a handle or an address."""

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDeviceGetDefaultMemPool": (OUT, c_int),
    "cuDevicePrimaryCtxRetain": (OUT, c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuStreamCreate": (OUT, c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamWaitEvent": (c_void_p, c_void_p, c_uint),
    "cuEventCreate": (OUT, c_uint),
    "cuEventDestroy_v2": (c_void_p,),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuMemAllocAsync": (OUT, c_size_t, c_void_p),
    "cuMemFreeAsync": (c_void_p, c_void_p),
    "cuMemHostAlloc": (OUT, c_size_t, c_uint),
    "cuMemcpyHtoDAsync_v2": (c_void_p, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_void_p, c_size_t, c_void_p),
    "cuMemsetD8Async": (c_void_p, c_ubyte, c_size_t, c_void_p),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemPoolGetAttribute": (c_void_p, c_int, c_void_p),
    "cuMemPoolSetAttribute": (c_void_p, c_int, c_void_p),
    "cuMemPoolTrimTo": (c_void_p, c_size_t),
    "cuModuleLoadDataEx": (OUT, c_char_p, c_uint, POINTER(c_int), OUT),
    "cuModuleGetFunction": (OUT, c_void_p, c_char_p),
    "cuLaunchKernelEx": (c_void_p, c_void_p, c_void_p, c_void_p),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}
"""The types of their arguments."""

OUT_OF_MEMORY, NOT_INITIALIZED, NO_DEVICE, UNSUPPORTED_PTX_VERSION = 2, 3, 100, 222

LOST = (214, 220, 700, 702, 710, *range(714, 720))
"""The statuses after which every other call fails too."""

HINTS = {
    NOT_INITIALIZED: "a forked process cannot use the GPU of its parent: start it by spawn",
    **dict.fromkeys(LOST, "the process has lost the GPU for good: start it again"),
}


class Library:
    """The functions of the library, as methods."""

    def __init__(self, handle: Any = None) -> None:
        try:
            handle = handle or ctypes.CDLL(NAME)
        except OSError:
            raise NoDeviceError(f"no GPU: NVIDIA's driver library, {NAME}, is not installed") from None
        self._handle = handle
        for name, types in FUNCTIONS.items():
            try:
                function = getattr(handle, name)
            except AttributeError:
                raise DeviceError(f"NVIDIA's driver is too old: it has no {name}; CUDA 12 has it") from None
            function.argtypes, function.restype = types, c_int
            setattr(self, f"{name}_status", function)
            setattr(self, name, self._raising(name, function))

    def _raising(self, name: str, function: Callable[..., int]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            status = function(*args)
            if status:
                self.fail(name, status)

        return call

    def __getattr__(self, name: str) -> Any:  # for mypy: they are all set above
        raise AttributeError(name)

    def fail(self, name: str, status: int, more: str = "") -> NoReturn:
        """Raise what an error number means."""
        texts = []
        for ask in self.cuGetErrorName_status, self.cuGetErrorString_status:
            text = c_char_p()
            ask(status, byref(text))
            texts.append((text.value or b"unknown").decode())
        hint = f"\nhint: {HINTS[status]}" if status in HINTS else ""
        kind = OutOfMemoryError if status == OUT_OF_MEMORY else DeviceError
        raise kind(f"{name}: {texts[0]} ({status}), {texts[1]}{more}{hint}")

    def number(self, name: str, *args: Any) -> int:
        """The int that a function writes where its first argument points."""
        out = c_int()
        getattr(self, name)(byref(out), *args)
        return out.value

    def handle(self, name: str, *args: Any) -> int:
        """The handle or address that a function writes where its first argument points."""
        out = c_void_p()
        getattr(self, name)(byref(out), *args)
        return out.value or 0
