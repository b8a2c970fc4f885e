"""Convolution: one trilinear form <conv2d(x, w), g>, whose three ops are each other's adjoints."""

import functools
from collections.abc import Callable
from typing import Any

from minigrad.errors import ArgumentError, DtypeError, MinigradError, ShapeError, message
from minigrad.kernels import reference
from minigrad.kernels.geometry import output_size
from minigrad.ops.checks import integer, operands, pair, require, shape_of
from minigrad.ops.kinds import Bad, bilinear
from minigrad.ops.samples import Call, Draw

X, WEIGHT, OUT = "n c h w", "o c kh kw", "n o oh ow"


def settings(op: str, stride: Any, padding: Any, dilation: Any, groups: Any) -> dict[str, Any]:
    """Check the options that all convolutions have."""
    count = integer(op, "groups", groups)
    if count < 1:
        raise ArgumentError(f"{op}: groups = {count} is less than 1")
    return {
        "stride": pair(op, "stride", stride, 1),
        "padding": pair(op, "padding", padding, 0),
        "dilation": pair(op, "dilation", dilation, 1),
        "groups": count,
    }


def arrays(op: str, names: tuple[str, str], values: tuple[Any, Any], letters: tuple[str, str]) -> list[Any]:
    """Two float tensors with as many axes as letters, of which both have the same number."""
    inputs, count = operands(op, names, values), letters[0].count(" ") + 1
    if len(inputs[0].shape) == len(inputs[1].shape) == count and inputs[0].dtype.kind == "f":
        return inputs
    rows = [(name, letter, value) for name, letter, value in zip(names, letters, inputs, strict=True)]
    for name, letter, value in rows:
        ndim = len(value.shape)
        hint = "one image needs a batch axis: x.expand_dims(axis=0)" if ndim == count - 1 else ""
        require(ndim == count, ShapeError, f"{op}: {name} has {ndim} axes, not the {count} of ({letter})", rows, hint)
    raise DtypeError(message(f"{op}: computes with floats only", rows, "convert with astype"))


def output_shape(
    op: str, x: Any, weight: Any, rows: list[Any], options: dict[str, Any], letters: str = "hw"
) -> tuple[int, ...]:
    """The shape of conv2d(x, weight), from shapes, after checking that they fit.

    A stride that leads out of the image at once becomes the shortest that does: kernels may take memory for each step.
    """
    (n, c, *image), (o, depth, *window), groups = x, weight, options["groups"]
    if c != depth * groups:
        hint = f"with groups={groups} the weight needs shape {(o, c // groups, *window)}"
        raise ShapeError(message(f"{op}: channels differ, c={c} in x but c={depth * groups} in weight", rows, hint))
    if o % groups:
        headline = f"{op}: {o} output channels do not split into {groups} groups"
        raise ShapeError(message(headline, rows, "o must be a multiple of groups"))
    require(min(window) > 0, ShapeError, f"{op}: the window has no elements", rows)
    sizes, strides = [], []
    axes = zip(letters, image, window, options["stride"], options["padding"], options["dilation"], strict=True)
    for letter, side, taps, stride, padding, dilation in axes:
        covered, size = dilation * (taps - 1) + 1, side + 2 * padding
        if covered > size:
            headline = f"{op}: the window does not fit, it covers {covered} of {letter}={size}, padding included"
            raise ShapeError(message(headline, rows, "enlarge the image or the padding"))
        sizes.append(output_size(side, taps, stride, padding, dilation))
        strides.append(min(stride, size))
    options["stride"] = tuple(strides)
    return (n, o, *sizes)


