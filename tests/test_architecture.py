"""The line of layers: every room imports only what stands to its left."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LINE = [
    {"errors"},
    {"dtypes", "tree"},
    {"kernels"},
    {"graph", "runtime", "cuda"},
    {"ops"},
    {"tensor"},
    {"creation"},
    {"random", "nonfinite"},
    {"transforms", "recompute", "drawing"},
    {"nn", "optim", "data", "io"},
    {"warmup", "doctor"},
    {"testing"},
    {"__main__"},
    {"demos"},
]
RANK = {room: rank for rank, rooms in enumerate(LINE) for room in rooms}

OUTSIDE = {  # who may import what does not come with Python
    "numba": ("minigrad/kernels/cpu/", "minigrad/kernels/cuda/"),
    "PIL": ("minigrad/data/", "demos/"),
    "hypothesis": ("minigrad/testing/",),
    "matplotlib": ("demos/",),
    "tqdm": ("minigrad/warmup.py", "demos/"),
}

SOURCES = [path for folder in ("minigrad", "demos") for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all imports in a file, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str | None:
    """The room of a dotted name or of a file: the first part below minigrad, or demos."""
    parts = name.split(".")
    if parts[0] == "demos":
        return "demos"
    return parts[1] if parts[0] == "minigrad" and len(parts) > 1 and parts[1] in RANK else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_left(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own is None:
        assert path == ROOT / "minigrad/__init__.py", f"{path} stands in no room"
        return
    for name in imports(path):
        if name.split(".")[0] not in ("minigrad", "demos") or own == "demos":
            continue
        other = room(name)
        assert other is not None, f"{path.name} imports {name}: the namespace as a whole is for users"
        assert other == own or RANK[other] < RANK[own], f"{own} imports {name}, which stands to its right"


@pytest.mark.parametrize("package", OUTSIDE)
def test_dependencies_stay_in_their_rooms(package: str) -> None:
    for path in SOURCES:
        where = path.relative_to(ROOT).as_posix()
        if any(name.split(".")[0] == package for name in imports(path)):
            assert where.startswith(OUTSIDE[package]), f"{where} imports {package}"


def test_import_is_light() -> None:
    code = (
        "import sys, minigrad; print(*[m for m in ('numba', 'PIL', 'matplotlib', 'minigrad.nn') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert loaded.split() == []


def test_everything_exported_is_there() -> None:
    import minigrad

    for name in dir(minigrad):
        assert getattr(minigrad, name) is not None or name == "newaxis"
