"""Ops of users' own, by the records that the library's ops are made of."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.dtypes import SUPPORTED, is_floating
from minigrad.errors import ArgumentError, DeviceError, DtypeError, OperandError, ShapeError, message, shape_text
from minigrad.graph import Variable
from minigrad.ops.checks import SCALARS, broadcasting, operands
from minigrad.ops.kinds import Bilinear, Discrete, Elementwise, General, Linear, Record, Rule

_KINDS = {"elementwise": Elementwise, "linear": Linear, "bilinear": Bilinear, "general": General, "discrete": Discrete}
_TENSORS_ONLY = "rules are written with ops and tensor methods, so that they have derivatives themselves"


def define_op(
    kind: str,
    *rules: Rule | float | None,
    jvp: Rule | None = None,
    check: Callable[..., None] | None = None,
    others: Mapping[str, Callable[..., Any]] | None = None,
) -> Callable[[Callable[..., Any]], Record]:
    """Declare an op: the decorated function is its kernel, which computes new numpy arrays from numpy arrays.

    Its positional parameters are the op's inputs, its keyword-only parameters the op's options, its name and docstring
    are the op's. The result is called with tensors, and differentiates like any op of the library: in both modes and
    to every order.

    Parameters
    ----------
    kind
        How much is to be written down, one rule an input. Rules are written with ops and tensor methods.

        - "elementwise", of one or two inputs that broadcast: the partial derivatives, as numbers, as None for zero, or
          as functions whose parameters say what they need: inputs by their names, and `out`.
        - "linear" in all inputs together: `transpose(g, *inputs, **options)`, which sees shape and dtype of the inputs.
        - "bilinear": `adjoint(g, x, y, **options)`; each sees its own input as shape and dtype only.
        - "general": `vjp(g, *inputs, out, **options)`, or None where there is no derivative; and `jvp`.
        - "discrete": none; the result is a constant.
    jvp
        `jvp(tangents, *inputs, out, **options)` of a general op: the derivative along the tangents (None for zero).
    check
        `check(*inputs, **options)` raises where a call makes no sense, before the kernel runs.
    others
        Kernels for other devices than the CPU, by their names.

    Raises
    ------
    ArgumentError
        If the rules do not fit the kind or the kernel's parameters.
    OperandError, ShapeError, DtypeError
        When the op is used: if the kernel or a rule returns no array or tensor, or not of the shape and dtype that it
        must have. A kernel that writes into its inputs gets numpy's ValueError: it sees them read-only.

    Notes
    -----
    The inputs of elementwise and bilinear ops are converted to one floating dtype. In the other kinds integers stay
    what they are, and floats take one dtype. `minigrad.testing.check_grads` proves the rules.

    Examples
    --------
    >>> @mg.define_op("elementwise", lambda x: 1 / (1 + x * x))
    ... def atan(x):
    ...     return np.arctan(x)
    >>> mg.grad(mg.grad(atan))(mg.tensor(1.0))
    tensor(-0.5)

    >>> @mg.define_op("linear", lambda g, x, shift: roll(g, shift=-shift))
    ... def roll(x, *, shift):
    ...     return np.roll(x, shift)
    >>> _, pullback = mg.vjp(lambda x: roll(x, shift=1), mg.zeros(3))
    >>> pullback(mg.tensor([1.0, 2.0, 3.0]))
    (tensor([2., 3., 1.]),)
    """
    if kind not in _KINDS:
        raise ArgumentError(f"define_op: kind = {kind!r} is none of {', '.join(_KINDS)}")
    if (jvp is not None) != (kind == "general"):
        raise ArgumentError("define_op: a general op has a jvp, and no other kind has one")

    def declare(kernel: Callable[..., Any]) -> Record:
        name, parameters = kernel.__name__, inspect.signature(kernel).parameters.values()
        names = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        options = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
        _check_declaration(kind, name, names, options, parameters, rules)
        guarded = [_guarded(name, place, names, rule, kind) for place, rule in enumerate(rules)]
        fields: dict[str, Any] = {"name": name, "listed": False}
        if kind == "elementwise":
            record: Record = Elementwise(
                **fields, bind=broadcasting(kernel, "floating", check), partials=tuple(guarded)
            )
        else:
            fields["bind"] = _bind(kernel, names, kind, check)
            if kind == "linear":
                record = Linear(**fields, transposes=tuple(guarded))
            elif kind == "bilinear":
                record = Bilinear(**fields, adjoints=tuple(guarded))
            elif kind == "general":
                tangent = _guarded(name, len(names), [*names, "the tangents"], jvp, kind)
                saved = (True,) * len(names)
                record = General(**fields, vjps=tuple(guarded), jvp=tangent, saved=saved, saves_out=True)
            else:
                record = Discrete(**fields)
        functions = {"cpu": _on_host(name, kernel), **(others or {})}
        object.__setattr__(record, "kernel", _Kernels(name, kind, functions))
        for attribute in ("__module__", "__qualname__"):  # where it is found, as for a function
            object.__setattr__(record, attribute, getattr(kernel, attribute))
        return record

    return declare


def _check_declaration(
    kind: str, name: str, names: Sequence[str], options: Sequence[str], parameters: Any, rules: Sequence[Any]
) -> None:
    variadic = [one.name for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if variadic or not names:
        raise ArgumentError(f"define_op: {name} must name its inputs and options, one parameter each")
    if kind != "discrete" and len(rules) != len(names):
        raise ArgumentError(f"define_op: {name} has {len(names)} inputs ({', '.join(names)}) and {len(rules)} rules")
    if kind == "discrete" and rules:
        raise ArgumentError(f"define_op: {name} is discrete, and has no rules")
    if kind == "bilinear" and len(names) != 2:
        raise ArgumentError(f"define_op: {name} is bilinear, and has {len(names)} inputs, not 2")
    if kind in ("linear", "bilinear") and not all(map(callable, rules)):
        raise ArgumentError(f"define_op: the rules of {name} must be functions")
    if kind == "elementwise":
        if len(names) > 2 or options:
            raise ArgumentError(
                f"define_op: {name} is elementwise, so it has one or two inputs and no options\n"
                "hint: a general op may have more of them"
            )
        for rule in filter(callable, rules):
            for i, wanted in enumerate(inspect.signature(rule).parameters):
                if wanted not in (*names, "out") and (wanted, i) != ("g", 0):
                    known = ", ".join((*names, "out"))
                    raise ArgumentError(
                        f"define_op: a partial derivative of {name} needs {wanted!r}, not one of {known}"
                    )


# ---- calls -----------------------------------------------------------------------------------------------------------


def _bind(kernel: Callable[..., Any], names: Sequence[str], kind: str, check: Callable[..., None] | None) -> Rule:
    name, signature = kernel.__name__, inspect.signature(kernel)

    @functools.wraps(kernel)
    def bind(*args: Any, **kwargs: Any) -> tuple[Sequence[Any], dict[str, Any]]:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise OperandError(f"{name}: {error}") from None
        bound.apply_defaults()
        values = [bound.arguments.pop(one) for one in names]
        inputs = operands(name, names, values, "floating") if kind == "bilinear" else _in_one_float(name, names, values)
        if check:
            check(*inputs, **bound.arguments)
        return inputs, bound.arguments

    return bind


def _in_one_float(name: str, names: Sequence[str], values: Sequence[Any]) -> list[Any]:
    """The inputs as variables: integers as they are, floats (and python numbers beside them) in one dtype."""
    whole = {
        i: operands(name, [names[i]], [value])[0]
        for i, value in enumerate(values)
        if isinstance(value, Variable) and not is_floating(value.dtype)
    }
    rest = [i for i in range(len(values)) if i not in whole]
    floats = operands(name, [names[i] for i in rest], [values[i] for i in rest]) if rest else []
    found = {**whole, **dict(zip(rest, floats, strict=True))}
    return [found[i] for i in range(len(values))]


class _Kernels(kernels.Kernels):
    """The kernels of a user's op, by the type of the arrays, each with a check of what it returns."""

    def __init__(self, name: str, kind: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(name)
        self._kind = kind
        self._functions = functions

    def __missing__(self, array_type: type) -> Callable[..., Any]:
        device = kernels.device_of(array_type)
        if device not in self._functions:
            hint = f"give define_op one: others={{{device!r}: function}}"
            raise DeviceError(f"{self.name}: no kernel for the device {device!r}\nhint: {hint}")
        function, name, kind = self._functions[device], self.name, self._kind

        def kernel(*arrays: Any, **options: Any) -> Any:
            out = function(*arrays, **options)
            _check_result(name, kind, array_type, arrays, out)
            return out

        self[array_type] = kernel
        return kernel


def _on_host(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of ndarrays as the library's own kernels are: IEEE results without warnings, and no 0-d scalars."""

    def kernel(*arrays: np.ndarray, **options: Any) -> Any:
        views = [array.view() for array in arrays]
        for view in views:
            view.flags.writeable = False
        try:
            with np.errstate(all="ignore"):
                out = function(*views, **options)
        except Exception as error:
            error.add_note(f"in the kernel of {name}")
            raise
        return np.asarray(out) if isinstance(out, (np.generic, *SCALARS)) else out

    return kernel


def _check_result(name: str, kind: str, array_type: Any, arrays: Sequence[Any], out: Any) -> None:
    if out.__class__ is not array_type:
        raise OperandError(f"{name}: the kernel returned a {type(out).__name__}, not a {array_type.__name__}")
    if out.dtype not in SUPPORTED:
        raise DtypeError(f"{name}: the kernel returned {out.dtype}, which is not a dtype of minigrad")
    floats = {array.dtype for array in arrays if is_floating(array.dtype)}
    if floats and out.dtype not in floats and (is_floating(out.dtype) or kind != "discrete"):
        expected = floats.pop()
        hint = f"end it with .astype({expected}), or make constants {expected}"
        raise DtypeError(f"{name}: the kernel returned {out.dtype} for inputs of {expected}\nhint: {hint}")
    if kind == "elementwise":
        shape = np.broadcast_shapes(*[array.shape for array in arrays])
        if out.shape != shape:
            text = f"{name}: the kernel returned shape {shape_text(out.shape)} for inputs that broadcast to"
            raise ShapeError(f"{text} {shape_text(shape)}")


# ---- rules -----------------------------------------------------------------------------------------------------------


def _guarded(name: str, place: int, names: Sequence[str], rule: Any, kind: str) -> Any:
    """A rule whose result is checked against what it is the cotangent of (or the tangent, or the partial)."""
    if not callable(rule):
        return rule
    what = f"the rule for {names[place]} of {name}"

    @functools.wraps(rule)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            result: Any = rule(*args, **options)
        except Exception as error:
            error.add_note(f"in {what}")
            raise
        if result is None or (kind == "elementwise" and isinstance(result, SCALARS)):
            return result
        if not isinstance(result, Variable):
            raise OperandError(f"{what} returned a {type(result).__name__}, not a tensor\nhint: {_TENSORS_ONLY}")
        like: Any = args[0 if kind == "elementwise" else 1 + place]
        shape, dtype = like.shape, like.dtype
        if kind == "elementwise":
            shape = np.broadcast_shapes(*[x.shape for x in args])
        if result.shape != shape or result.dtype != dtype:
            expected = f"shape {shape_text(shape)} and dtype {dtype}"
            raise ShapeError(message(f"{what} must return {expected}", [("it returned", "", result)]))
        return result

    return guarded
