"""The commands: train a network and judge it, or classify pictures with one."""

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from demos.cli import Interrupt, Parser, add_device, folder, positive, progress, rate, whole, write_metrics
from demos.scenes.models import RECIPES, SIZE
from demos.scenes.report import Hard, write_report
from demos.scenes.train import Plan, Training, linear_accuracy, predict
from minigrad import nn
from minigrad.data import ImageDataset, image_folder, mean_std, read_image, synthetic_scenes
from minigrad.errors import ArgumentError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = parse(arguments)
    return options.command(options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    program = "python -m demos.scenes"
    parser = Parser(
        program,
        usage=f"{program} [options]\n       {program} predict CHECKPOINT IMAGE...",
        description="Train a network to tell kinds of scene apart, or classify pictures with one.",
    )
    parser.set_defaults(command=train)
    add = parser.add_argument
    add("--data", metavar="FOLDER_OR_ZIP", help="holds train/CLASS/ and test/CLASS/ (default: scenes drawn on the fly)")
    add("--model", choices=RECIPES, default="simplenet", help="the network (default: simplenet)")
    add("--epochs", type=positive, default=30, metavar="N", help="passes over the training pictures (default: 30)")
    add("--batch-size", type=positive, default=32, metavar="N", help="pictures a step (default: 32)")
    add("--lr", type=rate, metavar="RATE", help="learning rate (default: the network's own)")
    add("--seed", type=whole, default=0, metavar="N", help="of all that is random (default: 0)")
    add("--threads", type=positive, metavar="N", help="threads to compute with (default: one a core)")
    add_device(parser)
    add("--out", default="runs/scenes", metavar="DIR", help="for the report and all else (default: runs/scenes)")
    add("--resume", action="store_true", help="go on from the checkpoint in DIR, to --epochs in all")

    second = parser.add_subparsers(prog=program, title="commands").add_parser("predict", help="classify pictures")
    second.set_defaults(command=classify)
    second.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint.npz of a training")
    second.add_argument("images", metavar="IMAGE", nargs="+", help="an image file")
    return parser.parse_args(arguments)


# ---- train -----------------------------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> int:
    """Train, judge, and write checkpoint, metrics and report; Ctrl-C ends the training with the running epoch."""
    started = time.perf_counter()
    out = folder(options.out)
    mg.set_num_threads(options.threads)
    threads = mg.get_num_threads()
    train_set, test_set = read_data(options.data)
    seconds_decode = time.perf_counter() - started

    training = start(options, train_set, out / "checkpoint.npz")
    print(training.model)
    interrupted = learn_epochs(training, train_set, test_set, options.epochs, out / "checkpoint.npz")

    plan, last = training.plan, training.history[-1]
    metrics = {
        "model": plan.model,
        "data": options.data or "drawn scenes",
        "parameters": sum(parameter.size for parameter in training.model.parameters()),
        "epochs": training.epochs,
        "test_accuracy": last["test_accuracy"],
        "train_accuracy": last["train_accuracy"],
        "linear_accuracy": linear_accuracy(train_set, test_set, training.normalize, plan.seed),
        "chance": 1 / len(plan.classes),
        "batch_size": plan.batch_size,
        "lr": plan.lr,
        "seed": plan.seed,
        "threads": threads,
        "device": options.device,
        "seconds_decode": seconds_decode,
        "seconds_train": sum(epoch["seconds"] for epoch in training.history),
    }
    report(out / "report.html", training, test_set, metrics)
    metrics |= {"seconds_total": time.perf_counter() - started, "history": training.history}
    write_metrics(out / "metrics.json", metrics)
    print(f"""
    test accuracy of {plan.model} after epoch {training.epochs}
      the network         {metrics["test_accuracy"]:6.1%}
      a linear classifier {metrics["linear_accuracy"]:6.1%}
      chance              {metrics["chance"]:6.1%}
    report: {out / "report.html"}""")
    if interrupted:
        print(f"interrupted after epoch {training.epochs} of {options.epochs}; --resume goes on from there")
    return 130 if interrupted else 0


def read_data(source: str | None) -> tuple[ImageDataset, ImageDataset]:
    """The training and the test pictures of a folder or archive; drawn ones without."""
    if source is None:
        print("drawing scenes; --data takes a folder or zip of your own")
        return synthetic_scenes("train", size=SIZE), synthetic_scenes("test", size=SIZE)
    train_set = read_split(source, "train", None)
    return train_set, read_split(source, "test", train_set.classes)


def read_split(source: str, split: str, classes: Sequence[str] | None) -> ImageDataset:
    """Read one split under a progress bar, and print what was read."""
    with progress(desc=f"reading {split}", unit="picture", delay=0.1) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        data = image_folder(source, split=split, size=SIZE, classes=classes, progress=advance)
    print(data.report)
    return data


def start(options: argparse.Namespace, train_set: ImageDataset, checkpoint: Path) -> Training:
    """A new training, or the one in the checkpoint if `--resume` asks for it.

    Raises
    ------
    ArgumentError
        If the checkpoint is of another training than the options describe.
    """
    mean, std = mean_std(train_set.images)
    lr = options.lr or RECIPES[options.model].lr
    plan = Plan(options.model, list(train_set.classes), mean, std, options.batch_size, lr, options.seed)
    if not options.resume:
        return Training(plan, options.device)
    training = Training.load(checkpoint, options.device)
    saved = asdict(training.plan)
    for key, value in asdict(plan).items():
        if saved[key] != value:
            raise ArgumentError(f"--resume: the {key} of {checkpoint} is {saved[key]}, not {value}")
    return training


def learn_epochs(
    training: Training, train_set: ImageDataset, test_set: ImageDataset, epochs: int, checkpoint: Path
) -> bool:
    """Learn up to so many epochs and keep the checkpoint of the last; whether Ctrl-C ended it before."""
    batches = math.ceil(len(train_set) / training.plan.batch_size)
    with (
        Interrupt() as interrupt,
        progress(total=epochs * batches, initial=training.epochs * batches, unit="batch") as bar,
    ):

        def advance() -> None:
            bar.update()
            if interrupt.requested:
                bar.set_description("finishing this epoch (Ctrl-C again to quit)", refresh=False)

        while training.epochs < epochs and not interrupt.requested:
            bar.set_description(f"epoch {training.epochs + 1} of {epochs}", refresh=False)
            training.learn_epoch(train_set, test_set, epochs, advance)
            training.save(checkpoint)
            last = training.history[-1]
            bar.set_postfix_str(f"train {last['train_accuracy']:.1%}, test {last['test_accuracy']:.1%}", refresh=False)
    return training.epochs < epochs


def report(path: Path, training: Training, test_set: ImageDataset, metrics: dict[str, Any]) -> None:
    """Write the page: curves, confusion matrix, filters, and the ten test pictures of highest loss."""
    plan, labels = training.plan, test_set.labels
    logits = predict(training.model, test_set, training.normalize, training.device)
    predicted = logits.argmax(axis=1).numpy()
    losses = nn.cross_entropy(logits, mg.tensor(labels), reduction="none").numpy()
    confusion = np.zeros((len(plan.classes),) * 2, np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    hardest = [
        Hard(
            test_set.images[i],
            plan.classes[labels[i]],
            plan.classes[predicted[i]],
            float(losses[i]),
            test_set.paths[i],
        )
        for i in np.argsort(-losses, kind="stable")[:10]
    ]
    write_report(
        path,
        title=f"{plan.model} on {metrics['data']}",
        metrics=metrics,
        history=training.history,
        confusion=confusion,
        classes=plan.classes,
        filters=training.model.state_dict()["0.weight"].numpy()[:, 0],
        hardest=hardest,
    )


# ---- predict ---------------------------------------------------------------------------------------------------------


def classify(options: argparse.Namespace) -> int:
    """Print the likeliest classes of each image, with their probabilities."""
    training = Training.load(options.checkpoint)
    images = np.stack([read_image(path, SIZE) for path in options.images])
    data = ImageDataset(images, np.zeros(len(images), np.int64), ("unknown",), tuple(options.images), "")
    shares = mg.softmax(predict(training.model, data, training.normalize), axis=1).numpy()
    for path, share in zip(data.paths, shares, strict=True):
        print(path)
        for i in np.argsort(-share, kind="stable")[:3]:
            print(f"  {share[i]:6.1%}  {training.plan.classes[i]}")
    return 0
