"""Where results go: the dtype of a new array, and the checks of one that the caller gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.operands import can_store, dtype_format, refuse_out
from floatemu.target import smallest_float


def result_dtype(sources: Sequence[np.dtype[Any]], fmt: Format, dtype: Any, out: Any) -> np.dtype[Any]:
    """Return the dtype of a result in ``fmt``.

    Parameters
    ----------
    sources : sequence of dtype
        Of the operands; object stands for Python numbers.
    fmt : Format
    dtype, out : dtype or numpy.ndarray, optional
        What the caller asked for.

    Returns
    -------
    numpy.dtype
        The one asked for; else the operands' own, if they share one that holds every value of ``fmt``;
        else the smallest of float32 and float64 that does, float64 if an operand is no floating array.

    Raises
    ------
    UnsupportedError
        If the dtype asked for, or binary64, cannot hold the format.
    """
    if out is not None or dtype is not None:
        asked: np.dtype[Any] = out.dtype if out is not None else as_dtype(dtype)
        refuse_out(asked, fmt, "out" if out is not None else "dtype")
        return asked
    least = smallest_float(fmt)  # refuses what binary64 cannot hold
    formats = [dtype_format(source) for source in sources]
    if not formats or None in formats:
        return np.dtype(np.float64)
    if all(source == sources[0] for source in sources):
        common = sources[0].newbyteorder("=")
    elif all(source.kind == "f" and source.itemsize > 1 for source in sources):
        common = np.result_type(*sources)
    else:
        return least
    return common if can_store(common, fmt) else least


def own_dtypes(operands: Sequence[Any], arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.dtype[Any]]:
    """The dtypes that decide a result's: a Python number adapts to the arrays beside it, as numpy's do."""
    own = [a.dtype for a, x in zip(arrays, operands, strict=True) if hasattr(x, "dtype") or np.ndim(x)]
    return own or [np.dtype(object)]


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return ``np.dtype(dtype)``; UnsupportedError if it is none."""
    try:
        found: np.dtype[Any] = np.dtype(dtype)
        return found
    except TypeError:
        raise UnsupportedError(
            f"dtype={dtype!r} is not a dtype; accepted: np.float32, np.float64 and the like"
        ) from None


def check_out(out: Any, shape: tuple[int, ...]) -> None:
    """Raise UnsupportedError unless ``out`` is a writable array of that shape."""
    if not isinstance(out, np.ndarray):
        raise UnsupportedError(f"out is {type(out).__name__}; it must be a numpy array")
    if out.shape != shape:
        raise UnsupportedError(f"out has shape {out.shape}, but the result has shape {shape}; make them equal")
    if not out.flags.writeable:
        raise UnsupportedError("out is read-only; give a writable array")
