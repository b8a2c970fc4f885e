"""The suites: one file each, with its `ROWS`."""

import importlib

from benchmarks.row import Row

NAMES = ("conv", "ragged", "pool", "norm", "elementwise", "matmul", "overhead", "nets", "startup")


def rows(suite: str) -> list[Row]:
    """Return the rows of a suite."""
    return importlib.import_module(f"benchmarks.suites.{suite}").ROWS


def find(suite: str, name: str) -> Row:
    """Return the row of that name."""
    return next(row for row in rows(suite) if row.name == name)
