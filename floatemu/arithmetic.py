"""Arithmetic into a format (IEEE 754-2019, 5.3, 5.4, 9.6): the exact result of the exact operands, rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from floatemu._core import arithmetic as core
from floatemu._core import exact
from floatemu._core import rounding as marks
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.operands import Exact, array_operand, as_fraction, broadcast_shape, exact_number, random_integers
from floatemu.projecting import BLOCK, NO_FLAGS, NO_RANDOM, Request, nan_message, number_of_code, project_number
from floatemu.projection import Rounding, Saturation
from floatemu.results import check_out, own_dtypes, result_dtype
from floatemu.target import carried_by, carrier_target, layout, scaled_target

NEAREST = Rounding.NEAREST_TIES_TO_EVEN
NONE = Saturation.SAT_NONE


@dataclass(frozen=True)
class Options:
    """The keyword arguments that every operation takes; :func:`~floatemu.round` explains them."""

    saturation: Saturation | str = NONE
    random_bits: int | None = None
    random: Any = None
    seed: int | None = None
    stream: int = 0
    nan: str | None = None
    dtype: Any = None
    out: Any = None
    flags: bool = False


def _operate(
    op: int, operands: tuple[Any, ...], fmt: Format | str, rounding: Any, options: dict[str, Any], minus: bool = False
) -> Any:
    """Check, broadcast, and run one operation on arrays, or on single exact numbers; ``minus``: on x and -y."""
    try:
        chosen = Options(**options)
    except TypeError:
        known = ", ".join(Options.__dataclass_fields__)
        raise UnsupportedError(f"unknown option among {sorted(options)}; accepted: {known}") from None
    fmt = get_format(fmt)
    request = Request.make(
        fmt, rounding, chosen.saturation, chosen.random_bits, chosen.random, chosen.seed, chosen.stream, chosen.nan
    )
    arrays = [array_operand(x, "xyz"[i]) for i, x in enumerate(operands)]
    shape = broadcast_shape(arrays)
    if chosen.out is not None:
        check_out(chosen.out, shape)
    kind = result_dtype(own_dtypes(operands, arrays), fmt, chosen.dtype, chosen.out)
    if any(a.dtype == object for a in arrays):
        values, flags = _by_numbers(op, arrays, shape, request, minus)
    else:
        values, flags = _by_blocks(op, arrays, shape, request, kind, chosen.flags, minus)
    if not fmt.has_nan:
        flags &= 0xFF ^ marks.NAN_BORN  # what would be one is replaced or refused
    if not fmt.has_nan and request.nan is None:
        # Where a NaN has no code the core marks its replacement as invalid.
        invalid = (flags & marks.INVALID) != 0
        if np.any(invalid):
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(invalid)), shape))
            raise ProjectionError(nan_message(fmt, index))
    result = values.astype(kind, copy=False)
    if chosen.out is not None:
        chosen.out[...] = result
        result = chosen.out
    elif not shape and not any(isinstance(x, np.ndarray) for x in operands):
        result, flags = result[()], flags[()] if chosen.flags else flags
    return (result, flags) if chosen.flags else result


def _by_blocks(
    op: int, arrays: list[Any], shape: tuple[int, ...], request: Request, kind: np.dtype[Any], wanted: bool, minus: bool
) -> tuple[Any, Any]:
    fmt, projection = request.fmt, request.projection
    flagged = wanted or (not fmt.has_nan and request.nan is None)
    random = None
    if request.random is not None:
        random = random_integers(request.random, shape, request.bits)
    # A narrow result is written through a binary64 buffer: its values are exact in both.
    out = np.empty(shape, np.float32 if kind == np.float32 else np.float64)
    flags = np.empty(shape if flagged else 0, np.uint8)
    operands: Any = [out, *arrays]
    dtypes: Any = [np.dtype(np.float64)] * (1 + len(arrays))
    modes: Any = [["writeonly", "aligned", "contig"], *[["readonly", "aligned", "contig"] for _ in arrays]]
    if random is not None:
        operands.append(random)
        dtypes.append(np.dtype(np.uint32))
        modes.append(["readonly", "aligned", "contig"])
    known = op if projection.rounding is NEAREST and op < exact.CHOICE else None
    loop = core.operation_loop(known, flagged)
    carried = carried_by(fmt, "float64")
    scaled = scaled_target(fmt, projection, request.nan)
    target = carrier_target(fmt, projection, request.nan, "float64", False) if carried else scaled
    fast = carried and fmt.p + request.bits + 2 <= 53
    settings = (target, scaled, layout(fmt), fast, op, int(projection.rounding))
    numbers = (np.uint64(request.bits), np.uint64(request.state))
    first, marked = 0, flags.reshape(-1)
    if out.size == 0:
        return out, flags
    names: Any = ["external_loop", "buffered", "zerosize_ok"]
    options: Any = {"order": "C", "casting": "unsafe", "buffersize": BLOCK}
    with np.errstate(all="ignore"), np.nditer(operands, names, modes, dtypes, **options) as blocks:
        block: Any
        for block in blocks:
            count = block[0].size
            given = [_plain(part) for part in block[1 : 1 + len(arrays)]]
            if minus:
                given[1] = _plain(-given[1])
            given += [given[0]] * (3 - len(given))
            part = marked[first : first + count] if flagged else NO_FLAGS
            drawn = NO_RANDOM if random is None else _plain(block[-1])
            loop(*given, block[0], part, *settings, drawn, *numbers, np.uint64(first))
            if flagged and op == exact.DIV and not given[1].all():
                poles = (given[1] == 0) & (given[0] != 0) & np.isfinite(given[0])
                part |= poles * np.uint8(marks.DIVIDE_BY_ZERO)
            first += count
    return out, flags


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = array.view()
    view.flags.writeable = False
    return view


# Single exact numbers -------------------------------------------------------------------------------------------------


def _by_numbers(op: int, arrays: list[Any], shape: tuple[int, ...], request: Request, minus: bool) -> tuple[Any, Any]:
    random = None
    if request.random is not None:
        random = random_integers(request.random, shape, request.bits)
    values, flags = np.empty(shape, np.float64), np.empty(shape, np.uint8)
    broadcast = [np.broadcast_to(a, shape) for a in arrays]
    for position, index in enumerate(np.ndindex(shape)):
        one = request
        if random is not None:
            one = Request(request.fmt, request.projection, request.nan, 0, random[index])
        operands = [a[index] if a.dtype == object else a[index].item() for a in broadcast]
        exact_result, extra = _exactly(op, operands, request, minus)
        if exact_result.special == "nan" and not request.fmt.has_nan and request.nan is None:
            values[index], flags[index] = 0.0, marks.INVALID
            continue
        code, flag = project_number(exact_result, one, position)
        values[index], flags[index] = float(number_of_code(code, request.fmt)), flag | extra
    return values, flags


def _exactly(op: int, operands: list[Any], request: Request, minus: bool) -> tuple[Exact, int]:
    """The exact result of single numbers, and the flags that it raises before rounding."""
    need = request.fmt.p + request.bits + 4
    numbers = [exact_number(x, need) for x in operands]
    if minus:
        numbers[1] = replace(numbers[1], negative=not numbers[1].negative)
    simple = [_float_like(n) for n in numbers]
    down = request.projection.rounding is Rounding.TOWARD_NEGATIVE
    if any(n.special for n in numbers):
        with np.errstate(all="ignore"):
            value = float(core.native(op, *(np.float64(v) for v in (*simple, 1.0, 0.0)[:3])))
        if math.isfinite(value) and op >= exact.CHOICE:  # one of the operands themselves
            return next(n for n in numbers if not n.special), 0
        born = math.isnan(value) and not any(n.special == "nan" for n in numbers)
        special = "nan" if math.isnan(value) else "inf" if math.isinf(value) else ""
        return Exact(math.copysign(1, value) < 0, 0, special=special), (marks.INVALID | marks.NAN_BORN) * born
    x, *rest = (as_fraction(operand) for operand in operands)
    negative = numbers[0].negative
    if op > exact.REMAINDER:
        smaller = (x, not negative) <= (rest[0], not numbers[1].negative)
        return numbers[smaller == (op in (exact.MAXIMUM, exact.MAXIMUM_NUMBER))], 0
    if op == exact.SQRT:
        if x < 0:
            return Exact(False, 0, special="nan"), marks.INVALID | marks.NAN_BORN
        return _root(x, negative, need), 0
    y = rest[0]
    if op == exact.DIV and y == 0:
        if x == 0:
            return Exact(False, 0, special="nan"), marks.INVALID | marks.NAN_BORN
        return Exact(negative != numbers[1].negative, 0, special="inf"), marks.DIVIDE_BY_ZERO
    if op == exact.REMAINDER:
        if y == 0:
            return Exact(False, 0, special="nan"), marks.INVALID | marks.NAN_BORN
        left = x - round(x / y) * y  # Fraction rounds ties to even
        return (exact_number(left, need) if left else Exact(negative, 0)), 0
    terms: list[tuple[Fraction, bool]]
    if op == exact.ADD:
        terms = [(x, negative), (-y if minus else y, numbers[1].negative)]
    elif op == exact.DIV:
        terms = [(x / y, negative != numbers[1].negative)]
    else:
        terms = [(x * y, negative != numbers[1].negative)]
        if op == exact.FMA:
            terms.append((rest[1], numbers[2].negative))
    total = sum((value for value, _ in terms), Fraction(0))
    if total == 0:
        signs = [sign for _, sign in terms]
        return Exact(all(signs) or (down and any(signs)), 0), 0
    return exact_number(total, need), 0


def _float_like(number: Exact) -> float:
    """A float of the same sign and kind: what IEEE 754 looks at where an operand is not finite."""
    magnitude = {"nan": math.nan, "inf": math.inf}.get(number.special, 1.0 if number.significand else 0.0)
    return -magnitude if number.negative else magnitude


def _root(x: Fraction, negative: bool, need: int) -> Exact:
    if x == 0:
        return Exact(negative, 0)
    size = x.numerator.bit_length() - x.denominator.bit_length()
    shift = 2 * max(0, need - size // 2 + 1)
    scaled, rest = divmod(x.numerator << shift, x.denominator)
    root = math.isqrt(scaled)
    return Exact(False, root, -shift // 2, sticky=bool(rest) or root * root != scaled)


# Faces ----------------------------------------------------------------------------------------------------------------


def _documented(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put the parameters that all operations share into a docstring."""
    function.__doc__ = str(function.__doc__).replace("    %(shared)s\n", _SHARED)
    return function


