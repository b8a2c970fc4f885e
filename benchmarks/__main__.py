"""Training steps beside PyTorch: interleaved in one run, medians, the ratio of the times, page faults a call.

    python -m benchmarks [--threads 1,2] [--rounds 5] [--json FILE]

The ratio is PyTorch's time divided by ours: above 1 ours is faster. PyTorch runs in both of its memory layouts, and
the better one counts. Without PyTorch the table has our own times alone.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks.nets import CASES


class Contestant:
    """A worker process, and what it has measured."""

    def __init__(self, side: str, threads: int) -> None:
        limits = {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", side, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **limits},
        )

    def measure(self, case: str, seconds: float) -> dict[str, float]:
        """Time one case for a while."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{case} {seconds}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"benchmarks: the process that timed {case!r} ended; its messages stand above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compare(threads: int, rounds: int, seconds: float) -> list[dict[str, object]]:
    """Time every case on all sides in turn."""
    sides = ["ours"] + (["NCHW", "channels_last"] if importlib.util.find_spec("torch") else [])
    contestants = {side: Contestant(side, threads) for side in sides}
    rows = []
    for case in CASES:
        found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in tqdm(range(rounds), desc=f"{case}, {threads} threads", leave=False):
            for side in sides:
                found[side].append(contestants[side].measure(case, seconds))
        ms = {side: statistics.median(one["ms"] for one in found[side]) for side in sides}
        faults = {side: round(statistics.median(one["faults"] for one in found[side])) for side in sides}
        row = {"name": case, "threads": threads, "ours_ms": ms["ours"], "ours_faults": faults["ours"]}
        if len(sides) > 1:
            layout = min(sides[1:], key=lambda side: ms[side])
            ratio = statistics.median(
                rival["ms"] / own["ms"] for own, rival in zip(found["ours"], found[layout], strict=True)
            )
            row |= {"torch_ms": ms[layout], "torch_faults": faults[layout], "torch_layout": layout, "ratio": ratio}
        rows.append(row)
    for contestant in contestants.values():
        contestant.close()
    return rows


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--threads", default="1,2", help="thread counts, e.g. 1,2")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    rows = []
    for threads in map(int, options.threads.split(",")):
        rows += compare(threads, options.rounds, options.seconds)
    print(f"{'case':<22} {'threads':>7} {'ours ms':>9} {'torch ms':>9} {'ratio':>6} {'faults':>7} {'torch':>7}  layout")
    for row in rows:
        rival = [row.get(key, "-") for key in ("torch_ms", "ratio", "ours_faults", "torch_faults", "torch_layout")]
        cells = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in [row["ours_ms"], *rival]]
        print("{:<22} {:>7} {:>9} {:>9} {:>6} {:>7} {:>7}  {}".format(row["name"], row["threads"], *cells))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
