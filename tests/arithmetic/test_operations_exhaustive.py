"""Every pair of codes of every named format of at most 8 bits, for every operation, against the breakpoint oracle.

The oracle needs the exact result, or a binary64 number on the same side of every breakpoint. Products and
(but for e8m0fnu) sums of such values are exact in binary64. A quotient x/y of values with at most 5-bit
significands that is no breakpoint b has |x - b y| >= one unit of the product's last place: it is further from
b than 2^-20 of it, and the rounded binary64 quotient is on its side of b.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracles
import pytest
from oracles import DETERMINISTIC, SATURATIONS, SMALL, STOCHASTIC, Draw, assert_bits

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


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (fe.add, np.add),
    "sub": (fe.sub, np.subtract),
    "mul": (fe.mul, np.multiply),
    "div": (fe.div, np.divide),
    "remainder": (fe.remainder, remainder),
    "minimum": (fe.minimum, extreme(np.minimum, -0.0)),
    "maximum": (fe.maximum, extreme(np.maximum, 0.0)),
    "minimumNumber": (fe.minimumNumber, extreme(np.fmin, -0.0)),
    "maximumNumber": (fe.maximumNumber, extreme(np.fmax, 0.0)),
}


def pairs(fmt: fe.Format) -> tuple[np.ndarray, np.ndarray]:
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


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_pair_of_codes(fmt: fe.Format, name: str) -> None:
    x, y = pairs(fmt)
    if fmt.name == "e8m0fnu" and name in ("add", "sub"):
        near = np.abs(np.log2(x) - np.log2(y)) < 50  # where binary64 holds the sum; NaNs drop out too
        x, y = x[near], y[near]
    for draw in DRAWS:
        result = exact(name, x, y, draw.rounding)
        extra = born(name, x, y, result, fmt)
        placed = oracles.Projected(result, fmt, draw)
        for saturation in SATURATIONS if not draw.n else SATURATIONS[:1]:
            nan = None if fmt.has_nan else "max"
            right = placed.at(saturation, nan)
            arguments = oracles.call(draw, saturation) | {"nan": nan, "dtype": np.float64}
            what = f"{name} in {fmt.name} {draw} {saturation.name}"
            values, flags = OPERATIONS[name][0](x, y, fmt, flags=True, **arguments)
            assert_bits(values, right.values, x, what)
            assert_bits(flags, right.flags | extra, x, f"flags of {what}")
            assert_bits(OPERATIONS[name][0](x, y, fmt, **arguments), right.values, x, what)


@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_root(fmt: fe.Format) -> None:
    """The binary64 root of a value that is no square is irrational: no breakpoint is nearer than 2^-12 of it."""
    x = fe.values(fmt)
    with np.errstate(invalid="ignore"):
        result = np.sqrt(x)
    extra = np.where(x < 0, BORN if fmt.has_nan else REPLACED, 0).astype(np.uint8)
    for draw in DRAWS:
        for saturation in SATURATIONS:
            nan = None if fmt.has_nan else "zero"
            right = oracles.Projected(result, fmt, draw).at(saturation, nan)
            arguments = oracles.call(draw, saturation) | {"nan": nan, "dtype": np.float64}
            values, flags = fe.sqrt(x, fmt, flags=True, **arguments)
            assert_bits(values, right.values, x, f"sqrt in {fmt.name} {draw}")
            assert_bits(flags, right.flags | extra, x, f"flags of sqrt in {fmt.name} {draw}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_sample_of_cross_format_pairs(name: str) -> None:
    """A seeded 2 % of the pairs of operands from two formats, into a third."""
    generator = np.random.Generator(np.random.PCG64(3))
    formats = [fmt for fmt in SMALL if fmt.name != "e8m0fnu"]
    for first in formats:
        for second in formats:
            x, y = fe.values(first), fe.values(second)
            count = x.size * y.size // 50
            x, y = generator.choice(x, count), generator.choice(y, count)
            target = formats[int(generator.integers(len(formats)))]
            draw = DRAWS[int(generator.integers(len(DRAWS)))]
            saturation = SATURATIONS[int(generator.integers(3))]
            nan = None if target.has_nan else "max"
            result = exact(name, x, y, draw.rounding)
            right = oracles.Projected(result, target, draw).at(saturation, nan)
            arguments = oracles.call(draw, saturation) | {"nan": nan, "dtype": np.float64}
            values, flags = OPERATIONS[name][0](x, y, target, flags=True, **arguments)
            what = f"{name} of {first.name} and {second.name} in {target.name} {draw} {saturation.name}"
            assert_bits(values, right.values, x, what)
            assert_bits(flags, right.flags | born(name, x, y, result, target), x, f"flags of {what}")
