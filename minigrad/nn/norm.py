"""Normalisation."""

import numpy as np

from minigrad import ops
from minigrad.creation import ones, zeros
from minigrad.dtypes import int64
from minigrad.errors import ArgumentError, ShapeError, message
from minigrad.nn.linear import positive
from minigrad.nn.module import Buffer, Module, Parameter
from minigrad.ops.checks import pair, shape_of, variable
from minigrad.recompute import is_running_again
from minigrad.tensor import Tensor


class _BatchNorm(Module):
    letters: str

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True) -> None:
        self.num_features = positive(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(ones(num_features)) if affine else None
        self.bias = Parameter(zeros(num_features)) if affine else None
        self.running_mean = Buffer(zeros(num_features))
        self.running_var = Buffer(ones(num_features))
        self.num_batches_tracked = Buffer(zeros((), dtype=int64))

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """Normalise each channel, the second axis; `relu`: with ReLU after it, in one pass (as `Sequential` asks)."""
        self._check(x)
        options = {"eps": self.eps, "relu": relu}
        if not self.training:
            return ops.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, **options)
        y, (mean, var) = ops.batch_norm.with_residuals(x, self.weight, self.bias, **options)
        if is_running_again():
            return y
        count = x.size // x.shape[1]
        self.num_batches_tracked = Buffer(self.num_batches_tracked + 1)
        share = self.num_batches_tracked.item() ** -1 if self.momentum is None else self.momentum
        self.running_mean = _blend(self.running_mean, 1 - share, mean, share)
        self.running_var = _blend(self.running_var, 1 - share, var, share * count / (count - 1))  # the unbiased one
        return y

    def _check(self, x: Tensor) -> None:
        name, ndim = type(self).__name__, self.letters.count(" ") + 1
        shape = variable(name, "x", x).shape
        if len(shape) == ndim and shape[1] == self.num_features and (x.size > shape[1] or not self.training):
            return
        rows = [("x", self.letters if len(shape) == ndim else "", x)]
        if len(shape) != ndim:
            raise ShapeError(message(f"{name}: x has {x.ndim} axes, not the {ndim} of ({self.letters})", rows))
        if shape[1] != self.num_features:
            raise ShapeError(message(f"{name}: channels differ, c={shape[1]} in x but {self.num_features} here", rows))
        raise ShapeError(message(f"{name}: one value a channel has no variance", rows, "train on larger batches"))


def _blend(old: Tensor, share: float, new: Tensor, other_share: float) -> Buffer:
    new = new if new.dtype == old.dtype else new.astype(old.dtype)
    return Buffer(old * share + new * other_share)


class BatchNorm1d(_BatchNorm):
    """Normalise each feature of (n c) by the statistics of the batch (Ioffe and Szegedy, 2015).

    Parameters
    ----------
    num_features
        The size c of the channel axis.
    eps
        Added to the variance.
    momentum
        The share of a new batch in the running statistics, which take the batch's place in `eval` mode; None for the
        mean of all batches.
    affine
        Whether to scale and shift by a learned weight and bias (c).

    Examples
    --------
    >>> nn.BatchNorm1d(2)(mg.tensor([[1.0, 0.0], [3.0, 8.0]])).tolist()[1][1] > 0.99
    True
    """

    letters = "n c"


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of (n c h w) by the statistics of the batch; see `BatchNorm1d`.

    >>> nn.BatchNorm2d(3)(mg.zeros((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    letters = "n c h w"


class LayerNorm(Module):
    """Normalise each sample over its last axes: see `minigrad.layer_norm`.

    Parameters
    ----------
    normalized_shape
        The sizes of these axes, an integer or several.
    eps
        Added to the variance.
    elementwise_affine
        Whether to scale and shift by a learned weight and bias of that shape.
    bias
        Whether to shift.

    Examples
    --------
    >>> nn.LayerNorm((4, 5))(mg.zeros((3, 4, 5))).shape
    (3, 4, 5)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = shape_of("LayerNorm", normalized_shape)
        self.eps = eps
        self.weight = Parameter(ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = Parameter(zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(... f) -> (... f)."""
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, eps=self.eps)


class LocalContrastNorm(Module):
    """(x - m) / s with the mean and deviation of each pixel's neighbourhood: see `minigrad.local_contrast_norm`.

    Parameters
    ----------
    kernel_size
        The sides of the neighbourhood: an odd integer, or a pair for height and width. Pixels.
    sigma
        The standard deviation, in pixels, of the Gaussian that weighs the neighbours; None for equal weights.
    across_features
        Whether the neighbourhood is in all features.
    eps
        The least divisor.

    Examples
    --------
    >>> nn.LocalContrastNorm(9, sigma=2.0)(mg.zeros((2, 3, 16, 16))).shape
    (2, 3, 16, 16)
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        sigma: float | None = None,
        across_features: bool = False,
        eps: float = 1e-4,
    ) -> None:
        self.kernel_size = pair("LocalContrastNorm", "kernel_size", kernel_size, 1)
        self.sigma = sigma
        self.across_features = across_features
        self.eps = eps
        if sigma is not None and not sigma > 0:
            raise ArgumentError(f"LocalContrastNorm: sigma = {sigma} is not positive")
        self.window = None
        if sigma is not None:
            rows, columns = (np.exp(-0.5 * ((np.arange(k) - (k - 1) / 2) / sigma) ** 2) for k in self.kernel_size)
            self.window = Buffer(np.outer(rows, columns).astype(np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(n c h w) -> (n c h w)."""
        window = self.kernel_size if self.window is None else self.window
        return ops.local_contrast_norm(x, window, across_features=self.across_features, eps=self.eps)
