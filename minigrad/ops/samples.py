"""How the tests draw arguments for an op: small functions of a `Draw`, referred to by the records.

A sample function returns `(args, kwargs)` of one call, with ndarrays for the tensors: float arrays are inputs to
differentiate, integer and boolean arrays are constants.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]
Call = tuple[tuple[Any, ...], dict[str, Any]]
Sample = Callable[["Draw"], Call]


class Draw(Protocol):
    """What a sample function may ask for (over Hypothesis: `minigrad.testing.strategies`)."""

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]."""

    def boolean(self) -> bool:
        """True or False."""

    def choice(self, options: Sequence[Any]) -> Any:
        """One of the options."""

    def shape(self, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Shape:
        """A shape."""

    def array(self, shape: Shape, low: float = -2.0, high: float = 2.0, away_from: float | None = None) -> np.ndarray:
        """Floats in [low, high], at least 0.1 away from a kink."""

    def distinct(self, shape: Shape) -> np.ndarray:
        """Floats that differ from each other by at least 0.1."""

    def integers(self, shape: Shape, low: int, high: int) -> np.ndarray:
        """Integers in [low, high)."""


def least_side(draw: Draw) -> int:
    """1, or now and then 0: of nothing there is no derivative to check."""
    return draw.choice([1, 1, 1, 0])


def pointwise(function: Callable[..., Any], result: type = float) -> Callable[..., Any]:
    """An oracle from a function of python scalars."""
    return np.vectorize(function, otypes=[result])


def unary(low: float = -2.0, high: float = 2.0, away_from: float | None = None) -> Sample:
    """One array."""
    return lambda draw: ((draw.array(draw.shape(), low, high, away_from),), {})


def broadcastable(draw: Draw, count: int = 2) -> list[Shape]:
    """Shapes that broadcast together."""
    full = draw.shape()
    return [tuple(1 if draw.boolean() else size for size in full[draw.integer(0, len(full)) :]) for _ in range(count)]


def binary(low: float = -2.0, high: float = 2.0, away_from: float | None = None, *, first: Any = None) -> Sample:
    """Two arrays that broadcast; `first` gives another range (low, high, away_from) for the first."""

    def sample(draw: Draw) -> Call:
        x, y = broadcastable(draw)
        return (draw.array(x, *(first or (low, high, away_from))), draw.array(y, low, high, away_from)), {}

    return sample


def apart(draw: Draw) -> Call:
    """Two arrays that broadcast, no element of one within 0.2 of an element of the other."""
    x, y = broadcastable(draw)
    return (draw.integers(x, -4, 4) * 0.5, draw.integers(y, -4, 4) * 0.5 + 0.25), {}


def equal_or_not(draw: Draw) -> Call:
    """Two arrays that broadcast, often equal."""
    x, y = broadcastable(draw)
    return (draw.integers(x, 0, 3) * 1.0, draw.integers(y, 0, 3) * 1.0), {}


def truths(count: int) -> Sample:
    """Boolean arrays that broadcast."""
    return lambda draw: (
        tuple(draw.integers(shape, 0, 2).astype(bool) for shape in broadcastable(draw, count)),
        {},
    )


def axis_of(draw: Draw, ndim: int, *, many: bool = True) -> Any:
    """None, an axis, or (many) a tuple of axes; negative ones too."""
    if ndim == 0 or draw.boolean():
        return None
    if many and ndim > 1 and draw.boolean():
        return (draw.integer(0, ndim - 2), -1)
    return draw.integer(-ndim, ndim - 1)


def reduction(*, distinct: bool = False, min_side: int = 0, many: bool = True) -> Sample:
    """An array, the axes to reduce, keepdims."""

    def sample(draw: Draw) -> Call:
        shape = draw.shape(min_side=min_side)
        x = draw.distinct(shape) if distinct else draw.array(shape)
        return (x,), {"axis": axis_of(draw, len(shape), many=many), "keepdims": draw.boolean()}

    return sample


def along_axis(*, distinct: bool = False, min_side: int = 0) -> Sample:
    """An array and one axis."""

    def sample(draw: Draw) -> Call:
        shape = draw.shape(min_dims=1, min_side=min_side)
        x = draw.distinct(shape) if distinct else draw.array(shape)
        return (x,), {"axis": draw.integer(-len(shape), len(shape) - 1)}

    return sample
