"""Measures of how far an array is from its exact value: plain functions on two arrays.

``exact`` may come with a ``tail``: head + tail is then the exact value to 106 bits, so that errors near binary64's
own precision are seen. Sums of squares are formed as if to twice the precision, in one order: the same figure on
every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "cosine",
    "difference",
    "norm",
    "norm_ratio",
    "relative_error",
    "significant_bits",
    "sqnr",
    "ulp_error",
    "zero_fraction",
]

Array = npt.NDArray[Any]
FEW = 512
"""Numbers that are added one by one, correctly rounded."""


def norm(x: Array) -> float:
    """Return the Euclidean norm, without overflow or underflow on the way.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    float
        Infinite if an element is, NaN if one is NaN.

    Examples
    --------
    >>> norm(np.array([3.0, 4.0]) * 2.0**1000) == 5.0 * 2.0**1000
    True
    """
    flat = np.abs(x).ravel()
    if not flat.size:
        return 0.0
    largest = float(flat.max())
    if largest == 0 or not math.isfinite(largest):
        return largest
    scale = 2.0 ** min(math.frexp(largest)[1], 1023)
    scaled = flat / scale
    return scale * math.sqrt(_total(scaled * scaled))


def _total(x: Array) -> float:
    """Sum of numbers that are not negative, as if to twice the precision: halves are added, with what they lose."""
    lost = 0.0
    while x.size > FEW:
        half = x.size // 2
        a, b, odd = x[:half], x[half : 2 * half], x[2 * half :]
        whole = a + b
        part = whole - a
        rest = (a - (whole - part)) + (b - part)
        lost += float(np.add.accumulate(rest)[-1])  # one order on every machine
        x = np.concatenate((whole, odd))
    return math.fsum([*x.tolist(), lost])


def difference(actual: Array, exact: Array, tail: Array | None = None) -> Array:
    """Return actual - exact, where equal infinities differ by 0.

    Parameters
    ----------
    actual, exact : ndarray of float64
    tail : ndarray of float64, optional

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> difference(np.array([1.0, np.inf]), np.array([1.0, np.inf]), np.array([2.0**-60, 0.0])).tolist()
    [-8.673617379884035e-19, 0.0]
    """
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(actual == exact, 0.0, actual - exact)
        return error if tail is None else np.where(np.isfinite(error), error - tail, error)


def relative_error(actual: Array, exact: Array, tail: Array | None = None) -> float:
    """Return the norm of actual - exact over the norm of exact.

    Parameters
    ----------
    actual, exact : ndarray of float64
    tail : ndarray of float64, optional

    Returns
    -------
    float
        0 if they are equal, infinite if only ``exact`` is zero, NaN if there is a NaN.

    Examples
    --------
    >>> relative_error(np.array([1.5]), np.array([1.0]))
    0.5
    """
    error, size = norm(difference(actual, exact, tail)), norm(exact)
    if error == 0:
        return 0.0
    if size == 0:
        return error if math.isnan(error) else math.inf
    return error / size


def significant_bits(relative: float) -> float:
    """Return -log2 of a relative error: how many leading bits are right.

    Parameters
    ----------
    relative : float

    Returns
    -------
    float
        Infinite for 0, minus infinity for infinity, negative above 1.

    Examples
    --------
    >>> significant_bits(2.0**-8)
    8.0
    """
    if relative == 0:
        return math.inf
    return -math.log2(relative) if math.isfinite(relative) else -relative


def ulp_error(actual: Array, exact: Array, ulp: Array, tail: Array | None = None) -> float:
    """Return the largest error in units in the last place.

    Parameters
    ----------
    actual, exact : ndarray of float64
    ulp : ndarray of float64
        Distance of neighbouring values of the format at ``exact``.
    tail : ndarray of float64, optional

    Returns
    -------
    float

    Examples
    --------
    >>> ulp_error(np.array([1.5]), np.array([1.0]), np.array([0.125]))
    4.0
    """
    if not actual.size:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.abs(difference(actual, exact, tail))
        return float(np.where(error == 0, 0.0, error / ulp).max())


def sqnr(actual: Array, exact: Array, tail: Array | None = None) -> float:
    """Return the signal-to-quantisation-noise ratio, -20 log10 of the relative error, in dB.

    Parameters
    ----------
    actual, exact : ndarray of float64
    tail : ndarray of float64, optional

    Returns
    -------
    float

    Examples
    --------
    >>> sqnr(np.array([1.1]), np.array([1.0])).__round__(6)
    20.0
    """
    relative = relative_error(actual, exact, tail)
    if relative == 0:
        return math.inf
    return -20.0 * math.log10(relative) if math.isfinite(relative) else -relative


def cosine(actual: Array, exact: Array) -> float:
    """Return the cosine of the angle between two arrays; NaN if one of them is zero or not finite.

    Parameters
    ----------
    actual, exact : ndarray of float64

    Returns
    -------
    float

    Examples
    --------
    >>> cosine(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    0.0
    """
    a, b = norm(actual), norm(exact)
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return math.nan
    return math.fsum(((actual / a) * (exact / b)).ravel().tolist())


def norm_ratio(actual: Array, exact: Array) -> float:
    """Return the norm of actual over the norm of exact; NaN for 0/0.

    Parameters
    ----------
    actual, exact : ndarray of float64

    Returns
    -------
    float

    Examples
    --------
    >>> norm_ratio(np.array([1.0]), np.array([4.0]))
    0.25
    """
    a, b = norm(actual), norm(exact)
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.inf
    return a / b


def zero_fraction(x: Array) -> float:
    """Return the fraction of elements that are zero; 0 for an empty array.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    float

    Examples
    --------
    >>> zero_fraction(np.array([0.0, 1.0]))
    0.5
    """
    return float(np.count_nonzero(x == 0)) / x.size if x.size else 0.0
