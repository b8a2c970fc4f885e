"""Rows of one function of one tensor: its forward without a graph, its backward, or both."""

from collections.abc import Callable
from typing import Any

from benchmarks import row
from benchmarks.row import FLAT, Row, Step, normal

Function = Callable[[Any], Any]


def forward(
    name: str, shape: tuple[int, ...], ours: Callable[[], Function], torch: Callable[[], Function], **options: Any
) -> Row:
    """The function alone, of a constant."""

    def prepare_ours() -> Step:

        f, x = ours(), row.ours(normal(*shape))
        return lambda: f(x)

    def prepare_torch(layout: Any) -> Step:

        f, x = torch(), row.theirs(normal(*shape), layout)
        return lambda: f(x)

    return Row(name=name, ours=prepare_ours, torch=prepare_torch, **options)


def backward(
    name: str,
    shape: tuple[int, ...],
    ours: Callable[[], Function],
    torch: Callable[[], Function],
    *,
    whole: bool = True,
    layouts: tuple[str, ...] = FLAT,
) -> Row:
    """Forward and backward, or (not `whole`) the backward alone, again and again through a graph that is kept."""

    def repeat(f: Function, x: Any, cotangent: Callable[[Any], Any]) -> Step:
        kept = f(x)
        g = cotangent(kept)

        def step() -> None:
            x.grad = None
            if whole:
                f(x).backward(g)
            else:
                kept.backward(g, retain_graph=True)

        return step

    def prepare_ours() -> Step:

        x = row.ours(normal(*shape), requires_grad=True)
        return repeat(ours(), x, lambda y: row.ours(normal(*y.shape, seed=1)))

    def prepare_torch(layout: Any) -> Step:

        def cotangent(y: Any) -> Any:
            g = row.theirs(normal(*y.shape, seed=1))
            return g.contiguous(memory_format=layout) if g.ndim == 4 else g

        x = row.theirs(normal(*shape), layout).requires_grad_()
        return repeat(torch(), x, cotangent)

    return Row(name=name, ours=prepare_ours, torch=prepare_torch, layouts=layouts, recorded=True)


def ours(name: str, /, **options: Any) -> Callable[[], Function]:
    """One of our ops, by name."""

    def get() -> Function:
        import minigrad as mg

        op = getattr(mg, name)
        return lambda x: op(x, **options)

    return get


def torch(name: str, /, *arguments: Any, **options: Any) -> Callable[[], Function]:
    """One of PyTorch's functions, by name; from `torch.nn.functional` if `torch` has none."""

    def get() -> Function:
        import torch

        op = getattr(torch, name, None) or getattr(torch.nn.functional, name)
        return lambda x: op(x, *arguments, **options)

    return get
