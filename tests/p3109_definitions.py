"""The operations of IEEE P3109 v4.0 on exact numbers, pattern by pattern as the standard lists them.

An operand is a Fraction, plus or minus infinity as a float, or None for NaN; there is one zero. Exact results that are
no fractions are mpmath numbers of so many bits that no rounding tells them from the exact ones. :func:`placed` makes of
a result a binary64 number on the same side of every breakpoint of a small format, for the oracle in oracles.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from function_values import value as by_mpmath

INF, NAN = math.inf, None
C = mpmath.MPContext()
C.prec = 1400
Number = Any


def exact(x: float) -> Number:
    """A float as an operand."""
    return NAN if math.isnan(x) else float(x) if math.isinf(x) else Fraction(float(x))


def infinite(x: Number) -> bool:
    return isinstance(x, float)


def sign(x: Number) -> int:
    return (x > 0) - (x < 0)


def magnitude(x: Number) -> Number:
    return -x if x < 0 else x


# Arithmetic -----------------------------------------------------------------------------------------------------------


def add(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN:
        return NAN
    if infinite(x) and infinite(y) and x != y:
        return NAN
    if infinite(x) or infinite(y):
        return x if infinite(x) else y
    return x + y


def negate(x: Number) -> Number:
    return NAN if x is NAN else -x


def multiply(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN:
        return NAN
    if (x == 0 and infinite(y)) or (infinite(x) and y == 0):
        return NAN
    if infinite(x) or infinite(y):
        return sign(x) * sign(y) * INF
    return x * y


def divide(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN or y == 0:
        return NAN
    if infinite(x) and infinite(y):
        return NAN
    if infinite(x):
        return sign(x) * sign(y) * INF
    if infinite(y):
        return Fraction(0)
    return x / y


def fma(x: Number, y: Number, z: Number) -> Number:
    return add(multiply(x, y), z)


def faa(x: Number, y: Number, z: Number) -> Number:
    if NAN in (x, y, z) or (INF in (x, y, z) and -INF in (x, y, z)):
        return NAN
    for operand in (x, y, z):
        if infinite(operand):
            return operand
    return x + y + z


def copy_sign(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN:
        return NAN
    return magnitude(x) if y >= 0 else -magnitude(x)


def root(x: Fraction) -> Number:
    """A rational root, or 1400 bits of an irrational one."""
    top, bottom = math.isqrt(x.numerator), math.isqrt(x.denominator)
    if top * top == x.numerator and bottom * bottom == x.denominator:
        return Fraction(top, bottom)
    return C.sqrt(C.mpf(x.numerator) / x.denominator)


def sqrt(x: Number) -> Number:
    if x is NAN or x < 0:
        return NAN
    return x if infinite(x) else root(x)


def rsqrt(x: Number) -> Number:
    if x is NAN or x <= 0:
        return NAN
    return Fraction(0) if infinite(x) else root(1 / x)


def hypot(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN:
        return NAN
    return INF if infinite(x) or infinite(y) else root(x * x + y * y)


# Extrema --------------------------------------------------------------------------------------------------------------


def minimum(x: Number, y: Number) -> Number:
    return NAN if x is NAN or y is NAN else min(x, y)


def maximum(x: Number, y: Number) -> Number:
    return NAN if x is NAN or y is NAN else max(x, y)


def minimum_magnitude(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN:
        return NAN
    if magnitude(x) == magnitude(y):
        return min(x, y)
    return x if magnitude(x) < magnitude(y) else y


def maximum_magnitude(x: Number, y: Number) -> Number:
    if x is NAN or y is NAN:
        return NAN
    if magnitude(x) == magnitude(y):
        return max(x, y)
    return x if magnitude(x) > magnitude(y) else y


def number(choose: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    def function(x: Number, y: Number) -> Number:
        return y if x is NAN else x if y is NAN else choose(x, y)

    return function


def ranked(choose: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    def function(x: Number, y: Number) -> Number:
        first, second = (0 if z is NAN else 1 if infinite(z) else 2 for z in (x, y))
        if first != second:
            return x if first > second else y
        return NAN if first == 0 else choose(x, y)

    return function


def clamp(x: Number, lo: Number, hi: Number) -> Number:
    if x is NAN or lo is NAN or hi is NAN or lo > hi:
        return NAN
    return min(max(x, lo), hi)


# Functions ------------------------------------------------------------------------------------------------------------


def tabled(name: str, minus: Number, plus: Number, special: dict[Number, Number]) -> Callable[[Number], Number]:
    """A function from its row: results for both infinities, for points that have results of their own, else mpmath's.

    A key "<a" or ">a" of ``special`` says where the function is not defined.
    """
    bounds = {key[0]: Fraction(key[1:]) for key in special if isinstance(key, str)}

    def function(x: Number) -> Number:
        if x is NAN:
            return NAN
        if infinite(x):
            return plus if x > 0 else minus
        if x in special:
            return special[x]
        if ("<" in bounds and x < bounds["<"]) or (">" in bounds and x > bounds[">"]):
            return NAN
        return by_mpmath(name, float(x)) if name not in FORMULAS else formula(name, x)

    return function


def formula(name: str, *operands: Fraction) -> Number:
    """A function of :data:`FORMULAS`, as a Fraction where it is a multiple of 1/8."""
    if name in ("sinpi", "cospi", "tanpi"):
        operands = (operands[0] % 2,)
    value = FORMULAS[name](*(C.mpf(x.numerator) / x.denominator for x in operands))
    eighths = C.nint(8 * value)
    near = abs(8 * value - eighths) < C.mpf(2) ** -1200
    return Fraction(int(eighths), 8) if near else value


FORMULAS: dict[str, Callable[..., Any]] = {
    "sinpi": lambda x: C.sin(C.pi * x),
    "cospi": lambda x: C.cos(C.pi * x),
    "tanpi": lambda x: C.sin(C.pi * x) / C.cos(C.pi * x),
    "asinpi": lambda x: 2 * C.atan(x / (1 + C.sqrt((1 - x) * (1 + x)))) / C.pi,
    "acospi": lambda x: 2 * C.atan2(C.sqrt(1 - x), C.sqrt(1 + x)) / C.pi,
    "atanpi": lambda x: C.atan(x) / C.pi,
    "asinh": lambda x: C.sign(x) * C.log(abs(x) + C.sqrt(x * x + 1)),
    "acosh": lambda x: C.log(x + C.sqrt((x - 1) * (x + 1))),
    "atanh": lambda x: C.log((1 + x) / (1 - x)) / 2,
    "quotient": lambda y, x: C.atan(y / x),
}
PI = +C.pi


def tan_pi(x: Number) -> Number:
    if x is NAN or infinite(x) or x % 1 == Fraction(1, 2):
        return NAN
    return formula("tanpi", x)


def arc_tan_2(y: Number, x: Number) -> Number:
    """In the standard's order."""
    if x is NAN or y is NAN or (x == 0 and y == 0) or (infinite(x) and infinite(y)):
        return NAN
    if x == INF or (y == 0 and x > 0):
        return Fraction(0)
    if y == INF or (y > 0 and x == 0):
        return PI / 2
    if x == -INF or (y == 0 and x < 0):
        return PI
    if y == -INF or (y < 0 and x == 0):
        return -PI / 2
    turn = FORMULAS["quotient"](C.mpf(y.numerator) / y.denominator, C.mpf(x.numerator) / x.denominator)
    return turn if x > 0 else turn + PI if y > 0 else turn - PI


