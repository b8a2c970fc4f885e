"""The exponential of tiles, by arithmetic alone: the C library takes one number at a time.

It is within 1.1 units in the last place of the true value over the whole range, denormal results included;
exp(inf) = inf, exp(-inf) = 0, exp(NaN) = NaN.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from numba.extending import overload

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import as_floats, as_integers, fma, full_like, select


class Format(NamedTuple):
    """What depends on the format of the floats.

    mantissa, bias
        2**k is the float with the bits (k + bias) << mantissa.
    smallest, largest
        Beyond these the result is 0 or inf.
    ln2_high, ln2_low
        The sum is ln 2. The first has few bits: its product with an exponent is exact.
    terms
        Of the series, so many.
    """

    mantissa: int
    bias: int
    smallest: float
    largest: float
    ln2_high: float
    ln2_low: float
    terms: int


SINGLE = Format(23, 127, -104.0, 89.0, 0.693359375, -0.00021219444005469057, 8)
DOUBLE = Format(52, 1023, -746.0, 710.0, 0.6931471804855391, 7.440617110012397e-11, 14)


def exp(x: Any) -> Any:
    """e to the power x, for kernels."""


@overload(exp, strict=False)
def _choose(x: Any) -> Any:
    compute = _exp32 if x.dtype.bitwidth == 32 else _exp64
    return lambda x: compute(x)


def _exponential(form: Format) -> Callable[[Any], Any]:
    """Compile 2**k * exp(r) with x = k ln 2 + r, k an integer and r in [-ln 2 / 2, ln 2 / 2].

    2**k itself may be neither finite nor normal, so there are two factors, 2**(k // 2) and the rest.
    """
    mantissa, smallest, largest, log2_e = form.mantissa, form.smallest, form.largest, 1 / math.log(2)
    minus_high, minus_low = -form.ln2_high, -form.ln2_low
    rounder = 1.5 * 2**mantissa + 2 * form.bias  # x + rounder has no fraction, and x + 2 * bias in its low bits
    series = tuple(1 / math.factorial(k) for k in reversed(range(2, form.terms)))
    leading, others = series[0], series[1:]

    @jit(forceinline=True)
    def compute(x: Any) -> Any:
        low, high = full_like(x, smallest), full_like(x, largest)
        x = select(x > high, high, select(x < low, low, x))  # both comparisons let NaN through
        shifted = fma(x, full_like(x, log2_e), full_like(x, rounder))
        k = shifted - full_like(x, rounder)
        r = fma(k, full_like(x, minus_low), fma(k, full_like(x, minus_high), x))
        y = full_like(x, leading)
        for term in others:
            y = fma(y, r, full_like(x, term))
        y = fma(y, r * r, r) + full_like(x, 1.0)
        bits = as_integers(shifted)
        one, place = full_like(bits, 1), full_like(bits, mantissa)
        half = bits >> one
        return y * as_floats(half << place) * as_floats((bits - half) << place)

    return compute


_exp32, _exp64 = _exponential(SINGLE), _exponential(DOUBLE)
