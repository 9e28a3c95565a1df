"""Time the analysis engine beside the float64 replay, and what references cost; plot its growth.

python scripts/bench_analysis.py [--repeats 5] [--plot docs/images/analysis-cost.svg]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import analysis as an
from analysis.attribution import attribute
from analysis.comparison import compare_nodes
from analysis.reference import reference

DEPTHS, WIDTHS = (2, 4, 8, 16, 32), (16, 32, 64, 128, 256)


def timed(run: Callable[[], object], repeats: int) -> float:
    """Median of the processor time of some runs, seconds, after one that is not counted."""
    run()
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return median(found)


def row(name: str, seconds: float, base: float | None = None, goal: str = "") -> None:
    """Print one line of the table."""
    ratio = "" if base is None else f"{seconds / base:.1f}"
    print(f"| {name} | {1e3 * seconds:.1f} | {ratio} | {goal} |", flush=True)


def replays(repeats: int) -> None:
    """What an emulated replay with its statistics costs, beside one in float64."""
    nets = {
        "mlp 64-256-256-10, batch 64": an.nets.mlp((64, 256, 256, 10), "gelu", batch=64),
        "llama h 64, 2 layers, T 32": an.nets.llama(width=64, layers=2, length=32),
        "lstm h 64, T 30, batch 32": an.nets.lstm(30, 64, batch=32),
        "lstm h 16, T 30, batch 4": an.nets.lstm(30),
    }
    for name, tape in nets.items():
        exact = an.replay(tape, an.Float64())
        base = timed(lambda: an.replay(tape, an.Float64()), repeats)  # noqa: B023
        row(f"{name}: float64 replay", base)
        for policy in ("bfloat16", "e4m3fn", "torch_amp"):
            chosen = an.Policy.named(policy)
            seconds = timed(lambda: compare_nodes(an.replay(tape, chosen), exact), repeats)  # noqa: B023
            row(f"{name}: {policy}, with statistics", seconds, base, "5" if policy != "torch_amp" else "")
        run = an.replay(tape, "bfloat16")
        row(f"{name}: bfloat16, replay alone", timed(lambda: an.replay(tape, "bfloat16"), repeats), base)  # noqa: B023
        row(f"{name}: attribution", timed(lambda: attribute(run, exact, "loss", None, run), repeats), base)  # noqa: B023


def references(repeats: int) -> None:
    """What a reference costs."""
    small = an.nets.mlp((64, 32, 32, 32, 10), "tanh", batch=4)
    row("mlp 64-32-32-32-10, batch 4: mpmath", timed(lambda: reference(small, "mpmath"), repeats), goal="200 ms")
    row("the same: ball", timed(lambda: reference(small, "ball"), repeats))
    llama = an.nets.llama(width=64, layers=2, length=32)
    row("llama h 64, 2 layers, T 32: ball", timed(lambda: reference(llama, "ball"), 1), goal="5000 ms")


def growth(path: Path, repeats: int) -> None:
    """Plot the time of an analysis against depth and width."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    shapes = ("depth", DEPTHS, lambda n: (64, *(64,) * n, 10)), ("width", WIDTHS, lambda n: (64, n, n, n, n, 10))
    for axis, (name, sizes, shape) in zip(axes, shapes):
        for label, run in (
            ("float64 replay", lambda tape: an.replay(tape, an.Float64())),
            ("bfloat16 replay", lambda tape: an.replay(tape, "bfloat16")),
            ("whole analysis", lambda tape: an.analyze(tape, "bfloat16", "float64").to_json()),
        ):
            tapes = [an.nets.mlp(shape(n), "tanh", batch=16) for n in sizes]
            seconds = [timed(lambda tape=tape, run=run: run(tape), repeats) for tape in tapes]  # type: ignore[misc]
            axis.loglog(sizes, seconds, "o-", label=label)
        axis.set_xlabel(f"{name} of the network ({'layers of 64' if name == 'depth' else 'four hidden layers'})")
    axes[0].set_ylabel("processor time / s")
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """Print a Markdown table and, if asked, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    print("| what | ms | x float64 replay | goal |\n|---|---|---|---|")
    replays(arguments.repeats)
    references(arguments.repeats)
    if arguments.plot:
        growth(arguments.plot, min(arguments.repeats, 3))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
