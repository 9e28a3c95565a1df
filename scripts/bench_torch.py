"""Time functions on arrays and the same on tensors, interleaved; --docs writes the table into docs/torch.md.

usage: bench_torch.py [--docs] [--size LOG2] [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import torch

import floatemu as fe
import floatemu.interop.torch as ft

sys.path.insert(0, str(Path(__file__).parent))
from make_docs import ROOT, filled

Call = Callable[[], object]
GOAL = 0.9


def cases(size: int) -> dict[str, tuple[Call, Call]]:
    """Every case: the call on arrays, and the call on tensors."""
    x = np.random.default_rng(0).normal(size=size)
    found: dict[str, tuple[Call, Call]] = {}
    sources = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
    for name, dtype in sources.items():
        array, tensor = x.astype(dtype), torch.from_numpy(x).to(getattr(torch, name))
        found[f"`round`, {name} to e4m3fn"] = (
            lambda a=array: fe.round(a, "e4m3fn"),  # type: ignore[misc]
            lambda t=tensor: ft.round(t, "e4m3fn"),  # type: ignore[misc]
        )
        found[f"`encode`, {name} to e5m2"] = (
            lambda a=array: fe.encode(a, "e5m2"),  # type: ignore[misc]
            lambda t=tensor: ft.encode(t, "e5m2"),  # type: ignore[misc]
        )
    array = x.astype(np.float32)
    tensor, out, place = torch.from_numpy(array), np.empty_like(array), torch.empty(size)
    found["`round` with `out=`, float32 to bfloat16"] = (
        lambda: fe.round(array, "bfloat16", out=out),
        lambda: ft.round(tensor, "bfloat16", out=place),
    )
    left, right = array[: 2**16].reshape(256, 256), array[2**16 : 2**17].reshape(256, 256)
    a, b = torch.from_numpy(left), torch.from_numpy(right)
    found["`matmul`, 256 x 256 x 256, binary16"] = (
        lambda: fe.matmul(left, right, "binary16"),
        lambda: ft.matmul(a, b, "binary16"),
    )
    return found


def ratio(on_array: Call, on_tensor: Call, rounds: int) -> tuple[float, float, float]:
    """Medians of both times in seconds, and of the quotients of neighbouring runs."""
    times = []
    for _ in range(rounds + 1):
        row = []
        for call in (on_array, on_tensor):
            begin = time.process_time()
            call()
            row.append(time.process_time() - begin)
        times.append(row)
    arrays, tensors = zip(*times[1:], strict=True)  # the first compiles
    return statistics.median(arrays), statistics.median(tensors), statistics.median(a / b for a, b in times[1:])


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--size", type=int, default=22, help="numbers are 2^SIZE")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [f"| call, 2^{options.size} numbers | array, ms | tensor, ms | ratio | goal |", "|---|---:|---:|---:|---|"]
    for name, calls in cases(2**options.size).items():
        array, tensor, both = ratio(*calls, options.rounds)
        rows.append(
            f"| {name} | {1e3 * array:.1f} | {1e3 * tensor:.1f} | {both:.2f} | {'met' if both >= GOAL else 'missed'} |"
        )
        print(rows[-1], flush=True)
    if options.docs:
        page = ROOT / "docs" / "torch.md"
        page.write_text(filled(page.read_text(encoding="utf-8"), "speed", "\n".join(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
