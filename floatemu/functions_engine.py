"""Elementary functions on arrays: operands, tables, kernels, what they leave open, and one projection at the end.

Every result is first rounded to odd in binary64, independently of the format: by a table of all values
of a narrow dtype, by a kernel, or by :mod:`floatemu.functions_exact`. Rounded again to p bits with n
random bits that is the exact value's rounding, flags included, if p + n + 2 <= 53 and the format's
values lie within binary64's range. Other formats go element by element through exact numbers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from floatemu._core import rounding as marks
from floatemu.arithmetic import Options
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.functions_exact import function, quarter_turn
from floatemu.operands import (
    Exact,
    array_operand,
    as_fraction,
    broadcast_shape,
    dtype_format,
    exact_number,
    random_integers,
)
from floatemu.projecting import Request, nan_message, number_of_code, project_array, project_number
from floatemu.results import check_out, own_dtypes, result_dtype

EDGE = 940
"""A format all of whose values and rounding boundaries lie within 2^-EDGE .. 2^EDGE is narrow."""
PIECE = 1 << 14
"""Elements handled at a time: three arrays of 128 KiB."""
ODD_MAX = math.ldexp(2**53 - 1, 971)


def apply(name: str, operands: tuple[Any, ...], fmt: Format | str, rounding: Any, options: dict[str, Any]) -> Any:
    """Check the operands, compute the function of their exact values, round once.

    Parameters
    ----------
    name : str
        A key of ``UNARY`` or ``BINARY``.
    operands : tuple of array_like
    fmt, rounding, options
        As the faces take them.

    Returns
    -------
    numpy.ndarray or scalar
        Values; with ``flags=True`` a pair of values and flags.

    Raises
    ------
    UnsupportedError, ProjectionError, FormatError
    """
    try:
        chosen = Options(**options)
    except TypeError:
        known = ", ".join(Options.__dataclass_fields__)
        raise UnsupportedError(f"unknown option among {sorted(options)}; accepted: {known}") from None
    fmt = get_format(fmt)
    request = Request.make(
        fmt, rounding, chosen.saturation, chosen.random_bits, chosen.random, chosen.seed, chosen.stream, chosen.nan
    )
    arrays = [array_operand(x, "xy"[i]) for i, x in enumerate(operands)]
    shape = broadcast_shape(arrays)
    if chosen.out is not None:
        check_out(chosen.out, shape)
    kind = result_dtype(own_dtypes(operands, arrays), fmt, chosen.dtype, chosen.out)
    values = np.empty(shape, kind)
    flags = np.zeros(shape, np.uint8) if chosen.flags else None
    # Python numbers that binary64 holds are such numbers; the others stay as they are.
    arrays = [_as_doubles(a) if a.dtype == object else a for a in arrays]
    if not odd_serves(fmt, request.bits) or any(a.dtype == object for a in arrays):
        _one_by_one(name, arrays, shape, request, values, flags)
    else:
        _by_blocks(name, arrays, shape, request, values, flags)
    if chosen.out is not None:
        chosen.out[...] = values
        values = chosen.out
    elif not shape and not any(isinstance(x, np.ndarray) for x in operands):
        return (values[()], flags[()]) if flags is not None else values[()]
    return (values, flags) if flags is not None else values


def odd_serves(fmt: Format, bits: int) -> bool:
    """Whether what is rounded to odd in binary64 projects to ``fmt``, with ``bits`` random bits, as the exact does."""
    # What is tiny is judged at p bits below 2^emin too, where the quantum is half of qmin's: one bit more.
    return fmt.p + bits + 2 <= 53 and fmt.qmin - bits - 3 >= -1074 and fmt.emax <= 1023


def _by_blocks(name: str, arrays: list[Any], shape: tuple[int, ...], request: Request, values: Any, flags: Any) -> None:
    """Round to odd, then project; in pieces that stay in the cache, unless an element's place in the whole matters."""
    flat, marked = values.reshape(-1), None if flags is None else flags.reshape(-1)
    operands = [a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays]
    refuses = not request.fmt.has_nan and request.nan is None
    if request.projection.rounding.stochastic or refuses or flat.size <= PIECE:
        pieces = [slice(0, flat.size)] if flat.size else []
    else:
        pieces = [slice(i, i + PIECE) for i in range(0, flat.size, PIECE)]
    parts = [a.reshape(-1) for a in operands]
    for piece in pieces:
        given = [part[piece] for part in parts]
        part = None if marked is None else marked[piece]
        odd = _odd_values(name, given, request)
        # Of the whole in its own shape, so that a refusal names the index.
        whole = flat.size == odd.size
        project_array(
            odd.reshape(shape) if whole else odd,
            request,
            values if whole else flat[piece],
            coded=False,
            flags=flags if whole else part,
        )
        if part is not None:
            part |= _flags_of(odd, given)


