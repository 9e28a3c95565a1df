"""Elementary functions in pairs of binary64 numbers: exponentials, logarithms, what is made of them; the loops.

A kernel takes a binary64 number and returns (h, l, d): a pair, and a bound d on its absolute error.

- d > 0: the exact value lies within d of h + l.
- d = 0: the exact value is h if l = 0; else it lies strictly between h and its neighbour on the side of l
  (the *sticky* answer of saturated tails and tiny arguments, where h + l itself says nothing).
- d < 0: its magnitude lies beyond 2^960 or below 2^-960, on the side where h lies.
  Beyond binary64's range, h is TOP or BOTTOM with its sign, l = 0 and d = 0.
- d infinite: not known here.

From it :func:`settle` takes the exact value *rounded to odd* in binary64, on which every later rounding to
p bits with n random bits gives what the exact value gives, if p + n + 2 <= 53.

Error bounds. The pair arithmetic adds a few 2^-102; what counts are the last terms of the polynomials,
computed in binary64 with a relative error below 2^-51. With |r| <= 2^-7.5 they are below 2^-25 of the result in
exp (hence 2^-76), and below 2^-17 of it in log near 1 (2^-68); each further step that loses bits
says so. The bounds d are larger than these sums, and the tests measure how much larger.
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
    sum2,
    whole,
)
from floatemu._core.elementary_tables import LOGS, POWERS
from floatemu._core.exact import bits_of, float_of, to_odd

W = np.uint64

STEPS_PER_ONE = 92.33248261689366  #: 64 / ln 2
STEP_1, STEP_2 = 0.010830424695996044, 2.5310172166650877e-13  #: ln 2 / 64 = 34 bits + 53 bits
LN2_1, LN2_2 = 0.6931471805592082, 7.371002565167799e-13  #: ln 2 = 40 bits + 53 bits
LN2_H, LN2_L = 0.6931471805599453, 2.3190468138462996e-17
LG2_1, LG2_2 = 0.30102999566361177, 3.694239077158931e-13  #: log10 2 = 40 bits + 53 bits
PER_LN2_H, PER_LN2_L = 1.4426950408889634, 2.0355273740931033e-17  #: 1 / ln 2
PER_LN10_H, PER_LN10_L = 0.4342944819032518, 1.098319650216765e-17  #: 1 / ln 10
ROOT_HALF = 0.7071067811865476

HUGE, TINY = float.fromhex("0x1.0000000000001p+1000"), float.fromhex("0x1.0000000000001p-1000")
"""Stand for magnitudes beyond 2^960 and below 2^-960; their odd last bits are sticky."""
TOP, BOTTOM = float.fromhex("0x1.fffffffffffffp+1023"), 2.0**-1074
"""Magnitudes beyond 2^1024 and below 2^-1074 rounded to odd in binary64."""
NEAR = 2.0**-80
"""The l of a sticky answer next to h = 1."""
INFINITY = float("inf")
NAN = float("nan")
WIDEST = 2.0**-55
"""The largest relative bound that :func:`settle` uses: less than half an ulp."""


def settle(w: Any, h: Any, l: Any, d: Any, low: Any, narrow: Any) -> Any:  # noqa: E741
    """Bits of the exact value rounded to odd, and whether they are known.

    ``low`` masks the bits of a significand below those where any later rounding may change its
    result (all results change only at multiples of low + 1), ``narrow`` says that such changes lie
    within 2^-940 .. 2^940.

    If |l| > d the exact value lies strictly between h and a neighbour. Else it lies within an ulp of
    h, and if h is not a multiple of low + 1 none lies there: then any number as close, but the odd one
    for stickiness, serves as well.
    """
    bits = w(bits_of(h))
    if d == 0:
        return (bits if l == 0 else to_odd(w, h, bits, l)), True
    if d < 0:
        return bits, narrow
    size = -l if l < 0 else l
    if not (d <= WIDEST * abs(h)):
        return bits, False
    if size > d:
        return to_odd(w, h, bits, l), True
    return w(bits | w(1)), w(bits & low) != w(0)


# Exponentials ---------------------------------------------------------------------------------------------------------


def exp_pair(xh: Any, xl: Any) -> Any:
    """(h, l, k) with exp(xh + xl) = (h + l) * 2^k, 0.99 < h < 2.01, relative error below 2^-74; |xh| < 1100.

    n steps of ln 2 / 64: both n * STEP_1 (17 + 34 bits) and its difference to xh are exact, and the two
    parts of the step leave n * 2^-95. exp(r) - 1 = r + r^2 / 2 (a pair) + a tail in binary64.
    """
    n = whole(xh * STEPS_PER_ONE)
    p, e = product2(n, STEP_2)
    rh, rl = sum2(xh - n * STEP_1, -p)
    rh, rl = quick2(rh, (rl - e) + xl)
    s, f = product2(rh, 0.5 * rh)
    tail = rh * (1 / 120 + rh * (1 / 720 + rh * (1 / 5040 + rh * (1 / 40320))))
    tail = rh * rh * rh * (1 / 6 + rh * (1 / 24 + tail))
    eh, el = sum2(rh, s)
    eh, el = quick2(eh, el + (rl + (f + (rh * rl + tail))))
    i = int(n)
    th, tl = POWERS[i & 63, 0], POWERS[i & 63, 1]
    ph, pl = multiply_pairs(th, tl, eh, el)
    h, low = add(th, tl, ph, pl)
    return h, low, i >> 6


def scaled(h: Any, l: Any, k: Any, relative: Any) -> Any:  # noqa: E741
    """(h + l) * 2^k with its bound, for |h| near 1; an answer by the tail rule where k is beyond 960."""
    if k > 1100:
        return (TOP if h > 0 else -TOP), 0.0, 0.0
    if k < -1100:
        return (BOTTOM if h > 0 else -BOTTOM), 0.0, 0.0
    if k > 960:
        return (HUGE if h > 0 else -HUGE), 0.0, -1.0
    if k < -960:
        return (TINY if h > 0 else -TINY), 0.0, -1.0
    s = power_of_two(k)
    return h * s, l * s, abs(h) * s * relative


def exp(x: Any) -> Any:
    """exp(x)."""
    if x != x or x == 0 or x - x != 0:
        return (1.0 if x == 0 else 0.0 if x < 0 else x), 0.0, 0.0
    if abs(x) >= 1000:
        return (TOP if x > 0 else BOTTOM), 0.0, 0.0
    if abs(x) < 2.0**-56:
        return 1.0, x, 0.0
    h, low, k = exp_pair(x, 0.0)
    return scaled(h, low, k, 2.0**-70)


def exp2(x: Any) -> Any:
    """2^x: exact for integers, and for no other rational x."""
    if x != x or x - x != 0:
        return (0.0 if x < 0 else x), 0.0, 0.0
    if abs(x) >= 1400:
        return (TOP if x > 0 else BOTTOM), 0.0, 0.0
    n = whole(x)
    if n == x:
        i = int(n)
        return (power_of_two(i), 0.0, 0.0) if -1022 <= i <= 1023 else ((HUGE if i > 0 else TINY), 0.0, -1.0)
    if abs(x) < 2.0**-56:
        return 1.0, x, 0.0
    rh, rl = multiply_pairs(x - n, 0.0, LN2_H, LN2_L)
    h, low, k = exp_pair(rh, rl)
    return scaled(h, low, k + int(n), 2.0**-70)


def expm1_pair(x: Any) -> Any:
    """exp(x) - 1 as a pair, relative error below 2^-67; |x| < 600.

    Below 2^-7 its series: the terms from x^3 / 6 on, 2^-16.5 of the whole, in binary64. Above, the
    error of the exponential is magnified by at most 2^7.
    """
    if abs(x) < 2.0**-7:
        s, f = product2(x, 0.5 * x)
        tail = x * (1 / 120 + x * (1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880)))))
        tail = x * x * x * (1 / 6 + x * (1 / 24 + tail))
        h, low = sum2(x, s)
        return quick2(h, low + (f + tail))
    h, low, k = exp_pair(x, 0.0)
    s = power_of_two(k)
    return add(h * s, low * s, -1.0, 0.0)


def expm1(x: Any) -> Any:
    """exp(x) - 1."""
    if x != x or x == 0 or x - x != 0:
        return (-1.0 if x < 0 else x), 0.0, 0.0
    if x < -50:
        return -1.0, NEAR, 0.0
    if x > 1000:
        return TOP, 0.0, 0.0
    if abs(x) < 2.0**-56:
        return x, 1.0, 0.0
    if x > 100:  # one is less than 2^-140 of it
        h, low, k = exp_pair(x, 0.0)
        return scaled(h, low, k, 2.0**-70)
    h, low = expm1_pair(x)
    return h, low, abs(h) * 2.0**-65


def sinh(x: Any) -> Any:
    """(e + e / (e + 1)) / 2 with e = exp(x) - 1; beyond 60, exp(|x|) / 2."""
    if x == 0 or x - x != 0:
        return x, 0.0, 0.0
    if abs(x) < 2.0**-28:  # x^3 / 6 is less than 2^-58 of x
        return x, x, 0.0
    a = abs(x)
    if a > 60:
        h, low, k = exp_pair(min(a, 1000.0), 0.0)
        h, low, d = scaled(h, low, k - 1, 2.0**-70)
    else:
        e, f = expm1_pair(a)
        g, r = add(e, f, 1.0, 0.0)
        qh, ql = divide_pairs(e, f, g, r)
        h, low = add(e, f, qh, ql)
        h, low, d = 0.5 * h, 0.5 * low, h * 2.0**-66
    return (h, low, d) if x > 0 else (-h, -low, d)


def cosh(x: Any) -> Any:
    """(exp(x) + 1 / exp(x)) / 2."""
    if x != x or x == 0 or x - x != 0:
        return (1.0 if x == 0 else abs(x)), 0.0, 0.0
    a = abs(x)
    if a < 2.0**-28:
        return 1.0, NEAR, 0.0
    h, low, k = exp_pair(min(a, 1000.0), 0.0)
    if a > 60:
        return scaled(h, low, k - 1, 2.0**-70)
    s = power_of_two(k)
    qh, ql = divide_pairs(1.0, 0.0, h * s, low * s)
    h, low = add(h * s, low * s, qh, ql)
    return 0.5 * h, 0.5 * low, h * 2.0**-70


def tanh(x: Any) -> Any:
    """e / (e + 2) with e = exp(2 x) - 1."""
    if x != x or x == 0:
        return x, 0.0, 0.0
    a = abs(x)
    if a > 20:  # 2 exp(-40) < 2^-56
        h, low, d = 1.0, (0.0 if a == INFINITY else -NEAR), 0.0
    elif a < 2.0**-28:
        h, low, d = a, -a, 0.0
    else:
        e, f = expm1_pair(2 * a)
        g, r = add(e, f, 2.0, 0.0)
        h, low = divide_pairs(e, f, g, r)
        d = h * 2.0**-65
    return (h, low, d) if x > 0 else (-h, -low, d)


def sigmoid_pair(xh: Any, xl: Any) -> Any:
    """(h, l, k) with 1 / (1 + exp(-x)) = (h + l) * 2^k, relative error below 2^-73; |x| < 1100.

    With e = exp(-|x|) it is 1 / (1 + e) or e / (1 + e): nothing cancels. Where e < 2^-60 its square is left out.
    """
    negative = xh < 0
    h, low, k = exp_pair(xh, xl) if negative else exp_pair(-xh, -xl)
    s = power_of_two(max(k, -1000))
    g, r = add(h * s, low * s, 1.0, 0.0)
    if negative:
        h, low = divide_pairs(h, low, g, r)
        return h, low, k
    h, low = divide_pairs(1.0, 0.0, g, r)
    return h, low, 0


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); 1/2 at 0."""
    if x != x or x == 0 or x - x != 0:
        return (0.5 if x == 0 else 1.0 if x > 0 else 0.0 if x < 0 else x), 0.0, 0.0
    if x > 40:  # exp(-40) < 2^-57
        return 1.0, -NEAR, 0.0
    if x < -1000:
        return BOTTOM, 0.0, 0.0
    if abs(x) < 2.0**-56:
        return 0.5, x, 0.0
    h, low, k = sigmoid_pair(x, 0.0)
    return scaled(h, low, k, 2.0**-69)


