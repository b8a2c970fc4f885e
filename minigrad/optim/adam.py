"""Adam."""

from collections.abc import Iterable

from minigrad.creation import zeros
from minigrad.dtypes import int64
from minigrad.optim.optimizer import Optimizer, in_one_pass
from minigrad.tensor import Tensor


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running moments of the gradient.

    Parameters
    ----------
    parameters
        What to optimise.
    lr
        The learning rate.
    betas
        How much of the running mean and of the running mean square is kept at each step.
    eps
        Added to the root of the mean square.
    weight_decay
        Added to the gradient, times the parameter.

    Examples
    --------
    >>> x = nn.Parameter(mg.tensor([1.0]))
    >>> optimizer = optim.Adam([x], lr=0.1)
    >>> (x * x).sum().backward(); optimizer.step()
    >>> round(x.item(), 4)
    0.9
    """

    slots = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = self.checked("betas[0]", betas[0], 1.0), self.checked("betas[1]", betas[1], 1.0)
        self.eps = self.checked("eps", eps)
        self.weight_decay = self.checked("weight_decay", weight_decay)
        super().__init__(parameters, lr)
        for state in self.state:
            state["steps"] = zeros((), dtype=int64)  # a parameter without a gradient waits, and its moments with it

    def update(self, x: Tensor, g: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Algorithm 1 of the paper."""
        state["steps"] = state["steps"] + 1
        x, state["mean"], state["square"] = in_one_pass(
            *("adam_step", x, g, state["mean"], state["square"]),
            steps=state["steps"].item(),
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            decay=self.weight_decay,
        )
        return x
