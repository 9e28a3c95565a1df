"""Exact results of operations, kept as something that is rounded once: round-to-odd numbers, 128-bit integers.

Two ways. Where binary64 is wide enough, an operation is done in it and its error, itself exact, decides
the last bit: the result *rounded to odd* (inexact results get an odd last bit), which rounds again to
p bits as the exact value does if 53 >= p + n + 2 for n random bits (Boldo and Melquiond, "Emulation of
FMA and correctly rounded sums", IEEE TC 57(4), 2008). Else operands are 64-bit significands and the
result a 128-bit one in two words, whose last bit is sticky.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from floatemu._core.rounding import pick

ADD, MUL, DIV, SQRT, FMA, REMAINDER, MINIMUM, MAXIMUM, MINIMUM_NUMBER, MAXIMUM_NUMBER = range(10)
CHOICE = REMAINDER
"""From here on operations whose exact result is a binary64 number: one loop serves them all."""
MASK32 = 0xFFFFFFFF


def bits_of(x: Any) -> Any:
    """Bits of a binary64 number; ``kernels`` compiles it to a move."""
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def float_of(bits: Any) -> Any:
    """The binary64 number with these bits; ``kernels`` compiles it to a move."""
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def fma64(a: Any, b: Any, c: Any) -> Any:
    """a * b + c rounded once to binary64; ``kernels`` compiles it to LLVM's fma, which is exact everywhere."""
    from fractions import Fraction

    if (a - a != 0) | (b - b != 0) | (c - c != 0):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return float(exact) if exact else a * b + c


def odd_of(w: Any, bits: Any, inexact: Any, inward: Any) -> Any:
    """Bits of a number rounded to odd, given one of the two numbers around it.

    The one nearer to zero is the given one or, if that is beyond the number (``inward``), the one before it. If its
    last bit is even the next one's is odd. ``inexact`` is 0 if the given one is the number; both are 0 or 1.
    """
    return w(w(bits - w(inexact & inward)) | inexact)


def to_odd(w: Any, s: Any, bits: Any, error: Any) -> Any:
    """Bits of ``s + error`` rounded to odd, where s, with these bits, is one of the two numbers around that sum.

    For s = 0 the error is 0. An s that is not finite stays; its error, a NaN, is none.
    """
    inexact = w((error > 0) | (error < 0))
    return pick(w, s - s == 0, odd_of(w, bits, inexact, w((error < 0) != (s < 0))), bits)


def odd_sum(w: Any, a: Any, b: Any) -> Any:
    """Bits of a + b rounded to odd; |a|, |b| < 2^1021. Error term: Knuth's two-sum, exact at any magnitude."""
    s = a + b
    part = s - a
    error = (a - (s - part)) + (b - part)
    return to_odd(w, s, w(bits_of(s)), error)


def odd_product(w: Any, a: Any, b: Any) -> Any:
    """Bits of a * b rounded to odd; both zero, not finite, or within 2^-480 .. 2^480."""
    s = a * b
    error = fma64(a, b, -s)
    return to_odd(w, s, w(bits_of(s)), error)


def odd_quotient(w: Any, a: Any, b: Any) -> Any:
    """Bits of a / b rounded to odd; operands as in :func:`odd_product`. The remainder a - s b is exact."""
    s = a / b
    rest = fma64(-s, b, a)
    error = rest if b > 0 else -rest
    bits = w(bits_of(s))
    return pick(w, b - b == 0, to_odd(w, s, bits, error), bits)


def odd_root(w: Any, a: Any, root: Any) -> Any:
    """Bits of the square root of a rounded to odd, ``root`` being it rounded to nearest."""
    error = fma64(-root, root, a)
    return to_odd(w, root, w(bits_of(root)), error)


def odd_fma(w: Any, a: Any, b: Any, c: Any) -> Any:
    """Bits of a * b + c rounded to odd; operands as in :func:`odd_product`.

    With ``high + low = a b`` and two two-sums the exact result is ``v + (t + r)``, where t and r are the
    errors; t + r rounded to odd keeps its sign, its being zero and its place between powers of two, so
    that it leaves v + (t + r) between the same two binary64 numbers.
    """
    high = a * b
    low = fma64(a, b, -high)
    u = low + c
    part = u - low
    t = (low - (u - part)) + (c - part)
    v = high + u
    part = v - high
    r = (high - (v - part)) + (u - part)
    exact = odd_sum(w, v, float_of(odd_sum(w, t, r)))
    simple = high + c  # where an operand is infinite or NaN; the errors are NaN there
    return pick(w, simple - simple == 0, exact, w(bits_of(simple)))


