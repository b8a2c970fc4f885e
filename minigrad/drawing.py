"""The graph of a tensor as a picture: data flows down, one row a layer, in SVG.

The layout is that of Sugiyama, Tagawa and Toda (1981): nodes go to layers, edges that cross layers get a bend in each,
layers are sorted to avoid crossings, and then every node is drawn towards its neighbours as far as there is room.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from minigrad import graph
from minigrad.errors import ArgumentError, GraphError, shape_text
from minigrad.graph import Node
from minigrad.tensor import Tensor

MOST = 1000
"""More boxes than that nobody can read."""

_CHARACTER, _LINE, _PADDING, _GAP, _RISE = 7.3, 16, 12, 24, 38  # the width of a character, and other sizes in pixels
_STYLE = """
.mg text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; text-anchor: middle; fill: #1c1917 }
.mg .shape { fill: #78716c }
.mg g rect { fill: #fff; stroke: #78716c }
.mg .leaf rect { fill: #ccfbf1; stroke: #0f766e }
.mg .constant rect { fill: #f0efed; stroke: #a8a29e }
.mg .result rect { stroke: #c2570c; stroke-width: 2px }
.mg path { fill: none; stroke: #a8a29e; stroke-width: 1.3px }
.mg marker path { fill: #a8a29e; stroke: none }
"""


class Svg(str):
    """The text of an SVG picture, which a notebook shows."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return self


@dataclass(eq=False)
class _Box:
    """A node, a constant that an op was given, or (without lines) a bend of a long edge."""

    kind: str
    lines: list[str] = field(default_factory=list)
    hint: str = ""
    above: list["_Box"] = field(default_factory=list)
    below: list["_Box"] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0

    @property
    def width(self) -> float:
        return max((len(line) for line in self.lines), default=0) * _CHARACTER + (2 * _PADDING if self.lines else 0)

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + (_PADDING if self.lines else 0)

    @property
    def leads(self) -> bool:
        """Whether others are placed around it: leaves follow what they are used by."""
        return self.kind not in ("leaf", "constant")

    def neighbours(self, down: bool) -> list["_Box"]:
        """The boxes to be near to when the layers are walked down (or up)."""
        boxes = (self.above if down else self.below) or self.above or self.below
        return [box for box in boxes if box.leads] or boxes


def draw_graph(tensor: Tensor, names: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = ()) -> Svg:
    """Draw how a tensor was computed, as the text of an SVG picture.

    A box is an op with the shape of its result; it says its options when it is pointed at. Leaves that gather a
    gradient are green, constants of more than one element grey. A backward gives up what tells most shapes, so draw
    before it.

    Parameters
    ----------
    tensor
        The result to draw; nothing is computed for it.
    names
        Names for tensors that the drawing may meet, e.g. `model.named_parameters()`.

    Raises
    ------
    GraphError
        If nothing was recorded.
    ArgumentError
        If there are more than 1000 boxes.

    Examples
    --------
    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> picture = mg.draw_graph((w * w).sum(), {"weights": w})
    >>> [name in picture for name in ("weights", "multiply", "sum", "(2,)")]
    [True, True, True, True]
    >>> from pathlib import Path
    >>> size = Path("graph.svg").write_text(picture, encoding="utf-8")  # doctest: +SKIP
    """
    if tensor._node is None:
        raise GraphError("draw_graph: nothing was recorded\nhint: set requires_grad=True on the leaves first")
    boxes = _boxes(tensor._node, dict(names))
    if len(boxes) > MOST:
        raise ArgumentError(f"draw_graph: {len(boxes)} boxes, more than {MOST}, make no picture\nhint: draw a part")
    layers = _layers(boxes)
    for step in range(8):
        _sort(layers, down=step % 2 == 0)
    for step in range(9):
        _place(layers, down=step % 2 == 0)
    return Svg(_svg(layers))


# ---- boxes -----------------------------------------------------------------------------------------------------------


def _boxes(root: Node, names: dict[str, Tensor]) -> list[_Box]:
    """All boxes with their edges, each below what it was computed from."""
    order = graph.ancestors([root])
    named = {x._node or id(x._array): name for name, x in names.items()}
    constants: dict[Node, list[_Box]] = {}
    for node in order:
        for parent, value in zip(node.parents, node.saved or (), strict=False):
            shape = () if parent is not None or value is None else value.shape
            if shape.count(1) < len(shape):
                box = _Box("constant", [named.get(id(value), "constant"), shape_text(shape)])
                constants.setdefault(node, []).append(box)
    found: dict[Node, _Box] = {}
    boxes: list[_Box] = []
    for node in order:
        lines = [name for name in (node.op.name if node.op else None, named.get(node)) if name] or ["leaf"]
        box = _Box("op" if node.op else "leaf", [*lines, shape_text(node.shape)])
        if node.op is not None and isinstance(getattr(node, "options", None), dict):
            box.hint = ", ".join(f"{name}={value!r}" for name, value in node.options.items())
        box.above = [*dict.fromkeys(found[parent] for parent in node.parents if parent is not None)]
        box.above += constants.get(node, [])
        boxes += [*constants.get(node, []), box]
        found[node] = box
    boxes[-1].kind = "result"
    for box in boxes:
        for other in box.above:
            other.below.append(box)
    return boxes


# ---- layout ----------------------------------------------------------------------------------------------------------


def _layers(boxes: Sequence[_Box]) -> list[list[_Box]]:
    """The boxes by layers, each right above its first use, with bends in the edges that cross layers."""
    for box in reversed(boxes):
        box.layer = min((other.layer for other in box.below), default=1) - 1
    top = min(box.layer for box in boxes)
    for box in boxes:
        box.layer -= top
    layers: list[list[_Box]] = [[] for _ in range(1 - top)]
    for box in boxes:
        layers[box.layer].append(box)
    for box in boxes:
        for k, other in enumerate(box.above):
            upper = other
            for layer in range(other.layer + 1, box.layer):
                bend = _Box("bend", above=[upper], layer=layer)
                upper.below = [bend if one is box else one for one in upper.below]
                bend.below = [box]
                layers[layer].append(bend)
                upper = bend
            box.above[k] = upper
    return layers


def _sort(layers: Sequence[list[_Box]], down: bool) -> None:
    """Sort each layer by the mean position of its neighbours in the layer before."""
    for layer in layers:
        for i, box in enumerate(layer):
            box.x = i
    for layer in layers if down else reversed(layers):
        for box in layer:
            near = box.neighbours(down)
            box.x = sum(other.x for other in near) / len(near) if near else box.x
        layer.sort(key=lambda box: box.x)
        for i, box in enumerate(layer):
            box.x = i


def _place(layers: Sequence[list[_Box]], down: bool) -> None:
    """Move each box of a layer towards the middle of its neighbours, as near as the others let it: least squares."""
    for layer in layers if down else reversed(layers):
        offsets, place = [], 0.0
        for box in layer:
            offsets.append(place + box.width / 2)
            place += box.width + _GAP
        groups: list[tuple[float, float, int]] = []  # rows of boxes that touch: their mean wish, its weight, how many
        for box, offset in zip(layer, offsets, strict=True):
            near = box.neighbours(down)
            wish = sum(other.x for other in near) / len(near) if near else box.x
            mean, weight, count = wish - offset, (1.0 if box.leads else 1e-3), 1
            while groups and groups[-1][0] > mean:
                before, heft, number = groups.pop()
                mean = (before * heft + mean * weight) / (heft + weight)
                weight, count = heft + weight, number + count
            groups.append((mean, weight, count))
        starts = [mean for mean, _, count in groups for _ in range(count)]
        for box, offset, start in zip(layer, offsets, starts, strict=True):
            box.x = start + offset


# ---- SVG -------------------------------------------------------------------------------------------------------------


def _svg(layers: Sequence[Sequence[_Box]]) -> str:
    left = min(box.x - box.width / 2 for layer in layers for box in layer) - _GAP
    right = max(box.x + box.width / 2 for layer in layers for box in layer) + _GAP
    middles, y = [], float(_GAP)
    for layer in layers:
        height = max(box.height for box in layer)
        middles.append(y + height / 2)
        y += height + _RISE
    width, height = right - left, y - _RISE + _GAP
    edges, shapes = [], []
    for layer in layers:
        for box in layer:
            edges += [_edge(other, box, middles) for other in box.above]
            if box.lines:
                shapes.append(_shape(box, middles[box.layer]))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.1f} 0 {width:.1f} {height:.1f}" '
            f'width="{width:.0f}" height="{height:.0f}" class="mg" role="img" aria-label="computation graph">',
            f"<style>{_STYLE}</style>",
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z"/></marker>',
            f'<rect x="{left:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#fff"/>',
            *edges,
            *shapes,
            "</svg>",
        ]
    )


def _edge(upper: _Box, lower: _Box, middles: Sequence[float]) -> str:
    top, bottom = middles[upper.layer] + upper.height / 2, middles[lower.layer] - lower.height / 2
    bend = (top + bottom) / 2
    tip = ' marker-end="url(#tip)"' if lower.lines else ""
    curve = f"M{upper.x:.1f} {top:.1f}C{upper.x:.1f} {bend:.1f} {lower.x:.1f} {bend:.1f} {lower.x:.1f} {bottom:.1f}"
    return f'<path d="{curve}"{tip}/>'


def _shape(box: _Box, middle: float) -> str:
    x, y = box.x - box.width / 2, middle - box.height / 2
    parts = [f'<rect rx="7" x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"/>']
    for i, line in enumerate(box.lines):
        kind = ' class="shape"' if line.startswith("(") else ""
        baseline = y + _PADDING / 2 + (i + 0.75) * _LINE
        parts.append(f'<text x="{box.x:.1f}" y="{baseline:.1f}"{kind}>{_text(line)}</text>')
    title = f"<title>{_text(box.hint)}</title>" if box.hint else ""
    return f'<g class="{box.kind}">{title}{"".join(parts)}</g>'


def _text(line: str) -> str:
    """Any text as the text of an XML element; what XML cannot hold becomes a question mark in a diamond."""
    return escape("".join(character if character.isprintable() else "\ufffd" for character in line))
