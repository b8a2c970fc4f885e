"""What all computation of the process shares: the memory of dead arrays."""

from minigrad.errors import ArgumentError
from minigrad.kernels.cpu.memory import POOL, MemoryStats

__all__ = ["MemoryStats", "limit_kept_memory", "memory_stats", "release_memory"]


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
        At most so many bytes are kept. None, as at the start, lets what is in use and what is kept be together at most
        twice the most that was in use at once.

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
