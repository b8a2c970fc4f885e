"""The compiled kernels equal the reference, from several threads too, and the reference equals PyTorch."""

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigrad.kernels import reference
from minigrad.kernels.cpu import (
    avg_pool,
    channels,
    conv,
    conv_pool,
    depthwise,
    elementwise,
    gather,
    generic,
    images,
    loss,
    max_pool,
    norm,
    optim,
    reduce,
    runs,
    softmaxes,
    stacks,
    sums,
    threads,
)
from minigrad.kernels.cpu import lines as lines_of_pools
from minigrad.kernels.cpu import winners as sums_over_winners
from minigrad.kernels.geometry import inside, output_size

# ---- cases -----------------------------------------------------------------------------------------------------------

pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def arrays(draw, shape, dtype=None, special=False):
    """Whole numbers (so that ties occur) or reals, with any strides; `special` strews in NaN and infinities."""
    dtype = dtype or draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole = draw(st.booleans())
    values = rng.integers(-3, 4, shape) if whole else rng.standard_normal(shape)
    values = np.asarray(values, dtype)
    if special:
        odd = rng.random(shape) < 0.1
        values[odd] = rng.choice([np.nan, np.inf, -np.inf], odd.sum())
    layout = draw(st.sampled_from(["contiguous", "reversed", "strided", "transposed"])) if shape else "contiguous"
    if layout == "reversed":
        return np.ascontiguousarray(values[..., ::-1])[..., ::-1]
    if layout == "strided":
        return np.repeat(values, 2, axis=-1)[..., ::2]
    return np.asfortranarray(values) if layout == "transposed" else values


