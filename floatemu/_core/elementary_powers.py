"""Powers, reciprocal roots and the hypotenuse in pairs of binary64 numbers; conventions as in ``elementary``.

Results that a format can hold exactly are common here, so the kernels find them by themselves: products and
squares whose rounding errors are all zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from floatemu._core.doubled import (
    add,
    multiply_pairs,
    power_of_two,
    product2,
    quick2,
    root_of_pair,
    sum2,
    whole,
)
from floatemu._core.elementary import BOTTOM, INFINITY, NAN, NEAR, TOP, exp_pair, log_pair, scaled
from floatemu._core.exact import bits_of

W = np.uint64
LARGEST_CHAIN = 64
"""Integer exponents up to this one are tried as products."""


def fraction_bits(x: Any) -> Any:
    """Trailing significand bits: 0 for powers of two (normal numbers)."""
    return W(W(bits_of(x)) & W((1 << 52) - 1))


def exponent(x: Any) -> Any:
    """floor(log2 x) of a normal number x > 0."""
    return np.int64(W(bits_of(x)) >> W(52)) - 1023


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x): one Newton step from binary64's, whose residue 1 - x h^2 is exact but for 2^-105; exact at 4^k."""
    if not (x > 0) or x == INFINITY:
        if x == 0:
            return math.copysign(INFINITY, x), 0.0, 0.0
        return (0.0 if x > 0 else x if x != x else NAN), 0.0, 0.0
    k = 0
    if x < 2.0**-500:
        x, k = x * 2.0**512, 256
    elif x > 2.0**500:
        x, k = x * 2.0**-512, -256
    if x < 2.0**-500:  # it was subnormal
        x, k = x * 2.0**512, k + 256
    s = power_of_two(k)
    h = 1.0 / math.sqrt(x)
    if (fraction_bits(x) == W(0)) & ((exponent(x) & 1) == 0):
        return h * s, 0.0, 0.0
    p, e = product2(h, h)
    q, f = product2(p, x)
    rest = (1.0 - q) - f - e * x
    h, low = quick2(h, 0.5 * h * rest)
    return h * s, low * s, h * s * 2.0**-90


def integer_kind(y: Any) -> Any:
    """0 if y is no integer, 1 if it is odd, 2 if it is even."""
    a = abs(y)
    if not (a < 2.0**53):
        return 2
    i = np.int64(a)
    return 0 if float(i) != a else (1 if i & 1 else 2)


def power_special(x: Any, y: Any, kind: Any) -> Any:
    """x^y where an operand is zero, infinite or NaN, or the base 1 or negative with y no integer (9.2.1)."""
    if y == 0 or x == 1:
        return 1.0
    if x != x or y != y:
        return NAN
    a = abs(x)
    if y - y != 0:
        return 1.0 if a == 1 else (INFINITY if (a > 1) == (y > 0) else 0.0)
    if a != 0 and a != INFINITY:
        return NAN
    result = INFINITY if (a == INFINITY) == (y > 0) else 0.0
    return math.copysign(result, x) if kind == 1 else result


def chain(a: Any, n: Any) -> Any:
    """a^n by squaring, and whether all products were exact; n >= 1."""
    result, exact = 1.0, True
    base, base_exact = a, True
    while True:
        if n & 1:
            p, e = product2(result, base)
            exact = exact & base_exact & (e == 0)
            result = p
        n >>= 1
        if n == 0:
            break
        p, e = product2(base, base)
        base_exact = base_exact & (e == 0)
        base = p
    # Products beyond these have errors that binary64 may not hold.
    return result, exact & (result < 2.0**900) & (result > 2.0**-900)


def positive_power(a: Any, y: Any) -> Any:
    """a^y for finite a > 0 other than 1 and finite y other than 0."""
    lift = 0
    if a < 2.0**-1000:
        a, lift = a * 2.0**200, 200
    if fraction_bits(a) == W(0):
        p, e = product2(y, float(exponent(a) - lift))
        if (e == 0) & (abs(p) < 1022):
            n = whole(p)
            if n == p:
                return power_of_two(int(n)), 0.0, 0.0
    if (abs(y) <= LARGEST_CHAIN) & (lift == 0) & (a < 2.0**500) & (a > 2.0**-500):
        if y == 0.5:
            h = math.sqrt(a)
            p, e = product2(h, h)
            if (p == a) & (e == 0):
                return h, 0.0, 0.0
        elif (y > 1) & (integer_kind(y) != 0):
            h, exact = chain(a, int(y))
            if exact:
                return h, 0.0, 0.0
    h, low = log_pair(a, 0.0)
    if lift != 0:
        p, e = multiply_pairs(0.6931471805599453, 2.3190468138462996e-17, -200.0, 0.0)
        h, low = add(h, low, p, e)
    size = abs(y) * abs(h)
    up = (y > 0) == (h > 0)
    if size > 800:
        return (TOP if up else BOTTOM), 0.0, 0.0
    if size < 2.0**-60:
        return 1.0, (NEAR if up else -NEAR), 0.0
    h, low = multiply_pairs(h, low, y, 0.0)
    h, low, k = exp_pair(h, low)
    return scaled(h, low, k, 2.0**-69 + size * 2.0**-65)


def pow(x: Any, y: Any) -> Any:
    """x^y = exp(y log x): the error of the logarithm, 2^-66, is magnified by |y log x|."""
    kind = integer_kind(y)
    if (y == 0) | (x == 1) | (x - x != 0) | (y - y != 0) | (x == 0) | ((x < 0) & (kind == 0)):
        return power_special(x, y, kind), 0.0, 0.0
    if x == -1:
        return (-1.0 if kind == 1 else 1.0), 0.0, 0.0
    h, low, d = positive_power(abs(x), y)
    return (-h, -low, d) if (x < 0) & (kind == 1) else (h, low, d)


def hypot(x: Any, y: Any) -> Any:
    """sqrt(x^2 + y^2), the squares and their sum as pairs; exact where that sum is one number and a square."""
    a, b = abs(x), abs(y)
    if (a == INFINITY) | (b == INFINITY):
        return INFINITY, 0.0, 0.0
    if (a != a) | (b != b):
        return NAN, 0.0, 0.0
    if a < b:
        a, b = b, a
    if b == 0:
        return a, 0.0, 0.0
    if a < 2.0**-400:
        return a, 0.0, INFINITY
    if b < a * 2.0**-28:  # b^2 / (2 a^2) < 2^-57
        return a, 1.0, 0.0
    s = 1.0
    if (a > 2.0**400) | (a < 2.0**-300):
        s = power_of_two(1 - exponent(a))  # a normal number for every a
        a, b = a * s, b * s
    p, e = product2(a, a)
    q, f = product2(b, b)
    h, g = sum2(p, q)
    u, v = sum2(e, f)
    if (v == 0) & (u == -g):
        root = math.sqrt(h)
        r, rest = product2(root, root)
        if (r == h) & (rest == 0) & (root / s < INFINITY):  # else open: an exact value beyond binary64
            return root / s, 0.0, 0.0
    h, low = quick2(h, g + (u + v))
    h, low = root_of_pair(h, low)
    return h / s, low / s, h / s * 2.0**-96


TEXT = (fraction_bits, exponent, integer_kind, power_special, chain, positive_power)
UNARY = {"rsqrt": rsqrt}
BINARY = {"pow": pow, "hypot": hypot}
"""Kernels by name."""