def remainder64(x: Any, y: Any) -> Any:
    """IEEE 754-2019, 5.3.1: x - n y exactly, n the integer nearest to x / y, ties to even; sign of x where zero.

    With m = |x| mod 2|y|, exact by fmod, n is even for m <= |y|/2, odd between, even again from 3|y|/2 on;
    there m - |y| and m - 2|y| are exact by Sterbenz's lemma. Doubling replaces the inexact half of a
    subnormal; where 2|y| overflows, |x| is below it.
    """
    if (x - x != 0) | (y != y) | (y == 0):
        return x * y if (x != x) | (y != y) else math.nan
    if y - y != 0:
        return x
    a, b = abs(x), abs(y)
    m = a if b > 2.0**1022 else np.fmod(a, b + b)
    if m + m > b:
        m = m - b
        if m + m >= b:
            m = m - b
    return math.copysign(m, x) if m == 0 else (-m if x < 0 else m)


def choose(op: Any, x: Any, y: Any) -> Any:
    """IEEE 754-2019, 9.6: minimum and maximum, -0 below +0; of a number and a NaN the NaN, or the number."""
    if x != x or y != y:
        if op >= MINIMUM_NUMBER:
            return y if x != x else x
        return math.nan
    smaller = (x < y) | ((x == y) & (bits_of(x) >> 63 != 0))
    least = x if smaller else y
    greatest = y if smaller else x
    return least if (op == MINIMUM) | (op == MINIMUM_NUMBER) else greatest


# 128-bit integers in two 64-bit words ---------------------------------------------------------------------------------


def multiply(w: Any, x: Any, y: Any) -> Any:
    """High and low word of the product of two words, from four products of halves."""
    xh, xl, yh, yl = w(x >> w(32)), w(x & w(MASK32)), w(y >> w(32)), w(y & w(MASK32))
    low, middle = w(xl * yl), w(xh * yl)
    middle = w(middle + w(low >> w(32)))  # below 2^64: (2^32 - 1)^2 + 2^32 - 1
    other = w(w(xl * yh) + w(middle & w(MASK32)))
    high = w(w(w(xh * yh) + w(middle >> w(32))) + w(other >> w(32)))
    return high, w(w(w(other & w(MASK32)) << w(32)) | w(low & w(MASK32)))


def shift_down(w: Any, high: Any, low: Any, n: Any) -> Any:
    """Both words shifted right by n, what is lost kept as a sticky last bit."""
    if n == w(0):
        return high, low
    if n >= w(128):
        return w(0), w((high | low) != w(0))
    if n >= w(64):
        m = w(n - w(64))
        lost = w(low | w(high & w(w(w(1) << m) - w(1))))
        return w(0), w(w(high >> m) | w(lost != w(0)))
    lost = w(low & w(w(w(1) << n) - w(1)))
    moved = w(w(high << w(w(64) - n)) | w(low >> n))
    return w(high >> n), w(moved | w(lost != w(0)))


def normalise(w: Any, high: Any, low: Any, e: Any) -> Any:
    """Shift both words left until the highest bit is set; ``e`` is that bit's exponent. Not for zero."""
    if high == w(0):
        high, low, e = low, w(0), w(e - w(64))
    zeros = w(0)
    while w(high >> w(w(63) - zeros)) == w(0):
        zeros = w(zeros + w(1))
    if zeros > w(0):
        high, low = w(w(high << zeros) | w(low >> w(w(64) - zeros))), w(low << zeros)
    return high, low, w(e - zeros)


def add_wide(w: Any, xn: Any, xh: Any, xl: Any, xe: Any, yn: Any, yh: Any, yl: Any, ye: Any) -> Any:
    """Sum of two signed 128-bit numbers (negative, high, low, exponent of the top bit), normalised.

    Each is zero or has its top bit set and its two lowest bits clear. The smaller is shifted to the
    other's exponent, two bits of headroom first; what it loses is a sticky bit. That stands for a value strictly
    between two integers by the odd one of them, and since the larger operand is even there, so it does
    after adding or subtracting.
    """
    if (xh | xl) == w(0):
        return yn, yh, yl, ye
    if (yh | yl) == w(0):
        return xn, xh, xl, xe
    if (ye > xe) | ((ye == xe) & ((yh > xh) | ((yh == xh) & (yl > xl)))):
        xn, xh, xl, xe, yn, yh, yl, ye = yn, yh, yl, ye, xn, xh, xl, xe
    yh, yl = shift_down(w, yh, yl, w(min(w(xe - ye), w(128)) + w(1)))
    xh, xl = shift_down(w, xh, xl, w(1))
    if xn == yn:
        low = w(xl + yl)
        high = w(w(xh + yh) + w(low < xl))
    else:
        low = w(xl - yl)
        high = w(w(xh - yh) - w(xl < yl))
    if (high | low) == w(0):
        return False, w(0), w(0), w(0)
    high, low, e = normalise(w, high, low, w(xe + w(1)))
    return xn, high, low, e


