"""Tables of the elementary functions, computed to the last bit when a function is first used."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

BITS = 300
"""Working precision; entries are rounded from it to a pair of binary64 numbers."""


class Tables(NamedTuple):
    """Arrays of binary64 numbers, one row per entry; (h, l) stands for a pair in two columns."""

    powers: Any  #: 64 rows: 2^(j/64) as (h, l)
    logs: Any  #: 92 rows: a reciprocal c of (j + 90.5)/128 in 9 bits, 1 next to 1, and -log c as (h, l)


def _pair(value: Any) -> tuple[float, float]:
    high = float(value)
    return high, float(value - high)


def _array(rows: Any) -> Any:
    array = np.array(rows, np.float64)
    array.flags.writeable = False
    return array


@cache
def tables() -> Tables:
    """Return the tables; mpmath computes them once per process, in some tenths of a second."""
    import mpmath

    context = mpmath.MPContext()  # of our own: the user's precision is left alone
    context.prec = BITS
    powers = [_pair(context.mpf(2) ** (context.mpf(j) / 64)) for j in range(64)]
    logs = []
    for j in range(92):
        c = 1.0 if j in (37, 38) else round(512 * 128 / (j + 90.5)) / 512
        logs.append((c, *_pair(-context.log(c))))
    return Tables(_array(powers), _array(logs))