_SHARED = """    fmt : Format or str
        Format of the result.
    rounding : Rounding or str
        One of the nine modes.
    **options
        ``saturation``, ``random_bits``, ``random``, ``seed``, ``stream``, ``nan``, ``dtype``, ``out`` as for
        :func:`~floatemu.round`; ``flags=True`` returns (values, flags) instead of values.

    Returns
    -------
    numpy.ndarray or scalar
        Broadcast shape of the operands. dtype: the operands' own if they share one that holds ``fmt``, else
        the smallest of float32 and float64 that does. With ``flags=True`` also a uint8 array of
        :class:`~floatemu.Flag` bits.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`; shapes that do not broadcast; a NaN into a format without NaN.
"""


@_documented
def add(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x + y, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1).

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> float(fe.add(1 + 2**-4, 2.0**-60, "e4m3fn"))  # in binary64 the sum is the tie itself, which goes to 1.0
    1.125
    """
    return _operate(exact.ADD, (x, y), fmt, rounding, options)


@_documented
def sub(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x - y, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1).

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> float(fe.sub(1.0, 2.0**-100, "bfloat16", "TowardNegative"))
    0.99609375
    """
    return _operate(exact.ADD, (x, y), fmt, rounding, options, minus=True)


@_documented
def mul(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x * y, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1).

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.mul([3.0, 300.0], [0.1, 300.0], "binary16").tolist()
    [0.300048828125, inf]
    """
    return _operate(exact.MUL, (x, y), fmt, rounding, options)


@_documented
def div(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x / y, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1).

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.div(1.0, [3.0, 0.0, -0.0], "binary16").tolist()
    [0.333251953125, inf, -inf]
    """
    return _operate(exact.DIV, (x, y), fmt, rounding, options)