def arc_tan_2_pi(y: Number, x: Number) -> Number:
    angle = arc_tan_2(y, x)
    if angle is NAN or angle == 0:
        return angle
    value = angle / PI
    quarters = C.nint(4 * value)
    near = abs(4 * value - quarters) < C.mpf(2) ** -1200 and quarters != 0
    return Fraction(int(quarters), 4) if near else value


def softplus(x: Number) -> Number:
    if x is NAN or infinite(x):
        return NAN if x is NAN else INF if x > 0 else Fraction(0)
    return by_mpmath("softplus", float(x)) if x else C.log(2)


ZERO, ONE, HALF = Fraction(0), Fraction(1), Fraction(1, 2)
DOMAIN = {"<-1": NAN, ">1": NAN}
UNARY: dict[str, Callable[[Number], Number]] = {
    "Convert": lambda x: x,
    "Abs": lambda x: NAN if x is NAN else magnitude(x),
    "Negate": negate,
    "Sqrt": sqrt,
    "Recip": lambda x: divide(ONE, x),
    "RSqrt": rsqrt,
    "Exp": tabled("exp", ZERO, INF, {ZERO: ONE}),
    "Exp2": tabled("exp2", ZERO, INF, {ZERO: ONE}),
    "ExpMinusOne": tabled("expm1", -ONE, INF, {ZERO: ZERO}),
    "Log": tabled("log", NAN, INF, {ZERO: -INF, ONE: ZERO, "<0": NAN}),
    "Log2": tabled("log2", NAN, INF, {ZERO: -INF, ONE: ZERO, "<0": NAN}),
    "LogOnePlus": tabled("log1p", NAN, INF, {-ONE: -INF, ZERO: ZERO, "<-1": NAN}),
    "Softplus": softplus,
    "Sin": tabled("sin", NAN, NAN, {ZERO: ZERO}),
    "Cos": tabled("cos", NAN, NAN, {ZERO: ONE}),
    "Tan": tabled("tan", NAN, NAN, {ZERO: ZERO}),
    "SinPi": tabled("sinpi", NAN, NAN, {ZERO: ZERO}),
    "CosPi": tabled("cospi", NAN, NAN, {ZERO: ONE}),
    "TanPi": tan_pi,
    "ArcSin": tabled("asin", NAN, NAN, {ZERO: ZERO, **DOMAIN}),
    "ArcCos": tabled("acos", NAN, NAN, {ZERO: PI / 2, ONE: ZERO, **DOMAIN}),
    "ArcSinPi": tabled("asinpi", NAN, NAN, {ZERO: ZERO, ONE: HALF, -ONE: -HALF, **DOMAIN}),
    "ArcCosPi": tabled("acospi", NAN, NAN, {ZERO: HALF, ONE: ZERO, -ONE: ONE, **DOMAIN}),
    "ArcTan": tabled("atan", -PI / 2, PI / 2, {ZERO: ZERO}),
    "ArcTanPi": tabled("atanpi", -HALF, HALF, {ZERO: ZERO}),
    "Sinh": tabled("sinh", -INF, INF, {ZERO: ZERO}),
    "Cosh": tabled("cosh", INF, INF, {ZERO: ONE}),
    "Tanh": tabled("tanh", -ONE, ONE, {ZERO: ZERO}),
    "ArcSinh": tabled("asinh", -INF, INF, {ZERO: ZERO}),
    "ArcCosh": tabled("acosh", NAN, INF, {ONE: ZERO, "<1": NAN}),
    "ArcTanh": tabled("atanh", NAN, NAN, {ZERO: ZERO, ONE: INF, -ONE: -INF, **DOMAIN}),
}
BINARY: dict[str, Callable[[Number, Number], Number]] = {
    "Add": add,
    "Subtract": lambda x, y: add(x, negate(y)),
    "Multiply": multiply,
    "Divide": divide,
    "Hypot": hypot,
    "CopySign": copy_sign,
    "Minimum": minimum,
    "Maximum": maximum,
    "MinimumNumber": number(minimum),
    "MaximumNumber": number(maximum),
    "MinimumMagnitude": minimum_magnitude,
    "MaximumMagnitude": maximum_magnitude,
    "MinimumMagnitudeNumber": number(minimum_magnitude),
    "MaximumMagnitudeNumber": number(maximum_magnitude),
    "MinimumFinite": ranked(minimum),
    "MaximumFinite": ranked(maximum),
    "ArcTan2": arc_tan_2,
    "ArcTan2Pi": arc_tan_2_pi,
}
TERNARY: dict[str, Callable[[Number, Number, Number], Number]] = {"FMA": fma, "FAA": faa, "Clamp": clamp}
DEFINITIONS: dict[str, Callable[..., Number]] = {**UNARY, **BINARY, **TERNARY}


