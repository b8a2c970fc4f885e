"""What the strategies draw is valid and shrinks; the state machine agrees with the engine and sees mistakes."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import minigrad as mg
from minigrad import nn, ops
from minigrad.errors import ArgumentError
from minigrad.testing import check_grads, check_module, check_optimizer, strategies
from minigrad.testing.machine import TensorMachine

often = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TestTensors = TensorMachine.TestCase
TestTensors.settings = settings(often, max_examples=20, stateful_step_count=25)


def smallest(strategy: Any, condition: Any = lambda value: True) -> Any:
    return find(strategy, condition, settings=settings(often, database=None, max_examples=500))


# ---- drawn things are what they should be ----------------------------------------------------------------------------


@given(strategies.broadcastable_shapes(3))
@often
def test_shapes_broadcast(shapes: Any) -> None:
    np.broadcast_shapes(*shapes)


@given(st.data())
@often
def test_axes_reshapes_and_indices_fit(data: st.DataObject) -> None:
    x = data.draw(strategies.tensors())
    axis = data.draw(strategies.axes(x.ndim))
    assert x.sum(axis=axis).shape == x.numpy().sum(axis=axis).shape
    shape = data.draw(strategies.reshapes(x.shape))
    assert x.reshape(shape).size == x.size
    key = data.draw(strategies.indices(x.shape))
    np.testing.assert_array_equal(x[key].numpy(), x.numpy()[key])


@given(strategies.tensors(strategies.shapes(1, 3, 1), low=-1, high=3, kinks=[0.0, 1.0]))
@often
def test_values_keep_away_from_kinks(x: mg.Tensor) -> None:
    values = x.numpy()
    assert (np.abs(values) > 0.07).all()
    assert (np.abs(values - 1) > 0.07).all()
    assert (values >= -1).all()
    assert (values <= 3).all()


@given(strategies.tensors(strategies.shapes(1, 3), distinct=True))
@often
def test_distinct_values_are_apart(x: mg.Tensor) -> None:
    values = np.sort(x.numpy().ravel())
    assert (np.diff(values) >= 0.09 * 4 / max(x.size, 1)).all()
    assert (np.abs(values) <= 2).all()


@given(strategies.tensors((2, 3), strategies.dtypes("fiub"), low=0, high=5))
@often
def test_dtypes(x: mg.Tensor) -> None:
    assert x.dtype in mg.dtypes.SUPPORTED
    assert x.shape == (2, 3)


def test_all_layouts_come_up() -> None:
    for condition in (
        lambda x: x.numpy().flags.c_contiguous,
        lambda x: x.numpy().flags.f_contiguous and not x.numpy().flags.c_contiguous,
        lambda x: min(x.numpy().strides) < 0,
        lambda x: not x.numpy().flags.forc and min(x.numpy().strides) > 0,
    ):
        smallest(strategies.tensors((3, 4)), condition)


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "avg_pool2d", "matmul", "einsum"])
@given(st.data())
@often
def test_calls_of_ops_are_valid(name: str, data: st.DataObject) -> None:
    strategy = {
        "conv2d": strategies.conv2d_problems,
        "matmul": strategies.matmul_operands,
        "einsum": strategies.einsum_operands,
        "max_pool2d": strategies.pool2d_problems,
        "avg_pool2d": lambda: strategies.pool2d_problems("avg"),
    }[name]
    call = data.draw(strategy())
    result = getattr(mg, name)(*call.args, **call.options)
    assert result.dtype == mg.float64


@given(strategies.classification_batches())
@often
def test_classification_batches(batch: tuple[mg.Tensor, mg.Tensor]) -> None:
    assert math.isfinite(nn.cross_entropy(*batch).item())


@given(st.data())
@settings(often, max_examples=10)
def test_modules_are_right(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(3, 2), (2, 2, 4, 3)]))
    module = data.draw(strategies.modules(shape, max_layers=3))
    x = data.draw(strategies.tensors(shape, distinct=True))
    check_module(module, x, order=1, elements=2)


@given(strategies.optimizers())
@settings(often, max_examples=6)
def test_optimisers_are_right(make: Any) -> None:
    check_optimizer(make, steps=400)


@given(strategies.graphs())
@settings(often, max_examples=25)
def test_random_graphs_differentiate(drawn: Any) -> None:
    graph, inputs = drawn
    check_grads(graph, *inputs, elements=2)


# ---- shrinking -------------------------------------------------------------------------------------------------------


def test_everything_shrinks_to_the_smallest() -> None:
    assert smallest(strategies.shapes()) == ()
    assert smallest(strategies.broadcastable_shapes(2)) == ((), ())
    assert smallest(strategies.tensors(), lambda x: x.ndim == 2 and x.size > 0).shape == (1, 1)
    assert smallest(strategies.reshapes((2, 3))) == (6,)
    conv = smallest(strategies.conv2d_problems(), lambda call: call.args[0].size > 0)
    assert conv.args[0].shape == (1, 1, 1, 1)
    assert conv.args[1].shape == (1, 1, 1, 1)
    pool = smallest(strategies.pool2d_problems(), lambda call: call.args[0].size > 0)
    assert pool.args[0].shape == (1, 1, 1, 1)
    graph, _ = smallest(strategies.graphs(), lambda drawn: any(op == "multiply" for op, _ in drawn[0].steps))
    assert repr(graph) == "Graph(y0 = multiply(x0, x0))"
    assert [type(layer) for layer in smallest(strategies.modules((2, 3)))] == [nn.Tanh]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: smallest(strategies.modules((3,))), r"shape \(3,\) is neither"),
        (lambda: strategies.dtypes("x"), "names none of f, i, u, b"),
        (lambda: smallest(strategies.op_calls("tan2")), "minigrad has no op 'tan2'"),
    ],
)
def test_bad_calls_say_why(call: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        call()


# ---- the machine sees mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        ("getitem", lambda g, x, key: ops.index_put(mg.zeros(x.shape, dtype=g.dtype), key, g)),  # repeats do not add up
        ("index_put", lambda g, x, value, key: g),  # what was overwritten keeps its gradient
    ],
)
def test_the_machine_finds_wrong_rules(op: str, rule: Any) -> None:
    unshrunk = settings(often, max_examples=300, database=None, phases=[Phase.generate])
    record = getattr(ops, op)
    right = record.transposes
    object.__setattr__(record, "transposes", (rule, *right[1:]))
    try:
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            run_state_machine_as_test(TensorMachine, settings=unshrunk)
    finally:
        object.__setattr__(record, "transposes", right)
