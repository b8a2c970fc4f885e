"""What runs the kernels: a GPU behind its driver, or the simulator.

A machine has `allocate`, `upload`, `download`, `compile`, `launch` and `synchronize`, and says how many threads a block
and blocks a grid of a kernel should have that can do with any number.
"""

import functools
from typing import Any

from numba.core import config

from minigrad.errors import DeviceError

SIMULATED = bool(vars(config)["ENABLE_CUDASIM"])


@functools.cache
def machine() -> Any:
    """The machine of this process.

    Raises
    ------
    DeviceError
        If there is no GPU, no driver for it, or no compiler.
    """
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
