"""Pooling layers."""

from minigrad import ops
from minigrad.nn.linear import positive
from minigrad.nn.module import Module
from minigrad.ops.checks import pair
from minigrad.tensor import Tensor

Pair = int | tuple[int, int]


class MaxPool2d(Module):
    """The maximum of each window: see `minigrad.max_pool2d`. The stride defaults to the window.

    >>> nn.MaxPool2d(3)(mg.zeros((2, 10, 60, 60))).shape
    (2, 10, 20, 20)
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = pair("MaxPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("MaxPool2d", "stride", stride, 1)
        self.padding = pair("MaxPool2d", "padding", padding, 0)
        self.dilation = pair("MaxPool2d", "dilation", dilation, 1)
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c oh ow)."""
        return ops.max_pool2d(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )


class AvgPool2d(Module):
    """The mean of each window: see `minigrad.avg_pool2d`. The stride defaults to the window.

    >>> nn.AvgPool2d(2)(mg.zeros((2, 3, 8, 8))).shape
    (2, 3, 4, 4)
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = pair("AvgPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("AvgPool2d", "stride", stride, 1)
        self.padding = pair("AvgPool2d", "padding", padding, 0)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c oh ow)."""
        return ops.avg_pool2d(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )


class LPPool2d(Module):
    """The norm of each window, L2 pooling with norm_type = 2: see `minigrad.lp_pool2d`.

    >>> nn.LPPool2d(2, 2)(mg.ones((1, 1, 2, 2)))
    tensor([[[[2.]]]])
    """

    def __init__(
        self, norm_type: float, kernel_size: Pair, stride: Pair | None = None, *, ceil_mode: bool = False
    ) -> None:
        self.norm_type = norm_type
        self.kernel_size = pair("LPPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("LPPool2d", "stride", stride, 1)
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c oh ow)."""
        return ops.lp_pool2d(x, self.norm_type, self.kernel_size, stride=self.stride, ceil_mode=self.ceil_mode)


class MaxPoolFeatures(Module):
    """The maximum of each window of neighbouring features (maxout): see `minigrad.max_pool_features`.

    >>> nn.MaxPoolFeatures(2)(mg.zeros((5, 10, 8, 8))).shape
    (5, 5, 8, 8)
    """

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        self.kernel_size = positive("MaxPoolFeatures", "kernel_size", kernel_size)
        self.stride = kernel_size if stride is None else positive("MaxPoolFeatures", "stride", stride)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """(n c ...) -> (n oc ...)."""
        return ops.max_pool_features(x, self.kernel_size, stride=self.stride, padding=self.padding)


class LPPoolFeatures(Module):
    """The norm of each window of neighbouring features: see `minigrad.lp_pool_features`.

    >>> nn.LPPoolFeatures(2, 4)(mg.ones((1, 4)))
    tensor([[2.]])
    """

    def __init__(self, norm_type: float, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        self.norm_type = norm_type
        self.kernel_size = positive("LPPoolFeatures", "kernel_size", kernel_size)
        self.stride = kernel_size if stride is None else positive("LPPoolFeatures", "stride", stride)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """(n c ...) -> (n oc ...)."""
        return ops.lp_pool_features(x, self.norm_type, self.kernel_size, stride=self.stride, padding=self.padding)


class AdaptiveAvgPool2d(Module):
    """The means of oh x ow windows that cover the image; 1 is global pooling: see `minigrad.adaptive_avg_pool2d`.

    >>> nn.AdaptiveAvgPool2d(1)(mg.zeros((2, 3, 7, 5))).shape
    (2, 3, 1, 1)
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c oh ow)."""
        return ops.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(Module):
    """The maxima of oh x ow windows that cover the image; 1 is global pooling: see `minigrad.adaptive_max_pool2d`.

    >>> nn.AdaptiveMaxPool2d((3, None))(mg.zeros((2, 3, 7, 5))).shape
    (2, 3, 3, 5)
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c oh ow)."""
        return ops.adaptive_max_pool2d(x, self.output_size)
