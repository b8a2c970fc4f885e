"""What all tests share: the names that doctests may use, and threads that wait without burning the processor."""

import os
import sys
from collections.abc import Iterator
from typing import Any

# Read when OpenMP starts. Parallel test processes share the cores: a thread that spins at a barrier stops the others.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest

import minigrad as mg

collect_ignore = [
    "tests/oracles",  # imports PyTorch and ONNX; tests/test_oracles.py runs it where they are
    "tests/guard.py",  # a plugin, not for Windows
]


@pytest.fixture(scope="session")
def torch() -> object:
    """PyTorch, for tests that compare with it; without it they are skipped."""
    return pytest.importorskip("torch")


@pytest.fixture
def stub() -> Iterator[Any]:
    """NVIDIA's driver library without a GPU."""
    from tests import cuda_stub

    with cuda_stub.installed() as library:
        yield library


@pytest.fixture(autouse=True)
def _fresh(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace.update(mg=mg, nn=mg.nn, optim=mg.optim, np=np)
    mg.manual_seed(0)
    checks = sys.modules.get("minigrad.kernels.cuda.checks")
    if checks:
        checks.clear()  # what a test before left, which failed