def _as_doubles(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An object array as binary64 numbers, if they all are such."""
    result = np.empty(array.shape, np.float64)
    for index in np.ndindex(array.shape):
        number = array[index]
        try:
            value = float(number)
            if not (value - value != 0 or as_fraction(value) == as_fraction(number)):
                return array
            if math.isinf(value) and number != value:
                return array
        except (OverflowError, TypeError, ValueError):
            return array
        result[index] = value
    return result


def _flags_of(odd: Any, arrays: list[Any]) -> Any:
    """Invalid where numbers give a NaN; division by zero where finite ones give an exact infinity."""
    operands = [_doubles(a) for a in arrays]
    number, finite = True, True
    for a in operands:
        number = number & ~np.isnan(a)
        finite = finite & np.isfinite(a)
    invalid = np.isnan(odd) & number
    return (invalid * (marks.INVALID | marks.NAN_BORN) | (np.isinf(odd) & finite) * marks.DIVIDE_BY_ZERO).astype(
        np.uint8
    )


def _doubles(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):  # a signalling NaN of a narrow dtype
        return np.ascontiguousarray(array, np.float64).reshape(array.shape)


# Results rounded to odd -----------------------------------------------------------------------------------------------


def _odd_values(name: str, arrays: list[Any], request: Request) -> Any:
    """The exact values rounded to odd, as far as ``request`` can tell them apart; 1-D arrays."""
    if len(arrays) == 1:
        source = arrays[0]
        own = dtype_format(source.dtype)
        if own is not None and own.k in (8, 16) and source.size >= 4096:
            native = np.ascontiguousarray(source, source.dtype.newbyteorder("="))
            return narrow_table(name, native.dtype)[native.view(f"u{native.itemsize}")]
    low = (1 << (52 - request.fmt.p - request.bits)) - 1
    fmt = request.fmt
    narrow = fmt.qmin - request.bits - 2 > -EDGE and fmt.emax < EDGE
    return _settled(name, [_doubles(a) for a in arrays], low, narrow)


def _settled(name: str, operands: list[Any], low: int, narrow: bool) -> Any:
    """Run the kernel and decide what it leaves open."""
    from floatemu._core import elementary_loops as loops  # here: its tables take mpmath and a tenth of a second

    out = np.empty(operands[0].size, np.float64)
    pending = np.empty(out.size + 1, np.int64)
    loop = loops.unary_loop(name) if len(operands) == 1 else loops.binary_loop(name)
    given = []
    for operand in operands:
        view = operand.view()
        view.flags.writeable = False  # one constness for all callers: numba compiles the two apart
        given.append(view)
    count = loop(*given, out, pending, np.uint64(low), narrow)
    for i in pending[:count]:
        exact = function(name, tuple(Fraction(float(a[i])) for a in operands), 53)
        out[i] = odd_float(exact)
    return out


@lru_cache(maxsize=64)
def narrow_table(name: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Results rounded to odd for every code of an 8- or 16-bit floating dtype.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype

    Returns
    -------
    numpy.ndarray
        float64, read-only, one element per code; good for every format and mode that binary64 serves.
    """
    codes = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}")
    table: np.ndarray[Any, Any] = _settled(name, [_doubles(codes.view(dtype))], 0, False)
    table.flags.writeable = False
    return table


def odd_float(number: Exact) -> float:
    """Return an exact number rounded to odd in binary64, with an unbounded range replaced by its odd ends."""
    significand, quantum = number.significand, number.quantum
    sign = -1.0 if number.negative else 1.0
    if significand == 0:
        return sign * 0.0
    top = significand.bit_length() + quantum
    if top > 1024:
        return sign * ODD_MAX
    excess = max(top - 53, -1074) - quantum
    sticky = number.sticky
    if excess > 0:
        excess = min(excess, significand.bit_length() + 1)
        sticky = sticky or bool(significand & ((1 << excess) - 1))
        significand, quantum = significand >> excess, max(top - 53, -1074)
    elif sticky:  # fewer bits than binary64's: the sticky one goes below them
        significand, quantum = significand << -excess, quantum + excess
    return sign * math.ldexp(significand | sticky, quantum)


# One by one -----------------------------------------------------------------------------------------------------------


def _one_by_one(
    name: str, arrays: list[Any], shape: tuple[int, ...], request: Request, values: Any, flags: Any
) -> None:
    random = None if request.random is None else random_integers(request.random, shape, request.bits)
    broadcast = [np.broadcast_to(a, shape) for a in arrays]
    for position, index in enumerate(np.ndindex(shape)):
        one = request
        if random is not None:
            one = Request(request.fmt, request.projection, request.nan, 0, random[index])
        operands = [a[index] if a.dtype == object else a[index].item() for a in broadcast]
        number, extra = _number(name, operands, request.fmt.p + request.bits + 2)
        if number.special == "nan" and not request.fmt.has_nan and request.nan is None:
            raise ProjectionError(nan_message(request.fmt, index))
        code, flag = project_number(number, one, position)
        values[index] = float(number_of_code(code, request.fmt))
        if flags is not None:
            flags[index] = flag | extra


def _number(name: str, operands: list[Any], bits: int) -> tuple[Exact, int]:
    """The exact result of single numbers with the flags it raises before rounding."""
    floats = [_stand_in(x) for x in operands]
    finite = all(math.isfinite(x) for x in floats)
    if not finite or 0 in floats or floats == [-1.0]:  # poles lie at 0 and, of log1p, at -1
        arrays = [np.array([x]) for x in floats]
        odd = _settled(name, arrays, 0, False)
        value, extra = float(odd[0]), int(_flags_of(odd, arrays)[0])
        negative = math.copysign(1.0, value) < 0
        if not math.isfinite(value):
            return Exact(negative and value == value, 0, special="nan" if value != value else "inf"), extra
        if value == 0:
            return Exact(negative, 0), extra
        if not finite:
            return (quarter_turn(negative, bits) if name == "atan" else exact_number(value, bits)), extra
    result = function(name, tuple(as_fraction(x) for x in operands), bits)
    return result, (marks.INVALID | marks.NAN_BORN) * (result.special == "nan")


def _stand_in(x: Any) -> float:
    """x itself where it is a binary64 number; else one of its sign, side of 1 and parity."""
    try:
        value = float(x)
        if math.isinf(value) and x != value:
            value = 0.0
    except OverflowError:
        value = 0.0
    if value - value != 0 or as_fraction(value) == as_fraction(x):
        return value
    exact = as_fraction(x)
    size = (3.0 if exact.numerator % 2 else 4.0) if exact.denominator == 1 else 1.5 if abs(exact) > 1 else 0.75
    return size if exact > 0 else -size
