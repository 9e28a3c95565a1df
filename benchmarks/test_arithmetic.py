"""pytest benchmarks of arithmetic: left out of the tests; run with ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import arithmetic

pytest.importorskip("pytest_benchmark", reason="needs the extra dev: pip install -e '.[dev]'")


@cache
def cases(fmt: str) -> dict[tuple[str, str], arithmetic.Case]:
    """The cases of one format, built once, on first use."""
    return {(case.operation, case.peer): case for case in arithmetic.cases(fmt)}


@pytest.mark.parametrize("fmt", arithmetic.FORMATS)
@pytest.mark.parametrize("operation", arithmetic.OPERATIONS)
@pytest.mark.parametrize("peer", arithmetic.PEERS)
def test_arithmetic(peer: str, operation: str, fmt: str, benchmark: Any) -> None:
    """One call on 2^22 numbers, or a product of 512 x 512 matrices; compare within a group, per element."""
    if (operation, peer) not in cases(fmt):
        pytest.skip(f"{peer} has no {operation} in {fmt}, or is not installed")
    benchmark.group = f"{operation} {fmt}"
    benchmark.extra_info["elements"] = cases(fmt)[operation, peer].count
    benchmark.pedantic(cases(fmt)[operation, peer].run, rounds=5, warmup_rounds=1)
