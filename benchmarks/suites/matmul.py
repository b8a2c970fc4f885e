"""Matrix products: square, of a layer's shape, and of a batch."""

from typing import Any

from benchmarks import row
from benchmarks.row import Row, Step, normal


def _product(first: tuple[int, ...], second: tuple[int, ...], grad: bool = False) -> Row:
    out = (*first[:-1], second[-1])

    def prepare_ours() -> Step:

        x, y, g = (row.ours(normal(*shape), requires_grad=grad) for shape in (first, second, out))
        return repeat(x, y, g.detach())

    def prepare_torch(layout: Any) -> Step:

        x, y, g = (row.theirs(normal(*shape)).requires_grad_(grad) for shape in (first, second, out))
        return repeat(x, y, g.detach())

    def repeat(x: Any, y: Any, g: Any) -> Step:
        if not grad:
            return lambda: x @ y

        def step() -> None:
            x.grad = y.grad = None
            (x @ y).backward(g)

        return step

    title = " @ ".join("x".join(map(str, shape)) for shape in (first, second))
    end = ", forward + backward" if grad else ""
    return Row(name=f"{title}{end}", ours=prepare_ours, torch=prepare_torch, recorded=grad)


ROWS = [
    *(_product((n, n), (n, n)) for n in (32, 64, 128, 256, 512, 1024, 2048)),
    _product((32, 500), (500, 100)),
    _product((32, 500), (500, 100), grad=True),
    _product((32, 1000), (1000, 1000), grad=True),
    _product((33, 100), (100, 17)),
    _product((64, 32, 64), (64, 64, 32)),
]
