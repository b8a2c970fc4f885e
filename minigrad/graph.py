"""The graph: what an op is, what a recorded op is, and the two sweeps over what was recorded.

A `Variable` is an array with a place in the graph. Applying an `Op` to variables runs its kernel and, if any input
has a node, records a `Node` that keeps just what the op's derivative rules will need. `pull` walks the nodes youngest
first and pulls a cotangent back through each; `push` walks them oldest first and pushes a tangent forward.

Nodes keep arrays, never variables, and point only to older nodes: there are no reference cycles.
"""

import functools
import itertools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from minigrad import kernels
from minigrad.errors import DeviceError, GraphError, OperandError, message


class Spec:
    """Shape and dtype of an array."""

    __slots__ = ("dtype", "shape")
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, array: Any) -> Self:
        """The shape and dtype of an array."""
        spec = cls()
        spec.shape = array.shape
        spec.dtype = array.dtype
        return spec


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


Result: Callable[[], Any] = Variable
"""Makes what ops return, empty; `tensor.py` puts its own here."""


def wrap(array: Any, node: "Node | None" = None) -> Any:
    """The result of an op."""
    variable = Result()
    variable._array = array
    variable._node = node
    return variable


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One operation: how it is called, which kernel runs it, and (in its kind) its derivative rules.

    `bind` checks and canonicalises a call: it takes the user's arguments and returns the variables and the options
    for the kernel, or raises. The kernel is the one with the op's name on the device of the inputs. `apply` calls the
    op, too: it is a plain function, which `Tensor` takes for a method, and which is called faster than a record.
    """

    name: str
    bind: Callable[..., Any]
    differentiable: ClassVar[bool] = True
    kernel: kernels.Kernels = field(init=False)
    apply: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", kernels.Kernels(self.name))
        apply = self._as_function()
        if apply is not self.bind:
            apply.__name__ = apply.__qualname__ = self.name  # Python names it where a call has too many arguments
        object.__setattr__(self, "apply", apply)

    def _as_function(self) -> Callable[..., Any]:
        def apply(*args: Any, **kwargs: Any) -> Any:
            inputs, options = self.bind(*args, **kwargs)
            return self.compute(inputs, options)

        return apply

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, run the kernel, record the node."""
        return self.apply(*args, **kwargs)

    def run(self, *inputs: Variable, **options: Any) -> Any:
        """Apply to inputs and options that are canonical already, without checking them again."""
        return self.compute(inputs, options)

    def compute(self, inputs: Sequence[Variable], options: dict[str, Any]) -> Any:
        """Run the kernel on checked inputs, and record it if a derivative may be asked for."""
        arrays, parents = unwrap(self, inputs)
        out = self.kernel[arrays[0].__class__](*arrays, **options)
        node = None
        if parents and self.differentiable and out.dtype.kind == "f":
            node = Node.of(out, self, parents, self.save(arrays, parents, out), options)
        if watch is not None:
            watch.ran(self, arrays, out, node, options)
        return wrap(out, node)

    def save(self, arrays: Sequence[Any], parents: "Sequence[Node | None]", out: Any) -> tuple[Any, ...]:
        """What a node keeps of each input and (last) of the output: the array, if rules need its values.

        The rules needed are those for the inputs that have a node. None stands for an array whose shape and dtype its
        node knows; an input that has none is kept as a Spec. Nothing at all stands for None everywhere.
        """
        if None not in parents:
            return ()
        return (
            *[Spec.of(array) if parent is None else None for array, parent in zip(arrays, parents, strict=True)],
            None,
        )

    def pull(self, node: "Node", g: Any, parents: "Sequence[Node | None]") -> Sequence[Any]:
        """The cotangents of all inputs, from the cotangent g of the output.

        None stands for zero, and for an input that has no node among `parents`: those of `node` that want theirs.
        """
        *inputs, out = node.restore()
        return [
            None if parent is None else self.cotangent(i, g, inputs, out, node.options)
            for i, parent in enumerate(parents)
        ]

    def pull_arrays(self, node: "Node", g: Any, parents: "Sequence[Node | None]") -> Sequence[Any]:
        """What `pull` does, from and to arrays, in a sweep that is not recorded."""
        return [None if one is None else one._array for one in self.pull(node, wrap(g), parents)]

    def cotangent(self, i: int, g: Any, inputs: Sequence[Any], out: Any, options: dict[str, Any]) -> Any:
        """The cotangent of input i, from the cotangent g of the output; None for zero."""
        raise GraphError(f"{self.name} has no derivative")

    def push(self, node: "Node", tangents: Sequence[Any]) -> Any:
        """The tangent of the output, from those of the inputs (None for zero, but not all)."""
        *inputs, out = node.restore()
        return self.tangent(tangents, inputs, out, node.options)

    def tangent(self, tangents: Sequence[Any], inputs: Sequence[Any], out: Any, options: dict[str, Any]) -> Any:
        """The tangent of the output, from those of the inputs (None for zero)."""
        raise GraphError(f"{self.name} has no derivative")


