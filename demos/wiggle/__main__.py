"""The command line: `python -m demos.wiggle`."""

import sys

from demos.cli import run

sys.exit(run("demos.wiggle.learn"))
