"""What the faces accept: classify numbers and arrays, exactly, before anything is rounded."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from floatemu.errors import FormatError, ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

ACCEPTED = (
    "float16, float32, float64 and ml_dtypes arrays, integer arrays, lists of numbers, "
    "Python int, float, fractions.Fraction, decimal.Decimal and mpmath mpf"
)


_WAYS = {
    "c": "take its .real and .imag apart",
    "b": "convert it with .astype(np.uint8) if 0 and 1 are meant",
    "f": "binary64 is the widest array source; pass mpmath or Fraction numbers for more bits",
}


@dataclass(frozen=True)
class Exact:
    """An exact number: ``(-1)^negative * significand * 2^quantum``, or a special value.

    ``sticky`` says that a positive amount below the last bit was left out.
    """

    negative: bool
    significand: int
    quantum: int = 0
    sticky: bool = False
    special: str = ""  #: "", "inf" or "nan"


def is_number(x: object) -> bool:
    """Whether ``x`` is a single Python number that is handled exactly as it is (no float)."""
    if isinstance(x, (bool, np.bool_)):
        return False
    return isinstance(x, (int, Fraction, decimal.Decimal, np.integer)) or hasattr(x, "_mpf_")


def exact_number(x: Any, bits: int) -> Exact:
    """Return a Python number as an :class:`Exact` with at least ``bits`` significant bits if inexact.

    Parameters
    ----------
    x : int, float, Fraction, Decimal, numpy scalar or mpmath mpf
    bits : int
        Bits to keep of a quotient that has no finite binary expansion.

    Returns
    -------
    Exact

    Raises
    ------
    UnsupportedError
        If ``x`` is no real number.
    """
    if isinstance(x, (bool, np.bool_)):
        raise UnsupportedError(f"{x!r} is a boolean, not a number; accepted: {ACCEPTED}")
    if hasattr(x, "_mpf_"):
        sign, man, exp, _ = x._mpf_
        if not man and exp:
            return Exact(bool(x < 0), 0, special="nan" if x != x else "inf")
        return Exact(bool(sign), int(man), int(exp))
    if isinstance(x, decimal.Decimal):
        if x.is_nan() or x.is_infinite():
            return Exact(x.is_infinite() and x.is_signed(), 0, special="nan" if x.is_nan() else "inf")
        if not x:
            return Exact(x.is_signed(), 0)
    elif isinstance(x, (float, np.floating)):
        if isinstance(x, np.floating) and x.dtype.itemsize > 8:
            raise UnsupportedError(f"{x!r} of type {type(x).__name__}: {_WAYS['f']}")
        x = float(x)
        if x != x or x - x != 0:
            return Exact(x < 0, 0, special="nan" if x != x else "inf")
        if x == 0:
            return Exact(math.copysign(1.0, x) < 0, 0)
    elif not isinstance(x, (int, Fraction, np.integer)):
        raise UnsupportedError(f"{x!r} of type {type(x).__name__} is not a real number; accepted: {ACCEPTED}")
    value = Fraction(int(x) if isinstance(x, np.integer) else x)
    numerator, denominator = abs(value.numerator), value.denominator
    if denominator & (denominator - 1) == 0:
        return Exact(value < 0, numerator, 1 - denominator.bit_length())
    shift = max(0, bits + denominator.bit_length() - numerator.bit_length())
    quotient, remainder = divmod(numerator << shift, denominator)
    return Exact(value < 0, quotient, -shift, sticky=remainder != 0)


@lru_cache(maxsize=128)
def dtype_format(dtype: np.dtype[Any]) -> Format | None:
    """Return the format of a floating dtype, numpy's or ml_dtypes'; None for any other dtype."""
    if dtype.type in (np.float16, np.float32, np.float64):
        return get_format(dtype.name)
    if dtype.type.__module__.startswith("ml_dtypes"):
        try:
            return get_format(dtype.name)
        except FormatError:  # its integers
            return None
    return None


def as_array(x: Any, what: str = "x") -> np.ndarray[Any, Any]:
    """Return ``x`` as an array of a dtype the faces accept, without changing any value.

    Parameters
    ----------
    x : array_like
    what : str
        Name of the operand in messages.

    Returns
    -------
    numpy.ndarray
        Floating, ml_dtypes, integer, or object holding Python numbers.

    Raises
    ------
    UnsupportedError
        For any other dtype, and for an object that is no number; the message names it and the way out.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise UnsupportedError(
            f"{what} is a masked array, whose mask would be lost; use .filled(value) or .compressed()"
        )
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise UnsupportedError(f"{what} is ragged: {error}; give rows of equal length") from None
    if array.dtype == np.float64 and isinstance(x, (list, tuple)):
        array = _list_of_numbers(x, array, what)
    dtype = array.dtype
    if dtype.kind in "iu" or dtype_format(dtype) is not None:
        return array
    if dtype.kind == "O":
        for index, item in np.ndenumerate(array):
            try:
                exact_number(item, 1)
            except UnsupportedError as error:
                where = f" at index {index if len(index) != 1 else index[0]}" if index else ""
                raise UnsupportedError(f"{what} holds no number{where}: {error}") from None
        return array
    way = _WAYS.get(dtype.kind, "convert it to numbers first")
    raise UnsupportedError(f"{what} has dtype {dtype}, which is not accepted: {way} (accepted: {ACCEPTED})")


