"""The report of a trained scene classifier: one HTML page that needs nothing beside it.

Names and numbers are HTML, to be read, searched, copied and spoken; matplotlib draws the learning curves;
every picture sits in the page as PNG.
"""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from minigrad.errors import ShapeError, shape_text
from minigrad.io.atomic import atomic_write

_RIGHT, _WRONG, _GREY = "#0f766e", "#c2570c", "#78716c"

_CHART_STYLE = {
    "axes.edgecolor": _GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#e7e5e4",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}
_LINES: dict[str, dict[str, Any]] = {
    "test": {"color": _RIGHT},
    "training": {"color": _WRONG, "markerfacecolor": "white"},
    "linear classifier": {"color": _GREY, "linestyle": "-.", "linewidth": 1},
    "chance": {"color": _GREY, "linestyle": ":", "linewidth": 1},
}

_HEADLINE = {"This network": "test_accuracy", "Linear classifier": "linear_accuracy", "Chance": "chance"}

_CSS = """
* { box-sizing: border-box; margin: 0; padding: 0 }
body { background: #faf9f7; color: #1c1917; font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
main { max-width: 1240px; margin: auto; padding: clamp(.75rem, 3vw, 2.5rem) }
header, section { background: #fff; border: 1px solid #e7e5e4; border-radius: 14px; margin-bottom: 1.25rem;
  padding: clamp(1rem, 2.5vw, 2rem) }
h1 { font-size: 1.1rem }
h2 { font-size: 1.3rem; margin-bottom: .75rem }
h3, caption { font-size: 1rem; font-weight: 600; text-align: left; margin-bottom: .5rem }
p, dt, th { color: #57534e }
section > p { max-width: 75ch; margin-bottom: 1.25rem }
ul { list-style: none }
img { display: block; width: 100% }
.pair { display: grid; gap: 1.5rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)) }
.big { color: var(--right); font-size: clamp(3.5rem, 9vw, 5.5rem); font-weight: 700; line-height: 1.15 }
.bars { align-self: center; display: grid; gap: .9rem }
.bars div { --bar: #a8a29e; display: grid; grid-template-columns: 1fr auto }
.bars div:first-child { --bar: var(--right) }
.bars div::after { content: ""; grid-column: 1 / -1; height: 10px; border-radius: 5px;
  background: linear-gradient(90deg, var(--bar) var(--share), #f0efed 0) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th { font-weight: 400; text-align: left }
.matrix { font-size: .75rem; line-height: 1.3; width: 100% }
.matrix th { max-width: 8rem; max-height: 8rem; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap }
.matrix [scope=col] { writing-mode: vertical-rl; transform: rotate(180deg); padding: .4rem 0 }
.matrix [scope=row] { position: sticky; left: 0; background: #fff; padding: 0 .5rem; text-align: right }
.matrix tbody td { min-width: 1.7rem; height: 1.7rem; border: 1px solid #e7e5e4; text-align: center }
.tiles { display: grid; gap: 1.25rem 1rem; grid-template-columns: repeat(5, 1fr) }
.filters { max-width: 36rem }
.filters img { border: 1px solid #e7e5e4; image-rendering: pixelated }
.hardest img { aspect-ratio: 1; object-fit: contain; background: #f5f5f4; border-radius: 8px }
.hardest dl { font-size: .85rem; display: grid; gap: 0 .6rem; grid-template-columns: auto 1fr;
  margin-top: .5rem }
.hardest p { font-size: .75rem }
.right { color: var(--right) }
.wrong { color: var(--wrong) }
.facts { columns: 18rem; column-gap: 2.5rem }
.facts div { display: flex; gap: 1rem; padding: .3rem 0; border-top: 1px solid #e7e5e4; break-inside: avoid }
.facts dt { min-width: 6rem; flex-grow: 1 }
.facts dd { text-align: right }
@media (max-width: 640px) { .hardest { grid-template-columns: 1fr 1fr } }
@media print {
  html { font-size: 68% }
  body { background: #fff; -webkit-print-color-adjust: exact; print-color-adjust: exact }
  header, section { border: 0; padding: 0 }
  header, p, ul, .pair { break-inside: avoid }
  h2, section > p { break-after: avoid }
  .scroll { overflow: visible }
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{headline}{sections}</main>
</body>
</html>
"""


class Hard(NamedTuple):
    """A test picture of high loss: `image` is uint8 (h w), `label` its true class, `name` its file."""

    image: np.ndarray
    label: str
    predicted: str
    loss: float
    name: str


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    confusion: np.ndarray,
    classes: Sequence[str],
    filters: np.ndarray | None,
    hardest: Sequence[Hard],
) -> None:
    """Write the report of a trained classifier as one HTML page, whole or not at all.

    The same arguments give the same bytes while matplotlib and Pillow stay the same.

    Parameters
    ----------
    path
        The page to write or replace.
    title
        What was trained on what.
    metrics
        Facts of the run, shown in this order. `test_accuracy`, `linear_accuracy` and `chance`, in 0 to 1,
        also make the headline. None and NaN mean not measured.
    history
        One mapping an epoch, with any of `epoch`, `train_loss`, `train_accuracy` and `test_accuracy`.
    confusion
        Counts (k k), a row for each true class and a column for each predicted one.
    classes
        The k names.
    filters
        First-layer weights (n kh kw), or None.
    hardest
        The pictures to show, the highest loss first.

    Raises
    ------
    ShapeError
        If `confusion` is not (k k).
    DataError
        If the page cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(f"{folder}/report.html", title="Coast or forest", metrics={"test_accuracy": 0.9},
    ...                  history=[], confusion=np.array([[9, 1], [1, 9]]), classes=("Coast", "Forest"),
    ...                  filters=None, hardest=[])
    ...     os.listdir(folder)
    ['report.html']
    """
    if confusion.shape != (len(classes), len(classes)):
        raise ShapeError(
            f"write_report: confusion needs a row and a column for each of the {len(classes)} classes, "
            f"its shape is {shape_text(confusion.shape)}"
        )
    sections = {
        "Learning curves": _curves(metrics, history),
        "Confusion matrix": _confusion(confusion, classes),
        "First-layer filters": _filters(filters),
        "Pictures of the highest loss": _hardest(hardest),
        "The run": _facts(metrics),
    }
    page = _PAGE.format(
        title=escape(title),
        style=f":root {{ color-scheme: light; --right: {_RIGHT}; --wrong: {_WRONG} }}{_CSS}",
        headline=_headline(title, metrics),
        sections="".join(f"<section>\n<h2>{name}</h2>\n{body}</section>\n" for name, body in sections.items()),
    )
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))  # a file name may hold what is no text


