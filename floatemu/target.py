"""From a format and a projection to the integers the core works with.

Here stands, once, what becomes of values outside a format's range (:func:`outcome`); the core only
looks the results up in a :class:`~floatemu._core.rounding.Target`.
"""

from __future__ import annotations

import enum
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core import rounding as core
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format, Overflow
from floatemu.formats import FORMATS
from floatemu.projection import Projection, Rounding, Saturation

NAN_POLICIES = (None, "zero", "max")


class Outcome(enum.Enum):
    """Kinds of special results."""

    ZERO = enum.auto()  #: zero, or the least value of a format without zero
    LIMIT = enum.auto()  #: the finite value at that end of the range
    INFINITY = enum.auto()
    NAN = enum.auto()


def outcome(fmt: Format, projection: Projection, negative: bool, infinite: bool) -> Outcome:
    """Return what a value beyond the range of ``fmt`` becomes.

    Parameters
    ----------
    fmt : Format
    projection : Projection
    negative : bool
        Whether the value lies below the range rather than above.
    infinite : bool
        Whether it is an infinity rather than a rounded finite value.

    Returns
    -------
    Outcome

    Notes
    -----
    P3109 v4.0, table of section 4.7.3, and IEEE 754-2019, 7.4, with ``fmt.overflow`` in the place of
    infinity for formats that overflow to NaN or to their largest value. In formats without zero
    nothing lies toward zero of the range, so no mode brings a negative value back under SAT_NONE.
    """
    rounding, saturation = projection.rounding, projection.saturation
    has_infinity = fmt.infinities and (fmt.signed or not negative)
    if saturation is Saturation.SAT_FINITE:
        return Outcome.LIMIT
    if saturation is Saturation.SAT_PROPAGATE:
        return Outcome.INFINITY if infinite and has_infinity else Outcome.LIMIT
    if negative and not fmt.signed:
        inward = fmt.zero and not infinite and rounding in (Rounding.TOWARD_ZERO, Rounding.TOWARD_POSITIVE)
        return Outcome.LIMIT if inward or not fmt.has_nan else Outcome.NAN
    if infinite and has_infinity:
        return Outcome.INFINITY
    if not infinite and rounding.inward(negative):
        return Outcome.LIMIT
    if not infinite and rounding is Rounding.TO_ODD and fmt.infinities and not fmt.signed:
        return Outcome.LIMIT
    return {Overflow.INFINITY: Outcome.INFINITY, Overflow.NAN: Outcome.NAN, Overflow.MAX: Outcome.LIMIT}[
        Overflow(fmt.overflow)
    ]


def _range_flags(result: Outcome, infinite: bool) -> int:
    if result is Outcome.NAN:
        return core.INVALID | core.NAN_BORN if infinite else core.OVERFLOW | core.INEXACT | core.NAN_BORN
    if result is Outcome.INFINITY:
        return 0 if infinite else core.OVERFLOW | core.INEXACT
    return core.SATURATED if infinite else core.OVERFLOW | core.INEXACT | core.SATURATED


def _code_of(fmt: Format, result: Outcome, negative: bool) -> int:
    match result:
        case Outcome.NAN:
            assert fmt.nan_code is not None
            return fmt.nan_code
        case Outcome.ZERO:
            return fmt.sign_code if negative and fmt.negative_zero else 0
        case Outcome.INFINITY:
            assert fmt.inf_code is not None
            magnitude = fmt.inf_code
        case Outcome.LIMIT:
            magnitude = 0 if negative and not fmt.signed else fmt.max_code
    return magnitude + (fmt.sign_code if negative else 0)


def float_bits(value: Fraction | float, carrier: Format) -> int:
    """Return the code of an exact non-negative value, or of an infinity or NaN, in a binary format."""
    if isinstance(value, float):
        code = carrier.nan_code if value != value else carrier.inf_code
        assert code is not None
        return code
    if value == 0:
        return 0
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    exponent -= value < Fraction(2) ** exponent
    quantum = max(exponent, carrier.emin) - carrier.trailing_bits
    significand = value / Fraction(2) ** quantum
    assert significand.denominator == 1, f"{value} is not a value of {carrier.name}"
    return int(significand) + ((quantum - carrier.qmin) << carrier.trailing_bits)


def _bits_of(fmt: Format, carrier: Format, result: Outcome, negative: bool) -> int:
    match result:
        case Outcome.NAN:
            return float_bits(float("nan"), carrier)
        case Outcome.ZERO:
            return carrier.sign_code if negative and fmt.negative_zero else 0
        case Outcome.INFINITY:
            magnitude = float_bits(float("inf"), carrier)
        case Outcome.LIMIT:
            if negative and not fmt.signed:
                return 0
            magnitude = float_bits(fmt.max, carrier)
    return magnitude + (carrier.sign_code if negative else 0)


def _nan_outcome(fmt: Format, nan: str | None) -> Outcome:
    if fmt.has_nan or nan is None:  # without a policy the faces refuse a NaN before it comes here
        return Outcome.NAN if fmt.has_nan else Outcome.ZERO
    return Outcome.ZERO if nan == "zero" else Outcome.LIMIT


