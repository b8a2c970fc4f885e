"""Pictures of graphs: valid, complete, without overlaps."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from demos.scenes.models import RECIPES
from minigrad import drawing, nn
from minigrad.errors import ArgumentError, GraphError

SVG = "{http://www.w3.org/2000/svg}"


def boxes(picture: str) -> dict[str, list[tuple[list[str], tuple[float, float, float, float]]]]:
    """The boxes of a picture by kind: lines of text, and x, y, width, height."""
    found: dict[str, Any] = {}
    for group in ElementTree.fromstring(picture).iter(f"{SVG}g"):
        rectangle = group.find(f"{SVG}rect")
        place = tuple(float(rectangle.get(name)) for name in ("x", "y", "width", "height"))
        lines = [text.text for text in group.iter(f"{SVG}text")]
        found.setdefault(group.get("class"), []).append((lines, place))
    return found


def edges(picture: str) -> list[tuple[float, float, float, float]]:
    """Where each piece of an edge starts and ends."""
    curves = re.findall(r'd="M(\S+) ([^C"]+)C\S+ \S+ \S+ \S+ (\S+) ([^"]+)"', picture)
    return [tuple(map(float, curve)) for curve in curves]


def test_simplenet() -> None:
    model = RECIPES["simplenet"].model(15)
    images, labels = mg.zeros((2, 1, 64, 64)), mg.tensor([3, 4])
    loss = nn.CrossEntropyLoss()(model(images), labels)
    found = boxes(mg.draw_graph(loss, {**dict(model.named_parameters()), "images": images, "labels": labels}))
    assert [lines for lines, _ in found["op"]] == [
        ["conv2d_pool", "(2, 10, 20, 20)"],
        ["conv2d_pool", "(2, 20, 5, 5)"],
        ["reshape", "(2, 500)"],
        ["linear", "(2, 100)"],
        ["linear", "(2, 15)"],
    ]
    assert [lines for lines, _ in found["result"]] == [["softmax_cross_entropy", "()"]]
    assert sorted(lines for lines, _ in found["leaf"]) == sorted(
        [name, str(parameter.shape)] for name, parameter in model.named_parameters()
    )
    assert sorted(lines for lines, _ in found["constant"]) == [["images", "(2, 1, 64, 64)"], ["labels", "(2,)"]]
    middles = [x + width / 2 for _, (x, _, width, _) in [*found["op"], *found["result"]]]
    assert max(middles) - min(middles) < 2, "the chain of ops is a straight line"


def test_text_is_escaped_and_options_are_told() -> None:
    x = mg.tensor([[1.0, 2.0]], requires_grad=True)
    picture = mg.draw_graph(mg.exp(x).sum(axis=1), {'<b> & "\x00\n': x})
    assert boxes(picture)["leaf"][0][0] == ['<b> & "\ufffd\ufffd', "(1, 2)"]
    assert "<title>axis=(1,), keepdims=False</title>" in picture
    assert picture._repr_svg_() == picture


def test_names_of_results_and_shapes_of_constants() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    found = boxes(mg.draw_graph((y * mg.ones((3, 1))).sum(), [("doubled", y)]))
    assert [lines for lines, _ in found["op"]] == [["multiply", "doubled", "(2,)"], ["multiply", "(3, 2)"]]
    assert [lines for lines, _ in found["constant"]] == [["constant", "(3, 1)"]]
    assert [lines for lines, _ in found["leaf"]] == [["leaf", "(2,)"]]


def test_after_a_backward_constants_are_gone() -> None:
    x = mg.tensor([[1.0, 2.0]], requires_grad=True)
    y = (x @ mg.ones((2, 2))).sum()
    y.backward()
    found = boxes(mg.draw_graph(y, {"x": x}))
    assert [lines for lines, _ in found["op"]] == [["matmul", "(1, 2)"]]
    assert "constant" not in found
    assert found["leaf"][0][0] == ["x", "(1, 2)"]


def test_checkpoints_and_own_ops() -> None:
    own = mg.define_op("linear", lambda g, x: g)(lambda x: x * 1)
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = own(mg.checkpoint(lambda x: (mg.exp(x), x[0]))(x)[0])
    found = boxes(mg.draw_graph(y))
    assert [lines[0] for lines, _ in found["op"]] == ["checkpoint", "checkpoint result"]
    assert found["leaf"][0][0] == ["leaf", "(2,)"]


@given(st.lists(st.tuples(st.sampled_from("+*se"), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=25))
@settings(max_examples=80, deadline=None)
def test_nothing_overlaps_and_every_edge_leads_down(steps: list[tuple[str, int, int]]) -> None:
    values = [mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0], requires_grad=True)]
    apply = {"+": mg.add, "*": mg.multiply, "s": lambda x, y: mg.sin(x), "e": lambda x, y: mg.exp(y)}
    for op, i, j in steps:
        x, y = values[i % len(values)], values[j % len(values)]
        values.append(apply[op](x, y))
    picture = mg.draw_graph(values[-1])
    assert picture == mg.draw_graph(values[-1])
    nodes = mg.graph.ancestors([values[-1]._node])
    places = [place for group in boxes(picture).values() for _, place in group]
    assert len(places) == len(nodes)
    rows: dict[float, list[tuple[float, float]]] = {}
    for x, y, width, height in places:
        rows.setdefault(y + height / 2, []).append((x, x + width))
    for row in rows.values():
        assert all(right < left for (_, right), (left, _) in pairwise(sorted(row)))
    pieces = edges(picture)
    assert all(top < bottom for _, top, _, bottom in pieces)
    heads = sum(piece.count("marker-end") for piece in picture.splitlines())
    assert heads == sum(len(set(node.parents)) for node in nodes)
    for x, y, width, height in places:  # no edge ends or bends inside a box
        assert not any(x < a < x + width and y < b < y + height for a, b, c, d in pieces for a, b in ((a, b), (c, d)))


def test_what_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match="draw_graph: nothing was recorded"):
        mg.draw_graph(mg.ones(2))
    monkeypatch.setattr(drawing, "MOST", 5)
    x = mg.tensor(1.0, requires_grad=True)
    with pytest.raises(ArgumentError, match="draw_graph: 6 boxes, more than 5, make no picture"):
        mg.draw_graph(mg.sin(mg.sin(mg.sin(mg.sin(mg.sin(x))))))
