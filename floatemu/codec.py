"""Codes and values: encode, decode, values."""

from __future__ import annotations

from typing import Any

import numpy as np

from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.operands import as_array, is_number, refuse_out
from floatemu.projecting import Request, decode_codes, project_array, project_number
from floatemu.projection import Rounding, Saturation
from floatemu.results import as_dtype
from floatemu.target import smallest_float


def code_dtype(fmt: Format) -> np.dtype[Any]:
    """Return the smallest unsigned dtype that holds k bits."""
    return np.dtype(f"uint{next(bits for bits in (8, 16, 32, 64) if bits >= fmt.k)}")


def encode(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = Rounding.NEAREST_TIES_TO_EVEN,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    random: Any = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
    out: Any = None,
    flags: bool = False,
) -> Any:
    """Return the codes of the values that :func:`~floatemu.round` would give.

    Parameters
    ----------
    x, fmt, rounding, saturation, random_bits, random, seed, stream, nan
        As for :func:`~floatemu.round`. A NaN gives the format's canonical NaN, ``fmt.nan_code``.
    out : numpy.ndarray of unsigned integers, optional
        Where the codes go.
    flags : bool
        Whether to return (codes, flags) instead of codes.

    Returns
    -------
    numpy.ndarray or scalar
        Smallest unsigned dtype of at least k bits; codes right-aligned. With ``flags=True`` also a uint8 array of
        :class:`~floatemu.Flag` bits.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.encode([1.0, -0.0, 448.0, float("nan")], "e4m3fn").tolist()
    [56, 128, 126, 127]
    >>> codes, flags = fe.encode([1.0, 1.1], "e4m3fn", flags=True)
    >>> [fe.Flag(int(f)).name for f in flags]
    [None, 'INEXACT']
    """
    fmt = get_format(fmt)
    request = Request.make(fmt, rounding, saturation, random_bits, random, seed, stream, nan)
    kind = code_dtype(fmt)
    if is_number(x) and out is None:
        code, flag = project_number(x, request)
        return (kind.type(code), np.uint8(flag)) if flags else kind.type(code)
    array = np.asarray(x, object) if is_number(x) else as_array(x)
    if out is None:
        result = np.empty(array.shape, kind)
    else:
        if not isinstance(out, np.ndarray) or out.dtype.kind != "u" or out.dtype.itemsize < kind.itemsize:
            given = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
            raise UnsupportedError(f"out is {given}; codes of {fmt.name} need an unsigned array of {kind} or wider")
        if out.shape != array.shape or not out.flags.writeable:
            raise UnsupportedError(f"out has shape {out.shape} (writable: {out.flags.writeable}), x has {array.shape}")
        result = out
    marks = np.empty(array.shape, np.uint8) if flags else None
    project_array(array, request, result, coded=True, flags=marks)
    if out is None and not isinstance(x, np.ndarray) and array.ndim == 0:
        return (result[()], marks[()]) if marks is not None else result[()]
    return (result, marks) if marks is not None else result


def decode(codes: Any, fmt: Format | str, dtype: Any = np.float64) -> Any:
    """Return the values of codes.

    Parameters
    ----------
    codes : array_like of integers
        Each in 0 .. 2^k - 1.
    fmt : Format or str
    dtype : dtype
        Floating, able to hold every value of ``fmt``; default float64.

    Returns
    -------
    numpy.ndarray or scalar
        Same shape as ``codes``. Every NaN code gives the quiet NaN with clear sign and payload.

    Raises
    ------
    FormatError
        If a code is out of range.
    UnsupportedError
        If ``codes`` are no integers, or ``dtype`` cannot hold the format.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.decode([0x01, 0x38, 0x7E, 0x7F], "e4m3fn").tolist()
    [0.001953125, 1.0, 448.0, nan]
    """
    fmt = get_format(fmt)
    smallest_float(fmt)
    refuse_out(as_dtype(dtype), fmt, "dtype")
    try:
        array = np.asarray(codes)
    except ValueError as error:
        raise UnsupportedError(f"codes are ragged: {error}; give rows of equal length") from None
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise UnsupportedError(f"codes have dtype {array.dtype}; codes are integers 0 .. 2^{fmt.k} - 1")
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= 2**fmt.k:
            raise FormatError(f"codes hold {low}..{high}, but those of {fmt.name} are 0..{2**fmt.k - 1}")
    flat = np.ascontiguousarray(array, code_dtype(fmt)).reshape(-1)
    result = decode_codes(flat, fmt).reshape(array.shape).astype(dtype, copy=False)
    return result[()] if not isinstance(codes, np.ndarray) and array.ndim == 0 else result


def values(fmt: Format | str) -> np.ndarray[Any, Any]:
    """Return the value of every code of a format of at most 16 bits, in the order of the codes.

    Parameters
    ----------
    fmt : Format or str
        With k <= 16.

    Returns
    -------
    numpy.ndarray of float64
        Shape (2^k,).

    Raises
    ------
    UnsupportedError
        If k > 16.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.values("e2m1fn")[:8].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    fmt = get_format(fmt)
    if fmt.k > 16:
        raise UnsupportedError(f"{fmt.name} has 2^{fmt.k} codes; values() lists formats of at most 16 bits")
    return np.asarray(decode(np.arange(2**fmt.k, dtype=np.uint32), fmt))
