"""Tables of the elementary functions, computed by mpmath when this module is imported, which is on first use.

The kernels hold them as constants: handed over as arguments, arrays cost several times the arithmetic in
reference counts. In a row, (h, l) stands for a number as a pair.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

CONTEXT: Any = mpmath.MPContext()  # of our own: the user's precision is left alone
CONTEXT.prec = 300
"""Precision from which entries are rounded to a pair of binary64 numbers."""


def _pair(value: Any) -> tuple[float, float]:
    high = float(value)
    return high, float(value - high)


def _array(rows: Any, dtype: Any = np.float64) -> Any:
    array = np.array(rows, dtype)
    array.flags.writeable = False
    return array


def _logs() -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    for j in range(92):
        c = 1.0 if j in (37, 38) else round(512 * 128 / (j + 90.5)) / 512
        rows.append((c, *_pair(-CONTEXT.log(c))))
    return rows


def _turns() -> list[int]:
    words = 21
    context = mpmath.MPContext()
    context.prec = 64 * words + 64
    fraction = int(context.floor(context.ldexp(2 / context.pi, 64 * words)))
    return [0, *(fraction >> (64 * (words - 1 - i)) & (2**64 - 1) for i in range(words))]


def _angles() -> list[tuple[float, ...]]:
    points = [CONTEXT.mpf(j) / 64 for j in range(52)]
    return [(*_pair(CONTEXT.sin(c)), *_pair(CONTEXT.cos(c))) for c in points]


POWERS = _array([_pair(CONTEXT.power(2, CONTEXT.mpf(j) / 64)) for j in range(64)])
"""2^(j/64) as (h, l)."""
LOGS = _array(_logs())
"""A reciprocal c of (j + 90.5)/128 in 9 bits, 1 next to 1, and -log c as (h, l)."""
TURNS = _array(_turns(), np.uint64)
"""64 zero bits, then 1344 bits of 2 / pi: what the largest binary64 number needs, and 192."""
ANGLES = _array(_angles())
"""Sine and cosine of j/64, each as (h, l)."""
ARCS = _array([_pair(CONTEXT.atan(CONTEXT.mpf(j) / 64)) for j in range(66)])
"""atan(j/64) as (h, l)."""
