"""The disk cache of compiled kernels: an edit anywhere in the core is seen, and nothing else recompiles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import floatemu
from floatemu._core import kernels

PACKAGE = Path(floatemu.__file__).parent
PROGRAM = """
import json
import numpy as np
import floatemu as fe
from floatemu._core import kernels
x = np.array([1.0625, 1.1875], np.float32)  # two ties
values = fe.round(x, "e4m3fn").tolist()
stats = [kernels._DISPATCHERS[label].stats for label in kernels.specialisations()]
hits = sum(sum(s.cache_hits.values()) for s in stats)
misses = sum(sum(s.cache_misses.values()) for s in stats)
print(json.dumps([values, hits, misses]))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package that a subprocess imports."""
    shutil.copytree(PACKAGE, tmp_path / "floatemu", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(tree: Path) -> tuple[list[float], int, int]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(tree / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=tree, capture_output=True, text=True, check=True
    )
    values, hits, misses = json.loads(done.stdout)
    return values, hits, misses


def test_second_process_loads_and_an_edit_in_the_core_is_seen(tree: Path) -> None:
    values, hits, misses = run(tree)
    assert values == [1.0, 1.25]
    assert hits == 0
    assert misses > 0
    values, hits, misses = run(tree)  # the outer loop, loaded, brings what it calls
    assert (values, misses) == ([1.0, 1.25], 0)
    assert hits > 0
    # Ties to even become ties away, in a file that holds no compiled function, keeping its times.
    path = tree / "floatemu" / "_core" / "rounding.py"
    times = path.stat()
    text = path.read_text()
    assert text.count("+ odd) > unit") == 1
    path.write_text(text.replace("+ odd) > unit", "+ odd) >= unit"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    shutil.rmtree(tree / "floatemu" / "_core" / "__pycache__", ignore_errors=True)
    values, hits, _ = run(tree)
    assert values == [1.125, 1.25]
    assert hits == 0


@pytest.mark.parametrize("name", ["_core/rounding.py", "_core/random.py", "_core/kernels.py", "projection.py"])
def test_key_covers_every_source_of_the_core(tree: Path, name: str) -> None:
    before = kernels.source_key(tree / "floatemu" / "_core")
    assert before == kernels.SOURCE_KEY
    with (tree / "floatemu" / name).open("a") as file:
        file.write("\n")
    assert kernels.source_key(tree / "floatemu" / "_core") != before


def test_works_where_no_cache_folder_is_writable(tree: Path) -> None:
    (tree / "cache").write_text("a file where the folder should be")
    values, hits, _ = run(tree)
    assert (values, hits) == ([1.0, 1.25], 0)


ONE_MODE = """
import sys
import numpy as np
import floatemu as fe
x = np.array([1.0625, 1.1875, -1.0625, -1e-9], np.float32)
for mode in map(int, sys.argv[1:]):
    print(fe.round(x, "e4m3fn", fe.Rounding(mode)).tolist())
    print(fe.round_with_flags(x, "e4m3fn", fe.Rounding(mode))[0].tolist())
"""


def test_kernels_compiled_apart_are_not_mistaken_for_one_another(tree: Path) -> None:
    """Closures of one factory, compiled in several processes, loaded into one (see ``kernels.named``)."""

    def modes(*numbers: str) -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(tree / "cache")}
        command = [sys.executable, "-c", ONE_MODE, *numbers]
        done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    apart = [line for number in "01234" for line in modes(number)]
    assert modes(*"01234") == apart
    assert len(set(apart)) == 5
