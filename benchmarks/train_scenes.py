"""The scene demo's whole run, SimpleNet from pictures to report, beside the same run written with PyTorch.

    python -m benchmarks.train_scenes [--data FOLDER_OR_ZIP] [--epochs 30] [--threads 2]

Either side is a process of its own, timed from its start to its end.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare import POOLS
from demos.cli import Parser, positive

PARTS = {"seconds_decode": "pictures", "seconds_train": "training", "rest": "start and report", "wall": "whole run"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both sides and print where their time goes."""
    parser = Parser("python -m benchmarks.train_scenes", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", metavar="FOLDER_OR_ZIP", help="as for python -m demos.scenes (default: drawn scenes)")
    parser.add_argument("--epochs", type=positive, default=30, metavar="N", help="default: 30")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N", help="default: one a core")
    options = parser.parse_args(arguments)
    sides = {"minigrad": "demos.scenes"}
    if importlib.util.find_spec("torch"):
        sides["PyTorch"] = "benchmarks.torch_scenes"
    found = {side: run(module, options) for side, module in sides.items()}
    print(f"\nSimpleNet, {options.epochs} epochs, {options.data or 'drawn scenes'}, threads: {options.threads}")
    print(f"{'seconds':<18}" + "".join(f"{side:>10}" for side in found))
    for part, title in PARTS.items():
        print(f"{title:<18}" + "".join(f"{figures[part]:10.2f}" for figures in found.values()))
    print(f"{'test accuracy':<18}" + "".join(f"{figures['test_accuracy']:10.1%}" for figures in found.values()))
    return 0


def run(module: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one side; its metrics, with the seconds of the whole process and of what is neither pictures nor training."""
    with tempfile.TemporaryDirectory() as folder:
        data = ["--data", options.data] if options.data else []
        settings = ["--epochs", str(options.epochs), "--threads", str(options.threads), "--out", folder]
        limits = {f"{pool}_NUM_THREADS": str(options.threads) for pool in POOLS}
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", module, *data, *settings], check=True, env={**os.environ, **limits})
        wall = time.perf_counter() - started
        metrics = json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))
    return {**metrics, "wall": wall, "rest": wall - metrics["seconds_decode"] - metrics["seconds_train"]}


if __name__ == "__main__":
    sys.exit(main())
