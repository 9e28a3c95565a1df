"""One pass over arrays and what they should have been: errors, ranges, counts. Every sum has one order.

Arrays come many at a time, one behind the other in a pool: of small ones, a call costs more than the work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import sqrt
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core.exact import bits_of, float_of
from floatemu._core.rounding import FLUSHED, OVERFLOW, SATURATED, UNDERFLOW

SIZE, ERROR, INHERITED, LOCAL, SENSITIVITY = range(5)
"""Norms: of the exact values, of value - exact, unrounded - exact, value - unrounded, of the sensitivity."""
ULPS, INHERITED_ULPS, LOCAL_ULPS, WORST, INHERITED_WORST, LOCAL_WORST = range(5, 11)
"""Largest error of an element, in quanta of the format and over its exact value."""
AMAX, AMIN, EXACT_AMAX, EXACT_AMIN, RATIO = range(11, 16)
ZEROS_NEW, ZEROS_INHERITED, SUBNORMAL, OVERFLOWED, SATURATION, BEYOND, SUBNORMAL_NEW, UNFIT_INHERITED = range(8)
MEASURES, COUNTS = 16, 8
RAISED, UNFIT, SICK, UNDERFLOWS, FIRST_UNDERFLOW, FLUSHES, ABSORBED, FIRST_ABSORBED = range(8)
"""Of a rounding: the flags it raised, how many numbers before and after it are none or infinite, what became tiny or
zero, and of a sum, where one operand left the other as it was."""
SCANNED = 8
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


def part(pool: Any, start: Any, size: Any) -> Any:
    """An array's place in the pool; an empty one where it has none."""
    return pool[max(start, 0) : max(start, 0) + (size if start >= 0 else 0)]


def survey_one(
    value: Any, exact: Any, tail: Any, raw: Any, rest: Any, sensitivity: Any, flags: Any,
    rounded: Any, p: Any, emin: Any, qmin: Any, least: Any, found: Any, counts: Any,
) -> None:  # fmt: skip
    """Survey one array, of whose companions those that are not there are empty."""
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
                below = (magnitude > 0) & (magnitude < least)
                counts[SUBNORMAL] += below
                counts[SUBNORMAL_NEW] += below & (v != r)
            if v - v != 0:
                counts[UNFIT_INHERITED] += (r - r != 0) & (t - t == 0)
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


def scan_one(raw: Any, value: Any, flags: Any, left: Any, right: Any, sign: Any, marks: Any) -> Any:
    """Look through one rounding, and the operands of the sum it rounds if there are any; the least that underflowed."""
    n = value.size
    raised, unfit, sick = 0, 0, 0
    for i in range(flags.size):
        raised |= flags[i]
    for i in range(n):
        unfit += raw[i] - raw[i] != 0
        sick += value[i] - value[i] != 0
    tiny, flushed, absorbed, first_tiny, first_absorbed, least = 0, 0, 0, -1, -1, np.inf
    if raised & UNDERFLOW != 0:
        for i in range(n):
            flushed += flags[i] & FLUSHED != 0
            if flags[i] & UNDERFLOW != 0:
                least = min(least, abs(raw[i]))
                first_tiny = i if tiny == 0 else first_tiny
                tiny += 1
    for i in range(left.size):
        v, a, b = value[i], left[i], right[i] * sign
        if (((v == a) & (b != 0)) | ((v == b) & (a != 0))) & (v - v == 0):
            first_absorbed = i if absorbed == 0 else first_absorbed
            absorbed += 1
    marks[RAISED], marks[UNFIT], marks[SICK] = raised, unfit, sick
    marks[UNDERFLOWS], marks[FIRST_UNDERFLOW], marks[FLUSHES] = tiny, first_tiny, flushed
    marks[ABSORBED], marks[FIRST_ABSORBED] = absorbed, first_absorbed
    return least


kernels.register((less, apart, larger, exponent, power, spacing, added, scale_for, length, part, survey_one, scan_one))


@cache
def survey_loop() -> Callable[..., Any]:
    """Return the loop that surveys arrays.

    Returns
    -------
    callable
        ``loop(value, exact, tail, raw, rest, sensitivity, flags, places, sizes, landmarks, leasts, found, counts)``:
        flat pools; ``places[k]`` tells where each of array k and its companions starts, -1 where there is none;
        ``landmarks[k]`` whether it has a format, the format's precision, least normal exponent and quantum 2^qmin,
        ``leasts[k]`` its least normal number. Fills ``found[k]`` and ``counts[k]``.

    Notes
    -----
    Squares are added together with the rounding error of every addition (T. Ogita, S. M. Rump and S. Oishi, SIAM
    Journal on Scientific Computing 26(6), 2005). Where one might leave binary64's range, a second pass scales by a
    power of two, which changes no bit of the others.
    """

    def loop(
        value: Any, exact: Any, tail: Any, raw: Any, rest: Any, sensitivity: Any, flags: Any,
        places: Any, sizes: Any, landmarks: Any, leasts: Any, found: Any, counts: Any,
    ) -> None:  # fmt: skip
        for k in range(sizes.size):
            at, n, mark = places[k], sizes[k], landmarks[k]
            survey_one(
                part(value, at[0], n), part(exact, at[1], n), part(tail, at[2], n), part(raw, at[3], n),
                part(rest, at[4], n), part(sensitivity, at[5], n), part(flags, at[6], n),
                mark[0] != 0, mark[1], mark[2], mark[3], leasts[k], found[k], counts[k],
            )  # fmt: skip

    return kernels.compiled(loop, "survey")


@cache
def scan_loop() -> Callable[..., Any]:
    """Return the loop that looks through roundings.

    Returns
    -------
    callable
        ``loop(raw, value, flags, left, right, places, sizes, signs, marks, leasts)``: flat pools as for surveys;
        ``left`` and ``right`` are the operands of a sum, whose second is multiplied by ``signs[k]``. Fills ``marks[k]``
        and ``leasts[k]``, the least magnitude that underflowed.
    """

    def loop(
        raw: Any, value: Any, flags: Any, left: Any, right: Any,
        places: Any, sizes: Any, signs: Any, marks: Any, leasts: Any,
    ) -> None:  # fmt: skip
        for k in range(sizes.size):
            at, n = places[k], sizes[k]
            leasts[k] = scan_one(
                part(raw, at[0], n), part(value, at[1], n), part(flags, at[2], n), part(left, at[3], n),
                part(right, at[4], n), signs[k], marks[k],
            )  # fmt: skip

    return kernels.compiled(loop, "scan")
