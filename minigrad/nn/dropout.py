"""Dropout."""

from minigrad import random
from minigrad.errors import ArgumentError
from minigrad.nn.module import Module
from minigrad.random import Generator
from minigrad.tensor import Tensor


class Dropout(Module):
    """In training, set each element to zero with probability p and divide the rest by 1 - p (Srivastava et al., 2014).

    Parameters
    ----------
    p
        The probability of dropping, in [0, 1].
    generator
        Where the masks come from; by default the stream of `minigrad.manual_seed`.

    Examples
    --------
    >>> nn.Dropout(0.5).eval()(mg.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: p = {p} is not a probability")
        self.p = p
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        kept = (self.generator or random.default).uniform(x.shape, device=x.device) >= self.p
        return x * (kept.astype(x.dtype) / (1 - self.p))
