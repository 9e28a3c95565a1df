"""Tables of the error function and of the normal distribution's tail, computed when this module is imported."""

from __future__ import annotations

from typing import Any

from floatemu._core.elementary_tables import CONTEXT, _array, _pair

ORDER = 12
"""Highest power in the Taylor polynomials: the next is below 2^-75 of the sum, for 2^-7 and for 2^-6."""


def _row(coefficients: list[Any]) -> tuple[float, ...]:
    return (*_pair(coefficients[0]), *_pair(coefficients[1]), *map(float, coefficients[2:]))


def _errors(c: Any) -> tuple[float, ...]:
    """Taylor coefficients of erf at c: y' = 2 / sqrt(pi) exp(-x^2), y'' = -2 x y'."""
    a = [CONTEXT.erf(c), 2 / CONTEXT.sqrt(CONTEXT.pi) * CONTEXT.exp(-c * c)]
    for n in range(ORDER - 1):
        a.append(-2 * (c * (n + 1) * a[n + 1] + (n * a[n] if n else 0)) / ((n + 1) * (n + 2)))
    return _row(a)


def _mills(c: Any) -> tuple[float, ...]:
    """Those of y = exp(x^2 / 2) (1 - Phi(x)) at c: y' = x y - 1 / sqrt(2 pi)."""
    a = [CONTEXT.exp(c * c / 2) * CONTEXT.erfc(c / CONTEXT.sqrt(2)) / 2]
    for n in range(ORDER):
        last = a[n - 1] if n else -1 / CONTEXT.sqrt(2 * CONTEXT.pi)
        a.append((c * a[n] + last) / (n + 1))
    return _row(a)


ERRORS = _array([_errors(CONTEXT.mpf(j) / 64) for j in range(385)])
"""erf around j/64."""
MILLS = _array([_mills(CONTEXT.mpf(j) / 32) for j in range(1233)])
"""exp(x^2 / 2) (1 - Phi(x)) around j/32."""
TANH_SLOPE = _pair(2 * CONTEXT.sqrt(2 / CONTEXT.pi))
"""2 sqrt(2 / pi)."""
TANH_CUBE = _pair(2 * CONTEXT.sqrt(2 / CONTEXT.pi) * 44715 / 10**6)
"""2 sqrt(2 / pi) * 0.044715."""
