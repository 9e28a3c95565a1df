"""Time the analysis engine beside the float64 replay, and what references cost; plot its growth.

python scripts/bench_analysis.py [--repeats 5] [--plot docs/images/analysis-cost.svg]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import analysis as an
from analysis.attribution import attribute
from analysis.comparison import compare_nodes
from analysis.reference import reference

DEPTHS, WIDTHS = (2, 4, 8, 16, 32), (16, 32, 64, 128, 256)


def timed(run: Callable[[], object], repeats: int) -> float:
    """Median of the processor time of some runs, seconds, after one that is not counted."""
    return median(interleaved({"": run}, repeats)[""])


def interleaved(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Processor times of some rounds of all runs, seconds, after one round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            found[name].append(time.process_time() - begin)
    return found


def row(name: str, seconds: float, ratio: float | None = None, goal: str = "") -> None:
    """Print one line of the table."""
    print(f"| {name} | {1e3 * seconds:.3g} | {'' if ratio is None else f'{ratio:.1f}'} | {goal} |", flush=True)


def replays(repeats: int) -> None:
    """What an emulated replay with its statistics costs; each ratio is to the float64 replay just before."""
    nets = {
        "mlp 64-256-256-10, batch 64": an.nets.mlp((64, 256, 256, 10), "gelu", batch=64),
        "llama h 64, 2 layers, T 32": an.nets.llama(width=64, layers=2, length=32),
        "lstm h 64, T 30, batch 32": an.nets.lstm(30, 64, batch=32),
        "lstm h 16, T 30, batch 4": an.nets.lstm(30),
        "gru h 16, T 30, batch 4": an.nets.gru(30),
        "attention T 8, h 16": an.nets.attention(),
        "chain of 10 scalars": an.nets.chain(1e5, 0.25, 10),
    }
    float64 = an.Float64()
    for name, tape in nets.items():
        exact, run = an.replay(tape, float64), an.replay(tape, "bfloat16")
        what = "loss" if "loss" in tape.targets else list(tape.targets)[-1]
        runs: dict[str, Callable[[], object]] = {"float64 replay": partial(an.replay, tape, float64)}
        for policy in ("bfloat16", "e4m3fn", "torch_amp"):
            runs[f"{policy}, with statistics"] = partial(whole, tape, an.Policy.named(policy), exact)
        runs["bfloat16, replay alone"] = partial(an.replay, tape, "bfloat16")
        runs["attribution"] = partial(attribute, run, exact, what, None, run)
        found = interleaved(runs, repeats)
        base = found["float64 replay"]
        for kind, seconds in found.items():
            goal = "5" if "statistics" in kind and "amp" not in kind else ""
            row(f"{name}: {kind}", median(seconds), median(s / b for s, b in zip(seconds, base)), goal)


def whole(tape: an.Tape, policy: an.Policy, exact: an.Run) -> object:
    """Replay, and report every node."""
    return compare_nodes(an.replay(tape, policy), exact)


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
