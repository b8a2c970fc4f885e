"""The few instructions that numba.cuda does not offer, each beside what the simulator does in its place.

A register tile is a tuple: numbers that every thread has for itself, and that are never indexed by a variable.
"""

import functools
import sys
import threading
from typing import Any

import numpy as np

from minigrad.kernels.cuda.machine import SIMULATED

if SIMULATED:
    from numba.cuda.simulator import kernel as simulation

    _fetching = threading.local()  # arrives as late as it may

    def load(x: Any, i: int) -> Any:
        """Element i of what a pointer points to; a number is all of its elements."""
        return x if isinstance(x, np.generic) else x[i]

    def load4(pointer: Any, i: int) -> tuple[Any, ...]:
        """Elements i ... i + 3, by one instruction; i is a multiple of 4. A number is all of its elements."""
        if isinstance(pointer, np.generic):
            return (pointer,) * 4
        if i % 4:
            raise IndexError(f"four elements at {i}")
        return tuple([pointer[i + k] for k in range(4)])

    def store4(pointer: Any, i: int, a: Any, b: Any, c: Any, d: Any) -> None:
        """Write elements i ... i + 3, by one instruction; i is a multiple of 4."""
        if i % 4:
            raise IndexError(f"four elements at {i}")
        for k, value in enumerate((a, b, c, d)):
            pointer[i + k] = value

    def constant4(pointer: Any, i: int, more: int) -> tuple[Any, ...]:
        """Four integers from element i + more on of what nobody writes while the kernel runs; both are multiples of 4.

        `more` becomes part of the instruction where it is a constant.
        """
        return load4(pointer, i + more)

    def fetch(copy: Any, i: int, more: int, pointer: Any, j: int, wanted: bool) -> None:
        """copy[i + more] = pointer[j] if wanted else 0, in shared memory, at the latest when `fetched` returns."""
        _fetching.__dict__.setdefault("copies", []).append((copy, i + more, pointer[j] if wanted else 0))

    def fetched() -> None:
        """Wait for what this thread fetches; other threads see it after the next barrier."""
        for copy, i, value in _fetching.__dict__.pop("copies", ()):
            copy[i] = value

    def divided(i: int, by: int) -> int:
        """i // by of numbers that are not negative."""
        return i // by

    def shared(count: int, dtype: Any) -> Any:
        """A pointer to memory that the threads of a block share; each line of a kernel has memory of its own."""
        frame = sys._getframe(1)
        memory = simulation._get_kernel_context()._shared._allocations
        return memory.setdefault((frame.f_code.co_filename, frame.f_lineno), np.full(count, 99, str(dtype)))

    def beside(number: Any, step: int) -> Any:
        """The number of the thread whose own number differs by one bit, `step`; all threads of a warp ask together."""
        context = simulation._get_kernel_context()
        numbers = context._shared._allocations.setdefault("beside", {})
        context.syncthreads()
        numbers[context.threadIdx.x] = number
        context.syncthreads()
        return numbers[context.threadIdx.x ^ step]

    def zeros(count: int, dtype: Any) -> Any:
        """A tuple of so many zeros."""
        return np.full(count, 0, str(dtype))

    @functools.cache
    def outer_products(size: int, depth: int, line: int, group: int) -> Any:
        """total[i, j] + the sum over k of x[k, i] * y[k, j], for a tile of so many rows and columns.

        The operands lie in shared memory from elements `at` and `beside` on: line after line, of each line groups of
        four neighbours.
        """
        places = np.arange(depth)[:, None, None] * line + np.arange(size // 4)[:, None] * group + np.arange(4)
        places = places.reshape(depth, size)

        def add(total: Any, x: Any, at: int, y: Any, beside: int) -> Any:
            if at % 4 or beside % 4:
                raise IndexError(f"four elements at {at} and {beside}")
            return total + (x[at + places].T @ y[beside + places]).reshape(-1)

        return add

    @functools.cache
    def tensor_products(depth: int, line: int) -> Any:
        """total[i, j] + the sum over k of x[k, i] * y[k, j], by the tensor cores, for 64 x 32 numbers of a warp.

        The factors are rounded to TF32, to 11 bits. Lane 4 g + q has of the tile 8 rows, g, g + 8, g + 16, ..., and 8
        columns, 2 q and 2 q + 1, and those 8, 16 and 24 further. The operands lie in shared memory, line after line;
        `at` and `beside` are elements g of line q of the tile's first numbers, both multiples of 8 but for g.
        """

        def rounded(x: Any) -> Any:
            return ((x.view(np.uint32) + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)

        def add(total: Any, x: Any, at: int, y: Any, beside: int) -> Any:
            first, row = divmod(at, line)
            g, q = row % 8, first % 4
            lines = (first - q + np.arange(depth))[:, None] * line
            rows = row + 8 * np.arange(8)
            columns = beside % line - g + 2 * q + np.array([0, 1, 8, 9, 16, 17, 24, 25])
            return total + (rounded(x[lines + rows]).T @ rounded(y[lines + columns])).reshape(-1)

        return add

    def store_each(pointer: Any, total: Any, rows: Any, columns: Any) -> None:
        """Write total[i, j] at rows[i] + columns[j], where neither of the two is negative."""
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if row >= 0 and column >= 0:
                    pointer[row + column] = total[i * len(columns) + j]

    def store_fours(pointer: Any, total: Any, rows: Any, columns: Any) -> None:
        """The same by fours, for columns of which each four begin at a multiple of 4 and are neighbours."""
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if row >= 0 and column >= 0 and j % 4 == 0:
                    store4(pointer, row + column, *total[i * len(columns) + j :][:4])

    def plus_columns(total: Any, shift: Any, columns: Any) -> Any:
        """total[i, j] + shift[columns[j]], where the column is not negative."""
        shifts = [shift[column] if column >= 0 else 0 for column in columns]
        return total + np.tile(np.array(shifts, total.dtype), len(total) // len(columns))

    def store_largest(pointer: Any, winners: Any, total: Any, shifts: Any, rows: Any, columns: Any, relu: bool) -> None:
        """Of each four columns write the largest total[i, j] + shifts[i], and which it is.

        It is the first of equals, and the last NaN; with `relu` it is 0 where none is above, and -1 says so.
        """
        for i, row in enumerate(rows):
            for j in range(0, len(columns), 4):
                if row < 0 or columns[j] < 0:
                    continue
                values = [value + shifts[i] for value in total[i * len(columns) + j :][:4]]
                best, winner = values[0], 0
                for k, value in enumerate(values):
                    if value > best or value != value:
                        best, winner = value, k
                if relu and not best > 0:
                    best, winner = best if best != best else 0, -1
                pointer[row + columns[j]], winners[row + columns[j]] = best, winner

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
    def load(typing: Any, x: Any, i: Any) -> Any:
        """Element i of what a pointer points to; a number is all of its elements."""
        if not isinstance(x, types.CPointer):
            return x(x, i), lambda context, builder, signature, args: args[0]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.gep(args[0], [args[1]], inbounds=True))

        return x.dtype(x, i), generate

    @intrinsic
    def load4(typing: Any, pointer: Any, i: Any) -> Any:
        """Elements i ... i + 3, by one instruction; i is a multiple of 4. A number is all of its elements."""
        if not isinstance(pointer, types.CPointer):
            fours = types.UniTuple(pointer, 4)
            return fours(pointer, i), lambda context, builder, signature, args: cgutils.pack_array(
                builder, [args[0]] * 4
            )

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

    def _assembly(builder: Any, result: Any, operands: list[Any], text: str, constraints: str) -> Any:
        """A call of PTX; it may be moved and repeated unless it changes memory or needs all threads of a warp."""
        kind = ir.FunctionType(result, [operand.type for operand in operands])
        together = ".sync." in text  # then it is not copied into branches either
        assembly = ir.InlineAsm(kind, text, constraints, together or "memory" in constraints)
        return builder.call(assembly, operands, attrs=("convergent",) if together else ())

    def _in_global(builder: Any, pointer: Any, index: Any) -> Any:
        """The address of an element as a number."""
        place = builder.gep(pointer, [index], inbounds=True)
        return builder.ptrtoint(builder.addrspacecast(place, ir.PointerType(place.type.pointee, 1)), ir.IntType(64))

    @intrinsic
    def constant4(typing: Any, pointer: Any, i: Any, more: Any) -> Any:
        """Four integers from element i + more on of what nobody writes while the kernel runs; both are multiples of 4.

        `more` becomes part of the instruction where it is a constant.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bits, parts = pointer.dtype.bitwidth, []
            letter, kind = "l" if bits == 64 else "r", ir.IntType(bits)
            first = builder.gep(args[0], [args[1]], inbounds=True)
            for k in range(0, 4, 128 // bits):  # 16 bytes at a time
                place = _in_global(builder, first, builder.add(args[2], ir.Constant(args[2].type, k)))
                count = 128 // bits
                names = ", ".join(f"${e}" for e in range(count))
                text = f"ld.global.nc.v{count}.b{bits} {{{names}}}, [${count}];"
                result = ir.LiteralStructType([kind] * count)
                vector = _assembly(builder, result, [place], text, ",".join([f"={letter}"] * count + ["l"]))
                parts += [builder.extract_value(vector, e) for e in range(count)]
            return cgutils.pack_array(builder, parts)

        return types.UniTuple(pointer.dtype, 4)(pointer, i, more), generate

    @intrinsic
    def fetch(typing: Any, copy: Any, i: Any, more: Any, pointer: Any, j: Any, wanted: Any) -> Any:
        """copy[i + more] = pointer[j] if wanted else 0, in shared memory, at the latest when `fetched` returns."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            size, word = pointer.dtype.bitwidth // 8, ir.IntType(32)
            to = builder.gep(builder.gep(args[0], [args[1]], inbounds=True), [args[2]], inbounds=True)
            if size < 4:  # the instruction has words only
                with builder.if_else(args[5]) as (found, missing):
                    with found:
                        builder.store(builder.load(builder.gep(args[3], [args[4]], inbounds=True)), to)
                    with missing:
                        builder.store(ir.Constant(to.type.pointee, None), to)
                return context.get_dummy_value()
            to = builder.ptrtoint(builder.addrspacecast(to, ir.PointerType(to.type.pointee, 3)), word)
            read = builder.select(args[5], ir.Constant(word, size), ir.Constant(word, 0))  # the rest is filled with 0
            _assembly(
                builder,
                ir.VoidType(),
                [to, _in_global(builder, args[3], args[4]), read],
                f"cp.async.ca.shared.global [$0], [$1], {size}, $2;",
                "r,l,r,~{memory}",
            )
            return context.get_dummy_value()

        return types.void(copy, i, more, pointer, j, types.boolean), generate

    @intrinsic
    def fetched(typing: Any) -> Any:
        """Wait for what this thread fetches; other threads see it after the next barrier."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _assembly(builder, ir.VoidType(), [], "cp.async.wait_all;", "~{memory}")
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def divided(typing: Any, i: Any, by: Any) -> Any:
        """i // by of numbers that are not negative."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.udiv(*args)

        return i(i, i), generate

    @intrinsic
    def shared(typing: Any, count: Any, dtype: Any) -> Any:
        """A pointer to memory that the threads of a block share, which begins at a multiple of 16 bytes."""
        if not isinstance(count, types.IntegerLiteral):
            return None  # asked again with the literal

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.ArrayType(context.get_data_type(dtype.dtype), count.literal_value)
            name = builder.module.get_unique_name("shared")
            memory = cgutils.add_global_variable(builder.module, kind, name, addrspace=3)
            memory.align, memory.linkage, memory.initializer = 16, "internal", ir.Constant(kind, ir.Undefined)
            return builder.addrspacecast(memory, kind.element.as_pointer(), "generic")

        return types.CPointer(dtype.dtype)(count, dtype), generate

    @intrinsic
    def beside(typing: Any, number: Any, step: Any) -> Any:
        """The number of the thread whose own number differs by one bit, `step`; all threads of a warp ask together."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word, kind = ir.IntType(32), args[0].type
            bits = number.bitwidth
            whole, step = ir.IntType(max(bits, 32)), builder.trunc(args[1], word) if args[1].type != word else args[1]
            number_bits = builder.bitcast(args[0], ir.IntType(bits))
            rest, found = builder.zext(number_bits, whole) if bits < 32 else number_bits, ir.Constant(whole, 0)
            for start in range(0, max(bits, 32), 32):
                one = builder.lshr(rest, ir.Constant(whole, start))
                one = builder.trunc(one, word) if bits > 32 else one
                text = "shfl.sync.bfly.b32 $0, $1, $2, 31, 0xffffffff;"
                other = _assembly(builder, word, [one, step], text, "=r,r,r")
                other = builder.zext(other, whole) if bits > 32 else other
                found = builder.or_(found, builder.shl(other, ir.Constant(whole, start)))
            return builder.bitcast(builder.trunc(found, ir.IntType(bits)) if bits < 32 else found, kind)

        return number(number, step), generate

    @intrinsic
    def zeros(typing: Any, count: Any, dtype: Any) -> Any:
        """A tuple of so many zeros."""
        if not isinstance(count, types.IntegerLiteral):
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(context.get_value_type(signature.return_type), None)

        return types.UniTuple(dtype.dtype, count.literal_value)(count, dtype), generate

    @functools.cache
    def outer_products(size: int, depth: int, line: int, group: int) -> Any:
        """total[i, j] + the sum over k of x[k, i] * y[k, j], for a tile of so many rows and columns.

        The operands lie in shared memory from elements `at` and `beside` on: line after line, of each line groups of
        four neighbours.
        """

        def numbers(builder: Any, kind: Any, first: Any, k: int, alignment: int) -> list[Any]:
            found = []
            for start in range(k * line, k * line + size // 4 * group, group):
                place = builder.gep(first, [ir.Constant(ir.IntType(32), start)], inbounds=True)
                vector = builder.load(builder.bitcast(place, ir.VectorType(kind, 4).as_pointer()))
                vector.align = alignment
                found += [builder.extract_element(vector, ir.Constant(ir.IntType(32), e)) for e in range(4)]
            return found

        @intrinsic
        def add(typing: Any, total: Any, x: Any, at: Any, y: Any, beside: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                kind, floating = context.get_data_type(x.dtype), isinstance(x.dtype, types.Float)
                sums = [builder.extract_value(args[0], e) for e in range(size * size)]
                first, second = (builder.gep(args[k], [args[k + 1]], inbounds=True) for k in (1, 3))
                for k in range(depth):
                    down, across = (numbers(builder, kind, one, k, _alignment(x)) for one in (first, second))
                    for e, (a, b) in enumerate((a, b) for a in down for b in across):
                        sums[e] = builder.fma(a, b, sums[e]) if floating else builder.add(sums[e], builder.mul(a, b))
                return cgutils.pack_array(builder, sums)

            return total(total, x, at, y, beside), generate

        return add

    @functools.cache
    def tensor_products(depth: int, line: int) -> Any:
        """total[i, j] + the sum over k of x[k, i] * y[k, j], by the tensor cores, for 64 x 32 numbers of a warp.

        The factors are rounded to TF32, to 11 bits. Lane 4 g + q has of the tile 8 rows, g, g + 8, g + 16, ..., and 8
        columns, 2 q and 2 q + 1, and those 8, 16 and 24 further. The operands lie in shared memory, line after line;
        `at` and `beside` are elements g of line q of the tile's first numbers, both multiples of 8 but for g.
        """
        step = 8 if depth % 8 == 0 else 4  # terms of one instruction

        def rounded(builder: Any, first: Any, places: list[int]) -> list[Any]:
            found = []
            for start in places:
                one = builder.load(builder.gep(first, [ir.Constant(ir.IntType(32), start)], inbounds=True))
                found.append(_assembly(builder, ir.IntType(32), [one], "cvt.rna.tf32.f32 $0, $1;", "=r,f"))
            return found

        def multiplied(builder: Any, sums: list[Any], a: list[Any], b: list[Any]) -> list[Any]:
            """Four sums, of two rows and two columns, with the products of one instruction added."""
            names = [f"${k}" for k in range(8 + len(a) + len(b))]
            of_a, of_b = names[4 : 4 + len(a)], names[4 + len(a) : 4 + len(a) + len(b)]
            groups = ", ".join(f"{{{', '.join(group)}}}" for group in (names[:4], of_a, of_b, names[-4:]))
            result = _assembly(
                builder,
                ir.LiteralStructType([ir.FloatType()] * 4),
                [*a, *b, *sums],
                f"mma.sync.aligned.m16n8k{step}.row.col.f32.tf32.tf32.f32 {groups};",
                ",".join(["=f"] * 4 + ["r"] * (len(a) + len(b)) + ["f"] * 4),
            )
            return [builder.extract_value(result, e) for e in range(4)]

        @intrinsic
        def add(typing: Any, total: Any, x: Any, at: Any, y: Any, beside: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                sums = [builder.extract_value(args[0], e) for e in range(64)]
                first, second = (builder.gep(args[k], [args[k + 1]], inbounds=True) for k in (1, 3))
                for k in range(0, depth, step):
                    lines = [line * one for one in range(k, k + step, 4)]
                    right = [rounded(builder, second, [one + 8 * j for one in lines]) for j in range(4)]
                    for i in range(4):
                        left = rounded(builder, first, [one + 16 * i + h for one in lines for h in (0, 8)])
                        for j in range(4):
                            places = [(2 * i + h) * 8 + 2 * j + e for h in (0, 1) for e in (0, 1)]
                            new = multiplied(builder, [sums[e] for e in places], left, right[j])
                            for e, one in zip(places, new, strict=True):
                                sums[e] = one
                return cgutils.pack_array(builder, sums)

            return total(total, x, at, y, beside), generate

        return add

    def _stores(at_once: int) -> Any:
        """Write total[i, j] at rows[i] + columns[j], where neither of the two is negative; so many columns at once."""

        @intrinsic
        def store(typing: Any, pointer: Any, total: Any, rows: Any, columns: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                numbers, down, over = ([builder.extract_value(x, e) for e in range(x.type.count)] for x in args[1:])
                kind = ir.VectorType(context.get_data_type(pointer.dtype), at_once)
                zero = ir.Constant(down[0].type, 0)
                for i, row in enumerate(down):
                    for j in range(0, len(over), at_once):
                        column, run = over[j], numbers[i * len(over) + j :][:at_once]
                        with builder.if_then(builder.icmp_signed(">=", builder.or_(row, column), zero)):
                            place = builder.gep(args[0], [builder.add(row, column)], inbounds=True)
                            if at_once == 1:
                                builder.store(run[0], place)
                                continue
                            vector = ir.Constant(kind, ir.Undefined)
                            for e, one in enumerate(run):
                                vector = builder.insert_element(vector, one, ir.Constant(ir.IntType(32), e))
                            place = builder.bitcast(place, kind.as_pointer())
                            builder.store(vector, place).align = _alignment(pointer)
                return context.get_dummy_value()

            return types.void(pointer, total, rows, columns), generate

        return store

    store_each, store_fours = _stores(1), _stores(4)

    @intrinsic
    def plus_columns(typing: Any, total: Any, shift: Any, columns: Any) -> Any:
        """total[i, j] + shift[columns[j]], where the column is not negative."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers, over = ([builder.extract_value(x, e) for e in range(x.type.count)] for x in (args[0], args[2]))
            zero, shifts = ir.Constant(over[0].type, 0), []
            for column in over:
                known = builder.select(builder.icmp_signed(">=", column, zero), column, zero)
                shifts.append(builder.load(builder.gep(args[1], [known], inbounds=True)))
            sums = [builder.fadd(number, shifts[e % len(over)]) for e, number in enumerate(numbers)]
            return cgutils.pack_array(builder, sums)

        return total(total, shift, columns), generate

    @intrinsic
    def store_largest(
        typing: Any, pointer: Any, winners: Any, total: Any, shifts: Any, rows: Any, columns: Any, relu: Any
    ) -> Any:
        """Of each four columns write the largest total[i, j] + shifts[i], and which it is.

        It is the first of equals, and the last NaN; with `relu` it is 0 where none is above, and -1 says so.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers, extra, down, over = ([builder.extract_value(x, e) for e in range(x.type.count)] for x in args[2:6])
            byte, zero = ir.IntType(8), ir.Constant(down[0].type, 0)
            nothing = ir.Constant(numbers[0].type, 0.0)
            rectified = builder.icmp_signed("!=", args[6], ir.Constant(args[6].type, 0))
            for i, row in enumerate(down):
                for j in range(0, len(over), 4):
                    with builder.if_then(builder.icmp_signed(">=", builder.or_(row, over[j]), zero)):
                        values = [builder.fadd(one, extra[i]) for one in numbers[i * len(over) + j :][:4]]
                        best, winner = values[0], ir.Constant(byte, 0)
                        for k, value in enumerate(values[1:], 1):
                            above = builder.fcmp_ordered(">", value, best)
                            wins = builder.or_(above, builder.fcmp_unordered("!=", value, value))
                            best = builder.select(wins, value, best)
                            winner = builder.select(wins, ir.Constant(byte, k), winner)
                        lost = builder.and_(rectified, builder.fcmp_unordered("<=", best, nothing))
                        is_nan = builder.fcmp_unordered("!=", best, best)
                        best = builder.select(builder.and_(lost, builder.not_(is_nan)), nothing, best)
                        winner = builder.select(lost, ir.Constant(byte, -1), winner)
                        to = builder.add(row, over[j])
                        builder.store(best, builder.gep(args[0], [to], inbounds=True))
                        builder.store(winner, builder.gep(args[1], [to], inbounds=True))
            return context.get_dummy_value()

        return types.void(pointer, winners, total, shifts, rows, columns, relu), generate
