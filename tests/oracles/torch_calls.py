"""How a call of a PyTorch op is spelled here: one entry an op of OpInfo's table, a function of the same arguments.

A sample that gives an argument which the entry has not is unsupported. `need` says what else there is no word for.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from tests.oracles.tally import need

Function = Callable[..., Any]


# ---- arguments -------------------------------------------------------------------------------------------------------


def every(dim: Any) -> Any:
    """The axes of a reduction, where an empty tuple stands for all."""
    return None if dim is None or dim == () or dim == [] else dim


def along(op: Function) -> Function:
    return lambda x, dim: op(x, axis=dim)


def reduction(op: Function) -> Function:
    return lambda x, dim=None, keepdim=False: op(x, axis=every(dim), keepdims=keepdim)


def variation(op: Function) -> Function:
    """A variance or deviation: n - 1 is the default, and its place may be taken by the axes."""

    def spelled(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        dim, unbiased = (None, dim) if isinstance(dim, bool) else (dim, unbiased)
        correction = float(unbiased if correction is None else correction)
        return op(x, axis=every(dim), correction=correction, keepdims=keepdim)

    return spelled


def with_mean(op: Function) -> Function:
    def spelled(x: Any, *args: Any, **kwargs: Any) -> Any:
        dim, keepdim = (
            kwargs.get("dim", args[0] if args and not isinstance(args[0], bool) else None),
            kwargs.get("keepdim", False),
        )
        return variation(op)(x, *args, **kwargs), mg.mean(x, axis=every(dim), keepdims=keepdim)

    return spelled


def extreme(op: Function, place: Function) -> Function:
    """The maximum or minimum along an axis, and where it is."""
    return lambda x, dim, keepdim=False: (op(x, axis=dim, keepdims=keepdim), place(x, axis=dim, keepdims=keepdim))


def place(op: Function) -> Function:
    """Where the maximum or minimum is: along an axis, or in the whole tensor as one line."""

    def spelled(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is not None:
            return op(x, axis=dim, keepdims=keepdim)
        found = op(x.reshape(-1), axis=0)
        return found.reshape((1,) * x.ndim) if keepdim else found

    return spelled


def scaled(op: Function) -> Function:
    """A sum or difference whose second operand has a factor."""
    return lambda x, y, *, alpha=1: op(x, y if alpha == 1 else y * alpha)


def swapped(op: Function) -> Function:
    return lambda x, y: op(y, x)


def truths(op: Function) -> Function:
    """Of numbers, the truth is whether they are not 0."""
    return lambda *xs: op(*(x != 0 for x in xs))


def batched(function: Function, axes: int) -> Function:
    """A function of batches (n ...), also of a single one without that axis."""

    def spelled(x: Any, *args: Any, **kwargs: Any) -> Any:
        if x.ndim != axes - 1:
            return function(x, *args, **kwargs)
        y = function(x.expand_dims(), *args, **kwargs)
        return tuple(one.squeeze(axis=0) for one in y) if isinstance(y, tuple) else y.squeeze(axis=0)

    return spelled


def biased(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias.reshape(-1, *(1,) * (y.ndim - 2))


def reduced(values: Any, how: str) -> Any:
    return values if how == "none" else getattr(values, how)()


# ---- arithmetic ------------------------------------------------------------------------------------------------------


def divide(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    return mg.floor_divide(x, y) if rounding_mode == "floor" else mg.divide(x, y)


def inner(x: Any, y: Any) -> Any:
    """The sum over the last axis of both."""
    return x * y if 0 in (x.ndim, y.ndim) else mg.einsum(f"{'abc'[: x.ndim - 1]}i,{'def'[: y.ndim - 1]}i", x, y)


def sum_of_products(product: Function) -> Function:
    return lambda start, x, y, *, beta=1, alpha=1: start * beta + product(x, y) * alpha


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """PyTorch's is x itself beyond a threshold."""
    return mg.where(x * beta > threshold, x, mg.softplus(x, beta=beta))


# ---- norms -----------------------------------------------------------------------------------------------------------


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return mg.vector_norm(x, ord=ord, axis=every(dim), keepdims=keepdim)


