"""Between memory and tiles: loads and stores, whole or of a part, in rows, grids and from tables of places."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature

from minigrad.kernels.cpu.compiler import jit
from minigrad.kernels.cpu.simd.tile import (
    INDEX,
    LANE,
    Tile,
    as_index,
    element_type,
    intrinsic,
    number,
    splat,
    tile_from,
    tile_of,
    vector_of,
)


def address(context: Any, builder: Any, array: Any, value: Any, index: Any) -> Any:
    """The address of an element of an array."""
    return builder.gep(context.make_array(array)(context, builder, value).data, [index])


def mask_of_first(builder: Any, n: Any, count: int) -> Any:
    """The mask of the lanes 0 .. n-1."""
    numbers = ir.Constant(ir.VectorType(LANE, count), list(range(count)))
    few = builder.select(builder.icmp_signed("<", n, INDEX(count)), n, INDEX(count))
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(few, LANE), count))


def masks_of_columns(builder: Any, n: Any, tile: Tile) -> list[Any]:
    """The masks of each column of vectors for the first n elements of a row."""
    return [mask_of_first(builder, builder.sub(n, INDEX(v * tile.lanes)), tile.lanes) for v in range(tile.columns)]


def read(builder: Any, pointer: Any, tile: Tile, only: Any = None, rest: Any = None) -> Any:
    """A vector from memory; lanes that the mask leaves out are `rest` or zero, and what is there is not touched."""
    vector, size = tile.vector, tile.dtype.bitwidth
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if only is None:
        return builder.load(pointer, align=size // 8)
    name = f"llvm.masked.load.v{tile.lanes}{'f' if isinstance(tile.dtype, types.Float) else 'i'}{size}.p0"
    kinds = [pointer.type, LANE, only.type, vector]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, kinds), name)
    return builder.call(function, (pointer, LANE(size // 8), only, rest or ir.Constant(vector, None)))


def write(builder: Any, pointer: Any, x: Any, dtype: Any, only: Any = None) -> None:
    """Store a vector: all lanes, or those of a mask, which takes longer."""
    size = dtype.bitwidth
    pointer = builder.bitcast(pointer, x.type.as_pointer())
    if only is None:
        builder.store(x, pointer, align=size // 8)
        return
    name = f"llvm.masked.store.v{x.type.count}{'f' if isinstance(dtype, types.Float) else 'i'}{size}.p0"
    kinds = [x.type, pointer.type, LANE, only.type]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder.call(function, (x, pointer, LANE(size // 8), only))


@intrinsic
def width(typingctx: Any, x: Any) -> Any:
    """How many elements of an array a vector has: for the compiler a constant, by which it need not divide."""
    tile = tile_of(x, 1, 1)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return INDEX(tile.lanes)

    return signature(types.intp, x), emit


@intrinsic(prefer_literal=True)
def load(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, columns: Any) -> Any:
    """Rows of vectors from memory: row m begins at x[start + m * pitch]."""
    tile = tile_of(x, number(rows), number(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))

        def vector_at(m: int, v: int) -> Any:
            index = builder.add(builder.add(at, builder.mul(step, INDEX(m))), INDEX(v * tile.lanes))
            return read(builder, address(context, builder, x, values[0], index), tile)

        return tile_from(builder, tile, vector_at)

    return signature(tile, x, start, pitch, rows, columns), emit


@intrinsic(prefer_literal=True)
def load_half(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, columns: Any) -> Any:
    """As `load` of one column, but of each vector just the first half is read; its other lanes are zero."""
    tile = tile_of(x, number(rows), number(columns))
    half = Tile(x.dtype, 1, 1, tile.lanes // 2)
    if tile.columns > 1:
        raise TypingError("halves of vectors are not side by side")

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))
        both = ir.Constant(ir.VectorType(LANE, tile.lanes), list(range(tile.lanes)))

        def vector_at(m: int, v: int) -> Any:
            index = builder.add(at, builder.mul(step, INDEX(m)))
            found = read(builder, address(context, builder, x, values[0], index), half)
            return builder.shuffle_vector(found, ir.Constant(half.vector, None), both)

        return tile_from(builder, tile, vector_at)

    return signature(tile, x, start, pitch, rows, columns), emit


@intrinsic(prefer_literal=True)
def load_grid(typingctx: Any, x: Any, start: Any, pitch: Any, step: Any, rows: Any, columns: Any) -> Any:
    """Vectors from memory: the one at (m, v) begins at x[start + m * pitch + v * step]."""
    tile = tile_of(x, number(rows), number(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, down, across = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 3))

        def vector_at(m: int, v: int) -> Any:
            index = builder.add(builder.add(at, builder.mul(down, INDEX(m))), builder.mul(across, INDEX(v)))
            return read(builder, address(context, builder, x, values[0], index), tile)

        return tile_from(builder, tile, vector_at)

    return signature(tile, x, start, pitch, step, rows, columns), emit


@intrinsic(prefer_literal=True)
def load_part(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, columns: Any, height: Any, count: Any) -> Any:
    """As `load`, but just the first `count` elements of the first `height` rows are read.

    The other lanes are zero, and the other rows repeat the last.
    """
    tile = tile_of(x, number(rows), number(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step, limit, n = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 5, 6))
        last = builder.sub(limit, INDEX(1))
        masks = masks_of_columns(builder, n, tile)

        def vector_at(m: int, v: int) -> Any:
            row = builder.select(builder.icmp_signed("<", INDEX(m), last), INDEX(m), last) if m else INDEX(0)
            index = builder.add(builder.add(at, builder.mul(step, row)), INDEX(v * tile.lanes))
            return read(builder, address(context, builder, x, values[0], index), tile, masks[v])

        return tile_from(builder, tile, vector_at)

    return signature(tile, x, start, pitch, rows, columns, height, count), emit


@intrinsic(prefer_literal=True)
def load_line(typingctx: Any, x: Any, start: Any, count: Any, columns: Any, rest: Any) -> Any:
    """One row of vectors from x[start] on, of which `count` elements are read; beyond them comes `rest`."""
    tile = tile_of(x, 1, number(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, n = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))
        masks = masks_of_columns(builder, n, tile)
        beyond = splat(builder, context.cast(builder, values[4], rest, x.dtype), tile.lanes)

        def vector_at(m: int, v: int) -> Any:
            place = address(context, builder, x, values[0], builder.add(at, INDEX(v * tile.lanes)))
            return read(builder, place, tile, masks[v], beyond)

        return tile_from(builder, tile, vector_at)

    return signature(tile, x, start, count, columns, rest), emit


@intrinsic(prefer_literal=True)
def load_wide(typingctx: Any, x: Any, start: Any, count: Any, like: Any) -> Any:
    """One vector of unsigned integers x[start], ... as integers as wide as those of the array `like`.

    Of x, `count` elements are read (None: all); beyond them come zeros.
    """
    tile = tile_of(like, 1, 1)
    narrow = Tile(x.dtype, 1, 1, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, only = as_index(context, builder, start, values[1]), None
        if not isinstance(count, types.NoneType):
            only = mask_of_first(builder, as_index(context, builder, count, values[2]), tile.lanes)
        found = read(builder, address(context, builder, x, values[0], at), narrow, only)
        wide = found if narrow.vector == tile.vector else builder.zext(found, tile.vector)
        return tile_from(builder, tile, lambda m, v: wide)

    return signature(tile, x, start, count, like), emit


@intrinsic(prefer_literal=True)
def load_at(
    typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, offsets: Any, first: Any, columns: Any, count: Any
) -> Any:  # fmt: skip
    """Vectors from places of a table: the one at (m, t) begins at x[start + m * pitch + offsets[first + t]].

    Of each vector the first `count` elements are read (None: all); the other lanes are zero.
    """
    tile = tile_of(x, number(rows), number(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step, table = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 5))
        only = None
        if not isinstance(count, types.NoneType):
            only = mask_of_first(builder, as_index(context, builder, count, values[7]), tile.lanes)
        places = [
            builder.load(address(context, builder, offsets, values[4], builder.add(table, INDEX(t))))
            for t in range(tile.columns)
        ]

        def vector_at(m: int, t: int) -> Any:
            index = builder.add(builder.add(at, builder.mul(step, INDEX(m))), places[t])
            return read(builder, address(context, builder, x, values[0], index), tile, only)

        return tile_from(builder, tile, vector_at)

    return signature(tile, x, start, pitch, rows, offsets, first, columns, count), emit


@intrinsic(prefer_literal=True)
def broadcast(typingctx: Any, x: Any, start: Any, rows: Any) -> Any:
    """One vector a row, all lanes of row m being x[start + m]."""
    return _broadcast(x, (x, start, rows), rows, None)


@intrinsic(prefer_literal=True)
def broadcast_apart(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any) -> Any:
    """One vector a row, all lanes of row m being x[start + m * pitch]."""
    return _broadcast(x, (x, start, pitch, rows), rows, pitch)


def _broadcast(x: Any, args: tuple[Any, ...], rows: Any, pitch: Any) -> Any:
    tile = tile_of(x, number(rows), 1)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at = as_index(context, builder, args[1], values[1])
        step = INDEX(1) if pitch is None else as_index(context, builder, pitch, values[2])

        def vector_at(m: int, v: int) -> Any:
            place = address(context, builder, x, values[0], builder.add(at, builder.mul(step, INDEX(m))))
            return splat(builder, builder.load(place), tile.lanes)

        return tile_from(builder, tile, vector_at)

    return signature(tile, *args), emit


@intrinsic(prefer_literal=True)
def store(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, count: Any, tile: Any) -> Any:
    """Write the first `rows` rows of a tile, of each the first `count` elements: row m to x[start + m * pitch].

    Integers become those of x by cutting off their high bits.
    """
    narrow = isinstance(x.dtype, types.Integer) and element_type(x.dtype).width < element_type(tile.dtype).width

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step, height, n = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 3, 4))
        masks = masks_of_columns(builder, n, tile)
        for m in range(tile.rows):
            with builder.if_then(builder.icmp_signed("<", INDEX(m), height)):
                for v in range(tile.columns):
                    index = builder.add(builder.add(at, builder.mul(step, INDEX(m))), INDEX(v * tile.lanes))
                    vector = vector_of(builder, tile, values[5], m, v)
                    if narrow:
                        vector = builder.trunc(vector, ir.VectorType(element_type(x.dtype), tile.lanes))
                    write(builder, address(context, builder, x, values[0], index), vector, x.dtype, masks[v])
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, rows, count, tile), emit


@intrinsic
def store_whole(typingctx: Any, x: Any, start: Any, pitch: Any, tile: Any) -> Any:
    """As `store`, but all rows and all elements."""
    narrow = isinstance(x.dtype, types.Integer) and element_type(x.dtype).width < element_type(tile.dtype).width

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))
        for m in range(tile.rows):
            for v in range(tile.columns):
                index = builder.add(builder.add(at, builder.mul(step, INDEX(m))), INDEX(v * tile.lanes))
                vector = vector_of(builder, tile, values[3], m, v)
                if narrow:
                    vector = builder.trunc(vector, ir.VectorType(element_type(x.dtype), tile.lanes))
                write(builder, address(context, builder, x, values[0], index), vector, x.dtype)
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, tile), emit


@jit(forceinline=True)
def load_first(x: Any, start: Any, count: Any, rest: Any) -> Any:
    """One vector from x[start] on, of which at most `count` elements are read; beyond them comes `rest`."""
    return load(x, start, 0, 1, 1) if count >= width(x) else load_line(x, start, count, 1, rest)


@intrinsic(prefer_literal=True)
def prefetch(typingctx: Any, x: Any, start: Any, vectors: Any) -> Any:
    """Ask for so many vectors from x[start] on, to be there when they are loaded; they may lie outside of the array."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, lanes, byte = as_index(context, builder, start, values[1]), tile_of(x, 1, 1).lanes, ir.IntType(8)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), LANE, LANE, LANE])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for v in range(number(vectors)):
            place = address(context, builder, x, values[0], builder.add(at, INDEX(v * lanes)))
            reads, near, data = LANE(0), LANE(3), LANE(1)
            builder.call(function, (builder.bitcast(place, byte.as_pointer()), reads, near, data))
        return context.get_dummy_value()

    return signature(types.none, x, start, vectors), emit


