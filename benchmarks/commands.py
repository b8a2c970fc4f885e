"""The arguments, and the run that they describe."""

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.compare import Pace, compare
from benchmarks.row import DEVICE, Row
from benchmarks.suites import AT_BATCH, NAMES, at_batch, rows
from benchmarks.suites.peers import PACKAGES
from benchmarks.worker import ON_CPU, PRECISION, TF32
from demos.cli import Parser, progress
from minigrad import kernels
from minigrad.errors import ArgumentError

QUICK = Pace(rounds=2, seconds=0.02)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = parse(arguments)
    chosen = select(options.suite, options.match)
    for size in options.batches:
        chosen += [(suite, at_batch(row, size)) for suite, row in chosen if row.at_batch and AT_BATCH not in row.name]
    libraries = [name for name in ("torch", *PACKAGES) if importlib.util.find_spec(name)]
    if options.device != "cpu":
        kernels.backend(options.device).from_numpy(np.zeros(1))  # says what is missing
        libraries = [ON_CPU, *(["torch"] if "torch" in libraries and torch_finds_a_gpu() else [])]
    os.environ[DEVICE] = options.device
    if options.tf32:
        os.environ[TF32] = "1"
    if options.conv_precision:
        os.environ[PRECISION] = options.conv_precision
    results = []
    with progress(total=len(chosen) * len(options.threads), unit="row") as bar:
        for threads in options.threads:
            for result in compare(chosen, threads, libraries, QUICK if options.quick else Pace()):
                bar.set_postfix_str(f"{result['suite']}, {threads} threads", refresh=False)
                bar.update()
                results.append(result)
    results.sort(key=lambda result: NAMES.index(result["suite"]))
    print(report.table(results))
    if options.json:
        report.write_json(options.json, results)
    if options.png:
        report.write_png(options.png, results)
    return 0


def torch_finds_a_gpu() -> bool:
    """Whether PyTorch is built for CUDA and finds a GPU."""
    import torch

    return torch.cuda.is_available()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser("python -m benchmarks", description="Time minigrad beside PyTorch, in turns, on this machine.")
    add = parser.add_argument
    add("--suite", type=suites, default=NAMES, metavar="NAMES", help=f"of {','.join(NAMES)} (default: all)")
    add("--threads", type=thread_counts, default="1,2", metavar="COUNTS", help="in turn (default: 1,2)")
    add("--match", default="", metavar="TEXT", help="only rows with this text in their names")
    precisions = ("highest", "high", "medium")
    add("--device", choices=kernels.DEVICES, default="cpu", help="where both compute (default: cpu)")
    add("--tf32", action="store_true", help="on a GPU, let both round to TF32; neither does by default")
    add(
        "--batches",
        type=sizes,
        default=(),
        metavar="SIZES",
        help="also time whole training steps at these, as 256,1024",
    )
    add("--conv-precision", choices=precisions, help="of minigrad's 3x3 convolutions (default: the library's)")
    add("--json", type=Path, metavar="FILE", help="also write the rows here")
    add("--png", type=Path, metavar="FILE", help="also draw the ratios here")
    add("--quick", action="store_true", help="a first impression: short turns, and few")
    return parser.parse_args(arguments)


def suites(text: str) -> tuple[str, ...]:
    """Read names of suites, with commas between."""
    chosen = tuple(text.split(","))
    for name in chosen:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"no suite {name!r}; there are {', '.join(NAMES)}")
    return chosen


def sizes(text: str) -> tuple[int, ...]:
    """Read whole numbers above 0, with commas between."""
    if not all(part.isdecimal() and int(part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not whole numbers above 0, with commas between")
    return tuple(map(int, text.split(",")))


def thread_counts(text: str) -> tuple[int, ...]:
    """Read numbers of threads, with commas between; the default leaves out what this machine lacks."""
    cores = os.cpu_count() or 1
    counts = tuple(int(part) if part.isdecimal() else 0 for part in text.split(","))
    if not all(1 <= count <= cores for count in counts) and text != "1,2":
        raise argparse.ArgumentTypeError(f"{text!r} is not whole numbers from 1 to this machine's {cores}")
    return tuple(count for count in counts if count <= cores)


def select(names: Sequence[str], text: str) -> list[tuple[str, Row]]:
    """Return the rows of suites whose names hold a text, in whatever case.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    chosen = [(suite, row) for suite in names for row in rows(suite) if text.lower() in row.name.lower()]
    if not chosen:
        raise ArgumentError(f"--match {text}: no row of {', '.join(names)} has it in its name")
    return chosen
