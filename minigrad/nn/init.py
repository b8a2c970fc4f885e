"""First values of parameters: the defaults of PyTorch's layers."""

import math
from collections.abc import Sequence

from minigrad import random
from minigrad.nn.module import Parameter
from minigrad.random import Generator


def fan_in_uniform(shape: Sequence[int], fan_in: int, generator: Generator | None = None) -> Parameter:
    """A parameter drawn evenly from [-1/sqrt(fan_in), 1/sqrt(fan_in)].

    It is the "Kaiming uniform" rule of He et al. (2015) with a = sqrt(5), as the layers of PyTorch apply it.

    >>> nn.init.fan_in_uniform((3, 4), 4).shape
    (3, 4)
    """
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return Parameter((generator or random.default).uniform(tuple(shape), -bound, bound))
