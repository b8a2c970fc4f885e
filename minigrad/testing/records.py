"""Drawing the arguments of an op from its record: the table's sample functions, over Hypothesis."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minigrad.ops.kinds import Record
from minigrad.ops.samples import Shape
from minigrad.testing.sides import LAYOUTS


class Drawn:
    """The `Draw` of `minigrad.ops.samples`, over a Hypothesis draw function.

    Structure (shapes, options) is drawn by Hypothesis, which shrinks it; values come from one drawn seed.
    """

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw
        self._random = np.random.default_rng(draw(st.integers(0, 2**16)))

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return self._draw(st.integers(low, high))

    def boolean(self) -> bool:
        """True or False."""
        return self._draw(st.booleans())

    def choice(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return self._draw(st.sampled_from(options))

    def shape(self, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Shape:
        """A shape; seldom one of no elements, or without axes: there is little to see there."""
        counts = range(min_dims, max_dims + 1)
        sides = [
            self.integer(max(min_side, 1), max_side) for _ in range(self.choice([*counts, *counts[min_dims == 0 :]]))
        ]
        if sides and min_side == 0 and self.choice([False] * 7 + [True]):
            sides[self.integer(0, len(sides) - 1)] = 0
        return tuple(sides)

    def array(self, shape: Shape, low: float = -2.0, high: float = 2.0, away_from: float | None = None) -> np.ndarray:
        """Floats in [low, high], at least 0.1 away from a kink."""
        values = self._random.uniform(low, high, shape)
        if away_from is not None:
            side = np.where(values >= away_from, 0.1, -0.1)
            values = np.where(np.abs(values - away_from) < 0.1, away_from + side, values)
        return np.asarray(values)

    def distinct(self, shape: Shape) -> np.ndarray:
        """Floats that differ from each other by at least 0.1."""
        size = int(np.prod(shape))
        return (0.1 * self._random.permutation(size) - 0.05 * size).reshape(shape)

    def integers(self, shape: Shape, low: int, high: int) -> np.ndarray:
        """Integers in [low, high)."""
        return np.asarray(self._random.integers(low, high, shape))

    def layout(self, array: np.ndarray) -> np.ndarray:
        """The same values, laid out otherwise in memory."""
        return LAYOUTS[self.choice(["transposed", "reversed", "strided", "contiguous"])](array)


@st.composite
def calls(draw: Callable[[Any], Any], record: Record) -> tuple[Drawn, tuple[Any, ...], dict[str, Any]]:
    """A `Drawn` and the `(args, kwargs)` of one call of an op, as its record's sample draws them."""
    drawn = Drawn(draw)
    args, kwargs = record.sample(drawn)  # type: ignore[misc]
    return drawn, tuple(np.asarray(arg) if isinstance(arg, np.generic) else arg for arg in args), kwargs
