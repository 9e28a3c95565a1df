"""Print the peak memory, and the time, of everything an analysis does with a tape of 10^5 nodes.

usage: bench_memory.py [--steps 1700] [--hidden 16] [--batch 4]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time

import analysis as an


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1700, help="of an LSTM; each takes 61 nodes")
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    asked = parser.parse_args()
    tape = an.nets.lstm(asked.steps, asked.hidden, batch=asked.batch)
    print(f"{len(tape)} nodes, {sum(output.size for node in tape.nodes for output in node.outputs):.3g} numbers")
    print("| after | s | peak GiB |\n|---|---:|---:|")
    begin = time.process_time()
    found = an.analyze(tape, "bfloat16", "float64")
    with tempfile.TemporaryDirectory() as folder:
        for name, run in (
            ("replays", lambda: found.events),
            ("attribution", lambda: found.attribution(found.main, "error")),
            ("node reports", lambda: found.nodes),
            ("diagnosis", found.diagnose),
            ("growth", found.growth),
            ("HTML report", lambda: found.save(f"{folder}/report.html")),
        ):
            run()
            now, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"| {name} | {now - begin:.0f} | {peak:.2f} |", flush=True)
            begin = now
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
