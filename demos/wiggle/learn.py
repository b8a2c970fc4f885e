"""Learning without derivatives, and what it costs: wiggle one weight, see whether the loss falls, go there.

One small network learns one curve in three ways, from the same first weights and on all data at every step:

- signs: each weight in turn is wiggled, and goes a fixed step the way that lowers the loss (the slides' rule);
- differences: the wiggles of all weights make a gradient, for gradient descent with momentum;
- backpropagation: the same descent, with the gradient by the chain rule.

Cost is counted in forward passes. A gradient of n weights by differences takes n + 1 of them; by backpropagation one
and a backward pass, which the slides put at about two. It is measured here, also for wider networks.
"""

import argparse
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from demos.cli import Interrupt, Parser, folder, positive, progress, rate, whole, write_metrics
from demos.toy.fit import TARGETS, network
from minigrad import nn, optim
from minigrad.errors import ArgumentError
from minigrad.io import atomic_write

COLORS = {"signs": "#a8a29e", "differences": "#c2570c", "backpropagation": "#0f766e"}
WIDTHS = (10, 30, 100, 300, 1000)
POINTS = 200


class Task:
    """A network with data to fit, in float64, and how often it ran."""

    def __init__(self, target: str, hidden: int, seed: int) -> None:
        mg.manual_seed(seed)
        self.model = network(2, hidden).to("float64")
        self.parameters = list(self.model.parameters())
        self.weights = sum(parameter.size for parameter in self.parameters)
        x = np.linspace(-np.pi, np.pi, POINTS)[:, None]
        self.x, self.y = mg.tensor(x), mg.tensor(TARGETS[target](x))
        self.forwards = self.backwards = 0

    def loss(self) -> mg.Tensor:
        """The loss on all data: a forward pass."""
        self.forwards += 1
        return nn.mse_loss(self.model(self.x), self.y)

    def loss_with(self, parameter: nn.Parameter, place: tuple[int, ...], change: float) -> float:
        """The loss with one weight changed; it is put back."""
        values = parameter.detach().numpy()
        wiggled = values.copy()
        wiggled[place] += change
        with mg.no_grad():
            parameter.assign(wiggled)
            loss = self.loss().item()
            parameter.assign(values)
        return loss


# ---- three ways to learn ---------------------------------------------------------------------------------------------


def step_by_signs(task: Task, eps: float, step: float) -> float:
    """Wiggle each weight by eps and move it by `step` at once; returns the loss before."""
    first = math.nan
    for parameter in task.parameters:
        for place in np.ndindex(parameter.shape):
            before = task.loss_with(parameter, place, 0.0)
            first = before if math.isnan(first) else first
            wiggled = task.loss_with(parameter, place, eps)
            values = parameter.detach().numpy().copy()
            values[place] += step * np.sign(before - wiggled)
            parameter.assign(values)
    return first


def differences(task: Task, eps: float) -> tuple[float, list[mg.Tensor]]:
    """The loss, and its gradient by wiggling each weight by eps."""
    with mg.no_grad():
        loss = task.loss().item()
    gradient = []
    for parameter in task.parameters:
        slopes = [(task.loss_with(parameter, place, eps) - loss) / eps for place in np.ndindex(parameter.shape)]
        gradient.append(mg.tensor(np.reshape(slopes, parameter.shape)))
    return loss, gradient


def backpropagation(task: Task) -> tuple[float, list[mg.Tensor]]:
    """The loss, and its gradient by the chain rule."""
    for parameter in task.parameters:
        parameter.grad = None
    loss = task.loss()
    loss.backward()
    task.backwards += 1
    return loss.item(), [parameter.grad for parameter in task.parameters if parameter.grad is not None]


class Course(NamedTuple):
    """The loss before each step and at the end, and what had been spent by then, in forward passes."""

    losses: list[float]
    spent: list[float]
    seconds: float


def learn(way: str, options: argparse.Namespace, multiple: float, interrupt: Interrupt, bar: Any) -> Course:
    """Learn in one way; a backward costs `multiple` forwards."""
    task = Task(options.target, options.hidden, options.seed)
    optimizer = optim.SGD(task.parameters, lr=options.lr, momentum=0.9)
    losses: list[float] = []
    spent, started = [0.0], time.perf_counter()
    while len(losses) < options.steps and not interrupt.requested:
        if way == "signs":
            losses.append(step_by_signs(task, options.eps, options.step))
        else:
            loss, gradient = differences(task, options.eps) if way == "differences" else backpropagation(task)
            for parameter, slopes in zip(task.parameters, gradient, strict=True):
                parameter.grad = slopes
            optimizer.step()
            losses.append(loss)
        spent.append(task.forwards + multiple * task.backwards)
        if not math.isfinite(losses[-1]):
            raise ArgumentError("the training diverged; try a smaller --lr")
        bar.update()
    seconds = time.perf_counter() - started
    return Course([*losses, task.loss().item()], spent, seconds)


# ---- what a backward costs -------------------------------------------------------------------------------------------


