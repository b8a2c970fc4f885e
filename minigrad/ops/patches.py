"""Patches of images as columns, their adjoint, and layers whose every place has weights of its own."""

import math
from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels.geometry import output_size
from minigrad.ops.checks import operands, pair, require, shape_of, variable
from minigrad.ops.conv import output_shape, settings
from minigrad.ops.kinds import Bad, composite, linear
from minigrad.ops.linalg import matmul
from minigrad.ops.pool import X, images
from minigrad.ops.samples import Call, Draw

COLUMNS = "n ckk l"


def _options(op: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> dict[str, Any]:
    return {
        "kernel_size": pair(op, "kernel_size", kernel_size, 1),
        "stride": pair(op, "stride", stride, 1),
        "padding": pair(op, "padding", padding, 0),
        "dilation": pair(op, "dilation", dilation, 1),
    }


def _positions(op: str, image: tuple[int, ...], rows: list[Any], options: dict[str, Any]) -> tuple[int, int]:
    """How many places the window has along each axis, after checking that it fits."""
    sizes = []
    for axis, letter in enumerate("hw"):
        window, stride, padding, dilation = (options[name][axis] for name in options)
        covered, size = dilation * (window - 1) + 1, image[axis] + 2 * padding
        headline = f"{op}: the window does not fit, it covers {covered} of {letter}={size}, padding included"
        require(covered <= size, ShapeError, headline, rows, "enlarge the image or the padding")
        sizes.append(output_size(image[axis], window, stride, padding, dilation))
    return sizes[0], sizes[1]


def _window_sample(draw: Draw) -> tuple[tuple[int, ...], dict[str, Any]]:
    window, dilation = (draw.integer(1, 3), draw.integer(1, 3)), (draw.integer(1, 2), 1)
    options = {
        "kernel_size": window,
        "stride": (draw.integer(1, 3), draw.integer(1, 2)),
        "padding": (draw.integer(0, 2), draw.integer(0, 1)),
        "dilation": dilation,
    }
    least = [dilation[a] * (window[a] - 1) + 1 for a in (0, 1)]
    return (draw.integer(0, 2), draw.integer(1, 2), *(side + draw.integer(0, 3) for side in least)), options


def _unfold_sample(draw: Draw) -> Call:
    shape, options = _window_sample(draw)
    return (draw.array(shape),), options


def _places(shape: tuple[int, ...], options: dict[str, Any]) -> Any:
    """Which pixel each element of the columns is, as an index (n c h w) or -1 in the padding."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (options[n] for n in ("kernel_size", "stride", "padding", "dilation"))
    numbered = np.pad(
        np.arange(math.prod(shape)).reshape(shape), ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=-1
    )
    h, w = numbered.shape[2] - (kh - 1) * dh, numbered.shape[3] - (kw - 1) * dw
    columns = [numbered[:, :, u * dh : u * dh + h : sh, v * dw : v * dw + w : sw] for u in range(kh) for v in range(kw)]
    n, c = shape[:2]
    return np.stack(columns, axis=2).reshape(n, c * kh * kw, math.prod(columns[0].shape[2:]))


def _unfold_oracle(x: Any, **options: Any) -> Any:
    places = _places(x.shape, options)
    return np.where(places < 0, 0.0, np.append(x.reshape(-1), 0.0)[places])


@linear(
    lambda g, x, **options: fold.run(g, shape=x.shape[2:], **options),
    signature=f"{X} -> {COLUMNS}",
    sample=_unfold_sample,
    oracle=_unfold_oracle,
    bad=(
        Bad(lambda t: unfold(t(1, 4, 4), 2), ShapeError, "unfold: x has 3 axes, not the 4 of (n c h w)"),
        Bad(lambda t: unfold(t(1, 1, 2, 4), 3), ShapeError, "the window does not fit, it covers 3 of h=2"),
    ),
)
def unfold(x: Any, /, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """The patch of the image under each place of a window, as columns (n c h w -> n, c kh kw, oh ow).

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    kernel_size, stride, padding, dilation
        An integer, or a pair for height and width. Pixels; the padding is zeros.

    Returns
    -------
    Tensor
        (n, c kh kw, oh ow): a convolution is the product of its weight as a matrix (o, c kh kw) with it.

    Raises
    ------
    ShapeError
        If the window does not fit.

    >>> mg.unfold(mg.tensor([[[[1.0, 2.0, 3.0]]]]), (1, 2))
    tensor([[[1., 2.],
             [2., 3.]]])
    """
    images("unfold", "x", X, x)
    options = _options("unfold", kernel_size, stride, padding, dilation)
    _positions("unfold", x.shape[2:], [("x", X, x)], options)
    return (x,), options


def _fold_sample(draw: Draw) -> Call:
    (n, c, *image), options = _window_sample(draw)
    places = math.prod(_positions("", tuple(image), [], options))
    return (draw.array((n, c * math.prod(options["kernel_size"]), places)),), options | {"shape": tuple(image)}


def _fold_oracle(g: Any, shape: Any, **options: Any) -> Any:
    size = (len(g), g.shape[1] // math.prod(options["kernel_size"]), *shape)
    places = _places(size, options)
    return np.bincount(places.reshape(-1) + 1, g.reshape(-1), math.prod(size) + 1)[1:].reshape(size) * 1.0


@linear(
    lambda g, y, shape, **options: unfold.run(g, **options),
    signature=f"{COLUMNS} -> {X}",
    sample=_fold_sample,
    oracle=_fold_oracle,
    bad=(
        Bad(lambda t: fold(t(1, 4, 3), 2, shape=(3, 3)), ShapeError, "a window has 4 places in (3, 3), g has l=3"),
        Bad(lambda t: fold(t(1, 3, 4), 2, shape=(3, 3)), ShapeError, "3 rows are no multiple of the 4 of a window"),
        Bad(lambda t: fold(t(3, 4), 2, shape=(3, 3)), ShapeError, "fold: g has 2 axes, not the 3 of (n ckk l)"),
    ),
)
def fold(g: Any, /, kernel_size: Any, *, shape: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """The adjoint of unfold: patches added up where they overlap (n, c kh kw, oh ow -> n c h w).

    `shape` is (h w) of the images; the other options are those of `unfold`.

    >>> mg.fold(mg.tensor([[[1.0, 2.0], [2.0, 3.0]]]), (1, 2), shape=(1, 3))
    tensor([[[[1., 4., 3.]]]])
    """
    rows = [("g", COLUMNS if len(variable("fold", "g", g).shape) == 3 else "", g)]
    require(len(g.shape) == 3, ShapeError, f"fold: g has {len(g.shape)} axes, not the 3 of ({COLUMNS})", rows)
    options = _options("fold", kernel_size, stride, padding, dilation)
    image = pair("fold", "shape", shape_of("fold", shape), 1)
    places, taps = math.prod(_positions("fold", image, rows, options)), math.prod(options["kernel_size"])
    headline = f"fold: a window has {places} places in {image}, g has l={g.shape[2]}"
    require(g.shape[2] == places, ShapeError, headline, rows)
    headline = f"fold: {g.shape[1]} rows are no multiple of the {taps} of a window"
    require(g.shape[1] % taps == 0, ShapeError, headline, rows)
    return (g,), {"shape": image} | options


WEIGHTS = "oh ow o c kh kw"


def _local_sample(draw: Draw) -> Call:
    shape, options = _window_sample(draw)
    del options["dilation"]
    window = options.pop("kernel_size")
    image = tuple(side + 2 for side in shape[2:])
    places = _positions("", image, [], {"kernel_size": window, **options, "dilation": (1, 1)})
    return (draw.array((*shape[:2], *image)), draw.array((*places, draw.integer(1, 2), shape[1], *window))), options


def _local_oracle(x: Any, weight: Any, stride: Any, padding: Any) -> Any:
    (ph, pw), (kh, kw) = padding, weight.shape[4:]
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    out = np.zeros((len(x), weight.shape[2], *weight.shape[:2]))
    for i, j in np.ndindex(weight.shape[:2]):
        patch = padded[:, :, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw]
        out[:, :, i, j] = np.tensordot(patch, weight[i, j], axes=((1, 2, 3), (1, 2, 3)))
    return out


@composite(
    signature=f"{X}, {WEIGHTS} -> n o oh ow",
    sample=_local_sample,
    oracle=_local_oracle,
    bad=(
        Bad(
            lambda t: locally_connected2d(t(1, 3, 4, 4), t(3, 3, 2, 4, 2, 2)),
            ShapeError,
            "locally_connected2d: channels differ, c=3 in x but c=4 in weight",
        ),
        Bad(
            lambda t: locally_connected2d(t(1, 3, 4, 4), t(2, 2, 2, 3, 2, 2)),
            ShapeError,
            "locally_connected2d: the window has (3, 3) places, the weight is for (2, 2)",
        ),
        Bad(
            lambda t: locally_connected2d(t(1, 3, 4, 4), t(2, 3, 2, 2)),
            ShapeError,
            "locally_connected2d: weight has 4 axes, not the 6 of (oh ow o c kh kw)",
        ),
    ),
)
def locally_connected2d(x: Any, weight: Any, /, *, stride: Any = 1, padding: Any = 0) -> Any:
    """A convolution whose kernels differ from place to place: units see a patch each, but share no weights.

    Parameters
    ----------
    x
        Images (n c h w), float32 or float64.
    weight
        (oh ow o c kh kw): the kernels (o c kh kw) of each place.
    stride, padding
        An integer, or a pair for height and width. Pixels.

    Returns
    -------
    Tensor
        (n o oh ow), with the sizes of `conv2d`.

    Raises
    ------
    ShapeError
        If the channels or the places differ.

    >>> mg.locally_connected2d(mg.ones((1, 1, 1, 2)), mg.tensor([2.0, 3.0]).reshape(1, 2, 1, 1, 1, 1))
    tensor([[[[2., 3.]]]])
    """
    op = "locally_connected2d"
    x, weight = operands(op, ("x", "weight"), (x, weight))
    images(op, "x", X, x)
    rows = [("x", X, x), ("weight", WEIGHTS if len(weight.shape) == 6 else "", weight)]
    headline = f"{op}: weight has {len(weight.shape)} axes, not the 6 of ({WEIGHTS})"
    require(len(weight.shape) == 6, ShapeError, headline, rows)
    places, (o, c, *window) = weight.shape[:2], weight.shape[2:]
    options = settings(op, stride, padding, 1, 1)
    n, _, *found = output_shape(op, x.shape, (o, c, *window), rows, options)
    headline = f"{op}: the window has {tuple(found)} places, the weight is for {places}"
    require(tuple(found) == places, ShapeError, headline, rows)
    del options["groups"]
    patches = unfold.run(x, kernel_size=tuple(window), **options)  # (n, c kh kw, oh ow)
    matrices = weight.reshape(math.prod(places), o, c * math.prod(window))
    y = matmul(matrices, patches.permute_dims((2, 1, 0)))  # (oh ow, o, n)
    return y.permute_dims((2, 1, 0)).reshape(n, o, *places)
