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
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda

from minigrad.kernels.cuda.compiler import Kernel, element, kernel
from minigrad.kernels.cuda.division import WORD
from minigrad.kernels.cuda.elementwise import SAME
from minigrad.kernels.cuda.intrinsics import (
    constant4,
    divided,
    fetch,
    fetched,
    load4,
    outer_products,
    plus_columns,
    shared,
    store_each,
    store_fours,
    store_largest,
    tensor_products,
    zeros,
)
from minigrad.kernels.cuda.lanes import WARPS, folding, own_line, turns
from minigrad.kernels.cuda.machine import SIMULATED


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


class Form(NamedTuple):
    """For what a kernel is compiled beside its tile and dtype.

    `left` and `right` say along what the neighbours among the threads load an operand: "terms" or "outer", its rows or
    columns. `terms` says where the terms lie: in a "list", in one that is "repeated", or "evenly". `checked` says
    whether places can be outside, `large` whether indices need 64 bits, `tensor` whether tensor cores compute. `finish`
    says what is written: the sums "as they are", with a "bias" of each column, or, with one of each row, the "largest"
    of each four columns.
    """

    left: str
    right: str
    terms: str
    checked: bool
    large: bool
    tensor: bool = False
    finish: str = "as they are"


def field(large: bool) -> int:
    """How many bits each coordinate of a place has."""
    return 32 if large else 16


def lookups(form: Form) -> tuple[Any, ...]:
    """The integers that indices are, and functions of the lists: quotient, spot, term, inside."""
    large, bits = form.large, field(form.large)
    index: Any = int if SIMULATED else numba.int64 if large else numba.int32
    signs = (1 << (bits - 1)) * (1 + (1 << bits)) - (1 << 2 * bits)  # as a number with a sign

    def quotient(i: Any, by: Any, factor: Any, shift: Any) -> Any:
        """i // by, of numbers that are not negative."""
        return divided(i, index(by)) if large else index(((i & WORD) * (factor & WORD)) >> shift)

    def spot(lists: Any, axis: Any, i: Any) -> Any:
        """What an axis says of index i: that of its list, and the steps for each time that the list was used up."""
        turn = quotient(i, axis[1], axis[2], axis[3])
        one = constant4(lists, index(axis[4] + 4 * (i - turn * axis[1])), 0)
        return index(one[0] + turn * axis[5]), index(one[1] + turn * axis[6]), index(one[2] + turn * axis[7])

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

    return index, quotient, spot, term, inside


