"""Elementary functions of single numbers, exactly: rational results by rational arithmetic, others by mpmath.

This decides what a kernel could not, and serves numbers and formats that binary64 does not hold. The
precision grows until the digits asked for are certain (Ziv, "Fast evaluation of elementary mathematical
functions with correctly rounded last bit", ACM TOMS 17(3), 1991).

The search ends because the rational results are known beforehand: for rational x the functions of
:data:`EXACT` have rational values there and nowhere else. exp, expm1, sinh, cosh, tanh, sigmoid, silu,
softplus, sin, cos, tan, asin, acos, atan, atan2, asinh, acosh, atanh, log and log1p: Lindemann and Weierstrass. exp2,
log2, log10 and pow: unique factorisation. sinpi, cospi, tanpi, and in turns asinpi, acospi, atanpi, atan2pi: Niven's
theorem (Irrational Numbers, 1956, corollary 3.12), which leaves 0, +-1/2 and +-1 as rational sines and cosines of
rational angles, 0 and +-1 as tangents. For erf, gelu and gelu_tanh it is not known that a value is never rational; a
search that exceeds :data:`MOST_BITS` is refused (none has been found).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from floatemu.arithmetic import _root
from floatemu.errors import UnsupportedError
from floatemu.operands import Exact, exact_number

MOST_BITS = 1 << 17
GUARD = 48
"""Last bits of mpmath's results that are not relied on."""
FAR = 15
"""Beyond 2^FAR = 32768 what grows or falls like exp(|x|) has left the range of every format that binary64 holds."""


_OWN = threading.local()


def _context() -> Any:
    """mpmath's arithmetic with a precision of our own: the user's, and that of other threads, is left alone."""
    if not hasattr(_OWN, "context"):
        import mpmath

        _OWN.context = mpmath.MPContext()
    return _OWN.context


def _gelu_tanh(c: Any, x: Any) -> Any:
    u = c.sqrt(2 / c.pi) * (x + c.mpf(44715) / 10**6 * x**3)
    return x / (1 + c.exp(-2 * u))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": lambda c, x: c.exp(x),
    "exp2": lambda c, x: c.power(2, x),
    "expm1": lambda c, x: c.expm1(x),
    "log": lambda c, x: c.log(x),
    "log2": lambda c, x: c.log(x) / c.log(2),
    "log10": lambda c, x: c.log(x) / c.log(10),
    "log1p": lambda c, x: c.log1p(x),
    "sin": lambda c, x: c.sin(x),
    "cos": lambda c, x: c.cos(x),
    "tan": lambda c, x: c.tan(x),
    "asin": lambda c, x: c.asin(x),
    "acos": lambda c, x: c.acos(x),
    "atan": lambda c, x: c.atan(x),
    "sinh": lambda c, x: c.sinh(x),
    "cosh": lambda c, x: c.cosh(x),
    "tanh": lambda c, x: c.tanh(x),
    "sigmoid": lambda c, x: 1 / (1 + c.exp(-x)),
    "erf": lambda c, x: c.erf(x),
    "gelu": lambda c, x: x * c.erfc(-x / c.sqrt(2)) / 2,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda c, x: x / (1 + c.exp(-x)),
    "softplus": lambda c, x: c.log1p(c.exp(-x)) + x if x > 0 else c.log1p(c.exp(x)),
    "pow": lambda c, x, y: c.exp(y * c.log(x)),
    "asinh": lambda c, x: c.asinh(x),
    "acosh": lambda c, x: 2 * c.asinh(c.sqrt((x - 1) / 2)),  # mpmath's own cancels near 1
    "atanh": lambda c, x: c.atanh(x),
    "atan2": lambda c, y, x: c.atan2(y, x),
    "sinpi": lambda c, x: c.sinpi(x),
    "cospi": lambda c, x: c.cospi(x),
    "tanpi": lambda c, x: c.sinpi(x) / c.cospi(x),
    "asinpi": lambda c, x: c.asin(x) / c.pi,
    "acospi": lambda c, x: c.acos(x) / c.pi,
    "atanpi": lambda c, x: c.atan(x) / c.pi,
    "atan2pi": lambda c, y, x: c.atan2(y, x) / c.pi,
}
"""The definitions, at the context's precision."""

