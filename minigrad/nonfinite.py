"""Debug mode: which line and which op made the first NaN or infinity.

While any thread is in debug mode, `graph.watch` is a `_Watch`, which is told of each op that ran and runs the rules of
the sweeps. It looks only where debug mode is on: in that thread, or that task. Otherwise `graph.watch` is None.
"""

import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import graph, kernels
from minigrad.errors import NonFiniteError, message, shape_text
from minigrad.graph import Node, Op, Variable

_PACKAGE = os.path.dirname(__file__) + os.sep
_LINES: WeakKeyDictionary[Node, str] = WeakKeyDictionary()  # where each node was recorded, if in debug mode

_watching = ContextVar("watching", default=False)
_swept: ContextVar[Node] = ContextVar("swept")  # the node whose rule is running
_counting = threading.Lock()
_active = 0


class debug:
    """Raise at the op where the first NaN or infinity comes up, for a `with` block or (as `@debug()`) a function.

    A NaN in a result is an error, and the message says whether the op made it or was given one. An infinity is an error
    where an op makes one from finite numbers; one that is passed on, such as a mask of -inf, is not. In the forward
    sweep the op is caught as soon as it has run; in a sweep backward (or of tangents), when its rule has, and the line
    named is the one where the op was called.

    Like recording, the mode belongs to the thread (in a coroutine, to the task). It looks at every element of every
    result, and costs nothing when it is off.

    Raises
    ------
    NonFiniteError
        Naming the op, the line that called it, the first such element, and the inputs.

    Examples
    --------
    >>> x = mg.tensor([4.0, 0.0], requires_grad=True)
    >>> with mg.debug():
    ...     mg.sqrt(x).sum().backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigrad.errors.NonFiniteError: the backward of sqrt made an infinity: inf at (1,) of the cotangent of input 0
      cotangent = (2,)  float32 cpu
    called at <doctest ...>:2, in <module>
        mg.sqrt(x).sum().backward()...
    """

    def __init__(self) -> None:
        self._before: list[bool] = []  # several, where a block or a function contains itself

    def __enter__(self) -> None:
        self._before.append(_watching.get())
        _watching.set(True)
        _count(1)

    def __exit__(self, *exception: Any) -> None:
        _count(-1)
        _watching.set(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function."""
        return graph.within(debug, function)


def _count(change: int) -> None:
    """Have ops tell `_Watch` as long as debug mode is on anywhere."""
    global _active
    with _counting:
        _active += change
        graph.watch = _Watch if _active else None


class _Watch:
    """What `graph.watch` is in debug mode."""

    @staticmethod
    def ran(op: Op, arrays: Sequence[Any], out: Any, node: Node | None, options: Any = None) -> None:
        """Look at the result of an op, unless it ran inside the rule of another, whose result counts."""
        if not _watching.get():
            return
        line, inside_rule = _caller()
        if node is not None:
            _LINES[node] = line
        made = None if inside_rule else _made(out, [*arrays, *(options or {}).values()])
        if made:
            rows = [(f"input {i}", "", array) for i, array in enumerate(arrays)]
            raise NonFiniteError(f"{message(f'{op.name} {made}', rows)}\n{line}")

    @staticmethod
    def pull(node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        """The cotangents that the op's rules give, each looked at."""
        cotangents = _run_rule(node, "pull", g, parents)
        for i, cotangent in enumerate(cotangents):
            _check(node, "backward", f"the cotangent of input {i}", cotangent, [("cotangent", g)])
        return cotangents

    @staticmethod
    def push(node: Node, tangents: Sequence[Any]) -> Any:
        """The tangent that the op's rules give, looked at."""
        tangent = _run_rule(node, "push", tangents)
        given = [(f"tangent {i}", one) for i, one in enumerate(tangents) if one is not None]
        _check(node, "tangent", "the result", tangent, given)
        return tangent


def _run_rule(node: Node, rule: str, *args: Any) -> Any:
    token = _swept.set(node)
    try:
        return getattr(node.op, rule)(node, *args)
    finally:
        _swept.reset(token)


def _check(node: Node, rule: str, where: str, result: Any, given: Sequence[tuple[str, Any]]) -> None:
    if not _watching.get() or not all(isinstance(one, Variable) for one in (result, *[one for _, one in given])):
        return  # the parts of a checkpoint's results are looked at one by one
    made = _made(result._array, [*[one._array for _, one in given], *(node.saved or ())])
    if made:
        rows = [(name, "", one) for name, one in given]
        line = _LINES.get(node, "where it was called is not known: that was outside of minigrad.debug()")
        headline = f"the {rule} of {node.op and node.op.name} {made} of {where}"
        raise NonFiniteError(f"{message(headline, rows)}\n{line}")


def _made(result: Any, given: Iterable[Any]) -> str | None:
    """What is wrong with an array, in words and with its first place; None if it may be what came of what was given."""
    values = _on_host(result)
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return None
    sources = [_on_host(one) for one in given if isinstance(one, (float, result.__class__))]
    if np.isnan(values).any():
        what = "passed on a NaN" if any(np.isnan(one).any() for one in sources) else "made a NaN"
        bad = np.isnan(values)
    elif all(np.isfinite(one).all() for one in sources):
        what, bad = "made an infinity", np.isinf(values)
    else:
        return None
    place = [int(i) for i in np.unravel_index(np.argmax(bad), bad.shape)]
    return f"{what}: {values[*place]} at {shape_text(place)}"


def _on_host(array: Any) -> np.ndarray:
    if isinstance(array, float):
        return np.asarray(array)
    return kernels.backend(kernels.device_of(array.__class__)).to_numpy(array)


def _caller() -> tuple[str, bool]:
    """The line outside of minigrad that called, as text. Within the rule of an op: where that was called, and True."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_back is not None:
        if frame.f_code is _run_rule.__code__:
            return _LINES.get(_swept.get(), "in a sweep over what was recorded outside of minigrad.debug()"), True
        frame = frame.f_back
    code, number = frame.f_code, frame.f_lineno
    text = linecache.getline(code.co_filename, number, frame.f_globals).strip()
    return f"called at {code.co_filename}:{number}, in {code.co_name}\n    {text}".rstrip(), False
