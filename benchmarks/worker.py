"""One contestant in a process of its own, so that thread pools do not fight: started by `benchmarks.__main__`.

It answers each line "case seconds" on standard input with one line of JSON: the median time of a call in
milliseconds, and the page faults a call.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.nets import CASES

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]


def page_faults() -> int:
    """The page faults of this process so far; 0 where the system does not count them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0


def measure(step: Callable[[], None], seconds: float) -> dict[str, float]:
    """Call the step for a while and say what one call costs."""
    step()
    times: list[float] = []
    faults, end = page_faults(), time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {"ms": 1e3 * statistics.median(times), "faults": (page_faults() - faults) / len(times)}


def main() -> None:
    """Serve measurements until standard input ends."""
    side, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints goes to standard error
    if side != "ours":
        import torch

        torch.set_num_threads(threads)
    steps: dict[str, Callable[[], None]] = {}
    for line in sys.stdin:
        case, seconds = line.rstrip("\n").rsplit(" ", 1)
        if case not in steps:
            ours, rival = CASES[case]
            steps[case] = ours() if side == "ours" else rival(side == "channels_last")
            for _ in range(3):
                steps[case]()
        print(json.dumps(measure(steps[case], float(seconds))), file=answers, flush=True)


if __name__ == "__main__":
    main()
