"""Proof that an optimiser does what all of them promise, and, given its formula, that it follows it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.creation import tensor
from minigrad.errors import OperandError
from minigrad.nn import Parameter
from minigrad.optim import Optimizer
from minigrad.testing.compare import Findings
from minigrad.testing.functions import to_array
from minigrad.testing.report import Report, hides
from minigrad.testing.sides import near

__tracebackhide__ = hides

Formula = Callable[[np.ndarray, np.ndarray, dict[str, Any]], np.ndarray]


def check_optimizer(
    make: Callable[[list[Parameter]], Optimizer], *, formula: Formula | None = None, steps: int = 200, seed: int = 0
) -> Report:
    """Prove what users of an optimiser rely on.

    - The first step goes downhill, and `steps` of them at least halve the distance to the minimum of a bowl.
    - A step depends on a parameter's own gradient and history only; without a gradient it stays as it is.
    - Gradients keep their bits, parameters their shape and dtype, and what was computed from the old ones stays.
    - An optimiser that loaded the state of another one goes on as that one would have, bit for bit.
    - `zero_grad` forgets the gradients.

    Parameters
    ----------
    make
        Makes the optimiser, given parameters.
    formula
        The step in numpy, `formula(x, g, state)`, which returns the next x. `state` is a dict of its own for each
        parameter, empty at first. Values agree to rounding over ten steps, or it is a problem.
    steps
        How many to take in the bowl.
    seed
        Of parameters and gradients.

    Raises
    ------
    CheckError
        If one of these is not so.

    Examples
    --------
    >>> from minigrad.testing import check_optimizer
    >>> check_optimizer(lambda p: optim.SGD(p, lr=0.1), formula=lambda x, g, state: x - 0.1 * g).passed
    True
    """
    if not callable(make):
        raise OperandError(
            f"check_optimizer: a {type(make).__name__} is no function that makes optimisers of parameters"
        )
    found = Findings()
    for dtype in ("float32", "float64"):
        for check in (_check_descent, _check_alone, _check_values_stay, _check_state):
            check(make, np.dtype(dtype), steps, np.random.default_rng(seed), found)
        if formula is not None:
            _check_formula(make, formula, np.dtype(dtype), np.random.default_rng(seed), found)
    found.facts.append("descent, independence, immutability, state and zero_grad, in float32 and float64")
    return found.report("check_optimizer", make, [], formula=formula, steps=steps, seed=seed).required()


def _parameters(dtype: np.dtype, random: np.random.Generator) -> list[Parameter]:
    return [Parameter(random.standard_normal(shape).astype(dtype)) for shape in [(3, 4), (5,), ()]]


def _set_gradients(parameters: list[Parameter], random: np.random.Generator) -> None:
    for p in parameters:
        p.grad = tensor(random.standard_normal(p.shape), dtype=p.dtype)


def _check_descent(make: Any, dtype: np.dtype, steps: int, random: np.random.Generator, found: Findings) -> None:
    """Go down a bowl whose sides differ by a factor of three."""
    bottom = random.standard_normal(6).astype(dtype)
    steepness = np.linspace(0.5, 1.5, 6).astype(dtype)
    x = Parameter(bottom + random.choice((-1, 1), 6).astype(dtype))
    optimizer, start = make([x]), to_array(x).copy()
    for step in range(steps):
        x.grad = tensor(steepness * (to_array(x) - bottom))
        slope = to_array(x.grad)
        optimizer.step()
        if step == 0 and not np.vdot(slope, to_array(x) - start) < 0:
            found.problems.append(f"{dtype}: the first step does not go downhill")
    before, after = np.linalg.norm(start - bottom), np.linalg.norm(to_array(x) - bottom)
    if not after <= before / 2:
        found.problems.append(f"{dtype}: {steps} steps in a bowl lead from {before:.3g} to {after:.3g} off its minimum")
    optimizer.zero_grad()
    if x.grad is not None:
        found.problems.append(f"{dtype}: zero_grad leaves a gradient")


def _check_alone(make: Any, dtype: np.dtype, steps: int, random: np.random.Generator, found: Findings) -> None:
    """Compare three parameters in one optimiser with two in one each.

    The second one never has a gradient, the third has none at first: its history begins when it gets one.
    """
    together = _parameters(dtype, random)
    alone = [Parameter(to_array(p)) for p in together]
    untouched = to_array(together[1]).tobytes()
    optimizers = make(together), make([alone[0]]), make([alone[2]])
    for step in range(4):
        _set_gradients(together, random)
        together[1].grad = None
        if step < 2:
            together[2].grad = None
        alone[0].grad, alone[2].grad = together[0].grad, together[2].grad
        for optimizer in optimizers if step >= 2 else optimizers[:2]:
            optimizer.step()
    if to_array(together[1]).tobytes() != untouched:
        found.problems.append(f"{dtype}: a parameter without a gradient moves")
    if not all(near(to_array(together[i]), to_array(alone[i])) for i in (0, 2)):
        found.problems.append(f"{dtype}: a parameter's step depends on other parameters")


def _check_values_stay(make: Any, dtype: np.dtype, steps: int, random: np.random.Generator, found: Findings) -> None:
    """Look at old values, gradients, shapes and dtypes after a step."""
    parameters = _parameters(dtype, random)
    optimizer = make(parameters)
    _set_gradients(parameters, random)
    old = [p.detach() for p in parameters]
    gradients = [p.grad for p in parameters]
    bits = [to_array(x).tobytes() for x in (*old, *gradients)]
    optimizer.step()
    if [to_array(x).tobytes() for x in (*old, *gradients)] != bits:
        found.problems.append(f"{dtype}: a step writes on old values or gradients")
    for p, before in zip(parameters, old, strict=True):
        if p.shape != before.shape or p.dtype != before.dtype:
            found.problems.append(f"{dtype}: a step turns {before.shape} {before.dtype} into {p.shape} {p.dtype}")


def _check_state(make: Any, dtype: np.dtype, steps: int, random: np.random.Generator, found: Findings) -> None:
    """Hand the state over after three steps and take three more."""
    first = _parameters(dtype, random)
    one = make(first)
    for _ in range(3):
        _set_gradients(first, random)
        one.step()
    second = [Parameter(to_array(p)) for p in first]
    other = make(second)
    other.load_state_dict(one.state_dict())
    for _ in range(3):
        _set_gradients(first, random)
        for p, q in zip(first, second, strict=True):
            q.grad = p.grad
        one.step()
        other.step()
    if any(to_array(p).tobytes() != to_array(q).tobytes() for p, q in zip(first, second, strict=True)):
        found.problems.append(f"{dtype}: with the state of another optimiser it goes on otherwise")


def _check_formula(make: Any, formula: Formula, dtype: np.dtype, random: np.random.Generator, found: Findings) -> None:
    """Take ten steps both ways."""
    parameters = _parameters(dtype, random)
    optimizer = make(parameters)
    expected = [to_array(p).astype(np.float64) for p in parameters]
    states: list[dict[str, Any]] = [{} for _ in parameters]
    for step in range(10):
        _set_gradients(parameters, random)
        for i, p in enumerate(parameters):
            expected[i] = np.asarray(formula(expected[i], to_array(p.grad).astype(np.float64), states[i]))
        optimizer.step()
        off = [i for i, p in enumerate(parameters) if not near(to_array(p), expected[i].astype(dtype))]
        if off:
            found.problems.append(f"{dtype}: step {step} of parameter {off[0]} is not what the formula says")
            return
