"""NVIDIA's driver library without a GPU: memory of the host behind CUDA's own C signatures, and a log of the calls.

The functions are called through C, as those of the library are: what ctypes makes of an argument is tested too.
"""

import contextlib
import ctypes
import importlib.util
import re
import struct
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_int,
    c_size_t,
    c_ubyte,
    c_uint,
    c_uint64,
    c_void_p,
    cast,
    memmove,
    memset,
)

import pytest

OUT_OF_MEMORY, INVALID_VALUE, NO_DEVICE, INVALID_PTX, UNSUPPORTED_PTX_VERSION, ILLEGAL_ADDRESS = (
    2,
    1,
    100,
    218,
    222,
    700,
)
TEXTS = {
    1: ("CUDA_ERROR_INVALID_VALUE", "invalid argument"),
    2: ("CUDA_ERROR_OUT_OF_MEMORY", "out of memory"),
    3: ("CUDA_ERROR_NOT_INITIALIZED", "initialization error"),
    218: ("CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"),
    700: ("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
}


class Configuration(Structure):
    _fields_ = [
        *[(f"{what}{axis}", c_uint) for what in ("grid", "block") for axis in "XYZ"],
        ("shared", c_uint),
        ("stream", c_void_p),
        ("attributes", c_void_p),
        ("count", c_uint),
    ]


def c(*types):
    """Mark a method as a function of the library, of these types."""

    def mark(method):
        method.types = types
        return method

    return mark


@contextlib.contextmanager
def installed():
    """The library behind `machine()`, and kernels of which only the list of parameters is written."""
    from minigrad.kernels.cuda import libcuda, ptx

    with pytest.MonkeyPatch.context() as monkeypatch:
        stub = Stub(room=1 << 26)
        monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: stub)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
        monkeypatch.setattr(ptx, "kept", written)
        forget()
        yield stub
        assert not stub.astray
    forget()


def forget():
    from minigrad.kernels.cuda import compiler, machine

    machine.machine.cache_clear()
    machine._driver.cache_clear()
    for kernel in compiler.KERNELS:
        kernel._compiled.clear()


