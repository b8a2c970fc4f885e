"""Say what this machine computes with, try it, and name what is missing: `python -m minigrad doctor`."""

import importlib.util
import platform
import re
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from minigrad.creation import arange
from minigrad.errors import DeviceError, NoDeviceError
from minigrad.runtime import get_num_threads


def run() -> int:
    """Print the findings; returns 1 if there is a GPU that cannot be used, else 0."""
    for name, text in (("python", _python()), ("cpu", _cpu()), ("kernels", _kernels())):
        _say(name, text)
    try:
        for name, text in _gpu():
            _say(name, text)
    except DeviceError as error:
        _say("gpu", str(error))
        return 0 if isinstance(error, NoDeviceError) else 1
    return 0


def _say(name: str, text: str) -> None:
    print(f"{name:<9}" + text.replace("\n", "\n" + " " * 9))


def _python() -> str:
    ours = sys.modules["minigrad"].__version__
    packages = f"minigrad {ours}, numpy {np.__version__}, numba {version('numba')}"
    return f"{platform.python_version()} on {platform.system()}, {packages}"


def _cpu() -> str:
    return f"{cpu_features()}, {get_num_threads()} threads"


def cpu_features() -> str:
    """The vector instructions of this machine, by name."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    known = [name for name in ("avx512f", "avx2", "avx", "sse4.2", "sve", "neon") if features.get(name)]
    return f"{binding.get_host_cpu_name()} with {known[0]}" if known else binding.get_host_cpu_name()


def _kernels() -> str:
    from minigrad.kernels.cpu.cache import INSTALLED, cache_folder, writable

    folder = cache_folder()
    if folder is None:
        return "no place to keep them: each process compiles its own\nhint: MINIGRAD_CACHE names a folder for them"
    kept = sum(len(list(place.glob("*.bin"))) for place in (folder, INSTALLED / folder.name))
    hint = "" if kept else "\nhint: python -m minigrad warmup compiles what the layers need"
    return f"{kept} kernels compiled, in {folder}{'' if writable(folder) else ' (for reading only)'}{hint}"


def _gpu() -> Iterator[tuple[str, str]]:
    from minigrad.kernels.cuda.machine import SIMULATED, driver, machine

    if SIMULATED:
        yield "gpu", driver().name
    else:
        try:
            found = driver()
        except DeviceError:
            if importlib.util.find_spec("numba_cuda") is not None:
                yield "compiler", _compiler_or_why((9, 0))
            raise
        major, minor = found.capability
        total = found.memory_stats().total / 2**30
        yield "gpu", f"{found.name}, compute capability {major}.{minor}, {total:.0f} GiB"
        yield "driver", f"of CUDA {found.version[0]}.{found.version[1]}"
        machine()  # which asks for numba-cuda
        yield "compiler", _compiler(found.capability)
    started = time.perf_counter()
    x = arange(1000, dtype="float32")
    there = x.to("cuda")
    if not np.array_equal((there + there).numpy(), 2 * x.numpy()):
        raise DeviceError("a kernel ran and gave wrong numbers: 1000 sums are not what they are on the CPU")
    yield "kernel", f"ran, with the right result, {time.perf_counter() - started:.1f} s after it was asked for"


def _compiler_or_why(capability: tuple[int, int]) -> str:
    try:
        return _compiler(capability)
    except DeviceError as error:
        return str(error)


def _compiler(capability: tuple[int, int]) -> str:
    from minigrad.kernels.cuda import elementwise, ptx

    floats: Any = ("pointer", np.dtype(np.float32))
    kernel = elementwise.in_step(elementwise.SAME["add"], 2)
    _, text = ptx.compiled(kernel, (int, floats, floats, floats, elementwise.ABSENT.dtype), capability)
    wrote = re.search(r"\.version (\S+)", text)
    return f"numba-cuda {version('numba-cuda')} writes PTX {wrote[1] if wrote else 'of an unknown version'}"
