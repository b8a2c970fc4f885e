"""Indexing: taking elements out, putting them back, and the adjoint of each."""

from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.dtypes import as_dtype, float32, int64
from minigrad.errors import ArgumentError, DtypeError, IndexingError, OperandError, ShapeError, message
from minigrad.graph import Variable
from minigrad.ops.checks import integer, one_axis, operands, require, require_within, shape_of, sum_to, variable
from minigrad.ops.kinds import Bad, composite, discrete, linear
from minigrad.ops.samples import Call, Draw

Key = tuple[Any, ...]

HOLE = np.zeros((), bool)
"""The element of arrays that are there for their shape, as small as an element can be."""


def key_sample(draw: Draw, shape: tuple[int, ...]) -> Key:
    """A key of every sort: integers, slices, None, Ellipsis, index arrays, a mask."""
    if shape and draw.integer(0, 5) == 0:
        return (draw.integers(shape, 0, 2).astype(bool),)
    key: list[Any] = []
    counts = range(len(shape) + 1)
    for size in shape[: draw.choice([*counts, *counts[1:], *counts[1:]])]:
        step = draw.choice([None, 1, 2, -1])
        options: list[Any] = [slice(None, None, step), slice(draw.integer(-2, 2), None)]
        if size:
            options += [draw.integer(-size, size - 1)] + 2 * [draw.integers((3,), -size, size)]  # these go wrong most
        key.append(draw.choice(options))
    if draw.boolean():
        key.insert(draw.integer(0, len(key)), None)
    if draw.boolean():
        key.append(Ellipsis)
    return tuple(key)


def _getitem_sample(draw: Draw) -> Call:
    shape = draw.shape()
    return (draw.array(shape), key_sample(draw, shape)), {}


@linear(
    lambda g, x, key: scatter.run(g, key=key, shape=x.shape),
    signature="... -> ...",
    view=True,
    sample=_getitem_sample,
    oracle=lambda x, key: np.array(x[key]),
    bad=(
        Bad(
            lambda t: getitem(t(2, 3), 5),
            IndexingError,
            "getitem: index 5 is out of range for axis 0 with size 2",
        ),
        Bad(lambda t: getitem(t(2), (0, 0)), IndexingError, "getitem: 2 indices for 1 axes"),
        Bad(lambda t: getitem(t(2), 0.5), IndexingError, "getitem: 0.5 is not an index"),
        Bad(lambda t: getitem(t(2), t(2)), IndexingError, "getitem: an index of dtype float32"),
        Bad(
            lambda t: getitem(t(2), t(3, dtype="bool")),
            IndexingError,
            "getitem: a mask of shape (3,) on axes of shape (2,)",
        ),
    ),
)
def getitem(x: Any, key: Any, /) -> Any:
    """x[key], with numpy's basic and advanced indexing.

    Raises
    ------
    IndexingError
        If an index is out of range, or is no index.

    >>> mg.arange(5)[1:4:2]
    tensor([1, 3])
    """
    variable("getitem", "x", x)
    return (x,), {"key": canonical_key("getitem", key, x)}


def _scatter_sample(draw: Draw) -> Call:
    shape = draw.shape()
    key = key_sample(draw, shape)
    return (draw.array(np.zeros(shape)[key].shape), key), {"shape": shape}


def _scatter_oracle(g: Any, key: Any, shape: Any) -> Any:
    places = np.arange(int(np.prod(shape))).reshape(shape)[key]
    return np.bincount(np.ravel(places), np.ravel(g), minlength=int(np.prod(shape))).reshape(shape) * 1.0


