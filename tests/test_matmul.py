"""The matrix product of the CPU on both sides of its border: small ones by BLAS, the rest on our own threads."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.kernels.cpu import linalg, stacks, threads
from minigrad.kernels.cpu.parallel import shared

SIDES = st.integers(1, 70)


LAYOUTS = {
    "rows": lambda x: np.ascontiguousarray(x),
    "columns": lambda x: np.asfortranarray(x),
    "every second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@given(
    st.integers(1, 200),
    st.integers(1, 400),
    st.integers(1, 150),
    st.sampled_from(["float32", "float64"]),
    st.tuples(*[st.sampled_from(list(LAYOUTS))] * 2),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_tiles_equal_float64(rows, inner, columns, dtype, layouts, seed):
    random = np.random.default_rng(seed)
    x = LAYOUTS[layouts[0]](random.standard_normal((rows, inner)).astype(dtype))
    y = LAYOUTS[layouts[1]](random.standard_normal((inner, columns)).astype(dtype))
    exact = x.astype("float64") @ y.astype("float64")
    bound = np.abs(x).astype("float64") @ np.abs(y).astype("float64") * inner * np.finfo(dtype).eps
    for multiply in linalg.matmul, stacks.product:
        result = multiply(x, y)
        assert (result.dtype, result.shape) == (x.dtype, exact.shape)
        assert (np.abs(result - exact) <= bound).all()
        assert result.tobytes() == multiply(x, y).tobytes()


@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.tuples(SIDES, st.integers(1, 200), SIDES),
    st.sampled_from(["float32", "float64"]),
    st.tuples(*[st.booleans()] * 2),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_stacks_equal_float64(n, groups, sizes, dtype, turned, seed):
    random, (i, j, k) = np.random.default_rng(seed), sizes
    one, many, y = (
        random.standard_normal(shape).astype(dtype) for shape in ((groups, i, j), (n, groups, i, j), (n, groups, j, k))
    )
    wide_one, wide_many, wide_y = (a.astype("float64") for a in (one, many, y))
    if turned[0]:
        one, many = (np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2) for a in (one, many))
    if turned[1]:
        y = np.ascontiguousarray(y.swapaxes(-1, -2)).swapaxes(-1, -2)
    bound = 20 * j * np.finfo(dtype).eps
    for compute, x, exact in (
        (stacks.products, one, wide_one @ wide_y),
        (stacks.sum_of_products, many, (wide_many @ wide_y).sum(axis=0)),
    ):
        results = set()
        for count in range(1, threads.limit() + 1):
            threads.choose(count)
            result = compute(x, y)
            results.add(result.tobytes())
        threads.choose(None)
        assert len(results) == 1
        assert result.dtype == dtype
        np.testing.assert_allclose(result, exact, rtol=0, atol=bound * n)


def test_the_bits_do_not_depend_on_the_threads():
    x, y = sized((70, 400)), sized((400, 900))
    results = set()
    for count in range(1, threads.limit() + 1):
        threads.choose(count)
        results.add(linalg.matmul(x, y).tobytes())
    threads.choose(None)
    assert len(results) == 1


@pytest.mark.parametrize(("x", "y"), [((900,), (900, 800)), ((800, 900), (900,)), ((900,), (900,)), ((3,), (2, 3, 4))])
def test_vectors(x, y):
    x, y = sized(x), sized(y)
    result, exact = linalg.matmul(x, y), x.astype(np.float64) @ y.astype(np.float64)
    assert result.shape == exact.shape
    np.testing.assert_allclose(result, exact, rtol=0, atol=1e-4)


def test_the_gradient_of_a_bias_keeps_its_digits():
    g = np.ones((1 << 15, 2), np.float32) + np.float32(1e-3)
    needs, inputs = (False, False, True), (np.ones((len(g), 1), np.float32), np.ones((2, 1), np.float32))
    _, _, bias = linalg.linear_backward(g, needs, inputs, None, ())
    np.testing.assert_allclose(bias, g.sum(axis=0, dtype=np.float64), rtol=5e-7)  # one by one: 5e-4


def test_the_border_of_the_paths(monkeypatch):
    taken = []
    original = stacks.product
    monkeypatch.setattr(linalg, "product", lambda x, y: (taken.append(len(x)), original(x, y))[1])
    for side in (16, 64, 65, 300):
        x = np.ones((side, side), np.float32)
        np.testing.assert_array_equal(linalg.matmul(x, x), np.full((side, side), side, np.float32))
    assert taken == [65, 300]


def test_nan_and_infinity_go_where_they_must() -> None:
    x, y = np.ones((90, 50), np.float32), np.ones((50, 80), np.float32)
    x[3, 7], y[9, 11] = np.nan, np.inf
    result = linalg.matmul(x, y)
    assert np.isnan(result[3]).all()
    assert np.isinf(np.delete(result[:, 11], 3)).all()
    assert np.isfinite(np.delete(np.delete(result, 3, 0), 11, 1)).all()


def sized(shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((1, 900), (900, 901)),
        ((3, 300), (300, 1000)),
        ((1000, 500), (500, 2)),
        ((700, 30), (30, 7)),
        ((1, 40), (40, 7000)),
    ],
)
def test_narrow_products_in_pieces(x, y, transposed, dtype):
    x, y = sized(x, dtype), sized(y, dtype)
    if transposed:
        x, y = np.ascontiguousarray(x.T).T, np.ascontiguousarray(y.T).T
    result, exact = linalg.matmul(x, y), x.astype(np.float64) @ y.astype(np.float64)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, exact, rtol=0, atol=50 * np.finfo(dtype).eps * len(y) ** 0.5)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3, 70, 80), (80, 90)),
        ((70, 80), (3, 80, 9)),
        ((2, 5, 2000), (2, 2000, 90)),
        ((3, 70, 80), (3, 80, 90)),
        ((70, 80), (2, 2, 80, 90)),
        ((4, 1, 70, 80), (3, 80, 90)),
        ((0, 70, 80), (80, 90)),
        ((70, 80), (0, 80, 90)),
    ],
)
def test_stacks_of_large_matrices(x, y):
    x, y = sized(x), sized(y)
    result, exact = linalg.matmul(x, y), x.astype(np.float64) @ y.astype(np.float64)
    assert (result.dtype, result.shape) == (np.float32, exact.shape)
    np.testing.assert_allclose(result, exact, rtol=0, atol=1e-4)


SPINNING = """
import resource, time
import numpy as np
from minigrad.kernels.cpu import linalg, stacks, threads
from minigrad.kernels.cpu.parallel import shared
def busy():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
for x, y in (((4, 1000), (1000, 1000)), ((1000, 1000), (1000, 4)), ((2, 20, 500), (2, 500, 500)), ((64, 64), (64, 64))):
    x, y = np.ones(x, np.float32), np.ones(y, np.float32)
    for _ in range(3):
        linalg.matmul(x, y)
    time.sleep(0.2)
    before = busy()
    for _ in range(10):
        linalg.matmul(x, y)
        time.sleep(0.02)
    print(busy() - before)
