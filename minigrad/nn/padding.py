"""Margins around images, and images in another size."""

from typing import Any

from minigrad import ops
from minigrad.errors import ArgumentError, ShapeError, message
from minigrad.nn.module import Module
from minigrad.ops.checks import integer, variable
from minigrad.tensor import Tensor


class _Pad2d(Module):
    mode = "constant"
    value = 0.0

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        name = type(self).__name__
        sides = padding if isinstance(padding, (tuple, list)) else (padding,) * 4
        if len(sides) != 4 or any(integer(name, "padding", side) < 0 for side in sides):
            raise ArgumentError(f"{name}: padding = {padding} is neither a size nor (left, right, top, bottom)")
        self.padding = tuple(sides)

    def forward(self, x: Tensor) -> Tensor:
        """(... h w), larger by the margins."""
        if variable(type(self).__name__, "x", x).ndim < 2:
            headline = f"{type(self).__name__}: x has {x.ndim} axes, an image at least 2"
            raise ShapeError(message(headline, [("x", "", x)]))
        left, right, top, bottom = self.padding
        widths = (*((0, 0),) * (x.ndim - 2), (top, bottom), (left, right))
        return ops.pad(x, widths, mode=self.mode, value=self.value)


class ConstantPad2d(_Pad2d):
    """A margin of one value around images (... h w).

    Parameters
    ----------
    padding
        Pixels on each side, or (left, right, top, bottom).
    value
        A number.

    Examples
    --------
    >>> nn.ConstantPad2d((1, 0, 0, 1), 5.0)(mg.zeros((1, 2)))
    tensor([[5., 0., 0.],
            [5., 5., 5.]])
    """

    def __init__(self, padding: int | tuple[int, int, int, int], value: float) -> None:
        super().__init__(padding)
        self.value = value


class ZeroPad2d(_Pad2d):
    """A margin of zeros around images: see `ConstantPad2d`.

    >>> nn.ZeroPad2d(1)(mg.ones((1, 1)))
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]])
    """


class ReflectionPad2d(_Pad2d):
    """Images mirrored at their first and last rows and columns, which are not repeated: see `ConstantPad2d`.

    >>> nn.ReflectionPad2d((2, 1, 0, 0))(mg.tensor([[1, 2, 3]]))
    tensor([[3, 2, 1, 2, 3, 2]])
    """

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Images with their first and last rows and columns repeated: see `ConstantPad2d`.

    >>> nn.ReplicationPad2d((2, 1, 0, 0))(mg.tensor([[1, 2, 3]]))
    tensor([[1, 1, 1, 2, 3, 3]])
    """

    mode = "replicate"


class CircularPad2d(_Pad2d):
    """Images wrapped around: see `ConstantPad2d`.

    >>> nn.CircularPad2d((2, 1, 0, 0))(mg.tensor([[1, 2, 3]]))
    tensor([[2, 3, 1, 2, 3, 1]])
    """

    mode = "circular"


class Upsample(Module):
    """Images in another size: see `minigrad.interpolate`.

    >>> nn.Upsample(scale_factor=2)(mg.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool = False
    ) -> None:
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c oh ow)."""
        return ops.interpolate(
            x, self.size, scale_factor=self.scale_factor, mode=self.mode, align_corners=self.align_corners
        )
