"""Elementwise ops: the function, and its partial derivative with respect to each input.

Which derivative they have at kinks says docs/subgradients.md.
"""

import math
import operator
from typing import Any

import numpy as np

from minigrad.dtypes import as_dtype, boolean, is_floating
from minigrad.errors import ArgumentError, DtypeError, OperandError, ShapeError
from minigrad.graph import Variable
from minigrad.ops.checks import broadcast_shapes, constant, operands, require, sum_to, variable, zeros_like
from minigrad.ops.kinds import Bad, composite, discrete, elementwise, general, linear
from minigrad.ops.samples import Call, Draw, apart, binary, broadcastable, equal_or_not, pointwise, truths, unary

_MISMATCH = (
    Bad(lambda t: add(t(2, 3), t(4, 3)), ShapeError, "add: shapes do not broadcast, 2 and 4 at axis -2"),
    Bad(lambda t: add(t(2, dtype="bool"), t(2, dtype="bool")), DtypeError, "add: booleans have no arithmetic"),
    Bad(lambda t: add(t(2, dtype="uint8"), 300), ArgumentError, "add: y = 300 does not fit in uint8"),
)


# ---- arithmetic ----------------------------------------------------------------------------------------------------


@elementwise(1, 1, sample=binary(), oracle=pointwise(operator.add), bad=_MISMATCH)
def add(x: Any, y: Any, /) -> Any:
    """x + y.

    >>> mg.add(mg.tensor([1.0, 2.0]), 10)
    tensor([11., 12.])
    """


@elementwise(1, -1, sample=binary(), oracle=pointwise(operator.sub))
def subtract(x: Any, y: Any, /) -> Any:
    """x - y.

    >>> mg.subtract(mg.tensor([1.0, 2.0]), 10)
    tensor([-9., -8.])
    """


@elementwise("y", "x", sample=binary(), oracle=pointwise(operator.mul))
def multiply(x: Any, y: Any, /) -> Any:
    """x * y.

    >>> mg.multiply(mg.tensor([1.0, 2.0]), 10)
    tensor([10., 20.])
    """


@elementwise(
    *(lambda y: 1 / y, lambda y, out: -out / y),
    dtypes="floating",
    sample=binary(0.5, 2.0, first=(-2.0, 2.0)),
    oracle=pointwise(operator.truediv),
)
def divide(x: Any, y: Any, /) -> Any:
    """x / y; integers are converted to float32 first.

    >>> mg.divide(mg.tensor([1, 2]), 4)
    tensor([0.25, 0.5 ])
    """


def _far_from_multiples(draw: Draw) -> Call:
    x, y = broadcastable(draw)
    return (draw.integers(x, -6, 6) + draw.array(x, 0.2, 0.8), np.ones(y)), {}


@elementwise(None, None, sample=_far_from_multiples, oracle=pointwise(operator.floordiv))
def floor_divide(x: Any, y: Any, /) -> Any:
    """The largest integer at most x / y; its derivative is 0 everywhere.

    >>> mg.floor_divide(mg.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """


@elementwise(*(1, lambda x, y: -floor_divide(x, y)), sample=_far_from_multiples, oracle=pointwise(operator.mod))
def remainder(x: Any, y: Any, /) -> Any:
    """x - y * floor_divide(x, y): the remainder with the sign of y.

    >>> mg.remainder(mg.tensor([7, -7]), 4)
    tensor([3, 1])
    """


def _no_fractions(x: Any, y: Any) -> None:
    fraction = not is_floating(y.dtype) and bool((y < 0).any())
    hint = "convert x with astype first"
    rows = [("x", "", x), ("y", "", y)]
    require(not fraction, ArgumentError, "pow: an integer to a negative power is no integer", rows, hint)


@elementwise(
    *(
        lambda x, y: where(y == 0, 0.0, y * x ** where(y == 0, 0.0, y - 1)),  # the inner one keeps 0 ** -1 away
        lambda x, out: where(x == 0, 0.0, out * log(where(x == 0, 1.0, x))),
    ),
    check=_no_fractions,
    sample=binary(-2.0, 3.0, first=(0.5, 2.0)),
    oracle=pointwise(math.pow),
    bad=(Bad(lambda t: pow(t(2, dtype="int32"), -1), ArgumentError, "pow: an integer to a negative power"),),
)
def pow(x: Any, y: Any, /) -> Any:
    """x to the power y. Derivatives: 0 for y = 0, and 0 with respect to y at x = 0.

    >>> mg.pow(mg.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """


