"""Matrix products on the CPU: the threads of the other kernels for those of a layer, BLAS for the rest.

BLAS has threads of its own, which go on spinning for milliseconds after a product and take the processor from the
kernels that follow: a convnet whose linear layers go through a threaded BLAS takes three times as long. Where a product
is small it is therefore computed here; where it is large BLAS is worth its threads.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.conv import correlate
from minigrad.kernels.cpu.generic import SILENCE

Array = npt.NDArray[Any]

TINY, LARGE = 1 << 14, 1 << 24  # multiplications, between which a product is computed here
NARROW = 8  # rows or columns, below which vectors would be mostly empty


def matmul(x: Array, y: Array) -> Array:
    """Multiply matrices (... i j) and (... j k), as `numpy.matmul` does."""
    wide = x.ndim == 2 and y.ndim == 2 and min(len(x), y.shape[1]) >= NARROW
    if wide and x.dtype.kind == "f" and TINY < x.size * y.shape[1] <= LARGE:
        images, kernels = y[None, :, None, :], x[:, :, None, None]  # a convolution of one pixel
        return correlate(images, kernels, (1, y.shape[1]), (1, 1), (0, 0), (1, 1), groups=1)[0, :, 0]
    return np.asarray(SILENCE.run(np.matmul, x, y))
