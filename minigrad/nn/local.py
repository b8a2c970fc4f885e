"""Layers that look at the patches of an image one by one."""

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.kernels.geometry import output_size
from minigrad.nn.init import fan_in_uniform
from minigrad.nn.linear import positive
from minigrad.nn.module import Module
from minigrad.ops.checks import pair
from minigrad.random import Generator
from minigrad.tensor import Tensor

Pair = int | tuple[int, int]


class LocallyConnected2d(Module):
    """A convolution that shares no weights: each place has kernels of its own; see `minigrad.locally_connected2d`.

    Parameters
    ----------
    in_channels, out_channels
        c and o of x (n c h w) and y (n o oh ow); the weight is (oh ow o c kh kw).
    image_size
        h and w, which say how many places there are: an integer, or a pair.
    kernel_size, stride, padding
        An integer, or a pair for height and width. Pixels.
    bias
        Whether to add a bias (o oh ow).
    generator
        Where the first values come from; by default the stream of `minigrad.manual_seed`.

    Examples
    --------
    >>> layer = nn.LocallyConnected2d(1, 2, 8, 3)
    >>> layer(mg.zeros((5, 1, 8, 8))).shape, layer.weight.shape
    ((5, 2, 6, 6), (6, 6, 2, 1, 3, 3))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: Pair,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        *,
        generator: Generator | None = None,
    ) -> None:
        name = type(self).__name__
        self.in_channels = positive(name, "in_channels", in_channels)
        self.out_channels = positive(name, "out_channels", out_channels)
        self.image_size = pair(name, "image_size", image_size, 1)
        self.kernel_size = pair(name, "kernel_size", kernel_size, 1)
        self.stride = pair(name, "stride", stride, 1)
        self.padding = pair(name, "padding", padding, 0)
        axes = zip(self.image_size, self.kernel_size, self.stride, self.padding, strict=True)
        places = tuple(output_size(*axis, 1) for axis in axes)
        if min(places) < 1:
            raise ShapeError(f"{name}: a window of {self.kernel_size} does not fit into images of {self.image_size}")
        fan_in = in_channels * self.kernel_size[0] * self.kernel_size[1]
        self.weight = fan_in_uniform((*places, out_channels, in_channels, *self.kernel_size), fan_in, generator)
        self.bias = fan_in_uniform((out_channels, *places), fan_in, generator) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n o oh ow)."""
        y = ops.locally_connected2d(x, self.weight, stride=self.stride, padding=self.padding)
        return y if self.bias is None else y + self.bias


class Unfold(Module):
    """The patches of images as columns: see `minigrad.unfold`.

    >>> nn.Unfold(3)(mg.zeros((2, 5, 4, 6))).shape
    (2, 45, 8)
    """

    def __init__(self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> None:
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n, c kh kw, oh ow)."""
        return ops.unfold(x, self.kernel_size, stride=self.stride, padding=self.padding, dilation=self.dilation)


class Fold(Module):
    """Columns added up into images: see `minigrad.fold`.

    >>> nn.Fold((4, 6), 3)(mg.zeros((2, 45, 8))).shape
    (2, 5, 4, 6)
    """

    def __init__(
        self, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
    ) -> None:
        self.output_size = pair("Fold", "output_size", output_size, 1)
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, c kh kw, l) -> (n c h w)."""
        return ops.fold(
            x,
            self.kernel_size,
            shape=self.output_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
