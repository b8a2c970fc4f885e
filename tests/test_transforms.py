"""Transforms on trees, whole Jacobians and Hessians."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.errors import ArgumentError, DtypeError, GraphError, MinigradError, OperandError, ShapeError
from minigrad.tree import Structure


class Pair(NamedTuple):
    left: Any
    right: Any


SHAPES = st.lists(st.integers(0, 3), max_size=2).map(tuple)
VALUES = st.builds(
    lambda shape, seed: mg.tensor(np.random.default_rng(seed).uniform(0.3, 1.5, shape)), SHAPES, st.integers(0, 99)
)
KEYS = st.one_of(st.text("abc", max_size=2), st.integers(0, 3))


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Trees of any nesting, in which a tensor may stand more than once."""
    return st.recursive(
        st.one_of(leaves, leaves, st.none()),
        lambda part: st.one_of(
            st.lists(part, max_size=3),
            st.lists(part, max_size=3).map(tuple),
            st.dictionaries(KEYS, part, max_size=3),
            st.builds(Pair, part, part),
        ),
        max_leaves=6,
    )


def some(x: mg.Tensor, seed: int) -> mg.Tensor:
    """Random numbers like x."""
    return mg.tensor(np.random.default_rng(seed).standard_normal(x.shape), dtype=x.dtype)


def assert_near(a: Any, b: Any) -> None:
    """Two trees of tensors have one structure, and leaves that are equal to rounding."""
    leaves, structure = mg.tree.flatten(a)
    for x, y in zip(leaves, structure.leaves(b), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-10, atol=1e-12)


# ---- trees -----------------------------------------------------------------------------------------------------------


@given(trees(st.integers()))
def test_flatten_and_back(tree: Any) -> None:
    leaves, structure = mg.tree.flatten(tree)
    again = structure.unflatten(leaves)
    assert again == tree
    assert mg.tree.flatten(again)[1] == structure
    assert structure.leaves(tree) == leaves
    reached = [eval(f"tree{path}", {"tree": tree}) for path in structure.paths()]
    assert all(a is b for a, b in zip(reached, leaves, strict=True))
    assert mg.tree.map(lambda x, y: x - y, tree, tree) == structure.unflatten([0] * len(leaves))


def test_types_of_trees() -> None:
    tree = Pair([1], {"b": 2, "a": (3,)})
    assert isinstance(mg.tree.map(str, tree), Pair)
    structure = mg.tree.flatten(tree)[1]
    assert structure.leaves(Pair([4], {"a": (6,), "b": 5})) == [4, 5, 6], "a dict has no order"
    assert structure == Structure(
        Pair,
        (0, 1),
        (
            Structure(list, (0,), (Structure(None),)),
            Structure(dict, ("b", "a"), (Structure(None), Structure(tuple, (0,), (Structure(None),)))),
        ),
    )
    assert mg.tree.flatten(5) == ([5], Structure(None))
    assert mg.tree.flatten(None) == ([], Structure(type(None)))


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"a": [1, 2]}, "tangents['a'] is a list of 2, not a list of 1"),
        ({"a": (1,)}, "tangents['a'] is a tuple of 1, not a list of 1"),
        ({"a": 1}, "tangents['a'] is a int, not a list of 1"),
        ({"b": [1]}, "tangents is a dict of 'b', not a dict of 'a'"),
        ({}, "tangents is an empty dict, not a dict of 'a'"),
        ({"a": None}, "tangents['a'] is a NoneType, not a list of 1"),
    ],
)
def test_trees_that_differ(other: Any, text: str) -> None:
    structure = mg.tree.flatten({"a": [0]})[1]
    with pytest.raises(ArgumentError) as caught:
        structure.leaves(other, "tangents")
    assert str(caught.value) == text


def test_leaves_that_do_not_fit() -> None:
    structure = mg.tree.flatten([0, 0])[1]
    for leaves in ([1], [1, 2, 3]):
        with pytest.raises(ArgumentError, match=f"{len(leaves)} leaves for a tree of 2"):
            structure.unflatten(leaves)


# ---- gradients and products on trees ---------------------------------------------------------------------------------


def energy(tree: Any) -> mg.Tensor:
    """A number in which all leaves meet."""
    total = mg.tensor(0.0, dtype="float64")
    for i, x in enumerate(mg.tree.flatten(tree)[0]):
        total = total * mg.sin(x).sum() + (i + 1) * (x**3).sum()
    return total


