"""What a run against an oracle comes to: how many samples agree, differ or have no counterpart here, and why."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.errors import MinigradError

COLUMNS = ("forward", "backward", "explained", "differ")


class Unsupported(Exception):
    """A call of the oracle that has no counterpart here; the message says what is missing."""


def need(condition: Any, missing: str) -> None:
    """Unsupported unless the condition holds."""
    if not condition:
        raise Unsupported(missing)


@dataclass
class Row:
    """The samples of one op. Each is counted forward and, where it has a gradient, backward.

    `explained` counts those that differ for a reason that is documented, `differ` describes those that just differ.
    """

    name: str
    forward: int = 0
    backward: int = 0
    explained: int = 0
    differ: list[str] = field(default_factory=list)
    unsupported: Counter[str] = field(default_factory=Counter)


def call(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Our function on the arguments of a sample; Unsupported where it lacks the option or refuses the call."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise Unsupported(re.sub(r".* argument '(.*)'", r"option \1", str(error))) from None
    try:
        return function(*args, **kwargs)
    except MinigradError as error:
        _, _, reason = str(error).splitlines()[0].partition(": ")
        raise Unsupported(re.sub(r"\(.*\d.*\)", "(...)", reason)) from None


def difference(ours: np.ndarray, theirs: np.ndarray, rtol: float, atol: float) -> str:
    """How two arrays differ; empty if they do not."""
    if ours.shape != theirs.shape:
        return f"shape {ours.shape}, not {theirs.shape}"
    if ours.dtype != theirs.dtype:
        return f"dtype {ours.dtype}, not {theirs.dtype}"
    wrong = (
        ~np.isclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True) if ours.dtype.kind == "f" else ours != theirs
    )
    if not wrong.any():
        return ""
    first = tuple(np.argwhere(wrong)[0].tolist())
    return f"{wrong.sum()} of {wrong.size} elements, the first at {first}: {ours[first]}, not {theirs[first]}"


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, and their totals."""
    lines = ["| op | forward | backward | explained | differ | unsupported |", "|---|---|---|---|---|---|"]
    totals = Counter(dict.fromkeys(COLUMNS, 0))
    for row in rows:
        counts = dict(zip(COLUMNS, (row.forward, row.backward, row.explained, len(row.differ)), strict=True))
        totals.update(counts)
        reasons = "; ".join(f"{count}: {reason}" for reason, count in sorted(row.unsupported.items()))
        lines.append(f"| `{row.name}` | {' | '.join(str(count or '') for count in counts.values())} | {reasons} |")
    unsupported = sum(row.unsupported.total() for row in rows)
    return "\n".join([*lines, f"| {len(rows)} ops | {' | '.join(map(str, totals.values()))} | {unsupported} |"])


def documented(page: str, heading: str) -> dict[str, dict[str, int]]:
    """The counts that a page gives for each op in the table under a heading."""
    _, _, section = page.partition(f"\n## {heading}\n")
    lines = re.findall(r"^\| `(.+?)` \|(.*)$", section.partition("\n## ")[0], re.M)
    return {
        name: {column: int(count.strip() or 0) for column, count in zip(COLUMNS, counts.split("|"), strict=False)}
        for name, counts in lines
    }
