"""minigrad: tensors, automatic differentiation and neural networks, with an engine to read in an afternoon.

    import minigrad as mg

    x = mg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad                                   # tensor([2., 4.])

The names are those of the Python array API standard, as far as they go; `minigrad.nn`, `minigrad.optim`,
`minigrad.data`, `minigrad.io`, `minigrad.cuda` and `minigrad.testing` are loaded at their first use.
"""

import importlib
import math
from typing import Any

from minigrad import ops, tree
from minigrad.creation import (
    arange,
    asarray,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from minigrad.drawing import draw_graph
from minigrad.dtypes import boolean as bool
from minigrad.dtypes import (
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from minigrad.errors import MinigradError, suggestion
from minigrad.nonfinite import debug
from minigrad.ops import *
from minigrad.ops.define import define_op
from minigrad.random import Generator, manual_seed
from minigrad.recompute import checkpoint
from minigrad.runtime import (
    MemoryStats,
    get_conv_precision,
    get_num_threads,
    limit_kept_memory,
    memory_stats,
    release_memory,
    set_conv_precision,
    set_num_threads,
)
from minigrad.tensor import Tensor, enable_grad, no_grad
from minigrad.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"

pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None

_ROOMS = ("cuda", "data", "io", "nn", "optim", "random", "testing")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"minigrad.{name}")
    raise AttributeError(f"minigrad has no {name!r}{suggestion(name, [*globals(), *_ROOMS])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