@given(tree=trees(VALUES), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_tree_is_its_leaves(tree: Any, seed: int) -> None:
    leaves, structure = mg.tree.flatten(tree)
    flat = lambda *xs: energy(structure.unflatten(xs))
    numbers = range(len(leaves))
    tangents = [some(x, seed + i) for i, x in enumerate(leaves)]

    value, gradient = mg.value_and_grad(energy)(tree)
    assert_near(gradient, structure.unflatten(mg.grad(flat, numbers)(*leaves)))
    assert_near(mg.vjp(energy, tree)[1]()[0], gradient)
    plain, tangent = mg.jvp(energy, [tree], [structure.unflatten(tangents)])
    assert_near(plain, value)
    expected = sum((float((g * t).sum()) for g, t in zip(mg.tree.flatten(gradient)[0], tangents, strict=True)), 0.0)
    assert tangent.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert_near(
        mg.hvp(energy, [tree], [structure.unflatten(tangents)])[0],
        structure.unflatten(mg.hvp(flat, leaves, tangents)),
    )


@given(tree=trees(VALUES), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_results_may_be_trees_of_any_nesting(tree: Any, seed: int) -> None:
    leaves, structure = mg.tree.flatten(tree)
    x = mg.tensor([0.5, 1.5], dtype="float64")
    f = lambda x: mg.tree.map(lambda leaf: leaf * (x * x).sum(), tree)
    cotangent = structure.unflatten(some(leaf, seed + i) for i, leaf in enumerate(leaves))
    value, pullback = mg.vjp(f, x)
    assert_near(value, f(x))
    inner = sum(float((g * leaf).sum()) for g, leaf in zip(mg.tree.flatten(cotangent)[0], leaves, strict=True))
    assert_near(pullback(cotangent)[0] if leaves else x * 0, x * 2 * inner)
    assert_near(mg.jvp(f, [x], [mg.ones(2, dtype="float64")])[1], mg.tree.map(lambda leaf: 4.0 * leaf, tree))


def test_none_is_a_zero_cotangent_or_tangent() -> None:
    f = lambda x, p: {"sum": x + p["y"], "product": (x * p["y"], x)}
    x, p = mg.tensor(2.0), {"y": mg.tensor(3.0)}
    _, pullback = mg.vjp(f, x, p)
    gx, gp = pullback({"sum": None, "product": (mg.tensor(1.0), mg.tensor(10.0))})
    assert (gx.item(), gp["y"].item()) == (13.0, 2.0)
    gx, gp = pullback({"product": (None, None), "sum": None})
    assert (gx.item(), gp["y"].item()) == (0.0, 0.0)
    _, tangent = mg.jvp(f, [x, p], [None, {"y": mg.tensor(1.0)}])
    assert (tangent["sum"].item(), tangent["product"][0].item(), tangent["product"][1].item()) == (1.0, 2.0, 0.0)


def test_one_tensor_twice_among_the_results() -> None:
    def f(x: mg.Tensor) -> tuple[mg.Tensor, mg.Tensor]:
        y = x * x
        return y, y

    _, pullback = mg.vjp(f, mg.tensor(3.0))
    assert pullback((mg.tensor(1.0), mg.tensor(10.0)))[0].item() == 66.0
    assert mg.grad(lambda g: mg.vjp(f, mg.tensor(3.0))[1]((g, g))[0])(mg.tensor(1.0)).item() == 12.0


def test_integers_beside_floats() -> None:
    f = lambda x: (x * 2, x.argmax(axis=0))
    x = mg.tensor([1.0, 5.0])
    value, pullback = mg.vjp(f, x)
    assert value[1].item() == 1
    assert pullback((mg.ones(2), None))[0].tolist() == [2.0, 2.0]
    assert mg.jvp(f, [x], [x])[1][1].tolist() == 0
    assert mg.jacobian(f)(x)[1].tolist() == [0.0, 0.0]


def test_aux_comes_beside_the_value() -> None:
    def loss(p: Any, x: mg.Tensor) -> Any:
        y = p["w"] * x
        return (y * y).sum(), {"y": y, "note": "kept"}

    p, x = {"w": mg.tensor(3.0)}, mg.tensor([1.0, 2.0])
    (value, aux), gradient = mg.value_and_grad(loss, has_aux=True)(p, x)
    assert value.item() == 45.0
    assert gradient["w"].item() == 30.0
    assert aux["note"] == "kept"
    assert aux["y"].tolist() == [3.0, 6.0]
    assert not aux["y"].requires_grad
    gradient, aux = mg.grad(loss, has_aux=True)(p, x)
    assert gradient["w"].item() == 30.0
    value, pullback, aux = mg.vjp(loss, p, x, has_aux=True)
    assert pullback()[1].tolist() == [18.0, 36.0]
    assert mg.grad(lambda x: mg.vjp(loss, p, x, has_aux=True)[2]["y"].sum())(x).tolist() == [3.0, 3.0]
    with pytest.raises(OperandError, match="with has_aux the function returns"):
        mg.grad(lambda x: x, has_aux=True)(x)


def test_unused_arguments() -> None:
    f = lambda p, x: p["used"] * x + p["cut"].detach()
    p, x = {"used": mg.tensor(2.0), "cut": mg.tensor(3.0), "no": [mg.tensor(4.0)]}, mg.tensor(5.0)
    gradient = mg.grad(f)(p, x)
    assert (gradient["used"].item(), gradient["cut"].item(), gradient["no"][0].item()) == (5.0, 0.0, 0.0)
    for call in (
        lambda: mg.grad(f, allow_unused=False)(p, x),
        lambda: mg.value_and_grad(f, argnums=(1, 0), allow_unused=False)(p, x),
        lambda: mg.vjp(f, p, x, allow_unused=False),
    ):
        with pytest.raises(GraphError, match=r"does not depend on argument 0\['cut'\]\nhint: with allow_unused=True"):
            call()
    assert mg.grad(f, argnums=1, allow_unused=False)(p, x).item() == 2.0
    mg.grad(lambda x: mg.grad(lambda y: y * x, allow_unused=False)(x), allow_unused=False)(x)


def test_gradients_of_a_models_parameters() -> None:
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x, labels = mg.tensor(np.eye(3, dtype="float32")), mg.tensor([0, 1, 1])

    def loss(parameters: dict[str, mg.Tensor], x: mg.Tensor) -> mg.Tensor:
        hidden = mg.relu(x @ parameters["0.weight"].mT + parameters["0.bias"])
        return mg.softmax_cross_entropy(hidden @ parameters["2.weight"].mT + parameters["2.bias"], labels).mean()

    gradients = mg.grad(loss)(model.state_dict(), x)
    nn.CrossEntropyLoss()(model(x), labels).backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(gradients[name].numpy(), parameter.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_transforms_with_trees_inside_each_other() -> None:
    def outer(p: dict[str, mg.Tensor]) -> mg.Tensor:
        inner = mg.grad(lambda q: q["a"] * p["a"] * q["b"])(p)
        return inner["a"] + inner["b"] * p["b"]  # a b + a a b

    p = {"a": mg.tensor(2.0), "b": mg.tensor(3.0)}
    gradient = mg.grad(outer)(p)
    assert (gradient["a"].item(), gradient["b"].item()) == (3.0 + 12.0, 2.0 + 4.0)
    assert mg.jvp(outer, [p], [{"a": mg.tensor(1.0), "b": None}])[1].item() == 15.0


# ---- Jacobians and Hessians ------------------------------------------------------------------------------------------


def mixture(p: Any) -> Any:
    """A tree of results in which the leaves of p meet."""
    xs = mg.tree.flatten(p)[0]
    total = sum(((x * x).sum() for x in xs), mg.tensor(0.5, dtype="float64"))
    return {"each": [mg.sin(x) * total for x in xs], "all": (total, mg.exp(-total) * mg.ones(2, dtype="float64"))}


@given(tree=trees(VALUES), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_jacobian_forward_is_reverse_is_stacked_vjps(tree: Any, seed: int) -> None:
    forward = mg.jacobian(mixture, mode="forward")(tree)
    assert_near(forward, mg.jacobian(mixture, mode="reverse")(tree))
    assert_near(forward, mg.jacobian(mixture)(tree))
    value, pullback = mg.vjp(mixture, tree)
    outputs, structure = mg.tree.flatten(value)
    inputs = mg.tree.flatten(tree)[0]
    for i, (y, block) in enumerate(zip(outputs, structure.leaves(forward), strict=True)):
        for k in np.ndindex(y.shape):
            unit = np.zeros(y.shape)
            unit[k] = 1
            gs = [mg.tensor(unit) if j == i else None for j in range(len(outputs))]
            assert_near(mg.tree.map(lambda b, k=k: b[k], block), pullback(structure.unflatten(gs))[0])
    # J t by the blocks
    tangents = [some(x, seed + i) for i, x in enumerate(inputs)]
    moved = mg.jvp(mixture, [tree], [mg.tree.flatten(tree)[1].unflatten(tangents)])[1]
    for y, t, block in zip(outputs, structure.leaves(moved), structure.leaves(forward), strict=True):
        terms = [
            np.tensordot(b.numpy(), d.numpy(), axes=d.ndim)
            for b, d in zip(mg.tree.flatten(block)[0], tangents, strict=True)
        ]
        np.testing.assert_allclose(t.numpy(), sum(terms, np.zeros(y.shape)), rtol=1e-9, atol=1e-10)


@given(tree=trees(VALUES), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_hvp_is_the_hessian_times_v_and_the_hessian_is_symmetric(tree: Any, seed: int) -> None:
    leaves, structure = mg.tree.flatten(tree)
    hessian = mg.hessian(energy)(tree)
    tangents = [some(x, seed + i) for i, x in enumerate(leaves)]
    product = mg.hvp(energy, [tree], [structure.unflatten(tangents)])[0]
    rows = [structure.leaves(row) for row in structure.leaves(hessian)]
    for i, (x, p) in enumerate(zip(leaves, structure.leaves(product), strict=True)):
        terms = [np.tensordot(rows[i][j].numpy(), t.numpy(), axes=t.ndim) for j, t in enumerate(tangents)]
        np.testing.assert_allclose(p.numpy(), sum(terms, np.zeros(x.shape)), rtol=1e-9, atol=1e-9)
        for j in range(len(leaves)):
            axes = (*range(x.ndim, x.ndim + leaves[j].ndim), *range(x.ndim))
            np.testing.assert_allclose(rows[i][j].numpy().transpose(axes), rows[j][i].numpy(), rtol=1e-9, atol=1e-9)


def test_shapes_of_several_arguments() -> None:
    f = lambda x, y, scale: {"out": (x @ y) * scale}
    x, y = mg.ones((2, 3)), mg.ones((3, 4))
    both = mg.jacobian(f, argnums=(1, 0))(x, y, scale=2.0)
    assert [block.shape for block in both["out"]] == [(2, 4, 3, 4), (2, 4, 2, 3)]
    assert mg.jacobian(f, argnums=-2)(x, y, 2.0)["out"].shape == (2, 4, 3, 4)
    h = mg.hessian(lambda x, y: (x @ y).sum() ** 2, argnums=(0, 1))(x, y)
    assert [[block.shape for block in row] for row in h] == [
        [(2, 3, 2, 3), (2, 3, 3, 4)],
        [(3, 4, 2, 3), (3, 4, 3, 4)],
    ]


def test_jacobians_have_derivatives_and_run_f_once() -> None:
    runs = []

    def f(x: mg.Tensor) -> mg.Tensor:
        runs.append(1)
        return mg.stack([(x**3).sum(), x[0] * x[1]])

    x = mg.tensor([2.0, 5.0], dtype="float64")
    for mode in ("forward", "reverse"):
        runs.clear()
        np.testing.assert_allclose(mg.jacobian(f, mode=mode)(x).numpy(), [[12.0, 75.0], [5.0, 2.0]])
        assert len(runs) == 1
        second = mg.jacobian(mg.jacobian(f, mode=mode))(x).numpy()
        np.testing.assert_allclose(second, [[[12.0, 0.0], [0.0, 30.0]], [[0.0, 1.0], [1.0, 0.0]]])
        w = mg.tensor([2.0, 5.0], dtype="float64", requires_grad=True)
        mg.jacobian(f, mode=mode)(w)[0, 1].backward()
        assert w.grad.tolist() == [0.0, 30.0]


# ---- errors ----------------------------------------------------------------------------------------------------------

X = mg.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: mg.grad(lambda p: p["x"].sum())({"x": [X, 1.0]}), OperandError, "argument 0['x'][1] is a float"),
        (lambda: mg.grad(lambda x, p: x, argnums=1)(X, (mg.tensor(1),)), DtypeError, "argument 1[0] of dtype int64"),
        (lambda: mg.grad(lambda x: (x, x))(X), GraphError, "returned a tuple, not a single number\nhint: use vjp"),
        (lambda: mg.vjp(lambda x: {"a": [1.0]}, X), OperandError, "returned a float at ['a'][0], not a tensor"),
        (lambda: mg.vjp(lambda x: [x], X)[1](X), ArgumentError, "vjp: the cotangent is a Tensor, not a list of 1"),
        (lambda: mg.vjp(lambda x: [x], X)[1](), ArgumentError, "vjp: the cotangent is a NoneType, not a list of 1"),
        (lambda: mg.vjp(lambda x: [x], X)[1]([X[0]]), ShapeError, "vjp: the cotangent has shape ()"),
        (lambda: mg.jvp(lambda x: x, [X], [[X]]), OperandError, "jvp: the tangent is a list, not a tensor"),
        (lambda: mg.jvp(lambda x: x[0], [[X]], [X]), ArgumentError, "jvp: tangents[0] is a Tensor, not a list of 1"),
        (lambda: mg.jvp(lambda x: x, [X], [X[0]]), ShapeError, "jvp: the tangent has shape ()"),
        (lambda: mg.jacobian(lambda x: x, mode="both")(X), ArgumentError, "mode = 'both' is neither"),
        (lambda: mg.jacobian(lambda x: x, 1)(X), ArgumentError, "jacobian: argnums = 1, but the function was called"),
        (lambda: mg.hvp(lambda x: x, [X], [X]), GraphError, "not a single number"),
    ],
)
def test_errors_name_the_place(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, MinigradError)
    assert text in str(caught.value)
