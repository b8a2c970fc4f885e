"""Elements and vectors of tiles in another order: dealt out and collected, turned, transposed, rolled."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature

from minigrad.kernels.cpu.simd.memory import address, mask_of_first, masks_of_columns, read, write
from minigrad.kernels.cpu.simd.tile import (
    INDEX,
    LANE,
    Tile,
    as_index,
    intrinsic,
    number,
    tile_from,
    tile_of,
    vector_of,
)


@intrinsic
def deal(typingctx: Any, tile: Any) -> Any:
    """Deal a row of vectors out, element by element, to as many rows of one vector: element e to row e % rows."""
    ways, width = tile.columns, tile.lanes
    result = Tile(tile.dtype, ways, 1, width)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vectors = [builder.extract_value(values[0], v) for v in range(ways)]
        return tile_from(builder, result, lambda p, v: pick(builder, vectors, range(p, ways * width, ways)))

    return signature(result, tile), emit


@intrinsic
def collect(typingctx: Any, tile: Any) -> Any:
    """Put what `deal` dealt out together again."""
    ways, width = tile.rows, tile.lanes
    result = Tile(tile.dtype, 1, ways, width)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vectors = [builder.extract_value(values[0], p) for p in range(ways)]
        places = [e % ways * width + e // ways for e in range(ways * width)]
        return tile_from(builder, result, lambda m, v: pick(builder, vectors, places[v * width : (v + 1) * width]))

    return signature(result, tile), emit


def pick(builder: Any, vectors: list[Any], places: Sequence[int]) -> Any:
    """One vector, lane i of which is element places[i] of the vectors laid end to end."""
    width, out = len(places), vectors[0]
    for v in range(1, len(vectors)):
        at_hand = [place if v == 1 else i for i, place in enumerate(places)]
        lanes = [width + e % width if e // width == v else at_hand[i] % width for i, e in enumerate(places)]
        out = builder.shuffle_vector(out, vectors[v], ir.Constant(ir.VectorType(LANE, width), lanes))
    return out


@intrinsic(prefer_literal=True)
def load_every(typingctx: Any, x: Any, start: Any, ways: Any, first: Any, stop: Any) -> Any:
    """One vector of every `ways`-th element: lane i is x[start + i * ways] where first <= i < stop, else zero.

    Where both are None, all lanes are, and what lies between and after their elements is read, too.
    """
    tile, step = tile_of(x, 1, 1), number(ways)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, masks = as_index(context, builder, start, values[1]), [None] * step
        if not isinstance(first, types.NoneType):
            begin, end = (builder.mul(as_index(context, builder, sig.args[i], values[i]), INDEX(step)) for i in (3, 4))
            end = builder.sub(end, INDEX(step - 1))
            for v in range(step):
                shift = INDEX(v * tile.lanes)
                before, upto = (mask_of_first(builder, builder.sub(e, shift), tile.lanes) for e in (begin, end))
                masks[v] = builder.and_(upto, builder.not_(before))
        vectors = [
            read(
                builder, address(context, builder, x, values[0], builder.add(at, INDEX(v * tile.lanes))), tile, masks[v]
            )
            for v in range(step)
        ]
        return tile_from(builder, tile, lambda m, v: pick(builder, vectors, range(0, step * tile.lanes, step)))

    return signature(tile, x, start, ways, first, stop), emit


@intrinsic(prefer_literal=True)
def deal_lines(
    typingctx: Any, x: Any, start: Any, pitch: Any, above: Any, below: Any, first: Any, stop: Any, ways: Any, side: Any
) -> Any:  # fmt: skip
    """What overlapping squares see, `ways` apart: vector (i, j) is x[p], x[p + ways], ..., p = start + i * pitch + j.

    There are `side` rows and columns. Of line i the elements x[start + i * pitch + e] with first <= e < stop are read
    if above <= i < below; others are zero.
    """
    rows, step = number(side), number(ways)
    tile = tile_of(x, rows, rows)
    width = tile.lanes
    parts = -(-((width - 1) * step + rows) // width)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, skip, top, bottom, begin, end = (as_index(context, builder, sig.args[i], values[i]) for i in range(1, 7))
        vectors = []
        for i in range(rows):
            inside = builder.and_(builder.icmp_signed("<=", top, INDEX(i)), builder.icmp_signed("<", INDEX(i), bottom))
            limit, line = builder.select(inside, end, INDEX(0)), builder.add(at, builder.mul(skip, INDEX(i)))
            seen = []
            for v in range(parts):
                shift = INDEX(v * width)
                before = mask_of_first(builder, builder.sub(begin, shift), width)
                only = builder.and_(mask_of_first(builder, builder.sub(limit, shift), width), builder.not_(before))
                seen.append(
                    read(builder, address(context, builder, x, values[0], builder.add(line, shift)), tile, only)
                )
            vectors += [pick(builder, seen, range(j, j + step * width, step)) for j in range(rows)]
        return tile_from(builder, tile, lambda m, v: vectors[m * rows + v])

    return signature(tile, x, start, pitch, above, below, first, stop, ways, side), emit


@intrinsic(prefer_literal=True)
def collect_lines(typingctx: Any, x: Any, start: Any, pitch: Any, height: Any, count: Any, tile: Any) -> Any:
    """Write squares that touch, vector (i, j) to x[p], x[p + columns], ... with p = start + i * pitch + j.

    Of the first `height` lines `count` elements are written (None: all).
    """
    width = tile.lanes

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, skip, lines = (as_index(context, builder, sig.args[i], values[i]) for i in range(1, 4))
        masks = [None] * tile.columns
        if not isinstance(count, types.NoneType):
            masks = masks_of_columns(builder, as_index(context, builder, count, values[4]), tile)
        for i in range(tile.rows):
            with builder.if_then(builder.icmp_signed("<", INDEX(i), lines)):
                vectors = [vector_of(builder, tile, values[5], i, j) for j in range(tile.columns)]
                for v in range(tile.columns):
                    places = [e % tile.columns * width + e // tile.columns for e in range(v * width, (v + 1) * width)]
                    index = builder.add(builder.add(at, builder.mul(skip, INDEX(i))), INDEX(v * width))
                    place = address(context, builder, x, values[0], index)
                    write(builder, place, pick(builder, vectors, places), x.dtype, masks[v])
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, height, count, tile), emit


@intrinsic(prefer_literal=True)
def row(typingctx: Any, tile: Any, m: Any) -> Any:
    """Row m of a tile."""
    result = Tile(tile.dtype, 1, tile.columns, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return tile_from(builder, result, lambda _, v: vector_of(builder, tile, values[0], number(m), v))

    return signature(result, tile, m), emit


@intrinsic
def stack(typingctx: Any, rows: Any) -> Any:
    """One tile of a tuple of rows."""
    tile = rows[0]
    result = Tile(tile.dtype, len(rows), tile.columns, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        tiles = cgutils.unpack_tuple(builder, values[0])
        return tile_from(builder, result, lambda m, v: vector_of(builder, tile, tiles[m], 0, v))

    return signature(result, rows), emit


@intrinsic
def turn(typingctx: Any, tile: Any) -> Any:
    """The tile whose vector (m, v) is the tile's (v, m)."""
    result = Tile(tile.dtype, tile.columns, tile.rows, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return tile_from(builder, result, lambda m, v: vector_of(builder, tile, values[0], v, m))

    return signature(result, tile), emit


@intrinsic(prefer_literal=True)
def arrange(typingctx: Any, tile: Any, rows: Any) -> Any:
    """The same vectors in the same order, in so many rows."""
    result = Tile(tile.dtype, number(rows), tile.rows * tile.columns // number(rows), tile.lanes)
    return signature(result, tile, rows), lambda context, builder, sig, values: values[0]


@intrinsic
def transpose(typingctx: Any, tile: Any) -> Any:
    """Turn a square tile, as many rows of one vector as it has lanes: row i becomes lane i.

    In a round, rows at a distance meet in pairs and swap the blocks of that size beside the diagonal.
    """
    if not isinstance(tile, Tile) or (tile.rows, tile.columns) != (tile.lanes, 1):
        return None

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        count = tile.lanes
        rows = [builder.extract_value(values[0], i) for i in range(count)]
        distance = 1
        while distance < count:
            kept = [i if i & distance == 0 else count + i - distance for i in range(count)]
            given = [i + distance if i & distance == 0 else count + i for i in range(count)]
            upper, lower = (ir.Constant(ir.VectorType(LANE, count), lanes) for lanes in (kept, given))
            for i in range(count):
                if i & distance == 0:
                    x, y = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (builder.shuffle_vector(x, y, half) for half in (upper, lower))
            distance *= 2
        return tile_from(builder, tile, lambda m, v: rows[m])

    return signature(tile, tile), emit


@intrinsic
def size(typingctx: Any, tile: Any) -> Any:
    """How many elements a row of a tile has: for the compiler a constant."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return INDEX(tile.columns * tile.lanes)

    return signature(types.intp, tile), emit


@intrinsic(prefer_literal=True)
def roll(typingctx: Any, tile: Any, count: Any) -> Any:
    """Lane i of each vector from its lane i + count, beyond the end from the beginning."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        places = [(i + number(count)) % tile.lanes for i in range(tile.lanes)]

        def vector_at(m: int, v: int) -> Any:
            vector = vector_of(builder, tile, values[0], m, v)
            return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(LANE, tile.lanes), places))

        return tile_from(builder, tile, vector_at)

    return signature(tile, tile, count), emit


@intrinsic
def first_lane(typingctx: Any, tile: Any) -> Any:
    """The first element of a tile, as a number."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.extract_element(builder.extract_value(values[0], 0), LANE(0))

    return signature(tile.dtype, tile), emit


@intrinsic
def first_true(typingctx: Any, tile: Any) -> Any:
    """The number of the first true lane of a vector of comparisons; that of all lanes if none is true."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        bits = builder.bitcast(builder.extract_value(values[0], 0), ir.IntType(tile.lanes))
        wide = builder.or_(builder.zext(bits, INDEX), INDEX(1 << tile.lanes))  # a bit beyond, which ends the search
        return builder.cttz(wide, ir.IntType(1)(1))

    return signature(types.intp, tile), emit
