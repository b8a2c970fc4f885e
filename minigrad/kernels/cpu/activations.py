"""Activations and their gradients, each in one pass on all threads."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from minigrad.kernels import scalars
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.elementwise import of_vectors
from minigrad.kernels.cpu.memory import empty
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import full, load_first, store_first, width
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]
Kernel = Callable[..., None]


def _pair(value: Callable[[Any, Any], Any], slope: Callable[[Any, Any], Any]) -> tuple[Kernel, Kernel]:
    """A kernel for the values, and one for the slopes times a cotangent."""
    value, slope = jit(forceinline=True)(of_vectors(value)), jit(forceinline=True)(of_vectors(slope))

    @shared
    def values(_: Any, start: Any, stop: Any, out: Any, x: Any, option: Any) -> None:
        same = full(option, 1, 1)
        for i in range(start, stop, width(x)):
            store_first(out, i, stop - i, value(load_first(x, i, stop - i, 0), same))

    @shared
    def slopes(_: Any, start: Any, stop: Any, out: Any, g: Any, x: Any, option: Any) -> None:
        same = full(option, 1, 1)
        for i in range(start, stop, width(x)):
            slope_of_x = slope(load_first(x, i, stop - i, 0), same)
            store_first(out, i, stop - i, load_first(g, i, stop - i, 0) * slope_of_x)

    return values, slopes


def _activation(choose: Callable[..., tuple[tuple[Kernel, Kernel], float]]) -> tuple[Callable[..., Any], ...]:
    """The kernels of a fused op, whose options choose a pair of kernels and their option."""

    def forward(x: Array, *, residuals: bool, **options: Any) -> tuple[Array, tuple[()]]:
        (values, _), option = choose(**options)
        out = empty(x.shape, x.dtype)
        values(x.size, sharing(x.size), out.ravel(), x.ravel(), x.dtype.type(option))
        return out, ()

    def backward(
        g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Any, residuals: tuple[()], **options: Any
    ) -> tuple[Array]:
        (x,), ((_, slopes), option) = inputs, choose(**options)
        gradient = empty(x.shape, x.dtype)
        slopes(x.size, sharing(x.size), gradient.ravel(), g.ravel(), x.ravel(), x.dtype.type(option))
        return (gradient,)

    return forward, backward


SILU, SOFTPLUS = _pair(scalars.silu, scalars.silu_slope), _pair(scalars.softplus, scalars.softplus_slope)
ELU, LEAKY = _pair(scalars.elu, scalars.elu_slope), _pair(scalars.leaky_relu, scalars.leaky_relu_slope)
GELU = {"none": _pair(scalars.gelu, scalars.gelu_slope), "tanh": _pair(scalars.gelu_tanh, scalars.gelu_tanh_slope)}

silu, silu_backward = _activation(lambda: (SILU, 0.0))
softplus, softplus_backward = _activation(lambda beta: (SOFTPLUS, beta))
gelu, gelu_backward = _activation(lambda approximate: (GELU[approximate], 0.0))
elu, elu_backward = _activation(lambda alpha: (ELU, alpha))
leaky_relu, leaky_relu_backward = _activation(lambda negative_slope: (LEAKY, negative_slope))
