"""The command line: `python -m benchmarks`."""

import sys

from demos.cli import run

sys.exit(run("benchmarks.commands"))
