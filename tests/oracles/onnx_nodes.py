"""The tests of ONNX: small models with inputs and outputs, computed by our ops and compared.

    python -m tests.oracles.onnx_nodes             # the table
    python -m tests.oracles.onnx_nodes Pool Resize # only ops with these words in their names, with every difference

`NODES` says for each op of ONNX how it is spelled here: a function of its inputs (None for one that is left out) and,
by name, its attributes. A model with an op or attribute that is in no entry is counted as unsupported.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.dtypes import SUPPORTED
from tests.oracles.tally import Row, Unsupported, call, difference, need, table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx import TensorProto, helper, load, numpy_helper
    from onnx.backend.test.loader import load_model_tests

Function = Callable[..., Any]


def ints(x: Any) -> tuple[int, ...]:
    """Integers that an input gives, or in old versions of ONNX an attribute."""
    return tuple(int(one) for one in (x if isinstance(x, list) else x.tolist()))


def variadic(op: Function) -> Function:
    return lambda *xs: functools.reduce(op, xs)


def along(op: Function) -> Function:
    return lambda x, *, axis=-1: op(x, axis=axis)


# ---- elementwise -----------------------------------------------------------------------------------------------------


def divide(x: Any, y: Any) -> Any:
    need(x.dtype.kind == "f", "division of integers towards zero")
    return mg.divide(x, y)


def mod(x: Any, y: Any, *, fmod: int = 0) -> Any:
    need(not fmod, "a remainder with the sign of the dividend")
    return mg.remainder(x, y)


def power(x: Any, y: Any) -> Any:
    return mg.astype(mg.pow(x, y), x.dtype)


def isinf(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    found = mg.isinf(x)
    found = found if detect_negative else mg.logical_and(found, x > 0)
    return found if detect_positive else mg.logical_and(found, x < 0)


def cast(x: Any, *, to: int) -> Any:
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(to))
    need(dtype in SUPPORTED, f"dtype {dtype}")
    return mg.astype(x, dtype)


def swish(x: Any, *, alpha: float = 1.0) -> Any:
    need(alpha == 1, "a slope inside the sigmoid")
    return mg.silu(x)


# ---- reductions ------------------------------------------------------------------------------------------------------


def reduction(op: Function) -> Function:
    def spelled(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        chosen = () if axes is None else ints(axes)
        return op(x, axis=chosen if chosen or noop_with_empty_axes else None, keepdims=bool(keepdims))

    return spelled


def place(op: Function) -> Function:
    def spelled(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        need(not select_last_index, "the last of equal maxima")
        return op(x, axis=axis, keepdims=bool(keepdims))

    return spelled


def cumulative(op: Function) -> Function:
    def spelled(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
        axis = int(axis) % x.ndim
        before = (slice(None),) * axis
        turned = (*before, slice(None, None, -1 if reverse else 1))
        y = op(x[turned], axis=axis, include_initial=bool(exclusive))
        return mg.astype((y[(*before, slice(0, -1))] if exclusive else y)[turned], x.dtype)

    return spelled


# ---- shapes, parts and indices ---------------------------------------------------------------------------------------


def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    return x.reshape([x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(ints(shape))])


def transpose(x: Any, *, perm: Any = None) -> Any:
    return mg.permute_dims(x, perm or range(x.ndim)[::-1])


def flatten(x: Any, *, axis: int = 1) -> Any:
    axis = axis % x.ndim if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))


def squeeze(x: Any, axes: Any = None) -> Any:
    return mg.squeeze(x, axis=tuple(i for i, size in enumerate(x.shape) if size == 1) if axes is None else ints(axes))


def unsqueeze(x: Any, axes: Any) -> Any:
    ndim = x.ndim + len(ints(axes))
    for axis in sorted(axis % ndim for axis in ints(axes)):
        x = mg.expand_dims(x, axis=axis)
    return x


def expand(x: Any, shape: Any) -> Any:
    return mg.broadcast_to(x, np.broadcast_shapes(x.shape, ints(shape)))


def part(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    key = [slice(None)] * x.ndim
    chosen = range(len(ints(starts))) if axes is None else ints(axes)
    strides = [1] * len(ints(starts)) if steps is None else ints(steps)
    for axis, start, end, step in zip(chosen, ints(starts), ints(ends), strides, strict=True):
        key[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(key)]


def split(x: Any, sizes: Any = None, *, axis: int = 0, num_outputs: int | None = None) -> Any:
    need(sizes is not None or num_outputs, "a number of parts that only the node's outputs tell")
    total, axis = x.shape[axis], axis % x.ndim
    widths = ints(sizes) if sizes is not None else [-(-total // num_outputs)] * num_outputs
    ends = np.minimum(np.cumsum(widths), total)
    before = (slice(None),) * axis
    return tuple(x[(*before, slice(int(a), int(b)))] for a, b in zip((0, *ends[:-1]), ends, strict=True))


def gather(x: Any, indices: Any, *, axis: int = 0) -> Any:
    return x[(slice(None),) * (axis % x.ndim) + (indices,)]


def gather_elements(x: Any, indices: Any, *, axis: int = 0) -> Any:
    return mg.take_along_axis(x, indices, axis=axis)


def cells(x: Any, indices: Any, axis: int) -> tuple[np.ndarray, ...]:
    """The key of the elements that indices name along an axis."""
    key = list(np.indices(indices.shape))
    key[axis] = indices.numpy()
    return tuple(key)


def put(x: Any, key: Any, updates: Any, how: str) -> Any:
    need(how in ("none", "add"), f"{how} of what is there and what is put")
    return mg.index_put(x, key, updates) if how == "none" else x + mg.scatter(updates, key, shape=x.shape)


def scatter_elements(x: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none") -> Any:
    return put(x, cells(x, indices, axis), updates, reduction)


def paths(indices: Any) -> tuple[Any, ...]:
    """The key of the elements whose paths are the last axis of indices."""
    return tuple(indices[..., i] for i in range(indices.shape[-1]))


def gather_nd(x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    need(not batch_dims, "indices for each of a batch")
    return x[paths(indices)]


def scatter_nd(x: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    return put(x, paths(indices), updates, reduction)


def one_hot(indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    last = mg.one_hot(mg.astype(indices, mg.int64), int(depth), dtype=values.dtype)
    order = [*range(indices.ndim)]
    order.insert(axis % last.ndim, indices.ndim)
    return mg.permute_dims(last, order) * (values[1] - values[0]) + values[0]


def top_k(x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    options: dict[str, Any] = {"axis": axis, "largest": bool(largest)}
    return mg.topk(x, int(k), **options), mg.argtopk(x, int(k), **options)


def pad(x: Any, pads: Any, value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    named = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    count = len(ints(pads)) // 2
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(range(count) if axes is None else ints(axes)):
        widths[axis] = ints(pads)[i::count]
    return mg.pad(x, widths, mode=named[mode], value=0.0 if value is None else float(value))


# ---- products --------------------------------------------------------------------------------------------------------


def gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    y = mg.matmul(a.T if transA else a, b.T if transB else b) * alpha
    return y if c is None else y + c * beta


# ---- windows ---------------------------------------------------------------------------------------------------------


class Windows:
    """Where the windows of a two-dimensional node lie, by its attributes."""

    def __init__(
        self,
        x: Any,
        kernel_shape: Sequence[int],
        strides: Any = None,
        pads: Any = None,
        dilations: Any = None,
        auto_pad: str = "NOTSET",
    ) -> None:
        need(len(kernel_shape) == 2, f"windows of {len(kernel_shape)} axes")
        self.kernel, self.stride, self.dilation = tuple(kernel_shape), strides or (1, 1), dilations or (1, 1)
        self.stride, self.dilation = tuple(self.stride), tuple(self.dilation)
        pads = pads or (0, 0, 0, 0)
        self.margins = [(pads[0], pads[2]), (pads[1], pads[3])]
        if auto_pad.startswith("SAME"):
            self.margins = [
                self.same(*sizes, auto_pad)
                for sizes in zip(x.shape[2:], self.kernel, self.stride, self.dilation, strict=True)
            ]

    @staticmethod
    def same(size: int, window: int, stride: int, dilation: int, auto_pad: str) -> tuple[int, int]:
        """As many windows as strides in the image; what is odd goes after it (upper) or before it (lower)."""
        total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
        return (total // 2, total - total // 2) if auto_pad == "SAME_UPPER" else (total - total // 2, total // 2)

    def padded(self, x: Any, value: float) -> tuple[Any, tuple[int, int]]:
        """The image, and the padding left to the op: as wide before as after, and no more than half a window."""
        (top, bottom), (left, right) = self.margins
        if top == bottom <= self.kernel[0] // 2 and left == right <= self.kernel[1] // 2:
            return x, (top, left)
        return mg.pad(x, [(0, 0), (0, 0), *self.margins], value=value), (0, 0)


def conv(x: Any, weight: Any, bias: Any = None, *, kernel_shape: Any = None, group: int = 1, **where: Any) -> Any:
    if x.ndim == 3:
        return conv_of_lines(x, weight, bias, group=group, **where)
    windows = Windows(x, kernel_shape or weight.shape[2:], **where)
    x, padding = windows.padded(x, 0.0)
    y = mg.conv2d(x, weight, stride=windows.stride, padding=padding, dilation=windows.dilation, groups=group)
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def conv_of_lines(
    x: Any, weight: Any, bias: Any, *, group: int, strides: Any = (1,), pads: Any = (0, 0), dilations: Any = (1,)
) -> Any:
    x = mg.pad(x, [(0, 0), (0, 0), tuple(pads)])
    y = mg.conv1d(x, weight, stride=strides[0], dilation=dilations[0], groups=group)
    return y if bias is None else y + bias.reshape(-1, 1)


def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = (0, 0),
    strides: Any = None,
    dilations: Any = None,
    pads: Any = None,
) -> Any:
    windows = Windows(x, weight.shape[2:], strides, pads, dilations)
    y = mg.conv_transpose2d(
        x,
        weight,
        stride=windows.stride,
        dilation=windows.dilation,
        output_padding=tuple(output_padding),
        groups=group,
    )
    (top, bottom), (left, right) = windows.margins
    y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def max_pool(x: Any, *, ceil_mode: int = 0, storage_order: int = 0, **where: Any) -> Any:
    need(not storage_order, "places counted by columns")
    windows = Windows(x, **where)
    x, padding = windows.padded(x, -np.inf)
    options = {
        "stride": windows.stride,
        "padding": padding,
        "dilation": windows.dilation,
        "ceil_mode": bool(ceil_mode),
    }
    return mg.max_pool2d(x, windows.kernel, **options)


def avg_pool(x: Any, *, ceil_mode: int = 0, count_include_pad: int = 0, **where: Any) -> Any:
    windows = Windows(x, **where)
    need(windows.dilation == (1, 1), "averages of dilated windows")
    x, padding = windows.padded(x, 0.0)
    need(
        padding != (0, 0) or count_include_pad or all(m == (0, 0) for m in windows.margins),
        "averages that do not count uneven or wide margins",
    )
    return mg.avg_pool2d(
        x,
        windows.kernel,
        stride=windows.stride,
        padding=padding,
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
    )


def lp_pool(x: Any, *, p: int = 2, ceil_mode: int = 0, **where: Any) -> Any:
    windows = Windows(x, **where)
    need(windows.dilation == (1, 1), "norms of dilated windows")
    x, padding = windows.padded(x, 0.0)
    return mg.lp_pool2d(x, p, windows.kernel, stride=windows.stride, padding=padding, ceil_mode=bool(ceil_mode))


def global_pool(op: Function) -> Function:
    return lambda x: op(x, 1)


def col2im(x: Any, image: Any, block: Any, **where: Any) -> Any:
    need(image.shape == (2,), f"windows of {image.shape[0]} axes")
    windows = Windows(x, ints(block), **where)
    (top, bottom), (left, right) = windows.margins
    height, width = ints(image)
    shape = (height + top + bottom, width + left + right)
    y = mg.fold(x, windows.kernel, shape=shape, stride=windows.stride, dilation=windows.dilation)
    return y[:, :, top : top + height, left : left + width]


def resize(
    x: Any,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
) -> Any:
    need(mode in ("nearest", "linear"), f"{mode} interpolation")
    places = coordinate_transformation_mode
    if mode == "nearest":
        need((places, nearest_mode) == ("asymmetric", "floor"), f"nearest by {places} and {nearest_mode}")
    need(mode == "nearest" or places in ("half_pixel", "align_corners"), f"linear by {places}")
    options = {"mode": "nearest" if mode == "nearest" else "bilinear", "align_corners": places == "align_corners"}
    if sizes is not None:
        return mg.interpolate(x, ints(sizes)[2:], **options)
    _, _, height, width = (float(one) for one in scales.tolist())
    whole = all((size * scale).is_integer() for size, scale in zip(x.shape[2:], (height, width), strict=True))
    need(whole or places != "align_corners", "aligned corners of an image that is no whole number of pixels")
    return mg.interpolate(x, scale_factor=(height, width), **options)


# ---- networks --------------------------------------------------------------------------------------------------------


def batch_norm(
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    if not training_mode:
        return mg.batch_norm(x, scale, bias, mean, var, eps=epsilon)
    axes = (0, *range(2, x.ndim))
    own = mg.mean(x, axis=axes), mg.var(x, axis=axes)
    running = (old * momentum + new * (1 - momentum) for old, new in zip((mean, var), own, strict=True))
    return mg.batch_norm(x, scale, bias, eps=epsilon), *running


def layer_norm(
    x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean, var = (op(x, axis=axes, keepdims=True) for op in (mg.mean, mg.var))
    return mg.layer_norm(x, x.shape[axes[0] :], scale, bias, eps=epsilon), mean, 1 / mg.sqrt(var + epsilon)


def cross_entropy(
    scores: Any, labels: Any, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Any:
    labels = mg.astype(labels, mg.int64)
    loss = nn.cross_entropy(scores, labels, weight=weight, ignore_index=ignore_index, reduction=reduction)
    return loss, mg.log_softmax(scores, axis=1)


# ---- the table -------------------------------------------------------------------------------------------------------

NODES: dict[str, Function] = {
    # elementwise
    "Abs": mg.abs,
    "Add": mg.add,
    "Sub": mg.subtract,
    "Mul": mg.multiply,
    "Div": divide,
    "Mod": mod,
    "Pow": power,
    "Neg": mg.negative,
    "Sign": mg.sign,
    "Floor": mg.floor,
    "Ceil": mg.ceil,
    "Round": mg.round,
    "Exp": mg.exp,
    "Log": mg.log,
    "Sqrt": mg.sqrt,
    "Sin": mg.sin,
    "Cos": mg.cos,
    "Reciprocal": lambda x: 1 / x,
    "Erf": mg.erf,
    "Max": variadic(mg.maximum),
    "Min": variadic(mg.minimum),
    "Sum": variadic(mg.add),
    "Clip": mg.clip,
    "Where": mg.where,
    "Equal": mg.equal,
    "Less": mg.less,
    "LessOrEqual": mg.less_equal,
    "Greater": mg.greater,
    "GreaterOrEqual": mg.greater_equal,
    "And": mg.logical_and,
    "Or": mg.logical_or,
    "Xor": mg.not_equal,
    "Not": mg.logical_not,
    "IsNaN": mg.isnan,
    "IsInf": isinf,
    "Cast": cast,
    "CastLike": lambda x, like: mg.astype(x, like.dtype),
    "Identity": mg.alias,
    "Constant": lambda *, value: mg.asarray(array(value)),
    # activations
    "Relu": mg.relu,
    "LeakyRelu": lambda x, *, alpha=0.01: mg.leaky_relu(x, negative_slope=alpha),
    "Elu": lambda x, *, alpha=1.0: mg.elu(x, alpha=alpha),
    "Gelu": lambda x, *, approximate="none": mg.gelu(x, approximate=approximate),
    "Swish": swish,
    "Softplus": mg.softplus,
    "Sigmoid": mg.sigmoid,
    "Tanh": mg.tanh,
    # reductions
    "ReduceSum": reduction(mg.sum),
    "ReduceMean": reduction(mg.mean),
    "ReduceProd": reduction(mg.prod),
    "ReduceMax": reduction(mg.max),
    "ReduceMin": reduction(mg.min),
    "ReduceL1": reduction(functools.partial(mg.vector_norm, ord=1)),
    "ReduceL2": reduction(mg.vector_norm),
    "ReduceLogSumExp": reduction(mg.logsumexp),
    "ReduceLogSum": reduction(lambda x, **options: mg.log(mg.sum(x, **options))),
    "ReduceSumSquare": reduction(lambda x, **options: mg.sum(mg.square(x), **options)),
    "ArgMax": place(mg.argmax),
    "ArgMin": place(mg.argmin),
    # along an axis
    "Softmax": along(mg.softmax),
    "LogSoftmax": along(mg.log_softmax),
    "CumSum": cumulative(mg.cumulative_sum),
    "CumProd": cumulative(mg.cumulative_prod),
    "TopK": top_k,
    # shapes
    "Reshape": reshape,
    "Transpose": transpose,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Concat": lambda *xs, axis: mg.concat(xs, axis=axis),
    "Pad": pad,
    # parts and indices
    "Slice": part,
    "Split": split,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "OneHot": one_hot,
    "NonZero": lambda x: mg.argwhere(x).T,
    # products
    "MatMul": mg.matmul,
    "Gemm": gemm,
    "Einsum": lambda *xs, equation: mg.einsum(equation, *xs),
    # windows
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": avg_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": global_pool(mg.adaptive_avg_pool2d),
    "GlobalMaxPool": global_pool(mg.adaptive_max_pool2d),
    "Col2Im": col2im,
    "Resize": resize,
    "Upsample": lambda x, scales, *, mode: resize(
        x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    ),
    # networks
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "SoftmaxCrossEntropyLoss": cross_entropy,
}


def array(value: Any) -> np.ndarray:
    """An input or output of a test."""
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    need(isinstance(value, (np.ndarray, np.generic)), "a sequence or nothing in place of a tensor")
    need(value.dtype in SUPPORTED, f"dtype {value.dtype}")
    return np.asarray(value)


STORED = ("pytorch-converted", "pytorch-operator")
"""Kinds of tests that are kept as files: layers of PyTorch, often a chain of nodes, with what PyTorch made of them."""


@cache
def cases() -> dict[str, list[Any]]:
    """The node tests by their op, those of them with one node, and the stored tests by their kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    found = {kind: sorted(load_model_tests(kind=kind), key=lambda case: case.name) for kind in STORED}
    for case in sorted(tests, key=lambda case: case.name):
        if len(case.model.graph.node) == 1:
            found.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return found


