"""Matrix products, the affine map of a layer, and the length of vectors."""

import math
from typing import Any

import numpy as np

from minigrad.dtypes import boolean, float32, is_floating
from minigrad.errors import ArgumentError, ShapeError, message
from minigrad.ops.checks import axes, integer, operand, operands, require, sum_to, variable
from minigrad.ops.elementwise import abs, where
from minigrad.ops.kinds import Bad, bilinear, composite, fused
from minigrad.ops.powers import power, root
from minigrad.ops.reduce import Axis, max, min, sum
from minigrad.ops.samples import Call, Draw, axis_of, least_side


def _as_matrices(g: Any, x: Any, y: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """g, and the shapes of x and y, with the axes that matmul gives to vectors for its own use."""
    if len(x.shape) == 1:
        g = g.expand_dims(axis=-1 if len(y.shape) == 1 else -2)
    if len(y.shape) == 1:
        g = g.expand_dims(axis=-1)
    rows = (1, *x.shape) if len(x.shape) == 1 else x.shape
    columns = (*y.shape, 1) if len(y.shape) == 1 else y.shape
    return g, rows, columns


def _adjoint_of_first(g: Any, x: Any, y: Any) -> Any:
    if len(x.shape) == len(y.shape) == 2:
        return g @ y.mT
    g, rows, columns = _as_matrices(g, x, y)
    return sum_to(g @ y.reshape(columns).mT, rows).reshape(x.shape)


def _adjoint_of_second(g: Any, x: Any, y: Any) -> Any:
    if len(x.shape) == len(y.shape) == 2:
        return x.mT @ g
    g, rows, columns = _as_matrices(g, x, y)
    return sum_to(x.reshape(rows).mT @ g, columns).reshape(y.shape)


def _matmul_sample(draw: Draw) -> Call:
    least = least_side(draw)
    i, j, k = (draw.integer(least, 4) for _ in range(3))
    batch = draw.shape(min_dims=1, max_dims=2, min_side=least)
    parts = [tuple(1 if draw.boolean() else size for size in batch[draw.integer(0, len(batch)) :]) for _ in "xy"]
    left, right = draw.choice([((), ()), ((), ()), (batch, ()), (batch, ()), ((), batch), parts])
    x = (j,) if draw.integer(0, 5) == 0 else (*left, i, j)
    y = (j,) if draw.integer(0, 5) == 0 else (*right, j, k)
    return (draw.array(x), draw.array(y)), {}


def _matmul_oracle(x: Any, y: Any) -> Any:
    left, right = ("j" if x.ndim == 1 else "...ij"), ("j" if y.ndim == 1 else "...jk")
    out = "..." + ("" if x.ndim == 1 else "i") + ("" if y.ndim == 1 else "k")
    return np.einsum(f"{left},{right}->{out}", x, y)


@bilinear(
    _adjoint_of_first,
    _adjoint_of_second,
    signature="... i j, ... j k -> ... i k",
    sample=_matmul_sample,
    oracle=_matmul_oracle,
    bad=(
        Bad(lambda t: matmul(t(2, 3), t(4, 5)), ShapeError, "matmul: j differs, 3 in x but 4 in y"),
        Bad(lambda t: matmul(t(2, 3), t()), ShapeError, "matmul: y has no axes"),
        Bad(
            lambda t: matmul(t(2, 3, 4), t(5, 4, 3)),
            ShapeError,
            "matmul: the leading axes do not broadcast, (2,) and (5,)",
        ),
    ),
)
def matmul(x: Any, y: Any, /) -> Any:
    """The matrix product x @ y over the last two axes; leading axes broadcast.

    A vector (one axis) is a row at the left and a column at the right, and loses that axis in the result.

    Raises
    ------
    ShapeError
        If the inner sizes differ, or the leading axes do not broadcast.

    >>> mg.matmul(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([1.0, -1.0]))
    tensor([-1., -1.])
    """
    inputs = x, y = operands("matmul", ("x", "y"), (x, y), "numeric")
    left, right = x._array.shape, y._array.shape
    if len(left) == len(right) == 2 and left[1] == right[0]:
        return inputs, {}
    rows = [
        ("x", "j" if len(x.shape) == 1 else "... i j", x),
        ("y", "j" if len(y.shape) == 1 else "... j k", y),
    ]
    for name, value in (("x", x), ("y", y)):
        require(
            len(value.shape) > 0,
            ShapeError,
            f"matmul: {name} has no axes",
            rows,
            "multiply by a scalar with *",
        )
    left, right = x.shape[-1], y.shape[-1 if len(y.shape) == 1 else -2]
    require(left == right, ShapeError, f"matmul: j differs, {left} in x but {right} in y", rows)
    try:
        np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        headline = f"matmul: the leading axes do not broadcast, {x.shape[:-2]} and {y.shape[:-2]}"
        raise ShapeError(message(headline, rows)) from None
    return inputs, {}


def _linear_sample(draw: Draw) -> Call:
    least = least_side(draw)
    i, o = draw.integer(least, 4), draw.integer(least, 4)
    weight = draw.array((o, i))
    bias = (draw.array((o,)),) if draw.boolean() else ()
    return (draw.array((*draw.shape(max_dims=2, min_side=least), i)), weight, *bias), {}


@fused(
    plain=lambda x, weight, bias=None: x @ weight.mT if bias is None else x @ weight.mT + bias,
    signature="... i, o i, o -> ... o",
    sample=_linear_sample,
    oracle=lambda x, weight, bias=0.0: np.einsum("...i,oi->...o", x, weight) + bias,
    bad=(
        Bad(lambda t: linear(t(2, 3), t(5, 4)), ShapeError, "linear: i differs, 3 in x but 4 in weight"),
        Bad(lambda t: linear(t(2, 3), t(3)), ShapeError, "linear: weight does not have the 2 axes of (o i)"),
        Bad(lambda t: linear(t(), t(5, 4)), ShapeError, "linear: x has no axes"),
        Bad(lambda t: linear(t(2, 3), t(5, 3), t(4)), ShapeError, "linear: bias does not have the shape (5,)"),
    ),
)
def linear(x: Any, weight: Any, bias: Any = None, /) -> Any:
    """x @ weight.mT + bias, the map of a fully connected layer.

    Parameters
    ----------
    x
        (... i), any floats (integers are converted to float32).
    weight
        (o i).
    bias
        (o), or None.

    Returns
    -------
    Tensor
        (... o).

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    >>> mg.linear(mg.tensor([1.0, 2.0]), mg.tensor([[3.0, 4.0], [0.0, 1.0]]), mg.tensor([0.5, 0.0]))
    tensor([11.5,  2. ])
    """
    names, values = ("x", "weight", "bias"), (x, weight) if bias is None else (x, weight, bias)
    inputs = operands("linear", names[: len(values)], values, "floating")
    shapes = [value._array.shape for value in inputs]
    if len(shapes[0]) and len(shapes[1]) == 2 and shapes[0][-1] == shapes[1][1] and shapes[2:] in ([], [shapes[1][:1]]):
        return inputs, {}
    letters = "... i" if shapes[0] else "", "o i" if len(shapes[1]) == 2 else "", "o"
    rows = list(zip(names[: len(inputs)], letters[: len(inputs)], inputs, strict=True))
    require(len(shapes[0]) > 0, ShapeError, "linear: x has no axes", rows)
    require(len(shapes[1]) == 2, ShapeError, "linear: weight does not have the 2 axes of (o i)", rows)
    (o, i), last = shapes[1], shapes[0][-1]
    require(last == i, ShapeError, f"linear: i differs, {last} in x but {i} in weight", rows)
    raise ShapeError(message(f"linear: bias does not have the shape ({o},)", rows))


def _norm_sample(draw: Draw) -> Call:
    order = draw.choice([2, 2, 1, 4, 3, 2.5, 0.5, -1, math.inf, -math.inf])
    infinite = math.isinf(order)
    shape = draw.shape(min_side=int(infinite or order < 0))  # of no elements such a norm is infinite
    x = draw.distinct(shape) + 0.03 if infinite else draw.array(shape, away_from=0.0)
    return (x,), {"axis": axis_of(draw, len(shape)), "keepdims": draw.boolean(), "ord": order}


def _norm_oracle(x: Any, axis: Any, keepdims: bool, ord: float) -> Any:
    if math.isinf(ord):
        return (np.max if ord > 0 else np.min)(np.abs(x), axis=axis, keepdims=keepdims)
    return np.power(np.sum(np.abs(x) ** ord, axis=axis, keepdims=keepdims), 1 / np.float64(ord))


@composite(
    sample=_norm_sample,
    oracle=_norm_oracle,
    bad=(
        Bad(lambda t: vector_norm(t(2, 0), ord=math.inf), ShapeError, "vector_norm: no elements to choose from"),
        Bad(lambda t: vector_norm(t(2), axis=1), ArgumentError, "vector_norm: no axis 1 in 1 dimensions"),
        Bad(lambda t: vector_norm(t(2), ord="fro"), ArgumentError, "vector_norm: ord = 'fro' is not a number"),
    ),
)
def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Any:
    """sum(abs(x) ** ord) ** (1 / ord), the length of vectors; its derivative at a zero vector is 0.

    Parameters
    ----------
    x
        Any shape, floats (integers are converted to float32).
    axis
        An axis, several, or (None) all: the elements over them are one vector.
    keepdims
        Whether these axes stay, with size 1.
    ord
        A number. inf and -inf give the largest and the smallest magnitude, whose gradient goes to the first place that
        has it; 0 counts the elements that are not 0, and has no gradient.

    Returns
    -------
    Tensor
        The shape of x without these axes.

    Raises
    ------
    ArgumentError, ShapeError
        If there is no such axis, or an extreme is asked of no elements.

    >>> mg.vector_norm(mg.tensor([[3.0, 4.0], [0.0, 0.0]]), axis=1)
    tensor([5., 0.])
    """
    gone = axes("vector_norm", axis, variable("vector_norm", "x", x))
    require(isinstance(ord, (int, float)), ArgumentError, f"vector_norm: ord = {ord!r} is not a number")
    x = x if is_floating(x.dtype) else x.astype(float32)
    if ord == 0:
        return sum((x != 0).astype(x.dtype), axis=gone, keepdims=keepdims)
    if math.isinf(ord):
        rows = [("x", "", x)]
        require(all(x.shape[i] for i in gone), ShapeError, "vector_norm: no elements to choose from", rows)
        return (max if ord > 0 else min)(abs(x), axis=gone, keepdims=keepdims)
    return root(sum(power(x, ord), axis=gone, keepdims=keepdims), ord)


def _triangle_sample(draw: Draw) -> Call:
    return (draw.array(draw.shape(min_dims=2)),), {"k": draw.integer(-3, 3)}


def _below(op: str, x: Any, k: int) -> Any:
    """Where a matrix like x is on or below the diagonal that is k places to the right of the main one."""
    shape = variable(op, "x", x).shape
    headline = f"{op}: x has {len(shape)} axes, a matrix has at least 2"
    require(len(shape) >= 2, ShapeError, headline, [("x", "", x)])
    return operand(op, "x", np.tri(shape[-2], shape[-1], k, dtype=bool), boolean, x)


@composite(
    sample=_triangle_sample,
    oracle=np.tril,
    bad=(
        Bad(lambda t: tril(t(3)), ShapeError, "tril: x has 1 axes, a matrix has at least 2"),
        Bad(lambda t: tril(t(3, 3), k=0.5), ArgumentError, "tril: k = 0.5 is not an integer"),
    ),
)
def tril(x: Any, /, *, k: int = 0) -> Any:
    """Matrices with zeros above a diagonal, k places to the right of the main one.

    >>> mg.tril(mg.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    return where(_below("tril", x, integer("tril", "k", k)), x, False)


@composite(sample=_triangle_sample, oracle=np.triu)
def triu(x: Any, /, *, k: int = 0) -> Any:
    """Matrices with zeros below a diagonal, k places to the right of the main one.

    >>> mg.triu(mg.tensor([[1, 2], [3, 4]]))
    tensor([[1, 2],
            [0, 4]])
    """
    return where(_below("triu", x, integer("triu", "k", k) - 1), False, x)
