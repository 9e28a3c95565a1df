"""The faces of rounding, one call signature each, so that a test can be parametrised over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

import floatemu as fe

Face = Callable[..., Any]

CARRIERS: dict[Any, str] = {
    np.dtype(np.float16): "binary16",
    np.dtype(ml_dtypes.bfloat16): "bfloat16",
    np.dtype(np.float32): "binary32",
    np.dtype(np.float64): "binary64",
}
"""Array dtypes that can hold results, and the format that each is."""


def result_dtype(x: Any, fmt: fe.Format) -> np.dtype[Any]:
    """Promised dtype: x's own if it holds all finite values of fmt, else the first of float32, float64 that does."""
    single, double = np.dtype(np.float32), np.dtype(np.float64)
    own = np.asarray(x).dtype
    for candidate in (own, single, double) if own in CARRIERS else (double,):
        if fe.get_format(CARRIERS[candidate]).holds(fmt):
            return candidate
    raise AssertionError(f"no dtype holds {fmt.name}")


def array(x: Any, fmt: fe.Format, **arguments: Any) -> Any:
    return fe.round(x, fmt, **arguments)


def scalar(x: Any, fmt: fe.Format, **arguments: Any) -> Any:
    return np.array([fe.round(value, fmt, **arguments) for value in x], result_dtype(x, fmt))


def codes(x: Any, fmt: fe.Format, **arguments: Any) -> Any:
    return fe.decode(fe.encode(x, fmt, **arguments), fmt, dtype=result_dtype(x, fmt))


def out(x: Any, fmt: fe.Format, **arguments: Any) -> Any:
    result = np.full(np.shape(x), 0.625, result_dtype(x, fmt))
    returned = fe.round(x, fmt, out=result, **arguments)
    assert returned is result
    return result


def flagged(x: Any, fmt: fe.Format, **arguments: Any) -> Any:
    return fe.round_with_flags(x, fmt, **arguments)[0]


FACES: dict[str, Face] = {"array": array, "scalar": scalar, "codes": codes, "out": out, "flagged": flagged}
