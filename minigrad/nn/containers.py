"""Layers after layers."""

import math
from collections.abc import Iterator

from minigrad.errors import OperandError
from minigrad.nn.fusion import first_step
from minigrad.nn.module import Module
from minigrad.ops.checks import one_axis
from minigrad.tensor import Tensor


class Sequential(Module):
    """Modules applied one after the other; they are called "0", "1", ... in paths.

    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential()                                          9 parameters
      0: Linear(in_features=2, out_features=3)          9
      1: ReLU()
    """

    def __init__(self, *modules: Module) -> None:
        for module in modules:
            if not isinstance(module, Module):
                raise OperandError(
                    f"Sequential: a {type(module).__name__} is not a module\n"
                    "hint: pass modules one by one; a function becomes one in the forward of a class of its own"
                )
        vars(self).update({str(i): module for i, module in enumerate(modules)})

    def __iter__(self) -> Iterator[Module]:
        return (part for part in vars(self).values() if isinstance(part, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Tensor) -> Tensor:
        """Feed each module with the result of the one before; chains that one op computes go through it."""
        layers = list(self)
        while layers:
            count, call = first_step(layers)
            x = call(x)
            layers = layers[count:]
        return x


class Flatten(Module):
    """All axes from `start_axis` on joined into one.

    >>> nn.Flatten()(mg.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_axis: int = 1) -> None:
        self.start_axis = start_axis

    def forward(self, x: Tensor) -> Tensor:
        """(n ...) -> (n size)."""
        start = one_axis("Flatten", self.start_axis, x.ndim, x)
        return x.reshape((*x.shape[:start], math.prod(x.shape[start:])))