"""


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 48, 50, 100])
@pytest.mark.parametrize("count", [1, 16, 21])
@pytest.mark.parametrize("first", [0, 1, 16, 40])
def test_packers_write_into_their_panels_only(first, count, columns, turned):
    x, size = np.arange(1, count * columns + 1, dtype=np.float32).reshape(count, columns), stacks.COLUMNS * 16
    panels = -(-(first + columns) // size)
    packed = np.zeros((panels + 2, count, size), np.float32)
    flat = np.ascontiguousarray(x.T if turned else x).ravel()
    pack_into(int(turned))(1, 1, packed[1:].reshape(-1), first, flat, count, columns, size)
    before, written, after = packed[0], packed[1:-1].swapaxes(0, 1).reshape(count, -1), packed[-1]
    assert not before.any()
    assert not written[:, :first].any()
    np.testing.assert_array_equal(written[:, first : first + columns], x)
    assert not after.any()


@functools.cache
def pack_into(turned):
    rows, columns = stacks.packers(16)

    @shared
    def pack(thread, begin, end, packed, first, y, count, width, size):
        if turned:
            columns(packed, first, y, 0, count, count, width, size)
        else:
            rows(packed, first, y, 0, width, count, width)

    return pack


def test_no_thread_spins_after_a_product():
    pytest.importorskip("resource")
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([sys.executable, "-c", SPINNING], env=environment, capture_output=True, text=True, check=True)
    assert max(map(float, done.stdout.split())) < 0.1  # ten products take 0.02 s, spinning after each 0.2 s
