"""The transforms of Winograd's convolution of windows of 3x3, for squares of 2x2 and 4x4 outputs.

They come from polynomials (Toom and Cook): rows of A, G and B belong to the points 0, 1, -1, infinity for m = 2, and
0, 3/4, -3/4, 3/2, -3/2, infinity for m = 4: the usual 0, 1, -1, 2, -2 would have twice the error. The factors of G and
B are whole numbers, so that the smallest numbers stay exact; at the end y is divided by the excess.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd import fma, full_like, row, stack


class Transforms(NamedTuple):
    """Functions of the rows of a tile.

    input, output
        B' d and A' d.
    gradient, window
        A d and G' d: they transform the other way.
    weight
        G d.
    factor
        What remains, for rows and columns, of the whole numbers in B and G.
    """

    input: Callable[[Any], Any]
    output: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    window: Callable[[Any], Any]
    weight: Callable[[Any], Any]
    factor: float


@jit(forceinline=True)
def _input_2(d: Any) -> Any:
    """B' d for m = 2."""
    return stack((row(d, 0) - row(d, 2), row(d, 1) + row(d, 2), row(d, 2) - row(d, 1), row(d, 1) - row(d, 3)))


@jit(forceinline=True)
def _input_4(d: Any) -> Any:
    """B' d for m = 4."""
    d0, d1, d2, d3, d4, d5 = row(d, 0), row(d, 1), row(d, 2), row(d, 3), row(d, 4), row(d, 5)
    even_p, odd_p = _sum_of(d, -36, d2, 16, d4), _sum_of(d, -27, d1, 12, d3)
    even_q, odd_q = _sum_of(d, -18, d2, 32, d4), _sum_of(d, -27, d1, 48, d3)
    zero = fma(full_like(d, 81), d0, _sum_of(d, -180, d2, 64, d4))
    infinity = fma(full_like(d, 81), d1, _sum_of(d, -180, d3, 64, d5))
    return stack((zero, even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, infinity))


@jit(forceinline=True)
def _sum_of(d: Any, a: Any, x: Any, b: Any, y: Any) -> Any:
    return fma(full_like(d, a), x, full_like(d, b) * y)


@jit(forceinline=True)
def _output_2(d: Any) -> Any:
    """A' d for m = 2."""
    return stack((row(d, 0) + (row(d, 1) + row(d, 2)), (row(d, 1) - row(d, 2)) - row(d, 3)))


@jit(forceinline=True)
def _output_4(d: Any) -> Any:
    """A' d for m = 4."""
    p, q, pp, qq = full_like(d, 0.75), full_like(d, 1.5), full_like(d, 0.5625), full_like(d, 2.25)
    ppp, qqq = full_like(d, 0.421875), full_like(d, 3.375)
    even_p, odd_p = row(d, 1) + row(d, 2), row(d, 1) - row(d, 2)
    even_q, odd_q = row(d, 3) + row(d, 4), row(d, 3) - row(d, 4)
    return stack(
        (
            row(d, 0) + (even_p + even_q),
            fma(q, odd_q, p * odd_p),
            fma(qq, even_q, pp * even_p),
            fma(qqq, odd_q, fma(ppp, odd_p, row(d, 5))),
        )
    )


@jit(forceinline=True)
def _gradient_2(d: Any) -> Any:
    """A d for m = 2."""
    zero = full_like(d, 0)
    return stack((row(d, 0), row(d, 0) + row(d, 1), row(d, 0) - row(d, 1), zero - row(d, 1)))


@jit(forceinline=True)
def _gradient_4(d: Any) -> Any:
    """A d for m = 4."""
    d0, d1, d2, d3 = row(d, 0), row(d, 1), row(d, 2), row(d, 3)
    even_p, odd_p = _sum_of(d, 64, d0, 36, d2), _sum_of(d, 48, d1, 27, d3)
    even_q, odd_q = _sum_of(d, 8, d0, 18, d2), _sum_of(d, 12, d1, 27, d3)
    return stack((d0, even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, d3))


@jit(forceinline=True)
def _window_2(d: Any) -> Any:
    """G' d for m = 2."""
    both, two = row(d, 1) + row(d, 2), full_like(d, 2)
    return stack((fma(two, row(d, 0), both), row(d, 1) - row(d, 2), fma(two, row(d, 3), both)))


@jit(forceinline=True)
def _window_4(d: Any) -> Any:
    """G' d for m = 4."""
    even_p, odd_p = row(d, 1) + row(d, 2), row(d, 2) - row(d, 1)
    even_q, odd_q = row(d, 3) + row(d, 4), row(d, 3) - row(d, 4)
    return stack(
        (
            fma(full_like(d, 192), row(d, 0), full_like(d, 8) * (even_q - even_p)),
            _sum_of(d, 6, odd_p, 12, odd_q),
            fma(full_like(d, 243), row(d, 5), _sum_of(d, -4.5, even_p, 18, even_q)),
        )
    )


@jit(forceinline=True)
def _weight_2(d: Any) -> Any:
    """G d for m = 2."""
    both, two = row(d, 0) + row(d, 2), full_like(d, 2)
    return stack((two * row(d, 0), both + row(d, 1), both - row(d, 1), two * row(d, 2)))


@jit(forceinline=True)
def _weight_4(d: Any) -> Any:
    """G d for m = 4."""
    even_p, odd_p = _sum_of(d, -512, row(d, 0), -288, row(d, 2)), full_like(d, 384) * row(d, 1)
    even_q, odd_q = _sum_of(d, 64, row(d, 0), 144, row(d, 2)), full_like(d, 96) * row(d, 1)
    zero, infinity = full_like(d, 192) * row(d, 0), full_like(d, 243) * row(d, 2)
    return stack((zero, even_p - odd_p, even_p + odd_p, even_q + odd_q, even_q - odd_q, infinity))


TRANSFORMS = {
    2: Transforms(_input_2, _output_2, _gradient_2, _window_2, _weight_2, 1 / 2),
    4: Transforms(_input_4, _output_4, _gradient_4, _window_4, _weight_4, 1 / (243 * 64)),
}
"""By the side m of the squares."""
