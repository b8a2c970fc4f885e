"""The networks, and how each is trained."""

from collections.abc import Callable
from dataclasses import dataclass

from minigrad import nn
from minigrad.data import IntensityJitter, RandomFlip, Transform

SIZE = 64, 64
"""Height and width of the pictures that the networks take."""


def simplenet(classes: int) -> nn.Sequential:
    """Two convolutions and two linear layers: (n 1 64 64) -> (n classes).

    >>> sum(parameter.size for parameter in simplenet(15).parameters())
    56895
    """
    return nn.Sequential(
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(3),
        nn.ReLU(),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(500, 100),
        nn.Linear(100, classes),
    )


def simplenet_final(classes: int) -> nn.Sequential:
    """Three convolutions with batch-norm and dropout between, and one linear layer: (n 1 64 64) -> (n classes).

    >>> sum(parameter.size for parameter in simplenet_final(15).parameters())
    18965
    """
    return nn.Sequential(
        nn.Conv2d(1, 10, 5, bias=False),  # batch-norm would take a bias away again
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
        nn.Linear(640, classes),
    )


@dataclass(frozen=True)
class Recipe:
    """A network and how Adam trains it: at a constant learning rate, or one that falls along half a cosine."""

    model: Callable[[int], nn.Sequential]
    lr: float
    weight_decay: float
    annealed: bool = False
    augment: tuple[Transform, ...] = ()


RECIPES = {
    "simplenet": Recipe(simplenet, lr=1e-3, weight_decay=1e-2),
    "simplenet-final": Recipe(
        simplenet_final,
        lr=2e-3,
        weight_decay=3e-3,
        annealed=True,
        augment=(RandomFlip(), IntensityJitter(brightness=0.2, contrast=0.2)),
    ),
}
"""The settings were chosen on a fifth of the training pictures of the 15-scene data, held out of each class."""
