"""All mutants, and processes that judge them."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.mutants import composites, controls, engine, kernels, rules, training
from tests.mutants.suite import Suite, Verdict

PARTS = (engine, rules, kernels, composites, training, controls)
MUTANTS = {mutant.name: mutant for part in PARTS for mutant in part.MUTANTS}
HARMLESS = {mutant.name for mutant in controls.MUTANTS}

_suite: Suite  # of a worker


def judged(names: Sequence[str], workers: int, seed: int | None = None) -> Iterator[Verdict]:
    """The verdicts on some mutants, in order, as they come in."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare, (names, seed)) as pool:
        yield from pool.map(_judge, names)


def is_right(verdict: Verdict) -> bool:
    """Whether a mistake was found, or what is none was not."""
    return bool(verdict.test) != (verdict.name in HARMLESS)


def _prepare(names: Sequence[str], seed: int | None) -> None:
    global _suite
    _suite = Suite([MUTANTS[name] for name in names], seed)


def _judge(name: str) -> Verdict:
    return _suite.judge(MUTANTS[name])
