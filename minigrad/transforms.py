"""Functions from functions: gradients and Jacobian products, in both directions, of any order.

Each transform gives the function fresh nodes in place of the tensors in its arguments, lets it run, and sweeps over
what was recorded. A transform inside another needs no bookkeeping: its nodes are its own, and its sweep is recorded if
anything outside may still want to differentiate it.

Arguments and results are trees: a tensor, or lists, tuples and dicts of tensors inside each other (`minigrad.tree`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from minigrad import graph, ops
from minigrad.creation import eye
from minigrad.dtypes import is_floating
from minigrad.errors import ArgumentError, DtypeError, GraphError, OperandError
from minigrad.ops.checks import full, zeros_like
from minigrad.tensor import Tensor, cotangent_of
from minigrad.tree import flatten

Argnums = int | Sequence[int]
Function = Callable[..., Any]
Tree = Any
"""A tensor, or lists, tuples and dicts of trees."""


class _Run:
    """A function that ran on fresh nodes: what it was given, what it returned, and the two sweeps between them.

    `arguments` has the parts under the numbers of the function's arguments, for errors to name.
    """

    def __init__(self, name: str, f: Function, arguments: dict[int, Tree], *, has_aux: bool = False) -> None:
        self.name = name
        leaves, self.arguments = flatten(arguments)
        with graph.recording(True):
            self.inputs = [self._fresh(x, i) for i, x in enumerate(leaves)]
            returned = f(self.arguments.unflatten(self.inputs))
        self.nodes = _nodes(self.inputs)
        if has_aux and not (isinstance(returned, tuple) and len(returned) == 2):
            raise OperandError(f"{name}: with has_aux the function returns (value, aux), not a {_kind(returned)}")
        result, aux = returned if has_aux else (returned, None)
        self.outputs, self.structure = flatten(result)
        for i, y in enumerate(self.outputs):
            if not isinstance(y, Tensor):
                path = self.structure.paths()[i]
                raise OperandError(f"{name}: the function returned a {_kind(y)}{path and f' at {path}'}, not a tensor")
        self.used, self.watched = self._reach(self.outputs)
        self.value = self.structure.unflatten(_seen(y, self.watched) for y in self.outputs)
        self.aux = self._beside(aux) if has_aux else None

    def _fresh(self, x: Any, i: int) -> Tensor:
        """Leaf i with a node of its own: a leaf of the graph, or an alias where it is already part of one."""
        if not isinstance(x, Tensor):
            raise OperandError(f"{self.name}: {self._place(i)} is a {_kind(x)}, not a tensor")
        if not is_floating(x.dtype):
            hint = "convert it with astype first, or leave it out of what is differentiated"
            raise DtypeError(f"{self.name}: {self._place(i)} of dtype {x.dtype} has no gradient\nhint: {hint}")
        return ops.kinds.with_own_node(x)

    def _place(self, i: int) -> str:
        """Where leaf i stands among the arguments."""
        number, parts = self.arguments.paths()[i][1:].split("]", 1)
        return f"argument {number}{parts}"

    def _reach(self, results: Sequence[Tensor]) -> tuple[set[graph.Node], set[graph.Node]]:
        """Which of the fresh nodes the results come from, and all nodes that come from anything else."""
        order = graph.ancestors(_nodes(results))
        own = set(self.nodes)
        others = [node for node in order if node.op is None and node not in own]
        return own.intersection(order), graph.descendants(order, others) if others else set()

    def _beside(self, aux: Tree) -> Tree:
        """What came beside the result, as the outside may see it."""
        leaves, structure = flatten(aux)
        watched = self._reach([y for y in leaves if isinstance(y, Tensor)])[1]
        return structure.unflatten(_seen(y, watched) if isinstance(y, Tensor) else y for y in leaves)

    def require_all_used(self) -> None:
        """Raise where the result does not come from an input."""
        for i, node in enumerate(self.nodes):
            if node not in self.used:
                raise GraphError(
                    f"{self.name}: the result does not depend on {self._place(i)}\n"
                    "hint: with allow_unused=True its derivative is zero"
                )

    def pull(self, cotangents: Sequence[Tensor | None]) -> list[Tensor]:
        """The cotangent of each input, from those of the outputs (None for zero)."""
        pairs = [(y._node, g) for y, g in zip(self.outputs, cotangents, strict=True) if g is not None and y._node]
        watched = any(node in self.watched or g.requires_grad for node, g in pairs)
        with graph.recording(graph.is_recording() and watched):
            record, seeds = graph.is_recording(), dict[graph.Node, Tensor]()
            for node, g in pairs:
                seeds[node] = seeds[node] + g if node in seeds else g
            found = graph.pull(seeds, targets=self.nodes, create_graph=record, free=False)
            return [
                graph.through_hooks(node, found[node]) if node in found else zeros_like(x, x)
                for x, node in zip(self.inputs, self.nodes, strict=True)
            ]

    def push(self, tangents: Sequence[Tensor | None]) -> list[Tensor]:
        """The tangent of each output, from those of the inputs (None for zero)."""
        moving = {node: t for node, t in zip(self.nodes, tangents, strict=True) if t is not None}
        roots = _nodes(self.outputs)
        watched = any(node in self.watched for node in roots) or any(t.requires_grad for t in moving.values())
        found = graph.push(roots, moving, create_graph=graph.is_recording() and watched) if moving else {}
        moved = [None if y._node is None else found.get(y._node) for y in self.outputs]
        return [zeros_like(y, y) if t is None else t for y, t in zip(self.outputs, moved, strict=True)]


def _nodes(tensors: Sequence[Tensor]) -> list[graph.Node]:
    return [x._node for x in tensors if x._node is not None]


def _seen(y: Tensor, watched: set[graph.Node]) -> Tensor:
    """A result as the outside may see it: without the fresh nodes, unless it comes from anything else, too."""
    return y if y._node in watched else y.detach()


def _kind(value: Any) -> str:
    return type(value).__name__


# ---- products with the Jacobian --------------------------------------------------------------------------------------


def vjp(f: Function, *primals: Tree, has_aux: bool = False, allow_unused: bool = True) -> Any:
    """The value of f, and the function that pulls a cotangent back to its arguments.

    Parameters
    ----------
    f
        A function of trees of tensors that returns one.
    primals
        Where to evaluate it.
    has_aux
        Whether f returns (value, aux); then so does this: (value, pullback, aux).
    allow_unused
        Whether the result may be independent of an argument: its cotangent is zero. If not, that is an error.

    Returns
    -------
    value, pullback
        `pullback(g)` takes a tree like the value (with None for a zero) and gives a tuple of one tree an argument. It
        can be called again. The cotangent of a single number may be left out: it is 1 then.

    Raises
    ------
    GraphError
        If an argument is unused that may not be; from the pullback, if it needs a cotangent.
    OperandError, DtypeError
        If there is anything but float tensors in an argument, or anything but tensors in the result.

    Examples
    --------
    >>> value, pullback = mg.vjp(lambda x, y: x * y, mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0]))
    >>> pullback(mg.tensor([1.0, 10.0]))
    (tensor([ 3., 40.]), tensor([ 1., 20.]))
    >>> value, pullback = mg.vjp(lambda p: {"sum": p[0] + p[1], "first": p[0]}, [mg.tensor(1.0), mg.tensor(2.0)])
    >>> pullback({"sum": mg.tensor(5.0), "first": None})
    ([tensor(5.), tensor(5.)],)
    """
    run = _Run("vjp", lambda given: f(*given.values()), dict(enumerate(primals)), has_aux=has_aux)
    if not allow_unused:
        run.require_all_used()

    def pullback(cotangent: Tree = None) -> tuple[Tree, ...]:
        if cotangent is None and run.structure.kind is None:
            return tuple(run.arguments.unflatten(run.pull([cotangent_of("vjp", run.outputs[0], None)])).values())
        given = run.structure.leaves(cotangent, "vjp: the cotangent")
        checked = [None if g is None else cotangent_of("vjp", y, g) for y, g in zip(run.outputs, given, strict=True)]
        return tuple(run.arguments.unflatten(run.pull(checked)).values())

    return (run.value, pullback, run.aux) if has_aux else (run.value, pullback)


def jvp(f: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tree, Tree]:
    """The value of f, and its derivative along the tangents (forward mode).

    Parameters
    ----------
    f
        A function of trees of tensors that returns one.
    primals
        Its arguments.
    tangents
        A tree like each argument, with None for a zero.

    Raises
    ------
    ArgumentError
        If the tangents are not as many, or not such trees, as the arguments.

    Examples
    --------
    >>> mg.jvp(lambda x: x**2, [mg.tensor([1.0, 2.0])], [mg.tensor([1.0, 10.0])])
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    if len(primals) != len(tangents):
        raise ArgumentError(f"jvp: {len(primals)} arguments but {len(tangents)} tangents")
    run = _Run("jvp", lambda given: f(*given.values()), dict(enumerate(primals)))
    given = run.arguments.leaves(dict(enumerate(tangents)), "jvp: tangents")
    checked = [
        None if t is None else cotangent_of("jvp", x, t, "tangent", "argument")
        for x, t in zip(run.inputs, given, strict=True)
    ]
    return run.value, run.structure.unflatten(run.push(checked))


