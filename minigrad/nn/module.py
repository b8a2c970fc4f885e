"""Module: an object whose attributes are parameters, buffers and other modules.

There is no registration. A module's parts are found by walking its attributes, in the order of their definition,
through modules, lists, tuples and dicts: a `Parameter` trains, a `Buffer` is kept beside the parameters. Any other
tensor, such as an activation that `forward` left for later, is no part of the module.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from minigrad import graph
from minigrad.creation import tensor
from minigrad.dtypes import as_dtype, is_floating
from minigrad.errors import ArgumentError, DtypeError, MinigradError, OperandError
from minigrad.kernels import DEVICES
from minigrad.tensor import Tensor


class Parameter(Tensor):
    """A tensor that trains: a leaf that requires grad, whose values an optimiser replaces.

    >>> nn.Parameter(mg.zeros(2))
    Parameter([0., 0.])
    """

    __slots__ = ()

    def __new__(cls, data: Any) -> Self:
        """Make a parameter with a copy of the data."""
        array = tensor(data)._array
        if not is_floating(array.dtype):
            raise DtypeError(f"Parameter: dtype {array.dtype} cannot train\nhint: convert it with astype first")
        return cls._wrap(array, graph.Node.of(array))

    def __init__(self, data: Any) -> None:
        """Do nothing: `__new__` has done it."""

    def __repr__(self) -> str:
        return _named(self, "Parameter")


class Buffer(Tensor):
    """A tensor that is part of a module's state and does not train, such as running statistics.

    >>> nn.Buffer(mg.zeros(2))
    Buffer([0., 0.])
    """

    __slots__ = ()

    def __new__(cls, data: Any) -> Self:
        """Make a buffer with the array of a tensor, or a copy of other data."""
        return cls._wrap((data if isinstance(data, Tensor) else tensor(data))._array)

    def __init__(self, data: Any) -> None:
        """Do nothing: `__new__` has done it."""

    def __repr__(self) -> str:
        return _named(self, "Buffer")


def _named(x: Tensor, name: str) -> str:
    text = Tensor.__repr__(x).removeprefix("tensor").replace(", requires_grad=True", "")
    return name + text.replace("\n ", "\n" + " " * (len(name) - len("tensor") + 1))


class Module:
    """The base of layers and models. A subclass writes `forward`; nothing else is asked of it.

    Examples
    --------
    >>> class Affine(nn.Module):
    ...     def __init__(self):
    ...         self.scale = nn.Parameter(mg.ones(2))
    ...         self.shift = nn.Parameter(mg.zeros(2))
    ...     def forward(self, x):
    ...         return self.scale * x + self.shift
    >>> Affine()(mg.tensor([1.0, 2.0])).tolist()
    [1.0, 2.0]
    >>> [name for name, _ in Affine().named_parameters()]
    ['scale', 'shift']
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's result; written by subclasses."""
        raise OperandError(f"{type(self).__name__} has no forward\nhint: a module computes in its method forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`; an error is noted with the path of the module in which it happened."""
        try:
            return self.forward(*args, **kwargs)
        except MinigradError as error:
            known = vars(error)
            culprit = known.setdefault("module", self)
            path = next((name for name, module in self.named_modules() if module is culprit), "")
            if "place" in known:  # in a module below: its path begins here now
                error.__notes__.remove(known["place"])
            known["place"] = f"in {path or 'the model'}: {culprit.describe()}"
            error.add_note(known["place"])
            raise

    # ---- parts -------------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """This module and all below it, each once, with its path ("" for this one)."""
        return ((path, part) for path, part in _walk(self, prefix, set()) if isinstance(part, Module))

    def modules(self) -> Iterator["Module"]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter, once, with its path."""
        return ((path, part) for path, part in _walk(self, "", set()) if isinstance(part, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter, once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer, once, with its path."""
        return ((path, part) for path, part in _walk(self, "", set()) if isinstance(part, Buffer))

    # ---- modes and places --------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch dropout, batch-norm and the like to training (or not)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch dropout, batch-norm and the like to inference."""
        return self.train(False)

    def to(self, target: Any, /) -> Self:
        """Move parameters and buffers to a device, or their floats to a dtype; gradients are dropped."""
        device = isinstance(target, str) and target in DEVICES
        if not device and not is_floating(as_dtype(target)):
            raise DtypeError(f"a model computes with floats, not with {as_dtype(target)}")
        for _, part in _walk(self, "", set()):
            if isinstance(part, (Parameter, Buffer)) and (device or is_floating(part.dtype)):
                part._array = part.detach().to(target)._array
                if part.requires_grad:
                    part.grad = None
        return self

    # ---- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and buffers by path, as tensors outside the graph."""
        return {path: part.detach() for path, part in self._state()}

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers under every path."""
        found = _walk(self, "", set(), again=True)
        return ((path, part) for path, part in found if isinstance(part, (Parameter, Buffer)))

    def load_state_dict(self, state: Mapping[str, Tensor | np.ndarray]) -> None:
        """Take the values of a `state_dict`; nothing is changed unless all of it fits.

        Raises
        ------
        ArgumentError
            Naming every missing, unexpected and mis-shaped entry at once.
        """
        own = dict(self._state())
        found = {path: value if isinstance(value, Tensor) else tensor(value) for path, value in state.items()}
        problems = [f"missing: {path} {part.shape}" for path, part in own.items() if path not in found]
        problems += [f"unexpected: {path} {value.shape}" for path, value in found.items() if path not in own]
        problems += [
            f"mis-shaped: {path} has {found[path].shape}, the model {part.shape}"
            for path, part in own.items()
            if path in found and found[path].shape != part.shape
        ]
        if problems:
            raise ArgumentError("load_state_dict: the state does not fit the model\n  " + "\n  ".join(problems))
        for path, part in own.items():
            part.assign(found[path])

    # ---- how it reads ------------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """One line: the class and its settings."""
        settings = [
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if isinstance(value, (bool, int, float, str, tuple)) and name != "training" and not _holds_parts(value)
        ]
        return f"{type(self).__name__}({', '.join(settings)})"

    def __repr__(self) -> str:
        lines: list[tuple[str, int]] = []
        paths: list[str] = []
        for path, module in self.named_modules():
            above = [known for known in paths if not known or path.startswith(f"{known}.")]
            label = f"{'  ' * len(above)}{path.removeprefix(f'{above[-1]}.')}: " if above else ""
            lines.append((label + module.describe(), sum(p.size for p in module.parameters())))
            paths.append(path)
        width = max(len(text) for text, _ in lines)
        total = sum(p.size for p in self.parameters())
        table = [f"{text:<{width}}  {own:>10,}".rstrip() if own else text for text, own in lines[1:]]
        return "\n".join([f"{lines[0][0]:<{width}}  {total:>10,} parameters", *table])


def functional_call(module: Module, tensors: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Call a module with other tensors in place of some of its parameters and buffers; it stays as it is, all of it.

    Parameters
    ----------
    module
        Whatever it would change in the call (running statistics, a generator), only a copy changes.
    tensors
        By path, as in `state_dict`. Gradients reach them, not the parameters they stand for.
    args, kwargs
        Of the call.

    Raises
    ------
    ArgumentError
        If the module has no such parameter or buffer.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> nn.functional_call(layer, {"weight": mg.ones((1, 2)), "bias": mg.zeros(1)}, mg.tensor([1.0, 2.0]))
    tensor([3.])
    """
    state = dict(module._state())
    unknown = sorted({*tensors} - {*state})
    if unknown:
        raise ArgumentError(f"functional_call: {type(module).__name__} has no {', '.join(unknown)}")
    walked = [part for _, part in _walk(module, "", set()) if isinstance(part, Tensor)]
    in_place_of = {id(part): part if isinstance(part, Parameter) else part._wrap(part._array) for part in walked}
    in_place_of |= {id(part): tensors[path] for path, part in state.items() if path in tensors}
    return copy.deepcopy(module, in_place_of)(*args, **kwargs)


def _walk(value: Any, path: str, seen: set[int], again: bool = False) -> Iterator[tuple[str, Any]]:
    """All modules and tensors below a value, depth first: each once, or `again` on every path but inside itself."""
    if isinstance(value, (Module, Tensor)):
        if id(value) in seen:
            return
        seen.add(id(value))
        yield path, value
    if isinstance(value, Module):
        parts: Any = vars(value).items()
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, (list, tuple)):
        parts = enumerate(value)
    else:
        parts = ()
    for name, part in parts:
        yield from _walk(part, f"{path}.{name}" if path else str(name), seen, again)
    if again:
        seen.discard(id(value))


def _holds_parts(value: Any) -> bool:
    return next((True for _ in _walk(value, "", set())), False)
