"""The graph and its sweeps: depth, memory, modes, errors, and transforms of transforms."""

import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import graph
from minigrad.errors import ArgumentError, DtypeError, GraphError, OperandError, ShapeError
from minigrad.testing import check_grads


def leaf(*values: float, dtype: str = "float64") -> mg.Tensor:
    return mg.tensor(list(values), dtype=dtype, requires_grad=True)


# ---- backward --------------------------------------------------------------------------------------------------------


def test_gradients_add_up_over_uses_and_backwards() -> None:
    x = leaf(1.0, 2.0)
    (x * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 5.0])
    (2 * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5.0, 7.0])
    x.grad = None
    assert x.grad is None


def test_a_chain_of_100_000_ops() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = -y
    y.backward()
    assert x.grad.tolist() == [1.0]
    _, tangent = mg.jvp(lambda x: long_chain(x, 20_000), [mg.tensor([1.0])], [mg.tensor([1.0])])
    assert tangent.tolist() == [1.0]
    del y  # the destruction of a long chain must not recurse either


def long_chain(x: mg.Tensor, length: int) -> mg.Tensor:
    for _ in range(length):
        x = -x
    return x


def test_a_deep_diamond_takes_linear_time() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.tolist() == [1.0]


def test_a_tall_stack_of_sums_reaches_every_leaf() -> None:
    leaves = [leaf(float(i)) for i in range(500)]
    total = leaves[0]
    for one in leaves[1:]:
        total = total + one * one
    total.backward()
    assert [one.grad.item() for one in leaves] == [1.0] + [2.0 * i for i in range(1, 500)]


def test_backward_frees_what_it_used() -> None:
    x = leaf(1.0, 2.0)
    y = mg.exp(x)
    z = (y * y).sum()
    saved = [node for node in graph.ancestors([z._node]) if node.op]
    z.backward()
    assert all(node.saved is None for node in saved)
    with pytest.raises(GraphError, match="the graph was freed"):
        z.backward()
    with pytest.raises(GraphError, match="the graph was freed"):
        (y * 2).sum().backward()


def test_a_transform_sees_that_its_graph_was_freed() -> None:
    def f(x: mg.Tensor) -> mg.Tensor:
        y = x * x
        y.sum().backward()
        return y.sum()

    with pytest.raises(GraphError, match="the graph was freed"):
        mg.grad(f)(mg.tensor([3.0]))
    with pytest.raises(GraphError, match="the graph was freed"):
        mg.jvp(f, [mg.tensor([3.0])], [mg.tensor([1.0])])


def test_backwards_in_several_threads_lose_no_gradient() -> None:
    p = leaf(1.0)

    def work() -> None:
        for _ in range(300):
            (p * 1).backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert p.grad.tolist() == [1200.0]


def test_a_branch_not_taken_gets_no_gradient_even_times_infinity() -> None:
    x = mg.tensor([-1.0, 4.0])
    for f in (mg.relu, lambda x: mg.maximum(x, 0.0), lambda x: -mg.minimum(-x, 0.0)):
        assert mg.grad(lambda x, f=f: mg.sqrt(f(x)).sum())(x).tolist() == [0.0, 0.25]
    assert mg.grad(mg.std)(mg.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]


def test_retain_graph_lets_backward_run_again() -> None:
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12.0]


def test_a_failed_backward_changes_no_gradient() -> None:
    x, w = leaf(1.0), leaf(2.0)
    y = x * w
    (y * y).sum().backward()
    before = x.grad.tolist(), w.grad.tolist()
    with pytest.raises(GraphError):
        (y + x * 5.0).sum().backward()
    assert (x.grad.tolist(), w.grad.tolist()) == before


def test_create_graph_gives_second_derivatives() -> None:
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    g = x.grad
    x.grad = None
    g.backward()
    assert x.grad.tolist() == [12.0]


