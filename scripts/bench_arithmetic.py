"""Time arithmetic beside its peers in one run, print the table, and write it into docs/speed.md and the README.

python scripts/bench_arithmetic.py [--repeats 5] [--write]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import arithmetic  # noqa: E402

VERSIONED = ("floatemu", "numpy", "numba", "ml_dtypes", "torch", "gfloat")
TELLING = (("add", "bfloat16"), ("fma", "bfloat16"), ("matmul", "binary16"))
"""The rows that the README shows."""

SIGNS = "¹²³"

Measured = dict[tuple[str, str, str], tuple[float, float, str]]


def measure(fmt: str, repeats: int) -> Measured:
    """By operation, format and peer: ns per element, its ratio to ours, and the note; peers take turns."""
    found: Measured = {}
    everything = arithmetic.cases(fmt)
    for operation in arithmetic.OPERATIONS:
        group = [case for case in everything if case.operation == operation]
        spent: list[list[float]] = [[] for _ in group]
        for case in group:
            case.run()
        for _ in range(repeats):
            for case, times in zip(group, spent, strict=True):
                begin = time.thread_time_ns()
                case.run()
                times.append((time.thread_time_ns() - begin) / case.count)
        for case, times in zip(group, spent, strict=True):
            ratio = statistics.median(t / own for t, own in zip(times, spent[0], strict=True))
            found[operation, fmt, case.peer] = statistics.median(times), ratio, case.note
    return found


def table(found: Measured, rows: list[tuple[str, str]]) -> list[str]:
    """Markdown rows: ns per element, and in brackets the multiple of ours."""
    signs = dict(zip(arithmetic.NOTES, SIGNS, strict=True))
    lines = ["| operation | format | " + " | ".join(arithmetic.PEERS) + " |", "|---|---" + "|---:" * 5 + "|"]
    for operation, fmt in rows:
        cells = []
        for peer in arithmetic.PEERS:
            time_, ratio, note = found.get((operation, fmt, peer), (0.0, 0.0, ""))
            sign = signs.get(note, "")
            cells.append(
                "—" if not time_ else f"{time_:.3g}" if peer == "floatemu" else f"{time_:.3g} ({ratio:.2g}){sign}"
            )
        lines.append(f"| {operation} | {fmt} | {' | '.join(cells)} |")
    return lines


def write(path: Path, mark: str, lines: list[str]) -> None:
    """Put the lines between the markers of a file."""
    before, rest = path.read_text(encoding="utf-8").split(f"<!-- begin: {mark} -->")
    after = rest.split(f"<!-- end: {mark} -->")[1]
    text = f"{before}<!-- begin: {mark} -->\n" + "\n".join(lines) + f"\n<!-- end: {mark} -->{after}"
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Run, print, and rewrite the tables if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the tables between their markers")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # overflow in the peers' formats
    found: Measured = {}
    for fmt in arithmetic.FORMATS:
        found |= measure(fmt, options.repeats)
    rows = [(operation, fmt) for operation in arithmetic.OPERATIONS for fmt in arithmetic.FORMATS]
    versions = []
    for name in VERSIONED:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    head = (
        "ns per element (of a product: per multiply-add), in brackets the multiple of floatemu's time; 2^22 numbers, "
        f"512 x 512 x 512; processor time of one thread, {platform.machine()}, medians of {options.repeats} "
        f"interleaved runs; {', '.join(versions)}."
    )
    notes = [f"{sign} {text};" for sign, text in zip(SIGNS, arithmetic.NOTES.values(), strict=True)]
    notes += ["— the peer has no such operation. floatemu's sum and product round every operation, from first to last."]
    lines = [head, "", *table(found, rows), "", *notes]
    print("\n".join(lines))
    if options.write:
        write(ROOT / "docs" / "speed.md", "speed-arithmetic", [line.rstrip() for line in lines])
        write(ROOT / "README.md", "speed-arithmetic", table(found, list(TELLING)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
