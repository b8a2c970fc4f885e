"""Functions of numbers, which every device compiles from this text.

An activation is its value and its slope, computed in the type of x, with one option, which may mean nothing. A device
may put others in place of `math`, `constant` and `choose` (see `linked`): the CPU computes whole vectors at once.
"""

import inspect
import math
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

import numpy as np


def constant(x: Any, value: float) -> Any:
    """A number of the type of x."""
    return type(x)(value)


def choose(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition is true, else y."""
    return x if condition else y


ROOT_HALF, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
INNER, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


def linked(function: Callable[..., Any], compile: Callable[..., Any], **names: Any) -> Any:
    """A copy of a plain function in which those that it calls are compiled; `names` change what it knows by them.

    >>> linked(silu, compile=lambda function: function)(0.0, None)
    0.0
    """
    around = inspect.getclosurevars(function)

    def known(name: str, value: Any) -> Any:
        if name in names:
            return names[name]
        return compile(linked(value, compile, **names)) if isinstance(value, FunctionType) else value

    scope = function.__globals__ | {name: known(name, value) for name, value in around.globals.items()}
    cells = [CellType(known(name, around.nonlocals[name])) for name in function.__code__.co_freevars]
    return FunctionType(function.__code__, scope, function.__name__, function.__defaults__, tuple(cells))


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)) from exp(-|x|), which cannot overflow."""
    one, small = constant(x, 1), math.exp(-abs(x))
    return choose(x < constant(x, 0), small, one) / (one + small)


def silu(x: Any, option: Any) -> Any:
    """x logistic(x)."""
    return x * logistic(x)


def silu_slope(x: Any, option: Any) -> Any:
    """logistic(x) (1 + x (1 - logistic(x)))."""
    s, one = logistic(x), constant(x, 1)
    return s * (one + x * (one - s))


def softplus(x: Any, beta: Any) -> Any:
    """log(1 + exp(beta x)) / beta, from exp(-|beta x|), which cannot overflow."""
    scaled, zero = x * beta, constant(x, 0)
    return (choose(scaled > zero, scaled, zero) + math.log1p(math.exp(-abs(scaled)))) / beta


def softplus_slope(x: Any, beta: Any) -> Any:
    """logistic(beta x)."""
    return logistic(x * beta)


def gelu(x: Any, option: Any) -> Any:
    """x times the standard normal distribution function."""
    return x * constant(x, 0.5) * math.erfc(-x * constant(x, ROOT_HALF))


def gelu_slope(x: Any, option: Any) -> Any:
    """The distribution function, and x times its density."""
    half = constant(x, 0.5)
    return half * math.erfc(-x * constant(x, ROOT_HALF)) + x * constant(x, DENSITY) * math.exp(-half * x * x)


def gelu_tanh(x: Any, option: Any) -> Any:
    """0.5 (1 + tanh(u)) is the logistic function of 2 u."""
    return x * logistic(constant(x, INNER) * (x + constant(x, CUBIC) * (x * x * x)))


def gelu_tanh_slope(x: Any, option: Any) -> Any:
    """By the rules of products and chains."""
    one, inner, cubic = constant(x, 1), constant(x, INNER), constant(x, CUBIC)
    s = logistic(inner * (x + cubic * (x * x * x)))
    return s + x * s * (one - s) * inner * (one + constant(x, 3) * cubic * x * x)


def elu(x: Any, alpha: Any) -> Any:
    """x above 0, else alpha (exp(x) - 1)."""
    return choose(x > constant(x, 0), x, alpha * math.expm1(x))


def elu_slope(x: Any, alpha: Any) -> Any:
    """1 above 0, else alpha exp(x)."""
    return choose(x > constant(x, 0), constant(x, 1), alpha * math.exp(x))


def leaky_relu(x: Any, slope: Any) -> Any:
    """x above 0, else slope x."""
    return choose(x > constant(x, 0), x, slope * x)


def leaky_relu_slope(x: Any, slope: Any) -> Any:
    """1 above 0, else slope."""
    return choose(x > constant(x, 0), constant(x, 1), slope)


# ---- random words ------------------------------------------------------------------------------------------------

MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def long_product(x: Any, y: Any) -> Any:
    """The upper and the lower 64 bits of the product of two words of 64, from products of their halves."""
    low = (x & LOW) * (y & LOW)
    middle = (x >> HALF) * (y & LOW) + (low >> HALF)
    other = (x & LOW) * (y >> HALF) + (middle & LOW)
    return (x >> HALF) * (y >> HALF) + (middle >> HALF) + (other >> HALF), x * y


def philox(block: Any, key: Any, other_key: Any) -> Any:
    """The four words of a block: Philox 4x64-10 (Salmon et al., SC 2011) of a counter of which the rest is zero."""
    a, b, c, d = block, np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(10):
        (a_high, a_low), (c_high, c_low) = long_product(MULTIPLIERS[0], a), long_product(MULTIPLIERS[1], c)
        a, b, c, d = c_high ^ b ^ key, c_low, a_high ^ d ^ other_key, a_low
        key, other_key = key + WEYL[0], other_key + WEYL[1]
    return a, b, c, d
