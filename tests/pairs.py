"""Pairs of values of small formats, their exact results in binary64, and the judgement by the breakpoint oracle.

The oracle needs the exact result, or a binary64 number on the same side of every breakpoint. Products of such values
are exact in binary64. A sum that is not is rounded to odd: breakpoints have far fewer bits than 52. A quotient x / y
of values with at most 8-bit significands that is no breakpoint b (at most p + N + 1 <= 12 bits) has |x - b y| >= one
unit of the product's last place: it is further from b than 2^-21 of it, and so the rounded quotient is on its side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracles
from oracles import DETERMINISTIC, STOCHASTIC, Draw, assert_bits

import floatemu as fe

BORN = int(fe.Flag.INVALID | fe.Flag.NAN_BORN)
REPLACED = int(fe.Flag.INVALID)
DRAWS = [Draw(mode) for mode in DETERMINISTIC] + [Draw(mode, 2, r) for mode in STOCHASTIC for r in range(4)]


@np.vectorize
def remainder(x: float, y: float) -> float:
    """The C library's remainder, which is exact; NaN where it is not defined."""
    if math.isnan(x) or math.isnan(y) or math.isinf(x) or y == 0:
        return math.nan
    return math.remainder(x, y)


def extreme(choose: Callable[..., Any], zero: float) -> Callable[..., Any]:
    """numpy's choice, with the zero of that sign where both are zeros of different signs."""

    def function(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        differ = (x == 0) & (y == 0) & (np.signbit(x) != np.signbit(y))
        return np.where(differ, zero, choose(x, y))

    return function


def odd_sum(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y in binary64, rounded to odd where it is not exact (Knuth's error of the sum says where)."""
    total = x + y
    part = total - x
    error = (x - (total - part)) + (y - part)
    even = total.view(np.uint64) % 2 == 0
    return np.where(np.isfinite(error) & (error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (fe.add, odd_sum),
    "sub": (fe.sub, lambda x, y: odd_sum(x, -y)),
    "mul": (fe.mul, np.multiply),
    "div": (fe.div, np.divide),
    "remainder": (fe.remainder, remainder),
    "minimum": (fe.minimum, extreme(np.minimum, -0.0)),
    "maximum": (fe.maximum, extreme(np.maximum, 0.0)),
    "minimumNumber": (fe.minimumNumber, extreme(np.fmin, -0.0)),
    "maximumNumber": (fe.maximumNumber, extreme(np.fmax, 0.0)),
}


def pairs(fmt: fe.Format) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of values of a format."""
    values = fe.values(fmt)
    return np.repeat(values, values.size), np.tile(values, values.size)


def exact(name: str, x: np.ndarray, y: np.ndarray, mode: fe.Rounding) -> np.ndarray:
    """The result in binary64, with the zero that IEEE 754-2019, 6.3 asks for."""
    with np.errstate(all="ignore"):
        result = np.asarray(OPERATIONS[name][1](x, y))
    if name in ("add", "sub") and mode is fe.Rounding.TOWARD_NEGATIVE:
        second = y if name == "add" else -y
        both_positive = ~np.signbit(x) & ~np.signbit(second)
        result = np.where((result == 0) & ~both_positive, -0.0, result)
    return result


def born(name: str, x: np.ndarray, y: np.ndarray, result: np.ndarray, fmt: fe.Format) -> np.ndarray:
    """Flags that the operation itself raises; a NaN that is replaced is not born."""
    flags = np.where(np.isnan(result) & ~np.isnan(x) & ~np.isnan(y), BORN if fmt.has_nan else REPLACED, 0)
    if name == "div":
        flags[(y == 0) & (x != 0) & np.isfinite(x)] = int(fe.Flag.DIVIDE_BY_ZERO)
    return flags.astype(np.uint8)


def judge(name: str, x: np.ndarray, y: np.ndarray, fmt: fe.Format, draw: Draw, saturations: Any) -> None:
    """Compare the values and flags of one operation into one format by one mode, and the values without flags."""
    result = exact(name, x, y, draw.rounding)
    extra = born(name, x, y, result, fmt)
    placed = oracles.Projected(result, fmt, draw)
    for saturation in saturations:
        nan = None if fmt.has_nan else "max"
        right = placed.at(saturation, nan)
        arguments = oracles.call(draw, saturation) | {"nan": nan, "dtype": np.float64}
        what = f"{name} in {fmt.name} {draw} {saturation.name}"
        values, flags = OPERATIONS[name][0](x, y, fmt, flags=True, **arguments)
        assert_bits(values, right.values, x, what)
        assert_bits(flags, right.flags | extra, x, f"flags of {what}")
        assert_bits(OPERATIONS[name][0](x, y, fmt, **arguments), right.values, x, what)
