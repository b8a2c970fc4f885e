"""The machine code of the kernels on disk, in step with every kernel source.

numba's own cache notices an edit of one file only, and a damaged file breaks it. Here each compiled signature is one
file, in a folder named after all that the code depends on, and a file that is not whole counts as missing.
"""

import contextlib
import functools
import hashlib
import inspect
import itertools
import os
import pickle
import re
import sys
import types
import uuid
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

SOURCES = Path(__file__).parents[1]
KEPT = 8  # folders in a cache: each edit of a source, and each version of what compiles, begins another
INSTALLED = SOURCES / "compiled"
"""Where a warm-up of the installation keeps its kernels, for all users."""


def _name_symbols_apart() -> None:
    """Let numba number the functions of this process from a random start.

    The numbers are part of the symbols' names. Machine code of many processes meets in one through the cache; of two
    functions with one symbol the linker would quietly take the first for both.
    """
    FunctionIdentity._unique_ids = itertools.count(uuid.uuid4().int >> 64)


_name_symbols_apart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_name_symbols_apart)


def cache_folder(device: str = "cpu") -> Path | None:
    """Return the folder of a device's compiled kernels, which need not exist; None where there is no place for one.

    It is a folder of its own in `MINIGRAD_CACHE`, or else in the user's folder for caches.
    """
    try:
        root = Path(os.environ.get("MINIGRAD_CACHE") or _user_cache() / "minigrad")
        return root / digest(SOURCES, device)
    except (OSError, RuntimeError):  # sources that are no files, or no home
        return None


def prune(root: Path) -> None:
    """Delete machine code, but for the `KEPT` folders that were written to last.

    A process whose code is gone compiles it again. Whatever else lies there stays.
    """
    folders = [path for path in root.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                if re.search(r"-[0-9a-f]{16}\.(bin|ptx|[0-9a-f]{32})$", path.name):
                    path.unlink()
            folder.rmdir()


def writable(folder: Path) -> bool:
    """Whether files can be written to a folder, which need not exist."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def digest(folder: Path, device: str) -> str:
    """Name what a device's machine code depends on: its sources, and the versions of Python, numba and llvmlite."""
    key = hashlib.sha256(f"{sys.implementation.cache_tag} {numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted([*folder.glob("*.py"), *(folder / device).rglob("*.py")]):
        source = path.read_bytes()
        key.update(f"{path.relative_to(folder).as_posix()} {len(source)} ".encode() + source)
    return key.hexdigest()[:16]


class KernelCache(FunctionCache):
    """The machine code of one function, one file a signature and CPU: a checksum, then numba's pickle."""

    def __init__(self, dispatcher: Any, folder: Path) -> None:
        self._py_func, self._cache_path = dispatcher.py_func, str(folder)  # as numba names them
        self._dispatcher, self._folder = dispatcher, folder

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled function, or None if there is no whole file."""
        target_context.refresh()
        name = self._name(signature, target_context.codegen())
        for folder in self._folder, INSTALLED / self._folder.name:
            try:
                content = (folder / name).read_bytes()
            except OSError:
                continue
            checksum, code = content[:32], content[32:]
            if hashlib.sha256(code).digest() == checksum:
                return CompileResult._rebuild(target_context, *pickle.loads(code))
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write the compiled function, all or nothing; where that fails, the next process compiles again."""
        try:
            code = dumps(result._reduce())
        except RuntimeError:  # an interrupt has kept LLVM from handing it over
            return
        path = self._folder / self._name(signature, result.codegen)
        part = path.with_suffix(f".{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):
            if not self._folder.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                prune(self._folder.parent)
            try:
                part.write_bytes(hashlib.sha256(code).digest() + code)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

    def _name(self, signature: Any, codegen: Any) -> str:
        settings = [vars(config)[name] for name in ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")]
        key = repr((signature, codegen.magic_tuple(), settings, describe(self._dispatcher)))
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        name = self._py_func.__qualname__.replace("<locals>.", "")  # Windows has no such files
        return f"{self._py_func.__module__}.{name}-{digest}.bin"


def describe(value: Any, seen: dict[Any, int] | None = None) -> str:
    """Tell apart what a compiled function can use: the text is equal in all processes, and for equal machine code only.

    A function is its name, its options, and all that it takes from around it, so that two kernels made by one factory
    differ by the constants that they were made with. What it takes out of a module (`module.constant`) is not seen.

    >>> def scaler(factor):
    ...     return lambda x: factor * x
    >>> describe(scaler(2)).removeprefix(__name__)
    '.scaler.<locals>.<lambda>(factor=2)'

    Raises
    ------
    TypeError
        For an object of another kind: a key without it could find the wrong machine code.
    """
    seen = {} if seen is None else seen
    options = describe(value.targetoptions) if hasattr(value, "targetoptions") else ""
    value = getattr(value, "py_func", None) or getattr(value, "_defn", value)  # of a dispatcher, of an intrinsic
    if isinstance(value, types.FunctionType):
        name = f"{value.__module__}.{value.__qualname__}{options}"
        if value in seen:
            return f"{name}#{seen[value]}"
        seen[value] = len(seen)
        if not value.__module__.startswith("minigrad."):  # the folder is not named by its source
            name += hashlib.sha256(_text(value.__code__).encode()).hexdigest()[:16]
        around = inspect.getclosurevars(value)
        taken = sorted({**around.globals, **around.nonlocals}.items())
        return f"{name}({', '.join(f'{key}={describe(it, seen)}' for key, it in taken)})"
    if isinstance(value, tuple):
        return f"{type(value).__name__}({', '.join(describe(it, seen) for it in value)})"
    if isinstance(value, set | dict):
        items = value.items() if isinstance(value, dict) else value
        return f"{{{', '.join(sorted(describe(it, seen) for it in items))}}}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, types.ModuleType | np.ufunc):
        return value.__name__
    if isinstance(value, type | types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(
        value, int | float | complex | str | bytes | np.generic | np.dtype | numba.types.Type
    ):
        return repr(value)
    raise TypeError(f"a kernel takes {value!r} from around it, by which its machine code cannot be filed")


def _text(code: types.CodeType) -> str:
    """What a function computes, wherever it is written."""
    constants = [_text(it) if isinstance(it, types.CodeType) else repr(it) for it in code.co_consts]
    return repr((code.co_code, code.co_names, constants))
