"""A state machine over tensors: indexing, assignment, detach and backward, in any order, against a slow reference.

The reference shares nothing with the engine. It has no graph: beside each value it keeps the whole Jacobian with
respect to all elements of all leaves, and computes both forward. To use it with pytest:

    from minigrad.testing.machine import TensorMachine

    TestTensors = TensorMachine.TestCase
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from minigrad import ops
from minigrad.creation import asarray, tensor
from minigrad.tensor import Tensor
from minigrad.testing.strategies import indices, shapes

LEAVES = 3
SIDE = 3
PLACES = LEAVES * SIDE**2


@dataclass
class Slow:
    """A value, and its derivative with respect to every place of every leaf, as one more axis at the end."""

    value: np.ndarray
    jacobian: np.ndarray

    def __getitem__(self, key: Any) -> "Slow":
        return Slow(np.asarray(self.value[key]), self._moved(lambda column: column[key]))

    def _moved(self, f: Any) -> np.ndarray:
        """A linear f of each column of the Jacobian."""
        return np.stack([f(self.jacobian[..., i]) for i in range(PLACES)], axis=-1)

    def put(self, key: Any, other: "Slow") -> "Slow":
        """This, with other at the key."""
        value, jacobian = np.array(self.value), self.jacobian.copy()
        value[key] = other.value
        for i in range(PLACES):
            column = jacobian[..., i].copy()
            column[key] = other.jacobian[..., i]
            jacobian[..., i] = column
        return Slow(value, jacobian)


UNARY: dict[str, tuple[Callable[..., Any], ...]] = {
    "sin": (np.sin, np.cos),
    "negative": (np.negative, lambda x: -np.ones_like(x)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
}
BINARY: dict[str, tuple[Callable[..., Any], ...]] = {
    "add": (np.add, lambda x, y: np.ones_like(x), lambda x, y: np.ones_like(x)),
    "subtract": (np.subtract, lambda x, y: np.ones_like(x), lambda x, y: -np.ones_like(x)),
    "multiply": (np.multiply, lambda x, y: y, lambda x, y: x),
}


class TensorMachine(RuleBasedStateMachine):
    """Makes tensors of tensors, assigns to their elements, and pulls gradients back, many times over one graph."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[Tensor] = []
        self.gradients: list[np.ndarray] = []
        self.pairs: dict[int, tuple[Tensor, Slow]] = {}
        self.names = itertools.count()

    def _made(self, fast: Tensor, slow: Slow) -> int:
        name = next(self.names)
        self.pairs[name] = fast, slow
        return name

    @rule(target=made, shape=shapes(0, 2, 1, SIDE), seed=st.integers(0, 99))
    def leaf(self, shape: tuple[int, ...], seed: int) -> int:
        """Make a leaf, as long as there are few, else a constant."""
        values = np.random.default_rng(seed).uniform(-1, 1, shape)
        jacobian = np.zeros((*shape, PLACES))
        first = len(self.leaves) * SIDE**2
        if len(self.leaves) == LEAVES:
            return self._made(tensor(values), Slow(values, jacobian))
        flat = jacobian.reshape(-1, PLACES)
        flat[np.arange(values.size), first + np.arange(values.size)] = 1.0
        leaf = tensor(values, requires_grad=True)
        self.leaves.append(leaf)
        self.gradients.append(np.zeros(shape))
        return self._made(leaf, Slow(values, jacobian))

    @rule(target=made, i=made, name=st.sampled_from(sorted(UNARY)))
    def unary(self, i: int, name: str) -> int:
        """Apply a function of one tensor."""
        fast, slow = self.pairs[i]
        f, slope = UNARY[name]
        return self._made(getattr(ops, name)(fast), Slow(f(slow.value), slope(slow.value)[..., None] * slow.jacobian))

    @rule(target=made, i=made, j=made, name=st.sampled_from(sorted(BINARY)))
    def binary(self, i: int, j: int, name: str) -> Any:
        """Apply a function of two tensors that broadcast."""
        (x, slow_x), (y, slow_y) = self.pairs[i], self.pairs[j]
        try:
            shape = np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            return multiple()
        f, of_x, of_y = BINARY[name]
        a, b = np.broadcast_to(slow_x.value, shape), np.broadcast_to(slow_y.value, shape)
        jacobians = [np.broadcast_to(_aligned(s.jacobian, len(shape)), (*shape, PLACES)) for s in (slow_x, slow_y)]
        jacobian = of_x(a, b)[..., None] * jacobians[0] + of_y(a, b)[..., None] * jacobians[1]
        return self._made(getattr(ops, name)(x, y), Slow(f(a, b), jacobian))

    @rule(target=made, i=made, data=st.data())
    def take(self, i: int, data: st.DataObject) -> Any:
        """Index with anything."""
        fast, slow = self.pairs[i]
        key = data.draw(indices(fast.shape), label="key")
        if slow.value[key].size > SIDE**2:
            return multiple()
        return self._made(fast[key], slow[key])

    @rule(i=made, j=made, data=st.data())
    def put(self, i: int, j: int, data: st.DataObject) -> None:
        """Assign to elements; what was computed from the tensor before stays as it was."""
        (fast, slow), (value, slow_value) = self.pairs[i], self.pairs[j]
        key = data.draw(indices(fast.shape), label="key")
        if fast.is_leaf or slow.value[key].shape != value.shape:
            return
        fast[key] = value
        self.pairs[i] = fast, slow.put(key, slow_value)

    @rule(target=made, i=made)
    def detach(self, i: int) -> int:
        """Leave the graph."""
        fast, slow = self.pairs[i]
        return self._made(fast.detach(), Slow(slow.value, np.zeros_like(slow.jacobian)))

    @rule(i=made, seed=st.integers(0, 99))
    def backward(self, i: int, seed: int) -> None:
        """Pull a cotangent back, on top of the gradients that are there."""
        fast, slow = self.pairs[i]
        if not fast.requires_grad:
            assert not slow.jacobian.any()
            return
        g = np.random.default_rng(seed).normal(size=slow.value.shape)
        fast.backward(asarray(g), retain_graph=True)
        pulled = np.tensordot(g, slow.jacobian, axes=slow.value.ndim) if slow.value.size else np.zeros(PLACES)
        for k, gradient in enumerate(self.gradients):
            gradient += pulled[k * SIDE**2 :][: gradient.size].reshape(gradient.shape)

    @rule()
    def zero_grad(self) -> None:
        """Forget all gradients."""
        for leaf, gradient in zip(self.leaves, self.gradients, strict=True):
            leaf.grad = None
            gradient[...] = 0

    @rule(i=consumes(made))
    def forget(self, i: int) -> None:
        """Let go of a tensor, maybe in the middle of a graph."""
        self.pairs.pop(i, None)

    def teardown(self) -> None:
        """In the end, pull a cotangent back from all that is left."""
        for i in [*self.pairs]:
            self.backward(i, i)
            self.same_gradients()

    @invariant()
    def same_values(self) -> None:
        """All values are those of the reference."""
        for fast, slow in self.pairs.values():
            np.testing.assert_allclose(fast.detach().numpy(), slow.value, rtol=1e-12, atol=1e-12)

    @invariant()
    def same_gradients(self) -> None:
        """All gradients are those of the reference."""
        for leaf, gradient in zip(self.leaves, self.gradients, strict=True):
            found = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-9)


def _aligned(jacobian: np.ndarray, ndim: int) -> np.ndarray:
    """With axes of size 1 at the left, so that it broadcasts like its value."""
    return jacobian.reshape((1,) * (ndim - jacobian.ndim + 1) + jacobian.shape)
