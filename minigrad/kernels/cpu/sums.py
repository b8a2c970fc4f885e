"""What sums over taps share: the size of tiles, weights in the order in which they read them, and how they are run."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty, workspaces
from minigrad.kernels.cpu.parallel import shared
from minigrad.kernels.cpu.simd import broadcast, fma, full, registers
from minigrad.kernels.cpu.threads import sharing

Array = npt.NDArray[Any]

DEPTH = 160  # taps in one sum of float32, about: what a tile reads stays in the L1 cache, and rounding is bounded


@functools.cache
def tile_of_sums(outputs: int) -> tuple[int, int]:
    """Choose the rows and vectors of a tile of sums: few wasted rows, and few loads for a product.

    Many vectors would be loads from the L2 cache for every tile, but where few rows make few tiles.
    """

    def vectors(rows: int) -> int:
        return max(1, min(8 if rows < 4 else 4, (registers() - 2) // (rows + 1)))

    def cost(rows: int) -> float:
        return -(-outputs // rows) * (rows + 0.2 * rows / vectors(rows) + 0.6)

    rows = min((m for m in (12, 10, 8, 6, 5, 4, 3, 2, 1) if m < registers() - 1), key=cost)
    return rows, vectors(rows)


class Packing(NamedTuple):
    """How a weight is laid out for tiles of sums.

    size, blocks
        The elements of all that is packed, and how many tiles that is.
    order, cuts
        The taps, by their places in a window, and where among them each share of the taps begins.
    outputs, channels, rows
        The outputs and channels of a group, and the outputs of a tile.
    group, output, channel
        The distances in memory from one to the next.
    """

    size: int
    blocks: int
    order: Array
    cuts: Array
    outputs: int
    channels: int
    rows: int
    group: int
    output: int
    channel: int


@functools.lru_cache(maxsize=1024)
def plan_packing(
    shape: tuple[int, ...], groups: int, rows: int, turned: bool = False, shares: tuple[tuple[int, ...], ...] = ()
) -> Packing:
    """Plan the packing of a weight of that shape (groups outputs, channels kh kw) for tiles of so many outputs.

    Where it is `turned`, channels and outputs change roles. The taps are packed in `shares`; by default all are in one,
    in reverse where the weight is turned.
    """
    outputs, channels, area = shape[0] // groups, shape[1], math.prod(shape[2:])
    output, channel = channels * area, area
    if turned:
        outputs, channels, output, channel = channels, outputs, channel, output
    shares = shares or (tuple(range(area)[::-1] if turned else range(area)),)
    cuts = np.cumsum([0, *map(len, shares)])
    tiles, order = groups * -(-outputs // rows), np.array([tap for share in shares for tap in share], np.intp)
    size, group = tiles * rows * channels * len(order), outputs * channels * area
    return Packing(size, tiles * len(shares), order, cuts, outputs, channels, rows, group, output, channel)


def pack_weights(weight: Array, packing: Packing) -> Array:
    """Copy a weight to (shares groups tiles channels taps rows), with zeros for rows beyond the last output."""
    packed = empty((packing.size,), weight.dtype)
    _pack(packing.blocks, sharing(packing.size), packed, weight.ravel(), packing)
    return packed


@shared
def _pack(thread: Any, first: Any, stop: Any, packed: Any, weight: Any, plan: Any) -> None:
    tiles, every = -(-plan.outputs // plan.rows), plan.blocks // (len(plan.cuts) - 1)
    for block in range(first, stop):
        share, tile = block // every, block % every
        begin, end = plan.cuts[share], plan.cuts[share + 1]
        to = (begin * every + tile * (end - begin)) * plan.channels * plan.rows
        pack_tile(packed, to, weight, tile // tiles, tile % tiles, begin, end, plan)


@jit
def pack_tile(
    packed: Any, to: Any, weight: Any, group: Any, tile: Any, begin: Any, end: Any, plan: Any
) -> None:  # fmt: skip
    """Copy some taps of a tile of a group's outputs to packed[to:], (channels taps rows)."""
    output = tile * plan.rows
    source, height = group * plan.group + output * plan.output, min(plan.rows, plan.outputs - output)
    for c in range(plan.channels):
        for k in range(begin, end):
            at = source + c * plan.channel + plan.order[k]
            for m in range(height):
                packed[np.uintp(to + m)] = weight[np.uintp(at + m * plan.output)]
            for m in range(height, plan.rows):
                packed[np.uintp(to + m)] = 0
            to += plan.rows


class Job(NamedTuple):
    """What the shapes of a cross-correlation say of its sums.

    compute, blocks, threads
        The kernel, how many blocks it computes, and on how many threads.
    packing
        How the weight is packed.
    tables, numbers
        The arguments of the kernel before the scratch, and those behind it.
    scratch, shape
        The elements of a thread's scratch, and the shape of the result.
    """

    compute: Callable[..., None]
    blocks: int
    threads: int
    packing: Packing
    tables: tuple[Array, ...]
    numbers: tuple[Any, ...]
    scratch: int
    shape: tuple[int, ...]


def sum_over_taps(x: Array, weight: Array, job: Job) -> Array:
    """Cross-correlate images with a weight, or with several shares of its taps."""
    packed, scratch = pack_weights(weight, job.packing), workspaces(job.threads, job.scratch, x.dtype)
    y = empty(job.shape, x.dtype)
    flat = y.ravel(), x.ravel()
    job.compute(job.blocks, job.threads, *flat, packed, *job.tables, scratch, *job.numbers)
    return y


def products(rows: int, columns: int, load_tap: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the innermost loop: a tile of the sums over k of weight[k, m] * load_tap(x, place, taps[k])."""

    @jit(forceinline=True)
    def total(x: Any, place: Any, taps: Any, weight: Any, first: Any, depth: Any) -> Any:
        sums = full(weight.dtype.type(0), rows, columns)
        for k in range(depth):
            sums = fma(broadcast(weight, first + k * rows, rows), load_tap(x, place, taps[k]), sums)
        return sums

    return total
