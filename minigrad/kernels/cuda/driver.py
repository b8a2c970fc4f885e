"""A GPU behind NVIDIA's driver: memory, copies and launches, in the order of one stream.

The context is the device's primary one, which other libraries in the process share. Nothing here waits for the GPU but
`download`, `synchronize`, `upload` where all its page-locked memory is on its way, and `release_memory`, which whoever
finds too little memory calls.
"""

import ctypes
import gc
import struct
import threading
from collections.abc import Callable
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.errors import DeviceError, NoDeviceError, OutOfMemoryError
from minigrad.kernels.cuda.array import Array
from minigrad.kernels.cuda.libcuda import NO_DEVICE, OUT_OF_MEMORY, UNSUPPORTED_PTX_VERSION, Library
from minigrad.kernels.cuda.machine import forget

THREADS = 256

WAVES = 8
"""How often the blocks of a grid fill the GPU, at most: kernels with many registers fill it by fewer blocks."""

MAJOR, MINOR, MULTIPROCESSORS, RESIDENT = 75, 76, 16, 39  # attributes of a device
OLDEST = 8, 0
"""The compute capability from which on copies to shared memory are asynchronous."""

RELEASE_THRESHOLD, RESERVED, USED, MOST_USED = 4, 5, 7, 8  # of a pool of memory
ERROR_LOG, ERROR_LOG_BYTES = 5, 6  # options of the driver's assembler
NON_BLOCKING, NO_TIMING = 1, 2  # flags of streams and of events


class Buffer:
    """Memory of the device; what still waits to use it when the last array goes has it until then."""

    __slots__ = ("_free", "address", "nbytes")

    def __init__(self, address: int, nbytes: int, free: Callable[[int], Any]) -> None:
        self.address, self.nbytes, self._free = address, nbytes, free

    def __del__(self) -> None:
        self._free(self.address)


class Compiled:
    """A kernel on the device: its handle, and how its arguments are packed."""

    __slots__ = ("function", "module", "pack")

    def __init__(self, module: int, function: int, signature: tuple[Any, ...]) -> None:
        self.module, self.function = module, function
        self.pack = struct.Struct(CONFIGURATION + "".join(map(_code, signature))).pack_into


CONFIGURATION = "<7I4xQ16x"
"""A CUlaunchConfig: grid, block, bytes of shared memory, stream, no attributes."""

ARGUMENTS = struct.calcsize(CONFIGURATION)
"""Where the arguments of a kernel begin, 8 bytes each."""

MOST_ARGUMENTS = 256


def _code(kind: Any) -> str:
    """How `struct` packs an argument (see `compiler.kind_of`).

    >>> _code(("tuple", 2)), _code(np.dtype("f4")), _code(np.dtype(bool))
    ('qq', 'f4x', '?7x')
    """
    if kind is int:
        return "q"
    if isinstance(kind, tuple):
        return "q" * kind[1] if kind[0] == "tuple" else "Q"
    code = kind.char if kind.kind == "f" else "?" if kind.kind == "b" else "_bh_i___q"[kind.itemsize]
    padding = 8 - kind.itemsize
    return (code.upper() if kind.kind == "u" else code) + (f"{padding}x" if padding else "")


class _Desk(threading.local):
    """What each thread has of its own: the context is current in it, and the arguments of a launch have a place.

    Where there are several GPUs, other libraries choose among their contexts: then ours is chosen again by each call.
    """

    def __init__(self, library: Library, context: int, several: bool) -> None:
        library.cuCtxSetCurrent(context)  # runs where a thread first comes by
        self.several, self._choose = several, lambda: library.cuCtxSetCurrent(context)
        self.block = ctypes.create_string_buffer(ARGUMENTS + 8 * MOST_ARGUMENTS)
        self.configuration = ctypes.addressof(self.block)
        first = self.configuration + ARGUMENTS
        self._pointers = (c_void_p * MOST_ARGUMENTS)(*range(first, first + 8 * MOST_ARGUMENTS, 8))
        self.arguments = ctypes.addressof(self._pointers)
        self.address = c_void_p()
        self.to_address = byref(self.address)

    def enter(self) -> None:
        """See that the context is current."""
        if self.several:
            self._choose()


@dataclass(frozen=True)
class MemoryStats:
    """The memory of a GPU, in bytes.

    Attributes
    ----------
    in_use
        Of the arrays that are alive, in this process.
    kept
        Of dead arrays, kept for the next ones.
    peak
        The most that was in use at once.
    free, total
        What the device has left, for all processes, and what it has.
    """

    in_use: int
    kept: int
    peak: int
    free: int
    total: int


