"""Winograd's convolution: near the sums that define it, wherever it is chosen, and those sums where it must not be."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import ArgumentError
from minigrad.kernels import reference
from minigrad.kernels.cpu import conv, precision, threads, winograd
from minigrad.testing import check_grads

LARGEST = {"highest": 0, "high": 2, "medium": 4}  # square of each precision
ERRORS = {"highest": 2.5e-7, "high": 4e-7, "medium": 1.3e-6}  # of float32, as a part of the result's root mean square
OPTIONS = {"stride": (1, 1), "dilation": (1, 1)}


@pytest.fixture
def chosen():
    """A function that chooses a precision for one test."""
    yield mg.set_conv_precision
    mg.set_conv_precision("high")


@pytest.fixture(params=LARGEST, scope="class")
def precise(request):
    """Each precision in turn, with the largest squares that it allows, whether they pay or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "best_square", lambda *case: LARGEST[request.param])
        yield request.param


@st.composite
def problems(draw):
    """x, weight, g and the options of a convolution: ragged sizes, tiny and huge numbers; x and g not all finite."""
    groups, channels, outputs = draw(st.integers(1, 3)), draw(st.sampled_from([3, 7])), draw(st.sampled_from([3, 14]))
    padding = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    image = [max(1, 3 - 2 * p) + draw(st.one_of(st.integers(0, 9), st.integers(30, 75))) for p in padding]
    n, dtype = draw(st.integers(1, 5)), draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    odd = draw(st.sampled_from([0, 1, 3]))

    def numbers(*shape, odd=0):
        with np.errstate(over="ignore", under="ignore"):
            scale = np.array(draw(st.sampled_from([1, 1, 1e-42, 1e-30, 1e30, 1e36])), dtype)
            x = rng.standard_normal(shape).astype(dtype) * scale
        x.flat[rng.integers(x.size, size=odd)] = rng.choice([np.nan, np.inf, -np.inf], odd)
        return x

    size = [side + 2 * p - 2 for side, p in zip(image, padding, strict=True)]
    x = numbers(n, groups * channels, *image, odd=odd)
    weight = numbers(groups * outputs, channels, 3, 3)
    g = numbers(n, groups * outputs, *size, odd=odd)
    return x, weight, g, {"padding": padding, "groups": groups, **OPTIONS}


def check(name, *inputs, **options):
    """Compare a kernel with the reference in float64, and with itself on another number of threads."""
    wide = [x.astype("float64") for x in inputs]
    sizes = [np.abs(np.nan_to_num(x, nan=0, posinf=0, neginf=0)) for x in wide]
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(*wide, **options)
        terms = getattr(reference, name)(*sizes, **options).max()
        count = getattr(reference, name)(*map(np.ones_like, wide), **options).max()
        limits = np.finfo(inputs[0].dtype)
        assume(terms < limits.max / 8)  # beyond, a sum overflows in one order and not in another
        found = []
        for threads_used in (1, min(2, threads.limit())):
            threads.choose(threads_used)
            found.append(getattr(conv, name)(*inputs, **options))
        threads.choose(None)
    assert found[0].dtype == inputs[0].dtype
    assert found[0].tobytes() == found[1].tobytes()
    tolerance = 60 * limits.eps
    error = tolerance * terms + count * float(limits.smallest_subnormal)
    np.testing.assert_allclose(found[0], expected, rtol=tolerance, atol=error)


@functools.cache  # the reference takes long
def three(n, channels, side):
    """A 3x3 convolution and its gradients: the name of each kernel, its inputs and options, and what is expected."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((n, channels, side, side)).astype("float32")
    weight = rng.standard_normal((channels, channels, 3, 3)).astype("float32")
    same = {"padding": (1, 1), "groups": 1, **OPTIONS}
    cases = [
        ("conv2d", (x, weight), same),
        ("conv2d_input", (x[::-1], weight), {"shape": x.shape, **same}),
        ("conv2d_weight", (x[::-1], x), {"shape": weight.shape, **same}),
    ]
    return [
        (kernel, inputs, options, getattr(reference, kernel)(*[it.astype("float64") for it in inputs], **options))
        for kernel, inputs, options in cases
    ]


class TestNearTheReference:
    @settings(max_examples=40, deadline=None)
    @given(case=problems())
    def test_forward(self, precise, case):
        x, weight, _, options = case
        check("conv2d", x, weight, **options)

    @settings(max_examples=40, deadline=None)
    @given(case=problems())
    def test_input(self, precise, case):
        x, weight, g, options = case
        check("conv2d_input", g, weight, shape=x.shape, **options)

    @pytest.mark.parametrize(
        ("n", "channels", "side"), [(2, 512, 7), (2, 192, 8), (2, 100, 14), (2, 64, 56), (2, 24, 64)]
    )
    def test_errors_are_as_documented(self, precise, n, channels, side):
        for kernel, inputs, options, expected in three(n, channels, side):
            found = getattr(conv, kernel)(*inputs, **options)
            error = np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean())
            assert error < ERRORS[precise]

    def test_derivatives_agree_with_differences(self, precise):
        rng = np.random.default_rng(0)
        x, weight = mg.tensor(rng.standard_normal((2, 3, 7, 6))), mg.tensor(rng.standard_normal((5, 3, 3, 3)))
        check_grads(lambda x, weight: mg.conv2d(x, weight, padding=(1, 0)), x, weight, order=2)


def test_what_cannot_be_transformed_is_summed(chosen):
    """A number near the largest, a NaN or an infinity: the bits are those of direct sums, in the whole result."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((32, 32, 3, 3)).astype("float32")
    for number in 1e38, np.nan, np.inf:
        x = rng.standard_normal((2, 32, 16, 16)).astype("float32")
        x[1, 5, 7, 7] = number
        results = []
        for name in precision.SQUARES:
            chosen(name)
            results.append(mg.conv2d(mg.tensor(x), mg.tensor(weight), padding=1).numpy().tobytes())
        assert len(set(results)) == 1


def test_the_precision_is_chosen_for_all_threads(chosen):
    rng = np.random.default_rng(0)
    x = mg.tensor(rng.standard_normal((1, 64, 66, 66)).astype("float32"))
    weight = mg.tensor(rng.standard_normal((64, 64, 3, 3)).astype("float32"))
    results = {}
    for name in LARGEST:
        chosen(name)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(mg.get_conv_precision).result() == name
            results[name] = pool.submit(lambda: mg.conv2d(x, weight).numpy()).result()
    for name, result in results.items():
        np.testing.assert_allclose(result, results["highest"], atol=1e-3)
        assert name == "highest" or (result != results["highest"]).any()
    assert (results["medium"] != results["high"]).any()


@pytest.mark.parametrize("name", ["exact", "", None, 2, "HIGH"])
def test_an_unknown_precision_is_refused(name):
    with pytest.raises(ArgumentError, match=f"the precisions are 'highest', 'high', 'medium'; not {name!r}"):
        mg.set_conv_precision(name)
    assert mg.get_conv_precision() == "high"