def loaded(case: Any) -> tuple[Any, list[Any]]:
    """The graph of a test, and its data sets: inputs and outputs."""
    if case.model:
        return case.model.graph, case.data_sets
    place = Path(case.model_dir)
    sets = [
        [[tensor(one.read_bytes()) for one in sorted(data.glob(f"{name}_*.pb"))] for name in ("input", "output")]
        for data in sorted(place.glob("test_data_set_*"))
    ]
    return load(place / "model.onnx").graph, sets


def tensor(text: bytes) -> np.ndarray:
    return numpy_helper.to_array(TensorProto.FromString(text))


def compare(case: Any) -> Iterator[str]:
    """What differs, for each data set of a test."""
    graph, data_sets = loaded(case)
    known = {one.name: mg.asarray(array(one)) for one in graph.initializer}
    names = [one.name for one in graph.input if one.name not in known]
    for inputs, outputs in data_sets:
        values = known | {name: mg.asarray(array(one)) for name, one in zip(names, inputs, strict=True)}
        for node in graph.node:
            need(node.op_type in NODES, f"no {node.op_type}")
            args = [values[name] if name else None for name in node.input]
            ours = call(NODES[node.op_type], args, {one.name: attribute(one) for one in node.attribute})
            values.update(zip(node.output, ours if isinstance(ours, tuple) else (ours,), strict=False))
        for one, expected in zip(graph.output, outputs, strict=True):
            need(one.name in values, "a second output")
            yield difference(values[one.name].numpy(), array(expected), case.rtol, case.atol)


def attribute(one: Any) -> Any:
    value = helper.get_attribute_value(one)
    return value.decode() if isinstance(value, bytes) else list(value) if isinstance(value, list) else value


def run(op: str) -> Row:
    """All tests of one op, or of one stored kind."""
    row = Row(op)
    for case in cases()[op]:
        try:
            wrong = "; ".join(filter(None, compare(case)))
            if wrong:
                row.differ.append(f"{case.name}: {wrong}")
            else:
                row.forward += 1
        except Unsupported as reason:
            row.unsupported[str(reason)] += 1
        except Exception as error:  # whatever an op of ours stumbles over
            row.differ.append(f"{case.name}: {type(error).__name__}: {error}")
    return row


def main(words: list[str]) -> None:
    """Print the table and the differences."""
    rows = [run(op) for op in (*NODES, *STORED) if not words or any(word in op for word in words)]
    print(table(rows))
    for row in rows:
        print(*row.differ, sep="\n", end="\n" if row.differ else "")


if __name__ == "__main__":
    main(sys.argv[1:])
