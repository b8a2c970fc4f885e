"""The documents keep their word: code runs, links lead somewhere, commands exist."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from minigrad.ops import elementwise, samples

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.S)


def test_the_taste_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("README.md")
    assert len(code.splitlines()) <= 25
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.fullmatch(r"(epoch \d: loss \d\.\d\d\n)+tensor\(\[12\.\]\)\n", printed)
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", printed)]
    assert losses[-1] < 2.2 < 2.6 < losses[0], "it learns"


def test_the_error_in_the_readme_is_the_real_one() -> None:
    with pytest.raises(mg.MinigradError) as caught:
        mg.conv2d(mg.zeros((8, 3, 32, 32)), mg.zeros((16, 4, 3, 3)))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(line in readme for line in str(caught.value).splitlines())


def test_the_op_in_contributing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from minigrad.kernels.cpu import generic
    from minigrad.ops.kinds import REGISTRY
    from minigrad.testing import check_grads

    (code,) = blocks("CONTRIBUTING.md")
    monkeypatch.setitem(generic.KERNELS, "atan", generic._kernel(np.arctan, "atan"))
    names = {**vars(samples), **vars(elementwise)}
    try:
        exec(compile(code, "CONTRIBUTING.md", "exec"), names)
        check_grads(names["atan"], mg.tensor([0.3, -2.0], dtype="float64"))
    finally:
        REGISTRY.pop("atan", None)


def test_the_page_on_differentiation_runs() -> None:
    session = "\n".join(blocks("docs/differentiation.md"))
    examples = doctest.DocTestParser().get_doctest(session, {}, "differentiation", None, 0)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed == 0


TESTING = blocks("docs/testing.md")


@pytest.mark.parametrize("code", TESTING, ids=lambda code: code.split("\n")[0].removeprefix("# "))
def test_the_files_about_testing_pass(code: str, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(code, "docs/testing.md", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def wrong_report(folder: Path) -> str:
    """What pytest says of the wrong gradient that docs/testing.md shows."""
    code = next(code for code in TESTING if "energy" in code).replace("force[:-1] -=", "force[:-1] +=")
    (folder / "test_my_numpy.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_numpy.py", "-k", "energy"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    lines = [line.removeprefix("E       ") for line in done.stdout.splitlines() if line.startswith("E ")]
    return "\n".join(lines).removeprefix("minigrad.testing.report.CheckError: ")


def test_the_report_of_a_wrong_gradient_is_the_real_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs/testing.md").read_text(encoding="utf-8"), re.S)
    same = lambda text: re.sub(r"[▁▂▃▄▅▆▇█]+|\d\.\d+e?-?\d*", "#", text)  # last digits differ between machines
    assert same(shown.strip()) == same(wrong_report(tmp_path))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_left_to_fill_in(document: Path) -> None:
    assert not re.search(r"\b[A-Z]+_TABLE\b|TODO|TBD", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_and_targets_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ((?:demos|benchmarks)[.\w]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{document.name}: {module}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^ +make (\w+)", text, re.M):
        assert f"\n{target}:" in makefile, f"{document.name}: make {target}"
