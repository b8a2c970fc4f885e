"""A toy experiment: one number in, one number out, some layers of ReLU units between.

The data are 1000 points of a known function on [-pi, pi], without noise. The loss is the squared difference; the
optimiser is stochastic gradient descent with momentum 0.9 and a constant learning rate.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from demos.cli import Interrupt, Parser, add_device, folder, positive, progress, rate, whole, write_metrics
from minigrad import nn, optim
from minigrad.errors import ArgumentError
from minigrad.io import atomic_write

TARGETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": np.cos,
    "steps": lambda x: np.floor(x) / 4,
}


def network(layers: int, hidden: int) -> nn.Sequential:
    """Fully connected layers (n 1) -> (n hidden) -> ... -> (n 1), with a ReLU after each but the last.

    >>> print(network(layers=1, hidden=3))
    Sequential()                                         10 parameters
      0: Linear(in_features=1, out_features=3)          6
      1: ReLU()
      2: Linear(in_features=3, out_features=1)          4
    """
    body = [part for i in range(layers) for part in (nn.Linear(hidden if i else 1, hidden), nn.ReLU())]
    return nn.Sequential(*body, nn.Linear(hidden, 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, draw the fit, and write the figures down."""
    options = parse(arguments)
    out = folder(options.out)
    started = time.perf_counter()
    mg.manual_seed(options.seed)
    model = network(options.layers, options.hidden).to(options.device)
    optimizer = optim.SGD(model.parameters(), lr=options.lr, momentum=0.9)
    x = np.linspace(-np.pi, np.pi, 1000, dtype=np.float32)[:, None]
    y = TARGETS[options.target](x)

    def there(values: np.ndarray) -> mg.Tensor:
        return mg.tensor(values, device=options.device)

    fits: dict[int, np.ndarray] = {}
    moments = {round(options.steps * (i / 5) ** 3) for i in range(5)}  # a fit changes most at the start
    with Interrupt() as interrupt, progress(total=options.steps, unit="step") as bar:
        while optimizer.steps < options.steps and not interrupt.requested:
            if optimizer.steps in moments:
                fits[optimizer.steps] = predict(model, there(x))
            chosen = mg.random.default.integers(options.batch_size, 0, len(x)).numpy()
            loss = nn.mse_loss(model(there(x[chosen])), there(y[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not math.isfinite(loss.item()):
                raise ArgumentError("the training diverged; try a smaller --lr")
            bar.set_postfix_str(f"loss {loss.item():.1e}", refresh=False)
            bar.update()
    fits[optimizer.steps] = predict(model, there(x))

    draw(out / "fit.png", x, y, fits)
    metrics = {
        **{key: value for key, value in vars(options).items() if key != "out"},
        "steps": optimizer.steps,
        "parameters": sum(parameter.size for parameter in model.parameters()),
        "final_mse": float(np.square(fits[optimizer.steps] - y).mean()),
        "seconds_total": time.perf_counter() - started,
    }
    write_metrics(out / "metrics.json", metrics)
    print(f"mean squared error {metrics['final_mse']:.1e} after {optimizer.steps} steps")
    print(f"the fit as it developed: {out / 'fit.png'}")
    return 130 if interrupt.requested else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser("python -m demos.toy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--target", choices=TARGETS, default="cosine", help="the function to learn (default: cosine)")
    add("--layers", type=positive, default=3, metavar="N", help="hidden layers (default: 3)")
    add("--hidden", type=positive, default=100, metavar="N", help="units in each of them (default: 100)")
    add("--steps", type=positive, default=600, metavar="N", help="steps of descent (default: 600)")
    add("--batch-size", type=positive, default=50, metavar="N", help="points a step, drawn at random (default: 50)")
    add("--lr", type=rate, default=0.02, metavar="RATE", help="learning rate (default: 0.02)")
    add("--seed", type=whole, default=0, metavar="N", help="of the first weights and of the batches (default: 0)")
    add_device(parser)
    add("--out", default="runs/toy", metavar="DIR", help="for fit.png and metrics.json (default: runs/toy)")
    return parser.parse_args(arguments)


def predict(model: nn.Module, x: mg.Tensor) -> np.ndarray:
    """The network's values (n 1) at x (n 1)."""
    with mg.no_grad():
        return model(x).numpy()


def draw(path: str | os.PathLike[str], x: np.ndarray, y: np.ndarray, fits: Mapping[int, np.ndarray]) -> None:
    """Draw the data and each fit, by the number of steps before it, side by side as one PNG."""
    columns = min(len(fits), 3)
    rows = math.ceil(len(fits) / columns)
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for panel, (step, fit) in zip(axes, fits.items(), strict=False):
            panel.plot(x, y, color="#a8a29e", linewidth=5, label="data")
            panel.plot(x, fit, color="#0f766e", label="network")
            panel.set_title(f"after {step} steps" if step else "before the first step")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        for unused in axes[len(fits) :]:
            unused.axis("off")
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=120)