@st.composite
def convolutions(draw, special=False):
    """x, weight, g and the options of a convolution that fits; a weight is finite, as zeros around x meet it."""
    groups, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel, stride, dilation, padding = draw(pairs(1, 4)), draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(0, 5))
    image = [max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) + draw(st.integers(0, 7)) for a in (0, 1)]
    size = [output_size(image[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    n, outputs = draw(st.integers(0, 3)), groups * draw(st.integers(1, 3))
    x = draw(arrays((n, groups * depth, *image), special=special))
    weight = draw(arrays((outputs, depth, *kernel), x.dtype))
    g = draw(arrays((n, outputs, *size), x.dtype, special))
    return x, weight, g, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def pointwise_convolutions(draw, special=False):
    """The same with windows of one pixel, which are products of matrices."""
    groups, depth, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 20))
    n, size = draw(st.integers(0, 9)), draw(pairs(1, 9))
    x = draw(arrays((n, groups * depth, *size), special=special))
    weight = draw(arrays((groups * outputs, depth, 1, 1), x.dtype))
    g = draw(arrays((n, groups * outputs, *size), x.dtype, special))
    return x, weight, g, {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": groups}


@st.composite
def depthwise_convolutions(draw, special=False):
    """The same with a kernel for each channel, over lines of one vector or several."""
    channels, padding, stride, dilation = (
        draw(st.integers(2, 5)),
        draw(pairs(0, 5)),
        draw(pairs(1, 2)),
        draw(pairs(1, 2)),
    )
    kernel = draw(st.sampled_from([(1, 3), (3, 3), (9, 1)]))
    least = [max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) for a in (0, 1)]
    image = [least[0] + draw(st.integers(0, 9)), least[1] + draw(st.integers(10, 60))]
    size = [output_size(image[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    n = draw(st.integers(1, 3))
    x = draw(arrays((n, channels, *image), special=special))
    weight = draw(arrays((channels, 1, *kernel), x.dtype))
    g = draw(arrays((n, channels, *size), x.dtype, special))
    return x, weight, g, {"stride": stride, "padding": padding, "dilation": dilation, "groups": channels}


@st.composite
def deep_convolutions(draw, special=False):
    """The same with as many channels as a vector has elements, or several, and outputs in tiles that may not fit."""
    groups, padding, stride, dilation = draw(st.integers(1, 2)), draw(pairs(0, 3)), draw(pairs(1, 3)), draw(pairs(1, 2))
    depth, outputs = draw(st.sampled_from([15, 16, 80])), draw(st.sampled_from([4, 13]))
    kernel = draw(st.sampled_from([(1, 2), (2, 3)]))
    image = [max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) + draw(st.integers(0, 6)) for a in (0, 1)]
    size = [output_size(image[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    n = draw(st.integers(1, 3))
    x = draw(arrays((n, groups * depth, *image), special=special))
    weight = draw(arrays((groups * outputs, depth, *kernel), x.dtype))
    g = draw(arrays((n, groups * outputs, *size), x.dtype, special))
    return x, weight, g, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def full_convolutions(draw, special=False):
    """The same for as many images as a vector has elements, or nearly, or several times as many."""
    groups, padding, stride, dilation = draw(st.integers(1, 2)), draw(pairs(0, 3)), draw(pairs(1, 3)), draw(pairs(1, 3))
    kernel, depth, outputs = draw(pairs(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 14))
    image = [max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) + draw(st.integers(0, 5)) for a in (0, 1)]
    size = [output_size(image[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
    n = draw(st.sampled_from([8, 15, 16, 30, 32]))
    x = draw(arrays((n, groups * depth, *image), special=special))
    weight = draw(arrays((groups * outputs, depth, *kernel), x.dtype))
    g = draw(arrays((n, groups * outputs, *size), x.dtype, special))
    return x, weight, g, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def pools(draw, dilated=False, special=False):
    """x, g and the options of a pooling that fits."""
    kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 5))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(pairs(1, 3)) if dilated else (1, 1)
    ceil_mode = draw(st.booleans())
    # An image of a dilation's size at least: no window then steps over it with all its taps in the padding.
    fits = [max(dilation[a], dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]) for a in (0, 1)]
    image = [fits[0] + draw(st.integers(0, 9)), fits[1] + draw(st.integers(0, draw(st.sampled_from([9, 70]))))]
    size = [output_size(image[a], kernel[a], stride[a], padding[a], dilation[a], ceil_mode) for a in (0, 1)]
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    x = draw(arrays((n, c, *image), special=special))
    g = draw(arrays((n, c, *size), x.dtype))
    return x, g, {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}, dilation


@st.composite
def pooled_convolutions(draw, special=False):
    """x, weight, bias, g and the options of conv2d_pool."""
    groups, depth = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    kernel, pool, padding = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(0, 3))
    image = [max(1, kernel[a] + pool[a] - 1 - 2 * padding[a]) + draw(st.integers(0, 12)) for a in (0, 1)]
    size = [(image[a] + 2 * padding[a] - kernel[a] + 1) // pool[a] for a in (0, 1)]
    n, outputs = draw(st.sampled_from([1, 0, 2, 8, 15, 32])), groups * draw(st.integers(1, 6))
    x = draw(arrays((n, groups * depth, *image), special=special))
    weight, bias = draw(arrays((outputs, depth, *kernel), x.dtype)), draw(arrays((outputs,), x.dtype))
    g = draw(arrays((n, outputs, *size), x.dtype))
    return x, weight, bias, g, {"padding": padding, "groups": groups, "pool": pool, "relu": draw(st.booleans())}


@st.composite
def lines(draw):
    """x, indices along an axis of it, the axis, and a g for the scatter."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    picked = list(shape)
    picked[axis] = draw(st.integers(0, 6))
    x = draw(arrays(tuple(shape), draw(st.sampled_from(["float32", "float64", "int32", "int64", "uint8", "bool"]))))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    indices = rng.integers(-shape[axis], shape[axis], picked)
    return x, indices, axis, draw(arrays(tuple(picked)))


def filled(n, *rest):
    """Whether images fill vectors, whatever that costs."""
    return images.fills(n, rest[-2])


@pytest.fixture(params=["usual", "tiny"], scope="module")
def blocks(request):
    """Blocks of the usual size, and so small that every case needs several."""
    patch = pytest.MonkeyPatch()
    if request.param == "tiny":
        patch.setattr(runs, "ELEMENTS", 500)
        patch.setattr(conv, "POSITIONS", 12)
        patch.setattr(conv, "PRODUCTS", 12)
        patch.setattr(sums, "DEPTH", 5)
        patch.setattr(conv, "BROAD", 1)
        patch.setattr(images, "pays", filled)
        patch.setattr(images, "ELEMENTS", 500)
        patch.setattr(conv, "PIXELS", 1)
        patch.setattr(stacks, "DEPTH", 2)
        patch.setattr(stacks, "ELEMENTS", 1)
        patch.setattr(channels, "POSITIONS", 5)
        patch.setattr(channels, "VECTORS", 1)
        patch.setattr(depthwise, "TALL", 1)
        patch.setattr(lines_of_pools, "ELEMENTS", 1)
        patch.setattr(depthwise, "NARROW", 1)
    plans = (
        runs.plan_runs,
        channels._plan,
        images._plan,
        conv._plan,
        conv._plan_strides,
        conv_pool._plan,
        conv_pool._plan_of_images,
        depthwise._plan,
        lines_of_pools.plan_lines,
        stacks._plan,
    )
    for plan in plans:
        plan.cache_clear()
    yield request.param
    patch.undo()
    for plan in plans:
        plan.cache_clear()


@pytest.fixture(params=["usual", "tiny"], scope="module")
def bands(request):
    """Bands of the usual height, and so low that every image needs several."""
    patch = pytest.MonkeyPatch()
    plans = max_pool._plan, lines_of_pools.plan_lines
    if request.param == "tiny":
        patch.setattr(lines_of_pools, "ELEMENTS", 1)
    for plan in plans:
        plan.cache_clear()
    yield request.param
    patch.undo()
    for plan in plans:
        plan.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def sharing():
    """Let all threads share in everything, also where there is little to do."""
    with pytest.MonkeyPatch.context() as patch:
        for module in elementwise, reduce, softmaxes:
            patch.setattr(module, "sharing", lambda elements: threads.get_num_threads())
        yield


several = settings(max_examples=30, deadline=None)


def with_threads(count, function, *args, **options):
    threads.choose(min(count, threads.limit()))
    try:
        return function(*args, **options)
    finally:
        threads.choose(None)


def check(name, kernel, *inputs, exact=False, terms=1.0, **options):
    """Compare a kernel with the reference; `terms` bounds the sum of the magnitudes that it adds up."""
    before = [array.copy() for array in inputs]
    found = with_threads(2, kernel, *inputs, **options)
    wide = [array.astype("float64") if array.dtype.kind == "f" else array for array in inputs]
    with np.errstate(invalid="ignore"):
        expected = getattr(reference, name)(*wide, **options)
    assert found.shape == expected.shape
    if exact:
        np.testing.assert_array_equal(found, expected)
    else:
        assert found.dtype == inputs[0].dtype
        tolerance = 20 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * terms)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not np.shares_memory(array, found)
    for count in (1, 2):
        assert with_threads(count, kernel, *inputs, **options).tobytes() == found.tobytes()


def magnitude(name, *inputs, **options):
    """The largest sum of absolute values behind one element of the result, infinities and NaN aside."""
    sizes = [np.abs(np.nan_to_num(array.astype("float64"), nan=0, posinf=0, neginf=0)) for array in inputs]
    return getattr(reference, name)(*sizes, **options).max(initial=1)


# ---- kernels and reference -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("special", [False, True])
class TestConvolution:
    cases = pytest.mark.parametrize(
        "cases",
        [convolutions, pointwise_convolutions, depthwise_convolutions, deep_convolutions, full_convolutions],
    )

    @cases
    @several
    @given(data=st.data())
    def test_forward(self, special, cases, data):
        x, weight, _, options = data.draw(cases(special))
        check("conv2d", conv.conv2d, x, weight, terms=magnitude("conv2d", x, weight, **options), **options)

    @cases
    @several
    @given(data=st.data())
    def test_input(self, special, cases, data):
        x, weight, g, options = data.draw(cases(special))
        options["shape"] = x.shape
        terms = magnitude("conv2d_input", g, weight, **options)
        check("conv2d_input", conv.conv2d_input, g, weight, terms=terms, **options)

    @cases
    @several
    @given(data=st.data())
    def test_weight(self, special, cases, data):
        x, weight, g, options = data.draw(cases(special))
        options["shape"] = weight.shape
        terms = magnitude("conv2d_weight", g, x, **options)
        check("conv2d_weight", conv.conv2d_weight, g, x, terms=terms, **options)


@pytest.mark.parametrize("far", [600, 20_000, 2**31 + 20])
@pytest.mark.parametrize("groups", [1, 16])
def test_taps_far_outside_see_zeros(far, groups):
    x, weight = np.ones((1, 16, 8, 16), "float32"), np.ones((4 * groups, 16 // groups, 1, 3), "float32")
    weight = weight[:16] if groups > 1 else weight
    options = {"stride": (1, 1), "padding": (0, far), "dilation": (1, far), "groups": groups}
    y = conv.conv2d(x, weight, **options)
    np.testing.assert_array_equal(y, np.full(y.shape, 16 // groups))
    gradient = conv.conv2d_weight(np.ones_like(y), x, shape=weight.shape, **options)
    np.testing.assert_array_equal(gradient, np.broadcast_to([0, 8 * 16, 0], weight.shape))


@pytest.mark.usefixtures("blocks")
class TestPooledConvolution:
    def places(self, x, weight, bias, options):
        """What the convolution has at the places of each window (n o oh ow places)."""
        settings = {"stride": (1, 1), "dilation": (1, 1), "padding": options["padding"], "groups": options["groups"]}
        with np.errstate(invalid="ignore"):
            y = reference.conv2d(x.astype("float64"), weight.astype("float64"), **settings) + bias[:, None, None]
        (ph, pw), (n, o, h, w) = options["pool"], y.shape
        windows = y[:, :, : h // ph * ph, : w // pw * pw].reshape(n, o, h // ph, ph, w // pw, pw)
        return windows.transpose(0, 1, 2, 4, 3, 5).reshape(n, o, h // ph, w // pw, ph * pw), settings

    @several
    @given(pooled_convolutions())
    def test_values_and_gradients(self, case):
        x, weight, bias, g, options = case
        places, settings = self.places(x, weight, bias, options)
        y, (winners,) = with_threads(2, conv_pool.conv2d_pool, x, weight, bias, residuals=True, **options)
        bound = 50 * np.finfo(x.dtype).eps * (1 + np.abs(places).max(initial=0))
        largest = places.max(axis=-1) if places.size else places[..., 0]
        np.testing.assert_allclose(y, np.maximum(largest, 0) if options["relu"] else largest, rtol=0, atol=bound)
        chosen = np.take_along_axis(places, np.maximum(winners, 0)[..., None].astype(np.intp), axis=-1)[..., 0]
        alive = winners >= 0
        np.testing.assert_allclose(chosen[alive], largest[alive], rtol=0, atol=bound)
        assert (largest[~alive] <= bound).all()
        assert options["relu"] or alive.all()

        spread = np.zeros(
            (*places.shape[:2], *(x.shape[2 + a] + 2 * options["padding"][a] - weight.shape[2 + a] + 1 for a in (0, 1)))
        )
        for place, (a, b) in enumerate(np.ndindex(options["pool"])):
            part = spread[:, :, a :: options["pool"][0], b :: options["pool"][1]]
            part[:, :, : g.shape[2], : g.shape[3]] = np.where(winners == place, g, 0)
        wide = x.astype("float64"), weight.astype("float64")
        expected = (
            reference.conv2d_input(spread, wide[1], shape=x.shape, **settings),
            reference.conv2d_weight(spread, wide[0], shape=weight.shape, **settings),
            spread.sum(axis=(0, 2, 3)),
        )
        for needs in [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]:
            arguments = g, needs, (x, weight, bias), None, (winners,)
            found = with_threads(2, sums_over_winners.conv2d_pool_backward, *arguments, **options)
            for one, exact, need in zip(found, expected, needs, strict=True):
                assert (one is not None) == need
                if need:
                    assert (one.dtype, one.shape) == (x.dtype, exact.shape)
                    terms = 1 + g.size * np.abs(g).max(initial=0) * max(np.abs(x).max(initial=0), np.abs(weight).max())
                    np.testing.assert_allclose(one, exact, rtol=0, atol=20 * np.finfo(x.dtype).eps * terms)
            again = with_threads(1, sums_over_winners.conv2d_pool_backward, *arguments, **options)
            assert [a is None or a.tobytes() for a in found] == [a is None or a.tobytes() for a in again]

    @several
    @given(pooled_convolutions(special=True))
    def test_nan_wins_wherever_it_is(self, case):
        x, weight, bias, _, options = case
        places, _ = self.places(x, weight, bias, options)
        y, _ = conv_pool.conv2d_pool(x, weight, bias, residuals=True, **options)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(places).any(axis=-1))

    @pytest.mark.parametrize("relu", [False, True])
    def test_sums_of_no_channels_are_the_bias(self, relu):
        options = {"padding": (0, 0), "groups": 1, "pool": (2, 2), "relu": relu}
        inputs = np.zeros((2, 0, 6, 6), "f"), np.zeros((4, 0, 3, 3), "f"), np.array([1, -1, 0, np.nan], "f")
        y, (winners,) = conv_pool.conv2d_pool(*inputs, residuals=True, **options)
        expected = np.array([1, 0, 0, np.nan] if relu else [1, -1, 0, np.nan], "f")
        assert np.array_equal(y, np.broadcast_to(expected[:, None, None], (2, 4, 2, 2)), equal_nan=True)
        g = np.ones_like(y)
        *_, by_bias = sums_over_winners.conv2d_pool_backward(g, (True,) * 3, inputs, y, (winners,), **options)
        assert by_bias.tolist() == ([8, 0, 0, 0] if relu else [8] * 4)


@pytest.mark.usefixtures("bands")
class TestPooling:
    @several
    @given(pools(dilated=True, special=True))
    def test_argmax(self, case):
        x, _, options, dilation = case
        check("max_pool2d_argmax", max_pool.max_pool2d_argmax, x, exact=True, dilation=dilation, **options)

    @several
    @given(pools(dilated=True, special=True))
    def test_maximum_and_its_gradient(self, case):
        x, g, options, dilation = case
        self.check_maxima(x, g, options | {"dilation": dilation})

    @staticmethod
    def check_maxima(x, g, options):
        places = reference.max_pool2d_argmax(x, **options).reshape(*x.shape[:2], g.shape[2] * g.shape[3])
        rows = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
        spread = reference.scatter_along_axis(g.reshape(places.shape), places, axis=2, shape=rows.shape)
        for count in (1, 2):
            y, residuals = with_threads(count, max_pool.max_pool2d, x, True, **options)
            np.testing.assert_array_equal(y.reshape(places.shape), np.take_along_axis(rows, places, 2))
            (dx,) = with_threads(count, max_pool.max_pool2d_backward, g, (True,), (x,), None, residuals, **options)
            tolerance = 50 * np.finfo(x.dtype).eps
            np.testing.assert_allclose(dx.reshape(rows.shape), spread, rtol=tolerance, atol=tolerance)

    @several
    @given(pools(special=True), st.booleans())
    def test_average(self, case, include):
        x, _, options, _ = case
        check("avg_pool2d", avg_pool.avg_pool2d, x, terms=16 * 4, count_include_pad=include, **options)

    @several
    @given(pools(), st.booleans())
    def test_average_input(self, case, include):
        x, g, options, _ = case
        options |= {"shape": x.shape, "count_include_pad": include}
        check("avg_pool2d_input", avg_pool.avg_pool2d_input, g, terms=16 * 4, **options)

    @several
    @given(st.data(), pairs(1, 5), pairs(1, 9), st.sampled_from([1, 7]), pairs(0, 3))
    def test_windows_that_tile_the_image(self, data, kernel, size, times, images):
        x = data.draw(arrays((*images, kernel[0] * size[0], kernel[1] * size[1] * times), special=True))
        g = data.draw(arrays((*images, size[0], size[1] * times), x.dtype))
        options = {"kernel_size": kernel, "stride": kernel, "padding": (0, 0), "ceil_mode": False}
        self.check_maxima(x, g, options | {"dilation": (1, 1)})
        options["count_include_pad"] = True
        check("avg_pool2d", avg_pool.avg_pool2d, x, terms=25 * 4, **options)
        check("avg_pool2d_input", avg_pool.avg_pool2d_input, g, shape=x.shape, **options)

    @pytest.mark.parametrize("shape", [(3, 7, 8, 8), (1, 1, 7, 7), (5, 3, 33, 40), (2, 9, 1, 1), (0, 2, 3, 3)])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_windows_of_the_whole_image(self, shape, dtype):
        rng = np.random.default_rng(0)
        x, g = rng.integers(-9, 9, shape).astype(dtype), rng.standard_normal((*shape[:2], 1, 1)).astype(dtype)
        options = {"kernel_size": shape[2:], "stride": shape[2:], "padding": (0, 0), "ceil_mode": False}
        self.check_maxima(x, g, options | {"dilation": (1, 1)})
        x[rng.random(shape) < 0.02] = np.nan
        self.check_maxima(x, g, options | {"dilation": (1, 1)})
        x, options["count_include_pad"] = np.nan_to_num(x), True
        check("avg_pool2d", avg_pool.avg_pool2d, x, **options)
        check("avg_pool2d_input", avg_pool.avg_pool2d_input, g, shape=shape, **options)

    def test_a_window_of_minus_infinity_chooses_its_first_pixel(self):
        x = np.full((1, 1, 3, 4), -np.inf, "float32")
        options = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "ceil_mode": False}
        assert max_pool.max_pool2d_argmax(x, **options).tolist() == [[[[0, 1, 3], [4, 5, 7]]]]

    def test_nan_wins_wherever_it_is(self):
        x = np.arange(9, dtype="float32").reshape(1, 1, 3, 3)
        options = {"kernel_size": (3, 3), "stride": (3, 3), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}
        for place in range(9):
            image = np.where(np.arange(9).reshape(x.shape) == place, np.float32(np.nan), x)
            assert max_pool.max_pool2d_argmax(image, **options).item() == place


NUMPY = {
    "SUM": np.add,
    "MAX": np.maximum,
    "MIN": np.minimum,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
    "erf": np.vectorize(math.erf, "d"),
    "erfc": np.vectorize(math.erfc, "d"),
    "where_positive": lambda x, y: np.where(y > 0, x, 0),
}


@pytest.mark.parametrize("name", ["SUM", "MAX", "MIN"])
class TestReductions:
    @several
    @given(
        st.data(),
        st.sampled_from([(3, 5, 7), (1, 700, 3), (300, 1, 150), (5, 600), (2, 40_000), (33_001,), (2, 17, 2, 9), (1,)]),
    )
    def test_over_axes(self, name, data, shape):
        x = np.ascontiguousarray(data.draw(arrays(shape, special=data.draw(st.booleans()))))
        axis = tuple(i for i in range(len(shape)) if data.draw(st.booleans())) or (0,)
        found = with_threads(2, reduce.over_axes, getattr(reduce, name), x, axis)
        wide = x.astype("float64")
        with np.errstate(invalid="ignore"):
            expected = NUMPY[name].reduce(wide, axis=axis)
        assert (found.dtype, found.shape) == (x.dtype, expected.shape)
        error = np.abs(np.nan_to_num(found) - np.nan_to_num(expected.astype(x.dtype)))
        size = np.abs(np.nan_to_num(wide, posinf=0, neginf=0)).sum(axis=axis) if name == "SUM" else 0
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        assert (error <= 40 * np.finfo(x.dtype).eps * size).all()
        assert with_threads(1, reduce.over_axes, getattr(reduce, name), x, axis).tobytes() == found.tobytes()

    @pytest.mark.parametrize("axis", [(), (0,), (1,), (0, 2), (1, 3), (0, 1, 2, 3), (2, 1)])
    @pytest.mark.parametrize("keepdims", [False, True])
    @pytest.mark.parametrize("layout", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
    def test_of_any_large_array(self, name, axis, keepdims, layout, dtype):
        x = (9 * np.random.default_rng(0).standard_normal((30, 20, 15, 33))).astype(dtype, order=layout)
        options = {} if name == "SUM" else {"residuals": False}
        found = generic.KERNELS[name.lower()](x, axis=axis, keepdims=keepdims, **options)
        found = found if name == "SUM" else found[0]
        expected = NUMPY[name].reduce(x.astype("float64"), axis=axis, keepdims=keepdims)
        assert (found.dtype, found.shape) == (x.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5 if name == "SUM" else 0, atol=1e-3)

    def test_of_a_column_of_ones_does_not_stand_still(self, name):
        x = np.ones(((1 << 24) + 8, 2), "float32")
        assert (generic.KERNELS["sum"](x, axis=(0,), keepdims=False) == len(x)).all()
        assert (generic.KERNELS["sum"](x.T, axis=(1,), keepdims=False) == len(x)).all()


class TestGather:
    @several
    @given(lines())
    def test_take(self, case):
        x, indices, axis, _ = case
        check("take_along_axis", gather.take_along_axis, x, indices, exact=True, axis=axis)

    @several
    @given(lines())
    def test_scatter(self, case):
        x, indices, axis, g = case
        check("scatter_along_axis", gather.scatter_along_axis, g, indices, terms=30, axis=axis, shape=x.shape)

    def test_more_lines_than_one_thread_goes_through_together(self):
        rng = np.random.default_rng(0)
        x, g = rng.standard_normal((2, 5, 3 * gather.LINES - 7)), rng.standard_normal((2, 9, 3 * gather.LINES - 7))
        indices = rng.integers(0, 5, g.shape)
        check("take_along_axis", gather.take_along_axis, x, indices, exact=True, axis=1)
        check("scatter_along_axis", gather.scatter_along_axis, g, indices, terms=30, axis=1, shape=x.shape)


class TestOptimiserSteps:
    """Every operation is rounded by itself, in the dtype of the arrays: the kernels give the reference's bits."""

    @staticmethod
    def check(name, arrays, settings):
        with np.errstate(all="ignore"):
            expected = getattr(reference, name)(*arrays, **settings)
        before = [array.copy() for array in arrays]
        for count in (1, 2):
            found = with_threads(count, getattr(optim, name), *arrays, **settings)
            for one, other in zip(found, expected, strict=True):
                assert (one.dtype, one.shape) == (other.dtype, other.shape)
                np.testing.assert_array_equal(one, other)
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)

    @several
    @given(st.data(), st.floats(0, 1), st.floats(0, 1), st.booleans(), st.sampled_from([0.0, 0.1]))
    def test_sgd(self, data, lr, momentum, nesterov, decay):
        shape = data.draw(st.sampled_from([(1,), (0,), (3, 5), ((1 << 14) + 3,)]))
        x = data.draw(arrays(shape, special=True))
        rest = [data.draw(arrays(shape, x.dtype, special=True)) for _ in range(1 + data.draw(st.booleans()))]
        settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "decay": decay}
        self.check("sgd_step", [x, *rest], settings)

    @several
    @given(st.data(), st.floats(0, 1), st.floats(0, 0.99), st.floats(0, 0.99), st.sampled_from([0.0, 0.1]))
    def test_adam(self, data, lr, first, second, decay):
        shape = data.draw(st.sampled_from([(1,), (0,), (3, 5), ((1 << 14) + 3,)]))
        x = data.draw(arrays(shape, special=True))
        g, mean, square = (data.draw(arrays(shape, x.dtype, special=True)) for _ in range(3))
        settings = {"steps": data.draw(st.integers(1, 9)), "lr": lr, "betas": (first, second), "eps": 1e-8}
        self.check("adam_step", [x, g, mean, np.abs(square)], settings | {"decay": decay})


class TestElementwise:
    @staticmethod
    def check(name, *operands):
        exact = name not in ("sigmoid", "exp", "erf", "erfc", "tanh")
        rtol = 0 if exact else {"float32": 1e-6, "float64": 2e-15}[str(operands[0].dtype)]
        found = with_threads(2, elementwise.compute, name, *operands)
        with np.errstate(all="ignore"):
            expected = NUMPY.get(name, getattr(np, name, None))(*operands)
        assert (found.dtype, found.shape) == (operands[0].dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=rtol)
        assert with_threads(1, elementwise.compute, name, *operands).tobytes() == found.tobytes()

    @several
    @given(st.data(), st.sampled_from(list(elementwise.UNARY)), st.sampled_from([1, 16, 1111]))
    def test_unary(self, data, name, size):
        self.check(name, np.ascontiguousarray(data.draw(arrays((3, size), special=True))))

    @several
    @given(st.data(), st.sampled_from(list(elementwise.BINARY)), st.lists(st.integers(1, 5), max_size=3))
    def test_binary(self, data, name, shape):
        shape = (*shape, elementwise.SHORT + data.draw(st.integers(0, 20)))
        stay = lambda: tuple(size if data.draw(st.booleans()) else 1 for size in shape)
        x, y = stay()[data.draw(st.integers(0, len(shape))) :], stay()
        x = data.draw(arrays(x, special=True)).copy(order="C")
        y = data.draw(arrays(y, x.dtype, special=True)).copy(order="C")
        for operands in (x, y), (y, x):
            if elementwise._runs(*(array.shape for array in operands)) is not None:
                self.check(name, *operands)

    def test_runs(self):
        for x, y, length in [
            ((4, 50), (4, 50), 200),
            ((4, 50), (50,), 50),
            ((4, 50), (4, 1), 50),
            ((4, 50), (), 200),
            ((4, 1), (1, 50), 50),
            ((2, 3, 8, 8), (3, 1, 1), 64),
            ((2, 3, 8, 8), (3, 8, 8), 192),
            ((2, 1, 8, 8), (3, 1, 1), 64),
        ]:
            assert elementwise._runs(x, y).length == elementwise._runs(y, x).length == length
        assert elementwise._runs((4, 50, 3), (4, 50, 1)) is None
        assert elementwise._runs((elementwise.MANY + 1, 50), (50,)) is None

    def test_other_operands_are_left_to_numpy(self):
        x = np.ones((4, 66), "float32")
        for other in (x[:, ::2], x.T, x.astype("float64"), x.astype("int32")):
            assert elementwise.compute("add", x, other) is None
            assert elementwise.compute("add", other, x) is None
        assert elementwise.compute("relu", x.astype("int32")) is None

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_relu_of_minus_zero_is_zero_at_every_size(self, dtype):
        for size in (1, 7, 1 << 15):
            x = np.full(size, -0.0, dtype)
            x[::3] = np.nan
            y = generic.KERNELS["relu"](x)
            assert not np.signbit(y[1::3]).any()
            np.testing.assert_array_equal(y, np.where(np.isnan(x), x, 0))

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_sigmoid_is_within_its_bound(self, dtype):
        x = np.concatenate([np.linspace(-104, 104, 400_001), np.geomspace(1e-38, 1, 10_000)]).astype(dtype)
        exact = 1 / (1 + np.exp(-x.astype("longdouble")))
        error = np.abs(elementwise.compute("sigmoid", x) - exact) / np.spacing(exact.astype(dtype))
        assert error.max() < 2.5


@st.composite
def batches(draw, special=False):
    """x, g, the tables of batch-norm (with the statistics or without) and its options; sometimes far from 0."""
    run = draw(st.sampled_from([(), (1, 1), (2, 3), (4, 4), (9, 37)]))
    shape = draw(st.sampled_from([1, 2, 5, norm.ROWS + 2])), draw(st.sampled_from([1, 3, 17])), *run
    x = draw(arrays(shape, special=special))
    x = x + x.dtype.type(draw(st.sampled_from([0, 1e4])))
    g = draw(arrays(shape, x.dtype))
    tables = [draw(arrays(shape[1:2], x.dtype)) for _ in range(2)]
    if draw(st.booleans()):
        tables += [draw(arrays(shape[1:2], x.dtype)), np.abs(draw(arrays(shape[1:2], x.dtype)))]
    return x, g, tables, {"eps": draw(st.sampled_from([0.1, 1.0])), "relu": draw(st.booleans())}


class TestBatchNorm:
    @staticmethod
    def results(x, g, tables, options):
        """The output, the statistics, and the cotangents of all inputs."""
        y, statistics = norm.batch_norm(x, *tables, residuals=True, **options)
        needs = (True,) * (1 + len(tables))
        return y, *statistics, *norm.batch_norm_backward(g, needs, (x, *tables), None, statistics, **options)

    @staticmethod
    def exact(x, g, tables, options):
        """The same in float64, from the textbook."""
        last = lambda array: np.moveaxis(array, 1, -1).astype("float64")
        x, g, (weight, bias, *given) = last(x), last(g), tables
        axes = tuple(range(x.ndim - 1))
        mean, var = given or (x.mean(axes), x.var(axes))
        inverse = 1 / np.sqrt(var + options["eps"])
        normal = (x - mean) * inverse
        y = normal * weight + bias
        g = np.where(y > 0, g, 0) if options["relu"] else g
        along, total = (g * normal).sum(axes), g.sum(axes)
        through = 0 if given else (total + normal * along) / max(x.size // x.shape[-1], 1)
        found = [np.maximum(y, 0) if options["relu"] else y, mean, var, weight * inverse * (g - through), along, total]
        if given:
            found += [-weight * inverse * total, -0.5 * weight * inverse**2 * along]
        return [np.moveaxis(a, -1, 1) if a.ndim > 1 else a for a in found]

    @several
    @given(batches())
    def test_values_and_gradients(self, case):
        x, _, tables, options = case
        with np.errstate(all="ignore"):
            y = reference.batch_norm(x.astype("float64"), *tables, eps=options["eps"], relu=False)
        options["relu"] &= bool(np.abs(y).min() > 1e-2)  # where it is near 0, its sign is a matter of rounding
        found, exact = with_threads(2, self.results, *case), self.exact(*case)
        for k, (one, expected) in enumerate(zip(found, exact, strict=True)):
            assert (one.dtype, one.shape) == (x.dtype, expected.shape)
            tolerance = 50 * np.finfo(x.dtype).eps * (1 + np.abs(x).max())
            scale = 1 + np.abs(expected).max()
            if k in (4, 7):  # sums of g * (x - mean): the mean's own rounding is in them as often as g
                scale += np.abs(exact[5]).max()
            np.testing.assert_allclose(one, expected, rtol=tolerance, atol=tolerance * scale)
        one_thread = with_threads(1, self.results, *case)
        assert [a.tobytes() for a in found] == [a.tobytes() for a in one_thread]

    @several
    @given(batches(special=True))
    def test_special_values(self, case):
        with np.errstate(all="ignore"):
            for one, expected in zip(self.results(*case), self.exact(*case), strict=True):
                np.testing.assert_array_equal(np.isnan(one), np.isnan(expected))

    @pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 3, 5, 5), (2, 0, 5, 5), (2, 3, 0, 4)])
    def test_no_elements(self, shape):
        x, tables = np.zeros(shape, "float32"), [np.ones(shape[1], "float32")] * 2
        y, mean, _, dx, dweight, dbias = self.results(x, x, tables, {"eps": 0.0, "relu": False})
        assert y.shape == dx.shape == shape
        assert np.isnan(mean).all()
        assert np.isnan(dweight).all()
        assert not dbias.any()

    @pytest.mark.parametrize("shape", [(64, 3), (8, 3, 10, 10)])
    @pytest.mark.parametrize("offset", [0, 1e3, 1e6])
    def test_a_large_mean_does_not_harm_the_variance(self, shape, offset):
        x = (np.random.default_rng(0).standard_normal(shape) + offset).astype("float32")
        x[0, :, ...] += 1000
        _, (mean, var) = norm.batch_norm(x, *np.ones((2, 3), "float32"), eps=0.0, relu=False, residuals=True)
        axes = (0, *range(2, x.ndim))
        np.testing.assert_allclose(mean, x.mean(axes, dtype="float64"), rtol=1.2e-7)
        np.testing.assert_allclose(var, x.var(axes, dtype="float64"), rtol=1.2e-7)


@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("channels", [1, 9])
def test_blocks_of_the_usual_size(images, channels):
    rng = np.random.default_rng(images)
    x = rng.standard_normal((images, channels, 45, 38)).astype("float32")
    weight = rng.standard_normal((7, channels, 5, 3)).astype("float32")
    options = {"stride": (1, 1), "padding": (2, 0), "dilation": (1, 2), "groups": 1}
    y = conv.conv2d(x, weight, **options)
    check("conv2d", conv.conv2d, x, weight, terms=15 * channels, **options)
    check("conv2d_input", conv.conv2d_input, y, weight, terms=1e3 * channels, shape=x.shape, **options)
    check("conv2d_weight", conv.conv2d_weight, y, x, terms=1e5 * channels, shape=weight.shape, **options)


def test_a_convolution_without_pixels_or_images():
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    weight = np.ones((2, 3, 2, 2), "float32")
    for x in (np.ones((0, 3, 4, 4), "float32"), np.ones((1, 3, 0, 4), "float32")):
        y = conv.conv2d(x, weight, **options)
        assert not y.any()
        assert not conv.conv2d_weight(y, x, shape=weight.shape, **options).any()
        assert conv.conv2d_input(y, weight, shape=x.shape, **options).shape == x.shape


@given(st.integers(0, 6), st.integers(-9, 9), st.integers(1, 4), st.integers(0, 9))
def test_inside_is_a_plain_search(count, start, step, size):
    assert list(range(*inside(count, start, step, size))) == [i for i in range(count) if 0 <= start + i * step < size]


# ---- reference and PyTorch -------------------------------------------------------------------------------------------


class TestReference:
    @several
    @given(convolutions())
    def test_convolution(self, torch, case):
        x, weight, g, options = case
        assume(len(x))
        x, weight, g = (torch.tensor(array.astype("float64")) for array in (x, weight, g))
        x.requires_grad = weight.requires_grad = True
        y = torch.nn.functional.conv2d(x, weight, **options)
        by_x, by_weight = torch.autograd.grad(y, (x, weight), g)
        x, weight, g, y = (tensor.detach().numpy() for tensor in (x, weight, g, y))
        close = lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        close(reference.conv2d(x, weight, **options), y)
        close(reference.conv2d_input(g, weight, shape=x.shape, **options), by_x)
        close(reference.conv2d_weight(g, x, shape=weight.shape, **options), by_weight)

    @several
    @given(pools(dilated=True, special=True))
    def test_argmax(self, torch, case):
        x, _, options, dilation = case
        assume(len(x))
        for a in (0, 1):  # PyTorch has no pixel to name under a window without any
            k, s, p = (options[name][a] for name in ("kernel_size", "stride", "padding"))
            count = output_size(x.shape[2 + a], k, s, p, dilation[a], options["ceil_mode"])
            spans = [inside(k, i * s - p, dilation[a], x.shape[2 + a]) for i in range(count)]
            assume(all(first < stop for first, stop in spans))
        tensor = torch.tensor(np.ascontiguousarray(x))
        _, places = torch.nn.functional.max_pool2d(tensor, dilation=dilation, return_indices=True, **options)
        np.testing.assert_array_equal(reference.max_pool2d_argmax(x, dilation=dilation, **options), places)

    @several
    @given(pools(), st.booleans())
    def test_average(self, torch, case, include):
        x, g, options, _ = case
        assume(len(x))
        x, g = (torch.tensor(array.astype("float64")) for array in (x, g))
        x.requires_grad = True
        y = torch.nn.functional.avg_pool2d(x, count_include_pad=include, **options)
        (by_x,) = torch.autograd.grad(y, x, g)
        x, g, y = (tensor.detach().numpy() for tensor in (x, g, y))
        options["count_include_pad"] = include
        np.testing.assert_allclose(reference.avg_pool2d(x, **options), y, atol=1e-12)
        np.testing.assert_allclose(reference.avg_pool2d_input(g, shape=x.shape, **options), by_x, atol=1e-12)

    @several
    @given(lines())
    def test_scatter(self, torch, case):
        x, indices, axis, g = case
        places = torch.tensor(indices % x.shape[axis])
        expected = torch.zeros(x.shape, dtype=torch.float64).scatter_add(
            axis, places, torch.tensor(g.astype("float64"))
        )
        found = reference.scatter_along_axis(g.astype("float64"), indices, axis=axis, shape=x.shape)
        np.testing.assert_allclose(found, expected, atol=1e-12)


# ---- threads ---------------------------------------------------------------------------------------------------------

TWO_THREADS = """
import sys
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from minigrad.kernels.cpu import gather
x = np.arange(6000.0).reshape(3000, 2)
indices = (np.arange(6000).reshape(3000, 2) % 2)
expected = np.take_along_axis(x, indices, 1)
work = lambda _: all((gather.take_along_axis(x, indices, axis=1) == expected).all() for _ in range(200))
with ThreadPoolExecutor(4) as pool:
    assert all(pool.map(work, range(4)))
"""


def run(script, **variables):
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **variables}, capture_output=True, text=True
    )


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_kernels_are_called_from_several_threads(layer):
    done = run(TWO_THREADS, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr


def test_different_kernels_run_in_several_threads():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((4, 3, 20, 20)), rng.standard_normal((5, 3, 3, 3))
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    kernels = [
        lambda: conv.conv2d(x, weight, groups=1, **options),
        lambda: max_pool.max_pool2d_argmax(x, kernel_size=(3, 3), ceil_mode=False, **options),
    ]
    expected = [kernel().tobytes() for kernel in kernels]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda i: kernels[i % 2]().tobytes() == expected[i % 2], range(40)))
    assert all(found)


