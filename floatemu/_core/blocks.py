"""Blocks that share a scale: the scale from the largest magnitude, and every number by its block's scale.

An array is looked at as matrices of ``rows`` rows, each of ``cols`` groups of ``inner`` numbers, in C order; a block is
``block_rows`` rows by ``block_cols`` groups, at one place of the ``inner`` ones, and shorter at the ends. So blocks lie
along any axis, or along two, without a copy.

Largest magnitudes are those of the bit patterns, taken as integers; logarithms occur nowhere. All that rounds is
rounded by the one text: the quotient of the largest magnitude goes through :func:`cut` (``away``) and
``project_scaled`` to the scale's format. Quotients are rounded to odd, which loses nothing that a later rounding to
fewer bits looks at; by powers of two they are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from floatemu._core import arithmetic, kernels
from floatemu._core.exact import bits_of, float_of, fma64, odd_of, odd_quotient
from floatemu._core.lanes import fill, largest
from floatemu._core.rounding import NE, away, decode_code, pick, project_scaled

EXACT, DIVIDE, MULTIPLY, SHIFT = range(4)
"""How a quotient is formed: rounded to odd; as the carrier divides; times the carrier's reciprocal; exactly, by powers
of two, which is what EXACT becomes where it may."""

STEPS = 256
"""Codes of a scale that are looked up rather than computed."""

TILE = 1024
"""Numbers whose scales are spread out at a time."""


class Scaling(NamedTuple):
    """How scales are made, as plain numbers."""

    divisor: Any  #: the element format's largest value, or the power of two in it
    outer: Any  #: the scale of the whole array, 1 where there is none
    formula: Any  #: EXACT, DIVIDE or MULTIPLY
    first: Any  #: bits to which the quotient is rounded to nearest first; 0: it is not
    power: Any  #: whether it is then rounded to a power of two
    mode: Any  #: the rounding mode, of that and into the scale's format
    finite: Any  #: whether infinities and NaN are left out of the largest magnitude
    least: Any  #: the least code of a scale
    nan: Any  #: code of the scale of a block with an infinity or a NaN


def cut(w: Any, sig: Any, e: Any, keep: Any, mode: Any) -> Any:
    """Round a significand of 53 bits, and its exponent, to ``keep`` bits."""
    shift = w(w(53) - keep)
    q = w(sig >> shift)
    q = w(q + w(away(w, sig, shift, shift, w(q & w(1)), False, mode, w(0), w(0), w(0))))
    carry = w(q >> keep)
    return w(w(q >> carry) << shift), w(e + carry)


def scale_code(w: Any, ratio: Any, scaling: Any, target: Any) -> Any:
    """The code of the scale that a non-negative ratio (bits of a finite binary64 number) becomes."""
    sig = w(ratio & w((1 << 52) - 1))
    field = w(ratio >> w(52))
    e = w(max(field, w(1)) + w(kernels.SCALED_BIAS - 1023))
    sig = w(sig | w(w(field != w(0)) << w(52)))
    while (sig != w(0)) & (w(sig >> w(52)) == w(0)):
        sig = w(sig << w(1))
        e = w(e - w(1))
    if sig != w(0):
        if scaling.first > 0:
            sig, e = cut(w, sig, e, w(scaling.first), NE)
        if scaling.power:
            sig, e = cut(w, sig, e, w(1), scaling.mode)
    sig = w(sig << w(11))
    code, _ = project_scaled(w, 63, sig, w(0), e, False, target, scaling.mode, w(0), w(0), w(0), False)
    return max(w(code), w(scaling.least))


assert arithmetic  # its import lets compiled code call the functions of ``exact``
kernels.register((cut, scale_code))


def quotients_of(carrier: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The functions ``quotients`` and ``zeros``: numbers by scales of their own, and those whose scale is 0."""
    word: Any = kernels.CARRIERS[carrier]
    w, t = word
    number: Any = np.float32 if t == 23 else np.float64
    last = w(31 if t == 23 else 63)
    top = w(w(1) << last)
    infinity = w((255 << 23) if t == 23 else (2047 << 52))

    def shifted(x: Any, bits: Any, inverse: Any) -> Any:
        """Bits of x * inverse, the inverse a power of two: exact, or a number that is as good.

        The product is inexact only where it is at most 2^-126 or beyond binary32. There it must be neither 0 nor
        infinite, if x is not: what rounds it on looks at no place below 2^-122 (see :func:`divided_loop`).
        """
        q = number(x * inverse)
        mag = w(bits & w(top - w(1)))
        out = pick(w, q == number(0), w(w(bits & top) | w(mag != w(0))), w(q.view(w)))
        over = (w(out & w(top - w(1))) == infinity) & (mag < infinity)
        return w(out - w(over))

    def exact(x: Any, bits: Any, s: Any, inverse: Any) -> Any:
        """Bits of x / s rounded to odd: never to infinity where x is finite, nor to zero where it is not zero.

        binary32: x times the rounded 1 / s, in binary64, differs from x / s by 2^-51 of it at most, so that rounded to
        binary32 it is x / s, if that is such a number, or else one of the two around it. x - q s is then rounded
        once, and has the right sign; as it is a multiple of 2^-447 the upper half of its bits tells that and whether it
        is zero. Where q is 0 that remainder is x, and where q is infinite, of q's sign reversed: both are led right.
        """
        wide = np.float64(x)
        q = number(wide * inverse) if t == 23 else number(wide / s)
        error = w(bits_of(fma64(-np.float64(q), s, wide)) >> np.uint64(63 - last))
        mag = w(bits & w(top - w(1)))
        error = pick(w, mag < infinity, error, w(0))
        return odd_of(w, w(q.view(w)), min(w(error & w(top - w(1))), w(1)), w(w(error ^ bits) >> last))

    register_jitable(kernels.named(shifted, f"shifted {carrier}"))
    register_jitable(kernels.named(exact, f"exact {carrier}"))

    def quotients(x: Any, bits: Any, scales: Any, inverses: Any, factors: Any, formula: Any, result: Any) -> Any:
        """``inverses``: 1 / scale in binary64, for EXACT; ``factors``: in the carrier, for MULTIPLY and SHIFT."""
        if formula == EXACT:
            for i in range(x.size):
                result[i] = exact(x[i], bits[i], scales[i], inverses[i])
        elif formula == SHIFT:
            for i in range(x.size):
                result[i] = shifted(x[i], bits[i], factors[i])
        elif formula == DIVIDE:
            for i in range(x.size):
                result[i] = number(x[i] / number(scales[i])).view(w)
        else:
            for i in range(x.size):
                result[i] = number(x[i] * factors[i]).view(w)

    def zeros(bits: Any, scales: Any, result: Any) -> Any:
        """Where the scale is 0, finite numbers become zeros of their sign, others stay."""
        for i in range(bits.size):
            mag = w(bits[i] & w(top - w(1)))
            zero = pick(w, mag < infinity, w(bits[i] & top), bits[i])
            result[i] = pick(w, scales[i] == 0, zero, result[i])

    register_jitable(kernels.named(quotients, f"quotients {carrier}"))
    register_jitable(kernels.named(zeros, f"zeros {carrier}"))
    return quotients, zeros


