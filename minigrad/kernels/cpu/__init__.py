"""The CPU's kernels: numpy where numpy is already the obvious choice, numba where it is not.

The numba modules are imported at the first use of one of their kernels.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.kernels.cpu import generic

Array = np.ndarray
from_numpy = to_numpy = np.asarray


def is_available() -> bool:
    """Yes."""
    return True


_COMPILED = {
    "conv": ("conv2d", "conv2d_input", "conv2d_weight"),
    "conv_pool": ("conv2d_pool",),
    "winners": ("conv2d_pool_backward",),
    "max_pool": ("max_pool2d", "max_pool2d_backward", "max_pool2d_argmax"),
    "avg_pool": ("avg_pool2d", "avg_pool2d_input"),
    "linalg": ("matmul", "linear", "linear_backward"),
    "norm": ("batch_norm", "batch_norm_backward"),
    "softmaxes": ("softmax", "softmax_backward", "log_softmax", "log_softmax_backward"),
    "loss": ("softmax_cross_entropy", "softmax_cross_entropy_backward"),
    "gather": ("take_along_axis", "scatter_along_axis"),
    "activations": tuple(
        name + ending for name in ("silu", "softplus", "gelu", "elu", "leaky_relu") for ending in ("", "_backward")
    ),
    "elementwise": ("erf", "erfc"),
    "patches": ("unfold", "fold"),
    "scans": ("cumulative_sum", "cumulative_prod", "cumulative_prod_backward", "prod", "prod_backward"),
    "optim": ("sgd_step", "adam_step"),
    "random": ("fractions",),
}
_HOME = {name: module for module, names in _COMPILED.items() for name in names}


def __getattr__(name: str) -> Callable[..., Any]:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in generic.KERNELS:
        return generic.KERNELS[name]
    raise AttributeError(f"the CPU has no kernel {name!r}")
