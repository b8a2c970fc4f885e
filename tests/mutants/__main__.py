"""`python -m tests.mutants`: plant every mistake, run the tests that have to find it, print the table."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in conftest.py

from tests.mutants.suite import Verdict
from tests.mutants.workers import HARMLESS, MUTANTS, is_right, judged

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"

HEAD = """\
# Planted mistakes

Tests are proof only if they fail where something is wrong. `python -m tests.mutants --write` plants the mistakes of
this page one at a time, in rules, kernels, sweeps, layers and optimisers ([tests/mutants](../tests/mutants)), runs
tests of the suite until one fails, sees that this one passes without the mistake, and writes the page. The last column
says how many examples Hypothesis needed.

"""

FOOT = """
Changes that are no mistakes, planted in the same ways, are found by no test: {}.
"""


def main() -> int:
    """Judge mutants; the exit status says whether all mistakes were found, and nothing else."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("-k", metavar="TEXT", default="", help="only mutants with this in their names")
    parser.add_argument("-n", metavar="WORKERS", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--seed", type=int, help="draw other examples than the suite does")
    parser.add_argument("--write", action="store_true", help=f"write the table to docs/{PAGE.name}, too")
    arguments = parser.parse_args()
    start, verdicts = time.perf_counter(), []
    for verdict in judged([name for name in MUTANTS if arguments.k in name], arguments.n, arguments.seed):
        verdicts.append(verdict)
        print(line(verdict), flush=True)
    wrong = [one.name for one in verdicts if not is_right(one)]
    print(f"{len(verdicts) - len(wrong)} of {len(verdicts)} as it should be, in {time.perf_counter() - start:.0f} s")
    if wrong:
        print("not as it should be:", ", ".join(wrong))
    if arguments.write:
        PAGE.write_text(page(verdicts), encoding="utf-8")
    return 1 if wrong or not verdicts else 0


def line(verdict: Verdict) -> str:
    """A row of the printed table."""
    killed = f"{verdict.test}  {verdict.complaint}" if verdict.test else "found by no test"
    return f"{verdict.name:40}{verdict.examples or '':>4} {verdict.seconds:6.1f} s  {killed}"[:240]


def page(verdicts: Sequence[Verdict]) -> str:
    """The document."""
    rows = ["| mutant | what is wrong | found by | examples |", "|---|---|---|---|"]
    found = [verdict for verdict in verdicts if verdict.test]
    rows += [
        f"| {one.name} | {MUTANTS[one.name].what} | `{one.test.removeprefix('tests/')}` | {one.examples or ''} |"
        for one in found
    ]
    harmless = "; ".join(MUTANTS[one.name].what for one in verdicts if not one.test and one.name in HARMLESS)
    return HEAD + "\n".join(rows) + "\n" + FOOT.format(harmless)


if __name__ == "__main__":
    sys.exit(main())
