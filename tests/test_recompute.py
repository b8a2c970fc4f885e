"""checkpoint: the same values and derivatives, from less that is kept."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import graph, nn
from minigrad.errors import GraphError, NonFiniteError
from minigrad.random import Draws, Generator
from minigrad.testing import check_grads

W = mg.tensor([[0.5, -1.0], [2.0, 0.3]], dtype="float64", requires_grad=True)


def double(*values: float) -> mg.Tensor:
    return mg.tensor(list(values), dtype="float64")


def block(x: mg.Tensor) -> mg.Tensor:
    return mg.tanh(x @ W) * mg.exp(-x)


def chain(name: str) -> Callable[[mg.Tensor], mg.Tensor]:
    return {
        "exp": lambda x: mg.exp(-x * x),
        "weights": lambda x: mg.sin(x @ W),
        "fused": lambda x: mg.softmax(x * 3, axis=-1),
        "two": lambda x: mg.maximum(x, 0.1) * mg.tanh(x),
        "sum": lambda x: x + x.sum(),
    }[name]


def derivatives(f: Callable[[mg.Tensor], mg.Tensor], x: mg.Tensor, t: mg.Tensor) -> list[mg.Tensor]:
    """Values and derivatives of f in every way there is, with respect to x and to W."""
    W.grad = None
    leaf = mg.tensor(x, requires_grad=True)
    y = f(leaf)
    y.backward(mg.full_like(y, 0.7), retain_graph=True)
    first = [y.detach(), leaf.grad, W.grad]
    leaf.grad = W.grad = None
    y.backward(mg.full_like(y, 0.7), create_graph=True)
    recorded = [leaf.grad, W.grad]
    leaf.grad = W.grad = None
    (recorded[0] * t + leaf * 0).sum().backward()
    second = [leaf.grad, W.grad]
    leaf.grad = W.grad = None
    with mg.no_grad():
        rest = [
            *mg.jvp(f, [x], [t]),
            mg.hvp(lambda x: (f(x) ** 2).sum(), [x], [t])[0],
            mg.grad(lambda x: mg.jvp(f, [x], [t])[1].sum())(x),
        ]
    found = [*first, *recorded, *second, *rest]
    return [one if one is None else one.detach() for one in found]


@given(
    segments=st.lists(
        st.lists(st.sampled_from(["exp", "weights", "fused", "two", "sum"]), min_size=1, max_size=3, unique=True),
        min_size=1,
        max_size=3,
    ),
    nested=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_checkpointed_chains_are_the_plain_ones_bit_for_bit(segments: Any, nested: bool, seed: int) -> None:
    def compose(wrap: Callable[[Any], Any], names: list[str]) -> Callable[[mg.Tensor], mg.Tensor]:
        def run(x: mg.Tensor) -> mg.Tensor:
            for name in names:
                x = (wrap if nested else lambda f: f)(chain(name))(x)
            return x

        return wrap(run)

    def whole(wrap: Callable[[Any], Any]) -> Callable[[mg.Tensor], mg.Tensor]:
        def run(x: mg.Tensor) -> mg.Tensor:
            for names in segments:
                x = compose(wrap, names)(x)
            return x

        return run

    x = mg.tensor(np.random.default_rng(seed).standard_normal((3, 2)))
    t = mg.tensor(np.random.default_rng(seed + 1).standard_normal((3, 2)))
    plain, again = derivatives(whole(lambda f: f), x, t), derivatives(whole(mg.checkpoint), x, t)
    for i, (a, b) in enumerate(zip(plain, again, strict=True)):
        assert (a is None) == (b is None)
        if a is not None and i < 3:
            assert a.numpy().tobytes() == b.numpy().tobytes()
        elif a is not None:  # derivatives of derivatives may be added up in another order
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


def test_every_order_and_mode() -> None:
    check_grads(
        mg.checkpoint(lambda x, y: mg.exp(x) * mg.sin(y) + x[0] * W.detach()[0]), double(0.3, -1.0), double(2.0, 1)
    )
    several = mg.checkpoint(lambda x: {"a": x * x, "b": [mg.sin(x), x.sum()]})
    check_grads(lambda x: several(x)["a"] * several(x)["b"][0] + several(x)["b"][1], double(0.3, -1.0))
    cube = lambda x: x**3
    for _ in range(4):
        cube = mg.checkpoint(mg.grad(mg.checkpoint(cube))) if _ < 3 else cube
    assert cube(mg.tensor(2.0)).item() == 6.0


def test_only_the_arguments_are_kept() -> None:
    x = double(1.0, 2.0)
    x.requires_grad = True
    y = mg.checkpoint(lambda x: mg.exp(mg.exp(mg.exp(x * 2))))(x)
    nodes = graph.ancestors([y._node])
    assert [node.op.name if node.op else "leaf" for node in nodes] == ["leaf", "checkpoint", "checkpoint result"]
    assert [saved is x._array for node in nodes for saved in node.saved] == [True]


def test_one_run_for_all_results() -> None:
    runs = []

    def f(x: mg.Tensor, scale: float, *, names: list[str]) -> dict[str, Any]:
        runs.append(1)
        return {names[0]: x * scale, "twice": (x * x, x * x), names[1]: "kept", "none": None}

    x = double(3.0)
    x.requires_grad = True
    out = mg.checkpoint(f)(x, 2.0, names=["a", "b"])
    assert out["b"] == "kept"
    assert out["none"] is None
    (out["a"] + out["twice"][0] * out["twice"][1]).backward()
    assert x.grad.tolist() == [2.0 + 4 * 27]
    assert len(runs) == 2
    with pytest.raises(GraphError, match="the graph was freed: checkpoint result gave up"):
        out["a"].backward()
    with mg.no_grad():
        assert not mg.checkpoint(f)(x, 2.0, names=["a", "b"])["a"].requires_grad
    assert not mg.checkpoint(f)(x.detach(), 2.0, names=["a", "b"])["a"].requires_grad


def test_results_that_were_there_before() -> None:
    x = double(3.0)
    x.requires_grad = True
    outer = x * 2
    same, other, constant = mg.checkpoint(lambda y: (y, outer, mg.ones(1)))(x)
    assert other is outer
    assert not constant.requires_grad
    (same * other).sum().backward()
    assert x.grad.tolist() == [12.0]


def test_what_else_is_read_gets_its_gradient() -> None:
    mg.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    x = mg.random.default.normal((4, 3))

    def gradients(f: Any) -> list[bytes]:
        for parameter in model.parameters():
            parameter.grad = None
        (f(x) ** 2).sum().backward()
        return [parameter.grad.numpy().tobytes() for parameter in model.parameters()]

    assert gradients(mg.checkpoint(model)) == gradients(model)
    assert gradients(
        lambda x: model[4](mg.checkpoint(model[3])(mg.checkpoint(lambda x: model[2](model[1](model[0](x))))(x)))
    ) == gradients(model)


@pytest.mark.parametrize("generator", [None, Generator(5)])
def test_dropout_and_batch_norm(generator: Generator | None) -> None:
    def trained(wrap: Callable[[Any], Any]) -> tuple[list[bytes], list[bytes], bytes]:
        mg.manual_seed(3)
        if generator:
            generator.restart(5)
        model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5, generator=generator), nn.Linear(8, 2))
        x = mg.random.default.normal((6, 3))
        loss = (wrap(wrap(model))(x) ** 2).sum()
        loss.backward()
        later = (generator or mg.random.default).uniform(3)  # the streams go on as if the model had run once
        return (
            [parameter.grad.numpy().tobytes() for parameter in model.parameters()],
            [buffer.numpy().tobytes() for _, buffer in model.named_buffers()],
            later.numpy().tobytes(),
        )

    assert trained(mg.checkpoint) == trained(lambda f: f)


def test_hooks_inside_run_in_the_backward() -> None:
    seen = []

    def f(x: mg.Tensor) -> mg.Tensor:
        x.register_hook(lambda g: seen.append(("x", g.item())))
        y = x * x
        y.register_hook(lambda g: 10 * g)
        return y * W[0, 0]

    x = double(3.0)[0]
    assert mg.grad(mg.checkpoint(f))(x).item() == 30.0
    assert seen == [("x", 30.0)]
    with W.register_hook(lambda g: seen.append(("W", g[0, 0].item()))):
        mg.checkpoint(f)(x * W[1, 1] / W[1, 1].detach()).backward()
    assert seen[1:] == [("x", 30.0), ("W", 9.0)]
    assert W.grad[1, 1].item() == 300.0
    W.grad = None


def test_debug_mode_looks_inside() -> None:
    def f(x: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        y = mg.sqrt(x)
        return y, x

    x = double(0.0)
    x.requires_grad = True
    with pytest.raises(NonFiniteError) as caught, mg.debug():
        (mg.checkpoint(f)(x)[0] + x).backward()
    assert str(caught.value).startswith("the backward of sqrt made an infinity")
    assert str(caught.value).endswith("in f\n    y = mg.sqrt(x)")


def test_functions_that_do_something_else_the_second_time() -> None:
    x, generator, runs = double(1.0), Generator(0), []
    x.requires_grad = True

    def reads(x: mg.Tensor) -> mg.Tensor:
        runs.append(1)
        return x * W if len(runs) == 1 else x * 2.0

    y = mg.checkpoint(reads)(x)
    with pytest.raises(GraphError, match="the function read other tensors than it did"):
        y.sum().backward()

    def draws(x: mg.Tensor) -> mg.Tensor:
        runs.append(1)
        return x * generator.uniform(len(runs) * 4, dtype="float64").sum() * mg.exp(generator.uniform(1)[0])

    y = mg.checkpoint(draws)(x)
    assert y.requires_grad
    with Draws([]), pytest.raises(GraphError, match="draws more random numbers"):
        generator.uniform(1)


def test_nothing_survives() -> None:
    gc.collect()
    gc.disable()
    start = graph.Node.of(np.empty(())).age
    try:
        x = double(1.0)
        x.requires_grad = True
        y = mg.checkpoint(lambda x: (mg.exp(x), x * W[0]))(x)
        (y[0] + y[1].sum()).backward()
        del x, y
        assert not [one for one in gc.get_objects() if type(one) is graph.Node and one.age < start]
    finally:
        gc.enable()
        W.grad = None
