"""Kernels as PTX, the assembly of a virtual GPU: compiling needs no GPU, only numba and NVIDIA's libNVVM."""

import re
from types import SimpleNamespace
from typing import Any
from unittest import mock

from numba import cuda, types

from minigrad.kernels.cuda.compiler import element
from minigrad.kernels.scalars import linked


def compiled(kernel: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> tuple[str, str]:
    """Compile a kernel for the kinds of its arguments and a compute capability; returns its symbol and its PTX.

    Numbers are IEEE's: divisions and roots are rounded correctly, and denormals kept.
    """
    device = SimpleNamespace(compute_capability=capability)
    with mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device):
        # where a function calls another, numba asks a device for its capability
        function = linked(kernel.function, cuda.jit(device=True))
        bounds = {} if kernel.bounds is None else {"launch_bounds": kernel.bounds}
        text, _ = cuda.compile_ptx(function, tuple(map(numba_type, signature)), cc=capability, **bounds)
    symbol = re.search(r"\.visible \.entry (\w+)", text)
    assert symbol is not None
    return symbol[1], text


def numba_type(kind: Any) -> Any:
    """numba's type for the kind of an argument (see `compiler.kind_of`)."""
    if kind is int:
        return types.int64
    if isinstance(kind, tuple):
        return types.UniTuple(types.int64, kind[1]) if kind[0] == "tuple" else types.CPointer(element(kind[1]))
    return element(kind)
