"""`python -m tests.oracles`: run the oracles and write their tables into docs/oracles.md."""

import re
from pathlib import Path

from tests.oracles import onnx_nodes, opinfo
from tests.oracles.tally import table

PAGE = Path(__file__).parents[2] / "docs" / "oracles.md"


def main() -> None:
    """Run all, and replace the tables of the page."""
    page = PAGE.read_text(encoding="utf-8")
    models = (*onnx_nodes.NODES, *onnx_nodes.STORED)
    for heading, names, run in (("OpInfo", opinfo.OPS, opinfo.run), ("ONNX", models, onnx_nodes.run)):
        before, title, after = page.partition(f"\n## {heading}\n")
        rows = table([run(name) for name in names]) + "\n"
        page = before + title + re.sub(r"(^\|.*\n)+", lambda _, rows=rows: rows, after, count=1, flags=re.M)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
