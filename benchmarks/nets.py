"""Whole training steps (forward, backward, SGD with momentum, batch 32) through the public interfaces.

Each contestant is a function that builds its model once and returns the step to time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], None]

IMAGES = np.random.default_rng(0).random((32, 1, 64, 64), dtype=np.float32)
LABELS = np.random.default_rng(1).integers(0, 15, 32)


def _ours(model: Any) -> Step:
    import minigrad as mg
    from minigrad import nn, optim

    images, labels, loss_of = mg.tensor(IMAGES), mg.tensor(LABELS), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()

    return step


def _torch(model: Any, channels_last: bool) -> Step:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    images = torch.from_numpy(IMAGES).to(memory_format=layout)
    labels, loss_of = torch.from_numpy(LABELS), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()

    return step


def ours_simplenet() -> Step:
    """The course's SimpleNet."""
    from demos.scenes.models import simplenet

    return _ours(simplenet(15))


def ours_simplenet_final() -> Step:
    """The demo's deeper net."""
    from demos.scenes.models import simplenet_final

    return _ours(simplenet_final(15))


def _torch_twin(model: Any) -> Any:
    """The same layers in PyTorch: its modules take the settings that ours show as attributes."""
    from torch import nn

    made = []
    for layer in model:
        kind = type(layer).__name__
        taken = {
            "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
            "MaxPool2d": ("kernel_size", "stride", "padding", "dilation"),
            "BatchNorm2d": ("num_features",),
            "Dropout": ("p",),
            "Linear": ("in_features", "out_features"),
        }.get(kind, ())
        made.append(getattr(nn, kind)(**{name: getattr(layer, name) for name in taken}))
    return nn.Sequential(*made)


def torch_simplenet(channels_last: bool) -> Step:
    """PyTorch's turn."""
    from demos.scenes.models import simplenet

    return _torch(_torch_twin(simplenet(15)), channels_last)


def torch_simplenet_final(channels_last: bool) -> Step:
    """PyTorch's turn."""
    from demos.scenes.models import simplenet_final

    return _torch(_torch_twin(simplenet_final(15)), channels_last)


CASES: dict[str, tuple[Callable[[], Step], Callable[[bool], Step]]] = {
    "SimpleNet step": (ours_simplenet, torch_simplenet),
    "SimpleNetFinal step": (ours_simplenet_final, torch_simplenet_final),
}
