"""Time rounding beside its peers in one run, print the table, and write it into the README.

python scripts/bench_rounding.py [--repeats 7] [--readme]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import peers  # noqa: E402

PEERS = ("floatemu", "numpy", "numba", "ml_dtypes", "torch", "gfloat")
GOALS = {"NEAREST_TIES_TO_EVEN": 1.15, "STOCHASTIC_A": 3.0, "STOCHASTIC_B": 3.0, "STOCHASTIC_C": 3.0}


def goal(name: str) -> float | None:
    """The goal for a case, as a multiple of np.copyto."""
    if not name.startswith("floatemu round "):
        return None
    return GOALS.get(name.split()[-1], 2.0)


def times(cases: list[peers.Case], repeats: int) -> list[list[float]]:
    """Nanoseconds per element of each case, the cases interleaved so that noise hits all alike."""
    result: list[list[float]] = [[] for _ in cases]
    for case in cases:
        case.run()
    for _ in range(repeats):
        for spent, case in zip(result, cases, strict=True):
            begin = time.perf_counter_ns()
            case.run()
            spent.append((time.perf_counter_ns() - begin) / case.count)
    return result


def rows(dtype: str, repeats: int) -> list[str]:
    """Markdown rows of one source dtype."""
    cases = [*peers.ours(dtype), *peers.theirs(dtype)]
    measured = times(cases, repeats)
    lines = []
    for case, spent in zip(cases, measured, strict=True):
        median, target = statistics.median(spent), goal(case.name)
        ratio = statistics.median(s / c for s, c in zip(spent, measured[0], strict=True))
        verdict = "" if target is None else f"≤ {target:g}: {'met' if ratio <= target else 'missed'}"
        lines.append(f"| {dtype} | {case.name} | {median:.2f} | {ratio:.2f} | {verdict} |")
        print(lines[-1], flush=True)
    return lines


def main() -> int:
    """Run, print, and rewrite the README's speed section if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--readme", action="store_true", help="write the table between the README's speed markers")
    options = parser.parse_args()
    head = ["| source | call | ns per element | × np.copyto | goal |", "|---|---|---:|---:|---|"]
    print(*head, sep="\n")
    table = [*head, *rows("float32", options.repeats), *rows("float64", options.repeats)]
    versions = []
    for name in PEERS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    note = (
        f"2^24 numbers, one thread, {platform.machine()}, medians of {options.repeats} interleaved runs, "
        f"`python scripts/bench_rounding.py --readme`; {', '.join(versions)}."
    )
    print(note)
    if options.readme:
        path = ROOT / "README.md"
        before, rest = path.read_text().split("<!-- begin: speed -->")
        after = rest.split("<!-- end: speed -->")[1]
        body = "\n".join([note, "", *table])
        path.write_text(f"{before}<!-- begin: speed -->\n{body}\n<!-- end: speed -->{after}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
