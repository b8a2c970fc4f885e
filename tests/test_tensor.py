"""Tensors: how they are made, mixed, indexed, changed, shown and copied, and the edges of arithmetic."""

import copy
import itertools
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import nn
from minigrad.dtypes import DEFAULT, SUPPORTED, promote
from minigrad.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    GraphError,
    IndexingError,
    OperandError,
    OutOfMemoryError,
    ShapeError,
)

drawn = settings(max_examples=60, deadline=None, derandomize=True)
INF, NAN = float("inf"), float("nan")


def same(result: mg.Tensor, expected: Any, dtype: Any = None) -> None:
    """Equal values (NaN equals NaN) and shapes, and the dtype if one is given."""
    assert isinstance(result, mg.Tensor)
    np.testing.assert_array_equal(result.detach().numpy(), expected, strict=False)
    assert result.shape == np.shape(expected)
    assert dtype is None or result.dtype == dtype


# ---- making ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (True, "bool"),
        (7, "int64"),
        (1.5, "float32"),
        ([[1, 2], [3, 4]], "int64"),
        ([1, 2.5], "float32"),
        ([True, 2], "int64"),
        ((0.5, (1 / 3)), "float32"),
        (range(3), "int64"),
        ([], "float32"),
        (np.float64(1 / 3), "float64"),
        ([np.float64(1 / 3), 2], "float64"),
        (np.arange(3, dtype="uint16"), "uint16"),
        (np.arange(3, dtype=">f8"), "float64"),
    ],
    ids=repr,
)
def test_the_data_says_the_dtype(data: Any, dtype: str) -> None:
    for make in (mg.tensor, mg.asarray):
        same(make(data), np.asarray(data).astype(dtype), dtype)
        same(make(data, dtype="float64"), np.asarray(data, "float64"), "float64")


def test_tensors_make_tensors() -> None:
    x = mg.tensor([1.5, 2.0], dtype="float64", requires_grad=True)
    same(mg.tensor(x * 2), [3.0, 4.0], "float64")
    assert not mg.tensor(x * 2).requires_grad
    same(mg.tensor([x[0].detach(), mg.tensor(3.0)]), [1.5, 3.0], "float64")


def test_tensor_copies_and_asarray_shares() -> None:
    array = np.ones(3)
    copied, shared, fresh = mg.tensor(array), mg.asarray(array, copy=False), mg.asarray(array, copy=True)
    array[0] = 5
    same(copied, [1, 1, 1])
    same(fresh, [1, 1, 1])
    same(shared, [5, 1, 1])
    assert np.shares_memory(mg.asarray(array).numpy(), array)
    assert np.shares_memory(mg.asarray(shared, copy=False).numpy(), array)
    assert mg.asarray(array, dtype="float32").dtype == mg.float32


@pytest.mark.parametrize("data", [[1.0], 1.0, np.ones(2, "float32"), np.ones(2, ">f8")], ids=repr)
def test_asarray_that_may_not_copy_refuses_to(data: Any) -> None:
    with pytest.raises(ArgumentError, match="copy=False"):
        mg.asarray(data, dtype="float64", copy=False)


@pytest.mark.parametrize("shape", [(), (3,), 4, (2, 0), [2, 3]], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
def test_constants(shape: Any, dtype: str) -> None:
    same(mg.zeros(shape, dtype=dtype), np.zeros(shape), dtype)
    same(mg.ones(shape, dtype=dtype), np.ones(shape), dtype)
    same(mg.full(shape, 1, dtype=dtype), np.ones(shape), dtype)
    like = mg.ones(shape, dtype=dtype)
    for made, value in ((mg.zeros_like(like), 0), (mg.ones_like(like), 1), (mg.full_like(like, True), 1)):
        same(made, np.full(shape, value), dtype)


def test_constants_have_defaults() -> None:
    assert [mg.zeros(1).dtype, mg.ones(1).dtype, mg.eye(1).dtype, mg.linspace(0, 1, 2).dtype] == [mg.float32] * 4
    assert [mg.full(1, value).dtype for value in (True, 2, 0.5)] == [mg.bool, mg.int64, mg.float32]
    assert mg.zeros(2, requires_grad=True).requires_grad
    assert not mg.zeros(2).requires_grad


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-7, 7).filter(bool))
@drawn
def test_arange(start: int, stop: int, step: int) -> None:
    same(mg.arange(start, stop, step), np.arange(start, stop, step), mg.int64)
    same(mg.arange(start, stop, step / 4), np.arange(start, stop, step / 4), mg.float32)


