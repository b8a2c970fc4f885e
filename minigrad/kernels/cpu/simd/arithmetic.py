"""Arithmetic, comparisons and other functions of tiles, vector by vector, and sums of a tile."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from minigrad.kernels.cpu.simd.tile import (
    BYTES,
    LANE,
    Tile,
    has_fma,
    intrinsic,
    number,
    splat,
    tile_from,
    vector_of,
)


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
            vectors = [vector_of(builder, tile, value, m, v) for tile, value in zip(sig.args, values, strict=True)]
            return emit(builder, sig.args[-1].dtype, *vectors)

        return tile_from(builder, sig.return_type, vector_at)

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
    return _intrinsic("fma", builder, x, y, z) if has_fma() else builder.fadd(builder.fmul(x, y), z)


def _intrinsic(name: str, builder: Any, *vectors: Any) -> Any:
    """Call LLVM's function of vectors of floats."""
    kind = vectors[0].type
    name = f"llvm.{name}.v{kind.count}{'f32' if kind.element == ir.FloatType() else 'f64'}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(vectors)), name)
    return builder.call(function, vectors)


def fma(x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once where the machine can."""
    raise NotImplementedError("only in compiled functions")


def select(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition is true, else y."""
    raise NotImplementedError("only in compiled functions")


def sqrt(x: Any) -> Any:
    """The square root, correctly rounded."""
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
_each(operator.neg, lambda builder, dtype, x: builder.fneg(x), 1)
_each(abs, lambda builder, dtype, x: _intrinsic("fabs", builder, x), 1)
_each(sqrt, lambda builder, dtype, x: _intrinsic("sqrt", builder, x), 1)
_each(fma, _fma, 3)
_each(select, lambda builder, dtype, condition, x, y: builder.select(condition, x, y), 3)
_each(is_nan, lambda builder, dtype, x: _unordered(builder, x), 1, types.boolean)
_each(maximum, _extreme(">"), 2)
_each(minimum, _extreme("<"), 2)


@intrinsic(prefer_literal=True)
def full(typingctx: Any, value: Any, rows: Any, columns: Any) -> Any:
    """A tile of one value."""
    dtype = types.unliteral(value)
    tile = Tile(dtype, number(rows), number(columns), BYTES * 8 // dtype.bitwidth)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vector = splat(builder, context.cast(builder, values[0], value, dtype), tile.lanes)
        return tile_from(builder, tile, lambda m, v: vector)

    return signature(tile, value, rows, columns), emit


@intrinsic
def full_like(typingctx: Any, other: Any, value: Any) -> Any:
    """One vector of one value, with the dtype of another tile."""
    tile = Tile(other.dtype, 1, 1, other.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        vector = splat(builder, context.cast(builder, values[1], value, tile.dtype), tile.lanes)
        return tile_from(builder, tile, lambda m, v: vector)

    return signature(tile, other, value), emit


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
        return tile_from(
            builder, result, lambda m, v: builder.bitcast(vector_of(builder, tile, values[0], m, v), result.vector)
        )

    return signature(result, tile), emit


@intrinsic
def widen(typingctx: Any, tile: Any) -> Any:
    """The same floats as float64: of each vector of float32 two, its first half and the other."""
    parts = 64 // tile.dtype.bitwidth
    result = Tile(types.float64, tile.rows, parts * tile.columns, tile.lanes // parts)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        def vector_at(m: int, v: int) -> Any:
            vector = vector_of(builder, tile, values[0], m, v // parts)
            if parts == 1:
                return vector
            half = [v % 2 * result.lanes + i for i in range(result.lanes)]
            places = ir.Constant(ir.VectorType(LANE, result.lanes), half)
            return builder.fpext(builder.shuffle_vector(vector, vector, places), result.vector)

        return tile_from(builder, result, vector_at)

    return signature(result, tile), emit


@intrinsic
def sum_rows(typingctx: Any, tile: Any) -> Any:
    """The sum of a tile's rows, added in pairs."""
    result = Tile(tile.dtype, 1, tile.columns, tile.lanes)

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        def vector_at(m: int, v: int) -> Any:
            vectors = [vector_of(builder, tile, values[0], i, v) for i in range(tile.rows)]
            while len(vectors) > 1:
                pairs = zip(vectors[::2], vectors[1::2], strict=False)
                vectors = [builder.fadd(x, y) for x, y in pairs] + vectors[len(vectors) // 2 * 2 :]
            return vectors[0]

        return tile_from(builder, result, vector_at)

    return signature(result, tile), emit


@intrinsic
def fma_rows(typingctx: Any, x: Any, y: Any, total: Any) -> Any:
    """Correlate rows: row i of the total and the sum over j of x[j] * y[i + j]; y has rows for all of them."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        def vector_at(i: int, v: int) -> Any:
            out = vector_of(builder, total, values[2], i, v)
            for j in range(x.rows):
                factor = builder.extract_value(values[0], j * x.columns + (v if x.columns > 1 else 0))
                out = _fma(builder, x.dtype, factor, builder.extract_value(values[1], (i + j) * y.columns + v), out)
            return out

        return tile_from(builder, total, vector_at)

    return signature(total, x, y, total), emit


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
        return tile_from(builder, result, lambda m, v: sums[v])

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
        first = ir.Constant(ir.VectorType(LANE, count), _interleave(low, [count + i for i in low], half))
        second = ir.Constant(
            ir.VectorType(LANE, count), _interleave([i + half for i in low], [count + i + half for i in low], half)
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
