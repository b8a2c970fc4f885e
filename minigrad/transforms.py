"""Functions from functions: gradients and Jacobian products, in both directions, of any order.

Each transform gives the function fresh nodes in place of its inputs, lets it run, and sweeps over what was recorded.
A transform inside another needs no bookkeeping: its nodes are its own, and its sweep is recorded if anything outside
may still want to differentiate it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import graph, ops
from minigrad.dtypes import is_floating
from minigrad.errors import ArgumentError, DtypeError, GraphError, OperandError
from minigrad.tensor import Tensor, cotangent_of


def _fresh(function: str, x: Any) -> Tensor:
    """x with a node of its own: a leaf, or an alias where x is already part of a graph."""
    if not isinstance(x, Tensor):
        raise OperandError(f"{function}: an argument to differentiate is a {type(x).__name__}, not a tensor")
    if not is_floating(x.dtype):
        raise DtypeError(f"{function}: a tensor of dtype {x.dtype} has no gradient\nhint: convert it with astype first")
    return ops.kinds.with_own_node(x)


def _nodes(inputs: Sequence[Tensor]) -> list[graph.Node]:
    return [x._node for x in inputs if x._node is not None]


def _watched_elsewhere(root: graph.Node, own: Sequence[graph.Node]) -> bool:
    """Whether the graph of a result reaches anything but the fresh nodes of this transform."""
    return any(node.op is None and node not in own for node in graph.ancestors([root]))


def _result(function: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise OperandError(f"{function}: the function returned a {type(value).__name__}, not a tensor")
    return value


def vjp(f: Callable[..., Tensor], *primals: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """The value of f, and the function that pulls a cotangent back to its arguments.

    Parameters
    ----------
    f
        A function of tensors that returns one tensor.
    primals
        Where to evaluate it.

    Returns
    -------
    value, pullback
        `pullback(g)` gives one cotangent an argument, and can be called again.

    Examples
    --------
    >>> value, pullback = mg.vjp(lambda x, y: x * y, mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0]))
    >>> pullback(mg.tensor([1.0, 10.0]))
    (tensor([ 3., 40.]), tensor([ 1., 20.]))
    """
    with graph.recording(True):
        inputs = [_fresh("vjp", x) for x in primals]
        output = _result("vjp", f(*inputs))
    targets = _nodes(inputs)

    def pullback(cotangent: Tensor | None = None) -> tuple[Tensor, ...]:
        g = cotangent_of("vjp", output, cotangent)
        if output._node is None:
            return tuple(ops.checks.zeros_like(x, x) for x in inputs)
        record = graph.is_recording() and (g.requires_grad or _watched_elsewhere(output._node, targets))
        found = graph.pull({output._node: g}, targets=targets, create_graph=record, free=False)
        with graph.recording(record):
            return tuple(
                graph.through_hooks(node, found[node]) if node in found else ops.checks.zeros_like(x, x)
                for x, node in zip(inputs, targets, strict=True)
            )

    watched = output._node is not None and _watched_elsewhere(output._node, targets)
    return (output if watched else output.detach()), pullback


def value_and_grad(f: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """A function that returns the value of f, a single number, and its gradient.

    The gradient is with respect to the positional argument `argnums`, or a tuple of gradients for several.

    >>> mg.value_and_grad(lambda x: (x * x).sum())(mg.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    several = not isinstance(argnums, int)
    places = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def run(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        if any(not -len(args) <= place < len(args) for place in places):
            raise ArgumentError(f"grad: argnums = {argnums}, but the function was called with {len(args)} arguments")

        if len({place % len(args) for place in places}) < len(places):
            raise ArgumentError(f"grad: argnums = {argnums} names an argument twice")

        def of_chosen(*chosen: Tensor) -> Tensor:
            full = list(args)
            for place, value in zip(places, chosen, strict=True):
                full[place] = value
            return f(*full, **kwargs)

        value, pullback = vjp(of_chosen, *(args[place] for place in places))
        if value.size != 1:
            raise GraphError(f"grad: the function returned shape {value.shape}, not a single number\nhint: use vjp")
        gradients = pullback(None)  # type: ignore[arg-type]
        return value, gradients if several else gradients[0]

    return run


def grad(f: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of f, which must return a single number.

    >>> cube = lambda x: x**3
    >>> mg.grad(cube)(mg.tensor(2.0)), mg.grad(mg.grad(cube))(mg.tensor(2.0))
    (tensor(12.), tensor(12.))
    """
    run = value_and_grad(f, argnums)
    return lambda *args, **kwargs: run(*args, **kwargs)[1]


def jvp(f: Callable[..., Tensor], primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The value of f, and its derivative along the tangents (forward mode).

    >>> mg.jvp(lambda x: x**2, [mg.tensor([1.0, 2.0])], [mg.tensor([1.0, 10.0])])
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    if len(primals) != len(tangents):
        raise ArgumentError(f"jvp: {len(primals)} arguments but {len(tangents)} tangents")
    with graph.recording(True):
        inputs = [_fresh("jvp", x) for x in primals]
        output = _result("jvp", f(*inputs))
    own = _nodes(inputs)
    moving = {node: cotangent_of("jvp", x, t) for node, x, t in zip(own, inputs, tangents, strict=True)}
    if output._node is None:
        return output, ops.checks.zeros_like(output, output)
    watched = _watched_elsewhere(output._node, own)
    record = graph.is_recording() and (watched or any(t.requires_grad for t in tangents))
    found = graph.push([output._node], moving, create_graph=record)
    tangent = found.get(output._node)
    value = output if watched else output.detach()
    return value, ops.checks.zeros_like(output, output) if tangent is None else tangent
