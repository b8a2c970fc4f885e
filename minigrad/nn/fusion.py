"""Layers in a row that one op computes; `Sequential` looks for them."""

from collections.abc import Callable, Sequence

from minigrad import ops
from minigrad.nn.activation import ReLU
from minigrad.nn.conv import Conv2d
from minigrad.nn.module import Module
from minigrad.nn.norm import BatchNorm1d, BatchNorm2d
from minigrad.nn.pool import MaxPool2d
from minigrad.tensor import Tensor

ONE, NONE = (1, 1), (0, 0)


Step = tuple[int, Callable[[Tensor], Tensor]]
"""How many layers, and what computes them."""


def first_step(layers: Sequence[Module]) -> Step:
    """Find the longest chain at the beginning of some layers that one op computes: at least the first layer.

    >>> count, call = first_step([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()])
    >>> count, call(mg.ones((1, 1, 6, 6))).shape
    (3, (1, 2, 2, 2))
    """
    find = FINDERS.get(type(layers[0]))
    step = find(layers) if find else None
    return step or (1, layers[0])


def _kinds(layers: Sequence[Module]) -> list[type | None]:
    """The classes of layers; None for one that got a `forward` of its own."""
    return [None if "forward" in vars(layer) else type(layer) for layer in layers]


def conv_pool(layers: Sequence[Module]) -> Step | None:
    """Find a convolution, a max-pooling and perhaps a ReLU (before or after it): `minigrad.conv2d_pool`."""
    kinds = _kinds(layers[:3])
    if kinds[:2] == [Conv2d, MaxPool2d]:
        pool, relu, count = layers[1], kinds[2:] == [ReLU], 2 + (kinds[2:] == [ReLU])
    elif kinds == [Conv2d, ReLU, MaxPool2d]:
        pool, relu, count = layers[2], True, 3
    else:
        return None
    conv = layers[0]
    assert isinstance(conv, Conv2d)
    assert isinstance(pool, MaxPool2d)
    window = pool.kernel_size
    plain = (conv.stride, conv.dilation, pool.dilation, pool.padding, pool.ceil_mode) == (ONE, ONE, ONE, NONE, False)
    if not plain or pool.stride != window or window[0] * window[1] > ops.MOST_PLACES:
        return None
    options = {"pool": window, "relu": relu, "padding": conv.padding, "groups": conv.groups}
    return count, lambda x: ops.conv2d_pool(x, conv.weight, conv.bias, **options)


def norm_relu(layers: Sequence[Module]) -> Step | None:
    """Find batch-normalisation and a ReLU: `minigrad.batch_norm`."""
    norm = layers[0]
    return (2, lambda x: norm(x, relu=True)) if _kinds(layers[:2]) == [type(norm), ReLU] else None


FINDERS: dict[type, Callable[[Sequence[Module]], Step | None]] = {
    Conv2d: conv_pool,
    BatchNorm1d: norm_relu,
    BatchNorm2d: norm_relu,
}
"""What looks for chains that begin with a layer of that class."""