def test_nothing_survives_without_the_garbage_collector() -> None:
    def loss_of(x: mg.Tensor, w: mg.Tensor) -> mg.Tensor:
        y = mg.max_pool2d(mg.relu(mg.conv2d(x, w)), 2)
        return mg.logsumexp(y.reshape(2, -1), axis=1).mean()

    mg.grad(loss_of)(mg.ones((2, 1, 8, 8), dtype="float64"), mg.ones((3, 1, 3, 3), dtype="float64"))
    gc.collect()  # what numba's compiler leaves behind
    gc.disable()
    start = graph.Node.of(np.empty(())).age
    try:
        x = mg.tensor(np.ones((2, 1, 8, 8)), requires_grad=True)
        w = mg.tensor(np.ones((3, 1, 3, 3)), requires_grad=True)
        loss = loss_of(x, w)
        nodes = [weakref.ref(node) for node in graph.ancestors([loss._node])]
        tensors = [weakref.ref(one) for one in (x, w, loss)]
        loss.backward()
        del loss
        inner = [ref for ref in nodes if ref() is not None]
        assert len(inner) == 2, "only the two leaves are still referred to"
        del x, w
        assert not any(ref() for ref in nodes + tensors)

        z = mg.tensor([1.0], requires_grad=True)
        kept = mg.exp(z * z)  # a graph that no backward has freed
        refs = [weakref.ref(node) for node in graph.ancestors([kept._node])]
        del kept, z
        assert not any(ref() for ref in refs)

        mg.grad(mg.grad(lambda x: (x**3).sum()))(mg.tensor([1.0]))
        mg.jvp(lambda x: mg.exp(x), [mg.tensor([1.0])], [mg.tensor([1.0])])
        assert not [o for o in gc.get_objects() if type(o) is graph.Node and o.age < start]
    finally:
        gc.enable()


def test_only_what_the_rules_need_is_kept() -> None:
    x, y = leaf(1.0), mg.tensor([2.0], dtype="float64")
    kept = (x * y)._node.saved
    assert kept[0] is None, "x is not needed: y has no gradient"
    assert kept[1] is y._array
    assert (x + y)._node.saved == ()
    kept = mg.matmul(x, y)._node.saved
    assert kept[0] is None
    assert kept[1] is y._array
    assert x.reshape(1, 1)._node.saved == ()
    node = mg.concat([x, y])._node
    assert node.saved[0] is None
    assert isinstance(node.saved[1], graph.Spec), "y has no node that would know its shape"
    node = mg.tanh(x)._node
    assert node.saved[0] is None
    assert isinstance(node.saved[1], np.ndarray)


# ---- fused ops -------------------------------------------------------------------------------------------------------


def test_a_fused_op_keeps_residuals_until_it_is_freed_and_none_without_a_graph() -> None:
    logits, labels = mg.tensor([[1.0, 2.0]], requires_grad=True), mg.tensor([1])
    out, (softmax,) = mg.softmax_cross_entropy.with_residuals(logits, labels)
    assert out.requires_grad
    assert not softmax.requires_grad
    np.testing.assert_allclose(softmax.numpy(), np.exp([[1, 2]]) / np.exp([1, 2]).sum(), rtol=1e-6)
    node = out._node
    assert node.saved[-1] is softmax._array
    out.backward()
    np.testing.assert_allclose(logits.grad.numpy(), softmax.numpy() - [[0, 1]], rtol=1e-6)
    assert node.saved is None
    with pytest.raises(GraphError, match="softmax_cross_entropy gave up its saved arrays"):
        out.backward()
    with mg.no_grad():
        out, (softmax,) = mg.softmax_cross_entropy.with_residuals(logits, labels)
    assert out._node is None
    assert softmax.shape == (1, 2)


def test_second_derivatives_of_a_fused_op() -> None:
    x, labels = mg.tensor([[1.0, 2.0]], dtype="float64"), mg.tensor([0])

    def f(x: mg.Tensor) -> mg.Tensor:
        return mg.softmax_cross_entropy(x * x, labels).sum()

    check_grads(f, x, order=2)
    hessian = [mg.grad(lambda x, i=i: mg.grad(f)(x)[0, i])(x).numpy()[0] for i in range(2)]
    p = np.exp([1, 4]) / np.exp([1, 4]).sum()
    outer = 4 * np.outer([1, 2], [1, 2]) * (np.diag(p) - np.outer(p, p))
    np.testing.assert_allclose(hessian, outer + 2 * np.diag(p - [1, 0]), rtol=1e-12)


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_clear_errors() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match=r"shape \(2,\) needs a cotangent"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match="the cotangent has shape"):
        (x * 2).backward(mg.ones(3, dtype="float64"))
    with pytest.raises(OperandError, match="the cotangent is a list"):
        (x * 2).backward([1.0, 1.0])
    with pytest.raises(GraphError, match="nothing was recorded"):
        x.detach().sum().backward()
    with pytest.raises(GraphError, match="integers and booleans have no gradient"):
        (x > 1).any().backward()
    with pytest.raises(DtypeError, match="int64 has no gradient"):
        mg.tensor([1, 2], requires_grad=True)
    with pytest.raises(DtypeError, match="int64 has no gradient"):
        mg.grad(lambda x: x.sum())(mg.tensor([1, 2]))
    with pytest.raises(GraphError, match="an op made this tensor"):
        (x * 2).requires_grad = False
    with pytest.raises(GraphError, match=r"x.detach\(\).numpy\(\)"):
        x.numpy()
    with pytest.raises(GraphError, match="not a single number"):
        mg.grad(lambda x: x)(x)
    with pytest.raises(OperandError, match="returned a float"):
        mg.grad(lambda x: 1.0)(x)
    with pytest.raises(ArgumentError, match="argnums = 1"):
        mg.grad(lambda x: x.sum(), argnums=1)(x)
    with pytest.raises(ArgumentError, match="names an argument twice"):
        mg.grad(lambda x: x.sum(), argnums=(0, -1))(x)
    with pytest.raises(ArgumentError, match="1 arguments but 2 tangents"):
        mg.jvp(lambda x: x, [x], [x, x])


