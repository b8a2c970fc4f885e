"""Losses: functions of predictions and targets, and the same as modules."""

from typing import Any, Literal

from minigrad import ops
from minigrad.errors import ArgumentError, ShapeError, message
from minigrad.nn.module import Buffer, Module
from minigrad.ops.checks import variable
from minigrad.tensor import Tensor

Reduction = Literal["mean", "sum", "none"]
Row = tuple[str, str, Tensor]


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """The negative log-likelihood of integer labels under softmax(logits).

    Parameters
    ----------
    logits
        (n c ...), any floats.
    labels
        (n ...), integers in [0, c).
    weight
        (c): how much each class counts. The mean is then the weighted one.
    label_smoothing
        The share of the target spread evenly over all classes (Szegedy et al., 2016), in [0, 1].
    reduction
        "mean", "sum" or "none".

    Raises
    ------
    DtypeError
        If the labels are not integers.
    ShapeError, ArgumentError
        If the shapes do not fit, the batch is empty, or a label is out of range.

    Examples
    --------
    >>> nn.cross_entropy(mg.tensor([[0.0, 0.0]]), mg.tensor([1]))
    tensor(0.6931)
    """
    plain = weight is None and not label_smoothing
    loss = ops.softmax_cross_entropy(logits, labels, reduction=reduction if plain else "none")
    _check_settings(logits, labels, weight, label_smoothing)
    if plain:
        return loss
    share = None if weight is None else weight[labels]
    loss = loss if share is None else loss * share
    if label_smoothing:
        logp = ops.log_softmax(logits, axis=1)
        per_class = logp if weight is None else logp * weight.reshape((-1,) + (1,) * (logits.ndim - 2))
        loss = (1 - label_smoothing) * loss - label_smoothing * per_class.sum(axis=1) / logits.shape[1]
    if reduction == "mean" and share is not None:
        return loss.sum() / share.sum()
    return _reduce("cross_entropy", loss, reduction)


def _check_settings(logits: Tensor, labels: Tensor, weight: Tensor | None, label_smoothing: float) -> None:
    if labels.size == 0:
        rows = _rows("cross_entropy", ("logits", "n c ...", logits), ("labels", "n ...", labels))
        raise ShapeError(message("cross_entropy: the batch is empty", rows))
    if weight is not None:
        rows = _rows("cross_entropy", ("weight", "c", weight))
        if weight.shape != logits.shape[1:2]:
            raise ShapeError(message(f"cross_entropy: the weight has not shape ({logits.shape[1]},)", rows))
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"cross_entropy: label_smoothing = {label_smoothing} is not in [0, 1]")


def _rows(loss: str, *rows: Row) -> list[Row]:
    """The rows of an error message, after a check that all are tensors."""
    for name, _, value in rows:
        variable(loss, name, value)
    return list(rows)


def mse_loss(prediction: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The squared difference.

    >>> nn.mse_loss(mg.tensor([1.0, 2.0]), mg.tensor([1.0, 4.0]))
    tensor(2.)
    """
    _same_shape("mse_loss", prediction, target)
    return _reduce("mse_loss", ops.square(prediction - target), reduction)


def binary_cross_entropy_with_logits(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The negative log-likelihood of targets in [0, 1] under sigmoid(logits), without overflow.

    >>> nn.binary_cross_entropy_with_logits(mg.tensor([0.0, 1000.0]), mg.tensor([1.0, 1.0]), reduction="none")
    tensor([0.6931, 0.    ])
    """
    _same_shape("binary_cross_entropy_with_logits", logits, targets)
    outside = ~((targets >= 0) & (targets <= 1))
    if outside.any():
        value = targets[outside][0].item()
        raise ArgumentError(f"binary_cross_entropy_with_logits: target {value} is not in [0, 1]")
    return _reduce(
        "binary_cross_entropy_with_logits",
        ops.softplus(-logits) * targets + ops.softplus(logits) * (1 - targets),
        reduction,
    )


def _same_shape(loss: str, prediction: Tensor, target: Tensor) -> None:
    rows = _rows(loss, ("prediction", "", prediction), ("target", "", target))
    if prediction.shape != target.shape:
        raise ShapeError(message(f"{loss}: the shapes differ", rows))
    if prediction.size == 0:
        raise ShapeError(message(f"{loss}: the batch is empty", rows))


def _reduce(loss: str, values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction != "none":
        raise ArgumentError(f"{loss}: reduction = {reduction!r} is not one of 'mean', 'sum', 'none'")
    return values


class CrossEntropyLoss(Module):
    """See `cross_entropy`.

    >>> nn.CrossEntropyLoss()(mg.tensor([[0.0, 0.0]]), mg.tensor([1]))
    tensor(0.6931)
    """

    def __init__(self, weight: Any = None, *, label_smoothing: float = 0.0, reduction: Reduction = "mean") -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(n c ...) and (n ...) -> ()."""
        return cross_entropy(
            logits, labels, weight=self.weight, label_smoothing=self.label_smoothing, reduction=self.reduction
        )


class MSELoss(Module):
    """See `mse_loss`.

    >>> nn.MSELoss()(mg.tensor([1.0]), mg.tensor([3.0]))
    tensor(4.)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape -> ()."""
        return mse_loss(prediction, target, reduction=self.reduction)


class BCEWithLogitsLoss(Module):
    """See `binary_cross_entropy_with_logits`.

    >>> nn.BCEWithLogitsLoss()(mg.tensor([0.0]), mg.tensor([1.0]))
    tensor(0.6931)
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Two tensors of one shape -> ()."""
        return binary_cross_entropy_with_logits(logits, targets, reduction=self.reduction)
