"""The suite finds planted mistakes: some of them here, all of them by `python -m tests.mutants`."""

import re
from pathlib import Path

from tests.mutants.workers import HARMLESS, MUTANTS, is_right, judged

PAGE = (Path(__file__).parents[1] / "docs" / "mutants.md").read_text(encoding="utf-8")


def test_some_mistakes_are_found_and_what_is_none_is_not() -> None:
    names = [*list(MUTANTS)[::30], *HARMLESS]
    wrong = [verdict for verdict in judged(names, 2) if not is_right(verdict)]
    assert not wrong


def test_the_page_is_about_these_mistakes() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \| `.+` \| \d* \|$", PAGE, re.M))
    assert rows == {name: mutant.what for name, mutant in MUTANTS.items() if name not in HARMLESS}
    assert len(rows) >= 60
    assert all(MUTANTS[name].what in PAGE for name in HARMLESS)