# ---- softmax cross-entropy -------------------------------------------------------------------------------------------


@given(
    st.integers(0, 5),
    st.sampled_from([1, 2, 3, 15, 16, 17, 100]),
    st.sampled_from([(), (3,)]),
    st.sampled_from(["float32", "float64"]),
    st.data(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_softmax_cross_entropy(n, c, more, dtype, data):
    logits = data.draw(arrays((n, c, *more), dtype, special=data.draw(st.booleans())))
    logits = logits * data.draw(st.sampled_from([1, 100]))
    labels = np.random.default_rng(n).integers(0, c, (n, *more))
    losses, (softmax,) = loss.softmax_cross_entropy(logits, labels, reduction="none", residuals=True)
    with np.errstate(all="ignore"):
        top = logits.max(axis=1, keepdims=True)
        shifted = logits - np.where(np.isfinite(top), top, 0)
        weights = np.exp(shifted)
        total = weights.sum(axis=1, keepdims=True)
        chosen = np.take_along_axis(shifted, np.expand_dims(labels, 1), 1)
        expected, shares = (np.log(total) - chosen).squeeze(1), weights / total
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance * 3)
    np.testing.assert_allclose(np.moveaxis(softmax, -1, 1), shares, rtol=2 * tolerance, atol=1e-37)
    assert loss.softmax_cross_entropy(logits, labels, reduction="none", residuals=False)[1] == ()


@several
@given(st.data(), st.sampled_from([(1, 1), (3, 16), (7, 100), (2, 3, 5)]), st.booleans())
def test_softmax(data, shape, special):
    axis, scale = data.draw(st.integers(0, len(shape) - 1)), 1 if special else data.draw(st.sampled_from([1, 100]))
    x = scale * data.draw(arrays(shape, special=special))
    g = data.draw(arrays(shape, x.dtype))
    wide, tolerance = x.astype("float64"), 200 * np.finfo(x.dtype).eps
    with np.errstate(all="ignore"):
        top = wide.max(axis=axis, keepdims=True)
        shifted = wide - np.where(np.isfinite(top), top, 0)
        weights = np.exp(shifted)
        total = weights.sum(axis=axis, keepdims=True)
        expected = {
            "softmax": (weights / total, lambda y: y * (g - (g * y).sum(axis=axis, keepdims=True))),
            "log_softmax": (shifted - np.log(total), lambda y: g - np.exp(y) * g.sum(axis=axis, keepdims=True)),
        }
        for name, (values, gradient) in expected.items():
            runs = []
            for count in (1, 2):
                y, _ = with_threads(count, getattr(softmaxes, name), x, axis=axis, residuals=True)
                backward = getattr(softmaxes, f"{name}_backward")
                (dx,) = with_threads(count, backward, g, (True,), (x,), y, (), axis=axis)
                runs.append(y.tobytes() + dx.tobytes())
            assert runs[0] == runs[1]
            assert (y.dtype, dx.dtype) == (x.dtype, x.dtype)
            np.testing.assert_allclose(y, values, rtol=tolerance, atol=1e-37 if name == "softmax" else tolerance)
            np.testing.assert_allclose(dx, gradient(y.astype("float64")), rtol=tolerance, atol=9 * tolerance)


@pytest.mark.parametrize("function", [softmaxes.softmax, softmaxes.log_softmax])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_softmax_of_nothing(function, shape):
    assert function(np.ones(shape, "float32"), axis=1, residuals=False)[0].shape == shape
