"""Optimisers, step by step: against a plain numpy reference, against PyTorch, and across interruptions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim
from minigrad.errors import ArgumentError, OperandError

Arrays = list[np.ndarray]
STEPS = 6


def sgd(x: Arrays, gradients: list[Arrays], lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Arrays:
    """The reference, in numpy."""
    x, delta = [one.copy() for one in x], [np.zeros_like(one) for one in x]
    for step in gradients:
        for i, gradient in enumerate(step):
            g = gradient + weight_decay * x[i]
            delta[i] = momentum * delta[i] + g
            x[i] -= lr * (g + momentum * delta[i] if nesterov else delta[i])
    return x


def adam(x: Arrays, gradients: list[Arrays], lr: float, betas: Any, eps: float, weight_decay: float) -> Arrays:
    """The reference, in numpy: Algorithm 1 of Kingma and Ba (2015)."""
    x, m, v = [one.copy() for one in x], [np.zeros_like(one) for one in x], [np.zeros_like(one) for one in x]
    for t, step in enumerate(gradients, start=1):
        for i, gradient in enumerate(step):
            g = gradient + weight_decay * x[i]
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            x[i] -= lr * (m[i] / (1 - betas[0] ** t)) / (np.sqrt(v[i] / (1 - betas[1] ** t)) + eps)
    return x


def problem(seed: int) -> tuple[Arrays, list[Arrays]]:
    """Two parameters, and their gradients at each step."""
    random = np.random.default_rng(seed)
    draw = lambda: [random.normal(size=(3, 2)), random.normal(size=4)]
    return draw(), [draw() for _ in range(STEPS)]


def run(make: Callable[[list[mg.Tensor]], Any], x: Arrays, gradients: list[Arrays], dtype: str = "float64") -> Arrays:
    """The parameters after an optimiser took all steps."""
    parameters = [nn.Parameter(mg.tensor(one, dtype=dtype)) for one in x]
    optimizer = make(parameters)
    for step in gradients:
        for parameter, g in zip(parameters, step, strict=True):
            parameter.grad = mg.tensor(g, dtype=dtype)
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters]


def agree(results: Arrays, expected: Arrays, tolerance: float) -> None:
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance)


sgd_options = st.fixed_dictionaries(
    {
        "lr": st.sampled_from([0.0, 0.01, 0.5]),
        "momentum": st.sampled_from([0.5, 0.9, 1.0]),
        "nesterov": st.booleans(),
        "weight_decay": st.sampled_from([0.0, 0.1]),
    }
) | st.fixed_dictionaries(
    {
        "lr": st.sampled_from([0.01, 0.5]),
        "momentum": st.just(0.0),
        "nesterov": st.just(False),
        "weight_decay": st.sampled_from([0.0, 0.1]),
    }
)
adam_options = st.fixed_dictionaries(
    {
        "lr": st.sampled_from([0.0, 0.001, 0.1]),
        "betas": st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.0)]),
        "eps": st.sampled_from([1e-8, 1e-3]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
    }
)
often = settings(max_examples=25, deadline=None, derandomize=True)


@given(sgd_options, st.integers(0, 99))
@often
def test_sgd_is_the_reference(options: dict[str, Any], seed: int) -> None:
    x, gradients = problem(seed)
    make = lambda parameters: optim.SGD(parameters, **options)
    agree(run(make, x, gradients), sgd(x, gradients, **options), 1e-12)
    agree(run(make, x, gradients, "float32"), sgd(x, gradients, **options), 1e-4)


@given(adam_options, st.integers(0, 99))
@often
def test_adam_is_the_reference(options: dict[str, Any], seed: int) -> None:
    x, gradients = problem(seed)
    make = lambda parameters: optim.Adam(parameters, **options)
    agree(run(make, x, gradients), adam(x, gradients, **options), 1e-12)
    agree(run(make, x, gradients, "float32"), adam(x, gradients, **options), 1e-4)


def run_torch(
    torch: Any, make: Callable[[list[Any]], Any], x: Arrays, gradients: list[list[np.ndarray | None]]
) -> Arrays:
    parameters = [torch.nn.Parameter(torch.tensor(one)) for one in x]
    optimizer = make(parameters)
    for step in gradients:
        for parameter, g in zip(parameters, step, strict=True):
            parameter.grad = None if g is None else torch.tensor(g)
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters]


@given(sgd_options, st.integers(0, 99))
@often
def test_sgd_is_pytorchs(torch: Any, options: dict[str, Any], seed: int) -> None:
    x, gradients = problem(seed)
    expected = run_torch(torch, lambda p: torch.optim.SGD(p, **options), x, gradients)
    agree(run(lambda p: optim.SGD(p, **options), x, gradients), expected, 1e-12)


@given(adam_options, st.integers(0, 99))
@often
def test_adam_is_pytorchs(torch: Any, options: dict[str, Any], seed: int) -> None:
    x, gradients = problem(seed)
    expected = run_torch(torch, lambda p: torch.optim.Adam(p, **options), x, gradients)
    agree(run(lambda p: optim.Adam(p, **options), x, gradients), expected, 1e-12)


def test_defaults_are_pytorchs(torch: Any) -> None:
    x, gradients = problem(0)
    for ours, theirs in (
        (optim.Adam, torch.optim.Adam),
        (lambda p: optim.SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
    ):
        agree(run(ours, x, gradients), run_torch(torch, theirs, x, gradients), 1e-12)


# ---- parameters without a gradient -----------------------------------------------------------------------------------

MAKERS = [
    pytest.param(lambda p: optim.SGD(p, 0.1), id="sgd"),
    pytest.param(lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1), id="momentum"),
    pytest.param(lambda p: optim.Adam(p, 0.1, weight_decay=0.1), id="adam"),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_parameter_without_a_gradient_is_left_alone(make: Any) -> None:
    moved, still, frozen = nn.Parameter([1.0, 2.0]), nn.Parameter([3.0]), nn.Parameter([4.0])
    frozen.requires_grad = False
    optimizer = make([moved, still, frozen])
    array = still._array
    for _ in range(3):
        optimizer.zero_grad()
        (moved * moved).sum().backward()
        optimizer.step()
    assert still._array is array
    assert (still.item(), frozen.item()) == (3.0, 4.0)
    assert (moved < mg.tensor([1.0, 2.0])).all()


@pytest.mark.parametrize(("ours", "theirs"), [("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.1})])
def test_a_parameter_that_joins_later_starts_from_its_own_first_step(
    torch: Any, ours: str, theirs: dict[str, float]
) -> None:
    x, gradients = problem(1)
    late: list[Any] = [[g, None if t < 3 else h] for t, (g, h) in enumerate(gradients)]
    parameters = [nn.Parameter(one) for one in x]
    optimizer = getattr(optim, ours)(parameters, **theirs)
    for step in late:
        for parameter, g in zip(parameters, step, strict=True):
            parameter.grad = None if g is None else mg.tensor(g)
        optimizer.step()
    expected = run_torch(torch, lambda p: getattr(torch.optim, ours)(p, **theirs), x, late)
    agree([p.detach().numpy() for p in parameters], expected, 1e-12)


def test_a_parameter_given_twice_moves_once() -> None:
    x = nn.Parameter([1.0])
    optimizer = optim.SGD([x, x], 0.25)
    (x * 2).sum().backward()
    optimizer.step()
    assert x.item() == 0.5


# ---- arrays and modes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
def test_a_step_gives_new_arrays(make: Any) -> None:
    x = nn.Parameter([1.0, 2.0])
    optimizer = make([x])
    seen = []
    for _ in range(3):
        loss = (x * x * x).sum()
        before, view, alias = x._array, x.detach().numpy(), x.detach()
        kept, states = before.copy(), [dict(state) for state in optimizer.state]
        copies = [{name: one.numpy().copy() for name, one in state.items()} for state in states]
        optimizer.zero_grad()
        loss.backward()
        gradient = x.grad.numpy().copy()
        optimizer.step()
        assert x._array is not before
        assert not np.shares_memory(x._array, before)
        for old in (before, view, alias.numpy()):
            np.testing.assert_array_equal(old, kept)
        np.testing.assert_array_equal(x.grad.numpy(), gradient)
        for state, copy in zip(states, copies, strict=True):
            assert all(np.array_equal(state[name].numpy(), copy[name]) for name in state)
        assert x.is_leaf
        assert x.requires_grad
        seen.append(id(before))
    np.testing.assert_array_equal(gradient, 3 * kept**2)


@pytest.mark.parametrize("make", MAKERS)
def test_a_step_records_nothing_and_keeps_the_dtype(make: Any) -> None:
    x = nn.Parameter([1.0])
    optimizer = make([x])
    x.grad = mg.tensor([1.0])
    optimizer.step()
    assert x.dtype == mg.float32
    assert not any(one.requires_grad for state in optimizer.state for one in state.values())
    optimizer.zero_grad()
    assert x.grad is None


def test_a_graph_built_before_a_step_keeps_the_values_it_saw() -> None:
    x = nn.Parameter([3.0])
    optimizer = optim.SGD([x], 1.0)
    old = (x * x).sum()
    x.grad = mg.tensor([1.0])
    optimizer.step()
    assert x.item() == 2.0
    x.grad = None
    old.backward()
    assert x.grad.item() == 6.0


def test_a_plain_leaf_can_be_optimised() -> None:
    x = mg.tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([x], 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (x * x).sum().backward()
        optimizer.step()
    assert abs(x.item()) < 1e-6


def test_the_learning_rate_may_change_between_steps() -> None:
    x = nn.Parameter([1.0])
    optimizer = optim.SGD([x], 0.5)
    x.grad = mg.tensor([1.0])
    optimizer.step()
    optimizer.lr = 0.125
    optimizer.step()
    assert x.item() == 0.375
    assert optimizer.steps == 2


# ---- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("form", ["tensors", "ndarrays"])
def test_a_run_goes_on_with_the_same_bits(make: Any, form: str) -> None:
    x, gradients = problem(2)

    def steps(parameters: list[nn.Parameter], optimizer: Any, some: list[Arrays]) -> list[bytes]:
        for step in some:
            for parameter, g in zip(parameters, step, strict=True):
                parameter.grad = mg.tensor(g, dtype="float32")
            optimizer.step()
        return [parameter.detach().numpy().tobytes() for parameter in parameters]

    parameters = [nn.Parameter(mg.tensor(one, dtype="float32")) for one in x]
    optimizer = make(parameters)
    steps(parameters, optimizer, gradients[:3])
    state = {name: one if form == "tensors" else one.numpy() for name, one in optimizer.state_dict().items()}
    others = [nn.Parameter(parameter.detach()) for parameter in parameters]
    frozen = {name: np.array(one) for name, one in state.items()}
    expected = steps(parameters, optimizer, gradients[3:])
    assert all(np.array_equal(state[name], frozen[name]) for name in state), "a state is a snapshot"

    resumed = make(others)
    resumed.load_state_dict(state)
    assert resumed.steps == 3
    assert steps(others, resumed, gradients[3:]) == expected
    fresh = make([nn.Parameter(mg.tensor(one, dtype="float32")) for one in x])
    fresh.load_state_dict(state)
    assert {name: one.dtype for name, one in fresh.state_dict().items()} == {
        name: one.dtype for name, one in optimizer.state_dict().items()
    }


def test_a_state_of_other_parameters_is_refused() -> None:
    x, y = nn.Parameter(mg.ones(2)), nn.Parameter(mg.ones(3))
    state = optim.Adam([x]).state_dict()
    for other in (optim.Adam([y]), optim.Adam([x, y]), optim.SGD([x], 0.1, momentum=0.9)):
        before = other.state_dict()
        with pytest.raises(ArgumentError, match="the state is of other parameters, see"):
            other.load_state_dict(state)
        assert all(other.state_dict()[name].tolist() == one.tolist() for name, one in before.items())


@pytest.mark.parametrize("name", ["steps", "0.steps"])
def test_a_state_with_a_negative_number_of_steps_is_refused(name: str) -> None:
    optimizer = optim.Adam([nn.Parameter(mg.ones(2))])
    with pytest.raises(ArgumentError, match=f"Adam: the state has {name} = -1"):
        optimizer.load_state_dict(optimizer.state_dict() | {name: mg.tensor(-1)})


def test_momentum_may_begin_later() -> None:
    x = nn.Parameter([1.0])
    optimizer = optim.SGD([x], lr=0.5)
    optimizer.momentum = 0.5
    for _ in range(2):
        x.grad = mg.ones(1)
        optimizer.step()
    assert x.tolist() == [1.0 - 0.5 - 0.75]


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: optim.SGD(p, -0.1), "SGD: lr = -0.1 is not in [0, inf)"),
        (lambda p: optim.SGD(p, float("nan")), "SGD: lr = nan"),
        (lambda p: optim.SGD(p, float("inf")), "SGD: lr = inf"),
        (lambda p: optim.SGD(p, "0.1"), "SGD: lr = 0.1 is not in"),
        (lambda p: optim.SGD(p, 0.1, momentum=-1), "SGD: momentum = -1"),
        (lambda p: optim.SGD(p, 0.1, weight_decay=-1), "SGD: weight_decay = -1"),
        (lambda p: optim.SGD(p, 0.1, nesterov=True), "SGD: nesterov needs a momentum"),
        (lambda p: optim.Adam(p, -1.0), "Adam: lr = -1.0"),
        (lambda p: optim.Adam(p, betas=(1.0, 0.9)), "Adam: betas[0] = 1.0 is not in [0, 1.0)"),
        (lambda p: optim.Adam(p, betas=(0.9, -0.1)), "Adam: betas[1] = -0.1"),
        (lambda p: optim.Adam(p, eps=-1e-8), "Adam: eps = -1e-08"),
        (lambda p: optim.Adam(p, weight_decay=-1), "Adam: weight_decay = -1"),
        (lambda p: optim.Adam([]), "Adam: no parameters to optimise"),
    ],
)
def test_bad_options(make: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make([nn.Parameter([1.0])])
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "parameters",
    [
        nn.Linear(2, 2),
        nn.Sequential(nn.Linear(2, 2)),
        nn.Parameter([1.0, 2.0]),
        [nn.Parameter([1.0]) * 2],
        [np.ones(2)],
        [{"params": [nn.Parameter([1.0])]}],
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_parameter(parameters: Any) -> None:
    with pytest.raises(OperandError, match=r"is not a parameter|pass model.parameters\(\)"):
        optim.SGD(parameters, 0.1)
