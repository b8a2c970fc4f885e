"""The type of tiles, how the machine's registers hold it, and what all functions of tiles are made of."""

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import config, types
from numba.core.errors import TypingError
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, register_model

BYTES = 64  # of a vector

intrinsic: Any = _intrinsic  # its calls have one argument less than its definitions, which no type tells

INDEX = ir.IntType(64)
LANE = ir.IntType(32)


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
        return ir.VectorType(element_type(self.dtype), self.lanes)

    def like(self, dtype: Any) -> "Tile":
        """Return the type of a tile of the same shape."""
        return Tile(dtype, self.rows, self.columns, self.lanes)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows * tile.columns))


def element_type(dtype: Any) -> ir.Type:
    """LLVM's type of one element."""
    if dtype == types.boolean:
        return ir.IntType(1)
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def tile_from(builder: Any, tile: Tile, vector_at: Callable[[int, int], Any]) -> Any:
    """The LLVM value of a tile whose vectors are vector_at(row, column)."""
    out = ir.Constant(ir.ArrayType(tile.vector, tile.rows * tile.columns), ir.Undefined)
    for m in range(tile.rows):
        for v in range(tile.columns):
            out = builder.insert_value(out, vector_at(m, v), m * tile.columns + v)
    return out


def vector_of(builder: Any, tile: Tile, value: Any, m: int, v: int) -> Any:
    """The vector of a tile at (m, v), where one row or column stands for all."""
    return builder.extract_value(value, (m if tile.rows > 1 else 0) * tile.columns + (v if tile.columns > 1 else 0))


def tile_of(array: Any, rows: int, columns: int) -> Tile:
    """The type of a tile of an array's elements."""
    return Tile(array.dtype, rows, columns, BYTES * 8 // array.dtype.bitwidth)


def splat(builder: Any, x: Any, count: int) -> Any:
    """A vector of one value."""
    vector = ir.VectorType(x.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), x, LANE(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(LANE, count), [0] * count))


def number(literal: Any) -> int:
    """The number that a literal type stands for."""
    return literal.literal_value


def as_index(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """A place in an array, as LLVM's 64-bit integer."""
    if not isinstance(kind, types.Integer):  # such as the float64 that numba makes of int64 + uint64
        raise TypingError(f"a place in an array must be an integer, not {kind}")
    return context.cast(builder, value, kind, types.intp)
