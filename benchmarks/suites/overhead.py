"""What an op costs beside its arithmetic: tensors of eight elements, with the graph."""

from collections.abc import Callable
from typing import Any

from benchmarks import row
from benchmarks.row import Row, Step, labels, normal
from benchmarks.suites import peers

Function = Callable[[Any], Any]


def _tiny(name: str, f: Function, *, shape: tuple[int, ...] = (8,), backward: bool = False, **more: Any) -> Row:
    """A function of one tensor, written so that it serves both libraries."""

    def step_of(x: Any, g: Any) -> Step:
        if not backward:
            return lambda: f(x)

        def step() -> None:
            x.grad = None
            f(x).backward(g)

        return step

    def prepare_ours() -> Step:
        import minigrad as mg

        return step_of(row.ours(normal(*shape), requires_grad=True), mg.ones(shape, device=row.device()))

    def prepare_torch(layout: Any) -> Step:
        import torch

        return step_of(row.theirs(normal(*shape)).requires_grad_(), torch.ones(shape, device=row.device()))

    return Row(name=name, ours=prepare_ours, torch=prepare_torch, recorded=True, **more)


def chain(x: Any) -> Any:
    """A hundred ops, one after the other, that keep the values small."""
    for _ in range(50):
        x = x * 0.5 + 0.5
    return x


def chain_of_tensors(x: Any) -> Any:
    """The same with tensors on both sides of each op."""
    y = x
    for _ in range(50):
        y = (y - x) * x
    return y


def _our_mlp() -> Step:
    from minigrad import nn, optim

    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    x, y, optimizer = row.ours(normal(8, 4)), row.ours(labels(8, 3)), optim.SGD(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        nn.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def _torch_mlp(layout: Any) -> Step:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    x, y = row.theirs(normal(8, 4)), row.theirs(labels(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


ROWS = [
    _tiny("a + b", lambda x: x + x, peers=peers.functions(lambda x: x + x)),
    _tiny("a + 1.5", lambda x: x + 1.5),
    _tiny("x.sum()", lambda x: x.sum()),
    _tiny("x[2:5]", lambda x: x[2:5]),
    _tiny("x.reshape(2, 4)", lambda x: x.reshape(2, 4)),
    _tiny("8x8 @ 8x8", lambda x: x @ x, shape=(8, 8)),
    _tiny("chain of 100 ops, forward", chain, peers=peers.functions(chain)),
    _tiny("chain of 100 ops, forward + backward", chain, backward=True, peers=peers.gradients(chain)),
    _tiny("chain of 100 ops of tensors, forward + backward", chain_of_tensors, backward=True),
    Row(name="tiny MLP step", ours=_our_mlp, torch=_torch_mlp, recorded=True),
]
