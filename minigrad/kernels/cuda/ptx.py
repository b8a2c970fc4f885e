"""Kernels as PTX, the assembly of a virtual GPU: compiling needs no GPU, only numba and NVIDIA's libNVVM."""

import contextlib
import functools
import hashlib
import os
import re
import uuid
from importlib import metadata
from types import SimpleNamespace
from typing import Any
from unittest import mock

from numba import cuda, types

from minigrad.errors import DeviceError
from minigrad.kernels.cpu.cache import cache_folder, describe
from minigrad.kernels.cuda.compiler import element
from minigrad.kernels.cuda.machine import pip
from minigrad.kernels.scalars import linked

COMPILERS = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc-cu12")
"""The packages that write PTX, some of which are installed."""


def kept(kernel: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> tuple[str, str]:
    """What `compiled` returns, from the disk where an earlier process has compiled it."""
    folder = cache_folder("cuda")
    if folder is None:
        return compiled(kernel, signature, capability)
    path = folder / f"{kernel.function.__module__}.{kernel.function.__name__}-{key(kernel, signature, capability)}.ptx"
    with contextlib.suppress(OSError, ValueError):
        checksum, text = path.read_text(encoding="utf-8").split("\n", 1)
        if hashlib.sha256(text.encode()).hexdigest() == checksum:
            return entry(text), text
    symbol, text = compiled(kernel, signature, capability)
    part = path.with_suffix(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):  # where there is no writing, the next process compiles again
        folder.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8", newline="\n")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return symbol, text


def key(kernel: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> str:
    """Tell the PTX of a kernel from all others; the folder stands for minigrad's sources and numba's version."""
    what = describe((kernel.function, kernel.bounds, signature, capability, versions()))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


@functools.cache
def versions() -> tuple[str, ...]:
    """The versions of what writes PTX; "" for what is not installed."""
    found = []
    for name in COMPILERS:
        try:
            found.append(metadata.version(name))
        except metadata.PackageNotFoundError:
            found.append("")
    return (*found, os.environ.get("CUDA_HOME", ""))


def compiled(kernel: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> tuple[str, str]:
    """Compile a kernel for the kinds of its arguments and a compute capability; returns its symbol and its PTX.

    Numbers are IEEE's: divisions and roots are rounded correctly, and denormals kept.
    """
    device = SimpleNamespace(compute_capability=capability)
    with mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device):
        # where a function calls another, numba asks a device for its capability
        function = linked(kernel.function, cuda.jit(device=True))
        bounds = {} if kernel.bounds is None else {"launch_bounds": kernel.bounds}
        try:
            text, _ = cuda.compile_ptx(function, tuple(map(numba_type, signature)), cc=capability, **bounds)
        except Exception as error:
            if any(kind.__name__ in NOT_INSTALLED for kind in type(error).__mro__):
                raise DeviceError(
                    f"no compiler for the GPU: NVIDIA's libNVVM or libnvrtc is not installed\nhint: {pip()}"
                ) from error
            raise
    return entry(text), text


NOT_INSTALLED = ("NvvmSupportError", "NvrtcSupportError", "DynamicLibNotFoundError")
"""The exceptions of numba's two targets and of NVIDIA's packages where a library is not there."""


def entry(text: str) -> str:
    """The symbol of the kernel in a PTX.

    Raises
    ------
    ValueError
        If there is none.
    """
    symbol = re.search(r"\.visible \.entry (\w+)", text)
    if symbol is None:
        raise ValueError("no kernel in this PTX")
    return symbol[1]


def too_new(text: str, driver: tuple[int, int]) -> str:
    """What to say where a driver cannot read the PTX."""
    version = re.search(r"\.version (\S+)", text)
    headline = f"NVIDIA's driver, of CUDA {driver[0]}.{driver[1]}, is too old for the PTX of the compiler"
    return f"{headline}, {version[1] if version else 'of an unknown version'}\nhint: {pip(driver)}"


def numba_type(kind: Any) -> Any:
    """numba's type for the kind of an argument (see `compiler.kind_of`)."""
    if kind is int:
        return types.int64
    if isinstance(kind, tuple):
        return types.UniTuple(types.int64, kind[1]) if kind[0] == "tuple" else types.CPointer(element(kind[1]))
    return element(kind)