def test_ranges_and_patterns() -> None:
    same(mg.arange(3), [0, 1, 2], mg.int64)
    same(mg.arange(np.int32(3)), [0, 1, 2], mg.int64)
    same(mg.arange(2.0), [0, 1], mg.float32)
    same(mg.arange(2, dtype="uint8"), [0, 1], mg.uint8)
    same(mg.linspace(-1, 1, 5), [-1, -0.5, 0, 0.5, 1])
    same(mg.linspace(3, 1, 1), [3])
    same(mg.linspace(0, 1, 0), np.empty(0))
    same(mg.eye(2, 3), np.eye(2, 3))
    same(mg.eye(2, dtype="int16"), np.eye(2), mg.int16)
    same(mg.one_hot(mg.tensor([[1], [0]]), 3), [[[0, 1, 0]], [[1, 0, 0]]], mg.float32)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: mg.tensor([[1, 2], [3]]), OperandError, "ragged"),
        (lambda: mg.tensor("abc"), OperandError, "cannot make a tensor of str"),
        (lambda: mg.tensor("3", dtype="float32"), OperandError, "cannot make a tensor of str"),
        (lambda: mg.tensor([None]), OperandError, "dtype object"),
        (lambda: mg.tensor(1j), OperandError, "complex"),
        (lambda: mg.tensor(2**64), OperandError, "cannot make a tensor of int"),
        (lambda: mg.tensor(np.ones(2, "float16")), DtypeError, "no float16"),
        (lambda: mg.tensor(300, dtype="uint8"), ArgumentError, "does not fit in uint8"),
        (lambda: mg.tensor([-1], dtype="uint64"), ArgumentError, "does not fit in uint64"),
        (lambda: mg.tensor([NAN], dtype="int64"), ArgumentError, "does not fit in int64"),
        (lambda: mg.tensor(np.array([2.0**63]), dtype="int64"), ArgumentError, "does not fit in int64"),
        (lambda: mg.tensor([1, 2], requires_grad=True), DtypeError, "int64 has no gradient"),
        (lambda: mg.tensor([2**63, -1]), ArgumentError, "does not fit in int64"),
        (lambda: mg.tensor([mg.ones(1, dtype="int8"), [300]]), ArgumentError, "does not fit in int8"),
        (lambda: mg.arange(300, dtype="int8"), ArgumentError, "does not fit in int8"),
        (lambda: mg.linspace(0, 300, 3, dtype="uint8"), ArgumentError, "does not fit in uint8"),
        (lambda: mg.zeros(1, dtype="uint8").assign([300]), ArgumentError, "does not fit in uint8"),
        (lambda: mg.zeros(1, dtype="uint8").assign(mg.tensor([-1])), ArgumentError, "does not fit in uint8"),
        (lambda: mg.zeros(1, dtype="int64").assign(mg.tensor([NAN])), ArgumentError, "does not fit in int64"),
        (lambda: mg.tensor(1.0, device="tpu"), DeviceError, "no device 'tpu'"),
        (lambda: mg.Tensor([1.0]), OperandError, "minigrad.tensor"),
        (
            lambda: mg.zeros(10**14),
            OutOfMemoryError,
            r"zeros: out of memory for an array of shape \(100000000000000,\)",
        ),
        (lambda: mg.zeros((2**40, 2**40)), OutOfMemoryError, "zeros: out of memory"),
        (lambda: mg.full(10**14, 1), OutOfMemoryError, "full: out of memory"),
        (lambda: mg.ones(2**70), OutOfMemoryError, "ones: out of memory"),
        (lambda: mg.eye(10**9), OutOfMemoryError, "eye: out of memory"),
        (lambda: mg.arange(10**14), OutOfMemoryError, "arange: out of memory for the numbers from 0 to 10"),
        (lambda: mg.linspace(0, 1, 10**14), OutOfMemoryError, "linspace: out of memory"),
        (lambda: mg.random.default.uniform(10**14), OutOfMemoryError, "random: out of memory"),
        (lambda: mg.zeros(-1), ArgumentError, "negative size"),
        (lambda: mg.ones((2, 1.5)), ArgumentError, "not an integer"),
        (lambda: mg.full(2, "a"), OperandError, "cannot make a tensor of str"),
        (lambda: mg.full(2, 1j), OperandError, "complex"),
        (lambda: mg.full(2, 300, dtype="uint8"), ArgumentError, "does not fit in uint8"),
        (lambda: mg.full(2, [1, 2]), ArgumentError, r"shape \(2,\)"),
        (lambda: mg.eye(2, -1), ArgumentError, "negative size"),
        (lambda: mg.arange(0, 5, 0), ArgumentError, "step is 0"),
        (lambda: mg.arange(0, INF), ArgumentError, "no range leads from 0 to inf"),
        (lambda: mg.arange("a"), ArgumentError, "no range"),
        (lambda: mg.linspace(0, 1, -1), ArgumentError, "num = -1 is negative"),
    ],
)
def test_what_cannot_be_made(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert isinstance(caught.value, mg.MinigradError)


def test_numbers_that_are_equal_may_differ() -> None:
    x = mg.tensor([-0.0])
    for zero in 0.0, -0.0, 0, -0.0, 0.0:  # of equal numbers one array would do, of zeros not
        assert math.copysign(1, (x + zero).item()) == math.copysign(1, zero)
    for one in 1, 1.0:
        for dtype in "float32", "float64", "int8", "uint64":
            y = mg.tensor([2], dtype=dtype) * one
            assert (y.item(), y.dtype) == (2, "float32" if one.__class__ is float and "int" in dtype else dtype)


# ---- dtypes ----------------------------------------------------------------------------------------------------------

# The integer tables of the array API standard, "Type promotion rules"; - is what the standard leaves undefined.
INTEGERS = """
    i1 i2 i4 i8 u1 u2 u4 u8
i1  i1 i2 i4 i8 i2 i4 i8 -
i2  i2 i2 i4 i8 i2 i4 i8 -
i4  i4 i4 i4 i8 i4 i4 i8 -
i8  i8 i8 i8 i8 i8 i8 i8 -
u1  i2 i2 i4 i8 u1 u2 u4 u8
u2  i4 i4 i4 i8 u2 u2 u4 u8
u4  i8 i8 i8 i8 u4 u4 u4 u8
u8  -  -  -  -  u8 u8 u8 u8
"""
FLOATS = """
    f4 f8
f4  f4 f8
f8  f8 f8
"""


def pairs(table: str) -> list[tuple[str, str, str]]:
    columns, *rows = (line.split() for line in table.strip().splitlines())
    return [(row[0], column, result) for row in rows for column, result in zip(columns, row[1:], strict=True)]


@pytest.mark.parametrize(("left", "right", "result"), pairs(INTEGERS) + pairs(FLOATS))
def test_promotion_is_the_standards(left: str, right: str, result: str) -> None:
    x, y = mg.ones(2, dtype=left), mg.ones(2, dtype=right)
    if result == "-":
        with pytest.raises(DtypeError, match="have no common integer dtype"):
            x + y
    else:
        assert (x + y).dtype == promote(x.dtype, y.dtype) == np.dtype(result)
        assert (x * y.numpy()).dtype == (x.numpy() * y).dtype == np.dtype(result)
        assert mg.concat([x, y]).dtype == np.dtype(result)


@given(st.lists(st.sampled_from(SUPPORTED), min_size=1, max_size=4), st.randoms(use_true_random=False))
@drawn
def test_promotion_does_not_depend_on_the_order(dtypes: list[np.dtype], random: Any) -> None:
    shuffled = random.sample(dtypes, len(dtypes))
    try:
        expected = promote(*dtypes)
    except DtypeError:
        with pytest.raises(DtypeError):
            promote(*shuffled)
    else:
        assert promote(*shuffled) == promote(expected, *dtypes) == expected


@given(st.sampled_from(SUPPORTED), st.sampled_from(["float32", "float64"]))
@drawn
def test_a_float_beats_an_integer_of_any_width(other: np.dtype, floating: str) -> None:
    expected = "float64" if "float64" in (str(other), floating) else "float32"
    assert (mg.ones(2, dtype=other) * mg.ones(2, dtype=floating)).dtype == expected


@given(st.sampled_from(SUPPORTED), st.sampled_from([True, 2, 0.5]))
@drawn
def test_python_scalars_are_weak(dtype: np.dtype, scalar: float) -> None:
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2}
    own = DEFAULT[type(scalar)]
    expected = dtype if kinds[dtype.kind] >= kinds[own.kind] else own
    x = mg.ones(2, dtype=dtype)
    for compared in (mg.where(mg.tensor([True, False]), x, scalar), mg.where(mg.tensor([True, False]), scalar, x)):
        assert compared.dtype == expected
    if expected != mg.bool:
        assert (x + scalar).dtype == (scalar + x).dtype == (x * scalar).dtype == expected


