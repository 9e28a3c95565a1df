"""Operands where arithmetic errs, made of a few integers so that they cost little to draw and shrink well.

Ties and their neighbours in the target format, raw bits, subnormal numbers, the ends of both ranges, operands wider
than the target, huge gaps, cancellation; and operands solved for: y such that x + y, x * y, ... is such a tie.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import floatemu as fe

POOL = [
    *(fe.get_format(n) for n in ("binary16", "bfloat16", "tf32", "binary32", "binary64", "e5m2", "e4m3fn", "e4m3fnuz")),
    *(fe.get_format(n) for n in ("e2m1fn", "e2m3fn", "e8m0fnu", "binary8p3se", "binary8p1uf", "binary8p4ue")),
    *(fe.Format(f"p{p}", k=p + 9, p=p, high_nans=2 ** (p - 1) - 1) for p in (2, 3, 23, 25, 26, 27)),
    fe.Format("p52", k=63, p=52, high_nans=2**51 - 1),
    fe.Format("p53", k=60, p=53, high_nans=1),
    fe.Format("flush", k=16, p=8, subnormals=False, high_nans=2**7 - 1),
    fe.Format("low", k=30, p=20, bias=1074 - 20),
    fe.Format("high", k=30, p=20, bias=2**10 - 1 - 1023),
]
"""Every named kind, the precisions on either side of a carrier's, and formats at the ends of binary64."""

SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 1.7976931348623157e308, 2.0**-1022, 1.0)
KINDS = ("bits64", "bits32", "code", "near", "near", "tie", "edge", "special", "integer", "binade")

Word = tuple[int, int, int, bool]
"""Kind, 64 bits, a count below 80, and the sign."""


def between(fmt: fe.Format, code: int, nu: Fraction) -> Fraction:
    """The number nu of the way from the value of a non-negative code to the next value."""
    significand, quantum = fmt.scaled(code)
    if fmt.zero and code < 2**fmt.trailing_bits:
        quantum = fmt.qmin
    return (significand + nu) * Fraction(2) ** quantum


def number(word: Word, fmt: fe.Format) -> Any:
    """A float, or a Fraction or int where binary64 cannot hold what is meant."""
    kind, bits, count, negative = word
    match KINDS[kind]:
        case "bits64":
            return struct.unpack("<d", struct.pack("<Q", bits))[0]
        case "bits32":
            return struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0]
        case "special":
            return SPECIAL[bits % len(SPECIAL)]
        case "integer":
            return (bits << count % 16) * (-1 if negative else 1)
        case "binade":
            return math.ldexp(1 + (bits & 3) * 2.0 ** -(count % 52 + 1), bits % 2098 - 1074) * (-1 if negative else 1)
        case "edge":
            near = (0, 1, 2**fmt.trailing_bits - 1, 2**fmt.trailing_bits, fmt.max_code - 1, fmt.max_code)
            code = min(max(near[bits % 6], 0), fmt.max_code)
        case _:
            code = bits % (fmt.max_code + 1)
    nu = {"code": Fraction(0), "tie": Fraction(1, 2)}.get(KINDS[kind], Fraction(bits >> 8 & 7, 8))
    if KINDS[kind] in ("near", "edge"):
        nu += ((bits >> 11) % 3 - 1) * Fraction(1, 2 ** (count + 1))
    exact = between(fmt, code, nu) * (-1 if negative else 1)
    return rounded(exact) if count % 4 else exact


def rounded(x: Fraction) -> Any:
    """x as binary64 has it, if its range has."""
    try:
        return float(x)
    except OverflowError:
        return x


def real(word: Word, fmt: fe.Format) -> float:
    """The number as a float, infinite beyond binary64's range."""
    x = number(word, fmt)
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def finite(x: Any) -> bool:
    """Whether x is finite; math.isfinite would refuse Fractions beyond binary64."""
    return isinstance(x, (int, Fraction)) or math.isfinite(x)


def solved(name: str, x: Sequence[Any], target: Any) -> list[Any]:
    """The operands, the last so changed that the exact result is ``target``; as they are if there is no such."""
    if not all(map(finite, (*x, target))):
        return list(x)
    goal, *exact = (Fraction(v) for v in (target, *x))
    if name == "sqrt":
        return [goal * goal]
    first, second = exact[0], exact[1]
    match name:
        case "add":
            return [x[0], goal - first]
        case "sub":
            return [x[0], first - goal]
        case "mul" if first:
            return [x[0], goal / first]
        case "div" if second:
            return [goal * second, x[1]]
        case "fma":
            return [x[0], x[1], goal - first * second]
        case "remainder" if second:
            return [goal + 3 * second, x[1]]
    return list(x)


def related(name: str, x: Sequence[Any], target: Any, relation: int, fmt: fe.Format) -> list[Any]:
    """Operands that are independent, that nearly cancel, or that are solved for, exactly or as binary64 has them."""
    if relation < 3:
        return list(x)
    if relation == 3 and len(x) > 1 and finite(x[0]):
        away = Fraction(x[0]) * (1 + Fraction(fmt.p % 3, 2**52))
        return [x[0], rounded(-away) if name in ("add", "fma") else rounded(away), *x[2:]]
    found = solved(name, x, target)
    return found if relation == 4 else [rounded(v) if isinstance(v, Fraction) else v for v in found]
