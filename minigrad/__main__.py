"""The command line of the library itself: `python -m minigrad`."""

import argparse
import sys
from collections.abc import Sequence

from minigrad import doctor, warmup
from minigrad.runtime import get_num_threads

DTYPES = ("float32", "float64")


def positive(text: str) -> int:
    """Read a number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def _warmup(options: argparse.Namespace) -> int:
    return warmup.run(DTYPES[: 1 + options.float64], options.processes, options.installed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minigrad")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("warmup", help="compile ahead what the layers need", description=warmup.__doc__)
    command.add_argument("--float64", action="store_true", help="for float64 too")
    command.add_argument(
        "--processes", type=positive, default=get_num_threads(), metavar="N", help="compile in N (default: one a core)"
    )
    command.add_argument("--installed", action="store_true", help="keep them beside the library, for all its users")
    command.set_defaults(run=_warmup)
    command = commands.add_parser("doctor", help="what this machine computes with", description=doctor.__doc__)
    command.set_defaults(run=lambda options: doctor.run())
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