# ---- modes -----------------------------------------------------------------------------------------------------------


def test_no_grad_and_enable_grad() -> None:
    x = leaf(1.0)
    with mg.no_grad():
        assert not (x * 2).requires_grad
        with mg.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @mg.no_grad()
    def silent() -> bool:
        return (x * 2).requires_grad

    assert [silent(), silent()] == [False, False]
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        raise ZeroDivisionError
    assert graph.is_recording()


def test_a_mode_may_contain_itself() -> None:
    mode = mg.no_grad()
    with mode:
        with mode:
            assert not graph.is_recording()
        assert not graph.is_recording()
    assert graph.is_recording()

    @mg.no_grad()
    def countdown(n: int) -> int:
        return n if n == 0 else countdown(n - 1)

    assert countdown(3) == 0
    assert graph.is_recording()


@pytest.mark.parametrize("mode", [mg.no_grad, mg.enable_grad, mg.debug])
def test_a_mode_cannot_decorate_what_runs_after_its_call(mode: Any) -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def coroutine() -> None:
        pass

    async def stream() -> AsyncIterator[int]:
        yield 1

    for function in (generator, coroutine, stream):
        with pytest.raises(OperandError, match=f"{function.__name__} is a generator or async"):
            mode()(function)


def test_a_gradient_is_nobody_elses_tensor() -> None:
    x, y, g = leaf(1.0), leaf(2.0), mg.tensor([1.0], dtype="float64")
    with leaf(0.0).register_hook(lambda g: None):  # while there is a hook, sweeps carry tensors
        x.backward(g)
        assert x.grad is not g
        x.grad = None
        (x + y).backward(g)
    assert x.grad is not y.grad
    assert g is not x.grad


def test_numpys_error_handling_is_neither_used_nor_changed() -> None:
    x = mg.tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(all="raise"):
        y = (x / 0) * 1e38 * 1e38 + mg.log(x)
        y.backward(mg.ones(2))
        assert np.geterr()["over"] == "raise"
    assert np.isnan(y.detach().numpy()[0])
    assert mg.tensor([1.0]).item() == 1.0
    assert (mg.tensor([1.0]) * 1e39).item() == np.inf


def test_numbers_beside_tensors() -> None:
    x = leaf(2.0, 4.0)
    for y, expected in [(1 - x, [-1, -3]), (3 / x, [1.5, 0.75]), (2 * x, [4, 8]), (x + True, [3, 5]), (x**2, [4, 16])]:
        np.testing.assert_array_equal(y.detach().numpy(), expected)
        assert y.dtype == x.dtype
    (3 / x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [-0.75, -0.1875])
    for call in (lambda: x + 10**400, lambda: 10**400 - x):
        with pytest.raises(ArgumentError, match="does not fit in float64"):
            call()
    with pytest.raises(ShapeError, match="add: shapes do not broadcast, 2 and 3 at axis -1"):
        x + mg.ones(3, dtype="float64")


