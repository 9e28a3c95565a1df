"""Sine, cosine, tangent and their inverses in pairs of binary64 numbers; conventions as in ``elementary``.

The argument is reduced with as many bits of 2 / pi as it needs (Payne and Hanek, "Radian reduction for
trigonometric functions", ACM SIGNUM Newsletter 18(1), 1983): 192 bits, of which at most 4 come before
the point that matters and some 62 may cancel in binary64 (Kahan, Muller), leave more than 73.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from floatemu._core.doubled import (
    add,
    divide_pairs,
    multiply_pairs,
    power_of_two,
    product2,
    quick2,
    root_of_pair,
    sum2,
    whole,
)
from floatemu._core.elementary import NAN, NEAR, ROOT_HALF
from floatemu._core.elementary_tables import ANGLES, ARCS, TURNS
from floatemu._core.exact import bits_of, multiply

W = np.uint64
PI_H, PI_L = 3.141592653589793, 1.2246467991473532e-16
HALF_PI_H, HALF_PI_L = 1.5707963267948966, 6.123233995736766e-17


def plus(x: Any, y: Any) -> Any:
    """x + y modulo 2^64 and the carry, without ever leaving the word: numpy's scalars would warn."""
    if x > W(~y):
        return W(W(x - W(~y)) - W(1)), W(1)
    return W(x + y), W(0)


def reduce(x: Any) -> Any:
    """(n, h, l): x = n pi / 2 + (h + l) modulo 2 pi, |h| <= pi / 4, relative error below 2^-72; 1/2 <= x < infinity.

    x = m 2^q with a 53-bit integer m. The bits of 2 / pi of weight 2^-b with b < q - 1 give multiples of
    four quarter turns and are skipped; the product of m with the 192 bits that follow, modulo 2^192, has
    the quarter turns in its two top bits and an error below 2^53. ``TURNS`` holds 64 zero bits first.
    """
    bits = W(bits_of(x))
    m = W(W(bits & W((1 << 52) - 1)) | W(1 << 52))
    start = np.int64(bits >> W(52)) - 1075 + 62  # of bit b = q - 1, counted from 0
    i, shift = start >> 6, W(start & 63)
    v0, v1, v2, v3 = TURNS[i], TURNS[i + 1], TURNS[i + 2], TURNS[i + 3]
    if shift != W(0):
        back = W(W(64) - shift)
        v0 = W(W(v0 << shift) | W(v1 >> back))
        v1 = W(W(v1 << shift) | W(v2 >> back))
        v2 = W(W(v2 << shift) | W(v3 >> back))
    h2, f2 = multiply(W, m, v2)
    h1, l1 = multiply(W, m, v1)
    f1, carry = plus(l1, h2)
    _, l0 = multiply(W, m, v0)
    f0, _ = plus(l0, W(h1 + carry))
    n = np.int64(f0 >> W(62))
    f0 = W(W(f0 << W(2)) | W(f1 >> W(62)))
    f1 = W(W(f1 << W(2)) | W(f2 >> W(62)))
    f2 = W(f2 << W(2))
    negative = W(f0 >> W(63)) != W(0)
    if negative:  # nearer to the next quarter turn
        n += 1
        f0, f1, f2 = W(~f0), W(~f1), W(~f2)  # one unit of 2^-190 off, less than the error
    zeros = 0
    if f0 == W(0):
        f0, f1, f2, zeros = f1, f2, W(0), 64
    while W(f0 >> W(63)) == W(0):
        f0 = W(W(f0 << W(1)) | W(f1 >> W(63)))
        f1 = W(W(f1 << W(1)) | W(f2 >> W(63)))
        f2 = W(f2 << W(1))
        zeros += 1
    s = power_of_two(-53 - zeros)
    high = float(W(f0 >> W(11))) * s
    low = float(W(W(W(f0 & W(0x7FF)) << W(42)) | W(f1 >> W(22)))) * (s * 2.0**-53)
    h, low = multiply_pairs(high, low, HALF_PI_H, HALF_PI_L)
    return n, (-h if negative else h), (-low if negative else low)


