"""Fused dot-product steps of matrix units: products and accumulator aligned, cut, added, rounded once.

One step of L products and an accumulator c (Khattak & Mikaitis, arXiv 2512.07004; MMA-Sim, arXiv
2511.10909): every term has the exponent that its operands' exponent fields add up to, the largest one E
decides the place 2^(E - F) below which every term is cut, the integers so made are added exactly, and the
sum is rounded to the accumulator's format by the one rounding text.

Everything before that rounding is exact in binary64, which callers see to: products have at most 48
significant bits, terms after the cut at most F + 2 + log2 of their number <= 53, and exponents lie within
-300 .. 300, so that |x| 2^(F - E) is a normal number wherever it matters. Cutting is IEEE 754's
roundToIntegral, an instruction of its own.

Specials ride along in ``wild`` runs: z, the plain sum of all terms in binary64, is an infinity or a NaN
exactly where the standard's rules say so, since finite products never overflow there, and -0 only if
every term is -0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from floatemu._core import kernels
from floatemu._core.exact import bits_of, float_of
from floatemu._core.rounding import NE, TN, TZ, project_carrier

WIDTH, BLOCK = 128, 256
"""Columns handled together, and products between two looks at the next row (at least one instruction's)."""
NONE = -4096
"""Exponent of a term that is zero: below every floor."""


class Fused(NamedTuple):
    """The parameters of a fused step, as integers."""

    length: Any  #: products added at once
    depth: Any  #: products between two additions of c, if ``late``; a multiple of length
    group: Any  #: products added exactly before they are scaled and count as one term; divides length
    fraction: Any  #: F, bits kept below the largest exponent
    floor: Any  #: exponent of a term that is zero: E is not below it
    emin: Any  #: least exponent that a nonzero accumulator is given
    align: Any  #: how terms are cut: TZ, TN or NE
    mode: Any  #: how the sum is rounded
    normalised: Any  #: whether products of 2 or more count with the exponent they have
    late: Any  #: whether c is added, rounded to nearest even, after ``depth`` products have been added to 0
    signed_zero: Any  #: whether terms that are all -0 give -0


class Lanes(NamedTuple):
    """Room for what the columns of a tile need while a step is made."""

    acc: Any
    total: Any
    scale: Any
    top: Any
    z: Any
    p: Any  #: sum of a group
    live: Any  #: whether a group has a product that is not zero


def power_of_two(n: Any) -> Any:
    """2^n for -1022 <= n <= 1023."""
    return float_of(np.uint64(n + 1023) << np.uint64(52))


def exponent_of(x: Any, emin: Any) -> Any:
    """Floor of log2 |x|, at least ``emin``; NONE for zero. Of a binary64 number that is not subnormal."""
    field = np.int64((bits_of(x) >> np.uint64(52)) & np.uint64(0x7FF))
    return max(field - 1023, emin) if field > 0 else NONE


def raise_top(top: Any, e: Any, eb: Any) -> None:
    """Take the exponents of one product per column into account."""
    for j in range(top.size):
        top[j] = max(top[j], np.int32(e + eb[j]))


def raise_top_4(top: Any, e0: Any, e1: Any, e2: Any, e3: Any, eb0: Any, eb1: Any, eb2: Any, eb3: Any) -> None:
    """Four products per column at once: a quarter of the loads and stores."""
    for j in range(top.size):
        low = max(np.int32(e0 + eb0[j]), np.int32(e1 + eb1[j]))
        high = max(np.int32(e2 + eb2[j]), np.int32(e3 + eb3[j]))
        top[j] = max(top[j], max(low, high))


def add_4(total: Any, scale: Any, a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any, b2: Any, b3: Any) -> None:
    """Add four products per column, cut toward zero."""
    for j in range(total.size):
        s = scale[j]
        low = np.trunc(a0 * b0[j] * s) + np.trunc(a1 * b1[j] * s)
        total[j] += low + (np.trunc(a2 * b2[j] * s) + np.trunc(a3 * b3[j] * s))


def add(total: Any, scale: Any, a: Any, b: Any, align: Any) -> None:
    """Add one term per column, a times b, cut as ``align`` says."""
    if align == TZ:
        for j in range(total.size):
            total[j] += np.trunc(a * b[j] * scale[j])
    elif align == TN:
        for j in range(total.size):
            total[j] += np.floor(a * b[j] * scale[j])
    else:
        for j in range(total.size):
            total[j] += np.rint(a * b[j] * scale[j])


def start(lanes: Any, step: Any) -> None:
    """The scale that all terms share, and the accumulator's term."""
    for j in range(lanes.acc.size):
        lanes.scale[j] = power_of_two(step.fraction - lanes.top[j])
        lanes.total[j] = 0.0
    add(lanes.total, lanes.scale, 1.0, lanes.acc, step.align)


def single(first: Any, count: Any, ea: Any, a: Any, eb: Any, b: Any, lanes: Any, step: Any) -> None:
    """The terms of one step, each a product; rows of b begin at ``first``."""
    top, total, scale = lanes.top, lanes.total, lanes.scale
    width = total.size
    plain = (step.align == TZ) & (count % 4 == 0)
    if step.normalised:
        for k in range(count):
            for j in range(width):
                top[j] = max(top[j], np.int32(exponent_of(a[k] * b[first + k, j], NONE)))
    elif plain:
        for k in range(0, count, 4):
            r = first + k
            raise_top_4(
                top, ea[k], ea[k + 1], ea[k + 2], ea[k + 3],
                eb[r, :width], eb[r + 1, :width], eb[r + 2, :width], eb[r + 3, :width],
            )  # fmt: skip
    else:
        for k in range(count):
            raise_top(top, ea[k], eb[first + k, :width])
    start(lanes, step)
    if plain:
        for k in range(0, count, 4):
            r = first + k
            add_4(
                total, scale, a[k], a[k + 1], a[k + 2], a[k + 3],
                b[r, :width], b[r + 1, :width], b[r + 2, :width], b[r + 3, :width],
            )  # fmt: skip
    else:
        for k in range(count):
            add(total, scale, a[k], b[first + k, :width], step.align)


def gather(first: Any, count: Any, a: Any, b: Any, lanes: Any) -> None:
    """The exact sum of a group's products, and whether one of them is not zero."""
    p, live = lanes.p, lanes.live
    for j in range(p.size):
        p[j] = 0.0
        live[j] = False
    for k in range(count):
        for j in range(p.size):
            x = a[k] * b[first + k, j]
            p[j] += x
            live[j] |= x != 0.0


def grouped(
    first: Any, count: Any, a: Any, b: Any, ea: Any, sa: Any, eb: Any, sb: Any, lanes: Any, step: Any
) -> None:  # fmt: skip
    """The terms of one step, each a group's sum times two scales, whose exponents alone count.

    ``ea``, ``sa`` (k / group) and ``eb``, ``sb`` (k / group, n) are the scales' exponents and values.
    """
    width = lanes.total.size
    g0 = first // step.group
    for g in range(count // step.group):
        gather(first + g * step.group, step.group, a[g * step.group :], b, lanes)
        for j in range(width):
            e = np.int32(ea[g] + eb[g0 + g, j])
            lanes.top[j] = max(lanes.top[j], e if lanes.live[j] else np.int32(NONE))
    start(lanes, step)
    for g in range(count // step.group):
        gather(first + g * step.group, step.group, a[g * step.group :], b, lanes)
        for j in range(width):
            lanes.p[j] *= sb[g0 + g, j]
        add(lanes.total, lanes.scale, sa[g], lanes.p, step.align)


def specials(first: Any, count: Any, a: Any, b: Any, z: Any) -> None:
    """Add the products as they are to z, whose infinity, NaN or sign of zero is all that will be looked at."""
    for k in range(count):
        for j in range(z.size):
            z[j] += a[k] * b[first + k, j]


def settle_text(mode: int | None) -> Callable[..., Any]:
    """``settle(lanes, target, step)``: the sums become accumulators, rounded by this mode.

    The two modes that hardware uses are constants for the compiler, which then makes vector code of the
    rounding text; None is for all others.
    """
    w = np.uint64

    def settle(lanes: Any, target: Any, step: Any) -> None:
        total, top, z, acc = lanes.total, lanes.top, lanes.z, lanes.acc
        for j in range(total.size):
            how = step.mode if mode is None else mode
            value = total[j] * power_of_two(top[j] - step.fraction)
            value = value if z[j] - z[j] == 0.0 else z[j]
            bits, _ = project_carrier(w, 52, bits_of(value), target, how, w(0), w(0), w(0), False, False)
            acc[j] = float_of(bits) + 0.0  # -0, from cancelled or vanishing terms, becomes +0
        if step.signed_zero:
            for j in range(total.size):
                acc[j] = z[j] if (z[j] == 0.0) & (total[j] == 0.0) else acc[j]

    return settle


settle_zero, settle_even, settle_any = (settle_text(mode) for mode in (TZ, NE, None))
for _settle, _mode in ((settle_zero, "zero"), (settle_even, "even"), (settle_any, "any")):
    register_jitable(kernels.named(_settle, f"matrix settle {_mode}"))
kernels.register(
    (power_of_two, exponent_of, raise_top, raise_top_4, add_4, add, start, single, gather, grouped, specials)
)


@cache
def fused_loop() -> Callable[..., Any]:
    """Return the loop over the rows of one matrix product made of fused steps.

    Returns
    -------
    callable
        ``loop(a, ea, sa, b, eb, sb, c, target, step, wild)``: a (m, k), b (k, n), c (m, n) binary64, c overwritten; k a
        multiple of the step's length and depth. ``ea``, ``eb`` (int32, like a and b) are the operands' exponents,
        NONE for zeros and what is not finite. With groups they are the scales' and ``sa`` (m, k / group), ``sb``
        (k / group, n) their values; without, those are not looked at. ``target`` is for ``project_carrier``;
        ``wild``: whether an operand is not finite, or signs of zeros count.
    """
    w = np.uint64

    def loop(a: Any, ea: Any, sa: Any, b: Any, eb: Any, sb: Any, c: Any, target: Any, step: Any, wild: Any) -> None:
        count = a.shape[1]
        columns = b.shape[1]
        length, depth, group = int(step.length), int(step.depth), int(step.group)
        block = max(BLOCK // depth, 1) * depth
        parts, totals, scales = np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH)
        tops, zs, ps, lives = np.empty(WIDTH, np.int32), np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH, np.bool_)
        packed, scale_rows = np.empty((block, WIDTH)), np.empty((block // group, WIDTH))
        exponents = np.empty((block // group, WIDTH), np.int32)
        for left in range(0, columns, WIDTH):
            width = min(WIDTH, columns - left)
            for near in range(0, count, block):
                stop = min(near + block, count)
                for k in range(near, stop):
                    packed[k - near, :width] = b[k, left : left + width]
                for k in range(near // group, stop // group):
                    exponents[k - near // group, :width] = eb[k, left : left + width]
                    if group > 1:
                        scale_rows[k - near // group, :width] = sb[k, left : left + width]
                for i in range(a.shape[0]):
                    acc = c[i, left : left + width]
                    for head in range(near, stop, depth):
                        own = acc
                        if step.late:
                            own = parts[:width]
                            own[:] = 0.0
                        lanes = Lanes(
                            own, totals[:width], scales[:width], tops[:width], zs[:width], ps[:width], lives[:width]
                        )
                        for k in range(head, head + depth, length):
                            row = a[i, k : k + length]
                            for j in range(width):
                                lanes.top[j] = np.int32(max(step.floor, exponent_of(own[j], step.emin)))
                                lanes.z[j] = own[j]
                            if group > 1:
                                some = slice(k // group, (k + length) // group)
                                grouped(
                                    k - near, length, row, packed, ea[i, some], sa[i, some], exponents, scale_rows,
                                    lanes, step,
                                )  # fmt: skip
                            else:
                                single(k - near, length, ea[i, k : k + length], row, exponents, packed, lanes, step)
                            if wild:
                                specials(k - near, length, row, packed, lanes.z)
                            if step.mode == TZ:
                                settle_zero(lanes, target, step)
                            elif step.mode == NE:
                                settle_even(lanes, target, step)
                            else:
                                settle_any(lanes, target, step)
                        if step.late:
                            for j in range(width):
                                total = bits_of(acc[j] + own[j])
                                bits, _ = project_carrier(w, 52, total, target, NE, w(0), w(0), w(0), False, False)
                                acc[j] = float_of(bits)

    return kernels.compiled(loop, "matrix fused")


@cache
def split_loop() -> Callable[..., Any]:
    """Return ``split(values, emin, exponents)``: exponents (int32) of binary64 numbers, at least ``emin``.

    NONE for zeros, infinities and NaN, which do not take part in alignment.
    """

    def split(values: Any, emin: Any, exponents: Any) -> None:
        for i in range(values.size):
            e = exponent_of(values[i], emin)
            exponents[i] = e if e < 1024 else NONE

    return kernels.compiled(split, "matrix split")
