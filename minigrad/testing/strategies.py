"""Hypothesis strategies for tensors and what is done with them; everything drawn is valid, and shrinks to the smallest.

Shapes, options and layouts are drawn one by one. Values come from one drawn seed: they are not what makes a case
simple. Tensors are float64 unless asked for otherwise, since that is what derivatives are checked with.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minigrad import nn, ops, optim
from minigrad.creation import asarray
from minigrad.dtypes import SUPPORTED, float64, is_floating
from minigrad.errors import ArgumentError
from minigrad.ops.index import key_sample
from minigrad.ops.kinds import REGISTRY
from minigrad.tensor import Tensor
from minigrad.testing.records import Drawn, calls
from minigrad.testing.sides import LAYOUTS

Shape = tuple[int, ...]
Draw = Callable[[Any], Any]
Shapes = Shape | st.SearchStrategy[Shape]

__all__ = [
    "Call",
    "Graph",
    "axes",
    "broadcastable_shapes",
    "classification_batches",
    "conv2d_problems",
    "dtypes",
    "einsum_operands",
    "graphs",
    "indices",
    "matmul_operands",
    "modules",
    "op_calls",
    "optimizers",
    "pool2d_problems",
    "reshapes",
    "shapes",
    "tensors",
]


class Call(NamedTuple):
    """The arguments of a call: `f(*call.args, **call.options)`."""

    args: tuple[Any, ...]
    options: dict[str, Any]


# ---- shapes, axes, dtypes --------------------------------------------------------------------------------------------


def shapes(
    min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 5
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes.

    >>> from minigrad.testing import strategies
    >>> strategies.shapes(min_dims=2, max_dims=2, min_side=1).example()  # doctest: +SKIP
    (3, 1)
    """
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def broadcastable_shapes(
    draw: Draw, count: int = 2, max_dims: int = 4, min_side: int = 0, max_side: int = 5
) -> tuple[Shape, ...]:
    """Several shapes that broadcast together: axes are missing at the left of some, or 1 in some."""
    whole = draw(shapes(0, max_dims, min_side, max_side))
    return tuple(
        tuple(1 if draw(st.booleans()) else size for size in whole[draw(st.integers(0, len(whole))) :])
        for _ in range(count)
    )


def axes(ndim: int, *, many: bool = True) -> st.SearchStrategy[Any]:
    """What `axis` may be for a tensor of so many dimensions: None, an int or, if many, a tuple; negative ones, too."""
    if ndim == 0:
        return st.just(None)
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(one, max_size=ndim, unique_by=lambda axis: axis % ndim).map(tuple)
    return st.one_of(st.none(), one, several) if many else st.one_of(st.none(), one)


