"""Compile kernels with numba, once: for threads or without, found again on disk, explained where it takes long."""

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from minigrad.kernels.cpu import threads
from minigrad.kernels.cpu.cache import KernelCache, cache_folder, writable

PATIENCE = 1.0  # seconds of compiling, after which a word is due


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


class Watch(event.Listener):
    """Counts what is compiled, and says once in a process, on stderr, why it takes so long."""

    def __init__(self) -> None:
        self.silent, self.compiled = False, 0
        self._depth, self._spent, self._began = 0, 0.0, 0.0

    def on_start(self, event: Any) -> None:
        """Start the clock for a function; those that it calls are compiled inside."""
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, event: Any) -> None:
        """Look at the clock."""
        self._depth -= 1
        self.compiled += 1
        spent = self._spent + time.perf_counter() - self._began
        if self._depth == 0:
            self._spent = spent
        if spent > PATIENCE and not self.silent and isinstance(event.data["dispatcher"]._cache, KernelCache):
            self.silent = True
            print(f"minigrad compiles its kernels for this machine: {_whereabouts()}", file=sys.stderr)


def _whereabouts() -> str:
    folder = cache_folder()
    if folder and writable(folder):
        return f"once, they are kept in {folder}; `python -m minigrad warmup` does it ahead"
    return f"in every process, since {folder or 'the cache'} cannot be written; MINIGRAD_CACHE names another folder"


WATCH = Watch()
event.register("numba:compile", WATCH)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of arrays and numbers, whose `prange` loops run on `threads.get_num_threads()` threads.

    For one thread they are ordinary loops: those compile in half the time, and a forked process that has lost
    its threads needs them, as OpenMP would end it. Several Python threads may call it: where numba has neither OpenMP
    nor TBB, whose threads can be shared, the calls of several threads each wait for each other.

    >>> @kernel
    ... def halve(x, y):
    ...     for i in numba.prange(len(x)):
    ...         y[i] = x[i] / 2
    >>> import numpy
    >>> x = numpy.array([1.0, 3.0])
    >>> halve(x, x)
    >>> x
    array([0.5, 1.5])
    """
    parallel = _compile(function, parallel=True)
    serial = functools.cache(lambda: _compile(function))

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        count = threads.get_num_threads()
        if count == 1:
            return serial()(*args)
        if _threads.count != count:
            _threads.use(count)
        if _threads.shared:
            return parallel(*args)
        with _threads.one_at_a_time:
            return parallel(*args)

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
    alone, some = _compile(part), jit(part)

    @kernel
    def share(count: Any, threads: Any, args: Any) -> None:
        for t in numba.prange(threads):
            some(t, t * count // threads, (t + 1) * count // threads, *args)

    @functools.wraps(part)
    def call(count: int, threads: int, *args: Any) -> None:
        if threads == 1:
            alone(0, 0, count, *args)
        else:
            share(count, threads, args)

    return call


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function that only kernels call.

    numba counts references to every array that a function is given, by atomic operations that cost more than a short
    function itself does. So it is told not to, and no function here may allocate an array.

    The `fastmath` option takes a set of LLVM flags: never `nnan` or `ninf`, with which a NaN can get lost.
    """
    if function is None:
        return functools.partial(jit, **options)
    return _compile(function, no_cpython_wrapper=True, **options)


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    options = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True, "_nrt": False, **options}
    compiled: Any = numba.njit(**options)(function)
    folder = cache_folder()
    if folder is not None:  # numba has no public way to choose another cache
        compiled._cache = KernelCache(compiled, folder)
    return compiled