def turn(rh: Any, rl: Any) -> Any:
    """Sine and cosine of |rh + rl| <= pi / 4, rh > 0, as pairs, relative errors below 2^-66.

    With r = c + z, c a multiple of 1/64: sin z = z - z^3 / 6 ... and cos z - 1 = -z^2 / 2 + ..., their tails
    from z^3 and z^4 on in binary64, put together by the addition theorems. All that is added to a
    tabulated value is below 2^-6.9 of it, or that value is zero.
    """
    j = int(whole(64.0 * rh))
    zh, zl = sum2(rh, -0.015625 * j)
    zh, zl = quick2(zh, zl + rl)
    z2 = zh * zh
    sh, sl = quick2(zh, zl + zh * z2 * (z2 * (1 / 120 - z2 * (1 / 5040)) - 1 / 6))
    p, e = product2(zh, -0.5 * zh)
    ch, cl = quick2(p, e + (z2 * z2 * (1 / 24 - z2 * (1 / 720 - z2 * (1 / 40320))) - zh * zl))
    ah, al, bh, bl = ANGLES[j, 0], ANGLES[j, 1], ANGLES[j, 2], ANGLES[j, 3]
    ph, pl = multiply_pairs(ah, al, ch, cl)
    qh, ql = multiply_pairs(bh, bl, sh, sl)
    ph, pl = add(ph, pl, qh, ql)
    sine_h, sine_l = add(ah, al, ph, pl)
    ph, pl = multiply_pairs(bh, bl, ch, cl)
    qh, ql = multiply_pairs(ah, al, sh, sl)
    ph, pl = add(ph, pl, -qh, -ql)
    cosine_h, cosine_l = add(bh, bl, ph, pl)
    return sine_h, sine_l, cosine_h, cosine_l


def circle(x: Any) -> Any:
    """Sine and cosine of a positive number as two pairs."""
    n, rh, rl = 0, x, 0.0
    if x > 0.75:
        n, rh, rl = reduce(x)
    negative = rh < 0
    if negative:
        rh, rl = -rh, -rl
    sh, sl, ch, cl = turn(rh, rl)
    if negative:
        sh, sl = -sh, -sl
    if n & 1:
        sh, sl, ch, cl = ch, cl, -sh, -sl
    if n & 2:
        sh, sl, ch, cl = -sh, -sl, -ch, -cl
    return sh, sl, ch, cl


def sin(x: Any) -> Any:
    """sin(x)."""
    if x == 0 or x - x != 0:
        return (x if x == 0 else NAN), 0.0, 0.0
    if abs(x) < 2.0**-28:  # x^3 / 6 is less than 2^-58 of x
        return x, -x, 0.0
    h, low, _, _ = circle(abs(x))
    return (h if x > 0 else -h), (low if x > 0 else -low), abs(h) * 2.0**-64


def cos(x: Any) -> Any:
    """cos(x)."""
    if x == 0 or x - x != 0:
        return (1.0 if x == 0 else NAN), 0.0, 0.0
    if abs(x) < 2.0**-28:
        return 1.0, -NEAR, 0.0
    _, _, h, low = circle(abs(x))
    return h, low, abs(h) * 2.0**-64


def tan(x: Any) -> Any:
    """sin(x) / cos(x)."""
    if x == 0 or x - x != 0:
        return (x if x == 0 else NAN), 0.0, 0.0
    if abs(x) < 2.0**-28:
        return x, x, 0.0
    sh, sl, ch, cl = circle(abs(x))
    h, low = divide_pairs(sh, sl, ch, cl)
    return (h if x > 0 else -h), (low if x > 0 else -low), abs(h) * 2.0**-64


