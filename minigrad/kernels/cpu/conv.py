"""Convolution on the CPU: tiles of outputs by vectors of positions, summed over the taps' runs.

Each output element belongs to one thread, and the shapes alone decide how a sum is split: the bits are the same on
every run and with any number of threads. The zeros around an image are multiplied like its pixels, which shows
where a weight is not finite.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels import geometry
from minigrad.kernels.cpu import channels as by_channels
from minigrad.kernels.cpu import depthwise, patches, stacks, sums, winograd, winograd_weight
from minigrad.kernels.cpu import images as by_images
from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.runs import Runs, copy_runs, plan_runs
from minigrad.kernels.cpu.simd import (
    fma,
    full,
    lanes,
    load,
    load_at,
    load_part,
    registers,
    store,
    sum_lanes,
)
from minigrad.kernels.cpu.sums import Job, plan_packing, sum_over_taps, tile_of_sums
from minigrad.kernels.cpu.threads import get_num_threads, parts_of, sharing

Array = npt.NDArray[Any]
Pair = tuple[int, int]

POSITIONS = 1024  # outputs in a band, about, of the sums over taps
PRODUCTS = 1024  # outputs in a band, about, of the sums over outputs
PARTS = 32  # into so many parts the gradient of a weight is cut for the threads, where the batch allows
BROAD = 64  # channels and outputs, from which on a convolution of pixels is a packed product of matrices
PIXELS = 16  # of an image, from which on it is
WORTH = 0.75  # what `winograd.WORTH` is where direct sums are by vectors of images


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
    those taps reversed, of stride 1. Where windows do not overlap, the patches' own gradients are one product.
    """
    kernel, image = weight.shape[2:], (shape[2], shape[3])
    args = image, stride, padding, dilation, groups
    if stride == (1, 1):
        margins = _margins(kernel, padding, dilation)
        return correlate(g, weight, image, stride, margins, dilation, groups, turned=True)
    summed = _turned(weight.shape, groups)
    alone = depthwise.pays(summed, groups, (g.shape[2], g.shape[3])) or g.size * weight.size == 0
    if not alone and by_images.pays(len(g), summed, *args, lanes(g.dtype), True):
        return by_images.adjoint(g, weight, *args)
    if kernel[0] <= stride[0] and kernel[1] <= stride[1] and g.size * weight.size > 0:
        outputs = weight.shape[0] // groups
        taps, given = weight.reshape(groups, outputs, -1).swapaxes(1, 2), g.reshape(len(g), groups, outputs, -1)
        parts = stacks.products(taps, given).reshape(len(g), -1, given.shape[3])
        return patches.fold(parts, shape=image, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation)
    if not alone:
        return _input_of_strides(g, weight, *args)
    x = empty(shape, g.dtype)
    for residues in np.ndindex(*stride):
        part = x[:, :, residues[0] :: stride[0], residues[1] :: stride[1]]
        axes = zip(residues, kernel, stride, padding, dilation, strict=True)
        (u, du, top, dh), (v, dv, left, dw) = (geometry.adjoint_taps(*axis) for axis in axes)
        taps, size = weight[:, :, u::du, v::dv], part.shape[2:]
        part[...] = correlate(g, taps, size, (1, 1), (top, left), (dh, dw), groups, turned=True)
    return x


