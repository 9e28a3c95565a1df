"""Elementary functions of P3109 v4.0 (4.10 to 4.16): exponentials, logarithms, circular and hyperbolic functions.

Where the value is not finite or the argument lies outside of the domain, the standard's tables decide; elsewhere the
exact value is projected once. pi lies between two values of any format, so that pi / 2 for ArcTan(infinity) is rounded.
"""

from __future__ import annotations

import numpy as np

from floatemu import functions as ieee
from floatemu.p3109_ops.engine import Array, Into, operation


@operation
def Exp(to: Into, x: Array) -> Array:
    """e^X; 0 for minus infinity.

    >>> Exp([1.0, float("-inf")], "binary8p4se").tolist()
    [2.75, 0.0]
    """
    return to(ieee.exp, x)


@operation
def Exp2(to: Into, x: Array) -> Array:
    """2^X; 0 for minus infinity.

    >>> Exp2([-3.0, 0.5], "binary8p4se").tolist()
    [0.125, 1.375]
    """
    return to(ieee.exp2, x)


@operation
def ExpMinusOne(to: Into, x: Array) -> Array:
    """e^X - 1; -1 for minus infinity.

    >>> ExpMinusOne([-0.125, float("-inf")], "binary8p4se").tolist()
    [-0.1171875, -1.0]
    """
    return to(ieee.expm1, x)


@operation
def Log(to: Into, x: Array) -> Array:
    """The natural logarithm of X; minus infinity for 0, NaN below.

    >>> Log([0.0, 1.0, -1.0], "binary8p4se").tolist(), Log(0.0, "binary8p4sf").item()
    ([-inf, 0.0, nan], -240.0)
    """
    return to(ieee.log, x)


@operation
def Log2(to: Into, x: Array) -> Array:
    """The binary logarithm of X; minus infinity for 0, NaN below.

    >>> Log2([8.0, 0.0], "binary8p4se", saturation="SatFinite").tolist()
    [3.0, -224.0]
    """
    return to(ieee.log2, x)


@operation
def LogOnePlus(to: Into, x: Array) -> Array:
    """ln(1 + X); minus infinity for -1, NaN below.

    >>> LogOnePlus([-1.0, 1.0, -2.0], "binary8p4se").tolist()
    [-inf, 0.6875, nan]
    """
    return to(ieee.log1p, x)


@operation
def Softplus(to: Into, x: Array) -> Array:
    """ln(1 + e^X); 0 for minus infinity.

    >>> Softplus([0.0, float("-inf")], "binary8p4se").tolist()
    [0.6875, 0.0]
    """
    return to(ieee.softplus, x)


@operation
def Sin(to: Into, x: Array) -> Array:
    """The sine of X radians; NaN for infinities.

    >>> Sin([224.0, float("inf")], "binary8p4se").tolist()
    [-0.8125, nan]
    """
    return to(ieee.sin, x)


@operation
def Cos(to: Into, x: Array) -> Array:
    """The cosine of X radians; NaN for infinities.

    >>> Cos([0.0, 1.0], "binary8p4se").tolist()
    [1.0, 0.5625]
    """
    return to(ieee.cos, x)


@operation
def Tan(to: Into, x: Array) -> Array:
    """The tangent of X radians; NaN for infinities.

    >>> Tan([1.0, float("inf")], "binary8p4se").tolist()
    [1.5, nan]
    """
    return to(ieee.tan, x)


@operation
def SinPi(to: Into, x: Array) -> Array:
    """The sine of pi X; NaN for infinities.

    >>> SinPi([0.25, 1.5, 224.0], "binary8p4se").tolist()
    [0.6875, -1.0, 0.0]
    """
    return to.function("sinpi", x, where=np.isfinite(x), otherwise=np.nan)


@operation
def CosPi(to: Into, x: Array) -> Array:
    """The cosine of pi X; NaN for infinities.

    >>> CosPi([0.25, 1.5, 1.0], "binary8p4se").tolist()
    [0.6875, 0.0, -1.0]
    """
    return to.function("cospi", x, where=np.isfinite(x), otherwise=np.nan)


@operation
def TanPi(to: Into, x: Array) -> Array:
    """The tangent of pi X; NaN for infinities and where X is an integer and a half.

    >>> TanPi([0.25, 0.5, 0.125], "binary8p4se").tolist()
    [1.0, nan, 0.40625]
    """
    finite = np.where(np.isfinite(x), x, 0.5)
    return to.function("tanpi", x, where=np.fmod(abs(finite), 1) != 0.5, otherwise=np.nan)


@operation
def ArcSin(to: Into, x: Array) -> Array:
    """The arc sine of X; NaN for |X| > 1.

    >>> ArcSin([1.0, 2.0], "binary8p4se").tolist()
    [1.625, nan]
    """
    return to(ieee.asin, x)


@operation
def ArcCos(to: Into, x: Array) -> Array:
    """The arc cosine of X; NaN for |X| > 1.

    >>> ArcCos([1.0, -1.0], "binary8p4se").tolist()
    [0.0, 3.25]
    """
    return to(ieee.acos, x)


@operation
def ArcTan(to: Into, x: Array) -> Array:
    """The arc tangent of X; pi / 2 with the sign for infinities.

    >>> ArcTan([1.0, float("-inf")], "binary8p4se").tolist()
    [0.8125, -1.625]
    """
    return to(ieee.atan, x)


