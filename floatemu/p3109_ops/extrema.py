"""Extrema of P3109 v4.0 (4.10 to 4.16): the lesser or greater of two, by value or magnitude, with NaN or without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from floatemu.p3109_ops.engine import Array, Into, operation

Choice = Callable[[Array, Array], Array]


def _by_magnitude(x: Array, y: Array, choose: Choice) -> Array:
    """The value of the chosen magnitude; of equal magnitudes the chosen value. NaN if either is."""
    first, second = abs(x), abs(y)
    chosen = choose(first, second)
    return np.where(first == second, choose(x, y), np.where(chosen == first, x, np.where(chosen == second, y, np.nan)))


def _of_numbers(x: Array, y: Array, choose: Callable[[Array, Array], Array]) -> Array:
    """A choice between numbers; the other operand where one is NaN."""
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, choose(x, y)))


def _of_finite(x: Array, y: Array, choose: Choice) -> Array:
    """A choice between numbers, a finite one before an infinite one before NaN."""
    finite = np.isfinite(x), np.isfinite(y)
    preferred = np.where(finite[0] & ~finite[1], x, np.where(finite[1] & ~finite[0], y, choose(x, y)))
    return np.where(finite[0] == finite[1], _of_numbers(x, y, choose), preferred)


def _least(x: Array, y: Array) -> Array:
    return _by_magnitude(x, y, np.minimum)


def _greatest(x: Array, y: Array) -> Array:
    return _by_magnitude(x, y, np.maximum)


@operation
def Minimum(to: Into, x: Array, y: Array) -> Array:
    """The lesser of X and Y; NaN if either is.

    >>> Minimum([1.0, float("nan")], [2.0, 1.0], "binary8p4se").tolist()
    [1.0, nan]
    """
    return to.of(np.minimum(x, y))


@operation
def Maximum(to: Into, x: Array, y: Array) -> Array:
    """The greater of X and Y; NaN if either is.

    >>> Maximum([1.0, float("nan")], [2.0, 1.0], "binary8p4se").tolist()
    [2.0, nan]
    """
    return to.of(np.maximum(x, y))


@operation
def MinimumNumber(to: Into, x: Array, y: Array) -> Array:
    """The lesser of X and Y; of a number and NaN the number.

    >>> MinimumNumber([1.0, float("nan")], [2.0, float("inf")], "binary8p4se").tolist()
    [1.0, inf]
    """
    return to.of(np.fmin(x, y))


@operation
def MaximumNumber(to: Into, x: Array, y: Array) -> Array:
    """The greater of X and Y; of a number and NaN the number.

    >>> MaximumNumber([1.0, float("nan")], [2.0, 1.0], "binary8p4se").tolist()
    [2.0, 1.0]
    """
    return to.of(np.fmax(x, y))


@operation
def MinimumMagnitude(to: Into, x: Array, y: Array) -> Array:
    """The one of lesser magnitude, of equal magnitudes the lesser; NaN if either is.

    >>> MinimumMagnitude([-2.0, -1.0], [2.0, 3.0], "binary8p4se").tolist()
    [-2.0, -1.0]
    """
    return to.of(_least(x, y))


@operation
def MaximumMagnitude(to: Into, x: Array, y: Array) -> Array:
    """The one of greater magnitude, of equal magnitudes the greater; NaN if either is.

    >>> MaximumMagnitude([-2.0, -3.0], [2.0, 1.0], "binary8p4se").tolist()
    [2.0, -3.0]
    """
    return to.of(_greatest(x, y))


@operation
def MinimumMagnitudeNumber(to: Into, x: Array, y: Array) -> Array:
    """What MinimumMagnitude gives; of a number and NaN the number.

    >>> MinimumMagnitudeNumber([float("nan"), 1.0], [-3.0, -1.0], "binary8p4se").tolist()
    [-3.0, -1.0]
    """
    return to.of(_of_numbers(x, y, _least))


@operation
def MaximumMagnitudeNumber(to: Into, x: Array, y: Array) -> Array:
    """What MaximumMagnitude gives; of a number and NaN the number.

    >>> MaximumMagnitudeNumber([float("nan"), 1.0], [-3.0, -1.0], "binary8p4se").tolist()
    [-3.0, 1.0]
    """
    return to.of(_of_numbers(x, y, _greatest))


@operation
def MinimumFinite(to: Into, x: Array, y: Array) -> Array:
    """The lesser of X and Y, but a finite one before an infinite one, and any number before NaN.

    >>> MinimumFinite([float("-inf"), float("nan")], [3.0, float("inf")], "binary8p4se").tolist()
    [3.0, inf]
    """
    return to.of(_of_finite(x, y, np.minimum))


@operation
def MaximumFinite(to: Into, x: Array, y: Array) -> Array:
    """The greater of X and Y, but a finite one before an infinite one, and any number before NaN.

    >>> MaximumFinite([float("inf"), 1.0], [-3.0, 2.0], "binary8p4se").tolist()
    [-3.0, 2.0]
    """
    return to.of(_of_finite(x, y, np.maximum))


@operation
def Clamp(to: Into, x: Array, lo: Array, hi: Array) -> Array:
    """min(max(X, LO), HI); NaN if any is, or LO > HI.

    >>> Clamp([5.0, float("-inf"), 1.0], [1.0, -1.0, 2.0], [3.0, float("inf"), 0.0], "binary8p4se").tolist()
    [3.0, -1.0, nan]
    """
    return to.of(np.where(lo <= hi, np.minimum(np.maximum(x, lo), hi), np.nan))