def test_numbers_beside_tensors_are_weak() -> None:
    same(mg.tensor([mg.tensor(1.0), 2.0]), [1, 2], "float32")
    same(mg.tensor([mg.tensor(1, dtype="int8"), 2]), [1, 2], "int8")
    same(mg.tensor([mg.tensor(1), 2.5]), [1, 2.5], "float32")
    same(mg.tensor([np.float64(1), 2]), [1, 2], "float64")
    same(mg.tensor([[mg.tensor(1, dtype="float64")], [mg.tensor(2.0)]]), [[1], [2]], "float64")
    with pytest.raises(OperandError, match="a str is neither a tensor nor a number"):
        mg.where(mg.tensor([True]), "a", 0)


def test_integers_beyond_a_dtype_compare() -> None:
    for dtype, beyond in (("uint8", 300), ("int64", 2**63), ("uint64", 10**400)):
        x = mg.tensor([0, 1], dtype=dtype)
        for high in (beyond, -beyond):
            found = [x < high, x <= high, x > high, x >= high, x == high, x != high]
            expected = [high > 0, high > 0, high < 0, high < 0, False, True]
            assert [one.tolist() for one in found] == [[value] * 2 for value in expected]
    assert (mg.tensor([1], dtype="uint8") == -1).tolist() == [False]


@pytest.mark.parametrize("signed", [mg.tensor([-1, 2**63 - 1]), np.array([-1, 2**63 - 1]), np.int8(-1)], ids=type)
def test_uint64_compares_with_signed_integers_exactly(signed: Any) -> None:
    x = mg.asarray(np.array([2**64 - 1, 2**63 - 1], np.uint64))
    numbers, others = [2**64 - 1, 2**63 - 1], [-1, -1 if isinstance(signed, np.int8) else 2**63 - 1]
    for op in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        assert op(x, signed).tolist() == list(map(op, numbers, others))
        assert op(signed, x).tolist() == list(map(op, others, numbers))
    with pytest.raises(DtypeError, match=r"uint64 have no common integer dtype\nhint: convert one of them"):
        x + signed


def test_a_scalar_must_fit() -> None:
    with pytest.raises(ArgumentError, match="300 does not fit in uint8"):
        mg.ones(2, dtype="uint8") + 300
    with pytest.raises(ArgumentError, match="does not fit in int64"):
        2**70 * mg.arange(3)
    same(mg.ones(2) * 1e300, [INF, INF])


@pytest.mark.parametrize(
    "other",
    [np.ones(2, "complex64"), np.complex128(1j), np.ones(2, "float16"), np.array(["a", "b"]), np.array([{}] * 2)],
)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_foreign_dtypes_are_refused(other: Any, dtype: str) -> None:
    with pytest.raises(DtypeError, match="not a dtype of minigrad"):
        mg.ones(2, dtype=dtype) * other
    with pytest.raises(DtypeError, match="not a dtype of minigrad"):
        other * mg.ones(2, dtype=dtype)


def test_byte_order_is_no_dtype() -> None:
    for other in ("float32", "int64"):
        result = np.ones(2, ">f4") * mg.ones(2, dtype=other)
        assert result.dtype == np.dtype("float32")
        assert result.dtype.isnative
    assert mg.zeros(1, dtype=">f8").dtype.isnative


@pytest.mark.parametrize("name", ["float16", "complex64", "str", "O", {}, None, 3])
def test_unknown_dtypes(name: Any) -> None:
    with pytest.raises(DtypeError, match="the dtypes are bool, int8"):
        mg.zeros(2, dtype=name)
    with pytest.raises(DtypeError, match="not a dtype of minigrad"):
        mg.zeros(2).to(name)


def test_to_and_astype() -> None:
    x = mg.tensor([1.7, -1.7])
    same(x.to("int8"), [1, -1], "int8")
    same(x.astype(mg.bool), [True, True], "bool")
    same(x.to(float), x.numpy(), "float32")
    assert x.to("cpu") is x


