"""Memory of dead arrays, kept for the next ones.

A training step makes and drops the same large arrays over and over. The C library gives each back to the system and
asks for it anew, and the system clears it page by page, which costs more than the arithmetic in some kernels. Here the
memory of a large array goes to a pool when the last view of the array dies, and the next array of about that size gets
it.

An array of the pool is a plain `numpy.ndarray`, and so are its views; all of them keep its `_Owner` alive, whose
finalizer feeds the pool. A finalizer may run at any point of any thread, so nothing here takes a lock: `append` and
`pop` of a list are atomic. So is `+=` on an integer attribute, since CPython 3.11 and 3.12 change threads at calls and
loops only; were it not, the counts would be a little wrong, never an array.
"""

import collections
import contextlib
import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.errors import OutOfMemoryError, shape_text

Array = npt.NDArray[Any]

SMALL = 1 << 15  # bytes, below which the C library is as fast
MODEST = 1 << 26  # bytes that may be kept in any case
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
APART = 1 << 14  # bytes between what threads write: processors fetch ahead, up to pages beyond what a thread reads


def empty(shape: tuple[int, ...], dtype: type | np.dtype) -> Array:
    """Return an array of any contents; one of at least `SMALL` bytes starts at a multiple of `ALIGNMENT`.

    Raises
    ------
    OutOfMemoryError
        If there is too little memory even after the pool has been emptied.
    """
    size = _size_class(shape, dtype)
    if size < SMALL:
        return np.empty(shape, dtype)
    try:
        block = POOL.take(size)
    except MemoryError:
        headline = f"out of memory: no {size:,} bytes for an array of shape {shape_text(shape)}, {np.dtype(dtype)}"
        hint = "smaller batches, or no_grad where no gradient is needed"
        raise OutOfMemoryError(f"{headline}\n  {POOL.stats}\nhint: {hint}") from None
    return np.ndarray(shape, dtype, block.view(_Owner))


def zeros(shape: tuple[int, ...], dtype: type | np.dtype) -> Array:
    """Return an array of zeros, allocated as `empty` does."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def workspaces(threads: int, size: int, dtype: type | np.dtype) -> Array:
    """Return an array of any contents: a row a thread, of at least `size` elements, none of them near another row's.

    A processor that fetched ahead what another thread writes would take it away from that thread.
    """
    return empty((threads, size + (APART // np.dtype(dtype).itemsize if size and threads > 1 else 0)), dtype)


@dataclass(frozen=True)
class MemoryStats:
    """The pool of memory for large arrays (of 32 KiB and more): bytes, and arrays counted.

    Attributes
    ----------
    in_use
        Bytes of the arrays that are alive, rounded up to the sizes of the pool (by less than an eighth).
    kept
        Bytes of dead arrays, kept for the next ones.
    peak
        The most bytes that were in use at once.
    hits, misses
        How many arrays got memory of a dead one, and how many got new memory.
    """

    in_use: int
    kept: int
    peak: int
    hits: int
    misses: int


class _Block(np.ndarray):
    """The bytes of a block. numpy skips bases of an array's own type, so a type of its own keeps the chain whole."""

    __slots__ = ()


class _Owner(np.ndarray):
    """What the arrays in a block have as their base, and nothing else has: it dies with the last of them."""

    __slots__ = ()

    def __del__(self) -> None:
        block = self.base
        if type(block) is _Block:  # and this is no view of an owner
            POOL.give(block)


class _Shelf(list[_Block]):
    """Free blocks of one size, and when one was last asked for."""

    asked = 0


class Pool:
    """Blocks of memory by size.

    What is kept is bounded: by a limit, or else to what is `MODEST`, or so that the blocks in use and the kept ones are
    together at most twice the most that was in use at once. Beyond the bound the sizes that nobody has asked for the
    longest go first.
    """

    def __init__(self) -> None:
        self._limit: int | None = None
        self._shelves: collections.defaultdict[int, _Shelf] = collections.defaultdict(_Shelf)
        self._owned = self._in_use = self._peak = self._asked = self._misses = 0

    def take(self, size: int) -> _Block:
        """Return a block of `size` bytes, one that is kept if there is one."""
        shelf = self._shelves[size]
        shelf.asked = self._asked = self._asked + 1
        try:
            block = shelf.pop()
        except IndexError:
            block = self._new_block(size)
        self._in_use += size
        if self._in_use > self._peak:
            self._peak = self._in_use
        return block

    def give(self, block: _Block) -> None:
        """Keep a block that nobody uses any more, and let others go if that is too much."""
        size = len(block)
        self._in_use -= size
        self._shelves[size].append(block)
        if self._owned - self._in_use > (MODEST if self._limit is None else self._limit):
            self._shrink()

    def limit(self, nbytes: int | None) -> None:
        """Keep at most `nbytes` from now on; None stands for what the peak allows."""
        self._limit = nbytes
        self._shrink()

    def release(self) -> None:
        """Give all that is kept back to the system, and count from here on."""
        self._drop(0)
        self._peak = self._in_use
        self._asked = self._misses = 0
        for shelf in list(self._shelves.values()):
            shelf.asked = 0

    @property
    def stats(self) -> MemoryStats:
        """The counts of now."""
        kept, hits = self._owned - self._in_use, self._asked - self._misses
        return MemoryStats(self._in_use, kept, self._peak, hits, self._misses)

    def _shrink(self) -> None:
        self._drop(max(2 * self._peak - self._in_use, MODEST) if self._limit is None else self._limit)

    def _drop(self, limit: int) -> None:
        """Give blocks back to the system until at most `limit` bytes are kept."""
        while self._owned - self._in_use > limit:
            shelves = [shelf for shelf in list(self._shelves.values()) if shelf]
            if not shelves:  # another thread has just taken the last
                return
            with contextlib.suppress(IndexError):
                self._owned -= len(min(shelves, key=lambda shelf: shelf.asked).pop())

    def _new_block(self, size: int) -> _Block:
        try:
            memory = np.empty(size + ALIGNMENT, np.uint8)
        except MemoryError:
            self._drop(0)
            memory = np.empty(size + ALIGNMENT, np.uint8)
        self._owned += size
        self._misses += 1
        start = -memory.ctypes.data % ALIGNMENT
        return memory[start : start + size].view(_Block)


@functools.lru_cache(maxsize=1 << 12)
def _size_class(shape: tuple[int, ...], dtype: type | np.dtype) -> int:
    """Round the bytes of an array up to one of eight sizes between two powers of two.

    >>> _size_class((1 << 13,), np.float32), _size_class((33, 1000), np.uint8), _size_class((250_000,), np.float32)
    (32768, 36864, 1048576)
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    step = max(1, 1 << (nbytes - 1).bit_length() >> 4)
    return -(-nbytes // step) * step


POOL = Pool()
