"""Tiles of vectors, at every width of the machine's registers: the bits must be those of numpy's plain arithmetic."""

import itertools
import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest

from minigrad.kernels.cpu import simd
from minigrad.kernels.cpu.simd import (
    arrange,
    as_floats,
    as_integers,
    broadcast,
    broadcast_apart,
    collect,
    collect_lines,
    deal,
    deal_lines,
    first_lane,
    first_true,
    fma,
    fma_rows,
    full,
    full_like,
    is_nan,
    load,
    load_at,
    load_every,
    load_first,
    load_grid,
    load_half,
    load_line,
    load_part,
    load_wide,
    maximum,
    minimum,
    prefetch,
    roll,
    row,
    select,
    size,
    sqrt,
    stack,
    store,
    store_at,
    store_first,
    store_whole,
    sum_lanes,
    sum_rows,
    transpose,
    turn,
    widen,
    width,
)

jit = numba.njit(error_model="numpy")
DTYPES = [np.float32, np.float64]


def numbers(dtype, count, seed=0):
    return np.random.default_rng(seed).standard_normal(count).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tile_goes_to_memory_and_back(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x, rows, count):
        store(out, 0, 3 * lanes, rows, count, load(x, 1, 2 * lanes + 1, 3, 2))

    x = numbers(dtype, 7 * lanes)
    for rows in range(4):
        for count in (0, 1, lanes - 1, lanes, lanes + 3, 2 * lanes):
            out = np.zeros(9 * lanes, dtype)
            copy(out, x, rows, count)
            expected = np.zeros((3, 3 * lanes), dtype)
            for m in range(rows):
                expected[m, :count] = x[1 + m * (2 * lanes + 1) :][:count]
            assert np.array_equal(out, expected.ravel())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_is_transposed(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def turn(out, x):
        store_whole(out, 0, lanes, transpose(load(x, 0, lanes, lanes, 1)))

    x, out = numbers(dtype, lanes * lanes), np.zeros((lanes, lanes), dtype)
    turn(out.reshape(-1), x)
    assert np.array_equal(out, x.reshape(lanes, lanes).T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_part_reads_nothing_beyond_it(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x, height, count):
        store(out, 0, 2 * lanes, 3, 2 * lanes, load_part(x, 1, count, 3, 2, height, count))

    for height in (1, 2, 3):
        for count in (1, lanes, lanes + 1, 2 * lanes):
            x = numbers(dtype, 1 + height * count)
            out = np.full((3, 2 * lanes), 7, dtype)
            copy(out, x, height, count)
            expected = np.zeros((3, 2 * lanes), dtype)
            expected[:height, :count] = x[1:].reshape(height, count)
            expected[height:] = expected[height - 1]
            assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_of_a_table(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def gather(out, x, offsets, count):
        store(out, 0, 3 * lanes, 2, 3 * lanes, load_at(x, 1, 4, 2, offsets, 1, 3, None))
        store(out, 6 * lanes, 0, 1, 3 * lanes, load_at(x, 1 + lanes - count, 0, 1, offsets, 1, 3, count))

    x, offsets = numbers(dtype, 5 + 3 * lanes), np.array([99, 2 * lanes, 0, 5], np.intp)
    for count in range(1, lanes + 1):
        out = np.full((3, 3, lanes), 7, dtype)
        gather(out, x, offsets, count)
        for m in range(2):
            assert np.array_equal(out[m], [x[1 + 4 * m + start :][:lanes] for start in offsets[1:]])
        assert np.array_equal(out[2, :, :count], [x[1 + lanes - count + start :][:count] for start in offsets[1:]])
        assert not out[2, :, count:].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_go_to_places_of_a_table(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def scatter(out, x, offsets, count):
        store_at(out, 1, 4 * lanes, offsets, 1, None, load(x, 0, 3 * lanes, 2, 3))
        store_at(out, 1 + 8 * lanes, 0, offsets, 1, count, load(x, 0, 0, 1, 3))

    x, offsets = numbers(dtype, 6 * lanes), np.array([99, 3 * lanes, 0, lanes], np.intp)
    for count in range(-1, 5):
        out = np.full(1 + 12 * lanes, 7, dtype)
        scatter(out, x, offsets, count)
        expected = np.full((3, 4, lanes), 7, dtype)
        expected[:2, [3, 0, 1]] = x.reshape(2, 3, lanes)
        expected[2, [3, 0, 1][: max(count, 0)]] = x.reshape(6, lanes)[: min(max(count, 0), 3)]
        assert out[0] == 7
        assert np.array_equal(out[1:].reshape(3, 4, lanes), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ways", [1, 2, 3])
def test_every_second_or_third_element(dtype, ways):
    lanes = simd.lanes(dtype)

    @jit
    def take(out, x, start, first, stop):
        store(out, 0, 0, 1, lanes, load_every(x, start, ways, first, stop))

    @jit
    def take_all(out, x):
        store(out, 0, 0, 1, lanes, load_every(x, 1, ways, None, None))

    x, out = numbers(dtype, 1 + ways * lanes), np.empty(lanes, dtype)
    take_all(out, x)
    assert np.array_equal(out, x[1::ways])
    for first, stop in itertools.product((-2, 0, 1, lanes - 1, lanes + 2), (-1, 1, lanes // 2, lanes, lanes + 1)):
        inside = np.arange(max(first, 0), min(stop, lanes), dtype=int)
        expected = np.zeros(lanes, dtype)
        expected[inside] = x[: len(inside) * ways : ways]
        take(out, x, -max(first, 0) * ways, first, stop)  # elements outside are not there to be read
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 2])
def test_rows_are_correlated(dtype, columns):
    lanes, zero = simd.lanes(dtype), np.dtype(dtype).type(0)

    @jit
    def correlate(out, x, y):
        store_whole(
            out, 0, columns * lanes, fma_rows(broadcast(x, 0, 3), load(y, 0, lanes, 4, columns), full(zero, 2, columns))
        )

    x, y = numbers(dtype, 3), numbers(dtype, (3 + columns) * lanes)
    out = np.empty((2, columns * lanes), dtype)
    correlate(out, x, y)
    for i in range(2):
        terms = [x[j] * y[(i + j) * lanes :][: columns * lanes] for j in range(3)]
        assert np.allclose(out[i], np.sum(terms, axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_columns_repeat(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def product(out, a, b, pitch):
        column = broadcast(a, 1, 3) if pitch == 1 else broadcast_apart(a, 1, pitch, 3)
        store(out, 0, 2 * lanes, 3, 2 * lanes, column * load(b, 0, 0, 1, 2) - full(dtype(1), 1, 1))

    a, b, out = numbers(dtype, 8), numbers(dtype, 2 * lanes), np.empty((3, 2 * lanes), dtype)
    for pitch in 1, 3:
        product(out.reshape(-1), a, b, pitch)
        assert np.array_equal(out, a[1 : 2 + 2 * pitch : pitch, None] * b - dtype(1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_follow_ieee(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def functions(out, x, y):
        a, b = load(x, 0, 0, 1, 1), load(y, 0, 0, 1, 1)
        store(out, 0, 0, 1, lanes, maximum(a, b))
        store(out, lanes, 0, 1, lanes, select((a < b) | is_nan(a), a, b))
        store(out, 2 * lanes, 0, 1, lanes, fma(a, b, a))
        store(out, 3 * lanes, 0, 1, lanes, a / b)
        store(out, 4 * lanes, 0, 1, lanes, minimum(a, b))
        store(out, 5 * lanes, 0, 1, lanes, sqrt(a))

    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, np.finfo(dtype).smallest_subnormal, -2], dtype)
    for shift in range(len(special)):
        x, y = np.resize(special, lanes), np.resize(np.roll(special, shift), lanes)
        out = np.empty((6, lanes), dtype)
        functions(out.reshape(-1), x, y)
        with np.errstate(all="ignore"):
            assert np.array_equal(out[0], np.maximum(x, y), equal_nan=True)
            assert np.array_equal(out[1], np.where((x < y) | np.isnan(x), x, y), equal_nan=True)
            np.testing.assert_allclose(out[2], x * y + x, rtol=1e-6, atol=np.finfo(dtype).smallest_subnormal)
            assert np.array_equal(out[3], x / y, equal_nan=True)
            assert np.array_equal(out[4], np.minimum(x, y), equal_nan=True)
            assert np.array_equal(out[5], np.sqrt(x), equal_nan=True)


@pytest.mark.parametrize("source", [np.float32, np.float64, np.int32])
def test_integers_narrow(source):
    @jit
    def places(out, x):
        positive = load(x, 0, 0, 1, 1) > full(source(0), 1, 1)
        store(out, 0, 0, 1, 8, select(positive, full(np.int32(3), 1, 1), full(np.int32(-1), 1, 1)))

    if source == np.float64:
        pytest.skip("eight lanes of float64 do not select among sixteen of int32")
    x = np.resize([1, -1, 2, 0], 16).astype(source)
    out = np.zeros(9, np.int8)
    places(out, x)
    assert out.tolist() == [3, -1, 3, -1, 3, -1, 3, -1, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_tiles_and_constants(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x):
        store_whole(out, 1, 3 * width(x), load(x, 0, 2 * width(x), 2, 2))
        return width(x)

    x, out = numbers(dtype, 4 * lanes), np.zeros(6 * lanes + 1, dtype)
    assert copy(out, x) == lanes
    assert np.array_equal(out[1:].reshape(2, 3 * lanes)[:, : 2 * lanes], x.reshape(2, 2 * lanes))
    assert not out[1:].reshape(2, 3 * lanes)[:, 2 * lanes :].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ways", [1, 2, 3, 4])
def test_what_is_dealt_out_is_collected_again(dtype, ways):
    lanes = simd.lanes(dtype)

    @jit
    def there_and_back(dealt, back, x):
        parts = deal(load(x, 0, 0, 1, ways))
        store_whole(dealt, 0, lanes, parts)
        store_whole(back, 0, 0, collect(parts))

    x, dealt, back = numbers(dtype, ways * lanes), np.zeros((ways, lanes), dtype), np.zeros(ways * lanes, dtype)
    there_and_back(dealt.reshape(-1), back, x)
    assert np.array_equal(dealt, x.reshape(lanes, ways).T)
    assert np.array_equal(back, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_vectors_are_read_and_no_more(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x):
        store_whole(out, 0, lanes, load_half(x, 1, 2, 3, 1))

    x, out = numbers(dtype, 5 + lanes // 2), np.empty((3, lanes), dtype)
    copy(out.reshape(-1), x)
    for m in range(3):
        assert np.array_equal(out[m], np.pad(x[1 + 2 * m :][: lanes // 2], (0, lanes // 2)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rest_comes_after_the_end_of_a_line(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x, count):
        store_whole(out, 0, 0, load_line(x, 1, count, 2, -np.inf))

    for count in (0, 1, lanes, lanes + 3, 2 * lanes):
        x, out = numbers(dtype, 1 + count), np.empty(2 * lanes, dtype)
        copy(out, x, count)
        assert np.array_equal(out, np.pad(x[1:], (0, 2 * lanes - count), constant_values=-np.inf))


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_outside_of_an_array_may_be_asked_for(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x):
        for start in (-(1 << 40), -lanes, 0, lanes, 1 << 40):
            prefetch(x, start, 4)
        store_whole(out, 0, 0, load(x, 0, 0, 1, 1))

    x, out = numbers(dtype, lanes), np.empty(lanes, dtype)
    copy(out, x)
    assert np.array_equal(out, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 4, 8])
def test_lanes_roll(dtype, count):
    lanes = simd.lanes(dtype)

    @jit
    def rolled(out, x):
        tile = roll(load(x, 0, lanes, 2, 1), count)
        store_whole(out, 0, lanes, tile)
        return size(tile)

    x, out = numbers(dtype, 2 * lanes), np.empty((2, lanes), dtype)
    assert rolled(out.reshape(-1), x) == lanes
    assert np.array_equal(out, np.roll(x.reshape(2, lanes), -count, axis=1))


@pytest.mark.parametrize("source", [np.uint8, np.int32])
@pytest.mark.parametrize("target", [np.int32, np.int64])
def test_integers_widen(source, target):
    lanes = simd.lanes(target)

    @jit
    def spread(out, x, count):
        store_whole(out, 0, 0, load_wide(x, 1, count, out))
        store_whole(out, lanes, 0, load_wide(x, len(x) - lanes, None, out))

    x = np.arange(200, 201 + lanes).astype(source)
    for count in (0, 1, lanes):
        out = np.full((2, lanes), -1, target)
        spread(out.reshape(-1), x, count)
        assert out[0].tolist() == [*x[1 : 1 + count], *[0] * (lanes - count)]
        assert out[1].tolist() == x[-lanes:].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_floats_widen(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def spread(out, x):
        store_whole(out, 0, 2 * lanes, widen(load(x, 0, 2 * lanes, 2, 2)))

    x, out = numbers(dtype, 4 * lanes), np.empty(4 * lanes)
    spread(out, x)
    assert out.tolist() == x.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("less", [0, 1])
def test_a_vector_or_what_there_is_of_it(dtype, less):
    count = simd.lanes(dtype) - less

    @jit
    def copy(out, x, count):
        store_first(out, 0, count, load_first(x, 1, count, 7))
        store_whole(out, count, 0, load_first(x, 1, count, 7))

    x, out = numbers(dtype, count + 1), np.zeros(2 * count + less, dtype)
    copy(out, x, count)
    assert np.array_equal(out, [*x[1:], *x[1:], *[7] * less])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_true_lane(dtype):
    @jit
    def find(x, value):
        return first_true(load(x, 0, 0, 1, 1) == full(value, 1, 1))

    lanes = simd.lanes(dtype)
    x = np.arange(lanes).astype(dtype) // 2
    assert [find(x, value) for value in x] == [i // 2 * 2 for i in range(lanes)]
    assert find(x, dtype(lanes)) == lanes


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_floats(dtype):
    bits = np.dtype(f"i{np.dtype(dtype).itemsize}")

    @jit
    def compute(out, first, x):
        tile = as_integers(load(x, 0, 0, 1, 1))
        two = full_like(tile, 2)
        store_whole(out, 0, 0, as_floats(tile))
        store_whole(out, size(tile), 0, as_floats((tile << two) >> two))
        first[0] = first_lane(as_floats(tile))

    x, first = numbers(dtype, simd.lanes(dtype)), np.zeros(1, dtype)
    out = np.empty((2, len(x)), dtype)
    compute(out.reshape(-1), first, x)
    assert np.array_equal(out.view(bits), [x.view(bits), x.view(bits) << 2 >> 2])
    assert first[0] == x[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (5, 5), (4, 4), (3, 8)])
def test_lanes_are_summed_each_vector_in_its_place(dtype, rows, columns):
    lanes = simd.lanes(dtype)
    whole = -(-rows * columns // lanes) * lanes

    @jit
    def totals(out, x):
        store(out, 0, 0, 1, whole, sum_lanes(load(x, 0, columns * lanes, rows, columns)))

    x = np.random.default_rng(0).integers(-99, 99, rows * columns * lanes).astype(dtype)
    out = np.full(whole, 7, dtype)
    totals(out, x)
    expected = np.zeros(whole, dtype)
    expected[: rows * columns] = x.reshape(-1, lanes).sum(axis=1)
    assert np.array_equal(out, expected)


X86 = platform.machine().lower() in ("x86_64", "amd64")
NARROWER = {"avx2": "+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2", "sse": "+sse2"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ways", [2, 4])
def test_squares_of_lines_are_dealt_out(dtype, ways):
    lanes, side, elements = simd.lanes(dtype), ways + 2, (ways + 2) ** 2

    @jit
    def deal(out, x, start, pitch, above, below, first, stop):
        squares = deal_lines(x, start, pitch, above, below, first, stop, ways, side)
        store_whole(out, 0, lanes, arrange(turn(squares), elements))

    lines = numbers(dtype, side * 7 * lanes).reshape(side, -1)
    for above, below, first, stop in (
        (0, side, 0, lines.shape[1]),
        (1, side - 1, 1, 5),
        (-3, 9, -4, 2 * lanes),
        (2, 1, 0, 9),
    ):
        out, seen = np.empty(side * side * lanes, dtype), np.zeros_like(lines)
        inside = slice(max(above, 0), max(below, 0)), slice(max(first, 0), stop)
        seen[inside] = lines[inside]
        deal(out, lines.ravel(), 0, lines.shape[1], above, below, first, stop)
        expected = [seen[i, j : j + ways * lanes : ways] for j in range(side) for i in range(side)]
        assert np.array_equal(out, np.ravel(expected))


@pytest.mark.parametrize("dtype", DTYPES)
def test_squares_are_collected_into_lines(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def copy(out, x, height, count):
        collect_lines(out, 0, 3 * lanes, height, count, load_grid(x, 0, 2 * lanes, lanes, 2, 2))

    x = numbers(dtype, 4 * lanes)
    for height, count in (2, None), (1, 2 * lanes), (2, 3), (0, 5):
        out, expected = np.zeros(6 * lanes, dtype), np.zeros((2, 3 * lanes), dtype)
        copy(out, x, height, count)
        for i in range(height):
            line = x.reshape(2, 2, lanes)[i].T.ravel()[:count]
            expected[i, : len(line)] = line
        assert np.array_equal(out, expected.ravel())


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_taken_stacked_and_added(dtype):
    lanes = simd.lanes(dtype)

    @jit
    def compute(out, x):
        tile = load(x, 0, lanes, 3, 1)
        store_whole(out, 0, lanes, stack((row(tile, 2) * full_like(tile, 3), row(tile, 0), sum_rows(tile))))

    x, out = numbers(dtype, 3 * lanes).reshape(3, lanes), np.empty(3 * lanes, dtype)
    compute(out, x.ravel())
    assert np.array_equal(out.reshape(3, lanes), [x[2] * 3, x[0], x[0] + x[1] + x[2]])


@pytest.mark.skipif(not X86, reason="instruction sets of x86")
@pytest.mark.parametrize("width", NARROWER)
def test_narrower_registers_do_the_same(width, tmp_path):
    """The tests above again, in a process whose machine is said to have less."""
    chosen = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": NARROWER[width], "MINIGRAD_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "not narrower"]
    done = subprocess.run(command, env=os.environ | chosen, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
