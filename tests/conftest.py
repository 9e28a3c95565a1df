"""Shared set-up: the oracles and strategies are importable, slow tests are opt-in, hypothesis is reproducible."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    max_examples=300,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "search",
    deadline=None,
    max_examples=int(os.environ.get("FLOATEMU_EXAMPLES", "5000")),
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked ``slow`` out, unless ``-m`` says what to run or a test is named by its id."""
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


MOST_KERNELS = 120


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if the core compiled more often than its design allows: per mode and carrier, never per format."""
    if not settings().derandomize or any(item.get_closest_marker("slow") for item in session.items):
        return  # searches and slow tests go through every mode on purpose; the budget is that of a plain run
    kernels = sys.modules.get("floatemu._core.kernels")
    compiled = kernels.specialisations() if kernels is not None else {}
    if sum(compiled.values()) > MOST_KERNELS:
        listing = "\n".join(f"{count:4d}  {label}" for label, count in sorted(compiled.items()))
        print(f"\n{sum(compiled.values())} compiled kernels, at most {MOST_KERNELS} are allowed:\n{listing}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
