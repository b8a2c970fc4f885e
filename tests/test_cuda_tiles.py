"""Products of gathered numbers on the GPU, or in its simulator: convolutions and matrix products of every kind."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.kernels import cuda, reference
from tests import profiles

if not cuda.is_available():
    pytest.skip("needs a GPU, or NUMBA_ENABLE_CUDASIM=1 in the environment", allow_module_level=True)

from minigrad.kernels.cuda import conv, conv_pool, matrices, plans, precision
from minigrad.kernels.cuda.division import divisor
from minigrad.kernels.cuda.plans import Axis, Product, compute, evenly, packed
from minigrad.kernels.cuda.products import Tile
from minigrad.kernels.geometry import output_size

few = profiles.drawn(12)
pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))


def moved(array, layout):
    """The array on the device, lying there in one of several ways."""
    there = cuda.from_numpy
    if layout == "reversed":
        return cuda.views.basic(
            there(np.ascontiguousarray(array[..., ::-1])), (*[slice(None)] * (array.ndim - 1), slice(None, None, -1))
        )
    if layout == "transposed":
        axes = tuple(reversed(range(array.ndim)))
        return cuda.permute_dims(there(np.ascontiguousarray(array.transpose())), axes=axes)
    if layout == "sliced":
        return cuda.views.basic(
            there(np.repeat(array, 2, axis=-1)), (*[slice(None)] * (array.ndim - 1), slice(0, None, 2))
        )
    return there(array)


layouts = st.sampled_from(["in one piece", "reversed", "transposed", "sliced"])


@st.composite
def convolutions(draw):
    groups, depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    kernel, stride, dilation, padding = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 2)), draw(pairs(0, 3))
    image = [max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) + draw(st.integers(0, 4)) for a in (0, 1)]
    size = [output_size(image[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    n, rng = draw(st.integers(0, 3)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = (n, groups * depth, *image), (groups * outputs, depth, *kernel), (n, groups * outputs, *size)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return arrays, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def assert_near(result, expected):
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    tolerance = 1e-12 if expected.dtype == np.float64 else 2e-5
    scale = np.nan_to_num(np.abs(expected)).max(initial=1.0)
    np.testing.assert_allclose(cuda.to_numpy(result), expected, rtol=tolerance, atol=tolerance * scale)


PLANS = matrices._plan, conv._forward, conv._input, conv._weight


@pytest.fixture(params=["tiles", "one by one"])
def way(request, monkeypatch):
    """All products in tiles, or none."""
    monkeypatch.setattr(plans, "FEW", 0 if request.param == "tiles" else 1 << 30)
    for plan in PLANS:
        plan.cache_clear()
    yield
    for plan in PLANS:
        plan.cache_clear()


@pytest.mark.usefixtures("way")
@given(convolutions(), layouts, layouts)
@few
def test_convolutions(case, first, second):
    (x, weight, g), options = case
    assert_near(conv.conv2d(moved(x, first), moved(weight, second), **options), reference.conv2d(x, weight, **options))
    of_x = {**options, "shape": x.shape}
    expected = reference.conv2d_input(g, weight, **of_x)
    assert_near(conv.conv2d_input(moved(g, first), moved(weight, second), **of_x), expected)
    of_weight = {**options, "shape": weight.shape}
    expected = reference.conv2d_weight(g, x, **of_weight)
    assert_near(conv.conv2d_weight(moved(g, first), moved(x, second), **of_weight), expected)


@pytest.mark.usefixtures("way")
@given(st.data())
@few
def test_matrix_products(data):
    m, n, k = (data.draw(st.integers(0, 40)) for _ in "mnk")
    batch = data.draw(
        st.sampled_from([((), ()), ((3,), ()), ((2, 1), (3,)), ((1, 2), (3, 1)), ((2, 3), (2, 3)), ((0,), (1,))])
    )
    dtype = data.draw(st.sampled_from(["float32", "float64", "int64", "int32", "uint8"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x, y = (rng.integers(-3, 4, (*b, *s)).astype(dtype) for b, s in zip(batch, ((m, k), (k, n)), strict=True))
    result = matrices.matmul(moved(x, data.draw(layouts)), moved(y, data.draw(layouts)))
    np.testing.assert_array_equal(cuda.to_numpy(result), x @ y)  # of whole numbers, so without rounding
    assert result.dtype == x.dtype


def small(tile, parts, along, size=(5, 22, 19), padding=1, bits=None):
    """A product of one kind with a window of 3 that slides over lines, computed by a given tile; and its value."""
    (m, n, channels), taps = size, 3
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((m, channels * taps)).astype("f4"), rng.standard_normal((channels, n)).astype("f4")
    if bits:
        weight, x = (np.round(array * (1 << (bits - 4))).astype("f4") for array in (weight, x))
    width = n + 2 * padding - taps + 1
    window, spots = np.arange(taps), np.arange(width) - padding
    terms = np.stack([(np.arange(channels)[:, None] * n + window).reshape(-1), np.tile(window, channels)], axis=1)
    terms = np.concatenate([terms, np.arange(channels * taps)[:, None]], axis=1)
    columns = np.stack([spots, packed(0, spots), np.arange(width)], axis=1)
    axes = (
        evenly(m, channels * taps, 0, width),
        Axis(width, columns, (0, 0, 0)),
        Axis(len(terms), terms, (0, 0, 0)),
        Axis(1, np.full((1, 3), 0), (0, 0, 0)),
    )
    last = None if padding == 0 else (0, n - 1)
    product = Product(np.dtype("f4"), m * width, axes, *along, tile, parts, last)
    padded = np.pad(x, ((0, 0), (padding, padding)))
    seen = np.stack([padded[:, t : t + width] for t in range(taps)], axis=1).reshape(channels * taps, width)
    out = compute((product,), parts, (m, width), cuda.from_numpy(weight), cuda.from_numpy(x))
    return out, weight @ seen


TILES = {one for tiles in plans.TILES.values() for one in tiles}


@pytest.mark.parametrize("right", ["terms", "outer"])
@pytest.mark.parametrize("left", ["terms", "outer"])
@pytest.mark.parametrize("parts", [1, 3])
def test_every_way_to_load(left, right, parts):
    for tile in (Tile(16, 4), Tile(32, 4)):
        assert_near(*small(tile, parts, (left, right), size=(21, 37, 5)))


@pytest.mark.parametrize("tile", sorted(TILES))
def test_the_tiles_of_a_gpu(tile):
    """Once with each, on a problem that fills no tile."""
    assert_near(*small(tile, 1, ("terms", "outer"), size=(tile.side + 5, 44, 3)))
    assert_near(*small(tile, 1, ("outer", "terms"), size=(7, tile.side + 3, 2), padding=0))


def test_long_images():
    """Coordinates that need more than 16 bits."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 2, 1, 40000)).astype("f4"), rng.standard_normal((3, 2, 1, 3)).astype("f4")
    options = {"stride": (1, 4000), "padding": (0, 2), "dilation": (1, 1), "groups": 1}
    assert_near(
        conv.conv2d(cuda.from_numpy(x), cuda.from_numpy(weight), **options), reference.conv2d(x, weight, **options)
    )


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("side", [64, 128])
def test_tensor_cores(side, parts):
    """Sums of products of numbers of 11 bits, which are exact in both ways, and of others, which are rounded."""
    tile = Tile(side, 8)
    precision.choose(True)
    try:
        near, exact = small(tile, parts, ("terms", "outer"), size=(side - 3, side + 9, 5))
        values = cuda.to_numpy(near)
        error = np.abs(values - exact).max() / np.abs(exact).max()
        assert 1e-6 < error < 1e-3  # so they were rounded
        assert_near(*small(tile, parts, ("terms", "outer"), size=(side - 3, side + 9, 5), bits=11))
    finally:
        precision.choose(False)