EXACT: dict[str, dict[Fraction | int, Fraction | int]] = {
    **{name: {0: 0} for name in ("expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh")},
    **{name: {0: 0} for name in ("erf", "gelu", "gelu_tanh", "silu", "asinh", "atanh")},
    **{name: {0: 1} for name in ("exp", "cos", "cosh")},
    **{name: {1: 0} for name in ("log", "acos", "acosh")},
    "sigmoid": {0: Fraction(1, 2)},
    "softplus": {},
    "asinpi": {Fraction(i, 2): Fraction(turn, 6) for i, turn in zip(range(-2, 3), (-3, -1, 0, 1, 3))},
    "acospi": {Fraction(i, 2): Fraction(turn, 6) for i, turn in zip(range(-2, 3), (6, 4, 3, 2, 0))},
    "atanpi": {i: Fraction(i, 4) for i in (-1, 0, 1)},
}
"""All rational values at rational points, for the functions that have finitely many."""

_SINES = {
    Fraction(i, 12): Fraction(value, 2) for i, value in zip((0, 2, 6, 10, 12, 14, 18, 22), (0, 1, 2, 1, 0, -1, -2, -1))
}
TURNS: dict[str, tuple[int, dict[Fraction, Fraction]]] = {
    "sinpi": (2, _SINES),
    "cospi": (2, {(x - Fraction(1, 2)) % 2: value for x, value in _SINES.items()}),
    "tanpi": (1, {Fraction(i, 4): Fraction(value) for i, value in zip((0, 1, 3), (0, 1, -1))}),
}
"""Period and all rational values at rational points, for the functions of an angle in half turns."""

# Close to 0 a function is its limit (a value, or a multiple of x), moved up or down: "x+" means above x, "1x" above
# 1 where x > 0 and below it where x < 0, "x<" that the magnitude is less than |x|.
SMALL = {
    "exp": "1x", "exp2": "1x", "cos": "1-", "cosh": "1+", "sigmoid": "1/2x", "expm1": "x+", "log1p": "x-",
    "sin": "x<", "tan": "x>", "asin": "x>", "atan": "x<", "sinh": "x>", "tanh": "x<",
    "silu": "x/2+", "gelu": "x/2+", "gelu_tanh": "x/2+", "asinh": "x<", "atanh": "x>", "cospi": "1-",
}  # fmt: skip
POSITIVE = {
    "exp": "huge", "exp2": "huge", "expm1": "huge", "sinh": "huge", "cosh": "huge", "tanh": "1-", "sigmoid": "1-",
    "erf": "1-", "gelu": "x-", "gelu_tanh": "x-", "silu": "x-", "softplus": "x+",
}  # fmt: skip
NEGATIVE = {
    "exp": "tiny", "exp2": "tiny", "expm1": "-1+", "sinh": "-huge", "cosh": "huge", "tanh": "-1+", "sigmoid": "tiny",
    "erf": "-1+", "gelu": "-tiny", "gelu_tanh": "-tiny", "silu": "-tiny", "softplus": "tiny",
}  # fmt: skip

REACH: dict[str, Callable[[Fraction], Fraction]] = {
    "erf": lambda x: x * x,
    "gelu": lambda x: x * x / 2,
    "gelu_tanh": lambda x: abs(x) ** 3 / 10,
}
"""How near to its limit a function is: nearer than 2^-reach of it, and than 2^(1 - |x|) where nothing stands here.

1 - erf x < exp(-x^2) < 2^-(x^2). 1 - gelu(x) / x is half of erfc(x / sqrt 2) < 2^-(x^2 / 2). 1 - gelu_tanh(x) / x
< exp(-2 sqrt(2 / pi) 0.044715 x^3) < 2^-(x^3 / 10).
"""


def beside(value: Fraction, step: int, bits: int) -> Exact:
    """A number just above (step = 1) or below (-1) ``value``, nearer to it than ``bits`` bits can tell."""
    number = exact_number(value, 2 * bits)
    outward = (step > 0) != number.negative
    return Exact(number.negative, (number.significand << 2 * bits) - (not outward), number.quantum - 2 * bits, True)


def _limit(rule: str, x: Fraction, bits: int) -> Exact:
    if rule.endswith(("huge", "tiny")):
        return Exact(rule[0] == "-", 1, 1 << FAR if rule.endswith("huge") else -(1 << FAR), True)
    base, last = rule[:-1], rule[-1]
    value = {"x": x, "x/2": x / 2, "1": Fraction(1), "-1": Fraction(-1), "1/2": Fraction(1, 2)}[base]
    positive = 1 if x > 0 else -1
    return beside(value, {"+": 1, "-": -1, "x": positive, ">": positive, "<": -positive}[last], bits)