@st.composite
def reshapes(draw: Draw, shape: Shape) -> Shape:
    """A shape of as many elements, sometimes with -1 for one axis."""
    size = math.prod(shape)
    if size == 0:
        return tuple(draw(st.permutations(shape)))
    factors: list[int] = []
    while size > 1 and draw(st.booleans()):
        factors.append(draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
        size //= factors[-1]
    if size > 1 or draw(st.booleans()):
        factors.append(size)
    if factors and draw(st.booleans()):
        factors[draw(st.integers(0, len(factors) - 1))] = -1
    return tuple(factors)


def dtypes(kinds: str = "f") -> st.SearchStrategy[np.dtype]:
    """Dtypes of minigrad of some kinds: f(loat), i(nteger), u(nsigned), b(oolean)."""
    found = [dtype for dtype in SUPPORTED if dtype.kind in kinds]
    if not found:
        raise ArgumentError(f"dtypes: kinds = {kinds!r} names none of f, i, u, b")
    return st.sampled_from(sorted(found, key=lambda dtype: (dtype != float64, dtype.name)))


# ---- values ----------------------------------------------------------------------------------------------------------


@st.composite
def tensors(
    draw: Draw,
    shape: Shapes | None = None,
    dtype: Any = float64,
    *,
    low: float = -2.0,
    high: float = 2.0,
    kinks: Sequence[float] = (),
    distinct: bool = False,
    layouts: bool = True,
    requires_grad: bool = False,
) -> Tensor:
    """Tensors.

    Parameters
    ----------
    shape
        A shape, or a strategy of shapes; any by default.
    dtype
        A dtype, or a strategy of dtypes. Integers lie in [low, high).
    low, high
        Values lie between.
    kinks
        Floats that no value comes within 1/50 of the range of: where a function has no derivative.
    distinct
        No two values within 1/10 of their mean distance: no ties, and none after a small step.
    layouts
        Also strided, reversed and transposed ones.
    requires_grad
        Make them leaves.
    """
    sizes = draw(shapes() if shape is None else shape if isinstance(shape, st.SearchStrategy) else st.just(shape))
    kind = np.dtype(draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype)
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    values: np.ndarray
    if not is_floating(kind):
        values = np.asarray(random.integers(*((0, 2) if kind.kind == "b" else (int(low), int(high))), sizes))
    elif distinct:
        values = _apart(random, sizes, low, high)
    else:
        values = np.asarray(random.uniform(low, high, sizes))
    for kink in kinks if is_floating(kind) else ():
        margin = (high - low) / 50
        values = np.where(np.abs(values - kink) < margin, kink + np.where(values < kink, -margin, margin), values)
    array = np.asarray(values, kind)
    if layouts:
        array = LAYOUTS[draw(st.sampled_from(["contiguous", "transposed", "reversed", "strided"]))](array)
    result = asarray(array)
    if requires_grad:
        result.requires_grad = True
    return result


def _apart(random: np.random.Generator, shape: Shape, low: float, high: float) -> np.ndarray:
    """Values of a grid in random order, each moved by less than half of what is between them."""
    size = math.prod(shape)
    grid = random.permutation(size) + random.uniform(0.05, 0.95, size)
    return (low + (high - low) / max(size, 1) * grid).reshape(shape)


@st.composite
def indices(draw: Draw, shape: Shape) -> Any:
    """What may stand in x[...] for this shape: integers, slices, None, an ellipsis, arrays (with repeats), masks."""
    return key_sample(Drawn(draw), shape)


# ---- calls of ops ----------------------------------------------------------------------------------------------------


@st.composite
def op_calls(draw: Draw, name: str, *, layouts: bool = True) -> Call:
    """Arguments of an op of minigrad, by its name, as its own tests draw them: for another implementation of the same.

    >>> from hypothesis import given
    >>> from minigrad.testing import strategies
    >>> @given(strategies.op_calls("matmul"))
    ... def test(call):
    ...     assert (call.args[0] @ call.args[1]).shape == mg.matmul(*call.args).shape
    >>> test()

    Raises
    ------
    ArgumentError
        If there is no such op.
    """
    if name not in REGISTRY:
        raise ArgumentError(f"op_calls: minigrad has no op {name!r}")
    drawn, args, options = draw(calls(REGISTRY[name]))

    def convert(value: Any) -> Any:
        if isinstance(value, list):
            return [convert(one) for one in value]
        return asarray(drawn.layout(value) if layouts else value) if isinstance(value, np.ndarray) else value

    return Call(tuple(map(convert, args)), {key: convert(value) for key, value in options.items()})


def matmul_operands() -> st.SearchStrategy[Call]:
    """Vectors, matrices and stacks that `matmul` multiplies."""
    return op_calls("matmul")


def einsum_operands() -> st.SearchStrategy[Call]:
    """Subscripts, and tensors that fit them."""
    return op_calls("einsum")


def conv2d_problems() -> st.SearchStrategy[Call]:
    """x (n c h w), weight (o c kh kw) and stride, padding, dilation, groups; every output has at least one place."""
    return op_calls("conv2d")


def pool2d_problems(kind: str = "max") -> st.SearchStrategy[Call]:
    """x (n c h w), a window, and stride, padding, ceil_mode and what else a "max" or an "avg" pool takes."""
    return op_calls(f"{kind}_pool2d")


# ---- learning --------------------------------------------------------------------------------------------------------


@st.composite
def classification_batches(draw: Draw, max_batch: int = 5, max_classes: int = 5) -> tuple[Tensor, Tensor]:
    """Logits (n c) and labels (n), n and c at least 1."""
    n, c = draw(st.integers(1, max_batch)), draw(st.integers(1, max_classes))
    return draw(tensors((n, c))), draw(tensors((n,), np.int64, low=0, high=c))


@st.composite
def modules(draw: Draw, shape: Shape, max_layers: int = 4) -> nn.Module:
    """Sequences of layers that take inputs of a shape (n c) or (n c h w), in training or in evaluation."""
    if len(shape) not in (2, 4):
        raise ArgumentError(f"modules: an input of shape {shape} is neither (n c) nor (n c h w)")
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, max_layers))):
        layer, shape = draw(st.sampled_from(_layers(shape)))
        layers.append(layer())
    return nn.Sequential(*layers).train(draw(st.booleans()))


