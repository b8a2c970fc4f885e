"""Nonlinearities, as layers."""

from minigrad import ops
from minigrad.nn.module import Module
from minigrad.tensor import Tensor


class ReLU(Module):
    """max(x, 0).

    >>> nn.ReLU()(mg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent.

    >>> nn.Tanh()(mg.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)).

    >>> nn.Sigmoid()(mg.tensor([0.0]))
    tensor([0.5])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.sigmoid(x)
