"""Stochastic gradient descent."""

from collections.abc import Iterable

from minigrad.creation import zeros_like
from minigrad.errors import ArgumentError
from minigrad.optim.optimizer import Optimizer, in_one_pass
from minigrad.tensor import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: delta <- momentum * delta + g; x <- x - lr * delta.

    Parameters
    ----------
    parameters
        What to optimise.
    lr
        The learning rate.
    momentum
        The share of the last step in the next, often 0.9.
    nesterov
        Step along g + momentum * delta instead (Nesterov's accelerated gradient, as Sutskever et al. 2013 write it).
    weight_decay
        Added to the gradient, times the parameter.

    Examples
    --------
    >>> x = nn.Parameter(mg.tensor([1.0]))
    >>> optimizer = optim.SGD([x], lr=0.1, momentum=0.9)
    >>> (x * x).sum().backward(); optimizer.step()
    >>> x.tolist()
    [0.800000011920929]
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = self.checked("momentum", momentum)
        self.weight_decay = self.checked("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov needs a momentum")
        self.slots = ("delta",) if momentum else ()
        super().__init__(parameters, lr)

    def update(self, x: Tensor, g: Tensor, state: dict[str, Tensor]) -> Tensor:
        """The rule of the class's first line."""
        settings = {"lr": self.lr, "momentum": self.momentum, "nesterov": self.nesterov, "decay": self.weight_decay}
        if not self.momentum:
            (x,) = in_one_pass("sgd_step", x, g, **settings)
        else:
            delta = state["delta"] if "delta" in state else zeros_like(x)  # there was no momentum until now
            x, state["delta"] = in_one_pass("sgd_step", x, g, delta, **settings)
        return x
