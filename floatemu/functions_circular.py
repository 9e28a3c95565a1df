"""Sine, cosine, tangent and their inverses into a format; :mod:`floatemu.functions` says what holds for all."""

from __future__ import annotations

from typing import Any

from floatemu.arithmetic import NEAREST, _documented
from floatemu.format import Format
from floatemu.functions_engine import apply
from floatemu.projection import Rounding


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
