"""One pass over an array and what it should have been: errors, ranges, counts. Every sum has one order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import sqrt
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core.exact import bits_of, float_of
from floatemu._core.rounding import OVERFLOW, SATURATED

SIZE, ERROR, INHERITED, LOCAL, SENSITIVITY = range(5)
"""Norms: of the exact values, of value - exact, unrounded - exact, value - unrounded, of the sensitivity."""
ULPS, INHERITED_ULPS, LOCAL_ULPS, WORST, INHERITED_WORST, LOCAL_WORST = range(5, 11)
"""Largest error of an element, in quanta of the format and over its exact value."""
AMAX, AMIN, EXACT_AMAX, EXACT_AMIN, RATIO = range(11, 16)
ZEROS_NEW, ZEROS_INHERITED, SUBNORMAL, OVERFLOWED, SATURATION, BEYOND = range(6)
MEASURES, COUNTS = 16, 6
LOW, HIGH = 2.0**-400, 2.0**500
"""Between them the largest of some numbers can be squared, and what it loses of others counts for nothing."""


def apart(x: Any, y: Any, low: Any) -> Any:
    """x - (y + low), 0 where x and y are one infinity."""
    return less(0.0 if x == y else x - y, low)


def less(error: Any, low: Any) -> Any:
    """error - low, where the error is finite."""
    return error - low if error - error == 0 else error


def larger(known: Any, x: Any) -> Any:
    """The larger of two magnitudes; NaN once one was."""
    return x if (x > known) | (x != x) else known


def spacing(x: Any, p: Any, emin: Any, qmin: Any) -> Any:
    """Quantum at x of a format of precision p; NaN for NaN and infinities."""
    if x - x != 0:
        return x - x
    e = exponent(x)
    return power(qmin if e < emin else e - p + 1)


def exponent(x: Any) -> Any:
    """Floor of log2 |x| of a finite number; far below all of them for 0."""
    field = np.int64((bits_of(x) >> np.uint64(52)) & np.uint64(0x7FF))
    if field != 0:
        return field - 1023
    if x == 0:
        return np.int64(-4000)
    # below binary64's least normal number: 54 binades up, the exponent can be read
    return np.int64((bits_of(x * 2.0**54) >> np.uint64(52)) & np.uint64(0x7FF)) - 1023 - 54


def power(e: Any) -> Any:
    """2^e, for -1074 <= e <= 1023."""
    if e < -1022:
        return float_of(np.uint64(1) << np.uint64(e + 1074))
    return float_of(np.uint64(e + 1023) << np.uint64(52))


def added(total: Any, lost: Any, x: Any) -> Any:
    """The sum of squares with one more, and of the rounding errors of all additions."""
    square = x * x
    higher = total + square
    part = higher - total
    return higher, lost + ((total - (higher - part)) + (square - part))


def scale_for(largest: Any) -> Any:
    """What to multiply by before squaring: 1 where squares stay in range, else about the largest's reciprocal."""
    if (largest == 0) | (largest - largest != 0) | ((largest > LOW) & (largest < HIGH)):
        return 1.0
    return power(-min(max(exponent(largest) + 1, -1022), 1023))


def length(largest: Any, scale: Any, total: Any, lost: Any) -> Any:
    """The norm; the largest magnitude itself where that is 0, infinite or NaN."""
    return largest if (largest == 0) | (largest - largest != 0) else sqrt(total + lost) / scale


kernels.register((less, apart, larger, exponent, power, spacing, added, scale_for, length))


