"""How derivatives are compared: with differences of the function, and with each other.

Nothing is compared with a second implementation of the derivative: the tangent is compared with differences of the
function itself, and the cotangent with the tangent through <g, J t> = <J^T g, t>, and element by element with
differences of <g, f>.

How far a result may be off is not a setting. It is 4 times the error that the differences estimate of themselves, plus
what rounding may do in the dtype of the inputs (`rounding`, `slack`).
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from minigrad.testing.differences import Path, derivative, noise, slopes, sweep
from minigrad.testing.functions import Arrays, Function
from minigrad.testing.report import Element, Report, reproducer, subject_of

DOUBT = 4
"""Times the estimated error of the differences."""

EVERY = 1000
"""So many elements of an input are looked at, if something is wrong, to say where."""


@dataclass
class Findings:
    """What was found so far."""

    problems: list[str] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def report(self, check: str, f: Any, inputs: Sequence[Any], **options: Any) -> Report:
        """All of it, with the code that finds it again."""
        again = reproducer(check, f, inputs, **options)
        return Report(check, subject_of(f), tuple(self.problems), tuple(self.elements), tuple(self.facts), again)


@dataclass(frozen=True)
class Products:
    """Both Jacobian products of a function at its inputs: J t and J^T g, for random t and g.

    Attributes
    ----------
    arrays, value
        The inputs, and what the function makes of them.
    tangents, tangent
        t, and J t (None if the function has no forward mode).
    cotangent, gradients
        g, and J^T g.
    """

    function: Function
    arrays: list[np.ndarray]
    value: np.ndarray
    tangents: list[np.ndarray]
    tangent: np.ndarray | None
    cotangent: np.ndarray
    gradients: list[np.ndarray]

    @classmethod
    def of(cls, function: Function, random: np.random.Generator) -> Self:
        """Compute both products, from copies: products by hand may write into what they get."""
        arrays, value = function.arrays, function.value(function.arrays)
        tangents, cotangent = [like_normal(x, random) for x in arrays], like_normal(value, random)
        tangent = function.push(function.arrays, [t.copy() for t in tangents])
        gradients = function.pull(function.arrays, cotangent.copy())
        return cls(function, arrays, value, tangents, tangent, cotangent, gradients)

    @functools.cached_property
    def slack_of_value(self) -> float:
        """How far f may be off by rounding."""
        value = lambda arrays: [self.function.value(arrays)]
        return _slack(self.function.dtype, value, self.arrays, [self.value])

    @functools.cached_property
    def slack_of_tangent(self) -> float:
        """How far J t may be off by rounding."""
        assert self.tangent is not None
        push = lambda inputs: [self.function.push(inputs[: len(self.arrays)], inputs[len(self.arrays) :])]
        return _slack(self.function.dtype, push, [*self.arrays, *self.tangents], [self.tangent])

    @functools.cached_property
    def slack_of_gradients(self) -> float:
        """How far J^T g may be off by rounding."""
        pull = lambda inputs: self.function.pull(inputs[:-1], inputs[-1])
        return _slack(self.function.dtype, pull, [*self.arrays, self.cotangent], self.gradients)


def check_order(
    products: Products, found: Findings, random: np.random.Generator, where: str, elements: int, accept: bool
) -> None:
    """Compare tangents with differences, tangents with cotangents, and so many elements of cotangents with differences.

    If one of the first two is wrong, elements are looked at in any case, to say where.
    """
    before = len(found.problems)
    if not have_the_form(products, found, where):
        return
    if products.tangent is not None:
        _compare_tangent(products, products.tangent, found, where, accept)
        compare_modes(products, found, where)
        if elements:
            found.facts.append(f"{where}a tangent along a random direction, both modes with each other")
    if not accept:
        _look_for_kinks(products, found, where)
    suspicious = len(found.problems) > before
    if elements or suspicious:
        _compare_elements(products, found, where, EVERY if suspicious else elements, accept, random)


def have_the_form(products: Products, found: Findings, where: str = "") -> bool:
    """Whether each product has the shape and dtype that it should have."""
    before = len(found.problems)
    pairs = [
        (f"the gradient of {name}", gradient, "the input", x)
        for name, gradient, x in zip(products.function.names, products.gradients, products.arrays, strict=True)
    ]
    if products.tangent is not None:
        pairs.append(("the tangent", products.tangent, "the value", products.value))
    for name, product, like, x in pairs:
        if product.shape != x.shape or product.dtype != x.dtype:
            found.problems.append(
                f"{where}{name} has shape {product.shape} and dtype {product.dtype}, {like} {x.shape} and {x.dtype}"
            )
    return len(found.problems) == before


def _compare_tangent(products: Products, tangent: np.ndarray, found: Findings, where: str, accept: bool) -> None:
    """Compare J t with differences of f along t."""
    path = _along_tangents(products)
    numeric = derivative(path, largest(*products.arrays))
    allowed = DOUBT * numeric.error
    off = ~(np.abs(tangent - numeric.value) <= allowed)
    if off.any():
        numeric = derivative(path, largest(*products.arrays), reach=16)
        allowed = DOUBT * numeric.error + products.slack_of_tangent
        off = ~(np.abs(tangent - numeric.value) <= allowed)
    if accept and off.any():
        off &= ~slopes(path, largest(*products.arrays)).subgradient(tangent, allowed)
    if (off & numeric.settled).any():
        at = np.unravel_index(np.argmax(np.where(off & numeric.settled, np.abs(tangent - numeric.value), 0)), off.shape)
        found.problems.append(
            f"{where}the tangent at {list(map(int, at))} is {tangent[at]}, differences give {numeric.value[at]}"
        )
    elif (off | ~numeric.settled).any() and not accept:
        found.problems.append(f"{where}f has no derivative along a random direction, by differences of any size")


def _along_tangents(products: Products) -> Path:
    """f, after a step along t."""
    arrays, along = [_wide(x) for x in products.arrays], [_wide(t) for t in products.tangents]
    return lambda step: products.function.value([x + step * t for x, t in zip(arrays, along, strict=True)])


def _look_for_kinks(products: Products, found: Findings, where: str) -> None:
    """Find out whether f has a kink here; a symmetric one has a central difference like any other point."""
    sides = slopes(_along_tangents(products), largest(*products.arrays))
    if sides.kink.any():
        at = tuple(np.argwhere(sides.kink)[0])
        found.problems.append(
            f"{where}f has a kink at {list(map(int, at))} of its value: along a random direction its slope is "
            f"{sides.left[at]:.6g} from the left, {sides.right[at]:.6g} from the right"
        )


def compare_modes(products: Products, found: Findings, where: str = "") -> None:
    """Compare <g, J t> with <J^T g, t>."""
    assert products.tangent is not None
    forward = _wide(products.cotangent) * _wide(products.tangent)
    pairs = zip(products.gradients, products.tangents, strict=True)
    backward = np.concatenate([(_wide(gradient) * _wide(t)).ravel() for gradient, t in pairs])
    relative = 4 * rounding(products.function.dtype, forward.size + backward.size)
    if equal_sums(forward, backward, relative):
        return
    absolute = products.slack_of_tangent * np.abs(products.cotangent).sum()
    absolute += products.slack_of_gradients * sum(np.abs(t).sum() for t in products.tangents)
    if not equal_sums(forward, backward, relative, float(absolute)):
        found.problems.append(f"{where}<g, J t> = {forward.sum()}, but <J^T g, t> = {backward.sum()}")


def equal_sums(x: np.ndarray, y: np.ndarray, relative: float, absolute: float = 0.0) -> bool:
    """Whether two sums are equal, but for a part of the sum of magnitudes and an absolute error."""
    left, right = float(x.sum()), float(y.sum())
    return left == right or abs(left - right) <= relative * float(np.abs(x).sum() + np.abs(y).sum()) + absolute


def _compare_elements(
    products: Products, found: Findings, where: str, count: int, accept: bool, random: np.random.Generator
) -> None:
    """Compare up to `count` elements of each gradient with differences of <g, f>, and keep the worst of each input."""
    counts, suspicious = [], count == EVERY
    for i, (name, x) in enumerate(zip(products.function.names, products.arrays, strict=True)):
        indices = [np.unravel_index(flat, x.shape) for flat in random.permutation(x.size)[:count]]
        elements = [_element(products, i, tuple(map(int, index))) for index in indices]
        wrong = [_with_surroundings(products, i, one) for one in elements if suspicious or not one.right]
        wrong = [one for one in wrong if not one.right]
        if accept:
            wrong = [one for one in wrong if not one.subgradient]
        if elements:
            worst = max(wrong or elements, key=lambda one: (not one.settled, one.absolute))
            found.elements.append(_with_surroundings(products, i, worst))
            counts.append(f"{len(elements)} of {x.size} of {name}")
        if wrong:
            found.problems.append(
                f"{where}the gradient of {name} is wrong at {len(wrong)} of the {len(elements)} elements looked at"
            )
    if counts:
        found.facts.append(f"{where}elements of the gradients, {', '.join(counts)}")


def _path(products: Products, i: int, index: tuple[int, ...]) -> Path:
    """<g, f>, after a step in one element of input i."""
    arrays, g = [_wide(x) for x in products.arrays], _wide(products.cotangent)

    def path(step: float) -> np.ndarray:
        moved = arrays[i].copy()
        moved[index] += step
        return np.vdot(g, products.function.value([*arrays[:i], moved, *arrays[i + 1 :]]))

    return path


def _element(products: Products, i: int, index: tuple[int, ...]) -> Element:
    """The derivative with respect to one element of input i, both ways."""
    x, name = products.arrays[i], products.function.names[i]
    path, scale, analytic = _path(products, i, index), largest(*products.arrays), float(products.gradients[i][index])
    numeric = derivative(path, scale)
    allowed = DOUBT * float(numeric.error)
    if not abs(analytic - numeric.value) <= allowed:
        numeric = derivative(path, scale, reach=16)
        allowed = DOUBT * float(numeric.error) + products.slack_of_gradients
    return Element(name, index, x.shape, x.dtype, analytic, float(numeric.value), allowed, bool(numeric.settled))


def _with_surroundings(products: Products, i: int, element: Element) -> Element:
    """An element with what takes more evaluations to know."""
    path = _path(products, i, element.index)
    sides = slopes(path, largest(*products.arrays))
    return replace(
        element,
        slopes=(float(sides.left), float(sides.right)),
        kink=bool(sides.kink),
        subgradient=bool(sides.subgradient(element.analytic, element.allowed)),
        sweep=sweep(path, element.analytic),
    )


def rounding(dtype: np.dtype, count: int) -> float:
    """How far a result may be off by rounding, relative to its largest element: (8 + sqrt(count)) units of rounding.

    Errors of sums of n numbers grow with sqrt(n) (Higham and Mary, 2019, A new approach to probabilistic rounding
    error analysis). `count` is the number of elements of the inputs and the result.
    """
    return float(np.finfo(dtype).eps) * (8 + math.sqrt(count))


def _slack(dtype: np.dtype, product: Callable[[Arrays], Any], inputs: Arrays, results: Sequence[Any]) -> float:
    """How far the results of a product may be off by rounding in a dtype; `inputs` are those of f, and the direction.

    A stable computation gives the exact result for inputs that are a few units in the last place away. So this is
    what changes by such a step, the rounding of the results themselves, and (all that there is of results that cancel)
    the noise among neighbours. Their largest element counts for all: a gradient may be what is left of numbers of that
    size (a bias before batch-norm has none). That takes many evaluations: ask where results differ without it.
    """
    eps, random = float(np.finfo(dtype).eps), np.random.default_rng(0)
    signs = [random.choice((-1.0, 1.0), x.shape) for x in inputs]

    def path(step: float) -> np.ndarray:
        found = product([np.asarray(x * (1 + step * sign), x.dtype) for x, sign in zip(inputs, signs, strict=True)])
        return np.concatenate([_wide(one).ravel() for one in found])

    with np.errstate(all="ignore"):
        here = np.concatenate([_wide(one).ravel() for one in results])
        moved = largest(path(eps) - here) + largest(noise(path, 8, 2**12 * eps))
    return rounding(dtype, sum(x.size for x in (*inputs, *results))) * (largest(here) + moved / eps)


def largest(*arrays: np.ndarray) -> float:
    """The largest finite magnitude among the elements."""
    return max(float(np.abs(x, where=np.isfinite(x), out=np.zeros(x.shape)).max(initial=0.0)) for x in arrays)


def like_normal(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Normal numbers of x's shape and dtype."""
    return np.asarray(random.standard_normal(x.shape), x.dtype)


def _wide(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64)
