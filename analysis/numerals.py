"""Numbers as a user types them, read exactly: 0.1 is 1/10, never the nearest binary64."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from fractions import Fraction

from .terminal import BadInput

ACCEPTED = (
    "a decimal (0.1, -2.5e-3)",
    "a fraction (1/3)",
    "a power of two (2^-9)",
    "a hexadecimal float (0x1.8p-3)",
    "inf, nan",
    "a code (0x7e, 0b01111110)",
)

# The widest format has 15 exponent bits and a bias up to 2^15, so its values lie within 10^±19729.
_MOST_DIGITS, _MOST_EXPONENT = 4000, 25_000

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE](?P<e>[+-]?\d+))?", re.ASCII)
_RATIO = re.compile(r"(?P<n>[+-]?\d+)/(?P<d>\d+)", re.ASCII)
_POWER = re.compile(r"(?P<sign>[+-]?)2(\^|\*\*)(?P<e>[+-]?\d+)", re.ASCII)
_HEX = re.compile(r"(?P<sign>[+-]?)0x(?P<i>[0-9a-f]*)\.?(?P<f>[0-9a-f]*)(p(?P<e>[+-]?\d+))?", re.ASCII | re.IGNORECASE)
_CODE = re.compile(r"0x[0-9a-f]+|0b[01]+", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Numeral:
    """What a user typed: a number known exactly, an infinity, a NaN, or a code.

    Parameters
    ----------
    text : str
        As typed.
    kind : str
        "number", "inf", "nan" or "code".
    value : Fraction
        Exact value of a number; 0 for the other kinds.
    negative : bool
        Sign, of zero and infinity too.
    code : int, optional
        The code, for the kind "code".

    Examples
    --------
    >>> Numeral("1/3", "number", Fraction(1, 3)).value
    Fraction(1, 3)
    """

    text: str
    kind: str
    value: Fraction = Fraction(0)
    negative: bool = False
    code: int | None = None


def _refuse(text: str, why: str, hint: str = "") -> BadInput:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return BadInput(f"{shown!r} {why}", given=shown, accepted=list(ACCEPTED), hint=hint or f"write {ACCEPTED[0]}")


def _far(text: str, most: int, small: bool) -> BadInput:
    instead = "0" if small else "inf"
    why = f"has an exponent beyond ±{most}, far outside every format"
    return _refuse(text, why, f"exponents from -{most} to {most} are read; write {instead} if that is meant")


def _exponent(text: str, digits: str | None) -> int:
    # The length is judged before int(): Python refuses texts of more than 4300 digits with an error of its own.
    if digits is None:
        return 0
    if len(digits) > 9 or abs(int(digits)) > 4 * _MOST_EXPONENT:
        raise _far(text, 4 * _MOST_EXPONENT, digits.startswith("-"))
    return int(digits)


def parse(text: str) -> Numeral:
    """Read a number exactly.

    Parameters
    ----------
    text : str
        A decimal, a fraction, a power of two, a hexadecimal float, "inf", "nan" (with a sign), or a
        code: hexadecimal digits without point and without ``p``, or binary digits.

    Returns
    -------
    Numeral

    Raises
    ------
    BadInput
        If the text is none of these.

    Examples
    --------
    >>> parse("0.1").value, parse("-1/3").value, parse("0x1.8p-3").value
    (Fraction(1, 10), Fraction(-1, 3), Fraction(3, 16))
    >>> parse("0x7e").code, parse("-inf").negative, parse("-0").negative
    (126, True, True)
    """
    word = text.strip().replace("−", "-")
    negative = word.startswith("-")
    if len(word) > _MOST_DIGITS:
        raise _refuse(text, f"has {len(word)} characters; at most {_MOST_DIGITS} are read")
    match word.lower().lstrip("+-"):
        case "inf" | "infinity":
            return Numeral(text, "inf", negative=negative)
        case "nan":
            return Numeral(text, "nan")
    if _CODE.fullmatch(word):
        return Numeral(text, "code", code=int(word, 0))
    if found := _RATIO.fullmatch(word):
        if int(found["d"]) == 0:
            raise _refuse(text, "divides by zero", "write inf or nan if that is meant")
        return Numeral(text, "number", Fraction(int(found["n"]), int(found["d"])), negative)
    if found := _POWER.fullmatch(word):
        return Numeral(text, "number", (-1) ** negative * Fraction(2) ** _exponent(text, found["e"]), negative)
    if found := _DECIMAL.fullmatch(word):
        if abs(_exponent(text, found["e"])) > _MOST_EXPONENT:
            raise _far(text, _MOST_EXPONENT, found["e"].startswith("-"))
        return Numeral(text, "number", Fraction(word), negative)
    if (found := _HEX.fullmatch(word)) and found["i"] + found["f"] and ("." in word or found["e"]):
        digits = int(found["i"] + found["f"], 16)
        scale = _exponent(text, found["e"]) - 4 * len(found["f"])
        return Numeral(text, "number", (-1) ** negative * digits * Fraction(2) ** scale, negative)
    raise _refuse(text, "is not a number that floatemu can read")


def decimal(value: Fraction, digits: int = 17) -> str:
    """Return ``value`` in decimal: every digit if at most ``digits`` are needed, else rounded, with "≈" before it.

    Parameters
    ----------
    value : Fraction
    digits : int
        Significant digits, at least 1.

    Returns
    -------
    str

    Examples
    --------
    >>> decimal(Fraction(13, 128)), decimal(Fraction(1, 3), 4), decimal(Fraction(2) ** 20000, 3)
    ('0.1015625', '≈0.3333', '≈3.98e+6020')
    """
    context = Context(prec=digits, Emin=-999_999, Emax=999_999, traps=[])
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    mark = "≈" if context.flags[Inexact] else ""
    if value and not -5 < quotient.adjusted() < digits:
        body, _, exponent = f"{quotient:E}".partition("E")
        return f"{mark}{_trimmed(body)}e{int(exponent):+03d}"  # two digits at least, as Python writes floats
    return f"{mark}{_trimmed(f'{quotient:f}')}"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio(value: Fraction) -> str:
    """Return a fraction exactly: in decimal digits, or in hexadecimal ones where there would be thousands.

    Parameters
    ----------
    value : Fraction

    Returns
    -------
    str

    Examples
    --------
    >>> ratio(Fraction(-1, 640)), ratio(Fraction(3))
    ('-1/640', '3')
    """
    top, bottom = value.numerator, value.denominator
    # Python refuses to write integers of more than 4300 decimal digits, by default.
    form = "d" if max(top.bit_length(), bottom.bit_length()) < 14_000 else "#x"
    return f"{top:{form}}" if bottom == 1 else f"{top:{form}}/{bottom:{form}}"


def dyadic(value: Fraction) -> str:
    """Return a fraction whose denominator is a power of two as ``odd*2^e``, exactly.

    Parameters
    ----------
    value : Fraction

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the denominator is not a power of two.

    Examples
    --------
    >>> dyadic(Fraction(448)), dyadic(Fraction(-13, 128)), dyadic(Fraction(0)), dyadic(Fraction(1, 512))
    ('7*2^6', '-13*2^-7', '0', '2^-9')
    """
    top, bottom = value.numerator, value.denominator
    if bottom & (bottom - 1):
        raise ValueError(f"{value} is not an integer times a power of two")
    if top == 0:
        return "0"
    shift = (top & -top).bit_length() - 1
    odd, exponent = top >> shift, shift - (bottom.bit_length() - 1)
    if exponent == 0:
        return str(odd)
    return f"{'' if odd == 1 else '-' if odd == -1 else f'{odd}*'}2^{exponent}"
