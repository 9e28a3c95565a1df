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
from floatemu.functions_engine import apply
from floatemu.operands import as_array, is_number
from floatemu.projection import Rounding


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
def sin(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the sine of x radians, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 0, sin(-0) = -0; NaN at infinities. The reduction by pi is exact enough for
    any x.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> sin([1.0, 1e22, -0.0], "binary16").tolist()
    [0.84130859375, -0.85205078125, -0.0]
    """
    return apply("sin", (x,), fmt, rounding, options)


@_documented
def cos(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the cosine of x radians, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 0; NaN at infinities.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> cos([1.0, 1e22], "binary16").tolist()
    [0.54052734375, 0.5234375]
    """
    return apply("cos", (x,), fmt, rounding, options)


@_documented
def tan(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the tangent of x radians, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 0, tan(-0) = -0; NaN at infinities; no number is a pole.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> tan([1.0, 1.5], "binary16").tolist()
    [1.5576171875, 14.1015625]
    """
    return apply("tan", (x,), fmt, rounding, options)


@_documented
def asin(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the arc sine of x in radians, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 0; NaN for |x| > 1.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> asin([1.0, 0.5], "binary16").tolist()
    [1.5703125, 0.5234375]
    """
    return apply("asin", (x,), fmt, rounding, options)


@_documented
def acos(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the arc cosine of x in radians, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 1, where it is +0; NaN for |x| > 1.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> acos([1.0, 0.5, -1.0], "binary16").tolist()
    [0.0, 1.046875, 3.140625]
    """
    return apply("acos", (x,), fmt, rounding, options)


@_documented
def atan(x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the arc tangent of x in radians, rounded once to ``fmt``.

    IEEE 754-2019, 9.2. Exact only at 0; +-pi/2, rounded, at infinities.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have, never first rounded to ``fmt``.
    %(shared)s
    Examples
    --------
    >>> atan([1.0, -1e30], "binary16").tolist()
    [0.78515625, -1.5703125]
    """
    return apply("atan", (x,), fmt, rounding, options)


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
    array = as_array(x)
    if array.dtype.kind not in "fV" and array.dtype != object:
        return div(1, x, fmt, rounding, **options)
    # A one of x's own dtype leaves the result's dtype to x.
    one = np.ones((), np.float64).astype(array.dtype) if array.dtype != object else 1
    return div(one, x, fmt, rounding, **options)
