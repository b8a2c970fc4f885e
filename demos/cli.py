"""What the demos' command lines share."""

import argparse
import importlib
import json
import math
import signal
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from minigrad import kernels
from minigrad.errors import DataError, MinigradError
from minigrad.io.atomic import atomic_write

EXTRAS = ("matplotlib", "tqdm")


def run(module: str, arguments: Sequence[str] | None = None) -> int:
    """Run a module's `main` and return the exit status: every expected failure ends in one message.

    The module is imported here, so that a missing package is such a failure too. What the terminal cannot show is
    printed as an escape.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return importlib.import_module(module).main(arguments)
    except MinigradError as error:
        return _fail(1, str(error))
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _fail(1, f"the package {error.name} is missing; pip install -e '.[demos]' brings it")
    except KeyboardInterrupt:
        return _fail(130, "interrupted")


def _fail(status: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"error: {message}; {self.prog} --help lists the options\n")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, which is where to compute."""
    parser.add_argument(
        "--device", choices=kernels.DEVICES, default="cpu", help="where to compute; cuda is a GPU (default: cpu)"
    )


def whole(text: str) -> int:
    """Read a whole number from 0 up."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 up")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number from 1 up."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def rate(text: str) -> float:
    """Read a positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return value


def folder(path: str) -> Path:
    """Make the folder of a run, unless it is there.

    Raises
    ------
    DataError
        If that is impossible.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {path}: {(error.strerror or str(error)).lower()}") from error
    return Path(path)


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write the figures of a run as JSON."""
    with atomic_write(path, "w") as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False) + "\n")


def progress(**options: Any) -> Any:
    """Show a progress bar on the terminal, and a line every ten seconds in a log."""
    from tqdm import tqdm

    return tqdm(mininterval=0.1 if sys.stderr.isatty() else 10, **options)


class Interrupt:
    """Within a `with` block, the first Ctrl-C only sets `requested`, for the work to end at a good moment."""

    requested = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
