"""Arithmetic of P3109 v4.0 (4.10 to 4.16): conversion, signs, sums, products, quotients, roots."""

from __future__ import annotations

import numpy as np

from floatemu.arithmetic import add, div, fma, mul, sqrt, sub
from floatemu.functions import hypot, rsqrt
from floatemu.p3109_ops.engine import Array, Into, operation


@operation
def Convert(to: Into, x: Array) -> Array:
    """X itself, between any two formats.

    >>> Convert([232.0, -0.0, 1e-9], "binary8p4se", "NearestTiesToAway").tolist()
    [inf, 0.0, 0.0]
    """
    return to.of(x)


@operation
def Abs(to: Into, x: Array) -> Array:
    """|X|; infinity for either infinity.

    >>> Abs([-1.5, float("-inf")], "binary8p4se").tolist()
    [1.5, inf]
    """
    return to.of(abs(x))


@operation
def Negate(to: Into, x: Array) -> Array:
    """-X; 0 for 0.

    >>> Negate([0.0, 1.0], "binary8p4se").tolist(), Negate(1.0, "binary8p4ue")
    ([0.0, -1.0], np.float64(nan))
    """
    return to.of(-x)


@operation
def CopySign(to: Into, x: Array, y: Array) -> Array:
    """|X| where Y >= 0, else -|X|; NaN if either is.

    >>> CopySign([1.0, 1.0, 0.0], [-2.0, -0.0, -1.0], "binary8p4se").tolist()
    [-1.0, 1.0, 0.0]
    """
    return to.of(np.where(np.isnan(y), np.nan, np.where(y >= 0, abs(x), -abs(x))))


@operation
def Add(to: Into, x: Array, y: Array) -> Array:
    """X + Y; NaN for infinities of both signs.

    >>> Add([1.0, float("inf")], [0.0625, float("-inf")], "binary8p4se", "TowardPositive").tolist()
    [1.125, nan]
    """
    return to(add, x, y)


@operation
def Subtract(to: Into, x: Array, y: Array) -> Array:
    """X - Y; NaN for infinities of the same sign.

    >>> Subtract(1.0, 2.0, "binary8p4ue", "TowardZero").item()
    0.0
    """
    return to(sub, x, y)


@operation
def Multiply(to: Into, x: Array, y: Array) -> Array:
    """X Y; NaN for 0 times an infinity.

    >>> Multiply([-1.0, 0.0], [0.0, float("inf")], "binary8p4se").tolist()
    [0.0, nan]
    """
    return to(mul, x, y)


@operation
def Divide(to: Into, x: Array, y: Array) -> Array:
    """X / Y; NaN where Y = 0, whatever X is, and for two infinities.

    >>> Divide([1.0, float("inf"), 1.0], [0.0, 0.0, float("-inf")], "binary8p4se").tolist()
    [nan, nan, 0.0]
    """
    return to(div, np.where(y == 0, np.nan, x), y)


@operation
def Recip(to: Into, x: Array) -> Array:
    """1 / X; NaN for 0.

    >>> Recip([3.0, 0.0, float("inf")], "binary8p4se").tolist()
    [0.34375, nan, 0.0]
    """
    return to(div, np.where(x == 0, np.nan, 1.0), x)


@operation
def Sqrt(to: Into, x: Array) -> Array:
    """The square root of X; NaN below 0.

    >>> Sqrt([2.0, -1.0], "binary8p4se").tolist()
    [1.375, nan]
    """
    return to(sqrt, x)


@operation
def RSqrt(to: Into, x: Array) -> Array:
    """1 / sqrt(X); NaN for 0 and below.

    >>> RSqrt([4.0, 0.0, -1.0, float("inf")], "binary8p4se").tolist()
    [0.5, nan, nan, 0.0]
    """
    return to(rsqrt, np.where(x == 0, np.nan, x))


@operation
def FMA(to: Into, x: Array, y: Array, z: Array) -> Array:
    """X Y + Z, rounded once; NaN for 0 times an infinity, whatever Z is.

    >>> FMA(1.125, 1.125, -1.25, "binary8p4se").item()  # 9/8 * 9/8 rounds to 5/4
    0.015625
    """
    return to(fma, x, y, z)


@operation
def FAA(to: Into, x: Array, y: Array, z: Array) -> Array:
    """X + Y + Z, rounded once; NaN for infinities of both signs.

    >>> FAA(1.0, 0.0625, 0.0625, "binary8p4se").item()  # 1 + 1/16 is a tie that goes to 1
    1.125
    """
    with np.errstate(all="ignore"):
        first = x + y
        part = first - x
        error = (x - (first - part)) + (y - part)  # Knuth's two-sum; NaN where the sum is not finite
    plain = np.where(np.isfinite(x) & np.isfinite(y), error == 0, True)
    return to(add, first, z) if plain.all() else to.total(np.stack([x, y, z], axis=-1))


@operation
def Hypot(to: Into, x: Array, y: Array) -> Array:
    """sqrt(X^2 + Y^2); infinity if either is infinite, but NaN if either is NaN.

    >>> Hypot([3.0, float("inf")], [4.0, float("nan")], "binary8p4se").tolist()
    [5.0, nan]
    """
    unknown = np.isnan(x) | np.isnan(y)
    return to(hypot, np.where(unknown, np.nan, x), np.where(unknown, np.nan, y))
