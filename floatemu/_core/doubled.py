"""Numbers as an unevaluated sum of two binary64 numbers: what elementary functions are computed in.

A pair (h, l) has |l| <= ulp(h) / 2. Only + - * / sqrt and fma are used, which IEEE 754 rounds alike on
every machine. Relative errors, with u = 2^-53 (Joldes, Muller and Popescu, "Tight and rigorous error
bounds for basic building blocks of double-word arithmetic", ACM TOMS 44(2), 2017): :func:`add` 3 u^2 +
13 u^3, :func:`multiply` 5 u^2, :func:`divide` 10 u^2, all below 2^-102; exponents are kept far from
the ends of binary64's range.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from floatemu._core.exact import float_of, fma64

ROUNDER = 6755399441055744.0
"""1.5 * 2^52: adding and subtracting it rounds |x| < 2^51 to an integer, ties to even."""


def whole(x: Any) -> Any:
    """The integer nearest to x, as a binary64 number; |x| < 2^51."""
    return (x + ROUNDER) - ROUNDER


def power_of_two(k: Any) -> Any:
    """2^k for -1022 <= k <= 1023."""
    return float_of(np.uint64(k + 1023) << np.uint64(52))


def sum2(a: Any, b: Any) -> Any:
    """a + b exactly, as a pair (Knuth's two-sum)."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def quick2(a: Any, b: Any) -> Any:
    """a + b exactly, for |a| >= |b| or a = 0 (Dekker's fast two-sum)."""
    s = a + b
    return s, b - (s - a)


def product2(a: Any, b: Any) -> Any:
    """a * b exactly, as a pair."""
    p = a * b
    return p, fma64(a, b, -p)


def add(ah: Any, al: Any, bh: Any, bl: Any) -> Any:
    """Sum of two pairs, accurate where they cancel too."""
    s, e = sum2(ah, bh)
    t, f = sum2(al, bl)
    s, e = quick2(s, e + t)
    return quick2(s, e + f)


def multiply_pairs(ah: Any, al: Any, bh: Any, bl: Any) -> Any:
    """Product of two pairs."""
    p, e = product2(ah, bh)
    return quick2(p, e + (ah * bl + al * bh))


def divide_pairs(ah: Any, al: Any, bh: Any, bl: Any) -> Any:
    """Quotient of two pairs: one binary64 quotient, and the quotient of what it leaves."""
    q = ah / bh
    p, e = product2(q, bh)
    rest = ((ah - p) - e) + (al - q * bl)
    return quick2(q, rest / bh)


def root_of_pair(ah: Any, al: Any) -> Any:
    """Square root of a pair >= 0, with a relative error below 2^-100: one Newton step from binary64's."""
    if ah <= 0:
        return 0.0, 0.0
    root = math.sqrt(ah)
    p, e = product2(root, root)
    return quick2(root, (((ah - p) - e) + al) / (root + root))


TEXT = (whole, power_of_two, sum2, quick2, product2, add, multiply_pairs, divide_pairs, root_of_pair)
"""The functions that ``kernels`` compiles."""
