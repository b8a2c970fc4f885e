"""Batch normalisation as one op."""

import itertools
from typing import Any

import numpy as np

from minigrad.errors import OperandError, ShapeError, message
from minigrad.kernels import reference
from minigrad.ops import elementwise, reduce
from minigrad.ops.checks import full, operands, variable
from minigrad.ops.kinds import Bad, fused
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
            "batch_norm: var is a NoneType, not a tensor",
        ),
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
    ShapeError, OperandError
        If the shapes do not fit, or only one of mean and var is given.

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
    names = ("x", "weight", "bias", "mean", "var")[: 3 + len(given)]
    inputs = operands(op, names, (x, weight, bias, *given), "floating")
    for name, table in zip(names[1:], inputs[1:], strict=True):
        if table.shape != channels:
            headline = f"{op}: {name} does not have the shape {channels} of the channels"
            raise ShapeError(message(headline, [*letters, (name, "c", table)]))
    return inputs, {"eps": float(eps), "relu": bool(relu)}