# ---- operators -------------------------------------------------------------------------------------------------------

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@given(
    st.sampled_from(ARITHMETIC + COMPARISONS), hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3), st.data()
)
@drawn
def test_operators_are_numpys(op: Any, shapes: Any, data: st.DataObject) -> None:
    a, b = (
        data.draw(hnp.arrays("float64", shape, elements=st.sampled_from([0.5, 1.0, 2.0, 3.5]))) for shape in shapes[0]
    )
    x, y, expected = mg.tensor(a), mg.tensor(b), op(a, b)
    for result in (op(x, y), op(x, b), op(a, y)):
        same(result, expected, expected.dtype)
    same(op(x, 2.0), op(a, 2.0))
    same(op(2.0, x), op(2.0, a))
    same(op(x, np.float64(2)), op(a, 2.0))
    same(op(np.float64(2), x), op(2.0, a))


@given(st.sampled_from([op for op in ARITHMETIC if op is not operator.truediv] + COMPARISONS), st.data())
@drawn
def test_operators_of_integers_are_numpys(op: Any, data: st.DataObject) -> None:
    low = 1 if op is operator.pow else -9
    a = data.draw(hnp.arrays("int32", 4, elements=st.integers(-9, 9)))
    b = data.draw(hnp.arrays("int32", 4, elements=st.integers(low, 9).filter(bool)))
    expected = op(a, b)
    for result in (op(mg.tensor(a), mg.tensor(b)), op(a, mg.tensor(b)), op(mg.tensor(a), b)):
        same(result, expected, expected.dtype)
    same(op(mg.tensor(a), 3), op(a, 3), expected.dtype)
    same(
        op(3, mg.tensor(abs(a))) if op is operator.pow else op(3, mg.tensor(b)),
        op(3, abs(a) if op is operator.pow else b),
    )


def test_other_operators() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, False])
    x, y = mg.tensor(a), mg.tensor(b)
    same(x & y, a & b, "bool")
    same(x | b, a | b, "bool")
    same(a & y, a & b, "bool")
    same(True | y, b | True, "bool")
    same(~x, ~a, "bool")
    v = np.array([-1.5, 0.0, 2.5])
    t = mg.tensor(v)
    same(-t, -v)
    same(abs(t), abs(v))
    assert +t is t
    m = np.arange(6.0).reshape(2, 3)
    for product in (mg.tensor(m) @ t, m @ t, mg.tensor(m) @ v):
        same(product, m @ v, "float64")
    same(m.T @ mg.tensor(m), m.T @ m)
    same(mg.tensor(m).T, m.T)
    same(mg.tensor(m).mT, m.T)


@pytest.mark.parametrize("scalar", [np.float32(2), np.float64(2), np.int8(2), np.uint64(2), np.array(2.0)], ids=repr)
def test_numpys_scalars_leave_the_work_to_the_tensor(scalar: Any) -> None:
    x = mg.tensor([1.0, 3.0], requires_grad=True)
    for op, expected in ((operator.mul, [2, 6]), (operator.sub, [1, -1]), (operator.gt, [True, False])):
        same(op(scalar, x), expected)
    assert (scalar * x).requires_grad
    assert (scalar * x.detach()).dtype == ("float64" if isinstance(scalar, np.ndarray) else "float32")


def test_numpys_functions_are_refused() -> None:
    x, a = mg.ones(3), np.ones(3)
    for call in (lambda: np.sin(x), lambda: np.add(a, x), lambda: np.add(x, 1), lambda: np.add.reduce(x)):
        with pytest.raises(TypeError, match="does not support ufuncs"):
            call()
    with pytest.raises(TypeError):
        a += x
    np.testing.assert_array_equal(a, np.ones(3))


@pytest.mark.parametrize("other", ["a", None, [1.0, 2.0], 1j, {}], ids=repr)
@pytest.mark.parametrize("op", [operator.add, operator.eq, operator.pow])
def test_operands_that_are_no_numbers(op: Any, other: Any) -> None:
    with pytest.raises(OperandError, match=f"is a {type(other).__name__}, not a tensor"):
        op(mg.ones(2), other)


@pytest.mark.parametrize("op", [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow])
def test_augmented_assignment_rebinds(op: Any) -> None:
    for x in (mg.tensor([2.0, 3.0]), nn.Parameter([2.0, 3.0])):
        changed = op(x, 2.0)
        assert changed is not x
        assert type(changed) is mg.Tensor
        same(x, [2, 3])
        same(changed, op(np.array([2.0, 3.0]), 2.0))


# ---- indexing and assignment -----------------------------------------------------------------------------------------

shapes = hnp.array_shapes(max_dims=3, min_side=0, max_side=4)