# ---- gradients -------------------------------------------------------------------------------------------------------


def value_and_grad(
    f: Function, argnums: Argnums = 0, *, has_aux: bool = False, allow_unused: bool = True
) -> Callable[..., tuple[Any, Tree]]:
    """A function that returns the value of f, a single number, and its gradient.

    Parameters
    ----------
    f
        A function that returns a tensor of one element, and may have arguments of any kind.
    argnums
        The positional argument to differentiate by, a tree of float tensors; the gradient is such a tree. For several
        arguments it is a tuple.
    has_aux
        Whether f returns (value, aux). Then the value here is this pair.
    allow_unused
        Whether f may be independent of one of the tensors: its gradient is zero. If not, that is an error.

    Raises
    ------
    GraphError
        If f returns more than a number, or a tensor is unused that may not be.
    ArgumentError
        If there is no argument of that number.

    Examples
    --------
    >>> mg.value_and_grad(lambda x: (x * x).sum())(mg.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    >>> loss = lambda p, x: ((p["scale"] * x + p["shift"]) ** 2).sum()
    >>> mg.grad(loss)({"scale": mg.tensor(3.0), "shift": mg.tensor(1.0)}, mg.tensor([1.0, 2.0]))
    {'scale': tensor(36.), 'shift': tensor(22.)}
    """

    def of(*args: Any, **kwargs: Any) -> tuple[Any, Tree]:
        run = _run_by_argnums("grad", f, argnums, args, kwargs, has_aux)
        if run.structure.kind is not None or run.outputs[0].size != 1:
            what = f"shape {run.outputs[0].shape}" if run.structure.kind is None else f"a {_kind(run.value)}"
            hint = "use vjp or jacobian; has_aux=True lets it return something beside the number"
            raise GraphError(f"grad: the function returned {what}, not a single number\nhint: {hint}")
        if not allow_unused:
            run.require_all_used()
        gradients = _by_argnums(run, argnums, run.pull([cotangent_of("grad", run.outputs[0], None)]))
        return ((run.value, run.aux) if has_aux else run.value), gradients

    return of


