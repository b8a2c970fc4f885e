"""Whole training steps through `nn` and `optim`: forward, backward, SGD with momentum, batches of 32."""

from collections.abc import Callable
from typing import Any

from benchmarks import row
from benchmarks.row import FLAT, IMAGES, Row, Step, labels, normal
from benchmarks.suites import peers

CLASSES, SIZE = 15, (1, 64, 64)


def simplenet(nn: Any) -> Any:
    """SimpleNet (see demos/scenes) with the layers of either library."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(3),
        nn.ReLU(),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(500, 100),
        nn.Linear(100, CLASSES),
    )


def simplenet_final(nn: Any) -> Any:
    """The scene demo's deeper net with the layers of either library."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5, bias=False),
        nn.MaxPool2d(3),
        nn.BatchNorm2d(10),
        nn.ReLU(),
        nn.Conv2d(10, 20, 3, bias=False),
        nn.MaxPool2d(3),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(20, 40, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(640, CLASSES),
    )


def residual_net(nn: Any) -> Any:
    """Six basic blocks of 24 to 192 channels, 0.9 million parameters, with the layers of either library.

    He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    class Block(nn.Module):
        def __init__(self, before: int, channels: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.shortcut = None
            if stride > 1 or before != channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
                )
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))

    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        Block(24, 24, 1),
        Block(24, 48, 2),
        Block(48, 48, 1),
        Block(48, 96, 2),
        Block(96, 96, 1),
        Block(96, 192, 2),
        nn.AvgPool2d(8),
        nn.Flatten(),
        nn.Linear(192, CLASSES),
    )


def mlp(nn: Any) -> Any:
    """Three layers of width 1000 with the layers of either library."""
    return nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, CLASSES))


LEARNING_RATE = 1e-4
"""So small that thousands of steps on one batch leave the gradients in their usual range."""


def training_step(
    name: str,
    net: Callable[[Any], Any],
    item: tuple[int, ...],
    *,
    batch: int = 32,
    layouts: tuple[str, ...] = IMAGES,
    **more: Any,
) -> Row:
    """One step of a net on a batch of items of that shape."""

    def prepare_ours() -> Step:
        from minigrad import nn, optim

        model, loss_of = net(nn).to(row.device()), nn.CrossEntropyLoss()
        x, y = row.ours(normal(batch, *item)), row.ours(labels(batch, CLASSES))
        return step_of(model, loss_of, optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9), x, y)

    def prepare_torch(layout: Any) -> Step:
        import torch
        from torch import nn

        model, loss_of = net(nn).to(row.device(), memory_format=layout), nn.CrossEntropyLoss()
        x = row.theirs(normal(batch, *item), layout)
        y = row.theirs(labels(batch, CLASSES))
        return step_of(model, loss_of, torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9), x, y)

    def step_of(model: Any, loss_of: Any, optimizer: Any, x: Any, y: Any) -> Step:
        def step() -> None:
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()

        return step

    return Row(
        name=name,
        ours=prepare_ours,
        torch=prepare_torch,
        layouts=layouts,
        recorded=True,
        at_batch=lambda size: training_step(name, net, item, batch=size, layouts=layouts),
        **more,
    )


ROWS = [
    training_step("SimpleNet", simplenet, SIZE, peers=peers.SIMPLENET),
    training_step("SimpleNetFinal", simplenet_final, SIZE),
    training_step("residual net, 0.9 M", residual_net, SIZE),
    training_step("MLP, width 1000", mlp, (1000,), layouts=FLAT),
]
