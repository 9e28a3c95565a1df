"""Matrix products as named calls: timed by scripts/bench_gemm.py, and by ``pytest benchmarks``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import floatemu as fe
from floatemu.gemm import matmul


@dataclass(frozen=True)
class Case:
    """One timed call, and the goal in 10^9 multiply-adds per second."""

    name: str
    run: Callable[[], Any]
    goal: float | None = None


def cases(size: int = 512) -> Iterator[Case]:
    """Products of normally distributed e4m3fn numbers into several accumulators, modes and orders."""
    rng = np.random.default_rng(0)
    a, b = (fe.round(rng.standard_normal((size, size)).astype(np.float32), "e4m3fn") for _ in range(2))

    def case(name: str, goal: float | None, fmt: str, *mode: str, scale: float = 1.0, **options: Any) -> Case:
        x, y = a * np.float32(scale), b * np.float32(scale)
        return Case(name, lambda: matmul(x, y, fmt, *mode, **options), goal)

    yield Case("numpy float32", lambda: np.matmul(a, b))
    yield case("binary16", 2.0, "binary16")
    yield case("binary16, products beyond its range", None, "binary16", scale=32)
    yield case("binary16, products below its range", None, "binary16", scale=2.0**-10)
    yield case("bfloat16", 1.0, "bfloat16")
    yield case("e5m2", 1.0, "e5m2")
    for mode in list(fe.Rounding)[1:6]:
        yield case(f"binary16 {mode.name}", 1.0, "binary16", mode.name)
    yield case("binary16 STOCHASTIC_A, 32 bits", 0.5, "binary16", "STOCHASTIC_A", seed=1)
    yield case("binary16 STOCHASTIC_A, 8 bits", 0.5, "binary16", "STOCHASTIC_A", seed=1, random_bits=8)
    yield case("binary16, fused", None, "binary16", fused=True)
    yield case("binary32", None, "binary32")
    yield case("binary64", None, "binary64")


@pytest.mark.parametrize("case", cases(128), ids=lambda case: case.name)
def test_gemm(benchmark: Any, case: Case) -> None:
    benchmark.pedantic(case.run, rounds=5, warmup_rounds=1)
