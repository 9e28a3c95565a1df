"""Time emulated replays with their statistics: how much is spent in matrix products, and what is left beside them.

python scripts/bench_products.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import analysis as an
import floatemu as fe
from analysis.arithmetics.emulated import Emulated
from analysis.comparison import compare_nodes


def products(repeats: int) -> None:
    """What is left beside the products, where these are rounded by operation or made by a matrix unit."""
    unit = an.Numerics(operands="bfloat16", result="bfloat16", unit=fe.matrix.find("H100", "bf16", "fp32", "wgmma"))
    policies = {
        "each result rounded once": an.Policy.uniform("bfloat16"),
        "each operation rounded": an.Policy.mixed("bfloat16", accumulate="bfloat16"),
        "wgmma of H100": an.Policy("unit", (an.Rule(unit, op="matmul"), an.Rule(an.Numerics(result="bfloat16")))),
    }
    nets = {
        "mlp 64-256-256-10, batch 64": an.nets.mlp((64, 256, 256, 10), "gelu", batch=64),
        "mlp 64-1024-1024-10, batch 64": an.nets.mlp((64, 1024, 1024, 10), "gelu", batch=64),
        "llama h 64, 2 layers, T 32": an.nets.llama(width=64, layers=2, length=32),
    }
    spent, product = [0.0], Emulated.matmul

    def watched(arithmetic: Emulated, x: Any, y: Any) -> Any:
        begin = time.process_time()
        found = product(arithmetic, x, y)
        spent[0] += time.process_time() - begin
        return found

    print("| net | products | ms | of them in products | everything else |\n|---|---|---|---|---|")
    Emulated.matmul = watched  # type: ignore[method-assign]
    for name, tape in nets.items():
        exact = an.replay(tape, an.Float64())
        for label, policy in policies.items():
            found = []
            for _ in range(repeats + 1):
                spent[0], begin = 0.0, time.process_time()
                compare_nodes(an.replay(tape, policy), exact)
                found.append((time.process_time() - begin, spent[0]))
            total, inside = (1e3 * median(column) for column in zip(*found[1:]))
            print(f"| {name} | {label} | {total:.1f} | {inside:.1f} | {total - inside:.1f} |", flush=True)
    Emulated.matmul = product  # type: ignore[method-assign]


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    products(parser.parse_args().repeats)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
