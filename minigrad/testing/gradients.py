"""Proof that the derivatives of a function are right, in both directions and at the second order.

Nothing is compared with a second implementation of the derivative: the tangent is compared with a difference quotient
of the function itself, and the cotangent with the tangent through <g, J t> = <J^T g, t>.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minigrad.creation import asarray
from minigrad.dtypes import float64
from minigrad.errors import DtypeError, MinigradError
from minigrad.tensor import Tensor, no_grad
from minigrad.transforms import jvp, vjp


class GradientError(MinigradError, AssertionError):
    """A derivative that is not that of the function."""


def check_grads(
    f: Callable[..., Tensor],
    *primals: Tensor,
    order: int = 2,
    seed: int = 0,
    eps: float = 1e-5,
    tolerance: float = 1e-6,
) -> None:
    """Raise unless the derivatives of f at the primals are right.

    Along random directions t and for random cotangents g it checks that

    - the tangent J t is the central difference (f(x + eps t) - f(x - eps t)) / (2 eps),
    - <g, J t> equals <J^T g, t> to rounding,
    - both hold again for the functions (x, g) -> J^T g and (x, t) -> J t, up to `order`.

    Parameters
    ----------
    f
        A function of float64 tensors that returns one.
    primals
        Where to check it: away from kinks, where the difference quotient is not the derivative.
    order
        1 checks gradients, 2 also gradients of gradients.
    seed
        Of the directions.
    eps
        The step of the difference.
    tolerance
        Of the difference, relative to its largest element (or absolute below 1).

    Raises
    ------
    GradientError
        Saying which of the checks failed, at which order, and by how much.

    Examples
    --------
    >>> from minigrad.testing import check_grads
    >>> check_grads(lambda x: mg.exp(x) * x, mg.tensor([0.5, -1.0], dtype="float64"))
    """
    for x in primals:
        if x.dtype != float64:
            raise DtypeError(f"check_grads: a primal of dtype {x.dtype}, differences need float64")
    _check(f, primals, order, order, np.random.default_rng(seed), eps, tolerance)


def _check(
    f: Callable[..., Tensor],
    primals: Sequence[Tensor],
    order: int,
    orders: int,
    random: np.random.Generator,
    eps: float,
    tolerance: float,
) -> None:
    where = f"order {orders - order + 1}"
    directions = [_random_like(x, random) for x in primals]
    value, tangent = jvp(f, primals, directions)
    _check_tangent(f, primals, directions, tangent, eps, tolerance, where)

    cotangent = _random_like(value, random)
    _, pullback = vjp(f, *primals)
    gradients = pullback(cotangent)
    for i, (x, gradient) in enumerate(zip(primals, gradients, strict=True)):
        if gradient.shape != x.shape or gradient.dtype != x.dtype:
            raise GradientError(
                f"{where}: the gradient of argument {i} has shape {gradient.shape} and dtype {gradient.dtype}, "
                f"the argument {x.shape} and {x.dtype}"
            )
    forward, backward = _inner([cotangent], [tangent]), _inner(gradients, directions)
    terms = np.abs(cotangent.numpy() * tangent.numpy()).sum()
    scale = 1 + terms + sum(np.abs(g.numpy() * t.numpy()).sum() for g, t in zip(gradients, directions, strict=True))
    if not abs(forward - backward) <= 1e-10 * scale:
        raise GradientError(f"{where}: <g, J t> = {forward!r}, but <J^T g, t> = {backward!r}")

    if order > 1:
        n = len(primals)
        for i in range(n):
            _check(
                lambda *args, i=i: vjp(f, *args[:n])[1](args[n])[i],
                *((*primals, cotangent), order - 1, orders, random, eps, tolerance),
            )
        _check(
            lambda *args: jvp(f, args[:n], args[n:])[1],
            *((*primals, *directions), order - 1, orders, random, eps, tolerance),
        )


def _check_tangent(
    f: Callable[..., Tensor],
    primals: Sequence[Tensor],
    directions: Sequence[Tensor],
    tangent: Tensor,
    eps: float,
    tolerance: float,
    where: str,
) -> None:
    with no_grad():
        ahead, behind = (
            f(*(x.detach() + sign * eps * t for x, t in zip(primals, directions, strict=True))).numpy()
            for sign in (1, -1)
        )
    if tangent.shape != ahead.shape:
        raise GradientError(f"{where}: the tangent has shape {tangent.shape}, the value {ahead.shape}")
    expected = (ahead - behind) / (2 * eps)
    error = np.abs(tangent.numpy() - expected).max(initial=0.0)
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    if not error <= tolerance * scale:
        raise GradientError(
            f"{where}: the tangent is {error:.3g} away from the difference quotient of size {scale:.3g}"
        )


def _random_like(x: Tensor, random: np.random.Generator) -> Tensor:
    return asarray(random.standard_normal(x.shape))


def _inner(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> float:
    return float(sum(np.vdot(x.numpy(), y.numpy()) for x, y in zip(xs, ys, strict=True)))
