"""Neighbouring threads that share a line of an array: they read neighbours, and then all know what came of the line.

An array is lines of (outer, length, inner), along its middle. Where inner is 1, 2 ** bits threads, the lanes, share a
line; else a thread goes down a line by itself, and its neighbours down the next ones. Every thread of a block comes by
every barrier: those beyond the last line do that one again, and write nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

from numba import cuda

from minigrad.kernels.cuda.compiler import Kernel
from minigrad.kernels.cuda.driver import THREADS
from minigrad.kernels.cuda.intrinsics import beside
from minigrad.kernels.cuda.machine import SIMULATED, machine

WARP = 2 if SIMULATED else 32
"""Threads that can ask each other without a barrier."""

WARPS = THREADS // 32
"""In a block, at most."""

LEAST, EACH = 1 if SIMULATED else 4, 32
"""Elements of a line that a lane reads, before there is another one, and before there are more than a warp has."""


def lanes(length: int, inner: int) -> int:
    """The bits of the number of lanes for lines of a length."""
    if inner != 1:
        return 0
    most, bits = machine().threads, 0
    while 2 << bits <= most and 1 << bits < -(-length // (LEAST if 1 << bits < 32 else EACH)):
        bits += 1
    return bits


ROW, COLUMN = 4096, 128
"""Elements that lanes and a thread by itself go through: few enough for the rounding of a sum in float32."""


def in_parts(length: int, inner: int) -> tuple[int, int]:
    """In how many parts to cut lines, and their size."""
    parts = -(-length // (ROW if inner == 1 else COLUMN)) or 1
    size = -(-length // parts)
    return -(-length // max(size, 1)) or 1, size


def share(kernel: Kernel, lines: int, bits: int, *args: Any) -> None:
    """Launch a kernel of (n, lines, bits, ...) that shares out n threads, whole blocks of them, to lines."""
    threads = machine().threads
    kernel.over(-(-(lines << bits) // threads) * threads, lines, bits, *args)


def own_line(i: Any, count: Any, bits: Any) -> Any:
    """The line of thread i and its lane, and whether there is such a line."""
    line = i >> bits
    return min(line, count - 1), i & ((1 << bits) - 1), line < count


def bounds(part: Any, size: Any, length: Any) -> Any:
    """The first index of a part of a line, and the first behind it."""
    return part * size, min((part + 1) * size, length)


def turns(first: Any, stop: Any, bits: Any) -> Any:
    """How many of first, first + 2 ** bits, ... come before stop; a range with such a step would divide to know it."""
    return (stop - first + (1 << bits) - 1) >> bits


@functools.cache
def folding(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a lane's number, the bits, and shared memory for a number of each warp: f over all lanes' numbers.

    f is commutative, so all lanes know the same, and it is always the same: two by two, and then warp after warp.
    """

    def folded(number: Any, bits: Any, board: Any) -> Any:
        count, step = 1 << bits, 1
        while step < min(count, WARP):
            number = f(number, beside(number, step))
            step *= 2
        if count > WARP:
            warp, warps = cuda.threadIdx.x // WARP, count // WARP
            cuda.syncthreads()  # until all have read what is there from before
            board[warp] = number
            cuda.syncthreads()
            first = warp & -warps
            number = board[first]
            for k in range(1, warps):
                number = f(number, board[first + k])
        return number

    return folded
