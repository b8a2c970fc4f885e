"""Fully connected layers."""

from typing import Any

from minigrad import ops
from minigrad.errors import ArgumentError
from minigrad.nn.init import fan_in_uniform
from minigrad.nn.module import Module
from minigrad.ops.checks import integer
from minigrad.random import Generator
from minigrad.tensor import Tensor


class Linear(Module):
    """y = x @ weight.mT + bias: see `minigrad.linear`.

    Parameters
    ----------
    in_features, out_features
        Sizes of the last axis of x (... i) and y (... o); the weight is (o i).
    bias
        Whether to add a bias (o).
    generator
        Where the first values come from; by default the stream of `minigrad.manual_seed`.

    Examples
    --------
    >>> nn.Linear(3, 2)(mg.zeros((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, generator: Generator | None = None
    ) -> None:
        self.in_features = positive("Linear", "in_features", in_features)
        self.out_features = positive("Linear", "out_features", out_features)
        self.weight = fan_in_uniform((out_features, in_features), in_features, generator)
        self.bias = fan_in_uniform((out_features,), in_features, generator) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(... i) -> (... o)."""
        return ops.linear(x, self.weight, self.bias)


def positive(layer: str, name: str, value: Any) -> int:
    """Require a positive integer."""
    if integer(layer, name, value) < 1:
        raise ArgumentError(f"{layer}: {name} = {value} is less than 1")
    return int(value)
