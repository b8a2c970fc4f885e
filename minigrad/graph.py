"""The graph: what an op is, what a recorded op is, and the two sweeps over what was recorded.

A `Variable` is an array with a place in the graph. Applying an `Op` to variables runs its kernel and, if any input
has a node, records a `Node` that keeps just what the op's derivative rules will need. `pull` walks the nodes newest
first and pulls a cotangent back through each; `push` walks them oldest first and pushes a tangent forward.

Nodes keep arrays, never variables, and point only to older nodes: there are no reference cycles.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from minigrad import kernels
from minigrad.errors import DeviceError, GraphError, message


class Spec(NamedTuple):
    """Shape and dtype of an array whose values no rule needs."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Variable:
    """An array, and the node of the graph that made it (None: a constant)."""

    __slots__ = ("__weakref__", "_array", "_node")
    _array: Any
    _node: "Node | None"

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self._array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self._array.shape

    @property
    def device(self) -> str:
        """The name of the device that holds the array."""
        return kernels.device_of(self._array.__class__)

    @classmethod
    def _wrap(cls, array: Any, node: "Node | None" = None) -> Self:
        variable = object.__new__(cls)  # a subclass may want arguments in its own __new__
        variable._array = array
        variable._node = node
        return variable

    @property
    def _result_class(self) -> type["Variable"]:
        """The class of what ops make of this variable."""
        return type(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One operation: how it is called, which kernel runs it, and (in its kind) its derivative rules.

    `bind` checks and canonicalises a call: it takes the user's arguments and returns the variables and the options
    for the kernel, or raises. The kernel is the one with the op's name on the device of the inputs.
    """

    name: str
    bind: Callable[..., Any]
    differentiable: ClassVar[bool] = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, run the kernel, record the node."""
        inputs, options = self.bind(*args, **kwargs)
        return apply(self, inputs, options)

    def run(self, *inputs: Variable, **options: Any) -> Any:
        """Apply to inputs and options that are canonical already, without checking them again."""
        return apply(self, inputs, options)

    def keeps(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which inputs, and whether the output, the rules will need by value; `needs` are the inputs with a node."""
        return (False,) * len(needs), False

    def pull(self, node: "Node", g: Any, needs: Sequence[bool]) -> Sequence[Any]:
        """The cotangents of all inputs, from the cotangent g of the output; None for zero or where none is needed."""
        inputs, out = node.restore(g)
        return [self.cotangent(i, g, inputs, out, node.options) if need else None for i, need in enumerate(needs)]

    def cotangent(self, i: int, g: Any, inputs: Sequence[Any], out: Any, options: dict[str, Any]) -> Any:
        """The cotangent of input i, from the cotangent g of the output; None for zero."""
        raise GraphError(f"{self.name} has no derivative")

    def push(self, tangents: Sequence[Any], inputs: Sequence[Any], out: Any, options: dict[str, Any]) -> Any:
        """The tangent of the output, from those of the inputs (None for zero)."""
        raise GraphError(f"{self.name} has no derivative")


_creation = itertools.count()


class Node:
    """One recorded application of an op, or (op None) a leaf, which gathers `grad`."""

    __slots__ = ("__weakref__", "grad", "inputs", "op", "options", "order", "out", "parents", "residuals")

    def __init__(
        self,
        op: Op | None = None,
        parents: tuple["Node | None", ...] = (),
        inputs: tuple[Any, ...] | None = (),
        out: Any = None,
        options: dict[str, Any] | None = None,
        residuals: tuple[Any, ...] | None = (),
    ) -> None:
        self.op = op
        self.parents = parents
        self.inputs = inputs
        self.out = out
        self.options = options or {}
        self.residuals = residuals
        self.grad: Any = None
        self.order = next(_creation)  # a node is younger than its parents: sorting by order is topological

    def restore(self, like: Variable) -> tuple[list[Any], Any]:
        """The kept inputs and output as variables (Specs where no value was kept), in the graph if it is recorded."""
        if self.inputs is None:
            raise GraphError(
                f"the graph was freed: {self.op.name if self.op else 'a node'} gave up its saved arrays in an earlier "
                "backward\nhint: pass retain_graph=True to the first backward, or compute the forward again"
            )
        wrap, recording = type(like)._wrap, _mode.recording
        inputs = [
            value if type(value) is Spec else wrap(value, parent if recording else None)
            for value, parent in zip(self.inputs, self.parents, strict=True)
        ]
        out = self.out if type(self.out) is Spec else wrap(self.out, self if recording else None)
        return inputs, out

    def free(self) -> None:
        """Give up the saved arrays; the way to the parents stays, so that a later sweep sees what it has lost."""
        self.inputs = self.out = self.residuals = None


class _Mode(threading.local):
    recording = True


_mode = _Mode()


def is_recording() -> bool:
    """Whether ops are being recorded in this thread."""
    return _mode.recording


@contextmanager
def recording(flag: bool) -> Iterator[None]:
    """Record ops, or not, in this thread for the time of a `with` block (or of a decorated function)."""
    before = _mode.recording
    _mode.recording = flag
    try:
        yield
    finally:
        _mode.recording = before


def apply(op: Op, inputs: Sequence[Variable], options: dict[str, Any]) -> Any:
    """Run an op's kernel on checked inputs, and record it if a derivative may be asked for."""
    arrays, kind = arrays_of(op, inputs)
    result = kernels.kernel(op.name, kind)(*arrays, **options)
    node = None
    if op.differentiable and result.dtype.kind == "f" and (parents := parents_of(inputs)):
        keep_inputs, keep_out = op.keeps(tuple([parent is not None for parent in parents]))
        kept = tuple([kept_of(array, keep) for array, keep in zip(arrays, keep_inputs, strict=True)])
        node = Node(op, parents, kept, kept_of(result, keep_out), options)
    return inputs[0]._result_class._wrap(result, node)


def arrays_of(op: Op, inputs: Sequence[Variable]) -> tuple[list[Any], type]:
    """The arrays of the inputs, and their type, which says the device."""
    arrays = [variable._array for variable in inputs]
    kind = arrays[0].__class__
    for array in arrays:
        if type(array) is not kind:
            rows = [(f"input {i}", "", variable) for i, variable in enumerate(inputs)]
            raise DeviceError(message(f"{op.name}: inputs on different devices", rows, "move them with to(device)"))
    return arrays, kind


def parents_of(inputs: Sequence[Variable]) -> tuple[Node | None, ...]:
    """The nodes of the inputs; empty where nothing is to be recorded."""
    parents = tuple([variable._node for variable in inputs])
    return parents if _mode.recording and any(parents) else ()


def kept_of(array: Any, keep: bool) -> Any:
    """What a node keeps of an array: itself, or its shape and dtype."""
    return array if keep else Spec(array.shape, array.dtype)


def ancestors(roots: Iterable[Node], stop: Iterable[Node] = ()) -> list[Node]:
    """All nodes that lead to the roots, oldest first.

    The walk does not go beyond the nodes in `stop`, nor to nodes older than these, which cannot depend on them.
    """
    found = dict.fromkeys(roots)
    barrier = set(stop)
    oldest = min((node.order for node in barrier), default=0)
    pending = list(found)
    while pending:
        node = pending.pop()
        if node in barrier:
            continue
        for parent in node.parents:
            if parent is not None and parent not in found and parent.order >= oldest:
                found[parent] = None
                pending.append(parent)
    return sorted(found, key=lambda node: node.order)


def pull(
    cotangents: Mapping[Node, Any],
    *,
    targets: Sequence[Node] | None = None,
    create_graph: bool = False,
    free: bool = True,
) -> dict[Node, Any]:
    """Pull cotangents back, newest node first, and return those of the targets (by default all leaves).

    Parameters
    ----------
    cotangents
        The cotangent of each node to start from.
    targets
        The nodes at which the sweep ends; only paths that reach one are walked.
    create_graph
        Record the rules themselves, so that the result can be differentiated again.
    free
        Give up the saved arrays on the way.
    """
    order = ancestors(cotangents, targets or ())
    useful = _descendants(order, targets) if targets is not None else set(order)
    ends = set(targets) if targets is not None else {node for node in order if node.op is None}
    found: dict[Node, Any] = dict(cotangents)
    with recording(create_graph):
        for node in reversed(order):
            if node in ends or node not in useful or node not in found or node.op is None:
                continue
            needs = [parent in useful for parent in node.parents]
            for parent, cotangent in zip(node.parents, node.op.pull(node, found.pop(node), needs), strict=True):
                if parent is not None and cotangent is not None:
                    found[parent] = found[parent] + cotangent if parent in found else cotangent
            if free:
                node.free()
    return {node: found[node] for node in ends if node in found}


def _descendants(order: Sequence[Node], targets: Sequence[Node]) -> set[Node]:
    """The nodes among `order` (oldest first) that depend on a target, targets included."""
    found = set(targets)
    for node in order:
        if any(parent in found for parent in node.parents):
            found.add(node)
    return found


def push(roots: Sequence[Node], tangents: Mapping[Node, Any], *, create_graph: bool = False) -> dict[Node, Any]:
    """Push tangents forward, oldest node first, and return those of the roots that depend on them.

    `tangents` gives the tangent of each node to start from. Nothing is freed.
    """
    found: dict[Node, Any] = dict(tangents)
    with recording(create_graph):
        for node in ancestors(roots, tangents):
            if node in found or node.op is None:
                continue
            inward = [None if parent is None else found.get(parent) for parent in node.parents]
            like = next((t for t in inward if t is not None), None)
            if like is not None:
                inputs, out = node.restore(like)
                found[node] = node.op.push(inward, inputs, out, node.options)
    return {node: found[node] for node in roots if node in found}