def gated(x: Any, h: Any, l: Any, k: Any, relative: Any) -> Any:  # noqa: E741
    """x * (h + l) * 2^k with its bound; not known if x is below 2^-900."""
    if abs(x) < 2.0**-900:
        return x, 0.0, INFINITY
    ph, pl = multiply_pairs(x, 0.0, h, l)
    if k < -1100:
        return (BOTTOM if x > 0 else -BOTTOM), 0.0, 0.0
    if k < -900:
        return (TINY if x > 0 else -TINY), 0.0, (-1.0 if k < -975 else INFINITY)
    s = power_of_two(k)
    return ph * s, pl * s, abs(ph) * s * relative


def silu(x: Any) -> Any:
    """x * sigmoid(x)."""
    if x != x or x == 0 or x - x != 0:
        return (-0.0 if x < 0 else x), 0.0, 0.0
    if x > 40:
        return x, -1.0, 0.0
    if x < -1000:
        return -BOTTOM, 0.0, 0.0
    if (abs(x) < 2.0**-60) & (abs(x) > 2.0**-900):
        return 0.5 * x, 1.0, 0.0  # x / 2 + x^2 / 4
    h, low, k = sigmoid_pair(x, 0.0)
    return gated(x, h, low, k, 2.0**-69)


# Logarithms -----------------------------------------------------------------------------------------------------------


