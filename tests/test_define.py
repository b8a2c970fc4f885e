"""Ops of users' own: they are records like the library's, and mistakes in them are said plainly."""

import copy
import pickle
import warnings
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    GraphError,
    MinigradError,
    NonFiniteError,
    OperandError,
    ShapeError,
)
from minigrad.ops.kinds import REGISTRY, Elementwise, Linear
from minigrad.testing import CheckError, check_grads
from minigrad.testing.strategies import Drawn


@mg.define_op("elementwise", lambda x: 1 / (1 + x * x))
def atan(x):
    """The angle whose tangent is x."""
    return np.arctan(x)


@mg.define_op("elementwise", lambda x, out: x / out, lambda y, out: y / out)
def hypotenuse(x, y):
    return np.hypot(x, y)


@mg.define_op("elementwise", lambda g, out: g * out, None)
def exp_of_first(x, y):
    return np.exp(x) + 0 * y


@mg.define_op("elementwise", 3.0, -1)
def weighted(x, y):
    return 3 * x - y


@mg.define_op("linear", lambda g, x, shift: roll(g, shift=-shift))
def roll(x, *, shift=1):
    return np.roll(x, shift, axis=-1)


@mg.define_op("linear", lambda g, x, y: g[0], lambda g, x, y: g[1])
def pair(x, y):
    return np.stack([x, y])


@mg.define_op(
    "bilinear",
    lambda g, x, y, k: k * (g @ y),
    lambda g, x, y, k: k * (g.mT @ x),
)
def outer(x, y, *, k=1.0):
    return np.outer(x, y) * x.dtype.type(k)


@mg.define_op(
    "general",
    lambda g, x, index, out: mg.scatter(g, index, shape=x.shape) * 2 * x,
    None,
    jvp=lambda tangents, x, index, out: None if tangents[0] is None else (2 * x * tangents[0])[index],
)
def square_at(x, index):
    return x[index] ** 2


@mg.define_op("discrete")
def above(x, *, level):
    return x > level


X = mg.tensor([0.3, -2.0], dtype="float64")
Y = mg.tensor([[1.5], [0.7], [2.0]], dtype="float64")


@pytest.mark.parametrize(
    ("f", "inputs"),
    [
        (atan, (X,)),
        (hypotenuse, (X, Y)),
        (exp_of_first, (X, Y)),
        (weighted, (Y, X)),
        (lambda x: roll(x, shift=3), (Y.mT,)),
        (pair, (X, X * 2)),
        (lambda x: square_at(x, mg.tensor([1, 0, 1])), (X,)),
        (lambda x, y: outer(x, y, k=2.5), (X, Y[:, 0])),
    ],
)
def test_derivatives_of_every_kind(f: Any, inputs: Any) -> None:
    check_grads(f, *inputs)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_the_same_as_the_librarys_own(data: st.DataObject) -> None:
    drawn = Drawn(data.draw)
    x = mg.asarray(drawn.layout(drawn.array(drawn.shape())))
    own = mg.define_op("elementwise", lambda out: 1 - out * out)(lambda_named("tanh", lambda x: np.tanh(x)))
    for dtype in ("float64", "float32"):
        a, b = mg.tensor(x, dtype=dtype, requires_grad=True), mg.tensor(x, dtype=dtype, requires_grad=True)
        for f, leaf in ((own, a), (mg.tanh, b)):
            (f(leaf) * 3).sum().backward()
        assert own(a).detach().numpy().tobytes() == mg.tanh(b).detach().numpy().tobytes()
        assert a.grad.numpy().tobytes() == b.grad.numpy().tobytes()


def lambda_named(name: str, f: Any) -> Any:
    f.__name__ = name
    return f


def test_they_are_records_but_not_in_the_table() -> None:
    assert isinstance(atan, Elementwise)
    assert isinstance(roll, Linear)
    assert repr(roll) == "<linear op roll(x, *, shift=1)>"
    assert atan.__doc__ == "The angle whose tangent is x."
    assert roll not in REGISTRY.values()
    assert REGISTRY["tanh"] is mg.tanh
    assert not hasattr(mg, "atan")


def test_ops_are_pickled_and_copied_by_name() -> None:
    for record in [*REGISTRY.values(), roll]:
        assert pickle.loads(pickle.dumps(record)) is record
        assert copy.deepcopy(record) is record