def linalg_norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    plain = ord is None or (x.ndim == 1 if dim is None else isinstance(dim, int))
    need(plain or ord == "fro", "norms of matrices")
    return vector_norm(x, 2 if ord in (None, "fro") else ord, dim, keepdim)


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Any:
    need(p != "nuc", "norms of matrices")
    return vector_norm(x, 2 if p in (None, "fro") else p, dim, keepdim)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def transpose(x: Any, first: int, second: int) -> Any:
    need(x.ndim, "axes of a scalar")
    axes = list(range(x.ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return mg.permute_dims(x, axes)


def expand(x: Any, *shape: Any) -> Any:
    sizes = shape[0] if isinstance(shape[0], tuple) else shape
    own = (1,) * (len(sizes) - x.ndim) + x.shape
    return mg.broadcast_to(x, [have if want == -1 else want for have, want in zip(own, sizes, strict=True)])


def squeeze(x: Any, dim: Any = None) -> Any:
    axes = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    need(x.ndim or dim is None, "axes of a scalar")
    return mg.squeeze(x, axis=tuple(axis for axis in axes if x.shape[axis] == 1))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    need(x.ndim, "axes of a scalar")
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def unflatten(x: Any, dim: int, sizes: Any) -> Any:
    return x.reshape(*x.shape[: dim % x.ndim], *sizes, *x.shape[dim % x.ndim + 1 :])


def movedim(x: Any, source: Any, destination: Any) -> Any:
    placed = dict(zip(np.ravel(destination) % x.ndim, np.ravel(source) % x.ndim, strict=True))
    rest = (axis for axis in range(x.ndim) if axis not in placed.values())
    return mg.permute_dims(x, [int(placed.get(axis, -1)) if axis in placed else next(rest) for axis in range(x.ndim)])


# ---- parts and indices -----------------------------------------------------------------------------------------------


def part(x: Any, dim: int, key: Any) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (key,)]


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    start = int(start) % x.shape[dim]
    return part(x, dim, slice(start, start + length))


def take(x: Any, index: Any) -> Any:
    return x.reshape(-1)[index]


def masked_select(x: Any, mask: Any) -> Any:
    shape = np.broadcast_shapes(x.shape, mask.shape)
    return x.broadcast_to(shape)[mask.broadcast_to(shape)]


def index_select(x: Any, dim: int, index: Any) -> Any:
    return mg.take(x, index, axis=dim)


def flip(x: Any, dims: Any) -> Any:
    return mg.flip(x, axis=tuple(dims))


def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    return mg.roll(x, shifts, axis=every(dims))


def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    return mg.take_along_axis(x, index, axis=dim)


def take_along_dim(x: Any, index: Any, dim: int | None = None) -> Any:
    x, index, axis = (x.reshape(-1), index.reshape(-1), 0) if dim is None else (x, index, dim)
    return mg.take_along_axis(x, index, axis=axis)


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    src = src[tuple(map(slice, index.shape))]
    return x + mg.scatter_along_axis(src, index, axis=dim, shape=x.shape)


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    need(x.ndim, "axes of a scalar")
    return x + mg.scatter(source * alpha, (slice(None),) * (dim % x.ndim) + (index,), shape=x.shape)


def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    if not accumulate:
        return mg.index_put(x, indices, values)
    return x + mg.scatter(values.broadcast_to(x[indices].shape), indices, shape=x.shape)


def select_scatter(x: Any, src: Any, dim: int, index: int) -> Any:
    return mg.index_put(x, (slice(None),) * (dim % x.ndim) + (index,), src)


def sort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    return mg.sort(x, axis=dim, descending=descending), mg.argsort(x, axis=dim, descending=descending)


def argsort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    return mg.argsort(x, axis=dim, descending=descending)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return mg.topk(x, k, axis=dim, largest=largest), mg.argtopk(x, k, axis=dim, largest=largest)


def einsum(arrays: Any, subscripts: str) -> Any:
    return mg.einsum(subscripts, *arrays)


def one_hot(labels: Any, num_classes: int = -1) -> Any:
    classes = int(labels.max()) + 1 if num_classes == -1 else num_classes
    return mg.one_hot(labels, classes, dtype=mg.int64)


def nonzero(x: Any, as_tuple: bool = False) -> Any:
    return mg.nonzero(x) if as_tuple else mg.argwhere(x)


# ---- networks --------------------------------------------------------------------------------------------------------


def same(padding: Any, window: Sequence[int], stride: Any, dilation: Any) -> Any:
    """Padding by its name, where it is as wide before as after."""
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0
    dilation = dilation if isinstance(dilation, tuple) else (dilation,) * len(window)
    widths = [rate * (size - 1) for size, rate in zip(window, dilation, strict=True)]
    need(all(width % 2 == 0 for width in widths), "padding that is wider after than before")
    return tuple(width // 2 for width in widths)


def scalar(value: Any) -> Any:
    """An integer from a tuple of one."""
    return value[0] if isinstance(value, tuple) else value


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    padding = scalar(same(padding, weight.shape[2:], stride, dilation))
    y = mg.conv1d(x, weight, stride=scalar(stride), padding=padding, dilation=scalar(dilation), groups=groups)
    return biased(y, bias)


def pairs(*values: Any) -> list[Any]:
    """Pairs from tuples of one."""
    return [value[0] if isinstance(value, tuple) and len(value) == 1 else value for value in values]


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    padding = same(padding, weight.shape[2:], stride, dilation)
    stride, padding, dilation = pairs(stride, padding, dilation)
    return biased(mg.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups), bias)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    return biased(mg.conv_transpose2d(x, weight, groups=groups, **options), bias)


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    y = mg.max_pool2d(x, kernel_size, **options)
    return (y, mg.max_pool2d_argmax(x, kernel_size, **options)) if return_indices else y


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    need(divisor_override is None, "a divisor of one's own")
    kernel_size, stride, padding = pairs(kernel_size, stride, padding)
    return mg.avg_pool2d(
        x, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
    )


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    need(not return_indices, "where the maxima are")
    return mg.adaptive_max_pool2d(x, output_size)


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    return mg.unfold(x, kernel_size, dilation=dilation, padding=padding, stride=stride)


def pad(x: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    before, after = pad[-2::-2], pad[::-2]
    widths = [(0, 0)] * (x.ndim - len(before)) + list(zip(before, after, strict=True))
    return mg.pad(x, widths, mode=mode, value=value or 0.0)


def constant_pad(x: Any, widths: Any, value: float = 0.0) -> Any:
    return pad(x, widths, value=value)


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Any:
    need(x.ndim == 4, "images of other than two axes")
    if recompute_scale_factor:
        size, scale_factor = tuple(int(n * scale_factor) for n in x.shape[2:]), None
    return mg.interpolate(x, size, scale_factor=scale_factor, mode=mode, align_corners=bool(align_corners))


def upsample_bilinear(x: Any, size: Any = None, scale_factor: Any = None) -> Any:
    return interpolate(x, size, scale_factor, "bilinear", align_corners=True)


def batch_norm(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    return mg.batch_norm(x, weight, bias, *(() if training else (mean, var)), eps=eps)


def layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return mg.layer_norm(x, shape, weight, bias, eps=eps)


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    return nn.cross_entropy(
        x,
        target,
        weight=weight,
        ignore_index=ignore_index if target.dtype == mg.int64 else None,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


def binary_cross_entropy_with_logits(
    x: Any, target: Any, *, pos_weight: Any = None, weight: Any = None, reduction: str = "mean"
) -> Any:
    need(weight is None, "option weight")
    return nn.binary_cross_entropy_with_logits(x, target, pos_weight=pos_weight, reduction=reduction)


def bilinear(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    z = mg.einsum("...i,oij,...j->...o", x, weight, y)
    return z if bias is None else z + bias


# ---- the table -------------------------------------------------------------------------------------------------------

OPS: dict[str, Function] = {
    # elementwise
    "abs": mg.abs,
    "add": scaled(mg.add),
    "sub": scaled(mg.subtract),
    "rsub": lambda x, y, *, alpha=1: y - x * alpha,
    "mul": mg.multiply,
    "div/no_rounding_mode": divide,
    "div/floor_rounding": divide,
    "true_divide": mg.divide,
    "floor_divide": mg.floor_divide,
    "remainder": mg.remainder,
    "pow": mg.pow,
    "float_power": mg.pow,
    "__radd__": swapped(mg.add),
    "__rmul__": swapped(mg.multiply),
    "__rsub__": lambda x, y: y - x,
    "__rdiv__": lambda x, y: y / x,
    "__rpow__": lambda x, y: y**x,
    "__rmod__": lambda x, y: y % x,
    "neg": mg.negative,
    "positive": lambda x: +x,
    "sign": mg.sign,
    "sgn": mg.sign,
    "square": mg.square,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / mg.sqrt(x),
    "sqrt": mg.sqrt,
    "floor": mg.floor,
    "ceil": mg.ceil,
    "round": mg.round,
    "exp": mg.exp,
    "expm1": mg.expm1,
    "log": mg.log,
    "log1p": mg.log1p,
    "sin": mg.sin,
    "cos": mg.cos,
    "tanh": mg.tanh,
    "sigmoid": mg.sigmoid,
    "erf": mg.erf,
    "erfc": mg.erfc,
    "logaddexp": mg.logaddexp,
    "maximum": mg.maximum,
    "minimum": mg.minimum,
    "max/binary": mg.maximum,
    "min/binary": mg.minimum,
    "clamp": mg.clip,
    "clamp_min": lambda x, low: mg.clip(x, low),
    "clamp_max": lambda x, high: mg.clip(x, None, high),
    "where": lambda x, condition, y: mg.where(condition, x, y),
    "masked_fill": lambda x, mask, value: mg.where(mask, value, x),
    "lerp": lambda x, y, weight: x + weight * (y - x),
    "addcmul": lambda x, y, z, *, value=1: x + value * y * z,
    "addcdiv": lambda x, y, z, *, value=1: x + value * y / z,
    "eq": mg.equal,
    "ne": mg.not_equal,
    "lt": mg.less,
    "le": mg.less_equal,
    "gt": mg.greater,
    "ge": mg.greater_equal,
    "logical_and": truths(mg.logical_and),
    "logical_or": truths(mg.logical_or),
    "logical_not": truths(mg.logical_not),
    "isnan": mg.isnan,
    "isinf": mg.isinf,
    "isfinite": mg.isfinite,
    "float": lambda x: mg.astype(x, mg.float32),
    "double": lambda x: mg.astype(x, mg.float64),
    "long": lambda x: mg.astype(x, mg.int64),
    "bool": lambda x: mg.astype(x, mg.bool),
    "clone": mg.alias,
    # activations
    "nn.functional.relu": mg.relu,
    "nn.functional.relu6": mg.relu6,
    "nn.functional.elu": lambda x, alpha=1.0: mg.elu(x, alpha=alpha),
    "nn.functional.leaky_relu": lambda x, negative_slope=0.01: mg.leaky_relu(x, negative_slope=negative_slope),
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: mg.hardtanh(x, min_val=min_val, max_val=max_val),
    "nn.functional.gelu": mg.gelu,
    "nn.functional.silu": mg.silu,
    "nn.functional.softplus": softplus,
    # reductions
    "sum": reduction(mg.sum),
    "mean": reduction(mg.mean),
    "prod": reduction(mg.prod),
    "any": reduction(lambda x, **options: mg.any(x != 0, **options)),
    "all": reduction(lambda x, **options: mg.all(x != 0, **options)),
    "amax": reduction(mg.max),
    "amin": reduction(mg.min),
    "max/reduction_no_dim": reduction(mg.max),
    "min/reduction_no_dim": reduction(mg.min),
    "max/reduction_with_dim": extreme(mg.max, mg.argmax),
    "min/reduction_with_dim": extreme(mg.min, mg.argmin),
    "aminmax": lambda x, *, dim=None, keepdim=False: (
        mg.min(x, axis=dim, keepdims=keepdim),
        mg.max(x, axis=dim, keepdims=keepdim),
    ),
    "argmax": place(mg.argmax),
    "argmin": place(mg.argmin),
    "var": variation(mg.var),
    "var/unbiased": variation(mg.var),
    "std": variation(mg.std),
    "std/unbiased": variation(mg.std),
    "var_mean": with_mean(mg.var),
    "var_mean/unbiased": with_mean(mg.var),
    "std_mean": with_mean(mg.std),
    "std_mean/unbiased": with_mean(mg.std),
    "linalg.vector_norm": vector_norm,
    "linalg.norm": linalg_norm,
    "norm": norm,
    "norm/fro": norm,
    "norm/inf": norm,
    "logsumexp": lambda x, dim, keepdim=False: mg.logsumexp(x, axis=dim, keepdims=keepdim),
    # along an axis
    "softmax": along(mg.softmax),
    "log_softmax": along(mg.log_softmax),
    "cumsum": along(mg.cumulative_sum),
    "cumprod": along(mg.cumulative_prod),
    "logcumsumexp": along(mg.logcumsumexp),
    "sort": sort,
    "msort": lambda x: mg.sort(x, axis=0),
    "argsort": argsort,
    "topk": topk,
    # products
    "matmul": mg.matmul,
    "__rmatmul__": swapped(mg.matmul),
    "mm": mg.matmul,
    "bmm": mg.matmul,
    "mv": mg.matmul,
    "dot": mg.matmul,
    "vdot": mg.matmul,
    "inner": inner,
    "outer": lambda x, y: mg.einsum("i,j->ij", x, y),
    "addmm": sum_of_products(mg.matmul),
    "addmv": sum_of_products(mg.matmul),
    "baddbmm": sum_of_products(mg.matmul),
    "addbmm": sum_of_products(lambda x, y: mg.einsum("bij,bjk->ik", x, y)),
    "addr": sum_of_products(lambda x, y: mg.einsum("i,j->ij", x, y)),
    "einsum": einsum,
    "linalg.multi_dot": lambda xs: functools.reduce(mg.matmul, xs),
    "linalg.vecdot": lambda x, y, *, dim=-1: mg.sum(x * y, axis=dim),
    "nn.functional.linear": mg.linear,
    "nn.functional.bilinear": bilinear,
    # shapes
    "reshape": mg.reshape,
    "view": mg.reshape,
    "reshape_as": lambda x, like: mg.reshape(x, like.shape),
    "view_as": lambda x, like: mg.reshape(x, like.shape),
    "permute": lambda x, dims: mg.permute_dims(x, dims),
    "transpose": transpose,
    "t": lambda x: x.T if x.ndim == 2 else x,
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "movedim": movedim,
    "broadcast_to": mg.broadcast_to,
    "expand": expand,
    "expand_as": lambda x, like: mg.broadcast_to(x, like.shape),
    "unsqueeze": lambda x, dim: mg.expand_dims(x, axis=dim),
    "squeeze": squeeze,
    "squeeze/multiple": squeeze,
    "flatten": flatten,
    "unflatten": unflatten,
    "ravel": lambda x: x.reshape(-1),
    "cat": lambda xs, dim=0: mg.concat(xs, axis=dim),
    "stack": lambda xs, dim=0: mg.stack(xs, axis=dim),
    # parts and indices
    "__getitem__": mg.getitem,
    "select": lambda x, dim, index: part(x, dim, index),
    "narrow": narrow,
    "flip": flip,
    "fliplr": lambda x: flip(x, (1,)),
    "flipud": lambda x: flip(x, (0,)),
    "roll": roll,
    "tril": lambda x, diagonal=0: mg.tril(x, k=diagonal),
    "triu": lambda x, diagonal=0: mg.triu(x, k=diagonal),
    "nonzero": nonzero,
    "argwhere": mg.argwhere,
    "masked_select": masked_select,
    "index_select": index_select,
    "take": take,
    "gather": gather,
    "take_along_dim": take_along_dim,
    "scatter_add": scatter_add,
    "index_add": index_add,
    "index_put": index_put,
    "select_scatter": select_scatter,
    "nn.functional.embedding": mg.getitem,
    "nn.functional.one_hot": one_hot,
    # networks
    "nn.functional.conv1d": batched(conv1d, 3),
    "nn.functional.conv2d": batched(conv2d, 4),
    "nn.functional.conv_transpose2d": batched(conv_transpose2d, 4),
    "nn.functional.max_pool2d": batched(max_pool2d, 4),
    "nn.functional.avg_pool2d": batched(avg_pool2d, 4),
    "nn.functional.adaptive_avg_pool2d": batched(mg.adaptive_avg_pool2d, 4),
    "nn.functional.adaptive_max_pool2d": batched(adaptive_max_pool2d, 4),
    "nn.functional.unfold": batched(unfold, 4),
    "nn.functional.pad/constant": pad,
    "nn.functional.pad/reflect": pad,
    "nn.functional.pad/replicate": pad,
    "nn.functional.pad/replicate_negative": pad,
    "nn.functional.pad/circular": pad,
    "constant_pad_nd": constant_pad,
    "nn.functional.interpolate/nearest": interpolate,
    "nn.functional.interpolate/bilinear": interpolate,
    "nn.functional.upsample_nearest": interpolate,
    "nn.functional.upsample_bilinear": upsample_bilinear,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "nn.functional.mse_loss": lambda x, y, *, reduction="mean": nn.mse_loss(x, y, reduction=reduction),
    "nn.functional.l1_loss": lambda x, y, *, reduction="mean": reduced(mg.abs(x - y), reduction),
}