@pytest.mark.parametrize("along", [("terms", "outer"), ("outer", "terms")])
def test_parts_without_terms(along):
    """More parts than there are steps; they do not read beyond the list."""
    assert_near(*small(plans.TINY, 9, along, size=(5, 22, 3)))
    assert_near(*small(plans.SINGLE, 9, along, size=(5, 22, 3)))


sizes = st.one_of(st.integers(0, 40), st.integers(0, 1 << 20))


@given(sizes, sizes, sizes, st.integers(0, 300), st.sampled_from(["float32", "float64"]))
def test_the_choice_for_a_gpu(rows, columns, terms, batches, dtype):
    gpu = SimpleNamespace(blocks=132 * 8, threads=256)
    with mock.patch.multiple(plans, SIMULATED=False, machine=lambda: gpu):
        tile, parts = plans.chosen(rows, columns, terms, batches, np.dtype(dtype), "terms", "outer")
    assert (tile == plans.SINGLE) == (min(rows, columns) <= plans.FEW)
    length = -(-terms // (parts * tile.depth)) * tile.depth
    assert length <= plans.LENGTH
    assert parts == 1 or (parts - 1) * length < terms  # none is empty


def test_what_repeats():
    """The same bits each time, also where the terms are cut in parts."""
    first, second = (cuda.to_numpy(small(plans.TINY, 4, ("terms", "terms"))[0]) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_division_by_multiplication(d, i):
    _, factor, shift = divisor(d)
    assert i * factor >> shift == i // d
    assert factor < 1 << 32
    assert i * factor < 1 << 63


@pytest.mark.parametrize("case", ["numbers", "ties", "NaN"])
@given(st.data())
@few
def test_fused_with_a_pool(case, data):
    """Values, winners of ties and NaNs, and all gradients, as by the steps one after the other."""
    fused_with_a_pool(case, data, pairs(1, 3))


@pytest.mark.parametrize("case", ["numbers", "ties", "NaN"])
@given(st.data())
@few
def test_fused_with_a_pool_in_tiles(case, data):
    """The same for windows of four, which are pooled before anything is written."""
    found = []
    real = conv_pool.conv2d_largest
    with (
        mock.patch.multiple(conv, chosen=lambda *args: (plans.TINY, 1)),
        mock.patch.object(
            conv_pool, "conv2d_largest", lambda *args, **options: found.append(real(*args, **options)) or found[-1]
        ),
    ):
        conv._forward.cache_clear()
        fused_with_a_pool(case, data, st.sampled_from([(2, 2), (4, 1), (1, 4)]))
    conv._forward.cache_clear()
    assert None not in found


def fused_with_a_pool(case, data, pools):
    groups, pool = data.draw(st.integers(1, 2)), data.draw(pools)
    kernel, padding = data.draw(pairs(1, 3)), data.draw(pairs(0, 1))
    sides = [
        max(1, k + p - 1 - 2 * m) + data.draw(st.integers(0, 4)) for k, p, m in zip(kernel, pool, padding, strict=True)
    ]
    shapes = (2, groups * 2, *sides), (groups * 3, 2, *kernel), (groups * 3,)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x, weight, bias = (rng.standard_normal(shape).astype("f4") for shape in shapes)
    if case == "ties":
        x, weight, bias = np.round(x), np.round(weight), np.round(bias)
    elif case == "NaN":
        x[0, 0, 0, 0] = np.nan
    relu, options = data.draw(st.booleans()), {"padding": padding, "groups": groups}
    windows = {"kernel_size": pool, "stride": pool, "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}
    steps = {"stride": (1, 1), "dilation": (1, 1), **options}

    y = reference.conv2d(x, weight, **steps) + bias[:, None, None]
    places = reference.max_pool2d_argmax(y, **windows)
    flat = y.reshape(*y.shape[:2], -1), places.reshape(*y.shape[:2], -1)
    expected = np.take_along_axis(*flat, axis=-1).reshape(places.shape)
    g = rng.standard_normal(places.shape).astype("f4")
    through = g * (expected > 0) if relu else g
    dense = np.zeros_like(flat[0])
    np.put_along_axis(dense, flat[1], through.reshape(flat[1].shape), axis=-1)
    dense = dense.reshape(y.shape)

    inputs = [cuda.from_numpy(array) for array in (x, weight, bias)]
    result, kept = conv_pool.conv2d_pool(*inputs, residuals=True, pool=pool, relu=relu, **options)
    assert_near(result, np.where(expected <= 0, 0, expected).astype("f4") if relu else expected)
    given_g, needs = cuda.from_numpy(g), (True, True, True)
    gradients = conv_pool.conv2d_pool_backward(given_g, needs, inputs, None, kept, pool=pool, relu=relu, **options)
    assert_near(gradients[0], reference.conv2d_input(dense, weight, shape=x.shape, **steps))
    assert_near(gradients[1], reference.conv2d_weight(dense, x, shape=weight.shape, **steps))
    assert_near(gradients[2], through.sum(axis=(0, 2, 3)))
    nothing = conv_pool.conv2d_pool_backward(given_g, (False,) * 3, inputs, None, kept, pool=pool, relu=relu, **options)
    assert nothing == (None, None, None)


def test_the_switch_of_tensor_cores():
    with pytest.raises(mg.MinigradError, match="allowed must be True or False, not 1"):
        mg.cuda.allow_tf32(1)
    assert not mg.cuda.tf32_is_allowed()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (7,), (0, 7)])
def test_a_bias_is_added_before_the_sums_are_written(shape):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(one).astype("f4") for one in (shape, (6, 7), (6,), (*shape[:-1], 6))]
    x, weight, bias, g = map(cuda.from_numpy, arrays)
    out, _ = matrices.linear(x, weight, bias, residuals=True)
    assert_near(out, arrays[0] @ arrays[1].T + arrays[2])
    without, _ = matrices.linear(x, weight, residuals=False)
    assert_near(without, arrays[0] @ arrays[1].T)
    gradients = matrices.linear_backward(g, (True, True, True), (x, weight, bias), None, ())
    assert_near(gradients[0], arrays[3] @ arrays[1])
    rows = arrays[3].reshape(-1, 6)
    assert_near(gradients[1], rows.T @ arrays[0].reshape(-1, 7))
    assert_near(gradients[2], rows.sum(0))
    assert matrices.linear_backward(g, (False, False), (x, weight), None, ()) == (None, None)
