"""Elementary functions into a format: the exact function of the exact operand, rounded once, in every mode.

Correctly rounded for every format and mode. Formats with p + n + 2 <= 53 for n random bits (all with
p <= 24, and stochastic rounding of them with up to 27 bits) are served at array speed; wider ones, binary64 among
them, go element by element through mpmath at some 10^4 a second. Nothing depends on the machine's mathematical
library or vector instructions. Special operands are as in IEEE 754-2019, 9.2.1: a NaN that numbers give is
flagged INVALID and NAN_BORN, an infinity that finite numbers give exactly DIVIDE_BY_ZERO.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from floatemu.arithmetic import NEAREST, _documented, div
from floatemu.format import Format
from floatemu.functions_circular import acos, asin, atan, cos, sin, tan
from floatemu.functions_engine import apply
from floatemu.operands import as_array, is_number
from floatemu.projection import Rounding

__all__ = [
    "acos",
    "asin",
    "atan",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "gelu",
    "gelu_tanh",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "pow",
    "reciprocal",
    "rsqrt",
    "sigmoid",
    "silu",
    "sin",
    "sinh",
    "softplus",
    "tan",
    "tanh",
]


@_documented
def exp(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return e^x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 0, where it is 1; exp(-inf) = +0.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> exp([0.0, 1.0, 100.0, -20.0], "binary16").tolist()
    [1.0, 2.71875, inf, 0.0]
    """
    return apply("exp", (x,), fmt, rounding, options)


