"""The GPU of this process: `x.to("cuda")` moves a tensor there, and ops compute where their tensors are.

What it is asked to compute runs later, in order; whoever reads a value (`item`, `numpy`, `print`) waits for it, and is
told there of labels, indices and targets that were out of range.
"""

from minigrad.errors import ArgumentError
from minigrad.kernels.cuda import precision
from minigrad.kernels.cuda.driver import MemoryStats
from minigrad.kernels.cuda.machine import is_available, machine

__all__ = [
    "MemoryStats",
    "allow_tf32",
    "device_name",
    "is_available",
    "memory_stats",
    "release_memory",
    "synchronize",
    "tf32_is_allowed",
]


def device_name() -> str:
    """Return what the GPU is called.

    Raises
    ------
    DeviceError
        If there is none, as of all functions here but `is_available`: it says what is missing.

    Examples
    --------
    >>> if mg.cuda.is_available():
    ...     print(mg.cuda.device_name())
    """
    return machine().name


def synchronize() -> None:
    """Wait until the GPU has computed all that it was asked for.

    Raises
    ------
    MinigradError
        What an op would have raised for a label, an index or a target out of range, which nobody had waited for.

    Examples
    --------
    >>> if mg.cuda.is_available():
    ...     mg.cuda.synchronize()
    """
    from minigrad.kernels.cuda import checks

    checks.settle()
    machine().synchronize()


def memory_stats() -> MemoryStats:
    """Count the memory of the GPU: of arrays, kept for the next ones, left.

    >>> if mg.cuda.is_available():
    ...     print(mg.cuda.memory_stats())
    """
    return machine().memory_stats()


def release_memory() -> None:
    """Give the memory of dead arrays back to the GPU, for other processes; waits for what is being computed.

    >>> if mg.cuda.is_available():
    ...     mg.cuda.release_memory()
    """
    machine().release_memory()


def allow_tf32(allowed: bool) -> None:
    """Choose whether tensor cores may compute convolutions and matrix products of float32, from the next op on.

    They round both factors of each product to TF32, which has 11 bits of precision where float32 has 24; the sums are
    of float32. At the start they may not.

    Parameters
    ----------
    allowed
        True or False; for this process, gradients included.

    Raises
    ------
    ArgumentError
        If it is neither.

    Examples
    --------
    >>> mg.cuda.allow_tf32(True)
    >>> mg.cuda.tf32_is_allowed()
    True
    >>> mg.cuda.allow_tf32(False)
    """
    if not isinstance(allowed, bool):
        raise ArgumentError(f"allow_tf32: allowed must be True or False, not {allowed!r}")
    precision.choose(allowed)


def tf32_is_allowed() -> bool:
    """Return what `allow_tf32` has chosen.

    >>> mg.cuda.tf32_is_allowed()
    False
    """
    return precision.tf32()