@linear(
    lambda g, x, key, shape: getitem.run(g, key=key),
    signature="... -> ...",
    sample=_scatter_sample,
    oracle=_scatter_oracle,
    bad=(
        Bad(
            lambda t: scatter(t(4), slice(0, 3), shape=(5,)),
            ShapeError,
            "scatter: the key selects shape (3,), but g has (4,)",
        ),
    ),
)
def scatter(g: Any, key: Any, /, *, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with g added at `key`: the adjoint of getitem. Places that repeat add up.

    >>> mg.scatter(mg.tensor([1.0, 2.0, 3.0]), mg.tensor([0, 0, 2]), shape=(4,))
    tensor([3., 0., 3., 0.])
    """
    variable("scatter", "g", g)
    sizes = shape_of("scatter", shape)
    whole = np.broadcast_to(HOLE, sizes)
    canonical = canonical_key("scatter", key, whole)
    selected = whole[canonical].shape
    headline = f"scatter: the key selects shape {selected}, but g has {g.shape}"
    require(selected == g.shape, ShapeError, headline, [("g", "", g)])
    return (g,), {"key": canonical, "shape": sizes}


def _put_zeros(g: Any, x: Any, value: Any, key: Key) -> Any:
    return index_put(g, key, 0.0)


def _taken_by_winners(g: Any, x: Any, value: Any, key: Key) -> Any:
    taken = g[key]
    if any(isinstance(part, np.ndarray) and part.dtype != bool for part in key):
        places = np.arange(int(np.prod(x.shape))).reshape(x.shape)[key]
        writer = np.empty(x.shape, np.int64)
        writer[key] = np.arange(places.size).reshape(places.shape)  # of equal places the last wins, as in the kernel
        taken = taken * (writer.reshape(-1)[places] == np.arange(places.size).reshape(places.shape))
    return sum_to(taken, value.shape)


def _put_sample(draw: Draw) -> Call:
    shape = draw.shape()
    key = key_sample(draw, shape)
    selected = np.zeros(shape)[key].shape
    value = tuple(1 if draw.boolean() else size for size in selected[draw.integer(0, len(selected)) :])
    return (draw.array(shape), key, draw.array(value)), {}


def _put_oracle(x: Any, key: Any, value: Any) -> Any:
    out = x.reshape(-1).copy()
    places = np.arange(out.size).reshape(x.shape)[key]
    for place, one in zip(np.ravel(places), np.ravel(np.broadcast_to(value, places.shape)), strict=True):
        out[place] = one
    return out.reshape(x.shape)


@linear(
    _put_zeros,
    _taken_by_winners,
    signature="... -> ...",
    sample=_put_sample,
    oracle=_put_oracle,
    bad=(
        Bad(
            lambda t: index_put(t(4, 3), slice(0, 2), t(5)),
            ShapeError,
            "index_put: a value of shape (5,) does not fill the selected shape (2, 3)",
        ),
    ),
)
def index_put(x: Any, key: Any, value: Any, /) -> Any:
    """x with x[key] = value, as a new tensor. Of places that repeat in the key, the last wins.

    >>> mg.index_put(mg.zeros(3), slice(1, 3), 5.0)
    tensor([0., 5., 5.])
    """
    variable("index_put", "x", x)
    canonical = canonical_key("index_put", key, x)
    (new,) = operands("index_put", ("value",), (value,)) if isinstance(value, Variable) else (value,)
    x, new = operands("index_put", ("x", "value"), (x, new))
    selected = np.broadcast_to(HOLE, x.shape)[canonical].shape
    try:
        fits = np.broadcast_shapes(new.shape, selected) == selected
    except ValueError:
        fits = False
    headline = f"index_put: a value of shape {new.shape} does not fill the selected shape {selected}"
    require(fits, ShapeError, headline, [("x", "", x), ("value", "", new)])
    return (x, new), {"key": canonical}


def canonical_key(op: str, key: Any, x: Any) -> Key:
    """A key as a tuple of ints, slices, None, Ellipsis and index arrays, checked against the shape of x."""
    key = key if isinstance(key, tuple) else (key,)
    if _is_plain(key, x.shape):
        return key
    parts = tuple([_index(op, part) for part in key])
    widths = [_width(part) for part in parts]
    used, ndim = sum(widths), len(x.shape)
    if sum([part is Ellipsis for part in parts]) > 1:
        raise IndexingError(f"{op}: more than one ellipsis in the key")
    if used > ndim:
        raise IndexingError(message(f"{op}: {used} indices for {ndim} axes", [("x", "", x)]))
    axis = 0
    for part, width in zip(parts, widths, strict=True):
        if part is Ellipsis:
            axis += ndim - used
        elif width:
            _check_range(op, part, axis, x)
            axis += width
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if not arrays:
        return parts
    shapes = [(int(array.sum()),) if array.dtype == bool else array.shape for array in arrays]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise IndexingError(f"{op}: index arrays of shapes {listed} do not broadcast") from None
    return parts


def _is_plain(key: Key, shape: tuple[int, ...]) -> bool:
    """Whether a key has only slices, and integers that are in range: the common case, which is soon checked."""
    if len(key) > len(shape):
        return False
    try:
        for axis, part in enumerate(key):
            if part.__class__ is slice:
                part.indices(0)
            elif part.__class__ is not int or not -shape[axis] <= part < shape[axis]:
                return False
    except (TypeError, ValueError):  # of the slice
        return False
    return True


def _index(op: str, part: Any) -> Any:
    if part is None or part is Ellipsis or part.__class__ is int:
        return part
    try:
        if isinstance(part, slice):
            part.indices(0)
            return part
        shared = isinstance(part, Variable)  # an array that nobody changes
        array = kernels.backend(part.device).to_numpy(part._array) if shared else np.asarray(part)
    except (TypeError, ValueError):
        raise IndexingError(f"{op}: {part!r} is not an index") from None
    if array.size == 0 and isinstance(part, list):
        array = array.astype(np.int64)  # numpy takes [] for floats
    if array.dtype.kind not in "biu":
        what = f"an index of dtype {array.dtype}" if array.ndim else f"{part!r} is not an index"
        raise IndexingError(f"{op}: {what}\nhint: indices are integers or booleans")
    if array.ndim == 0 and array.dtype != bool:
        return int(array)
    return array.astype(array.dtype if array.dtype == bool else np.int64, copy=not shared)


def _width(part: Any) -> int:
    """How many axes one part of a key uses up."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def _check_range(op: str, part: Any, axis: int, x: Any) -> None:
    if isinstance(part, slice):
        return
    size = x.shape[axis]
    if isinstance(part, np.ndarray) and part.dtype == bool:
        covered = tuple(x.shape[axis : axis + part.ndim])
        if part.shape != covered:
            raise IndexingError(f"{op}: a mask of shape {part.shape} on axes of shape {covered}")
        return
    if isinstance(part, np.ndarray):
        low, high = (part.min(), part.max()) if part.size else (0, -1)
    else:
        low = high = part
    if low < -size or high >= size:
        wrong = low if low < -size else high
        raise IndexingError(
            message(f"{op}: index {wrong} is out of range for axis {axis} with size {size}", [("x", "", x)])
        )


def _list_sample(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1, min_side=1)
    axis = draw.integer(-len(shape), len(shape) - 1)
    return (draw.array(shape), draw.integers((draw.integer(0, 5),), -shape[axis], shape[axis])), {"axis": axis}


@composite(
    sample=_list_sample,
    oracle=np.take,
    bad=(
        Bad(
            lambda t: take(t(2, 3), t(1, 1, dtype="int64"), axis=0), ShapeError, "take: the indices have 2 axes, not 1"
        ),
        Bad(lambda t: take(t(3), t(1)), DtypeError, "take: indices of dtype float32"),
        Bad(
            lambda t: take(t(2, 3), t(1, dtype="int64") + 3, axis=1),
            IndexingError,
            "take: index 3 is out of range for axis 1 with size 3",
        ),
    ),
)
def take(x: Any, indices: Any, /, *, axis: int = 0) -> Any:
    """Slices of x along an axis, one for each index in a list: (... m ...) -> (... k ...).

    >>> mg.take(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([1, 1, 0]))
    tensor([[3., 4.],
            [3., 4.],
            [1., 2.]])
    """
    at, kind = (
        one_axis("take", axis, len(variable("take", "x", x).shape), x),
        variable("take", "indices", indices).dtype,
    )
    require(kind.kind in "iu", DtypeError, f"take: indices of dtype {kind}", hint="indices are integers")
    ndim = len(indices.shape)
    require(ndim == 1, ShapeError, f"take: the indices have {ndim} axes, not 1", [("indices", "", indices)])
    return getitem.run(x, key=canonical_key("take", (*(slice(None),) * at, indices), x))


def _classes_sample(draw: Draw) -> Call:
    classes = draw.integer(1, 4)
    return (draw.integers(draw.shape(), 0, classes), classes), {}


@discrete(
    sample=_classes_sample,
    oracle=lambda labels, classes: np.eye(classes)[labels],
    bad=(
        Bad(lambda t: one_hot(t(2), 3), DtypeError, "one_hot: labels of dtype float32 are not integers"),
        Bad(
            lambda t: one_hot(t(2, dtype="int64") + 3, 3),
            ArgumentError,
            "one_hot: label 3 is not one of the 3 classes",
        ),
        Bad(lambda t: one_hot(t(0, dtype="int64"), -1), ArgumentError, "one_hot: classes = -1 is negative"),
        Bad(lambda t: one_hot([0], 3), OperandError, "one_hot: labels is a list, not a tensor"),
    ),
)
def one_hot(labels: Any, /, classes: int, *, dtype: Any = float32) -> Any:
    """Rows of zeros with a one at each label: (...) integers -> (... classes).

    >>> mg.one_hot(mg.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    kind, count = variable("one_hot", "labels", labels).dtype, integer("one_hot", "classes", classes)
    require(kind.kind in "iu", DtypeError, f"one_hot: labels of dtype {kind} are not integers")
    require(count >= 0, ArgumentError, f"one_hot: classes = {count} is negative")
    complaint = lambda: f"one_hot: label {{}} is not one of the {count} classes"
    require_within(labels, 0, count - 1, ArgumentError, complaint)
    return (labels,), {"classes": count, "dtype": as_dtype(dtype)}


# ---- places ----------------------------------------------------------------------------------------------------------


def _places_oracle(x: Any) -> Any:
    places = [place for place in np.ndindex(x.shape) if x[place]]
    return np.array(places, int).reshape(len(places), x.ndim)


@discrete(sample=lambda draw: ((draw.integers(draw.shape(), 0, 3) * 1.0,), {}), oracle=_places_oracle)
def argwhere(x: Any, /) -> Any:
    """Where x is not zero, in the order of its elements: (...) -> (count ndim).

    >>> mg.argwhere(mg.tensor([[0.0, 5.0], [7.0, 0.0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    return (variable("argwhere", "x", x),), {}


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """Where x is not zero, one tensor of indices an axis: `x[mg.nonzero(x)]` are the elements themselves.

    Raises
    ------
    ArgumentError
        If x has no axes.

    >>> mg.nonzero(mg.tensor([[0.0, 5.0], [7.0, 0.0]]))
    (tensor([0, 1]), tensor([1, 0]))
    """
    ndim = len(variable("nonzero", "x", x).shape)
    require(ndim > 0, ArgumentError, "nonzero: x has no axes", [("x", "", x)], "x != 0 says the same of one number")
    places = argwhere.run(x)
    return tuple([getitem.run(places, key=(slice(None), axis)) for axis in range(ndim)])


# ---- one index an element, along one axis ----------------------------------------------------------------------------


def _along_sample(draw: Draw) -> tuple[Any, Any, int]:
    shape = draw.shape(min_dims=1, min_side=1)
    axis = draw.integer(-len(shape), len(shape) - 1)
    picked = list(shape)
    picked[axis] = draw.integer(0, 4)
    return shape, draw.integers(tuple(picked), 0, shape[axis]), axis


def _take_sample(draw: Draw) -> Call:
    shape, indices, axis = _along_sample(draw)
    return (draw.array(shape), indices), {"axis": axis}


@linear(
    lambda g, x, indices, axis: scatter_along_axis.run(g, indices=indices, axis=axis, shape=x.shape),
    signature="... -> ...",
    sample=_take_sample,
    oracle=np.take_along_axis,
    bad=(
        Bad(
            lambda t: take_along_axis(t(2, 3), t(2, 1)),
            DtypeError,
            "take_along_axis: indices of dtype float32",
        ),
        Bad(lambda t: take_along_axis(t(2, 3), t(4, 1, dtype="int64")), ShapeError, "sizes differ off axis 1"),
        Bad(
            lambda t: take_along_axis(t(2, 3), t(2, 1, dtype="int64") + 3),
            IndexingError,
            "take_along_axis: index 3 is out of range for axis 1 with size 3",
        ),
    ),
)
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """out[..., k, ...] = x[..., indices[..., k, ...], ...]: one index an element, along one axis.

    Raises
    ------
    IndexingError
        If an index is out of range.

    >>> mg.take_along_axis(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([[1], [0]]))
    tensor([[2.],
            [3.]])
    """
    variable("take_along_axis", "x", x)
    at, places = _places("take_along_axis", indices, axis, x.shape, x)
    return (x,), {"indices": places, "axis": at}


def _scatter_along_sample(draw: Draw) -> Call:
    shape, indices, axis = _along_sample(draw)
    return (draw.array(indices.shape), indices), {"axis": axis, "shape": shape}


def _scatter_along_oracle(g: Any, indices: Any, axis: int, shape: Any) -> Any:
    out = np.zeros(shape)
    for place in np.ndindex(indices.shape):
        target = list(place)
        target[axis] = indices[place]
        out[tuple(target)] += g[place]
    return out


@linear(
    lambda g, x, indices, axis, shape: take_along_axis.run(g, indices=indices, axis=axis),
    signature="... -> ...",
    sample=_scatter_along_sample,
    oracle=_scatter_along_oracle,
)
def scatter_along_axis(g: Any, indices: Any, /, *, axis: int = -1, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with g added at the indices: the adjoint of take_along_axis. Places that repeat add up.

    >>> mg.scatter_along_axis(mg.tensor([1.0, 2.0]), mg.tensor([2, 2]), shape=(4,))
    tensor([0., 0., 3., 0.])
    """
    variable("scatter_along_axis", "g", g)
    sizes = shape_of("scatter_along_axis", shape)
    at, places = _places("scatter_along_axis", indices, axis, sizes, g)
    headline = f"scatter_along_axis: g has shape {g.shape}, the indices {places.shape}"
    require(g.shape == places.shape, ShapeError, headline)
    return (g,), {"indices": places, "axis": at, "shape": sizes}


def _places(op: str, indices: Any, axis: int, shape: tuple[int, ...], x: Any) -> tuple[int, Any]:
    variable(op, "indices", indices)
    at = one_axis(op, axis, len(shape), x)
    kind = indices.dtype
    require(kind.kind in "iu", DtypeError, f"{op}: indices of dtype {kind}", hint="indices are integers")
    own = indices.shape
    same = len(own) == len(shape) and own[:at] + own[at + 1 :] == shape[:at] + shape[at + 1 :]
    headline = f"{op}: sizes differ off axis {at}, {shape} and {own}"
    require(same, ShapeError, headline, [("x", "", x), ("indices", "", indices)])
    indices, size = indices.astype(int64), shape[at]
    complaint = lambda: f"{op}: index {{}} is out of range for axis {at} with size {size}"
    require_within(indices, -size, size - 1, IndexingError, complaint)
    return at, indices._array
