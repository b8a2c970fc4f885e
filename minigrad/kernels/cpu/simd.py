"""Tiles: small matrices of vectors that a compiled function keeps in registers.

A vector is 64 bytes, 16 float32 or 8 float64, on every machine; LLVM makes it of one AVX-512 register, two of AVX2 or
four of SSE and NEON. So the order of every sum, and with it every bit, is the same everywhere, but for the rounding
between product and sum where a machine has no fused multiply-add.

    total = full(zero, 4, 2)  # 4 rows of 2 vectors: eight registers
    for k in range(depth):
        total = fma(broadcast(a, k * 4, 4), load(b, k * 32, 0, 1, 2), total)
    store(out, 0, pitch, 4, 32, total)

Arithmetic and comparisons work vector by vector, and a tile of one row or one column is repeated to fit the other.
Sizes of tiles are part of their types: numbers in the source, or integers from the function around the compiled one.
Arrays are C-contiguous and indexed flat, by elements.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as _intrinsic
from numba.extending import lower_builtin, models, register_model

from minigrad.kernels.cpu.compiler import jit

BYTES = 64  # of a vector

intrinsic: Any = _intrinsic  # its calls have one argument less than its definitions, which no type tells

_INDEX = ir.IntType(64)
_LANE = ir.IntType(32)


@functools.cache
def features() -> frozenset[str]:
    """Name the instruction sets that code is compiled for: those of `NUMBA_CPU_FEATURES`, or else the machine's."""
    forced: str | None = vars(config)["CPU_FEATURES"]  # set by numba while it is imported
    listed = forced or llvmlite.binding.get_host_cpu_features().flatten()
    return frozenset(feature[1:] for feature in listed.split(",") if feature.startswith("+"))


def has_fma() -> bool:
    """Whether product and sum can be rounded once: everywhere but on old x86."""
    return "fma" in features() or _is_arm()


def registers() -> int:
    """Return how many vectors of 64 bytes the registers hold."""
    if "avx512f" in features():
        return 32
    return 8 if "avx" in features() or _is_arm() else 4


def _is_arm() -> bool:
    return llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64"))


def lanes(dtype: Any) -> int:
    """Return how many elements of a dtype a vector has."""
    return BYTES // np.dtype(dtype).itemsize


class Tile(types.Type):
    """The type of a tile in a compiled function."""

    def __init__(self, dtype: Any, rows: int, columns: int, lanes: int) -> None:
        self.dtype, self.rows, self.columns, self.lanes = dtype, rows, columns, lanes
        super().__init__(f"Tile({dtype}, {rows}, {columns}, {lanes})")

    @property
    def vector(self) -> ir.VectorType:
        """LLVM's type of one vector."""
        return ir.VectorType(_element(self.dtype), self.lanes)

    def like(self, dtype: Any) -> "Tile":
        """Return the type of a tile of the same shape."""
        return Tile(dtype, self.rows, self.columns, self.lanes)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows * tile.columns))


def _element(dtype: Any) -> ir.Type:
    if dtype == types.boolean:
        return ir.IntType(1)
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def _make(builder: Any, tile: Tile, vector_at: Callable[[int, int], Any]) -> Any:
    """The LLVM value of a tile whose vectors are vector_at(row, column)."""
    out = ir.Constant(ir.ArrayType(tile.vector, tile.rows * tile.columns), ir.Undefined)
    for m in range(tile.rows):
        for v in range(tile.columns):
            out = builder.insert_value(out, vector_at(m, v), m * tile.columns + v)
    return out


def _vector(builder: Any, tile: Tile, value: Any, m: int, v: int) -> Any:
    """The vector of a tile at (m, v), where one row or column stands for all."""
    return builder.extract_value(value, (m if tile.rows > 1 else 0) * tile.columns + (v if tile.columns > 1 else 0))


# Operators and functions of tiles, vector by vector


