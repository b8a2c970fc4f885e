"""Mistakes in the derivative rules of single ops."""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops import elementwise, index, linalg, reduce, shape
from tests.mutants.plant import Mutant, edit, rules


def _through_arrays(x: Any) -> Any:
    return x._wrap(np.asarray(np.cos(x._array)))


def _transposed(x: Any) -> Any:
    return x.permute_dims(tuple(range(x.ndim))[::-1])


def _strideless(g: Any, x: Any, w: Any, stride: Any, **options: Any) -> Any:
    margins = [(0, (step - 1) * (size - 1)) for step, size in zip(stride, g.shape[2:], strict=True)]
    g = ops.pad(g, ((0, 0), (0, 0), *margins))
    return ops.conv2d_input(g, w, shape=x.shape, stride=1, **options)


MUTANTS = (
    Mutant(
        "subtract: sign",
        "both inputs get the cotangent as it is",
        rules(ops.subtract, "partials", 1, 1),
        ("test_ops::test_derivatives[subtract]",),
    ),
    Mutant(
        "multiply: partials swapped",
        "each input gets itself times the cotangent, right where both are equal",
        rules(ops.multiply, "partials", "x", "y"),
        ("test_ops::test_derivatives[multiply]",),
    ),
    Mutant(
        "divide: forgets to divide",
        "the partial for the divisor is -x / y, not -x / y**2",
        rules(ops.divide, "partials", ..., lambda out: -out),
        ("test_ops::test_derivatives[divide]",),
    ),
    Mutant(
        "pow: exponent",
        "y * x**y in place of y * x**(y - 1)",
        rules(ops.pow, "partials", lambda y, out: y * out, ...),
        ("test_ops::test_derivatives[pow]",),
    ),
    Mutant(
        "pow: logarithm",
        "the partial for the exponent is out, not out * log(x)",
        rules(ops.pow, "partials", ..., lambda out: out),
        ("test_ops::test_derivatives[pow]",),
    ),
    Mutant(
        "expm1: off by one",
        "its own result in place of exp(x)",
        rules(ops.expm1, "partials", lambda out: out),
        ("test_ops::test_derivatives[expm1]",),
    ),
    Mutant(
        "sqrt: factor",
        "1 / sqrt(x) without the half",
        rules(ops.sqrt, "partials", lambda out: 1 / out),
        ("test_ops::test_derivatives[sqrt]",),
    ),
    Mutant(
        "sin: raw arrays",
        "the rule computes with numpy, so its own derivative is zero",
        rules(ops.sin, "partials", _through_arrays),
        ("test_ops::test_derivatives[sin]",),
    ),
    Mutant(
        "cos: sign",
        "sin(x) in place of -sin(x)",
        rules(ops.cos, "partials", lambda x: ops.sin(x)),
        ("test_ops::test_derivatives[cos]",),
    ),
    Mutant(
        "tanh: square",
        "1 - out in place of 1 - out * out",
        rules(ops.tanh, "partials", lambda out: 1 - out),
        ("test_ops::test_derivatives[tanh]",),
    ),
    Mutant(
        "sigmoid: sign",
        "out * (1 + out)",
        rules(ops.sigmoid, "partials", lambda out: out * (1 + out)),
        ("test_ops::test_derivatives[sigmoid]",),
    ),
    Mutant(
        "erf: factor",
        "without 2 / sqrt(pi)",
        rules(ops.erf, "partials", lambda x: ops.exp(-x * x)),
        ("test_ops::test_derivatives[erf]",),
    ),
    Mutant(
        "erfc: a hundredth off",
        "a factor of 1.128 for 2 / sqrt(pi), wrong in the fourth digit",
        rules(ops.erfc, "partials", lambda x: -1.128 * ops.exp(-x * x)),
        ("test_ops::test_derivatives[erfc]",),
    ),
    Mutant(
        "logaddexp: one share for both",
        "both inputs get the share of the first",
        rules(ops.logaddexp, "partials", ..., lambda x, y: elementwise._logistic_of_difference(x, y)),
        ("test_ops::test_derivatives[logaddexp]",),
    ),
    Mutant(
        "abs: slope at 0",
        "1 in place of 0",
        rules(ops.abs, "partials", lambda x: ops.where(x >= 0, 1.0, -1.0)),
        ("test_subgradients[abs]",),
    ),
    Mutant(
        "relu: slope at 0",
        "1 in place of 0",
        rules(ops.relu, "partials", lambda g, x: ops.where(x >= 0, g, 0.0)),
        ("test_subgradients[relu]",),
    ),
    Mutant(
        "relu: leaks",
        "negative numbers get a hundredth of the cotangent",
        rules(ops.relu, "partials", lambda g, x: ops.where(x > 0, g, g * 0.01)),
        ("test_ops::test_derivatives[relu]",),
    ),
    Mutant(
        "maximum: tie",
        "the first input gets all of the cotangent",
        rules(ops.maximum, "partials", lambda x, y: x >= y, lambda x, y: x < y),
        ("test_subgradients[maximum]",),
    ),
    Mutant(
        "minimum: tie",
        "both inputs get all of the cotangent",
        rules(ops.minimum, "partials", lambda x, y: x <= y, lambda x, y: y <= x),
        ("test_subgradients[minimum]",),
    ),
    Mutant(
        "where: wrong branch",
        "x gets the cotangent where the condition is false",
        rules(
            ops.where,
            "vjps",
            ...,
            lambda g, condition, x, y, out: elementwise.sum_to(ops.where(condition, 0.0, g), x.shape),
            lambda g, condition, x, y, out: elementwise.sum_to(ops.where(condition, g, 0.0), y.shape),
        ),
        ("test_ops::test_derivatives[where]",),
    ),
    Mutant(
        "where: jvp of one input",
        "the tangent of y is forgotten",
        edit(elementwise._where_tangent, "where(condition, dx, dy)", "where(condition, dx, 0.0 * dy)"),
        ("test_ops::test_derivatives[where]",),
    ),
    Mutant(
        "clip: edges",
        "an edge counts as outside: there the bound gets the gradient",
        edit(ops.clip.bind, 'x < bound if name == "min" else x > bound', 'x <= bound if name == "min" else x >= bound'),
        ("test_subgradients[clip]",),
    ),
    Mutant(
        "astype: dtype",
        "the cotangent keeps the dtype of the result",
        rules(ops.astype, "transposes", lambda g, x, dtype: g),
        ("test_ops::test_derivatives[astype]",),
    ),
    Mutant(
        "permute_dims: adjoint",
        "the axes are permuted again in place of back, right for every exchange of two",
        rules(ops.permute_dims, "transposes", lambda g, x, axes: ops.permute_dims(g, axes)),
        ("test_ops::test_derivatives[permute_dims]",),
    ),
    Mutant(
        "reshape: order",
        "the cotangent goes back in the order of columns",
        rules(ops.reshape, "transposes", lambda g, x, shape: _transposed(ops.reshape(g, x.shape[::-1]))),
        ("test_ops::test_derivatives[reshape]",),
    ),
    Mutant(
        "concat: offset",
        "every input gets the first part of the cotangent",
        edit(shape._slice_of_concat, "for spec in specs[:i])", "for spec in specs[:0])"),
        ("test_ops::test_derivatives[concat]",),
    ),
    Mutant(
        "sum: mean",
        "the cotangent is divided by the number of elements",
        edit(
            reduce._repeat,
            "return broadcast_to.run(g, shape=x.shape)",
            "return broadcast_to.run(g, shape=x.shape) / (math.prod(x.shape[i] for i in axis) or 1)",
        ),
        ("test_ops::test_derivatives[sum]",),
    ),
    Mutant(
        "index_put: overwritten",
        "elements that were written over still get the cotangent",
        rules(ops.index_put, "transposes", lambda g, x, value, key: g, ...),
        ("test_ops::test_derivatives[index_put]",),
    ),
    Mutant(
        "index_put: repeated places",
        "of values written to one place, all get the cotangent, not the last",
        edit(index._taken_by_winners, "taken = taken * (", "taken = taken + 0 * ("),
        ("test_ops::test_derivatives[index_put]",),
    ),
    Mutant(
        "cumulative_sum: direction",
        "the cotangent is summed from the front",
        rules(ops.cumulative_sum, "transposes", lambda g, x, axis: ops.cumulative_sum(g, axis=axis)),
        ("test_ops::test_derivatives[cumulative_sum]",),
    ),
    Mutant(
        "matmul: transposed adjoint",
        "y @ g.T in place of g @ y.T",
        edit(linalg._adjoint_of_first, "return g @ y.mT", "return y @ g.mT"),
        ("test_ops::test_derivatives[matmul]", "test_ops::test_derivatives[linear]"),
    ),
    Mutant(
        "matmul: batch",
        "the cotangent of a matrix that serves a batch is a mean over it",
        edit(linalg._adjoint_of_second, "mT @ g, columns)", "mT @ g / (math.prod(rows[:-2]) or 1), columns)"),
        ("test_ops::test_derivatives[matmul]",),
    ),
    Mutant(
        "conv2d: batch mean",
        "the weight's gradient is divided by the number of images",
        rules(
            ops.conv2d,
            "adjoints",
            ...,
            lambda g, x, w, **options: ops.conv2d_weight(g, x, shape=w.shape, **options) / max(1, x.shape[0]),
        ),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d: stride",
        "the adjoint by the image has stride 1, with the cotangent in a corner",
        rules(
            ops.conv2d,
            "adjoints",
            _strideless,
            ...,
        ),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d: raw arrays",
        "the adjoint by the image computes with arrays, so it has no derivative itself",
        rules(
            ops.conv2d,
            "adjoints",
            lambda g, x, w, **options: ops.conv2d_input(g.detach(), w.detach(), shape=x.shape, **options),
            ...,
        ),
        ("test_ops::test_derivatives[conv2d]",),
    ),
    Mutant(
        "conv2d_input: reversed",
        "the weight's gradient comes with its columns reversed",
        rules(
            ops.conv2d_input,
            "adjoints",
            ...,
            lambda g, y, w, shape, **options: ops.conv2d_weight(y, g, shape=w.shape, **options)[..., ::-1],
        ),
        ("test_ops::test_derivatives[conv2d_input]",),
    ),
    Mutant(
        "conv2d_weight: second input",
        "the tangent and cotangent by the image are twice what they should be",
        rules(
            ops.conv2d_weight,
            "adjoints",
            ...,
            lambda g, y, x, shape, **options: 2 * ops.conv2d_input(y, g, shape=x.shape, **options),
        ),
        ("test_ops::test_derivatives[conv2d_weight]",),
    ),
    Mutant(
        "avg_pool2d: divisor",
        "the adjoint always counts the padding",
        rules(
            ops.avg_pool2d,
            "transposes",
            lambda g, x, **options: ops.avg_pool2d_input(g, shape=x.shape, **options | {"count_include_pad": True}),
        ),
        ("test_ops::test_derivatives[avg_pool2d]",),
    ),
)