def log_series(rh: Any, rl: Any) -> Any:
    """log(1 + r) as a pair for |r| <= 2^-7, relative error below 2^-67: r - r^2 / 2, then r^3 / 3 ... in binary64."""
    s, f = product2(rh, -0.5 * rh)
    tail = 1 / 7 - rh * (1 / 8 - rh * (1 / 9 - rh * (1 / 10 - rh * (1 / 11 - rh * (1 / 12)))))
    tail = rh * rh * rh * (1 / 3 - rh * (1 / 4 - rh * (1 / 5 - rh * (1 / 6 - rh * tail))))
    h, low = sum2(rh, s)
    return quick2(h, low + (rl + (f + (tail - rh * rl))))


def log_parts(xh: Any, xl: Any) -> Any:
    """(k, h, l) with log(xh + xl) = k ln 2 + h + l, where |h + l| < 0.36 and k = 0 from 0.71 to 1.41.

    The significand m times a reciprocal of 9 bits from a table gives 1 + r; where that reciprocal is
    not 1, -log of it, at least 2^-7.2, is added. The product is exact as a pair. For normal xh > 0.
    """
    bits = W(bits_of(xh))
    k = np.int64(bits >> W(52)) - 1023
    m = float_of(W(bits & W(0xFFFFFFFFFFFFF)) | W(0x3FF0000000000000))
    up = m > 2 * ROOT_HALF  # as a factor: branches that no one can predict cost more than all the rest
    m, k = m * (0.5 if up else 1.0), k + (1 if up else 0)
    s = power_of_two(-k) if xl != 0 else 0.0
    i = int(m * 128.0) - 90
    p, e = product2(m, LOGS[i, 0])
    rh, rl = quick2(p - 1.0, e + (xl * s) * LOGS[i, 0])
    h, low = log_series(rh, rl)
    h, low = add(LOGS[i, 1], LOGS[i, 2], h, low)
    return k, h, low