def _layers(shape: Shape) -> list[tuple[Callable[[], nn.Module], Shape]]:
    """Layers that fit a shape, and the shapes that they make of it; the simplest first."""
    n, c, *spatial = shape
    found: list[tuple[Callable[[], nn.Module], Shape]] = [(nn.Tanh, shape), (nn.Sigmoid, shape)]
    if spatial:
        h, w = spatial
        found.append((lambda: nn.Conv2d(c, 2, 1), (n, 2, h, w)))
        found.append((lambda: nn.Conv2d(c, 2, 3, padding=1), (n, 2, h, w)))
        if min(h, w) >= 2:
            found.append((lambda: nn.MaxPool2d(2), (n, c, h // 2, w // 2)))
            found.append((lambda: nn.AvgPool2d(2), (n, c, h // 2, w // 2)))
        found.append((nn.Flatten, (n, c * h * w)))
    else:
        found.append((lambda: nn.Linear(c, 2), (n, 2)))
    if n * math.prod(spatial) > 1:
        norm = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        found.append((lambda: norm(c), shape))
    return found


def optimizers() -> st.SearchStrategy[Callable[[Any], optim.Optimizer]]:
    """Functions that make an optimiser of parameters."""
    rates = st.sampled_from([0.1, 0.01])
    sgd = st.builds(
        lambda lr, momentum, decay: lambda p: optim.SGD(p, lr=lr, momentum=momentum, weight_decay=decay),
        *(rates, st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.01])),
    )
    adam = st.builds(lambda lr: lambda p: optim.Adam(p, lr=lr), rates)
    return st.one_of(sgd, adam)


# ---- graphs ----------------------------------------------------------------------------------------------------------

UNARY = ("negative", "sin", "cos", "tanh", "sigmoid", "square", "exp")
BINARY = ("add", "subtract", "multiply", "logaddexp")


class Graph:
    """A smooth function of tensors that broadcast: a list of ops, each of results before it. Its repr is its program.

    Parameters
    ----------
    arity
        How many inputs it has.
    steps
        `(op, places)`: the op's name and which of the inputs and earlier results it takes.
    """

    def __init__(self, arity: int, steps: Sequence[tuple[str, tuple[int, ...]]]) -> None:
        self.arity = arity
        self.steps = tuple(steps)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The last result; values are kept small by tanh."""
        values = list(inputs)
        for op, places in self.steps:
            result = getattr(ops, op)(*(values[place] for place in places))
            values.append(ops.tanh(result) if op in ("exp", "square", "multiply") else result)
        return values[-1]

    def __repr__(self) -> str:
        names = [f"x{i}" for i in range(self.arity)] + [f"y{i}" for i in range(len(self.steps))]
        lines = [
            f"y{i} = {op}({', '.join(names[place] for place in places)})" for i, (op, places) in enumerate(self.steps)
        ]
        return f"Graph({'; '.join(lines)})"


@st.composite
def graphs(draw: Draw, max_inputs: int = 3, max_steps: int = 8) -> tuple[Graph, tuple[Tensor, ...]]:
    """A random function, with branches that meet again, and inputs for it."""
    arity = draw(st.integers(1, max_inputs))
    inputs = tuple(draw(tensors(shape)) for shape in draw(broadcastable_shapes(arity, max_dims=2, max_side=3)))
    steps: list[tuple[str, tuple[int, ...]]] = []
    for _ in range(draw(st.integers(1, max_steps))):
        known = st.integers(0, arity + len(steps) - 1)
        op = draw(st.sampled_from(UNARY + BINARY))
        steps.append((op, tuple(draw(known) for _ in range(2 if op in BINARY else 1))))
    return Graph(arity, _without_idle(arity, steps)), inputs


def _without_idle(arity: int, steps: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[str, tuple[int, ...]]]:
    """The steps that the last one depends on."""
    needed = {arity + len(steps) - 1}
    for place in range(arity + len(steps) - 1, arity - 1, -1):
        if place in needed:
            needed.update(steps[place - arity][1])
    kept = [*range(arity), *sorted(place for place in needed if place >= arity)]
    moved = {old: new for new, old in enumerate(kept)}
    return [
        (op, tuple(moved[place] for place in places)) for op, places in (steps[place - arity] for place in kept[arity:])
    ]