@intrinsic
def store_at(
    typingctx: Any, x: Any, start: Any, pitch: Any, offsets: Any, first: Any, count: Any, tile: Any
) -> Any:  # fmt: skip
    """Write vectors to places of a table, as `load_at` reads them; of a row the first `count` (None: all)."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step, table = (as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 4))

        def write_column(v: int) -> None:
            place = builder.load(address(context, builder, offsets, values[3], builder.add(table, INDEX(v))))
            for m in range(tile.rows):
                index = builder.add(builder.add(at, builder.mul(step, INDEX(m))), place)
                vector = vector_of(builder, tile, values[6], m, v)
                write(builder, address(context, builder, x, values[0], index), vector, x.dtype)

        for v in range(tile.columns):
            if isinstance(count, types.NoneType):
                write_column(v)
            else:
                with builder.if_then(builder.icmp_signed(">", as_index(context, builder, count, values[5]), INDEX(v))):
                    write_column(v)
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, offsets, first, count, tile), emit


@jit(forceinline=True)
def store_first(x: Any, start: Any, count: Any, tile: Any) -> None:
    """Write one vector to x[start] on, or just its first `count` elements."""
    if count >= width(x):
        store_whole(x, start, 0, tile)
    else:
        store(x, start, 0, 1, count, tile)
