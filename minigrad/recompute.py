"""Less memory for more time: functions whose inner results are not kept for the backward, but computed again there.

A call of such a function is one node, the hub, above its arguments and whatever else with a node the function reads. A
node has one output, but a function may return several tensors: each gets a node of its own below the hub, and what
passes between these and the hub is a `_Parts`, so that the function runs again once for all of them.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad import graph
from minigrad.errors import GraphError
from minigrad.graph import Node, Op, is_recording, wrap
from minigrad.ops.kinds import with_own_node
from minigrad.random import Draws
from minigrad.tensor import Tensor
from minigrad.tree import flatten

_running_again = ContextVar("running_again", default=False)

_NOTHING = np.empty(())  # what has no values of its own has this shape and dtype

is_running_again = _running_again.get
"""Whether a checkpointed function is being run again, so that what it does beside computing is done already."""


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of which a graph keeps only the arguments: a backward runs it again (Chen et al., 2016).

    Values and derivatives are those of f, in both modes and of any order, with respect to its arguments and to all that
    it reads from elsewhere, such as a model's parameters.

    Parameters
    ----------
    f
        A function, or a module, of trees of anything, that returns a tree of tensors. It must do the same when it is
        run again, so leave what it reads as it is until then. Random numbers are drawn as they were the first time, and
        batch-norm counts a batch once.

    Raises
    ------
    GraphError
        In the backward, if f reads other tensors or draws more random numbers than it did.

    Examples
    --------
    >>> block = nn.Sequential(nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, 2))
    >>> x = mg.tensor([[1.0, 2.0]], requires_grad=True)
    >>> mg.checkpoint(block)(x).sum().backward()
    >>> x.grad.shape, block[0].weight.grad.shape
    ((1, 2), (100, 2))
    """

    @functools.wraps(f, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        if not is_recording():
            return f(*args, **kwargs)
        call = _Call(f, *flatten((args, kwargs)))
        first = _Run(call, [x.detach() for x in call.inputs], call.draws)
        call.closed = first.closed
        parents = (*[x._node for x in call.inputs], *first.closed)
        hub = Node.of(_NOTHING, _HUB, parents, tuple(x._array for x in call.inputs), call)
        call.inputs = []  # the hub gives them up when it is freed
        return first.structure.unflatten(
            Tensor._wrap(y._array, Node.of(y, _PART, (hub,), (), i) if parents else None) if i in first.made else y
            for i, y in enumerate(first.results)
        )

    return run


class _Call:
    """A call of a checkpointed function: all that is needed to make it again, but for the inputs that have nodes."""

    def __init__(self, f: Callable[..., Any], leaves: list[Any], structure: Any) -> None:
        self.f = f
        self.structure = structure
        self.places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
        self.inputs = [leaves[i] for i in self.places]
        self.others = [x.detach() if isinstance(x, Tensor) else x for x in leaves]
        for i in self.places:
            self.others[i] = None
        self.draws = Draws()
        self.closed: list[Node] = []

    def again(self, inputs: Sequence[Tensor]) -> "_Run":
        """Run again on these inputs."""
        token = _running_again.set(True)
        try:
            run = _Run(self, inputs, Draws(self.draws.places))
        finally:
            _running_again.reset(token)
        if set(run.closed) != set(self.closed):
            raise GraphError("checkpoint: when it ran again, the function read other tensors than it did")
        return run


class _Run:
    """One run of a call: nodes for its inputs, older nodes that it read from, its results, and which it made."""

    def __init__(self, call: _Call, inputs: Sequence[Tensor], draws: Draws) -> None:
        born = Node.of(_NOTHING)
        with graph.recording(True), draws:
            fresh = [with_own_node(x) for x in inputs]
            leaves = list(call.others)
            for i, x in zip(call.places, fresh, strict=True):
                leaves[i] = x
            args, kwargs = call.structure.unflatten(leaves)
            self.results, self.structure = flatten(call.f(*args, **kwargs))
        self.own: list[Node] = [x._node for x in fresh]
        nodes = {i: y._node for i, y in enumerate(self.results) if isinstance(y, Tensor) and y._node is not None}
        self.made = {i: node for i, node in nodes.items() if node.age < born.age}
        inside = graph.ancestors(self.made.values(), [born])
        above = [parent for node in inside if node not in self.own for parent in node.parents if parent is not None]
        self.closed = list(dict.fromkeys(node for node in above if node.age > born.age))


class _Parts(dict[int, Any]):
    """Cotangents, or tangents, of some of the results of a call: tensors, or in a sweep of arrays these."""

    def __add__(self, other: Mapping[int, Any]) -> "_Parts":
        return _Parts({**self, **other})


graph.ADD[_Parts] = _Parts.__add__


class _Hub(Op):
    """A call of a checkpointed function, from its inputs and what else it reads to its results together."""

    def pull(self, node: Node, g: _Parts, parents: Sequence[Node | None]) -> Sequence[Any]:
        """The cotangents of the inputs and of what else was read."""
        run = self._again(node)
        seeds: dict[Node, Tensor] = {}
        for i, part in g.items():
            made = run.made[i]
            seeds[made] = seeds[made] + part if made in seeds else part
        targets, record = [*run.own, *run.closed], is_recording()
        found = graph.pull(seeds, targets=targets, create_graph=record, free=not record)
        for one in run.own:  # f may have put hooks on its arguments; on what else it read they are the outer sweep's
            if one in found:
                found[one] = graph.through_hooks(one, found[one])
        return [None if parent is None else found.get(one) for one, parent in zip(targets, parents, strict=True)]

    def pull_arrays(self, node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        """The same, from and to arrays."""
        found = self.pull(node, _Parts({i: wrap(part) for i, part in g.items()}), parents)
        return [None if one is None else one._array for one in found]

    def push(self, node: Node, tangents: Sequence[Any]) -> Any:
        """The tangents of the results."""
        run = self._again(node)
        targets = [*run.own, *run.closed]
        moving = {one: tangent for one, tangent in zip(targets, tangents, strict=True) if tangent is not None}
        found = graph.push([*run.made.values()], moving, create_graph=is_recording())
        return _Parts({i: found[made] for i, made in run.made.items() if found.get(made) is not None})

    def _again(self, node: Node) -> _Run:
        return node.options.again([node.value(i) for i in range(len(node.saved or ()))])


class _Part(Op):
    """One of the results of a call."""

    def pull(self, node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        """The cotangent as a part of the hub's."""
        return [_Parts({node.options: g})]

    pull_arrays = pull

    def push(self, node: Node, tangents: Sequence[Any]) -> Any:
        """The part of the hub's tangents."""
        return tangents[0].get(node.options)


_HUB = _Hub(name="checkpoint", bind=checkpoint)
_PART = _Part(name="checkpoint result", bind=checkpoint)
