"""exp, log, tanh, erf, sin and cos in binary64 from + - * / and powers of two alone.

numpy's own exp and tanh take other code paths on other processors and differ in the last bit; results that are
asserted or compared bit for bit cannot rest on them. IEEE 754 fixes + - * / everywhere, so what is built from
these gives the same bits everywhere. Errors stay below 1 ulp for sin and cos, 2 ulp for exp, log and tanh, 3 ulp for
erf and 4 ulp for its slope (measured against mpmath in the tests).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from mpmath.ctx_mp import MPContext

__all__ = ["cos", "erf", "erf_slope", "exp", "log", "sin", "tanh"]

Floats = npt.NDArray[np.float64]

# ln 2 = LN2_HIGH + LN2_LOW; the high part has 32 significant bits, so that k * LN2_HIGH is exact for |k| < 2^21.
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_EXP_TERMS = 14
# pi/2 in four parts of 33 bits each: k times a part is exact for |k| < 2^20, and what is left out is below 2^-136.
HALF_PI = tuple(
    float.fromhex(part) for part in ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e0p-69", "0x1.b839a252p-104")
)
_FAR = 2.0**20
# 2/sqrt(pi) = _ERF_FIRST + _ERF_REST to 106 bits, and the later coefficients of erf's series, (-1)^n 2/sqrt(pi) /
# (n! (2n + 1)). The first term left out, of n = 32, is below 2^-83 at 3/2.
_ERF_CUT = 1.5
_ERF_FIRST, _ERF_REST = float.fromhex("0x1.20dd750429b6dp+0"), float.fromhex("0x1.1ae3a914fed80p-56")
_ERF_TERMS = tuple((-1) ** n * _ERF_FIRST / (math.factorial(n) * (2 * n + 1)) for n in range(1, 32))


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
        Below 3 ulp from erf x; odd.

    Notes
    -----
    |x| < 3/2: Maclaurin's series (Abramowitz and Stegun 7.1.5), whose terms cancel by less than four there, with
    its first coefficient to twice the precision; above: 1 - erfc by the continued fraction 7.1.14, where erfc,
    below 0.034, makes little of its own error.

    Examples
    --------
    >>> import numpy as np
    >>> erf(np.array([-1.0, 0.0, 7.0])).tolist()
    [-0.8427007929497148, 0.0, 1.0]
    """
    x = np.asarray(x, dtype=np.float64)
    magnitude = np.minimum(np.abs(x), 7.0)
    near = np.where(magnitude < _ERF_CUT, magnitude, 0.0)
    with np.errstate(under="ignore"):
        square = near * near
        series = np.full_like(square, _ERF_TERMS[-1])
        for term in _ERF_TERMS[-2::-1]:
            series = term + series * square
        low = _ERF_FIRST * near + near * (_ERF_REST + square * series)
    far = np.maximum(magnitude, _ERF_CUT)
    fraction = far
    for n in range(90, 0, -1):  # at 3/2 what is left out is below 2^-52 of erfc
        fraction = far + (0.5 * n) / fraction
    upper = 1.0 - _gauss(far) / (fraction * math.sqrt(math.pi))
    return np.copysign(np.where(magnitude < _ERF_CUT, low, upper), x)


