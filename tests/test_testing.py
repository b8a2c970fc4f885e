"""minigrad.testing: what is right passes, what is wrong fails where it is wrong, and the report says so."""

import functools
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import kernels, nn, optim
from minigrad.errors import ArgumentError, DtypeError, OperandError
from minigrad.testing import (
    CheckError,
    Report,
    check_adjoint,
    check_determinism,
    check_devices,
    check_grads,
    check_jvp_vjp,
    check_module,
    check_optimizer,
)
from minigrad.testing.differences import derivative
from minigrad.testing.sides import LAYOUTS


def some(*shape: int, dtype: str = "float64", seed: int = 0) -> mg.Tensor:
    return mg.tensor(np.random.default_rng(seed).normal(size=shape), dtype=dtype)


def caught(check: Callable[[], Report]) -> Report:
    """The report of a check that fails."""
    with pytest.raises(CheckError) as error:
        check()
    assert str(error.value) == str(error.value.report)
    return error.value.report


def by_hand(f: Any, vjp: Any, *inputs: Any, **options: Any) -> Report:
    return check_grads(f, *inputs, vjp=vjp, **options)


# ---- numeric derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "slope", "x"),
    [
        (np.sin, np.cos, 0.7),
        (np.exp, np.exp, 3.0),
        (np.log, lambda x: 1 / x, 1e-4),
        (np.log, lambda x: 1 / x, 1e6),
        (lambda x: np.exp(40 * x), lambda x: 40 * np.exp(40 * x), 0.1),
        (lambda x: x**9, lambda x: 9 * x**8, -1.3),
        (lambda x: np.abs(x - 1e-3), lambda x: -1.0, 0.0),  # a kink beside the point
        (lambda x: 1e-12 * np.sin(x), lambda x: 1e-12 * np.cos(x), 0.3),
        (lambda x: 1e9 + np.sin(x), np.cos, 0.3),
        (lambda x: (x + 1e4) - x, lambda x: 0.0, 0.3),
        (lambda x: x * (0.3 * x) * (0.7 * x), lambda x: 0.0, 0.0),
    ],
)
def test_the_error_of_a_difference_is_known(f: Any, slope: Any, x: float) -> None:
    found = derivative(lambda step: f(x + step), abs(x))
    assert found.settled
    assert abs(found.value - slope(x)) <= found.error
    assert found.error <= 1e-4 * max(abs(slope(x)), 1e-6 * abs(f(x)), 1e-9)


# ---- what is right passes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (mg.exp, [()]),
        (lambda x, y: mg.exp(x) * y / (y * y + 1), [(3, 4), (4,)]),
        (mg.matmul, [(3, 4), (4, 2)]),
        (lambda x: (x.sum(), [x * 2, {"a": x[0]}]), [(3,)]),
        (lambda x, w: mg.conv2d(x, w, padding=1), [(2, 3, 5, 5), (4, 3, 3, 3)]),
        (lambda x: mg.softmax(x) * 1e-9, [(3, 4)]),
        (lambda x: mg.softmax(x).sum(axis=-1), [(3, 4)]),  # a constant: all its derivatives cancel
        (lambda x: x - x, [(3,)]),
        (lambda x: x.sum(axis=0), [(0, 3)]),
    ],
)
def test_right_derivatives_pass(f: Any, shapes: Any, dtype: str) -> None:
    report = check_grads(f, *(some(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)))
    assert report.passed
    assert all(element.right for element in report.elements)
    assert " is right" in str(report)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lambda x: x - (x * 3) / 3, [()]),
        (lambda x, y: (x + y) - x - y, [(2,), (2,)]),
        (lambda x: x - x * 0.1 * 10, [(3,)]),
        (lambda x, window: mg.subtractive_norm(x, mg.exp(window)), [(1, 1, 1, 1), (3, 3)]),  # x - x * w / w
        (lambda x: mg.subtractive_norm(x, 3), [(1, 2, 1, 1)]),
        (mg.softmax, [(1,)]),
        (lambda x, w: mg.batch_norm(x @ w), [(1, 3), (3, 2)]),
    ],
)
def test_derivatives_that_cancel_pass(f: Any, shapes: Any, dtype: str) -> None:
    """They are what rounding leaves, another rest in each mode; but an error is more than that."""
    for seed in range(6):
        inputs = [some(*shape, dtype=dtype, seed=seed + i) for i, shape in enumerate(shapes)]
        assert check_grads(f, *inputs, seed=seed, elements=1).passed

    @mg.define_op("elementwise", 1e-9)
    def nothing(x: Any) -> Any:
        return 0 * x

    with pytest.raises(CheckError):
        check_grads(lambda *xs: f(*xs) + nothing(xs[0]).sum(), *inputs)