def test_operands_are_those_of_any_op() -> None:
    assert atan(mg.tensor([1])).dtype == mg.float32
    assert hypotenuse(3, mg.tensor(4.0)).item() == 5.0
    assert hypotenuse(mg.tensor([3.0], dtype="float64"), mg.tensor(4.0)).dtype == mg.float64
    assert roll(mg.tensor([1, 2, 3])).tolist() == [3, 1, 2]
    assert roll(mg.tensor([1, 2, 3])).dtype == mg.int64
    assert pair(mg.tensor([1.0]), np.array([2.0])).tolist() == [[1.0], [2.0]]
    assert atan(mg.tensor(0.5)).shape == ()
    assert above(mg.tensor([1.0, 3.0]), level=2).tolist() == [False, True]
    assert not above(mg.tensor([1.0], requires_grad=True), level=2).requires_grad
    assert square_at(mg.tensor([1.0, 2.0, 3.0]), mg.tensor([2, 0])).tolist() == [9.0, 1.0]
    with pytest.raises(ShapeError, match="hypotenuse: shapes do not broadcast, 2 and 3"):
        hypotenuse(mg.ones(2), mg.ones(3))
    with pytest.raises(OperandError, match="outer: missing a required argument: 'y'"):
        outer(X)
    with pytest.raises(OperandError, match="roll: got an unexpected keyword argument 'by'"):
        roll(X, by=2)
    with pytest.raises(OperandError, match="roll: no tensor among the inputs"):
        roll([1.0, 2.0])


def test_numbers_are_ieee_and_silent() -> None:
    @mg.define_op("elementwise", lambda x: 1 / x)
    def logarithm(x):
        return np.log(x)

    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert logarithm(mg.tensor([0.0])).tolist() == [-np.inf]
        with pytest.raises(NonFiniteError, match="logarithm made an infinity"), mg.debug():
            logarithm(mg.tensor([0.0]))


def test_a_kernel_may_be_compiled() -> None:
    compiled = numba.njit(lambda_named("square_of", lambda x: x * x))
    square = mg.define_op("elementwise", lambda x: 2 * x)(compiled)
    check_grads(square, X)
    assert square(mg.tensor([3.0])).tolist() == [9.0]


def test_a_check_runs_before_the_kernel() -> None:
    def check(x, *, axis):
        if axis >= x.ndim:
            raise ArgumentError(f"flipped: no axis {axis}")

    @mg.define_op("linear", lambda g, x, axis: flipped(g, axis=axis), check=check)
    def flipped(x, *, axis):
        return np.flip(x, axis)

    assert flipped(X, axis=0).tolist() == [-2.0, 0.3]
    with pytest.raises(ArgumentError, match="flipped: no axis 1"):
        flipped(X, axis=1)


def test_wrong_rules_are_caught() -> None:
    @mg.define_op("elementwise", lambda x: 2 * x * x)
    def cube(x):
        return x**3

    with pytest.raises(CheckError):
        check_grads(cube, X)


# ---- mistakes --------------------------------------------------------------------------------------------------------


def op(kind: str, kernel: Any, *rules: Any, **more: Any) -> Any:
    return mg.define_op(kind, *rules, **more)(lambda_named("mine", kernel))


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (
            lambda: op("unary", lambda x: x),
            "kind = 'unary' is none of elementwise, linear, bilinear, general, discrete",
        ),
        (lambda: op("linear", lambda x, y: x, lambda g, x, y: g), "mine has 2 inputs (x, y) and 1 rules"),
        (lambda: op("discrete", lambda x: x > 0, lambda g, x: g), "mine is discrete, and has no rules"),
        (
            lambda: op("elementwise", lambda x: x, lambda y: y),
            "a partial derivative of mine needs 'y', not one of x, out",
        ),
        (lambda: op("elementwise", lambda x: x, lambda x, g: x), "needs 'g', not one of x, out"),
        (lambda: op("elementwise", lambda x, y, z: x, 1, 1, 1), "so it has one or two inputs and no options"),
        (lambda: op("elementwise", lambda x, *, k: x, 1), "so it has one or two inputs and no options"),
        (lambda: op("bilinear", lambda x: x, lambda g: g), "mine is bilinear, and has 1 inputs, not 2"),
        (lambda: op("linear", lambda x: x, 1.0), "the rules of mine must be functions"),
        (lambda: op("linear", lambda *xs: xs, lambda g: g), "must name its inputs and options"),
        (lambda: op("linear", lambda *, k: k), "must name its inputs and options"),
        (lambda: op("general", lambda x: x, lambda g, x, out: g), "a general op has a jvp"),
        (lambda: op("linear", lambda x: x, lambda g, x: g, jvp=lambda t: t), "no other kind has one"),
    ],
)
def test_declarations_that_do_not_fit(declare: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        declare()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("kernel", "error", "text"),
    [
        (lambda x: [1.0, 2.0], OperandError, "mine: the kernel returned a list, not a ndarray"),
        (lambda x: None, OperandError, "mine: the kernel returned a NoneType"),
        (lambda x: x.astype("float32"), DtypeError, "the kernel returned float32 for inputs of float64\nhint: end it"),
        (lambda x: x.astype("complex128"), DtypeError, "returned complex128, which is not a dtype of minigrad"),
        (lambda x: np.round(x).astype(int), DtypeError, "returned int64 for inputs of float64"),
        (lambda x: x[None], ShapeError, "the kernel returned shape (1, 2) for inputs that broadcast to (2,)"),
        (lambda x: x.sum(), ShapeError, "the kernel returned shape () for inputs that broadcast to (2,)"),
    ],
)
def test_kernels_that_return_something_else(kernel: Any, error: type[Exception], text: str) -> None:
    mine = op("elementwise", kernel, 1)
    with pytest.raises(error) as caught:
        mine(X)
    assert isinstance(caught.value, MinigradError)
    assert text in str(caught.value)


