"""Roots and reciprocals of all binary16 and bfloat16 numbers; the elementary functions have test_functions_values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from operations import quotient_of
from oracles import assert_bits
from summation import root_of

import floatemu as fe
from floatemu import reference
from floatemu.reference import Datum

SOURCES = {"binary16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
EXACT: dict[str, Callable[[Datum], Datum]] = {
    "sqrt": root_of,
    "reciprocal": lambda x: quotient_of(reference.exact(1), x),
}


def check(name: str, source: str, start: int, step: int) -> None:
    """Rounded to odd in binary64, which decides every mode into every narrower format; and to the format itself."""
    codes = np.arange(start, 1 << 16, step, dtype=np.uint16)
    x = codes.view(SOURCES[source])
    with np.errstate(invalid="ignore"):  # signalling NaNs
        exact = [EXACT[name](reference.exact(v)) for v in x.astype(np.float64).tolist()]
    function: Any = getattr(fe, name)
    for fmt, mode in (("binary64", "ToOdd"), (source, "TiesToEven"), (source, "TowardNegative"), ("e5m2", "ToOdd")):
        target, by = fe.get_format(fmt), fe.Projection(mode, "SatFinite")
        got = function(x, target, mode, saturation="SatFinite", dtype=np.float64)
        right = np.array([float(reference.round(v, target, by)) for v in exact])
        assert_bits(got, right, codes, f"{name} of {source} into {fmt} {mode}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", EXACT)
def test_a_sample(name: str, source: str) -> None:
    check(name, source, 1, 61)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", EXACT)
def test_all_roots_and_reciprocals(name: str, source: str) -> None:
    """All binary16 and bfloat16 numbers, special ones too."""
    check(name, source, 0, 1)
