"""Exact sums of binary64 numbers, and of their products: a fixed-point accumulator as wide as their range.

Magnitudes of positive and of negative terms are added apart, in digits of 32 bits held in 64-bit words,
whose upper halves collect carries (Kulisch, "Very fast and exact accumulation of products", Computing
91, 2011, describes the idea in hardware). Nothing is ever rounded before the one rounding at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core.arithmetic import is_simple, native, split
from floatemu._core.exact import MASK32, MUL, bits_of, float_of, multiply
from floatemu._core.random import draw
from floatemu._core.reductions import LOST, SUM, Place, settled
from floatemu._core.rounding import INVALID, NAN_BORN, SA, TN, decode_code, project_scaled

LOWEST = 2560
"""Digit 0 starts at 2^-LOWEST: products reach down to 2^-2148, in 128 bits whose last ones are then 0."""
DIGITS = 152
"""Up to 2^(32 DIGITS - LOWEST) = 2^2304: products below 2^2048, and 2^40 of them."""
DEFERRED = 2**24
"""Terms between two passes that move carries; each adds less than 2^33 to a digit."""


def deposit(w: Any, digits: Any, high: Any, low: Any, e: Any) -> None:
    """Add (high 2^64 + low) 2^(e - 127) to the digits; e carries the bias of scaled exponents."""
    place = w(w(e + w(LOWEST - 127)) - w(kernels.SCALED_BIAS))
    first, offset = int(place >> w(5)), w(place & w(31))
    for i in range(4):
        word = low if i < 2 else high
        part = w((word >> w(32)) if i % 2 == 1 else w(word & w(MASK32)))
        part = w(part << offset)
        digits[first + i] = w(digits[first + i] + w(part & w(MASK32)))
        digits[first + i + 1] = w(digits[first + i + 1] + w(part >> w(32)))


def carry(w: Any, digits: Any) -> None:
    """Bring every digit below 2^32."""
    over = w(0)
    for i in range(digits.size):
        value = w(w(digits[i]) + over)
        digits[i] = w(value & w(MASK32))
        over = w(value >> w(32))


def subtract(w: Any, x: Any, y: Any) -> Any:
    """Leave |x - y| in x and tell whether x was smaller; digits below 2^32."""
    less = False
    for i in range(x.size):  # the highest digit that differs decides
        if x[i] != y[i]:
            less = x[i] < y[i]
    borrow = w(0)
    for i in range(x.size):
        large, small = (w(y[i]), w(x[i])) if less else (w(x[i]), w(y[i]))
        value = w(w(w(large + w(1 << 32)) - small) - borrow)
        borrow = w(w(1) - w(value >> w(32)))
        x[i] = w(value & w(MASK32))
    return less


def leading(w: Any, digits: Any) -> Any:
    """The 128 leading bits in two words, the exponent of the first, and whether bits are left below."""
    top = digits.size - 1
    while top >= 0 and digits[top] == w(0):
        top -= 1
    if top < 0:
        return w(0), w(0), w(0), False
    # No term reaches below digit 4: the five digits from the top down exist.
    high = w(w(w(digits[top]) << w(32)) | w(digits[top - 1]))
    low = w(w(w(digits[top - 2]) << w(32)) | w(digits[top - 3]))
    rest = w(digits[top - 4])
    zeros = w(0)
    while w(high >> w(63)) == w(0):
        high = w(w(high << w(1)) | w(low >> w(63)))
        low = w(w(low << w(1)) | w(rest >> w(31)))
        rest = w(w(rest << w(1)) & w(MASK32))
        zeros = w(zeros + w(1))
    sticky = rest != w(0)
    for i in range(top - 4):
        sticky |= digits[i] != w(0)
    e = w(w(w(32 * top + 31) + w(kernels.SCALED_BIAS - LOWEST)) - zeros)
    return high, low, e, sticky


def total(w: Any, x: Any, y: Any, kind: Any, mode: Any, up: Any, down: Any) -> Any:
    """The exact sum of a row of terms: sign, leading 128 bits, exponent, sticky; a float if it is not finite; whether
    a term is given as NaN.

    A sum of zero has the sign of its terms if they agree; else it is -0 toward minus infinity, +0 otherwise.
    """
    up[:] = w(0)
    down[:] = w(0)
    special, minus, plus, given = 0.0, False, False, False
    for k in range(x.size):
        a, b = x[k], (1.0 if kind == SUM else y[k])
        if is_simple(MUL, a, b, 1.0):
            value = native(MUL, a, b, 1.0)
            special += value
            given |= (a != a) | (b != b)
            negative = w(w(bits_of(value)) >> w(63)) != w(0)
        else:
            an, ah, ae = split(w, a)
            bn, bh, be = split(w, b)
            high, low = multiply(w, ah, bh)
            negative = an != bn
            deposit(w, down if negative else up, high, low, w(w(w(ae + be) + w(1)) - w(kernels.SCALED_BIAS)))
        minus |= negative
        plus |= not negative
        if (k + 1) % DEFERRED == 0:
            carry(w, up)
            carry(w, down)
    carry(w, up)
    carry(w, down)
    negative = subtract(w, up, down)
    high, low, e, sticky = leading(w, up)
    if high == w(0):
        negative = minus and (mode == TN or not plus)
    return negative, high, low, e, sticky, special, given


kernels.register((deposit, carry, subtract, leading))
kernels.register((total,))


def settle(
    w: Any, negative: Any, high: Any, low: Any, e: Any, sticky: Any, special: Any, given: Any, step: Any, place: Any
) -> Any:
    """An exact sum rounded once, as operation 0 of its element: value, and marks as in ``reductions.operate``."""
    g = kernels.GENERATOR_WORD
    target = step.scaled
    r = w(0)
    if step.mode >= SA:
        r = w(draw(g, g(place.state), g(place.position), g(step.n)))
    if special != special:
        code, flags = target.nan, w(target.nan_flags | w(w(INVALID | NAN_BORN) * w(not given)))
    elif special != 0:
        code = target.inf_neg if special < 0 else target.inf_pos
        flags = target.inf_neg_flags if special < 0 else target.inf_pos_flags
    else:
        ones = w(w(w(1) << step.n) - w(1))
        last = w(low | w(sticky))
        code, flags = project_scaled(w, 63, high, last, e, negative, target, step.mode, r, step.n, ones, True)
    marks = settled(w, w(flags), step)
    if (special != special) & (target.nan_flags != w(0)):
        marks = w(marks | w(LOST))
    return float_of(decode_code(w, w(code), step.layout, kernels.SCALED_BIAS)), marks


kernels.register((settle,))


@cache
def rounded_loop() -> Callable[..., Any]:
    """Return the loop that makes exact sums of rows, rounded once.

    Returns
    -------
    callable
        ``loop(x, y, columns, kind, step, state, size, first, out, marks)``, as in
        :func:`~floatemu._core.reductions.reduction_loop`.
    """
    w = np.uint64

    def loop(
        x: Any, y: Any, columns: Any, kind: Any, step: Any, state: Any, size: Any, first: Any, out: Any, marks: Any
    ) -> None:
        up, down = np.empty(DIGITS, np.uint64), np.empty(DIGITS, np.uint64)
        for i in range(out.size):
            row = x[i // columns] if columns > 0 else x[i]
            other = row
            if kind != SUM:
                other = y[i % columns] if columns > 0 else y[i]
            sign, high, low, e, sticky, special, given = total(w, row, other, kind, step.mode, up, down)
            place = Place(state, size, first + i)
            out[i], marks[i] = settle(w, sign, high, low, e, sticky, special, given, step, place)

    return kernels.compiled(loop, "exact sums rounded")


@cache
def exact_loop() -> Callable[..., Any]:
    """Return the loop that makes exact sums of rows.

    Returns
    -------
    callable
        ``loop(x, y, columns, kind, mode, negative, high, low, exponent, sticky, special, given)``: rows as in
        :func:`~floatemu._core.reductions.reduction_loop`. Element i is ``(high 2^64 + low) 2^(exponent - 127)``
        and a bit less than that of ``low`` if ``sticky``; not if ``special[i]`` is infinite or NaN;
        ``given[i]`` then tells whether a term had a NaN.
    """
    w = np.uint64

    def loop(
        x: Any, y: Any, columns: Any, kind: Any, mode: Any, negative: Any, high: Any, low: Any, exponent: Any,
        sticky: Any, special: Any, given: Any,
    ) -> None:  # fmt: skip
        up, down = np.empty(DIGITS, np.uint64), np.empty(DIGITS, np.uint64)
        for i in range(high.size):
            row = x[i // columns] if columns > 0 else x[i]
            other = row
            if kind != SUM:
                other = y[i % columns] if columns > 0 else y[i]
            sign, first, second, e, rest, value, quiet = total(w, row, other, kind, mode, up, down)
            negative[i], high[i], low[i], sticky[i], special[i] = sign, first, second, rest, value
            given[i] = quiet
            exponent[i] = np.int64(e) - kernels.SCALED_BIAS

    return kernels.compiled(loop, "exact sums")
