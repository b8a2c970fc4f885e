"""Tiles: small matrices of vectors that a compiled function keeps in registers.

A vector is 64 bytes, 16 float32 or 8 float64, on every machine; LLVM makes it of one AVX-512 register, two of AVX2 or
four of SSE and NEON. So a tile has the same bits everywhere, but for the rounding between product and sum where a
machine has no fused multiply-add. A kernel that cuts a long sum by what its registers hold adds up in another order.

    total = full(zero, 4, 2)  # 4 rows of 2 vectors: eight registers
    for k in range(depth):
        total = fma(broadcast(a, k * 4, 4), load(b, k * 32, 0, 1, 2), total)
    store(out, 0, pitch, 4, 32, total)

Arithmetic and comparisons work vector by vector, and a tile of one row or one column is repeated to fit the other.
Sizes of tiles are part of their types: numbers in the source, or integers from the function around the compiled one.
Arrays are C-contiguous and indexed flat, by elements.
"""

from minigrad.kernels.cpu.simd.arithmetic import (
    as_floats,
    as_integers,
    fma,
    fma_rows,
    full,
    full_like,
    is_nan,
    maximum,
    minimum,
    select,
    sqrt,
    sum_lanes,
    sum_rows,
    widen,
)
from minigrad.kernels.cpu.simd.memory import (
    broadcast,
    broadcast_apart,
    load,
    load_at,
    load_first,
    load_grid,
    load_half,
    load_line,
    load_part,
    load_wide,
    prefetch,
    store,
    store_at,
    store_first,
    store_whole,
    width,
)
from minigrad.kernels.cpu.simd.order import (
    arrange,
    collect,
    collect_lines,
    deal,
    deal_lines,
    first_lane,
    first_true,
    load_every,
    roll,
    row,
    size,
    stack,
    transpose,
    turn,
)
from minigrad.kernels.cpu.simd.tile import BYTES, Tile, features, has_fma, lanes, registers

__all__ = [
    "BYTES",
    "Tile",
    "arrange",
    "as_floats",
    "as_integers",
    "broadcast",
    "broadcast_apart",
    "collect",
    "collect_lines",
    "deal",
    "deal_lines",
    "features",
    "first_lane",
    "first_true",
    "fma",
    "fma_rows",
    "full",
    "full_like",
    "has_fma",
    "is_nan",
    "lanes",
    "load",
    "load_at",
    "load_every",
    "load_first",
    "load_grid",
    "load_half",
    "load_line",
    "load_part",
    "load_wide",
    "maximum",
    "minimum",
    "prefetch",
    "registers",
    "roll",
    "row",
    "select",
    "size",
    "sqrt",
    "stack",
    "store",
    "store_at",
    "store_first",
    "store_whole",
    "sum_lanes",
    "sum_rows",
    "transpose",
    "turn",
    "widen",
    "width",
]