@cache
def survey_loop() -> Callable[..., Any]:
    """Return the loop that surveys an array.

    Returns
    -------
    callable
        ``loop(value, exact, tail, raw, rest, sensitivity, flags, rounded, p, emin, qmin, least, found, counts)``: flat
        arrays, empty ones where there is nothing; ``rounded`` tells whether there is a format, of precision p, least
        normal exponent emin, least quantum 2^qmin and least normal number ``least``. Fills ``found`` and ``counts``.

    Notes
    -----
    Squares are added together with the rounding error of every addition (T. Ogita, S. M. Rump and S. Oishi, SIAM
    Journal on Scientific Computing 26(6), 2005). Where one might leave binary64's range, a second pass scales by a
    power of two, which changes no bit of the others.
    """

    def loop(
        value: Any, exact: Any, tail: Any, raw: Any, rest: Any, sensitivity: Any, flags: Any,
        rounded: Any, p: Any, emin: Any, qmin: Any, least: Any, found: Any, counts: Any,
    ) -> None:  # fmt: skip
        n = value.size
        has_tail, has_raw, has_rest = tail.size == n, raw.size == n, rest.size == n
        has_flags, asked = flags.size == n, sensitivity.size == n
        by_t, by_e, by_h, by_l, by_s = 1.0, 1.0, 1.0, 1.0, 1.0
        for _ in range(2):
            sum_t, sum_e, sum_h, sum_l, sum_s = 0.0, 0.0, 0.0, 0.0, 0.0
            lost_t, lost_e, lost_h, lost_l, lost_s = 0.0, 0.0, 0.0, 0.0, 0.0
            max_t, max_e, max_h, max_l, max_s = 0.0, 0.0, 0.0, 0.0, 0.0
            ulps_e, ulps_h, ulps_l, worst_e, worst_h, worst_l = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            amax, amin, exact_amin, ratio = 0.0, -1.0, -1.0, 0.0
            counts[:] = 0
            for i in range(n):
                v, t = value[i], exact[i]
                r = raw[i] if has_raw else v
                low, under = tail[i] if has_tail else 0.0, rest[i] if has_rest else 0.0
                size, magnitude, error = abs(t), abs(v), apart(v, t, low)
                max_t, max_e, amax = larger(max_t, size), larger(max_e, abs(error)), larger(amax, magnitude)
                sum_t, lost_t = added(sum_t, lost_t, t * by_t)
                sum_e, lost_e = added(sum_e, lost_e, error * by_e)
                unit = spacing(t, p, emin, qmin) if rounded else np.inf
                if error != 0:
                    ulps_e, worst_e = larger(ulps_e, abs(error) / unit), larger(worst_e, abs(error) / size)
                if has_raw:
                    inherited, local = less(apart(r, t, low), -under), apart(v, r, under)
                    max_h, max_l = larger(max_h, abs(inherited)), larger(max_l, abs(local))
                    sum_h, lost_h = added(sum_h, lost_h, inherited * by_h)
                    sum_l, lost_l = added(sum_l, lost_l, local * by_l)
                    if inherited != 0:
                        ulps_h, worst_h = larger(ulps_h, abs(inherited) / unit), larger(worst_h, abs(inherited) / size)
                    if local != 0:
                        ulps_l, worst_l = larger(ulps_l, abs(local) / unit), larger(worst_l, abs(local) / size)
                if asked:
                    felt = sensitivity[i]
                    max_s = larger(max_s, abs(felt))
                    sum_s, lost_s = added(sum_s, lost_s, felt * by_s)
                    if size > 0 and felt / size > ratio and felt / size < np.inf:
                        ratio = felt / size
                if (magnitude > 0) & ((magnitude < amin) | (amin < 0)):
                    amin = magnitude
                if (size > 0) & ((size < exact_amin) | (exact_amin < 0)):
                    exact_amin = size
                if rounded:
                    counts[SUBNORMAL] += (magnitude > 0) & (magnitude < least)
                if v == 0:
                    counts[ZEROS_NEW] += r != 0
                    counts[ZEROS_INHERITED] += (r == 0) & (t != 0)
                if has_flags:
                    over, saturated = (flags[i] & OVERFLOW) != 0, (flags[i] & SATURATED) != 0
                    counts[OVERFLOWED] += over
                    counts[SATURATION] += saturated
                    counts[BEYOND] += over | saturated
            again = (by_t, by_e, by_h, by_l, by_s)
            by_t, by_e, by_h = scale_for(max_t), scale_for(max_e), scale_for(max_h)
            by_l, by_s = scale_for(max_l), scale_for(max_s)
            if again == (by_t, by_e, by_h, by_l, by_s):
                break
        if not has_raw:
            max_h, sum_h, lost_h, by_h, ulps_h, worst_h = max_e, sum_e, lost_e, by_e, ulps_e, worst_e
        found[SIZE], found[ERROR] = length(max_t, by_t, sum_t, lost_t), length(max_e, by_e, sum_e, lost_e)
        found[INHERITED], found[LOCAL] = length(max_h, by_h, sum_h, lost_h), length(max_l, by_l, sum_l, lost_l)
        found[SENSITIVITY], found[RATIO] = length(max_s, by_s, sum_s, lost_s), ratio
        found[ULPS], found[INHERITED_ULPS], found[LOCAL_ULPS] = ulps_e, ulps_h, ulps_l
        found[WORST], found[INHERITED_WORST], found[LOCAL_WORST] = worst_e, worst_h, worst_l
        found[AMAX], found[AMIN], found[EXACT_AMAX], found[EXACT_AMIN] = amax, amin, max_t, exact_amin

    return kernels.compiled(loop, "survey")
