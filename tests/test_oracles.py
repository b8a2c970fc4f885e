"""The oracles that no one here wrote: nothing differs, and no fewer samples agree than docs/oracles.md says."""

from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from tests.oracles import tally, torch_calls

PAGE = (Path(__file__).parents[1] / "docs" / "oracles.md").read_text(encoding="utf-8")
OPINFO, ONNX = tally.documented(PAGE, "OpInfo"), tally.documented(PAGE, "ONNX")


@pytest.fixture(scope="module")
def opinfo() -> Any:
    for package in ("torch", "expecttest"):
        pytest.importorskip(package, reason=f"OpInfo needs {package}: pip install -e '.[oracle]'")
    from tests.oracles import opinfo

    return opinfo


@pytest.fixture(scope="module")
def onnx_nodes() -> Any:
    pytest.importorskip("onnx", reason="the node tests need onnx: pip install -e '.[oracle]'")
    from tests.oracles import onnx_nodes

    return onnx_nodes


def holds(row: tally.Row, documented: dict[str, int]) -> None:
    assert not row.differ, "\n".join(row.differ)
    assert row.forward >= documented["forward"]
    assert row.backward >= documented["backward"]


@pytest.mark.parametrize("name", OPINFO)
def test_opinfo(name: str, opinfo: Any) -> None:
    row = opinfo.run(name)
    holds(row, OPINFO[name])
    assert bool(row.explained) == (name in opinfo.EXPLAINED)


@pytest.mark.parametrize("name", ONNX)
def test_onnx(name: str, onnx_nodes: Any) -> None:
    holds(onnx_nodes.run(name), ONNX[name])


def test_the_page_has_every_op_and_enough_samples(onnx_nodes: Any) -> None:
    assert list(OPINFO) == list(torch_calls.OPS)
    assert list(ONNX) == [*onnx_nodes.NODES, *onnx_nodes.STORED]
    assert sum(row["forward"] > 0 for row in OPINFO.values()) >= 80
    assert sum(row["forward"] for row in OPINFO.values()) >= 1200
    assert sum(row["backward"] for row in OPINFO.values()) >= 1000
    assert sum(row["forward"] for row in ONNX.values()) >= 200
    assert not any(row["differ"] for row in (*OPINFO.values(), *ONNX.values()))


WRONG = {
    "value": lambda x: mg.sin(x) + 1e-9,
    "gradient": lambda x: mg.sin(x.detach()) + 0 * x,
    "shape": lambda x: mg.sin(x).expand_dims(),
    "dtype": lambda x: mg.astype(mg.sin(x), mg.float32),
    "error": lambda x: [][1],
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_op_differs(kind: str, opinfo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(opinfo.OPS, "sin", WRONG[kind])
    row = opinfo.run("sin")
    assert row.differ
    assert kind != "gradient" or "gradient 0" in row.differ[0]


def test_what_there_is_no_word_for_is_unsupported(opinfo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(opinfo.OPS, "sum", lambda x, dim=None: mg.sum(x, axis=dim))
    row = opinfo.run("sum")
    assert row.unsupported["option keepdim"] > 0
    assert row.forward > 0
    assert not row.differ
