"""Layers after layers."""

import math
from collections.abc import Iterator
from typing import overload

from minigrad.errors import ArgumentError, OperandError
from minigrad.nn.fusion import advance
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
        return iter([part for part in vars(self).values() if isinstance(part, Module)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, i: int) -> Module: ...

    @overload
    def __getitem__(self, i: slice) -> "Sequential": ...

    def __getitem__(self, i: int | slice) -> Module:
        layers = list(self)
        return Sequential(*layers[i]) if isinstance(i, slice) else layers[i]

    def forward(self, x: Tensor) -> Tensor:
        """Feed each module with the result of the one before; chains that one op computes go through it."""
        layers = [*iter(self)]  # not list(self), which asks for the length first
        while layers:
            count, x = advance(layers, x)
            del layers[:count]
        return x


class Flatten(Module):
    """The axes from `start_dim` to `end_dim`, both included, joined into one.

    >>> nn.Flatten()(mg.zeros((2, 3, 4))).shape
    (2, 12)
    >>> nn.Flatten(0, 1)(mg.zeros((2, 3, 4))).shape
    (6, 4)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        """(n ...) -> (n size)."""
        shape = x.shape
        start = one_axis("Flatten", self.start_dim, len(shape), x)
        end = one_axis("Flatten", self.end_dim, len(shape), x)
        if end < start:
            raise ArgumentError(f"Flatten: end_dim = {self.end_dim} comes before start_dim = {self.start_dim}")
        return x.reshape((*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))
