"""Activations and their gradients, each in one pass: the functions of numbers that the CPU compiles too."""

import functools
from collections.abc import Callable
from typing import Any

from minigrad.kernels import scalars
from minigrad.kernels.cuda.array import Array
from minigrad.kernels.cuda.elementwise import compute

Function = Callable[..., Any]


@functools.cache
def _value(f: Function, option: float) -> Function:
    return lambda x: f(x, type(x)(option))


@functools.cache
def _slope(f: Function, option: float) -> Function:
    return lambda g, x: g * f(x, type(x)(option))


def _activation(choose: Callable[..., tuple[Function, Function, float]]) -> tuple[Function, Function]:
    """The kernels of a fused op, whose options choose a value, a slope, and what they are told."""

    def forward(x: Array, *, residuals: bool, **options: Any) -> tuple[Array, tuple[()]]:
        value, _, option = choose(**options)
        return compute(_value(value, option), x), ()

    def backward(
        g: Array, needs: tuple[bool, ...], inputs: tuple[Array], out: Any, residuals: tuple[()], **options: Any
    ) -> tuple[Array]:
        _, slope, option = choose(**options)
        return (compute(_slope(slope, option), g, *inputs),)

    return forward, backward


GELU = {"none": (scalars.gelu, scalars.gelu_slope, 0.0), "tanh": (scalars.gelu_tanh, scalars.gelu_tanh_slope, 0.0)}

silu, silu_backward = _activation(lambda: (scalars.silu, scalars.silu_slope, 0.0))
softplus, softplus_backward = _activation(lambda beta: (scalars.softplus, scalars.softplus_slope, beta))
gelu, gelu_backward = _activation(lambda approximate: GELU[approximate])
elu, elu_backward = _activation(lambda alpha: (scalars.elu, scalars.elu_slope, alpha))
leaky_relu, leaky_relu_backward = _activation(
    lambda negative_slope: (scalars.leaky_relu, scalars.leaky_relu_slope, negative_slope)
)
