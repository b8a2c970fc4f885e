"""Kernels that move nothing: the same buffer, seen in another way."""

import math

from minigrad.kernels.cuda.array import Array


def alias(x: Array) -> Array:
    """x itself: arrays are never changed, so it can be shared."""
    return x


def permute_dims(x: Array, *, axes: tuple[int, ...]) -> Array:
    """A view with the axes in another order."""
    return x.view(tuple([x.shape[axis] for axis in axes]), tuple([x.strides[axis] for axis in axes]))


def broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    """A view with stride 0 along the new axes.

    Raises
    ------
    ValueError
        If the sizes do not allow it.
    """
    extra = len(shape) - x.ndim
    if extra < 0:
        raise ValueError(f"{x.shape} has more axes than {shape}")
    strides = [0] * extra
    for have, want, stride in zip(x.shape, shape[extra:], x.strides, strict=True):
        if have not in (want, 1):
            raise ValueError(f"{x.shape} does not broadcast to {shape}")
        strides.append(stride if have == want else 0)
    return x.view(tuple(shape), tuple(strides))


def basic(x: Array, key: tuple[slice | int | None, ...]) -> Array:
    """The view x[key] of slices, integers and None, one for each axis of x beside the Nones."""
    shape, strides, offset, axis = [], [], x.offset, 0
    for part in key:
        if part is None:
            shape.append(1)
            strides.append(0)
            continue
        size, stride = x.shape[axis], x.strides[axis]
        axis += 1
        if isinstance(part, slice):
            places = range(*part.indices(size))
            shape.append(len(places))
            strides.append(stride * places.step)
            offset += stride * places.start if len(places) else 0
        else:
            offset += stride * (part + size if part < 0 else part)
    return x.view((*shape, *x.shape[axis:]), (*strides, *x.strides[axis:]), offset)


def lines(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The sizes of the axes before one, of that axis, and of those behind it: an array as (outer, length, inner)."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
