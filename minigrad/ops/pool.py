"""Pooling. Max-pooling means a discrete arg-max followed by a linear take; average-pooling is linear."""

from typing import Any

import numpy as np

from minigrad.dtypes import is_floating
from minigrad.errors import ArgumentError, DtypeError, ShapeError
from minigrad.kernels import reference
from minigrad.kernels.geometry import inside, output_size
from minigrad.ops.checks import pair, require, shape_of, variable
from minigrad.ops.index import take_along_axis
from minigrad.ops.kinds import Bad, discrete, fused, linear
from minigrad.ops.samples import Call, Draw

X, OUT = "n c h w", "n c oh ow"


def images(op: str, name: str, letters: str, x: Any) -> None:
    """Require float images."""
    variable(op, name, x)
    rows = [(name, letters, x)]
    require(len(x.shape) == 4, ShapeError, f"{op}: {name} has {len(x.shape)} axes, not the 4 of ({letters})", rows)
    require(is_floating(x.dtype), DtypeError, f"{op}: computes with floats only", rows, "convert with astype")
    require(min(x.shape[2:]) > 0, ShapeError, f"{op}: {name} has no pixels", rows)


def _window(op: str, kernel_size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    window = pair(op, "kernel_size", kernel_size, 1)
    margin = pair(op, "padding", padding, 0)
    headline = f"{op}: padding = {margin} is more than half of kernel_size = {window}"
    require(all(2 * p <= k for p, k in zip(margin, window, strict=True)), ArgumentError, headline)
    step = window if stride is None else pair(op, "stride", stride, 1)
    return {"kernel_size": window, "stride": step, "padding": margin}


def _output_shape(op: str, shape: tuple[int, ...], rows: list[Any], options: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a pool's result; a stride that leads out of the image at once becomes the shortest that does."""
    sizes, strides = [], []
    for axis, letter in enumerate("hw"):
        window, padding = options["kernel_size"][axis], options["padding"][axis]
        stride, dilation = options["stride"][axis], options.get("dilation", (1, 1))[axis]
        covered, size = dilation * (window - 1) + 1, shape[2 + axis] + 2 * padding
        headline = f"{op}: the window does not fit, it covers {covered} of {letter}={size}, padding included"
        require(covered <= size, ShapeError, headline, rows, "enlarge the image or the padding")
        sizes.append(output_size(shape[2 + axis], window, stride, padding, dilation, options["ceil_mode"]))
        strides.append(min(stride, size))
    options["stride"] = tuple(strides)
    return (*shape[:2], *sizes)


def pool_sample(draw: Draw, dilated: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw the shape of images and the options of a pool."""
    window = (draw.choice([1, 2, 3]), draw.choice([1, 2, 3]))
    options: dict[str, Any] = {
        "kernel_size": window,
        "stride": (draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 2, 3])),
        "padding": tuple(draw.integer(0, size // 2) for size in window),
        "ceil_mode": draw.boolean(),
    }
    if dilated:
        options["dilation"] = (draw.integer(1, 2), 1)
    least = [options.get("dilation", (1, 1))[i] * (window[i] - 1) + 1 for i in range(2)]
    return (draw.integer(0, 2), draw.integer(1, 2), *(side + draw.integer(0, 3) for side in least)), options


def _max_sample(draw: Draw) -> Call:
    shape, options = pool_sample(draw, dilated=True)
    return (draw.distinct(shape),), options


_BAD = (
    Bad(lambda t: max_pool2d(t(3, 8, 8), 2), ShapeError, "max_pool2d: x has 3 axes, not the 4 of (n c h w)"),
    Bad(lambda t: max_pool2d(t(1, 1, 2, 8), 3), ShapeError, "the window does not fit, it covers 3 of h=2"),
    Bad(
        lambda t: max_pool2d(t(1, 1, 8, 8), 2, padding=2),
        ArgumentError,
        "is more than half of kernel_size = (2, 2)",
    ),
    Bad(
        lambda t: max_pool2d(t(1, 1, 1, 1), 2, padding=1, dilation=2), ShapeError, "a window lies wholly in the padding"
    ),
    Bad(lambda t: max_pool2d(t(1, 1, 8, 8), (2, 2, 2)), ArgumentError, "is neither an integer nor a pair"),
)


def _checked_max(op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    images(op, "x", X, x)
    options = _window(op, kernel_size, stride, padding)
    options |= {"dilation": pair(op, "dilation", dilation, 1), "ceil_mode": bool(ceil_mode)}
    sizes = _output_shape(op, x.shape, [("x", X, x)], options)
    if max(options["dilation"]) > 1:
        _require_pixels(op, x, sizes, options)
    return options


def _require_pixels(op: str, x: Any, sizes: tuple[int, ...], options: dict[str, Any]) -> None:
    """A dilated window can step over the image with all its taps in the padding: it has no maximum."""
    for axis in range(2):
        window, stride, padding, dilation = (
            options[name][axis] for name in ("kernel_size", "stride", "padding", "dilation")
        )
        for position in range(sizes[2 + axis]):
            first, stop = inside(window, position * stride - padding, dilation, x.shape[2 + axis])
            headline = f"{op}: a window lies wholly in the padding"
            require(first < stop, ShapeError, headline, [("x", X, x)], "reduce the padding or the dilation")


@discrete(signature=f"{X} -> {OUT}", sample=_max_sample, oracle=reference.max_pool2d_argmax)
def max_pool2d_argmax(
    x: Any,
    /,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """Where each window has its maximum, as an index into the h * w pixels; the first of equals in raster order.

    >>> mg.max_pool2d_argmax(mg.tensor([[[[1.0, 3.0], [2.0, 3.0]]]]), 2)
    tensor([[[[1]]]])
    """
    return (x,), _checked_max("max_pool2d_argmax", x, kernel_size, stride, padding, dilation, ceil_mode)


def _max_oracle(x: Any, **options: Any) -> Any:
    places = reference.max_pool2d_argmax(x, **options)
    n, c, h, w = x.shape
    rows = places.reshape(n, c, places.shape[2] * places.shape[3])
    return np.take_along_axis(x.reshape(n, c, h * w), rows, axis=2).reshape(places.shape)


def _taken(x: Any, **options: Any) -> Any:
    places = max_pool2d_argmax.run(x, **options)
    n, c, h, w = x.shape
    indices = places.reshape((n, c, places.shape[2] * places.shape[3]))._array
    return take_along_axis.run(x.reshape((n, c, h * w)), indices=indices, axis=2).reshape(places.shape)


@fused(plain=_taken, signature=f"{X} -> {OUT}", sample=_max_sample, oracle=_max_oracle, bad=_BAD)
def max_pool2d(
    x: Any,
    /,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """The maximum of each window; the gradient goes to the first place (in raster order) that has it.

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64. NaN wins in every window that contains one.
    kernel_size, stride, padding, dilation
        An integer, or a pair for height and width. Pixels. The stride defaults to the window; the padding never wins.
    ceil_mode
        Let the last window stick out of the image.

    Returns
    -------
    Tensor
        (n c oh ow), with PyTorch's sizes.

    >>> mg.max_pool2d(mg.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), 2)
    tensor([[[[3.]]]])
    """
    return (x,), _checked_max("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)


def _averaging(
    op: str, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
) -> dict[str, Any]:
    window = _window(op, kernel_size, stride, padding)
    return window | {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)}


def _avg_sample(draw: Draw) -> Call:
    shape, options = pool_sample(draw, dilated=False)
    return (draw.array(shape),), options | {"count_include_pad": draw.boolean()}


@linear(
    lambda g, x, **options: avg_pool2d_input.run(g, shape=x.shape, **options),
    signature=f"{X} -> {OUT}",
    sample=_avg_sample,
    oracle=reference.avg_pool2d,
    bad=(Bad(lambda t: avg_pool2d(t(1, 1, 2, 8), 3), ShapeError, "the window does not fit, it covers 3 of h=2"),),
)
def avg_pool2d(
    x: Any,
    /,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window (n c h w -> n c oh ow).

    `count_include_pad` says whether the zeros of the padding count in the mean; the other options are those of
    `max_pool2d`.

    >>> mg.avg_pool2d(mg.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), 2)
    tensor([[[[1.5]]]])
    """
    images("avg_pool2d", "x", X, x)
    options = _averaging("avg_pool2d", kernel_size, stride, padding, ceil_mode, count_include_pad)
    _output_shape("avg_pool2d", x.shape, [("x", X, x)], options)
    return (x,), options


def _avg_input_sample(draw: Draw) -> Call:
    shape, options = pool_sample(draw, dilated=False)
    return (draw.array(_output_shape("", shape, [], options)),), options | {
        "shape": shape,
        "count_include_pad": draw.boolean(),
    }


@linear(
    lambda g, x, shape, **options: avg_pool2d.run(g, **options),
    signature=f"{OUT} -> {X}",
    sample=_avg_input_sample,
    oracle=reference.avg_pool2d_input,
    bad=(
        Bad(
            lambda t: avg_pool2d_input(t(1, 1, 3, 3), 2, shape=(1, 1, 4, 4)),
            ShapeError,
            "avg_pool2d_input: g does not have the shape of avg_pool2d's output, (1, 1, 2, 2)",
        ),
    ),
)
def avg_pool2d_input(
    g: Any,
    /,
    kernel_size: Any,
    *,
    shape: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The adjoint of avg_pool2d: every element of g spread over its window. `shape` is that of x (n c h w).

    >>> mg.avg_pool2d_input(mg.ones((1, 1, 1, 1)), 2, shape=(1, 1, 2, 2))
    tensor([[[[0.25, 0.25],
              [0.25, 0.25]]]])
    """
    images("avg_pool2d_input", "g", OUT, g)
    options = _averaging("avg_pool2d_input", kernel_size, stride, padding, ceil_mode, count_include_pad)
    sizes = shape_of("avg_pool2d_input", shape)
    expected = _output_shape("avg_pool2d_input", sizes, [("g", OUT, g)], options)
    headline = f"avg_pool2d_input: g does not have the shape of avg_pool2d's output, {expected}"
    require(g.shape == expected, ShapeError, headline, [("g", OUT, g)])
    return (g,), {"shape": sizes} | options
