"""The exponential and its relatives for tiles, by arithmetic alone: the C library takes one number at a time.

| | within so many units in the last place, denormal results included |
|---|---|
| exp(x) | 1.1 |
| expm1(x), x <= 0 | 1.5 |
| log1p(x), 0 <= x <= 1 | 2 |
| erfc(x) | 7, where products and sums are rounded together |
| erf(x) | 3 |
| tanh(x) | 3 |

NaN stays NaN, and infinities have the limits of the functions.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from numba.extending import overload

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import as_floats, as_integers, fma, full_like, minimum, select


class Format(NamedTuple):
    """What depends on the format of the floats.

    mantissa, bias
        2**k is the float with the bits (k + bias) << mantissa.
    smallest, largest
        Beyond these exp is 0 or inf.
    ln2_high, ln2_low
        The sum is ln 2. The first has few bits: its product with an exponent is exact.
    terms, odd_terms, erf_terms
        Of the series of exp, of artanh and of erf, so many.
    gone
        From here on erfc is 0.
    erfc
        The polynomial that interpolates exp(a * a) * erfc(a) / t from 0 to `gone`, in t - 1/2 with t = 1 / (1 + a / 2),
        at the nodes of Chebyshev; the highest power first.
    """

    mantissa: int
    bias: int
    smallest: float
    largest: float
    ln2_high: float
    ln2_low: float
    terms: int
    odd_terms: int
    erf_terms: int
    gone: float
    erfc: tuple[float, ...]


SINGLE = Format(
    *(23, 127, -104.0, 89.0, 0.693359375, -0.00021219444005469057, 8, 8, 11, 10.2),
    erfc=(
        *(0.0328475194, -0.0100928767, -0.0752528075, 0.0526976107, 0.0979649797, -0.103559353),
        *(-0.172044987, 0.145765084, 0.558943532, 0.687160718, 0.510791354),
    ),
)
DOUBLE = Format(
    *(52, 1023, -746.0, 710.0, 0.6931471804855391, 7.440617110012397e-11, 14, 16, 19, 27.3),
    erfc=(
        *(-0.049040784774843194, 0.062362316644277334, 0.050176903615009205, -0.11708942159716129, 0.02437149970764),
        *(0.08368792446472444, -0.08103372206743661, 0.000390827732852782, 0.06658640280819587, -0.059795942003450224),
        *(-0.009330784386965451, 0.06604180403572106, -0.04442527997514532, -0.034969199883869095, 0.0739685678968013),
        *(-0.008799055657966456, -0.0848733929927356, 0.05358694714715195, 0.0988995855707355, -0.10366696107129407),
        *(-0.1720852951124181, 0.14576892602743188, 0.5589441851120949, 0.6871606844138107, 0.5107913526210115),
    ),
)


def exp(x: Any) -> Any:
    """e to the power x."""


def expm1(x: Any) -> Any:
    """exp(x) - 1 for x <= 0, without cancellation where x is small."""


def log1p(x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1, without cancellation where x is small."""


def erfc(x: Any) -> Any:
    """The complement of the error function, 2 / sqrt(pi) times the integral of exp(-t * t) from x on."""


def erf(x: Any) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x."""


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""


def _polynomial(coefficients: tuple[float, ...]) -> Callable[[Any], Any]:
    """Compile a polynomial by Horner's rule, the highest power first."""
    leading, others = coefficients[0], coefficients[1:]

    @jit(forceinline=True)
    def compute(x: Any) -> Any:
        y = full_like(x, leading)
        for coefficient in others:
            y = fma(y, x, full_like(x, coefficient))
        return y

    return compute