def test_modes_belong_to_threads() -> None:
    seen = []
    with mg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(graph.is_recording()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_share_tensors_and_get_right_gradients() -> None:
    x = mg.tensor(np.linspace(0.1, 1, 50))
    results: list[np.ndarray] = []

    def work() -> None:
        results.extend(mg.grad(lambda x: (mg.exp(x) * x).sum())(x).numpy() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = np.exp(x.numpy()) * (1 + x.numpy())
    assert len(results) == 80
    for result in results:
        np.testing.assert_allclose(result, expected)


# ---- transforms ------------------------------------------------------------------------------------------------------


def f(x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
    return (mg.sin(x) * y**2 + mg.exp(x / y)).sum()


def test_grad_by_name_and_number() -> None:
    x, y = mg.tensor([0.3], dtype="float64"), mg.tensor([1.7], dtype="float64")
    gx, gy = mg.grad(f, argnums=(0, 1))(x, y)
    np.testing.assert_allclose(gx.numpy(), np.cos(0.3) * 1.7**2 + np.exp(0.3 / 1.7) / 1.7)
    np.testing.assert_allclose(gy.numpy(), 2 * np.sin(0.3) * 1.7 - np.exp(0.3 / 1.7) * 0.3 / 1.7**2)
    value, only = mg.value_and_grad(f, argnums=1)(x, y)
    assert only.tolist() == gy.tolist()
    assert value.item() == f(x, y).item()
    assert not only.requires_grad
    assert not value.requires_grad


@pytest.mark.parametrize("order", range(6))
def test_any_order_by_nesting(order: int) -> None:
    derivative = lambda x: mg.exp(2 * x)
    for _ in range(order):
        derivative = mg.grad(derivative)
    np.testing.assert_allclose(derivative(mg.tensor(0.5, dtype="float64")).item(), 2**order * np.e, rtol=1e-12)


def test_the_same_derivative_by_all_routes() -> None:
    x, t = mg.tensor([0.4, -1.2], dtype="float64"), mg.tensor([1.0, 0.5], dtype="float64")

    def g(x: mg.Tensor) -> mg.Tensor:
        return (mg.sin(x[0] * x[1]) + x[0] ** 3).sum()

    def along(x: mg.Tensor) -> mg.Tensor:
        return mg.jvp(g, [x], [t])[1]

    forward_over_reverse = mg.jvp(mg.grad(g), [x], [t])[1]
    reverse_over_forward = mg.grad(along)(x)
    reverse_over_reverse = mg.grad(lambda x: (mg.grad(g)(x) * t).sum())(x)
    np.testing.assert_allclose(forward_over_reverse.numpy(), reverse_over_forward.numpy(), rtol=1e-12)
    np.testing.assert_allclose(forward_over_reverse.numpy(), reverse_over_reverse.numpy(), rtol=1e-12)
    np.testing.assert_allclose(mg.jvp(along, [x], [t])[1].item(), (forward_over_reverse * t).sum().item(), rtol=1e-12)


def test_inner_and_outer_derivatives_are_not_confused() -> None:
    # d/dx [x * d/dy (x * y)] = d/dx x**2: the inner derivative must not see the outer perturbation as its own
    def outer(x: mg.Tensor) -> mg.Tensor:
        return x * mg.grad(lambda y: x * y)(x)

    assert mg.grad(outer)(mg.tensor(3.0)).item() == 6.0
    assert mg.jvp(outer, [mg.tensor(3.0)], [mg.tensor(1.0)])[1].item() == 6.0

    def outer_forward(x: mg.Tensor) -> mg.Tensor:
        return x * mg.jvp(lambda y: x * y, [x], [mg.tensor(1.0)])[1]

    assert mg.grad(outer_forward)(mg.tensor(3.0)).item() == 6.0
    assert mg.jvp(outer_forward, [mg.tensor(3.0)], [mg.tensor(1.0)])[1].item() == 6.0


def test_transforms_see_closed_over_leaves_and_leave_their_grad_alone() -> None:
    w = leaf(2.0)
    g = mg.grad(lambda x: (w * x * x).sum())(mg.tensor([3.0], dtype="float64"))
    assert g.tolist() == [12.0]
    assert w.grad is None
    g.sum().backward()
    assert w.grad.tolist() == [6.0]


def test_arguments_without_influence_have_zero_derivatives() -> None:
    x, y = mg.tensor([1.0]), mg.tensor([2.0])
    assert mg.grad(lambda x, y: (y * y).sum())(x, y).tolist() == [0.0]
    assert mg.grad(lambda x: mg.tensor(1.0))(x).tolist() == [0.0]
    assert mg.jvp(lambda x: mg.floor(x), [x], [y])[1].tolist() == [0.0]
    assert mg.jvp(lambda x: y, [x], [y])[1].tolist() == [0.0]


def test_a_pullback_can_be_called_again() -> None:
    _, pullback = mg.vjp(lambda x: x * x, mg.tensor([1.0, 2.0]))
    for scale in (1.0, 3.0):
        assert pullback(mg.full((2,), scale))[0].tolist() == [2 * scale, 4 * scale]


def test_transforms_work_under_no_grad() -> None:
    with mg.no_grad():
        assert mg.grad(lambda x: (x * x).sum())(mg.tensor([3.0])).tolist() == [6.0]
        assert mg.jvp(lambda x: x * x, [mg.tensor([3.0])], [mg.tensor([1.0])])[1].tolist() == [6.0]


@given(st.lists(st.sampled_from(["exp", "tanh", "sigmoid", "square", "sin", "cos"]), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_random_compositions(names: list[str]) -> None:
    def compose(x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
        for name in names:
            x = getattr(mg, name)(x * 0.5) + y * x
        return x

    x, y = mg.tensor([0.3, -0.4, 0.9], dtype="float64"), mg.tensor([[0.1], [0.2]], dtype="float64")
    check_grads(compose, x, y)
