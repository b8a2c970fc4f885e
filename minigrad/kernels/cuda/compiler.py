"""Kernels: Python functions of pointers and numbers, compiled for the types that they are called with."""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from minigrad.kernels.cuda.array import Array
from minigrad.kernels.cuda.machine import machine


class Kernel:
    """A function that every thread of a grid runs.

    An `Array` among the arguments arrives as a pointer to its first element, ints as int64, alone or in a tuple, and a
    numpy scalar as what it is. Plain functions that the kernel calls are compiled with it. `threads` bounds the size of
    a block, which allows a thread more registers; `resident` says how many blocks a multiprocessor shall hold.

    >>> @kernel
    ... def doubled(n, out, x):
    ...     for i in range(cuda.grid(1), n, cuda.gridsize(1)):
    ...         out[i] = 2 * x[i]
    """

    def __init__(self, function: Callable[..., None], threads: int | None = None, resident: int = 1) -> None:
        self.function, self.bounds = function, None if threads is None else (threads, resident)
        self.signatures: list[tuple[Any, ...]] = []
        self._compiled: dict[tuple[Any, ...], Any] = {}
        KERNELS.append(self)

    def __call__(self, blocks: int, threads: int, *args: Any) -> None:
        """Launch: every element that the kernel writes is there for whoever comes after it in the same stream."""
        key = tuple(  # tells signatures apart, in a third of the time that it takes to make one
            [x.dtype if (kind := x.__class__) is Array else len(x) if kind is tuple else kind for x in args]
        )
        compiled = self._compiled.get(key)
        if compiled is None:
            signature = tuple(map(kind_of, args))
            self._compiled[key] = compiled = machine().compile(self, signature)
            self.signatures.append(signature)
        machine().launch(compiled, blocks, threads, args)

    def over(self, n: int, *args: Any) -> None:
        """Launch as many threads as n elements keep busy, for kernels that share out 0 ... n - 1 by a stride."""
        if n:
            threads, most = machine().threads, machine().most_blocks
            self(min(-(-n // threads), most), threads, n, *args)


KERNELS: list[Kernel] = []
"""All that were declared by the modules imported so far."""


def kernel(function: Callable[..., None] | None = None, **bounds: Any) -> Any:
    """Declare a kernel."""
    return functools.partial(Kernel, **bounds) if function is None else Kernel(function)


def kind_of(value: Any) -> Any:
    """What the compiler needs to know of an argument.

    >>> kind_of(3), kind_of((1, 2)), kind_of(np.float32(1))
    (<class 'int'>, ('tuple', 2), dtype('float32'))
    """
    if value.__class__ is Array:
        return "pointer", value.dtype
    if value.__class__ is tuple:
        return "tuple", len(value)
    return int if value.__class__ is int else np.dtype(value.__class__)


def element(dtype: np.dtype) -> Any:
    """numba's type for the elements of an array; truth values are bytes in memory, and numba has only bits."""
    return numba.uint8 if dtype == np.bool_ else numba.from_dtype(dtype)
