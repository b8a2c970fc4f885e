"""Every op, by its record: what it computes, how it treats memory and dtypes, its derivatives, its errors, its docs."""

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.ops.kinds import REGISTRY, Composite, Discrete, Fused, Record
from minigrad.testing import CheckError, check_grads
from minigrad.testing.records import calls
from tests import profiles

SMOOTH = [name for name, record in sorted(REGISTRY.items()) if not isinstance(record, Discrete)]
FLAT = [name for name in SMOOTH if not any(getattr(REGISTRY[name], "partials", [1]))]
PRIMITIVE = [name for name in SMOOTH if name not in FLAT and not isinstance(REGISTRY[name], Composite)]

every = pytest.mark.parametrize("name", sorted(REGISTRY))
drawn_often, drawn = profiles.drawn(30), profiles.drawn(14)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """Where the ops run: `pytest --minigrad-device cuda tests/test_ops.py`."""
    return (request.config.getoption("minigrad_device") or ["cpu"])[0]


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def convert(value: Any, change: Any) -> Any:
    """Apply `change` to the arrays among the arguments, also inside lists (of arrays to join)."""
    if isinstance(value, list) and all(map(is_array, value)):
        return [change(one) for one in value]
    return change(value) if is_array(value) else value


def run(
    record: Record, args: Any, kwargs: Any, dtype: str = "float64", function: Any = None, device: str = "cpu"
) -> mg.Tensor:
    """Call an op with the arrays among its arguments as tensors, which on the CPU share their memory."""

    def to_tensor(array: np.ndarray) -> mg.Tensor:
        return mg.asarray(array.astype(dtype, copy=False) if array.dtype.kind == "f" else array).to(device)

    return (function or record)(*(convert(arg, to_tensor) for arg in args), **kwargs).to("cpu")


@every
def test_is_complete(name: str) -> None:
    record = REGISTRY[name]
    assert record.sample is not None
    assert record.oracle is not None
    assert record.__doc__


@every
@given(data=st.data())
@drawn_often
def test_equals_oracle(name: str, device: str, data: st.DataObject) -> None:
    record = REGISTRY[name]
    drawn, args, kwargs = data.draw(calls(record))
    expected = np.asarray(record.oracle(*args, **kwargs))
    result = run(record, args, kwargs, device=device)
    assert result.shape == expected.shape
    assert (result.dtype.kind == "f") == (expected.dtype.kind == "f")
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12, atol=1e-12)

    scattered = run(record, [convert(arg, drawn.layout) for arg in args], kwargs, device=device)
    np.testing.assert_allclose(scattered.numpy(), expected, rtol=1e-12, atol=1e-12)


@every
@given(data=st.data())
@drawn
def test_float32_is_near_float64(name: str, device: str, data: st.DataObject) -> None:
    record = REGISTRY[name]
    _, args, kwargs = data.draw(calls(record))
    args = [convert(arg, lambda a: a.astype("float32").astype(a.dtype)) for arg in args]
    wide = run(record, args, kwargs)
    narrow = run(record, args, kwargs, "float32", device=device)
    if record.name != "astype":
        assert narrow.dtype == (mg.float32 if wide.dtype == mg.float64 else wide.dtype)
    if record.name not in ("floor_divide", "remainder", "floor", "ceil"):  # a rounding may cross an edge
        np.testing.assert_allclose(narrow.numpy(), wide.numpy(), rtol=2e-5, atol=2e-5)


