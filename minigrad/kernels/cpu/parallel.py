"""Kernels that several threads compute: each takes a part of what there is to do.

A part is compiled once, whatever the number of threads. One loop, which calls a part by its address, starts numba's
threads for all kernels: numba would take several times as long to compile a loop of its own into each.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature

from minigrad.kernels.cpu import threads as numbers
from minigrad.kernels.cpu.compiler import compiled, jit
from minigrad.kernels.cpu.simd.tile import INDEX, intrinsic

FLAG, POINTER = ir.IntType(32), ir.IntType(8).as_pointer()
PART = ir.FunctionType(ir.VoidType(), [INDEX, INDEX, INDEX, POINTER])  # of (thread, first, stop, address of the rest)
LOOP = (types.intp,) * 4  # (address of a part, address of the rest, count, threads)


class _Threads(threading.local):
    """What numba knows in each Python thread of the number of threads that was chosen."""

    count = 0
    shared = False
    one_at_a_time = threading.RLock()

    def use(self, count: int) -> None:
        numba.set_num_threads(min(count, vars(numba.config)["NUMBA_NUM_THREADS"]))
        self.count = count
        self.shared = numba.threading_layer() != "workqueue"


_threads = _Threads()


def _after_fork() -> None:
    _Threads.one_at_a_time = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def kernel(function: Callable[..., None]) -> Callable[..., None]:
    """Compile `function(threads, *args)`, of arrays and numbers, which may call `parallel_for` for so many threads.

    Several Python threads may call it: where numba has neither OpenMP nor TBB, whose threads can be shared, the calls
    of several threads each wait for each other.

    >>> @jit
    ... def part(thread, first, stop, x, y):
    ...     for i in range(first, stop):
    ...         y[i] = x[i] / 2
    >>> @kernel
    ... def halve(threads, x, y):
    ...     parallel_for(part, len(x), threads, (x, y))
    >>> import numpy
    >>> x = numpy.array([1.0, 3.0, 4.0])
    >>> halve(2, x, x)
    >>> x
    array([0.5, 1.5, 2. ])
    """
    compute = compiled(function)

    @functools.wraps(function)
    def call(threads: int, *args: Any) -> None:
        if threads == 1:
            compute((1, 0), *args)
            return
        count = numbers.get_num_threads()
        if _threads.count != count:
            _threads.use(count)
        if _threads.shared:
            compute((threads, _loop_address()), *args)
        else:
            with _threads.one_at_a_time:
                compute((threads, _loop_address()), *args)

    return call


def shared(part: Callable[..., None]) -> Callable[..., None]:
    """Compile `part(thread, first, stop, *args)` to a kernel `call(count, threads, *args)`: threads share things out.

    >>> @shared
    ... def halve(thread, first, stop, x, y):
    ...     for i in range(first, stop):
    ...         y[i] = x[i] / 2
    >>> import numpy
    >>> x = numpy.array([1.0, 3.0, 4.0])
    >>> halve(len(x), 2, x, x)
    >>> x
    array([0.5, 1.5, 2. ])
    """
    some = jit(part)

    def share(threads: Any, count: Any, args: Any) -> None:
        parallel_for(some, count, threads, args)

    share.__module__, share.__name__, share.__qualname__ = part.__module__, part.__name__, part.__qualname__
    compute = kernel(share)

    @functools.wraps(part)
    def call(count: int, threads: int, *args: Any) -> None:
        compute(threads, count, args)

    return call


@intrinsic
def parallel_for(typingctx: Any, part: Any, count: Any, threads: Any, args: Any) -> Any:
    """Let each of some threads call part(thread, first, stop, *args) for its share of `count` things.

    A part is a `jit` function, and `threads` is what `kernel` gives as the first argument. Of an exception in a part
    only that there was one is told.
    """
    if not all([isinstance(args, types.BaseTuple), isinstance(count, types.Integer)]):
        raise TypingError(f"a part is called for a whole number of things and with a tuple, not {count} and {args}")
    whole = part.get_call_type(typingctx, (*[types.intp] * 3, *args), {})

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        _, count, crew, given = values
        threads, address = cgutils.unpack_tuple(builder, crew)
        rest = ir.LiteralStructType([given.type, FLAG])
        caller = _caller(context, builder, part.dispatcher.overloads[whole.args], rest)
        place = cgutils.alloca_once(builder, rest)
        builder.store(given, cgutils.gep_inbounds(builder, place, 0, 0))
        failed = cgutils.gep_inbounds(builder, place, 0, 1)
        builder.store(FLAG(0), failed)
        with builder.if_else(builder.icmp_signed("==", threads, INDEX(1))) as (alone, together):
            with alone:
                builder.call(caller, (INDEX(0), INDEX(0), count, builder.bitcast(place, POINTER)))
            with together:
                kind = context.call_conv.get_function_type(types.none, LOOP).as_pointer()
                places = builder.ptrtoint(caller, INDEX), builder.ptrtoint(place, INDEX)
                loop = builder.inttoptr(address, kind)
                context.call_conv.call_function(builder, loop, types.none, LOOP, (*places, count, threads))
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, builder.load(failed))):
            what = f"{part.dispatcher.py_func.__qualname__} raised an exception, of which its threads keep no more"
            context.call_conv.return_user_exc(builder, RuntimeError, (what,))
        return context.get_dummy_value()

    return signature(types.none, part, types.intp, types.UniTuple(types.intp, 2), args), emit


def _caller(context: Any, builder: Any, part: Any, rest: ir.Type) -> ir.Function:
    """Make a function that reads the rest of the arguments of a compiled part, calls it, and notes an exception."""
    caller = ir.Function(builder.module, PART, builder.module.get_unique_name("part"))
    caller.linkage = "internal"
    inside = ir.IRBuilder(caller.append_basic_block())
    *numbers, place = caller.args
    place = inside.bitcast(place, rest.as_pointer())
    args = *numbers, *cgutils.unpack_tuple(inside, inside.load(cgutils.gep_inbounds(inside, place, 0, 0)))
    context.active_code_library.add_linking_library(part.library)
    function = context.declare_function(builder.module, part.fndesc)
    status, _ = context.call_conv.call_function(inside, function, part.fndesc.restype, part.fndesc.argtypes, args)
    with cgutils.if_unlikely(inside, status.is_error):
        inside.store(FLAG(1), cgutils.gep_inbounds(inside, place, 0, 1))
    inside.ret_void()
    return caller


@intrinsic
def _call(typingctx: Any, part: Any, thread: Any, first: Any, stop: Any, place: Any) -> Any:
    """Call a part at an address."""

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        part, *numbers, place = values
        function = builder.inttoptr(part, PART.as_pointer())
        builder.call(function, (*numbers, builder.inttoptr(place, POINTER)))
        return context.get_dummy_value()

    return signature(types.none, *[types.intp] * 5), emit


@functools.partial(compiled, parallel=True)
def _loop(part: Any, place: Any, count: Any, threads: Any) -> None:
    for t in numba.prange(threads):
        _call(part, t, t * count // threads, (t + 1) * count // threads, place)


@functools.cache
def _loop_address() -> int:
    """Where the loop's machine code is: it is compiled when something is first to run on several threads."""
    _loop.compile(LOOP)
    code = _loop.overloads[LOOP]
    address: int = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
    return address