def divide_digits(w: Any, r: Any, y: Any) -> Any:
    """floor(r * 2^64 / y) and the remainder, for r < y and y with its top bit set.

    Two digits of 32 bits. A trial digit from the upper half of y is at most two too large (Knuth, TAOCP
    volume 2, 4.3.1, theorem B); it is lowered while its product with the lower half exceeds what is left.
    """
    yh, yl = w(y >> w(32)), w(y & w(MASK32))
    quotient = w(0)
    for _ in range(2):
        digit = w(r // yh)
        rest = w(r - w(digit * yh))
        while (rest <= w(MASK32)) and ((digit > w(MASK32)) or (w(digit * yl) > w(rest << w(32)))):
            digit = w(digit - w(1))
            rest = w(rest + yh)
        # r 2^32 - digit y lies in 0 .. y - 1; both terms are taken modulo 2^64.
        r = w(w(r << w(32)) - w(digit * y))
        quotient = w(w(quotient << w(32)) | digit)
    return quotient, r


def divide_wide(w: Any, x: Any, y: Any) -> Any:
    """x / y for words with their top bits set: high, low (sticky), and whether the quotient is >= 1."""
    whole = x >= y
    first, r = divide_digits(w, w(x - y) if whole else x, y)
    second, r = divide_digits(w, r, y)
    second = w(second | w(r != w(0)))
    if whole:
        high = w(w(w(1) << w(63)) | w(first >> w(1)))
        low = w(w(first << w(63)) | w(second >> w(1)))
        return high, w(low | w(second & w(1))), True
    return first, second, False


def root_wide(w: Any, high: Any, low: Any, brief: Any) -> Any:
    """Square root of high * 2^64 + low, high >= 2^62: its integer part (a word), then a sticky word.

    Of the second word only being zero or not is right if ``brief``, else its upper half is right too.

    The integer part by the recursion of Zimmermann, "Karatsuba Square Root" (INRIA RR-3805, 1999), from
    the 32-bit root of the high word; the rest bit by bit.
    """
    s = w(math.sqrt(float(high)))
    while w(s * s) > high or s > w(MASK32):
        s = w(s - w(1))
    while w(high - w(s * s)) > w(s + s):
        s = w(s + w(1))
    r = w(high - w(s * s))  # at most 2 s, below 2^33
    middle, last = w(low >> w(32)), w(low & w(MASK32))
    dividend = w(w(r << w(31)) + w(middle >> w(1)))
    q = w(dividend // s)
    u = w(w(w(dividend - w(q * s)) << w(1)) | w(middle & w(1)))
    if q > w(MASK32):  # q = 2^32 is one too large, since s is the root of the high word
        q, u = w(MASK32), w(u + w(s + s))
    # root = s 2^32 + q, remainder = u 2^32 + last - q^2; where that is negative the root is one less.
    root, square = w(w(s << w(32)) + q), w(q * q)
    sum_low = w(w(u << w(32)) + last)
    rl = w(sum_low - square)
    rh = w(w(u >> w(32)) - w(sum_low < square))
    if rh > w(MASK32):  # below zero, modulo 2^64
        root = w(root - w(1))
        carry = w(rl + w(w(root << w(1)) + w(1)))
        rh = w(w(rh + w(root >> w(63))) + w(carry < rl))
        rl = carry
    # Bit by bit: remainder (rh, rl) < 2^66 against 2 root + 1 at each place.
    if brief | ((rh | rl) == w(0)):
        return root, w((rh | rl) != w(0))
    fraction = w(0)
    th, tl = w(0), root  # the root so far as two words
    for _ in range(32):
        rh, rl = w(w(rh << w(2)) | w(rl >> w(62))), w(rl << w(2))
        trial_high = w(w(th << w(2)) | w(tl >> w(62)))
        trial_low = w(w(tl << w(2)) | w(1))
        th, tl = w(w(th << w(1)) | w(tl >> w(63))), w(tl << w(1))
        fraction = w(fraction << w(1))
        if (rh > trial_high) or ((rh == trial_high) and (rl >= trial_low)):
            rh = w(w(rh - trial_high) - w(rl < trial_low))
            rl = w(rl - trial_low)
            tl = w(tl | w(1))
            fraction = w(fraction | w(1))
    return root, w(w(fraction << w(32)) | w((rh | rl) != w(0)))


TEXT = (
    odd_of,
    to_odd,
    odd_sum,
    odd_product,
    odd_quotient,
    odd_root,
    odd_fma,
    remainder64,
    choose,
    multiply,
    shift_down,
    normalise,
    add_wide,
    divide_digits,
    divide_wide,
    root_wide,
)
"""The functions that ``kernels`` compiles as they stand; bits_of, float_of and fma64 it replaces by instructions."""
