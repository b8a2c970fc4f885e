"""The metamorphic properties hold for what is right and fail for what is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError
from minigrad.testing import CheckError, properties

normal = mg.random.default.normal
labels = mg.tensor([0, 2, 1])


def images(*shape: int) -> mg.Tensor:
    return normal(shape)


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "cross-entropy": (
        lambda: properties.check_cross_entropy(nn.cross_entropy, images(3, 4), labels),
        lambda: properties.check_cross_entropy(lambda x, y: nn.cross_entropy(x, y) * 3, images(3, 4), labels),
        "the gradient and (p - y) / n differ",
    ),
    "convolution": (
        lambda: properties.check_conv_is_matmul(mg.conv2d, images(2, 3, 5, 6), images(4, 3, 3, 2), stride=2, padding=1),
        lambda: properties.check_conv_is_matmul(
            lambda x, w, **options: mg.conv2d(x, w[:, :, ::-1], **options), images(2, 3, 5, 6), images(4, 3, 3, 2)
        ),
        "the convolution and the product differ",
    ),
    "translation": (
        lambda: properties.check_translation(nn.Conv2d(1, 2, 3, stride=2), images(1, 1, 24, 25), (1, -2), stride=2),
        lambda: properties.check_translation(lambda x: x * mg.arange(16, dtype="float32"), images(1, 1, 16, 16)),
        "f(moved x) and moved f(x) differ",
    ),
    "shift": (
        lambda: properties.check_shift_invariance(mg.log_softmax, images(3, 4), 7.0),
        lambda: properties.check_shift_invariance(mg.sigmoid, images(3, 4)),
        "f(x + shift) and f(x) differ",
    ),
    "batch": (
        lambda: properties.check_batch_independence(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), images(5, 4)),
        lambda: properties.check_batch_independence(lambda x: x - x.mean(), images(5, 4)),
        "item 0 in a batch and alone differ",
    ),
    "mean": (
        lambda: properties.check_mean_gradient(lambda x: (x * x).mean(), images(5, 4)),
        lambda: properties.check_mean_gradient(lambda x: (x * x).sum(), images(5, 4)),
        "the gradient and the mean of the items' gradients differ",
    ),
    "moments": (
        lambda: properties.check_moments(nn.BatchNorm2d(3), images(4, 3, 5, 5) * 4 + 7, (0, 2, 3)),
        lambda: properties.check_moments(lambda x: (x - x.mean(axis=0)) / x.std(axis=0, correction=1), images(4, 3), 0),
        "the variance and v / (v + eps) differ",
    ),
    "expectation": (
        lambda: properties.check_expectation(nn.Dropout(0.4), images(5, 4)),
        lambda: properties.check_expectation(
            lambda x: x * (mg.random.default.uniform(x.shape) > 0.4).astype("float32"), images(5, 4)
        ),
        "the mean of 400 results at",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_properties(name: str) -> None:
    right, wrong, problem = CASES[name]
    report = right()
    assert report.passed
    assert report.check.startswith("check_")
    with pytest.raises(CheckError) as caught:
        wrong()
    assert caught.value.report.problems[0].startswith(problem)


def test_an_image_without_inside() -> None:
    with pytest.raises(ArgumentError, match="a result of 2x2 has no inside"):
        properties.check_translation(nn.MaxPool2d(2), images(1, 1, 4, 4))