def _together(operands: Sequence[Any], dtype: Any = None) -> Tile | None:
    """The type of what is computed from tiles vector by vector; None if they do not fit together."""
    if not all(isinstance(operand, Tile) for operand in operands) or len({operand.lanes for operand in operands}) > 1:
        return None
    rows, columns = ({operand.rows for operand in operands}, {operand.columns for operand in operands})
    if len(rows - {1}) > 1 or len(columns - {1}) > 1:
        return None
    return Tile(dtype or operands[-1].dtype, max(rows), max(columns), operands[0].lanes)


def _each(function: Callable[..., Any], emit: Callable[..., Any], arity: int, dtype: Any = None) -> None:
    """Define a function of tiles by `emit(builder, element type, *vectors)`; `dtype` is the result's if not theirs."""

    @infer_global(function)
    class Rule(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            result = _together(args, dtype) if len(args) == arity else None
            return result and signature(result, *args)

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        def vector_at(m: int, v: int) -> Any:
            vectors = [_vector(builder, tile, value, m, v) for tile, value in zip(sig.args, values, strict=True)]
            return emit(builder, sig.args[-1].dtype, *vectors)

        return _make(builder, sig.return_type, vector_at)

    lower_builtin(function, *[Tile] * arity)(lower)


def _arithmetic(name: str) -> Callable[..., Any]:
    def emit(builder: Any, dtype: Any, x: Any, y: Any) -> Any:
        return getattr(builder, f"f{name}" if isinstance(dtype, types.Float) else name)(x, y)

    return emit


def _comparison(sign: str) -> Callable[..., Any]:
    def emit(builder: Any, dtype: Any, x: Any, y: Any) -> Any:
        return (builder.fcmp_ordered if isinstance(dtype, types.Float) else builder.icmp_signed)(sign, x, y)

    return emit


def _fma(builder: Any, dtype: Any, x: Any, y: Any, z: Any) -> Any:
    if not has_fma():
        return builder.fadd(builder.fmul(x, y), z)
    name = f"llvm.fma.v{x.type.count}f{dtype.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3), name)
    return builder.call(function, (x, y, z))


def fma(x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once where the machine can."""
    raise NotImplementedError("only in compiled functions")


def select(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition is true, else y."""
    raise NotImplementedError("only in compiled functions")


def is_nan(x: Any) -> Any:
    """Where x is not a number."""
    raise NotImplementedError("only in compiled functions")


def maximum(x: Any, y: Any) -> Any:
    """The larger of two; NaN if one of them is."""
    raise NotImplementedError("only in compiled functions")


def minimum(x: Any, y: Any) -> Any:
    """The smaller of two; NaN if one of them is."""
    raise NotImplementedError("only in compiled functions")


def _extreme(sign: str) -> Callable[..., Any]:
    def emit(builder: Any, dtype: Any, x: Any, y: Any) -> Any:
        return builder.select(builder.or_(builder.fcmp_ordered(sign, x, y), _unordered(builder, x)), x, y)

    return emit


def _unordered(builder: Any, x: Any) -> Any:
    return builder.fcmp_unordered("uno", x, x)


_each(operator.add, _arithmetic("add"), 2)
_each(operator.sub, _arithmetic("sub"), 2)
_each(operator.mul, _arithmetic("mul"), 2)
_each(operator.truediv, _arithmetic("div"), 2)
for _function, _sign in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _each(_function, _comparison(_sign), 2, types.boolean)
_each(operator.eq, _comparison("=="), 2, types.boolean)
_each(operator.lshift, lambda builder, dtype, x, y: builder.shl(x, y), 2)
_each(operator.rshift, lambda builder, dtype, x, y: builder.ashr(x, y), 2)
_each(operator.and_, lambda builder, dtype, x, y: builder.and_(x, y), 2)
_each(operator.or_, lambda builder, dtype, x, y: builder.or_(x, y), 2)
_each(fma, _fma, 3)
_each(select, lambda builder, dtype, condition, x, y: builder.select(condition, x, y), 3)
_each(is_nan, lambda builder, dtype, x: _unordered(builder, x), 1, types.boolean)
_each(maximum, _extreme(">"), 2)
_each(minimum, _extreme("<"), 2)


# Between memory and tiles


def _address(context: Any, builder: Any, array: Any, value: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array)(context, builder, value).data, [index])


def _as_index(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if not isinstance(kind, types.Integer):  # such as the float64 that numba makes of int64 + uint64
        raise TypingError(f"a place in an array must be an integer, not {kind}")
    return context.cast(builder, value, kind, types.intp)


def _splat(builder: Any, x: Any, count: int) -> Any:
    vector = ir.VectorType(x.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), x, _LANE(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_LANE, count), [0] * count))


