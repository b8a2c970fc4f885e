"""How many examples a test draws: a few, the same ones each time; in a nightly profile as many as it says, new ones."""

import os

from hypothesis import HealthCheck, settings

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
"""Whether numba.cuda is simulated, where every launch takes its time."""


def drawn(few: int) -> settings:
    """Settings for properties of ops: `pytest --hypothesis-profile=minigrad-nightly` draws 1000 of each."""
    few = min(few, 5) if SIMULATED else few
    nightly = settings.default.max_examples >= 1000
    return settings(
        max_examples=settings.default.max_examples if nightly else few,
        derandomize=not nightly,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
