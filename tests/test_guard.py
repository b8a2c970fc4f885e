"""The guard itself: what lies within an array can be used, what lies beyond ends the process."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="mmap and mprotect")

READ = """
import ctypes
import numpy as np
from tests import guard
guard.install()
array = np.empty(1000, np.float32)
assert np.isnan(array).all()
assert not np.zeros(1000).any()
print(ctypes.c_ubyte.from_address(array.ctypes.data + {place}).value)
"""


def read(place, guard):
    """The status of a process that reads the byte at a place in an array of 4000."""
    environment = {**os.environ, "GUARD": guard}
    process = subprocess.run([sys.executable, "-c", READ.format(place=place)], env=environment, capture_output=True)
    return process.returncode


@pytest.mark.parametrize(("guard", "beyond"), [("", 4000), ("before", -1)])
def test_nothing_is_read_beyond_an_array(guard, beyond):
    assert read(0, guard) == read(3999, guard) == 0
    assert read(beyond, guard) < 0  # a signal's number
