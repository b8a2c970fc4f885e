"""Mistakes in kernels: values, adjoints, and the first gradients of fused ops.

Compiled kernels cannot be changed in place, so another one takes their place: the reference with one place changed, or
the gradient of another composition.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.kernels import reference
from minigrad.ops import composite, loss, norm
from minigrad.ops.kinds import Record
from tests.mutants.plant import Mutant, Swap, backward, edited, kernel


def changed(record: Record, old: str, new: str) -> tuple[Swap, ...]:
    """The reference kernel of an op, with a place in its text changed."""
    wrong = edited(getattr(reference, record.name), old, new)
    return kernel(record, lambda right, *arrays, **options: wrong(*arrays, **options))


def with_options(record: Record, **change: Callable[[Any], Any]) -> tuple[Swap, ...]:
    """The right kernel, called with other options."""

    def wrong(right: Any, *arrays: Any, **options: Any) -> Any:
        return right(*arrays, **options | {name: of(options[name]) for name, of in change.items()})

    return kernel(record, wrong)


def scaled(record: Any, factor: Callable[..., Any], place: int = 0) -> tuple[Swap, ...]:
    """The right backward kernel, one of whose cotangents is multiplied with a factor(g, inputs, options)."""

    def wrong(right: Any, g: Any, needs: Any, inputs: Any, out: Any, residuals: Any, **options: Any) -> Any:
        found = list(right(g, needs, inputs, out, residuals, **options))
        if found[place] is not None:
            found[place] = found[place] * g.dtype.type(factor(g, inputs, options))
        return found

    return kernel(record, wrong, "backward")


def _assigned(right: Any, g: Any, *, key: Any, shape: Any) -> Any:
    out = np.zeros(shape, g.dtype)
    out[key] = g
    return out


def _assigned_along(right: Any, g: Any, *, indices: Any, axis: int, shape: Any) -> Any:
    out = np.zeros(shape, g.dtype)
    np.put_along_axis(out, indices, g, axis)
    return out


def _in_place(right: Any, x: Any, value: Any, *, key: Any) -> Any:
    if not x.flags.writeable:
        return right(x, value, key=key)
    x[key] = value
    return x


def _flipped(right: Any, x: Any, *, axis: int, descending: bool) -> Any:
    places = right(x, axis=axis, descending=False)
    return np.flip(places, axis) if descending else places


def _not_below_zero(right: Any, x: Any, **options: Any) -> Any:
    out, residuals = right(x, **options)
    return (np.maximum(out, 0) if any(options["padding"]) else out), residuals


def _still_padded(right: Any, g: Any, **options: Any) -> Any:
    return np.roll(right(g, **options), options["padding"], axis=(2, 3))


def _without_mean(g: Any, inputs: Any, options: Any) -> int:
    return inputs[1].size if options["reduction"] == "mean" else 1


def _last_window(right: Any, g: Any, needs: Any, inputs: Any, out: Any, residuals: Any, **options: Any) -> Any:
    (x,) = inputs
    rows, columns = np.divmod(reference.max_pool2d_argmax(x, **options), x.shape[3])
    images, channels = np.indices(x.shape[:2])[..., None, None]
    gradient = np.zeros(x.shape, g.dtype)
    gradient[images, channels, rows, columns] = g
    return [gradient]


def _last_winner(right: Any, g: Any, needs: Any, inputs: Any, out: Any, residuals: Any, **options: Any) -> Any:
    flipped = [np.flip(inputs[0], options["axis"])]
    return [np.asarray(np.flip(right(g, needs, flipped, out, residuals, **options)[0], options["axis"]))]


def _divided(
    right: Any, g: Any, needs: Any, inputs: Any, out: Any, residuals: Any, *, axis: Any, **options: Any
) -> Any:
    (x,) = inputs
    with np.errstate(all="ignore"):
        if not options:  # cumulative_prod
            return [np.flip(np.cumsum(np.flip(g * out, axis), axis), axis) / x]
        product = np.prod(x, axis=axis, keepdims=True)
        return [np.asarray(product * g.reshape(product.shape) / x)]


def _softmax(x: Any, axis: int) -> Any:
    weights = ops.exp(x - composite._anchor(x, axis))
    return weights / ops.sum(weights, axis=axis, keepdims=True).detach()


def _log_softmax(x: Any, axis: int) -> Any:
    shifted = x - composite._anchor(x, axis)
    return shifted - ops.mean(x, axis=axis, keepdims=True)


def _fixed_variance(x: Any, weight: Any, bias: Any, *given: Any, eps: float, relu: bool) -> Any:
    mean, var = norm._moments(x)
    return norm._plain(x, weight, bias, *(given or (mean.reshape(-1), var.detach().reshape(-1))), eps=eps, relu=relu)


def _fixed_mean(x: Any, weight: Any, bias: Any, *given: Any, eps: float, relu: bool) -> Any:
    mean, var = norm._moments(x)
    return norm._plain(x, weight, bias, *(given or (mean.detach().reshape(-1), var.reshape(-1))), eps=eps, relu=relu)


def _no_relu(x: Any, weight: Any, bias: Any, *given: Any, eps: float, relu: bool) -> Any:
    return norm._plain(x, weight, bias, *given, eps=eps, relu=False)


def _next_class(logits: Any, labels: Any, reduction: str) -> Any:
    return loss._plain(logits, (labels + 1) % logits.shape[1], reduction)


def _average_of_pool(x: Any, weight: Any, bias: Any, *, pool: Any, relu: bool, **options: Any) -> Any:
    y = ops.conv2d.run(x, weight, stride=(1, 1), dilation=(1, 1), **options) + bias.reshape((-1, 1, 1))
    return ops.avg_pool2d(y, pool)


MUTANTS = (
    # ---- indexing ------------------------------------------------------------------------------------------------
    Mutant(
        "scatter: assigns",
        "of places that repeat, the last counts",
        kernel(ops.scatter, _assigned),
        ("test_ops::test_derivatives[getitem]",),
    ),
    Mutant(
        "scatter_along_axis: assigns",
        "of places that repeat, the last counts",
        kernel(ops.scatter_along_axis, _assigned_along),
        ("test_ops::test_derivatives[take_along_axis]",),
    ),
    Mutant(
        "index_put: in place",
        "the value is written into x itself",
        kernel(ops.index_put, _in_place),
        ("test_ops[index_put]",),
    ),
    Mutant(
        "argsort: ties",
        "descending, equal elements change places",
        kernel(ops.argsort, _flipped),
        ("test_ops[argsort]",),
    ),
    # ---- convolution ---------------------------------------------------------------------------------------------
    Mutant(
        "conv2d: padding swapped",
        "the height is padded as the width should be",
        with_options(ops.conv2d, padding=lambda padding: padding[::-1]),
        ("test_ops[conv2d]",),
    ),
    Mutant(
        "conv2d: flipped",
        "a convolution in the sense of signal processing",
        changed(
            ops.conv2d, "weight[o, c % weight.shape[1], u, v] *", "weight[o, c % weight.shape[1], -1 - u, -1 - v] *"
        ),
        ("test_ops[conv2d]",),
    ),
    Mutant(
        "conv2d: groups mixed",
        "every group sees the channels of the first",
        changed(ops.conv2d, "padded[:, c, ", "padded[:, c % weight.shape[1], "),
        ("test_ops[conv2d]",),
    ),
    Mutant(
        "conv2d: window off by one",
        "the last column of the window is left out",
        changed(ops.conv2d, "np.ndindex(weight.shape[2:])", "np.ndindex(weight.shape[2], max(1, weight.shape[3] - 1))"),
        ("test_ops[conv2d]",),
    ),
    Mutant(
        "conv2d_input: stride swapped",
        "the steps along height and width are exchanged",
        with_options(ops.conv2d_input, stride=lambda stride: stride[::-1]),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d_input: shifted",
        "the gradient is one column off",
        kernel(ops.conv2d_input, lambda right, *arrays, **options: np.roll(right(*arrays, **options), 1, axis=3)),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d_input: last tap",
        "of the taps that meet in a pixel, the last counts",
        changed(ops.conv2d_input, "seen += weight", "seen[...] = weight"),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d_weight: dilation ignored",
        "the taps lie side by side",
        with_options(ops.conv2d_weight, dilation=lambda dilation: (1, 1)),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d_weight: one image",
        "the gradient of the last image alone",
        changed(ops.conv2d_weight, "np.sum(g[:, o] * seen)", "np.sum((g[:, o] * seen)[-1:])"),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "fold: padding",
        "pixels go back to where they were in the padded image",
        kernel(
            ops.fold,
            lambda right, *arrays, **options: np.roll(right(*arrays, **options), options["padding"], axis=(2, 3)),
        ),
        ("test_ops::test_derivatives[unfold]",),
    ),
    Mutant(
        "conv2d_pool: average",
        "the gradient is shared out over the window in place of going to its winner",
        backward(ops.conv2d_pool, _average_of_pool),
        ("test_ops::test_derivatives[conv2d_pool]",),
    ),
    Mutant(
        "conv2d_pool: bias",
        "the gradient of the bias is a mean over images",
        scaled(ops.conv2d_pool, lambda g, inputs, options: 1 / max(1, len(g)), place=2),
        ("test_ops::test_derivatives[conv2d_pool]",),
    ),
    # ---- pools ---------------------------------------------------------------------------------------------------
    Mutant(
        "max_pool2d: tie",
        "the arg-max is the last of equals",
        changed(ops.max_pool2d_argmax, "new > best", "new >= best"),
        ("test_subgradients[max_pool2d]",),
    ),
    Mutant(
        "max_pool2d: padding wins",
        "a padding of zeros is larger than negative pixels",
        kernel(ops.max_pool2d, _not_below_zero),
        ("test_ops[max_pool2d]",),
    ),
    Mutant(
        "max_pool2d: overlap",
        "of windows that share a winner, the last counts",
        kernel(ops.max_pool2d, _last_window, "backward"),
        ("test_ops::test_derivatives[max_pool2d]",),
    ),
    Mutant(
        "avg_pool2d: padded count",
        "the padding always counts",
        with_options(ops.avg_pool2d, count_include_pad=lambda include: True),
        ("test_ops[avg_pool2d]",),
    ),
    Mutant(
        "avg_pool2d_input: sum",
        "every pixel gets the whole cotangent of its window",
        changed(ops.avg_pool2d_input, "g[:, :, i, j, None, None] / count", "g[:, :, i, j, None, None]"),
        ("test_ops::test_derivatives[avg_pool2d]",),
    ),
    # ---- reductions, softmax, losses -----------------------------------------------------------------------------
    Mutant(
        "max: tie",
        "the gradient goes to the last of equals",
        kernel(ops.max, _last_winner, "backward"),
        ("test_subgradients[max]",),
    ),
    Mutant(
        "cumulative_prod: division",
        "the gradient divides by the elements, NaN at zero",
        kernel(ops.cumulative_prod, _divided, "backward"),
        ("test_ops::test_kernels_equal_the_plain_composition[cumulative_prod]",),
    ),
    Mutant(
        "prod: division",
        "the gradient divides by the elements, NaN at zero",
        kernel(ops.prod, _divided, "backward"),
        ("test_ops::test_derivatives[prod]",),
    ),
    Mutant(
        "softmax: subtraction",
        "y * g, without y * sum(g * y)",
        backward(ops.softmax, _softmax),
        ("test_ops::test_derivatives[softmax]",),
    ),
    Mutant(
        "log_softmax: mean",
        "the sum of the cotangent is shared out equally, not by softmax",
        backward(ops.log_softmax, _log_softmax),
        ("test_ops::test_derivatives[log_softmax]",),
    ),
    Mutant(
        "softmax_cross_entropy: without 1/n",
        "the gradient of the mean is that of the sum",
        scaled(
            ops.softmax_cross_entropy,
            lambda g, inputs, options: inputs[1].size if options["reduction"] == "mean" else 1,
        ),
        ("test_ops::test_derivatives[softmax_cross_entropy]",),
    ),
    Mutant(
        "softmax_cross_entropy: wrong class",
        "the gradient is that of the class behind the label",
        backward(ops.softmax_cross_entropy, _next_class),
        ("test_ops::test_derivatives[softmax_cross_entropy]",),
    ),
    # ---- products and normalisation ------------------------------------------------------------------------------
    Mutant(
        "linear: bias",
        "the gradient of the bias is a mean over the rows",
        scaled(ops.linear, lambda g, inputs, options: 1 / max(1, g.size // max(1, g.shape[-1])), place=-1),
        ("test_ops::test_kernels_equal_the_plain_composition[linear]",),
    ),
    Mutant(
        "batch_norm: variance term",
        "the gradient of x takes the variance for a constant",
        backward(ops.batch_norm, _fixed_variance),
        ("test_ops::test_derivatives[batch_norm]",),
    ),
    Mutant(
        "batch_norm: mean term",
        "the gradient of x takes the mean for a constant",
        backward(ops.batch_norm, _fixed_mean),
        ("test_ops::test_derivatives[batch_norm]",),
    ),
    Mutant(
        "batch_norm: ReLU",
        "the gradient flows through where ReLU was shut",
        backward(ops.batch_norm, _no_relu),
        ("test_ops::test_derivatives[batch_norm]",),
    ),
    Mutant(
        "batch_norm: eps",
        "nothing is added to the variance",
        with_options(ops.batch_norm, eps=lambda eps: 0.0),
        ("test_ops[batch_norm]",),
    ),
)
