"""The one shape in which the checks see a function: float arrays in, one array out, and both Jacobian products.

A function of tensors is differentiated by minigrad. A function of ndarrays comes with products written by hand.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from minigrad import ops, tree
from minigrad.creation import asarray
from minigrad.dtypes import float32, float64
from minigrad.errors import ArgumentError, DtypeError, OperandError
from minigrad.tensor import Tensor, no_grad
from minigrad.transforms import jvp, vjp

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Function:
    """f with all but its float inputs fixed.

    Attributes
    ----------
    f
        What the user gave.
    leaves, structure
        All positional arguments of f, as a tree.
    places
        Which leaves are float tensors or arrays: the inputs to differentiate.
    names
        What these are called.
    """

    f: Callable[..., Any]
    leaves: tuple[Any, ...]
    structure: tree.Structure
    places: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def arrays(self) -> list[np.ndarray]:
        """Copies of the inputs to differentiate."""
        return [np.array(to_array(self.leaves[place])) for place in self.places]

    @property
    def dtype(self) -> np.dtype:
        """The least exact dtype among these inputs: results can be no more exact."""
        return max((to_array(self.leaves[place]).dtype for place in self.places), key=lambda dtype: np.finfo(dtype).eps)

    def widened(self) -> Self:
        """The same function at the same inputs in float64."""
        return self.at([x.astype(np.float64) for x in self.arrays])

    def at(self, values: Sequence[Any]) -> Self:
        """The same function at other inputs."""
        full = list(self.leaves)
        for place, value in zip(self.places, values, strict=True):
            full[place] = value
        return replace(self, leaves=tuple(full))

    def filled(self, values: Sequence[Any]) -> Sequence[Any]:
        """All arguments of f, with these for the inputs to differentiate."""
        return self.structure.unflatten(self.at(values).leaves)

    def value(self, arrays: Arrays) -> np.ndarray:
        """F of arrays."""
        raise NotImplementedError

    def pull(self, arrays: Arrays, cotangent: np.ndarray) -> list[np.ndarray]:
        """The cotangents of the inputs."""
        raise NotImplementedError

    def push(self, arrays: Arrays, tangents: Arrays) -> np.ndarray | None:
        """The tangent of the value; None where nobody wrote one."""
        raise NotImplementedError


class OfTensors(Function):
    """A function of tensors that returns a tensor, or several in nested tuples, lists and dicts."""

    @classmethod
    def of(cls, f: Callable[..., Any], inputs: Sequence[Tensor], names: Sequence[str]) -> Self:
        """A function of tensors that are all differentiated, with names for them."""
        leaves, structure = tree.flatten(tuple(inputs))
        return cls(f, tuple(leaves), structure, tuple(range(len(leaves))), tuple(names))

    def tensor(self, *variables: Tensor) -> Tensor:
        """F of these inputs, as one tensor."""
        try:
            result = self.f(*self.filled(variables))
        except TypeError as error:
            if "__array_ufunc__" in str(error):  # in the words of numpy's refusal
                error.add_note("hint: a function of ndarrays is checked with its product by hand: pass vjp")
            raise
        return joined(result)

    def value(self, arrays: Arrays) -> np.ndarray:
        with no_grad():
            return self.tensor(*map(asarray, arrays)).detach().numpy()

    def pull(self, arrays: Arrays, cotangent: np.ndarray) -> list[np.ndarray]:
        return [g.numpy() for g in vjp(self.tensor, *map(asarray, arrays))[1](asarray(cotangent))]

    def push(self, arrays: Arrays, tangents: Arrays) -> np.ndarray:
        return jvp(self.tensor, [*map(asarray, arrays)], [*map(asarray, tangents)])[1].numpy()


@dataclass(frozen=True)
class OfArrays(Function):
    """A function of ndarrays with products written by hand.

    `vjp(g, *inputs)` gives one cotangent for each float input (alone, if there is one), `jvp(tangents, *inputs)` the
    tangent of the value.
    """

    vjp: Callable[..., Any]
    jvp: Callable[..., Any] | None = None

    def value(self, arrays: Arrays) -> np.ndarray:
        result = self.f(*self.filled(arrays))
        try:
            value = np.asarray(result)
        except ValueError:
            value = np.empty(0, object)
        if value.dtype.kind != "f":
            what = f"{value.dtype} array" if isinstance(result, np.ndarray) else type(result).__name__
            raise OperandError(f"a check: the function returned a {what}, not an ndarray of floats")
        return value

    def pull(self, arrays: Arrays, cotangent: np.ndarray) -> list[np.ndarray]:
        found = self.vjp(cotangent, *self.filled(arrays))
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(found) != len(arrays):
            raise ArgumentError(f"vjp gave {len(found)} cotangents for {len(arrays)} float inputs")
        return [np.zeros_like(x) if g is None else np.asarray(g) for g, x in zip(found, arrays, strict=True)]

    def push(self, arrays: Arrays, tangents: Arrays) -> np.ndarray | None:
        return None if self.jvp is None else np.asarray(self.jvp(tangents, *self.filled(arrays)))


def function_of(
    check: str, f: Callable[..., Any], inputs: Sequence[Any], vjp: Any = None, jvp: Any = None, finite: bool = True
) -> Function:
    """F with these inputs, as a function of tensors, or of arrays where a product is given by hand.

    Raises
    ------
    OperandError, DtypeError, ArgumentError
        If f is no function, there is no float among the inputs, or (where they must be `finite`) one that is not.
    """
    if not callable(f):
        raise OperandError(f"{check}: a {type(f).__name__} is no function")
    leaves, structure = tree.flatten(tuple(inputs))
    places = tuple(i for i, x in enumerate(leaves) if is_float(x))
    if not places:
        kinds = ", ".join(type(x).__name__ for x in leaves) or "none"
        raise OperandError(f"{check}: no float tensor or array among the inputs ({kinds}), nothing to differentiate")
    paths = [_name(path, parameters_of(f)) for path in structure.paths()]
    names = tuple(paths[place] for place in places)
    for name, x in zip(names, (to_array(leaves[place]) for place in places), strict=True):
        if x.dtype not in (float32, float64):
            raise DtypeError(f"{check}: {name} is {x.dtype}; derivatives are checked in float32 and float64")
        if finite and not np.isfinite(x).all():
            raise ArgumentError(f"{check}: {name} holds a NaN or an infinity, where nothing has a derivative")
    if vjp is not None:
        leaves = [to_array(x) if isinstance(x, Tensor) else x for x in leaves]
        return OfArrays(f, tuple(leaves), structure, places, names, vjp, jvp)
    if jvp is not None:
        raise ArgumentError(f"{check}: a jvp by hand needs a vjp by hand beside it")
    leaves = [asarray(x) if isinstance(x, np.ndarray) else x for x in leaves]
    return OfTensors(f, tuple(leaves), structure, places, names)


def _name(path: str, parameters: Sequence[str]) -> str:
    """What the leaf at a path, such as "[1]['w']", is called."""
    first, _, rest = path[1:].partition("]")
    place = int(first)
    return f"input {place} ({parameters[place]}){rest}" if place < len(parameters) else f"input {place}{rest}"


def is_float(x: Any) -> bool:
    """Whether x is a tensor or array of floats."""
    return isinstance(x, (Tensor, np.ndarray)) and x.dtype.kind == "f"


def parameters_of(f: Callable[..., Any]) -> list[str]:
    """The names of f's positional parameters, as far as they are known."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def to_array(x: Any) -> np.ndarray:
    """The values of a tensor or of anything that numpy takes."""
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def joined(result: Any) -> Tensor:
    """The tensors of floats in a tree, end to end; one alone keeps its shape.

    Raises
    ------
    OperandError
        If there is none.
    """
    if isinstance(result, Tensor) and is_float(result):
        return result
    leaves = [x for x in tree.flatten(result)[0] if isinstance(x, Tensor) and is_float(x)]
    if not leaves:
        what = f"tensor of {result.dtype}" if isinstance(result, Tensor) else type(result).__name__
        raise OperandError(f"a check: the function returned a {what}, in which there is no tensor of floats")
    return ops.concat([leaf.reshape(-1) for leaf in leaves])
