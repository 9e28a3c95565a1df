"""The compiled loop that counts and sums what a rounding changed, and how far both are from an exact value.

Sums of squares run in lanes, so that they are vectorised: their bits depend on nothing but the numbers. They are
scaled by a power of two that the caller chooses, so that no square overflows, and none that matters underflows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core.rounding import NE, project_carrier

COUNTS = (
    "nonfinite",
    "nonfinite_exact",
    "overflowed",
    "saturated",
    "zeros_exact",
    "zeros_new",
    "flushed",
    "subnormal",
)
"""What is counted, in order."""

SQUARES = ("local", "before", "error", "exact", "after")
"""Whose squares are summed, in order: after - before, before, after - exact, exact, after."""

LANES, TILE = 64, 512
"""Sums side by side (element i goes into sum i modulo LANES; fewer do not fill the adders), and numbers at a time."""


def count(
    w: Any, inf: Any, before: Any, after: Any, exact: Any, largest: Any, normal: Any, counts: Any, ends: Any
) -> Any:
    """Count in one tile of a carrier's bits, signed integers of type w, and return how many are no finite numbers.

    A tile is so short that every count fits w; the casts keep the arithmetic as narrow as the words are.
    """
    mask, one, zero = w(inf | (inf - 1)), w(1), w(0)
    bad = bad_exact = over = saturated = zeros = new = flushed = small = lost = top = all_ = zero
    least = inf
    for i in range(after.size):
        a, b, c = w(before[i] & mask), w(after[i] & mask), w(exact[i] & mask)
        # choices of integers, not conditions: LLVM makes vectors of these
        zero_b, zero_c = (one if b == zero else zero), (one if c == zero else zero)
        saturated = w(saturated + ((one if a > largest else zero) if b == largest else zero))
        zeros = w(zeros + zero_c)
        new = w(new + w(zero_b & w(zero_c ^ one)))
        flushed = w(flushed + w(zero_b & (zero if a == zero else one)))
        small = w(small + w((one if b < normal else zero) & w(zero_b ^ one)))
        least = min(least, c if c > zero else inf)
        top = max(top, c)
        all_ = max(all_, max(a, b))
    if max(top, all_) >= inf:  # few tiles: what follows is a loop of its own
        top = all_ = zero
        for i in range(after.size):
            a, b, c = w(before[i] & mask), w(after[i] & mask), w(exact[i] & mask)
            open_a, open_b = (one if a >= inf else zero), (one if b >= inf else zero)
            open_c = one if c >= inf else zero
            bad = w(bad + open_b)
            bad_exact = w(bad_exact + open_c)
            lost = w(lost + w(open_a | open_b | open_c))
            over = w(over + w(open_b & w(open_a ^ one)))
            top = max(top, c if c < inf else zero)
            all_ = max(all_, max(b if b < inf else zero, a if a < inf else zero))
    counts[0] += bad
    counts[1] += bad_exact
    counts[2] += over
    counts[3] += saturated
    counts[4] += zeros
    counts[5] += new
    counts[6] += flushed
    counts[7] += small
    ends[0], ends[1], ends[2] = max(ends[0], top), min(ends[1], least), max(ends[2], max(top, all_))
    return lost


def add(x: Any, y: Any, e: Any, local: Any, own: Any, error: Any, exact: Any, after: Any) -> Any:
    """Add the squares of one tile in binary64, in lanes."""
    for start in range(0, x.size, LANES):
        xs, ys, es = x[start : start + LANES], y[start : start + LANES], e[start : start + LANES]
        for i in range(LANES):
            u, v, z = np.float64(xs[i]), np.float64(ys[i]), np.float64(es[i])
            local[i] += (v - u) * (v - u)
            own[i] += u * u
            error[i] += (v - z) * (v - z)
            exact[i] += z * z
            after[i] += v * v


# Parts of the loop, functions of their own only so that LLVM sees plain loops.
kernels.register((count, add))


@cache
def tally_loop(rounds: bool, carrier: str) -> Callable[..., Any]:
    """Return the loop that goes once through the numbers before and after a rounding, and the exact ones.

    Parameters
    ----------
    rounds : bool
        Whether the loop rounds, too: the carrier's numbers, to nearest, ties to even, by the text of all roundings.
    carrier : str
        "float64", or "float32", whose words are half as wide and take half the time, for float32 arrays.

    Returns
    -------
    callable
        ``loop(before, after, exact, target, limits, scale, counts, ends, sums)``: 1-D contiguous arrays of
        one length, float32 or float64; the :class:`~floatemu._core.rounding.Target` in the carrier's words; the
        format's largest finite and smallest normal magnitude, an array of the carrier's dtype; a power of two, 1 for
        binary32, whose squares binary64 holds. Written are ``after``, if the loop rounds, ``counts`` (int64, as
        ``COUNTS``), ``ends`` (float64: the largest finite magnitude of ``exact``, its smallest nonzero one, and the
        largest finite one of all three), and ``sums`` (float64, as ``SQUARES``), of squares of scale times the
        numbers, where all three are finite. Both carriers give the same for the same numbers.
    """
    narrow = carrier == "float32"
    real, w, t = (np.float32, np.uint32, 23) if narrow else (np.float64, np.uint64, 52)
    signed, infinity = (np.int32, 0x7F800000) if narrow else (np.int64, 0x7FF0000000000000)

    def loop(
        before: Any, after: Any, exact: Any, target: Any, limits: Any, scale: Any, counts: Any, ends: Any, sums: Any
    ) -> Any:
        inf = signed(infinity)
        counts[:] = 0
        edges, lanes = np.zeros(3, signed), np.zeros((5, LANES))
        edges[1] = inf
        x, y, e = np.zeros(TILE, real), np.zeros(TILE, real), np.zeros(TILE, real)
        bits_x, bits_y, bits_e, bounds = x.view(signed), y.view(signed), e.view(signed), limits.view(signed)
        words_x, words_y = x.view(w), y.view(w)
        for start in range(0, after.size, TILE):
            size = min(TILE, after.size - start)
            own, rounded, right = before[start : start + size], after[start : start + size], exact[start : start + size]
            for i in range(size):
                x[i] = own[i]
            for i in range(size):
                e[i] = right[i]
            if rounds:
                for i in range(size):
                    words_y[i], _ = project_carrier(w, t, words_x[i], target, NE, w(0), w(0), w(0), False, 0)
                for i in range(size):
                    rounded[i] = y[i]
            else:
                for i in range(size):
                    y[i] = rounded[i]
            if size < TILE:
                x[size:] = 0.0
                y[size:] = 0.0
                e[size:] = 0.0
            lost = count(signed, inf, bits_x[:size], bits_y[:size], bits_e[:size], bounds[0], bounds[1], counts, edges)
            if lost > 0:
                for i in range(size):
                    if not (np.isfinite(x[i]) and np.isfinite(y[i]) and np.isfinite(e[i])):
                        x[i] = y[i] = e[i] = 0.0
            if scale != 1.0:
                for i in range(size):
                    x[i] *= scale
                    y[i] *= scale
                    e[i] *= scale
            add(x, y, e, lanes[0], lanes[1], lanes[2], lanes[3], lanes[4])
        extremes = edges.view(real)
        for k in range(3):
            ends[k] = extremes[k]
        for k in range(5):
            total = 0.0
            for i in range(LANES):
                total += lanes[k, i]
            sums[k] = total

    return kernels.compiled(loop, f"tally {'rounding ' if rounds else ''}{carrier}")
