"""Compile functions with numba, once: found again on disk, explained where it takes long."""

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numba
from numba._dynfunc import make_function
from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering

from minigrad.kernels.cpu.cache import KernelCache, cache_folder, writable

PATIENCE = 1.0  # seconds of compiling, after which a word is due


class Watch(event.Listener):
    """Counts the kernels that are compiled, and says once in a process, on stderr, why it takes so long."""

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
        self.compiled += isinstance(event.data["dispatcher"]._cache, KernelCache)
        spent = self._spent + time.perf_counter() - self._began
        if self._depth == 0:
            self._spent = spent
        if spent > PATIENCE and not self.silent and event.data["dispatcher"].targetoptions.get("_nrt") is False:  # ours
            self.silent = True
            print(f"minigrad compiles its kernels for this machine: {_whereabouts()}", file=sys.stderr)


def _whereabouts() -> str:
    folder = cache_folder()
    if folder and writable(folder):
        return f"once, they are kept in {folder}; `python -m minigrad warmup` does it ahead"
    return f"in every process, since {folder or 'the cache'} cannot be written; MINIGRAD_CACHE names another folder"


def _between_compilations() -> None:
    """Let processes be forked only while no other thread compiles: the child would wait for it for ever."""
    release = global_compiler_lock.release
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=release, after_in_child=release)


if hasattr(os, "register_at_fork"):
    _between_compilations()

WATCH = Watch()
event.register("numba:compile", WATCH)


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function that only other compiled functions call.

    numba counts references to every array that a function is given, by atomic operations that cost more than a short
    function itself does. So it is told not to, and no function here may allocate an array.

    The `fastmath` option takes a set of LLVM flags: never `nnan` or `ninf`, with which a NaN can get lost.
    """
    if function is None:
        return functools.partial(jit, **options)
    inside = _dispatcher(function, no_cpython_wrapper=True, pipeline_class=_Compiler, **options)
    inside.__class__ = _Inside
    return inside


class _Inside(CPUDispatcher):
    """A function without the code that Python would call, which would end the process."""

    def __call__(self, *_: Any) -> Any:
        raise TypeError(
            f"{self.py_func.__qualname__} is called by compiled functions only, not by Python: see `compiled`"
        )


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function of arrays and numbers, as `jit` does, that Python calls; its machine code is kept on disk."""
    dispatcher, folder = _dispatcher(function, **options), cache_folder()
    if folder is not None:  # numba has no public way to choose another cache
        dispatcher._cache = KernelCache(dispatcher, folder)
    return dispatcher


def _dispatcher(function: Callable[..., Any], **options: Any) -> Any:
    if vars(numba.config)["DISABLE_JIT"]:
        raise RuntimeError("the kernels are compiled by numba, which NUMBA_DISABLE_JIT forbids")
    options = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True, "_nrt": False, **options}
    return numba.njit(**options)(function)


# numba optimises each function with all that it calls, and makes machine code of it. Of a function that only others
# call nobody needs that: they optimise it once more, with themselves. To leave it out halves the time of compiling.


class _Inlined(JITCodeLibrary):
    """The code of a function as it was written, to be linked into those that call it."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    _name = "lowering_to_be_inlined"

    def run_pass(self, state: Any) -> bool:
        state.library = _Inlined(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        code = state.cr.fndesc
        name = make_function(code.lookup_module(), code.qualname, "", 0, state.cr.env, (state.library,))
        state.targetctx.insert_user_function(name, code, [state.library])
        state.cr = state.cr._replace(cfunc=name)
        return True


class _Compiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        """Compile as numba does, but for the last step."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_Lowering, NativeLowering)
        passes.passes = [step for step in passes.passes if step[0] is not NativeLowering]
        passes.finalize()
        return [passes]
