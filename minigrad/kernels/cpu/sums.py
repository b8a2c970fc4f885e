"""What tiles of sums over taps share: their size, weights in the order in which they read them, and the sums."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.memory import empty
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


def pack_weights(weights: Sequence[Array], groups: int, rows: int) -> Array:
    """Copy weights (groups outputs channels ...) to (groups tiles channels ... rows), one behind the other.

    There are zeros for rows beyond the last output.
    """
    outputs = len(weights[0]) // groups
    tiles, starts = groups * -(-outputs // rows), [0]
    for weight in weights:
        starts.append(starts[-1] + tiles * rows * math.prod(weight.shape[1:]))
    packed = empty((starts[-1],), weights[0].dtype)
    for weight, start, stop in zip(weights, starts, starts[1:], strict=False):
        room, flat = packed[start:stop], np.ascontiguousarray(weight).reshape(-1)
        if room.size:
            _pack(tiles, sharing(room.size), room, flat, outputs, math.prod(weight.shape[1:]), rows)
    return packed


@shared
def _pack(
    thread: Any, first: Any, stop: Any, packed: Any, weight: Any, outputs: Any, depth: Any, rows: Any
) -> None:  # fmt: skip
    tiles = -(-outputs // rows)
    for tile in range(first, stop):
        group, output = tile // tiles, tile % tiles * rows
        for m in range(rows):
            start = (group * outputs + output + m) * depth
            for k in range(depth):
                packed[(tile * depth + k) * rows + m] = weight[start + k] if output + m < outputs else 0


def products(rows: int, columns: int, load_tap: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the innermost loop: a tile of the sums over k of weight[k, m] * load_tap(x, place, taps[k])."""

    @jit(forceinline=True)
    def total(x: Any, place: Any, taps: Any, weight: Any, first: Any, depth: Any) -> Any:
        sums = full(weight.dtype.type(0), rows, columns)
        for k in range(depth):
            sums = fma(broadcast(weight, first + k * rows, rows), load_tap(x, place, taps[k]), sums)
        return sums

    return total
