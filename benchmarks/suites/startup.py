"""From nothing: the import, and a first training step of SimpleNet, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.row import Row, Step

FIRST_STEP = "from benchmarks.suites.nets import ROWS; row = ROWS[0]; "


def _process(code: str, empty_cache: bool = False) -> Step:
    def step() -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = {"MINIGRAD_CACHE": folder} if empty_cache else {}
            subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **cache})

    return step


def _row(name: str, ours: str, torch: str, *, empty_cache: bool = False, **options: Any) -> Row:
    return Row(
        name=name,
        ours=lambda: _process(ours, empty_cache),
        torch=lambda layout: _process(torch),
        processes=True,
        **options,
    )


OURS, TORCH = f"{FIRST_STEP}row.ours()()", f"import torch; {FIRST_STEP}row.torch(torch.contiguous_format)()"

ROWS = [
    _row("import", "import minigrad", "import torch"),
    _row("first SimpleNet step, compiled before", OURS, TORCH, recorded=True, rounds=3),
    _row("first SimpleNet step, nothing compiled", OURS, TORCH, recorded=True, empty_cache=True, rounds=1),
]
