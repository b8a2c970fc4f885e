"""Convolution on the CPU, as sums over the runs of `columns`.

Each output element belongs to one thread, and the shapes alone decide how a sum is split: the bits are the same on
every run and with any number of threads. The zeros around an image are multiplied like its pixels, which shows
where a weight is not finite.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from minigrad.kernels import geometry
from minigrad.kernels.cpu.columns import copy_columns, plan_blocks
from minigrad.kernels.cpu.compiler import jit, kernel
from minigrad.kernels.cpu.memory import empty, zeros
from minigrad.kernels.cpu.threads import get_num_threads

Array = npt.NDArray[Any]
Pair = tuple[int, int]

PARTS = 16  # into so many parts the gradient of a weight is cut for the threads, if channels and images allow


def conv2d(x: Array, weight: Array, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Cross-correlate images with kernels: see `reference.conv2d`."""
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    oh, ow = (geometry.output_size(*axis) for axis in axes)
    return correlate(x, weight, (oh, ow), stride, padding, dilation, groups)


def conv2d_input(
    g: Array,
    weight: Array,
    *,
    shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Apply the adjoint of x -> conv2d(x, weight): see `reference.conv2d_input`.

    The elements of x that agree modulo the stride meet the same taps. Their gradient is a convolution of g with
    those taps reversed, of stride 1.
    """
    o, channels, *kernel = weight.shape
    swapped = weight.reshape(groups, o // groups, channels, *kernel).swapaxes(1, 2)
    swapped = swapped.reshape(groups * channels, o // groups, *kernel)
    x = empty(shape, g.dtype)
    for residues in np.ndindex(*stride):
        part = x[:, :, residues[0] :: stride[0], residues[1] :: stride[1]]
        axes = zip(residues, kernel, stride, padding, dilation, strict=True)
        (u, du, top, dh), (v, dv, left, dw) = (geometry.adjoint_taps(*axis) for axis in axes)
        taps = swapped[:, :, u::du, v::dv][:, :, ::-1, ::-1]
        gradient = correlate(g, taps, part.shape[2:], (1, 1), (top, left), (dh, dw), groups)
        if stride == (1, 1):
            return gradient
        part[...] = gradient
    return x


def conv2d_weight(
    g: Array,
    x: Array,
    *,
    shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Apply the adjoint of weight -> conv2d(x, weight): see `reference.conv2d_weight`."""
    (n, o, oh, ow), (_, channels, kh, kw) = g.shape, shape
    if g.size == 0 or x.size == 0:
        return zeros(shape, g.dtype)
    together = min(channels, -(-8 // (kh * kw)))  # channels for eight taps, which share each load of g
    plan = plan_blocks(1, together, x.shape[3], (oh, ow), (kh, kw), stride, padding, dilation)
    slices = min(n, -(-PARTS * plan.channels // x.shape[1]))
    totals = zeros((slices, o, channels * kh * kw), np.float64)
    columns = zeros((get_num_threads(), plan.size), x.dtype)
    runs = np.ascontiguousarray(g).reshape(n, o, oh * ow)
    _multiply_blocks(totals, runs, np.ascontiguousarray(x), columns, plan, groups)
    with np.errstate(all="ignore"):
        return totals.sum(axis=0).astype(g.dtype).reshape(shape)


def correlate(x: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Cross-correlate to an output of any size, after any padding, also a negative one."""
    (n, _, _, w), (o, channels, kh, kw) = x.shape, weight.shape
    if n * o * size[0] * size[1] == 0 or x.size == 0 or weight.size == 0:
        return zeros((n, o, *size), x.dtype)
    plan = plan_blocks(n, channels, w, size, (kh, kw), stride, padding, dilation)
    threads = get_num_threads()
    columns, sums = zeros((threads, plan.size), x.dtype), empty((threads, plan.run), x.dtype)
    weights = np.ascontiguousarray(weight).reshape(o, channels * kh * kw)
    y = empty((n, o, *size), x.dtype)
    _sum_blocks(y, np.ascontiguousarray(x), weights, columns, sums, plan, groups)
    return y


@kernel
def _sum_blocks(y: Any, x: Any, weight: Any, columns: Any, sums: Any, plan: Any, groups: Any) -> None:
    threads = len(sums)
    bands = -(-y.shape[2] // plan.rows)
    blocks = -(-len(y) // plan.images) * bands * groups
    for t in prange(threads):
        for block in range(t * blocks // threads, (t + 1) * blocks // threads):
            n, row = block // groups // bands * plan.images, block // groups % bands * plan.rows
            _sum_block(y, x, weight, columns[t], sums[t], n, row, block % groups, groups, plan)


@jit
def _sum_block(
    y: Any, x: Any, weight: Any, columns: Any, sums: Any, n: Any, row: Any, group: Any, groups: Any, plan: Any
) -> None:
    """Compute the block at image n and row `row`, for one group of channels."""
    outputs, channels, area = len(weight) // groups, x.shape[1] // groups, plan.kh * plan.kw
    for c in range(0, channels, plan.channels):
        count = min(plan.channels, channels - c)
        copy_columns(columns, x, n, group * channels + c, count, row, 0.0, plan)
        for o in range(group * outputs, (group + 1) * outputs):
            sum_runs(sums, columns, plan.taps, weight[o, c * area : (c + count) * area])
            for b in range(min(plan.images, len(y) - n)):
                for i in range(min(plan.rows, y.shape[2] - row)):
                    line, run = y[n + b, o, row + i], sums[(b * plan.span + i) * plan.width :]
                    for j in range(len(line)):
                        line[j] = run[j] if c == 0 else line[j] + run[j]


@jit(fastmath={"contract"})
def sum_runs(sums: Any, columns: Any, taps: Any, weight: Any) -> None:
    """sums[p] = sum over k of weight[k] * columns[taps[k] + p], in passes over p for eight k at a time."""
    run = np.uintp(len(sums))  # unsigned indices need no test for negative ones, which would keep vectors away
    for p in range(run):
        sums[p] = 0
    eights = len(weight) // 8 * 8
    for k in range(0, eights, 8):
        w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        w4, w5, w6, w7 = weight[k + 4], weight[k + 5], weight[k + 6], weight[k + 7]
        t0, t1, t2, t3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        t4, t5, t6, t7 = taps[k + 4], taps[k + 5], taps[k + 6], taps[k + 7]
        for p in range(run):
            low = w0 * columns[t0 + p] + w1 * columns[t1 + p] + w2 * columns[t2 + p] + w3 * columns[t3 + p]
            high = w4 * columns[t4 + p] + w5 * columns[t5 + p] + w6 * columns[t6 + p] + w7 * columns[t7 + p]
            sums[p] += low + high
    for k in range(eights, len(weight)):
        w, t = weight[k], taps[k]
        for p in range(run):
            sums[p] += w * columns[t + p]


@kernel
def _multiply_blocks(totals: Any, g: Any, x: Any, columns: Any, plan: Any, groups: Any) -> None:
    threads, slices = len(columns), len(totals)
    passes = -(-x.shape[1] // groups // plan.channels)
    parts = slices * groups * passes
    for t in prange(threads):
        for part in range(t * parts // threads, (t + 1) * parts // threads):
            group, c = part // slices // passes, part // slices % passes * plan.channels
            _multiply_block(totals, g, x, columns[t], part % slices, c, group, groups, plan)


@jit
def _multiply_block(
    totals: Any, g: Any, x: Any, columns: Any, part: Any, c: Any, group: Any, groups: Any, plan: Any
) -> None:
    """Compute the gradients of a group's weights at the channels from c on, over one slice of the batch."""
    outputs, channels, area = g.shape[1] // groups, x.shape[1] // groups, plan.kh * plan.kw
    count = min(plan.channels, channels - c)
    for n in range(part * len(g) // len(totals), (part + 1) * len(g) // len(totals)):
        for row in range(0, g.shape[2] // plan.width, plan.rows):
            copy_columns(columns, x, n, group * channels + c, count, row, 0.0, plan)
            for o in range(group * outputs, (group + 1) * outputs):
                run = g[n, o, row * plan.width : (row + plan.rows) * plan.width]
                _add_products(totals[part, o, c * area : (c + count) * area], run, columns, plan.taps)


@jit(fastmath={"contract", "reassoc"})
def _add_products(totals: Any, g: Any, columns: Any, taps: Any) -> None:
    """totals[k] += sum over p of g[p] * columns[taps[k] + p], in passes over p for eight k at a time."""
    run, zero = np.uintp(len(g)), g.dtype.type(0)
    eights = len(totals) // 8 * 8
    for k in range(0, eights, 8):
        t0, t1, t2, t3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        t4, t5, t6, t7 = taps[k + 4], taps[k + 5], taps[k + 6], taps[k + 7]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
        for p in range(run):
            s0 += g[p] * columns[t0 + p]
            s1 += g[p] * columns[t1 + p]
            s2 += g[p] * columns[t2 + p]
            s3 += g[p] * columns[t3 + p]
            s4 += g[p] * columns[t4 + p]
            s5 += g[p] * columns[t5 + p]
            s6 += g[p] * columns[t6 + p]
            s7 += g[p] * columns[t7 + p]
        for i, s in enumerate((s0, s1, s2, s3, s4, s5, s6, s7)):
            totals[k + i] += s
    for k in range(eights, len(totals)):
        s, t = zero, taps[k]
        for p in range(run):
            s += g[p] * columns[t + p]
        totals[k] += s
