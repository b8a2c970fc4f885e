"""Debug mode: the line and the op that made the first NaN or infinity, in every sweep."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import graph, nn
from minigrad.errors import NonFiniteError


def leaf(*values: float) -> mg.Tensor:
    return mg.tensor(list(values), dtype="float64", requires_grad=True)


def report(call: Callable[[], Any]) -> str:
    """What debug mode says about a call."""
    with pytest.raises(NonFiniteError) as caught, mg.debug():
        call()
    assert isinstance(caught.value, FloatingPointError)
    return str(caught.value)


# ---- forward ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "made"),
    [
        (lambda x: mg.log(x * 0), "log made an infinity: -inf at (0,)"),  # one input
        (lambda x: 1 / (x - x), "divide made an infinity: inf at (0,)"),  # two inputs
        (lambda x: (x - 3) / (x - 3), "divide made a NaN: nan at (2,)"),
        (lambda x: mg.exp(x * 1000).sum(), "exp made an infinity: inf at (0,)"),
        (lambda x: (x * 5e307).sum(), "sum made an infinity: inf at ()"),  # an op with options
        (lambda x: mg.linear(x * 5e307, mg.ones((1, 3), dtype="float64")), "linear made an infinity: inf at (0,)"),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_forward_names_the_op_and_its_line(call: Any, made: str, recorded: bool) -> None:
    text = report(lambda: call(leaf(1.0, 2.0, 3.0) if recorded else leaf(1.0, 2.0, 3.0).detach()))
    assert text.startswith(made)
    assert f"called at {__file__}:" in text
    assert text.splitlines()[-1].strip().startswith("(lambda x: ")


def test_infinities_may_be_passed_on() -> None:
    with mg.debug():
        x = mg.tensor([-np.inf, np.inf, 1.0])
        for y in (x + 1, mg.exp(x), mg.where(x > 0, 0.0, -np.inf), mg.softmax(x[2:] + mg.tensor([0.0, -np.inf]))):
            assert y.shape
    assert report(lambda: mg.tensor([np.inf]) * 0).startswith("multiply made a NaN: nan at (0,)")


def test_a_nan_in_the_data_is_found_where_it_is_first_used() -> None:
    x = mg.tensor([1.0, np.nan])
    with mg.debug():
        assert mg.where(mg.isnan(x), 0.0, x).tolist() == [1.0, 0.0]
    assert report(lambda: x * 2).startswith("multiply passed on a NaN: nan at (1,)")
    y = mg.exp(mg.tensor([1.0, np.nan], requires_grad=True))
    assert report(lambda: y.sum().backward()).startswith("sum passed on a NaN")
    z = y.sum()
    assert report(z.backward).startswith("the backward of exp passed on a NaN: nan at (1,) of the cotangent of input 0")


def test_a_layers_line_is_the_users() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.assign(np.full((2, 2), 3e38))
    text = report(lambda: layer(mg.ones((1, 2))))
    assert text.endswith("in <lambda>\n    text = report(lambda: layer(mg.ones((1, 2))))")


# ---- the sweeps ------------------------------------------------------------------------------------------------------


def root(x: mg.Tensor) -> mg.Tensor:
    y = mg.sqrt(x)
    return (y * 2).sum()


def test_a_sweep_names_the_line_of_the_forward() -> None:
    for call in (
        lambda: root(leaf(4.0, 0.0)).backward(),
        lambda: root(leaf(4.0, 0.0)).backward(create_graph=True),
        lambda: mg.grad(root)(leaf(4.0, 0.0).detach()),
    ):
        text = report(call)
        assert text.startswith("the backward of sqrt made an infinity: inf at (1,) of the cotangent of input 0\n")
        assert text.endswith(", in root\n    y = mg.sqrt(x)")
    text = report(lambda: mg.jvp(root, [mg.tensor([4.0, 0.0])], [mg.ones(2)]))
    assert text.startswith("the tangent of sqrt made an infinity: inf at (1,) of the result\n")
    assert text.endswith(", in root\n    y = mg.sqrt(x)")


def test_a_gradient_of_a_gradient_names_the_line_of_the_function() -> None:
    def power(x: mg.Tensor) -> mg.Tensor:
        return (x**1.5).sum()  # the first derivative is finite at 0, the second is not

    text = report(lambda: mg.grad(lambda x: mg.grad(power)(x).sum())(mg.tensor([1.0, 0.0])))
    assert text.startswith("the backward of pow made an infinity")
    assert text.splitlines()[-1].strip().startswith("return (x**1.5).sum()")


def test_infinities_that_a_rule_throws_away_do_not_count() -> None:
    x = leaf(-1.0, 0.0, 4.0)
    with mg.debug():
        mg.softmax(x * 1000).sum().backward(create_graph=True)
        mg.std(mg.tensor([2.0, 2.0], requires_grad=True)).backward()
    assert np.isfinite(x.grad.detach().numpy()).all()
    x.grad = None


def test_what_was_recorded_before_has_no_line() -> None:
    loss = root(leaf(4.0, 0.0))
    assert "where it was called is not known" in report(loss.backward)


# ---- on and off ------------------------------------------------------------------------------------------------------


def test_off_again_whatever_happens() -> None:
    mode = mg.debug()
    with pytest.raises(ZeroDivisionError), mode, mode:
        raise ZeroDivisionError
    assert graph.watch is None
    assert mg.log(mg.tensor([0.0])).item() == -np.inf

    @mg.debug()
    def decorated(n: int) -> mg.Tensor:
        return decorated(n - 1) if n else mg.log(mg.tensor([0.0]))

    with pytest.raises(NonFiniteError):
        decorated(2)
    assert graph.watch is None


def test_it_belongs_to_the_thread() -> None:
    seen = []
    with mg.debug():
        thread = threading.Thread(target=lambda: seen.append(mg.log(mg.tensor([0.0])).item()))
        thread.start()
        thread.join()
    assert seen == [-np.inf]


def test_it_belongs_to_the_task() -> None:
    async def careful(entered: asyncio.Event, done: asyncio.Event) -> None:
        with mg.debug():
            entered.set()
            await done.wait()
            with pytest.raises(NonFiniteError):
                mg.log(mg.tensor([0.0]))

    async def careless(entered: asyncio.Event, done: asyncio.Event) -> float:
        await entered.wait()
        x = leaf(0.0)
        mg.sqrt(x).backward()
        done.set()
        return x.grad.item()

    async def both() -> float:
        entered, done = asyncio.Event(), asyncio.Event()
        return (await asyncio.gather(careful(entered, done), careless(entered, done)))[1]

    assert asyncio.run(both()) == np.inf
    assert graph.watch is None


@given(st.lists(st.sampled_from(["exp", "log", "sqrt", "square", "reciprocal", "double"]), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_it_raises_where_numbers_stop_being_finite_and_nowhere_else(names: list[str]) -> None:
    functions = {"reciprocal": lambda x: 1 / x, "double": lambda x: x + x}

    def chain(x: mg.Tensor) -> mg.Tensor:
        for name in names:
            x = functions.get(name, getattr(mg, name, None))(x)
        return x

    x = leaf(-1.0, 0.0, 1.0, 30.0)
    y = chain(x)
    good = bool(np.isfinite(y.detach().numpy()).all())
    y.sum().backward()
    with mg.debug():
        try:
            z = chain(x)
            survived = True
        except NonFiniteError:
            survived = False
        assert survived or not good or {"reciprocal", "exp"} & {*names}  # of an infinity they make a number again
        if survived:
            assert good
            complaint = ""
            try:
                z.sum().backward()
            except NonFiniteError as error:
                complaint = str(error)
            assert complaint.startswith("the backward of ") or (not complaint and np.isfinite(x.grad.numpy()).all())