birth = itertools.count()  # with a step of -1 it would take twice as long
"""Ages for nodes, negated: one is younger than its parents, so the order of ages is topological."""

ADD = kernels.Kernels("add")
"""How cotangents of a type are added up, in a sweep of arrays."""


class Node(Spec):
    """One recorded application of an op, or (op None) a leaf, which gathers `grad`; and the Spec of its result.

    `saved` holds what the op's rules need: what `Op.save` says, and whatever else a kind of op wants to find there. It
    is None once the arrays have been given up; the way to the parents stays, so that a later sweep sees what it has
    lost.
    """

    __slots__ = ("__weakref__", "age", "grad", "hooks", "op", "options", "parents", "saved")
    op: Op | None
    parents: "tuple[Node | None, ...]"
    saved: tuple[Any, ...] | None
    options: Any
    age: int
    grad: Any

    @classmethod
    def of(
        cls,
        array: Any,
        op: Op | None = None,
        parents: "tuple[Node | None, ...]" = (),
        saved: tuple[Any, ...] | None = (),
        options: Any = None,
    ) -> Self:
        """A node from its parts. There is no `__init__`: without one a class is called in half the time."""
        node = cls()
        node.shape, node.dtype = array.shape, array.dtype
        node.op, node.parents = op, parents
        node.saved, node.options = saved, options
        node.age, node.grad = -next(birth), None
        return node

    def restore(self) -> list[Any]:
        """The inputs and the output: as variables where they were saved, else what has their shape and dtype."""
        nodes = (*self.parents, self)
        if not self.saved:
            return [*nodes]
        return [
            node if array is None else array if array.__class__ is Spec else self.value(i)
            for i, (node, array) in enumerate(zip(nodes, self.saved, strict=False))
        ]

    def value(self, i: int) -> Any:
        """The saved input i (after the inputs: the output) as a variable, in the graph if it is being recorded."""
        node = None
        if is_recording():
            node = self.parents[i] if i < len(self.parents) else self
        return wrap((self.saved or ())[i], node)

    def hook(self, key: Any, function: Callable[[Any], Any]) -> None:
        """Have sweeps show the complete cotangent to a function, until `unhook`."""
        if not hasattr(self, "hooks"):
            self.hooks: dict[Any, Callable[[Any], Any]] = {}
        self.hooks[key] = function
        hooked.add(weakref.ref(self, hooked.discard))

    def unhook(self, key: Any) -> None:
        """Take the function of a key away, if it is still there."""
        self.hooks.pop(key, None)
        if not self.hooks:
            hooked.discard(weakref.ref(self))

    def complain(self) -> NoReturn:
        """Raise because the saved arrays are gone."""
        raise GraphError(
            f"the graph was freed: {self.op.name if self.op else 'a node'} gave up its saved arrays in an earlier "
            "backward\nhint: pass retain_graph=True to the first backward, or compute the forward again"
        )


hooked: set["weakref.ref[Node]"] = set()
"""The nodes that have a hook, as long as they live: while there is none, no sweep looks for one."""

watch: Any = None
"""In debug mode (see `nonfinite.py`), what is told of each op that ran, and runs the rules of the sweeps."""

_recording = ContextVar("recording", default=True)

is_recording = _recording.get
"""Whether ops are being recorded, in this thread (and, in a coroutine, in this task)."""


