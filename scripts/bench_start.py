"""Time what a user waits for before the first result: imports, the first rounding of a second process, --help.

python scripts/bench_start.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

FIRST = """
import numba, numpy, time
begin = time.perf_counter()
import floatemu as fe
fe.round(numpy.ones(4, numpy.float32), "e4m3fn")
print(time.perf_counter() - begin)
"""
HELP = "import sys; sys.argv = ['floatemu', '--help']; from analysis.cli import main; main()"


def seconds(program: str) -> float:
    """Wall time of a fresh interpreter that runs ``program``."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return time.perf_counter() - begin


def inside(program: str) -> float:
    """The time that ``program`` prints."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> int:
    """Measure, interleaved, and print medians beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    inside(FIRST)  # fills the disk cache of kernels
    base, ours, first, page = [], [], [], []
    for _ in range(repeats):
        base.append(seconds("import numba"))
        ours.append(seconds("import floatemu"))
        first.append(inside(FIRST))
        page.append(seconds(HELP))
    ratio = statistics.median(o / b for o, b in zip(ours, base, strict=True))
    rows = [
        ("import floatemu / import numba", f"{ratio:.2f}", "<= 1.15"),
        ("second process: import floatemu and first round", f"{statistics.median(first):.3f} s", "< 0.3 s"),
        ("floatemu --help", f"{statistics.median(page):.2f} s", "<= 0.5 s"),
    ]
    for name, value, goal in rows:
        print(f"{name:50s} {value:>8s}   goal {goal}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