def backward_multiple(hidden: int, rounds: int = 30, dtype: str = "float32") -> float:
    """The time of a backward pass as a multiple of that of a forward pass: the ratio of medians."""
    model = network(2, hidden).to(dtype)
    x = mg.tensor(np.linspace(-np.pi, np.pi, POINTS)[:, None], dtype=dtype)
    forward, backward = [], []
    for _ in range(rounds + 3):  # the first rounds compile and warm up
        start = time.perf_counter()
        loss = nn.mse_loss(model(x), x)
        middle = time.perf_counter()
        loss.backward()
        backward.append(time.perf_counter() - middle)
        forward.append(middle - start)
    return statistics.median(backward[3:]) / statistics.median(forward[3:])


# ---- the command -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn in three ways, draw loss and cost, and write the figures down."""
    options = parse(arguments)
    out = folder(options.out)
    started = time.perf_counter()
    multiples = {hidden: backward_multiple(hidden) for hidden in sorted({*WIDTHS, options.hidden})}
    own = multiples[options.hidden]

    task = Task(options.target, options.hidden, options.seed)
    wiggled, exact = (
        np.concatenate([slopes.numpy().ravel() for slopes in gradient])
        for _, gradient in (differences(task, options.eps), backpropagation(task))
    )
    error = float(np.abs(wiggled - exact).max() / np.abs(exact).max())

    courses: dict[str, Course] = {}
    with Interrupt() as interrupt, progress(total=len(COLORS) * options.steps, unit="step") as bar:
        for way in COLORS:
            if not interrupt.requested:
                bar.set_description_str(way)
                courses[way] = learn(way, options, own, interrupt, bar)

    draw(out / "wiggle.png", task.weights, courses, multiples)
    metrics = {
        **{key: value for key, value in vars(options).items() if key != "out"},
        "weights": task.weights,
        "first_loss": courses["signs"].losses[0],
        "gradient_error": error,
        "backward_multiple": multiples,
        "ways": {
            way: {"loss": one.losses[-1], "steps": len(one.losses) - 1, "cost": one.spent[-1], "seconds": one.seconds}
            for way, one in courses.items()
        },
        "seconds_total": time.perf_counter() - started,
    }
    write_metrics(out / "metrics.json", metrics)
    print(f"a gradient of {task.weights} weights costs {task.weights + 1} forward passes by differences,")
    print(f"  {1 + own:.1f} by backpropagation: a backward is {own:.1f} forwards; the two differ by {error:.0e}")
    for way, course in courses.items():
        steps = len(course.losses) - 1
        print(f"{way:<15}  loss {course.losses[-1]:.1e} after {steps} steps, {course.spent[-1]:,.0f} forward passes")
    print(f"loss and cost: {out / 'wiggle.png'}")
    return 130 if interrupt.requested else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser("python -m demos.wiggle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--target", choices=TARGETS, default="cosine", help="the function to learn (default: cosine)")
    add("--hidden", type=positive, default=10, metavar="N", help="units in each of the 2 hidden layers (default: 10)")
    add("--steps", type=positive, default=200, metavar="N", help="steps of each way of learning (default: 200)")
    add("--lr", type=rate, default=0.02, metavar="RATE", help="learning rate of the two descents (default: 0.02)")
    add("--eps", type=rate, default=1e-6, metavar="EPS", help="by how much a weight is wiggled (default: 1e-6)")
    add("--step", type=rate, default=2e-3, metavar="STEP", help="how far the slides' rule moves it (default: 0.002)")
    add("--seed", type=whole, default=0, metavar="N", help="of the first weights (default: 0)")
    add("--out", default="runs/wiggle", metavar="DIR", help="for wiggle.png and metrics.json (default: runs/wiggle)")
    return parser.parse_args(arguments)


def draw(
    path: str | os.PathLike[str], weights: int, courses: Mapping[str, Course], multiples: Mapping[int, float]
) -> None:
    """Draw the loss by steps, the loss by cost, and the cost of a gradient by the width of the network, as one PNG."""
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(13, 4), layout="constrained")
        by_step, by_cost, by_width = figure.subplots(1, 3)
        for way, course in courses.items():
            wide = {"linewidth": 5, "alpha": 0.5} if way == "differences" else {}  # backpropagation lies on top of it
            by_step.plot(course.losses, color=COLORS[way], label=way, **wide)
            by_cost.plot(course.spent[1:], course.losses[1:], color=COLORS[way], label=way)
        by_step.set(title=f"the loss of a net with {weights} weights", xlabel="steps", yscale="log")
        by_cost.set(title="and what it has cost", xlabel="forward passes", xscale="log", yscale="log")
        widths = list(multiples)
        by_width.plot(
            widths,
            [_weights(width) + 1 for width in widths],
            color=COLORS["differences"],
            marker="o",
        )
        by_width.plot(
            widths, [1 + multiple for multiple in multiples.values()], color=COLORS["backpropagation"], marker="o"
        )
        by_width.axhline(3, color="#a8a29e", linestyle=":")
        by_width.annotate("the slides: 1 + about 2", (widths[0], 4.2), color="#78716c")
        by_width.set(title="forward passes for one gradient", xlabel="hidden units a layer", xscale="log", yscale="log")
        by_step.legend(frameon=False)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=120)


def _weights(hidden: int) -> int:
    """How many weights and biases `network(2, hidden)` has."""
    return 2 * hidden + hidden * (hidden + 1) + hidden + 1
