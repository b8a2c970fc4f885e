"""Convolutional layers."""

import math

from minigrad import ops
from minigrad.errors import ArgumentError
from minigrad.nn.init import fan_in_uniform
from minigrad.nn.linear import positive
from minigrad.nn.module import Module, Parameter
from minigrad.ops.checks import pair
from minigrad.random import Generator
from minigrad.tensor import Tensor

Pair = int | tuple[int, int]


class _Convolution(Module):
    """What convolutional layers share: channels in groups, a weight, and a bias or none."""

    bias: Parameter | None

    def _begin(self, in_channels: int, out_channels: int) -> None:
        self.in_channels = positive(type(self).__name__, "in_channels", in_channels)
        self.out_channels = positive(type(self).__name__, "out_channels", out_channels)

    def _learn(
        self, groups: int, transposed: bool, window: tuple[int, ...], bias: bool, generator: Generator | None
    ) -> None:
        c, o, name = self.in_channels, self.out_channels, type(self).__name__
        if c % positive(name, "groups", groups) or o % groups:
            raise ArgumentError(f"{name}: {c} and {o} channels do not split into {groups} groups")
        self.groups = groups
        shape = (c, o // groups, *window) if transposed else (o, c // groups, *window)
        fan_in = math.prod(shape[1:])  # as PyTorch counts it, also where the weight is transposed
        self.weight = fan_in_uniform(shape, fan_in, generator)
        self.bias = fan_in_uniform((o,), fan_in, generator) if bias else None

    def _biased(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias.reshape(self.out_channels, *(1,) * (y.ndim - 2))


class Conv2d(_Convolution):
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
        self._begin(in_channels, out_channels)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.padding = pair("Conv2d", "padding", padding, 0)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self._learn(groups, False, self.kernel_size, bias, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n o oh ow)."""
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return self._biased(ops.conv2d(x, self.weight, **options))


class Conv1d(_Convolution):
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
        self._begin(in_channels, out_channels)
        self.kernel_size = positive("Conv1d", "kernel_size", kernel_size)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self._learn(groups, False, (self.kernel_size,), bias, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(n c l) -> (n o ol)."""
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return self._biased(ops.conv1d(x, self.weight, **options))


class ConvTranspose2d(_Convolution):
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
        self._begin(in_channels, out_channels)
        self.kernel_size = pair("ConvTranspose2d", "kernel_size", kernel_size, 1)
        self.stride = pair("ConvTranspose2d", "stride", stride, 1)
        self.padding = pair("ConvTranspose2d", "padding", padding, 0)
        self.output_padding = pair("ConvTranspose2d", "output_padding", output_padding, 0)
        self.dilation = pair("ConvTranspose2d", "dilation", dilation, 1)
        self._learn(groups, True, self.kernel_size, bias, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n o oh ow)."""
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return self._biased(ops.conv_transpose2d(x, self.weight, output_padding=self.output_padding, **options))
