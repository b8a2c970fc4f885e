"""Random numbers from counters: the words that the CPU would draw."""

from typing import Any

import numpy as np
from numba import cuda, int64, uint64

from minigrad.kernels.cuda.array import Array, empty
from minigrad.kernels.cuda.compiler import kernel
from minigrad.kernels.cuda.intrinsics import store4
from minigrad.kernels.scalars import philox


def fractions(*, key: np.ndarray, first: int, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Multiples of 2**-24, or in float64 of 2**-53, in [0, 1): the leading bits of the words from block `first` on."""
    out = empty(shape, dtype)
    bits, count = 53 if dtype.itemsize == 8 else 24, out.size
    draw.over(-(-count // 4), out, np.uint64(first + 1), *key, count, np.uint64(64 - bits), dtype.type(2.0**-bits))
    return out


@kernel
def draw(n: Any, out: Any, first: Any, key: Any, other_key: Any, count: Any, drop: Any, unit: Any) -> None:
    """The four fractions of each block."""
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        words = philox(first + uint64(i), key, other_key)
        if 4 * i + 4 <= count:
            a, b, c, d = words
            one, two = type(unit)(int64(a >> drop)) * unit, type(unit)(int64(b >> drop)) * unit
            store4(out, 4 * i, one, two, type(unit)(int64(c >> drop)) * unit, type(unit)(int64(d >> drop)) * unit)
        else:
            for k in range(count - 4 * i):
                out[4 * i + k] = type(unit)(int64(words[k] >> drop)) * unit
