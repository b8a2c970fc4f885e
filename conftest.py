"""Names that every doctest may use."""

import numpy as np
import pytest

import minigrad as mg


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace.update(mg=mg, nn=mg.nn, optim=mg.optim, np=np)
    mg.manual_seed(0)
