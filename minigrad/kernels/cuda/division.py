"""Division by numbers that the host knows: a multiplication and a shift on the device.

Granlund and Montgomery, "Division by invariant integers using multiplication" (1994).
"""

import functools
from typing import Any

WORD = (1 << 32) - 1
"""An integer & this is one of 32 bits without a sign, for which a product is one instruction."""

LIMIT = 1 << 31


@functools.lru_cache(maxsize=4096)
def divisor(d: int) -> tuple[int, int, int]:
    """d, or 1 for 0, and a factor and shift by which (i * factor) >> shift is i // d for all i from 0 to 2^31 - 1.

    >>> _, factor, shift = divisor(7)
    >>> (2**31 - 1) * factor >> shift == (2**31 - 1) // 7
    True
    """
    d = max(1, d)
    shift = 31 + (d - 1).bit_length()
    return d, -(-(1 << shift) // d), shift


def quotient(i: Any, by: Any) -> Any:
    """i // d, for i from 0 on, by what `divisor` says of d."""
    return ((i & WORD) * (by[1] & WORD)) >> by[2] if i < LIMIT else i // by[0]


def split(i: Any, by: Any) -> Any:
    """The quotient and the rest."""
    whole = quotient(i, by)
    return whole, i - whole * by[0]