@elementwise(-1, sample=unary(), oracle=pointwise(operator.neg))
def negative(x: Any, /) -> Any:
    """-x.

    >>> mg.negative(mg.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """


@elementwise(lambda x: sign(x), sample=unary(away_from=0.0), oracle=pointwise(abs), method="abs")
def abs(x: Any, /) -> Any:
    """The absolute value, with derivative 0 at 0.

    >>> mg.abs(mg.tensor([1.0, -2.0]))
    tensor([1., 2.])
    """


@elementwise(0, sample=unary(away_from=0.0), oracle=pointwise(lambda x: math.copysign(1.0, x)))
def sign(x: Any, /) -> Any:
    """-1, 0 or 1 after the sign of x; its derivative is 0 everywhere.

    >>> mg.sign(mg.tensor([3.0, 0.0, -2.0]))
    tensor([ 1.,  0., -1.])
    """


@elementwise(lambda x: 2 * x, sample=unary(), oracle=pointwise(lambda x: x * x), method="square")
def square(x: Any, /) -> Any:
    """x * x.

    >>> mg.square(mg.tensor([1.0, -2.0]))
    tensor([1., 4.])
    """


def _far_from_integers(draw: Draw) -> Call:
    shape = draw.shape()
    return (draw.integers(shape, -3, 3) + draw.array(shape, 0.2, 0.8),), {}


@elementwise(0, sample=_far_from_integers, oracle=pointwise(math.floor))
def floor(x: Any, /) -> Any:
    """The largest integer at most x; its derivative is 0 everywhere.

    >>> mg.floor(mg.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """


@elementwise(0, sample=_far_from_integers, oracle=pointwise(math.ceil))
def ceil(x: Any, /) -> Any:
    """The smallest integer at least x; its derivative is 0 everywhere.

    >>> mg.ceil(mg.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """


def _far_from_halves(draw: Draw) -> Call:
    shape = draw.shape()
    return (draw.integers(shape, -3, 3) + draw.array(shape, -0.3, 0.3),), {}


@elementwise(0, sample=_far_from_halves, oracle=pointwise(round))
def round(x: Any, /) -> Any:
    """The integer nearest to x, of two the even one; its derivative is 0 everywhere.

    >>> mg.round(mg.tensor([0.5, 1.5, -1.7]))
    tensor([ 0.,  2., -2.])
    """


# ---- exponentials and their kin --------------------------------------------------------------------------------------


@elementwise("out", dtypes="floating", sample=unary(), oracle=pointwise(math.exp), method="exp")
def exp(x: Any, /) -> Any:
    """e to the power x.

    >>> mg.exp(mg.tensor([0.0, 1.0]))
    tensor([1.    , 2.7183])
    """


@elementwise(lambda out: out + 1, dtypes="floating", sample=unary(), oracle=pointwise(math.expm1))
def expm1(x: Any, /) -> Any:
    """exp(x) - 1, exact near 0.

    >>> mg.expm1(mg.tensor([1e-10]))
    tensor([1.e-10])
    """


@elementwise(lambda x: 1 / x, dtypes="floating", sample=unary(0.3, 3.0), oracle=pointwise(math.log), method="log")
def log(x: Any, /) -> Any:
    """The natural logarithm: -inf at 0, NaN below.

    >>> mg.log(mg.tensor([1.0, 0.0]))
    tensor([  0., -inf])
    """


@elementwise(lambda x: 1 / (1 + x), dtypes="floating", sample=unary(-0.5, 2.0), oracle=pointwise(math.log1p))
def log1p(x: Any, /) -> Any:
    """log(1 + x), exact near 0.

    >>> mg.log1p(mg.tensor([1e-10]))
    tensor([1.e-10])
    """


@elementwise(
    lambda out: 0.5 / out,
    dtypes="floating",
    sample=unary(0.3, 3.0),
    oracle=pointwise(math.sqrt),
    method="sqrt",
)
def sqrt(x: Any, /) -> Any:
    """The square root; its derivative at 0 is inf, as IEEE arithmetic has it.

    >>> mg.sqrt(mg.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """


@elementwise(lambda x: cos(x), dtypes="floating", sample=unary(), oracle=pointwise(math.sin))
def sin(x: Any, /) -> Any:
    """The sine of x in radians.

    >>> mg.sin(mg.tensor([0.0, 1.0]))
    tensor([0.    , 0.8415])
    """


