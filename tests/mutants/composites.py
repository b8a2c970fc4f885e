"""Mistakes in ops that are functions of other ops: they are in the value, and the derivative follows it."""

from minigrad import ops
from minigrad.ops import (
    activation,
    composite_pools,
    contrast,
    cumulative,
    einstein,
    margins,
    norm,
    powers,
    resize,
    sorting,
)
from tests.mutants.plant import Mutant, Swap, edit, edited

MUTANTS = (
    Mutant("mean: without 1/n", "the sum", edit(ops.mean.bind, ") / count", ")"), ("test_ops[mean]",)),
    Mutant(
        "var: correction",
        "the correction is ignored",
        edit(ops.var.bind, "max(count - correction, 0)", "max(count, 0)"),
        ("test_ops[std]",),
    ),
    Mutant(
        "var: square",
        "one of the two factors of the square is a constant",
        edit(ops.var.bind, "centred * centred", "centred * centred.detach()"),
        ("test_ops::test_derivatives[var]",),
    ),
    Mutant(
        "logsumexp: overflow",
        "the maximum is not subtracted",
        edit(ops.logsumexp.bind, "anchor = _anchor(x, gone)", "anchor = 0.0"),
        ("test_ops::test_example_in_docs_runs[logsumexp]",),
    ),
    Mutant(
        "vector_norm: NaN at zero",
        "the root of 0 has an infinite derivative, times 0",
        edit(powers.root, "inner = where(zero, 1.0, x)", "inner = x"),
        ("test_subgradients[vector_norm]",),
    ),
    Mutant(
        "vector_norm: negative numbers",
        "powers of odd order keep the sign",
        edit(powers.power, "abs(where(zero, 1.0, x)) ** p", "where(zero, 1.0, x) ** p"),
        ("test_ops[vector_norm]",),
    ),
    Mutant(
        "pad: reflect",
        "the edge is repeated",
        edit(margins._reflect, "slice(before, 0, -1)", "slice(before - 1, None, -1) if before else slice(0, 0)"),
        ("test_ops[pad]",),
    ),
    Mutant(
        "pad: circular",
        "each margin is what it stands beside",
        edit(margins._circular, "slice(size - before, None)", "slice(0, before)"),
        ("test_ops[pad]",),
    ),
    Mutant(
        "pad: value",
        "the margin is 0, whatever was asked for",
        edit(ops.pad.bind, "if value == 0:", "if value is not None:"),
        ("test_ops[pad]",),
    ),
    Mutant(
        "interpolate: corners",
        "align_corners is ignored",
        edit(resize._between, "if align_corners else", "if False else"),
        ("test_ops[interpolate]",),
    ),
    Mutant(
        "interpolate: shares",
        "the two neighbours change their shares",
        edit(resize._between, "share = (places - below)", "share = 1 - (places - below)"),
        ("test_ops[interpolate]",),
    ),
    Mutant(
        "einsum: order of the result",
        "the axes come as the product leaves them",
        edit(ops.einsum.bind, "permute_dims(x, [own.index(label) for label in wanted])", "x"),
        ("test_composites::test_einsum_of_every_kind", "test_ops[einsum]"),
    ),
    Mutant(
        "einsum: diagonal",
        "a letter that stands twice takes the first column, not the diagonal",
        edit(einstein._alone, "[every, every]", "[every, 0 * every]"),
        ("test_composites::test_einsum_of_every_kind", "test_ops[einsum]"),
    ),
    Mutant(
        "sort: constant",
        "the values are taken out of a constant",
        edit(sorting._taken, "take_along_axis.run(x, ", "take_along_axis.run(x.detach(), "),
        ("test_ops::test_derivatives[sort]",),
    ),
    Mutant(
        "cumulative_prod: gap",
        "of runs of four and more some products are left out at the second order",
        (
            Swap(
                ops.cumulative_prod, "plain", edited(cumulative._doubling, "step *= 2", "step *= 3")(lambda x, y: x * y)
            ),
        ),
        (
            "test_ops::test_derivatives[cumulative_prod]",
            "test_ops[cumulative_prod]",
        ),
    ),
    Mutant(
        "lp_pool2d: mean",
        "the root of the mean of the powers, not of their sum",
        edit(composite_pools._areas, "return window[0] * window[1]", "return 1"),
        ("test_ops[lp_pool2d]",),
    ),
    Mutant(
        "pools over features: stride",
        "the stride is that of the window",
        edit(composite_pools._over_features, "stride=(step, 1)", "stride=(size, 1)"),
        ("test_ops[max_pool_features]",),
    ),
    Mutant(
        "layer_norm: bias",
        "the bias is multiplied",
        edit(ops.layer_norm.bind, 'y * table if name == "weight" else y + table', "y * table"),
        ("test_ops[layer_norm]",),
    ),
    Mutant(
        "batch_norm: moments",
        "at the second order the variance is a constant",
        edit(norm._moments, "elementwise.square(x - mean)", "elementwise.square(x - mean).detach()"),
        (
            "test_ops::test_derivatives[batch_norm]",
            "test_ops[batch_norm]",
        ),
    ),
    Mutant(
        "local contrast: border",
        "at a border the mean is over the whole window, with zeros outside of the image",
        edit(contrast._local_mean, "padding=margin) / total)", "padding=margin) / weights.sum())"),
        ("test_ops[subtractive_norm]",),
    ),
    Mutant(
        "gelu: exact",
        "x times the probability of more than x",
        edit(activation._gelu, "erfc(x * -math.sqrt(0.5))", "erfc(x * math.sqrt(0.5))"),
        ("test_ops[gelu]",),
    ),
    Mutant(
        "conv_transpose2d: output padding",
        "the sizes ignore it",
        edit(ops.conv_transpose2d.bind, "+ covered + extra[a]", "+ covered"),
        ("test_ops[conv_transpose2d]",),
    ),
)
