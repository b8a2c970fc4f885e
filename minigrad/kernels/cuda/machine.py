"""What runs the kernels: a GPU behind its driver, or the simulator.

A machine has `allocate`, `zeros`, `upload`, `download`, `compile`, `launch` and `synchronize`. It says how many threads
a block should have, how many such blocks run at a time, and of how many a grid should be, at most.
"""

import functools
import importlib.util
import threading
from collections.abc import Callable
from typing import Any

from numba.core import config

from minigrad.errors import DeviceError

SIMULATED = bool(vars(config)["ENABLE_CUDASIM"])

_making = threading.RLock()


@functools.cache
def machine() -> Any:
    """The machine of this process.

    Raises
    ------
    DeviceError
        If there is no GPU, no driver for it, or no compiler.
    """
    found = driver()
    if not SIMULATED and importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"no compiler for the GPU: numba-cuda is not installed\nhint: {pip()}")
    return found


def driver() -> Any:
    """The same, also where there is no compiler."""
    with _making:  # `cache` alone would let two threads make two, with streams that know nothing of each other
        return _driver()


@functools.cache
def _driver() -> Any:
    if SIMULATED:
        from minigrad.kernels.cuda.simulator import Simulator

        return Simulator()
    from minigrad.kernels.cuda.driver import Driver

    return Driver()


def is_available() -> bool:
    """Whether this process has a GPU, or simulates one."""
    try:
        machine()
    except DeviceError:
        return False
    return True


_remembering: list[Any] = []


def remembered(size: int) -> Callable[[Callable[..., Any]], Any]:
    """As `functools.lru_cache`, for results that hold memory of the device: they go where it is short."""

    def decorate(function: Callable[..., Any]) -> Any:
        _remembering.append(functools.lru_cache(size)(function))
        return _remembering[-1]

    return decorate


def forget() -> None:
    """Let go of all that is remembered."""
    for function in _remembering:
        function.cache_clear()


def pip(driver: tuple[int, int] = (13, 0)) -> str:
    """The command that installs a compiler whose PTX the driver of a version of CUDA can read.

    >>> pip()
    "pip install 'numba-cuda[cu13]>=0.30,<0.31' 'cuda-toolkit==13.0.*'"
    """
    major, minor = min(driver, (13, 0))
    if major < 12:
        return "install a newer driver of NVIDIA's first"
    minor -= (major, minor) == (12, 7)  # there is no such toolkit
    return f"pip install 'numba-cuda[cu{major}]>=0.30,<0.31' 'cuda-toolkit=={major}.{minor}.*'"
