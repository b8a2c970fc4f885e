"""Losses: functions of predictions and targets, and the same as modules."""

from typing import Any, Literal

from minigrad import ops
from minigrad.creation import ones_like
from minigrad.dtypes import is_floating
from minigrad.errors import ArgumentError, ShapeError, message
from minigrad.nn.module import Buffer, Module
from minigrad.ops.checks import require_within, variable
from minigrad.tensor import Tensor

Reduction = Literal["mean", "sum", "none"]
Row = tuple[str, str, Tensor]


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """The negative log-likelihood of labels under softmax(logits).

    Parameters
    ----------
    logits
        (n c ...), any floats.
    labels
        (n ...), integers in [0, c); or (n c ...), floats: how probable each class is. Nobody checks that they add up to
        1.
    weight
        (c): how much each class counts. The mean is then the weighted one, but for probabilities.
    ignore_index
        A label that does not count: its loss is 0, and not part of the mean.
    label_smoothing
        The share of the target spread evenly over all classes (Szegedy et al., 2016), in [0, 1].
    reduction
        "mean", "sum" or "none".

    Returns
    -------
    Tensor
        (), or (n ...) without reduction.

    Raises
    ------
    DtypeError
        If the labels are neither integers nor probabilities.
    ShapeError, ArgumentError
        If the shapes do not fit, the batch is empty, a label or probability is out of range, or a mean is asked of
        labels that are all ignored.

    Examples
    --------
    >>> nn.cross_entropy(mg.tensor([[0.0, 0.0]]), mg.tensor([1]))
    tensor(0.6931)
    >>> nn.cross_entropy(mg.tensor([[0.0, 0.0], [5.0, 1.0]]), mg.tensor([1, -1]), ignore_index=-1)
    tensor(0.6931)
    >>> nn.cross_entropy(mg.tensor([[0.0, 1.0]]), mg.tensor([[0.5, 0.5]]))
    tensor(0.8133)
    """
    _rows("cross_entropy", ("logits", "", logits), ("labels", "", labels))
    if is_floating(labels.dtype) and labels.shape == logits.shape:
        _check_settings(logits, labels, weight, label_smoothing)
        return _expected_entropy(logits, labels, weight, ignore_index, label_smoothing, reduction)
    plain = weight is None and ignore_index is None and not label_smoothing
    counted = None if ignore_index is None else labels != ignore_index
    places = labels if counted is None else ops.where(counted, labels, 0)
    loss = ops.softmax_cross_entropy(logits, places, reduction=reduction if plain else "none")
    _check_settings(logits, labels, weight, label_smoothing)
    if plain:
        return loss
    share = ones_like(loss) if weight is None else weight[places]
    loss = loss * share
    if label_smoothing:
        per_class = _weighted(ops.log_softmax(logits, axis=1), weight)
        loss = (1 - label_smoothing) * loss - label_smoothing * per_class.sum(axis=1) / logits.shape[1]
    if counted is not None:
        loss, share = ops.where(counted, loss, 0.0), ops.where(counted, share, 0.0)
    if reduction == "mean":
        if counted is not None and not counted.any():
            raise ArgumentError(f"cross_entropy: all labels are {ignore_index}, which is ignored: there is no mean")
        return loss.sum() / share.sum()
    return _reduce("cross_entropy", loss, reduction)


def _expected_entropy(
    logits: Tensor,
    probabilities: Tensor,
    weight: Tensor | None,
    ignore_index: int | None,
    label_smoothing: float,
    reduction: str,
) -> Tensor:
    """The cross-entropy with probabilities, all of the logits' shape."""
    if ignore_index is not None:
        raise ArgumentError("cross_entropy: ignore_index is for integer labels, these are probabilities")
    _check_probabilities("cross_entropy", "probability", probabilities)
    target = (1 - label_smoothing) * probabilities + label_smoothing / logits.shape[1]
    losses = -_weighted(target * ops.log_softmax(logits, axis=1), weight).sum(axis=1)
    return _reduce("cross_entropy", losses, reduction)


def _weighted(per_class: Tensor, weight: Tensor | None) -> Tensor:
    """(n c ...) times the weight of each class."""
    return per_class if weight is None else per_class * weight.reshape((-1,) + (1,) * (per_class.ndim - 2))


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


def _check_probabilities(loss: str, name: str, values: Tensor) -> None:
    require_within(values, 0, 1, ArgumentError, lambda: f"{loss}: {name} {{}} is not in [0, 1]")


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


def binary_cross_entropy_with_logits(
    logits: Tensor, targets: Tensor, *, pos_weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """The negative log-likelihood of targets in [0, 1] under sigmoid(logits), without overflow.

    Parameters
    ----------
    logits, targets
        Of one shape.
    pos_weight
        How much the targets' part of the loss counts beside that of 1 - targets; broadcast to the shape of the others.
    reduction
        "mean", "sum" or "none".

    Raises
    ------
    ShapeError, ArgumentError
        If the shapes do not fit, the batch is empty, or a target is out of range.

    Examples
    --------
    >>> nn.binary_cross_entropy_with_logits(mg.tensor([0.0, 1000.0]), mg.tensor([1.0, 1.0]), reduction="none")
    tensor([0.6931, 0.    ])
    """
    op = "binary_cross_entropy_with_logits"
    _same_shape(op, logits, targets)
    _check_probabilities(op, "target", targets)
    positive = ops.softplus(-logits) * targets
    if pos_weight is not None:
        rows = _rows(op, ("logits", "", logits), ("pos_weight", "", pos_weight))
        try:
            positive = positive * pos_weight.broadcast_to(logits.shape)
        except ShapeError:
            raise ShapeError(message(f"{op}: pos_weight does not broadcast to the logits' shape", rows)) from None
    return _reduce(op, positive + ops.softplus(logits) * (1 - targets), reduction)


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

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(n c ...) and (n ...), or (n c ...) probabilities -> ()."""
        return cross_entropy(
            logits,
            labels,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
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

    def __init__(self, *, pos_weight: Any = None, reduction: Reduction = "mean") -> None:
        self.pos_weight = None if pos_weight is None else Buffer(pos_weight)
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Two tensors of one shape -> ()."""
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=self.pos_weight, reduction=self.reduction)