def _target(
    fmt: Format, projection: Projection, nan: str | None, top: int, bias: int, carrier: Format | None
) -> core.Target:
    """Build a Target whose results are codes, or the bits of ``carrier`` if one is given."""

    def result(kind: Outcome, negative: bool = False) -> int:
        return _code_of(fmt, kind, negative) if carrier is None else _bits_of(fmt, carrier, kind, negative)

    over = [outcome(fmt, projection, negative, infinite=False) for negative in (False, True)]
    infinite = [outcome(fmt, projection, negative, infinite=True) for negative in (False, True)]
    over_flags = [_range_flags(kind, infinite=False) for kind in over]
    null, null_flags = Outcome.ZERO, 0
    if not fmt.zero:
        # Zero and below: the same result as beyond the range, but an invalid operation, not an overflow.
        null = over[1]
        null_flags = core.INVALID | core.NAN_BORN if null is Outcome.NAN else core.SATURATED
        over_flags[1] = null_flags | (0 if null is Outcome.NAN else core.OVERFLOW | core.INEXACT)
    flush = fmt.qmin - (fmt.emin - fmt.trailing_bits)  # 0 where there are subnormals
    if carrier is None:
        least, most = (2**flush if fmt.zero else 0), fmt.max_code
    else:
        least, most = float_bits(fmt.min_positive, carrier), float_bits(fmt.max, carrier)
    return core.Target(
        precision=fmt.p,
        trailing=fmt.trailing_bits,
        power=int(fmt.p == 1),
        drop=top + 1 - fmt.p,
        emin=fmt.emin + bias,
        flush=flush,
        origin=int(not fmt.zero),
        least=least,
        most_pos=most,
        most_neg=most if fmt.signed else 0,
        zero_pos=result(Outcome.ZERO),
        zero_neg=result(Outcome.ZERO, negative=True),
        null_pos=result(null, negative=not fmt.zero),  # without a zero, +0 too lies below the range
        null_neg=result(null, negative=True),
        over_pos=result(over[0]),
        over_neg=result(over[1], negative=True),
        inf_pos=result(infinite[0]),
        inf_neg=result(infinite[1], negative=True),
        nan=result(_nan_outcome(fmt, nan)),
        sign=fmt.sign_code if carrier is None else carrier.sign_code,
        over_pos_flags=over_flags[0],
        over_neg_flags=over_flags[1],
        inf_pos_flags=_range_flags(infinite[0], infinite=True),
        inf_neg_flags=_range_flags(infinite[1], infinite=True),
        null_flags=null_flags,
        nan_flags=0 if fmt.has_nan else core.INVALID,
        flush_flags=core.FLUSHED if fmt.zero else 0,
    )


def check_nan_policy(nan: str | None) -> str | None:
    """Return ``nan`` if it is a NaN policy, else raise ProjectionError."""
    if nan is not None and (not isinstance(nan, str) or nan not in NAN_POLICIES):
        raise ProjectionError(f"nan={nan!r} is not a NaN policy; accepted: None (refuse), 'zero', 'max'")
    return nan


@lru_cache(maxsize=512)
def integer_target(fmt: Format, projection: Projection, nan: str | None, top: int) -> core.Target:
    """Target of codes for Python integers with exponents as they are (bias 0) and a leading bit at ``top``."""
    return _target(fmt, projection, nan, top, 0, None)


@lru_cache(maxsize=512)
def scaled_target(fmt: Format, projection: Projection, nan: str | None) -> core.Target:
    """Target of codes for ``kernels.scaled_loop``: uint64 words, leading bit at 63."""
    target = _target(fmt, projection, nan, 63, kernels.SCALED_BIAS, None)
    return core.Target(*(np.uint64(value) for value in target))


@lru_cache(maxsize=512)
def carrier_target(fmt: Format, projection: Projection, nan: str | None, carrier: str, coded: bool) -> core.Target:
    """Target for ``kernels.carrier_loop``, in the carrier's words."""
    word, t = kernels.CARRIERS[carrier]
    target = _target(fmt, projection, nan, t, (127 if t == 23 else 1023), None if coded else carrier_format(carrier))
    return core.Target(*(word(value) for value in target))


def carrier_format(carrier: str) -> Format:
    """The format of a carrier's name."""
    return FORMATS["binary32" if carrier == "float32" else "binary64"]


@lru_cache(maxsize=512)
def layout(fmt: Format) -> core.Layout:
    """The format's encoding as the words ``decode_code`` reads."""
    values = (
        fmt.trailing_bits,
        fmt.max_code,
        int(fmt.infinities),
        fmt.sign_code,
        int(fmt.negative_zero),
        int(fmt.zero),
        int(fmt.subnormals),
        fmt.qmin + kernels.SCALED_BIAS,
    )
    return core.Layout(*(np.uint64(value) for value in values))


@lru_cache(maxsize=512)
def carried_by(fmt: Format, carrier: str) -> bool:
    """Whether ``project_carrier`` serves this format in this carrier (else ``project_scaled`` does)."""
    binary = carrier_format(carrier)
    # A carrier's subnormals have the exponent of its least normal: what flushes there must begin above.
    flushes = not fmt.subnormals and fmt.p > 1
    return fmt.zero and binary.holds(fmt) and fmt.emin >= binary.emin + flushes


@lru_cache(maxsize=512)
def smallest_float(fmt: Format) -> np.dtype[Any]:
    """Return float32 if it holds every finite value of ``fmt``, else float64.

    Raises
    ------
    UnsupportedError
        If float64 does not hold them.
    """
    for name in ("binary32", "binary64"):
        if FORMATS[name].holds(fmt):
            return np.dtype(np.float32 if name == "binary32" else np.float64)
    raise UnsupportedError(
        f"{fmt.name} has values that binary64 does not hold (p = {fmt.p}, quantum 2^{fmt.qmin}, "
        f"largest exponent {fmt.emax}); arrays and operations of it are not supported: fe.round takes "
        "Python numbers one by one, and gives exact fractions"
    )
