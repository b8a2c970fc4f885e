"""Dead arrays' memory is reused: a large array made over and over costs no page faults."""

import os
import subprocess
import sys

import pytest

LOOP = """
import resource, numpy as np, minigrad as mg
x = mg.tensor(np.ones((4, 1 << 20), np.float32))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3): y = x + x; del y
before = faults()
for _ in range(20): y = x + x; del y
print((faults() - before) // 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are glibc's here")
def test_a_large_array_is_not_given_back() -> None:
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name and "GLIBC" not in name}
    run = subprocess.run(
        [sys.executable, "-c", LOOP], capture_output=True, text=True, check=True, env={**environment, "PYTHONPATH": "."}
    )
    assert int(run.stdout) < 100, "a fresh array of 16 MiB would cost 4096 faults"
