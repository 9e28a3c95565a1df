"""Time matrix products with every operation rounded, 512 x 512 x 512 on one thread, beside numpy's float32.

python scripts/bench_gemm.py [--size 512] [--repeats 5]
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import test_gemm  # noqa: E402

MPTORCH = 0.10
"""10^9 multiply-adds per second of MPTorch's CPU kernel, as measured for the design."""


def main() -> int:
    """Run and print one Markdown row a case: the best of some repeats, in processor time of the thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}; MPTorch's CPU kernel: {MPTORCH:.2f}\n")
    print("| case | 10^9 multiply-adds/s | goal |\n|---|---|---|")
    missed = 0
    for case in test_gemm.cases(arguments.size):
        case.run()
        best = float("inf")
        for _ in range(arguments.repeats):
            begin = time.thread_time()
            case.run()
            best = min(best, time.thread_time() - begin)
        rate = arguments.size**3 / best / 1e9
        verdict = "" if case.goal is None else f"{case.goal:g}: {'met' if rate >= case.goal else 'missed'}"
        missed += case.goal is not None and rate < case.goal
        print(f"| {case.name} | {rate:.2f} | {verdict} |", flush=True)
    print(f"\n{missed} goals missed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