def _first(builder: Any, n: Any, count: int) -> Any:
    """The mask of the lanes 0 .. n-1."""
    numbers = ir.Constant(ir.VectorType(_LANE, count), list(range(count)))
    few = builder.select(builder.icmp_signed("<", n, _INDEX(count)), n, _INDEX(count))
    return builder.icmp_signed("<", numbers, _splat(builder, builder.trunc(few, _LANE), count))


def _masks(builder: Any, n: Any, tile: Tile) -> list[Any]:
    """The masks of each column of vectors for the first n elements of a row."""
    return [_first(builder, builder.sub(n, _INDEX(v * tile.lanes)), tile.lanes) for v in range(tile.columns)]


def _read(builder: Any, pointer: Any, tile: Tile, only: Any = None, rest: Any = None) -> Any:
    """A vector from memory; lanes that the mask leaves out are `rest` or zero, and what is there is not touched."""
    vector, size = tile.vector, tile.dtype.bitwidth
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if only is None:
        return builder.load(pointer, align=size // 8)
    name = f"llvm.masked.load.v{tile.lanes}{'f' if isinstance(tile.dtype, types.Float) else 'i'}{size}.p0"
    kinds = [pointer.type, _LANE, only.type, vector]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, kinds), name)
    return builder.call(function, (pointer, _LANE(size // 8), only, rest or ir.Constant(vector, None)))


def _write(builder: Any, pointer: Any, x: Any, dtype: Any, only: Any = None) -> None:
    """Store a vector: all lanes, or those of a mask, which takes longer."""
    size = dtype.bitwidth
    pointer = builder.bitcast(pointer, x.type.as_pointer())
    if only is None:
        builder.store(x, pointer, align=size // 8)
        return
    name = f"llvm.masked.store.v{x.type.count}{'f' if isinstance(dtype, types.Float) else 'i'}{size}.p0"
    kinds = [x.type, pointer.type, _LANE, only.type]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder.call(function, (x, pointer, _LANE(size // 8), only))


def _size(literal: Any) -> int:
    return literal.literal_value


def _tile_of(array: Any, rows: int, columns: int) -> Tile:
    return Tile(array.dtype, rows, columns, BYTES * 8 // array.dtype.bitwidth)


@intrinsic
def width(typingctx: Any, x: Any) -> Any:
    """How many elements of an array a vector has: for the compiler a constant, by which it need not divide."""
    tile = _tile_of(x, 1, 1)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _INDEX(tile.lanes)

    return signature(types.intp, x), emit


@intrinsic(prefer_literal=True)
def full(typingctx: Any, value: Any, rows: Any, columns: Any) -> Any:
    """A tile of one value."""
    dtype = types.unliteral(value)
    tile = Tile(dtype, _size(rows), _size(columns), BYTES * 8 // dtype.bitwidth)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vector = _splat(builder, context.cast(builder, values[0], value, dtype), tile.lanes)
        return _make(builder, tile, lambda m, v: vector)

    return signature(tile, value, rows, columns), emit


@intrinsic
def full_like(typingctx: Any, other: Any, value: Any) -> Any:
    """One vector of one value, with the dtype of another tile."""
    tile = Tile(other.dtype, 1, 1, other.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vector = _splat(builder, context.cast(builder, values[1], value, tile.dtype), tile.lanes)
        return _make(builder, tile, lambda m, v: vector)

    return signature(tile, other, value), emit


@intrinsic(prefer_literal=True)
def load(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, columns: Any) -> Any:
    """Rows of vectors from memory: row m begins at x[start + m * pitch]."""
    tile = _tile_of(x, _size(rows), _size(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))

        def vector_at(m: int, v: int) -> Any:
            index = builder.add(builder.add(at, builder.mul(step, _INDEX(m))), _INDEX(v * tile.lanes))
            return _read(builder, _address(context, builder, x, values[0], index), tile)

        return _make(builder, tile, vector_at)

    return signature(tile, x, start, pitch, rows, columns), emit


@intrinsic(prefer_literal=True)
def load_grid(typingctx: Any, x: Any, start: Any, pitch: Any, step: Any, rows: Any, columns: Any) -> Any:
    """Vectors from memory: the one at (m, v) begins at x[start + m * pitch + v * step]."""
    tile = _tile_of(x, _size(rows), _size(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, down, across = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 3))

        def vector_at(m: int, v: int) -> Any:
            index = builder.add(builder.add(at, builder.mul(down, _INDEX(m))), builder.mul(across, _INDEX(v)))
            return _read(builder, _address(context, builder, x, values[0], index), tile)

        return _make(builder, tile, vector_at)

    return signature(tile, x, start, pitch, step, rows, columns), emit


@intrinsic(prefer_literal=True)
def load_part(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, columns: Any, height: Any, count: Any) -> Any:
    """As `load`, but just the first `count` elements of the first `height` rows are read.

    The other lanes are zero, and the other rows repeat the last.
    """
    tile = _tile_of(x, _size(rows), _size(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step, limit, n = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 5, 6))
        last = builder.sub(limit, _INDEX(1))
        masks = _masks(builder, n, tile)

        def vector_at(m: int, v: int) -> Any:
            row = builder.select(builder.icmp_signed("<", _INDEX(m), last), _INDEX(m), last) if m else _INDEX(0)
            index = builder.add(builder.add(at, builder.mul(step, row)), _INDEX(v * tile.lanes))
            return _read(builder, _address(context, builder, x, values[0], index), tile, masks[v])

        return _make(builder, tile, vector_at)

    return signature(tile, x, start, pitch, rows, columns, height, count), emit


@intrinsic(prefer_literal=True)
def load_line(typingctx: Any, x: Any, start: Any, count: Any, columns: Any, rest: Any) -> Any:
    """One row of vectors from x[start] on, of which `count` elements are read; beyond them comes `rest`."""
    tile = _tile_of(x, 1, _size(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, n = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))
        masks = _masks(builder, n, tile)
        beyond = _splat(builder, context.cast(builder, values[4], rest, x.dtype), tile.lanes)

        def vector_at(m: int, v: int) -> Any:
            place = _address(context, builder, x, values[0], builder.add(at, _INDEX(v * tile.lanes)))
            return _read(builder, place, tile, masks[v], beyond)

        return _make(builder, tile, vector_at)

    return signature(tile, x, start, count, columns, rest), emit


@intrinsic(prefer_literal=True)
def load_wide(typingctx: Any, x: Any, start: Any, count: Any, like: Any) -> Any:
    """One vector of unsigned integers x[start], ... as integers as wide as those of the array `like`.

    Of x, `count` elements are read (None: all); beyond them come zeros.
    """
    tile = _tile_of(like, 1, 1)
    narrow = Tile(x.dtype, 1, 1, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, only = _as_index(context, builder, start, values[1]), None
        if not isinstance(count, types.NoneType):
            only = _first(builder, _as_index(context, builder, count, values[2]), tile.lanes)
        found = _read(builder, _address(context, builder, x, values[0], at), narrow, only)
        wide = found if narrow.vector == tile.vector else builder.zext(found, tile.vector)
        return _make(builder, tile, lambda m, v: wide)

    return signature(tile, x, start, count, like), emit


@intrinsic(prefer_literal=True)
def load_at(typingctx: Any, x: Any, start: Any, offsets: Any, first: Any, columns: Any, count: Any) -> Any:
    """One row of vectors from places of a table: the t-th begins at x[start + offsets[first + t]].

    Of each vector the first `count` elements are read (None: all); the other lanes are zero.
    """
    tile = _tile_of(x, 1, _size(columns))

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, table = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 3))
        only = None
        if not isinstance(count, types.NoneType):
            only = _first(builder, _as_index(context, builder, count, values[5]), tile.lanes)

        def vector_at(m: int, v: int) -> Any:
            place = _address(context, builder, offsets, values[2], builder.add(table, _INDEX(v)))
            index = builder.add(at, builder.load(place))
            return _read(builder, _address(context, builder, x, values[0], index), tile, only)

        return _make(builder, tile, vector_at)

    return signature(tile, x, start, offsets, first, columns, count), emit


@intrinsic(prefer_literal=True)
def broadcast(typingctx: Any, x: Any, start: Any, rows: Any) -> Any:
    """One vector a row, all lanes of row m being x[start + m]."""
    tile = _tile_of(x, _size(rows), 1)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at = _as_index(context, builder, start, values[1])

        def vector_at(m: int, v: int) -> Any:
            place = _address(context, builder, x, values[0], builder.add(at, _INDEX(m)))
            return _splat(builder, builder.load(place), tile.lanes)

        return _make(builder, tile, vector_at)

    return signature(tile, x, start, rows), emit


@intrinsic(prefer_literal=True)
def store(typingctx: Any, x: Any, start: Any, pitch: Any, rows: Any, count: Any, tile: Any) -> Any:
    """Write the first `rows` rows of a tile, of each the first `count` elements: row m to x[start + m * pitch].

    Integers become those of x by cutting off their high bits.
    """
    narrow = isinstance(x.dtype, types.Integer) and _element(x.dtype).width < _element(tile.dtype).width

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step, height, n = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 2, 3, 4))
        masks = _masks(builder, n, tile)
        for m in range(tile.rows):
            with builder.if_then(builder.icmp_signed("<", _INDEX(m), height)):
                for v in range(tile.columns):
                    index = builder.add(builder.add(at, builder.mul(step, _INDEX(m))), _INDEX(v * tile.lanes))
                    vector = _vector(builder, tile, values[5], m, v)
                    if narrow:
                        vector = builder.trunc(vector, ir.VectorType(_element(x.dtype), tile.lanes))
                    _write(builder, _address(context, builder, x, values[0], index), vector, x.dtype, masks[v])
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, rows, count, tile), emit


@intrinsic
def store_whole(typingctx: Any, x: Any, start: Any, pitch: Any, tile: Any) -> Any:
    """As `store`, but all rows and all elements."""
    narrow = isinstance(x.dtype, types.Integer) and _element(x.dtype).width < _element(tile.dtype).width

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, step = (_as_index(context, builder, sig.args[i], values[i]) for i in (1, 2))
        for m in range(tile.rows):
            for v in range(tile.columns):
                index = builder.add(builder.add(at, builder.mul(step, _INDEX(m))), _INDEX(v * tile.lanes))
                vector = _vector(builder, tile, values[3], m, v)
                if narrow:
                    vector = builder.trunc(vector, ir.VectorType(_element(x.dtype), tile.lanes))
                _write(builder, _address(context, builder, x, values[0], index), vector, x.dtype)
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, tile), emit


@jit(forceinline=True)
def load_first(x: Any, start: Any, count: Any, rest: Any) -> Any:
    """One vector from x[start] on, of which at most `count` elements are read; beyond them comes `rest`."""
    return load(x, start, 0, 1, 1) if count >= width(x) else load_line(x, start, count, 1, rest)


@jit(forceinline=True)
def store_first(x: Any, start: Any, count: Any, tile: Any) -> None:
    """Write one vector to x[start] on, or just its first `count` elements."""
    if count >= width(x):
        store_whole(x, start, 0, tile)
    else:
        store(x, start, 0, 1, count, tile)


@intrinsic
def deal(typingctx: Any, tile: Any) -> Any:
    """Deal a row of vectors out, element by element, to as many rows of one vector: element e to row e % rows."""
    ways, width = tile.columns, tile.lanes
    result = Tile(tile.dtype, ways, 1, width)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vectors = [builder.extract_value(values[0], v) for v in range(ways)]
        return _make(builder, result, lambda p, v: _pick(builder, vectors, range(p, ways * width, ways)))

    return signature(result, tile), emit


@intrinsic
def collect(typingctx: Any, tile: Any) -> Any:
    """Put what `deal` dealt out together again."""
    ways, width = tile.rows, tile.lanes
    result = Tile(tile.dtype, 1, ways, width)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vectors = [builder.extract_value(values[0], p) for p in range(ways)]
        places = [e % ways * width + e // ways for e in range(ways * width)]
        return _make(builder, result, lambda m, v: _pick(builder, vectors, places[v * width : (v + 1) * width]))

    return signature(result, tile), emit


def _pick(builder: Any, vectors: list[Any], places: Sequence[int]) -> Any:
    """One vector, lane i of which is element places[i] of the vectors laid end to end."""
    width, out = len(places), vectors[0]
    for v in range(1, len(vectors)):
        at_hand = [place if v == 1 else i for i, place in enumerate(places)]
        lanes = [width + e % width if e // width == v else at_hand[i] % width for i, e in enumerate(places)]
        out = builder.shuffle_vector(out, vectors[v], ir.Constant(ir.VectorType(_LANE, width), lanes))
    return out


@intrinsic(prefer_literal=True)
def deal_lines(
    typingctx: Any, x: Any, start: Any, pitch: Any, above: Any, below: Any, first: Any, stop: Any, ways: Any, side: Any
) -> Any:  # fmt: skip
    """What overlapping squares see, `ways` apart: vector (i, j) is x[p], x[p + ways], ..., p = start + i * pitch + j.

    There are `side` rows and columns. Of line i the elements x[start + i * pitch + e] with first <= e < stop are read
    if above <= i < below; others are zero.
    """
    rows, step = _size(side), _size(ways)
    tile = _tile_of(x, rows, rows)
    width = tile.lanes
    parts = -(-((width - 1) * step + rows) // width)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, skip, top, bottom, begin, end = (_as_index(context, builder, sig.args[i], values[i]) for i in range(1, 7))
        vectors = []
        for i in range(rows):
            inside = builder.and_(
                builder.icmp_signed("<=", top, _INDEX(i)), builder.icmp_signed("<", _INDEX(i), bottom)
            )
            limit, line = builder.select(inside, end, _INDEX(0)), builder.add(at, builder.mul(skip, _INDEX(i)))
            seen = []
            for v in range(parts):
                shift = _INDEX(v * width)
                before = _first(builder, builder.sub(begin, shift), width)
                only = builder.and_(_first(builder, builder.sub(limit, shift), width), builder.not_(before))
                seen.append(
                    _read(builder, _address(context, builder, x, values[0], builder.add(line, shift)), tile, only)
                )
            vectors += [_pick(builder, seen, range(j, j + step * width, step)) for j in range(rows)]
        return _make(builder, tile, lambda m, v: vectors[m * rows + v])

    return signature(tile, x, start, pitch, above, below, first, stop, ways, side), emit


@intrinsic(prefer_literal=True)
def collect_lines(typingctx: Any, x: Any, start: Any, pitch: Any, height: Any, count: Any, tile: Any) -> Any:
    """Write squares that touch, vector (i, j) to x[p], x[p + columns], ... with p = start + i * pitch + j.

    Of the first `height` lines `count` elements are written (None: all).
    """
    width = tile.lanes

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        at, skip, lines = (_as_index(context, builder, sig.args[i], values[i]) for i in range(1, 4))
        masks = [None] * tile.columns
        if not isinstance(count, types.NoneType):
            masks = _masks(builder, _as_index(context, builder, count, values[4]), tile)
        for i in range(tile.rows):
            with builder.if_then(builder.icmp_signed("<", _INDEX(i), lines)):
                vectors = [_vector(builder, tile, values[5], i, j) for j in range(tile.columns)]
                for v in range(tile.columns):
                    places = [e % tile.columns * width + e // tile.columns for e in range(v * width, (v + 1) * width)]
                    index = builder.add(builder.add(at, builder.mul(skip, _INDEX(i))), _INDEX(v * width))
                    place = _address(context, builder, x, values[0], index)
                    _write(builder, place, _pick(builder, vectors, places), x.dtype, masks[v])
        return context.get_dummy_value()

    return signature(types.none, x, start, pitch, height, count, tile), emit


@intrinsic(prefer_literal=True)
def row(typingctx: Any, tile: Any, m: Any) -> Any:
    """Row m of a tile."""
    result = Tile(tile.dtype, 1, tile.columns, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _make(builder, result, lambda _, v: _vector(builder, tile, values[0], _size(m), v))

    return signature(result, tile, m), emit


@intrinsic
def stack(typingctx: Any, rows: Any) -> Any:
    """One tile of a tuple of rows."""
    tile = rows[0]
    result = Tile(tile.dtype, len(rows), tile.columns, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        tiles = cgutils.unpack_tuple(builder, values[0])
        return _make(builder, result, lambda m, v: _vector(builder, tile, tiles[m], 0, v))

    return signature(result, rows), emit


@intrinsic
def turn(typingctx: Any, tile: Any) -> Any:
    """The tile whose vector (m, v) is the tile's (v, m)."""
    result = Tile(tile.dtype, tile.columns, tile.rows, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _make(builder, result, lambda m, v: _vector(builder, tile, values[0], v, m))

    return signature(result, tile), emit


@intrinsic(prefer_literal=True)
def arrange(typingctx: Any, tile: Any, rows: Any) -> Any:
    """The same vectors in the same order, in so many rows."""
    result = Tile(tile.dtype, _size(rows), tile.rows * tile.columns // _size(rows), tile.lanes)
    return signature(result, tile, rows), lambda context, builder, sig, values: values[0]


@intrinsic
def sum_rows(typingctx: Any, tile: Any) -> Any:
    """The sum of a tile's rows, added in pairs."""
    result = Tile(tile.dtype, 1, tile.columns, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        def vector_at(m: int, v: int) -> Any:
            vectors = [_vector(builder, tile, values[0], i, v) for i in range(tile.rows)]
            while len(vectors) > 1:
                pairs = zip(vectors[::2], vectors[1::2], strict=False)
                vectors = [builder.fadd(x, y) for x, y in pairs] + vectors[len(vectors) // 2 * 2 :]
            return vectors[0]

        return _make(builder, result, vector_at)

    return signature(result, tile), emit


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
            upper, lower = (ir.Constant(ir.VectorType(_LANE, count), lanes) for lanes in (kept, given))
            for i in range(count):
                if i & distance == 0:
                    x, y = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (builder.shuffle_vector(x, y, half) for half in (upper, lower))
            distance *= 2
        return _make(builder, tile, lambda m, v: rows[m])

    return signature(tile, tile), emit


@intrinsic
def size(typingctx: Any, tile: Any) -> Any:
    """How many elements a row of a tile has: for the compiler a constant."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _INDEX(tile.columns * tile.lanes)

    return signature(types.intp, tile), emit


@intrinsic(prefer_literal=True)
def roll(typingctx: Any, tile: Any, count: Any) -> Any:
    """Lane i of each vector from its lane i + count, beyond the end from the beginning."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        places = [(i + _size(count)) % tile.lanes for i in range(tile.lanes)]

        def vector_at(m: int, v: int) -> Any:
            vector = _vector(builder, tile, values[0], m, v)
            return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_LANE, tile.lanes), places))

        return _make(builder, tile, vector_at)

    return signature(tile, tile, count), emit


@intrinsic
def first_lane(typingctx: Any, tile: Any) -> Any:
    """The first element of a tile, as a number."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.extract_element(builder.extract_value(values[0], 0), _LANE(0))

    return signature(tile.dtype, tile), emit


@intrinsic
def first_true(typingctx: Any, tile: Any) -> Any:
    """The number of the first true lane of a vector of comparisons; that of all lanes if none is true."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        bits = builder.bitcast(builder.extract_value(values[0], 0), ir.IntType(tile.lanes))
        wide = builder.or_(builder.zext(bits, _INDEX), _INDEX(1 << tile.lanes))  # a bit beyond, which ends the search
        return builder.cttz(wide, ir.IntType(1)(1))

    return signature(types.intp, tile), emit


@intrinsic
def as_integers(typingctx: Any, tile: Any) -> Any:
    """The bits of floats, as signed integers."""
    return _with_other_type(tile, types.int32 if tile.dtype.bitwidth == 32 else types.int64)


@intrinsic
def as_floats(typingctx: Any, tile: Any) -> Any:
    """The floats that have these bits."""
    return _with_other_type(tile, types.float32 if tile.dtype.bitwidth == 32 else types.float64)


def _with_other_type(tile: Tile, dtype: Any) -> Any:
    result = tile.like(dtype)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _make(
            builder, result, lambda m, v: builder.bitcast(_vector(builder, tile, values[0], m, v), result.vector)
        )

    return signature(result, tile), emit


@intrinsic
def sum_lanes(typingctx: Any, tile: Any) -> Any:
    """One row whose elements are the sums of the lanes of each vector, row by row; zero beyond.

    The lanes are summed by halves, for as many vectors together as there are lanes.
    """
    result = Tile(tile.dtype, 1, -(-tile.rows * tile.columns // tile.lanes), tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vectors = [builder.extract_value(values[0], i) for i in range(tile.rows * tile.columns)]
        groups = [vectors[i : i + tile.lanes] for i in range(0, len(vectors), tile.lanes)]
        sums = [_sum_together(builder, group, tile) for group in groups]
        return _make(builder, result, lambda m, v: sums[v])

    return signature(result, tile), emit


def _sum_together(builder: Any, vectors: list[Any], tile: Tile) -> Any:
    """One vector whose lane i is the sum over the lanes of the i-th of up to `lanes` vectors.

    In a round, vectors meet in pairs: one sum holds the folded halves of both, so that their number halves and the
    lanes that each has left do, too.
    """
    count = tile.lanes
    zero = ir.Constant(tile.vector, [0.0] * count)
    vectors = vectors + [zero] * (count - len(vectors))
    width = count
    while width > 1:
        half = width // 2
        low = [start + i for start in range(0, count, width) for i in range(half)]
        first = ir.Constant(ir.VectorType(_LANE, count), _interleave(low, [count + i for i in low], half))
        second = ir.Constant(
            ir.VectorType(_LANE, count), _interleave([i + half for i in low], [count + i + half for i in low], half)
        )
        pairs = zip(vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :], strict=True)
        vectors = [
            builder.fadd(builder.shuffle_vector(x, y, first), builder.shuffle_vector(x, y, second)) for x, y in pairs
        ]
        width = half
    return vectors[0]


def _interleave(x: list[int], y: list[int], size: int) -> list[int]:
    """Runs of `size` from x and y in turn."""
    out = []
    for start in range(0, len(x), size):
        out += x[start : start + size] + y[start : start + size]
    return out
