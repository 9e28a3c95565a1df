"""exp, log, tanh and erf in binary64 from + - * / and powers of two alone.

numpy's own exp and tanh take other code paths on other processors and differ in the last bit; results that are
asserted or compared bit for bit cannot rest on them. IEEE 754 fixes + - * / everywhere, so what is built from
these gives the same bits everywhere. Errors stay below 2 ulp for exp, log and tanh, 8 ulp for erf and 4 ulp for
its slope (measured against mpmath in the tests).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["erf", "erf_slope", "exp", "log", "tanh"]

Floats = npt.NDArray[np.float64]

# ln 2 = LN2_HIGH + LN2_LOW; the high part has 32 significant bits, so that k * LN2_HIGH is exact for |k| < 2^21.
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_EXP_TERMS = 14


def _exp_reduced(high: Floats, low: Floats) -> Floats:
    # e^(high - low), |high - low| <= ln(2)/2. Taylor: the first term left out, r^14/14!, is below 2^-57. What
    # rounding takes from r and from 1 + r is added back, so that the last addition is the only error that counts.
    r = high - low
    lost = (high - r) - low
    total = np.full_like(r, 1.0 / math.factorial(_EXP_TERMS - 1))
    for n in range(_EXP_TERMS - 2, 1, -1):
        total = total * r + 1.0 / math.factorial(n)
    one_r = 1.0 + r
    return one_r + ((r - (one_r - 1.0)) + (r * r * total + lost))


def exp(x: Floats) -> Floats:
    """Return e^x.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    ndarray of float64
        Below 2 ulp from e^x; exactly 1 at 0, 0 at minus infinity.

    Examples
    --------
    >>> import numpy as np
    >>> exp(np.array([0.0, 1.0, -np.inf])).tolist()
    [1.0, 2.718281828459045, 0.0]
    """
    x = np.asarray(x, dtype=np.float64)
    clipped = np.clip(x, -800.0, 800.0)  # beyond, the result is 0 or infinite anyway; NaN passes np.clip
    safe = np.where(np.isnan(x), 0.0, clipped)
    k = np.rint(safe * 1.4426950408889634)
    reduced = _exp_reduced(safe - k * LN2_HIGH, k * LN2_LOW)
    with np.errstate(over="ignore", under="ignore"):
        # two steps, so that neither power of two leaves the range before the product does
        half = np.floor(k * 0.5).astype(np.int64)
        rest = k.astype(np.int64) - half
        result: Floats = np.ldexp(np.ldexp(reduced, half), rest)
    return np.where(np.isnan(x), x, result)


def log(x: Floats) -> Floats:
    """Return the natural logarithm.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    ndarray of float64
        Below 2 ulp from ln x; minus infinity at 0, NaN for negative x.

    Notes
    -----
    x = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1 (exact), s = f/(2 + f):
    ln m = f - (f^2/2 - s (f^2/2 + R)), R = sum over n >= 1 of 2 s^(2n)/(2n + 1) (the arrangement of fdlibm).

    Examples
    --------
    >>> import numpy as np
    >>> log(np.array([1.0, 10.0, 0.0])).tolist()
    [0.0, 2.302585092994046, -inf]
    """
    x = np.asarray(x, dtype=np.float64)
    regular = (x > 0) & np.isfinite(x)
    m, k = np.frexp(np.where(regular, x, 1.0))
    small = m < math.sqrt(0.5)
    m, exponent = np.where(small, 2.0 * m, m), (k - small).astype(np.float64)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = np.zeros_like(z)
    for n in range(11, 0, -1):  # z <= 0.0295: the first term left out is below 2^-60
        series = z * (2.0 / (2 * n + 1) + series)
    square = 0.5 * f * f
    result = exponent * LN2_HIGH - ((square - (s * (square + series) + exponent * LN2_LOW)) - f)
    special = np.where(x == 0, -np.inf, np.where(x > 0, x, np.nan))
    return np.where(regular, result, special)


def tanh(x: Floats) -> Floats:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    ndarray of float64
        Below 2 ulp from tanh x; odd, and x itself for tiny x.

    Notes
    -----
    |x| <= 0.55: Lambert's continued fraction x/(1 + x^2/(3 + x^2/(5 + ...))); above: 1 - 2/(e^(2|x|) + 1).

    Examples
    --------
    >>> import numpy as np
    >>> tanh(np.array([-0.5, 0.0, 1e-300, 30.0])).tolist()
    [-0.46211715726000974, 0.0, 1e-300, 1.0]
    """
    x = np.asarray(x, dtype=np.float64)
    magnitude = np.minimum(np.abs(x), 30.0)  # tanh(30) is 1 to 86 bits; keeps e^(2x) finite
    near = np.where(magnitude <= 0.55, magnitude, 0.0)
    with np.errstate(under="ignore"):
        square = near * near
        tail = np.full_like(square, 17.0)
        for odd in range(15, 0, -2):
            tail = odd + square / tail
        low = near / tail
    high = 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0)
    return np.copysign(np.where(magnitude <= 0.55, low, high), x)


def _gauss(x: Floats) -> Floats:
    # e^(-x^2) for 0 <= x <= 32. x^2 rounded would cost x^2 ulp: x is split so that its high part's square is exact
    high = np.rint(x * 2.0**20) * 2.0**-20
    return exp(-high * high) * exp(-(x - high) * (x + high))


def erf_slope(x: Floats) -> Floats:
    """Return the derivative of the error function, 2/sqrt(pi) e^(-x^2).

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    ndarray of float64
        Below 4 ulp from the exact value where that is a normal number.

    Examples
    --------
    >>> import numpy as np
    >>> erf_slope(np.array([0.0, 40.0])).tolist()
    [1.1283791670955126, 0.0]
    """
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(under="ignore"):
        return (2.0 / math.sqrt(math.pi)) * _gauss(np.minimum(np.abs(x), 32.0))


def erf(x: Floats) -> Floats:
    """Return the error function.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    ndarray of float64
        Below 8 ulp from erf x; odd.

    Notes
    -----
    |x| < 2: 2/sqrt(pi) e^(-x^2) sum over n of 2^n x^(2n+1)/(2n+1)!!, all terms positive (Abramowitz and Stegun
    7.1.6); above: 1 - erfc by the continued fraction 7.1.14.

    Examples
    --------
    >>> import numpy as np
    >>> erf(np.array([-1.0, 0.0, 7.0])).tolist()
    [-0.8427007929497149, 0.0, 1.0]
    """
    x = np.asarray(x, dtype=np.float64)
    magnitude = np.minimum(np.abs(x), 7.0)
    gauss = _gauss(magnitude)
    near = np.where(magnitude < 2.0, magnitude, 0.0)
    with np.errstate(under="ignore"):
        square = near * near
        series = np.ones_like(square)
        for n in range(40, 0, -1):  # x^2 <= 4: term 41 is below 2^-60 of the sum
            series = 1.0 + series * (2.0 * square / (2 * n + 1))
        low = (2.0 / math.sqrt(math.pi)) * near * series * gauss
    far = np.maximum(magnitude, 2.0)
    fraction = far
    for n in range(60, 0, -1):
        fraction = far + (0.5 * n) / fraction
    upper = 1.0 - gauss / (fraction * math.sqrt(math.pi))
    return np.copysign(np.where(magnitude < 2.0, low, upper), x)
