"""Local contrast normalisation: a pixel beside its neighbourhood."""

from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.ops.checks import full, operands, pair, require
from minigrad.ops.conv import conv2d
from minigrad.ops.elementwise import maximum
from minigrad.ops.kinds import Bad, composite
from minigrad.ops.pool import X, avg_pool2d, images
from minigrad.ops.powers import root
from minigrad.ops.reduce import mean
from minigrad.ops.samples import Call, Draw


def _checked(op: str, x: Any, window: Any) -> tuple[Any, Any]:
    """The images, and the window: the sides of one with equal weights, or weights (1 1 kh kw)."""
    images(op, "x", X, x)
    even = isinstance(window, (int, tuple, list))
    if even:
        sides = window = pair(op, "window", window, 1)
    else:
        x, window = operands(op, ("x", "window"), (x, window))
        ndim, sides = len(window.shape), window.shape
        rows = [("window", "kh kw" if ndim == 2 else "", window)]
        require(ndim == 2, ShapeError, f"{op}: window has {ndim} axes, not the 2 of (kh kw)", rows)
    middle = all(side % 2 for side in sides)
    require(middle, ShapeError, f"{op}: a window of {sides} has no middle", hint="both sides must be odd")
    return x, window if even else window.reshape(1, 1, *sides)


def _local_mean(x: Any, window: Any, across: bool) -> Any:
    """The mean of the pixels under the window; `across`: over all features (n 1 h w)."""
    if across:
        x = mean(x, axis=1, keepdims=True)
    if isinstance(window, tuple):
        margin = (window[0] // 2, window[1] // 2)
        return avg_pool2d(x, window, stride=1, padding=margin, count_include_pad=False)
    n, c, h, w = x.shape
    margin = (window.shape[2] // 2, window.shape[3] // 2)
    total = conv2d(full((1, 1, h, w), 1, x.dtype, x), window, padding=margin)
    return (conv2d(x.reshape(n * c, 1, h, w), window, padding=margin) / total).reshape(n, c, h, w)


def _subtractive(x: Any, window: Any, across: bool) -> Any:
    return x - _local_mean(x, window, across)


def _divisive(x: Any, window: Any, across: bool, eps: float) -> Any:
    deviation = root(_local_mean(x * x, window, across))
    typical = mean(deviation, axis=(2, 3), keepdims=True)
    return x / maximum(maximum(deviation, typical), eps)


def _sample(draw: Draw) -> Call:
    """Neighbourhoods of several pixels: of one, the result is 0, and its derivatives are what rounding leaves."""
    x = draw.array((draw.integer(0, 2), draw.integer(1, 3), draw.integer(2, 4), draw.integer(2, 4)))
    sides = draw.choice([(1, 3), (3, 1), (3, 3), (3, 5)])
    window = draw.array(sides, 0.5, 2.0) if draw.boolean() else sides
    return (x, window), {"across_features": draw.boolean()}


def _windows(x: Any, window: Any, across_features: bool) -> Any:
    """Yield each pixel of each image with the indices of its neighbourhood and their weights, which add up to 1."""
    weights: Any = np.ones(window) if isinstance(window, tuple) else window
    (kh, kw), (n, c, h, w) = weights.shape, x.shape
    for place in np.ndindex(n, c, h, w):
        i, j = place[2:]
        near = [(u, v) for u in range(kh) for v in range(kw) if 0 <= i + u - kh // 2 < h and 0 <= j + v - kw // 2 < w]
        rows, columns = ([place[2 + a] + tap[a] - (kh, kw)[a] // 2 for tap in near] for a in (0, 1))
        shares = np.array([weights[tap] for tap in near])
        maps = x[place[0], :, rows, columns] if across_features else x[place[0], place[1], rows, columns, None]
        yield place, maps, shares / shares.sum()


def _subtractive_oracle(x: Any, window: Any, across_features: bool) -> Any:
    out = x.copy()
    for place, maps, shares in _windows(x, window, across_features):
        out[place] -= maps.mean(axis=1) @ shares
    return out


def _divisive_oracle(x: Any, window: Any, across_features: bool, eps: float = 1e-4) -> Any:
    deviation = np.zeros_like(x)
    for place, maps, shares in _windows(x, window, across_features):
        deviation[place] = np.sqrt(np.square(maps).mean(axis=1) @ shares)
    return x / np.maximum(np.maximum(deviation, deviation.mean(axis=(2, 3), keepdims=True)), eps)


@composite(
    signature=f"{X}, kh kw -> {X}",
    sample=_sample,
    oracle=_subtractive_oracle,
    bad=(
        Bad(lambda t: subtractive_norm(t(3, 8, 8), 3), ShapeError, "subtractive_norm: x has 3 axes, not the 4"),
        Bad(lambda t: subtractive_norm(t(1, 1, 8, 8), (3, 4)), ShapeError, "a window of (3, 4) has no middle"),
        Bad(lambda t: subtractive_norm(t(1, 1, 8, 8), t(3)), ShapeError, "window has 1 axes, not the 2 of (kh kw)"),
    ),
)
def subtractive_norm(x: Any, window: Any, /, *, across_features: bool = False) -> Any:
    """Each pixel less the weighted mean of its neighbourhood.

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    window
        The neighbourhood: positive weights (kh kw) of odd sides, of any sum, or an integer or a pair for equal weights.
    across_features
        Whether the neighbourhood of a pixel is in all features; by default it is in the pixel's own.

    Returns
    -------
    Tensor
        (n c h w). At a border, the mean is that of the pixels in the image.

    Raises
    ------
    ShapeError
        If the window has no middle.

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato and LeCun, "What is the best multi-stage architecture for object recognition?", 2009.

    >>> mg.subtractive_norm(mg.tensor([[[[1.0, 3.0, 8.0]]]]), (1, 3))
    tensor([[[[-1. , -1. ,  2.5]]]])
    """
    x, window = _checked("subtractive_norm", x, window)
    return _subtractive(x, window, across_features)


@composite(signature=f"{X}, kh kw -> {X}", sample=_sample, oracle=_divisive_oracle)
def divisive_norm(x: Any, window: Any, /, *, across_features: bool = False, eps: float = 1e-4) -> Any:
    """Each pixel divided by the root of the weighted mean square of its neighbourhood.

    The divisor is at least its own mean over the image, so that noise in even parts does not grow, and at least `eps`.
    Parameters and source are those of `subtractive_norm`.

    >>> mg.divisive_norm(mg.tensor([[[[0.0, 0.0, 2.0]]]]), 1, eps=1.0)
    tensor([[[[0., 0., 1.]]]])
    """
    x, window = _checked("divisive_norm", x, window)
    return _divisive(x, window, across_features, eps)


@composite(
    signature=f"{X}, kh kw -> {X}",
    sample=_sample,
    oracle=lambda x, window, across_features: _divisive_oracle(
        _subtractive_oracle(x, window, across_features), window, across_features
    ),
)
def local_contrast_norm(x: Any, window: Any, /, *, across_features: bool = False, eps: float = 1e-4) -> Any:
    """(x - m) / s with the mean m and the deviation s of each pixel's neighbourhood.

    It is `subtractive_norm` followed by `divisive_norm`, with their parameters.

    >>> mg.local_contrast_norm(mg.tensor([[[[5.0, 5.0], [5.0, 5.0]]]]), 3)
    tensor([[[[0., 0.],
              [0., 0.]]]])
    """
    x, window = _checked("local_contrast_norm", x, window)
    return _divisive(_subtractive(x, window, across_features), window, across_features, eps)