def by_outer_products(tile: Tile, index: Any) -> tuple[Any, ...]:
    """The length of a line in shared memory; functions: add products, a thread's corner, its rows and columns."""
    (side, each), line = tile, tile.side + 4  # so that threads along a column use other banks
    per_line, group, across = side // each, 4 * side // each, min(8, side // each)

    def corner(thread: Any) -> Any:
        """8 x 4 neighbours share what they read."""
        strip = thread // (across * per_line)
        return index(thread // across % per_line * 4), index((thread % across + strip * across) * 4)

    def own(rows: Any, columns: Any, thread: Any) -> Any:
        y, x = corner(thread)
        down, beside = load4(rows, y), load4(columns, x)
        if each == 8:
            return down + load4(rows, index(y + group)), beside + load4(columns, index(x + group))
        return down, beside

    return line, outer_products(each, tile.depth, line, group), corner, own


def by_tensor_cores(tile: Tile, index: Any) -> tuple[Any, ...]:
    """The same for warps that compute 64 x 32 numbers each."""
    line, warps = tile.side + 8, tile.side // 64  # so that the lanes of a warp use all banks

    def corner(thread: Any) -> Any:
        warp, lane = thread // 32, thread % 32
        start = lane % 4 * line + lane // 4
        return index(warp % warps * 64 + start), index(warp // warps * 32 + start)

    def own(rows: Any, columns: Any, thread: Any) -> Any:
        warp, lane = thread // 32, thread % 32
        y, x = index(warp % warps * 64 + lane // 4), index(warp // warps * 32 + lane % 4 * 2)
        upper = rows[y], rows[index(y + 8)], rows[index(y + 16)], rows[index(y + 24)]
        lower = rows[index(y + 32)], rows[index(y + 40)], rows[index(y + 48)], rows[index(y + 56)]
        near = columns[x], columns[index(x + 1)], columns[index(x + 8)], columns[index(x + 9)]
        far = columns[index(x + 16)], columns[index(x + 17)], columns[index(x + 24)], columns[index(x + 25)]
        return upper + lower, near + far

    return line, tensor_products(tile.depth, line), corner, own


def finishing(tile: Tile, form: Form, number: Any, index: Any) -> tuple[Any, Any]:
    """Functions: before the sums, the biases of a tile's rows in shared memory; after them, what to write."""
    _, _, _, own = (by_tensor_cores if form.tensor else by_outer_products)(tile, index)
    side = tile.side

    def begin(shift: Any, start: Any, row: Any, rows: Any, thread: Any) -> Any:
        return index(0)

    def begin_with_rows(shift: Any, start: Any, row: Any, rows: Any, thread: Any) -> Any:
        shifts = shared(side, number)
        if thread < side:
            shifts[thread] = shift[start + min(row + thread, rows - 1)]
        return shifts

    def store(
        out: Any, winners: Any, total: Any, shift: Any, shifts: Any, thread: Any, down: Any, across: Any,
        fours: Any, relu: Any,
    ) -> None:  # fmt: skip
        if fours:
            store_fours(out, total, down, across)
        else:
            store_each(out, total, down, across)

    def store_with_bias(
        out: Any, winners: Any, total: Any, shift: Any, shifts: Any, thread: Any, down: Any, across: Any,
        fours: Any, relu: Any,
    ) -> None:  # fmt: skip
        store(out, winners, plus_columns(total, shift, across), shift, shifts, thread, down, across, fours, relu)

    def store_pooled(
        out: Any, winners: Any, total: Any, shift: Any, shifts: Any, thread: Any, down: Any, across: Any,
        fours: Any, relu: Any,
    ) -> None:  # fmt: skip
        own_shifts, _ = own(shifts, shifts, thread)
        store_largest(out, winners, total, own_shifts, down, across, relu)

    if form.finish == "largest":
        return begin_with_rows, store_pooled
    return begin, store_with_bias if form.finish == "bias" else store


@functools.cache
def tiled(tile: Tile, form: Form, dtype: np.dtype) -> Kernel:
    """The kernel in which each block computes a tile."""
    number, word = element(dtype), numba.int64 if form.large else numba.int32
    index, quotient, spot, term, inside = lookups(form)
    (side, each), depth, threads = tile, tile.depth, tile.threads
    line, add, corner, own = (by_tensor_cores if form.tensor else by_outer_products)(tile, index)
    apart, sums, by_fours = threads // depth, each * each, not form.tensor
    begin, finish = finishing(tile, form, number, index)
    size = depth * line
    room = 2 * size

    def clamped(lists: Any, axis: Any, start: Any, i: Any) -> Any:
        """An operand's index, counted from `start`, and place; beyond the end, where nothing is kept, the last ones."""
        operand, place, _ = spot(lists, axis, min(i, index(axis[0] - 1)))
        return index(start + operand), place

    def out_spot(lists: Any, axis: Any, start: Any, i: Any) -> Any:
        """Where an axis puts index i into the output, counted from `start`; -1 beyond its end."""
        return index(start + spot(lists, axis, i)[2]) if i < index(axis[0]) else index(-1)

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

        def copy_outer(copy: Any, place: Any, x: Any, spots: Any, r: Any, fixed: Any) -> None:
            lists, terms, last, limit, thread = fixed
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

        def copy_terms(copy: Any, place: Any, x: Any, spots: Any, r: Any, fixed: Any) -> None:
            lists, terms, last, limit, thread = fixed
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

    @kernel(threads=threads, resident=512 // threads)
    def multiply(
        out: Any, winners: Any, shift: Any, left: Any, right: Any,
        lists: Any, rows: Any, columns: Any, terms: Any, batches: Any, grid: Any,
    ) -> None:  # fmt: skip
        """An axis: size, period as `divisor`, where its list begins, steps. The grid: see `Product`."""
        thread = index(cuda.threadIdx.x)
        first_row, first_column, part, batch = tile_of(index(cuda.blockIdx.x), grid)
        left_start, right_start, out_start = spot(lists, batches, batch)
        end, limit = index(terms[0]), index(grid[11])
        first, last = min(index(part * grid[9]), end), min(index((part + 1) * grid[9]), end)

        out_rows = shared(side, word)
        out_columns = shared(side, word)
        if thread < side:
            start = index(out_start + part * grid[10])
            out_rows[thread] = out_spot(lists, rows, start, index(first_row + thread))
            out_columns[thread] = out_spot(lists, columns, index(0), index(first_column + thread))
        shifts = begin(shift, index(batch * rows[0]), first_row, rows[0], thread)
        left_copy = shared(room, number)
        right_copy = shared(room, number)
        left_spots = find_left(lists, rows, left_start, first_row, thread)
        right_spots = find_right(lists, columns, right_start, first_column, thread)
        left_place, right_place = place_left(thread), place_right(thread)
        fixed = lists, terms, last, limit, thread
        copy_left(left_copy, left_place, left, left_spots, first, fixed)
        copy_right(right_copy, right_place, right, right_spots, first, fixed)
        fetched()
        cuda.syncthreads()

        y, x = corner(thread)
        total = zeros(sums, number)
        turn = index(0)
        while first < last:
            first = index(first + depth)
            now, turn = turn, index(1 - turn)
            left_next, right_next = index(turn * size + left_place), index(turn * size + right_place)
            copy_left(left_copy, left_next, left, left_spots, first, fixed)
            copy_right(right_copy, right_next, right, right_spots, first, fixed)
            total = add(total, left_copy, index(now * size + y), right_copy, index(now * size + x))
            fetched()
            cuda.syncthreads()

        down, across = own(out_rows, out_columns, thread)
        finish(out, winners, total, shift, shifts, thread, down, across, by_fours and grid[12], grid[13])

    return multiply


def singles(form: Form) -> tuple[Any, Any]:
    """Functions: where number i of the output lies and what it is the sum of; and a sum of every so many terms."""
    (index, quotient, spot, term, inside), checked = lookups(form), form.checked

    def find(i: Any, lists: Any, rows: Any, columns: Any, end: Any, batches: Any, grid: Any) -> Any:
        strip = quotient(index(i), grid[3], grid[4], grid[5])
        sheet = quotient(strip, grid[0], grid[1], grid[2])
        batch = quotient(sheet, grid[6], grid[7], grid[8])
        row, column, part = index(strip - sheet * grid[0]), index(i - strip * grid[3]), sheet - batch * grid[6]
        left_start, right_start, out_start = spot(lists, batches, batch)
        left_at, _, row_at = spot(lists, rows, row)
        right_at, place, column_at = spot(lists, columns, column)
        first = index(part * grid[9])
        own = first, min(index(first + grid[9]), index(end)), index(out_start + row_at + column_at + part * grid[10])
        return own, (index(left_start + left_at), index(right_start + right_at), place)

    def add_up(
        total: Any,
        first: Any,
        last: Any,
        bits: Any,
        left: Any,
        right: Any,
        starts: Any,
        lists: Any,
        terms: Any,
        end: Any,
    ) -> Any:
        for k in range(turns(first, last, bits)):
            one = term(lists, terms, index(first + (k << bits)), 0)
            if not checked or inside(index(starts[2] + one[1]), index(end)):
                total += left[index(starts[0] + one[2])] * right[index(starts[1] + one[0])]
        return total

    return find, add_up


@functools.cache
def one_by_one(form: Form, dtype: np.dtype) -> Kernel:
    """The kernel in which each thread computes a number: for few rows or columns, which would leave tiles empty."""
    zero, (find, add_up) = dtype.type(0), singles(form)

    @kernel
    def multiply(
        n: Any, out: Any, left: Any, right: Any,
        lists: Any, rows: Any, columns: Any, terms: Any, batches: Any, grid: Any,
    ) -> None:  # fmt: skip
        """As of `tiled`, with tiles of one row and one column."""
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            (first, last, to), starts = find(i, lists, rows, columns, terms[0], batches, grid)
            out[to] = add_up(zero, first, last, 0, left, right, starts, lists, terms, grid[11])

    return multiply


@functools.cache
def jointly(form: Form, dtype: np.dtype) -> Kernel:
    """The same by lanes for each number: for operands whose neighbours lie along the terms."""
    number, zero, added, (find, add_up) = element(dtype), dtype.type(0), folding(SAME["add"]), singles(form)

    @kernel
    def multiply(
        n: Any, count: Any, bits: Any, out: Any, left: Any, right: Any,
        lists: Any, rows: Any, columns: Any, terms: Any, batches: Any, grid: Any,
    ) -> None:  # fmt: skip
        board = shared(WARPS, number)
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            line, lane, wanted = own_line(i, count, bits)
            (first, last, to), starts = find(line, lists, rows, columns, terms[0], batches, grid)
            total = add_up(zero, first + lane, last, bits, left, right, starts, lists, terms, grid[11])
            total = added(total, bits, board)
            if lane == 0 and wanted:
                out[to] = total

    return multiply
