"""Padding: zeros or a value around x, or x itself mirrored, repeated at its edges, or wrapped around."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, ShapeError
from minigrad.ops.checks import full, integer, operand, require, variable
from minigrad.ops.index import index_put, scatter
from minigrad.ops.kinds import Bad, composite
from minigrad.ops.samples import Call, Draw
from minigrad.ops.shape import concat, part_of


def _reflect(x: Any, axis: int, before: int, after: int) -> list[Any]:
    size = x.shape[axis]
    left = part_of(x, axis, slice(before, 0, -1))
    stop = size - 2 - after
    return [left, x, part_of(x, axis, slice(size - 2, stop if stop >= 0 else None, -1) if after else slice(0, 0))]


def _replicate(x: Any, axis: int, before: int, after: int) -> list[Any]:
    def repeated(edge: slice, count: int) -> Any:
        return part_of(x, axis, edge).broadcast_to((*x.shape[:axis], count, *x.shape[axis + 1 :]))

    return [repeated(slice(0, 1), before), x, repeated(slice(-1, None), after)]


def _circular(x: Any, axis: int, before: int, after: int) -> list[Any]:
    size = x.shape[axis]
    return [part_of(x, axis, slice(size - before, None)), x, part_of(x, axis, slice(0, after))]


MODES: dict[str, tuple[Callable[..., list[Any]], Callable[[int, int], int]]] = {
    "reflect": (_reflect, lambda before, after: max(before, after) + 1),
    "replicate": (_replicate, lambda before, after: 1),
    "circular": (_circular, lambda before, after: max(before, after)),
}
"""What is joined along an axis, and how many elements it takes at least."""

NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _sample(draw: Draw) -> Call:
    mode = draw.choice(list(NUMPY))
    shape = draw.shape(min_side=0 if mode == "constant" else 3)
    widths = tuple((draw.integer(0, 2), draw.integer(0, 2)) for _ in shape)
    return (draw.array(shape), widths), {"mode": mode} | (
        {"value": 0.5 * draw.integer(0, 2)} if mode == "constant" else {}
    )


def _oracle(x: Any, widths: Any, mode: str, value: float = 0.0) -> Any:
    options: dict[str, Any] = {"mode": NUMPY[mode]} | ({"constant_values": value} if mode == "constant" else {})
    return np.pad(x, widths, **options) if x.ndim else x.copy()


@composite(
    view=True,
    sample=_sample,
    oracle=_oracle,
    bad=(
        Bad(lambda t: pad(t(2), ((1, -1),)), ArgumentError, "pad: a negative width in ((1, -1),)"),
        Bad(lambda t: pad(t(2), ((1, 1), (1, 1))), ArgumentError, "pad: 2 pairs of widths for 1 axes"),
        Bad(lambda t: pad(t(2), (1, 1)), ArgumentError, "pad: pad_width = (1, 1) is not a pair (before, after)"),
        Bad(
            lambda t: pad(t(2), ((2, 0),), mode="reflect"),
            ShapeError,
            "pad: reflect by (2, 0) takes at least 3 elements, axis 0 has 2",
        ),
        Bad(
            lambda t: pad(t(2), ((1, 0),), mode="wrap"),
            ArgumentError,
            "pad: mode = 'wrap' is not one of 'constant', 'reflect', 'replicate', 'circular'",
        ),
    ),
)
def pad(x: Any, /, pad_width: Sequence[tuple[int, int]], *, mode: str = "constant", value: float = 0.0) -> Any:
    """x with a margin.

    Parameters
    ----------
    x
        Any shape.
    pad_width
        `(before, after)` for each axis.
    mode
        "constant": the margin is `value`. "reflect": x mirrored at its first and last elements, which are not repeated;
        "replicate": the first and last elements repeated; "circular": the other end of x.
    value
        A number.

    Returns
    -------
    Tensor
        Each axis longer by before + after.

    Raises
    ------
    ArgumentError, ShapeError
        If the widths do not fit the axes, or an axis is too short to be mirrored or wrapped around.

    >>> mg.pad(mg.tensor([1, 2, 3]), ((1, 2),))
    tensor([0, 1, 2, 3, 0, 0])
    >>> mg.pad(mg.tensor([1, 2, 3]), ((1, 2),), mode="reflect")
    tensor([2, 1, 2, 3, 2, 1])
    """
    widths = _widths(variable("pad", "x", x), pad_width)
    names = ", ".join(map(repr, NUMPY))
    require(mode in NUMPY, ArgumentError, f"pad: mode = {mode!r} is not one of {names}")
    if mode == "constant":
        sizes = tuple(before + size + after for (before, after), size in zip(widths, x.shape, strict=True))
        inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
        if value == 0:
            return scatter.run(x, key=inside, shape=sizes)
        filler = operand("pad", "value", value, x.dtype, x)
        return index_put.run(full(sizes, filler.item(), x.dtype, x), x, key=inside)
    join, least = MODES[mode]
    for axis, (before, after) in enumerate(widths):
        if before or after:
            needed, size = least(before, after), x.shape[axis]
            headline = f"pad: {mode} by {(before, after)} takes at least {needed} elements, axis {axis} has {size}"
            require(needed <= size, ShapeError, headline, [("x", "", x)])
            x = concat(join(x, axis, before, after), axis=axis)
    return x


def _widths(x: Any, pad_width: Any) -> tuple[tuple[int, int], ...]:
    try:
        pairs = [(before, after) for before, after in pad_width]
    except TypeError:
        headline = f"pad: pad_width = {pad_width} is not a pair (before, after) for each axis"
        raise ArgumentError(headline) from None
    widths = tuple((integer("pad", "width", before), integer("pad", "width", after)) for before, after in pairs)
    headline = f"pad: {len(widths)} pairs of widths for {len(x.shape)} axes"
    require(len(widths) == len(x.shape), ArgumentError, headline, [("x", "", x)])
    require(all(min(two) >= 0 for two in widths), ArgumentError, f"pad: a negative width in {widths}")
    return widths
