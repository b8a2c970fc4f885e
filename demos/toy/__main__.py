"""The command line: `python -m demos.toy`."""

import sys

from demos.cli import run

sys.exit(run("demos.toy.fit"))
