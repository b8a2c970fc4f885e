"""What was measured, as a table, a JSON file and a picture."""

import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

Result = dict[str, Any]

OURS_AHEAD, TORCH_AHEAD, LINE = "#2a7f62", "#c8553d", "#222222"


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the mean of ratios in which a half and a double cancel."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))


def losses(results: Iterable[Result]) -> list[Result]:
    """Return the rows in which PyTorch is faster, the worst first."""
    return sorted((r for r in results if r["ratio"] and r["ratio"] < 1), key=lambda r: r["ratio"])


def by_suite(results: Iterable[Result]) -> Iterator[tuple[str, int, list[Result]]]:
    """Group the rows of a suite at a number of threads, which stand together."""
    for (suite, threads), group in groupby(results, lambda r: (r["suite"], r["threads"])):
        yield suite, threads, list(group)


def machine() -> dict[str, str]:
    """Return what the times depend on: the machine and the versions."""
    found = {"cpu": _cpu_name(), "cores": str(os.cpu_count()), "system": platform.platform(terse=True)}
    for package in ("python", "minigrad", "torch", "numpy", "numba"):
        try:
            found[package] = platform.python_version() if package == "python" else metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# ---- the table -------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> str:
    """Return all rows as text, a block a suite and thread count, and then the losses once more."""
    width = max(len(r["name"]) for r in results)
    lines = [", ".join(f"{key} {value}" for key, value in machine().items())]
    for suite, threads, group in by_suite(results):
        title = f"{suite}, {_threads(threads)}"
        lines += ["", f"{title:<{width}}       ours ms   torch ms   ratio      faults a call  graph  torch's layout"]
        lines += [_line(r, width) for r in group]
        lines += [f"  {_summary(group)}"] if group[0]["ratio"] else []
    behind = losses(results)
    if behind:
        lines += ["", f"PyTorch is faster in {len(behind)} of {len(results)} rows:"]
        lines += [f"  {_ratio(r['ratio']):>5}  {r['suite']}, {_threads(r['threads'])}: {r['name']}" for r in behind]
    if any(r["busy"] for r in results):
        lines += ["", "busy: other programs took the cores away meanwhile; measure these rows again"]
    return "\n".join(lines)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _line(r: Result, width: int) -> str:
    graph = "yes" if r["recorded"] else "no"
    if r["ratio"]:
        cells = f"{_ms(r['torch_ms'])}  {_ratio(r['ratio']):>6}{'  ' if r['ratio'] >= 1 else ' <'}"
        faults, layout = f"{r['ours_faults']:9.5g} / {r['torch_faults']:<8.5g}", r["torch_layout"]
    else:
        cells, faults, layout = f"{'-':>9}  {'-':>6}  ", f"{r['ours_faults']:9.5g} / -       ", "-"
    line = f"  {r['name']:<{width}} {_ms(r['ours_ms'])}  {cells}  {faults}  {graph:<5}  {layout}{'  busy' * r['busy']}"
    memory = [f"{side} {r[f'{side}_memory'] / 2**20:.0f} MiB" for side in ("ours", "torch") if r[f"{side}_memory"]]
    notes = [f"memory: {', '.join(memory)}"] if memory else []
    notes += [f"{peer}: {ms:.4g} ms, {ms / r['ours_ms']:.3g} times ours" for peer, ms in r["peers"].items()]
    return "\n".join([line, *(f"  {'':<{width}}     {note}" for note in notes)])


def _ms(ms: float) -> str:
    return f"{ms:9.4f}" if ms < 100 else f"{ms:9.1f}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def _summary(group: Sequence[Result]) -> str:
    worst = min(group, key=lambda r: r["ratio"])
    mean = geometric_mean(r["ratio"] for r in group)
    behind = len(losses(group))
    return (
        f"geometric mean {mean:.2f} over {len(group)} rows, {len(group) - behind} ahead and {behind} behind; "
        f"lowest {_ratio(worst['ratio'])} ({worst['name']})"
    )


# ---- files -----------------------------------------------------------------------------------------------------------


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Write the machine and the rows."""
    path.write_text(json.dumps({"machine": machine(), "rows": results}, indent=2) + "\n", encoding="utf-8")


def write_png(path: Path, results: Sequence[Result]) -> None:
    """Draw a bar a row, from the line at 1 to the ratio on a logarithmic axis; without ratios nothing is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups: dict[str, dict[str, dict[int, float]]] = {}
    for r in results:
        if r["ratio"]:
            groups.setdefault(r["suite"], {}).setdefault(r["name"], {})[r["threads"]] = r["ratio"]
    if not groups:
        return
    columns = _columns({suite: len(rows) + 3 for suite, rows in groups.items()})
    height = max(sum(len(groups[suite]) + 3 for suite in column) for column in columns)
    figure = Figure(figsize=(6.4 * len(columns), 0.155 * height + 0.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [ratio for rows in groups.values() for row in rows.values() for ratio in row.values()]
    limits = min(0.5, min(ratios) / 1.2), max(2.0, max(ratios) * 1.2)
    for part, column in zip(figure.subfigures(1, len(columns), squeeze=False)[0], columns, strict=True):
        spare = height - sum(len(groups[suite]) + 3 for suite in column)
        sizes = [len(groups[suite]) + 3 for suite in column] + ([spare] if spare else [])
        axes = part.subplots(len(sizes), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})[:, 0]
        for axis, suite in zip(axes, column, strict=False):
            _draw_suite(axis, suite, groups[suite], limits)
        for axis in axes[len(column) :]:
            axis.set_axis_off()
    threads = sorted({r["threads"] for r in results})
    pale = f"; pale: {_threads(threads[0])}, full: {_threads(threads[-1])}" if len(threads) > 1 else ""
    figure.suptitle(f"PyTorch's time / minigrad's. Green: minigrad is faster, red: PyTorch is{pale}", fontsize=11)
    figure.savefig(path)


def _columns(heights: dict[str, int]) -> list[list[str]]:
    """Split suites into columns of about equal height, in order."""
    count = min(3, len(heights))
    columns: list[list[str]] = [[] for _ in range(count)]
    filled = 0.0
    for suite, height in heights.items():
        middle = (filled + height / 2) / sum(heights.values())
        columns[min(count - 1, int(middle * count))].append(suite)
        filled += height
    return [column for column in columns if column]


def _draw_suite(axis: Any, suite: str, rows: dict[str, dict[int, float]], limits: tuple[float, float]) -> None:
    threads = sorted({count for row in rows.values() for count in row})
    for place, row in enumerate(rows.values()):
        for turn, count in enumerate(threads):
            if count not in row:
                continue
            ratio = row[count]
            strength = 0.55 if count == threads[0] and len(threads) > 1 else 1.0
            axis.barh(
                place + (turn - (len(threads) - 1) / 2) * 0.8 / len(threads),
                ratio - 1,
                height=0.8 / len(threads),
                left=1,
                color=OURS_AHEAD if ratio >= 1 else TORCH_AHEAD,
                alpha=strength,
            )
    means = [geometric_mean(row[count] for row in rows.values() if count in row) for count in threads]
    axis.set_title(f"{suite}: geometric mean {' and '.join(f'{mean:.2f}' for mean in means)}", fontsize=9, loc="left")
    axis.set_xscale("log")
    axis.set_xlim(*limits)
    ticks = [tick for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64) if limits[0] <= tick <= limits[1]]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
    axis.minorticks_off()
    axis.set_yticks(range(len(rows)), list(rows), fontsize=6.5)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.axvline(1, color=LINE, linewidth=1)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(length=0)
