"""The exponential, as arithmetic that LLVM turns into vector instructions: the C library takes one number at a time.

For float32 it is within 1.1 units in the last place of the true value over the whole range, denormal results included;
exp(inf) = inf, exp(-inf) = 0, exp(NaN) = NaN. For float64 it is the C library's.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from minigrad.kernels.cpu.compiler import jit

LARGEST, SMALLEST = np.float32(89), np.float32(-104)  # beyond these the result is inf or 0
LOG2_E = np.float32(1 / math.log(2))
LN2_HIGH = np.float32(0.693359375)  # few bits: its product with an exponent is exact
LN2_LOW = np.float32(math.log(2) - 0.693359375)
ROUNDER = np.float32(1.5 * 2**23)  # x + ROUNDER has no fraction, and the nearest integer to x in its low bits
ROUNDER_BITS = ROUNDER.view(np.int32)
BIAS, MANTISSA = np.int32(127), np.int32(23)  # 2**k is the float32 with the bits (k + BIAS) << MANTISSA
TERMS = tuple(np.float32(1 / math.factorial(k)) for k in range(8))


def exp(x: Any) -> Any:
    """e to the power x, for kernels."""


@overload(exp, strict=False)
def _choose(x: Any) -> Any:
    return (lambda x: _exp32(x)) if x == types.float32 else (lambda x: math.exp(x))


@jit(fastmath={"contract"})
def _exp32(x: Any) -> Any:
    """2**k * exp(r) with x = k ln 2 + r, k an integer and r in [-ln 2 / 2, ln 2 / 2]."""
    x = LARGEST if x > LARGEST else x  # both comparisons let NaN through
    x = SMALLEST if x < SMALLEST else x
    shifted = np.float32(x * LOG2_E + ROUNDER)
    k = np.int32(shifted.view(np.int32) - ROUNDER_BITS)
    whole = shifted - ROUNDER
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    y = TERMS[7]
    y = y * r + TERMS[6]
    y = y * r + TERMS[5]
    y = y * r + TERMS[4]
    y = y * r + TERMS[3]
    y = y * r + TERMS[2]
    y = y * (r * r) + r + TERMS[0]
    half = np.int32(k >> 1)  # 2**k itself may be neither finite nor normal
    return y * _power_of_two(half) * _power_of_two(k - half)


@jit
def _power_of_two(k: Any) -> Any:
    return np.int32((k + BIAS) << MANTISSA).view(np.float32)
