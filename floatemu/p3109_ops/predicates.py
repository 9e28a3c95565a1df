"""Comparisons, order and classes of P3109 v4.0 (4.10 to 4.16): questions about values; nothing is rounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from floatemu.comparisons import compare
from floatemu.format import Format
from floatemu.p3109_ops.engine import decoded, standard_format

CLASSES = (
    "ClsNaN",
    "ClsNegativeInfinity",
    "ClsNegativeNormal",
    "ClsNegativeSubnormal",
    "ClsZero",
    "ClsPositiveSubnormal",
    "ClsPositiveNormal",
    "ClsPositiveInfinity",
)
"""The results of :func:`Class`, in the standard's order."""


def CompareLess(x: Any, y: Any) -> Any:
    """Return X < Y; False where either is NaN.

    Parameters
    ----------
    x, y : array_like
        Values of any formats, compared exactly.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool
        Broadcast shape of the operands.

    Raises
    ------
    UnsupportedError
        If an operand holds no real numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> CompareLess([1.0, float("-inf"), float("nan")], [2.0, 0.0, 1.0]).tolist()
    [True, True, False]
    """
    return compare(x, y, "less")


def CompareLessEqual(x: Any, y: Any) -> Any:
    """Return X <= Y; False where either is NaN.

    Parameters
    ----------
    x, y : array_like
        As for :func:`CompareLess`.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> CompareLessEqual([1.0, 2.0], [1.0, 1.0]).tolist()
    [True, False]
    """
    return compare(x, y, "less_equal")


def CompareEqual(x: Any, y: Any) -> Any:
    """Return X = Y; False where either is NaN. Its negation is True there: no operation of its own.

    Parameters
    ----------
    x, y : array_like
        As for :func:`CompareLess`.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> CompareEqual([0.0, float("nan")], [-0.0, float("nan")]).tolist()
    [True, False]
    """
    return compare(x, y, "equal")


def CompareGreater(x: Any, y: Any) -> Any:
    """Return X > Y; False where either is NaN.

    Parameters
    ----------
    x, y : array_like
        As for :func:`CompareLess`.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> CompareGreater([1.0, float("nan")], [0.5, 0.0]).tolist()
    [True, False]
    """
    return compare(x, y, "greater")


def CompareGreaterEqual(x: Any, y: Any) -> Any:
    """Return X >= Y; False where either is NaN.

    Parameters
    ----------
    x, y : array_like
        As for :func:`CompareLess`.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> CompareGreaterEqual([1.0, float("nan")], [1.0, 0.0]).tolist()
    [True, False]
    """
    return compare(x, y, "greater_equal")


def TotalOrder(x: Any, y: Any) -> Any:
    """Return X <= Y in the order in which NaN is the least.

    Parameters
    ----------
    x, y : array_like
        As for :func:`CompareLess`.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> TotalOrder([float("nan"), float("-inf"), 1.0], [float("-inf"), float("nan"), 2.0]).tolist()
    [True, False, True]
    """
    return _answer(np.isnan(decoded(x, "x")) | compare(x, y, "less_equal"), x, y)


def _answer(result: Any, *operands: Any) -> Any:
    array = np.asarray(result)
    return array if array.shape or any(isinstance(x, np.ndarray) for x in operands) else array[()]


def IsZero(x: Any) -> Any:
    """Whether X is 0.

    Parameters
    ----------
    x : array_like
        Values of any format.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> IsZero([0.0, -0.0, 1.0]).tolist()
    [True, True, False]
    """
    return _answer(decoded(x, "x") == 0, x)


def IsOne(x: Any) -> Any:
    """Whether X is 1.

    Parameters
    ----------
    x : array_like
        Values of any format.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> IsOne([1.0, -1.0, float("nan")]).tolist()
    [True, False, False]
    """
    return _answer(decoded(x, "x") == 1, x)


def IsNaN(x: Any) -> Any:
    """Whether X is NaN.

    Parameters
    ----------
    x : array_like
        Values of any format.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> IsNaN([1.0, float("nan")]).tolist()
    [False, True]
    """
    return _answer(np.isnan(decoded(x, "x")), x)


def IsInfinite(x: Any) -> Any:
    """Whether X is an infinity.

    Parameters
    ----------
    x : array_like
        Values of any format.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> IsInfinite([1.0, float("-inf"), float("nan")]).tolist()
    [False, True, False]
    """
    return _answer(np.isinf(decoded(x, "x")), x)


def IsFinite(x: Any) -> Any:
    """Whether X is a real number: neither an infinity nor NaN.

    Parameters
    ----------
    x : array_like
        Values of any format.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> IsFinite([1.0, float("-inf"), float("nan")]).tolist()
    [True, False, False]
    """
    return _answer(np.isfinite(decoded(x, "x")), x)


def IsSignMinus(x: Any) -> Any:
    """Whether X is below 0, minus infinity included; False for NaN.

    Parameters
    ----------
    x : array_like
        Values of any format.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Examples
    --------
    >>> IsSignMinus([-1.0, -0.0, float("-inf"), float("nan")]).tolist()
    [True, False, True, False]
    """
    return _answer(decoded(x, "x") < 0, x)


def IsNormal(x: Any, fmt: Format | str) -> Any:
    """Whether X is finite, and its magnitude at least the format's least normal one.

    Parameters
    ----------
    x : array_like
        Values of the format.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Raises
    ------
    FormatError
        If P3109 does not know the format.

    Examples
    --------
    >>> IsNormal([2.0**-7, 2.0**-8, 0.0, float("inf")], "binary8p4se").tolist()
    [True, False, False, False]
    """
    least = float(standard_format(fmt).min_normal)
    values = decoded(x, "x")
    return _answer(np.isfinite(values) & (abs(values) >= least), x)


def IsSubnormal(x: Any, fmt: Format | str) -> Any:
    """Whether X is not 0, and its magnitude below the format's least normal one.

    Parameters
    ----------
    x : array_like
        Values of the format.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool

    Raises
    ------
    FormatError
        If P3109 does not know the format.

    Examples
    --------
    >>> IsSubnormal([2.0**-7, 2.0**-8, 0.0], "binary8p4se").tolist()
    [False, True, False]
    """
    least = float(standard_format(fmt).min_normal)
    values = decoded(x, "x")
    return _answer((values != 0) & (abs(values) < least), x)


def Class(x: Any, fmt: Format | str) -> Any:
    """Return the name of the class of X, one of :data:`CLASSES`.

    Parameters
    ----------
    x : array_like
        Values of the format.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray of str, or numpy.str_
        Same shape.

    Raises
    ------
    FormatError
        If P3109 does not know the format.

    Examples
    --------
    >>> Class([-0.25, 0.0, float("inf")], "binary4p2se").tolist()
    ['ClsNegativeSubnormal', 'ClsZero', 'ClsPositiveInfinity']
    """
    values = decoded(x, "x")
    size = np.select([values == 0, IsSubnormal(values, fmt), IsNormal(values, fmt)], [0, 1, 2], 3)
    place = np.where(np.isnan(values), 0, 4 + np.where(values < 0, -size, size))
    return _answer(np.array(CLASSES)[place], x)