@st.composite
def keyed_shapes(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape and a key for it: basic, an array of integers beside slices, or a mask."""
    shape = draw(shapes)
    options = [hnp.basic_indices(shape, allow_newaxis=True), hnp.arrays(bool, shape)]
    if 0 not in shape:
        options.append(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    return shape, draw(st.one_of(options))


@given(keyed_shapes(), st.booleans(), st.data())
@drawn
def test_assignment_is_numpys_and_changes_no_other_tensor(
    keyed: tuple[tuple[int, ...], Any], whole: bool, data: st.DataObject
) -> None:
    shape, key = keyed
    array = np.arange(float(np.prod(shape))).reshape(shape)
    selected = array[key].shape
    value = -1.0 - np.arange(float(np.prod(selected))).reshape(selected) if whole else np.array(-1.0)
    expected = array.copy()
    expected[key] = value

    x = mg.tensor(array)
    relatives = [x.detach(), x[...], x.reshape(-1), x.permute_dims(range(x.ndim)), mg.asarray(x)]
    view = x.numpy()
    before = [one.numpy().copy() for one in relatives]
    tensor_key = tuple(
        mg.tensor(k) if isinstance(k, np.ndarray) and data.draw(st.booleans()) else k for k in as_tuple(key)
    )
    x[tensor_key] = data.draw(st.sampled_from([value, mg.tensor(value), mg.tensor(value, dtype="float32")]))
    same(x, expected, "float64")
    for one, old in zip(relatives, before, strict=True):
        same(one, old)
    np.testing.assert_array_equal(view, array)


def as_tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


@given(keyed_shapes(), st.booleans())
@drawn
def test_assignment_is_differentiable(keyed: tuple[tuple[int, ...], Any], whole: bool) -> None:
    shape, key = keyed
    places = np.arange(int(np.prod(shape))).reshape(shape)
    selected = places[key]
    cotangent = np.random.default_rng(0).normal(size=shape)
    a = mg.tensor(np.ones(shape), requires_grad=True)
    v = mg.tensor(np.full(selected.shape if whole else (), 2.0), requires_grad=True)
    y = a * 3
    y[key] = v
    assert not y.is_leaf
    y.backward(mg.tensor(cotangent))

    of_a = 3 * cotangent
    of_a[key] = 0
    writer = np.full(shape, -1)
    writer[key] = np.arange(selected.size).reshape(selected.shape)  # of equal places the last wins
    taken = np.where(writer[key] == np.arange(selected.size).reshape(selected.shape), cotangent[key], 0)
    np.testing.assert_allclose(a.grad.numpy(), of_a)
    np.testing.assert_allclose(v.grad.numpy(), taken if whole else taken.sum(), atol=1e-12)


def test_assignment_keeps_the_dtype() -> None:
    x = mg.tensor([2**60 + 1, 0, 0])
    x[1] = 1.7
    x[2] = mg.tensor(-2.5)
    same(x, [2**60 + 1, 1, -2], "int64")
    x = mg.zeros(2, dtype="uint64")
    x[0] = mg.tensor(7)
    same(x, [7, 0], "uint64")
    x = mg.tensor([True, False])
    x[1] = 3
    same(x, [True, True], "bool")
    with pytest.raises(ArgumentError, match="300 does not fit in uint8"):
        mg.zeros(2, dtype="uint8")[0] = 300


def test_assignment_to_an_item_of_an_item_changes_the_item_alone() -> None:
    x = mg.zeros((2, 2))
    row = x[0]
    row[1] = 5.0
    same(row, [0, 5])
    same(x, np.zeros((2, 2)))
    x[0, 1] += 2.0
    same(x, [[0, 2], [0, 0]])


@pytest.mark.parametrize("make", [lambda data: mg.tensor(data, requires_grad=True), nn.Parameter])
def test_a_leaf_that_requires_grad_refuses_assignment(make: Any) -> None:
    leaf = make([1.0, 2.0])
    with pytest.raises(GraphError, match="no_grad"):
        leaf[0] = 5.0
    same(leaf, [1, 2])
    used = leaf * leaf
    with mg.no_grad():
        leaf[0] = 5.0
    same(leaf, [5, 2])
    assert leaf.is_leaf
    assert leaf.requires_grad
    used.sum().backward()
    assert leaf.grad.tolist() == [2.0, 4.0], "the graph keeps the array that it saw"
    leaf.grad = None
    with mg.no_grad():
        leaf[0] = 1.0


def test_a_constant_takes_its_place_in_the_graph_of_what_is_assigned() -> None:
    x, v = mg.zeros(3), mg.tensor(2.0, requires_grad=True)
    x[1] = v * v
    (x * mg.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert v.grad.item() == 40.0


def test_assign_replaces_the_values_of_a_leaf() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    other = x.detach()
    x.assign(np.array([3, 4]))
    same(x, [3, 4], "float32")
    same(other, [1, 2])
    assert x.requires_grad
    with pytest.raises(ShapeError, match=r"shape \(3,\)"):
        x.assign(mg.ones(3))
    with pytest.raises(GraphError, match="an op made this tensor"):
        (x * 2).assign([1.0, 2.0])


@pytest.mark.parametrize("index", [mg.tensor(1), np.array(1), np.int64(1), mg.tensor(1, dtype="uint8")], ids=repr)
def test_an_index_may_be_a_zero_dimensional_array(index: Any) -> None:
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    same(x[index], [3, 4])
    same(x[:, index], [2, 4])
    x[index] = 0.0
    same(x, [[1, 2], [0, 0]])


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int8", "int32"])
def test_indices_of_any_integer_dtype(dtype: str) -> None:
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    same(x[mg.tensor([1, 0], dtype=dtype)], [[3, 4], [1, 2]])
    same(mg.take_along_axis(x, mg.tensor([[1], [0]], dtype=dtype), axis=1), [[2], [3]])
    with pytest.raises(IndexingError, match="index 2 is out of range"):
        mg.take_along_axis(x, mg.tensor([[1], [2]], dtype=dtype), axis=1)


@pytest.mark.parametrize(
    "key",
    [2, -3, (0, 0, 0), 0.5, "a", slice(0, 1.5), slice(None, None, 0), (..., ...), [[0], [0, 1]], np.array([0.5])],
    ids=repr,
)
def test_bad_keys(key: Any) -> None:
    x = mg.zeros((2, 2))
    with pytest.raises(IndexingError):
        x[key]
    with pytest.raises(IndexingError):
        x[key] = 1.0


# ---- numpy, python, and copies ---------------------------------------------------------------------------------------


def test_numpy_is_read_only_and_shares() -> None:
    x = mg.tensor([1.0, 2.0])
    for view in (x.numpy(), np.asarray(x)):
        assert np.shares_memory(view, x.numpy())
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5
    array = np.array(x)
    array[0] = 5
    same(x, [1, 2])
    assert np.asarray(x, "float64").dtype == np.float64
    with pytest.raises(GraphError, match=r"x.detach\(\).numpy\(\)"):
        np.asarray(mg.tensor([1.0], requires_grad=True))
    np.testing.assert_array_equal(np.stack([x, x]), [[1, 2], [1, 2]])


def test_as_a_sequence() -> None:
    x = mg.tensor([[1, 2], [3, 4], [5, 6]])
    assert len(x) == 3
    assert [row.tolist() for row in x] == x.tolist() == [[1, 2], [3, 4], [5, 6]]
    first, *_ = x
    same(first, [1, 2])
    assert 4 in x.reshape(-1)
    assert 7 not in x.reshape(-1)
    for use in (len, list):
        with pytest.raises(ShapeError, match="no length"):
            use(mg.tensor(1.0))


def test_as_a_number() -> None:
    assert float(mg.tensor([[2.5]])) == 2.5
    assert int(mg.tensor(-1.7)) == -1
    assert [bool(mg.tensor(value)) for value in (0.0, [3], True)] == [False, True, True]
    assert ["a", "b", "c"][mg.tensor(2)] == "c"
    assert list(range(mg.tensor(3, dtype="uint8"))) == [0, 1, 2]
    assert mg.tensor([[7]]).item() == 7
    assert isinstance(mg.tensor(True).item(), bool)
    assert (mg.tensor(2.5, requires_grad=True) * 2).item() == 5.0
    for convert in (float, int, mg.Tensor.item):
        with pytest.raises(ShapeError, match="2 elements"):
            convert(mg.ones(2))
    for empty_or_many in (mg.ones(2), mg.ones(0)):
        with pytest.raises(ShapeError, match="ambiguous"):
            bool(empty_or_many)
    with pytest.raises(DtypeError, match="not an index"):
        range(mg.tensor(3.0))


def test_as_text() -> None:
    x = mg.tensor(1.23456)
    assert f"{x:.2f} {x}" == "1.23 tensor(1.2346)"
    with pytest.raises(ShapeError, match="2 elements"):
        f"{mg.ones(2):.2f}"


def test_hash_is_identity() -> None:
    x, y = mg.ones(2), mg.ones(2)
    assert len({x, y, x}) == 2
    assert {x: "x"}[x] == "x"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (mg.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (mg.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (mg.tensor(1 / 3), "tensor(0.3333)"),
        (mg.tensor([True, False]), "tensor([ True, False])"),
        (mg.tensor([1.0], dtype="float64"), "tensor([1.], dtype=float64)"),
        (mg.tensor([1], dtype="uint8"), "tensor([1], dtype=uint8)"),
        (mg.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (mg.tensor([1.0], dtype="float64", requires_grad=True) * 2, "tensor([2.], dtype=float64, requires_grad=True)"),
        (mg.zeros((2, 0)), "tensor([], shape=(2, 0))"),
        (nn.Parameter([[1.0], [2.0]]), "Parameter([[1.],\n           [2.]])"),
        (nn.Parameter(mg.ones(1, dtype="float64")), "Parameter([1.], dtype=float64)"),
    ],
)
def test_repr(x: mg.Tensor, text: str) -> None:
    assert repr(x) == text


def test_a_long_repr_is_shortened_and_says_the_shape() -> None:
    assert repr(mg.zeros((30, 40))).endswith("shape=(30, 40))")
    assert "..." in repr(mg.zeros((30, 40)))
    assert "shape" not in repr(mg.zeros((25, 40)))


def copies(x: Any) -> list[Any]:
    pickles = [pickle.loads(pickle.dumps(x, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    return [*pickles, copy.copy(x), copy.deepcopy(x)]


@pytest.mark.parametrize(
    "x",
    [
        mg.tensor([1.0, 2.0]),
        mg.arange(6).reshape(2, 3)[:, ::-1],
        mg.tensor(True),
        mg.tensor([1.0], dtype="float64", requires_grad=True),
        nn.Parameter([1.0, 2.0]),
    ],
)
def test_copies(x: mg.Tensor) -> None:
    for made in copies(x):
        assert type(made) is type(x)
        assert made is not x
        assert made.requires_grad == x.requires_grad
        assert made.is_leaf
        same(made, x.detach().numpy(), x.dtype)


def test_copies_share_no_gradient() -> None:
    x = nn.Parameter([1.0])
    for made in copies(x):
        (made * 3).sum().backward()
        assert made.grad.tolist() == [3.0]
    assert x.grad is None


def test_a_deep_copy_keeps_sharing() -> None:
    x = nn.Parameter([1.0])
    first, second = copy.deepcopy([x, x])
    assert first is second


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_tensor_inside_a_graph_is_not_copied(make: Any) -> None:
    with pytest.raises(GraphError, match=r"detach\(\) it"):
        make(mg.tensor([1.0], requires_grad=True) * 2)


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [("view", "reshape"), ("unsqueeze", "expand_dims"), ("permute", "permute_dims"), ("cpu", "to"), ("amax", "max")],
)
def test_a_tensor_says_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean '{meant}'"):
        getattr(mg.ones(2), name)
    assert not hasattr(nn.Parameter([1.0]), name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("cat", "concat"), ("unsqueeze", "expand_dims"), ("zeross", "zeros"), ("optm", "optim"), ("eq", "equal")],
)
def test_minigrad_says_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"no '{name}'; did you mean '{meant}'"):
        getattr(mg, name)


def test_names_that_resemble_nothing() -> None:
    for where in (mg, mg.ones(2)):
        with pytest.raises(AttributeError, match=r"'qqq'$"):
            _ = where.qqq
        assert not hasattr(where, "__qqq__")


def test_options_have_the_names_of_the_array_api() -> None:
    x = mg.tensor([[3.0, 1.0], [2.0, 5.0]])
    same(mg.full((2,), fill_value=3.0), [3, 3])
    same(mg.full_like(x, fill_value=3.0), [[3, 3], [3, 3]])
    same(mg.eye(2, 3, k=1), [[0, 1, 0], [0, 0, 1]])
    assert x.argmax().item() == mg.argmax(x, axis=None).item() == 3
    assert x.argmin().item() == 1
    assert mg.argmax(x, keepdims=True).tolist() == [[3]]
    assert mg.argmax(mg.tensor(1.0), keepdims=True).tolist() == 0
    with pytest.raises(ShapeError, match="argmax: axis 0 has no elements"):
        mg.zeros((0, 2)).argmax(keepdims=True)
    same(mg.squeeze(mg.ones((1, 2)), 0), [1, 1])
    same(mg.sort(x, stable=False), [[1, 3], [2, 5]])
    same(mg.argsort(x, stable=True), [[1, 0], [0, 1]])


def test_what_is_not_zero() -> None:
    x = mg.tensor([[0.0, NAN, -0.0], [-INF, 0.0, 2.0]])
    rows, columns = mg.nonzero(x)
    same(rows, [0, 1, 1], "int64")
    same(columns, [1, 0, 2], "int64")
    same(x[mg.nonzero(x)], [NAN, -INF, 2])
    same(mg.argwhere(x.T > 1), [[2, 1]], "int64")
    assert [one.shape for one in mg.nonzero(mg.zeros((2, 0, 3), dtype="bool"))] == [(0,)] * 3
    assert mg.argwhere(mg.tensor(1)).shape == (1, 0)
    with pytest.raises(ArgumentError, match="nonzero: x has no axes"):
        mg.nonzero(mg.tensor(1.0))


@pytest.mark.parametrize("op", [mg.sign, mg.floor, mg.ceil, mg.round])
def test_steps_have_the_gradient_zero(op: Any) -> None:
    x = mg.tensor([0.5, -1.5], requires_grad=True)
    op(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_the_namespace_is_the_array_apis() -> None:
    x = mg.ones(2)
    assert x.__array_namespace__() is mg
    assert x.__array_namespace__(api_version="2024.12") is mg
    wanted = (
        "abs add arange asarray astype bool concat e equal expand_dims eye float32 inf int64 isnan linspace matmul \
        max mean nan newaxis nonzero permute_dims pi pow reshape round squeeze stack std sum take_along_axis uint8 var \
        where zeros"
    )
    missing = [name for name in wanted.split() if not hasattr(mg, name)]
    assert not missing
    assert {"nn", "optim", "data", "random", "testing", "concat", "tensor"} <= set(dir(mg))


# ---- the edges of arithmetic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda t: t([1.0, -1.0, 0.0]) / 0.0, [INF, -INF, NAN]),
        (lambda t: 1 / t([0.0, -0.0]), [INF, -INF]),
        (lambda t: t([1.0, -1.0]) // 0.0, [INF, -INF]),
        (lambda t: t([1.0]) % 0.0, [NAN]),
        (lambda t: t([0.0, -1.0]).log(), [-INF, NAN]),
        (lambda t: mg.log1p(t([-1.0, -2.0])), [-INF, NAN]),
        (lambda t: t([-1.0, 0.0]).sqrt(), [NAN, 0]),
        (lambda t: t([1e4, -1e4]).exp(), [INF, 0]),
        (lambda t: mg.expm1(t([1e4, -1e4])), [INF, -1]),
        (lambda t: t([1e200, 1e300]).square(), [INF, INF]),
        (lambda t: t([0.0, 0.0, -8.0]) ** t([-1.0, 0.0, 1 / 3]), [INF, 1, NAN]),
        (lambda t: t([INF, INF]) - t([INF, 1.0]), [NAN, INF]),
        (lambda t: t([INF]) * 0, [NAN]),
        (lambda t: t([1e4, -1e4]).sigmoid(), [1, 0]),
        (lambda t: mg.logaddexp(t([1e4, -INF]), t([1e4, -INF])), [1e4 + np.log(2), -INF]),
        (lambda t: mg.logsumexp(t([[-INF, -INF], [INF, 0.0]]), axis=1), [-INF, INF]),
        (lambda t: mg.logsumexp(t([])), -INF),
        (lambda t: mg.logsumexp(mg.zeros((0, 2)), axis=0), [-INF, -INF]),
        (lambda t: mg.logsumexp(mg.zeros((0, 2)), axis=1), []),
        (lambda t: mg.softmax(t([0.0, -INF])), [1, 0]),
        (lambda t: t([[INF, 1.0]]) @ t([[1.0], [-INF]]), [[NAN]]),
        (lambda t: mg.zeros(0).sum(), 0),
        (lambda t: mg.zeros((0, 2)).mean(axis=0), [NAN, NAN]),
        (lambda t: t([1.0]).var(correction=1), NAN),
        (lambda t: mg.tensor([INF, NAN]).astype("bool"), [True, True]),
        (lambda t: mg.tensor(1e300), INF),
        (lambda t: mg.tensor([1e300], dtype="float64").to("float32"), [INF]),
        (lambda t: mg.tensor([1, 7]) / 0, [INF, INF]),
        (lambda t: mg.tensor([127, -128], dtype="int8") + 1, [-128, -127]),
    ],
)
def test_ieee_results_without_warnings(compute: Any, expected: Any) -> None:
    np.testing.assert_allclose(compute(lambda data: mg.tensor(data, dtype="float64")).numpy(), expected, rtol=1e-15)


@pytest.mark.parametrize("far", [2**40, 2**62, 2**70])
def test_windows_may_leave_the_image_at_once(far: int) -> None:
    x, weight = mg.ones((1, 1, 2, 3), requires_grad=True), mg.ones((1, 1, 1, 1), requires_grad=True)
    for y in (
        mg.conv2d(x, weight, stride=far),
        mg.conv2d(x, weight, stride=far, dilation=far),
        mg.max_pool2d(x, 1, stride=far, dilation=far),
        mg.avg_pool2d(x, 1, stride=far, ceil_mode=True),
    ):
        x.grad = None
        assert y.tolist() == [[[[1.0]]]]
        y.sum().backward()
        assert x.grad.tolist() == [[[[1.0, 0, 0], [0, 0, 0]]]]


def image(*values: float, dtype: str = "float64") -> mg.Tensor:
    side = round(len(values) ** 0.5)
    return mg.tensor(np.reshape(values, (1, 1, side, side)), dtype=dtype)


@pytest.mark.parametrize(
    ("function", "x", "gradient"),
    [
        (mg.relu, [0.0, -0.0], [0, 0]),
        (mg.abs, [0.0, -0.0], [0, 0]),
        (mg.sign, [0.0, 2.0], [0, 0]),
        (mg.floor, [1.0], [0]),
        (mg.ceil, [1.0], [0]),
        (mg.round, [0.5], [0]),
        (lambda x: mg.maximum(x, 1.0), [1.0, 2.0, 0.0], [0.5, 1, 0]),
        (lambda x: mg.minimum(x, 1.0), [1.0, 2.0, 0.0], [0.5, 0, 1]),
        (lambda x: mg.maximum(1.0, x), [1.0], [0.5]),
        (lambda x: mg.maximum(x, x), [1.0], [1]),
        (mg.max, [1.0, 3.0, 3.0, 3.0], [0, 1, 0, 0]),
        (mg.min, [1.0, 3.0, 1.0], [1, 0, 0]),
        (lambda x: mg.max(x.reshape(2, 2), axis=0), [1.0, 0.0, 1.0, 1.0], [1, 0, 0, 1]),
        (mg.elu, [1000.0, -1000.0], [1, 0]),
        (mg.sqrt, [0.0, 4.0], [INF, 0.25]),
        (mg.log, [0.0], [INF]),
        (lambda x: x**0.0, [0.0, 2.0], [0, 0]),
        (lambda x: x**1.0, [0.0], [1]),
        (lambda x: x**2.0, [0.0, -3.0], [0, -6]),
        (lambda x: x**0.5, [0.0], [INF]),
        (lambda x: x**-1.0, [0.0], [-INF]),
        (lambda x: 0.0**x, [0.0, 2.0], [0, 0]),
        (lambda x: 2.0**x, [0.0], [np.log(2)]),
        (lambda x: mg.where(x > 0, 1 / mg.where(x > 0, x, 1.0), 0.0), [0.0, 2.0], [0, -0.25]),
    ],
)
def test_derivatives_at_kinks(function: Any, x: list[float], gradient: Any) -> None:
    at = mg.tensor(x, dtype="float64")
    value, pullback = mg.vjp(function, at)
    np.testing.assert_allclose(pullback(mg.ones_like(value))[0].numpy(), gradient)
    for i, direction in enumerate(np.eye(len(x))):
        tangent = mg.jvp(function, [at], [mg.tensor(direction)])[1]
        np.testing.assert_allclose(np.where(np.isnan(tangent.numpy()), 0, tangent.numpy()).sum(), gradient[i])


def test_a_tie_between_two_tensors_is_split() -> None:
    x, y = mg.tensor([1.0, 2.0]), mg.tensor([1.0, 1.0])
    for function, of_x, of_y in ((mg.maximum, [0.5, 1], [0.5, 0]), (mg.minimum, [0.5, 0], [0.5, 1])):
        same(mg.grad(lambda x, y, f=function: f(x, y).sum(), argnums=0)(x, y), of_x)
        same(mg.grad(lambda x, y, f=function: f(x, y).sum(), argnums=1)(x, y), of_y)


def test_a_tie_in_a_pool_goes_to_the_first_pixel() -> None:
    gradient = mg.grad(lambda x: mg.max_pool2d(x, 2).sum())(image(1.0, 3.0, 3.0, 3.0))
    same(gradient.reshape(-1), [0, 1, 0, 0])
    overlapping = mg.grad(lambda x: mg.max_pool2d(x, 2, stride=1).sum())(image(*[1.0] * 9))
    same(overlapping.reshape(-1), [1, 1, 0, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_wins(dtype: str) -> None:
    x = mg.tensor([[1.0, NAN], [3.0, 2.0]], dtype=dtype)
    for function in (mg.max, mg.min):
        same(function(x, axis=1), [NAN, 3 if function is mg.max else 2])
        same(function(x), NAN)
    same(mg.argmax(x, axis=1), [1, 0])
    same(mg.argmin(x, axis=1), [1, 1])
    for function, plain in itertools.product((mg.maximum, mg.minimum), (0.0, NAN)):
        same(
            function(x, plain)[0],
            [max(1.0, plain) if function is mg.maximum else min(1.0, plain), NAN] if plain == 0 else [NAN] * 2,
        )
    same(mg.relu(x), [[1, NAN], [3, 2]])
    pixels = image(1.0, NAN, 3.0, 2.0, dtype=dtype)
    same(mg.max_pool2d(pixels, 2).reshape(-1), [NAN])
    same(mg.avg_pool2d(pixels, 2).reshape(-1), [NAN])
    same(mg.grad(lambda x: mg.max_pool2d(x, 2).sum())(pixels).reshape(-1), [0, 1, 0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_padding_of_a_max_pool_never_wins(dtype: str) -> None:
    low = image(-5.0, -INF, -3.0, -INF, dtype=dtype)
    same(mg.max_pool2d(low, 2, padding=1).reshape(-1), [-5, -INF, -3, -INF])
    same(mg.max_pool2d(low, (2, 1)).reshape(-1), [-3, -INF])
