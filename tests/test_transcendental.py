"""The exponential and its relatives for tiles: how far from the true values, and what becomes of special ones."""

import math

import numba
import numpy as np
import pytest

from minigrad.kernels.cpu import transcendental
from minigrad.kernels.cpu.simd import load_first, store_first, width


def _by_tiles(function):
    @numba.njit(error_model="numpy")
    def fill(out, x):
        for i in range(0, len(x), width(x)):
            store_first(out, i, len(x) - i, function(load_first(x, i, len(x) - i, 0)))

    def call(x):
        out = np.empty_like(x)
        fill(out, x)
        return out

    return call


exp, expm1, log1p, erf, erfc, tanh = [
    _by_tiles(getattr(transcendental, name)) for name in ("exp", "expm1", "log1p", "erf", "erfc", "tanh")
]


def units(result, exact):
    """The largest error, in units in the last place of the result's dtype."""
    rounded = exact.astype(result.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(result[~finite], rounded[~finite])
    exact, result, rounded = exact[finite], result[finite], rounded[finite]
    return (np.abs(result - exact) / np.spacing(np.abs(rounded)).astype(exact.dtype)).max()


def spread(low, high, dtype):
    """Numbers all over an interval of one sign, the smallest too."""
    ends = sorted([abs(low), abs(high)])
    sizes = np.geomspace(max(ends[0], float(np.finfo(dtype).smallest_subnormal)), ends[1], 50_000)
    return np.concatenate([np.linspace(low, high, 50_001), np.copysign(sizes, high + low)]).astype(dtype)


@pytest.mark.parametrize("offset", range(3))
def test_exp_is_within_two_units_in_the_last_place(offset):
    everywhere = np.arange(offset, 2**31, 1009, dtype=np.uint32).view(np.float32)
    everywhere = everywhere[~np.isnan(everywhere)]
    x = np.concatenate([everywhere, -everywhere, np.linspace(-104, 89, 300_001 + offset, dtype=np.float32)])
    with np.errstate(over="ignore", under="ignore"):
        assert units(exp(x), np.exp(x.astype(np.float64))) < 1.1


def test_exp_of_float64_is_within_two_units_in_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(-745.1, 709.7, 300_001), rng.uniform(-2, 2, 100_000), [-745.13, 709.78]])
    assert units(exp(x), np.exp(x.astype(np.longdouble))) < 1.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expm1_of_what_is_not_positive(dtype):
    x = spread(-750.0, 0.0, dtype)
    assert units(expm1(x), np.expm1(x.astype(np.longdouble))) < 1.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log1p_between_0_and_1(dtype):
    x = spread(0.0, 1.0, dtype)
    assert units(log1p(x), np.log1p(x.astype(np.longdouble))) < 2


@pytest.mark.parametrize(("dtype", "end"), [("float32", 10.1), ("float64", 27.2)])
def test_erfc_tails_included(dtype, end):
    x = np.concatenate([spread(0.0, end, dtype), spread(-end, 0.0, dtype)])
    assert units(erfc(x), np.vectorize(math.erfc)(x.astype(np.float64))) < 7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_on_both_sides_of_1(dtype):
    x = np.concatenate([spread(0.0, 7.0, dtype), spread(-7.0, 0.0, dtype)])
    assert units(erf(x), np.vectorize(math.erf)(x.astype(np.float64))) < 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_on_both_sides_of_0(dtype):
    x = np.concatenate([spread(0.0, 20.0, dtype), spread(-20.0, 0.0, dtype)])
    assert units(tanh(x), np.tanh(x.astype(np.longdouble))) < 3


@pytest.mark.parametrize(("dtype", "high", "low"), [("float32", 89, -104), ("float64", 710, -746)])
def test_special_values(dtype, high, low):
    x = np.array([np.inf, -np.inf, np.nan, 0, -0.0, high, low], dtype)
    np.testing.assert_array_equal(exp(x), np.array([np.inf, 0, np.nan, 1, 1, np.inf, 0], dtype))
    np.testing.assert_array_equal(erf(x), np.array([1, -1, np.nan, 0, 0, 1, -1], dtype))
    np.testing.assert_array_equal(erfc(x), np.array([0, 2, np.nan, 1, 1, 0, 2], dtype))
    np.testing.assert_array_equal(tanh(x), np.array([1, -1, np.nan, 0, 0, 1, -1], dtype))
    np.testing.assert_array_equal(np.signbit(tanh(x[3:5])), [False, True])
    np.testing.assert_array_equal(expm1(x[1:5]), np.array([-1, np.nan, 0, 0], dtype))
    np.testing.assert_array_equal(log1p(x[2:5]), np.array([np.nan, 0, 0], dtype))