@every
@given(data=st.data())
@drawn
def test_leaves_inputs_alone_and_repeats(name: str, device: str, data: st.DataObject) -> None:
    record = REGISTRY[name]
    _, args, kwargs = data.draw(calls(record))
    arrays = [array for arg in args for array in (arg if isinstance(arg, list) else [arg]) if is_array(array)]
    before = [array.copy() for array in arrays]
    first, second = (run(record, args, kwargs, device=device) for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert record.view or array.size == 0 or not np.shares_memory(first.numpy(), array)


@every
@given(data=st.data())
@drawn
def test_method_equals_function(name: str, data: st.DataObject) -> None:
    record = REGISTRY[name]
    _, args, kwargs = data.draw(calls(record))
    if record.method:
        by_method = run(record, args, kwargs, function=getattr(mg.Tensor, record.method))
        np.testing.assert_array_equal(by_method.numpy(), run(record, args, kwargs).numpy())


def differentiable(record: Record, args: Any, kwargs: Any, device: str = "cpu") -> tuple[Any, list[mg.Tensor]]:
    """The op, run on a device, as a function of its float inputs alone, and these inputs."""
    places: list[tuple[int, int | None]] = []
    for i, arg in enumerate(args):
        if is_array(arg) and arg.dtype.kind == "f":
            places.append((i, None))
        elif isinstance(arg, list) and all(map(is_array, arg)):
            places += [(i, j) for j in range(len(arg))]

    def function(*inputs: mg.Tensor) -> mg.Tensor:
        full = [convert(arg, lambda array: mg.asarray(array).to(device)) for arg in args]
        for (i, j), value in zip(places, inputs, strict=True):
            if j is None:
                full[i] = value.to(device)
            else:
                full[i][j] = value.to(device)
        return record(*full, **kwargs).to("cpu")

    return function, [mg.asarray(args[i] if j is None else args[i][j]) for i, j in places]


@pytest.mark.parametrize("name", SMOOTH)
@given(data=st.data())
@drawn
def test_derivatives(name: str, device: str, data: st.DataObject) -> None:
    record = REGISTRY[name]
    drawn, args, kwargs = data.draw(calls(record))
    if record.name == "astype":  # conversions that have a derivative and leave the precision to measure it
        args = (args[0].astype(drawn.choice(["float32", "float64"])), "float64")
    function, inputs = differentiable(record, args, kwargs, device)
    check_grads(function, *inputs, elements=4, seed=data.draw(st.integers(0, 99)))


def has_gradient(function: Any, inputs: list[mg.Tensor]) -> bool:
    out, pull = mg.vjp(function, *inputs)
    g = np.random.default_rng(0).standard_normal(out.shape).astype(out.dtype)
    return any(cotangent.numpy().any() for cotangent in pull(mg.asarray(g)))


def an_example(record: Record) -> tuple[Any, list[mg.Tensor]]:
    """One call with some elements in every input, and a gradient that is not zero."""
    found: list[Any] = []

    @given(data=st.data())
    @settings(drawn_often, max_examples=60, database=None)
    def search(data: st.DataObject) -> None:
        _, args, kwargs = data.draw(calls(record))
        if record.name == "astype":
            args = (args[0], "float64")
        function, inputs = differentiable(record, args, kwargs)
        if not found and all(x.size for x in inputs) and has_gradient(function, inputs):
            found.append((function, inputs))

    search()
    return found[0]


@pytest.mark.parametrize("name", PRIMITIVE)
@pytest.mark.parametrize(("direction", "order"), [("pull_arrays", 1), ("pull", 2), ("push", 1)])
def test_a_planted_error_is_caught(name: str, direction: str, order: int) -> None:
    record = REGISTRY[name]
    function, inputs = an_example(record)
    check_grads(function, *inputs, order=order, elements=1)
    right = getattr(record, direction)

    def off(result: Any) -> Any:
        return (
            None if result is None else result * 1.001 if isinstance(result, mg.Tensor) else np.asarray(result * 1.001)
        )

    def wrong(*args: Any) -> Any:
        result = right(*args)
        return off(result) if direction == "push" else list(map(off, result))

    object.__setattr__(record, direction, wrong)
    try:
        with pytest.raises(CheckError):
            check_grads(function, *inputs, order=order)
    finally:
        object.__delattr__(record, direction)


FUSED = [name for name in SMOOTH if isinstance(REGISTRY[name], Fused)]


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", ["numbers", "ties", "NaN"])
@given(data=st.data())
@drawn_often
def test_kernels_equal_the_plain_composition(
    name: str, dtype: str, case: str, device: str, data: st.DataObject
) -> None:
    record = REGISTRY[name]
    drawn, args, kwargs = data.draw(calls(record))

    def prepared(array: np.ndarray) -> mg.Tensor:
        if array.dtype.kind != "f":
            return mg.asarray(array).to(device)
        values = np.round(array) if case == "ties" else array.copy()
        if case == "NaN" and array.size and drawn.boolean():
            values.reshape(-1)[drawn.integer(0, array.size - 1)] = np.nan
        wanted = drawn.integer(0, 3) > 0
        return mg.tensor(drawn.layout(values), dtype=dtype, device=device, requires_grad=wanted)

    inputs, options = record.bind(*(convert(arg, prepared) for arg in args), **kwargs)
    inputs = [x if x.is_leaf else mg.tensor(x.detach().numpy(), device=device, requires_grad=True) for x in inputs]
    plain = record.plain(*inputs, **options)
    tolerance = {"float64": 1e-12, "float32": 2e-5}[dtype]

    def assert_near(result: mg.Tensor, expected: mg.Tensor) -> None:
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        scale = np.nan_to_num(np.abs(expected.detach().numpy())).max(initial=1.0)
        np.testing.assert_allclose(
            result.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance * scale
        )

    fused = record.run(*inputs, **options)
    assert_near(fused, plain)
    assert fused.requires_grad == plain.requires_grad
    if plain.requires_grad:
        leaves = [x for x in inputs if x.requires_grad]
        g = mg.asarray(np.random.default_rng(0).standard_normal(plain.shape).astype(dtype)).to(device)
        plain.backward(g)
        expected = [x.grad for x in leaves]
        for how in [{"retain_graph": True}, {"create_graph": True}]:  # by the kernel, then by the composition
            for x in leaves:
                x.grad = None
            fused.backward(g, **how)
            for x, gradient in zip(leaves, expected, strict=True):
                assert_near(x.grad.detach(), gradient)
        for x in leaves:
            x.grad = None  # breaks the cycle that create_graph made


@every
@given(data=st.data())
@profiles.drawn(3)
def test_refuses_what_is_no_tensor(name: str, data: st.DataObject) -> None:
    record = REGISTRY[name]
    _, args, kwargs = data.draw(calls(record))
    places = [i for i, arg in enumerate(args) if is_array(arg)]
    for place in places:
        wrong = [convert(arg, mg.asarray) for arg in args]
        wrong[place] = "text"
        with pytest.raises(mg.MinigradError):
            record(*wrong, **kwargs)


BAD = [
    pytest.param(bad, id=f"{name}-{i}") for name, record in sorted(REGISTRY.items()) for i, bad in enumerate(record.bad)
]


@pytest.mark.parametrize("bad", BAD)
def test_bad_calls_say_why(bad: Any) -> None:
    with pytest.raises(bad.error) as caught:
        bad.call(lambda *shape, dtype="float32": mg.zeros(shape, dtype=dtype))
    assert isinstance(caught.value, mg.MinigradError)
    assert bad.message in str(caught.value)


@every
def test_example_in_docs_runs(name: str) -> None:
    record = REGISTRY[name]
    examples = doctest.DocTestParser().get_doctest(record.__doc__, {"mg": mg}, record.name, None, 0)
    assert examples.examples, f"{record.name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(examples).failed == 0
