"""Layers in a row that one op computes; `Sequential` looks for them."""

from collections.abc import Callable, Sequence

from minigrad import ops
from minigrad.errors import MinigradError
from minigrad.nn.activation import ReLU
from minigrad.nn.conv import Conv2d
from minigrad.nn.module import Module
from minigrad.nn.norm import BatchNorm1d, BatchNorm2d
from minigrad.nn.pool import MaxPool2d
from minigrad.tensor import Tensor

ONE, NONE = (1, 1), (0, 0)


Step = tuple[int, Tensor]
"""How many layers were computed, and what they give."""


def advance(layers: Sequence[Module], x: Tensor) -> Step:
    """Compute the longest chain at the beginning of some layers that one op computes: at least the first layer.

    >>> layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    >>> count, y = advance(layers, mg.ones((1, 1, 6, 6)))
    >>> count, y.shape
    (3, (1, 2, 2, 2))
    """
    together = TOGETHER.get(type(layers[0]))
    try:
        step = together(layers, x) if together else None
    except MinigradError:  # the layer that is to blame is to say so itself
        step = None
    return step or (1, layers[0](x))


def _kinds(layers: Sequence[Module]) -> list[type | None]:
    """The classes of layers; None for one that got a `forward` of its own."""
    return [None if "forward" in vars(layer) else type(layer) for layer in layers]


def conv_pool(layers: Sequence[Module], x: Tensor) -> Step | None:
    """Compute a convolution, a max-pooling and perhaps a ReLU (before or after it): `minigrad.conv2d_pool`."""
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
    return count, ops.conv2d_pool(x, conv.weight, conv.bias, **options)


def norm_relu(layers: Sequence[Module], x: Tensor) -> Step | None:
    """Compute batch-normalisation and a ReLU: `minigrad.batch_norm`."""
    norm = layers[0]
    return (2, norm(x, relu=True)) if _kinds(layers[:2]) == [type(norm), ReLU] else None


TOGETHER: dict[type, Callable[[Sequence[Module], Tensor], Step | None]] = {
    Conv2d: conv_pool,
    BatchNorm1d: norm_relu,
    BatchNorm2d: norm_relu,
}
"""What computes chains that begin with a layer of that class; None where it finds none."""
