"""Convolutional layers."""

from minigrad import ops
from minigrad.errors import ArgumentError
from minigrad.nn.init import fan_in_uniform
from minigrad.nn.linear import positive
from minigrad.nn.module import Module
from minigrad.ops.checks import pair
from minigrad.random import Generator
from minigrad.tensor import Tensor

Pair = int | tuple[int, int]


class Conv2d(Module):
    """Two-dimensional convolution with learned kernels: see `minigrad.conv2d`.

    Parameters
    ----------
    in_channels, out_channels
        c and o of x (n c h w) and y (n o oh ow); the weight is (o c/groups kh kw).
    kernel_size, stride, padding, dilation
        An integer, or a pair for height and width. Pixels.
    groups
        Into how many blocks the channels are split.
    bias
        Whether to add a bias (o).
    generator
        Where the first values come from; by default the stream of `minigrad.manual_seed`.

    Examples
    --------
    >>> nn.Conv2d(1, 10, 5)(mg.zeros((2, 1, 64, 64))).shape
    (2, 10, 60, 60)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        generator: Generator | None = None,
    ) -> None:
        self.in_channels = positive("Conv2d", "in_channels", in_channels)
        self.out_channels = positive("Conv2d", "out_channels", out_channels)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.padding = pair("Conv2d", "padding", padding, 0)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.groups = _groups("Conv2d", in_channels, out_channels, groups)
        depth = in_channels // groups
        fan_in = depth * self.kernel_size[0] * self.kernel_size[1]
        self.weight = fan_in_uniform((out_channels, depth, *self.kernel_size), fan_in, generator)
        self.bias = fan_in_uniform((out_channels,), fan_in, generator) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n o oh ow)."""
        y = ops.conv2d(
            x,
            self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias.reshape(self.out_channels, 1, 1)


class Conv1d(Module):
    """One-dimensional convolution with learned kernels (n c l -> n o ol): see `minigrad.conv1d`.

    Parameters as for `Conv2d`, integers; the weight is (o c/groups k).

    >>> nn.Conv1d(2, 10, 5, stride=2)(mg.zeros((3, 2, 64))).shape
    (3, 10, 30)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        generator: Generator | None = None,
    ) -> None:
        self.in_channels = positive("Conv1d", "in_channels", in_channels)
        self.out_channels = positive("Conv1d", "out_channels", out_channels)
        self.kernel_size = positive("Conv1d", "kernel_size", kernel_size)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = _groups("Conv1d", in_channels, out_channels, groups)
        fan_in = in_channels // groups * kernel_size
        self.weight = fan_in_uniform((out_channels, in_channels // groups, kernel_size), fan_in, generator)
        self.bias = fan_in_uniform((out_channels,), fan_in, generator) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n c l) -> (n o ol)."""
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        y = ops.conv1d(x, self.weight, **options)
        return y if self.bias is None else y + self.bias.reshape(self.out_channels, 1)


class ConvTranspose2d(Module):
    """Transposed convolution with learned kernels, which makes images larger: see `minigrad.conv_transpose2d`.

    Parameters as for `Conv2d`, and `output_padding`, which is added to the size at the bottom and the right; the weight
    is (c o/groups kh kw).

    >>> nn.ConvTranspose2d(8, 4, 2, stride=2)(mg.zeros((3, 8, 5, 5))).shape
    (3, 4, 10, 10)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        *,
        generator: Generator | None = None,
    ) -> None:
        name = "ConvTranspose2d"
        self.in_channels = positive(name, "in_channels", in_channels)
        self.out_channels = positive(name, "out_channels", out_channels)
        self.kernel_size = pair(name, "kernel_size", kernel_size, 1)
        self.stride = pair(name, "stride", stride, 1)
        self.padding = pair(name, "padding", padding, 0)
        self.output_padding = pair(name, "output_padding", output_padding, 0)
        self.dilation = pair(name, "dilation", dilation, 1)
        self.groups = _groups(name, in_channels, out_channels, groups)
        depth = out_channels // groups
        fan_in = (
            depth * self.kernel_size[0] * self.kernel_size[1]
        )  # as PyTorch counts it, from the weight's second axis
        self.weight = fan_in_uniform((in_channels, depth, *self.kernel_size), fan_in, generator)
        self.bias = fan_in_uniform((out_channels,), fan_in, generator) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n o oh ow)."""
        y = ops.conv_transpose2d(
            x,
            self.weight,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias.reshape(self.out_channels, 1, 1)


def _groups(layer: str, in_channels: int, out_channels: int, groups: int) -> int:
    if in_channels % positive(layer, "groups", groups) or out_channels % groups:
        raise ArgumentError(f"{layer}: {in_channels} and {out_channels} channels do not split into {groups} groups")
    return groups
