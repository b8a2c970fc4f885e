"""Random numbers from counters, computed on all threads: the words that `numpy.random.Philox` would give."""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import literal_unroll
from numba.core import types
from numba.core.typing.templates import signature

from minigrad.kernels import scalars
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd.tile import intrinsic
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]

WORK = 32  # of a block, in what `sharing` counts: twenty long products


def fractions(*, key: Array, first: int, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Multiples of 2**-24, or in float64 of 2**-53, in [0, 1): the leading bits of the words from block `first` on."""
    out = empty(shape, dtype)
    blocks, bits = -(-out.size // 4), 53 if dtype.itemsize == 8 else 24
    words = np.uint64(first + 1), *key, np.uint64(64 - bits)
    _draw(blocks, sharing(WORK * blocks), out.ravel(), *words, dtype.type(2.0**-bits))
    return out


@intrinsic
def _long_product(typingctx: Any, x: Any, y: Any) -> Any:
    """What `scalars.long_product` computes: processors have an instruction for it."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*[builder.zext(value, wide) for value in values])
        halves = builder.trunc(builder.lshr(product, wide(64)), word), builder.trunc(product, word)
        return context.make_tuple(builder, sig.return_type, halves)

    return signature(types.UniTuple(types.uint64, 2), types.uint64, types.uint64), emit


_philox = jit(forceinline=True)(scalars.linked(scalars.philox, jit, long_product=_long_product))


@shared
def _draw(
    thread: Any, first: Any, stop: Any, out: Any, block: Any, key: Any, other_key: Any, drop: Any, unit: Any
) -> None:  # fmt: skip
    for i in range(first, stop):
        words = _philox(block + np.uint64(i), key, other_key)
        at = 4 * i
        if at + 4 <= len(out):
            for k in literal_unroll((0, 1, 2, 3)):
                out[at + k] = _fraction(words[k], drop, unit)
        else:
            for k in range(len(out) - at):
                out[at + k] = _fraction(words[k], drop, unit)


@jit(forceinline=True)
def _fraction(word: Any, drop: Any, unit: Any) -> Any:
    return type(unit)(np.int64(word >> drop)) * unit
