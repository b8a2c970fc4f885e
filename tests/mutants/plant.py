"""How a mistake is planted: in process, for the time of a `with` block, and without a trace."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.kernels import Kernels
from minigrad.ops.kinds import Elementwise, Fused, Record


@dataclass(frozen=True)
class Swap:
    """An attribute that gets another value."""

    owner: Any
    name: str
    wrong: Any


@dataclass(frozen=True)
class Mutant:
    """A mistake: what it is called, what is wrong, what to swap, and the tests that have to find it.

    "test_graph.test_x" is a test, "test_ops[exp]" all tests of test_ops.py that have a parameter exp.
    """

    name: str
    what: str
    swaps: tuple[Swap, ...]
    tests: tuple[str, ...]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Live with a mistake."""
    right = [getattr(swap.owner, swap.name) for swap in mutant.swaps]
    for swap in mutant.swaps:
        object.__setattr__(swap.owner, swap.name, swap.wrong)  # records are frozen
    try:
        yield
    finally:
        for swap, value in zip(mutant.swaps, right, strict=True):
            object.__setattr__(swap.owner, swap.name, value)


def edit(function: Any, old: str, new: str) -> tuple[Swap, ...]:
    """Change a place in the text of a function, for all who hold it."""
    return (Swap(function, "__code__", edited(function, old, new).__code__),)


def edited(function: Any, old: str, new: str) -> Callable[..., Any]:
    """A second function, whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(old) == 1, f"{text.count(old)} times in {function.__qualname__}: {old}"
    tree = ast.parse(text.replace(old, new))
    tree.body[0].decorator_list = []
    names: dict[str, Any] = {}
    exec(compile(tree, inspect.getfile(function), "exec"), function.__globals__, names)
    return names[function.__name__]


def rules(record: Record, field: str, *wrong: Any) -> tuple[Swap, ...]:
    """Give a record other rules, one an input; `...` leaves one as it is."""
    value = tuple(old if new is ... else new for old, new in zip(getattr(record, field), wrong, strict=True))
    if not isinstance(record, Elementwise):
        return (Swap(record, field, value),)
    twin = replace(record, partials=value, listed=False)  # with what follows from the partials
    return tuple(
        Swap(record, name, getattr(twin, name))
        for name in ("partials", "multiplies", "wants", "kept", "reads", "products")
    )


def kernel(record: Record, wrong: Callable[..., Any], field: str = "kernel") -> tuple[Swap, ...]:
    """Give a record another kernel, which gets the right one before the arguments."""
    table: Kernels = getattr(record, field)
    other = Kernels(table.name)
    other[np.ndarray] = lambda *arrays, **options: wrong(table[np.ndarray], *arrays, **options)
    return (Swap(record, field, other),)


def backward(record: Fused, plain: Callable[..., Any]) -> tuple[Swap, ...]:
    """Give a fused op a backward kernel that computes the gradient of another composition."""

    def wrong(right: Any, g: Any, needs: Any, inputs: Any, out: Any, residuals: Any, **options: Any) -> Any:
        tensors = [mg.tensor(x, requires_grad=need) for x, need in zip(inputs, needs, strict=True)]
        with mg.enable_grad():
            plain(*tensors, **options).backward(mg.tensor(g))
        return [None if x.grad is None else x.grad.numpy() for x in tensors]

    return kernel(record, wrong, "backward")