def atan_pair(qh: Any, ql: Any) -> Any:
    """atan(q) for 0 <= q < 1.001 as a pair, relative error below 2^-67.

    atan(q) = atan(c) + atan((q - c) / (1 + q c)) with c a multiple of 1/64, the second by its series.
    """
    j = int(whole(64.0 * qh))
    zh, zl = qh, ql
    if j > 0:
        c = 0.015625 * j
        ah, al = add(qh, ql, -c, 0.0)
        bh, bl = multiply_pairs(qh, ql, c, 0.0)
        bh, bl = add(bh, bl, 1.0, 0.0)
        zh, zl = divide_pairs(ah, al, bh, bl)
    z2 = zh * zh
    tail = z2 * (1 / 5 - z2 * (1 / 7 - z2 * (1 / 9 - z2 * (1 / 11)))) - 1 / 3
    zh, zl = quick2(zh, zl + zh * z2 * tail)
    return add(ARCS[j, 0], ARCS[j, 1], zh, zl)


def signed(x: Any, h: Any, l: Any) -> Any:  # noqa: E741
    """(h, l) with the sign of x, and the bound that the inverse functions share."""
    return (h if x > 0 else -h), (l if x > 0 else -l), h * 2.0**-64


def atan(x: Any) -> Any:
    """atan(x); for |x| > 1, pi / 2 - atan(1 / |x|)."""
    a = abs(x)
    if x != x or x == 0:
        return x, 0.0, 0.0
    if a < 2.0**-28:
        return x, -x, 0.0
    if a > 2.0**80:
        return signed(x, HALF_PI_H, HALF_PI_L)
    if a <= 1:
        h, low = atan_pair(a, 0.0)
        return signed(x, h, low)
    h, low = divide_pairs(1.0, 0.0, a, 0.0)
    h, low = atan_pair(h, low)
    h, low = add(HALF_PI_H, HALF_PI_L, -h, -low)
    return signed(x, h, low)


def cofactor(a: Any) -> Any:
    """sqrt(1 - a^2) for 0 <= a <= 1 as a pair: 1 - a and 1 + a are exact."""
    mh, ml = sum2(1.0, -a)
    ph, pl = sum2(1.0, a)
    h, low = multiply_pairs(mh, ml, ph, pl)
    return root_of_pair(h, low)


def asin(x: Any) -> Any:
    """atan(x / sqrt(1 - x^2)), or pi / 2 less its complement."""
    a = abs(x)
    if not (a <= 1) or x == 0:
        return (x if x == 0 or x != x else NAN), 0.0, 0.0
    if a < 2.0**-28:
        return x, x, 0.0
    rh, rl = cofactor(a)
    if a <= ROOT_HALF:
        h, low = divide_pairs(a, 0.0, rh, rl)
        h, low = atan_pair(h, low)
        return signed(x, h, low)
    h, low = divide_pairs(rh, rl, a, 0.0)
    h, low = atan_pair(h, low)
    h, low = add(HALF_PI_H, HALF_PI_L, -h, -low)
    return signed(x, h, low)


def acos(x: Any) -> Any:
    """pi / 2 - asin(x); the complement itself where x is near 1."""
    a = abs(x)
    if not (a <= 1):
        return (x if x != x else NAN), 0.0, 0.0
    if x == 1:
        return 0.0, 0.0, 0.0
    rh, rl = cofactor(a)
    if a <= ROOT_HALF:
        h, low = divide_pairs(x, 0.0, rh, rl)
        h, low = (h, low) if x > 0 else (-h, -low)
        h, low = atan_pair(h, low)
        h, low = (-h, -low) if x > 0 else (h, low)
        h, low = add(HALF_PI_H, HALF_PI_L, h, low)
    else:
        h, low = divide_pairs(rh, rl, a, 0.0)
        h, low = atan_pair(h, low)
        if x < 0:
            h, low = add(PI_H, PI_L, -h, -low)
    return h, low, h * 2.0**-64


TEXT = (plus, reduce, turn, circle, atan_pair, signed, cofactor)
UNARY = {f.__name__: f for f in (sin, cos, tan, asin, acos, atan)}
"""Kernels by name."""
