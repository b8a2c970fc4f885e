"""Activations and their gradients, each in one pass on all threads.

An activation is two functions of a number and an option: its value and its slope.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import SMALL, empty
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Kernel = Callable[..., None]

ROOT_HALF, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
INNER, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


def _pair(value: Callable[[Any, Any], Any], slope: Callable[[Any, Any], Any]) -> tuple[Kernel, Kernel]:
    """A kernel for the values, and one for the slopes times a cotangent."""
    value, slope = jit(value), jit(slope)

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


@jit
def _logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)) from exp(-|x|), which cannot overflow."""
    one, small = type(x)(1), math.exp(-abs(x))
    return (small if x < 0 else one) / (one + small)


def _silu(x: Any, option: Any) -> Any:
    return x * _logistic(x)


def _silu_slope(x: Any, option: Any) -> Any:
    s, one = _logistic(x), type(x)(1)
    return s * (one + x * (one - s))


def _softplus(x: Any, beta: Any) -> Any:
    scaled = x * beta
    return ((scaled if scaled > 0 else type(x)(0)) + math.log1p(math.exp(-abs(scaled)))) / beta


def _softplus_slope(x: Any, beta: Any) -> Any:
    return _logistic(x * beta)


def _gelu(x: Any, option: Any) -> Any:
    return x * type(x)(0.5) * math.erfc(-x * type(x)(ROOT_HALF))


def _gelu_slope(x: Any, option: Any) -> Any:
    half = type(x)(0.5)
    return half * math.erfc(-x * type(x)(ROOT_HALF)) + x * type(x)(DENSITY) * math.exp(-half * x * x)


def _gelu_tanh(x: Any, option: Any) -> Any:
    """0.5 (1 + tanh(u)) is the logistic function of 2 u."""
    return x * _logistic(type(x)(INNER) * (x + type(x)(CUBIC) * (x * x * x)))


def _gelu_tanh_slope(x: Any, option: Any) -> Any:
    one, inner, cubic = type(x)(1), type(x)(INNER), type(x)(CUBIC)
    s = _logistic(inner * (x + cubic * (x * x * x)))
    return s + x * s * (one - s) * inner * (one + type(x)(3) * cubic * x * x)


def _elu(x: Any, alpha: Any) -> Any:
    return x if x > 0 else alpha * math.expm1(x)


def _elu_slope(x: Any, alpha: Any) -> Any:
    return type(x)(1) if x > 0 else alpha * math.exp(x)


def _leaky_relu(x: Any, slope: Any) -> Any:
    return x if x > 0 else slope * x


def _leaky_relu_slope(x: Any, slope: Any) -> Any:
    return type(x)(1) if x > 0 else slope


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


SILU, SOFTPLUS = _pair(_silu, _silu_slope), _pair(_softplus, _softplus_slope)
ELU, LEAKY = _pair(_elu, _elu_slope), _pair(_leaky_relu, _leaky_relu_slope)
GELU = {"none": _pair(_gelu, _gelu_slope), "tanh": _pair(_gelu_tanh, _gelu_tanh_slope)}

silu, silu_backward = _activation(lambda: (SILU, 0.0))
softplus, softplus_backward = _activation(lambda beta: (SOFTPLUS, beta))
gelu, gelu_backward = _activation(lambda approximate: (GELU[approximate], 0.0))
elu, elu_backward = _activation(lambda alpha: (ELU, alpha))
leaky_relu, leaky_relu_backward = _activation(lambda negative_slope: (LEAKY, negative_slope))
