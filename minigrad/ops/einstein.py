"""Einstein's summation convention, by diagonals, sums, and products of two at a time."""

import math
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.errors import ArgumentError, OperandError, ShapeError
from minigrad.ops.checks import operands, require
from minigrad.ops.kinds import Bad, composite
from minigrad.ops.linalg import matmul
from minigrad.ops.reduce import sum
from minigrad.ops.samples import Call, Draw, least_side
from minigrad.ops.shape import permute_dims, reshape

Labels = list[Any]
"""What the axes of an operand are called: by letters, and under an ellipsis by negative numbers from the right."""


EXAMPLES = (
    *("i->", "ij->ji", "ii", "ii->i", "iji->ij", "i,i", "i,j->ji", "ij,jk", "ij,kj->ki", "bij,bjk->kbi", "ij,ij->i"),
    *("ij,jk,kl->li", "ij,jk,ik->j", "i,i,i->", "...ij,...jk", "...i->...", "i...,i->i...", "bij,b,j->ib", "ij,kl->j"),
)


def _sample(draw: Draw) -> Call:
    subscripts = draw.choice(EXAMPLES)
    least = least_side(draw)
    sizes = {letter: draw.choice([least, 2, 3]) for letter in "bijkl"}
    more = draw.shape(max_dims=2, min_side=least)
    shapes = []
    for term in subscripts.split("->")[0].split(","):
        before, dots, after = term.partition("...")
        middle = tuple(1 if draw.boolean() else size for size in more[draw.integer(0, len(more)) :]) if dots else ()
        shapes.append((*(sizes[c] for c in before), *middle, *(sizes[c] for c in after)))
    return (subscripts, *(draw.array(shape) for shape in shapes)), {}


@composite(
    view=True,
    sample=_sample,
    oracle=lambda subscripts, *arrays: np.array(np.einsum(subscripts, *arrays)),
    bad=(
        Bad(
            lambda t: einsum("ij,jk", t(2, 3), t(4, 5)),
            ShapeError,
            "einsum: j differs, 3 in operand 0 but 4 in operand 1\n"
            "  operand 0 (i j) = (2, 3)  float32 cpu\n"
            "  operand 1 (j k) = (4, 5)  float32 cpu",
        ),
        Bad(lambda t: einsum("ij", t(2)), ShapeError, "einsum: 'ij' names 2 axes, operand 0 has 1"),
        Bad(lambda t: einsum("i,i", t(2)), OperandError, "einsum: 'i,i' has 2 operands, but 1 was given"),
        Bad(lambda t: einsum("i->ij", t(2)), ArgumentError, "einsum: 'j' of the output is in no operand"),
        Bad(lambda t: einsum("i->ii", t(2)), ArgumentError, "einsum: 'i' is twice in the output"),
        Bad(lambda t: einsum("i1", t(2, 2)), ArgumentError, "einsum: 'i1' is more than letters and one ellipsis"),
        Bad(
            lambda t: einsum("...->", t(2)), ArgumentError, "einsum: the axes under the ellipsis are not in the output"
        ),
        Bad(
            lambda t: einsum("...,...", t(2), t(3)),
            ShapeError,
            "einsum: the axes under the ellipses do not broadcast, (2,) and (3,)",
        ),
    ),
)
def einsum(subscripts: str, /, *arrays: Any) -> Any:
    """Products of tensors, summed over the axes whose letters are not in the result.

    Parameters
    ----------
    subscripts
        The letters of the axes of each operand and, after "->", of the result, as in "ij,jk->ik". An ellipsis stands
        for any number of axes, which broadcast. Without "->" the result has the axes under the ellipsis and, in
        alphabetical order, the letters that are there once. A letter that an operand has twice is its diagonal.
    arrays
        As many tensors. More than two are multiplied from left to right.

    Returns
    -------
    Tensor
        As the letters say.

    Raises
    ------
    ArgumentError, OperandError, ShapeError
        If the letters make no sense, or do not fit the tensors.

    >>> mg.einsum("ij,j->i", mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([1.0, -1.0]))
    tensor([-1., -1.])
    """
    terms, result = _terms(subscripts, arrays)
    names = [f"operand {i}" for i in range(len(arrays))]
    tensors = operands("einsum", names, arrays, "numeric")
    labels = [_labels(i, term, x) for i, (term, x) in enumerate(zip(terms, tensors, strict=True))]
    _check_sizes(terms, labels, tensors)
    wanted = _wanted(labels, result)

    x, own = _alone(tensors[0], labels[0], {*wanted, *_flat(labels[1:])})
    for i in range(1, len(tensors)):
        needed = {*wanted, *_flat(labels[i + 1 :])}
        y, other = _alone(tensors[i], labels[i], needed | set(own))
        x, own = _product(x, own, y, other, needed)
    return permute_dims(x, [own.index(label) for label in wanted])


def _flat(labels: Sequence[Labels]) -> Labels:
    return [label for own in labels for label in own]


