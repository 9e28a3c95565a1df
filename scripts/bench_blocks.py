"""Time block quantization of binary32 numbers on one thread and on two, beside a plain copy.

python scripts/bench_blocks.py [--log-size 24] [--repeats 7]

Runs of all cases are interleaved, and medians taken. Time on one thread is the processor's time of that thread. Two
threads are timed by the wall, which other work on the machine makes worse, and by the processor's time of both: what
they would reach if both always ran.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from rich.progress import track

import floatemu as fe

GOAL = 0.5
"""10^9 numbers per second on two threads."""

CASES: dict[str, dict[str, Any]] = {
    "mxfp8_e4m3": {},
    "mxfp8_e4m3 RCEIL": {"scale_rule": "RCEIL"},
    "mxfp4": {},
    "nvfp4": {},
    "nvfp4 outer=1": {"outer": 1.0},
    "nvfp4 divide": {"scaling": "divide"},
    "fp8_1x128": {},
    "fp8_128x128": {},
    "fp8_tensor": {},
    "mxfp8_e4m3 axis=0": {"axis": 0},
    "mxfp8_e4m3 stochastic_a": {"rounding": "stochastic_a", "seed": 0},
}


def timed(run: Callable[[], Any], clocks: Sequence[Callable[[], float]]) -> list[float]:
    """Seconds of one run by each clock."""
    begin = [clock() for clock in clocks]
    run()
    return [clock() - then for clock, then in zip(clocks, begin, strict=True)]


def main() -> int:
    """Print one Markdown row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log-size", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((2 ** (options.log_size - 12), 4096)).astype(np.float32)
    blocks = fe.quantize(x, "mxfp8_e4m3")
    runs: dict[str, list[Callable[[], Any]]] = {}
    for name, settings in CASES.items():
        runs[name] = [
            lambda n=n, name=name, settings=settings: fe.quantize(x, name.split()[0], threads=n, **settings)
            for n in (1, 2)
        ]
    runs["encode e4m3fn, no scale"] = [lambda: fe.encode(x, "e4m3fn", saturation="SatFinite")]
    runs["dequantize to binary32"] = [lambda: blocks.dequantize(np.float32)]
    copy = np.empty_like(x)
    runs["np.copyto"] = [lambda: np.copyto(copy, x)]
    clocks = {1: (time.thread_time,), 2: (time.perf_counter, time.process_time)}
    seconds: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    for repeat in track(range(options.repeats + 1), "timing"):
        for name, calls in runs.items():
            for n, call in enumerate(calls, 1):
                taken = timed(call, clocks[n])
                if repeat:  # the first compiles
                    seconds[name, n].append(taken)
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, {x.size} numbers\n")
    print("| case | one thread, 10^9/s | x np.copyto | two threads, 10^9/s | by processor's time | goal |")
    print("|---|---:|---:|---:|---:|---|")
    base = median(taken[0] for taken in seconds["np.copyto", 1])
    for name, calls in runs.items():
        one = median(taken[0] for taken in seconds[name, 1])
        cells = [name, f"{x.size / one / 1e9:.2f}", f"{one / base:.1f}", "", "", ""]
        if len(calls) == 2:
            wall, busy = (x.size / median(taken) / 1e9 for taken in zip(*seconds[name, 2], strict=True))
            cells[3:] = f"{wall:.2f}", f"{2 * busy:.2f}", f"{GOAL}: {'met' if wall >= GOAL else 'missed'}"
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
