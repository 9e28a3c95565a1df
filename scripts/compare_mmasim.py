"""Compare matrix units with MMA-Sim: bits in every distribution, and the speed of whole products.

pip install torch mmasim==2.1.1 ninja setuptools
python scripts/compare_mmasim.py [--vectors 1000] [--rows TEXT] [--speed]
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import mmasim_rows

import floatemu as fe
from floatemu.matrix.generator import DISTRIBUTIONS, LAYOUTS, operands


def compare(unit: fe.matrix.MatrixUnit, n: int, seed: int) -> tuple[int, int]:
    """Dots compared and dots that differ; NaN are equal whatever their payload where the unit's is not modelled."""
    compared = differ = 0
    for simulator in mmasim_rows.simulators(unit):
        for distribution in DISTRIBUTIONS:
            given = mmasim_rows.inputs(unit, distribution, n, simulator.k, seed)
            theirs = mmasim_rows.simulate(unit, simulator, given)
            a, b, c, *scales = given
            more = dict(zip(("scale_a", "scale_b"), (scales[0][:, None], scales[1][:, :, None]))) if scales else {}
            ours = fe.matrix.mma(unit, a[:, None], b[:, :, None], c[:, None, None], codes=True, **more)[:, 0, 0]
            same = ours == theirs
            if unit.instruction == "mfma" or unit.output.name == "binary64":
                same |= np.isnan(fe.decode(ours, unit.output)) & np.isnan(fe.decode(theirs, unit.output))
            if not same.all():
                i = int(np.argmin(same))
                print(f"{unit.name} {distribution} k={simulator.k} [{i}]: {ours[i]:#x}, MMA-Sim {theirs[i]:#x}")
            compared, differ = compared + n, differ + int((~same).sum())
    return compared, differ


def speed(size: int) -> None:
    """A Markdown table of 10^9 multiply-adds per second, whole products from 0, runs interleaved."""
    torch.set_num_threads(2)
    print(f"| product {size}^3 | floatemu, 1 thread | 2 threads | MMA-Sim {version('mmasim')}, 2 threads | ratio |")
    print("|---|---|---|---|---|")
    for gpu, inputs, instruction in (("H100", "fp16", "wgmma"), ("H100", "e4m3fn", "wgmma"), ("A100", "bf16", "mma")):
        unit = fe.matrix.find(gpu, inputs, "fp32", instruction)
        single = LAYOUTS["binary32"]
        codes = operands("normal", LAYOUTS[unit.a.name], LAYOUTS[unit.b.name], single, size, size, size, seed=1)
        values = [fe.decode(x, unit.a) for x in codes]
        tensors = [mmasim_rows.tensor(x, unit.a.name) for x in codes]
        simulator = max(mmasim_rows.simulators(unit), key=lambda one: one.k)

        runs = {
            "one": lambda: fe.matrix.gemm(unit, values[0], values[1].T),  # noqa: B023
            "two": lambda: fe.matrix.gemm(unit, values[0], values[1].T, threads=2),  # noqa: B023
            "theirs": lambda: simulator.arithmetic_op(tensors[0], tensors[1].T, torch.zeros(size, size)),  # noqa: B023
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(3):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - begin)
        one, two, peer = (size**3 / median(times[name]) / 1e9 for name in runs)
        print(f"| {unit.name} | {one:.2f} | {two:.2f} | {peer:.3f} | {two / peer:.0f} |", flush=True)


def main() -> int:
    """Run; the exit code is 1 if a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1000, help="dots per row, K and distribution")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--speed", action="store_true", help="measure instead of comparing")
    arguments = parser.parse_args()
    if arguments.speed:
        speed(512)
        return 0
    rows = [unit for unit in fe.matrix.UNITS if arguments.rows in unit.name and mmasim_rows.simulators(unit)]
    counts = [compare(unit, arguments.vectors, arguments.seed) for unit in track(rows, "rows")]
    compared, differ = (sum(column) for column in zip((0, 0), *counts))
    print(f"{len(rows)} rows, {compared} dot products, {differ} differ (MMA-Sim {version('mmasim')})")
    return int(differ > 0)


if __name__ == "__main__":
    raise SystemExit(main())