def log_pair(xh: Any, xl: Any) -> Any:
    """log(xh + xl) as a pair, relative error below 2^-66."""
    k, h, low = log_parts(xh, xl)
    p, e = sum2(k * LN2_1, k * LN2_2)  # the first product is exact, the second within 2^-83 of the sum
    return add(p, e, h, low)


def log_special(x: Any) -> Any:
    """What all logarithms share: NaN below zero, -infinity at either zero."""
    return (-INFINITY if x == 0 else x if x > 0 or x != x else NAN), 0.0, 0.0


def log(x: Any) -> Any:
    """log(x); exact only at 1."""
    if not (x > 0) or x == INFINITY:
        return log_special(x)
    if x == 1:
        return 0.0, 0.0, 0.0
    if x < 2.0**-1000:
        h, low = log_pair(x * 2.0**200, 0.0)
        h, low = add(h, low, -200 * LN2_1, -200 * LN2_2)
    else:
        h, low = log_pair(x, 0.0)
    return h, low, abs(h) * 2.0**-64


def log2(x: Any) -> Any:
    """log2(x): exact at powers of two, and at no other rational number."""
    if not (x > 0) or x == INFINITY:
        return log_special(x)
    lift = 200 if x < 2.0**-1000 else 0
    k, h, low = log_parts(x * 2.0**lift, 0.0)
    whole_part = float(k - lift)
    if h == 0:
        return whole_part, 0.0, 0.0
    h, low = multiply_pairs(h, low, PER_LN2_H, PER_LN2_L)
    h, low = add(whole_part, 0.0, h, low)
    return h, low, abs(h) * 2.0**-64


