"""Convolution and its two adjoints, each a product of gathered numbers: the images are never unfolded in memory.

Images are (n c h w), weights (o c/groups kh kw), outputs (n o oh ow), with any strides in memory.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.kernels.cuda import precision
from minigrad.kernels.cuda.array import Array, empty, row_major
from minigrad.kernels.cuda.copies import contiguous
from minigrad.kernels.cuda.machine import remembered
from minigrad.kernels.cuda.plans import SINGLE, Axis, Product, chosen, compute, evenly, packed
from minigrad.kernels.geometry import adjoint_taps, output_size

ONE = (1, 1)

Pair = tuple[int, int]
Sizes = tuple[int, ...]
Plan = tuple[tuple[Product, ...], int]


def conv2d(x: Array, weight: Array, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Rows are output channels, columns the positions of the window, terms its taps in all channels."""
    window = stride, padding, dilation
    kernel, image = weight.shape[2:], x.shape[2:]
    sizes = [output_size(*axis) for axis in zip(image, kernel, *window, strict=True)]
    shape = x.shape[0], weight.shape[0], *sizes
    products, parts = _forward(x.dtype, shape, x.shape, x.strides, weight.shape, weight.strides, *window, groups)
    return compute(products, parts, shape, weight, x)


def conv2d_largest(
    x: Array, weight: Array, bias: Array, *, padding: Pair, groups: int, pool: Pair, relu: bool
) -> tuple[Array, Array] | None:
    """Of windows of four positions of the convolution, the largest number plus bias, and its place; -1: ReLU took it.

    The positions are columns window after window, so a thread has all of a window's. None where that does not pay.
    """
    axes = zip(x.shape[2:], weight.shape[2:], ONE, padding, ONE, strict=True)
    size = [output_size(*axis) // step for axis, step in zip(axes, pool, strict=True)]
    shape = x.shape[0], weight.shape[0], *size
    window = ONE, padding, ONE
    if math.prod(pool) != 4 or precision.tf32():
        return None
    plan = _forward(x.dtype, shape, x.shape, x.strides, weight.shape, weight.strides, *window, groups, pool)
    (product,), parts = plan
    if parts > 1 or product.tile == SINGLE:
        return None
    out, winners = empty(shape, x.dtype), empty(shape, np.int8)
    product(out, weight, x, contiguous(bias), winners, relu)
    return out, winners


def conv2d_input(
    g: Array, weight: Array, *, shape: Sizes, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Rows are the image's channels, terms the outputs' channels and taps.

    The pixels that are a stride apart meet the same taps: they are the columns of a product of their own, a convolution
    of g with stride 1.
    """
    window = stride, padding, dilation
    products, parts = _input(g.dtype, shape, g.shape, g.strides, weight.shape, weight.strides, *window, groups)
    return compute(products, parts, shape, weight, g)


def conv2d_weight(
    g: Array, x: Array, *, shape: Sizes, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Rows are output channels, columns channels and taps, terms the positions of the window in all images."""
    window = stride, padding, dilation
    products, parts = _weight(g.dtype, shape, x.shape, x.strides, g.shape, g.strides, *window, groups)
    return compute(products, parts, shape, g, x)


def positions(
    size: Sequence[int], strides: Sizes, *, start: Pair, step: Pair = (1, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Where start + i * step lies in an image, and its place, for all i of a grid, row after row."""
    h, w = (start[a] + np.arange(size[a], dtype=np.int64) * step[a] for a in (0, 1))
    h, w = h[:, None], w[None, :]
    return (h * strides[0] + w * strides[1]).reshape(-1), packed(h, w).reshape(-1)


def of_windows(size: Sequence[int], strides: Sizes, *, start: Pair, pool: Pair) -> tuple[np.ndarray, np.ndarray]:
    """As `positions`, for all positions of one pooling window after the other."""
    where = (*size, *pool)
    p, q, u, v = (
        np.arange(one, dtype=np.int64).reshape([-1 if i == k else 1 for i in range(4)]) for k, one in enumerate(where)
    )
    h, w = start[0] + p * pool[0] + u, start[1] + q * pool[1] + v
    places = np.broadcast_to(packed(h, w), where)
    return np.broadcast_to(h * strides[0] + w * strides[1], where).reshape(-1), places.reshape(-1)


def entries(operand: np.ndarray, places: Any, other: np.ndarray) -> np.ndarray:
    """The list of an axis."""
    return np.stack(np.broadcast_arrays(operand, places, other), axis=1).astype(np.int64)


def over_channels(channels: int, step: int, numbers: np.ndarray) -> np.ndarray:
    """The numbers of the taps, for one channel after the other, each a step further."""
    return (np.arange(channels, dtype=np.int64)[:, None] * step + numbers).reshape(-1)


@remembered(256)
def _forward(
    dtype: np.dtype, shape: Sizes, image: Sizes, x: Sizes, kernel: Sizes, w: Sizes,
    stride: Pair, padding: Pair, dilation: Pair, groups: int, pool: Pair = ONE
) -> Plan:  # fmt: skip
    (n, o, *size), y = shape, row_major(shape)
    depth, window, start = kernel[1], kernel[2:], (-padding[0], -padding[1])
    kept, _ = positions(size, y[2:], start=(0, 0))
    if pool == ONE:
        seen, places = positions(size, x[2:], start=start, step=stride)
    else:
        seen, places = of_windows(size, x[2:], start=start, pool=pool)
        kept = np.repeat(kept, math.prod(pool))
    taps, tap_places = positions(window, x[2:], start=(0, 0), step=dilation)
    weights, _ = positions(window, w[2:], start=(0, 0))
    terms = entries(
        over_channels(depth, x[1], taps), over_channels(depth, 0, tap_places), over_channels(depth, w[1], weights)
    )
    rows = evenly(o // groups, w[0], 0, y[1])
    columns = Axis(n * len(seen), entries(seen, places, kept), (x[0], 0, y[0]))
    axes = rows, columns, Axis(len(terms), terms, (0, 0, 0)), _groups(groups, o * w[0], image[1] * x[1], o * y[1])
    tile, parts = chosen(rows.size, columns.size, len(terms), groups, dtype, "terms", "outer")
    last = None if padding == (0, 0) else (image[2] - 1, image[3] - 1)
    finish = "as they are" if pool == ONE else "largest"
    return (Product(dtype, math.prod(shape), axes, "terms", "outer", tile, parts, last, finish),), parts


@remembered(256)
def _input(
    dtype: np.dtype, shape: Sizes, output: Sizes, g: Sizes, kernel: Sizes, w: Sizes,
    stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Plan:  # fmt: skip
    (n, c, *image), x, o = shape, row_major(shape), kernel[0] // groups
    left = "outer" if kernel[2:] == (1, 1) else "terms"
    tile, parts = chosen(
        c // groups,
        n * math.prod(-(-side // step) for side, step in zip(image, stride, strict=True)),
        o * math.prod(kernel[2:]) // math.prod(stride),
        groups,
        dtype,
        left,
        "outer",
    )
    rows, batches = evenly(c // groups, w[1], 0, x[1]), _groups(groups, kernel[0] * w[0], output[1] * g[1], c * x[1])
    products = []
    for residue in np.ndindex(*stride):
        size = [len(range(residue[a], image[a], stride[a])) for a in (0, 1)]
        first, step, pad, spread = zip(
            *[adjoint_taps(residue[a], kernel[2 + a], stride[a], padding[a], dilation[a]) for a in (0, 1)], strict=True
        )
        chosen_taps = [np.arange(first[a], kernel[2 + a], step[a], dtype=np.int64)[::-1] for a in (0, 1)]
        weights = (chosen_taps[0][:, None] * w[2] + chosen_taps[1] * w[3]).reshape(-1)
        taps, tap_places = positions([len(one) for one in chosen_taps], g[2:], start=(0, 0), step=spread)
        terms = entries(over_channels(o, g[1], taps), over_channels(o, 0, tap_places), over_channels(o, w[0], weights))
        seen, places = positions(size, g[2:], start=(-pad[0], -pad[1]))
        kept, _ = positions(size, x[2:], start=residue, step=stride)
        columns = Axis(n * math.prod(size), entries(seen, places, kept), (g[0], 0, x[0]))
        axes = rows, columns, Axis(len(terms), terms, (0, 0, 0)), batches
        last = output[2] - 1, output[3] - 1
        products.append(Product(dtype, math.prod(shape), axes, left, "outer", tile, parts, last))
    return tuple(products), parts


@remembered(256)
def _weight(
    dtype: np.dtype, shape: Sizes, image: Sizes, x: Sizes, output: Sizes, g: Sizes,
    stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Plan:  # fmt: skip
    (o, depth, *window), w, size = shape, row_major(shape), output[2:]
    taps, tap_places = positions(window, x[2:], start=(0, 0), step=dilation)
    operand = over_channels(depth, x[1], taps)
    columns = entries(operand, over_channels(depth, 0, tap_places), np.arange(len(operand)))
    seen, places = positions(size, x[2:], start=(-padding[0], -padding[1]), step=stride)
    read, _ = positions(size, g[2:], start=(0, 0))
    terms = Axis(output[0] * math.prod(size), entries(seen, places, read), (x[0], 0, g[0]))
    rows, batches = evenly(o // groups, g[1], 0, w[0]), _groups(groups, o * g[1], image[1] * x[1], o * w[0])
    axes = rows, Axis(len(columns), columns, (0, 0, 0)), terms, batches
    tile, parts = chosen(rows.size, len(columns), terms.size, groups, dtype, "terms", "terms")
    last = None if padding == (0, 0) else (image[2] - 1, image[3] - 1)
    return (Product(dtype, math.prod(shape), axes, "terms", "terms", tile, parts, last),), parts


def _groups(groups: int, left: int, right: int, out: int) -> Axis:
    """The groups of channels as batches, from how far all channels of each array reach."""
    return Axis(groups, np.zeros((1, 3), np.int64), (left // groups, right // groups, out // groups))
