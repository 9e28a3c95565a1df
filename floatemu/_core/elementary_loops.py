"""The compiled loops of the elementary functions, one per function: results rounded to odd in binary64."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from floatemu._core import doubled, elementary, elementary_circular, elementary_normal, elementary_powers, kernels
from floatemu._core.elementary import settle
from floatemu._core.exact import float_of

FAMILIES = (elementary, elementary_circular, elementary_normal, elementary_powers)
UNARY = {name: kernel for family in FAMILIES for name, kernel in family.UNARY.items()}
BINARY = elementary_powers.BINARY

kernels.register(doubled.TEXT)
for family in FAMILIES:
    kernels.register((*family.TEXT, *family.UNARY.values()))
kernels.register(BINARY.values())


@cache
def unary_loop(name: str) -> Callable[..., Any]:
    """Return the loop of one function.

    Returns
    -------
    callable
        ``loop(x, out, pending, low, narrow)``: binary64 operands and results, 1-D and contiguous; writes
        the indices of the elements it could not settle to ``pending`` (int64, as long as x), returns their count.
    """
    w, kernel = np.uint64, UNARY[name]

    def loop(x: Any, out: Any, pending: Any, low: Any, narrow: Any) -> Any:
        count = 0
        for i in range(x.size):
            h, rest, d = kernel(float(x[i]))
            bits, known = settle(w, h, rest, d, low, narrow)
            out[i] = float_of(bits)
            pending[count] = i
            count += not known
        return count

    return kernels.compiled(loop, f"function {name}")


@cache
def binary_loop(name: str) -> Callable[..., Any]:
    """Return ``loop(x, y, out, pending, low, narrow)`` of a function of two operands."""
    w, kernel = np.uint64, BINARY[name]

    def loop(x: Any, y: Any, out: Any, pending: Any, low: Any, narrow: Any) -> Any:
        count = 0
        for i in range(x.size):
            h, rest, d = kernel(float(x[i]), float(y[i]))
            bits, known = settle(w, h, rest, d, low, narrow)
            out[i] = float_of(bits)
            pending[count] = i
            count += not known
        return count

    return kernels.compiled(loop, f"function {name}")