@cache
def scales_loop(carrier: str) -> Callable[..., Any]:
    """Return the loop that makes the scales of whole bands of blocks.

    Parameters
    ----------
    carrier : str
        "float32" or "float64".

    Returns
    -------
    callable
        ``loop(bits, shape, codes, values, scaling, target, layout, table, steps)``: carrier bits of matrices, or of
        whole bands of one; (rows, cols, inner, block_rows, block_cols); for each block, in C order, the code of its
        scale (uint64) and what its numbers are divided by (binary64). ``table``: values of the first codes of scales.
        ``steps``: STEPS carrier bits, the least magnitude that has each code or a higher one, or none at all:
        scales are then computed.
    """
    word: Any = kernels.CARRIERS[carrier]
    w, t = word
    number: Any = np.float32 if t == 23 else np.float64
    u = np.uint64
    infinity = w((255 << 23) if t == 23 else (2047 << 52))
    all_bits = w(2 ** (32 if t == 23 else 64) - 1)
    magnitude = w(2 ** (31 if t == 23 else 63) - 1)

    def ratio_of(amax: Any, scaling: Any) -> Any:
        """Bits of the binary64 number that the largest magnitude's quotient is, or is rounded to."""
        if scaling.formula == EXACT:
            divisor = scaling.divisor * scaling.outer
            bits = odd_quotient(u, np.float64(amax), divisor)
            if np.float64(amax) / divisor == 0:  # below binary64: above 0, and below every scale
                bits = u(amax > 0)
        elif scaling.formula == DIVIDE:
            bits = bits_of(np.float64(number(number(amax / number(scaling.divisor)) / number(scaling.outer))))
        else:
            inverse = number(number(number(1) / number(scaling.outer)) * number(number(1) / number(scaling.divisor)))
            bits = bits_of(np.float64(number(amax * inverse)))
        return min(u(bits), u(0x7FEFFFFFFFFFFFFF))

    register_jitable(kernels.named(ratio_of, f"ratio {carrier}"))

    def loop(
        bits: Any,
        shape: Any,
        codes: Any,
        values: Any,
        scaling: Any,
        target: Any,
        layout: Any,
        table: Any,
        steps: Any,
    ) -> Any:
        rows, cols, inner, block_rows, block_cols = shape
        limit = infinity if scaling.finite else all_bits
        groups = (cols + block_cols - 1) // block_cols
        found = np.empty(groups * inner, w)
        width = cols * inner
        place = 0
        for begin in range(0, bits.size, rows * width):
            for band in range(0, rows, block_rows):
                found[:] = w(0)
                for r in range(band, min(band + block_rows, rows)):
                    row = bits[begin + r * width : begin + (r + 1) * width]
                    for j in range(groups):
                        stop = min((j + 1) * block_cols, cols)
                        if inner == 1:
                            found[j] = max(found[j], largest(w, row, j * block_cols, stop, magnitude, limit))
                        else:
                            top = found[j * inner : (j + 1) * inner]
                            for c in range(j * block_cols, stop):
                                line = row[c * inner : (c + 1) * inner]
                                for i in range(line.size):
                                    mag = w(line[i] & magnitude)
                                    top[i] = max(top[i], pick(w, mag < limit, mag, w(0)))
                for j in range(found.size):
                    if found[j] >= infinity:
                        code = u(scaling.nan)
                    elif steps.size == STEPS:  # the scale never falls as the magnitude grows
                        p = 0
                        half = STEPS // 2
                        while half > 0:
                            p += half * (steps[p + half] <= found[j])
                            half //= 2
                        code = u(p)
                    else:
                        code = scale_code(u, ratio_of(w(found[j]).view(number), scaling), scaling, target)
                    codes[place] = code
                    if code < u(table.size):
                        values[place] = table[code] * scaling.outer
                    else:
                        values[place] = float_of(decode_code(u, code, layout, kernels.SCALED_BIAS)) * scaling.outer
                    place += 1

    return kernels.compiled(loop, f"block scales {carrier}")