def test_a_kernel_cannot_change_its_inputs() -> None:
    mine = op("linear", lambda x: np.add(x, 1, out=x), lambda g, x: g)
    x = mg.tensor([1.0])
    with pytest.raises(ValueError, match="read-only") as caught:
        mine(x)
    assert caught.value.__notes__ == ["in the kernel of mine"]
    assert x.tolist() == [1.0]


RULE = "the rule for x of mine"


@pytest.mark.parametrize(
    ("kind", "rule", "error", "text"),
    [
        ("elementwise", lambda x: x.numpy() * 2, OperandError, f"{RULE} returned a ndarray, not a tensor\nhint: rules"),
        (
            "elementwise",
            lambda x: x.sum(),
            ShapeError,
            f"{RULE} must return shape (2,) and dtype float64\n  it returned",
        ),
        ("elementwise", lambda x: x.astype("float32"), ShapeError, "must return shape (2,) and dtype float64"),
        ("linear", lambda g, x: g.numpy(), OperandError, f"{RULE} returned a ndarray, not a tensor"),
        (
            "linear",
            lambda g, x: g[None],
            ShapeError,
            "must return shape (2,) and dtype float64\n  it returned = (1, 2)",
        ),
        ("linear", lambda g, x: g.astype("float32"), ShapeError, "it returned = (2,)  float32"),
        ("linear", lambda g, x: 1.0, OperandError, f"{RULE} returned a float, not a tensor"),
    ],
)
def test_rules_that_return_something_else(kind: str, rule: Any, error: type[Exception], text: str) -> None:
    mine = op(kind, lambda x: x * 1, rule)
    with pytest.raises(error) as caught:
        mg.vjp(mine, X)[1](mg.ones(2, dtype="float64"))
    assert isinstance(caught.value, MinigradError)
    assert text in str(caught.value)


def test_a_rule_that_drops_to_arrays_says_so_at_the_second_order_at_the_latest() -> None:
    mine = op("elementwise", lambda x: x**2, lambda x: mg.tensor(2 * x.numpy()))
    assert mg.grad(lambda x: mine(x).sum())(X).tolist() == [0.6, -4.0]
    with pytest.raises(GraphError, match=r"numpy\(\) would lose the gradient") as caught:
        mg.grad(lambda x: mg.grad(lambda x: mine(x).sum())(x).sum())(X)
    assert caught.value.__notes__ == [f"in {RULE}"]


def test_a_tangent_of_another_shape() -> None:
    mine = op("general", lambda x: x * 1, lambda g, x, out: g, jvp=lambda tangents, x, out: tangents[0].sum())
    with pytest.raises(ShapeError, match="the rule for the tangents of mine must return shape"):
        mg.jvp(mine, [X], [X])


def test_other_devices_need_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(np.ndarray):
        pass

    monkeypatch.setattr("minigrad.kernels.device_of", lambda kind: "elsewhere" if kind is Elsewhere else "cpu")
    x = mg.Tensor._wrap(np.ones(2).view(Elsewhere))
    with pytest.raises(
        DeviceError, match="roll: no kernel for the device 'elsewhere'\nhint: give define_op one: others="
    ):
        roll.run(x, shift=1)
    there = op("linear", lambda x: x * 1, lambda g, x: g, others={"elsewhere": lambda x: x + 0})
    assert type(there.run(x)._array) is Elsewhere
