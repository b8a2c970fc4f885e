"""The kernels in slow, obvious numpy: what they compute, and the oracle of their tests.

Images are (n c h w), weights (o c/groups kh kw), outputs (n o oh ow), of float32 or float64; the result has the dtype
of the arrays. Stride, padding, dilation and kernel_size are pairs for height and width, in pixels.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.kernels.geometry import averaged, inside, output_size

Array = np.ndarray
Pair = tuple[int, int]
Shape = tuple[int, ...]


def conv2d(x: Array, weight: Array, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Cross-correlate images with kernels.

    y[n, o, i, j] is the sum over c, u, v of weight[o, c, u, v] * x[n, c, i*sh + u*dh - ph, j*sw + v*dw - pw],
    with zeros outside the image; group g of the outputs sees group g of the channels.

    >>> conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)),
    ...        stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    array([[[[4., 4.],
             [4., 4.]]]])
    """
    padded = _padded(x, padding)
    size = _sizes(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    y = np.zeros((len(x), len(weight), *size), x.dtype)
    for o, c in _connected(weight, groups):
        for u, v in np.ndindex(weight.shape[2:]):
            seen = padded[:, c, *_seen((u, v), size, stride, dilation)]
            y[:, o] += weight[o, c % weight.shape[1], u, v] * seen
    return y


def conv2d_input(
    g: Array,
    weight: Array,
    *,
    shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Apply the adjoint of x -> conv2d(x, weight): the gradient with respect to x, of shape `shape`.

    >>> conv2d_input(np.ones((1, 1, 1, 2)), np.array([[[[1.0, 2.0]]]]), shape=(1, 1, 1, 3),
    ...              stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    array([[[[1., 3., 2.]]]])
    """
    padded = _padded(np.zeros(shape, g.dtype), padding)
    for o, c in _connected(weight, groups):
        for u, v in np.ndindex(weight.shape[2:]):
            seen = padded[:, c, *_seen((u, v), g.shape[2:], stride, dilation)]
            seen += weight[o, c % weight.shape[1], u, v] * g[:, o]
    (ph, pw), (h, w) = padding, shape[2:]
    return padded[:, :, ph : ph + h, pw : pw + w].copy()


def conv2d_weight(
    g: Array, x: Array, *, shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Apply the adjoint of weight -> conv2d(x, weight): the gradient with respect to weight, of shape `shape`.

    >>> conv2d_weight(np.ones((1, 1, 1, 2)), np.array([[[[1.0, 2.0, 3.0]]]]), shape=(1, 1, 1, 2),
    ...               stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    array([[[[3., 5.]]]])
    """
    padded = _padded(x, padding)
    weight = np.zeros(shape, g.dtype)
    for o, c in _connected(weight, groups):
        for u, v in np.ndindex(*shape[2:]):
            seen = padded[:, c, *_seen((u, v), g.shape[2:], stride, dilation)]
            weight[o, c % shape[1], u, v] = np.sum(g[:, o] * seen)
    return weight


def max_pool2d_argmax(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Find the maximum of each window: an int64 index into the h * w pixels of its image (n c oh ow).

    The first of equals in raster order wins. A NaN wins over every number, the last NaN over the others:
    PyTorch's rule. The padding is never chosen; a window without any pixel gets index 0.

    >>> max_pool2d_argmax(np.array([[[[1.0, 3.0], [2.0, 3.0]]]]), kernel_size=(2, 2), stride=(2, 2),
    ...                   padding=(0, 0), dilation=(1, 1), ceil_mode=False)
    array([[[[1]]]])
    """
    n, c, h, w = x.shape
    size = _sizes((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    places = np.zeros((n, c, *size), np.int64)
    for i, j in np.ndindex(*size):
        rows = _pixels(i, h, kernel_size[0], stride[0], padding[0], dilation[0])
        columns = _pixels(j, w, kernel_size[1], stride[1], padding[1], dilation[1])
        window = [(row, column) for row in rows for column in columns]
        for image in np.ndindex(n, c):
            best = None
            for row, column in window:
                new = x[*image, row, column]
                if best is None or new > best or np.isnan(new):
                    best, places[*image, i, j] = new, row * w + column
    return places


def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """Average each window, (n c h w) to (n c oh ow).

    The sum of a window's pixels is divided by their number, which includes the padding under the window if
    `count_include_pad`, but never what `ceil_mode` adds beyond the padding.

    >>> avg_pool2d(np.array([[[[1.0, 3.0], [2.0, 0.0]]]]), kernel_size=(2, 2), stride=(2, 2), padding=(0, 0),
    ...            ceil_mode=False, count_include_pad=True)
    array([[[[1.5]]]])
    """
    size = _sizes(x.shape[2:], kernel_size, stride, padding, (1, 1), ceil_mode)
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    for (i, j), pixels, count in _averages(x.shape[2:], size, kernel_size, stride, padding, count_include_pad):
        y[:, :, i, j] = x[:, :, *pixels].sum(axis=(2, 3)) / count
    return y


def avg_pool2d_input(
    g: Array,
    *,
    shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Apply the adjoint of avg_pool2d: every element of g shared out over its window; `shape` is that of x.

    >>> avg_pool2d_input(np.ones((1, 1, 1, 1)), shape=(1, 1, 2, 2), kernel_size=(2, 2), stride=(2, 2),
    ...                  padding=(0, 0), ceil_mode=False, count_include_pad=True)
    array([[[[0.25, 0.25],
             [0.25, 0.25]]]])
    """
    x = np.zeros(shape, g.dtype)
    for (i, j), pixels, count in _averages(shape[2:], g.shape[2:], kernel_size, stride, padding, count_include_pad):
        x[:, :, *pixels] += g[:, :, i, j, None, None] / count
    return x


def take_along_axis(x: Array, indices: Array, *, axis: int) -> Array:
    """Take one element per index: out[.., k, ..] = x[.., indices[.., k, ..], ..] along the axis.

    >>> take_along_axis(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1], [0]]), axis=1)
    array([[2.],
           [3.]])
    """
    return np.take_along_axis(x, indices, axis)


def scatter_along_axis(g: Array, indices: Array, *, axis: int, shape: Shape) -> Array:
    """Apply the adjoint of take_along_axis: zeros of `shape`, with g added at the indices. Equal ones add up.

    >>> scatter_along_axis(np.array([1.0, 2.0]), np.array([2, 2]), axis=0, shape=(4,))
    array([0., 0., 3., 0.])
    """
    x = np.zeros(shape, g.dtype)
    for place in np.ndindex(g.shape):
        target = list(place)
        target[axis] = indices[place]
        x[*target] += g[place]
    return x


def batch_norm(x: Array, weight: Array, bias: Array, *given: Array, eps: float, relu: bool) -> Array:
    """Normalise each channel (the second axis) by the mean and variance that are given, or else its own.

    >>> batch_norm(np.array([[1.0, 0.0], [3.0, 8.0]]), np.ones(2), np.zeros(2), eps=0.0, relu=False)
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    rows = np.moveaxis(x, 1, -1)
    mean, var = given or (np.mean(rows, axis=tuple(range(x.ndim - 1))), np.var(rows, axis=tuple(range(x.ndim - 1))))
    y = np.moveaxis((rows - mean) / np.sqrt(var + eps) * weight + bias, -1, 1)
    return np.maximum(y, 0) if relu else y


def sgd_step(
    x: Array, g: Array, delta: Array | None = None, *, lr: float, momentum: float, nesterov: bool, decay: float
) -> tuple[Array, ...]:
    """Take a step of gradient descent: return x and, if there is one, the running step delta.

    Without momentum there is no delta. `decay` is the weight decay, added to the gradient times x.

    >>> sgd_step(np.array([1.0]), np.array([2.0]), np.array([1.0]), lr=0.1, momentum=0.5, nesterov=False, decay=0.0)
    (array([0.75]), array([2.5]))
    """
    if decay:
        g = g + decay * x
    if delta is None:
        return (x - lr * g,)
    delta = momentum * delta + g
    return x - lr * (g + momentum * delta if nesterov else delta), delta


def adam_step(
    x: Array,
    g: Array,
    mean: Array,
    square: Array,
    *,
    steps: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> tuple[Array, Array, Array]:
    """Take step number `steps` (from 1) of Algorithm 1 of Kingma and Ba (2015): return x and the two moments.

    >>> x, _, _ = adam_step(np.array([1.0]), np.array([2.0]), np.array([0.0]), np.array([0.0]),
    ...                     steps=1, lr=0.125, betas=(0.9, 0.999), eps=0.0, decay=0.0)
    >>> x
    array([0.875])
    """
    if decay:
        g = g + decay * x
    mean = betas[0] * mean + (1 - betas[0]) * g
    square = betas[1] * square + (1 - betas[1]) * g * g
    rate = lr / (1 - betas[0] ** steps)
    return x - rate * mean / (np.sqrt(square / (1 - betas[1] ** steps)) + eps), mean, square


def _sizes(image: Shape, window: Shape, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool = False) -> Pair:
    """The height and width of an output."""
    axes = zip(image, window, stride, padding, dilation, strict=True)
    oh, ow = (output_size(*axis, ceil_mode) for axis in axes)
    return oh, ow


def _padded(x: Array, padding: Pair) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))


def _connected(weight: Array, groups: int) -> list[Pair]:
    """The pairs of an output and an input channel that a kernel joins."""
    outputs, channels = len(weight) // groups, weight.shape[1]
    return [(o, o // outputs * channels + c) for o in range(len(weight)) for c in range(channels)]


def _seen(tap: Any, size: Shape, stride: Pair, dilation: Pair) -> tuple[slice, slice]:
    """The elements of the padded image that one tap sees, over all positions of the window."""
    first = [tap[a] * dilation[a] for a in (0, 1)]
    rows, columns = (slice(first[a], first[a] + (size[a] - 1) * stride[a] + 1, stride[a]) for a in (0, 1))
    return rows, columns


def _pixels(position: int, size: int, kernel: int, stride: int, padding: int, dilation: int) -> range:
    """The elements of one axis under the window at a position."""
    start = position * stride - padding
    first, stop = inside(kernel, start, dilation, size)
    return range(start + first * dilation, start + stop * dilation, dilation)


def _averages(
    image: Shape, size: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> Iterator[tuple[Pair, tuple[slice, slice], int]]:
    """Yield each position of an average pool with its pixels (rows, columns) and its divisor."""
    for position in np.ndindex(*size):
        axes = [(position[a], image[a], kernel_size[a], stride[a], padding[a]) for a in (0, 1)]
        rows, columns = (_pixels(*axis, 1) for axis in axes)
        count = averaged(*axes[0], count_include_pad) * averaged(*axes[1], count_include_pad)
        yield position, (slice(rows.start, rows.stop), slice(columns.start, columns.stop)), count
