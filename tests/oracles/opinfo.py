"""PyTorch's own samples of its ops (OpInfo), forward and backward in float64, against ours.

python -m tests.oracles.opinfo            # the table
python -m tests.oracles.opinfo conv pool  # only ops with these words in their names, with every difference
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch

import minigrad as mg
from tests.oracles.tally import Row, Unsupported, call, difference, need, table
from tests.oracles.torch_calls import OPS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.opinfo.core import BinaryUfuncInfo, UnaryUfuncInfo

RTOL, ATOL = 1e-10, 1e-12
MOST = 60
"""Of an op with more samples so many are run, spread evenly."""

Mend = Callable[[np.ndarray], np.ndarray]


def nan(x: np.ndarray) -> np.ndarray:
    """x without NaN."""
    return np.where(np.isnan(x), 0.5, x)


def infinity(x: np.ndarray) -> np.ndarray:
    """x without infinities."""
    return np.where(np.isinf(x), 0.5, x)


def zero(x: np.ndarray) -> np.ndarray:
    """x without zeros."""
    return np.where(x == 0, 0.5, x)


EXPLAINED: dict[str, Mend] = {
    **dict.fromkeys(("abs", "sign", "sgn", "maximum", "minimum", "max/binary", "min/binary"), nan),
    **dict.fromkeys(("clamp_min", "clamp_max"), nan),
    **dict.fromkeys((f"nn.functional.{name}" for name in ("relu", "relu6", "hardtanh", "elu")), nan),
    **dict.fromkeys(("pow", "float_power", "__rpow__"), zero),
    "logaddexp": infinity,
}
"""Ops of which some samples differ on purpose, and the change after which they agree. docs/oracles.md says why."""


@cache
def infos() -> dict[str, Any]:
    """OpInfo's entries by name and variant."""
    return {f"{op.name}/{op.variant_test_name}" if op.variant_test_name else op.name: op for op in op_db}


def samples(op: Any) -> list[Any]:
    """The samples of an op in float64, or in int64 where it takes only integers; the same on every run.

    Elementwise ops have many more: large and strided arrays, extremal values.
    """
    torch.manual_seed(0)
    floats = op.supports_dtype(torch.float64, "cpu")
    draw = op.reference_inputs if isinstance(op, (UnaryUfuncInfo, BinaryUfuncInfo)) else op.sample_inputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = list(
            draw("cpu", torch.float64 if floats else torch.int64, requires_grad=floats and op.supports_autograd)
        )
    return drawn[:: -(-len(drawn) // MOST)]


class Pair:
    """A tensor of a sample in both libraries, of one memory and layout; both want a gradient or none does."""

    def __init__(self, tensor: Any, mend: Mend | None) -> None:
        need(not tensor.is_complex(), "complex numbers")
        self.theirs = tensor.detach()
        if mend and tensor.is_floating_point():
            self.theirs = torch.tensor(mend(self.theirs.numpy()))
        self.ours = mg.asarray(self.theirs.numpy())
        if tensor.requires_grad:
            self.theirs.requires_grad = self.ours.requires_grad = True


def walk(value: Any, change: Callable[[Any], Any]) -> Any:
    """Arguments with their tensors changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return (tuple if isinstance(value, tuple) else list)(walk(one, change) for one in value)
    if isinstance(value, dict):
        return {key: walk(one, change) for key, one in value.items()}
    return value


def compare(name: str, sample: Any, mend: Mend | None = None) -> Iterator[str]:
    """Run a sample in both libraries: yields what differs forward, then, if there is a gradient, backward."""
    pairs: dict[int, Pair] = {}
    arguments = (sample.input, *sample.args), sample.kwargs
    args, kwargs = walk(arguments, lambda x: pairs.setdefault(id(x), Pair(x, mend)).ours)
    ours = call(OPS[name], args, kwargs)
    args, kwargs = walk(arguments, lambda x: pairs[id(x)].theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some ops are deprecated there
        theirs = infos()[name](*args, **kwargs)
    need(theirs is not NotImplemented, "not implemented in PyTorch")
    outputs = list(zip(listed(theirs), listed(ours), strict=True))
    wrong = [difference(y.detach().numpy(), z.detach().numpy(), RTOL, ATOL) for z, y in outputs]
    yield "; ".join(filter(None, wrong))
    if any(z.requires_grad for z, _ in outputs):
        yield gradients(outputs, [pair for pair in pairs.values() if pair.theirs.requires_grad])


def listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def gradients(outputs: list[tuple[Any, mg.Tensor]], inputs: list[Pair]) -> str:
    """What differs between the gradients of the inputs, for random cotangents of all outputs."""
    rng = np.random.default_rng(0)
    moving = [(z, y, rng.normal(size=z.shape).astype(y.dtype)) for z, y in outputs if z.requires_grad]
    try:
        expected = torch.autograd.grad(
            [z for z, _, _ in moving],
            [pair.theirs for pair in inputs],
            [torch.tensor(g) for _, _, g in moving],
            allow_unused=True,
        )
    except RuntimeError as error:
        raise Unsupported(f"PyTorch: {error}") from None
    total = sum(((y * mg.asarray(g)).sum() for _, y, g in moving), mg.zeros(()))
    if total.requires_grad:
        total.backward()
    for i, (pair, found) in enumerate(zip(inputs, expected, strict=True)):
        nothing = np.zeros(pair.ours.shape)
        own = nothing if pair.ours.grad is None else pair.ours.grad.numpy()
        wrong = difference(own, nothing if found is None else found.numpy(force=True), RTOL, ATOL)
        if wrong:
            return f"gradient {i}: {wrong}"
    return ""


def run(name: str) -> Row:
    """All samples of one op."""
    row = Row(name)
    mend = EXPLAINED.get(name)
    for sample in samples(infos()[name]):
        try:
            found = list(compare(name, sample))
            wrong = "; ".join(filter(None, found))
            if wrong and mend and not any(compare(name, sample, mend)):
                row.explained += 1
            elif wrong:
                row.differ.append(f"{name}: {wrong}\n  {sample}")
            else:
                row.forward += 1
                row.backward += len(found) - 1
        except Unsupported as reason:
            row.unsupported[str(reason)] += 1
        except Exception as error:  # whatever an op of ours stumbles over
            row.differ.append(f"{name}: {type(error).__name__}: {error}\n  {sample}")
    return row


def main(words: list[str]) -> None:
    """Print the table and the differences."""
    rows = [run(name) for name in OPS if not words or any(word in name for word in words)]
    print(table(rows))
    for row in rows:
        print(*row.differ, sep="\n", end="\n" if row.differ else "")


if __name__ == "__main__":
    main(sys.argv[1:])
