"""scipy as the oracle: special functions to a few units in the last place, and convolutions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

special = pytest.importorskip("scipy.special", reason="needs scipy: pip install -e '.[oracle]'")
signal = pytest.importorskip("scipy.signal", reason="needs scipy: pip install -e '.[oracle]'")

POINTS = np.concatenate([np.linspace(-40, 40, 8001), np.geomspace(1e-300, 1e-3, 600), -np.geomspace(1e-300, 1e-3, 600)])


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def tail(x: np.ndarray) -> np.ndarray:
    """What the rounding of x comes to in exp(-x**2), in units in the last place (scipy's own error is as large)."""
    return 16 + 4 * x * x


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any]] = {
    "erf": (mg.erf, special.erf, 4),
    "erfc": (mg.erfc, special.erfc, tail),
    "sigmoid": (mg.sigmoid, special.expit, 4),
    "softplus": (mg.softplus, lambda x: -special.log_expit(-x), 4),
    "gelu": (mg.gelu, lambda x: x * special.ndtr(x), tail),
    "expm1": (mg.expm1, special.expm1, 4),
    "log1p": (lambda x: mg.log1p(mg.abs(x)), lambda x: special.log1p(np.abs(x)), 4),
}
"""Ours, scipy's, and how many units in the last place lie between them at most."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_functions(name: str, dtype: str) -> None:
    ours, theirs, bound = FUNCTIONS[name]
    x = POINTS.astype(dtype)
    expected = theirs(x.astype("float64"))
    result = ours(mg.tensor(x)).numpy()
    assert result.dtype == dtype
    normal = np.abs(expected) > 2 * np.finfo(dtype).tiny
    unit = np.spacing(np.abs(expected[normal]).astype(dtype)).astype("float64")
    error = np.abs(result[normal].astype("float64") - expected[normal]) / unit
    assert normal.sum() > len(x) // 4
    assert (error <= (bound(x[normal].astype("float64")) if callable(bound) else bound)).all(), error.max()


@pytest.mark.parametrize("axis", [0, 1, (0, 2), None])
def test_logsumexp(axis: Any) -> None:
    x = 300 * numbers(3, 4, 5)
    expected, shares = special.logsumexp(x, axis=axis), special.softmax(x, axis=axis)
    t = mg.tensor(x, requires_grad=True)
    y = mg.logsumexp(t, axis=axis)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-14)
    g = numbers(*y.shape, seed=1)
    y.backward(mg.tensor(g))
    cotangent = g if axis is None else np.expand_dims(g, axis)
    np.testing.assert_allclose(t.grad.numpy(), cotangent * shares, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis: int) -> None:
    x = 30 * numbers(3, 4, 5)
    np.testing.assert_allclose(mg.softmax(mg.tensor(x), axis=axis).numpy(), special.softmax(x, axis=axis), rtol=1e-13)
    logs = mg.log_softmax(mg.tensor(x), axis=axis).numpy()
    np.testing.assert_allclose(logs, special.log_softmax(x, axis=axis), rtol=1e-13, atol=1e-13)


SHAPES = [((7, 9), (3, 3)), ((5, 5), (1, 4)), ((8, 6), (2, 5)), ((4, 11), (4, 1))]


def planes(function: Callable[..., Any], x: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    """The two-dimensional function of all planes of x (n c h w) with all windows of y (o c kh kw), summed over c."""
    return np.array([[sum(map(lambda a, b: function(a, b, **options), one, w)) for w in y] for one in x])


@pytest.mark.parametrize(("size", "window"), SHAPES)
def test_conv2d_is_correlate2d(size: tuple[int, int], window: tuple[int, int]) -> None:
    """Its gradients are a full convolution with the weight, and a correlation of the input with the cotangent."""
    x, w = numbers(2, 3, *size), numbers(4, 3, *window, seed=1)
    t, weight = mg.tensor(x, requires_grad=True), mg.tensor(w, requires_grad=True)
    y = mg.conv2d(t, weight)
    np.testing.assert_allclose(y.detach().numpy(), planes(signal.correlate2d, x, w, mode="valid"), atol=1e-12)
    g = numbers(*y.shape, seed=2)
    y.backward(mg.tensor(g))
    expected = planes(signal.convolve2d, g, w.swapaxes(0, 1), mode="full")
    np.testing.assert_allclose(t.grad.numpy(), expected, atol=1e-12)
    expected = planes(signal.correlate2d, x.swapaxes(0, 1), g.swapaxes(0, 1), mode="valid").swapaxes(0, 1)
    np.testing.assert_allclose(weight.grad.numpy(), expected, atol=1e-12)
    transposed = mg.conv_transpose2d(mg.tensor(g), weight.detach()).numpy()
    np.testing.assert_allclose(transposed, planes(signal.convolve2d, g, w.swapaxes(0, 1), mode="full"), atol=1e-12)


@pytest.mark.parametrize(("mode", "boundary"), [("circular", "wrap"), ("constant", "fill")])
@pytest.mark.parametrize("window", [(3, 3), (5, 1)])
def test_margins_are_boundaries(mode: str, boundary: str, window: tuple[int, int]) -> None:
    x, w = numbers(2, 2, 6, 7), numbers(3, 2, *window, seed=1)
    widths = [(0, 0), (0, 0), *((size // 2, size // 2) for size in window)]
    y = mg.conv2d(mg.pad(mg.tensor(x), widths, mode=mode), mg.tensor(w)).numpy()
    expected = planes(signal.correlate2d, x, w, mode="same", boundary=boundary)
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_conv1d_is_correlate() -> None:
    x, w = numbers(2, 3, 20), numbers(4, 3, 5, seed=1)
    expected = planes(signal.correlate, x, w, mode="valid")
    np.testing.assert_allclose(mg.conv1d(mg.tensor(x), mg.tensor(w)).numpy(), expected, atol=1e-12)
