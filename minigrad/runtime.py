"""What all computation of the process shares: threads, how exact it is, and the memory of dead arrays."""

from minigrad.errors import ArgumentError
from minigrad.kernels.cpu import precision, threads
from minigrad.kernels.cpu.memory import POOL, MemoryStats
from minigrad.kernels.cpu.threads import get_num_threads

__all__ = [
    "MemoryStats",
    "get_conv_precision",
    "get_num_threads",
    "limit_kept_memory",
    "memory_stats",
    "release_memory",
    "set_conv_precision",
    "set_num_threads",
]


def set_num_threads(count: int | None) -> None:
    """Choose how many threads compute, in this process and from the next op on.

    Parameters
    ----------
    count
        From 1 to the number of processors, or to NUMBA_NUM_THREADS where that is set in the environment. None, as at
        the start, stands for one thread a core (or NUMBA_NUM_THREADS).

    Raises
    ------
    ArgumentError
        If there cannot be so many.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.set_num_threads(1)
    >>> mg.get_num_threads()
    1
    >>> mg.set_num_threads(None)
    """
    most = threads.limit()
    if count is not None and (type(count) is not int or not 1 <= count <= most):
        span = f"from 1 to {most}, or to NUMBA_NUM_THREADS where the environment has it at the start"
        raise ArgumentError(f"set_num_threads: count must be an integer {span}; not {count!r}")
    threads.choose(count)


def set_conv_precision(name: str) -> None:
    """Choose what convolutions may be computed by, in this process and from the next op on, gradients included.

    It concerns windows of 3x3 with stride 1 and dilation 1 and many channels. Winograd's algorithm computes squares of
    their outputs together, with fewer multiplications than the sums that define them.

    Parameters
    ----------
    name
        "highest": those sums only. "high", as at the start: also squares of 2x2, with less than half of the
        multiplications, about the same error, and up to twice the error in the gradient of the weight. "medium": also
        squares of 4x4, with a quarter of the multiplications and five times the error.

    Raises
    ------
    ArgumentError
        If there is no such precision.

    Notes
    -----
    For normally distributed float32 numbers, the root mean square of the errors is at most 2.5e-7 ("highest"), 4e-7
    ("high") or 1.3e-6 ("medium") of that of the results, with any number of channels (`pytest tests/test_winograd.py`).
    What is not finite is computed by the sums.

    Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015).

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.set_conv_precision("highest")
    >>> mg.get_conv_precision()
    'highest'
    >>> mg.set_conv_precision("high")
    """
    if name not in tuple(precision.SQUARES):  # whose elements need not be hashable
        names = ", ".join(map(repr, precision.SQUARES))
        raise ArgumentError(f"set_conv_precision: the precisions are {names}; not {name!r}")
    precision.choose(name)


def get_conv_precision() -> str:
    """Return the precision of convolutions that `set_conv_precision` has chosen.

    >>> import minigrad as mg
    >>> mg.get_conv_precision()
    'high'
    """
    return precision.get()


def memory_stats() -> MemoryStats:
    """Count the memory of large arrays: in use, kept for the next ones, at its peak.

    >>> import minigrad as mg
    >>> before = mg.memory_stats().in_use
    >>> x = mg.zeros((1024, 1024)) + 1
    >>> mg.memory_stats().in_use - before
    4194304
    """
    return POOL.stats


def release_memory() -> None:
    """Give the memory of dead arrays back to the system, and count the peak, hits and misses from here on.

    >>> import minigrad as mg
    >>> mg.release_memory()
    >>> mg.memory_stats().kept
    0
    """
    POOL.release()


def limit_kept_memory(nbytes: int | None) -> None:
    """Bound the memory of dead arrays that is kept for the next ones.

    Parameters
    ----------
    nbytes
        At most so many bytes are kept. None, as at the start, allows 64 MiB, and beyond them what is in use and what is
        kept may together be twice the most that was in use at once.

    Raises
    ------
    ArgumentError
        If `nbytes` is neither None nor an integer of at least 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.limit_kept_memory(1 << 30)
    >>> mg.limit_kept_memory(None)
    """
    if nbytes is not None and (not isinstance(nbytes, int) or nbytes < 0):
        raise ArgumentError(f"limit_kept_memory: nbytes must be None or an integer of at least 0, not {nbytes!r}")
    POOL.limit(nbytes)