@elementwise(lambda x: -sin(x), dtypes="floating", sample=unary(), oracle=pointwise(math.cos))
def cos(x: Any, /) -> Any:
    """The cosine of x in radians.

    >>> mg.cos(mg.tensor([0.0, 1.0]))
    tensor([1.    , 0.5403])
    """


@elementwise(lambda out: 1 - out * out, dtypes="floating", sample=unary(), oracle=pointwise(math.tanh), method="tanh")
def tanh(x: Any, /) -> Any:
    """The hyperbolic tangent.

    >>> mg.tanh(mg.tensor([0.0, 1.0]))
    tensor([0.    , 0.7616])
    """


@elementwise(
    lambda out: out * (1 - out),
    dtypes="floating",
    sample=unary(),
    oracle=pointwise(lambda x: (1 + math.tanh(x / 2)) / 2),
    method="sigmoid",
)
def sigmoid(x: Any, /) -> Any:
    """The logistic function 1 / (1 + exp(-x)), without overflow.

    >>> mg.sigmoid(mg.tensor([0.0, -1000.0]))
    tensor([0.5, 0. ])
    """


@elementwise(
    lambda g, out: where_positive(g, out),
    sample=unary(away_from=0.0),
    oracle=pointwise(lambda x: max(x, 0.0)),
    method="relu",
)
def relu(x: Any, /) -> Any:
    """max(x, 0), with derivative 0 at 0.

    >>> mg.relu(mg.tensor([1.0, -2.0]))
    tensor([1., 0.])
    """


@elementwise(
    lambda x: (2 / math.sqrt(math.pi)) * exp(-x * x), dtypes="floating", sample=unary(), oracle=pointwise(math.erf)
)
def erf(x: Any, /) -> Any:
    """The error function: 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x.

    >>> mg.erf(mg.tensor([0.0, 1.0]))
    tensor([0.    , 0.8427])
    """


@elementwise(
    lambda x: (-2 / math.sqrt(math.pi)) * exp(-x * x), dtypes="floating", sample=unary(), oracle=pointwise(math.erfc)
)
def erfc(x: Any, /) -> Any:
    """1 - erf(x), exact where erf is near 1.

    >>> mg.erfc(mg.tensor([0.0, 5.0]))
    tensor([1.0000e+00, 1.5375e-12])
    """


def _logistic_of_difference(x: Any, y: Any) -> Any:
    return sigmoid(where(x == y, 0.0, x - y))  # inf - inf is NaN


@elementwise(
    *(lambda x, y: _logistic_of_difference(x, y), lambda x, y: _logistic_of_difference(y, x)),
    dtypes="floating",
    sample=binary(),
    oracle=pointwise(lambda x, y: math.log(math.exp(x) + math.exp(y))),
)
def logaddexp(x: Any, y: Any, /) -> Any:
    """log(exp(x) + exp(y)), without overflow.

    >>> mg.logaddexp(mg.tensor([0.0, 1000.0]), 0.0)
    tensor([6.9315e-01, 1.0000e+03])
    """


# ---- choosing --------------------------------------------------------------------------------------------------------


@elementwise(
    *(lambda x, y: where(x == y, 0.5, x > y), lambda x, y: where(x == y, 0.5, y > x)),
    selects=True,
    sample=apart,
    oracle=pointwise(max),
)
def maximum(x: Any, y: Any, /) -> Any:
    """The larger of x and y (NaN if either is); a tie splits the gradient equally.

    >>> mg.maximum(mg.tensor([1.0, -2.0]), 0.5)
    tensor([1. , 0.5])
    """


@elementwise(
    *(lambda x, y: where(x == y, 0.5, x < y), lambda x, y: where(x == y, 0.5, y < x)),
    selects=True,
    sample=apart,
    oracle=pointwise(min),
)
def minimum(x: Any, y: Any, /) -> Any:
    """The smaller of x and y (NaN if either is); a tie splits the gradient equally.

    >>> mg.minimum(mg.tensor([1.0, -2.0]), 0.5)
    tensor([ 0.5, -2. ])
    """


@elementwise(
    *(lambda g, y: where_positive(g, y), None),
    sample=binary(-0.5, 2.0, 0.0, first=(-2.0, 2.0)),
    oracle=pointwise(lambda x, y: x if y > 0 else 0.0),
)
def where_positive(x: Any, y: Any, /) -> Any:
    """x where y > 0, else 0, also where x is infinite or NaN; the derivative of ReLU, times x.

    >>> mg.where_positive(mg.tensor([1.0, 2.0]), mg.tensor([0.5, -0.5]))
    tensor([1., 0.])
    """