@operation
def ArcSinPi(to: Into, x: Array) -> Array:
    """The arc sine of X divided by pi; NaN for |X| > 1.

    >>> ArcSinPi([1.0, -0.5, 2.0], "binary8p4se").tolist()
    [0.5, -0.171875, nan]
    """
    return to.function("asinpi", x, where=abs(x) <= 1, otherwise=np.nan)


@operation
def ArcCosPi(to: Into, x: Array) -> Array:
    """The arc cosine of X divided by pi; NaN for |X| > 1.

    >>> ArcCosPi([1.0, 0.0, -1.0], "binary8p4se").tolist()
    [0.0, 0.5, 1.0]
    """
    return to.function("acospi", x, where=abs(x) <= 1, otherwise=np.nan)


@operation
def ArcTanPi(to: Into, x: Array) -> Array:
    """The arc tangent of X divided by pi; 1/2 with the sign for infinities.

    >>> ArcTanPi([1.0, float("-inf")], "binary8p4se").tolist()
    [0.25, -0.5]
    """
    ends = np.where(np.isnan(x), np.nan, np.copysign(0.5, x))
    return to.function("atanpi", x, where=np.isfinite(x), otherwise=ends)


def _angle(to: Into, name: str, y: Array, x: Array) -> Array:
    """The angle of (X, Y); a point at infinity on an axis counts as the point at 1 on it."""
    far_x, far_y = np.isinf(x), np.isinf(y)
    known = ~(np.isnan(x) | np.isnan(y) | ((x == 0) & (y == 0)) | (far_x & far_y))
    across = np.where(far_x, np.copysign(1.0, x), np.where(far_y, 0.0, x))
    along = np.where(far_y, np.copysign(1.0, y), np.where(far_x, 0.0, y))
    # The angle is that of the point times a power of two: far fewer of them are distinct.
    (_, step), (_, other) = np.frexp(across), np.frexp(along)
    exact = known & (across != 0) & (abs(step) < 500) & (abs(other) < 500)
    step = np.where(exact, -step, 0)
    across, along = np.ldexp(np.where(known, across, 0.0), step), np.ldexp(np.where(known, along, 0.0), step)
    return to.function(name, along, across, where=known, otherwise=np.nan)


@operation
def ArcTan2(to: Into, y: Array, x: Array) -> Array:
    """The angle of the point (X, Y) in radians; NaN for (0, 0) and for two infinities; pi for X = -infinity.

    >>> ArcTan2([1.0, -1.0, 0.0], [1.0, float("-inf"), 0.0], "binary8p4se").tolist()
    [0.8125, 3.25, nan]
    """
    return _angle(to, "atan2", y, x)


@operation
def ArcTan2Pi(to: Into, y: Array, x: Array) -> Array:
    """The angle of the point (X, Y) divided by pi; NaN for (0, 0) and for two infinities; 1 for X = -infinity.

    >>> ArcTan2Pi([1.0, -1.0, 1.0], [1.0, float("-inf"), 0.0], "binary8p4se").tolist()
    [0.25, 1.0, 0.5]
    """
    return _angle(to, "atan2pi", y, x)


@operation
def Sinh(to: Into, x: Array) -> Array:
    """The hyperbolic sine of X.

    >>> Sinh([1.0, float("-inf")], "binary8p4se").tolist()
    [1.125, -inf]
    """
    return to(ieee.sinh, x)


@operation
def Cosh(to: Into, x: Array) -> Array:
    """The hyperbolic cosine of X.

    >>> Cosh([1.0, float("-inf")], "binary8p4se").tolist()
    [1.5, inf]
    """
    return to(ieee.cosh, x)


@operation
def Tanh(to: Into, x: Array) -> Array:
    """The hyperbolic tangent of X; 1 with the sign for infinities.

    >>> Tanh([4.0, float("-inf")], "binary8p4se", "TowardZero").tolist()
    [0.9375, -1.0]
    """
    return to(ieee.tanh, x)


@operation
def ArcSinh(to: Into, x: Array) -> Array:
    """The inverse hyperbolic sine of X.

    >>> ArcSinh([1.0, float("-inf")], "binary8p4se").tolist()
    [0.875, -inf]
    """
    return to.function("asinh", x, where=np.isfinite(x), otherwise=x)


@operation
def ArcCosh(to: Into, x: Array) -> Array:
    """The inverse hyperbolic cosine of X; NaN for X < 1.

    >>> ArcCosh([1.0, 2.0, 0.5], "binary8p4se").tolist()
    [0.0, 1.375, nan]
    """
    return to.function("acosh", x, where=(x >= 1) & np.isfinite(x), otherwise=np.where(x > 1, x, np.nan))


@operation
def ArcTanh(to: Into, x: Array) -> Array:
    """The inverse hyperbolic tangent of X; infinity with the sign for 1 and -1, NaN for |X| > 1.

    >>> ArcTanh([0.5, -1.0, 2.0], "binary8p4se").tolist()
    [0.5625, -inf, nan]
    """
    poles = np.where(abs(x) == 1, np.copysign(np.inf, x), np.nan)
    return to.function("atanh", x, where=abs(x) < 1, otherwise=poles)
