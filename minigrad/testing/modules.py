"""Proof that a module differentiates, keeps its state apart from its parameters, and can be saved."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import nn, random
from minigrad.creation import asarray
from minigrad.errors import OperandError
from minigrad.tensor import no_grad
from minigrad.testing.compare import Findings, like_normal
from minigrad.testing.functions import Function, function_of, is_float, joined, to_array
from minigrad.testing.gradients import check_function
from minigrad.testing.repeats import default_stream_kept
from minigrad.testing.report import Report, hides
from minigrad.testing.sides import near

__tracebackhide__ = hides


def check_module(
    module: nn.Module, *inputs: Any, order: int = 2, elements: int = 8, kinks: str = "refuse", seed: int = 0
) -> Report:
    """Prove that a module's gradients are right, for its inputs and all its parameters, in training and in evaluation.

    It is checked as `check_grads` checks functions. Besides:

    - `backward` adds to `.grad` of each parameter what the function's gradient says, and reaches every one,
    - a state dict brings another copy to the same results, bit for bit, also after a call in training,
    - evaluation changes no buffer, and the next call gives the same result.

    Parameters
    ----------
    module
        Any module. It is left as it is: copies are checked. What it draws from `minigrad.random` comes from the same
        place of the stream in every call, so dropout is a function like any other.
    inputs
        Of one call; float tensors are differentiated.
    order, elements, kinks, seed
        As for `check_grads`.

    Raises
    ------
    CheckError
        If something is wrong.

    Examples
    --------
    >>> from minigrad.testing import check_module
    >>> check_module(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), mg.ones((4, 3))).passed
    True
    """
    if not isinstance(module, nn.Module):
        raise OperandError(f"check_module: a {type(module).__name__} is no module")
    found = Findings()
    with default_stream_kept():
        for training in (True, False):
            own = copy.deepcopy(module).train(training)
            mode = "training" if training else "evaluation"
            part = Findings()
            function = _as_function(own, inputs, seed)
            check_function(function, part, seed, order=order, elements=elements, accept=kinks == "accept")
            _check_backward(own, inputs, function, part, seed)
            _check_state(own, inputs, part, seed)
            found.problems += [f"in {mode}: {problem}" for problem in part.problems]
            found.elements += part.elements
            found.facts += [f"in {mode}: {fact}" for fact in part.facts]
    return found.report("check_module", module, inputs, order=order, kinks=kinks, seed=seed).required()


def _seeded(call: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """A call that always finds the default stream at the same place."""

    def run(*args: Any) -> Any:
        random.manual_seed(seed)
        return call(*args)

    return run


def _as_function(module: nn.Module, inputs: Sequence[Any], seed: int) -> Function:
    """The module as a function of its inputs and its parameters, with its buffers in their dtype."""
    parameters = {path: p.detach() for path, p in module.named_parameters()}
    buffers = {path: x for path, x in module.named_buffers() if is_float(x)}

    def call(*args: Any) -> Any:
        *values, own = args
        dtype = next(x.dtype for x in (*own.values(), *values) if is_float(x))
        return nn.functional_call(module, {path: x.astype(dtype) for path, x in buffers.items()} | own, *values)

    function = function_of("check_module", _seeded(call, seed), [*inputs, parameters])
    of_inputs = function.names[: len(function.names) - len(parameters)]
    return replace(function, names=(*of_inputs, *(f"parameter {path}" for path in parameters)))


def _check_backward(module: nn.Module, inputs: Sequence[Any], function: Function, found: Findings, seed: int) -> None:
    """Two backwards add up to twice the function's gradient in `.grad` of each parameter."""
    arrays = function.arrays
    value = function.value(arrays)
    cotangent = like_normal(value, np.random.default_rng(seed))
    expected = dict(zip(function.names, function.pull(arrays, cotangent), strict=True))
    own = copy.deepcopy(module)
    for _ in range(2):
        out = joined(_seeded(lambda: nn.functional_call(own, {}, *inputs), seed)())
        if not out.requires_grad:
            break
        out.backward(asarray(cotangent))
    for path, parameter in own.named_parameters():
        if parameter.grad is None:
            found.problems.append(f"backward does not reach parameter {path}")
        elif not near(parameter.grad.numpy(), 2 * expected[f"parameter {path}"]):
            found.problems.append(f"two backwards do not leave twice the gradient in .grad of parameter {path}")


def _check_state(module: nn.Module, inputs: Sequence[Any], found: Findings, seed: int) -> None:
    """A state dict holds all that results depend on; evaluation leaves it alone."""
    own, other = copy.deepcopy(module), copy.deepcopy(module)
    call = lambda one: to_array(joined(_seeded(one, seed)(*inputs))).tobytes()
    with no_grad():
        if not module.training:
            call(own.train())  # what training leaves behind is in the state dict, too
            own.eval()
        for part in other.parameters():
            part.assign(part.detach() + 1)
        other.load_state_dict(own.state_dict())
        before = {path: to_array(x).tobytes() for path, x in own.state_dict().items()}
        result = call(own)
        if result != call(other):
            found.problems.append("a copy that loaded the state dict gives another result")
        if not module.training:
            changed = [path for path, x in own.state_dict().items() if to_array(x).tobytes() != before.get(path)]
            found.problems += [f"evaluation changed {path}" for path in changed]
            if result != call(own):
                found.problems.append("the second call gives another result: it remembers the first")