def _terms(subscripts: str, arrays: Sequence[Any]) -> tuple[list[str], str | None]:
    """The letters of each operand, and those of the result if they are given."""
    text = subscripts.replace(" ", "")
    given, arrow, result = text.partition("->")
    terms = given.split(",")
    for term in [*terms, result]:
        rest = term.replace("...", "", 1)
        headline = f"einsum: {term!r} is more than letters and one ellipsis"
        require(all(c in string.ascii_letters for c in rest), ArgumentError, headline)
    verb = "was" if len(arrays) == 1 else "were"
    headline = f"einsum: {subscripts!r} has {len(terms)} operands, but {len(arrays)} {verb} given"
    require(len(terms) == len(arrays), OperandError, headline)
    return terms, result if arrow else None


def _labels(i: int, term: str, x: Any) -> Labels:
    before, dots, after = term.partition("...")
    more = len(x.shape) - len(before) - len(after)
    fits = more >= 0 if dots else more == 0
    headline = f"einsum: {term!r} names {len(before + after)} axes, operand {i} has {len(x.shape)}"
    require(fits, ShapeError, headline)
    return [*before, *range(-more, 0), *after]


def _check_sizes(terms: list[str], labels: list[Labels], tensors: Sequence[Any]) -> None:
    known: dict[str, tuple[int, int]] = {}
    hidden = []
    for i, (own, x) in enumerate(zip(labels, tensors, strict=True)):
        hidden.append(tuple(size for label, size in zip(own, x.shape, strict=True) if isinstance(label, int)))
        for label, size in zip(own, x.shape, strict=True):
            if isinstance(label, str):
                first, where = known.setdefault(label, (size, i))
                if first != size:
                    rows = [
                        (f"operand {j}", " ".join(terms[j].replace("...", "…")).replace("…", "..."), tensors[j])
                        for j in range(len(tensors))
                    ]
                    headline = f"einsum: {label} differs, {first} in operand {where} but {size} in operand {i}"
                    require(False, ShapeError, headline, rows)
    try:
        np.broadcast_shapes(*hidden)
    except ValueError:
        listed = " and ".join(str(shape) for shape in hidden if shape)
        raise ShapeError(f"einsum: the axes under the ellipses do not broadcast, {listed}") from None


def _wanted(labels: list[Labels], result: str | None) -> Labels:
    """The labels of the result."""
    counts = Counter(_flat(labels))
    hidden = sorted(label for label in counts if isinstance(label, int))
    if result is None:
        return [*hidden, *sorted(label for label, n in counts.items() if isinstance(label, str) and n == 1)]
    before, dots, after = result.partition("...")
    for letter in before + after:
        require(letter in counts, ArgumentError, f"einsum: {letter!r} of the output is in no operand")
        require((before + after).count(letter) == 1, ArgumentError, f"einsum: {letter!r} is twice in the output")
    require(bool(dots) or not hidden, ArgumentError, "einsum: the axes under the ellipsis are not in the output")
    return [*before, *hidden, *after]


def _alone(x: Any, labels: Labels, needed: set[Any]) -> tuple[Any, Labels]:
    """An operand with every label once, and summed over those that nothing else needs."""
    own = list(labels)
    for label in dict.fromkeys(labels):
        while own.count(label) > 1:
            first = own.index(label)
            second = own.index(label, first + 1)
            rest = [axis for axis in range(len(own)) if axis not in (first, second)]
            every = np.arange(x.shape[first])
            x = permute_dims(x, (first, second, *rest))[every, every]
            own = [label, *(own[axis] for axis in rest)]
    gone = tuple(axis for axis, label in enumerate(own) if label not in needed)
    return sum(x, axis=gone) if gone else x, [label for label in own if label in needed]


def _product(x: Any, own: Labels, y: Any, other: Labels, needed: set[Any]) -> tuple[Any, Labels]:
    """The product of two, summed over what both have and nothing else needs: a stack of matrix products."""
    shared = [label for label in own if label in other and label in needed]
    gone = [label for label in own if label in other and label not in needed]
    left = [label for label in own if label not in other]
    right = [label for label in other if label not in own]

    def part(z: Any, labels: Labels, chosen: Labels) -> tuple[int, ...]:
        return tuple(z.shape[labels.index(label)] for label in chosen)

    rows, columns = part(x, own, left), part(y, other, right)
    x = permute_dims(x, [own.index(label) for label in shared + left + gone])
    y = permute_dims(y, [other.index(label) for label in shared + gone + right])
    a, b = x.shape[: len(shared)], y.shape[: len(shared)]
    if gone:
        inner = math.prod(x.shape[len(shared) + len(left) :])
        product = matmul(reshape(x, (*a, math.prod(rows), inner)), reshape(y, (*b, inner, math.prod(columns))))
    else:
        product = reshape(x, (*a, *rows, *(1,) * len(columns))) * reshape(y, (*b, *(1,) * len(rows), *columns))
    return reshape(product, (*product.shape[: len(shared)], *rows, *columns)), shared + left + right
