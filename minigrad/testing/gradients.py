"""Proof that the derivatives of a function are right, in both directions and at the second order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.creation import asarray
from minigrad.errors import ArgumentError
from minigrad.ops.checks import integer
from minigrad.tensor import Tensor
from minigrad.testing.compare import (
    Findings,
    Products,
    check_order,
    compare_modes,
    equal_sums,
    have_the_form,
    largest,
    like_normal,
    rounding,
)
from minigrad.testing.functions import Arrays, Function, OfTensors, function_of, to_array
from minigrad.testing.report import Report, hides
from minigrad.testing.sides import DIFFERS, check_sides
from minigrad.transforms import jvp as push_forward
from minigrad.transforms import vjp as pull_back

__tracebackhide__ = hides


def check_grads(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    elements: int = 16,
    kinks: str = "refuse",
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    seed: int = 0,
) -> Report:
    """Prove that the derivatives of f at these inputs are right.

    For a random direction t and a random cotangent g:

    - the tangent J t is what differences of f along t give,
    - <g, J t> = <J^T g, t> to rounding,
    - the elements of J^T g are what differences of <g, f> give,
    - the same again for the functions (x, g) -> J^T g and (x, t) -> J t, up to `order`,
    - inputs and cotangent keep their bits, results have the right shape and dtype, repeat bit for bit, do not depend on
      the layout of the inputs in memory, and leave no tensor behind; f(x, x) has the gradients of both paths, and the
      derivatives with respect to one input are the same if the others are constants.

    Parameters
    ----------
    f
        A function of tensors that returns a tensor, or tensors in nested tuples, lists and dicts; or, if `vjp` is
        given, a function of ndarrays that returns one.
    inputs
        Where to check it. Float tensors and arrays are differentiated; whatever else is there is handed on. All is
        checked in float64. If there are float32 inputs, the first order is then checked in float32, too, as exactly
        as float32 is.
    order
        1 checks gradients, 2 also gradients of gradients. Functions of ndarrays have 1.
    elements
        How many elements of each input to compare one by one, chosen at random. If something is wrong, up to 1000.
    kinks
        "refuse": a kink is a problem; "accept": there any slope between the left and the right one is right.
    vjp, jvp
        Of a function of ndarrays: `vjp(g, *inputs)` returns the cotangent of the float input, or one for each;
        `jvp(tangents, *inputs)` the tangent of the value.
    seed
        Of directions, cotangents and the choice of elements.

    Returns
    -------
    Report
        What was looked at, and the least exact element of each input.

    Raises
    ------
    CheckError
        If something is wrong: the report says what and where, and how to see it again.

    Examples
    --------
    >>> from minigrad.testing import check_grads
    >>> report = check_grads(lambda x: mg.exp(x) * x, mg.tensor([0.5, -1.0]))
    >>> report.passed
    True

    A product written by hand, with a mistake:

    >>> try:
    ...     check_grads(np.sin, np.array([0.3]), vjp=lambda g, x: g * np.sin(x))
    ... except AssertionError as error:
    ...     print(str(error).splitlines()[0])
    check_grads: sin is wrong
    """
    if kinks not in ("refuse", "accept"):
        raise ArgumentError(f"check_grads: kinks = {kinks!r} is neither 'refuse' nor 'accept'")
    found = Findings()
    function = function_of("check_grads", f, inputs, vjp, jvp)
    check_function(function, found, seed, order=order, elements=elements, accept=kinks == "accept")
    by_hand = {name: product for name, product in (("vjp", vjp), ("jvp", jvp)) if product is not None}
    return found.report("check_grads", f, inputs, order=order, kinks=kinks, seed=seed, **by_hand).required()


def check_jvp_vjp(f: Callable[..., Any], *inputs: Any, seed: int = 0, **by_hand: Any) -> Report:
    """Prove that the two modes agree: <g, J t> = <J^T g, t> for random g and t, to rounding. No differences are taken.

    It holds at kinks too, and costs two sweeps. Arguments and result are those of `check_grads`.

    >>> from minigrad.testing import check_jvp_vjp
    >>> check_jvp_vjp(mg.relu, mg.tensor([0.0, 1.0])).passed
    True
    """
    function = function_of("check_jvp_vjp", f, inputs, **by_hand)
    found, products = Findings(), Products.of(function, np.random.default_rng(seed))
    if products.tangent is None:
        raise ArgumentError("check_jvp_vjp: there is no jvp to compare the vjp with")
    if have_the_form(products, found):
        compare_modes(products, found)
    found.facts.append("<g, J t> = <J^T g, t>")
    return found.report("check_jvp_vjp", f, inputs, seed=seed, **by_hand).required()


def check_adjoint(f: Callable[..., Any], adjoint: Callable[..., Any] | None, x: Any, *, seed: int = 0) -> Report:
    """Prove that f is linear, and that `adjoint` is its adjoint: <y, f(x)> = <adjoint(y), x>, to rounding.

    Parameters
    ----------
    f
        A linear function of one tensor, or of one ndarray.
    adjoint
        Its adjoint (transpose), a function of what f returns that returns what f takes. None: f's own vjp.
    x
        A tensor or array that says shape and dtype; the values are random ones.
    seed
        Of the values.

    Examples
    --------
    >>> from minigrad.testing import check_adjoint
    >>> check_adjoint(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1], np.zeros(5)).passed
    True
    """

    def on_arrays(y: np.ndarray, _: Any = None) -> np.ndarray:
        assert adjoint is not None
        return to_array(adjoint(asarray(y) if isinstance(x, Tensor) else y))

    function = function_of("check_adjoint", f, [x], None if isinstance(x, Tensor) else on_arrays)
    found, random = Findings(), np.random.default_rng(seed)
    (like,) = function.arrays
    one, two = like_normal(like, random), like_normal(like, random)
    of_one, of_two, of_both = function.value([one]), function.value([two]), function.value([3 * one - two])
    slack = 4 * rounding(like.dtype, like.size) * largest(of_one, of_two, of_both)
    if not (np.abs(of_both - (3 * of_one - of_two)) <= slack).all():
        found.problems.append("it is not linear: f(3x - y) is not 3 f(x) - f(y)")
    y = like_normal(of_one, random)
    back = function.pull([one], y)[0] if adjoint is None else on_arrays(y)
    if back.shape != one.shape:
        found.problems.append(f"the adjoint gives shape {back.shape} for an input of shape {one.shape}")
    elif not equal_sums(y * of_one, back * one, 4 * rounding(like.dtype, like.size + y.size)):
        found.problems.append(f"<y, f(x)> = {(y * of_one).sum()}, but <adjoint(y), x> = {(back * one).sum()}")
    found.facts.append("f(3x - y) = 3 f(x) - f(y); <y, f(x)> = <adjoint(y), x>")
    return found.report("check_adjoint", f, [x], adjoint=adjoint, seed=seed).required()


def check_function(function: Function, found: Findings, seed: int, *, order: int, elements: int, accept: bool) -> None:
    """Do all that `check_grads` promises."""
    for name, value, least in (("order", order, 1), ("elements", elements, 0)):
        if integer("a check", name, value) < least:
            raise ArgumentError(f"a check: {name} = {value} is less than {least}")
    random = np.random.default_rng(seed)
    wide = function.widened()
    products = Products.of(wide, random)
    if wide.value(wide.arrays).tobytes() != products.value.tobytes():
        found.problems.append(DIFFERS)  # nothing else could be told
        return
    check_order(products, found, random, "", elements, accept)
    if function.dtype != np.float64 and not found.problems:
        found.elements.clear()
        products = Products.of(function, random)
        check_order(products, found, random, f"in {function.dtype}, ", elements, accept)
    check_sides(products, found.problems)
    found.facts.append("inputs unchanged, layouts, repeats, nothing left alive")
    if isinstance(wide, OfTensors) and order > 1 and not found.problems:
        _check_higher(wide, found, random, order, accept)
        found.facts.append(f"all this for the products, up to order {order}")


def _check_higher(function: OfTensors, found: Findings, random: np.random.Generator, order: int, accept: bool) -> None:
    """Check, from order 2 up to an order, the derivatives of both products."""
    pending = [(function, 2)]
    while pending and not found.problems:
        f, level = pending.pop()
        for name, product in _products(f, random):
            check_order(Products.of(product, random), found, random, f"order {level}, {name}: ", 0, accept)
            if level < order:
                pending.append((product, level + 1))


def _products(f: OfTensors, random: np.random.Generator) -> Iterator[tuple[str, OfTensors]]:
    """(x, g) -> J^T g, for each input by itself, and (x, t) -> J t."""
    arrays = f.arrays
    n = len(arrays)
    cotangent, tangents = like_normal(f.value(arrays), random), [like_normal(x, random) for x in arrays]

    def as_function(product: Callable[..., Any], more: Arrays, names: Sequence[str]) -> OfTensors:
        return OfTensors.of(product, [*map(asarray, (*arrays, *more))], (*f.names, *names))

    for i, name in enumerate(f.names):
        pull = lambda *args, i=i: pull_back(f.tensor, *args[:n])[1](args[n])[i]
        yield f"the gradient of {name}", as_function(pull, [cotangent], ["the cotangent"])
    push = lambda *args: push_forward(f.tensor, args[:n], args[n:])[1]
    yield "the tangent", as_function(push, tangents, [f"the tangent of {name}" for name in f.names])