class Driver:
    """The machine of this process's GPU: the first of those that CUDA_VISIBLE_DEVICES leaves."""

    threads = THREADS

    def __init__(self, handle: Any = None) -> None:
        self._library = library = Library(handle)
        count = c_int()
        status = library.cuInit_status(0) or library.cuDeviceGetCount_status(byref(count))
        if status == NO_DEVICE or not (status or count.value):
            raise NoDeviceError("no GPU: NVIDIA's driver finds none (CUDA_VISIBLE_DEVICES may hide it)")
        if status:
            library.fail("cuInit", status)
        self.number = 0
        self._device = library.number("cuDeviceGet", self.number)
        name = ctypes.create_string_buffer(256)
        library.cuDeviceGetName(name, len(name), self._device)
        self.name = name.value.decode()
        self.version = divmod(library.number("cuDriverGetVersion") // 10, 100)
        self.capability = self._attribute(MAJOR), self._attribute(MINOR)
        if self.capability < OLDEST:
            has, least = ("{}.{}".format(*one) for one in (self.capability, OLDEST))
            raise DeviceError(f"{self.name} is of compute capability {has}; the kernels need {least} or later")
        self.blocks = self._attribute(MULTIPROCESSORS) * self._attribute(RESIDENT) // THREADS
        self.most_blocks = WAVES * self.blocks
        self._desk = _Desk(library, library.handle("cuDevicePrimaryCtxRetain", self._device), count.value > 1)
        self.stream = library.handle("cuStreamCreate", NON_BLOCKING)
        self._pool = library.handle("cuDeviceGetDefaultMemPool", self._device)
        everything = c_uint64(2**64 - 1)
        library.cuMemPoolSetAttribute(self._pool, RELEASE_THRESHOLD, byref(everything))
        self._uploads = Uploads(self)
        self._compiling = threading.Lock()
        self._launch, self._allocate = library.cuLaunchKernelEx_status, library.cuMemAllocAsync_status

    def _attribute(self, which: int) -> int:
        return self._library.number("cuDeviceGetAttribute", which, self._device)

    # ---- memory ------------------------------------------------------------------------------------------------------

    def allocate(self, nbytes: int, stream: int | None = None) -> Buffer:
        """Memory of any contents, for what comes later in our stream, or in another.

        Raises
        ------
        OutOfMemoryError
            If there is too little even after all that is dead has been given back.
        """
        desk, size, stream = self._desk, max(nbytes, 16), stream or self.stream
        if desk.several:
            desk.enter()
        status = self._allocate(desk.to_address, size, stream)
        if status == OUT_OF_MEMORY:
            self.release_memory()
            status = self._allocate(desk.to_address, size, stream)
        if status == OUT_OF_MEMORY:
            headline = f"out of memory: {self.name} has no {nbytes:,} bytes for an array"
            hint = "smaller batches, or no_grad where no gradient is needed"
            raise OutOfMemoryError(f"{headline}\n  {self.memory_stats()}\nhint: {hint}")
        if status:
            self._library.fail("cuMemAllocAsync", status)
        return Buffer(desk.address.value or 0, size, self._free)

    def _free(self, address: int) -> None:
        """Give memory back, in stream order; runs where arrays die, so it raises nothing."""
        self._desk.enter()
        self._library.cuMemFreeAsync_status(address, self.stream)

    def zeros(self, nbytes: int) -> Buffer:
        """Memory full of zeros, for what comes later in our stream."""
        buffer = self.allocate(nbytes)
        self._library.cuMemsetD8Async(buffer.address, 0, buffer.nbytes, self.stream)
        return buffer

    def release_memory(self) -> None:
        """Give the memory of dead arrays, and of what is kept only for speed, back to the device."""
        forget()
        gc.collect()
        self.synchronize()
        self._library.cuMemPoolTrimTo(self._pool, 0)

    def memory_stats(self) -> MemoryStats:
        """What is in use, kept, and left."""
        self._desk.enter()
        in_use, reserved, peak = (self._pool_attribute(which) for which in (USED, RESERVED, MOST_USED))
        free, total = c_size_t(), c_size_t()
        self._library.cuMemGetInfo_v2(byref(free), byref(total))
        return MemoryStats(in_use, reserved - in_use, peak, free.value, total.value)

    def _pool_attribute(self, which: int) -> int:
        value = c_uint64()
        self._library.cuMemPoolGetAttribute(self._pool, which, byref(value))
        return value.value

    # ---- copies ------------------------------------------------------------------------------------------------------

    def upload(self, array: np.ndarray) -> Buffer:
        """A copy of an array in one piece, which is there for what comes later in our stream."""
        return self._uploads.copy(array)

    def download(self, *copies: tuple[np.ndarray, Buffer, int]) -> None:
        """Copy to arrays in one piece, from so many bytes behind a buffer's first, when all before has run."""
        self._desk.enter()
        for array, buffer, offset in copies:
            self._library.cuMemcpyDtoHAsync_v2(array.ctypes.data, buffer.address + offset, array.nbytes, self.stream)
        self.synchronize()

    def synchronize(self) -> None:
        """Wait until all that was asked for has run."""
        self._desk.enter()
        self._library.cuStreamSynchronize(self.stream)

    def order(self, first: int, then: int) -> None:
        """Let what comes later in the stream `then` wait for what the stream `first` has been given so far."""
        self._desk.enter()
        # an event of this call: a collection may order others meanwhile
        event = self._library.handle("cuEventCreate", NO_TIMING)
        self._library.cuEventRecord(event, first)
        self._library.cuStreamWaitEvent(then, event, 0)
        self._library.cuEventDestroy_v2(event)  # what waits for it goes on waiting

    # ---- kernels -----------------------------------------------------------------------------------------------------

    def compile(self, kernel: Any, signature: tuple[Any, ...]) -> Compiled:
        """A kernel for the kinds of its arguments, from the disk if it was compiled before."""
        from minigrad.kernels.cuda import ptx

        with self._compiling:  # by one thread at a time: numba's compiler has one lock anyway
            symbol, text = ptx.kept(kernel, signature, self.capability)
        module = self._load(text)
        return Compiled(module, self._library.handle("cuModuleGetFunction", module, symbol.encode()), signature)

    def _load(self, text: str) -> int:
        self._desk.enter()
        log, module = ctypes.create_string_buffer(1 << 13), c_void_p()
        names = (c_int * 2)(ERROR_LOG, ERROR_LOG_BYTES)
        values = (c_void_p * 2)(ctypes.addressof(log), len(log))
        load = self._library.cuModuleLoadDataEx_status
        status = load(byref(module), text.encode(), 2, names, values)
        if status == OUT_OF_MEMORY:
            self.release_memory()
            status = load(byref(module), text.encode(), 2, names, values)
        if status == UNSUPPORTED_PTX_VERSION:
            from minigrad.kernels.cuda import ptx

            raise DeviceError(ptx.too_new(text, self.version))
        if status:
            self._library.fail("cuModuleLoadDataEx", status, f"\n{log.value.decode()}".rstrip())
        return module.value or 0

    def launch(self, compiled: Compiled, blocks: int, threads: int, args: tuple[Any, ...]) -> None:
        """Run a kernel after all that came before."""
        values: list[Any] = []
        for value in args:
            if value.__class__ is Array:
                values.append(value.buffer.address + value.offset * value.dtype.itemsize)
            elif value.__class__ is tuple:
                values += value
            else:
                values.append(value)
        for first in True, False:
            desk = self._desk
            if desk.several:
                desk.enter()
            compiled.pack(desk.block, 0, blocks, 1, 1, threads, 1, 1, 0, self.stream, *values)
            status = self._launch(desk.configuration, compiled.function, desk.arguments, None)
            if status != OUT_OF_MEMORY:
                break
            if first:
                self.release_memory()
        if status:
            self._library.fail("cuLaunchKernelEx", status)


class Uploads:
    """Copies to the device beside what it computes: through a ring of page-locked pieces, in a stream of their own."""

    PIECES, SIZE = 4, 1 << 22

    def __init__(self, driver: Driver) -> None:
        self._driver, self._lock = driver, threading.Lock()
        self._ring: list[tuple[int, int]] = []  # address, event of the last copy out of it
        self._next = 0

    def copy(self, array: np.ndarray) -> Buffer:
        """See `Driver.upload`."""
        driver, library = self._driver, self._driver._library
        with self._lock:
            if not self._ring:
                self._begin()
            buffer = driver.allocate(array.nbytes, self._stream)  # in this stream: what computes may have others' work
            try:
                for start in range(0, array.nbytes, self.SIZE):
                    place, copied = self._ring[self._next]
                    self._next = (self._next + 1) % self.PIECES
                    size = min(self.SIZE, array.nbytes - start)
                    library.cuEventSynchronize(copied)
                    ctypes.memmove(place, array.ctypes.data + start, size)
                    library.cuMemcpyHtoDAsync_v2(buffer.address + start, place, size, self._stream)
                    library.cuEventRecord(copied, self._stream)
            finally:  # where a copy fails, too: its memory goes back in the order of our stream
                driver.order(self._stream, driver.stream)
        return buffer

    def _begin(self) -> None:
        library = self._driver._library
        self._driver._desk.enter()
        self._stream = library.handle("cuStreamCreate", NON_BLOCKING)
        memory = library.handle("cuMemHostAlloc", self.PIECES * self.SIZE, 0)
        self._ring = [(memory + i * self.SIZE, library.handle("cuEventCreate", NO_TIMING)) for i in range(self.PIECES)]
