"""Operations on binary64 operands, their exact result rounded once: the text and its loop.

A tile whose operands all lie within 2^-480 .. 2^480 (or are zero, infinite or NaN) goes the fast way:
the operation in binary64, rounded to odd, then ``project_carrier``. Any other tile, and any target for
which 53 bits are too few, goes through 128-bit integers. Where binary64 holds all products of a tile, as
it does those of binary32 numbers, a fused multiply-add is a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from floatemu._core import exact, kernels
from floatemu._core.exact import (
    ADD,
    CHOICE,
    DIV,
    FMA,
    MUL,
    REMAINDER,
    SQRT,
    add_wide,
    bits_of,
    choose,
    divide_wide,
    float_of,
    multiply,
    remainder64,
    root_wide,
)
from floatemu._core.random import draw
from floatemu._core.rounding import (
    INVALID,
    NAN_BORN,
    NE,
    SA,
    TN,
    decode_code,
    pick,
    project_carrier,
    project_scaled,
)

TILE = 128
LOW_FIELD, HIGH_FIELD = 1023 - 480, 1023 + 480


def split(w: Any, x: Any) -> Any:
    """Sign, 64-bit significand with its top bit set (0 for zero) and biased exponent of a finite number."""
    bits = w(bits_of(x))
    field = w(w(bits >> w(52)) & w(0x7FF))
    sig = w(bits & w((1 << 52) - 1))
    negative = w(bits >> w(63)) != w(0)
    if field > w(0):
        return negative, w(w(sig | w(1 << 52)) << w(11)), w(field + w(kernels.SCALED_BIAS - 1023))
    if sig == w(0):
        return negative, w(0), w(0)
    e = w(kernels.SCALED_BIAS - 1022)
    sig = w(sig << w(11))
    while w(sig >> w(63)) == w(0):
        sig = w(sig << w(1))
        e = w(e - w(1))
    return negative, sig, e


def native(op: Any, a: Any, b: Any, c: Any) -> Any:
    """The operation in binary64, to nearest: right where operands or result are not finite, or zero, or a choice."""
    if op == REMAINDER:
        return remainder64(a, b)
    if op > REMAINDER:
        return choose(op, a, b)
    if op == ADD:
        return a + b
    if op == MUL:
        return a * b
    if op == DIV:
        return a / b
    if op == SQRT:
        return math.sqrt(a) if a >= 0 else np.nan
    if (a - a == 0) & (b - b == 0) & (c - c != 0):
        return c  # the product is finite, even where binary64 overflows
    return a * b + c


def is_simple(op: Any, a: Any, b: Any, c: Any) -> Any:
    """Whether :func:`native` gives the exact result: an operand is not finite, or a factor is zero."""
    if op >= CHOICE:
        return True
    if op == ADD:
        return (a - a != 0) | (b - b != 0)
    if op == MUL:
        return (a - a != 0) | (b - b != 0) | (a == 0) | (b == 0)
    if op == DIV:
        return (a - a != 0) | (b - b != 0) | (a == 0) | (b == 0)
    if op == SQRT:
        return (a - a != 0) | (a <= 0)
    return (a - a != 0) | (b - b != 0) | (c - c != 0) | (a == 0) | (b == 0)


def zero_of_sum(w: Any, op: Any, a: Any, b: Any, c: Any, mode: Any) -> Any:
    """Bits of the zero that a sum of zero gives (IEEE 754-2019, 6.3), from the signs of its two terms.

    -0 if both terms are negative (then both are -0), and toward minus infinity if one is: terms that
    cancel differ in sign.
    """
    x = w(bits_of(a * b if op == FMA else a) >> w(63))
    y = w(bits_of(c if op == FMA else b) >> w(63))
    return w(w(w(x & y) | w(w(mode == TN) & w(x | y))) << w(63))


def odd_bits(w: Any, op: Any, a: Any, b: Any, c: Any) -> Any:
    """Bits of the result rounded to odd in binary64, for operands within the fast range."""
    if op >= CHOICE:
        return w(bits_of(native(op, a, b, c)))
    if op == ADD:
        return exact.odd_sum(w, a, b)
    if op == MUL:
        return exact.odd_product(w, a, b)
    if op == DIV:
        return exact.odd_quotient(w, a, b)
    if op == SQRT:
        return exact.odd_root(w, a, native(SQRT, a, b, c))
    return exact.odd_fma(w, a, b, c)


def wide(w: Any, op: Any, a: Any, b: Any, c: Any, brief: Any) -> Any:
    """Sign, high and low word and exponent of the exact result of an operation that is not simple.

    ``brief``: of the low word only being zero or not is needed.
    """
    an, ah, ae = split(w, a)
    if op == SQRT:
        # An even exponent below a radicand in 2^126 .. 2^128: the root then has its top bit set.
        odd = w(w(ae + w(kernels.SCALED_BIAS)) & w(1)) != w(0)
        high = ah if odd else w(ah >> w(1))
        low = w(0) if odd else w(ah << w(63))
        root, rest = root_wide(w, high, low, brief)
        half = w(w(w(ae - w(1)) if odd else ae) + w(kernels.SCALED_BIAS)) >> w(1)
        return False, root, rest, w(half)
    bn, bh, be = split(w, b)
    if op == ADD:
        return add_wide(w, an, ah, w(0), ae, bn, bh, w(0), be)
    if op == DIV:
        high, low, whole = divide_wide(w, ah, bh)
        e = w(w(w(ae - be) + w(kernels.SCALED_BIAS)) - w(not whole))
        return an != bn, high, low, e
    high, low = multiply(w, ah, bh)
    high, low, e = exact.normalise(w, high, low, w(w(w(ae + be) + w(1)) - w(kernels.SCALED_BIAS)))
    if op == MUL:
        return an != bn, high, low, e
    cn, ch, ce = split(w, c)
    return add_wide(w, an != bn, high, low, e, cn, ch, w(0), ce)


def invalid_flags(w: Any, a: Any, b: Any, c: Any, value_is_nan: Any) -> Any:
    """INVALID and NAN_BORN where numbers give a NaN."""
    return w(w(INVALID | NAN_BORN) * w(value_is_nan & (a == a) & (b == b) & (c == c)))


TEXT = (split, native, is_simple, zero_of_sum, odd_bits, wide, invalid_flags)
kernels.register((*exact.TEXT, *TEXT))


def slowly(
    w: Any, op: Any, a: Any, b: Any, c: Any, target: Any, layout: Any, mode: Any, random: Any, n: Any, ones: Any
) -> Any:
    """One operation through 128-bit integers, to a scaled target: binary64 bits, flags, whether it gave NaN."""
    value = 0.0
    if is_simple(op, a, b, c):
        value = native(op, a, b, c)
        if (op == FMA) & (value == 0):
            value = float_of(zero_of_sum(w, op, a, b, c, mode))
        negative, high, low, e = False, w(0), w(0), w(0)
        if value - value == 0:
            negative, high, e = split(w, value)
    else:
        brief = w(target.precision + n) <= w(60)
        negative, high, low, e = wide(w, op, a, b, c, brief)
        if (high | low) == w(0):
            negative = zero_of_sum(w, op, a, b, c, mode) != w(0)
    if value != value:
        code, flags = target.nan, target.nan_flags
    elif value - value != 0:
        code = target.inf_neg if value < 0 else target.inf_pos
        flags = target.inf_neg_flags if value < 0 else target.inf_pos_flags
    else:
        code, flags = project_scaled(w, 63, high, low, e, negative, target, mode, random, n, ones, True)
    return w(decode_code(w, code, layout, kernels.SCALED_BIAS)), w(flags), value != value


kernels.register((slowly,))


@cache
def operation_loop(operation: int | None, flagged: bool) -> Callable[..., Any]:
    """Return the loop of one operation to nearest even, or (None) of any operation in any mode.

    Vectorised loops need both to be known. Where the mode is run-time data the operation may be too: that
    costs a sixth at most (measured), and saves a kernel for each.

    Parameters
    ----------
    operation : int, optional
        ADD .. FMA.
    flagged : bool
        Whether flags are written, all but DIVIDE_BY_ZERO: it would keep the loop from being vectorised.

    Returns
    -------
    callable
        ``loop(a, b, c, out, flags, target, scaled, layout, fast, op, mode, random, n, state, first)``: binary64
        operands (1-D, contiguous; those that the operation does not use hold any numbers) and result; ``fast``
        allows the way through binary64.
    """
    w, g = np.uint64, kernels.GENERATOR_WORD
    known = operation is not None
    fixed, fixed_mode = (0 if operation is None else operation), NE
    uses_b, uses_c = operation != SQRT, operation in (None, FMA)

    def loop(
        a: Any, b: Any, c: Any, out: Any, flags: Any, target: Any, scaled: Any, layout: Any, fast: Any,
        which: Any, given: Any, random: Any, n: Any, state: Any, first: Any,
    ) -> None:  # fmt: skip
        mode = fixed_mode if known else given
        op = fixed if known else which
        ones = w(w(w(1) << n) - w(1))
        for start in range(0, a.size, TILE):
            # Slices, whose indices the compiler sees not to be negative: else it gathers single numbers.
            tile = slice(start, min(start + TILE, a.size))
            xs, ys, zs, found, marks = a[tile], b[tile], c[tile], out[tile], flags[tile]
            near, whole = fast, False
            if near and op < CHOICE:
                outside = lost = w(0)
                for i in range(xs.size):
                    outside |= w(far(w, xs[i]))
                    if uses_b:
                        outside |= w(far(w, ys[i]))
                    if uses_c:
                        outside |= w(far(w, zs[i]))
                        lost |= w(exact.fma64(xs[i], ys[i], -(xs[i] * ys[i])) != 0)
                near = outside == w(0)
                whole = op == FMA and lost == w(0)
            for i in range(xs.size):
                x, y, z = xs[i], (ys[i] if uses_b else 1.0), (zs[i] if uses_c else 0.0)
                r = w(0)
                if mode >= SA:
                    index = g(g(first) + g(start + i))
                    r = w(random[start + i]) if random.size > 0 else w(draw(g, g(state), index, g(n)))
                if near:
                    bits = exact.odd_sum(w, x * y, z) if whole else odd_bits(w, op, x, y, z)
                    if op == ADD or op == FMA:
                        bits = pick(w, w(bits << w(1)) == w(0), zero_of_sum(w, op, x, y, z, mode), bits)
                    result, flag = project_carrier(w, 52, bits, target, mode, r, n, ones, False, flagged)
                    isnan = w(bits << w(1)) > w(0x7FF0000000000000 << 1)
                else:
                    result, flag, isnan = slowly(w, op, x, y, z, scaled, layout, mode, r, n, ones)
                found[i] = float_of(result)
                if flagged:
                    marks[i] = w(flag) | invalid_flags(w, x, y, z, isnan)

    return kernels.compiled(loop, f"operation {'any' if operation is None else operation}{' flags' if flagged else ''}")


def far(w: Any, x: Any) -> Any:
    """Whether a finite nonzero number lies outside the fast range."""
    mag = w(w(bits_of(x)) << w(1))
    field = w(mag >> w(53))
    return (mag != w(0)) & (field != w(0x7FF)) & ((field < w(LOW_FIELD)) | (field > w(HIGH_FIELD)))


kernels.register((far,))
