"""Memory of dead arrays, kept for the next ones.

A training step makes and drops the same large arrays over and over. By default the C library gives each back to the
system and asks for it anew, and the system clears it page by page: a fifth of SimpleNet's step.
"""

import contextlib
import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGE = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks of up to 1 GiB; say whether it agreed.

    Nothing is asked where the user has set glibc's own variables, nor of another C library.
    """
    chosen = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & set(os.environ)
    if not sys.platform.startswith("linux") or chosen:
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, LARGE) and mallopt(M_TRIM_THRESHOLD, LARGE))
    return False
