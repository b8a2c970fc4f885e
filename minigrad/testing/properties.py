"""Ready metamorphic properties: what must hold between calls of a function, without knowing a single right value.

Each takes a function or module of a stranger, raises a `CheckError` where the property fails, and else returns a
`Report`. How far results may be apart is what rounding does in their dtype (`minigrad.testing.compare.rounding`).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.creation import asarray
from minigrad.errors import ArgumentError
from minigrad.tensor import Tensor, no_grad
from minigrad.testing.compare import Findings, largest, rounding
from minigrad.testing.functions import joined
from minigrad.testing.report import Report, hides
from minigrad.transforms import grad

__tracebackhide__ = hides

Function = Callable[..., Any]


def check_cross_entropy(loss: Function, logits: Tensor, labels: Tensor) -> Report:
    """The gradient of a mean cross-entropy with respect to logits (n c) is (p - y) / n.

    p is the softmax of the logits, y the labels (n) as one-hot rows: the formula of Bridle (1990).

    >>> from minigrad.testing import properties
    >>> properties.check_cross_entropy(nn.cross_entropy, mg.ones((2, 3)), mg.tensor([0, 2])).passed
    True
    """
    found = Findings()
    gradient = grad(lambda x: loss(x, labels))(logits)
    expected = (ops.softmax(logits, axis=1) - ops.one_hot(labels, logits.shape[1], dtype=logits.dtype)) / logits.shape[
        0
    ]
    _same(found, "the gradient and (p - y) / n", gradient, expected, 1.0)
    return found.report("check_cross_entropy", loss, [logits, labels]).required()


def check_conv_is_matmul(conv: Function, x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0) -> Report:
    """A convolution of x (n c h w) with weight (o c kh kw) is the product of its weights with all windows as columns.

    `conv(x, weight, stride=, padding=)` is compared with windows that are cut out one by one.

    >>> from minigrad.testing import properties
    >>> properties.check_conv_is_matmul(mg.conv2d, mg.ones((1, 2, 4, 4)), mg.ones((3, 2, 2, 2)), padding=1).passed
    True
    """
    found = Findings()
    with no_grad():
        result = conv(x, weight, stride=stride, padding=padding)
    values, kernel = _array(x).astype(float), _array(weight).astype(float)
    n, kh, kw = x.shape[0], weight.shape[2], weight.shape[3]
    padded = np.pad(values, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    oh, ow = (padded.shape[2] - kh) // stride + 1, (padded.shape[3] - kw) // stride + 1
    columns = np.zeros((n, oh * ow, kernel[0].size))
    for i in range(oh):
        for j in range(ow):
            window = padded[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            columns[:, i * ow + j] = window.reshape(n, -1)
    expected = (columns @ kernel.reshape(len(kernel), -1).T).transpose(0, 2, 1).reshape(n, -1, oh, ow)
    size = float(np.abs(columns).sum(axis=-1).max(initial=0.0)) * largest(kernel)
    _same(found, "the convolution and the product", result, asarray(expected), size)
    return found.report("check_conv_is_matmul", conv, [x, weight], stride=stride, padding=padding).required()


def check_translation(f: Function, x: Tensor, shift: tuple[int, int] = (1, 1), *, stride: int = 1) -> Report:
    """To move the images (n c h w) moves the result: f(moved x) = moved f(x), apart from what the borders see.

    The images are moved cyclically by `stride` times the shift, the result by the shift. Compared is what lies at least
    |shift| and a quarter of the image away from the border: choose images that are large beside f's windows.

    >>> from minigrad.testing import properties
    >>> layer = nn.Conv2d(1, 2, 3, padding=1)
    >>> properties.check_translation(layer, mg.random.default.normal((1, 1, 12, 12))).passed
    True
    """
    found = Findings()
    with no_grad():
        moved = f(asarray(np.roll(_array(x), [stride * s for s in shift], axis=(2, 3))))
        expected = np.roll(_array(f(x)), shift, axis=(2, 3))
    height, width = expected.shape[2:]
    rows, columns = (
        slice(size // 4 + abs(s), size - size // 4 - abs(s)) for size, s in ((height, shift[0]), (width, shift[1]))
    )
    if not expected[:, :, rows, columns].size:
        raise ArgumentError(f"check_translation: a result of {height}x{width} has no inside to compare")
    inside = (slice(None), slice(None), rows, columns)
    _same(found, "f(moved x) and moved f(x)", moved[inside], asarray(expected[inside]))
    return found.report("check_translation", f, [x], shift=shift, stride=stride).required()


def check_shift_invariance(f: Function, x: Tensor, shift: float = 3.0) -> Report:
    """To add a number to all of x changes nothing: f(x + shift) = f(x), as for softmax.

    >>> from minigrad.testing import properties
    >>> properties.check_shift_invariance(mg.softmax, mg.tensor([0.0, 1.0])).passed
    True
    """
    found = Findings()
    with no_grad():
        size = max(1.0, abs(shift) + largest(_array(x)))
        _same(found, "f(x + shift) and f(x)", joined(f(x + shift)), joined(f(x)), size)
    return found.report("check_shift_invariance", f, [x], shift=shift).required()


def check_batch_independence(f: Function, x: Tensor) -> Report:
    """Each item of a batch, the first axis, has the result that it has alone, and only its own gradient.

    Holds for all but those that look at the batch as a whole, such as batch-norm in training.

    >>> from minigrad.testing import properties
    >>> properties.check_batch_independence(nn.Linear(3, 2), mg.ones((4, 3))).passed
    True
    """
    found = Findings()
    with no_grad():
        together = f(x)
        for i in range(x.shape[0]):
            _same(found, f"item {i} in a batch and alone", together[i : i + 1], f(x[i : i + 1]))
    for i in range(x.shape[0]):
        g = _array(grad(lambda x, i=i: f(x)[i].sum())(x))
        if np.delete(g, i, axis=0).any():
            found.problems.append(f"the result of item {i} depends on other items")
    return found.report("check_batch_independence", f, [x]).required()


def check_mean_gradient(loss: Function, x: Tensor) -> Report:
    """A loss that is a mean over the batch, the first axis, has the mean of the items' gradients as its gradient.

    So a gradient does not grow with the batch, and large batches can be split.

    >>> from minigrad.testing import properties
    >>> properties.check_mean_gradient(lambda x: nn.mse_loss(x, mg.zeros_like(x)), mg.ones((4, 3))).passed
    True
    """
    found = Findings()
    whole = grad(loss)(x)
    parts = [grad(loss)(x[i : i + 1]) for i in range(x.shape[0])]
    _same(found, "the gradient and the mean of the items' gradients", whole, ops.concat(parts, axis=0) / x.shape[0])
    return found.report("check_mean_gradient", loss, [x]).required()


def check_moments(norm: Function, x: Tensor, axis: Any, *, eps: float = 1e-5) -> Report:
    """A normalisation leaves mean 0 and variance v / (v + eps) over the axes, v being the variance before.

    `norm` is one without scale and shift, or with those it begins with.

    >>> from minigrad.testing import properties
    >>> properties.check_moments(nn.BatchNorm1d(3), mg.random.default.normal((8, 3)), axis=0).passed
    True
    """
    found = Findings()
    with no_grad():
        y = _array(norm(x)).astype(float)
    before = np.var(_array(x).astype(float), axis=axis)
    _same(found, "the mean and 0", asarray(np.mean(y, axis=axis)), asarray(np.zeros_like(before)), 1.0, x.dtype)
    expected = before / (before + eps)
    _same(found, "the variance and v / (v + eps)", asarray(np.var(y, axis=axis)), asarray(expected), 1.0, x.dtype)
    return found.report("check_moments", norm, [x], axis=axis, eps=eps).required()


def check_expectation(f: Function, x: Tensor, *, expected: Tensor | None = None, repeats: int = 400) -> Report:
    """What a random function such as dropout gives on average is x (or `expected`): within 5 standard errors.

    By chance this fails for one element in 3 million; `minigrad.manual_seed` makes it the same every time.

    >>> from minigrad.testing import properties
    >>> properties.check_expectation(nn.Dropout(0.3), mg.ones(5)).passed
    True
    """
    found = Findings()
    with no_grad():
        draws = np.stack([_array(f(x)).astype(float) for _ in range(repeats)])
    mean, error = draws.mean(axis=0), draws.std(axis=0) / math.sqrt(repeats)
    goal = _array(x if expected is None else expected)
    off = np.abs(mean - goal) > 5 * error + rounding(x.dtype, x.size) * np.abs(goal)
    if off.any():
        at = tuple(np.argwhere(off)[0])
        found.problems.append(
            f"the mean of {repeats} results at {list(map(int, at))} is {mean[at]:.6g}, not {goal[at]:.6g}, with a "
            f"standard error of {error[at]:.2g}"
        )
    return found.report("check_expectation", f, [x], repeats=repeats).required()


def _array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def _same(found: Findings, what: str, x: Any, y: Any, size: float = 0.0, dtype: Any = None) -> None:
    """Add a problem unless x and y are equal to rounding, relative to their size or the one given."""
    a, b = _array(joined(x)), _array(joined(y))
    if a.shape != b.shape:
        found.problems.append(f"{what} have shapes {a.shape} and {b.shape}")
        return
    kind = dtype or max((a.dtype, b.dtype), key=lambda kind: np.finfo(kind).eps)
    slack = 4 * rounding(kind, a.size) * max(size, largest(a, b))
    off = np.abs(a.astype(float) - b) if a.size else np.zeros(0)
    if not (off <= slack).all():
        at = tuple(np.argwhere(~(off <= slack))[0])
        found.problems.append(f"{what} differ: {a[at]:.9g} and {b[at]:.9g} at {list(map(int, at))}")
    found.facts.append(what)
