"""Batch normalisation as one op, and layer normalisation by it."""

import itertools
import math
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, OperandError, ShapeError, message
from minigrad.kernels import reference
from minigrad.ops import elementwise, reduce
from minigrad.ops.checks import full, number, operands, require, shape_of, variable
from minigrad.ops.kinds import Bad, composite, fused
from minigrad.ops.samples import Call, Draw


def _plain(x: Any, weight: Any, bias: Any, *given: Any, eps: float, relu: bool) -> Any:
    weight, bias, *statistics = (table.reshape((-1, *(1,) * (x.ndim - 2))) for table in (weight, bias, *given))
    mean, var = statistics or _moments(x)
    y = (x - mean) * (weight * (1 / elementwise.sqrt(var + eps))) + bias
    return elementwise.relu(y) if relu else y


def _moments(x: Any) -> tuple[Any, Any]:
    axes = (0, *range(2, x.ndim))
    mean = reduce.mean(x, axis=axes, keepdims=True)
    return mean, reduce.mean(elementwise.square(x - mean), axis=axes, keepdims=True)


def _sample(draw: Draw) -> Call:
    """A call whose results are away from 0, where ReLU has its kink."""
    more = draw.choice([(), (1,), (2, 2), (4, 5)])
    n, c, own, options = draw.integer(3, 5), draw.integer(1, 3), draw.boolean(), {"eps": 0.5, "relu": draw.boolean()}
    for seed in itertools.count(draw.integer(0, 1 << 16)):
        rng = np.random.default_rng(seed)
        x, tables = rng.uniform(-2, 2, (n, c, *more)), rng.uniform(0.5, 2, (2 if own else 4, c))
        if not options["relu"] or np.abs(reference.batch_norm(x, *tables, eps=0.5, relu=False)).min() > 0.004:
            break
    return (x, *tables), options


@fused(
    plain=_plain,
    signature="n c ..., c, c, (c, c) -> n c ...",
    sample=_sample,
    oracle=reference.batch_norm,
    bad=(
        Bad(lambda t: batch_norm(t(3)), ShapeError, "batch_norm: x has no channels, the second axis"),
        Bad(
            lambda t: batch_norm(t(5, 3, 2), t(2), t(3)),
            ShapeError,
            "batch_norm: weight does not have the shape (3,) of the channels",
        ),
        Bad(
            lambda t: batch_norm(t(5, 3), t(3), t(3), t(3)),
            OperandError,
            "batch_norm: mean is given, but not var",
        ),
        Bad(lambda t: batch_norm(t(5, 3), eps="0.1"), ArgumentError, "batch_norm: eps = '0.1' is not a number"),
    ),
)
def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    mean: Any = None,
    var: Any = None,
    /,
    *,
    eps: float = 1e-5,
    relu: bool = False,
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe and Szegedy, 2015), then perhaps ReLU.

    Parameters
    ----------
    x
        (n c ...), floats (integers are converted to float32).
    weight, bias
        (c), or None for 1 and 0.
    mean, var
        (c), constants or not. By default those of each channel in x, where var is the mean squared distance from the
        mean; `batch_norm.with_residuals(...)` returns them beside the result.
    eps
        Added to the variance.
    relu
        Whether ReLU follows, in the same pass.

    Returns
    -------
    Tensor
        (n c ...).

    Raises
    ------
    ShapeError, OperandError, ArgumentError
        If the shapes do not fit, if only one of mean and var is given, or if eps is not a number.

    >>> mg.batch_norm(mg.tensor([[1.0, 0.0], [3.0, 8.0]]), eps=0.0)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    op, letters = "batch_norm", [("x", "n c ...", variable("batch_norm", "x", x))]
    if len(x.shape) < 2:
        raise ShapeError(message(f"{op}: x has no channels, the second axis", letters))
    channels = x.shape[1:2]
    weight = full(channels, 1, x.dtype, x) if weight is None else weight
    bias = full(channels, 0, x.dtype, x) if bias is None else bias
    given = () if mean is None and var is None else (mean, var)
    if given and (mean is None or var is None):
        one, other = ("mean", "var") if var is None else ("var", "mean")
        hint = "give both, or neither for those of the batch"
        raise OperandError(message(f"{op}: {one} is given, but not {other}", letters, hint))
    names = ("x", "weight", "bias", "mean", "var")[: 3 + len(given)]
    inputs = operands(op, names, (x, weight, bias, *given), "floating")
    for name, table in zip(names[1:], inputs[1:], strict=True):
        if table.shape != channels:
            headline = f"{op}: {name} does not have the shape {channels} of the channels"
            raise ShapeError(message(headline, [*letters, (name, "c", table)]))
    return inputs, {"eps": number(op, "eps", eps), "relu": bool(relu)}


def _layer_sample(draw: Draw) -> Call:
    more, features = draw.shape(max_dims=2), draw.shape(min_dims=1, max_dims=2, min_side=2, max_side=3)
    tables = [draw.array(features) if draw.boolean() else None for _ in range(2)]
    return (draw.distinct((*more, *features)), features, *tables), {"eps": 0.5}


def _layer_oracle(x: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    axes = tuple(range(-len(normalized_shape), 0))
    y = (x - np.mean(x, axis=axes, keepdims=True)) / np.sqrt(np.var(x, axis=axes, keepdims=True) + eps)
    return y * (1.0 if weight is None else weight) + (0.0 if bias is None else bias)


@composite(
    signature="... f, f, f -> ... f",
    sample=_layer_sample,
    oracle=_layer_oracle,
    bad=(
        Bad(lambda t: layer_norm(t(2, 3), 4), ShapeError, "layer_norm: the last axes of x are (3,), not (4,)"),
        Bad(lambda t: layer_norm(t(2, 3), (2, 3), t(3)), ShapeError, "layer_norm: weight does not have the shape"),
        Bad(lambda t: layer_norm(t(2, 3), ()), ShapeError, "layer_norm: no axes to normalise over"),
    ),
)
def layer_norm(x: Any, /, normalized_shape: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes of x (Ba, Kiros and Hinton, 2016).

    Parameters
    ----------
    x
        (... f), where f may be several axes; floats (integers are converted to float32).
    normalized_shape
        The sizes f, an integer or several.
    weight, bias
        (f), or None for 1 and 0.
    eps
        Added to the variance, the mean squared distance from the mean.

    Returns
    -------
    Tensor
        (... f).

    Raises
    ------
    ShapeError
        If the last axes of x, the weight or the bias do not have the sizes f.

    >>> mg.layer_norm(mg.tensor([[1.0, 3.0], [0.0, 8.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    op, features = "layer_norm", shape_of("layer_norm", normalized_shape)
    require(len(features) > 0, ShapeError, f"{op}: no axes to normalise over")
    names = [name for name, table in (("weight", weight), ("bias", bias)) if table is not None]
    x, *tables = operands(op, ["x", *names], [x, *(table for table in (weight, bias) if table is not None)], "floating")
    last, lines = x.shape[-len(features) :], [("x", "", x)]
    require(last == features, ShapeError, f"{op}: the last axes of x are {last}, not {features}", lines)
    for name, table in zip(names, tables, strict=True):
        headline = f"{op}: {name} does not have the shape {features}"
        require(table.shape == features, ShapeError, headline, [*lines, (name, "", table)])
    rows = math.prod(x.shape[: -len(features)])
    y = batch_norm(x.reshape(1, rows, math.prod(features)), eps=eps).reshape(x.shape)  # a row is a channel
    for name, table in zip(names, tables, strict=True):
        y = y * table if name == "weight" else y + table
    return y