def _turned(weight: tuple[int, ...], groups: int) -> tuple[int, ...]:
    """The shape of a weight whose channels and outputs change roles."""
    return (groups * weight[1], weight[0] // groups, *weight[2:])


def _margins(window: Pair, padding: Pair, dilation: Pair) -> Pair:
    """The padding with which taps in reverse see what those of a convolution of stride 1 have given to."""
    return dilation[0] * (window[0] - 1) - padding[0], dilation[1] * (window[1] - 1) - padding[1]


def _input_of_strides(
    g: Array, weight: Array, image: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Compute the gradient for all residues modulo the stride from one copy of g."""
    n, given, threads = len(g), (g.shape[2], g.shape[3]), get_num_threads()
    job = _plan_strides(n, given, weight.shape, image, stride, padding, dilation, groups, g.dtype, threads)
    parts, x = sum_over_taps(g, weight, job), empty((n, groups * weight.shape[1], *image), g.dtype)
    planes = x.reshape(-1, *image)
    interleave(len(planes), sharing(x.size), planes, parts.reshape(-1, *stride, *parts.shape[3:]))
    return x


@functools.lru_cache(maxsize=256)
def _plan_strides(
    n: int, given: Pair, weight: tuple[int, ...], image: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    dtype: Any, threads: int,
) -> Job:  # fmt: skip
    """Tap u meets the elements of x that are u * dilation - padding modulo the stride, and none else."""
    (sh, sw), (kh, kw) = stride, weight[2:]
    down, rows = np.divmod(np.arange(kh) * dilation[0] - padding[0], sh)
    across, columns = np.divmod(np.arange(kw) * dilation[1] - padding[1], sw)
    top, left = int(down.max()), int(across.max())
    size, window = (-(-image[0] // sh), -(-image[1] // sw)), (top - int(down.min()) + 1, left - int(across.min()) + 1)
    plan = plan_runs(given, size, window, (1, 1), (top, left), (1, 1), weight[0] // groups, POSITIONS, sums.DEPTH)
    places = plan.taps.reshape(plan.channels, *window)
    met = [np.ix_(np.flatnonzero(rows == i), np.flatnonzero(columns == j)) for i, j in np.ndindex(*stride)]
    taps = np.concatenate([places[:, top - down[us], left - across[vs]].ravel() for us, vs in met])
    shares = tuple(tuple((us * kw + vs).ravel().tolist()) for us, vs in met)
    return _plan_job(n, weight, size, groups, True, shares, plan, taps, dtype, threads)


@shared
def interleave(thread: Any, first: Any, stop: Any, x: Any, parts: Any) -> None:
    """Put images (planes h w) together from what they are modulo a stride, (groups sh sw channels rows columns)."""
    _, sh, sw, channels, _, _ = parts.shape
    for plane in range(first, stop):
        interleave_plane(x[plane], parts[plane // channels], plane % channels, sh, sw)


@jit
def interleave_plane(x: Any, parts: Any, c: Any, sh: Any, sw: Any) -> None:
    """The same for one plane, of a group's c-th channel."""
    h, w = x.shape
    for i in range(h):
        for residue in range(min(sw, w)):
            line = parts[i % sh, residue, c, i // sh]
            for j in range((w - residue + sw - 1) // sw):
                x[i, residue + j * sw] = line[j]


# Sums over taps


def correlate(
    x: Array, weight: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int, turned: bool = False
) -> Array:
    """Cross-correlate to an output of any size, after any padding, also a negative one.

    Where the weight is `turned`, its channels and outputs change roles, and its taps are in reverse.
    """
    (n, _, *image), shape = x.shape, _turned(weight.shape, groups) if turned else weight.shape
    o, channels, *window = shape
    if n * o * size[0] * size[1] == 0 or x.size == 0 or weight.size == 0:
        return np.zeros((n, o, *size), x.dtype)
    if depthwise.pays(shape, groups, size) and _is_near(image, padding):
        taps = weight[:, :, ::-1, ::-1] if turned else weight
        return depthwise.correlate(x, taps, size, stride, padding, dilation)
    if _is_product(shape, groups, (image[0], image[1]), size, stride, padding):
        matrices = weight.reshape(groups, -1, weight.shape[1])
        images = x.reshape(n, groups, channels, -1)
        return stacks.products(matrices.swapaxes(1, 2) if turned else matrices, images).reshape(n, o, *size)
    full = by_images.pays(n, shape, size, stride, padding, dilation, groups, lanes(x.dtype), False)
    if window == [3, 3] and stride == dilation == (1, 1):
        worth = WORTH if full else winograd.WORTH
        faster = winograd.correlate(x, weight, size, padding, groups, turned, worth)
        if faster is not None:
            return faster
    if full and turned:
        return by_images.adjoint(
            x, weight, size, stride, _margins((window[0], window[1]), padding, dilation), dilation, groups
        )
    if full:
        return by_images.correlate(x, weight, size, stride, padding, dilation, groups)
    args = (image[0], image[1]), weight.shape, size, stride, padding, dilation, groups, turned
    return sum_over_taps(x, weight, _plan(n, *args, x.dtype, get_num_threads())).reshape(n, o, *size)


@functools.lru_cache(maxsize=1024)
def _plan(
    n: int, image: Pair, weight: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    turned: bool, dtype: Any, threads: int,
) -> Job:  # fmt: skip
    o, channels, *window = _turned(weight, groups) if turned else weight
    few = o // groups < 4  # outputs, for which what bands share is copied less often
    positions = 2 * POSITIONS if few else POSITIONS
    plan = plan_runs(image, size, (window[0], window[1]), stride, padding, dilation, channels, positions, sums.DEPTH)
    return _plan_job(n, weight, size, groups, turned, (), plan, plan.taps, dtype, threads)


def _plan_job(
    n: int, weight: tuple[int, ...], size: Pair, groups: int, turned: bool, met: tuple[tuple[int, ...], ...],
    plan: Runs, taps: Array, dtype: Any, threads: int,
) -> Job:  # fmt: skip
    """Plan the sums over the taps that each share has `met` (see `plan_packing`), to (n g shares o/g h w).

    The tables have where taps find their runs; and for each share where these begin, how many of them a channel has,
    and where its weights are.
    """
    o, channels = (_turned(weight, groups) if turned else weight)[:2]
    outputs = o // groups
    rows, columns = tile_of_sums(outputs)
    packing = plan_packing(weight, groups, rows, turned, met)
    tiles, bands = -(-outputs // rows), -(-size[0] // plan.rows)
    parts = parts_of(n * groups * bands, 1, tiles, threads)  # of the outputs
    begin, depth = packing.cuts[:-1], np.diff(packing.cuts)
    shares = np.stack([begin * plan.channels, depth, begin * groups * tiles * rows * channels], 1)
    compute, numbers = sums_over_taps(lanes(dtype), rows, columns), (plan, groups, outputs, channels, size[0], parts)
    blocks, shape = n * groups * bands * parts, (n, groups, len(depth), outputs, *size)
    return Job(compute, blocks, min(threads, blocks), packing, (taps, shares), numbers, plan.size, shape)


def _is_product(
    weight: tuple[int, ...], groups: int, image: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> bool:
    """Whether a convolution is a product of matrices, whose columns are pixels, and large enough to be packed."""
    o, channels, *window = weight
    plain = (window, image, stride, padding) == ([1, 1], size, (1, 1), (0, 0))
    return plain and min(o // groups, channels) >= BROAD and math.prod(size) >= PIXELS


def _is_near(image: Sequence[int], padding: Pair) -> bool:
    """Whether an image with all its padding is not much larger than itself, so that copies of both are cheap."""
    return all(margin <= side // 2 + 4 for side, margin in zip(image, padding, strict=True))


@functools.cache
def sums_over_taps(lanes: int, rows: int, columns: int) -> Callable[..., None]:
    """Compile `correlate` for tiles of so many outputs by vectors."""
    wide = lanes * columns
    narrow = columns if rows < 4 else 1  # of what is left of a run; few rows need many vectors to hide the latency

    @shared
    def sum_blocks(
        thread: Any, first: Any, stop: Any, y: Any, x: Any, weight: Any, taps: Any, shares: Any, scratch: Any,
        plan: Any, groups: Any, outputs: Any, channels: Any, height: Any, parts: Any
    ) -> None:  # fmt: skip
        for block in range(first, stop):
            sum_block(
                y, x, weight, taps, shares, scratch[thread], plan, block, groups, outputs, channels, height, parts
            )  # fmt: skip

    @jit
    def sum_block(
        y: Any, x: Any, weight: Any, taps: Any, shares: Any, runs: Any, plan: Any,
        block: Any, groups: Any, outputs: Any, channels: Any, height: Any, parts: Any
    ) -> None:  # fmt: skip
        """Compute one part of a group's outputs in one band of an image, for each share of the taps.

        `shares` has where the taps of a share are, how many of them a channel has, and where their weights are.
        """
        bands, tiles = -(-height // plan.rows), -(-outputs // rows)
        part, band, i = block % parts, block // parts % bands, block // parts // bands  # i: image and group
        group = i % groups
        row, plane = band * plan.rows, height * plan.width
        run = min(plan.rows, height - row) * plan.width
        for c in range(0, channels, plan.channels):
            count = min(plan.channels, channels - c)
            source, start = x, (i * channels + c) * plan.height * plan.breadth
            if plan.size:
                copy_runs(runs, 0, x, start, count, row, plan)
                source, start = runs, 0
            else:
                start += row * plan.width
            for share in range(len(shares)):
                places, depth, first = taps[shares[share, 0] :], shares[share, 1], shares[share, 2]
                for p in range(0, run, wide):
                    for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
                        output = (i * len(shares) + share) * outputs + tile * rows
                        sum_run(
                            y, output * plane + row * plan.width + p, plane,
                            min(rows, outputs - tile * rows), min(wide, run - p), source, start + p, places,
                            weight, first + ((group * tiles + tile) * channels + c) * depth * rows, count * depth,
                            c == 0
                        )  # fmt: skip

    whole_sum, part_sum = products(rows, columns), products_of_part(rows, narrow)

    @jit(forceinline=True)
    def sum_run(
        y: Any, place: Any, plane: Any, height: Any, run: Any, x: Any, start: Any, taps: Any,
        weight: Any, first: Any, depth: Any, fresh: Any
    ) -> None:  # fmt: skip
        """y[m, p] (+)= the sum over k of weight[k, m] * x[taps[k] + p], for a tile of outputs and a run of p."""
        if run == wide:
            total = whole_sum(x, start, taps, weight, first, depth)
            if not fresh:
                total = load_part(y, place, plane, rows, columns, height, wide) + total
            store(y, place, plane, height, wide, total)
            return
        for p in range(0, run, narrow * lanes):
            rest = part_sum(x, (start + p, run - p), taps, weight, first, depth)
            if not fresh:
                rest = load_part(y, place + p, plane, rows, narrow, height, run - p) + rest
            store(y, place + p, plane, height, run - p, rest)

    return sum_blocks


@functools.cache
def products(rows: int, columns: int) -> Callable[..., Any]:
    """Compile the sums over k of weight[k, m] * x[taps[k] + p], for neighbouring p from a place on."""

    @jit(forceinline=True)
    def load_tap(x: Any, place: Any, tap: Any) -> Any:
        return load(x, place + tap, 0, 1, columns)

    return sums.products(rows, columns, load_tap)


@functools.cache
def products_of_part(rows: int, columns: int) -> Callable[..., Any]:
    """Compile the same for a place and how many p there are from it on, where a run ends."""

    @jit(forceinline=True)
    def load_tap(x: Any, place: Any, tap: Any) -> Any:
        start, count = place
        return load_part(x, start + tap, 0, 1, columns, 1, count)

    return sums.products(rows, columns, load_tap)


# Sums over outputs


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
    (n, o, oh, ow), (_, channels, *window), image = g.shape, shape, x.shape[2:]
    if g.size == 0 or x.size == 0:
        return np.zeros(shape, g.dtype)
    if depthwise.pays(shape, groups, (oh, ow)) and _is_near(image, padding):
        return depthwise.conv2d_weight(g, x, shape, stride, padding, dilation)
    if _is_product(shape, groups, image, (oh, ow), stride, padding):
        given, seen = g.reshape(n, groups, o // groups, -1), x.reshape(n, groups, channels, -1)
        return stacks.sum_of_products(given, seen.swapaxes(2, 3)).reshape(shape)
    if window == [3, 3] and stride == dilation == (1, 1):
        faster = winograd_weight.weight_gradient(g, x, shape, padding, groups)
        if faster is not None:
            return faster
    if by_channels.pays(shape, groups, (oh, ow), g.dtype) and _is_near(image, padding):
        return by_channels.conv2d_weight(g, x, shape, stride, padding, dilation, groups)
    plan = plan_runs(image, (oh, ow), tuple(window), stride, padding, dilation, channels, PRODUCTS, sums.DEPTH)
    passes = -(-channels // plan.channels)
    fewest = channels - (passes - 1) * plan.channels  # channels in the last pass
    rows, columns = tile_of_products(o // groups, fewest * plan.depth)
    tiles = -(-o // groups // rows) * -(-plan.channels * plan.depth // columns)
    together = min(n, max(1, PRODUCTS // (plan.rows * ow)))  # images whose products are summed in registers
    slices = min(-(-n // together) * -(-oh // plan.rows), -(-PARTS // (groups * passes)))
    whole = -(-rows * columns // lanes(g.dtype)) * lanes(g.dtype)
    totals = empty((slices * passes * groups * tiles * whole,), g.dtype)
    scratch = workspaces(get_num_threads(), together * plan.size, x.dtype)
    weight = empty(shape, g.dtype)
    flat_g, flat_x = g.ravel(), x.ravel()
    compute, finish = sums_over_outputs(lanes(g.dtype), rows, columns)
    compute(
        slices * groups * passes, len(scratch), totals, flat_g, flat_x, scratch, plan,
        n, groups, o // groups, channels, oh, slices, together
    )  # fmt: skip
    finish(
        groups * passes, sharing(totals.size), weight.ravel(), totals, plan, groups, o // groups, channels, slices
    )  # fmt: skip
    return weight


@functools.cache
def tile_of_products(outputs: int, taps: int) -> tuple[int, int]:
    """Choose the outputs and taps of a tile of products: few that are computed twice, and few loads a product."""

    def size(rows: int, columns: int) -> int:
        """How many vectors a tile keeps in registers: sums, the shorter side, and one of the other."""
        return rows * columns + min(rows, columns) + 1

    def cost(tile: Pair) -> float:
        rows, columns = tile
        return -(-outputs // rows) * -(-taps // columns) * (rows * columns + 0.3 * (rows + columns))

    tiles = itertools.product(range(1, min(outputs, 5) + 1), (k for k in (1, 2, 3, 5) if k <= taps))
    return min((tile for tile in tiles if tile == (1, 1) or size(*tile) <= registers()), key=cost)


@functools.cache
def sums_over_outputs(lanes: int, rows: int, columns: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile `conv2d_weight` for tiles of so many outputs by taps.

    Where tiles do not fit, the last one begins earlier, and what it shares with the one before is computed twice.
    """
    vectors = -(-rows * columns // lanes)

    @jit
    def size_of(plan: Any, outputs: Any) -> Any:
        """How many numbers a block writes."""
        return -(-outputs // rows) * -(-plan.channels * plan.depth // columns) * vectors * lanes

    @shared
    def sum_blocks(
        thread: Any, first: Any, stop: Any, totals: Any, g: Any, x: Any, scratch: Any, plan: Any,
        n: Any, groups: Any, outputs: Any, channels: Any, height: Any, slices: Any, together: Any
    ) -> None:  # fmt: skip
        for block in range(first, stop):
            sum_block(
                totals, g, x, scratch[thread], plan, block, n, groups, outputs, channels, height, slices, together
            )  # fmt: skip

    @jit
    def sum_block(
        totals: Any, g: Any, x: Any, runs: Any, plan: Any,
        block: Any, n: Any, groups: Any, outputs: Any, channels: Any, height: Any, slices: Any, together: Any
    ) -> None:  # fmt: skip
        """Sum over one slice of the batch: the gradients of a group's weights at some channels."""
        part, group, c = block % slices, block // slices % groups, block // slices // groups * plan.channels
        count, image, plane = min(plan.channels, channels - c), plan.height * plan.breadth, height * plan.width
        bands = -(-height // plan.rows)
        units = -(-n // together) * bands
        first, last = part * units // slices, (part + 1) * units // slices
        for unit in range(first, last):
            i, row = unit // bands * together, unit % bands * plan.rows
            images, run = min(together, n - i), min(plan.rows, height - row) * plan.width
            source, start, pitch = x, ((i * groups + group) * channels + c) * image, groups * channels * image
            if plan.size:
                for b in range(images):
                    copy_runs(runs, b * plan.size, x, start + b * pitch, count, row, plan)
                source, start, pitch = runs, 0, plan.size
            else:
                start += row * plan.width
            place = (i * groups + group) * outputs * plane + row * plan.width
            add_unit(
                totals, block * size_of(plan, outputs), g, place, plane, groups * outputs * plane,
                source, start, pitch, plan.taps, outputs, count * plan.depth, images, run, unit == first
            )  # fmt: skip

    @jit
    def add_unit(
        totals: Any, tile: Any, g: Any, place: Any, plane: Any, step: Any, x: Any, start: Any, pitch: Any, taps: Any,
        outputs: Any, depth: Any, images: Any, run: Any, fresh: Any
    ) -> None:  # fmt: skip
        """totals[o, k] (+)= the sum over images b and p of g[b, o, p] * x[b, taps[k] + p], for all tiles of o and k."""
        whole = run // lanes * lanes
        for o in range(0, outputs, rows):
            row = place + min(o, outputs - rows) * plane
            for k in range(0, depth, columns):
                tap = min(k, depth - columns)
                total = full(g.dtype.type(0), rows, columns)
                for b in range(images):
                    at, origin = row + b * step, start + b * pitch
                    for p in range(0, whole, lanes):
                        seen = load_at(x, origin + p, 0, 1, taps, tap, columns, None)
                        total = fma(load(g, at + p, plane, rows, 1), seen, total)
                    if whole < run:
                        seen = load_at(x, origin + whole, 0, 1, taps, tap, columns, run - whole)
                        total = fma(load_part(g, at + whole, plane, rows, 1, rows, run - whole), seen, total)
                sums = sum_lanes(total)
                if not fresh:
                    sums = load(totals, tile, 0, 1, vectors) + sums
                store(totals, tile, 0, 1, vectors * lanes, sums)
                tile += vectors * lanes

    @shared
    def add_slices(
        thread: Any, first: Any, stop: Any, weight: Any, totals: Any, plan: Any,
        groups: Any, outputs: Any, channels: Any, slices: Any
    ) -> None:  # fmt: skip
        """Add what the slices found, in float64, and put it in its place."""
        size = size_of(plan, outputs)
        for i in range(first, stop):
            group, c = i % groups, i // groups * plan.channels
            taps, tile = min(plan.channels, channels - c) * plan.depth, i * slices * size
            for o in range(0, outputs, rows):
                for k in range(0, taps, columns):
                    for m in range(rows):
                        row = group * outputs + min(o, outputs - rows) + m
                        start = (row * channels + c) * plan.depth + min(k, taps - columns)
                        for j in range(columns):
                            total = 0.0
                            for part in range(slices):
                                total += totals[tile + part * size + m * columns + j]
                            weight[start + j] = total
                    tile += vectors * lanes

    return sum_blocks, add_slices
