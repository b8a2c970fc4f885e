"""Pools made of other ops: norms of windows, windows over features, and results of a given size."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, ShapeError
from minigrad.kernels import reference
from minigrad.kernels.geometry import averaged
from minigrad.ops.checks import integer, pair, require, variable
from minigrad.ops.kinds import Bad, composite
from minigrad.ops.pool import OUT, X, avg_pool2d, images, max_pool2d, pool_sample
from minigrad.ops.powers import power, root
from minigrad.ops.reduce import max, mean
from minigrad.ops.samples import Call, Draw
from minigrad.ops.shape import concat, part_of

# ---- norms of windows ------------------------------------------------------------------------------------------------


def _lp_sample(draw: Draw) -> Call:
    shape, options = pool_sample(draw, dilated=False)
    return (draw.array(shape, away_from=0.0), draw.choice([2, 2, 1, 3, 2.5])), options


def _lp_oracle(x: Any, norm_type: float, **options: Any) -> Any:
    (kh, kw), (sh, sw), (ph, pw) = (options[name] for name in ("kernel_size", "stride", "padding"))
    size = reference.avg_pool2d(x, **options, count_include_pad=True).shape
    powers = np.pad(np.abs(x) ** norm_type, ((0, 0), (0, 0), (ph, ph + kh + sh), (pw, pw + kw + sw)))
    out = np.empty(size)
    for i, j in np.ndindex(size[2:]):
        out[:, :, i, j] = powers[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw].sum(axis=(2, 3))
    return out ** (1 / norm_type)


@composite(
    signature=f"{X} -> {OUT}",
    sample=_lp_sample,
    oracle=_lp_oracle,
    bad=(
        Bad(lambda t: lp_pool2d(t(3, 8, 8), 2, 2), ShapeError, "lp_pool2d: x has 3 axes, not the 4 of (n c h w)"),
        Bad(lambda t: lp_pool2d(t(1, 1, 8, 8), 0, 2), ArgumentError, "lp_pool2d: norm_type = 0 is not a positive"),
    ),
)
def lp_pool2d(
    x: Any,
    /,
    norm_type: float,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
) -> Any:
    """The norm of each window, sum(abs(x) ** p) ** (1 / p): with p = 2, L2 pooling (n c h w -> n c oh ow).

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    norm_type
        p, a positive number. A window of zeros has derivative 0.
    kernel_size, stride, padding, ceil_mode
        As for `max_pool2d`. A window that sticks out of the image has fewer terms.

    Returns
    -------
    Tensor
        (n c oh ow). As PyTorch's for even p or positive x, and without `ceil_mode`, where PyTorch scales windows up.

    Raises
    ------
    ArgumentError, ShapeError
        If p is no positive number, or the window does not fit.

    >>> mg.lp_pool2d(mg.tensor([[[[3.0, 0.0], [4.0, 0.0]]]]), 2, 2)
    tensor([[[[5.]]]])
    """
    images("lp_pool2d", "x", X, x)
    _require_order("lp_pool2d", norm_type)
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    powers = power(x, norm_type)
    means = avg_pool2d(powers, kernel_size, **options)
    return root(means * _areas(x, means, pair("lp_pool2d", "kernel_size", kernel_size, 1), **options), norm_type)


def _require_order(op: str, p: Any) -> None:
    good = isinstance(p, (int, float)) and 0 < p < math.inf
    require(good, ArgumentError, f"{op}: norm_type = {p} is not a positive number")


def _areas(x: Any, y: Any, window: tuple[int, int], stride: Any, padding: Any, ceil_mode: bool) -> Any:
    """How many elements an average pool has divided by, for each window."""
    if not ceil_mode:
        return window[0] * window[1]
    step, margin = window if stride is None else pair("", "stride", stride, 1), pair("", "padding", padding, 0)
    given, found = x.shape[2:], y.shape[2:]
    heights, widths = (
        [averaged(i, given[a], window[a], step[a], margin[a], True) for i in range(found[a])] for a in (0, 1)
    )
    return np.outer(heights, widths).astype(x.dtype)


# ---- over features ---------------------------------------------------------------------------------------------------


def _over_features(op: str, pool: Callable[..., Any], x: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    """A pool of images, over the second axis of (n c ...): seen as the height of images that have all else as width."""
    ndim, rows = len(variable(op, "x", x).shape), [("x", "n c ...", x)]
    require(ndim >= 2, ShapeError, f"{op}: x has no features, the second axis", [("x", "", x)])
    size, margin = integer(op, "kernel_size", kernel_size), integer(op, "padding", padding)
    step = size if stride is None else integer(op, "stride", stride)
    require(min(size, step) >= 1, ArgumentError, f"{op}: kernel_size = {size} and stride = {step} are not positive")
    headline = f"{op}: padding = {margin} is negative or more than half of kernel_size = {size}"
    require(0 <= 2 * margin <= size, ArgumentError, headline)
    n, c, *rest = x.shape
    headline = f"{op}: the window does not fit, it covers {size} of c={c + 2 * margin}, padding included"
    require(size <= c + 2 * margin, ShapeError, headline, rows)
    y = pool(x.reshape(n, 1, c, math.prod(rest)), (size, 1), stride=(step, 1), padding=(margin, 0))
    return y.reshape(n, y.shape[2], *rest)


def _features_sample(draw: Draw, **values: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    size = draw.integer(1, 3)
    shape = (draw.integer(0, 2), size + draw.integer(0, 3), *draw.shape(max_dims=2, min_side=1, max_side=3))
    return shape, (size,), {"stride": draw.choice([None, 1, 2]), "padding": draw.integer(0, size // 2)}


def _features_oracle(function: Callable[..., Any], filler: float) -> Callable[..., Any]:
    """An oracle from a function of the features under a window (features first)."""

    def oracle(x: Any, *args: Any, stride: int | None, padding: int) -> Any:
        *more, size = args
        features = np.pad(np.moveaxis(x, 1, 0), ((padding, padding), *((0, 0),) * (x.ndim - 1)), constant_values=filler)
        starts = range(0, len(features) - size + 1, stride or size)
        return np.moveaxis(np.array([function(features[k : k + size], *more) for k in starts]), 0, 1)

    return oracle


def _max_features_sample(draw: Draw) -> Call:
    shape, args, options = _features_sample(draw)
    return (draw.distinct(shape), *args), options


@composite(
    signature="n c ... -> n oc ...",
    sample=_max_features_sample,
    oracle=_features_oracle(lambda part: part.max(axis=0), -np.inf),
    bad=(
        Bad(lambda t: max_pool_features(t(3), 2), ShapeError, "max_pool_features: x has no features, the second axis"),
        Bad(lambda t: max_pool_features(t(2, 3, 4), 5), ShapeError, "the window does not fit, it covers 5 of c=3"),
        Bad(lambda t: max_pool_features(t(2, 3), 2, padding=2), ArgumentError, "padding = 2 is negative or more than"),
        Bad(lambda t: max_pool_features(t(2, 3), 0), ArgumentError, "kernel_size = 0 and stride = 0 are not positive"),
    ),
)
def max_pool_features(x: Any, /, kernel_size: int, *, stride: int | None = None, padding: int = 0) -> Any:
    """The maximum over each window of neighbouring features (n c ... -> n oc ...), also known as maxout.

    Parameters
    ----------
    x
        (n c ...), float32 or float64.
    kernel_size, stride, padding
        Integers, in features. The stride defaults to the window; the padding never wins.

    Returns
    -------
    Tensor
        (n oc ...) with oc = floor((c + 2 padding - kernel_size) / stride) + 1.

    Raises
    ------
    ArgumentError, ShapeError
        If the window does not fit.

    References
    ----------
    Goodfellow et al., "Maxout networks", 2013.

    >>> mg.max_pool_features(mg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _over_features("max_pool_features", max_pool2d, x, kernel_size, stride, padding)


def _avg_features_sample(draw: Draw) -> Call:
    shape, args, options = _features_sample(draw)
    return (draw.array(shape), *args), options


@composite(
    signature="n c ... -> n oc ...",
    sample=_avg_features_sample,
    oracle=_features_oracle(lambda part: part.mean(axis=0), 0.0),
)
def avg_pool_features(x: Any, /, kernel_size: int, *, stride: int | None = None, padding: int = 0) -> Any:
    """The mean over each window of neighbouring features; parameters as for `max_pool_features`, the padding counts.

    >>> mg.avg_pool_features(mg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    return _over_features("avg_pool_features", avg_pool2d, x, kernel_size, stride, padding)


def _lp_features_sample(draw: Draw) -> Call:
    shape, args, options = _features_sample(draw)
    return (draw.array(shape, away_from=0.0), draw.choice([2, 2, 1, 3]), *args), options


@composite(
    signature="n c ... -> n oc ...",
    sample=_lp_features_sample,
    oracle=_features_oracle(lambda part, p: (np.abs(part) ** p).sum(axis=0) ** (1 / p), 0.0),
    bad=(Bad(lambda t: lp_pool_features(t(2, 3), -1, 2), ArgumentError, "norm_type = -1 is not a positive number"),),
)
def lp_pool_features(
    x: Any, /, norm_type: float, kernel_size: int, *, stride: int | None = None, padding: int = 0
) -> Any:
    """The norm of each window of neighbouring features; parameters as for `lp_pool2d` and `max_pool_features`.

    >>> mg.lp_pool_features(mg.tensor([[3.0, 4.0, 0.0, 0.0]]), 2, 2)
    tensor([[5., 0.]])
    """
    _require_order("lp_pool_features", norm_type)
    pool = lambda x, window, **options: lp_pool2d(x, norm_type, window, **options)
    return _over_features("lp_pool_features", pool, x, kernel_size, stride, padding)


# ---- to a given size -------------------------------------------------------------------------------------------------


def _span(i: int, given: int, wanted: int) -> slice:
    """The window of element i of `wanted`."""
    return slice(i * given // wanted, -(-(i + 1) * given // wanted))


def _adaptive(
    op: str, x: Any, output_size: Any, pool: Callable[..., Any], reduce: Callable[..., Any], order: tuple[int, int]
) -> Any:
    """The reduction of each window, along one axis after the other."""
    images(op, "x", X, x)
    given = x.shape[2:]
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    require(len(sizes) == 2, ArgumentError, f"{op}: output_size = {output_size} is neither an integer nor a pair")
    wanted = [given[a] if sizes[a] is None else integer(op, "output_size", sizes[a]) for a in (0, 1)]
    require(min(wanted) >= 1, ArgumentError, f"{op}: output_size = {output_size} is less than 1")
    if given[0] % wanted[0] == 0 and given[1] % wanted[1] == 0:
        return pool(x, (given[0] // wanted[0], given[1] // wanted[1]))
    for axis in order:
        size = wanted[axis - 2]
        spans = [part_of(x, axis, _span(i, x.shape[axis], size)) for i in range(size)]
        x = concat([reduce(part, axis=axis, keepdims=True) for part in spans], axis=axis)
    return x


def _adaptive_shape(draw: Draw) -> tuple[tuple[int, ...], tuple[Any, Any]]:
    shape = (draw.integer(0, 2), draw.integer(1, 2), draw.integer(1, 6), draw.integer(1, 6))
    return shape, (draw.choice([1, 2, 3, 4, None]), draw.integer(1, 4))


def _adaptive_oracle(function: Callable[..., Any]) -> Callable[..., Any]:
    def oracle(x: Any, output_size: tuple[Any, Any]) -> Any:
        oh, ow = output_size[0] or x.shape[2], output_size[1]
        out = np.empty((*x.shape[:2], oh, ow))
        for i, j in np.ndindex(oh, ow):
            rows, columns = _span(i, x.shape[2], oh), _span(j, x.shape[3], ow)
            out[:, :, i, j] = function(x[:, :, rows, columns], axis=(2, 3))
        return out

    return oracle


def _adaptive_avg_sample(draw: Draw) -> Call:
    shape, size = _adaptive_shape(draw)
    return (draw.array(shape), size), {}


@composite(
    signature=f"{X} -> {OUT}",
    sample=_adaptive_avg_sample,
    oracle=_adaptive_oracle(np.mean),
    bad=(
        Bad(lambda t: adaptive_avg_pool2d(t(1, 1, 4, 4), 0), ArgumentError, "output_size = 0 is less than 1"),
        Bad(lambda t: adaptive_avg_pool2d(t(1, 1, 4, 4), (1, 2, 3)), ArgumentError, "neither an integer nor a pair"),
        Bad(lambda t: adaptive_avg_pool2d(t(4, 4), 1), ShapeError, "x has 2 axes, not the 4 of (n c h w)"),
    ),
)
def adaptive_avg_pool2d(x: Any, /, output_size: Any) -> Any:
    """The mean of each of oh x ow windows that cover the image evenly (n c h w -> n c oh ow).

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    output_size
        An integer, or a pair for height and width; None keeps a size. 1 is global pooling.

    Returns
    -------
    Tensor
        (n c oh ow). Window i of an axis is from floor(i h / oh) to ceil((i + 1) h / oh), as in PyTorch.

    Raises
    ------
    ArgumentError, ShapeError
        If a size is less than 1, or x is not four-dimensional.

    >>> mg.adaptive_avg_pool2d(mg.tensor([[[[1.0, 3.0, 5.0]]]]), (1, 2))
    tensor([[[[2., 4.]]]])
    """
    return _adaptive("adaptive_avg_pool2d", x, output_size, avg_pool2d, mean, order=(2, 3))  # long rows first


def _adaptive_max_sample(draw: Draw) -> Call:
    shape, size = _adaptive_shape(draw)
    return (draw.distinct(shape), size), {}


@composite(signature=f"{X} -> {OUT}", sample=_adaptive_max_sample, oracle=_adaptive_oracle(np.max))
def adaptive_max_pool2d(x: Any, /, output_size: Any) -> Any:
    """The maximum of each of oh x ow windows that cover the image evenly; parameters as for `adaptive_avg_pool2d`.

    The gradient goes to the first place, in raster order, that has it.

    >>> mg.adaptive_max_pool2d(mg.tensor([[[[1.0, 3.0, 5.0]]]]), (1, 2))
    tensor([[[[3., 5.]]]])
    """
    order = (3, 2)  # the first column of a row, and then the first row: so the first of equal pixels wins
    return _adaptive("adaptive_max_pool2d", x, output_size, max_pool2d, max, order)
