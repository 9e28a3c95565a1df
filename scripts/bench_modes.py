"""Time operations and functions in every mode: the slowest of each, beside its goal.

python scripts/bench_modes.py [--log-size 18] [--repeats 3] [--write]      --write: into docs/speed.md
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_arithmetic import write
from rich.progress import track

import floatemu as fe

OPERATIONS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3, "remainder": 2, "minimum": 2, "maximum": 2}
FORMATS = ("bfloat16", "binary32", "binary64")
FUNCTIONS = (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh sigmoid erf gelu gelu_tanh silu "
    "softplus rsqrt reciprocal pow hypot"
).split()
FAST = ("add", "sub", "mul", "fma")
NEAREST = fe.Rounding.NEAREST_TIES_TO_EVEN
Timed = tuple[str, str, float, Callable[[], Any]]


def cases(size: int) -> Iterator[Timed]:
    """Yield what it belongs to, its name, the goal in 10^6 a second, and what runs, for every mode."""
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(3, size))
    inside = rng.uniform(0.01, 0.99, size).astype(np.float32)
    for mode in fe.Rounding:
        chance: dict[str, Any] = {"random_bits": 16, "seed": 1} if mode.stochastic else {}
        for name, count in OPERATIONS.items():
            given = [np.abs(x)] if name == "sqrt" else [x, y, z][:count]
            for fmt in FORMATS:
                fast = name in FAST and fmt != "binary64" and mode is NEAREST
                kind, goal = ("+ - x fma, p <= 24, nearest-even", 100.0) if fast else ("other operations", 15.0)
                yield (
                    kind,
                    f"{name} {mode.name} into {fmt}",
                    goal,
                    partial(getattr(fe, name), *given, fmt, mode, **chance),
                )
        for name in FUNCTIONS:
            given = [inside] * (2 if name in ("pow", "hypot") else 1)
            run = partial(getattr(fe, name), *given, "binary32", mode, **chance)
            yield "functions", f"{name} {mode.name} into binary32", 10.0, run


def main() -> int:
    """Measure in processor time of this thread, and print what misses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log-size", type=int, default=18)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    size = 2**options.log_size
    rates: dict[tuple[str, float], list[tuple[float, str]]] = {}
    for kind, name, goal, run in track(list(cases(size)), "timing"):
        run()
        seconds = []
        for _ in range(options.repeats):
            begin = time.thread_time()
            run()
            seconds.append(time.thread_time() - begin)
        rates.setdefault((kind, goal), []).append((size / median(seconds) / 1e6, name))
    lines = [
        "| what | cases | slowest, 10^6 a second | which | median | goal | missed by |",
        "|---|---:|---:|---|---:|---|---|",
    ]
    for (kind, goal), found in rates.items():
        least, which = min(found)
        missed = ", ".join(f"{name} ({rate:.1f})" for rate, name in sorted(found) if rate < goal) or "none"
        middle = median(rate for rate, _ in found)
        lines.append(f"| {kind} | {len(found)} | {least:.1f} | {which} | {middle:.1f} | {goal:g} | {missed} |")
    print("\n".join(lines))
    if options.write:
        write(Path(__file__).parent.parent / "docs" / "speed.md", "speed-modes", lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
