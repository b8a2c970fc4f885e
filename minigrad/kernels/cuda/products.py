"""Sums of products of numbers from anywhere: the one kernel behind products of matrices and convolutions.

out[m, n] is the sum over r of left[m, r] * right[r, n], for each batch. Where an element lies is the sum of what its
indices say:

    left[m, r]   rows[m].operand + terms[r].other + batches[z].left
    right[r, n]  columns[n].operand + terms[r].operand + batches[z].right
    out[m, n]    rows[m].other + columns[n].other + batches[z].out

So any strides are read as they are, and so are the windows of a convolution: a column is a position of the window, a
term is a channel and a tap. The sum of their places is the pixel under the tap; where that is outside of the image,
right[r, n] is 0.

A block of threads computes a tile of the output. Step by step of `depth` terms it copies the operands into shared
memory, the next step's while it adds the products of this one; every thread adds a tile of its own in registers.
"""

import functools
import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda

from minigrad.kernels.cuda import reductions
from minigrad.kernels.cuda.array import Array, empty, from_numpy
from minigrad.kernels.cuda.compiler import Kernel, element, kernel
from minigrad.kernels.cuda.intrinsics import (
    constant4,
    divided,
    fetch,
    fetched,
    load4,
    outer_products,
    shared,
    store_each,
    store_fours,
    zeros,
)
from minigrad.kernels.cuda.machine import SIMULATED, machine


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


