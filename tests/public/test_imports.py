"""The packages import without any optional library, and the command line without numpy and numba."""

import subprocess
import sys

import pytest

OPTIONAL = (
    *("torch", "transformers", "matplotlib", "plotly", "pandas", "pyarrow", "flint"),
    *("dask", "distributed", "loky", "yaml", "safetensors"),
)
EVERYTHING = """
import importlib, pkgutil, sys
for name in {missing!r}:
    sys.modules[name] = None
import analysis, floatemu
named_for_it = {named!r}
for package in (floatemu, analysis):
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None):
        if not info.name.startswith(named_for_it):
            try:
                importlib.import_module(info.name)
                print(info.name)
            except floatemu.UnsupportedError as error:  # an extra's own file, naming it
                if "pip install 'floatemu[" not in str(error) or info.name not in {for_extras!r}:
                    raise
"""
FOR_EXTRAS = (
    *("analysis.report.plots", "analysis.report.html", "analysis.certified", "analysis.lab.specs"),
    "floatemu.block.safetensors_files",
)
NAMED = ("analysis.torch", "floatemu.interop.torch", "analysis.arithmetics.ball")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("missing", [("torch",), OPTIONAL], ids=["torch", "every extra"])
def test_everything_imports_without(missing):
    done = python(EVERYTHING.format(missing=missing, named=NAMED, for_extras=FOR_EXTRAS))
    assert done.returncode == 0, done.stderr
    assert "analysis.cli" in done.stdout.split()


def test_importing_floatemu_imports_no_framework():
    names = [name for name in OPTIONAL if name != "yaml"]  # numba reads its configuration with it
    done = python(f"import sys, floatemu; print([name for name in {names!r} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("words", [["--help"], ["demo", "--help"], ["trace", "--help"], ["--version"], ["nonsense"]])
def test_help_and_usage_errors_import_neither_numpy_nor_numba(words):
    done = python(
        f"import sys\nfrom analysis.cli import main\nmain({words!r})\n"
        "print('heavy:', [name for name in ('numpy', 'numba', 'mpmath', 'floatemu') if name in sys.modules])"
    )
    assert done.stdout.strip().endswith("heavy: []"), done.stdout + done.stderr
