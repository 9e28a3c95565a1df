"""The programs in examples/ run, from any folder, without a warning."""

import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


def needs(path: Path) -> list[str]:
    """Return what an example says it needs beyond the base, in a line `# needs: torch matplotlib`."""
    lines = (line for line in path.read_text().splitlines() if line.startswith("# needs:"))
    return [name for line in lines for name in line.removeprefix("# needs:").split()]


def words(path: Path) -> list[str]:
    """Return the arguments of a short run, which an example gives in a line `# in tests: --steps 3`."""
    lines = (line for line in path.read_text().splitlines() if line.startswith("# in tests:"))
    return [word for line in lines for word in line.removeprefix("# in tests:").split()]


def test_there_are_examples():
    assert {"rounder_in_njit", "stochastic_rounding", "custom_format"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    for name in needs(path):
        if util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", str(path), *words(path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
