"""Arrays in the memory of a GPU: a buffer, and how an array lies in it."""

import functools
import math
from typing import Any

import numpy as np

from minigrad.kernels.cuda.machine import machine


class Array:
    """Elements of one dtype in a buffer, as `shape` and `strides` lay them out from `offset` on.

    Offset and strides count elements, not bytes. Strides may be 0 (broadcast) or negative (reversed). An array of one
    value knows it as its `constant`, which elementwise kernels take by value.
    """

    __slots__ = ("__weakref__", "_buffer", "constant", "dtype", "offset", "shape", "strides")
    _buffer: Any
    constant: Any
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, buffer: Any, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> "Array":
        """An array from its parts."""
        array = cls()
        array._buffer, array.dtype, array.shape, array.strides, array.offset = buffer, dtype, shape, strides, offset
        array.constant = None
        return array

    @classmethod
    def filled(cls, value: Any, shape: tuple[int, ...]) -> "Array":
        """An array of one value, a numpy scalar."""
        array = cls.of(None, value.dtype, shape, (0,) * len(shape), 0)
        array.constant = value
        return array

    @property
    def buffer(self) -> Any:
        """The memory; that of a constant is made when somebody reads it there."""
        if self._buffer is None:
            self._buffer = machine().upload(np.array([self.constant]))
        return self._buffer

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the elements together, in bytes; a broadcast element counts as often as it is seen."""
        return self.size * self.dtype.itemsize

    @property
    def in_one_piece(self) -> bool:
        """Whether the elements lie one after another, in the order of the axes."""
        if self.strides == (whole := row_major(self.shape)) or self.size <= 1:
            return True
        return all(have == want or size == 1 for size, have, want in zip(self.shape, self.strides, whole, strict=True))

    def view(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int | None = None) -> "Array":
        """The same buffer, seen in another way."""
        array = Array.of(self._buffer, self.dtype, shape, strides, self.offset if offset is None else offset)
        array.constant = self.constant
        return array

    # ---- for other libraries (see exchange.py) -----------------------------------------------------------------------

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        from minigrad.kernels.cuda import exchange

        return exchange.interface(self)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, getattr(machine(), "number", 0)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        from minigrad.kernels.cuda import exchange

        if dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(f"the array is on device {self.__dlpack_device__()}, not on {dl_device}")
        return exchange.to_dlpack(self, stream, max_version, copy)


@functools.lru_cache(maxsize=4096)
def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of elements that lie one after another.

    >>> row_major((2, 3, 4))
    (12, 4, 1)
    """
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of any values."""
    kind = np.dtype(dtype)
    return Array.of(machine().allocate(math.prod(shape) * kind.itemsize), kind, shape, row_major(shape), 0)


def from_numpy(array: np.ndarray) -> Array:
    """Copy an array of the host to the device."""
    if not array.size:
        return empty(array.shape, array.dtype)
    buffer = machine().upload(np.ascontiguousarray(array))
    return Array.of(buffer, array.dtype, array.shape, row_major(array.shape), 0)
