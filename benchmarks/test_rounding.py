"""pytest benchmarks: left out of the tests; run with ``pytest benchmarks``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import peers

pytest.importorskip("pytest_benchmark", reason="needs the extra dev: pip install -e '.[dev]'")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("side", [peers.ours, peers.theirs], ids=["ours", "theirs"])
def test_every_case_once_and_print(side, dtype, benchmark) -> None:
    """One benchmark for the whole side; the table script times the cases one by one."""
    cases = list(side(dtype))
    for case in cases:
        case.run()  # compiles
    benchmark.pedantic(lambda: [case.run() for case in cases], rounds=1, iterations=1)