def _exponentials(form: Format) -> tuple[Callable[[Any], Any], ...]:
    """Compile exp, expm1 and tanh from x = k ln 2 + r, k an integer and r in [-ln 2 / 2, ln 2 / 2]."""
    mantissa, bias, smallest, largest, log2_e = form.mantissa, form.bias, form.smallest, form.largest, 1 / math.log(2)
    minus_high, minus_low = -form.ln2_high, -form.ln2_low
    rounder = 1.5 * 2**mantissa + 2 * bias  # x + rounder has no fraction, and x + 2 * bias in its low bits
    series = _polynomial(tuple(1 / math.factorial(k) for k in reversed(range(2, form.terms))))

    @jit(forceinline=True)
    def parts(x: Any) -> Any:
        """exp(r) - 1, and k + 2 * bias."""
        shifted = fma(x, full_like(x, log2_e), full_like(x, rounder))
        k = shifted - full_like(x, rounder)
        r = fma(k, full_like(x, minus_low), fma(k, full_like(x, minus_high), x))
        return fma(series(r), r * r, r), as_integers(shifted)

    @jit(forceinline=True)
    def parts_anywhere(x: Any) -> Any:
        """exp(r) - 1, and two factors of 2**k, which itself may be neither finite nor normal."""
        low, high = full_like(x, smallest), full_like(x, largest)
        y, bits = parts(select(x > high, high, select(x < low, low, x)))  # both comparisons let NaN through
        one, place = full_like(bits, 1), full_like(bits, mantissa)
        half = bits >> one
        return y, as_floats(half << place), as_floats((bits - half) << place)

    @jit(forceinline=True)
    def power(x: Any) -> Any:
        y, a, b = parts_anywhere(x)
        return (y + full_like(x, 1)) * a * b

    @jit(forceinline=True)
    def power_less_one(x: Any) -> Any:
        y, a, b = parts_anywhere(x)
        return y * a * b + (a * b - full_like(x, 1))

    @jit(forceinline=True)
    def tangent(x: Any) -> Any:
        """-m / (2 + m) with m = expm1(-2 abs(x)), the other way round below 0; beyond 22 it is 1, near 0 it is x."""
        least, twice = full_like(x, -44), full_like(x, -2) * abs(x)
        y, bits = parts(select(twice < least, least, twice))
        a = as_floats((bits - full_like(bits, bias)) << full_like(bits, mantissa))
        m = fma(y, a, a - full_like(x, 1))
        y = m / (m + full_like(x, 2))
        y = select(x < full_like(x, 0), y, -y)
        return select(abs(x) < full_like(x, 2**-28), x, y)  # a zero keeps its sign

    return power, power_less_one, tangent


def _logarithm(form: Format) -> Callable[[Any], Any]:
    """Compile log(1 + x) = 2 artanh(s) with s = x / (2 + x), which is at most a third."""
    series = _polynomial(tuple(1 / (2 * k + 1) for k in reversed(range(1, form.odd_terms))))

    @jit(forceinline=True)
    def compute(x: Any) -> Any:
        s = x / (x + full_like(x, 2))
        both, square = s + s, s * s
        return fma(both * square, series(square), both)

    return compute


def _complement(form: Format, power: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile erfc(a) = exp(-a * a) * t * polynomial(t - 1/2) for a >= 0, and erfc(-a) = 2 - erfc(a)."""
    gone, series = form.gone, _polynomial(form.erfc)

    @jit(forceinline=True)
    def compute(x: Any) -> Any:
        zero, one = full_like(x, 0), full_like(x, 1)
        a = minimum(abs(x), full_like(x, gone))
        half = full_like(x, 0.5)
        t = one / fma(a, half, one)
        y, square = t * series(t - half), a * a
        lost = fma(a, -a, square)  # by rounding: an exponent's error is the result's relative error
        tail = power(-square) * fma(y, lost, y)
        return select(x < zero, full_like(x, 2) - tail, tail)

    return compute


def _error_function(form: Format, complement: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile erf: its series up to 1, beyond by its complement."""
    scale, powers = 2 / math.sqrt(math.pi), reversed(range(form.erf_terms))
    series = _polynomial(tuple(scale * (-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in powers))

    @jit(forceinline=True)
    def compute(x: Any) -> Any:
        zero, one = full_like(x, 0), full_like(x, 1)
        beyond = one - complement(abs(x))
        return select(abs(x) < one, x * series(x * x), select(x < zero, -beyond, beyond))

    return compute


def _define(function: Callable[[Any], Any], single: Callable[[Any], Any], double: Callable[[Any], Any]) -> None:
    """Let kernels call a function of tiles of either format."""

    @overload(function, strict=False)
    def choose(x: Any) -> Any:
        compute = single if x.dtype.bitwidth == 32 else double
        return lambda x: compute(x)


(_exp32, *_others32), (_exp64, *_others64) = _exponentials(SINGLE), _exponentials(DOUBLE)
_define(exp, _exp32, _exp64)
for _function, _single, _double in zip((expm1, tanh), _others32, _others64, strict=True):
    _define(_function, _single, _double)
_define(log1p, _logarithm(SINGLE), _logarithm(DOUBLE))
_erfc32, _erfc64 = _complement(SINGLE, _exp32), _complement(DOUBLE, _exp64)
_define(erfc, _erfc32, _erfc64)
_define(erf, _error_function(SINGLE, _erfc32), _error_function(DOUBLE, _erfc64))
