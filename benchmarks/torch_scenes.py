"""PyTorch's side of `benchmarks.train_scenes`: the same pictures in the same batches, SimpleNet, Adam, as many epochs.

The pictures are read by `minigrad.data`, so that both sides have the same; the rest is PyTorch, in its faster layout.
No report is written and no linear classifier trained, which minigrad's run does besides.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

import minigrad as mg
from benchmarks.suites.nets import simplenet
from demos.scenes.commands import read_data
from demos.scenes.models import RECIPES
from minigrad.data import ImageDataset, mean_std

BATCH, SEED = 32, 0


def main() -> None:
    """Train, judge after every epoch, and write the metrics."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)

    started = time.perf_counter()
    train, test = read_data(options.data)
    decoded = time.perf_counter()
    mean, std = mean_std(train.images)
    model = simplenet(nn).to(memory_format=torch.channels_last)
    recipe = RECIPES["simplenet"]
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    pictures, labels = tensors(train)
    accuracy = 0.0
    for epoch in range(options.epochs):
        model.train()
        order = torch.from_numpy(mg.Generator(SEED, epoch).permutation(len(train)).numpy().copy())
        loss_sum, right = 0.0, 0
        for chosen in order.split(BATCH):
            logits = model(normalized(pictures[chosen], mean, std))
            loss = nn.functional.cross_entropy(logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(chosen)
            right += int((logits.argmax(1) == labels[chosen]).sum())
        accuracy = judge(model, test, mean, std)
        print(
            f"epoch {epoch + 1}: loss {loss_sum / len(train):.3f}, train {right / len(train):.1%}, test {accuracy:.1%}"
        )
    metrics = {
        "seconds_decode": decoded - started,
        "seconds_train": time.perf_counter() - decoded,
        "test_accuracy": accuracy,
    }
    (options.out / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def tensors(data: ImageDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures (n 1 h w), as bytes, and the labels (n)."""
    return torch.from_numpy(data.images)[:, None], torch.from_numpy(data.labels)


def normalized(pictures: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    """Floats of mean 0 and standard deviation 1."""
    return ((pictures / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def judge(model: nn.Module, data: ImageDataset, mean: float, std: float) -> float:
    """The share of right answers."""
    model.eval()
    pictures, labels = tensors(data)
    right = [
        int((model(normalized(some, mean, std)).argmax(1) == wanted).sum())
        for some, wanted in zip(pictures.split(250), labels.split(250), strict=True)
    ]
    return sum(right) / len(data)


if __name__ == "__main__":
    main()