def test_trees_of_inputs() -> None:
    layer = {"weight": some(2, 3), "bias": [some(2, seed=1), None]}
    f = lambda x, layer: x @ layer["weight"].mT + layer["bias"][0]
    report = check_grads(f, some(4, 3), layer)
    assert [element.input for element in report.elements] == [
        "input 0 (x)",
        "input 1 (layer)['weight']",
        "input 1 (layer)['bias'][0]",
    ]
    assert "'bias': [minigrad.tensor(np.array([" in report.reproducer
    assert check_grads(lambda x, y: x["a"] * y, {"a": np.ones(2)}, np.ones(2), vjp=lambda g, x, y: (g * y, g * x["a"]))


def test_other_arguments_are_handed_on() -> None:
    labels = mg.tensor([0, 2])
    assert check_grads(lambda x, y, how: nn.cross_entropy(x, y, reduction=how), some(2, 3), labels, "sum").passed


def test_seeds_choose_directions_and_elements() -> None:
    reports = [check_grads(mg.exp, some(10, 10), elements=1, seed=seed) for seed in (0, 0, 1)]
    indices = [report.elements[0].index for report in reports]
    assert indices[0] == indices[1] != indices[2]


def test_numpy_code() -> None:
    x, w = np.random.default_rng(0).normal(size=(4, 3)), np.random.default_rng(1).normal(size=(3, 2))
    vjp = lambda g, x, w: (g @ w.T, x.T @ g)
    jvp = lambda t, x, w: t[0] @ w + x @ t[1]
    assert check_grads(np.matmul, x, w, vjp=vjp, jvp=jvp).passed
    assert check_grads(np.sum, x, vjp=lambda g, x: np.full_like(x, g)).passed
    assert check_jvp_vjp(np.matmul, x, w, vjp=vjp, jvp=jvp).passed


