"""Products ready to be computed: what their indices say, which kernel computes them, and its arguments."""

import math
from typing import Any, NamedTuple

import numpy as np

from minigrad.kernels.cuda import precision, reductions
from minigrad.kernels.cuda.array import Array, empty, from_numpy
from minigrad.kernels.cuda.division import divisor
from minigrad.kernels.cuda.elementwise import ABSENT, SAME, fill
from minigrad.kernels.cuda.lanes import lanes, share
from minigrad.kernels.cuda.machine import SIMULATED, machine
from minigrad.kernels.cuda.products import Form, Tile, field, jointly, one_by_one, tiled


class Axis(NamedTuple):
    """What the indices 0 ... size - 1 say: entries[i % period], and the steps for every whole period before i.

    The entries are rows of three numbers. Those of rows, columns and terms are for the operand, a place, and something
    other (see above); those of batches are for the left operand, the right one, and the output.
    """

    size: int
    entries: np.ndarray
    steps: tuple[int, ...]

    @property
    def most(self) -> list[int]:
        """How far from 0 each of the three gets."""
        turns = -(-self.size // len(self.entries)) - 1 if self.size else 0
        far = np.abs(self.entries).max(axis=0, initial=0).tolist()
        return [one + turns * abs(step) for one, step in zip(far, self.steps, strict=True)]

    def by_fours(self, which: int) -> bool:
        """Whether the indices, by fours, say neighbours from a multiple of 4 on."""
        entries, step, period = self.entries[:, which], self.steps[which], len(self.entries)
        if period == 1:
            entries, step, period = np.arange(4) * step + entries, 4 * step, 4
        fours = entries.reshape(-1, 4) if period % 4 == 0 else np.ones((1, 4))
        return self.size % 4 == 0 == step % 4 and bool(np.all(fours - fours[:, :1] // 4 * 4 == np.arange(4)))

    def multiples(self, which: int) -> bool:
        """Whether all that the indices say are multiples of 4."""
        return self.steps[which] % 4 == 0 and not np.any(self.entries[:, which] % 4)


def evenly(size: int, *steps: int) -> Axis:
    """An axis that says multiples of its index."""
    operand, place, other = steps
    return Axis(size, np.zeros((1, 3), np.int64), (operand, place, other))


TILES = {
    True: {Tile(128, 8): 1.0, Tile(64, 8): 0.9, Tile(32, 4): 0.5},
    False: {Tile(64, 4): 0.5, Tile(32, 4): 0.5},
}
"""For float32, and for dtypes that leave fewer registers; and about how fast they are: the larger the fewer loads."""

LARGE = Tile(64, 4)
"""In place of the larger ones, which leave too few registers for indices of 64 bits."""

FEW = 4
"""Rows or columns that are not worth a tile."""

SINGLE = Tile(1, 1)
"""Stands for the kernel without tiles."""

TINY = Tile(16, 4)
"""For the simulator, where threads are expensive."""

LENGTH = 1 << 14
"""Terms of one sum, at most, for the rounding of float32; their sums are added up afterwards."""

FEW_TERMS = 4 if SIMULATED else 32
"""Terms that are worth a thread of their own, or a warp, at least."""

SHORT = 256
"""Terms that are worth a block of their own, at least, where there are too few blocks."""


def together(columns: int, terms: int, left: str, right: str) -> bool:
    """Whether lanes shall share a number, where there are no tiles: what most threads read lies along the terms."""
    return terms >= FEW_TERMS and (right if columns > FEW else left) == "terms"


def chosen(
    rows: int, columns: int, terms: int, batches: int, dtype: np.dtype, left: str, right: str
) -> tuple[Tile, int]:
    """A tile, and in how many parts to cut the terms: as many multiprocessors as possible busy, with few idle rows."""
    if SIMULATED:
        return SINGLE if min(rows, columns) <= FEW else TINY, 1 + (terms > 4 * TINY.depth)
    if min(rows, columns) <= FEW:
        idle, least = machine().blocks * machine().threads // max(1, rows * columns * batches), FEW_TERMS
        if together(columns, terms, left, right):
            idle, least = idle // 32, 32 * least
        return SINGLE, _parts(terms, SINGLE, min(idle, terms // least))
    speeds = TILES[dtype == np.float32]

    def blocks(tile: Tile) -> int:
        return max(1, -(-rows // tile.side) * -(-columns // tile.side) * batches)

    def slots(tile: Tile) -> int:
        return max(1, machine().blocks * 64 // tile.threads)  # two blocks of 256 threads a multiprocessor

    tile = min(speeds, key=lambda tile: -(-blocks(tile) // slots(tile)) * tile.each**2 / speeds[tile])
    return tile, _parts(terms, tile, min(slots(tile) // blocks(tile), terms // SHORT))


def _parts(terms: int, tile: Tile, wanted: int) -> int:
    """So many parts, or more where they would be long, of which none is empty."""
    parts = max(1, wanted, -(-terms // LENGTH))
    length = -(-terms // (parts * tile.depth)) * tile.depth
    return max(1, -(-terms // max(1, length)))


def packed(h: Any, w: Any) -> Any:
    """Coordinates of a pixel as one number: they are added together, and carry nothing from one to the other."""
    return (h << 32) + w


class Product:
    """A product of given shapes, ready to be computed: `product(out, left, right)`.

    `left` and `right` say along what an operand's neighbours in memory lie: "terms" or "outer". `size` is the number of
    elements of the output in memory, which a product in parts has once for each part. `last` is the pixel at the end of
    the image, or None where no place is outside. A bias, or what notes the winners, is for the `finish` of the form.
    """

    def __init__(
        self,
        dtype: np.dtype,
        size: int,
        axes: tuple[Axis, Axis, Axis, Axis],
        left: str,
        right: str,
        tile: Tile,
        parts: int,
        last: tuple[int, int] | None = None,
        finish: str = "as they are",
    ) -> None:
        rows, columns, terms, batches = axes
        reach = max(
            rows.most[0] + terms.most[2] + batches.most[0],
            columns.most[0] + terms.most[0] + batches.most[1],
            rows.most[2] + columns.most[2] + batches.most[2] + parts * size,
            4 * sum(len(axis.entries) + 2 * tile.depth for axis in axes),
            terms.size + (parts + 2) * tile.depth,
        )
        sides = max((max(_coordinates(axis.entries[:, 1])) for axis in axes[:3]), default=0)
        large = reach >= 1 << 31 or max(sides, *(last or (0,))) >= 1 << 15
        tile = LARGE if large and tile.each == 8 else tile
        entries: list[np.ndarray] = []
        starts = []
        for axis in axes:
            rest = 2 * tile.depth if axis is terms else 0  # steps ahead of the end read on, and drop what they read
            padded = np.zeros((len(axis.entries) + rest, 4), np.int64)
            padded[: len(axis.entries), :3] = axis.entries
            if axis is not batches and not large:
                w = padded[:, 1].astype(np.int32)
                padded[:, 1] = ((padded[:, 1] - w) >> 16) + w
            starts.append(4 * sum(len(one) for one in entries))
            entries.append(padded)
        self.lists = from_numpy(np.concatenate(entries).astype(np.int64 if large else np.int32).reshape(-1))
        self.axes = [
            (axis.size, *divisor(len(axis.entries)), start, *axis.steps)
            for axis, start in zip(axes, starts, strict=True)
        ]
        even = len(terms.entries) == 1 and not terms.entries.any()
        kind = "evenly" if even else "list" if terms.size <= len(terms.entries) else "repeated"
        finish = finish if parts == 1 and tile != SINGLE else "as they are"
        self.dtype, self.tile, self.form = dtype, tile, Form(left, right, kind, last is not None, large, finish=finish)
        tiles = -(-rows.size // tile.side), -(-columns.size // tile.side)
        length = -(-terms.size // (parts * tile.depth)) * tile.depth
        fours = columns.by_fours(2) and rows.multiples(2) and batches.multiples(2) and size % 4 == 0
        bits = field(large)
        limit = 0 if last is None else (last[0] << bits) + last[1]
        self.grid = *divisor(tiles[0]), *divisor(tiles[1]), *divisor(parts), length, size, limit, int(fours)
        self.joint = together(columns.size, terms.size, left, right)
        self.blocks = math.prod(tiles) * parts * batches.size

    def __call__(
        self, out: Array, left: Array, right: Array, bias: Any = ABSENT, winners: Any = ABSENT, relu: bool = False
    ) -> None:
        """Compute the output in one piece, or its parts one behind the other."""
        args = out, left, right, self.lists, *self.axes, self.grid
        if self.tile == SINGLE and self.joint:
            share(jointly(self.form, self.dtype), self.blocks, lanes(self.grid[9], 1), *args)
        elif self.tile == SINGLE:
            one_by_one(self.form, self.dtype).over(self.blocks, *args)
        elif self.blocks:
            tensor = precision.tf32() and self.dtype == np.float32 and self.tile.each == 8
            kernel = tiled(self.tile, self.form._replace(tensor=tensor), self.dtype)
            grid = *self.grid, int(relu)
            args = out, winners, bias, left, right, self.lists, *self.axes, grid
            kernel(self.blocks, self.tile.threads, *args)


def _coordinates(places: np.ndarray) -> tuple[int, int]:
    """The largest magnitudes of the two coordinates."""
    w = places.astype(np.int32).astype(np.int64)
    return int(np.abs((places - w) >> 32).max(initial=0)), int(np.abs(w).max(initial=0))


def compute(
    products: tuple[Product, ...],
    parts: int,
    shape: tuple[int, ...],
    left: Array,
    right: Array,
    bias: Array | None = None,
) -> Array:
    """The output of products that write all of it together, cut in the same number of parts; plus a bias a column."""
    out, at_once = empty((parts, *shape) if parts > 1 else shape, left.dtype), parts == 1 and products[0].tile != SINGLE
    for product in products:
        product(out, left, right, bias if bias is not None and at_once else ABSENT)
    if parts > 1:
        out = reductions.sum(out, axis=(0,), keepdims=False)
    return out if bias is None or at_once else fill(out, SAME["add"], out, bias)
