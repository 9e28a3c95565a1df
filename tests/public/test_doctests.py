"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import analysis
import floatemu

OPTIONAL = {
    *("torch", "transformers", "matplotlib", "plotly", "pandas", "pyarrow", "flint"),
    *("dask", "distributed", "loky", "yaml"),
}
NAMES = sorted(
    info.name
    for package in (floatemu, analysis)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None)
)


@pytest.mark.parametrize("name", ["floatemu", "analysis", *NAMES])
def test_examples_in_docstrings(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").split(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"needs {error.name}")
    except floatemu.UnsupportedError as error:
        if "pip install 'floatemu[" not in str(error):
            raise
        pytest.skip(str(error))
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0