def log10(x: Any) -> Any:
    """log10(x): exact at powers of ten, of which binary64 holds 10^0 to 10^22."""
    if not (x > 0) or x == INFINITY:
        return log_special(x)
    lift = 200 if x < 2.0**-1000 else 0
    k, h, low = log_parts(x * 2.0**lift, 0.0)
    h, low = multiply_pairs(h, low, PER_LN10_H, PER_LN10_L)
    if k != lift:
        p, e = sum2((k - lift) * LG2_1, (k - lift) * LG2_2)
        h, low = add(p, e, h, low)
    n = whole(h)
    if (n >= 0) & (n <= 22) & (abs(h - n) < 2.0**-40):
        power, five = 1.0, 5.0
        for _ in range(int(n)):  # 5^22 has 52 bits
            power *= five
        if power * power_of_two(int(n)) == x:
            return n, 0.0, 0.0
    return h, low, abs(h) * 2.0**-64


def log1p_pair(xh: Any, xl: Any) -> Any:
    """log(1 + x) as a pair for x > -1, relative error below 2^-66."""
    if abs(xh) < 2.0**-7:
        return log_series(xh, xl)
    sh, sl = sum2(1.0, xh)
    sh, sl = quick2(sh, sl + xl)
    return log_pair(sh, sl)


def log1p(x: Any) -> Any:
    """log(1 + x)."""
    if not (x > -1) or x == INFINITY:
        return (-INFINITY if x == -1 else x if x > 0 or x != x else NAN), 0.0, 0.0
    if x == 0:
        return x, 0.0, 0.0
    if abs(x) < 2.0**-56:
        return x, -1.0, 0.0
    h, low = log1p_pair(x, 0.0)
    return h, low, abs(h) * 2.0**-64


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)); beyond -40, e - e^2 / 2, whose e^3 / 3 is below 2^-115 of it."""
    if x != x or x - x != 0:
        return (0.0 if x < 0 else x), 0.0, 0.0
    if x > 45:  # exp(-45) < 2^-64, below ulp(45) / 2^16
        return x, 1.0, 0.0
    if x < -1000:
        return BOTTOM, 0.0, 0.0
    h, low, k = exp_pair(-abs(x), 0.0)
    s = power_of_two(max(k, -1000))
    if x < -40:
        ph, pl = multiply_pairs(h, low, h * (-0.5 * s), low * (-0.5 * s))
        h, low = add(h, low, ph, pl)
        return scaled(h, low, k, 2.0**-70)
    h, low = log1p_pair(h * s, low * s)
    if x > 0:
        h, low = add(x, 0.0, h, low)
    return h, low, h * 2.0**-64


TEXT = (
    settle, exp_pair, scaled, expm1_pair, sigmoid_pair, gated, log_series, log_parts, log_pair, log_special, log1p_pair,
)  # fmt: skip
UNARY = {f.__name__: f for f in (exp, exp2, expm1, sinh, cosh, tanh, sigmoid, silu, log, log2, log10, log1p, softplus)}
"""Kernels by name."""