def grad(f: Function, argnums: Argnums = 0, *, has_aux: bool = False, allow_unused: bool = True) -> Callable[..., Any]:
    """A function that returns the gradient of f, which must return a single number; see `value_and_grad`.

    With `has_aux` it returns (gradient, aux).

    >>> cube = lambda x: x**3
    >>> mg.grad(cube)(mg.tensor(2.0)), mg.grad(mg.grad(cube))(mg.tensor(2.0))
    (tensor(12.), tensor(12.))
    """
    both = value_and_grad(f, argnums, has_aux=has_aux, allow_unused=allow_unused)

    def of(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return of


# ---- whole derivatives -----------------------------------------------------------------------------------------------


def jacobian(
    f: Function, argnums: Argnums = 0, *, mode: Literal["forward", "reverse"] | None = None
) -> Callable[..., Tree]:
    """A function that returns all partial derivatives of f.

    Parameters
    ----------
    f
        A function that returns a tree of tensors, and may have arguments of any kind.
    argnums
        The positional argument to differentiate by, a tree of float tensors, or several of them.
    mode
        "forward" runs f once and sweeps once for each element of the arguments, "reverse" once for each of the result.
        By default it is the way with fewer sweeps.

    Returns
    -------
    function
        Of what f takes. It returns the tree of f's result with, in place of each tensor (i...), a tree of the argument
        (or a tuple of several) with the derivatives (i... j...) in place of each tensor (j...).

    Raises
    ------
    ArgumentError
        If there is no such argument, or no such mode.

    Examples
    --------
    >>> mg.jacobian(lambda x: x * x)(mg.tensor([1.0, 2.0, 3.0]))
    tensor([[2., 0., 0.],
            [0., 4., 0.],
            [0., 0., 6.]])
    """
    if mode not in (None, "forward", "reverse"):
        raise ArgumentError(f"jacobian: mode = {mode!r} is neither 'forward' nor 'reverse'")

    def of(*args: Any, **kwargs: Any) -> Tree:
        run = _run_by_argnums("jacobian", f, argnums, args, kwargs)
        wide, tall = sum(x.size for x in run.inputs), sum(y.size for y in run.outputs)
        forward = mode == "forward" or (mode is None and wide < tall)
        given, sweep = (run.inputs, run.push) if forward else (run.outputs, run.pull)
        found = [[sweep(unit) for unit in _units(given, i)] for i in range(len(given))]

        def block(i: int, j: int) -> Tensor:
            y, x = run.outputs[i], run.inputs[j]
            shape = (*y.shape, *x.shape)
            if 0 in shape:
                return full(shape, 0, y.dtype, y)
            slices = [tangents[i] for tangents in found[j]] if forward else [cotangents[j] for cotangents in found[i]]
            return ops.stack(slices, axis=-1 if forward else 0).reshape(shape)

        return run.structure.unflatten(
            _by_argnums(run, argnums, [block(i, j) for j in range(len(run.inputs))]) for i in range(len(run.outputs))
        )

    return of


def hessian(f: Function, argnums: Argnums = 0) -> Callable[..., Tree]:
    """A function that returns all second partial derivatives of f, which must return a single number.

    They come as the Jacobian of the gradient: the argument's tree with such a tree in place of each tensor.

    >>> mg.hessian(lambda x: x[0] * x[0] * x[1])(mg.tensor([3.0, 5.0]))
    tensor([[10.,  6.],
            [ 6.,  0.]])
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tree, ...]:
    """The product of f's Hessian with the tangents, without the Hessian: the derivative of the gradient along them.

    `f` returns a single number; primals and tangents are as in `jvp`; there is one tree an argument.

    >>> mg.hvp(lambda x: x[0] * x[0] * x[1], [mg.tensor([3.0, 5.0])], [mg.tensor([1.0, 0.0])])
    (tensor([10.,  6.]),)
    """
    return jvp(grad(f, range(len(primals))), primals, tangents)[1]


def _units(tensors: Sequence[Tensor], i: int) -> Iterator[list[Tensor | None]]:
    """Every direction in which one element of tensor i alone moves, by 1."""
    x = tensors[i]
    rows = eye(x.size, dtype=x.dtype, device=x.device) if x._node is not None else [None] * x.size
    for row in rows:
        yield [row.reshape(x.shape) if row is not None and j == i else None for j in range(len(tensors))]


def _run_by_argnums(
    name: str, f: Function, argnums: Argnums, args: Sequence[Any], kwargs: dict[str, Any], has_aux: bool = False
) -> _Run:
    """Run f on fresh nodes in the arguments of these numbers."""
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    if any(not -len(args) <= number < len(args) for number in numbers):
        raise ArgumentError(f"{name}: argnums = {argnums}, but the function was called with {len(args)} arguments")
    places = [number % len(args) for number in numbers]
    if len(set(places)) < len(places):
        raise ArgumentError(f"{name}: argnums = {argnums} names an argument twice")

    def of_chosen(chosen: dict[int, Tree]) -> Any:
        return f(*[chosen.get(place, arg) for place, arg in enumerate(args)], **kwargs)

    return _Run(name, of_chosen, {place: args[place] for place in places}, has_aux=has_aux)


def _by_argnums(run: _Run, argnums: Argnums, leaves: Sequence[Tensor]) -> Tree:
    """The trees of the chosen arguments: the one, or a tuple of several."""
    trees = tuple(run.arguments.unflatten(leaves).values())
    return trees[0] if isinstance(argnums, int) else trees