def images_and_weight(
    op: str, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[list[Any], dict[str, Any], tuple[int, ...]]:
    """The inputs and options of a convolution, and the shape of its output."""
    inputs = arrays(op, ("x", "weight"), (x, weight), (X, WEIGHT))
    options = settings(op, stride, padding, dilation, groups)
    return inputs, options, fit(op, inputs[0].shape, inputs[1].shape, lambda: rows_of(*inputs), options)


def rows_of(x: Any, weight: Any) -> list[Any]:
    """The inputs, for errors."""
    return [("x", X, x), ("weight", WEIGHT, weight)]


def fit(op: str, x: Any, weight: Any, rows: Callable[[], list[Any]], options: dict[str, Any]) -> tuple[int, ...]:
    """As `output_shape`, and remembered."""
    fitted = _fitted(x, weight, *options.values())
    if fitted is None:
        return output_shape(op, x, weight, rows(), options)  # which raises
    shape, options["stride"] = fitted
    return shape


@functools.lru_cache(maxsize=1 << 10)
def _fitted(x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> tuple[Any, Any] | None:
    """The shape of an output and the stride that `output_shape` finds, remembered; None where it raises."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    try:
        return output_shape("", x, weight, [], options), options["stride"]
    except MinigradError:
        return None


def _conv_shapes(draw: Draw) -> tuple[Any, Any, dict[str, Any]]:
    groups = draw.choice([1, 1, 2])
    window = (draw.integer(1, 3), draw.integer(1, 3))
    options = {
        "stride": (draw.integer(1, 2), draw.integer(1, 3)),
        "padding": (draw.integer(0, 2), draw.integer(0, 1)),
        "dilation": (draw.integer(1, 2), 1),
        "groups": groups,
    }
    least = [options["dilation"][i] * (window[i] - 1) + 1 for i in range(2)]
    x = (draw.integer(0, 2), groups * draw.integer(1, 2), *(side + draw.integer(0, 3) for side in least))
    return x, (groups * draw.integer(1, 2), x[1] // groups, *window), options


def _conv2d_sample(draw: Draw) -> Call:
    x, weight, options = _conv_shapes(draw)
    return (draw.array(x), draw.array(weight)), options


@bilinear(
    lambda g, x, w, **options: conv2d_input.run(g, w, shape=x.shape, **options),
    lambda g, x, w, **options: conv2d_weight.run(g, x, shape=w.shape, **options),
    signature=f"{X}, {WEIGHT} -> {OUT}",
    sample=_conv2d_sample,
    oracle=reference.conv2d,
    bad=(
        Bad(
            lambda t: conv2d(t(8, 3, 32, 32), t(16, 4, 3, 3)),
            ShapeError,
            "conv2d: channels differ, c=3 in x but c=4 in weight\n"
            "  x      (n c h w)   = (8, 3, 32, 32)  float32 cpu\n"
            "  weight (o c kh kw) = (16, 4, 3, 3)   float32 cpu\n"
            "hint: with groups=1 the weight needs shape (16, 3, 3, 3)",
        ),
        Bad(
            lambda t: conv2d(t(3, 8, 8), t(4, 3, 3, 3)),
            ShapeError,
            "conv2d: x has 3 axes, not the 4 of (n c h w)",
        ),
        Bad(
            lambda t: conv2d(t(1, 1, 2, 8), t(1, 1, 3, 3)),
            ShapeError,
            "the window does not fit, it covers 3 of h=2",
        ),
        Bad(
            lambda t: conv2d(t(1, 1, 4, 4), t(1, 1, 3, 3), stride=0),
            ArgumentError,
            "stride = 0 is less than 1",
        ),
        Bad(
            lambda t: conv2d(t(1, 4, 4, 4), t(3, 2, 3, 3), groups=2),
            ShapeError,
            "3 output channels do not split",
        ),
        Bad(
            lambda t: conv2d(t(1, 1, 4, 4, dtype="int64"), t(1, 1, 3, 3, dtype="int64")),
            DtypeError,
            "conv2d: computes with floats only",
        ),
    ),
)
def conv2d(x: Any, weight: Any, /, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """Two-dimensional cross-correlation, the "convolution" of neural networks.

    `out[n, o, i, j]` is the sum over c, u, v of `weight[o, c, u, v] * x[n, c, i*stride + u*dilation - padding, ...]`,
    and likewise along the width, with zeros outside the image.

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    weight
        Kernels (o c/groups kh kw).
    stride, padding, dilation
        An integer, or a pair for height and width. Pixels.
    groups
        Into how many blocks the channels are split; each block of outputs sees its own block of inputs.

    Returns
    -------
    Tensor
        (n o oh ow) with oh = floor((h + 2 padding - dilation (kh - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If the channels differ, or the window does not fit into the padded image.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.

    >>> mg.conv2d(mg.ones((1, 1, 3, 3)), mg.ones((1, 1, 2, 2)))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    inputs, options, _ = images_and_weight("conv2d", x, weight, stride, padding, dilation, groups)
    return inputs, options


def _input_sample(draw: Draw) -> Call:
    x, weight, options = _conv_shapes(draw)
    return (draw.array(output_shape("", x, weight, [], options)), draw.array(weight)), options | {"shape": x}


@bilinear(
    lambda g, y, w, shape, **options: conv2d.run(g, w, **options),
    lambda g, y, w, shape, **options: conv2d_weight.run(y, g, shape=w.shape, **options),
    signature=f"{OUT}, {WEIGHT} -> {X}",
    sample=_input_sample,
    oracle=reference.conv2d_input,
    bad=(
        Bad(
            lambda t: conv2d_input(t(1, 2, 3, 3), t(2, 1, 3, 3), shape=(1, 1, 4, 4)),
            ShapeError,
            "conv2d_input: g does not have the shape of conv2d's output, (1, 2, 2, 2)",
        ),
    ),
)
def conv2d_input(
    g: Any,
    weight: Any,
    /,
    *,
    shape: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """The adjoint of conv2d with respect to x, also known as transposed convolution.

    `shape` is that of x (n c h w), `g` has that of the output (n o oh ow); options as for `conv2d`.

    >>> mg.conv2d_input(mg.ones((1, 1, 2, 2)), mg.ones((1, 1, 2, 2)), shape=(1, 1, 3, 3))
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    inputs = arrays("conv2d_input", ("g", "weight"), (g, weight), (OUT, WEIGHT))
    options = settings("conv2d_input", stride, padding, dilation, groups)
    sizes = _four("conv2d_input", shape)
    rows = lambda: [("g", OUT, inputs[0]), ("weight", WEIGHT, inputs[1])]
    _expect("conv2d_input", inputs[0], fit("conv2d_input", sizes, inputs[1].shape, rows, options), rows)
    return inputs, {"shape": sizes} | options


def _weight_sample(draw: Draw) -> Call:
    x, weight, options = _conv_shapes(draw)
    return (draw.array(output_shape("", x, weight, [], options)), draw.array(x)), options | {"shape": weight}


@bilinear(
    lambda g, y, x, shape, **options: conv2d.run(x, g, **options),
    lambda g, y, x, shape, **options: conv2d_input.run(y, g, shape=x.shape, **options),
    signature=f"{OUT}, {X} -> {WEIGHT}",
    sample=_weight_sample,
    oracle=reference.conv2d_weight,
    bad=(
        Bad(
            lambda t: conv2d_weight(t(1, 2, 3, 3), t(1, 1, 4, 4), shape=(2, 1, 3, 3)),
            ShapeError,
            "conv2d_weight: g does not have the shape of conv2d's output, (1, 2, 2, 2)",
        ),
    ),
)
def conv2d_weight(
    g: Any, x: Any, /, *, shape: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The adjoint of conv2d with respect to the weight.

    `shape` is that of the weight (o c kh kw), `g` has that of the output (n o oh ow); options as for `conv2d`.

    >>> mg.conv2d_weight(mg.ones((1, 1, 2, 2)), mg.ones((1, 1, 3, 3)), shape=(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    inputs = arrays("conv2d_weight", ("g", "x"), (g, x), (OUT, X))
    options = settings("conv2d_weight", stride, padding, dilation, groups)
    sizes = _four("conv2d_weight", shape)
    rows = lambda: [("g", OUT, inputs[0]), ("x", X, inputs[1])]
    _expect("conv2d_weight", inputs[0], fit("conv2d_weight", inputs[1].shape, sizes, rows, options), rows)
    return inputs, {"shape": sizes} | options


def _four(op: str, shape: Any) -> tuple[int, ...]:
    sizes = shape_of(op, shape)
    require(len(sizes) == 4, ShapeError, f"{op}: shape = {sizes} does not have 4 axes")
    return sizes


def _expect(op: str, g: Any, shape: tuple[int, ...], rows: Callable[[], list[Any]]) -> None:
    if g.shape != shape:
        raise ShapeError(message(f"{op}: g does not have the shape of conv2d's output, {shape}", rows()))
