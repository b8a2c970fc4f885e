"""Ops that move elements without computing with them. All are linear."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.errors import ArgumentError, DeviceError, ShapeError
from minigrad.ops.checks import axes, integer, one_axis, operands, require, shape_of, sum_to, variable
from minigrad.ops.kinds import Bad, composite, linear
from minigrad.ops.samples import Call, Draw, axis_of, least_side, unary


@linear(lambda g, x: g, signature="... -> ...", view=True, sample=unary(), oracle=np.array)
def alias(x: Any, /) -> Any:
    """x itself, as a node of its own in the graph.

    >>> mg.alias(mg.tensor([1.0]))
    tensor([1.])
    """
    return (variable("alias", "x", x),), {}


@linear(
    lambda g, x, device, source: to_device.run(g, device=source, source=device),
    signature="... -> ...",
    view=True,
    method="to_device",
    sample=lambda draw: ((draw.array(draw.shape()), "cpu"), {}),
    oracle=lambda x, device: np.array(x),
    bad=(Bad(lambda t: to_device(t(2), "tpu"), DeviceError, "no device 'tpu'"),),
)
def to_device(x: Any, device: str, /) -> Any:
    """x in the memory of a device; where it is there already, x itself.

    Its gradient goes back to the device that x came from. Nothing else moves a tensor.

    Raises
    ------
    DeviceError
        If this machine has no such device.

    >>> mg.to_device(mg.ones(2), "cpu").device
    'cpu'
    """
    variable("to_device", "x", x)
    kernels.backend(device)  # says which devices there are
    return (x,), {"device": device, "source": x.device}


def _reshape_sample(draw: Draw) -> Call:
    shape = draw.shape()
    total = math.prod(shape)
    options = [shape[::-1], (total,), (1, total), *([(-1,), (-1, *shape)] if total else [])]
    return (draw.array(shape), draw.choice(options)), {}


@linear(
    lambda g, x, shape: reshape.run(g, shape=x.shape),
    signature="... -> ...",
    sample=_reshape_sample,
    oracle=np.reshape,
    view=True,
    bad=(
        Bad(lambda t: reshape(t(2, 3), (4, 2)), ShapeError, "reshape: 6 elements do not fill shape (4, 2)"),
        Bad(
            lambda t: reshape(t(2, 3), (-1, -1)),
            ArgumentError,
            "reshape: more than one size of (-1, -1) is -1",
        ),
    ),
)
def reshape(x: Any, /, shape: int | Sequence[int]) -> Any:
    """The elements of x, in order, in another shape; one size may be -1 and is worked out.

    Raises
    ------
    ShapeError
        If the number of elements differs.

    >>> mg.reshape(mg.arange(4), (2, -1))
    tensor([[0, 1],
            [2, 3]])
    """
    variable("reshape", "x", x)
    wanted, total = shape_of("reshape", shape), math.prod(x.shape)
    if math.prod(wanted) == total and (not wanted or min(wanted) >= 0):
        return (x,), {"shape": wanted}
    known = math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        what = "more than one size of" if wanted.count(-1) > 1 else "a negative size in"
        raise ArgumentError(f"reshape: {what} {wanted} is -1" if "more" in what else f"reshape: {what} {wanted}")
    if -1 in wanted and known:
        wanted = tuple(total // known if size == -1 else size for size in wanted)
    headline = f"reshape: {total} elements do not fill shape {shape_of('reshape', shape)}"
    require(-1 not in wanted and math.prod(wanted) == total, ShapeError, headline, [("x", "", x)])
    return (x,), {"shape": wanted}


def _permutation_sample(draw: Draw) -> Call:
    """Three axes and more, mostly: to exchange two is its own inverse."""
    shape = draw.shape(min_dims=draw.choice([3, 3, 0]), max_dims=4, min_side=least_side(draw), max_side=3)
    order = list(np.argsort(draw.integers((len(shape),), 0, 100), kind="stable"))
    return (draw.array(shape), tuple(int(axis) for axis in order)), {}


@linear(
    lambda g, x, axes: permute_dims.run(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))),
    signature="... -> ...",
    sample=_permutation_sample,
    oracle=np.transpose,
    view=True,
    method="permute_dims",
    bad=(
        Bad(
            lambda t: permute_dims(t(2, 3), (0, 0)),
            ArgumentError,
            "permute_dims: axes (0, 0) are no permutation of",
        ),
        Bad(lambda t: permute_dims(t(2, 3), 1), ArgumentError, "permute_dims: axes (1,) are no permutation of"),
    ),
)
def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    """x with its axes in another order.

    >>> mg.permute_dims(mg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    ndim = len(variable("permute_dims", "x", x).shape)
    given = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    order = tuple(one_axis("permute_dims", axis, ndim, x) for axis in given)
    headline = f"permute_dims: axes {given} are no permutation of the {ndim} axes"
    require(sorted(order) == list(range(ndim)), ArgumentError, headline, [("x", "", x)])
    return (x,), {"axes": order}


def _broadcast_sample(draw: Draw) -> Call:
    full = draw.shape()
    shape = tuple(1 if draw.boolean() else size for size in full[draw.integer(0, len(full)) :])
    return (draw.array(shape), full), {}


@linear(
    lambda g, x, shape: sum_to(g, x.shape),
    signature="... -> ...",
    sample=_broadcast_sample,
    oracle=np.broadcast_to,
    view=True,
    method="broadcast_to",
    bad=(
        Bad(
            lambda t: broadcast_to(t(2, 3), (2, 4)),
            ShapeError,
            "broadcast_to: (2, 3) does not broadcast to (2, 4)",
        ),
    ),
)
def broadcast_to(x: Any, /, shape: Sequence[int]) -> Any:
    """x repeated along axes of size 1, and along new axes at the left, without copying.

    >>> mg.broadcast_to(mg.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    wanted = shape_of("broadcast_to", shape)
    own = variable("broadcast_to", "x", x).shape
    fits = len(own) <= len(wanted) and all(
        size in (1, target) for size, target in zip(own[::-1], wanted[::-1], strict=False)
    )
    headline = f"broadcast_to: {own} does not broadcast to {wanted}"
    require(fits and min(wanted, default=0) >= 0, ShapeError, headline, [("x", "", x)])
    return (x,), {"shape": wanted}


def _expand_sample(draw: Draw) -> Call:
    shape = draw.shape(max_dims=2)
    return (draw.array(shape),), {"axis": draw.integer(-len(shape) - 1, len(shape))}


@composite(
    sample=_expand_sample,
    oracle=np.expand_dims,
    view=True,
    method="expand_dims",
    bad=(Bad(lambda t: expand_dims(t(2), axis=3), ArgumentError, "expand_dims: no axis 3 in 2 dimensions"),),
)
def expand_dims(x: Any, /, *, axis: int = 0) -> Any:
    """x with a new axis of size 1 at `axis` of the result.

    >>> mg.expand_dims(mg.tensor([1, 2]), axis=1).shape
    (2, 1)
    """
    shape = list(variable("expand_dims", "x", x).shape)
    shape.insert(one_axis("expand_dims", axis, len(shape) + 1, x), 1)
    return reshape(x, shape)


def _squeeze_sample(draw: Draw) -> Call:
    shape = list(draw.shape(max_dims=2))
    axis = draw.integer(0, len(shape))
    shape.insert(axis, 1)
    return (draw.array(tuple(shape)),), {"axis": axis}


@composite(
    sample=_squeeze_sample,
    oracle=np.squeeze,
    view=True,
    method="squeeze",
    bad=(Bad(lambda t: squeeze(t(2, 3), axis=1), ShapeError, "squeeze: axis 1 has size 3, not 1"),),
)
def squeeze(x: Any, /, axis: int | tuple[int, ...]) -> Any:
    """x without axes of size 1.

    >>> mg.squeeze(mg.zeros((2, 1)), axis=1).shape
    (2,)
    """
    gone = axes("squeeze", axis, variable("squeeze", "x", x))
    for one in gone:
        headline = f"squeeze: axis {one} has size {x.shape[one]}, not 1"
        require(x.shape[one] == 1, ShapeError, headline, [("x", "", x)])
    return reshape(x, tuple(size for i, size in enumerate(x.shape) if i not in gone))


def part_of(x: Any, axis: int, part: slice) -> Any:
    """A slice of x along one axis."""
    return x[(*(slice(None),) * axis, part)]


def _flip_sample(draw: Draw) -> Call:
    shape = draw.shape()
    return (draw.array(shape),), {"axis": axis_of(draw, len(shape))}


@composite(
    view=True,
    sample=_flip_sample,
    oracle=np.flip,
    bad=(Bad(lambda t: flip(t(2), axis=1), ArgumentError, "flip: no axis 1 in 1 dimensions"),),
)
def flip(x: Any, /, *, axis: int | tuple[int, ...] | None = None) -> Any:
    """x with the order of its elements reversed along an axis, several, or (None) all.

    >>> mg.flip(mg.tensor([1, 2, 3]))
    tensor([3, 2, 1])
    """
    turned = axes("flip", axis, variable("flip", "x", x))
    return x[tuple([slice(None, None, -1 if i in turned else 1) for i in range(len(x.shape))])]


def _roll_sample(draw: Draw) -> Call:
    shape = draw.shape()
    if draw.boolean():
        return (draw.array(shape), draw.integer(-5, 5)), {}
    along = tuple(i for i in range(len(shape)) if draw.boolean())
    return (draw.array(shape), tuple(draw.integer(-5, 5) for _ in along)), {"axis": along}


@composite(
    view=True,
    sample=_roll_sample,
    oracle=lambda x, shift, axis=None: np.array(x) if axis == () else np.roll(x, shift, axis),
    bad=(
        Bad(lambda t: roll(t(2), (1, 2), axis=0), ArgumentError, "roll: 2 shifts for 1 axes"),
        Bad(lambda t: roll(t(2), 0.5), ArgumentError, "roll: shift = 0.5 is not an integer"),
    ),
)
def roll(x: Any, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None) -> Any:
    """x moved along an axis or several; what leaves it at one end comes back at the other. None: x as one line.

    >>> mg.roll(mg.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    own = variable("roll", "x", x).shape
    if axis is None:
        return reshape(roll(reshape(x, (math.prod(own),)), shift, axis=0), own)
    along = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(along)
    require(len(shifts) == len(along), ArgumentError, f"roll: {len(shifts)} shifts for {len(along)} axes")
    for one, by in zip(along, shifts, strict=True):
        at = one_axis("roll", one, len(own), x)
        cut = -integer("roll", "shift", by) % max(own[at], 1)
        if cut:
            x = concat([part_of(x, at, slice(cut, None)), part_of(x, at, slice(cut))], axis=at)
    return x


def _slice_of_concat(i: int, g: Any, *specs: Any, axis: int) -> Any:
    start = sum(spec.shape[axis] for spec in specs[:i])
    return part_of(g, axis, slice(start, start + specs[i].shape[axis]))


def _concat_sample(draw: Draw) -> Call:
    shape = draw.shape(min_dims=1)
    axis = draw.integer(0, len(shape) - 1)
    parts = [(*shape[:axis], draw.integer(0, 3), *shape[axis + 1 :]) for _ in range(draw.integer(1, 3))]
    return ([draw.array(part) for part in parts],), {"axis": axis}


@linear(
    _slice_of_concat,
    variadic=True,
    signature="... -> ...",
    sample=_concat_sample,
    oracle=lambda arrays, axis: np.concatenate(arrays, axis=axis),
    bad=(
        Bad(
            lambda t: concat([t(2, 3), t(2, 4)]),
            ShapeError,
            "concat: sizes differ off axis 0, (2, 3) and (2, 4)",
        ),
        Bad(lambda t: concat([]), ArgumentError, "concat: no tensors to join"),
        Bad(lambda t: concat([t(), t()]), ShapeError, "concat: tensors without axes cannot be joined"),
    ),
)
def concat(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Tensors joined along an existing axis.

    >>> mg.concat([mg.tensor([1, 2]), mg.tensor([3])])
    tensor([1, 2, 3])
    """
    inputs = _several("concat", arrays)
    first = inputs[0].shape
    require(len(first) > 0, ShapeError, "concat: tensors without axes cannot be joined", hint="use stack")
    at = one_axis("concat", axis, len(first), inputs[0])
    for x in inputs[1:]:
        same = len(x.shape) == len(first) and x.shape[:at] + x.shape[at + 1 :] == first[:at] + first[at + 1 :]
        rows = [(f"arrays[{i}]", "", one) for i, one in enumerate(inputs)]
        require(same, ShapeError, f"concat: sizes differ off axis {at}, {first} and {x.shape}", rows)
    return inputs, {"axis": at}


def _several(op: str, arrays: Sequence[Any]) -> list[Any]:
    values = list(arrays)
    require(bool(values), ArgumentError, f"{op}: no tensors to join")
    return operands(op, [f"arrays[{i}]" for i in range(len(values))], values)


def _stack_sample(draw: Draw) -> Call:
    shape = draw.shape(max_dims=2)
    return ([draw.array(shape) for _ in range(draw.integer(1, 3))],), {"axis": draw.integer(0, len(shape))}


@composite(
    sample=_stack_sample,
    oracle=lambda arrays, axis: np.stack(arrays, axis=axis),
    bad=(Bad(lambda t: stack([t(2), t(3)]), ShapeError, "stack: shapes differ, (2,) and (3,)"),),
)
def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis.

    >>> mg.stack([mg.tensor([1, 2]), mg.tensor([3, 4])], axis=1)
    tensor([[1, 3],
            [2, 4]])
    """
    inputs = _several("stack", arrays)
    for x in inputs:
        require(x.shape == inputs[0].shape, ShapeError, f"stack: shapes differ, {inputs[0].shape} and {x.shape}")
    return concat([expand_dims(x, axis=axis) for x in inputs], axis=axis)
