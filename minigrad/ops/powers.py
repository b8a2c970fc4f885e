"""Powers and roots of magnitudes, whose derivatives at 0 are 0 in place of infinite: what norms are made of."""

import math
from typing import Any

from minigrad.ops.elementwise import abs, sqrt, where


def power(x: Any, p: float) -> Any:
    """abs(x) ** p."""
    if p == 1:
        return abs(x)
    if p == 2:
        return x * x
    if p % 2 == 0 and p > 0:
        return x**p
    zero = x == 0
    return where(zero, 0.0 if p > 0 else math.inf, abs(where(zero, 1.0, x)) ** p)


def root(x: Any, p: float = 2) -> Any:
    """x ** (1 / p) of what is not negative."""
    if p == 1:
        return x
    zero = x == 0
    inner = where(zero, 1.0, x)
    return where(zero, 0.0 if p > 0 else math.inf, sqrt(inner) if p == 2 else inner ** (1 / p))
