"""Matrix products in sequential order, a row of the result at a time: the loops that compilers vectorise.

Every column of a row has its own accumulator; step k multiplies one number of ``a`` by a row of ``b`` and
adds. Both operations end in ``project_carrier``, so they are rounded as everything is. What comes before
is exact, or rounded to odd, in the carrier:

* Products of operands with s and t significant bits are exact in binary32 (binary64) if s + t <= 24
  (53), and within its range. The caller makes sure of it.
* Sums are rounded to odd from their two-sum (``exact.odd_sum``), and round again to p bits like the exact
  sum if p + n + 2 <= 24 (53), with n random bits.
* To nearest even a sum may be rounded to nearest first if both terms have p bits or fewer and
  24 >= 2 p + 2 (53 >= 2 p + 2): Figueroa, "When is double rounding innocuous?", SIGNUM 30(3), 1995. Below
  the carrier's least normal sums are exact. If p is the carrier's own, the sum is rounded already.

Values may be scaled so that the accumulator's least normal is the carrier's: the place of the cut is then
the same for every number, which saves a third of the work, unless products below it are frequent (processors
take a hundred cycles to multiply into the subnormals, though not to add there).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.extending import register_jitable

from floatemu._core import kernels
from floatemu._core.exact import MUL, bits_of, to_odd
from floatemu._core.random import word_at
from floatemu._core.reductions import Place, operate
from floatemu._core.rounding import INVALID, NAN_BORN, SA, TN, Target, pick, project_carrier

TILE, TILE_BYTES = 512, 2**16
"""Columns handled together, and bytes of a block of b with as many columns.

Long rows, since each step loads the target's constants anew (measured: a third faster than with 128)."""


def sum_text(carrier: str) -> Callable[..., Any]:
    """The sum of two numbers of a carrier as the function ``sum_bits(a, b, odd, down)`` for compiled code."""
    word: Any = kernels.CARRIERS[carrier]
    w, t = word
    number: Any = np.float32 if t == 23 else np.float64
    top = w(1 << (31 if t == 23 else 63))

    def sum_bits(a: Any, b: Any, odd: Any, down: Any) -> Any:
        """Bits of a + b, rounded to odd or (``odd`` false) to nearest; ``down``: terms that cancel give -0."""
        s = a + b
        bits = number(s).view(w)
        if odd:
            part = s - a
            error = (a - (s - part)) + (b - part)
            bits = to_odd(w, s, bits, error)
        if down:
            negative = w(w(number(a).view(w) | number(b).view(w)) & top)
            bits = pick(w, w(bits << w(1)) == w(0), negative, bits)
        return bits

    register_jitable(kernels.named(sum_bits, f"gemm sum {carrier}"))
    return sum_bits


def simplified(w: Any, top: Any, target: Any, emin: Any) -> Any:
    """The target with what is the same for all signed formats with subnormals, NaN and p > 1, written as constants."""
    return Target(
        target.precision, target.trailing, w(0), target.drop, emin, w(0), w(0), target.least,
        target.most_pos, target.most_pos, w(0), target.zero_neg, w(0), target.null_neg, target.over_pos,
        target.over_neg, target.inf_pos, target.inf_neg, target.nan, top, target.over_pos_flags, target.over_neg_flags,
        target.inf_pos_flags, target.inf_neg_flags, w(0), w(0), w(0),
    )  # fmt: skip