def written(kernel, signature, capability):
    from minigrad.kernels.cuda.driver import _code

    assert capability == (9, 0)
    parameters = sum(struct.calcsize(f"<{_code(kind)}") // 8 for kind in signature)
    return "go", ".version 9.0\n.visible .entry go(" + ".param, " * parameters


class Stub:
    """The library, of one GPU with `room` bytes; `failing` are the error numbers of functions that fail.

    Those in `short` find too little memory, once for each time that they are there. `astray` are the calls that use
    memory beyond its end, or use or free it in a stream which does not wait for what another one has done with it.
    """

    def __init__(self, room=1 << 30, version=13000, gpus=1, **failing):
        self.room, self.version, self.gpus, self.failing = room, version, gpus, failing
        self.memory, self.kept, self.most = {}, 0, 0
        self.short = []
        self.log, self.launches, self._handles, self._alive = [], [], 0, {}
        self.astray, self.after, self.events = [], {}, {}  # after: which streams come after all that uses a block

    def __getattr__(self, name):
        method = getattr(type(self), f"do_{name}", None)
        if method is None:
            raise AttributeError(name)

        def call(*args):
            self.log.append((name, *args))
            if name in self.short:
                self.short.remove(name)
                return OUT_OF_MEMORY
            return self.failing.get(name) or method(self, *args) or 0

        if name not in self._alive:
            self._alive[name] = CFUNCTYPE(c_int, *method.types)(call)
        return CFUNCTYPE(c_int)(cast(self._alive[name], c_void_p).value)

    def calls(self, *names):
        return [entry for entry in self.log if entry[0] in names]

    def names(self):
        return [entry[0] for entry in self.log]

    def _new(self, out):
        self._handles += 1
        out[0] = 0x7F00_0000_0000 + self._handles  # which does not fit an int of C

    def _use(self, address, stream, size=0, alone=False):
        """Note a use of memory; one `alone` is in no other stream's past so far."""
        for base, block in self.memory.items():
            if base <= address < base + len(block):
                if stream not in self.after[base] or address + size > base + len(block):
                    self.astray.append(self.log[-1])
                if alone:
                    self.after[base] = {stream}

    @c(c_uint)
    def do_cuInit(self, flags): ...

    @c(POINTER(c_int))
    def do_cuDriverGetVersion(self, out):
        out[0] = self.version

    @c(POINTER(c_int))
    def do_cuDeviceGetCount(self, out):
        out[0] = self.gpus

    @c(POINTER(c_int), c_int)
    def do_cuDeviceGet(self, out, number):
        out[0] = 5

    @c(POINTER(c_char), c_int, c_int)
    def do_cuDeviceGetName(self, out, size, device):
        memmove(out, b"Stub 100\0", 9)

    @c(POINTER(c_int), c_int, c_int)
    def do_cuDeviceGetAttribute(self, out, which, device):
        out[0] = {75: 9, 76: 0, 16: 132, 39: 2048}[which]

    @c(POINTER(c_void_p), c_int)
    def do_cuDeviceGetDefaultMemPool(self, out, device):
        self._new(out)

    @c(POINTER(c_void_p), c_int)
    def do_cuDevicePrimaryCtxRetain(self, out, device):
        self._new(out)

    @c(c_void_p)
    def do_cuCtxSetCurrent(self, context): ...

    @c(POINTER(c_void_p), c_uint)
    def do_cuStreamCreate(self, out, flags):
        self._new(out)

    @c(c_void_p)
    def do_cuStreamSynchronize(self, stream): ...

    @c(c_void_p, c_void_p, c_uint)
    def do_cuStreamWaitEvent(self, stream, event, flags):
        for streams in self.events[event]:
            streams.add(stream)

    @c(POINTER(c_void_p), c_uint)
    def do_cuEventCreate(self, out, flags):
        self._new(out)

    @c(c_void_p)
    def do_cuEventDestroy_v2(self, event): ...

    @c(c_void_p, c_void_p)
    def do_cuEventRecord(self, event, stream):
        self.events[event] = [streams for streams in self.after.values() if stream in streams]

    @c(c_void_p)
    def do_cuEventSynchronize(self, event): ...

    @c(POINTER(c_uint64), c_size_t, c_void_p)
    def do_cuMemAllocAsync(self, out, size, stream):
        if sum(map(len, self.memory.values())) + self.kept + size > self.room:
            return OUT_OF_MEMORY
        block = ctypes.create_string_buffer(size)
        out[0] = ctypes.addressof(block)
        self.memory[out[0]], self.after[out[0]] = block, {stream}
        self.most = max(self.most, sum(map(len, self.memory.values())))

    @c(c_uint64, c_void_p)
    def do_cuMemFreeAsync(self, address, stream):
        if address not in self.memory:
            return INVALID_VALUE
        self._use(address, stream)
        self.kept += len(self.memory.pop(address))

    @c(POINTER(c_void_p), c_size_t, c_uint)
    def do_cuMemHostAlloc(self, out, size, flags):
        self.locked = ctypes.create_string_buffer(size)
        out[0] = ctypes.addressof(self.locked)

    @c(c_uint64, c_ubyte, c_size_t, c_void_p)
    def do_cuMemsetD8Async(self, there, value, size, stream):
        self._use(there, stream, size, alone=True)
        memset(there, value, size)

    @c(c_uint64, c_void_p, c_size_t, c_void_p)
    def do_cuMemcpyHtoDAsync_v2(self, there, here, size, stream):
        self._use(there, stream, size, alone=True)
        memmove(there, here, size)

    @c(c_void_p, c_uint64, c_size_t, c_void_p)
    def do_cuMemcpyDtoHAsync_v2(self, here, there, size, stream):
        self._use(there, stream, size)
        memmove(here, there, size)

    @c(POINTER(c_size_t), POINTER(c_size_t))
    def do_cuMemGetInfo_v2(self, free, total):
        free[0], total[0] = self.room - self.kept, self.room

    @c(c_void_p, c_int, POINTER(c_uint64))
    def do_cuMemPoolGetAttribute(self, pool, which, out):
        used = sum(map(len, self.memory.values()))
        out[0] = {5: used + self.kept, 7: used, 8: self.most}[which]

    @c(c_void_p, c_int, POINTER(c_uint64))
    def do_cuMemPoolSetAttribute(self, pool, which, value):
        self.threshold = which, value[0]

    @c(c_void_p, c_size_t)
    def do_cuMemPoolTrimTo(self, pool, size):
        self.kept = 0

    @c(POINTER(c_void_p), c_char_p, c_uint, POINTER(c_int), POINTER(c_void_p))
    def do_cuModuleLoadDataEx(self, out, image, options, names, values):
        if b".entry" not in image:
            assert (options, names[0], names[1]) == (2, 5, 6)
            memmove(values[0], b"line 1: no kernel\0", 18)
            return INVALID_PTX
        self.parameters = len(re.findall(rb"\.param", image))
        self._new(out)

    @c(POINTER(c_void_p), c_void_p, c_char_p)
    def do_cuModuleGetFunction(self, out, module, name):
        self._new(out)

    @c(POINTER(Configuration), c_void_p, POINTER(c_void_p), c_void_p)
    def do_cuLaunchKernelEx(self, configuration, function, parameters, extra):
        one = configuration[0]
        grid, block = (one.gridX, one.gridY, one.gridZ), (one.blockX, one.blockY, one.blockZ)
        assert (one.attributes, one.count, extra) == (None, 0, None)
        values = [ctypes.string_at(parameters[i], 8) for i in range(self.parameters)]
        for value in values:
            self._use(int.from_bytes(value, "little"), one.stream)
        self.launches.append((grid, block, one.shared, one.stream, values))

    @c(c_int, POINTER(c_char_p))
    def do_cuGetErrorName(self, status, out):
        if status not in TEXTS:
            return INVALID_VALUE
        out[0] = TEXTS[status][0].encode()

    @c(c_int, POINTER(c_char_p))
    def do_cuGetErrorString(self, status, out):
        if status not in TEXTS:
            return INVALID_VALUE
        out[0] = TEXTS[status][1].encode()
