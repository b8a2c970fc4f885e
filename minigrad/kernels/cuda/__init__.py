"""The GPU's kernels, compiled by numba.cuda; where NUMBA_ENABLE_CUDASIM=1, they run in its simulator.

Arrays are strided views of buffers in the memory of the device. Views cost nothing, and every kernel that wants its
input in one piece says so by `contiguous`. No kernel adds numbers in an order that depends on timing: the same call
gives the same bits.
"""

import importlib
from collections.abc import Callable
from typing import Any

from minigrad.kernels.cuda.array import Array, from_numpy
from minigrad.kernels.cuda.machine import is_available

__all__ = ["Array", "from_numpy", "is_available"]

_HOME = {
    "exchange": ("from_dlpack",),
    "checks": ("check_within",),
    "elementwise": ("where",),
    "views": ("alias", "permute_dims", "broadcast_to"),
    "copies": ("to_numpy", "to_device", "reshape", "astype", "concat", "scalar", "full"),
    "matrices": ("matmul", "linear", "linear_backward"),
    "conv": ("conv2d", "conv2d_input", "conv2d_weight"),
    "indexing": (*("getitem", "scatter", "index_put", "take_along_axis", "scatter_along_axis", "argwhere", "one_hot"),),
    "sorting": ("argsort", "argtopk"),
    "activations": (
        *("silu", "silu_backward", "softplus", "softplus_backward", "gelu", "gelu_backward"),
        *("elu", "elu_backward", "leaky_relu", "leaky_relu_backward"),
    ),
    "softmaxes": (
        *("softmax", "softmax_backward", "log_softmax", "log_softmax_backward"),
        *("softmax_cross_entropy", "softmax_cross_entropy_backward"),
    ),
    "scans": ("cumulative_sum",),
    "windows": (
        *("unfold", "fold", "max_pool2d", "max_pool2d_backward", "max_pool2d_argmax", "avg_pool2d", "avg_pool2d_input"),
    ),
    "norm": ("batch_norm", "batch_norm_backward"),
    "random": ("fractions",),
    "optim": ("sgd_step", "adam_step"),
    "conv_pool": ("conv2d_pool", "conv2d_pool_backward"),
    "reductions": ("sum", "any", "all", "argmax", "argmin", "max", "max_backward", "min", "min_backward"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Callable[..., Any]:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    elementwise = importlib.import_module(f"{__name__}.elementwise")
    if name in elementwise.KERNELS:
        return elementwise.KERNELS[name]
    raise AttributeError(f"the GPU has no kernel {name!r}")