def fill(drawn: Any, position: Any, count: Any, state: Any, spare: Any) -> Any:
    """The random bits of neighbouring positions, two a word; returns where the first one lies."""
    g, w32 = kernels.GENERATOR_WORD, np.uint32
    lead = int(position & g(1))
    for i in range((count + lead + 1) // 2):
        both = word_at(g, g(state), g(g(position >> g(1)) + g(i)))
        drawn[2 * i] = w32(both & g(0xFFFFFFFF)) >> spare
        drawn[2 * i + 1] = w32(both >> g(32)) >> spare
    return lead


kernels.register((simplified, fill))


@cache
def product_loop(carrier: str, mode: int, rounded: str, odd: bool, bottom: bool) -> Callable[..., Any]:
    """Return the loop over the rows of one matrix product.

    Parameters
    ----------
    carrier : str
        "float32" or "float64".
    mode : int
        Fixed when compiling: as run-time data it keeps compilers from vectorising (measured: 10 times slower).
    rounded : str
        How products are rounded: "alike", to the accumulator's format; "apart", to another one; "" if they are
        exact in their format, or fused.
    odd : bool
        Whether sums are rounded to odd first, rather than to nearest.
    bottom : bool
        Whether the accumulator's least normal is the carrier's: all cuts are then at the same place.

    Returns
    -------
    callable
        ``loop(a, b, c, product, target, n, state, size, first, adds)``: carrier arrays (m, k), (k, n),
        (m, n), k > 0; element (0, 0) stands at position ``first`` of ``size``; the additions' operation
        numbers begin at ``adds``. Targets of signed formats with zero, subnormals and p > 1.
    """
    word: Any = kernels.CARRIERS[carrier]
    w, t = word
    number: Any = np.float32 if t == 23 else np.float64
    depth = TILE_BYTES // TILE // np.dtype(carrier).itemsize
    top = w(1 << (31 if t == 23 else 63))
    g, w32 = kernels.GENERATOR_WORD, np.uint32
    stochastic, down, sum_bits = mode >= SA, mode == TN, sum_text(carrier)

    def make_tile(start: bool) -> Any:
        def tile(
            acc: Any, row: Any, x: Any, product: Any, target: Any, drawn: Any, other: Any, n: Any, ones: Any
        ) -> None:
            outer = simplified(w, top, product, w(1) if alike and bottom else product.emin)
            inner = simplified(w, top, target, w(1) if bottom else target.emin)
            for j in range(acc.size):
                r, q = w(0), w(0)
                if stochastic:
                    r, q = w(drawn[j]), w(other[j])
                bits = number(x * row[j]).view(w)
                if rounds:
                    bits, _ = project_carrier(w, t, bits, outer, mode, q, n, ones, False, False)
                if not start:
                    bits = sum_bits(acc[j], w(bits).view(number), odd, down)
                out, _ = project_carrier(w, t, bits, inner, mode, r, n, ones, False, False)
                acc[j] = w(out).view(number)

        register_jitable(kernels.named(tile, f"gemm tile {label} {start}"))
        return tile

    label = f"{carrier} {mode} {rounded} {'odd' if odd else ''} {'bottom' if bottom else ''}"
    rounds, alike = rounded != "", rounded == "alike"
    begin, proceed = make_tile(True), make_tile(False)

    def loop(
        a: Any, b: Any, c: Any, product: Any, target: Any, n: Any, state: Any, size: Any, first: Any,
        adds: Any,
    ) -> None:  # fmt: skip
        count, columns = a.shape[1], b.shape[1]
        ones = w(2 ** int(n) - 1)
        spare = w32(32 - int(n))
        drawn, other = np.empty(TILE + 2, np.uint32), np.empty(TILE + 2, np.uint32)
        packed = np.empty((depth, TILE), number)
        for left in range(0, columns, TILE):
            width = min(TILE, columns - left)
            for top_k in range(0, count, depth):
                stop = min(top_k + depth, count)
                for k in range(top_k, stop):
                    for j in range(width):
                        packed[k - top_k, j] = b[k, left + j]
                for i in range(a.shape[0]):
                    acc = c[i, left : left + width]
                    here = g(g(first) + g(i * columns + left))
                    at, beside = 0, 0
                    for k in range(top_k, stop):
                        if stochastic:
                            at = fill(drawn, g(g(g(adds + k) * g(size)) + here), width, state, spare)
                            if rounds:
                                beside = fill(other, g(g(g(k) * g(size)) + here), width, state, spare)
                        row = packed[k - top_k, :width]
                        mine, its = drawn[at : at + width], other[beside : beside + width]
                        if k == 0:
                            begin(acc, row, a[i, k], product, target, mine, its, n, ones)
                        else:
                            proceed(acc, row, a[i, k], product, target, mine, its, n, ones)

    return kernels.compiled(loop, f"gemm {label}")


@cache
def flagged_loop(carrier: str, mode: int, rounded: bool) -> Callable[..., Any]:
    """Return the loop of :func:`product_loop` that also gathers flags.

    Sums are rounded to odd in any case: that of a number below the accumulator's bits is inexact, as is the
    rounding of what is odd.

    Parameters
    ----------
    carrier, mode
        As for :func:`product_loop`.
    rounded : bool
        Whether products are rounded on their own.

    Returns
    -------
    callable
        ``loop(a, b, c, flags, product, target, n, state, size, first, adds, smooth)``: as there, and ``flags``, words
        of the carrier in the shape of c, to which those of every operation are added. ``smooth`` allows to leave
        out what no sum can raise: the accumulator's least normal is the carrier's, below it all sums are exact, and
        none has infinities of both signs or a NaN that is given.
    """
    word: Any = kernels.CARRIERS[carrier]
    w, t = word
    number: Any = np.float32 if t == 23 else np.float64
    depth = TILE_BYTES // TILE // np.dtype(carrier).itemsize
    g, w32 = kernels.GENERATOR_WORD, np.uint32
    stochastic, down, sum_bits = mode >= SA, mode == TN, sum_text(carrier)
    label, rounds = f"flagged {carrier} {mode} {rounded}", rounded

    def make_tile(start: bool, smooth: bool) -> Any:
        kind = 2 if smooth else 1
        # Tiny products of stochastic modes wait for a second pass, as in kernels.carrier_loop.
        later = smooth and rounds and stochastic
        first = 2 if later else 1
        top = w(1 << (31 if t == 23 else 63))

        def tile(
            acc: Any, seen: Any, row: Any, x: Any, product: Any, target: Any, drawn: Any, other: Any, n: Any, ones: Any
        ) -> None:
            goal = simplified(w, top, target, w(1)) if smooth else target
            for j in range(acc.size):
                r, q = w(0), w(0)
                if stochastic:
                    r, q = w(drawn[j]), w(other[j])
                y, s = row[j], acc[j]
                flags = seen[j]
                bits = number(x * y).view(w)
                if rounds:
                    if not smooth:
                        flags = w(flags | born(x * y, (x == x) & (y == y)))
                    bits, outer = project_carrier(w, t, bits, product, mode, q, n, ones, False, first)
                    flags = w(flags | outer)
                term = w(bits).view(number)
                if not start:
                    bits = sum_bits(s, term, True, down)
                if not smooth:
                    exact = w(bits).view(number)
                    if rounds:
                        numbers = (term == term) & (start | (s == s))
                    else:
                        numbers = (x == x) & (y == y) & (start | (s == s))
                    flags = w(flags | born(exact, numbers))
                out, inner = project_carrier(w, t, bits, goal, mode, r, n, ones, False, kind)
                acc[j] = w(out).view(number)
                seen[j] = w(flags | inner)
            if later:
                normal: Any = w(product.emin << w(t))
                for j in range(acc.size):
                    bits = number(x * row[j]).view(w)
                    if w(bits & w(top - w(1))) < normal:
                        _, outer = project_carrier(w, t, bits, product, mode, w(other[j]), n, ones, False, 1)
                        seen[j] = w(seen[j] | outer)

        register_jitable(kernels.named(tile, f"gemm tile {label} {start} {smooth}"))
        return tile

    def born(value: Any, numbers: Any) -> Any:
        """What is raised where numbers give a NaN."""
        return w(w(INVALID | NAN_BORN) * w((value != value) & numbers))

    register_jitable(kernels.named(born, f"gemm born {label}"))
    begin, proceed = make_tile(True, False), make_tile(False, False)
    begin_smooth, proceed_smooth = make_tile(True, True), make_tile(False, True)

    def loop(
        a: Any, b: Any, c: Any, flags: Any, product: Any, target: Any, n: Any, state: Any, size: Any, first: Any,
        adds: Any, smooth: Any,
    ) -> None:  # fmt: skip
        count, columns = a.shape[1], b.shape[1]
        ones = w(2 ** int(n) - 1)
        spare = w32(32 - int(n))
        drawn, other = np.empty(TILE + 2, np.uint32), np.empty(TILE + 2, np.uint32)
        packed = np.empty((depth, TILE), number)
        for left in range(0, columns, TILE):
            width = min(TILE, columns - left)
            for top_k in range(0, count, depth):
                stop = min(top_k + depth, count)
                for k in range(top_k, stop):
                    for j in range(width):
                        packed[k - top_k, j] = b[k, left + j]
                for i in range(a.shape[0]):
                    acc, seen = c[i, left : left + width], flags[i, left : left + width]
                    here = g(g(first) + g(i * columns + left))
                    at, beside = 0, 0
                    for k in range(top_k, stop):
                        if stochastic:
                            at = fill(drawn, g(g(g(adds + k) * g(size)) + here), width, state, spare)
                            if rounds:
                                beside = fill(other, g(g(g(k) * g(size)) + here), width, state, spare)
                        row = packed[k - top_k, :width]
                        mine, its = drawn[at : at + width], other[beside : beside + width]
                        if smooth and k == 0:
                            begin_smooth(acc, seen, row, a[i, k], product, target, mine, its, n, ones)
                        elif smooth:
                            proceed_smooth(acc, seen, row, a[i, k], product, target, mine, its, n, ones)
                        elif k == 0:
                            begin(acc, seen, row, a[i, k], product, target, mine, its, n, ones)
                        else:
                            proceed(acc, seen, row, a[i, k], product, target, mine, its, n, ones)

    return kernels.compiled(loop, f"gemm {label}")


@cache
def scan_loop() -> Callable[..., Any]:
    """Return ``scan(bits, found)``: the reach of binary64 numbers, given as their bits in any number of axes.

    ``found`` (int64) becomes: the least exponent of a last nonzero bit, the largest exponent of a first one, the
    most significant bits that a number has, and how many numbers are infinite or NaN. Zeros do not count.
    """
    w = np.uint64

    def scan(bits: Any, found: Any) -> None:
        low, high, most, special = 5000, -5000, 0, 0
        for i in range(bits.size):
            field = int(w(bits[i] >> w(52)) & w(0x7FF))
            sig = w(bits[i] & w((1 << 52) - 1))
            if field == 0x7FF:
                special += 1
            elif field > 0 or sig != w(0):
                if field > 0:
                    sig = w(sig | w(1 << 52))
                # Places of the last and of the first bit, as exponents of numbers that are exact.
                last = w(sig & ~w(sig - w(1)))
                lowest = int(w(bits_of(np.float64(last))) >> w(52)) - 1023
                length = int(w(bits_of(np.float64(sig))) >> w(52)) - 1022
                base = max(field, 1) - 1075
                low, high = min(low, base + lowest), max(high, base + length - 1)
                most = max(most, length - lowest)
        found[0], found[1], found[2], found[3] = low, high, most, special

    return kernels.compiled(scan, "gemm scan")


@cache
def finish_loop() -> Callable[..., Any]:
    """Return ``finish(values, step, m, state, size, first, out, marks)``: operation m of every element, a rounding.

    Its marks are added to those that ``marks`` holds.
    """
    w = np.uint64

    def finish(values: Any, step: Any, m: Any, state: Any, size: Any, first: Any, out: Any, marks: Any) -> None:
        for i in range(out.size):
            out[i], born = operate(w, MUL, values[i], 1.0, 0.0, step, Place(state, size, first + i), m)
            marks[i] = w(marks[i]) | born

    return kernels.compiled(finish, "gemm finish")
