"""Batch-norm, cross-entropy, ReLU and reductions."""

from collections.abc import Callable
from typing import Any

from benchmarks import row
from benchmarks.row import IMAGES, Row, labels
from benchmarks.suites.functions import Function, backward, forward, ours, torch


def _our_norm(layer: str, channels: int, train: bool) -> Callable[[], Function]:
    def get() -> Function:
        from minigrad import nn

        return getattr(nn, layer)(channels).train(train)

    return get


def _torch_norm(layer: str, channels: int, train: bool) -> Callable[[], Function]:
    def get() -> Function:
        from torch import nn

        return getattr(nn, layer)(channels).train(train).requires_grad_(True)

    return get


def _norm_rows(layer: str, shape: tuple[int, ...], **options: Any) -> list[Row]:
    sizes = "x".join(map(str, shape))

    def sides(train: bool) -> tuple[Callable[[], Function], Callable[[], Function]]:
        return _our_norm(layer, shape[1], train), _torch_norm(layer, shape[1], train)

    return [
        backward(f"{layer} {sizes}, training, forward + backward", shape, *sides(True), **options),
        forward(f"{layer} {sizes}, evaluation, forward", shape, *sides(False), recorded=True, **options),
    ]


def _cross_entropy(n: int, classes: int) -> Row:
    def our_loss() -> Function:
        from minigrad import nn

        target = row.ours(labels(n, classes))
        return lambda x: nn.cross_entropy(x, target)

    def torch_loss() -> Function:
        import torch

        target = row.theirs(labels(n, classes))
        return lambda x: torch.nn.functional.cross_entropy(x, target)

    return backward(f"cross-entropy {n}x{classes}, forward + backward", (n, classes), our_loss, torch_loss)


def _reduction(op: str, shape: tuple[int, ...], axis: int | tuple[int, ...] | None, **torch_options: Any) -> Row:
    sizes, over = "x".join(map(str, shape)), "all" if axis is None else f"axis {axis}"
    theirs = torch({"max": "amax"}.get(op, op), **({} if axis is None else {"dim": axis}), **torch_options)
    return forward(f"{op} {sizes}, {over}", shape, ours(op, axis=axis), theirs)


ROWS = [
    *_norm_rows("BatchNorm2d", (32, 64, 32, 32), layouts=IMAGES),
    *_norm_rows("BatchNorm2d", (32, 10, 20, 20), layouts=IMAGES),
    *_norm_rows("BatchNorm1d", (256, 100)),
    _cross_entropy(32, 15),
    _cross_entropy(256, 1000),
    _cross_entropy(4096, 10),
    forward("softmax 256x1000, forward", (256, 1000), ours("softmax", axis=1), torch("softmax", dim=1)),
    forward("ReLU 32x64x32x32, forward", (32, 64, 32, 32), ours("relu"), torch("relu"), layouts=IMAGES),
    backward("ReLU 32x64x32x32, forward + backward", (32, 64, 32, 32), ours("relu"), torch("relu"), layouts=IMAGES),
    backward("ReLU 32x100, forward + backward", (32, 100), ours("relu"), torch("relu")),
    _reduction("sum", (10_000_000,), None),
    _reduction("sum", (1000, 1000), 0),
    _reduction("sum", (1000, 1000), 1),
    _reduction("mean", (32, 64, 32, 32), (2, 3)),
    _reduction("var", (1000, 1000), 0, correction=0),
    _reduction("max", (1000, 1000), 1),
    _reduction("argmax", (1000, 1000), 1),
    backward("sum 1000x1000, axis 0, forward + backward", (1000, 1000), ours("sum", axis=0), torch("sum", dim=0)),
]
