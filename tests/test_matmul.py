"""The matrix product of the CPU on both sides of its borders: tiny and large to BLAS, the rest in our own threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.kernels.cpu import linalg

SIDES = st.integers(1, 70)


@given(SIDES, SIDES, SIDES, st.sampled_from(["float32", "float64"]), st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_equals_float64(rows: int, inner: int, columns: int, dtype: str, transposed: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, inner)).astype(dtype)
    y = random.standard_normal((columns, inner)).astype(dtype).T if transposed else None
    y = random.standard_normal((inner, columns)).astype(dtype) if y is None else y
    exact = x.astype("float64") @ y.astype("float64")
    bound = np.abs(x).astype("float64") @ np.abs(y).astype("float64") * inner * np.finfo(dtype).eps
    result = linalg.matmul(x, y)
    assert result.dtype == x.dtype
    assert (np.abs(result - exact) <= bound).all()
    assert result.tobytes() == linalg.matmul(x, y).tobytes()


def test_the_middle_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    original = linalg.correlate
    monkeypatch.setattr(linalg, "correlate", lambda *args, **more: (taken.append(args[2]), original(*args, **more))[1])
    for side in (16, 64, 300):
        x = np.ones((side, side), np.float32)
        np.testing.assert_array_equal(linalg.matmul(x, x), np.full((side, side), side, np.float32))
    assert taken == [(1, 64)]


def test_nan_and_infinity_go_where_they_must() -> None:
    x, y = np.ones((40, 50), np.float32), np.ones((50, 60), np.float32)
    x[3, 7], y[9, 11] = np.nan, np.inf
    result = linalg.matmul(x, y)
    assert np.isnan(result[3]).all()
    assert np.isinf(np.delete(result[:, 11], 3)).all()
    assert np.isfinite(np.delete(np.delete(result, 3, 0), 11, 1)).all()
