"""The table of ops: one file a family, one record an op."""

from minigrad.ops.activation import elu, gelu, hardtanh, leaky_relu, relu6, silu, softplus
from minigrad.ops.composite import log_softmax, logsumexp, softmax
from minigrad.ops.composite_convs import conv1d, conv_transpose2d
from minigrad.ops.composite_pools import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool_features,
    lp_pool2d,
    lp_pool_features,
    max_pool_features,
)
from minigrad.ops.contrast import divisive_norm, local_contrast_norm, subtractive_norm
from minigrad.ops.conv import conv2d, conv2d_input, conv2d_weight
from minigrad.ops.conv_pool import MOST_PLACES, conv2d_pool
from minigrad.ops.cumulative import cumulative_prod, cumulative_sum, logcumsumexp, prod
from minigrad.ops.einstein import einsum
from minigrad.ops.elementwise import (
    abs,
    add,
    astype,
    ceil,
    clip,
    cos,
    divide,
    equal,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    pow,
    relu,
    remainder,
    round,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
    where,
    where_positive,
)
from minigrad.ops.index import (
    argwhere,
    getitem,
    index_put,
    nonzero,
    one_hot,
    scatter,
    scatter_along_axis,
    take,
    take_along_axis,
)
from minigrad.ops.kinds import REGISTRY, Record
from minigrad.ops.linalg import linear, matmul, tril, triu, vector_norm
from minigrad.ops.loss import softmax_cross_entropy
from minigrad.ops.margins import pad
from minigrad.ops.norm import batch_norm, layer_norm
from minigrad.ops.patches import fold, locally_connected2d, unfold
from minigrad.ops.pool import avg_pool2d, avg_pool2d_input, max_pool2d, max_pool2d_argmax
from minigrad.ops.reduce import all, any, argmax, argmin, max, mean, min, std, sum, var
from minigrad.ops.resize import interpolate
from minigrad.ops.shape import (
    alias,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    permute_dims,
    reshape,
    roll,
    squeeze,
    stack,
    to_device,
)
from minigrad.ops.sorting import argsort, argtopk, sort, topk

__all__ = sorted([*REGISTRY, "nonzero"])
