"""An oracle for operations: IEEE 754-2019, 5.3, 5.4 and 9.6, on data of floatemu.reference, as exact rationals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from summation import negated, product_of, root_of, sum_of

from floatemu.projection import Rounding
from floatemu.reference import DIVIDE_BY_ZERO, INVALID, NAN, NAN_BORN, Datum, infinity

ARITY = dict.fromkeys(("add", "sub", "mul", "div", "remainder"), 2)
ARITY |= dict.fromkeys(("minimum", "maximum", "minimumNumber", "maximumNumber"), 2)
ARITY |= {"sqrt": 1, "fma": 3}


def quotient_of(x: Datum, y: Datum) -> Datum:
    """x / y with IEEE 754's special cases."""
    negative = x.negative != y.negative
    if NAN in (x, y) or (x.kind == y.kind and (x.kind == "infinite" or x.magnitude == y.magnitude == 0)):
        return NAN
    if x.kind == "infinite":
        return infinity(negative)
    if y.kind == "infinite":
        return Datum(Fraction(0), negative)
    return infinity(negative) if y.magnitude == 0 else Datum(x.magnitude / y.magnitude, negative)


def remainder_of(x: Datum, y: Datum) -> Datum:
    """x - y n, n the integer nearest x / y, ties to even; a zero has the sign of x."""
    if NAN in (x, y) or x.kind == "infinite" or (y.kind == "finite" and y.magnitude == 0):
        return NAN
    if y.kind == "infinite":
        return x
    left = x.value - y.value * round(x.value / y.value)
    return Datum(abs(left), left < 0 if left else x.negative)


def chosen(x: Datum, y: Datum, largest: bool, number: bool) -> Datum:
    """The larger or smaller one, -0 below +0; NaN if one is, or with ``number`` the other one."""
    if NAN in (x, y):
        return (y if x == NAN else x) if number else NAN

    def place(v: Datum) -> tuple[int, Fraction, bool]:
        return (0 if v.kind == "finite" else -1 if v.negative else 1, v.value if v.kind == "finite" else Fraction(0),
                not v.negative)  # fmt: skip

    return sorted((x, y), key=place)[largest]


def operate(name: str, x: Sequence[Datum], mode: Rounding) -> tuple[Datum, int]:
    """The exact result, and the flags that the operation raises before anything is rounded."""
    down = mode is Rounding.TOWARD_NEGATIVE
    match name:
        case "add":
            result = sum_of(x, down)
        case "sub":
            result = sum_of((x[0], negated(x[1])), down)
        case "mul":
            result = product_of(*x)
        case "fma":
            result = sum_of((product_of(*x[:2]), x[2]), down)
        case "div":
            result = quotient_of(*x)
        case "sqrt":
            result = root_of(x[0])
        case "remainder":
            result = remainder_of(*x)
        case _:
            result = chosen(x[0], x[1], name.startswith("max"), name.endswith("Number"))
    if name == "div" and result.kind == "infinite" and x[0].kind == "finite":
        return result, DIVIDE_BY_ZERO
    # (inf, 0, NaN) leaves invalid to the implementation (7.2 c); here a NaN operand raises nothing.
    return result, INVALID | NAN_BORN if result == NAN and NAN not in x else 0