def _two_diff(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    # a - b = s + e exactly, whatever their order (Knuth, The Art of Computer Programming 2, 4.2.2, theorem B)
    s = a - b
    back = s - a
    return s, (a - (s - back)) - (b + back)


def _quadrant(x: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    # x = k pi/2 + (high + low), |high| <= pi/4 (1 + tiny), for |x| <= 2^20. x - k HALF_PI[0] is exact: both are
    # multiples of x's ulp or of 2^-32, and the difference is below 1. No binary64 number comes within 2^-61 of a
    # multiple of pi/2 other than 0 (Muller, Elementary Functions, 2016, section 11.3): the 2^-116 that are missing
    # from k pi/2 do not count.
    k = np.rint(x * 0.6366197723675814)
    high, low = _two_diff(x - k * HALF_PI[0], k * HALF_PI[1])
    high, more = _two_diff(high, k * HALF_PI[2])
    low = (low + more) - k * HALF_PI[3]
    total = high + low
    return total, low - (total - high), k.astype(np.int64) & 3


def _quadrant_far(x: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    # The same for any finite x: of 1200 bits, k takes up to 1024 and the nearness to a multiple of pi/2 up to 61.
    mp = MPContext()
    mp.prec = 1200
    high, low = np.empty(x.size), np.empty(x.size)
    k = np.empty(x.size, dtype=np.int64)
    for i, value in enumerate(x.ravel().tolist()):
        turns = mp.nint(mp.mpf(value) / (mp.pi / 2))
        rest = mp.mpf(value) - turns * (mp.pi / 2)
        high[i] = float(rest)
        low[i] = float(rest - high[i])
        k[i] = int(turns) & 3
    return high.reshape(x.shape), low.reshape(x.shape), k.reshape(x.shape)


def _reduced(x: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    far = np.abs(x) > _FAR
    high, low, k = _quadrant(np.where(far | ~np.isfinite(x), 0.0, x))
    if (far := far & np.isfinite(x)).any():
        high[far], low[far], k[far] = _quadrant_far(x[far])
    return high, low, k


def _sin_reduced(r: Floats, low: Floats) -> Floats:
    # Taylor; the first term left out, r^21/21!, is below 2^-72 of r. low enters through its derivative cos r.
    z = r * r
    series = np.full_like(r, -1.0 / math.factorial(19))
    for n in range(17, 2, -2):
        series = series * z + (-1.0) ** ((n - 1) // 2) / math.factorial(n)
    return r + (r * z * series + low * (1.0 - 0.5 * z))


def _cos_reduced(r: Floats, low: Floats) -> Floats:
    # Taylor; the first term left out, r^20/20!, is below 2^-67. What 1 - z/2 loses is added back.
    z = r * r
    series = np.full_like(r, -1.0 / math.factorial(18))
    for n in range(16, 3, -2):
        series = series * z + (-1.0) ** (n // 2) / math.factorial(n)
    half = 0.5 * z
    one = 1.0 - half
    return one + (((1.0 - one) - half) + (z * z * series - low * r))


def _turned(x: Floats, quarter: int) -> Floats:
    # sin(x + quarter pi/2)
    r, low, k = _reduced(x)
    k = (k + quarter) & 3
    with np.errstate(under="ignore"):
        value = np.where(k & 1 == 0, _sin_reduced(r, low), _cos_reduced(r, low))
    return np.where(np.isfinite(x), np.where(k & 2 == 0, value, -value), np.nan)


def sin(x: Floats) -> Floats:
    """Return the sine.

    Parameters
    ----------
    x : ndarray of float64
        Radians.

    Returns
    -------
    ndarray of float64
        Below 1 ulp from sin x for every finite x, odd, NaN for the infinities.

    Notes
    -----
    |x| <= 2^20: reduced by multiples of pi/2 held in four parts (Cody and Waite 1980, chapter 8); beyond: by mpmath at
    1200 bits, element by element, which is slow. Then a Taylor series on [-pi/4, pi/4].

    Examples
    --------
    >>> import numpy as np
    >>> sin(np.array([0.0, 1.0, 3.141592653589793, 1e22])).tolist()
    [0.0, 0.8414709848078965, 1.2246467991473532e-16, -0.8522008497671888]
    """
    x = np.asarray(x, dtype=np.float64)
    return np.where(x == 0, x, _turned(x, 0))


def cos(x: Floats) -> Floats:
    """Return the cosine.

    Parameters
    ----------
    x : ndarray of float64
        Radians.

    Returns
    -------
    ndarray of float64
        Below 1 ulp from cos x for every finite x, even, NaN for the infinities.

    Notes
    -----
    As :func:`sin`, a quarter turn further.

    Examples
    --------
    >>> import numpy as np
    >>> cos(np.array([0.0, 1.0, 1e22])).tolist()
    [1.0, 0.5403023058681398, 0.523214785395139]
    """
    return _turned(np.asarray(x, dtype=np.float64), 1)
