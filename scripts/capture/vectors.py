"""The package's generator and designed vectors, loaded by their path: floatemu itself need not be installed."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "floatemu" / "matrix"
_NAME = "capture_vectors"
if _NAME not in sys.modules:
    # A package that consists of the folder and runs neither of the two __init__ files above these modules.
    _package = types.ModuleType(_NAME)
    _package.__path__ = [str(_FOLDER)]
    sys.modules[_NAME] = _package

generator = importlib.import_module(f"{_NAME}.generator")
probe_vectors = importlib.import_module(f"{_NAME}.probe_vectors")
probe_matrices = importlib.import_module(f"{_NAME}.probe_matrices")
LAYOUTS = generator.LAYOUTS
