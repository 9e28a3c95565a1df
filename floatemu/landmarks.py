"""Properties of formats and of numbers in them: finfo, ulp, nextafter, isrepresentable."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.operands import as_array, exact_number, is_number
from floatemu.projecting import Request, number_of_code, project_number
from floatemu.projection import Projection, Rounding, Saturation
from floatemu.rounding import round as round_values
from floatemu.target import smallest_float


@dataclass(frozen=True)
class FormatInfo:
    """Landmarks of a format, as :func:`finfo` returns them; values are floats, or Fractions beyond binary64.

    Attributes
    ----------
    fmt : Format
    bits, precision, emin, emax : int
    max, min : float or Fraction
        Largest and lowest finite value.
    smallest_normal, smallest_subnormal : float or Fraction
        2^emin, and the smallest positive value.
    eps : float or Fraction
        2^(1-p), the gap above 1.
    unit_roundoff : float or Fraction
        2^-p, largest relative error of rounding to nearest in the normal range.
    """

    fmt: Format
    bits: int
    precision: int
    emin: int
    emax: int
    max: float | Fraction
    min: float | Fraction
    smallest_normal: float | Fraction
    smallest_subnormal: float | Fraction
    eps: float | Fraction
    unit_roundoff: float | Fraction


def finfo(fmt: Format | str) -> FormatInfo:
    """Return a format's landmarks.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    FormatInfo

    Raises
    ------
    FormatError
        If the format is unknown.

    Examples
    --------
    >>> import floatemu as fe
    >>> i = fe.finfo("e4m3fn")
    >>> i.max, i.smallest_normal, i.smallest_subnormal, i.eps
    (448.0, 0.015625, 0.001953125, 0.125)
    """
    fmt = get_format(fmt)
    narrow = get_format("binary64").holds(fmt)

    def number(value: Fraction) -> float | Fraction:
        return float(value) if narrow else value

    return FormatInfo(
        fmt=fmt,
        bits=fmt.k,
        precision=fmt.p,
        emin=fmt.emin,
        emax=fmt.emax,
        max=number(fmt.max),
        min=number(fmt.min),
        smallest_normal=number(fmt.min_normal),
        smallest_subnormal=number(fmt.min_positive),
        eps=number(Fraction(2) ** (1 - fmt.p)),
        unit_roundoff=number(Fraction(2) ** -fmt.p),
    )


def _floats(x: Any, fmt: Format, what: str = "x") -> np.ndarray[Any, Any]:
    """The numbers as binary64, or a refusal where that changes one."""
    smallest_float(fmt)
    array = np.asarray(x, object) if is_number(x) else as_array(x, what)
    if array.dtype != object and not (array.dtype.kind in "iu" and array.dtype.itemsize == 8):
        return array.astype(np.float64)
    result = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        number = exact_number(array[index], 60)
        if number.special:
            result[index] = (-1) ** number.negative * float(number.special)
            continue
        code, flags = project_number(number, _TO_BINARY64)
        if flags:
            raise UnsupportedError(
                f"{what} holds {array[index]}, which is no binary64 number; ulp() and nextafter() work on those: "
                "give the binary64 number that you mean"
            )
        result[index] = float(number_of_code(code, _BINARY64))
    return result


_BINARY64 = get_format("binary64")
_TO_BINARY64 = Request(_BINARY64, Projection())


def _like(result: np.ndarray[Any, Any], x: Any) -> Any:
    return result if isinstance(x, np.ndarray) else result[()]


def ulp(x: Any, fmt: Format | str) -> Any:
    """Return the quantum of ``fmt`` at x: 2^(max(floor(log2 |x|), emin) - p + 1).

    Parameters
    ----------
    x : array_like
        Real numbers; they need not be values of the format.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray or scalar of float64
        Same shape; below 2^emin (and for 0) the least gap 2^qmin; NaN for NaN and infinities.

    Raises
    ------
    UnsupportedError
        If binary64 does not hold the format, or x is no array of real numbers.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.ulp([1.0, 448.0, 0.0], "e4m3fn").tolist()
    [0.125, 32.0, 0.001953125]
    """
    fmt = get_format(fmt)
    array = _floats(x, fmt)
    _, exponent = np.frexp(array)  # |x| = m * 2^exponent with 1/2 <= m < 1, exact
    quantum = np.where((array == 0) | (exponent <= fmt.emin), fmt.qmin, exponent - fmt.p)
    return _like(np.where(np.isfinite(array), np.ldexp(1.0, quantum), np.nan), x)


def isrepresentable(x: Any, fmt: Format | str) -> Any:
    """Whether each x is a value of the format: infinities and NaN if it has them, -0 as well.

    Parameters
    ----------
    x : array_like
    fmt : Format or str

    Returns
    -------
    numpy.ndarray or scalar of bool

    Raises
    ------
    UnsupportedError
        If the type of x is not accepted.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.isrepresentable([0.1, 0.1015625, 448.0, 480.0], "e4m3fn").tolist()
    [False, True, True, False]
    """
    fmt = get_format(fmt)
    exactly = np.asarray(x, object) if is_number(x) else as_array(x)
    if exactly.dtype == object:
        found = [_is_value(item, fmt) for item in exactly.reshape(-1)]
        return _like(np.array(found, bool).reshape(exactly.shape), x)
    array = _floats(x, fmt)
    rounded = round_values(
        array, fmt, Rounding.TOWARD_ZERO, saturation=Saturation.SAT_PROPAGATE, nan="zero", dtype=np.float64
    )
    same = (rounded == array) & (np.signbit(rounded) == np.signbit(array))
    return _like(same | (np.isnan(array) & fmt.has_nan), x)


def _is_value(x: Any, fmt: Format) -> bool:
    """Whether a single exact number is a value of the format."""
    number = exact_number(x, fmt.p + 2)
    if number.special:
        return fmt.has_nan if number.special == "nan" else fmt.infinities and (fmt.signed or not number.negative)
    _, flags = project_number(number, Request(fmt, Projection(saturation=Saturation.SAT_FINITE), "zero"))
    return flags == 0 and (bool(number.significand) or not number.negative or fmt.negative_zero)


def nextafter(x: Any, y: Any, fmt: Format | str) -> Any:
    """Return the neighbour of x in the format, in the direction of y.

    Parameters
    ----------
    x, y : array_like
        Broadcast together. x need not be a value of the format: its neighbour is then the next value
        towards y.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray or scalar of float64
        x itself, rounded to the format, where x = y; beyond the largest finite value infinity if the
        format has it, else that value; NaN where x or y is NaN.

    Raises
    ------
    UnsupportedError
        If the type of x or y is not accepted.

    Examples
    --------
    >>> import floatemu as fe
    >>> float(fe.nextafter(1.0, 2.0, "e4m3fn")), float(fe.nextafter(0.0, -1.0, "e5m2"))
    (1.125, -1.52587890625e-05)
    """
    fmt = get_format(fmt)
    start, goal = np.broadcast_arrays(_floats(x, fmt), _floats(y, fmt, "y"))
    propagate: Any = {"saturation": Saturation.SAT_PROPAGATE, "nan": "zero", "dtype": np.float64}
    result = np.full(start.shape, np.nan)
    ends = (np.inf, -np.inf) if fmt.infinities else (float(fmt.max), -float(fmt.max))
    for up, mode in ((True, Rounding.TOWARD_POSITIVE), (False, Rounding.TOWARD_NEGATIVE)):
        chosen = (goal > start) if up else (goal < start)
        # binary64 holds the format, so its own next number is not beyond the format's.
        with np.errstate(all="ignore"):
            beside = np.nextafter(start[chosen], np.inf if up else -np.inf)
        moved = np.asarray(round_values(beside, fmt, mode, **propagate))
        if up:
            moved[start[chosen] >= float(fmt.max)] = ends[0]
        elif fmt.signed:
            moved[start[chosen] <= -float(fmt.max)] = ends[1]
        result[chosen] = moved
    equal = goal == start
    result[equal] = round_values(start[equal], fmt, **propagate)
    return result if isinstance(x, np.ndarray) or isinstance(y, np.ndarray) else result[()]
