"""Training a network, epoch by epoch, and the checkpoint from which `--resume` and `predict` go on."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import minigrad as mg
from demos.scenes.models import RECIPES, SIZE
from minigrad import nn, optim
from minigrad.data import Batches, Compose, ImageDataset, Normalize, Transform, batches
from minigrad.errors import ArgumentError, DataError, MinigradError
from minigrad.io import load_checkpoint, save_checkpoint
from minigrad.tensor import Tensor


@dataclass(frozen=True)
class Plan:
    """What a training depends on, beside its pictures, which are normalised by `mean` and `std`."""

    model: str
    classes: list[str]
    mean: float
    std: float
    batch_size: int
    lr: float
    seed: int


class Training:
    """A network between two epochs of its training.

    Attributes
    ----------
    model, optimizer
        The network and the Adam that trains it.
    normalize
        What is done to every picture.
    history
        For each epoch: `epoch`, `train_loss` and `train_accuracy` (measured while learning, on pictures changed at
        random), `test_accuracy` and `seconds`.
    """

    def __init__(self, plan: Plan, device: str = "cpu") -> None:
        mg.manual_seed(plan.seed)
        self.plan, self.device = plan, device
        self.recipe = RECIPES[plan.model]
        self.model = self.recipe.model(len(plan.classes)).to(device)
        self.optimizer = optim.Adam(self.model.parameters(), lr=plan.lr, weight_decay=self.recipe.weight_decay)
        self.normalize = Normalize(plan.mean, plan.std)
        self.history: list[dict[str, Any]] = []

    @property
    def epochs(self) -> int:
        """How many epochs were learnt."""
        return len(self.history)

    def learn_epoch(self, train: ImageDataset, test: ImageDataset, epochs: int, on_batch: Callable[[], None]) -> None:
        """Learn the next of so many epochs."""
        started = time.perf_counter()
        if self.recipe.annealed:
            self.optimizer.lr = self.plan.lr * (1 + math.cos(math.pi * self.epochs / epochs)) / 2
        shuffled = batches(
            train,
            self.plan.batch_size,
            shuffle=True,
            seed=self.plan.seed,
            epoch=self.epochs,
            transform=Compose([*self.recipe.augment, self.normalize]),
            device=self.device,
        )
        loss, train_accuracy = learn(self.model, self.optimizer, shuffled, on_batch)
        self.history.append(
            {
                "epoch": self.epochs + 1,
                "train_loss": loss,
                "train_accuracy": train_accuracy,
                "test_accuracy": accuracy(predict(self.model, test, self.normalize, self.device), test),
                "seconds": time.perf_counter() - started,
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint."""
        states = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        metadata = {
            "plan": asdict(self.plan),
            "size": SIZE,
            "drawn": mg.random.default.counter,
            "history": self.history,
        }
        tensors = {f"{owner}.{name}": value for owner, state in states.items() for name, value in state.items()}
        save_checkpoint(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu") -> Self:
        """Go on from a checkpoint: the next epoch has the same bits as if there had been no break.

        Raises
        ------
        DataError
            If the file is no checkpoint of this demo.
        """
        tensors, metadata = load_checkpoint(path)
        try:
            training = cls(Plan(**metadata["plan"]), device)
            training.model.load_state_dict(_below("model.", tensors))
            training.optimizer.load_state_dict(_below("optimizer.", tensors))
            training.history = list(metadata["history"])
            mg.random.default.counter = metadata["drawn"]
            if metadata["size"] != list(SIZE):
                raise DataError(f"pictures of size {metadata['size']}")
        except (KeyError, TypeError, MinigradError) as error:
            raise DataError(f"{path} is no checkpoint of this demo") from error
        return training


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def learn(
    model: nn.Module, optimizer: optim.Optimizer, epoch: Batches, on_batch: Callable[[], None]
) -> tuple[float, float]:
    """Take a step for each batch; the mean loss and the accuracy of the predictions made on the way.

    Raises
    ------
    ArgumentError
        If the loss leaves the range of floats.
    """
    model.train()
    loss_sum, right = 0.0, 0
    for images, labels in epoch:
        logits = model(images)
        loss = nn.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        right += int((logits.argmax(axis=1) == labels).sum())
        on_batch()
    if not math.isfinite(loss_sum):
        raise ArgumentError("the training diverged; try a smaller --lr")
    return loss_sum / len(epoch.dataset), right / len(epoch.dataset)


def predict(model: nn.Module, data: ImageDataset, normalize: Transform, device: str = "cpu") -> Tensor:
    """The logits (n classes) of all pictures, in order, on the CPU."""
    model.eval()
    with mg.no_grad():
        chunks = batches(data, 250, transform=normalize, device=device)
        return mg.concat([model(images).to("cpu") for images, _ in chunks])


def accuracy(logits: Tensor, data: ImageDataset) -> float:
    """The share of right answers."""
    return int((logits.argmax(axis=1) == mg.tensor(data.labels)).sum()) / len(data)


def linear_accuracy(train: ImageDataset, test: ImageDataset, normalize: Transform, seed: int) -> float:
    """The test accuracy of a linear classifier of pixels, trained in a few seconds."""
    generator = mg.Generator(seed)
    pixels = train.images[0].size
    model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, len(train.classes), generator=generator))
    optimizer = optim.Adam(model.parameters(), lr=1e-4)
    for epoch in range(10):
        shuffled = batches(train, 128, shuffle=True, seed=seed, epoch=epoch, transform=normalize)
        learn(model, optimizer, shuffled, lambda: None)
    return accuracy(predict(model, test, normalize), test)
