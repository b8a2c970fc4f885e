"""The few instructions that numba.cuda does not offer, each beside what the simulator does in its place."""

from typing import Any

import numpy as np

from minigrad.kernels.cuda.machine import SIMULATED

if SIMULATED:

    def load4(pointer: Any, i: int) -> tuple[Any, ...]:
        """Elements i ... i + 3, by one instruction; i is a multiple of 4."""
        if i % 4:
            raise IndexError(f"four elements at {i}")
        return tuple([pointer[i + k] for k in range(4)])

    def store4(pointer: Any, i: int, a: Any, b: Any, c: Any, d: Any) -> None:
        """Write elements i ... i + 3, by one instruction; i is a multiple of 4."""
        if i % 4:
            raise IndexError(f"four elements at {i}")
        for k, value in enumerate((a, b, c, d)):
            pointer[i + k] = value

else:
    from llvmlite import ir

    try:
        from numba.cuda import cgutils, types
        from numba.cuda.extending import intrinsic
    except ImportError:  # numba by itself, without the package numba-cuda
        from numba.core import cgutils, types
        from numba.extending import intrinsic

    def _vector(context: Any, builder: Any, pointer: Any, of: Any, index: Any) -> tuple[Any, Any]:
        """A pointer to a vector of four, and the type of the vector."""
        kind = ir.VectorType(context.get_data_type(of.dtype), 4)
        first = builder.gep(pointer, [index], inbounds=True)
        return builder.bitcast(first, kind.as_pointer()), kind

    def _alignment(of: Any) -> int:
        return min(16, 4 * np.dtype(str(of.dtype)).itemsize)

    @intrinsic
    def load4(typing: Any, pointer: Any, i: Any) -> Any:
        """Elements i ... i + 3, by one instruction; i is a multiple of 4."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place, _ = _vector(context, builder, args[0], pointer, args[1])
            vector = builder.load(place)
            vector.align = _alignment(pointer)
            parts = [builder.extract_element(vector, ir.Constant(ir.IntType(32), k)) for k in range(4)]
            return cgutils.pack_array(builder, parts)

        return types.UniTuple(pointer.dtype, 4)(pointer, i), generate

    @intrinsic
    def store4(typing: Any, pointer: Any, i: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        """Write elements i ... i + 3, by one instruction; i is a multiple of 4."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place, kind = _vector(context, builder, args[0], pointer, args[1])
            vector = ir.Constant(kind, ir.Undefined)
            for k, (value, given) in enumerate(zip(args[2:], signature.args[2:], strict=True)):
                one = context.cast(builder, value, given, pointer.dtype)
                vector = builder.insert_element(vector, one, ir.Constant(ir.IntType(32), k))
            builder.store(vector, place).align = _alignment(pointer)
            return context.get_dummy_value()

        return types.void(pointer, i, a, b, c, d), generate
