"""Error bounds of sums and dot products, by formula. u is the unit roundoff 2^-p of the format that adds.

Hard bounds (``recursive_sum``, ``dot``) hold for all data within the range; the other factors are estimates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

import floatemu as fe

__all__ = [
    "NEAREST",
    "block_fma",
    "dot",
    "drift",
    "gamma",
    "higham_mary",
    "moments",
    "recursive_sum",
    "stochastic_rounding",
]

NEAREST = (fe.Rounding.NEAREST_TIES_TO_EVEN, fe.Rounding.NEAREST_TIES_TO_AWAY)
LAMBDA = 5.0
Array = npt.NDArray[Any]
_RNE = fe.Rounding.NEAREST_TIES_TO_EVEN


def recursive_sum(
    roundings: int,
    u: float,
    magnitude: Array,
    rounding: fe.Rounding = _RNE,
    tiny: float = 0.0,
    *,
    in_order: bool = True,
) -> Array:
    """Return the hard bound of a sum formed term by term, or in another order without compensation.

    Parameters
    ----------
    roundings : int
        Number of additions that round: n - 1 for n terms that the format holds, n if the first is rounded too.
    u : float
        2^-p.
    magnitude : ndarray of float64
        Sum of the terms' magnitudes, S.
    rounding : Rounding
    tiny : float
        What an addition can lose to underflow beyond its relative error: 0 in formats with subnormal numbers,
        whose sums are exact below the normal range.
    in_order : bool
        Whether terms are added from the first to the last.

    Returns
    -------
    ndarray of float64
        With k roundings: k u S to nearest, for every k (S. M. Rump, "Error estimation of floating-point summation
        and dot product", BIT 52, 2012; any order: C.-P. Jeannerod and S. M. Rump, SIAM Journal on Matrix Analysis
        and Applications 34(2), 2013). In all other modes 2 k u S; toward zero for every k and order, else only in
        order and while 2 k u <= 1; beyond, ((1 + 2u)^k - 1) S.

    Notes
    -----
    Why the other modes need the condition: with p = 2, toward plus infinity, 1/8 + 2 + 1/8 + 1/8 is 6, off by
    3.625 = 6.105 u S, where 2 k u S is 6 u S. Proof that it suffices, for errors of less than one spacing: while
    partial sums stay below 2^f, the power of two above S, an addition errs by at most u 2^f <= 2 u S. If step j is
    the first to reach 2^f, then S >= 2^f - (j - 1) u 2^f, the later ones err by 2 u 2^f each, and
    (j - 1) u 2^f + 2 (k - j + 1) u 2^f <= 2 k u S follows from 2 k u <= 1. Toward zero no partial sum exceeds the
    terms' magnitudes, so that nothing grows. (M. Lange and S. M. Rump, BIT 57, 2017, treat such sums of reals.)

    Examples
    --------
    >>> recursive_sum(999, 2.0**-8, np.array(1000.0)).item()
    3902.34375
    >>> recursive_sum(3, 0.25, np.array(1.0), fe.Rounding.TOWARD_POSITIVE).item()
    2.375
    """
    k = roundings
    if rounding in NEAREST:
        return np.asarray(k * u * magnitude + tiny * _grown(k, u))
    if rounding is fe.Rounding.TOWARD_ZERO or (in_order and 2 * k * u <= 1 and not tiny):
        return np.asarray(2 * k * u * magnitude + k * tiny)
    return np.asarray(2 * u * _grown(k, 2 * u) * magnitude + tiny * _grown(k, 2 * u))


def _grown(k: int, e: float) -> float:
    # ((1 + e)^k - 1) / e: k losses, each grown by the roundings after it
    power = k * math.log1p(e)
    return math.expm1(power) / e if power < 700 else math.inf


def dot(
    n: int,
    u: float,
    magnitude: Array,
    rounding: fe.Rounding = _RNE,
    lost_product: float = 0.0,
    tiny: float = 0.0,
    *,
    in_order: bool = True,
) -> Array:
    """Return the hard bound of a dot product of n terms, products and partial sums rounded alike.

    Parameters
    ----------
    n : int
    u : float
    magnitude : ndarray of float64
        P = |x|^T |y|.
    rounding : Rounding
    lost_product : float
        What a product can lose to underflow: half the smallest subnormal number to nearest, all of it in other modes.
    tiny : float
        What an addition can; see :func:`recursive_sum`.
    in_order : bool
        As there.

    Returns
    -------
    ndarray of float64
        To nearest n u P for every n (Jeannerod and Rump 2013, as for sums); toward zero 2 n u P; in other modes
        2 u P for the products and the bound of their sum, S = (1 + 2u) P: together 2 n u P + 4 (n - 1) u^2 P while
        2 (n - 1) u <= 1. To these n ``lost_product``, and what the sum makes of it.

    Examples
    --------
    >>> dot(256, 2.0**-8, np.array(1.0)).item(), dot(256, 2.0**-8, np.array(1.0), fe.Rounding.TOWARD_ZERO).item()
    (1.0, 2.0)
    """
    if n == 0:
        return np.zeros_like(magnitude)
    lost = n * lost_product
    if rounding in NEAREST:
        return np.asarray(n * u * magnitude + lost * (1 + (n - 1) * u) + tiny * _grown(n - 1, u))
    grown = magnitude + lost if rounding is fe.Rounding.TOWARD_ZERO else (1 + 2 * u) * magnitude + lost
    return np.asarray(2 * u * magnitude + lost + recursive_sum(n - 1, u, grown, rounding, tiny, in_order=in_order))


def gamma(n: int, u: float) -> float:
    """Return Wilkinson's factor n u / (1 - n u); infinite for n u >= 1, where it says nothing.

    Parameters
    ----------
    n : int
    u : float

    Returns
    -------
    float
        Of |x|^T |y| for a dot product of n terms, of sum |x| for a sum of n + 1 (N. J. Higham, Accuracy and
        Stability of Numerical Algorithms, 2002, section 3.1).

    Examples
    --------
    >>> gamma(128, 2.0**-8), gamma(256, 2.0**-8)
    (1.0, inf)
    """
    return n * u / (1 - n * u) if n * u < 1 else math.inf


def higham_mary(n: int, u: float, confidence: float = LAMBDA) -> float:
    """Return the probabilistic factor exp(lambda sqrt(n) u + n u^2 / (1 - u)) - 1.

    Parameters
    ----------
    n : int
    u : float
    confidence : float
        lambda; the bound fails with probability at most 2 n exp(-lambda^2 (1 - u)^2 / 2) if errors are independent
        of mean zero.

    Returns
    -------
    float
        In the place of :func:`gamma` (N. J. Higham and T. Mary, "A new approach to probabilistic rounding error
        analysis", SIAM Journal on Scientific Computing 41(5), 2019, theorem 2.4).

    Examples
    --------
    >>> higham_mary(4096, 2.0**-11) < gamma(4096, 2.0**-11)
    True
    """
    exponent = confidence * math.sqrt(n) * u + n * u * u / (1 - u)
    return math.expm1(exponent) if exponent < 700 else math.inf


def stochastic_rounding(n: int, u: float, confidence: float = LAMBDA) -> float:
    """Return the factor of :func:`higham_mary` for stochastic rounding, whose errors reach 2u.

    Parameters
    ----------
    n : int
    u : float
        2^-p.
    confidence : float

    Returns
    -------
    float
        Holds with the probability given there for every data set, since the errors are mean independent by
        construction (M. P. Connolly, N. J. Higham and T. Mary, SIAM Journal on Scientific Computing 43(1), 2021); with
        few random bits they are not of mean zero.

    Examples
    --------
    >>> stochastic_rounding(100, 2.0**-9) == higham_mary(100, 2.0**-8)
    True
    """
    return higham_mary(n, 2 * u, confidence)


def block_fma(n: int, u_low: float, u_high: float, rounded_operands: bool = True) -> float:
    """Return the first-order factor of a product in matrix units: 2 u_low + n u_high.

    Parameters
    ----------
    n : int
        Inner dimension.
    u_low, u_high : float
        Unit roundoff of the operands' format and of the accumulator.
    rounded_operands : bool
        Whether operands were rounded to their format for the product; False leaves 2 u_low out.

    Returns
    -------
    float
        Of |x|^T |y| (P. Blanchard, N. J. Higham, F. Lopez, T. Mary and S. Pranesh, "Mixed precision block fused
        multiply-add", SIAM Journal on Scientific Computing 42(3), 2020); terms of second order are left out.

    Examples
    --------
    >>> block_fma(1024, 2.0**-11, 2.0**-24) == 2.0**-10 + 2.0**-14
    True
    """
    return (2 * u_low if rounded_operands else 0.0) + n * u_high


def drift(errors: Array, results: Array) -> float:
    """Return how many standard errors the mean rounding error lies from zero, counted away from zero.

    Parameters
    ----------
    errors, results : ndarray of float64
        Error of each rounding, and what came of it.

    Returns
    -------
    float
        sum(e sign(r)) / sqrt(sum e^2): of the order of 1 if errors are independent of mean zero; minus sqrt(n) where a
        sum has stopped growing (each error takes away the term), and plus or minus sqrt(n) where ties all fall on
        one side. 0 without errors.

    Examples
    --------
    >>> drift(np.full(100, -1.0), np.full(100, 256.0))
    -10.0
    """
    first, second = moments(errors, results)
    return first / math.sqrt(second) if second else 0.0


def moments(errors: Array, results: Array) -> tuple[float, float]:
    """Return the sum and the sum of squares of errors, each counted away from zero; finite ones only.

    Parameters
    ----------
    errors, results : ndarray of float64

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> moments(np.array([1.0, 2.0, np.inf]), np.array([3.0, -1.0, np.inf]))
    (-1.0, 5.0)
    """
    finite = np.isfinite(errors) & np.isfinite(results)
    signed = errors[finite] * np.sign(results[finite])
    return math.fsum(signed.tolist()), math.fsum((signed * signed).tolist())
