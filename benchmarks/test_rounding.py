"""pytest benchmarks of rounding: left out of the tests; run with ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import peers

pytest.importorskip("pytest_benchmark", reason="needs the extra dev: pip install -e '.[dev]'")


@cache
def cases(dtype: str) -> dict[str, peers.Case]:
    """The cases of one source dtype, by name; built once, on first use."""
    return {case.name: case for case in [*peers.ours(dtype), *peers.theirs(dtype)]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", peers.names())
def test_rounding(name: str, dtype: str, benchmark) -> None:
    """One call on 2^24 numbers; compare within a group, whose yardstick is np.copyto."""
    if name not in cases(dtype):
        pytest.skip(f"{name.split()[0]} is not installed; it comes with the extra test or torch")
    benchmark.group = dtype
    benchmark.pedantic(cases(dtype)[name].run, rounds=5, warmup_rounds=1)
