"""Nonlinearities of neural networks; `relu`, `sigmoid` and `tanh` are in elementwise.py."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError
from minigrad.ops.checks import operands, require, variable
from minigrad.ops.elementwise import erfc, expm1, logaddexp, sigmoid, where
from minigrad.ops.kinds import Bad, composite, fused
from minigrad.ops.samples import Call, Draw, Sample, pointwise, unary


def _with_option(name: str, low: float, high: float, away_from: float | None = None) -> Sample:
    """One array, and an option from a range."""

    def sample(draw: Draw) -> Call:
        return (draw.array(draw.shape(), away_from=away_from),), {name: float(draw.array((), low, high))}

    return sample


def _elements(function: Callable[..., float]) -> Callable[..., Any]:
    """An oracle from a function of one number and options."""
    return lambda x, **options: pointwise(lambda one: function(one, **options))(x)


def _softplus(x: Any, beta: float) -> Any:
    return logaddexp(x, 0.0) if beta == 1 else logaddexp(x * beta, 0.0) / beta


@fused(
    plain=_softplus,
    signature="... -> ...",
    sample=_with_option("beta", 0.5, 2.0),
    oracle=lambda x, beta: np.log(1 + np.exp(beta * x)) / beta,
    bad=(Bad(lambda t: softplus(t(2), beta=0.0), ArgumentError, "softplus: beta = 0.0 is not positive"),),
)
def softplus(x: Any, /, *, beta: float = 1.0) -> Any:
    """log(1 + exp(beta x)) / beta, without overflow: a smooth ReLU, sharper with a larger beta.

    >>> mg.softplus(mg.tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """
    require(beta > 0, ArgumentError, f"softplus: beta = {beta} is not positive")
    return operands("softplus", ("x",), (x,), "floating"), {"beta": float(beta)}


@fused(
    plain=lambda x: x * sigmoid(x),
    signature="... -> ...",
    sample=unary(),
    oracle=pointwise(lambda x: x / (1 + math.exp(-x))),
)
def silu(x: Any, /) -> Any:
    """x * sigmoid(x), also known as swish (Elfwing, Uchibe and Doya, 2018).

    >>> mg.silu(mg.tensor([0.0, 1.0, -1.0]))
    tensor([ 0.    ,  0.7311, -0.2689])
    """
    return operands("silu", ("x",), (x,), "floating"), {}


def _gelu_oracle(x: float, approximate: str) -> float:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + (math.tanh(inner) if approximate == "tanh" else math.erf(x / math.sqrt(2))))


def _gelu(x: Any, approximate: str) -> Any:
    if approximate == "none":
        return x * 0.5 * erfc(x * -math.sqrt(0.5))
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))  # of 2u: 0.5 (1 + tanh(u))


@fused(
    plain=_gelu,
    signature="... -> ...",
    sample=lambda draw: ((draw.array(draw.shape()),), {"approximate": draw.choice(["none", "tanh"])}),
    oracle=_elements(_gelu_oracle),
    bad=(
        Bad(
            lambda t: gelu(t(2), approximate="fast"),
            ArgumentError,
            "gelu: approximate = 'fast' is neither 'none' nor 'tanh'",
        ),
    ),
)
def gelu(x: Any, /, *, approximate: str = "none") -> Any:
    """x times the probability that a standard normal number is less than x (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    x
        Any shape, floats (integers are converted to float32).
    approximate
        "none", or "tanh" for the formula 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))).

    Returns
    -------
    Tensor
        The shape of x.

    Raises
    ------
    ArgumentError
        If `approximate` is neither.

    >>> mg.gelu(mg.tensor([0.0, 1.0, -1.0]))
    tensor([ 0.    ,  0.8413, -0.1587])
    """
    headline = f"gelu: approximate = {approximate!r} is neither 'none' nor 'tanh'"
    require(approximate in ("none", "tanh"), ArgumentError, headline)
    return operands("gelu", ("x",), (x,), "floating"), {"approximate": approximate}


def _elu(x: Any, alpha: float) -> Any:
    positive = x > 0
    return where(positive, x, alpha * expm1(where(positive, 0.0, x)))  # the inner one keeps exp from overflow


@fused(
    plain=_elu,
    signature="... -> ...",
    sample=_with_option("alpha", 0.5, 2.0, away_from=0.0),
    oracle=_elements(lambda x, alpha: x if x > 0 else alpha * (math.exp(x) - 1)),
)
def elu(x: Any, /, *, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha (exp(x) - 1); its slope at 0 is alpha (Clevert, Unterthiner and Hochreiter, 2016).

    >>> mg.elu(mg.tensor([1.0, -1.0]))
    tensor([ 1.    , -0.6321])
    """
    return operands("elu", ("x",), (x,), "floating"), {"alpha": float(alpha)}


@fused(
    plain=lambda x, negative_slope: where(x > 0, x, x * negative_slope),
    signature="... -> ...",
    sample=_with_option("negative_slope", 0.0, 0.5, away_from=0.0),
    oracle=_elements(lambda x, negative_slope: x if x > 0 else negative_slope * x),
)
def leaky_relu(x: Any, /, *, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope * x; its slope at 0 is negative_slope.

    >>> mg.leaky_relu(mg.tensor([1.0, -1.0]))
    tensor([ 1.  , -0.01])
    """
    return operands("leaky_relu", ("x",), (x,), "floating"), {"negative_slope": float(negative_slope)}


def _between_edges(draw: Draw) -> Call:
    """Numbers away from the edges at -0.75 and 1.25."""
    return (draw.integers(draw.shape(), -4, 5) * 0.5,), {"min_val": -0.75, "max_val": 1.25}


@composite(
    sample=_between_edges,
    oracle=lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    bad=(
        Bad(lambda t: hardtanh(t(2), min_val=1.0, max_val=0.0), ArgumentError, "hardtanh: min_val = 1.0 is more than"),
    ),
)
def hardtanh(x: Any, /, *, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x between two bounds, and the nearer bound outside; its slope at both edges is 0 (that of `clip` is 1).

    >>> mg.hardtanh(mg.tensor([-2.0, 0.5, 2.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    variable("hardtanh", "x", x)
    headline = f"hardtanh: min_val = {min_val} is more than max_val = {max_val}"
    require(min_val <= max_val, ArgumentError, headline)
    return where(x >= max_val, max_val, where(x <= min_val, min_val, x))


@composite(
    sample=lambda draw: ((draw.integers(draw.shape(), -4, 9) + 0.25,), {}), oracle=lambda x: np.clip(x, 0.0, 6.0)
)
def relu6(x: Any, /) -> Any:
    """min(max(x, 0), 6); its slope at 0 and at 6 is 0.

    >>> mg.relu6(mg.tensor([-2.0, 0.5, 8.0]))
    tensor([0. , 0.5, 6. ])
    """
    return hardtanh(x, min_val=0.0, max_val=6.0)
