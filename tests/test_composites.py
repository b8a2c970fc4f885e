"""Ops that are made of other ops, by what they must have in common with these."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError, ShapeError
from minigrad.ops.einstein import EXAMPLES

often = settings(max_examples=25, deadline=None, derandomize=True)


def some(*shape: int, seed: int = 0) -> mg.Tensor:
    """Normal float64 numbers."""
    return mg.tensor(np.random.default_rng(seed).normal(size=shape))


def near(x: mg.Tensor, y: mg.Tensor, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=tolerance, atol=tolerance)


# ---- patches and local connections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("subscripts", EXAMPLES)
def test_einsum_of_every_kind(subscripts: str) -> None:
    terms = subscripts.split("->")[0].replace("...", "").split(",")
    arrays = [some(*("bijkl".index(letter) + 2 for letter in term), seed=n) for n, term in enumerate(terms)]
    expected = np.einsum(subscripts, *(array.numpy() for array in arrays))
    np.testing.assert_allclose(mg.einsum(subscripts, *arrays).numpy(), expected, rtol=1e-12, atol=1e-12)


windows = st.fixed_dictionaries({"stride": st.sampled_from([1, 2, (1, 3)]), "padding": st.sampled_from([0, 1, (2, 0)])})


@given(windows, st.integers(1, 3))
@often
def test_convolution_is_a_product_with_patches(options: dict[str, Any], size: int) -> None:
    x, weight = some(2, 3, 6, 7), some(4, 3, size, size, seed=1)
    y = mg.conv2d(x, weight, **options)
    patches = mg.unfold(x, size, **options)
    near(mg.einsum("ok,nkl->nol", weight.reshape(4, -1), patches).reshape(y.shape), y)


@given(windows)
@often
def test_locally_connected_with_the_same_weights_everywhere_is_a_convolution(options: dict[str, Any]) -> None:
    x, weight = some(2, 3, 6, 7), some(4, 3, 3, 2, seed=1)
    y = mg.conv2d(x, weight, **options)
    everywhere = weight.broadcast_to((*y.shape[2:], *weight.shape))
    near(mg.locally_connected2d(x, everywhere, **options), y)


def test_a_locally_connected_layer() -> None:
    layer = nn.LocallyConnected2d(2, 3, (5, 6), 3, stride=2, padding=1).to("float64")
    assert layer.weight.shape == (3, 3, 3, 2, 3, 3)
    assert layer.bias.shape == (3, 3, 3)
    parameters = list(layer.parameters())
    x = some(2, 2, 5, 6)
    near(layer(x).detach() - layer.bias.detach(), mg.locally_connected2d(x, layer.weight.detach(), stride=2, padding=1))
    assert len(parameters) == 2
    assert nn.LocallyConnected2d(1, 1, 4, 3, bias=False).bias is None
    with pytest.raises(ShapeError, match=r"a window of \(5, 5\) does not fit into images of \(4, 4\)"):
        nn.LocallyConnected2d(1, 1, 4, 5)


@given(st.sampled_from([1, 2, 3]), st.sampled_from([0, 1]), st.booleans())
@often
def test_transposed_convolution_is_the_adjoint(stride: int, padding: int, extra: bool) -> None:
    weight, y = some(4, 3, 3, 3), some(2, 4, 3, 4, seed=1)
    options = {"stride": stride, "padding": padding}
    z = mg.conv_transpose2d(y, weight, **options, output_padding=int(extra and stride > 1))
    x = some(*z.shape, seed=2)
    left, right = (mg.conv2d(x, weight, **options) * y).sum(), (x * z).sum()
    np.testing.assert_allclose(left.item(), right.item(), rtol=1e-12)


# ---- pools over features ---------------------------------------------------------------------------------------------


def test_pools_over_features_are_pools_of_the_transpose() -> None:
    x = some(2, 6, 4, 5)
    seen = x.permute_dims((0, 2, 3, 1)).reshape(2, 1, 20, 6)

    def back(y: mg.Tensor) -> mg.Tensor:
        return y.reshape(2, 4, 5, y.shape[3]).permute_dims((0, 3, 1, 2))

    near(mg.max_pool_features(x, 3, stride=1), back(mg.max_pool2d(seen, (1, 3), stride=1)))
    near(mg.avg_pool_features(x, 2), back(mg.avg_pool2d(seen, (1, 2))))
    near(mg.lp_pool_features(x, 2, 6), back(mg.vector_norm(seen, axis=3, keepdims=True)))
    near(nn.LPPoolFeatures(2, 2)(x), mg.sqrt(x[:, ::2] * x[:, ::2] + x[:, 1::2] * x[:, 1::2]))
    near(nn.MaxPoolFeatures(2)(x), mg.maximum(x[:, ::2], x[:, 1::2]))


def test_l2_pooling_of_zeros_has_derivatives_of_every_order() -> None:
    for pool in (lambda x: mg.lp_pool2d(x, 2, 2), lambda x: mg.lp_pool_features(x, 2, 2)):
        x = mg.zeros((1, 2, 2, 2), dtype="float64")
        x.requires_grad = True
        y = pool(x)
        for _ in range(3):
            y.sum().backward(create_graph=True)
            y, x.grad = x.grad, None
            assert not y.detach().numpy().any()


# ---- local contrast --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("across", [False, True])
def test_local_contrast_is_blind_to_brightness_and_contrast(across: bool) -> None:
    x = some(2, 3, 9, 8)
    layer = nn.LocalContrastNorm(5, sigma=1.5, across_features=across).to("float64")
    near(layer(x * 4.0 + 7.0), layer(x), 1e-10)
    near(mg.subtractive_norm(mg.full_like(x, 3.0), 5, across_features=across), mg.zeros_like(x))


def test_local_contrast_over_the_whole_image() -> None:
    """Under a window that covers everything from everywhere, the neighbourhood is the image."""
    x = some(2, 3, 3, 4)
    centred = x - x.mean(axis=(2, 3), keepdims=True)
    near(mg.subtractive_norm(x, (7, 7)), centred)
    near(mg.local_contrast_norm(x, (7, 7)), centred / x.std(axis=(2, 3), keepdims=True))
    everything = x - x.mean(axis=(1, 2, 3), keepdims=True)
    near(mg.local_contrast_norm(x, 7, across_features=True), everything / x.std(axis=(1, 2, 3), keepdims=True))


def test_gaussian_neighbourhoods() -> None:
    window = nn.LocalContrastNorm((3, 5), sigma=2.0).window.numpy()
    assert window.shape == (3, 5)
    np.testing.assert_allclose(window[1, 2], 1.0)
    np.testing.assert_allclose(window[0, 0], np.exp(-(1 + 4) / 8), rtol=1e-6)
    with pytest.raises(ArgumentError, match="sigma = 0 is not positive"):
        nn.LocalContrastNorm(3, sigma=0)


def test_local_contrast_has_derivatives_where_the_image_is_even() -> None:
    x = mg.ones((1, 2, 4, 4), dtype="float64")
    x.requires_grad = True
    mg.local_contrast_norm(x, 3).backward(some(1, 2, 4, 4))
    assert np.isfinite(x.grad.numpy()).all()


# ---- layer normalisation ---------------------------------------------------------------------------------------------


def test_layer_norm_has_the_moments() -> None:
    y = mg.layer_norm(some(4, 5, 6), (5, 6), eps=0.0)
    near(y.mean(axis=(1, 2)), mg.zeros(4, dtype="float64"))
    near(y.var(axis=(1, 2)), mg.ones(4, dtype="float64"))
    assert mg.layer_norm(mg.zeros((0, 3)), 3).shape == (0, 3)
    assert nn.LayerNorm(3, bias=False).bias is None
    assert nn.LayerNorm(3, elementwise_affine=False).weight is None


# ---- running products, sorting, gathering ----------------------------------------------------------------------------


def test_running_ops_of_nothing_and_of_integers() -> None:
    assert mg.cumulative_sum(mg.zeros((2, 0)), axis=1).shape == (2, 0)
    assert mg.cumulative_prod(mg.zeros((2, 0)), axis=1, include_initial=True).tolist() == [[1.0], [1.0]]
    assert mg.logcumsumexp(mg.zeros((0, 2)), axis=1).shape == (0, 2)
    assert mg.prod(mg.zeros((2, 0)), axis=1).tolist() == [1.0, 1.0]
    assert mg.prod(mg.tensor(3.0)).item() == 3.0
    numbers = mg.tensor([1, 2, 3], dtype="int8")
    assert mg.cumulative_sum(numbers).dtype == mg.prod(numbers).dtype == mg.int64
    assert mg.cumulative_prod(mg.tensor([True, False])).tolist() == [1, 0]


def test_running_sums_do_not_stand_still() -> None:
    """Added up in float32, 2**24 ones and more are 2**24."""
    assert mg.cumulative_sum(mg.ones((1 << 24) + 10))[-1].item() == (1 << 24) + 10


def test_gradients_of_repeated_slices_add_up() -> None:
    """Also in the kernel for large ones."""
    for size in (3, 1000):
        places = np.random.default_rng(0).integers(-20, 20, 500)
        for axis in (0, 1):
            shape = (20, size) if axis == 0 else (size, 20)
            x = mg.zeros(shape, dtype="float64")
            x.requires_grad = True
            y = mg.take(x, mg.tensor(places), axis=axis)
            g = some(*y.shape)
            y.backward(g)
            expected = np.zeros(shape)
            np.add.at(np.moveaxis(expected, axis, 0), places, np.moveaxis(g.numpy(), axis, 0))
            np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)