def _headline(title: str, metrics: Mapping[str, Any]) -> str:
    bars = ""
    for label, key in _HEADLINE.items():
        value = metrics.get(key)
        share = np.clip(np.nan_to_num(_number(value)), 0, 1)
        bars += f'<div style="--share:{share:.1%}"><dt>{label}</dt><dd>{_fact(key, value)}</dd></div>\n'
    return (
        f'<header class="pair">\n<div>\n<h1>{escape(title)}</h1>\n'
        f'<p class="big">{_fact("test_accuracy", metrics.get("test_accuracy"))}</p>\n'
        "<p>test pictures classified correctly</p>\n</div>\n"
        f'<dl class="bars">\n{bars}</dl>\n</header>\n'
    )


def _curves(metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    epochs, loss, train, test = (
        np.array([_number(epoch.get(key)) for epoch in history])
        for key in ("epoch", "train_loss", "train_accuracy", "test_accuracy")
    )
    epochs = np.where(np.isnan(epochs), np.arange(1, len(history) + 1), epochs)
    levels = {"linear classifier": metrics.get("linear_accuracy"), "chance": metrics.get("chance")}
    charts = (
        _chart("Loss", epochs, {"training": loss}, {}, percent=False),
        _chart("Accuracy", epochs, {"test": test, "training": train}, levels, percent=True),
    )
    return f'<div class="pair">\n{"".join(charts)}</div>\n'


def _chart(
    name: str, epochs: np.ndarray, curves: dict[str, np.ndarray], levels: dict[str, Any], *, percent: bool
) -> str:
    """Draw curves over the epochs, through their finite values, and levels to compare them with."""
    curves = {label: values for label, values in curves.items() if np.isfinite(values).any()}
    if not curves:
        return f"<div>\n<h3>{name}</h3>\n<p>not measured</p>\n</div>\n"
    png = io.BytesIO()
    with matplotlib.style.context(["default", _CHART_STYLE]):
        figure = Figure(figsize=(4.8, 3), layout="constrained")
        axes = figure.add_subplot(xlabel="epoch")
        for label, values in curves.items():
            known = np.isfinite(values)
            axes.plot(epochs[known], values[known], marker="o", markersize=3.5, label=label, **_LINES[label])
        for label, level in levels.items():
            if np.isfinite(_number(level)):
                axes.axhline(level, label=label, **_LINES[label])
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    form = "{:.1%}" if percent else "{:.2f}"
    ends = {label: values[np.isfinite(values)][[0, -1]] for label, values in curves.items()}
    spans = (f"{label} from {form.format(first)} to {form.format(last)}" for label, (first, last) in ends.items())
    picture = _img(png.getvalue(), f"{name} by epoch: {', '.join(spans)}")
    return f"<div>\n<h3>{name}</h3>\n{picture}\n</div>\n"


def _confusion(confusion: np.ndarray, classes: Sequence[str]) -> str:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    errors = confusion * ~np.eye(len(classes), dtype=bool)
    worst = [divmod(int(i), len(classes)) for i in np.argsort(errors, axis=None, kind="stable")[:-4:-1]]
    mistakes = "; ".join(
        f"{escape(classes[true])} taken for {escape(classes[predicted])} ({errors[true, predicted]})"
        for true, predicted in worst
        if errors[true, predicted]
    )
    return (
        "<p>A row for each true class, a column for each predicted one; right answers are green, mistakes "
        f"orange, empty cells zero. The most frequent mistakes: {mistakes or 'none'}.</p>\n"
        f'<div class="pair">\n{_matrix("Pictures", confusion, confusion / confusion.max(initial=1), classes)}'
        f"{_matrix('Percent of the true class', 100 * shares, shares, classes)}</div>\n"
    )


def _matrix(caption: str, values: np.ndarray, shades: np.ndarray, classes: Sequence[str]) -> str:
    """Lay out a matrix (k k) whose cells are as dark as `shades`, in 0 to 1, says."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    rows = ""
    for i, name in enumerate(classes):
        cells = "".join(_cell(values[i, j], shades[i, j], _RIGHT if i == j else _WRONG) for j in range(len(classes)))
        rows += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>\n'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">\n<table class="matrix">\n'
        f"<caption>{caption}</caption>\n<thead><tr><td></td>{head}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )


def _cell(value: float, shade: float, colour: str) -> str:
    opacity = round(180 * shade)  # of 255: dark text stays readable on the darkest cell
    return f'<td style="background:{colour}{opacity:02x}">{value:.0f}</td>' if value else "<td></td>"


def _filters(filters: np.ndarray | None) -> str:
    if filters is None:
        return "<p>not available</p>\n"
    weights = np.nan_to_num(filters)
    grey = 127.5 + 127.5 * (weights / (np.abs(weights).max(initial=0) or 1))
    tiles = "".join(
        f"<li>{_img(_png(image), f'Filter {i}: weights from {w.min():.2g} to {w.max():.2g}')}</li>\n"
        for i, (w, image) in enumerate(zip(weights, grey.astype(np.uint8), strict=True), 1)
    )
    return (
        "<p>A filter answers most to a patch that looks like it: light weights are positive, dark ones "
        f'negative, mid-grey is zero, on one scale for all.</p>\n<ul class="tiles filters">\n{tiles}</ul>\n'
    )


def _hardest(hardest: Sequence[Hard]) -> str:
    if not hardest:
        return "<p>not available</p>\n"
    return f'<ul class="tiles hardest">\n{"".join(map(_card, hardest))}</ul>\n'


def _card(hard: Hard) -> str:
    verdict = "right" if hard.predicted == hard.label else "wrong"
    return (
        f"<li>{_img(_png(hard.image), f'{hard.label}, taken for {hard.predicted}')}\n"
        f"<dl><dt>true</dt><dd>{escape(hard.label)}</dd>"
        f'<dt>predicted</dt><dd class="{verdict}">{escape(hard.predicted)}</dd>'
        f"<dt>loss</dt><dd>{hard.loss:.2f}</dd></dl>\n<p>{escape(hard.name)}</p></li>\n"
    )


def _facts(metrics: Mapping[str, Any]) -> str:
    facts = "".join(
        f"<div><dt>{escape(key.replace('_', ' '))}</dt><dd>{_fact(key, value)}</dd></div>\n"
        for key, value in metrics.items()
    )
    return f'<dl class="facts">\n{facts}</dl>\n'


def _fact(key: str, value: Any) -> str:
    """Write a metric: accuracies in percent, other fractions to four digits, all else as it is."""
    if not isinstance(value, Real):
        return "not measured" if value is None else escape(str(value))
    if value != value:  # NaN
        return "not measured"
    if key == "chance" or key.endswith("accuracy"):
        return f"{float(value):.1%}"
    if key == "parameters":
        return f"{value:,}"
    return str(value) if isinstance(value, Integral) else f"{float(value):,.4g}"


def _number(value: Any) -> float:
    """Make what is no number NaN."""
    return float(value) if isinstance(value, Real) else np.nan


def _png(image: np.ndarray) -> bytes:
    """Encode a uint8 image (h w), or a smaller copy: more pixels than a card shows make the page heavy."""
    picture, png = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((256, 256))
    picture.save(png, format="PNG")
    return png.getvalue()


def _img(png: bytes, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
