"""The error function and the gated linear units, in pairs of binary64 numbers; conventions as in ``elementary``.

Both are Taylor polynomials around tabulated points, erf itself and the Mills ratio of the normal
distribution, which is smooth where the distribution's tail falls to nothing. Their two leading
coefficients are pairs; the rest, with |z| <= 2^-7 or 2^-6 at most 2^-14 of the result, is in binary64.
"""

from __future__ import annotations

from typing import Any

from floatemu._core.doubled import add, multiply_pairs, power_of_two, product2, quick2, whole
from floatemu._core.elementary import BOTTOM, INFINITY, NEAR, TINY, exp_pair, gated, sigmoid_pair
from floatemu._core.elementary_normal_tables import ERRORS, MILLS, TANH_CUBE, TANH_SLOPE

CUBE_H, CUBE_L = TANH_CUBE
SLOPE_H, SLOPE_L = TANH_SLOPE


def taylor(row: Any, z: Any) -> Any:
    """The polynomial with coefficients (h, l), (h, l), and eleven more from that of z^2 on."""
    tail = row[14]
    for i in range(13, 3, -1):
        tail = row[i] + z * tail
    p, e = multiply_pairs(row[2], row[3], z, 0.0)
    p, e = quick2(p, e + z * z * tail) if row[0] != 0 else (p, e + z * z * tail)
    return add(row[0], row[1], p, e)


def erf(x: Any) -> Any:
    """erf(x); beyond 6, erfc(x) < 2^-55."""
    a = abs(x)
    if x != x or x == 0:
        return x, 0.0, 0.0
    if a >= 6:
        h, low, d = 1.0, (0.0 if a == INFINITY else -NEAR), 0.0
    elif a < 2.0**-900:
        return x, 0.0, INFINITY
    else:
        j = int(whole(64.0 * a))
        h, low = taylor(ERRORS[j], a - 0.015625 * j)
        d = h * 2.0**-63
    return (h, low, d) if x > 0 else (-h, -low, d)


def tail_pair(a: Any) -> Any:
    """(h, l, k) with 1 - Phi(a) = (h + l) * 2^k for 0 <= a < 39: the Mills ratio times the density, exp(-a^2 / 2)."""
    j = int(whole(32.0 * a))
    mh, ml = taylor(MILLS[j], a - 0.03125 * j)
    p, e = product2(a, -0.5 * a)
    h, low, k = exp_pair(p, e)
    h, low = multiply_pairs(h, low, mh, ml)
    return h, low, k


def gelu(x: Any) -> Any:
    """x * Phi(x); Phi(x) = 1 - Phi(-x) for positive x, whose complement is less than 2^-56 beyond 8.5."""
    if x != x or x == 0 or x - x != 0:
        return (-0.0 if x < 0 else x), 0.0, 0.0
    if x > 8.5:
        return x, -1.0, 0.0
    if x < -38.5:
        return (-BOTTOM, 0.0, 0.0) if x < -50 else (-TINY, 0.0, -1.0)
    if (abs(x) < 2.0**-60) & (abs(x) > 2.0**-900):
        return 0.5 * x, 1.0, 0.0  # x / 2 + x^2 / sqrt(2 pi)
    h, low, k = tail_pair(abs(x))
    if x > 0:
        s = power_of_two(k)
        h, low = add(1.0, 0.0, -h * s, -low * s)
        k = 0
    return gated(x, h, low, k, 2.0**-62)


def gelu_tanh(x: Any) -> Any:
    """x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form, since (1 + tanh u) / 2 = sigmoid(2 u)."""
    if x != x or x == 0 or x - x != 0:
        return (-0.0 if x < 0 else x), 0.0, 0.0
    if x > 8.5:  # 2 u > 57
        return x, -1.0, 0.0
    if x < -24:  # 2 u < -1020
        return -BOTTOM, 0.0, 0.0
    if (abs(x) < 2.0**-60) & (abs(x) > 2.0**-900):
        return 0.5 * x, 1.0, 0.0
    if abs(x) < 2.0**-900:
        return x, 0.0, INFINITY
    h, low = product2(x, x)
    h, low = multiply_pairs(h, low, CUBE_H, CUBE_L)
    h, low = add(SLOPE_H, SLOPE_L, h, low)
    h, low = multiply_pairs(h, low, x, 0.0)
    h, low, k = sigmoid_pair(h, low)
    return gated(x, h, low, k, 2.0**-68)


TEXT = (taylor, tail_pair)
UNARY = {f.__name__: f for f in (erf, gelu, gelu_tanh)}
"""Kernels by name."""