class Tile(NamedTuple):
    """What a block computes: so many rows and columns of the output, of which each thread has a tile in registers."""

    side: int
    each: int

    @property
    def threads(self) -> int:
        """The threads of a block."""
        return (self.side // self.each) ** 2

    @property
    def depth(self) -> int:
        """The terms of a step: every thread copies four numbers of each operand."""
        return 4 * self.threads // self.side


PAD = 4
"""Elements behind each line in shared memory, so that threads along a column use other banks."""


class Form(NamedTuple):
    """For what a kernel is compiled beside its tile and dtype.

    `left` and `right` say along what the neighbours among the threads load an operand: "terms" or "outer", its rows or
    columns. `terms` says where the terms lie: in a "list", in one that is "repeated", or "evenly". `checked` says
    whether places can be outside, `large` whether indices need 64 bits.
    """

    left: str
    right: str
    terms: str
    checked: bool
    large: bool


def field(large: bool) -> int:
    """How many bits each coordinate of a place has."""
    return 32 if large else 16


WORD = (1 << 32) - 1
"""An integer & this is one of 32 bits without a sign, for which a product is one instruction."""


@functools.cache
def multiplied(tile: Tile, form: Form, dtype: np.dtype) -> Kernel:
    """The kernel of one kind."""
    number = element(dtype)
    word = numba.int64 if form.large else numba.int32
    index: Any = int if SIMULATED else word
    signs = (1 << (field(form.large) - 1)) * (1 + (1 << field(form.large)))
    if not form.large:
        signs -= 1 << 32  # as an int32
    (side, each), depth, threads, large = tile, tile.depth, tile.threads, form.large
    line, apart, group, per_line = side + PAD, threads // depth, 4 * side // each, side // each
    size, sums, beside = depth * line, each * each, min(8, per_line)
    room = 2 * size
    add = outer_products(each, depth, line, group)

    def quotient(i: Any, by: Any, factor: Any, shift: Any) -> Any:
        """i // by, of numbers that are not negative."""
        return divided(i, index(by)) if large else index(((i & WORD) * (factor & WORD)) >> shift)

    def spot(lists: Any, axis: Any, i: Any) -> Any:
        """What an axis says of index i: that of its list, and the steps for each time that the list was used up."""
        turn = quotient(i, axis[1], axis[2], axis[3])
        one = constant4(lists, index(axis[4] + 4 * (i - turn * axis[1])), 0)
        return index(one[0] + turn * axis[5]), index(one[1] + turn * axis[6]), index(one[2] + turn * axis[7])

    def clamped(lists: Any, axis: Any, start: Any, i: Any) -> Any:
        """An operand's index, counted from `start`, and place; beyond the end, where nothing is kept, the last ones."""
        operand, place, _ = spot(lists, axis, min(i, index(axis[0] - 1)))
        return index(start + operand), place

    def out_spot(lists: Any, axis: Any, start: Any, i: Any) -> Any:
        """Where an axis puts index i into the output, counted from `start`; -1 beyond its end."""
        return index(start + spot(lists, axis, i)[2]) if i < index(axis[0]) else index(-1)

    def listed(lists: Any, axis: Any, i: Any, more: Any) -> Any:
        """What a list says of index i + more."""
        return constant4(lists, index(axis[4] + 4 * i), 4 * more)

    def repeated(lists: Any, axis: Any, i: Any, more: Any) -> Any:
        return spot(lists, axis, index(i + more))

    def evenly(lists: Any, axis: Any, i: Any, more: Any) -> Any:
        """What the steps alone say of index i + more."""
        return index((i + more) * axis[5]), index(0), index((i + more) * axis[7])

    term = {"list": listed, "repeated": repeated, "evenly": evenly}[form.terms]

    def inside(place: Any, limit: Any) -> Any:
        """Whether both coordinates are from 0 to those of the limit: none of the four signs is set."""
        return ((place | index(limit - place)) & signs) == 0

    def fetch_left(copy: Any, i: Any, more: Any, x: Any, spot: Any, one: Any, wanted: Any, limit: Any) -> None:
        fetch(copy, i, more, x, index(spot[0] + one[2]), wanted)

    def fetch_right(copy: Any, i: Any, more: Any, x: Any, spot: Any, one: Any, wanted: Any, limit: Any) -> None:
        if form.checked:
            wanted = wanted and inside(index(spot[1] + one[1]), limit)
        fetch(copy, i, more, x, index(spot[0] + one[0]), wanted)

    def loader(number: Any, along: str) -> tuple[Any, Any, Any]:
        """How a thread copies its four numbers of an operand: where they lie in all steps, and in the copy; a step."""

        def find_outer(lists: Any, axis: Any, start: Any, first: Any, thread: Any) -> Any:
            return clamped(lists, axis, start, index(first + thread % side))

        def place_outer(thread: Any) -> Any:
            return index(thread // side * (4 * line) + thread % side)

        def copy_outer(
            copy: Any,
            place: Any,
            x: Any,
            spots: Any,
            lists: Any,
            terms: Any,
            r: Any,
            last: Any,
            limit: Any,
            thread: Any,
        ) -> None:
            i = index(r + thread // side * 4)
            number(copy, place, 0, x, spots, term(lists, terms, i, 0), i < last, limit)
            number(copy, place, line, x, spots, term(lists, terms, i, 1), index(i + 1) < last, limit)
            number(copy, place, 2 * line, x, spots, term(lists, terms, i, 2), index(i + 2) < last, limit)
            number(copy, place, 3 * line, x, spots, term(lists, terms, i, 3), index(i + 3) < last, limit)

        def find_terms(lists: Any, axis: Any, start: Any, first: Any, thread: Any) -> Any:
            i = index(first + thread // depth)
            return (
                clamped(lists, axis, start, i),
                clamped(lists, axis, start, index(i + apart)),
                clamped(lists, axis, start, index(i + 2 * apart)),
                clamped(lists, axis, start, index(i + 3 * apart)),
            )

        def place_terms(thread: Any) -> Any:
            return index(thread % depth * line + thread // depth)

        def copy_terms(
            copy: Any,
            place: Any,
            x: Any,
            spots: Any,
            lists: Any,
            terms: Any,
            r: Any,
            last: Any,
            limit: Any,
            thread: Any,
        ) -> None:
            i = index(r + thread % depth)
            one, wanted = term(lists, terms, i, 0), i < last
            number(copy, place, 0, x, spots[0], one, wanted, limit)
            number(copy, place, apart, x, spots[1], one, wanted, limit)
            number(copy, place, 2 * apart, x, spots[2], one, wanted, limit)
            number(copy, place, 3 * apart, x, spots[3], one, wanted, limit)

        if along == "terms":
            return find_terms, place_terms, copy_terms
        return find_outer, place_outer, copy_outer

    find_left, place_left, copy_left = loader(fetch_left, form.left)
    find_right, place_right, copy_right = loader(fetch_right, form.right)

    def tile_of(block: Any, grid: Any) -> Any:
        """The first row and column of a block, the part of the terms, and the batch."""
        strip = quotient(block, grid[0], grid[1], grid[2])
        sheet = quotient(strip, grid[3], grid[4], grid[5])
        batch = quotient(sheet, grid[6], grid[7], grid[8])
        row, column = index((block - strip * grid[0]) * side), index((strip - sheet * grid[3]) * side)
        return row, column, index(sheet - batch * grid[6]), batch

    def corner(thread: Any) -> Any:
        """The first row and column of a thread in the tile; 8 x 4 neighbours share what they read."""
        return index(thread // beside % per_line * 4), index(
            (thread % beside + thread // (beside * per_line) * beside) * 4
        )

    @kernel(threads=threads, resident=512 // threads)
    def multiply(
        out: Any, left: Any, right: Any, lists: Any, rows: Any, columns: Any, terms: Any, batches: Any, grid: Any
    ) -> None:
        """An axis: size, period as `divisor`, where its list begins, steps. The grid: see `Product`."""
        thread = index(cuda.threadIdx.x)
        first_row, first_column, part, batch = tile_of(index(cuda.blockIdx.x), grid)
        left_start, right_start, out_start = spot(lists, batches, batch)
        first, limit = index(part * grid[9]), index(grid[11])
        last = min(index(first + grid[9]), index(terms[0]))

        out_rows = shared(side, word)
        out_columns = shared(side, word)
        if thread < side:
            start = index(out_start + part * grid[10])
            out_rows[thread] = out_spot(lists, rows, start, index(first_row + thread))
            out_columns[thread] = out_spot(lists, columns, index(0), index(first_column + thread))
        left_copy = shared(room, number)
        right_copy = shared(room, number)
        left_spots = find_left(lists, rows, left_start, first_row, thread)
        right_spots = find_right(lists, columns, right_start, first_column, thread)
        left_place, right_place = place_left(thread), place_right(thread)
        copy_left(left_copy, left_place, left, left_spots, lists, terms, first, last, limit, thread)
        copy_right(right_copy, right_place, right, right_spots, lists, terms, first, last, limit, thread)
        fetched()
        cuda.syncthreads()

        y, x = corner(thread)
        total = zeros(sums, number)
        turn = index(0)
        while first < last:
            first = index(first + depth)
            now, turn = turn, index(1 - turn)
            left_next, right_next = index(turn * size + left_place), index(turn * size + right_place)
            copy_left(left_copy, left_next, left, left_spots, lists, terms, first, last, limit, thread)
            copy_right(right_copy, right_next, right, right_spots, lists, terms, first, last, limit, thread)
            total = add(total, left_copy, index(now * size + y), right_copy, index(now * size + x))
            fetched()
            cuda.syncthreads()

        down, across = load4(out_rows, y), load4(out_columns, x)
        if each == 8:
            down, across = down + load4(out_rows, index(y + group)), across + load4(out_columns, index(x + group))
        if grid[12]:
            store_fours(out, total, down, across)
        else:
            store_each(out, total, down, across)

    return multiply


# ---- the choice of a kernel, and its arguments -----------------------------------------------------------------------

TILES = {
    True: (Tile(128, 8), Tile(64, 8), Tile(32, 4)),
    False: (Tile(64, 4), Tile(32, 4)),
}
"""For float32, and for dtypes that leave fewer registers."""

RATES = {8: 1.0, 4: 0.5}
"""How fast the tiles of a thread are, by their size: a large one reads less of shared memory for each product."""

TINY = Tile(16, 4)
"""For the simulator, where threads are expensive."""

LENGTH = 4096
"""Terms of one sum, at most, for the rounding of float32; their sums are added up afterwards."""

SHORT = 256
"""Terms that are worth a block of their own, at least, where there are too few blocks."""


def chosen(rows: int, columns: int, terms: int, batches: int, dtype: np.dtype) -> tuple[Tile, int]:
    """A tile, and in how many parts to cut the terms: as many multiprocessors as possible busy, with few idle rows."""
    if SIMULATED:
        return TINY, 1 + (terms > 4 * TINY.depth)

    def blocks(tile: Tile) -> int:
        return -(-rows // tile.side) * -(-columns // tile.side) * batches

    def cost(tile: Tile) -> float:
        slots = machine().blocks * 64 // tile.threads
        work = tile.each**2 / RATES[tile.each]
        return max(1, -(-blocks(tile) // slots)) * work

    tile = min(TILES[dtype == np.float32], key=cost)
    idle = machine().blocks * 64 // tile.threads // blocks(tile)
    return tile, max(1, min(idle, terms // SHORT), -(-terms // LENGTH))


def place(h: Any, w: Any) -> Any:
    """Coordinates of a pixel as one number: they are added together, and carry nothing from one to the other."""
    return (h << 32) + w


def divisor(d: int) -> tuple[int, int, int]:
    """d, or 1 for 0, and a factor and shift by which (i * factor) >> shift is i // d for all i from 0 to 2^31 - 1.

    Granlund and Montgomery, "Division by invariant integers using multiplication" (1994).

    >>> _, factor, shift = divisor(7)
    >>> (2**31 - 1) * factor >> shift == (2**31 - 1) // 7
    True
    """
    d = max(1, d)
    shift = 31 + (d - 1).bit_length()
    return d, -(-(1 << shift) // d), shift


class Product:
    """A product of given shapes, ready to be computed: `product(out, left, right)`.

    `left` and `right` say along what an operand's neighbours in memory lie: "terms" or "outer". `size` is the number of
    elements of the output in memory, which a product in parts has once for each part. `last` is the pixel at the end of
    the image, or None where no place is outside.
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
    ) -> None:
        rows, columns, terms, batches = axes
        reach = max(
            rows.most[0] + terms.most[2] + batches.most[0],
            columns.most[0] + terms.most[0] + batches.most[1],
            rows.most[2] + columns.most[2] + batches.most[2] + parts * size,
            4 * sum(len(axis.entries) + 2 * tile.depth for axis in axes),
            terms.size + 2 * tile.depth,
        )
        sides = max((max(_coordinates(axis.entries[:, 1])) for axis in axes[:3]), default=0)
        large = reach >= 1 << 31 or max(sides, *(last or (0,))) >= 1 << 15
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
        form = Form(left, right, kind, last is not None, large)
        self.kernel, self.threads = multiplied(tile, form, dtype), tile.threads
        tiles = -(-rows.size // tile.side), -(-columns.size // tile.side)
        length = -(-terms.size // (parts * tile.depth)) * tile.depth
        fours = columns.by_fours(2) and rows.multiples(2) and batches.multiples(2) and size % 4 == 0
        bits = field(large)
        limit = 0 if last is None else (last[0] << bits) + last[1]
        self.grid = *divisor(tiles[0]), *divisor(tiles[1]), *divisor(parts), length, size, limit, int(fours)
        self.blocks = math.prod(tiles) * parts * batches.size

    def __call__(self, out: Array, left: Array, right: Array) -> None:
        """Compute the output in one piece, or its parts one behind the other."""
        if self.blocks:
            self.kernel(self.blocks, self.threads, out, left, right, self.lists, *self.axes, self.grid)


def _coordinates(places: np.ndarray) -> tuple[int, int]:
    """The largest magnitudes of the two coordinates."""
    w = places.astype(np.int32).astype(np.int64)
    return int(np.abs((places - w) >> 32).max(initial=0)), int(np.abs(w).max(initial=0))


def compute(products: tuple[Product, ...], parts: int, shape: tuple[int, ...], left: Array, right: Array) -> Array:
    """The output of products that write all of it together, cut in the same number of parts."""
    out = empty((parts, *shape) if parts > 1 else shape, left.dtype)
    for product in products:
        product(out, left, right)
    return reductions.sum(out, axis=(0,), keepdims=False) if parts > 1 else out
