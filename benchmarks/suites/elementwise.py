"""Elementwise ops and chains of them, broadcasting, and the steps of optimisers."""

from collections.abc import Callable
from typing import Any

from benchmarks import row
from benchmarks.row import Row, Step, normal
from benchmarks.suites.functions import forward, ours, torch


def _of_two(name: str, shapes: tuple[tuple[int, ...], ...], f: Callable[[Any, Any, Any], Any], grad: bool) -> Row:
    """The row of a function f(relu, a, b) whose text serves both libraries."""

    def prepare_ours() -> Step:
        import minigrad as mg

        a, b = (row.ours(normal(*shape, seed=seed), requires_grad=grad) for seed, shape in enumerate(shapes))
        return repeat(mg.relu, a, b, lambda y: row.ours(normal(*y.shape)))

    def prepare_torch(layout: Any) -> Step:
        import torch

        a, b = (row.theirs(normal(*shape, seed=seed)) for seed, shape in enumerate(shapes))
        a, b = a.requires_grad_(grad), b.requires_grad_(grad)
        return repeat(torch.relu, a, b, lambda y: row.theirs(normal(*y.shape)))

    def repeat(relu: Any, a: Any, b: Any, cotangent: Callable[[Any], Any]) -> Step:
        if not grad:
            return lambda: f(relu, a, b)
        g = cotangent(f(relu, a, b))

        def step() -> None:
            a.grad = b.grad = None
            f(relu, a, b).backward(g)

        return step

    end = ", forward + backward" if grad else ""
    return Row(name=f"{name}{end}", ours=prepare_ours, torch=prepare_torch, recorded=grad)


def _chain(n: int, grad: bool = False) -> Row:
    return _of_two(f"relu(a*b+a)*0.5, {n:.0e}", ((n,), (n,)), lambda relu, a, b: relu(a * b + a) * 0.5, grad)


def _sum_of(first: tuple[int, ...], second: tuple[int, ...], grad: bool = False) -> Row:
    title = " + ".join("x".join(map(str, shape)) for shape in (first, second))
    return _of_two(f"a + b, {title}", (first, second), lambda _, a, b: a + b, grad)


def _optimizer(name: str, what: str, shapes: list[tuple[int, ...]], **options: Any) -> Row:
    """One step with given gradients."""

    def prepare_ours() -> Step:
        from minigrad import nn, optim

        parameters = [nn.Parameter(row.ours(normal(*shape))) for shape in shapes]
        for parameter in parameters:
            parameter.grad = row.ours(normal(*parameter.shape, seed=1))
        return getattr(optim, name)(parameters, lr=1e-6, **options).step

    def prepare_torch(layout: Any) -> Step:
        import torch

        parameters = [torch.nn.Parameter(row.theirs(normal(*shape))) for shape in shapes]
        for parameter in parameters:
            parameter.grad = row.theirs(normal(*parameter.shape, seed=1))
        return getattr(torch.optim, name)(parameters, lr=1e-6, **options).step

    return Row(name=f"{name} step, {what}", ours=prepare_ours, torch=prepare_torch)


SIMPLENET = [(10, 1, 5, 5), (10,), (20, 10, 5, 5), (20,), (100, 500), (100,), (15, 100), (15,)]
MILLIONS = [(1000, 1000), (1000,)] * 3

ROWS = [
    _chain(1_000),
    _chain(100_000),
    _chain(10_000_000),
    _chain(100_000, grad=True),
    _sum_of((1_000,), (1_000,)),
    _sum_of((100_000,), (100_000,)),
    _sum_of((10_000_000,), (10_000_000,)),
    _sum_of((1000, 1000), (1000,)),
    _sum_of((1000, 1000), (1000,), grad=True),
    *(forward(f"{op}, 1e+06", (1_000_000,), ours(op), torch(op)) for op in ("exp", "tanh", "sigmoid", "sin")),
    _optimizer("SGD", "SimpleNet", SIMPLENET, momentum=0.9),
    _optimizer("SGD", "3 million", MILLIONS, momentum=0.9),
    _optimizer("Adam", "SimpleNet", SIMPLENET),
    _optimizer("Adam", "3 million", MILLIONS),
]
