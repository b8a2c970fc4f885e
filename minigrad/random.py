"""Random numbers from counters.

A `Generator` is a key and a counter. The words come from Philox 4x64-10 (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC 2011): word i depends on the key and i only, so any device can draw the same stream, and every
distribution here is a fixed function of the words: one word for a uniform or an integer, two for two normals.
"""

import functools
import math
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from minigrad import kernels, ops
from minigrad.creation import asarray
from minigrad.dtypes import as_dtype, float32, float64, int64, is_floating
from minigrad.errors import ArgumentError, DtypeError, GraphError
from minigrad.ops.checks import integer, memory_for, number, shape_of
from minigrad.tensor import Tensor

Shape = int | Sequence[int]


_reserving = threading.Lock()  # threads may draw from one generator: each gets blocks of its own


class Generator:
    """A stream of random numbers of its own.

    Parameters
    ----------
    key
        One integer or several, e.g. `Generator(seed, epoch)`; each tuple of integers is a stream of its own.

    Examples
    --------
    >>> from minigrad.random import Generator
    >>> a, b = Generator(0), Generator(0)
    >>> bool((a.uniform(3) == b.uniform(3)).all())
    True
    """

    def __init__(self, *key: int) -> None:
        self.restart(*key)

    def restart(self, *key: int) -> None:
        """Become the stream of a key, from its beginning."""
        self.key = tuple(integer("Generator", "key", part) for part in key)
        if min(self.key, default=0) < 0:
            raise ArgumentError(f"Generator: a negative number in the key {self.key}")
        self.counter = 0

    def words(self, count: int) -> np.ndarray:
        """The next `count` words of the stream, uint64; the counter moves on by whole blocks of four.

        Block b is Philox of the 256-bit counter b + 1, because numpy counts up before each block.
        """
        if count < 0:
            raise ArgumentError(f"words: a negative number of words, {count}")
        key, first = self._place(count)
        with memory_for("random", (count,)):
            return np.random.Philox(key=_hashed(key), counter=first).random_raw(count)

    def _place(self, count: int) -> "Place":
        """Where the next `count` words are."""
        draws = _draws.get()
        return self._reserve(-(-count // 4)) if draws is None else draws.place(self, -(-count // 4))

    def _reserve(self, blocks: int) -> "Place":
        with _reserving:
            first = self.counter
            self.counter += blocks
        return self.key, first

    def _fractions(self, shape: tuple[int, ...], dtype: np.dtype, device: str) -> Tensor:
        """Multiples of 2**-24, or in float64 of 2**-53, in [0, 1): the leading bits of the words, on every device."""
        key, first = self._place(math.prod(shape))
        draw = kernels.kernel("fractions", kernels.backend(device).Array)
        with memory_for("random", shape):
            return Tensor._wrap(draw(key=_hashed(key), first=first, shape=shape, dtype=dtype))

    def uniform(
        self, shape: Shape, low: float = 0.0, high: float = 1.0, *, dtype: Any = float32, device: str = "cpu"
    ) -> Tensor:
        """Numbers evenly distributed over [low, high); the same ones on every device."""
        sizes, kind = _checked("uniform", shape, dtype)
        if (low, high) == (0, 1):
            return self._fractions(sizes, kind, device)
        low, high = number("uniform", "low", low), number("uniform", "high", high)
        if not low <= high:
            raise ArgumentError(f"uniform: low = {low} is above high = {high}")
        if max(-low, high, high - low) > float(np.finfo(kind).max):
            raise ArgumentError(f"uniform: [{low}, {high}) is beyond {kind}, or longer than its largest number")
        below = float(np.nextafter(kind.type(high), kind.type(low)))
        values = self._fractions(sizes, kind, device)
        return ops.minimum(values * (high - low) + low, below)  # rounding may reach high

    def normal(
        self, shape: Shape, mean: float = 0.0, std: float = 1.0, *, dtype: Any = float32, device: str = "cpu"
    ) -> Tensor:
        """Normally distributed numbers, by the transform of Box and Muller (1958).

        On another device they are the same but for the rounding of its logarithm and cosine, in float64.
        """
        sizes, kind = _checked("normal", shape, dtype)
        if not (math.isfinite(number("normal", "mean", mean)) and 0 <= number("normal", "std", std) < math.inf):
            raise ArgumentError(f"normal: mean = {mean} and std = {std} are not finite, or std is negative")
        count = math.prod(sizes)
        pairs = self._fractions((-(-count // 2), 2), float64, device)
        radius, angle = ops.sqrt(-2 * ops.log1p(-pairs[:, 0])), 2 * math.pi * pairs[:, 1]
        values = ops.stack([radius * ops.cos(angle), radius * ops.sin(angle)], axis=1).reshape((-1,))[:count]
        return (values * std + mean).reshape(sizes).astype(kind)

    def integers(self, shape: Shape, low: int, high: int) -> Tensor:
        """Integers evenly distributed over [low, high), int64. The bias is below (high - low) / 2**53."""
        sizes, _ = _checked("integers", shape, float32)
        low, high = integer("integers", "low", low), integer("integers", "high", high)
        if low >= high:
            raise ArgumentError(f"integers: no integer is in [{low}, {high})")
        if low < -(2**63) or high > 2**63 or high - low > 2**53:
            raise ArgumentError(f"integers: [{low}, {high}) is beyond int64, or holds more than 2**53 integers")
        fractions = self._fractions(sizes, float64, "cpu")
        return low + ops.floor(fractions * (high - low)).astype(int64)

    def permutation(self, n: int) -> Tensor:
        """The integers 0 .. n-1 in random order: the order of n random words."""
        return asarray(np.argsort(self.words(integer("permutation", "n", n)), kind="stable"))


@functools.lru_cache(maxsize=256)
def _hashed(key: tuple[int, ...]) -> np.ndarray:
    """128 bits for the key of Philox; the lengths go in too, so that no two keys share their words."""
    parts = [part.to_bytes(-(-part.bit_length() // 32) * 4 or 4, "little") for part in key]
    words = [word for part in parts for word in (len(part), *np.frombuffer(part, "<u4").tolist())]
    return np.random.SeedSequence([len(key), *words]).generate_state(2, np.uint64)


def _checked(function: str, shape: Shape, dtype: Any) -> tuple[tuple[int, ...], np.dtype]:
    sizes, kind = shape_of(function, shape), as_dtype(dtype)
    if min(sizes, default=0) < 0:
        raise ArgumentError(f"{function}: a negative size in shape {sizes}")
    if not is_floating(kind):
        raise DtypeError(f"{function}: dtype {kind} is not a floating one")
    return sizes, kind


Place = tuple[tuple[int, ...], int]
"""Where in which stream words are drawn: the key and the first block."""


class Draws:
    """Draws that can be made again: within a `with` block, notes the places of all draws, or draws from noted ones.

    >>> from minigrad.random import Draws, Generator
    >>> generator, noted = Generator(0), Draws()
    >>> with noted:
    ...     first = generator.uniform(2)
    >>> with Draws(noted.places):
    ...     bool((generator.uniform(2) == first).all())
    True
    """

    def __init__(self, again: Sequence[Place] | None = None) -> None:
        self.places: list[Place] = []
        self._again = None if again is None else iter(again)

    def place(self, generator: Generator, blocks: int) -> Place:
        """Where the next draw is."""
        if self._again is not None:
            place = next(self._again, None)
            if place is None:
                raise GraphError("a function that is run again draws more random numbers than it did")
        else:  # a block inside of another takes its draws from there
            place = generator._reserve(blocks) if self._outer is None else self._outer.place(generator, blocks)
        self.places.append(place)
        return place

    def __enter__(self) -> Self:
        self._outer = _draws.get()
        _draws.set(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        _draws.set(self._outer)


_draws: ContextVar[Draws | None] = ContextVar("draws", default=None)

default = Generator(0)
"""The stream of whoever passes no generator."""


def manual_seed(seed: int) -> None:
    """Start the default stream again, from a seed.

    >>> mg.manual_seed(0)
    """
    default.restart(seed)
