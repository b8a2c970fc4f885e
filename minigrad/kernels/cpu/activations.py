"""Activations and their gradients, each in one pass on all threads."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels import scalars
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import SMALL, empty
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Kernel = Callable[..., None]


def _pair(value: Callable[[Any, Any], Any], slope: Callable[[Any, Any], Any]) -> tuple[Kernel, Kernel]:
    """A kernel for the values, and one for the slopes times a cotangent."""
    value, slope = jit(scalars.linked(value, jit)), jit(scalars.linked(slope, jit))

    @jit
    def values_of(out: Any, x: Any, option: Any, start: Any, stop: Any) -> None:
        for i in range(np.uintp(start), np.uintp(stop)):
            out[i] = value(x[i], option)

    @kernel
    def values(out: Any, x: Any, option: Any, parts: Any) -> None:
        for p in prange(parts):
            values_of(out, x, option, np.intp(p) * len(out) // parts, (np.intp(p) + 1) * len(out) // parts)

    @jit
    def slopes_of(out: Any, g: Any, x: Any, option: Any, start: Any, stop: Any) -> None:
        for i in range(np.uintp(start), np.uintp(stop)):
            out[i] = g[i] * slope(x[i], option)

    @kernel
    def slopes(out: Any, g: Any, x: Any, option: Any, parts: Any) -> None:
        for p in prange(parts):
            slopes_of(out, g, x, option, np.intp(p) * len(out) // parts, (np.intp(p) + 1) * len(out) // parts)

    return values, slopes


def _activation(choose: Callable[..., tuple[tuple[Kernel, Kernel], float]]) -> tuple[Callable[..., Any], ...]:
    """The kernels of a fused op, whose options choose a pair of kernels and their option."""

    def forward(x: Array, *, residuals: bool, **options: Any) -> tuple[Array, tuple[()]]:
        (values, _), option = choose(**options)
        out = empty(x.shape, x.dtype)
        values(out.reshape(-1), _flat(x), x.dtype.type(option), _parts(x))
        return out, ()

    def backward(
        g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Any, residuals: tuple[()], **options: Any
    ) -> tuple[Array]:
        (x,), ((_, slopes), option) = inputs, choose(**options)
        gradient = empty(x.shape, x.dtype)
        slopes(gradient.reshape(-1), _flat(g), _flat(x), x.dtype.type(option), _parts(x))
        return (gradient,)

    return forward, backward


def _flat(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(-1)


def _parts(x: Array) -> int:
    return get_num_threads() if x.nbytes >= SMALL else 1


SILU, SOFTPLUS = _pair(scalars.silu, scalars.silu_slope), _pair(scalars.softplus, scalars.softplus_slope)
ELU, LEAKY = _pair(scalars.elu, scalars.elu_slope), _pair(scalars.leaky_relu, scalars.leaky_relu_slope)
GELU = {"none": _pair(scalars.gelu, scalars.gelu_slope), "tanh": _pair(scalars.gelu_tanh, scalars.gelu_tanh_slope)}

silu, silu_backward = _activation(lambda: (SILU, 0.0))
softplus, softplus_backward = _activation(lambda beta: (SOFTPLUS, beta))
gelu, gelu_backward = _activation(lambda approximate: (GELU[approximate], 0.0))
elu, elu_backward = _activation(lambda alpha: (ELU, alpha))
leaky_relu, leaky_relu_backward = _activation(lambda negative_slope: (LEAKY, negative_slope))
