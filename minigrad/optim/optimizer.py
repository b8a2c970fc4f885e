"""What optimisers share: the parameters, their state, and the step that gives each parameter a new array."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.creation import asarray, tensor
from minigrad.errors import ArgumentError, OperandError
from minigrad.graph import wrap
from minigrad.ops.checks import zeros_like
from minigrad.tensor import Tensor, no_grad


class Optimizer:
    """The base of optimisers. A subclass writes `update`, for one parameter.

    Attributes
    ----------
    lr
        The learning rate; may be set between steps.
    steps
        How many steps were taken.
    state
        For each parameter, in order, the tensors named in `slots` (zeros at first).
    """

    slots: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        try:
            self.parameters = list(dict.fromkeys(parameters))
        except TypeError as error:
            what = f"a {type(parameters).__name__} is no sequence of parameters"
            raise OperandError(f"{type(self).__name__}: {what}\nhint: pass model.parameters()") from error
        if not self.parameters:
            raise ArgumentError(f"{type(self).__name__}: no parameters to optimise")
        for parameter in self.parameters:
            if not isinstance(parameter, Tensor) or not parameter.is_leaf:
                raise OperandError(f"{type(self).__name__}: {type(parameter).__name__} is not a parameter")
        self.lr = self.checked("lr", lr)
        self.steps = 0
        self.state = [{slot: zeros_like(p, p) for slot in self.slots} for p in self.parameters]

    def checked(self, name: str, value: float, high: float = math.inf) -> float:
        """Require a number in [0, high)."""
        if not isinstance(value, Real) or not 0 <= value < high:
            raise ArgumentError(f"{type(self).__name__}: {name} = {value} is not in [0, {high})")
        return value

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            if parameter.requires_grad:
                parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        self.steps += 1
        with no_grad():
            for parameter, state in zip(self.parameters, self.state, strict=True):
                g = parameter.grad
                if g is not None:
                    parameter.assign(self.update(parameter.detach(), g, state))

    def update(self, x: Tensor, g: Tensor, state: dict[str, Tensor]) -> Tensor:
        """The parameter's next values, from its values, its gradient and its state, which is brought up to date."""
        raise ArgumentError(f"{type(self).__name__} has no update")

    def state_dict(self) -> dict[str, Tensor]:
        """What the steps so far left behind, by name. The settings, such as lr, are no part of it."""
        tensors = {f"{i}.{slot}": x for i, slots in enumerate(self.state) for slot, x in slots.items()}
        return {"steps": asarray(np.array(self.steps)), **tensors}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict`.

        Raises
        ------
        ArgumentError
            If it belongs to other parameters, or counts steps below 0.
        """
        known = self.state_dict()
        wrong = sorted({*known} ^ {*state}) or [name for name in known if known[name].shape != state[name].shape]
        if wrong:
            raise ArgumentError(f"{type(self).__name__}: the state is of other parameters, see {', '.join(wrong[:5])}")
        for name in known:
            if name.endswith("steps") and int(state[name]) < 0:
                raise ArgumentError(f"{type(self).__name__}: the state has {name} = {int(state[name])}")
        self.steps = int(state["steps"])
        for i, slots in enumerate(self.state):
            for slot, own in slots.items():
                slots[slot] = tensor(state[f"{i}.{slot}"], dtype=own.dtype, device=own.device)


def in_one_pass(kernel: str, *tensors: Tensor, **settings: Any) -> list[Tensor]:
    """What the kernel of a step makes of tensors of one device: new values for all of them but the gradient."""
    arrays = [x._array for x in tensors]
    return [wrap(new) for new in kernels.kernel(kernel, arrays[0].__class__)(*arrays, **settings)]
