"""Convolution, bias, max-pooling and ReLU as one op: what most layers of a small convnet do."""

import itertools
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, ShapeError, message
from minigrad.kernels import reference
from minigrad.ops import conv, elementwise
from minigrad.ops.checks import full, operands, pair
from minigrad.ops.kinds import Bad, fused
from minigrad.ops.pool import max_pool2d
from minigrad.ops.samples import Call, Draw

MOST_PLACES = 127  # in a pooling window: the winners are numbered in a byte


def _plain(x: Any, weight: Any, bias: Any, *, pool: Any, relu: bool, **options: Any) -> Any:
    y = conv.conv2d.run(x, weight, stride=(1, 1), dilation=(1, 1), **options) + bias.reshape((-1, 1, 1))
    largest = max_pool2d(y, pool)
    return elementwise.relu(largest) if relu else largest


def _oracle(x: Any, weight: Any, bias: Any, *, pool: Any, relu: bool, **options: Any) -> Any:
    y = reference.conv2d(x, weight, stride=(1, 1), dilation=(1, 1), **options) + bias[:, None, None]
    windows = _windows(y, pool).max(axis=(3, 5))
    return np.maximum(windows, 0) if relu else windows


def _windows(y: Any, pool: Any) -> Any:
    """(n o h w) cut into windows: (n o oh ph ow pw), without the rest."""
    n, o, h, w = y.shape
    (ph, pw), (oh, ow) = pool, (h // pool[0], w // pool[1])
    return y[:, :, : oh * ph, : ow * pw].reshape(n, o, oh, ph, ow, pw)


def _sample(draw: Draw) -> Call:
    """A call whose windows have clear winners, none of them near 0."""
    groups, pool = draw.choice([1, 1, 2]), (draw.integer(1, 2), draw.integer(2, 3))
    kernel = draw.choice([1, 3]), draw.integer(1, 3)
    padding = (
        draw.integer(0, min(1, kernel[0] - 1)),
        draw.integer(0, kernel[1] - 1),
    )  # an output that sees none has ties
    sides = [max(1, k + p - 1 - 2 * m) + draw.integer(0, 4) for k, p, m in zip(kernel, pool, padding, strict=True)]
    x, weight = (draw.integer(0, 2), groups * draw.integer(1, 2), *sides), (groups * draw.integer(1, 2), 0, *kernel)
    options = {"padding": padding, "groups": groups}
    for seed in itertools.count(draw.integer(0, 1 << 16)):
        rng = np.random.default_rng(seed)
        arrays = [rng.uniform(-2, 2, shape) for shape in (x, (weight[0], x[1] // groups, *kernel), weight[:1])]
        y = reference.conv2d(arrays[0], arrays[1], stride=(1, 1), dilation=(1, 1), **options) + arrays[2][:, None, None]
        cut = _windows(y, pool)
        ranked = np.sort(np.moveaxis(cut, 3, 4).reshape(*cut.shape[:3], cut.shape[4], pool[0] * pool[1]), axis=-1)
        clear = np.minimum(ranked[..., -1] - ranked[..., -2], np.abs(ranked[..., -1]))
        if clear.min(initial=1) > 0.004:
            break
    return tuple(arrays), options | {"pool": pool, "relu": draw.boolean()}


@fused(
    plain=_plain,
    signature="n c h w, o c kh kw, o -> n o oh ow",
    sample=_sample,
    oracle=_oracle,
    bad=(
        Bad(
            lambda t: conv2d_pool(t(1, 3, 8, 8), t(4, 2, 3, 3), pool=2),
            ShapeError,
            "conv2d_pool: channels differ, c=3 in x but c=2 in weight",
        ),
        Bad(
            lambda t: conv2d_pool(t(1, 1, 8, 8), t(4, 1, 3, 3), t(3), pool=2),
            ShapeError,
            "conv2d_pool: bias does not have the shape (4,)",
        ),
        Bad(
            lambda t: conv2d_pool(t(1, 1, 4, 4), t(4, 1, 3, 3), pool=3),
            ShapeError,
            "conv2d_pool: the pooling window (3, 3) does not fit into the convolution's output (2, 2)",
        ),
        Bad(
            lambda t: conv2d_pool(t(1, 1, 40, 40), t(4, 1, 3, 3), pool=12),
            ArgumentError,
            "conv2d_pool: pool = (12, 12) has more than 127 places",
        ),
    ),
)
def conv2d_pool(
    x: Any,
    weight: Any,
    bias: Any = None,
    /,
    *,
    pool: Any,
    relu: bool = False,
    padding: Any = 0,
    groups: int = 1,
) -> Any:
    """relu(max_pool2d(conv2d(x, weight) + bias, pool)) in one pass; `nn.Sequential` uses it by itself.

    The convolution of stride 1 is not kept in memory, and its gradient visits the winners of the windows only.

    Parameters
    ----------
    x, weight, padding, groups
        As for `conv2d`.
    bias
        (o), or None.
    pool
        The window of the max-pooling and its stride: an integer, or a pair for height and width, of at most 127 places.
    relu
        Whether ReLU follows. It may as well come before the pooling: the result and its gradient are the same.

    Returns
    -------
    Tensor
        (n o oh ow). On a tie the first place wins; a NaN wins over every number.

    Raises
    ------
    ShapeError, ArgumentError
        If the shapes do not fit.

    >>> mg.conv2d_pool(mg.arange(16.0).reshape(1, 1, 4, 4), -mg.ones((1, 1, 1, 1)), mg.tensor([7.0]), pool=2, relu=True)
    tensor([[[[7., 5.],
              [0., 0.]]]])
    """
    op = "conv2d_pool"
    inputs, options, shape = conv.images_and_weight(op, x, weight, 1, padding, 1, groups)
    (_, o, *sides), window = shape, pair(op, "pool", pool, 1)
    if window[0] * window[1] > MOST_PLACES:
        raise ArgumentError(f"{op}: pool = {window} has more than {MOST_PLACES} places")
    if window[0] > sides[0] or window[1] > sides[1]:
        headline = f"{op}: the pooling window {window} does not fit into the convolution's output {tuple(sides)}"
        raise ShapeError(message(headline, conv.rows_of(*inputs)))
    shift = full((o,), 0, inputs[0].dtype, inputs[0]) if bias is None else bias
    inputs = operands(op, ("x", "weight", "bias"), (*inputs, shift))
    if inputs[2].shape != (o,):
        raise ShapeError(message(f"{op}: bias does not have the shape ({o},)", [("bias", "o", inputs[2])]))
    kept = {"padding": options["padding"], "groups": options["groups"], "pool": window, "relu": bool(relu)}
    return inputs, kept
