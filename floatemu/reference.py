"""The oracle: rounding, saturation and codes by definition, over exact rationals.

Written literally from IEEE P3109 v4.0, sections 4.7.1 to 4.7.5, and IEEE 754-2019, sections 3.4, 4.3
and 7, for every :class:`~floatemu.Format`. It is slow (some 10 microseconds a rounding) and shares no
code with the compiled core, because it exists to check it. Scalars only.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import copysign
from operator import index
from typing import Any, Literal

from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format, Overflow
from floatemu.projection import Projection, Rounding, Saturation

__all__ = ["NAN", "Datum", "decode", "encode", "exact", "flags", "infinity", "project", "random_word", "round"]
__all__ += ["round_to_precision", "saturate", "splitmix64"]

INEXACT, OVERFLOW, UNDERFLOW, FLUSHED, SATURATED, INVALID, DIVIDE_BY_ZERO, NAN_BORN = (1 << bit for bit in range(8))
"""The bits of a flag mask; spelled out here, because the oracle borrows nothing from the core."""

NEAREST = Projection()
"""To nearest, ties to even, without saturation."""

NanPolicy = Literal["zero", "max"] | None
"""What a NaN becomes in a format without NaN: an error (None), +0, or the largest finite value."""


@dataclass(frozen=True)
class Datum:
    """A number as a format holds it: a signed magnitude, an infinity, or NaN.

    Parameters
    ----------
    magnitude, negative, kind : Fraction, bool, str
        Absolute value (0 for infinities and NaN), sign (kept for zero, False for NaN), and which of the three it is.

    Examples
    --------
    >>> exact(-0.0) == exact(0.0), float(exact(-0.0))
    (False, -0.0)
    """

    magnitude: Fraction = Fraction(0)
    negative: bool = False
    kind: Literal["finite", "infinite", "nan"] = "finite"

    @property
    def value(self) -> Fraction:
        """The number as a Fraction, 0 for either zero; UnsupportedError for infinities and NaN."""
        if self.kind != "finite":
            raise UnsupportedError(f"{self} has no rational value; ask for .kind first")
        return -self.magnitude if self.negative else self.magnitude

    def __float__(self) -> float:
        if self.kind == "nan":
            return float("nan")
        sign = -1.0 if self.negative else 1.0
        if self.kind == "infinite":
            return sign * float("inf")
        try:
            result = float(self.magnitude)
        except OverflowError:
            result = float("inf")
        if result == float("inf") or Fraction(result) != self.magnitude:
            raise UnsupportedError(f"{self.value} is not a binary64 number; use .value")
        return sign * result


NAN = Datum(kind="nan")
"""The one NaN."""


def infinity(negative: bool = False) -> Datum:
    """Return plus infinity, or minus infinity if ``negative``.

    Examples
    --------
    >>> float(infinity(True))
    -inf
    """
    return Datum(negative=negative, kind="infinite")


def exact(x: Any) -> Datum:
    """Return the datum that a Python, numpy or mpmath number is, without rounding it.

    Parameters
    ----------
    x : Datum, int, Fraction, float, mpmath.mpf, or any scalar with ``as_integer_ratio``
        The number. The sign of a floating-point zero is kept; the sign and payload of NaN are not.

    Returns
    -------
    Datum

    Raises
    ------
    UnsupportedError
        If x is a bool or no real number.

    Examples
    --------
    >>> exact(2**70 + 1).value - 2**70
    Fraction(1, 1)
    >>> exact("1")
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: '1' of type str is not a real number; give an int, Fraction, float or mpf
    """
    if isinstance(x, Datum):
        return x
    if not isinstance(x, bool):
        if hasattr(x, "_mpf_"):
            return _exact_mpf(x)
        if hasattr(x, "as_integer_ratio"):
            if x != x:
                return NAN
            if x in (float("inf"), float("-inf")):
                return infinity(x < 0)
            value = Fraction(*map(int, x.as_integer_ratio()))
            return Datum(abs(value), value < 0 or (value == 0 and copysign(1.0, x) < 0))
        if hasattr(x, "__index__"):
            return Datum(Fraction(abs(index(x))), index(x) < 0)
    raise UnsupportedError(
        f"{x!r} of type {type(x).__name__} is not a real number; give an int, Fraction, float or mpf"
    )


def _exact_mpf(x: Any) -> Datum:
    # An mpf is (sign, integer, exponent, bit count); integer 0 with a nonzero exponent marks a special value.
    sign, integer, exponent, _ = x._mpf_
    if integer == 0 and exponent != 0:
        return NAN if x != x else infinity(bool(x < 0))
    return Datum(Fraction(int(integer)) * Fraction(2) ** int(exponent), bool(sign))


def _floor_log2(x: Fraction) -> int:
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if Fraction(2) ** guess <= x else guess - 1


def round_to_precision(
    x: Fraction, fmt: Format, rounding: Rounding, random_bits: int = 0, random: int = 0, *, bounded: bool = True
) -> Fraction:
    """Round to the format's precision, with an exponent range that has no upper end (P3109 v4.0, 4.7.4).

    With Q = max(floor(log2 |x|), emin) - p + 1 and s = |x| 2^-Q, the result is
    sgn(x) (floor(s) + away) 2^Q, where ``away`` is the mode's rule over nu = s - floor(s).
    A format without subnormals has Q = emin below 2^emin; one without zero has its least value there.

    Parameters
    ----------
    x, fmt, rounding : Fraction, Format, Rounding
        The number, the format (for p, emin and the parity of codes), and the mode.
    random_bits, random : int
        N and R of the stochastic modes.
    bounded : bool
        False drops emin as well; the result then decides tininess after rounding (IEEE 754-2019, 7.5).

    Returns
    -------
    Fraction

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> round_to_precision(Fraction(464), get_format("e4m3fn"), Rounding.NEAREST_TIES_TO_AWAY)
    Fraction(480, 1)
    """
    magnitude = abs(x)
    if magnitude == 0:
        return Fraction(0)
    exponent = _floor_log2(magnitude)
    if bounded and exponent < fmt.emin:
        if not fmt.zero:
            return fmt.min_positive
        quantum = fmt.qmin
    else:
        quantum = exponent - (fmt.p - 1)
    scaled = magnitude / Fraction(2) ** quantum
    floor = scaled.__floor__()
    bias = (1 if fmt.zero else 0) - fmt.emin
    odd = floor % 2 == 1 if fmt.p > 1 else floor != 0 and (quantum + bias) % 2 == 1
    away = rounding.goes_away(scaled - floor, odd, x < 0, random_bits, random)
    result = (floor + away) * Fraction(2) ** quantum
    return -result if x < 0 else result


def saturate(rounded: Datum, fmt: Format, rounding: Rounding, saturation: Saturation) -> Datum:
    """Bring a rounded number into the format's range (P3109 v4.0, 4.7.5; IEEE 754-2019, 7.4).

    Parameters
    ----------
    rounded : Datum
        A result of :func:`round_to_precision`, an infinity, or NaN.
    fmt, rounding, saturation : Format, Rounding, Saturation
        The format, the mode that has rounded, and what to do beyond the range.

    Returns
    -------
    Datum

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> e4m3fn, mode = get_format("e4m3fn"), Rounding.NEAREST_TIES_TO_EVEN
    >>> [float(saturate(exact(480), e4m3fn, mode, saturation)) for saturation in Saturation]
    [nan, 448.0, 448.0]
    """
    if rounded.kind == "nan":
        return NAN
    infinite, negative = rounded.kind == "infinite", rounded.negative
    if not infinite:
        if fmt.min <= rounded.value <= fmt.max:
            return Datum(rounded.magnitude, negative and (rounded.magnitude != 0 or fmt.negative_zero))
        negative = rounded.value < fmt.min
    nearest = exact(fmt.min if negative else fmt.max)
    has_infinity = fmt.infinities and (fmt.signed or not negative)
    if saturation is Saturation.SAT_FINITE:
        return nearest
    if saturation is Saturation.SAT_PROPAGATE:
        return rounded if infinite and has_infinity else nearest
    if negative and not fmt.signed:
        toward_zero = rounding in (Rounding.TOWARD_ZERO, Rounding.TOWARD_POSITIVE)
        if not infinite and toward_zero and fmt.zero:
            return nearest
        return NAN if fmt.has_nan else nearest
    if infinite and has_infinity:
        return rounded
    odd_stays = rounding is Rounding.TO_ODD and fmt.infinities and not fmt.signed
    if not infinite and (rounding.inward(negative) or odd_stays):
        return nearest
    match fmt.overflow:
        case Overflow.INFINITY:
            return infinity(negative)
        case Overflow.NAN:
            return NAN
        case _:
            return nearest


def _of_nan(fmt: Format, nan: NanPolicy) -> Datum:
    if fmt.has_nan:
        return NAN
    if nan == "zero":
        return exact(max(fmt.min, Fraction(0)))
    if nan == "max":
        return exact(fmt.max)
    raise ProjectionError(f"{fmt.name} has no NaN; give nan='zero' or nan='max', or remove the NaN")


def round(x: Any, fmt: Format, by: Projection = NEAREST, random: int = 0, nan: NanPolicy = None) -> Datum:
    """Return the value of the format that x is projected to: Saturate(RoundToPrecision(x)).

    Parameters
    ----------
    x, fmt, by : number, Format, Projection
        Anything :func:`exact` takes; the target; the rounding mode, saturation mode and N.
    random : int
        R of the stochastic modes, 0 <= R < 2^N.
    nan : {None, "zero", "max"}
        What NaN becomes in a format without NaN.

    Returns
    -------
    Datum

    Raises
    ------
    ProjectionError
        If x is NaN, the format has none, and ``nan`` does not say what to give instead.

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> float(round(Fraction(1, 10), get_format("e4m3fn")))
    0.1015625
    """
    datum = exact(x)
    if datum.kind == "nan":
        return _of_nan(fmt, nan)
    if datum.kind == "finite":
        # The sign is x's: a negative number that rounds to zero may give -0.
        rounded = round_to_precision(datum.value, fmt, by.rounding, by.random_bits or 0, random)
        datum = Datum(abs(rounded), datum.negative)
    return saturate(datum, fmt, by.rounding, by.saturation)


def flags(x: Any, fmt: Format, by: Projection = NEAREST, random: int = 0, nan: NanPolicy = None) -> int:
    """Return the mask of exceptions that :func:`round` of the same arguments raises.

    INEXACT 1, OVERFLOW 2, UNDERFLOW 4, FLUSHED 8, SATURATED 16, INVALID 32, DIVIDE_BY_ZERO 64, NAN_BORN 128
    (IEEE 754-2019, section 7; tininess after rounding). Below the range of an unsigned format counts as overflow.

    Parameters
    ----------
    x, fmt, by, random, nan
        As for :func:`round`.

    Returns
    -------
    int

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> flags(1e-9, get_format("e4m3fn")) == INEXACT | UNDERFLOW | FLUSHED
    True
    """
    datum = exact(x)
    result = round(datum, fmt, by, random, nan)
    if datum.kind == "nan":
        return 0 if result.kind == "nan" else INVALID
    became_nan = result.kind == "nan"
    if datum.kind == "infinite":
        return INVALID | NAN_BORN if became_nan else SATURATED if result.kind == "finite" else 0
    if not fmt.zero and datum.value <= 0:
        if became_nan:
            return INVALID | NAN_BORN
        return SATURATED | (INEXACT | OVERFLOW if datum.value else 0)
    drawn = by.random_bits or 0, random
    rounded = round_to_precision(datum.value, fmt, by.rounding, *drawn)
    if not fmt.min <= rounded <= fmt.max:
        specific = NAN_BORN if became_nan else SATURATED if result.kind == "finite" else 0
        return OVERFLOW | INEXACT | specific
    if rounded == datum.value:
        return 0
    unbounded = round_to_precision(datum.value, fmt, by.rounding, *drawn, bounded=False)
    below_all = not fmt.zero and datum.value < fmt.min_positive
    tiny = UNDERFLOW if abs(unbounded) < fmt.min_normal or below_all else 0
    return INEXACT | tiny | (FLUSHED if rounded == 0 else 0)


def project(x: Any, fmt: Format, by: Projection = NEAREST, random: int = 0, nan: NanPolicy = None) -> int:
    """Return the code of :func:`round` of the same arguments: Encode(Saturate(RoundToPrecision(x))).

    Parameters
    ----------
    x, fmt, by, random, nan
        As for :func:`round`.

    Returns
    -------
    int
        Code in 0..2^k - 1.

    Examples
    --------
    >>> from floatemu.formats import p3109
    >>> hex(project(Fraction(5, 4), p3109(8, 4)))
    '0x42'
    """
    return encode(round(x, fmt, by, random, nan), fmt)


def encode(x: Datum, fmt: Format) -> int:
    """Return the code of a value of the format (P3109 v4.0, 4.7.2).

    With E = max(floor(log2 |x|), emin) and S = |x| 2^(p-1-E): the code is S where S < 2^(p-1), else
    the trailing bits of S below the exponent field E + bias.

    Parameters
    ----------
    x, fmt : Datum, Format
        A value of the format (NaN gives the canonical NaN), and the format.

    Returns
    -------
    int

    Raises
    ------
    ProjectionError
        If x is no value of the format.

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> hex(encode(exact(-448), get_format("e4m3fn")))
    '0xfe'
    """
    sign = 2 ** (fmt.k - 1) if x.negative else 0
    code: int | None = None
    if x.kind == "nan":
        code = fmt.nan_code
    elif x.negative and not fmt.signed:
        code = None
    elif x.kind == "infinite":
        code = None if fmt.inf_code is None else sign + fmt.inf_code
    elif x.magnitude == 0:
        code = sign if fmt.zero and (not x.negative or fmt.negative_zero) else None
    elif fmt.min_positive <= x.magnitude <= fmt.max:
        exponent = max(_floor_log2(x.magnitude), fmt.emin)
        significand = x.magnitude * Fraction(2) ** (fmt.p - 1 - exponent)
        least = 1 if fmt.subnormals else 2 ** (fmt.p - 1)
        if significand.denominator == 1 and significand >= least:
            hidden = 2 ** (fmt.p - 1)
            field = exponent - fmt.emin + (1 if fmt.zero else 0)
            low = int(significand)
            code = sign + (low if low < hidden else low - hidden + field * hidden)
    if code is None:
        raise ProjectionError(f"{x} is not a value of {fmt.name}; round it first")
    return code


def decode(code: int, fmt: Format) -> Datum:
    """Return the value of a code (P3109 v4.0, 4.7.1; IEEE 754-2019, 3.4).

    Parameters
    ----------
    code, fmt : int, Format
        0..2^k - 1, and the format.

    Returns
    -------
    Datum

    Raises
    ------
    ProjectionError
        If the code does not have k bits.

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> float(decode(0xFE, get_format("e4m3fn"))), decode(0xFF, get_format("e4m3fn")) == NAN
    (-448.0, True)
    """
    if not 0 <= code < 2**fmt.k:
        raise ProjectionError(f"code {code:#x} is outside 0..{2**fmt.k - 1:#x}, the codes of {fmt.name}")
    one_sign = 2 ** (fmt.k - 1) if fmt.signed else 2**fmt.k
    negative, low = code >= one_sign, code % one_sign
    highest_number = one_sign - 1 - fmt.high_nans
    if low > highest_number or (negative and low == 0 and not fmt.negative_zero):
        return NAN
    if fmt.infinities and low == highest_number:
        return infinity(negative)
    field, trailing = divmod(low, 2 ** (fmt.p - 1))
    fraction = Fraction(trailing, 2 ** (fmt.p - 1))
    if field == 0 and fmt.zero:
        magnitude = fraction * Fraction(2) ** fmt.emin if fmt.subnormals else Fraction(0)
    else:
        magnitude = (1 + fraction) * Fraction(2) ** (fmt.emin + field - (1 if fmt.zero else 0))
    return Datum(magnitude, negative and (magnitude != 0 or fmt.negative_zero))


def splitmix64(seed: int, position: int) -> int:
    """Return one output of the SplitMix64 generator (Steele, Lea and Flood, OOPSLA 2014; Vigna's constants).

    The state advances by 0x9E3779B97F4A7C15 a step, so output n is a function of seed + (n + 1) times that.

    Parameters
    ----------
    seed, position : int
        Initial state, and number of the output from 0; both are taken modulo 2^64.

    Returns
    -------
    int

    Examples
    --------
    >>> [splitmix64(1234567, n) for n in range(2)]
    [6457827717110365317, 3203168211198807973]
    """
    mask = 2**64 - 1
    z = (seed + (position + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def random_word(seed: int, stream: int, position: int) -> int:
    """Return the 32 random bits of one element; R of a stochastic mode is their top N.

    Two neighbours share output position // 2 of the generator whose state is output ``stream`` of the one seeded
    ``seed``: the element at the even position takes the low half, the other one the high half.

    Parameters
    ----------
    seed, stream, position : int
        The caller's seed, the number of the call or step, and the element's position in the result, in C order.

    Returns
    -------
    int

    Examples
    --------
    >>> word = splitmix64(splitmix64(7, 3), 0)
    >>> random_word(7, 3, 0) == word % 2**32, random_word(7, 3, 1) == word >> 32
    (True, True)
    """
    word = splitmix64(splitmix64(seed, stream), position % 2**64 // 2)
    return word >> 32 if position % 2 else word & 0xFFFFFFFF
