"""The kinds of op: each says how much must be written for a derivative, and derives the rest.

| kind        | written                                     | derived                              |
|-------------|---------------------------------------------|--------------------------------------|
| elementwise | one partial derivative an input             | both products, un-broadcasting       |
| linear      | one transpose an input                      | the tangent: the op itself           |
| bilinear    | two adjoints                                | the tangent, by the product rule     |
| general     | both products                               | nothing                              |
| fused       | the same by other ops, a backward kernel    | everything else, by the other ops    |
| discrete    | nothing                                     | nothing: there is no derivative      |
| composite   | an ordinary function of ops                 | everything                           |

Rules are written with ops, operators and tensor methods only, so they can be differentiated themselves.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from minigrad import graph, kernels
from minigrad.dtypes import float32
from minigrad.graph import Node, Op, Spec, Variable, birth, is_recording, wrap
from minigrad.ops.checks import FULL, broadcasting, operand, sum_to, zeros_like

Options = dict[str, Any]
MULTIPLY, NEGATIVE, SCALAR = map(kernels.Kernels, ("multiply", "negative", "scalar"))
Rule = Callable[..., Any]


@dataclass(frozen=True)
class Bad:
    """A call that must fail: `call(t)` gets a maker of tensors, t(*shape, dtype="float32")."""

    call: Callable[[Callable[..., Any]], Any]
    error: type[Exception]
    message: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Record(Op):
    """What all kinds of op share: documentation and what the tests need to know.

    Attributes
    ----------
    signature
        Shapes in axis letters, e.g. "n c h w, o c kh kw -> n o oh ow".
    oracle
        The same function of ndarrays, by other means.
    sample
        Draws the arguments of one call (see `minigrad.ops.samples`).
    bad
        Calls that must fail, with what the message must say.
    method
        The name of the Tensor method that is this op, if there is one.
    view
        Whether the result may share memory with an input.
    listed
        Whether the op is one of the library, and stands in `REGISTRY`.
    """

    signature: str = ""
    oracle: Callable[..., Any] | None = None
    sample: Callable[..., Any] | None = None
    bad: tuple[Bad, ...] = ()
    method: str | None = None
    view: bool = False
    listed: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "__doc__", self.bind.__doc__)
        object.__setattr__(self, "__wrapped__", self.bind)
        object.__setattr__(self, "__name__", self.name)
        for attribute in ("__module__", "__qualname__"):  # where it is found, as for a function
            object.__setattr__(self, attribute, getattr(self.bind, attribute))
        if self.listed:
            REGISTRY[self.name] = self

    def __reduce__(self) -> str:
        name: str = vars(self)["__qualname__"]
        return name  # pickle and copy find an op where it is defined, as they find a function

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} op {self.name}{inspect.signature(self.bind)}>"


REGISTRY: dict[str, Record] = {}
"""Every op of the library, by name: the table that the documentation and the tests walk."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Elementwise(Record):
    """out[i] = f(x[i]), or f(x[i], y[i]) with broadcasting.

    `partials` holds the derivative with respect to each input: a number, None (zero), the name of an input (or `out`)
    that it is, or a function. A function names the inputs it needs (and `out`, if it needs that), and only those are
    kept for the backward. A function whose first name is `g` gives the product of g and the derivative itself, where
    one op does both. In an op that `selects`, a partial of 0 means that the input was not chosen: it gets 0, also where
    the cotangent is infinite.

    These are the ops of which a program has most, on the smallest arrays, so their calls are written out for one and
    for two inputs, and a call with variables of one dtype skips `bind` where the op computes in that kind of dtype, as
    `kinds` says. `apply` is such a call, with a variable first. Nodes of these ops have no options.
    """

    partials: tuple[Rule | str | float | None, ...]
    kinds: str = "f"
    selects: bool = False
    multiplies: tuple[bool, ...] = field(init=False)
    wants: tuple[tuple[int, ...], ...] = field(init=False)
    kept: tuple[Any, ...] = field(init=False)
    products: tuple[Callable[[Any, Any], Any], ...] = field(init=False)
    reads: bool = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        arity = len(self.partials)
        places = {name: i for i, name in enumerate(inspect.signature(self.bind).parameters)} | {"out": arity}
        named = [
            tuple(inspect.signature(rule).parameters) if callable(rule) else (rule,) if isinstance(rule, str) else ()
            for rule in self.partials
        ]
        multiplies = tuple(names[:1] == ("g",) for names in named)
        wants = tuple(
            tuple(places[name] for name in names[multiply:]) for names, multiply in zip(named, multiplies, strict=True)
        )

        def kept_for(*needs: bool) -> tuple[bool, ...]:
            wanted = {place for want, need in zip(wants, needs, strict=True) if need for place in want}
            return tuple(place in wanted for place in range(arity + 1))

        both = (False, True)
        kept = tuple([tuple([kept_for(x, y) for y in both]) if arity == 2 else kept_for(x) for x in both])
        object.__setattr__(self, "reads", any(wants))
        object.__setattr__(self, "multiplies", multiplies)
        object.__setattr__(self, "wants", wants)
        object.__setattr__(self, "kept", kept)
        object.__setattr__(self, "products", tuple(map(self._product, range(arity))))

    def _as_function(self) -> Callable[..., Any]:
        return _binary(self) if len(self.partials) == 2 else _unary(self)

    def __call__(self, *inputs: Any) -> Any:
        if len(inputs) == len(self.partials):
            first, last = inputs[0], inputs[-1]
            if isinstance(first, Variable):
                return self.apply(*inputs)
            if first.__class__ in (float, int) and isinstance(last, Variable) and last.dtype.kind == "f":
                return self.apply(operand(self.name, "x", first, last.dtype, last), last)
        inputs, _ = self.bind(*inputs)
        return self.apply(*inputs)

    def compute(self, inputs: Sequence[Any], options: Options) -> Any:
        return self.apply(*inputs)

    def pull(self, node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        found: list[Any] = []
        for i, parent in enumerate(parents):
            one = None if parent is None else self._times_partial(i, g, self._values(i, node))
            found.append(one if parent is None or one is None else sum_to(one, parent.shape))
        return found

    def pull_arrays(self, node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        products, saved, shape = self.products, node.saved, node.shape
        if len(parents) == 1:
            return (products[0](g, saved),)
        x, y = parents
        of_x = of_y = None
        if x is not None:
            of_x = products[0](g, saved)
            if x.shape != shape and of_x is not None:
                of_x = sum_to(wrap(of_x), x.shape)._array
        if y is not None:
            of_y = products[1](g, saved)
            if y.shape != shape and of_y is not None:
                of_y = sum_to(wrap(of_y), y.shape)._array
        return of_x, of_y

    def push(self, node: Node, tangents: Sequence[Any]) -> Any:
        total = None
        for i, tangent in enumerate(tangents):
            term = None if tangent is None else self._times_partial(i, tangent, self._values(i, node))
            if term is not None:
                total = term if total is None else total + term
        return total if total is None else total.broadcast_to(node.shape)

    def _values(self, i: int, node: Node) -> list[Any]:
        return [node.value(place) for place in self.wants[i]]

    def _times_partial(self, i: int, factor: Any, values: Sequence[Any]) -> Any:
        """A cotangent or tangent, times the derivative with respect to input i, which needs these values."""
        partial = self.partials[i]
        if partial is None:
            return None
        if isinstance(partial, (int, float)):
            return factor if partial == 1 else -factor if partial == -1 else factor * partial
        if isinstance(partial, str):
            return factor * values[0]
        if self.multiplies[i]:
            return partial(factor, *values)
        slope = partial(*values)
        return REGISTRY["where"](slope != 0, factor * slope, 0.0) if self.selects else factor * slope

    def _product(self, i: int) -> Callable[[Any, Any], Any]:
        """What `_times_partial` does, as a function of the cotangent and what a node keeps, from and to arrays."""
        partial, places = self.partials[i], self.wants[i]
        if partial is None:
            return lambda g, saved: None
        if partial == 1:
            return lambda g, saved: g
        if partial == -1:
            return lambda g, saved: NEGATIVE[g.__class__](g)
        if isinstance(partial, str):
            (place,) = places
            return lambda g, saved: MULTIPLY[g.__class__](g, saved[place])
        return lambda g, saved: self._times_partial(i, wrap(g), [wrap(saved[place]) for place in places])._array


def _unary(op: Elementwise) -> Callable[[Any], Any]:
    """Call an op on one variable."""

    def unary(x: Any) -> Any:
        array, parent, node = x._array, x._node, None
        if array.dtype.kind not in op.kinds:
            (x,), _ = op.bind(x)
            array = x._array
        out = op.kernel[array.__class__](array)
        if parent is not None and is_recording():
            node = Node()
            node.op, node.parents = op, (parent,)
            node.shape, node.dtype = out.shape, array.dtype
            node.age = -next(birth)
            keep_x, keep_out = op.kept[True]
            node.saved = array if keep_x else None, out if keep_out else None
        if graph.watch is not None:
            graph.watch.ran(op, (array,), out, node)
        result = graph.Result()
        result._array, result._node = out, node
        return result

    return unary


def _binary(op: Elementwise) -> Callable[[Any, Any], Any]:
    """Call an op on a variable and another operand."""
    kinds = op.kinds

    def binary(x: Any, y: Any) -> Any:
        array, parent = x._array, x._node
        dtype, device = array.dtype, array.__class__
        try:
            if isinstance(y, Variable) and y._array.dtype is dtype and (dtype is float32 or dtype.kind in kinds):
                other, parent2 = y._array, y._node
            elif (y.__class__ is float and dtype.kind == "f") or (y.__class__ is int and dtype.kind in kinds):
                other = SCALAR[device](y, dtype) if y else FULL[device](shape=(), value=y, dtype=dtype)
                parent2 = None
            else:
                (x, y), _ = op.bind(x, y)
                array, parent = x._array, x._node
                other, parent2 = y._array, y._node
                dtype = array.dtype
            if device is not other.__class__:
                graph.unwrap(op, (x, y))  # says that the devices differ
            out = op.kernel[device](array, other)
        except (ValueError, OverflowError):
            op.bind(x, y)  # says which shapes do not broadcast, or which number does not fit
            raise
        node = None
        if (parent is not None or parent2 is not None) and is_recording():
            node = Node()
            node.op, node.parents = op, (parent, parent2)
            node.shape, node.dtype = out.shape, dtype
            node.age = -next(birth)
            if op.reads:
                keep_x, keep_y, keep_out = op.kept[parent is not None][parent2 is not None]
                node.saved = array if keep_x else None, other if keep_y else None, out if keep_out else None
            else:
                node.saved = ()
        if graph.watch is not None:
            graph.watch.ran(op, (array, other), out, node)
        result = graph.Result()
        result._array, result._node = out, node
        return result

    return binary


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Linear(Record):
    """An op that is linear in all its inputs together: f(a x) = a f(x), f(x + y) = f(x) + f(y).

    `transposes` holds one function an input: `transpose(g, *specs, **options)`, where the specs are the shapes and
    dtypes of the inputs. A variadic op gives one function of `(i, g, *specs, **options)` instead.
    """

    transposes: tuple[Rule, ...] | Rule

    def cotangent(self, i: int, g: Any, inputs: Sequence[Any], out: Any, options: Options) -> Any:
        if callable(self.transposes):
            return self.transposes(i, g, *inputs, **options)
        return self.transposes[i](g, *inputs, **options)

    def tangent(self, tangents: Sequence[Any], inputs: Sequence[Any], out: Any, options: Options) -> Any:
        like = next(tangent for tangent in tangents if tangent is not None)
        filled = [
            zeros_like(spec, like) if tangent is None else tangent
            for tangent, spec in zip(tangents, inputs, strict=True)
        ]
        return self.run(*filled, **options)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Bilinear(Record):
    """An op linear in each of its two inputs.

    `adjoints` are `adjoint(g, x, y, **options)` for x and for y. Each sees the other input by value and its own only
    as a shape and dtype.
    """

    adjoints: tuple[Rule, Rule]

    def save(self, arrays: Sequence[Any], parents: Sequence[Node | None], out: Any) -> tuple[Any, ...]:
        (x, y), (of_x, of_y) = arrays, parents
        return x if of_y is not None else None, y if of_x is not None else None, None

    def cotangent(self, i: int, g: Any, inputs: Sequence[Any], out: Any, options: Options) -> Any:
        return self.adjoints[i](g, *inputs, **options)

    def tangent(self, tangents: Sequence[Any], inputs: Sequence[Any], out: Any, options: Options) -> Any:
        terms = [
            self.run(tangent, inputs[1], **options) if i == 0 else self.run(inputs[0], tangent, **options)
            for i, tangent in enumerate(tangents)
            if tangent is not None
        ]
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class General(Record):
    """An op whose two products are written out.

    `vjps` has one `vjp(g, *inputs, out, **options)` an input (None: no derivative), `jvp` is
    `jvp(tangents, *inputs, out, **options)`. `saved` and `saves_out` say which values the rules read.
    """

    vjps: tuple[Rule | None, ...]
    jvp: Rule
    saved: tuple[bool, ...]
    saves_out: bool = False

    def save(self, arrays: Sequence[Any], parents: Sequence[Node | None], out: Any) -> tuple[Any, ...]:
        kept = zip(arrays, parents, self.saved, strict=True)
        inputs = [array if keep else Spec.of(array) if parent is None else None for array, parent, keep in kept]
        return (*inputs, out if self.saves_out else None)

    def cotangent(self, i: int, g: Any, inputs: Sequence[Any], out: Any, options: Options) -> Any:
        vjp = self.vjps[i]
        return None if vjp is None else vjp(g, *inputs, out, **options)

    def tangent(self, tangents: Sequence[Any], inputs: Sequence[Any], out: Any, options: Options) -> Any:
        return self.jvp(tangents, *inputs, out, **options)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Fused(Record):
    """A composition of ops that has kernels of its own, for speed: one for the value and one for the first gradient.

    `plain` is the composition: a function of what `bind` returns, `plain(*inputs, **options)`, made of ops. It is
    what the op means. Tangents, and gradients that are themselves recorded, go through it, so every order and mode
    works as for the ops that it is made of. The ordinary backward calls a kernel instead. On each device:

        NAME(*arrays, residuals, **options) -> (out, residuals)

    computes the value, and a tuple of arrays that the backward will want: whatever is cheaper to keep than to compute
    again. With `residuals=False` nobody will ask for them, and the tuple may be empty.

        NAME_backward(g, needs, inputs, out, residuals, **options) -> (array or None, ...)

    computes the cotangents of all inputs together, one for each, or None where `needs` (a bool an input) says that
    it is not wanted. `inputs` are the arrays of the forward call; `out` is its result if the op `saves_out`, else
    None. Neither kernel changes an array that it was given: residuals are read again if the graph is
    retained.

    Where a device has no such kernels, a call is a call of `plain`.

    Both kernels agree with `plain` to rounding, on NaN and on who wins a tie; tests/test_ops.py draws such calls.
    """

    plain: Callable[..., Any]
    saves_out: bool = False
    backward: kernels.Kernels = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "backward", kernels.Kernels(f"{self.name}_backward"))

    def compute(self, inputs: Sequence[Any], options: Options) -> Any:
        if not self.kernel.there(inputs[0]._array.__class__):
            return self.plain(*inputs, **options)
        return self._run(inputs, options, residuals=False)[0]

    def with_residuals(self, *args: Any, **kwargs: Any) -> tuple[Any, tuple[Any, ...]]:
        """Call the op, and return its residuals beside its result, as constants (a batch's mean, say)."""
        inputs, options = self.bind(*args, **kwargs)
        out, residuals = self._run(inputs, options, residuals=True)
        return out, tuple([wrap(array) for array in residuals])

    def _run(self, inputs: Sequence[Any], options: Options, residuals: bool) -> tuple[Any, tuple[Any, ...]]:
        arrays, parents = graph.unwrap(self, inputs)
        kernel = self.kernel[arrays[0].__class__]
        out, kept = kernel(*arrays, residuals=residuals or bool(parents), **options)
        node = None
        if parents:
            saved = *arrays, out if self.saves_out else None, *kept
            node = Node.of(out, self, parents, saved, options)
        if graph.watch is not None:
            graph.watch.ran(self, arrays, out, node, options)
        return wrap(out, node), kept

    def pull(self, node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        if not is_recording():
            arrays = self.pull_arrays(node, g._array, parents)
            return [None if array is None else wrap(array) for array in arrays]
        needs = [parent is not None for parent in parents]
        own, out = self._replay(node.restore()[:-1], needs, node.options)
        targets = [one for one in own if one is not None]
        found = graph.pull({out._node: g}, targets=targets, create_graph=True, free=False)
        return [None if one is None else found.get(one) for one in own]

    def pull_arrays(self, node: Node, g: Any, parents: Sequence[Node | None]) -> Sequence[Any]:
        saved, n = node.saved or (), len(node.parents)
        needs = tuple([parent is not None for parent in parents])
        return self.backward[g.__class__](g, needs, saved[:n], saved[n], saved[n + 1 :], **node.options)

    def tangent(self, tangents: Sequence[Any], inputs: Sequence[Any], out: Any, options: Options) -> Any:
        own, out = self._replay(inputs, [tangent is not None for tangent in tangents], options)
        moving = {one: tangent for one, tangent in zip(own, tangents, strict=True) if one is not None}
        return graph.push([out._node], moving, create_graph=is_recording()).get(out._node)

    def _replay(self, inputs: Sequence[Any], chosen: Sequence[bool], options: Options) -> tuple[list[Node | None], Any]:
        """`plain` on the inputs, with new nodes for the chosen ones, at which a sweep can end; and these nodes."""
        with graph.recording(True):
            inputs = [with_own_node(x) if choose else x for x, choose in zip(inputs, chosen, strict=True)]
            out = self.plain(*inputs, **options)
        return [x._node if choose else None for x, choose in zip(inputs, chosen, strict=True)], out


def with_own_node(x: Any) -> Any:
    """x with a new node, at which a sweep can end: as a leaf, or an alias where it is part of a graph already."""
    return wrap(x._array, Node.of(x._array)) if x._node is None else REGISTRY["alias"].run(x)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Discrete(Record):
    """An op without a derivative: its result (an index or a truth value) is a constant of the graph."""

    differentiable: ClassVar[bool] = False


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Composite(Record):
    """An ordinary function of ops; `bind` is the function itself."""

    def _as_function(self) -> Callable[..., Any]:
        return self.bind


def elementwise(
    *partials: Rule | str | float | None, dtypes: str = "numeric", check: Rule | None = None, **info: Any
) -> Callable[[Rule], Elementwise]:
    """Declare an elementwise op; the decorated function is its name, its inputs and its documentation."""
    info["kinds"] = "fiu" if dtypes == "numeric" and check is None else "f"
    return lambda f: Elementwise(name=f.__name__, bind=broadcasting(f, dtypes, check), partials=partials, **info)


def linear(*transposes: Rule, signature: str, variadic: bool = False, **info: Any) -> Callable[[Rule], Linear]:
    """Declare a linear op; the decorated function checks a call and returns `(inputs, options)`."""
    rules = transposes[0] if variadic else transposes
    return lambda f: Linear(name=f.__name__, bind=f, transposes=rules, signature=signature, **info)


def bilinear(first: Rule, second: Rule, *, signature: str, **info: Any) -> Callable[[Rule], Bilinear]:
    """Declare a bilinear op; the decorated function checks a call and returns `(inputs, options)`."""
    return lambda f: Bilinear(name=f.__name__, bind=f, adjoints=(first, second), signature=signature, **info)


def general(*, vjps: tuple[Rule | None, ...], jvp: Rule, **info: Any) -> Callable[[Rule], General]:
    """Declare a general op; the decorated function checks a call and returns `(inputs, options)`."""
    return lambda f: General(name=f.__name__, bind=f, vjps=vjps, jvp=jvp, **info)


def fused(*, plain: Rule, signature: str, **info: Any) -> Callable[[Rule], Fused]:
    """Declare a fused op; the decorated function checks a call and returns `(inputs, options)`."""
    return lambda f: Fused(name=f.__name__, bind=f, plain=plain, signature=signature, **info)


def discrete(*, dtypes: str | None = None, **info: Any) -> Callable[[Rule], Discrete]:
    """Declare an op without a derivative: elementwise where `dtypes` is given, else with its own check."""
    return lambda f: Discrete(name=f.__name__, bind=broadcasting(f, dtypes) if dtypes else f, **info)


def composite(**info: Any) -> Callable[[Rule], Composite]:
    """Declare a function of ops as an op of its own name."""
    return lambda f: Composite(name=f.__name__, bind=f, **info)
