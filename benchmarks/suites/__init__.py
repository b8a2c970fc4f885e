"""The suites: one file each, with its `ROWS`."""

import importlib
from dataclasses import replace

from benchmarks.row import Row

NAMES = ("conv", "ragged", "pool", "norm", "elementwise", "matmul", "overhead", "nets", "startup")

AT_BATCH = ", batch "


def rows(suite: str) -> list[Row]:
    """Return the rows of a suite."""
    return importlib.import_module(f"benchmarks.suites.{suite}").ROWS


def find(suite: str, name: str) -> Row:
    """Return the row of that name, which may say at which batch size."""
    plain, _, batch = name.partition(AT_BATCH)
    row = next(row for row in rows(suite) if row.name == plain)
    return at_batch(row, int(batch)) if batch else row


def at_batch(row: Row, size: int) -> Row:
    """Return a row at another batch size, if it has one."""
    return row if row.at_batch is None else replace(row.at_batch(size), name=f"{row.name}{AT_BATCH}{size}")