class recording:
    """Record ops, or not, in this thread for the time of a `with` block (or of a decorated function)."""

    def __init__(self, flag: bool) -> None:
        self._flag = flag
        self._before: list[bool] = []  # several, where a block or a function contains itself

    def __enter__(self) -> None:
        self._before.append(is_recording())
        _recording.set(self._flag)

    def __exit__(self, *exception: Any) -> None:
        _recording.set(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function."""
        return within(lambda: recording(self._flag), function)


def within(mode: Callable[[], AbstractContextManager[None]], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function each call of which runs in a mode.

    Raises
    ------
    OperandError
        If a call returns before the function has run: a generator, a coroutine.
    """
    if isgeneratorfunction(function) or iscoroutinefunction(function) or isasyncgenfunction(function):
        name = getattr(function, "__name__", "the function")
        raise OperandError(
            f"{name} is a generator or async, so a call of it returns before it has run\n"
            "hint: write a with block inside of it in place of the decorator"
        )

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with mode():
            return function(*args, **kwargs)

    return inside


def unwrap(op: Op, inputs: Sequence[Variable]) -> tuple[Sequence[Any], tuple[Node | None, ...]]:
    """The arrays of the inputs, which must be on one device, and their nodes (none where nothing is to be recorded)."""
    if len(inputs) == 1:
        (x,) = inputs
        parent = x._node
        return (x._array,), (parent,) if parent is not None and is_recording() else ()
    if len(inputs) == 2:  # as below, in half the time
        x, y = inputs
        array, parent = x._array, x._node
        other, parent2 = y._array, y._node
        if array.__class__ is other.__class__:
            known = parent is not None or parent2 is not None
            return (array, other), (parent, parent2) if known and is_recording() else ()
    arrays = [x._array for x in inputs]
    device = arrays[0].__class__
    for array in arrays:
        if array.__class__ is not device:
            rows = [(f"input {i}", "", one) for i, one in enumerate(inputs)]
            raise DeviceError(message(f"{op.name}: inputs on different devices", rows, "move them with to(device)"))
    parents = tuple([x._node for x in inputs])
    return arrays, parents if any(parents) and is_recording() else ()


def ancestors(roots: Iterable[Node], stop: Iterable[Node] = ()) -> list[Node]:
    """All nodes that lead to the roots, oldest first.

    The walk does not go beyond the nodes in `stop`, nor to nodes older than these, which cannot depend on them.
    """
    found = dict.fromkeys(roots)
    barrier = set(stop)
    oldest = max((node.age for node in barrier), default=0)
    pending = list(found)
    while pending:
        node = pending.pop()
        if node in barrier:
            continue
        for parent in node.parents:
            if parent is not None and parent not in found and parent.age <= oldest:
                found[parent] = None
                pending.append(parent)
    return sorted(found, key=lambda node: -node.age)


def pull(
    cotangents: Mapping[Node, Any],
    *,
    targets: Sequence[Node] | None = None,
    create_graph: bool = False,
    free: bool = True,
) -> dict[Node, Any]:
    """Pull cotangents back, youngest node first, and return those of the targets (by default all leaves).

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
    useful = None if targets is None else descendants(ancestors(cotangents, targets), targets)
    ends = set(targets or ())
    hooks = bool(hooked)
    plain = not (create_graph or hooks or watch)  # nobody looks at a cotangent on its way: arrays will do
    found = {
        node.age: (node, g._array if plain else g) for node, g in cotangents.items() if useful is None or node in useful
    }
    ages = [age for age, (node, _) in found.items() if node.op is not None]  # leaves wait until the end
    heapify(ages)
    reached: dict[Node, Any] = {}
    with recording(create_graph):
        while ages:  # whatever adds to the cotangent of the youngest node is younger still, so it is complete
            node, g = found.pop(heappop(ages))
            op, parents = node.op, node.parents
            if ends and node in ends:
                reached[node] = g
                continue
            if hooks:
                g = through_hooks(node, g)
            if op is None or node.saved is None:
                node.complain()
            if useful is not None:
                parents = tuple([parent if parent in useful else None for parent in parents])
            inward = op.pull_arrays(node, g, parents) if plain else (watch or op).pull(node, g, parents)
            for i, parent in enumerate(parents):
                cotangent = inward[i]
                if parent is None or cotangent is None:
                    continue
                age = parent.age
                if age not in found:
                    found[age] = parent, cotangent
                    if parent.op is not None:
                        heappush(ages, age)
                elif plain:
                    found[age] = parent, ADD[cotangent.__class__](found[age][1], cotangent)
                else:
                    found[age] = parent, found[age][1] + cotangent
            if free:
                node.saved = None
        for leaf, g in found.values():
            reached[leaf] = through_hooks(leaf, g) if hooks and leaf not in ends else g
    return {node: wrap(g) for node, g in reached.items()} if plain else reached


def through_hooks(node: Node, g: Any) -> Any:
    """What the hooks of a node make of its cotangent."""
    for function in list(getattr(node, "hooks", {}).values()):
        changed = function(g)
        if changed is None:
            continue
        if not isinstance(changed, Variable):
            raise GraphError(f"a hook returned a {type(changed).__name__}, not a tensor or None")
        if changed.shape != g.shape or changed.dtype != g.dtype:
            rows = [("cotangent", "", g), ("returned", "", changed)]
            raise GraphError(message("a hook returned a tensor of another shape or dtype", rows))
        g = changed
    return g


def descendants(order: Iterable[Node], targets: Iterable[Node]) -> set[Node]:
    """The targets, and the nodes among `order` (oldest first) that depend on one."""
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
            if any(tangent is not None for tangent in inward):
                if node.saved is None:
                    node.complain()
                found[node] = (node.op if watch is None else watch).push(node, inward)
    return {node: found[node] for node in roots if node in found}