def first_block(r: Any, shape: Any) -> Any:
    """The first of the blocks in which the numbers of row ``r`` lie, of all matrices' rows."""
    rows, cols, inner, block_rows, block_cols = shape
    bands = (rows + block_rows - 1) // block_rows
    return (r // rows * bands + r % rows // block_rows) * ((cols + block_cols - 1) // block_cols * inner)


def spread(scales: Any, own: Any, begin: Any, inner: Any, block_cols: Any) -> Any:
    """Write out the scale of each of a row's numbers, from number ``begin`` on; ``own``: those of the row's blocks."""
    p = 0
    if inner == 1:  # one scale up to the block's end
        place = begin // block_cols
        stop = (place + 1) * block_cols - begin
        while p < scales.size:
            fill(scales, p, min(stop, scales.size), own[place])
            p, place = stop, place + 1
            stop += block_cols
        return
    while p < scales.size:  # a scale each up to the group's
        c = (begin + p) // inner
        stop = min((c + 1) * inner - begin, scales.size)
        place = c // block_cols * inner + begin - c * inner
        for i in range(p, stop):
            scales[i] = own[place + i]
        p = stop


kernels.register((first_block, spread))


def are_powers(values: Any) -> Any:
    """Whether all values are powers of two, from 2^-127 to 2^127, or NaN: binary32 then holds them and 1 / value."""
    u = np.uint64
    powers = True
    for i in range(values.size):
        bits = u(bits_of(values[i]))
        field = u(bits >> u(52))
        whole = (u(bits << u(12)) == u(0)) & (field >= u(1023 - 127)) & (field <= u(1023 + 127))
        powers = powers & (whole | (values[i] != values[i]))
    return powers


kernels.register((are_powers,))


@cache
def divided_loop(carrier: str) -> Callable[..., Any]:
    """Return the loop that divides the numbers of whole bands of blocks by their scales.

    Parameters
    ----------
    carrier : str
        "float32" or "float64".

    Returns
    -------
    callable
        ``loop(x, bits, shape, values, formula, result)``: the numbers, the same as bits, shape and values as in
        :func:`scales_loop`; ``result`` takes carrier bits. Where the scale is 0 numbers become zeros of their sign.
        By EXACT, binary32 bits are of a number that rounds as the exact quotient does wherever a rounding looks at
        most at 22 bits, and at no place below 2^-122.
    """
    quotients, zeros = quotients_of(carrier)
    number: Any = np.dtype(carrier).type
    single = carrier == "float32"

    def loop(x: Any, bits: Any, shape: Any, values: Any, formula: Any, result: Any) -> Any:
        _, cols, inner, _, block_cols = shape
        width = cols * inner
        tile = min(TILE, width)
        scales, inverses, factors = np.empty(tile), np.empty(tile), np.empty(tile, number)
        inverse, factor = np.empty(values.size), np.empty(values.size, number)
        empty = False
        for i in range(values.size):
            inverse[i] = 1 / values[i]
            factor[i] = number(1) / number(values[i])
            empty = empty | (values[i] == 0)
        how = formula
        if (formula == EXACT) & single and are_powers(values):
            how = SHIFT
        for r in range(x.size // width):
            place = first_block(r, shape)
            for begin in range(0, width, TILE):
                size = min(TILE, width - begin)
                if (how == MULTIPLY) | (how == SHIFT):
                    spread(factors[:size], factor[place:], begin, inner, block_cols)
                if (how == EXACT) | (how == DIVIDE) | empty:
                    spread(scales[:size], values[place:], begin, inner, block_cols)
                if how == EXACT:
                    spread(inverses[:size], inverse[place:], begin, inner, block_cols)
                a, b = r * width + begin, r * width + begin + size
                quotients(x[a:b], bits[a:b], scales, inverses, factors, how, result[a:b])
                if empty:
                    zeros(bits[a:b], scales, result[a:b])

    return kernels.compiled(loop, f"block division {carrier}")


@cache
def product_loop() -> Callable[..., Any]:
    """Return the loop that multiplies the values of codes by their blocks' scales.

    Returns
    -------
    callable
        ``loop(codes, shape, values, table, result)``: codes of whole bands of blocks; shape and values as in
        :func:`scales_loop`; the value of each code (binary64). Products are binary64 numbers, which ``result``, of that
        or of binary32, takes rounded to nearest.
    """

    def loop(codes: Any, shape: Any, values: Any, table: Any, result: Any) -> Any:
        _, cols, inner, _, block_cols = shape
        width = cols * inner
        scales = np.empty(min(TILE, width))
        for r in range(codes.size // width):
            own = values[first_block(r, shape) :]
            for begin in range(0, width, TILE):
                piece = scales[: min(TILE, width - begin)]
                spread(piece, own, begin, inner, block_cols)
                a = r * width + begin
                found, run = result[a : a + piece.size], codes[a : a + piece.size]
                for i in range(piece.size):
                    found[i] = table[run[i]] * piece[i]

    return kernels.compiled(loop, "block products")