@_documented
def sqrt(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the square root of x, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1).

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.sqrt([2.0, -0.0, -1.0], "bfloat16").tolist()
    [1.4140625, -0.0, nan]
    """
    return _operate(exact.SQRT, (x,), fmt, rounding, options)


@_documented
def fma(x: Any, y: Any, z: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x * y + z, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1).

    Parameters
    ----------
    x, y, z : array_like
        Taken as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> float(fe.fma(17, 19, -(2.0**-60), "bfloat16"))  # binary64 gives 324
    322.0
    """
    return _operate(exact.FMA, (x, y, z), fmt, rounding, options)


@_documented
def remainder(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x - n y, n the integer nearest to x / y, ties to even, rounded to ``fmt`` (IEEE 754-2019, 5.3.1).

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.remainder([5.0, 6.0, 7.0, -4.0], 4.0, "e4m3fn").tolist()
    [1.0, -2.0, -1.0, -0.0]
    """
    return _operate(exact.REMAINDER, (x, y), fmt, rounding, options)


@_documented
def minimum(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the smaller of x and y, rounded to ``fmt``; NaN if either is, -0 below +0 (IEEE 754-2019, 9.6).

    Parameters
    ----------
    x, y : array_like
        Compared as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.minimum([1.0, 0.0, float("nan")], [2.0, -0.0, 1.0], "e4m3fn").tolist()
    [1.0, -0.0, nan]
    """
    return _operate(exact.MINIMUM, (x, y), fmt, rounding, options)


@_documented
def maximum(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the greater of x and y, rounded to ``fmt``; NaN if either is, -0 below +0 (IEEE 754-2019, 9.6).

    Parameters
    ----------
    x, y : array_like
        Compared as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.maximum([1.0, 0.0, float("nan")], [2.0, -0.0, 1.0], "e4m3fn").tolist()
    [2.0, 0.0, nan]
    """
    return _operate(exact.MAXIMUM, (x, y), fmt, rounding, options)


@_documented
def minimumNumber(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the smaller of x and y, rounded to ``fmt``; of a number and a NaN the number (IEEE 754-2019, 9.6).

    Parameters
    ----------
    x, y : array_like
        Compared as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.minimumNumber([1.0, float("nan")], [2.0, 1.0], "e4m3fn").tolist()
    [1.0, 1.0]
    """
    return _operate(exact.MINIMUM_NUMBER, (x, y), fmt, rounding, options)


@_documented
def maximumNumber(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the greater of x and y, rounded to ``fmt``; of a number and a NaN the number (IEEE 754-2019, 9.6).

    Parameters
    ----------
    x, y : array_like
        Compared as the exact values they have.
    %(shared)s
    Examples
    --------
    >>> import floatemu as fe
    >>> fe.maximumNumber([1.0, float("nan")], [2.0, 1.0], "e4m3fn").tolist()
    [2.0, 1.0]
    """
    return _operate(exact.MAXIMUM_NUMBER, (x, y), fmt, rounding, options)
