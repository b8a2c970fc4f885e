"""Convolutions by conv2d and its adjoint: along one axis, and transposed."""

from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, ShapeError
from minigrad.kernels import reference
from minigrad.ops.checks import integer, pair, require
from minigrad.ops.conv import X, arrays, conv2d, conv2d_input, output_shape, settings
from minigrad.ops.kinds import Bad, composite
from minigrad.ops.samples import Call, Draw

LINES, TAPS = "n c l", "o c k"


def _conv1d_sample(draw: Draw) -> Call:
    groups, window, dilation = draw.choice([1, 1, 2]), draw.integer(1, 3), draw.integer(1, 2)
    options = {
        "stride": draw.integer(1, 3),
        "padding": draw.integer(0, 2),
        "dilation": dilation,
        "groups": groups,
    }
    depth, length = draw.integer(1, 2), dilation * (window - 1) + 1 + draw.integer(0, 4)
    x = draw.array((draw.integer(0, 2), groups * depth, length))
    return (x, draw.array((groups * draw.integer(1, 2), depth, window))), options


def _conv1d_oracle(x: Any, weight: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding)))
    (o, depth, taps), block = weight.shape, len(weight) // groups
    length = (padded.shape[2] - dilation * (taps - 1) - 1) // stride + 1
    out = np.zeros((len(x), o, length))
    for k in range(o):
        group = padded[:, k // block * depth : (k // block + 1) * depth]
        for i in range(length):
            seen = group[:, :, i * stride : i * stride + dilation * (taps - 1) + 1 : dilation]
            out[:, k, i] = (seen * weight[k]).sum(axis=(1, 2))
    return out


@composite(
    signature=f"{LINES}, {TAPS} -> n o ol",
    sample=_conv1d_sample,
    oracle=_conv1d_oracle,
    bad=(
        Bad(
            lambda t: conv1d(t(8, 3, 32), t(16, 4, 3)),
            ShapeError,
            "conv1d: channels differ, c=3 in x but c=4 in weight\n"
            "  x      (n c l) = (8, 3, 32)  float32 cpu\n"
            "  weight (o c k) = (16, 4, 3)  float32 cpu\n"
            "hint: with groups=1 the weight needs shape (16, 3, 3)",
        ),
        Bad(lambda t: conv1d(t(3, 8), t(4, 3, 3)), ShapeError, "conv1d: x has 2 axes, not the 3 of (n c l)"),
        Bad(lambda t: conv1d(t(1, 1, 2), t(1, 1, 3)), ShapeError, "the window does not fit, it covers 3 of l=2"),
        Bad(lambda t: conv1d(t(1, 1, 4), t(1, 1, 3), stride=0), ArgumentError, "conv1d: stride = 0 is less than 1"),
    ),
)
def conv1d(x: Any, weight: Any, /, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> Any:
    """One-dimensional cross-correlation (n c l, o c/groups k -> n o ol); options as for `conv2d`, integers.

    >>> mg.conv1d(mg.tensor([[[1.0, 2.0, 4.0]]]), mg.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2.]]])
    """
    op = "conv1d"
    x, weight = inputs = arrays(op, ("x", "weight"), (x, weight), (LINES, TAPS))
    for name, value, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        require(integer(op, name, value) >= least, ArgumentError, f"{op}: {name} = {value} is less than {least}")
    options = settings(op, (1, stride), (0, padding), (1, dilation), groups)
    along = {name: value if name == "groups" else value[1:] for name, value in options.items()}
    output_shape(op, x.shape, weight.shape, [("x", LINES, inputs[0]), ("weight", TAPS, inputs[1])], along, "l")
    image, window = ((*value.shape[:2], 1, value.shape[2]) for value in inputs)
    y = conv2d.run(x.reshape(image), weight.reshape(window), **options)
    return y.reshape(*y.shape[:2], y.shape[3])


TRANSPOSED = "c o kh kw"


def _transpose_sample(draw: Draw) -> Call:
    groups, stride = draw.choice([1, 1, 2]), (draw.integer(1, 2), draw.integer(1, 3))
    window, dilation = (draw.integer(1, 3), draw.integer(1, 3)), (draw.integer(1, 2), 1)
    options = {
        "stride": stride,
        "padding": tuple(draw.integer(0, min(1, (side - 1) // 2)) for side in window),
        "output_padding": tuple(draw.integer(0, step - 1) for step in stride),
        "dilation": dilation,
        "groups": groups,
    }
    x = (draw.integer(0, 2), groups * draw.integer(1, 2), draw.integer(1, 3), draw.integer(1, 3))
    return (draw.array(x), draw.array((x[1], draw.integer(1, 2), *window))), options


def _transpose_oracle(
    x: Any, weight: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> Any:
    reach = [dilation[a] * (weight.shape[2 + a] - 1) + 1 + output_padding[a] for a in (0, 1)]
    sizes = [(x.shape[2 + a] - 1) * stride[a] - 2 * padding[a] + reach[a] for a in (0, 1)]
    shape = (len(x), weight.shape[1] * groups, *sizes)
    return reference.conv2d_input(
        x, weight, shape=shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@composite(
    signature=f"{X}, {TRANSPOSED} -> n o oh ow",
    sample=_transpose_sample,
    oracle=_transpose_oracle,
    bad=(
        Bad(
            lambda t: conv_transpose2d(t(1, 3, 4, 4), t(4, 2, 3, 3)),
            ShapeError,
            "conv_transpose2d: channels differ, c=3 in x but c=4 in weight",
        ),
        Bad(
            lambda t: conv_transpose2d(t(1, 3, 4, 4), t(3, 2, 3, 3), groups=2),
            ShapeError,
            "conv_transpose2d: 3 channels do not split into 2 groups",
        ),
        Bad(
            lambda t: conv_transpose2d(t(1, 3, 4, 4), t(3, 2, 3, 3), output_padding=1),
            ArgumentError,
            "conv_transpose2d: output_padding = (1, 1) is not less than stride = (1, 1)",
        ),
        Bad(
            lambda t: conv_transpose2d(t(1, 1, 1, 1), t(1, 1, 1, 1), padding=1),
            ShapeError,
            "conv_transpose2d: nothing is left, the result would have h=-1",
        ),
    ),
)
def conv_transpose2d(
    x: Any,
    weight: Any,
    /,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution: each pixel adds a kernel, times itself, to the result (n c h w -> n o oh ow).

    As a function of x it is the adjoint of `conv2d` with the same weight and options: what that makes smaller by
    striding this makes larger.

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    weight
        Kernels (c o/groups kh kw).
    stride, padding, dilation
        Those of the convolution: an integer, or a pair for height and width. The padding is cut from the result.
    output_padding
        Added to the size at the bottom and the right, less than the stride: conv2d makes one size of several.
    groups
        Into how many blocks the channels are split.

    Returns
    -------
    Tensor
        (n o oh ow) with oh = (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.

    Raises
    ------
    ShapeError, ArgumentError
        If the channels differ, nothing is left, or the output padding is too large.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.

    >>> mg.conv_transpose2d(mg.tensor([[[[1.0, 2.0]]]]), mg.ones((1, 1, 1, 2)), stride=2)
    tensor([[[[1., 1., 2., 2.]]]])
    """
    op = "conv_transpose2d"
    x, weight = arrays(op, ("x", "weight"), (x, weight), (X, TRANSPOSED))
    options = settings(op, stride, padding, dilation, groups)
    extra, step = pair(op, "output_padding", output_padding, 0), options["stride"]
    headline = f"{op}: output_padding = {extra} is not less than stride = {step}"
    require(extra[0] < step[0] and extra[1] < step[1], ArgumentError, headline)
    rows = [("x", X, x), ("weight", TRANSPOSED, weight)]
    (n, c, *image), (depth, o, *window) = x.shape, weight.shape
    require(c == depth, ShapeError, f"{op}: channels differ, c={c} in x but c={depth} in weight", rows)
    require(c % groups == 0, ShapeError, f"{op}: {c} channels do not split into {groups} groups", rows)
    require(min(*image, *window) > 0, ShapeError, f"{op}: no pixels, or a window without elements", rows)
    sizes = []
    for a, letter in enumerate("hw"):
        covered = options["dilation"][a] * (window[a] - 1) + 1
        size = (image[a] - 1) * step[a] - 2 * options["padding"][a] + covered + extra[a]
        headline = f"{op}: nothing is left, the result would have {letter}={size}"
        require(size > 0, ShapeError, headline, rows, "reduce the padding")
        sizes.append(size)
    return conv2d_input.run(x, weight, shape=(n, o * groups, *sizes), **options)