# Blocks ---------------------------------------------------------------------------------------------------------------


def block_decode(scale: Number, elements: Sequence[Number]) -> list[Number]:
    return [multiply(scale, x) for x in elements]


def scaled(name: str, *pairs: Number) -> Number:
    """A scaled operation on scale, element, scale, element ..."""
    operands = [multiply(s, x) for s, x in zip(pairs[::2], pairs[1::2])]
    return DEFINITIONS[name.removeprefix("Scaled")](*operands)


def over_scale(x: Number, scale: Number) -> Number:
    """What BlockProject projects: Z of X and S."""
    if scale is NAN or x is NAN:
        return NAN
    if scale == 0:
        return ZERO
    if infinite(scale):
        return Fraction(sign(x) * sign(scale))
    if isinstance(x, (Fraction, float)):
        return divide(x, scale)
    return x / (C.mpf(scale.numerator) / scale.denominator)


def fold(function: Callable[[Number, Number], Number], start: Number, terms: Sequence[Number]) -> Number:
    for term in terms:
        start = function(start, term)
    return start


# To the oracle --------------------------------------------------------------------------------------------------------


def placed(x: Number) -> float:
    """An exact result as a binary64 number rounded to odd; far beyond every range where it is far beyond."""
    if x is NAN or infinite(x):
        return math.nan if x is NAN else x
    if not isinstance(x, Fraction):
        negative, integer, exponent, _ = x._mpf_
        if integer and not -1070 < exponent + int(integer).bit_length() < 1000:
            size = 2.0 ** (1000 if exponent > 0 else -1070)
            return -size if negative else size
        x = Fraction(int(integer)) * Fraction(2) ** int(exponent) * (-1 if negative else 1)
    if x == 0:
        return 0.0
    size = abs(x)
    quantum = max(size.numerator.bit_length() - size.denominator.bit_length() - 53, -1074)
    if quantum > 900:
        return 2.0**953 * sign(x)
    scaled = size / Fraction(2) ** quantum
    floor = math.floor(scaled)
    odd = floor if floor == scaled else floor | 1
    if odd.bit_length() > 53:
        odd = odd >> 1 | (odd & 1)
        quantum += 1
    return math.ldexp(odd, quantum) * sign(x)


_KNOWN: dict[tuple[Any, ...], float] = {}


def results(name: str, *operands: Any) -> np.ndarray:
    """Exact results of an operation on arrays of floats, as :func:`placed` gives them."""
    columns = [np.asarray(x, np.float64).tolist() for x in operands]
    out = np.empty(len(columns[0]))
    for i, row in enumerate(zip(*columns)):
        key = (name, *(None if x != x else x for x in row))
        if key not in _KNOWN:
            _KNOWN[key] = placed(DEFINITIONS[name](*(exact(x) for x in row)))
        out[i] = _KNOWN[key]
    return out
