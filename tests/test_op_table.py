"""The page of ops is about the ops that there are; `python -m tests.op_table --write` writes it."""

import re

from tests.op_table import PAGE, REGISTRY, Row, known

LINE = re.compile(r"^\|" + r" (.*?) *\|" * len(Row.__dataclass_fields__) + "$", re.M)


def test_the_page_is_about_these_ops() -> None:
    head, *lines = LINE.findall(PAGE.read_text(encoding="utf-8"))
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    assert [one["op"] for one in rows] == sorted(REGISTRY)
    for one in rows:
        assert all(one.values()), "a blank cell"
        assert one["oracle"] == known(REGISTRY[one["op"]])["oracle"]
