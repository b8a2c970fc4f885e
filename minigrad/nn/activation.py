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


class Softplus(Module):
    """A smooth ReLU: see `minigrad.softplus`.

    >>> nn.Softplus()(mg.tensor([0.0]))
    tensor([0.6931])
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.softplus(x, beta=self.beta)


class SiLU(Module):
    """x * sigmoid(x): see `minigrad.silu`.

    >>> nn.SiLU()(mg.tensor([1.0]))
    tensor([0.7311])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.silu(x)


class GELU(Module):
    """x times the normal distribution function of x: see `minigrad.gelu`.

    >>> nn.GELU(approximate="tanh")(mg.tensor([1.0]))
    tensor([0.8412])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.gelu(x, approximate=self.approximate)


class ELU(Module):
    """x, or alpha (exp(x) - 1) where x is negative: see `minigrad.elu`.

    >>> nn.ELU()(mg.tensor([-1.0]))
    tensor([-0.6321])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.elu(x, alpha=self.alpha)


class LeakyReLU(Module):
    """x, or negative_slope * x where x is negative: see `minigrad.leaky_relu`.

    >>> nn.LeakyReLU()(mg.tensor([-1.0]))
    tensor([-0.01])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.leaky_relu(x, negative_slope=self.negative_slope)


class Hardtanh(Module):
    """x between two bounds: see `minigrad.hardtanh`.

    >>> nn.Hardtanh()(mg.tensor([-3.0]))
    tensor([-1.])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.hardtanh(x, min_val=self.min_val, max_val=self.max_val)


class ReLU6(Module):
    """min(max(x, 0), 6).

    >>> nn.ReLU6()(mg.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return ops.relu6(x)
