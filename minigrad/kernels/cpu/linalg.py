"""Matrix products on the CPU: the threads of the other kernels for those of a layer, BLAS for the rest.

BLAS has threads of its own, which go on spinning for milliseconds after a product and take the processor from the
kernels that follow: a convnet whose linear layers go through a threaded BLAS takes three times as long. Where a product
is small it is therefore computed here; where it is large BLAS is worth its threads.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import kernel
from minigrad.kernels.cpu.conv import sum_runs
from minigrad.kernels.cpu.memory import empty

Array = npt.NDArray[Any]

TINY, LARGE = 1 << 14, 1 << 24  # multiplications, between which a product is computed here
NARROW = 8  # rows or columns, below which vectors would be mostly empty


def matmul(x: Array, y: Array) -> Array:
    """Multiply matrices (... i j) and (... j k), as `numpy.matmul` does."""
    wide = x.ndim == 2 and y.ndim == 2 and min(len(x), y.shape[1]) >= NARROW
    if wide and x.dtype.kind == "f" and TINY < x.size * y.shape[1] <= LARGE:
        out = empty((len(x), y.shape[1]), x.dtype)
        starts = np.arange(len(y), dtype=np.uintp) * np.uintp(y.shape[1])
        _multiply_rows(out, np.ascontiguousarray(x), np.ascontiguousarray(y).reshape(-1), starts)
        return out
    with np.errstate(all="ignore"):
        return np.asarray(np.matmul(x, y))


@kernel
def _multiply_rows(out: Any, x: Any, y: Any, starts: Any) -> None:
    for i in prange(len(out)):
        sum_runs(out[i], y, starts, x[i])