def _list_of_numbers(x: Any, array: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    """A list that numpy made binary64 numbers of: as objects where that has changed an integer."""
    objects = np.array(x, object)
    if objects.shape != array.shape:
        return array
    for item in objects.reshape(-1):
        if isinstance(item, (bool, np.bool_)):
            raise UnsupportedError(f"{what} holds the boolean {item}, which is no number; {_WAYS['b']}")
        if isinstance(item, (int, np.integer)) and abs(int(item)) > 2**53:
            return objects
    return array


def array_operand(x: Any, name: str) -> np.ndarray[Any, Any]:
    """Return an operand as an array whose elements binary64 holds, or as an object array of exact numbers.

    Raises
    ------
    UnsupportedError
        As for :func:`as_array`.
    """
    array = np.asarray(x, object) if is_number(x) else as_array(x, name)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        fits = not array.size or max(abs(int(array.min())), abs(int(array.max()))) <= 2**53
        return array if fits else array.astype(object)
    if is_number(x):  # a single number that binary64 holds need not be an object
        number = exact_number(x, 1)
        if (
            not (number.special or number.sticky)
            and number.significand.bit_length() <= 53
            and abs(number.quantum) < 900
        ):
            value = math.ldexp(number.significand, number.quantum)
            return np.asarray(-value if number.negative else value)
    return array


def broadcast_shape(arrays: Sequence[np.ndarray[Any, Any]], names: str = "xyz") -> tuple[int, ...]:
    """Return the shape to which the operands broadcast.

    Raises
    ------
    UnsupportedError
        If they do not; the message names them and their shapes.
    """
    try:
        return np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        shapes = ", ".join(f"{names[i]} {a.shape}" for i, a in enumerate(arrays))
        raise UnsupportedError(f"the shapes do not broadcast: {shapes}; insert axes of length 1 or reshape") from None


def as_fraction(x: Any) -> Fraction:
    """Return a finite number, mpmath's and numpy's included, as the Fraction it is."""
    if hasattr(x, "_mpf_"):
        sign, man, exp, _ = x._mpf_
        value = Fraction(int(man)) * Fraction(2) ** int(exp)
        return -value if sign else value
    return Fraction(x.item() if isinstance(x, np.generic) else x)


@lru_cache(maxsize=512)
def can_store(dtype: np.dtype[Any], fmt: Format) -> bool:
    """Whether every value of ``fmt``, special ones included, is a value of a floating dtype."""
    own = dtype_format(dtype)
    if own is None:
        return False
    specials = own.infinities >= fmt.infinities and own.has_nan >= fmt.has_nan
    return own.holds(fmt) and specials and own.negative_zero >= fmt.negative_zero


def refuse_out(dtype: np.dtype[Any], fmt: Format, what: str) -> None:
    """Raise unless values of ``fmt`` can be stored in ``dtype`` without a second rounding."""
    if not can_store(dtype, fmt):
        raise UnsupportedError(
            f"{what} {dtype} cannot hold every value of {fmt.name} (p = {fmt.p}, quantum 2^{fmt.qmin}, "
            f"largest exponent {fmt.emax}); use a wider floating dtype, or encode() for codes"
        )


def random_integers(random: Any, shape: tuple[int, ...], bits: int) -> np.ndarray[Any, Any]:
    """Return the caller's random integers, checked and broadcast to ``shape``, in their own dtype.

    Raises
    ------
    ProjectionError
        If they are no integers, out of 0..2^bits - 1, or do not broadcast.
    """
    array = np.asarray(random)
    if array.dtype.kind not in "iu":
        raise ProjectionError(f"random has dtype {array.dtype}, but the random bits R are integers 0 <= R < 2^{bits}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= 2**bits):
        raise ProjectionError(
            f"random holds {int(array.min())}..{int(array.max())}, outside 0..2^{bits} - 1; "
            "mask it, or give random_bits the count it has"
        )
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ProjectionError(f"random of shape {array.shape} does not broadcast to x's shape {shape}") from None
