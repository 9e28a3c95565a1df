"""Time a sweep of the lab with one worker and with two, in turns; print the medians and their ratio.

usage: bench_lab.py [--cases 24] [--turns 5] [--sleep SECONDS]

With --sleep each case waits instead of computing: what the sweep itself costs shows then even on a busy machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from statistics import median
from typing import Any

from analysis.experiments import FAILURES, run_case
from analysis.lab import open_executor, sweep


class Wait:
    """A case that takes some seconds and no processor."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.seed, self.seconds = seed, seconds

    def to_json(self) -> dict[str, Any]:
        """Return what it is."""
        return {"seed": self.seed, "seconds": self.seconds}


def wait(case: Wait) -> dict[str, Any]:
    """Take the case's time."""
    time.sleep(case.seconds)
    return {}


def seconds(cases: list[Any], run: Any, executor: Any) -> float:
    """Return how long a sweep takes on workers that are warm."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        counts = sweep(cases, run, folder, executor).counts
        assert counts["done"] == len(cases)
        return time.perf_counter() - began


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--sleep", type=float, default=0.0)
    given = parser.parse_args()
    base = FAILURES["stagnation"].case
    run: Any = wait if given.sleep else run_case
    cases: list[Any] = [
        Wait(seed, given.sleep) if given.sleep else replace(base, seed=seed) for seed in range(given.cases)
    ]
    with open_executor("processes", 1) as one, open_executor("processes", 2) as two:
        for executor in (one, two):
            seconds(cases[:4], run, executor)  # workers start, and load what is compiled
        times = [(seconds(cases, run, one), seconds(cases, run, two)) for _ in range(given.turns)]
    first, second = (median(column) for column in zip(*times))
    ratio = median(a / b for a, b in times)
    print(f"{given.cases} cases: {first:.2f} s with one worker, {second:.2f} s with two: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
