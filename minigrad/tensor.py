"""Tensor: an array with a dtype, a device, operators, and a gradient."""

import math
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Self

import numpy as np

from minigrad import graph, kernels, ops
from minigrad.dtypes import boolean, fitted, float32, int64, is_floating
from minigrad.errors import ELSEWHERE, DtypeError, GraphError, OperandError, ShapeError, shape_text, suggestion

Axis = int | tuple[int, ...] | None
Operator = Callable[["Tensor", Any], "Tensor"]


class _Made(type):
    """The type of classes of tensors, which functions make: to call such a class is an error, or up to the class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__new__ is object.__new__:
            raise OperandError("tensors are made by minigrad.tensor(data)")
        return super().__call__(*args, **kwargs)


class Tensor(graph.Variable, metaclass=_Made):
    """A multi-dimensional array that remembers how it was computed.

    Tensors are made by `minigrad.tensor`, `asarray`, `zeros`, ... and by ops. Their arrays are never changed:
    `x += y` rebinds the name, and `x[i] = v` gives x a new array. So `x[0][1] = v` leaves x as it is: what gets a new
    array is the tensor x[0], which nobody keeps. Write `x[0, 1] = v`.
    """

    __slots__ = ()
    __array_ufunc__ = None  # ndarray * Tensor asks Tensor, and np.sin(tensor) is refused
    __hash__ = object.__hash__

    # ---- what it is --------------------------------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._array.shape)

    def numpy(self) -> np.ndarray:
        """The values as a read-only ndarray that shares memory with a tensor on the CPU.

        Raises
        ------
        GraphError
            If the tensor is part of a graph: say `x.detach().numpy()`.
        """
        if self._node is not None:
            raise GraphError("numpy() would lose the gradient\nhint: x.detach().numpy() says that this is meant")
        view = kernels.backend(self.device).to_numpy(self._array).view()
        view.flags.writeable = False
        return view

    def item(self) -> bool | int | float:
        """The one element as a python scalar.

        Raises
        ------
        ShapeError
            If there is not exactly one element.
        """
        if self.size != 1:
            raise ShapeError(f"item: {self.size} elements, not 1, in shape {shape_text(self.shape)}")
        return kernels.backend(self.device).to_numpy(self._array).item()

    def tolist(self) -> Any:
        """The values as nested lists of python scalars."""
        return self.detach().numpy().tolist()

    def to(self, target: Any, /) -> "Tensor":
        """This tensor on a device ("cpu", "cuda") or in a dtype (`minigrad.float64`, "float64").

        >>> mg.tensor([1.0]).to("float64").dtype
        dtype('float64')
        """
        if isinstance(target, str) and target in kernels.DEVICES:
            return self.to_device(target)
        try:
            return self.astype(target)
        except DtypeError as error:
            error.add_note(f"the devices are {', '.join(kernels.DEVICES)}")
            raise

    # ---- derivatives -------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether what is computed from this tensor is recorded. May be set on a tensor that no op made."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if not self.is_leaf:
            raise GraphError("requires_grad is the graph's business here: an op made this tensor\nhint: detach() it")
        if not flag:
            self._node = None
        elif self._node is None:
            if not is_floating(self.dtype):
                raise DtypeError(f"a tensor of dtype {self.dtype} has no gradient\nhint: convert it with astype first")
            self._node = graph.Node.of(self._array)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        return self._node is None or self._node.op is None

    @property
    def grad(self) -> "Tensor | None":
        """What backward has gathered for this leaf; None before the first backward."""
        return self._node.grad if self._node is not None and self._node.op is None else None

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if self._node is None or self._node.op is not None:
            raise GraphError("only a leaf that requires grad has a gradient to set")
        if value is not None and (value.shape != self.shape or value.dtype != self.dtype):
            raise ShapeError(
                f"a gradient of shape {value.shape} and dtype {value.dtype} "
                f"for a tensor of shape {self.shape} and dtype {self.dtype}"
            )
        self._node.grad = value

    def detach(self) -> "Tensor":
        """The same values, outside the graph."""
        return Tensor._wrap(self._array)

    def backward(self, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it was computed from.

        Parameters
        ----------
        gradient
            The cotangent, of this tensor's shape. May be left out for a single element: it is 1 then.
        retain_graph
            Keep the saved arrays, so that backward can run again. Defaults to `create_graph`.
        create_graph
            Record the backward itself, so that the gradients can be differentiated.

        Raises
        ------
        GraphError
            If nothing was recorded, if the graph was freed, or if a cotangent is needed.

        Examples
        --------
        >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        if self._node is None:
            what = "integers and booleans have no gradient" if not is_floating(self.dtype) else "nothing was recorded"
            raise GraphError(
                f"backward: {what} (dtype {self.dtype}, requires_grad False)\n"
                "hint: set requires_grad=True on the tensors to differentiate, outside no_grad, and mind that "
                "comparisons, argmax and conversions to integers have no derivative"
            )
        seed = cotangent_of("backward", self, gradient)
        keep = create_graph if retain_graph is None else retain_graph
        found = graph.pull({self._node: seed}, create_graph=create_graph, free=not keep)
        with _accumulating, graph.recording(create_graph):
            for leaf, g in found.items():
                leaf.grad = graph.wrap(g._array, g._node) if leaf.grad is None else leaf.grad + g

    def register_hook(self, hook: "Callable[[Tensor], Tensor | None]") -> "HookHandle":
        """Call `hook` with the gradient of this tensor, once a sweep, when all that adds to it has come together.

        Parameters
        ----------
        hook
            Gets the gradient; may return another one of the same shape and dtype, which takes its place: in `.grad`
            of a leaf, and in what is computed from it.

        Returns
        -------
        HookHandle
            `remove()` takes the hook away.

        Raises
        ------
        GraphError
            If the tensor is not part of a graph; in the sweep, if the hook returns anything else.

        Examples
        --------
        >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> handle = y.register_hook(lambda g: 10 * g)
        >>> y.sum().backward()
        >>> x.grad
        tensor([20., 40.])
        """
        if self._node is None:
            raise GraphError("register_hook: no gradient will come here\nhint: set requires_grad=True on a leaf first")
        return HookHandle(self._node, hook)

    # ---- how it reads ------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        values = self.detach().numpy()
        text = np.array2string(values, separator=", ", prefix="tensor(", precision=4, threshold=1000)
        notes = [f"shape={shape_text(self.shape)}"] if self.size > 1000 or self.size == 0 else []
        if self.dtype not in (float32, int64, boolean):
            notes.append(f"dtype={self.dtype}")
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.requires_grad:
            notes.append("requires_grad=True")
        return f"tensor({', '.join([text, *notes])})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"the truth of {self.size} elements is ambiguous\nhint: say any() or all()")
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DtypeError(f"a tensor of dtype {self.dtype} is not an index")
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self._lent().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._lent().__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._lent().__cuda_array_interface__

    def _lent(self) -> Any:
        """The array for another library to read, which must not change it."""
        if self.device == "cpu":
            return self.numpy()
        if self._node is not None:
            raise GraphError("the gradient would be lost\nhint: lend x.detach()")
        return self._array

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        return sys.modules["minigrad"]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if not self.is_leaf:
            raise GraphError("a tensor inside a graph cannot be copied or pickled\nhint: detach() it")
        return _rebuild, (type(self), self.detach().numpy(), self.requires_grad)

    # ---- indexing ----------------------------------------------------------------------------------------------------

    __getitem__: Operator = ops.getitem.apply

    def __setitem__(self, key: Any, value: Any) -> None:
        if graph.is_recording() and self.requires_grad and self.is_leaf:
            raise GraphError(
                "x[i] = v on a leaf that requires grad would lose its gradient\n"
                "hint: do it under minigrad.no_grad(), or on a copy: y = x + 0"
            )
        if not graph.is_recording() and not self.is_leaf:
            raise GraphError(
                "x[i] = v under no_grad would cut x off from its graph\nhint: write into a copy: y = x.detach()"
            )
        keep = self._node if self.is_leaf else None
        changed = ops.index_put(self, key, ops.checks.operand("index_put", "value", value, self.dtype, self))
        self._array = changed._array
        self._node = keep if keep is not None else changed._node

    def assign(self, values: Any) -> None:
        """Take other values of the same shape, converted to this tensor's dtype and device; outside any graph.

        The tensor gets a new array: whatever was computed from the old one keeps it.

        Raises
        ------
        GraphError
            If an op made this tensor.
        ShapeError
            If the shapes differ.
        ArgumentError
            If a value does not fit in this tensor's integer dtype.
        """
        if not self.is_leaf:
            raise GraphError("assign: an op made this tensor\nhint: detach() it")
        if not isinstance(values, Tensor) or (self.dtype.kind in "iu" and values.dtype != self.dtype):
            array = np.array(values.detach().numpy() if isinstance(values, Tensor) else values)
            if array.dtype.kind not in "biuf":
                raise OperandError(f"assign: {type(values).__name__} of dtype {array.dtype} are no numbers")
            values = Tensor._wrap(kernels.backend(self.device).from_numpy(fitted(array, self.dtype)))
        if values.shape != self.shape:
            raise ShapeError(f"assign: values of shape {shape_text(values.shape)} for {shape_text(self.shape)}")
        values = values if values.dtype == self.dtype else values.detach().astype(self.dtype)
        same = values._array.__class__ is self._array.__class__  # as most often
        self._array = values._array if same else values.to_device(self.device)._array

    # ---- operators ---------------------------------------------------------------------------------------------------

    __add__: Operator = ops.add.apply
    __radd__: Operator = ops.add.apply
    __sub__: Operator = ops.subtract.apply

    def __rsub__(self, other: Any) -> "Tensor":
        return ops.subtract(other, self)

    __mul__: Operator = ops.multiply.apply
    __rmul__: Operator = ops.multiply.apply
    __truediv__: Operator = ops.divide.apply

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops.divide(other, self)

    __floordiv__: Operator = ops.floor_divide.apply

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(other, self)

    __mod__: Operator = ops.remainder.apply

    def __rmod__(self, other: Any) -> "Tensor":
        return ops.remainder(other, self)

    __pow__: Operator = ops.pow.apply

    def __rpow__(self, other: Any) -> "Tensor":
        return ops.pow(other, self)

    __matmul__: Operator = ops.matmul.apply

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops.matmul(other, self)

    __neg__: Callable[["Tensor"], "Tensor"] = ops.negative.apply

    def __pos__(self) -> Self:
        return self

    __abs__: Callable[["Tensor"], "Tensor"] = ops.abs.apply
    __eq__: Operator = ops.equal.apply  # type: ignore[assignment]
    __ne__: Operator = ops.not_equal.apply  # type: ignore[assignment]
    __lt__: Operator = ops.less.apply
    __le__: Operator = ops.less_equal.apply
    __gt__: Operator = ops.greater.apply
    __ge__: Operator = ops.greater_equal.apply
    __and__: Operator = ops.logical_and.apply

    def __rand__(self, other: Any) -> "Tensor":
        return ops.logical_and(other, self)

    __or__: Operator = ops.logical_or.apply

    def __ror__(self, other: Any) -> "Tensor":
        return ops.logical_or(other, self)

    __invert__: Callable[["Tensor"], "Tensor"] = ops.logical_not.apply

    # ---- methods: ops that read well behind a dot --------------------------------------------------------------------

    def abs(self) -> "Tensor":
        """See `minigrad.abs`."""
        return ops.abs.apply(self)

    def exp(self) -> "Tensor":
        """See `minigrad.exp`."""
        return ops.exp.apply(self)

    def log(self) -> "Tensor":
        """See `minigrad.log`."""
        return ops.log.apply(self)

    def sqrt(self) -> "Tensor":
        """See `minigrad.sqrt`."""
        return ops.sqrt.apply(self)

    def square(self) -> "Tensor":
        """See `minigrad.square`."""
        return ops.square.apply(self)

    def tanh(self) -> "Tensor":
        """See `minigrad.tanh`."""
        return ops.tanh.apply(self)

    def sigmoid(self) -> "Tensor":
        """See `minigrad.sigmoid`."""
        return ops.sigmoid.apply(self)

    def relu(self) -> "Tensor":
        """See `minigrad.relu`."""
        return ops.relu.apply(self)

    def clip(self, min: Any = None, max: Any = None) -> "Tensor":
        """See `minigrad.clip`."""
        return ops.clip.apply(self, min, max)

    def astype(self, dtype: Any, /) -> "Tensor":
        """See `minigrad.astype`."""
        return ops.astype.apply(self, dtype)

    def sum(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.sum`."""
        return ops.sum.apply(self, axis=axis, keepdims=keepdims)

    def prod(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.prod`."""
        return ops.prod.apply(self, axis=axis, keepdims=keepdims)

    def mean(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.mean`."""
        return ops.mean.apply(self, axis=axis, keepdims=keepdims)

    def var(self, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> "Tensor":
        """See `minigrad.var`."""
        return ops.var.apply(self, axis=axis, correction=correction, keepdims=keepdims)

    def std(self, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> "Tensor":
        """See `minigrad.std`."""
        return ops.std.apply(self, axis=axis, correction=correction, keepdims=keepdims)

    def max(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.max`."""
        return ops.max.apply(self, axis=axis, keepdims=keepdims)

    def min(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.min`."""
        return ops.min.apply(self, axis=axis, keepdims=keepdims)

    def argmax(self, *, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.argmax`."""
        return ops.argmax.apply(self, axis=axis, keepdims=keepdims)

    def argmin(self, *, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.argmin`."""
        return ops.argmin.apply(self, axis=axis, keepdims=keepdims)

    def any(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.any`."""
        return ops.any.apply(self, axis=axis, keepdims=keepdims)

    def all(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """See `minigrad.all`."""
        return ops.all.apply(self, axis=axis, keepdims=keepdims)

    def to_device(self, device: str, /) -> "Tensor":
        """See `minigrad.to_device`."""
        return self if device == self.device else ops.to_device(self, device)

    def reshape(self, *shape: Any) -> "Tensor":
        """See `minigrad.reshape`; the shape may be given as one tuple or as several integers."""
        return ops.reshape.apply(self, shape[0] if len(shape) == 1 else shape)

    def permute_dims(self, axes: Sequence[int]) -> "Tensor":
        """See `minigrad.permute_dims`."""
        return ops.permute_dims.apply(self, axes)

    def broadcast_to(self, shape: Sequence[int]) -> "Tensor":
        """See `minigrad.broadcast_to`; returns the tensor itself where there is nothing to do."""
        return self if shape == self.shape else ops.broadcast_to(self, shape)

    def expand_dims(self, *, axis: int = 0) -> "Tensor":
        """See `minigrad.expand_dims`."""
        return ops.expand_dims.apply(self, axis=axis)

    def squeeze(self, axis: int | tuple[int, ...]) -> "Tensor":
        """See `minigrad.squeeze`."""
        return ops.squeeze.apply(self, axis=axis)

    @property
    def mT(self) -> "Tensor":
        """The matrix transpose: the last two axes swapped."""
        if self.ndim < 2:
            raise ShapeError(f"mT: {self.ndim} axes, a matrix has at least 2")
        return ops.permute_dims.run(self, axes=(*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    @property
    def T(self) -> "Tensor":
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ShapeError(f"T: {self.ndim} axes, a matrix has 2\nhint: use mT or permute_dims")
        return self.mT


graph.Result = type.__call__.__get__(Tensor)  # two thirds of the time of `object.__new__(Tensor)`


class _Elsewhere:
    """A method of other libraries' tensors: not there, with a word on what it is called here.

    A `__getattr__` could say the same, and would make each use of any attribute slower.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Tensor | None, owner: type[Tensor]) -> Any:
        raise AttributeError(f"Tensor has no attribute {self._name!r}{suggestion(self._name, dir(owner))}")


for _name, _ours in ELSEWHERE.items():
    if hasattr(Tensor, _ours) and not hasattr(Tensor, _name):
        setattr(Tensor, _name, _Elsewhere(_name))

_accumulating = threading.Lock()  # threads may run backward on graphs with leaves in common


class HookHandle:
    """A hook in its place, to be taken away by `remove()`, or at the end of a `with` block."""

    def __init__(self, node: graph.Node, hook: Callable[[Tensor], Tensor | None]) -> None:
        node.hook(self, hook)
        self._node = weakref.ref(node)

    def remove(self) -> None:
        """Take the hook away; once is enough."""
        node = self._node()
        if node is not None:
            node.unhook(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def _rebuild(kind: type[Tensor], array: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = kind._wrap(array)
    tensor.requires_grad = requires_grad
    return tensor


def cotangent_of(function: str, output: Tensor, given: Any, name: str = "cotangent", of: str = "result") -> Tensor:
    """The cotangent (or tangent) that a sweep starts from: the given one, checked, or 1 for a single element."""
    if given is None:
        if output.size != 1:
            raise GraphError(
                f"{function}: a result of shape {shape_text(output.shape)} needs a cotangent of that shape\n"
                f"hint: pass one, or differentiate a single number such as x.sum() or x.mean()"
            )
        return ops.checks.full(output.shape, 1, output.dtype, output)
    if not isinstance(given, Tensor):
        raise OperandError(f"{function}: the {name} is a {type(given).__name__}, not a tensor")
    if given.shape != output.shape or given.dtype != output.dtype:
        raise ShapeError(
            f"{function}: the {name} has shape {shape_text(given.shape)} and dtype {given.dtype}, "
            f"the {of} {shape_text(output.shape)} and {output.dtype}"
        )
    return given


def no_grad() -> AbstractContextManager[None]:
    """Record nothing, for a `with` block or (as `@no_grad()`) a function, in this thread.

    >>> x = mg.tensor([1.0], requires_grad=True)
    >>> with mg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    return graph.recording(False)


def enable_grad() -> AbstractContextManager[None]:
    """Record again, inside `no_grad`."""
    return graph.recording(True)
