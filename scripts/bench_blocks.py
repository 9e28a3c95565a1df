"""Time block quantization of binary32 numbers on one thread and on two, beside a plain copy.

python scripts/bench_blocks.py [--log-size 24] [--repeats 7]

Runs of all cases are interleaved, and medians taken. Time on one thread is the processor's time of that thread, on two
it is the wall's, so that other work on the machine makes the second column worse.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from collections.abc import Callable
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


def timed(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Seconds of one run."""
    begin = clock()
    run()
    return clock() - begin


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
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for repeat in track(range(options.repeats + 1), "timing"):
        for name, calls in runs.items():
            for n, call in enumerate(calls, 1):
                taken = timed(call, time.thread_time if n == 1 else time.perf_counter)
                if repeat:  # the first compiles
                    seconds[name, n].append(taken)
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, {x.size} numbers\n")
    print("| case | one thread, 10^9/s | x np.copyto | two threads, 10^9/s | goal |\n|---|---:|---:|---:|---|")
    base = median(seconds["np.copyto", 1])
    for name, calls in runs.items():
        one = median(seconds[name, 1])
        two = x.size / median(seconds[name, 2]) / 1e9 if len(calls) == 2 else None
        verdict = "" if two is None else f"{GOAL}: {'met' if two >= GOAL else 'missed'}"
        cells = [name, f"{x.size / one / 1e9:.2f}", f"{one / base:.1f}", "" if two is None else f"{two:.2f}", verdict]
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
