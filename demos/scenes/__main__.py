"""The command line: `python -m demos.scenes`."""

import sys

from demos.cli import run

sys.exit(run("demos.scenes.commands"))
