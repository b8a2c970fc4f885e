"""Hooks: functions that see a gradient on its way, and may change it."""

import gc
from typing import Any

import pytest

import minigrad as mg
from minigrad import graph
from minigrad.errors import GraphError


def leaf(*values: float) -> mg.Tensor:
    return mg.tensor(list(values), dtype="float64", requires_grad=True)


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: seen.append(g.tolist()))
    ((y * y).sum() + y.sum()).backward()
    assert seen == [[7.0, 13.0], [21.0, 39.0]]
    x.sum().backward()
    assert seen[2:] == [[1.0, 1.0]]
    assert x.grad.tolist() == [22.0, 40.0]


def test_hooks_may_change_the_gradient_in_turn_and_go_away() -> None:
    x = leaf(1.0)
    twice = x.register_hook(lambda g: 2 * g)
    more = x.register_hook(lambda g: g + 1)

    def gradient() -> float:
        x.grad = None
        (x * 5).backward()
        return x.grad.item()

    assert gradient() == 11.0
    twice.remove()
    twice.remove()
    assert gradient() == 6.0
    more.remove()
    with x.register_hook(lambda g: -g):
        assert gradient() == -5.0
    assert gradient() == 5.0


def test_hooks_in_transforms_and_second_derivatives() -> None:
    def f(x: mg.Tensor) -> mg.Tensor:
        y = x * x
        y.register_hook(lambda g: g * x)  # makes the gradient 3 x**2 out of 2 x * 3 x / 2
        return (y * 1.5).sum()

    x = mg.tensor([2.0], dtype="float64")
    assert mg.grad(f)(x).item() == 12.0
    assert mg.grad(lambda x: mg.grad(f)(x).sum())(x).item() == 12.0


def test_a_hook_on_a_transforms_own_argument() -> None:
    def f(x: mg.Tensor) -> mg.Tensor:
        x.register_hook(lambda g: 10 * g)
        return (x * x).sum()

    assert mg.grad(f)(mg.tensor([3.0])).tolist() == [60.0]


def test_hooks_that_cannot_be() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match="no gradient will come here"):
        x.detach().register_hook(lambda g: g)
    for wrong, text in [
        (lambda g: g.sum(), "another shape or dtype"),
        (lambda g: g.astype("float32"), "another shape or dtype"),
        (lambda g: g.numpy(), "a hook returned a ndarray, not a tensor or None"),
    ]:
        with x.register_hook(wrong), pytest.raises(GraphError, match=text):
            (x * 2).sum().backward()
    assert x.grad is None


def test_sweeps_look_for_hooks_only_while_there_are_some() -> None:
    gc.collect()  # hooks of other tests that hold what they are on
    assert not graph.hooked
    x = leaf(1.0)
    one, two = x.register_hook(lambda g: g), x.register_hook(lambda g: g)
    one.remove()
    assert len(graph.hooked) == 1
    two.remove()
    assert not graph.hooked
    handle = x.register_hook(lambda g: g)
    del x
    assert not graph.hooked
    handle.remove()