@_documented
def exp2(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return 2^x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact at integers and nowhere else.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> exp2([0.5, -3.0, 15.0], "bfloat16").tolist()
    [1.4140625, 0.125, 32768.0]
    """
    return apply("exp2", (x,), fmt, rounding, options)


@_documented
def expm1(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return e^x - 1, rounded once to ``fmt``.

    IEEE 754-2019, 9.2, without cancellation near 0. Exact only at 0; expm1(-0) = -0.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> expm1([1e-4, -0.0, -50.0], "binary16").tolist()
    [0.00010001659393310547, -0.0, -1.0]
    """
    return apply("expm1", (x,), fmt, rounding, options)


@_documented
def log(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the natural logarithm of x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 1; -inf with DIVIDE_BY_ZERO at either zero, NaN below.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> log([1.0, 10.0, 0.0], "bfloat16").tolist()
    [0.0, 2.296875, -inf]
    """
    return apply("log", (x,), fmt, rounding, options)


@_documented
def log2(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the binary logarithm of x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact at powers of two; zeros and negative numbers as for :func:`log`.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> log2([8.0, 10.0], "bfloat16").tolist()
    [3.0, 3.328125]
    """
    return apply("log2", (x,), fmt, rounding, options)


@_documented
def log10(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the decimal logarithm of x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact at powers of ten; zeros and negative numbers as for :func:`log`.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> log10([1000.0, 2.0], "bfloat16").tolist()
    [3.0, 0.30078125]
    """
    return apply("log10", (x,), fmt, rounding, options)


@_documented
def log1p(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return log(1 + x), rounded once to ``fmt``.

    IEEE 754-2019, 9.2 (logp1), without cancellation near 0. Exact only at 0; -inf with DIVIDE_BY_ZERO at -1.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> log1p([1e-4, -1.0], "binary16").tolist()
    [0.00010001659393310547, -inf]
    """
    return apply("log1p", (x,), fmt, rounding, options)


@_documented
def sinh(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the hyperbolic sine of x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2: (e^x - e^-x) / 2. Exact only at 0.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> sinh([1.0, -0.0], "binary16").tolist()
    [1.1748046875, -0.0]
    """
    return apply("sinh", (x,), fmt, rounding, options)


@_documented
def cosh(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the hyperbolic cosine of x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2: (e^x + e^-x) / 2. Exact only at 0, where it is 1.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> cosh([1.0, 0.0], "binary16").tolist()
    [1.54296875, 1.0]
    """
    return apply("cosh", (x,), fmt, rounding, options)


@_documented
def tanh(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the hyperbolic tangent of x, rounded once to ``fmt``.

    IEEE 754-2019, 9.2: (e^x - e^-x) / (e^x + e^-x). Exact only at 0; +-1 at infinities and nowhere else.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> tanh([1.0, 20.0], "bfloat16", "TowardZero").tolist()
    [0.7578125, 0.99609375]
    """
    return apply("tanh", (x,), fmt, rounding, options)


@_documented
def sigmoid(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return 1 / (1 + e^-x), rounded once to ``fmt``.

    The logistic function. Exact only at 0, where it is 1/2.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> sigmoid([0.0, 4.0, -4.0], "bfloat16").tolist()
    [0.5, 0.98046875, 0.0179443359375]
    """
    return apply("sigmoid", (x,), fmt, rounding, options)


@_documented
def erf(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the error function of x, rounded once to ``fmt``.

    2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. 0 at 0, +-1 at infinities.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> erf([0.5, 4.0], "binary16").tolist()
    [0.5205078125, 1.0]
    """
    return apply("erf", (x,), fmt, rounding, options)


@_documented
def gelu(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x * Phi(x), Phi being the normal distribution function, rounded once to ``fmt``.

    x / 2 * (1 + erf(x / sqrt(2))), the exact form (Hendrycks and Gimpel, arXiv:1606.08415). gelu(-inf) = -0, the
    limit.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> gelu([1.0, -3.0], "binary16").tolist()
    [0.84130859375, -0.00405120849609375]
    """
    return apply("gelu", (x,), fmt, rounding, options)


@_documented
def gelu_tanh(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the tanh form of gelu, rounded once to ``fmt``.

    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), its constants exactly those (arXiv:1606.08415).

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> gelu_tanh([1.0, -3.0], "binary16").tolist()
    [0.84130859375, -0.0036373138427734375]
    """
    return apply("gelu_tanh", (x,), fmt, rounding, options)


@_documented
def silu(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x / (1 + e^-x), rounded once to ``fmt``.

    x times its sigmoid, also called swish. silu(-inf) = -0, the limit.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> silu([1.0, -3.0], "binary16").tolist()
    [0.73095703125, -0.142333984375]
    """
    return apply("silu", (x,), fmt, rounding, options)


@_documented
def softplus(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return log(1 + e^x), rounded once to ``fmt``.

    The integral of the sigmoid; never exact. +0 at -inf.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> softplus([0.0, 20.0], "binary16").tolist()
    [0.693359375, 20.0]
    """
    return apply("softplus", (x,), fmt, rounding, options)


@_documented
def rsqrt(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return 1 / sqrt(x), rounded once to ``fmt``.

    IEEE 754-2019, 9.2 (rSqrt). Exact at powers of four; at +-0 an infinity of that sign with DIVIDE_BY_ZERO, NaN
    below.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> rsqrt([2.0, 16.0, -0.0], "bfloat16").tolist()
    [0.70703125, 0.25, -inf]
    """
    return apply("rsqrt", (x,), fmt, rounding, options)


@_documented
def reciprocal(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return 1 / x, rounded once to ``fmt`` (IEEE 754-2019, 5.4.1, division).

    At +-0 an infinity of that sign with DIVIDE_BY_ZERO.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> reciprocal([3.0, -0.0], "bfloat16").tolist()
    [0.333984375, -inf]
    """
    if is_number(x):
        return div(1, x, fmt, rounding, **options)
    array = as_array(x, "x")
    if array.dtype.kind not in "fV" and array.dtype != object:
        return div(1, x, fmt, rounding, **options)
    # A one of x's own dtype leaves the result's dtype to x.
    one = np.ones((), np.float64).astype(array.dtype) if array.dtype != object else 1
    return div(one, x, fmt, rounding, **options)


@_documented
def pow(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return x to the power y, rounded once to ``fmt``.

    IEEE 754-2019, 9.2.1 (pow): pow(x, 0) = pow(1, y) = 1 even for NaN; NaN for x < 0 and y no integer;
    pow(+-0, y) is an infinity with DIVIDE_BY_ZERO for finite y < 0.

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> pow([2.0, 9.0, -2.0], [0.5, 0.5, 3.0], "bfloat16").tolist()
    [1.4140625, 3.0, -8.0]
    """
    return apply("pow", (x, y), fmt, rounding, options)


@_documented
def hypot(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return sqrt(x^2 + y^2), rounded once to ``fmt``, without overflow on the way.

    IEEE 754-2019, 9.2.1 (hypot): +inf if an operand is infinite, even if the other is NaN.

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> hypot([3.0, 1.0], [4.0, 1.0], "bfloat16").tolist()
    [5.0, 1.4140625]
    """
    return apply("hypot", (x, y), fmt, rounding, options)