def _where_sample(draw: Draw) -> Call:
    c, x, y = broadcastable(draw, 3)
    return (draw.integers(c, 0, 2).astype(bool), draw.array(x), draw.array(y)), {}


def _where_tangent(tangents: Any, condition: Any, x: Any, y: Any, out: Any) -> Any:
    like = next(t for t in tangents if t is not None)
    dx, dy = (zeros_like(out, like) if t is None else t for t in tangents[1:])
    return where(condition, dx, dy).broadcast_to(out.shape)


@general(
    vjps=(
        None,
        lambda g, condition, x, y, out: sum_to(where(condition, g, 0.0), x.shape),
        lambda g, condition, x, y, out: sum_to(where(condition, 0.0, g), y.shape),
    ),
    jvp=_where_tangent,
    saved=(True, False, False),
    sample=_where_sample,
    oracle=pointwise(lambda condition, x, y: x if condition else y),
    bad=(
        Bad(lambda t: where(t(2), t(2), t(2)), DtypeError, "where: the condition is float32, not bool"),
        Bad(
            lambda t: where(t(2, dtype="bool"), t(3), 0.0),
            ShapeError,
            "where: shapes do not broadcast, 2 and 3",
        ),
    ),
)
def where(condition: Any, x: Any, y: Any, /) -> Any:
    """x where the condition is true, else y. What is not chosen gets no gradient, even where it is infinite.

    Raises
    ------
    DtypeError
        If the condition is not boolean.

    >>> mg.where(mg.tensor([True, False]), mg.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    condition = variable("where", "condition", condition)
    hint = "compare first, e.g. condition != 0"
    kind = condition.dtype
    require(
        kind == boolean,
        DtypeError,
        f"where: the condition is {kind}, not bool",
        [("condition", "", condition)],
        hint,
    )
    if not isinstance(x, Variable) and not isinstance(y, Variable):
        x = constant(x, condition)
    inputs = (condition, *operands("where", ("x", "y"), (x, y)))
    broadcast_shapes("where", ("condition", "x", "y"), inputs)
    return inputs, {}


def _clip_sample(draw: Draw) -> Call:
    shapes = broadcastable(draw, 3)
    x = draw.integers(shapes[0], -4, 4) * 0.5
    bounds = [draw.integers(shape, -2, 2) * 0.5 + edge for shape, edge in zip(shapes[1:], (0.125, 0.25), strict=True)]
    some = draw.choice([(0,), (1,), (0, 1)])
    return (x, *(bounds[i] if i in some else None for i in range(2))), {}


def _clip_oracle(x: Any, low: Any, high: Any) -> Any:
    x = x if low is None else np.where(x < low, low, x)
    return x if high is None else np.where(x > high, high, x)


@composite(
    method="clip",
    sample=_clip_sample,
    oracle=_clip_oracle,
    bad=(
        Bad(lambda t: clip(t(2, 3), t(4)), ShapeError, "clip: shapes do not broadcast, 3 and 4 at axis -1"),
        Bad(lambda t: clip(t(2, dtype="bool"), True), DtypeError, "clip: booleans have no arithmetic"),
        Bad(lambda t: clip(t(2), "0"), OperandError, "clip: min is a str, not a tensor"),
    ),
)
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """x, but at least min and then at most max, which are numbers, tensors that broadcast, or None for no bound.

    At an edge x counts as inside: it gets the gradient, not the bound.

    >>> mg.clip(mg.tensor([-2.0, 0.5, 2.0]), -1.0, 1.0)
    tensor([-1. ,  0.5,  1. ])
    """
    names, values = zip(*((n, v) for n, v in (("x", x), ("min", min), ("max", max)) if v is not None), strict=True)
    variable("clip", "x", x)
    inputs = operands("clip", names, values, "numeric")
    broadcast_shapes("clip", names, inputs)
    x = inputs[0]
    for name, bound in zip(names[1:], inputs[1:], strict=True):
        beyond = x < bound if name == "min" else x > bound
        x = where(logical_or(beyond, bound != bound), bound, x)  # a bound that is NaN makes NaN
    return x


# ---- truth values ----------------------------------------------------------------------------------------------------


@discrete(dtypes="comparable", sample=equal_or_not, oracle=pointwise(operator.eq, bool))
def equal(x: Any, y: Any, /) -> Any:
    """x == y, elementwise.

    >>> mg.equal(mg.tensor([1, 2]), 2)
    tensor([False,  True])
    """


@discrete(dtypes="comparable", sample=equal_or_not, oracle=pointwise(operator.ne, bool))
def not_equal(x: Any, y: Any, /) -> Any:
    """x != y, elementwise.

    >>> mg.not_equal(mg.tensor([1, 2]), 2)
    tensor([ True, False])
    """


@discrete(dtypes="comparable", sample=equal_or_not, oracle=pointwise(operator.lt, bool))
def less(x: Any, y: Any, /) -> Any:
    """x < y, elementwise.

    >>> mg.less(mg.tensor([1, 2]), 2)
    tensor([ True, False])
    """


@discrete(dtypes="comparable", sample=equal_or_not, oracle=pointwise(operator.le, bool))
def less_equal(x: Any, y: Any, /) -> Any:
    """x <= y, elementwise.

    >>> mg.less_equal(mg.tensor([1, 3]), 2)
    tensor([ True, False])
    """


@discrete(dtypes="comparable", sample=equal_or_not, oracle=pointwise(operator.gt, bool))
def greater(x: Any, y: Any, /) -> Any:
    """x > y, elementwise.

    >>> mg.greater(mg.tensor([1, 3]), 2)
    tensor([False,  True])
    """


@discrete(dtypes="comparable", sample=equal_or_not, oracle=pointwise(operator.ge, bool))
def greater_equal(x: Any, y: Any, /) -> Any:
    """x >= y, elementwise.

    >>> mg.greater_equal(mg.tensor([1, 2]), 2)
    tensor([False,  True])
    """


_NOT_BOOLEAN = (Bad(lambda t: logical_and(t(2), t(2)), DtypeError, "logical_and: float32 is not boolean"),)


@discrete(dtypes="boolean", sample=truths(2), oracle=pointwise(operator.and_, bool), bad=_NOT_BOOLEAN)
def logical_and(x: Any, y: Any, /) -> Any:
    """Whether both are true.

    >>> mg.logical_and(mg.tensor([True, False]), True)
    tensor([ True, False])
    """


@discrete(dtypes="boolean", sample=truths(2), oracle=pointwise(operator.or_, bool))
def logical_or(x: Any, y: Any, /) -> Any:
    """Whether either is true.

    >>> mg.logical_or(mg.tensor([True, False]), False)
    tensor([ True, False])
    """


@discrete(dtypes="boolean", sample=truths(1), oracle=pointwise(operator.not_, bool))
def logical_not(x: Any, /) -> Any:
    """Whether x is false.

    >>> mg.logical_not(mg.tensor([True, False]))
    tensor([False,  True])
    """


@discrete(dtypes="floating", sample=unary(), oracle=pointwise(math.isnan, bool))
def isnan(x: Any, /) -> Any:
    """Whether x is not a number.

    >>> mg.isnan(mg.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """


@discrete(dtypes="floating", sample=unary(), oracle=pointwise(math.isinf, bool))
def isinf(x: Any, /) -> Any:
    """Whether x is infinite.

    >>> mg.isinf(mg.tensor([1.0, float("-inf")]))
    tensor([False,  True])
    """


@discrete(dtypes="floating", sample=unary(), oracle=pointwise(math.isfinite, bool))
def isfinite(x: Any, /) -> Any:
    """Whether x is neither infinite nor NaN.

    >>> mg.isfinite(mg.tensor([1.0, float("nan")]))
    tensor([ True, False])
    """


# ---- dtype -----------------------------------------------------------------------------------------------------------


def _astype_sample(draw: Draw) -> Call:
    return (draw.array(draw.shape()), draw.choice(["float64", "float32", "int32", "bool"])), {}


@linear(
    lambda g, x, dtype: g.astype(x.dtype),
    signature="... -> ...",
    method="astype",
    sample=_astype_sample,
    oracle=lambda x, dtype: x.astype(dtype),
    bad=(Bad(lambda t: astype(t(2), "float16"), DtypeError, "'float16' is not a dtype of minigrad"),),
)
def astype(x: Any, dtype: Any, /) -> Any:
    """x converted to a dtype; float to integer truncates, and ends the gradient.

    >>> mg.astype(mg.tensor([1.7, -1.7]), mg.int32)
    tensor([ 1, -1], dtype=int32)
    """
    return (variable("astype", "x", x),), {"dtype": as_dtype(dtype)}
