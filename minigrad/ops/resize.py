"""Images in another size."""

import math
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, OutOfMemoryError
from minigrad.ops.checks import memory_for, number, pair, require
from minigrad.ops.index import getitem
from minigrad.ops.kinds import Bad, composite
from minigrad.ops.pool import X, images
from minigrad.ops.samples import Call, Draw


def _sample(draw: Draw) -> Call:
    sides = draw.choice([1, 2, 3, 4]), draw.choice([1, 2, 3, 4])
    x = draw.array((draw.choice([1, 2, 0]), draw.integer(1, 2), *sides))
    mode, align_corners = draw.choice([("nearest", False), ("bilinear", False), ("bilinear", True)])
    options = {"mode": mode, "align_corners": align_corners}
    if draw.boolean():
        return (x, (draw.integer(1, 6), draw.integer(1, 6))), options
    return (x,), options | {"scale_factor": draw.choice([1.0, 1.5, 2.0, 2.3])}


def _oracle(
    x: Any, size: Any = None, scale_factor: float | None = None, mode: str = "nearest", align_corners: bool = False
) -> Any:
    for axis in (2, 3):
        given = x.shape[axis]
        wanted = int(given * scale_factor) if scale_factor else size[axis - 2]
        matrix = np.zeros((wanted, given))
        for i in range(wanted):
            ratio = 1 / scale_factor if scale_factor else given / wanted
            if mode == "nearest":
                matrix[i, min(int(i * ratio + 1e-9), given - 1)] = 1
                continue
            place = i * (given - 1) / max(wanted - 1, 1) if align_corners else max((i + 0.5) * ratio - 0.5, 0.0)
            for j in (int(place), int(place) + 1):
                matrix[i, min(j, given - 1)] += max(0.0, 1 - abs(place - j))
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


@composite(
    view=True,
    signature=f"{X} -> n c oh ow",
    sample=_sample,
    oracle=_oracle,
    bad=(
        Bad(lambda t: interpolate(t(1, 1, 2, 2)), ArgumentError, "interpolate: either size or scale_factor is needed"),
        Bad(
            lambda t: interpolate(t(1, 1, 2, 2), 4, mode="bicubic"),
            ArgumentError,
            "interpolate: mode = 'bicubic' is neither 'nearest' nor 'bilinear'",
        ),
        Bad(
            lambda t: interpolate(t(1, 1, 2, 2), 4, align_corners=True),
            ArgumentError,
            "interpolate: align_corners is for mode='bilinear'",
        ),
        Bad(
            lambda t: interpolate(t(1, 1, 2, 2), scale_factor=0.25),
            ArgumentError,
            "interpolate: size = (0, 0) is less than 1",
        ),
        Bad(
            lambda t: interpolate(t(1, 1, 2, 2), scale_factor=float("nan")),
            ArgumentError,
            "interpolate: scale_factor = nan is no finite number, nor two of them",
        ),
        Bad(
            lambda t: interpolate(t(1, 1, 2, 2), 2**41),
            OutOfMemoryError,
            "interpolate: out of memory for an array of shape (1099511627776,)",
        ),
    ),
)
def interpolate(
    x: Any,
    /,
    size: Any = None,
    *,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """Images in another size, by the nearest pixel or between the four nearest ones.

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    size
        The new size in pixels: an integer, or a pair for height and width.
    scale_factor
        In its place, how many times the old size (rounded down): a number, or a pair of them.
    mode
        "nearest", or "bilinear".
    align_corners
        Whether the centres of the corner pixels stay where they are ("bilinear" only); by default the outer edges do.

    Returns
    -------
    Tensor
        (n c oh ow), as PyTorch computes it.

    Raises
    ------
    ArgumentError
        If not exactly one of `size` and `scale_factor` is given, or the mode is not one of the two.

    >>> mg.interpolate(mg.tensor([[[[1.0, 3.0]]]]), (1, 4), mode="bilinear")
    tensor([[[[1. , 1.5, 2.5, 3. ]]]])
    """
    images("interpolate", "x", X, x)
    headline = "interpolate: either size or scale_factor is needed"
    require((size is None) != (scale_factor is None), ArgumentError, headline)
    headline = f"interpolate: mode = {mode!r} is neither 'nearest' nor 'bilinear'"
    require(mode in ("nearest", "bilinear"), ArgumentError, headline)
    bilinear = mode == "bilinear"
    require(bilinear or not align_corners, ArgumentError, "interpolate: align_corners is for mode='bilinear'")

    given = x.shape[2:]
    if size is None:
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
        factors = [number("interpolate", "scale_factor", factor) for factor in factors]
        fine = len(factors) == 2 and all(map(math.isfinite, factors))
        require(fine, ArgumentError, f"interpolate: scale_factor = {scale_factor} is no finite number, nor two of them")
        size = tuple(int(side * factor) for side, factor in zip(given, factors, strict=True))
        steps = [(1.0, factor) for factor in factors]
    else:
        steps = list(zip(given, pair("interpolate", "size", size, 1), strict=True))
    for axis, wanted, step in zip((2, 3), pair("interpolate", "size", size, 1), steps, strict=True):
        if wanted == x.shape[axis] and (align_corners or step[0] == step[1]):
            continue
        with memory_for("interpolate", (wanted,)):
            places = np.arange(wanted)
        if bilinear:
            x = _between(x, axis, places, step, align_corners)
        else:
            x = _taken(x, axis, np.minimum(places * step[0] // step[1], x.shape[axis] - 1))
    return x


def _taken(x: Any, axis: int, places: Any) -> Any:
    return getitem.run(x, key=(*(slice(None),) * axis, places.astype(np.int64)))


def _between(x: Any, axis: int, i: Any, step: tuple[float, float], align_corners: bool) -> Any:
    """Weigh the two pixels on either side of each place; a place before the first pixel or behind the last is there."""
    last = x.shape[axis] - 1
    places = i * last / max(len(i) - 1, 1) if align_corners else np.maximum((i + 0.5) * step[0] / step[1] - 0.5, 0)
    below = np.minimum(places.astype(np.int64), last)
    above = np.minimum(below + 1, last)
    share = (places - below).astype(x.dtype).reshape(-1, *(1,) * (3 - axis))
    return _taken(x, axis, below) * (1 - share) + _taken(x, axis, above) * share
