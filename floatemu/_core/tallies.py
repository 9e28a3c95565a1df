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

INFINITY, MAGNITUDE = 0x7FF0000000000000, 0x7FFFFFFFFFFFFFFF


def count(before: Any, after: Any, exact: Any, largest: Any, normal: Any, counts: Any, ends: Any) -> Any:
    """Count in one tile of binary64 bits, and return how many are no finite numbers."""
    inf, mask, one, zero = np.int64(INFINITY), np.int64(MAGNITUDE), np.int64(1), np.int64(0)
    bad = bad_exact = over = saturated = zeros = new = flushed = small = lost = zero
    top, least, all_ = ends[0], ends[1], ends[2]
    for i in range(after.size):
        a, b, c = before[i] & mask, after[i] & mask, exact[i] & mask
        # choices of integers, not conditions: LLVM makes vectors of these
        open_a, open_b, open_c = (one if a >= inf else zero), (one if b >= inf else zero), (one if c >= inf else zero)
        zero_b, zero_c = (one if b == zero else zero), (one if c == zero else zero)
        bad += open_b
        bad_exact += open_c
        lost += open_a | open_b | open_c
        over += open_b & (open_a ^ one)
        saturated += (one if a > largest else zero) if b == largest else zero
        zeros += zero_c
        new += zero_b & (zero_c ^ one)
        flushed += zero_b & (zero if a == zero else one)
        small += (one if b < normal else zero) & (zero_b ^ one)
        fine = c if c < inf else zero
        top = max(top, fine)
        least = min(least, c if c > zero else inf)
        all_ = max(all_, max(fine, max(b if b < inf else zero, a if a < inf else zero)))
    counts[0] += bad
    counts[1] += bad_exact
    counts[2] += over
    counts[3] += saturated
    counts[4] += zeros
    counts[5] += new
    counts[6] += flushed
    counts[7] += small
    ends[0], ends[1], ends[2] = top, least, all_
    return lost


def add(x: Any, y: Any, e: Any, local: Any, own: Any, error: Any, exact: Any, after: Any) -> Any:
    """Add the squares of one tile, in lanes."""
    for start in range(0, x.size, LANES):
        xs, ys, es = x[start : start + LANES], y[start : start + LANES], e[start : start + LANES]
        for i in range(LANES):
            u, v = xs[i], ys[i]
            local[i] += (v - u) * (v - u)
            own[i] += u * u
        for i in range(LANES):
            v, z = ys[i], es[i]
            error[i] += (v - z) * (v - z)
            exact[i] += z * z
        for i in range(LANES):
            after[i] += ys[i] * ys[i]


# Parts of the loop, functions of their own only so that LLVM sees plain loops.
kernels.register((count, add))


@cache
def tally_loop(rounds: bool) -> Callable[..., Any]:
    """Return the loop that goes once through the numbers before and after a rounding, and the exact ones.

    Parameters
    ----------
    rounds : bool
        Whether the loop rounds, too: binary64 numbers, to nearest, ties to even, by the text of all roundings.

    Returns
    -------
    callable
        ``loop(before, after, exact, target, largest, normal, scale, counts, ends, sums)``: 1-D contiguous arrays of
        one length, float32 or float64; the :class:`~floatemu._core.rounding.Target` in binary64's words; the binary64
        bits of the format's largest finite and smallest normal magnitude; a power of two. Written are ``after``, if
        the loop rounds, ``counts`` (int64, as ``COUNTS``), ``ends`` (int64, binary64 bits of the largest finite
        magnitude of ``exact``, of its smallest nonzero one, and of the largest finite one of all three), and ``sums``
        (float64, as ``SQUARES``), of squares of scale times the numbers, where all three are finite.
    """
    w = np.uint64

    def loop(
        before: Any,
        after: Any,
        exact: Any,
        target: Any,
        largest: Any,
        normal: Any,
        scale: Any,
        counts: Any,
        ends: Any,
        sums: Any,
    ) -> Any:
        counts[:] = 0
        ends[0], ends[1], ends[2] = 0, INFINITY, 0
        x, y, e, lanes = np.zeros(TILE), np.zeros(TILE), np.zeros(TILE), np.zeros((5, LANES))
        bits_x, bits_y, bits_e = x.view(np.int64), y.view(np.int64), e.view(np.int64)
        words_x, words_y = x.view(np.uint64), y.view(np.uint64)
        for start in range(0, after.size, TILE):
            size = min(TILE, after.size - start)
            own, rounded, right = before[start : start + size], after[start : start + size], exact[start : start + size]
            for i in range(size):
                x[i] = own[i]
            for i in range(size):
                e[i] = right[i]
            if rounds:
                for i in range(size):
                    words_y[i], _ = project_carrier(w, 52, words_x[i], target, NE, w(0), w(0), w(0), False, 0)
                for i in range(size):
                    rounded[i] = y[i]
            else:
                for i in range(size):
                    y[i] = rounded[i]
            if size < TILE:
                x[size:] = 0.0
                y[size:] = 0.0
                e[size:] = 0.0
            lost = count(bits_x[:size], bits_y[:size], bits_e[:size], largest, normal, counts, ends)
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
        for k in range(5):
            total = 0.0
            for i in range(LANES):
                total += lanes[k, i]
            sums[k] = total

    return kernels.compiled(loop, "tally rounding" if rounds else "tally")
