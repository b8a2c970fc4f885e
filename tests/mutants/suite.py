"""Running tests of the project one by one, with a mistake and without."""

import contextlib
import functools
import io
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import Phase, settings
from hypothesis.errors import UnsatisfiedAssumption

import minigrad as mg
from minigrad.testing import CheckError
from tests.mutants.plant import Mutant, planted

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Verdict:
    """Which test found a mutant (""; none), after how many examples if Hypothesis drew them, and what it said."""

    name: str
    test: str
    examples: int
    complaint: str
    seconds: float


class Suite:
    """The tests of some mutants.

    Hypothesis draws the same examples every time, those of the suite or (by a seed) others, and stops at the first that
    fails.
    """

    def __init__(self, mutants: Sequence[Mutant], seed: int | None = None) -> None:
        self.seed = seed
        settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), database=None, derandomize=True)
        settings.load_profile("mutants")  # for the modules that are imported now
        named = {re.match(r"\w+", reference)[0] for one in mutants for reference in one.tests}
        files = [str(TESTS / f"{name}.py") for name in sorted(named)]
        options, printed = ("--collect-only", "-q", "--assert=plain", "-p", "no:cacheprovider"), io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = pytest.main([*options, *files], plugins=[self])
        assert status == 0, printed.getvalue()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep what pytest found."""
        self.items: list[Any] = session.items

    def judge(self, mutant: Mutant) -> Verdict:
        """Run the tests of a mutant until one fails, and see that this one passes without it."""
        start = time.perf_counter()
        for item in (item for reference in mutant.tests for item in self.meant(reference)):
            with planted(mutant):
                examples, complaint = run(item, self.seed)
            if complaint:
                _, without = run(item, self.seed)
                assert not without, f"{mutant.name}: {item.nodeid} fails without it, too: {without}"
                return Verdict(mutant.name, item.nodeid, examples, complaint, time.perf_counter() - start)
        return Verdict(mutant.name, "", 0, "", time.perf_counter() - start)

    def meant(self, reference: str) -> list[Any]:
        """The tests that a mutant names, in the order of their file."""
        name, _, parameter = reference.removesuffix("]").partition("[")
        module, _, function = name.partition("::")
        pattern = rf"tests/{module}\.py::" + (function or r"\w+")
        pattern += rf".*[\[-]{parameter}[\](-]" if parameter else r"(\[|$)"
        found = [item for item in self.items if re.match(pattern, item.nodeid)]
        assert found, f"there is no test {reference}"
        return found


def run(item: Any, seed: int | None = None) -> tuple[int, str]:
    """The number of examples until the first failure, or of all, and what the failure said ("" if there is none)."""
    mg.manual_seed(0)
    if seed is not None and hasattr(item.obj, "hypothesis"):
        hypothesis.seed(seed)(getattr(item.obj, "__func__", item.obj))
    parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    if "device" in item.fixturenames:
        parameters["device"] = "cpu"
    with warnings.catch_warnings(), counted(item.obj) as count:
        warnings.simplefilter("error")
        try:
            item.obj(**parameters)
        except pytest.skip.Exception:
            pass
        except (Exception, pytest.fail.Exception) as error:
            said = error.report.problems[0] if isinstance(error, CheckError) else " ".join(str(error).split())
            return count["examples"], f"{type(error).__name__}: {said}"
    return count["examples"], ""


@contextlib.contextmanager
def counted(test: Callable[..., Any]) -> Iterator[dict[str, int]]:
    """Count the examples that Hypothesis gives to a test, up to the first that fails."""
    count, failed = {"examples": 0}, False
    if not hasattr(test, "hypothesis"):
        yield count
        return
    inner = test.hypothesis.inner_test

    @functools.wraps(inner)
    def counting(*args: Any, **kwargs: Any) -> None:
        nonlocal failed
        count["examples"] += not failed
        try:
            inner(*args, **kwargs)
        except UnsatisfiedAssumption:
            raise
        except Exception:
            failed = True
            raise

    test.hypothesis.inner_test = counting
    try:
        yield count
    finally:
        test.hypothesis.inner_test = inner