def _domain(name: str, x: Fraction, y: Fraction | None) -> bool:
    if name in ("log", "log2", "log10", "rsqrt"):
        return x > 0
    if name == "log1p":
        return x > -1
    if name in ("asin", "acos", "asinpi", "acospi"):
        return abs(x) <= 1
    if name == "acosh":
        return x >= 1
    if name == "atanh":
        return abs(x) < 1
    if name == "tanpi":
        return x % 1 != Fraction(1, 2)
    if name in ("atan2", "atan2pi"):
        return x != 0 or y != 0
    return name != "pow" or x > 0 or (y is not None and y.denominator == 1)


def _log2_of_power(x: Fraction) -> int | None:
    """n with x = 2^n, or None."""
    if x.numerator & (x.numerator - 1) or x.denominator & (x.denominator - 1):
        return None
    return x.numerator.bit_length() - x.denominator.bit_length()


def _integer_root(n: int, degree: int) -> int | None:
    """The integer r with r^degree = n > 0, or None."""
    if n == 1:
        return 1
    if degree >= n.bit_length():
        return None
    r = 1 << -(-n.bit_length() // degree)
    while True:  # Newton's iteration from above falls until it has passed the root
        following = ((degree - 1) * r + n // r ** (degree - 1)) // degree
        if following >= r:
            return r if r**degree == n else None
        r = following


def _rational_power(x: Fraction, y: Fraction, bits: int) -> Fraction | None:
    """x^y for x > 0 where it is a rational number that ``bits`` bits may hold; x = 2^n among them."""
    n = _log2_of_power(x)
    if n is not None and (n * y).denominator == 1:
        return Fraction(2) ** int(n * y) if abs(n * y) <= 1 << FAR else None
    top, bottom = (_integer_root(part, y.denominator) for part in (x.numerator, x.denominator))
    # The odd part of a base that is no power of two is at least 3: its power has more than |y| bits.
    if top is None or bottom is None or abs(y.numerator) > 2 * bits:
        return None
    return Fraction(top, bottom) ** y.numerator


def _rational(name: str, x: Fraction, bits: int) -> Fraction | None:
    """The value, where it is rational."""
    if name == "exp2":
        return Fraction(2) ** int(x) if x.denominator == 1 and abs(x) <= 1 << FAR else None
    if name == "log2":
        n = _log2_of_power(x)
        return None if n is None else Fraction(n)
    if name == "log10":
        n = round(math.log10(x.numerator) - math.log10(x.denominator))  # of integers of any size
        return Fraction(n) if Fraction(10) ** n == x else None
    if name in TURNS:
        period, values = TURNS[name]
        return values.get(x % period)
    value = EXACT[name].get(x)
    return None if value is None else Fraction(value)


def function(name: str, operands: tuple[Fraction, ...], bits: int) -> Exact:
    """Return f(operands) with ``bits`` bits and a sticky one, or as it is where it is rational.

    Parameters
    ----------
    name : str
        One of :data:`FUNCTIONS`, "rsqrt" or "hypot".
    operands : tuple of Fraction
        Finite; nonzero for pow and rsqrt. y comes before x in atan2 and atan2pi.
    bits : int
        Significant bits that the caller looks at.

    Returns
    -------
    Exact
        NaN outside the function's domain.

    Raises
    ------
    UnsupportedError
        If the value has not shown its bits at :data:`MOST_BITS` bits of precision.

    Examples
    --------
    >>> from fractions import Fraction
    >>> function("exp2", (Fraction(-3),), 10)
    Exact(negative=False, significand=1, quantum=-3, sticky=False, special='')
    """
    x = operands[0]
    if not _domain(name, x, operands[1] if len(operands) > 1 else None):
        return Exact(False, 0, special="nan")
    if name == "rsqrt":
        return _root(1 / x, False, bits + 2)
    if name == "hypot":
        return _root(x * x + operands[1] * operands[1], False, bits + 2)
    if name == "pow":
        return _power(x, operands[1], bits)
    if name in ("atan2", "atan2pi"):
        return _angle(name, x, operands[1], bits)
    value = _rational(name, x, bits)
    if value is not None:
        return exact_number(value, bits + 2)
    rule = (POSITIVE if x > 0 else NEGATIVE).get(name, "")
    leaves = rule.endswith(("huge", "tiny"))
    if rule and (abs(x) > 1 << FAR if leaves else REACH.get(name, abs)(x) > bits + 32):
        return _limit(rule, x, bits)
    if name in SMALL and abs(x) * (1 << (bits + 16)) < 1:
        return _limit(SMALL[name], x, bits)
    return _search(name, (x,), bits)


def quarter_turn(negative: bool, bits: int) -> Exact:
    """pi / 2 or -pi / 2 with ``bits`` bits and a sticky one: the limits of atan.

    Parameters
    ----------
    negative : bool
    bits : int

    Returns
    -------
    Exact

    Examples
    --------
    >>> quarter_turn(False, 4)
    Exact(negative=False, significand=12, quantum=-3, sticky=True, special='')
    """
    half = _search("acos", (Fraction(0),), bits)
    return Exact(negative, half.significand, half.quantum, half.sticky)


def _angle(name: str, y: Fraction, x: Fraction, bits: int) -> Exact:
    """The angle of (x, y); of those with rational tangents only multiples of an eighth of a turn are rational."""
    turns = {(1, 0): 0, (1, 1): 1, (0, 1): 2, (-1, 1): 3, (-1, 0): 4, (-1, -1): -3, (0, -1): -2, (1, -1): -1}
    sides = ((x > 0) - (x < 0), (y > 0) - (y < 0))
    eighths = turns[sides]
    if eighths == 0 or (name == "atan2pi" and (0 in sides or abs(x) == abs(y))):
        return exact_number(Fraction(eighths, 4), bits + 2)
    return _search(name, (y, x), bits)


def _power(x: Fraction, y: Fraction, bits: int) -> Exact:
    negative = x < 0 and y.numerator % 2 == 1
    x = abs(x)
    value = Fraction(1) if y == 0 else _rational_power(x, y, bits)
    if value is not None:
        return exact_number(-value if negative else value, bits + 2)
    context = _context()
    context.prec = 64
    size = y.numerator * context.log(context.mpf(x.numerator) / x.denominator, 2) / y.denominator
    if abs(size) > 1 << FAR:
        return Exact(negative, 1, (1 << FAR) if size > 0 else -(1 << FAR), True)
    if abs(size) * (1 << (bits + 16)) < 1:
        near = beside(Fraction(1), 1 if size > 0 else -1, bits)
    else:
        near = _search("pow", (x, y), bits)
    return Exact(negative, near.significand, near.quantum, near.sticky)


def _search(name: str, operands: tuple[Fraction, ...], bits: int) -> Exact:
    """Evaluate at growing precision, at both ends of the operands' own rounding, until the bits agree."""
    context = _context()
    sizes = [abs(x.numerator).bit_length() - x.denominator.bit_length() for x in operands if x]
    precision = bits + 2 * GUARD + max([0, *sizes])
    while precision <= MOST_BITS:
        context.prec = precision
        ends = [_cut(value, bits, precision) for value in _evaluate(context, name, operands, precision)]
        if ends[0] is not None and all(end == ends[0] for end in ends):
            return ends[0]
        precision *= 2
    raise UnsupportedError(
        f"{name}{tuple(map(str, operands))} lies so near a {bits}-bit number that {MOST_BITS} bits do not tell on "
        "which side; please report it"
    )


def _evaluate(context: Any, name: str, operands: tuple[Fraction, ...], precision: int) -> list[Any]:
    choices: list[tuple[Any, ...]] = [()]
    for x in operands:
        size = abs(x.numerator).bit_length() - x.denominator.bit_length()
        shift = 2 * precision - size
        down = (x.numerator << shift) // x.denominator if shift >= 0 else x.numerator // (x.denominator << -shift)
        exact = Fraction(down) * Fraction(2) ** -shift == x
        context.prec = 3 * precision  # the ends are exact there
        ends = [context.mpf(down + i) * context.mpf(2) ** -shift for i in (0, 1)]
        choices = [(*given, end) for given in choices for end in ends[: 1 if exact else 2]]
    context.prec = precision
    return [FUNCTIONS[name](context, *given) for given in choices]


def _cut(value: Any, bits: int, precision: int) -> Exact | None:
    """The value's leading bits with a sticky one, if an error in its last GUARD bits does not change them."""
    sign, man, exp, _ = value._mpf_
    man = int(man)
    shift = precision - man.bit_length()
    if not man:
        return None
    man, exp = man << shift, exp - shift
    drop = precision - bits
    rest, doubt = man & ((1 << drop) - 1), 1 << GUARD
    if doubt < rest < (1 << drop) - doubt:
        return Exact(bool(sign), man >> drop, exp + drop, True)
    return None