# ---- what is wrong fails, where it is wrong --------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.data())
@settings(max_examples=40, deadline=None)
def test_a_wrong_element_is_found(rows: int, columns: int, data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, w = random.normal(size=(2, rows)), random.normal(size=(rows, columns))
    place = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    factor = data.draw(st.sampled_from([0.0, -1.0, 2.0, 1.01, 1 + 1e-6]))

    def wrong(g: np.ndarray, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        to_w = x.T @ g
        to_w[place] *= factor
        return g @ w.T, to_w

    report = caught(lambda: by_hand(np.matmul, wrong, x, w))
    (element,) = [element for element in report.elements if not element.right]
    assert element.index == place
    assert element.input.startswith("input 1")
    assert not element.falls
    assert element.analytic == pytest.approx(factor * element.numeric, rel=1e-8)


WRONG = {
    "a missing term": (lambda x: x * np.sin(x), lambda g, x: g * np.sin(x)),
    "a wrong sign": (np.cos, lambda g, x: g * np.sin(x)),
    "no mean": (lambda x: np.mean(x), lambda g, x: np.full_like(x, g)),
    "all ones would not see it": (lambda x: np.cumsum(x), lambda g, x: g * np.arange(x.size, 0, -1)),
    "nothing": (np.sin, lambda g, x: None),
    "NaN": (np.sin, lambda g, x: g * np.nan),
    "a part in a million": (np.sin, lambda g, x: g * np.cos(x) * (1 + 1e-6)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_products_by_hand_fail(name: str) -> None:
    f, vjp = WRONG[name]
    report = caught(lambda: by_hand(f, vjp, np.array([0.3, -1.2, 2.0])))
    assert (
        "the gradient of input 0 (x) is wrong at" in report.problems[0] or "input 0 is wrong at" in report.problems[0]
    )


@pytest.mark.parametrize(
    ("vjp", "problem"),
    [
        (lambda g, x: (2 * g * x)[:1], "has shape (1,) and dtype float64, the input (3,) and float64"),
        (lambda g, x: (2 * g * x).astype("float32"), "dtype float32, the input (3,) and float64"),
        (lambda g, x: np.multiply(2 * x, g, out=g), "the cotangent was changed"),
    ],
)
def test_forms_and_writing(vjp: Any, problem: str) -> None:
    report = caught(lambda: by_hand(lambda x: x * x, vjp, np.array([0.3, -1.2, 2.0])))
    assert any(problem in one for one in report.problems)


def test_aliases() -> None:
    x = np.array([0.3, -1.2])
    alone = caught(lambda: by_hand(lambda x: x.copy(), lambda g, x: g, x))
    assert alone.problems == (
        "the gradient of input 0 (x) shares memory with the cotangent: writing on one would change the other",
    )
    twice = caught(lambda: by_hand(np.add, lambda g, x, y: (2 * g / 2,) * 2, x, x + 1))
    assert "shares memory with the gradient of input 0" in twice.problems[0]


def test_a_function_that_is_random() -> None:
    report = caught(lambda: check_grads(lambda x: x * mg.random.default.uniform(3), some(3)))
    (problem,) = report.problems
    assert problem.startswith("the value differs from call to call")


def test_numpy_code_without_a_product() -> None:
    with pytest.raises(TypeError) as caught:
        check_grads(np.sin, np.ones(2))
    assert caught.value.__notes__ == ["hint: a function of ndarrays is checked with its product by hand: pass vjp"]


def test_a_function_that_reads_memory_in_its_order() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        return x * np.arange(6.0).reshape(x.shape, order="F" if x.flags.f_contiguous else "C")

    def vjp(g: np.ndarray, x: np.ndarray) -> np.ndarray:
        return g * np.arange(6.0).reshape(x.shape, order="F" if x.flags.f_contiguous else "C")

    report = caught(lambda: by_hand(f, vjp, np.ones((2, 3))))
    assert any("is another one for transposed inputs" in one for one in report.problems)


def test_whoever_keeps_an_input_is_told() -> None:
    kept = []
    report = caught(lambda: check_grads(lambda x: (kept.append(x), x * x)[1], some(3)))
    assert report.problems == ("after a backward somebody still holds an input or the result: a cache, or a cycle",)


def test_one_path_of_two_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad import graph

    right = graph.pull

    def forgetful(cotangents: Any, **options: Any) -> Any:
        found = right(cotangents, **options)
        return {node: g * (0.5 if len(found) == 1 else 1.0) for node, g in found.items()}

    monkeypatch.setattr(mg.tensor.__globals__["Tensor"].backward.__globals__["graph"], "pull", forgetful)
    report = caught(lambda: check_grads(lambda x, y: x * y, some(3), some(3, seed=1), order=1))
    assert any("has not the sum of the gradients of both" in one for one in report.problems)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (0, 2), (3,), (2, 3, 4)])
def test_layouts_keep_shapes_and_values(layout: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    laid = LAYOUTS[layout](x)
    assert isinstance(laid, np.ndarray)
    np.testing.assert_array_equal(laid, np.broadcast_to(x[:1], shape) if layout == "broadcast" and shape else x)
    assert laid.shape == shape


def test_an_input_by_itself() -> None:
    def f(x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
        return (x if y.requires_grad else x.detach() + 0 * x) * y

    report = caught(lambda: check_grads(f, some(3), some(3, seed=1), order=1))
    assert report.problems == tuple(
        f"the {product} of input 0 (x) is another one if nothing else is differentiated"
        for product in ("gradient", "tangent")
    )


@pytest.mark.parametrize(
    ("f", "x", "left", "right"),
    [(mg.relu, 0.0, 0.0, 1.0), (mg.abs, 0.0, -1.0, 1.0), (lambda x: mg.maximum(x, 1.0), 1.0, 0.0, 1.0)],
)
def test_kinks(f: Any, x: float, left: float, right: float) -> None:
    point = mg.tensor([x, x + 1], dtype="float64")
    report = caught(lambda: check_grads(f, point))
    (element,) = report.elements
    assert element.kink
    assert element.subgradient
    factor = max(map(abs, element.slopes))
    assert sorted(np.abs(element.slopes) / factor) == pytest.approx(sorted([abs(left), abs(right)]), abs=1e-6)
    assert "is a subgradient: kinks='accept' lets it pass" in str(report)
    accepted = check_grads(f, point, kinks="accept")
    assert accepted.passed
    assert len(str(accepted).splitlines()) == 3


def test_a_kink_excuses_subgradients_only() -> None:
    report = caught(lambda: by_hand(np.abs, lambda g, x: 2.0 * g, np.zeros(1), kinks="accept"))
    assert "does not lie between" in str(report)


@pytest.mark.parametrize(("f", "x"), [(mg.sqrt, 0.0), (mg.log, 0.0), (lambda x: 1 / x, 0.0)])
def test_where_there_is_no_derivative(f: Any, x: float) -> None:
    with np.errstate(all="ignore"):
        report = caught(lambda: check_grads(f, mg.tensor([x], dtype="float64")))
    assert "no derivative" in str(report)
    assert "a V: right" not in str(report)


def test_second_order_is_looked_at() -> None:
    def f(x: mg.Tensor) -> mg.Tensor:  # right at the first order, constant at the second
        return mg.square(x.detach()) + 2 * x.detach() * (x - x.detach())

    assert check_grads(f, some(3), order=1).passed
    assert "order 2, the gradient of input 0 (x): the tangent at" in caught(lambda: check_grads(f, some(3))).problems[0]


# ---- reports ---------------------------------------------------------------------------------------------------------


def wrong_sine(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    return g * np.sin(x)


@pytest.mark.parametrize("size", [3, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_reproducer_reproduces(size: int, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=size).astype(dtype)
    report = caught(lambda: check_grads(np.sin, x, vjp=wrong_sine, seed=5))
    code = report.reproducer
    assert "wrong_sine" in code
    again = caught(lambda: exec(code, {"wrong_sine": wrong_sine}))
    assert again.elements == report.elements
    assert again.problems == report.problems


def test_a_report_is_complete() -> None:
    x = np.array([[0.5, 1.0, 2.0]])
    report = caught(lambda: by_hand(np.sin, lambda g, x: g * np.cos(x) * [1, 1, 3], x))
    text = str(report)
    element = report.elements[0]
    assert element.index == (0, 2)
    assert element.absolute == pytest.approx(abs(2 * element.numeric))
    assert element.relative == pytest.approx(2)
    assert element.ulps == pytest.approx(element.absolute / np.spacing(abs(element.numeric)))
    assert element.slopes == pytest.approx((element.numeric,) * 2, rel=1e-6)
    for part in [
        "sin is wrong",
        "[0, 2] of shape (1, 3), float64: wrong",
        "analytic",
        "numeric",
        "2 relative",
        "ulp",
        "slopes",
        "sweep",
        "flat: wrong",
        "to see this again:",
        "check_grads(sin, x0",
    ]:
        assert part in text
    steps = [step for step, _ in element.sweep]
    assert steps == sorted(steps, reverse=True)
    assert len(steps) == 12


def test_the_sweep_of_a_right_derivative_is_a_v() -> None:
    (element,) = check_grads(mg.sin, some(1)).elements
    errors = [error for _, error in element.sweep]
    lowest = int(np.argmin(errors))
    assert errors[0] > 1e3 * errors[lowest] < errors[-1]
    assert element.falls


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: check_grads(mg.exp), OperandError, "no float tensor or array among the inputs (none)"),
        (lambda: check_grads(mg.exp, mg.tensor([1])), OperandError, "among the inputs (Tensor)"),
        (lambda: check_grads(lambda x: 3.0, some(2)), OperandError, "returned a float, in which there is no tensor"),
        (
            lambda: check_grads(lambda x: x > 0, some(2)),
            OperandError,
            "returned a tensor of bool, in which there is no",
        ),
        (lambda: check_grads(lambda x: x.astype("int32"), some(2)), OperandError, "returned a tensor of int32"),
        (lambda: by_hand(lambda x: x > 0, lambda g, x: g, np.ones(2)), OperandError, "returned a bool array, not"),
        (lambda: by_hand(lambda x: (x, x.sum()), lambda g, x: g, np.ones(2)), OperandError, "returned a tuple, not"),
        (lambda: check_grads(some(2), mg.exp), OperandError, "check_grads: a Tensor is no function"),
        (lambda: check_grads(mg.exp, mg.tensor([np.nan])), ArgumentError, "input 0 (x) holds a NaN or an infinity"),
        (lambda: check_grads(mg.exp, mg.tensor([np.inf])), ArgumentError, "input 0 (x) holds a NaN or an infinity"),
        (lambda: by_hand(np.sin, np.cos, np.ones(2, "float16")), DtypeError, "input 0 (x) is float16"),
        (lambda: by_hand(np.sin, np.cos, np.ones(2, "longdouble")), DtypeError, "checked in float32 and float64"),
        (lambda: check_grads(mg.exp, some(2), order=0), ArgumentError, "order = 0 is less than 1"),
        (lambda: check_grads(mg.exp, some(2), elements=-1), ArgumentError, "elements = -1 is less than 0"),
        (lambda: check_module(nn.ReLU(), some(2), order=-1), ArgumentError, "order = -1 is less than 1"),
        (
            lambda: check_optimizer(optim.SGD([nn.Parameter([1.0])], 0.1)),
            OperandError,
            "a SGD is no function that makes",
        ),
        (lambda: check_grads(mg.exp, some(2), kinks="no"), ArgumentError, "kinks = 'no'"),
        (lambda: check_grads(np.sin, np.ones(2), jvp=np.cos), ArgumentError, "needs a vjp by hand"),
        (lambda: by_hand(np.sin, lambda g, x: (g, g), np.ones(2)), ArgumentError, "vjp gave 2 cotangents for 1"),
        (lambda: check_jvp_vjp(np.sin, np.ones(2), vjp=lambda g, x: g), ArgumentError, "there is no jvp"),
        (lambda: check_module(3), OperandError, "a int is no module"),
        (lambda: check_devices(mg.exp, some(2), devices=["tpu"]), ArgumentError, "has no device 'tpu'"),
    ],
)
def test_bad_calls_say_why(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        call()


STRANGER = """
import numpy as np
from minigrad.testing import check_grads

def energy(x, k):
    return 0.5 * np.sum(k * np.diff(x) ** 2)

def energy_vjp(g, x, k):
    stretch = np.diff(x)
    force = np.zeros_like(x)
    force[1:] += k * stretch
    force[:-1] {sign} k * stretch
    return g * force, g * 0.5 * stretch**2

def test_energy():
    check_grads(energy, np.array([0.0, 1.0, 3.0, 2.0]), np.array([1.0, 2.0, 0.5]), vjp=energy_vjp)
"""


def test_a_strangers_file(tmp_path: Any) -> None:
    assert len(textwrap.dedent(STRANGER).strip().splitlines()) <= 15
    right, wrong = ({} for _ in range(2))
    exec(STRANGER.format(sign="-="), right)
    right["test_energy"]()
    exec(STRANGER.format(sign="+="), wrong)
    report = caught(wrong["test_energy"])
    bad = [element for element in report.elements if not element.right]
    assert [element.input for element in bad] == ["input 0 (x)"]
    assert bad[0].index in [(0,), (1,), (2,)]


@mg.define_op("elementwise", lambda x: 1.01 * mg.cos(x))
def nearly_sine(x: np.ndarray) -> np.ndarray:
    return np.sin(x)


def test_an_op_of_ones_own_is_imported_in_the_reproducer() -> None:
    report = caught(lambda: check_grads(nearly_sine, some(2)))
    assert f"from {__name__} import nearly_sine" in report.reproducer
    assert report.subject.startswith("nearly_sine")


def test_pytest_shows_no_source_of_the_checks(tmp_path: Any) -> None:
    path = tmp_path / "test_wrong.py"
    path.write_text(STRANGER_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert "check_grads: sin is wrong" in shown
    assert "def required" not in shown
    assert "minigrad/testing" not in shown.replace("\\", "/")


STRANGER_TEST = """
import numpy as np
from minigrad.testing import check_grads

def test_sine():
    check_grads(np.sin, np.ones(2), vjp=lambda g, x: g * x)
"""


# ---- both modes, and linear maps -------------------------------------------------------------------------------------


def test_modes_at_a_kink() -> None:
    assert check_jvp_vjp(mg.relu, mg.tensor([0.0, 1.0])).passed
    jvp = lambda t, x: 2 * t[0]
    report = caught(lambda: check_jvp_vjp(np.abs, np.ones(3), vjp=lambda g, x: g * 1.0, jvp=jvp))
    assert "<g, J t> =" in report.problems[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adjoints(dtype: str) -> None:
    pooled = lambda x: mg.avg_pool2d(x, 2)
    assert check_adjoint(pooled, None, some(1, 2, 4, 4, dtype=dtype)).passed
    back = lambda y: mg.avg_pool2d_input(y, 2, shape=(1, 2, 4, 4))
    assert check_adjoint(pooled, back, some(1, 2, 4, 4, dtype=dtype)).passed
    assert check_adjoint(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1], np.zeros(5, dtype)).passed
    for wrong, text in [
        (lambda y: np.cumsum(y), "<adjoint(y), x>"),
        (lambda y: np.cumsum(y)[1:], "the adjoint gives shape (4,) for an input of shape (5,)"),
    ]:
        report = caught(lambda wrong=wrong: check_adjoint(np.cumsum, wrong, np.zeros(5, dtype)))
        assert text in report.problems[0]
    for f in (lambda x: x + 1, lambda x: x * x, mg.relu):
        assert "not linear" in caught(lambda f=f: check_adjoint(f, None, some(4, dtype=dtype))).problems[0]


# ---- modules ---------------------------------------------------------------------------------------------------------


class Broken(nn.Module):
    """A linear layer with one mistake of choice."""

    def __init__(self, mistake: str) -> None:
        self.mistake = mistake
        self.weight = nn.Parameter(some(2, 3, dtype="float32"))
        self.unused = nn.Parameter(mg.ones(1)) if mistake == "unused" else None
        self.calls = nn.Buffer(mg.zeros(()))
        self.count = 0

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        weight = self.weight
        if self.mistake == "detached":
            weight = weight.detach() + 0 * weight
        if self.mistake == "counts":
            self.calls = nn.Buffer(self.calls + 1)
        if self.mistake == "counts unseen":
            self.count += 1
            weight = weight * self.count
        if self.mistake == "random":
            x = x * mg.tensor(np.random.default_rng().random(x.shape), dtype=x.dtype)
        return x @ weight.mT


def test_modules_leave_no_trace() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
    before = {path: x.tolist() for path, x in module.state_dict().items()}
    mg.manual_seed(3)
    expected = mg.random.default.uniform(3).tolist()
    mg.manual_seed(3)
    assert check_module(module, some(5, 3, dtype="float32")).passed
    assert mg.random.default.uniform(3).tolist() == expected
    assert {path: x.tolist() for path, x in module.state_dict().items()} == before
    assert module.training
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        ("unused", "backward does not reach parameter unused"),
        ("detached", "the gradient of parameter weight is wrong at"),
        ("counts", "in evaluation: evaluation changed calls"),
        ("counts unseen", "in evaluation: the second call gives another result"),
        ("counts unseen", "in evaluation: a copy that loaded the state dict gives another result"),
        ("random", "the value differs from call to call"),
    ],
)
def test_broken_modules(mistake: str, problem: str) -> None:
    report = caught(lambda: check_module(Broken(mistake), some(4, 3)))
    assert any(problem in one for one in report.problems), report


def test_a_module_whose_state_is_not_all_in_its_state_dict() -> None:
    report = caught(lambda: check_module(_Forgetful(), some(2, 3)))
    assert any("a copy that loaded the state dict gives another result" in one for one in report.problems)


class _Forgetful(nn.Module):
    """Scales by something that load_state_dict does not bring along."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(mg.ones(3))
        self.scale = None

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        scale = float(self.weight.detach().numpy()[0])
        return x * self.weight * (2.0 if self.scale is None else scale)

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.scale = 1.0


# ---- optimisers ------------------------------------------------------------------------------------------------------


def momentum(x: np.ndarray, g: np.ndarray, state: dict[str, Any]) -> np.ndarray:
    state["v"] = 0.9 * state.get("v", 0.0) + g
    return x - 0.05 * state["v"]


def test_optimisers() -> None:
    assert check_optimizer(lambda p: optim.SGD(p, lr=0.05, momentum=0.9), formula=momentum).passed
    assert check_optimizer(lambda p: optim.Adam(p, lr=0.05)).passed


class Wrong(optim.Optimizer):
    slots = ("v",)

    def __init__(self, parameters: Any, mistake: str) -> None:
        super().__init__(parameters, 0.1)
        self.mistake = mistake
        self.hidden = 0.0

    def update(self, x: mg.Tensor, g: mg.Tensor, state: dict[str, mg.Tensor]) -> mg.Tensor:
        if self.mistake == "uphill":
            return x + 0.1 * g
        if self.mistake == "writes":
            np.multiply(g._array, 0.5, out=g._array)
        if self.mistake == "timid":
            return x - 1e-9 * g
        if self.mistake == "moves all":
            return x - 0.1 * g / sum(p.grad.size for p in self.parameters if p.grad is not None)
        if self.mistake == "hides":
            self.hidden += 1.0
            return x - 0.1 * g / self.hidden**0.5
        return x - 0.1 * g

    def step(self) -> None:
        super().step()
        if self.mistake == "decays":
            for p in self.parameters:
                p.assign(p.detach() * 0.9)

    def zero_grad(self) -> None:
        if self.mistake != "keeps":
            super().zero_grad()


@pytest.mark.parametrize(
    ("mistake", "problem"),
    [
        ("uphill", "the first step does not go downhill"),
        ("timid", "200 steps in a bowl lead from"),
        ("writes", "a step writes on old values or gradients"),
        ("moves all", "a parameter's step depends on other parameters"),
        ("hides", "with the state of another optimiser it goes on otherwise"),
        ("decays", "a parameter without a gradient moves"),
        ("keeps", "zero_grad leaves a gradient"),
    ],
)
def test_wrong_optimisers(mistake: str, problem: str) -> None:
    report = caught(lambda: check_optimizer(lambda p: Wrong(p, mistake)))
    assert any(problem in one for one in report.problems), report


def test_an_optimiser_that_does_not_follow_its_formula() -> None:
    make = lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True)
    report = caught(lambda: check_optimizer(make, formula=momentum))
    assert "step 0 of parameter 0 is not what the formula says" in report.problems[0]


# ---- the same again --------------------------------------------------------------------------------------------------


def test_determinism_keeps_the_default_stream() -> None:
    mg.manual_seed(5)
    expected = mg.random.default.uniform(2).tolist()
    mg.manual_seed(5)
    check_determinism(mg.exp, some(2))
    assert mg.random.default.uniform(2).tolist() == expected


def test_determinism() -> None:
    assert check_determinism(nn.Dropout(0.5), some(50, 50)).passed
    own = np.random.default_rng()
    report = caught(lambda: check_determinism(lambda x: x * own.random(), some(3)))
    assert "the bits differ from call to call" in report.problems[0]


class Elsewhere(np.ndarray):
    """The arrays of a second device."""


@pytest.fixture
def second_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A device "far" that computes with the CPU's kernels."""
    from minigrad.kernels import cpu

    far = types.ModuleType("minigrad.kernels.far")
    far.Array, far.offset, far.is_available = Elsewhere, 0.0, lambda: True
    far.from_numpy = lambda array: np.asarray(array).view(Elsewhere)
    far.to_numpy = lambda array: array.view(np.ndarray)

    def find(name: str) -> Any:
        run = getattr(cpu, name)

        @functools.wraps(run)
        def kernel(*arrays: Any, **options: Any) -> Any:
            result = run(*(a.view(np.ndarray) if isinstance(a, Elsewhere) else a for a in arrays), **options)
            return (np.asarray(result) + (far.offset if name == "exp" else 0)).view(Elsewhere)

        return kernel

    far.__getattr__ = find
    monkeypatch.setattr(kernels, "DEVICES", ("cpu", "far"))
    monkeypatch.setitem(sys.modules, "minigrad.kernels.far", far)
    yield far
    for cached in (kernels.backend, kernels.device_of, kernels.kernel):
        cached.cache_clear()


def test_devices(second_device: Any) -> None:
    f = lambda x, y: mg.exp(x) * y
    assert check_devices(f, some(3, 4), some(4)).facts == ("far against cpu",)
    second_device.offset = 1e-6
    report = caught(lambda: check_devices(f, some(3, 4), some(4)))
    assert report.problems[0] == "on far the value is another one"
    assert any("input 1 (y) is another one" in one for one in report.problems)
    second_device.offset = 0.0
    home = lambda x: mg.exp(x.to("cpu")) if x._node is None else mg.exp(x)
    del home


def test_one_device_is_nothing_to_compare() -> None:
    assert check_devices(mg.exp, some(3)).facts == ("there is but one device, the cpu",)
