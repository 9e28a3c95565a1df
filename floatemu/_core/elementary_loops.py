"""The compiled loops of the elementary functions, one per family: results rounded to odd in binary64.

Functions that share most of their text share a loop, where which of them is meant is run-time data: a branch
that is always predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
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


FAMILY = {
    name: family
    for family in (
        ("exp", "exp2", "expm1"), ("sinh", "cosh", "tanh"), ("sigmoid", "silu", "gelu_tanh"), ("erf", "gelu"),
        ("log", "log2", "log10"), ("log1p", "softplus"), ("sin", "cos", "tan"), ("asin", "acos", "atan"),
    )
    for name in family
}  # fmt: skip
"""The functions that share a loop with one; a function without an entry has a loop of its own."""


@cache
def family_loop(names: tuple[str, ...]) -> Callable[..., Any]:
    """Return the loop of up to three functions: ``loop(which, x, out, pending, low, narrow)``."""
    w = np.uint64
    first, second, third = (UNARY[names[min(i, len(names) - 1)]] for i in range(3))
    most = len(names)

    def loop(which: Any, x: Any, out: Any, pending: Any, low: Any, narrow: Any) -> Any:
        count = 0
        for i in range(x.size):
            if most == 1 or which == 0:
                h, rest, d = first(float(x[i]))
            elif most == 2 or which == 1:
                h, rest, d = second(float(x[i]))
            else:
                h, rest, d = third(float(x[i]))
            bits, known = settle(w, h, rest, d, low, narrow)
            out[i] = float_of(bits)
            pending[count] = i
            count += not known
        return count

    return kernels.compiled(loop, f"function {' '.join(names)}")


@cache
def unary_loop(name: str) -> Callable[..., Any]:
    """Return the loop of one function.

    Returns
    -------
    callable
        ``loop(x, out, pending, low, narrow)``: binary64 operands and results, 1-D and contiguous; writes
        the indices of the elements it could not settle to ``pending`` (int64, as long as x), returns their count.
    """
    family = FAMILY.get(name, (name,))
    return partial(family_loop(family), family.index(name))


@cache
def pair_loop() -> Callable[..., Any]:
    """Return the loop of the functions of two operands: ``loop(which, x, y, out, pending, low, narrow)``."""
    w = np.uint64
    first, second = BINARY.values()

    def loop(which: Any, x: Any, y: Any, out: Any, pending: Any, low: Any, narrow: Any) -> Any:
        count = 0
        for i in range(x.size):
            h, rest, d = first(float(x[i]), float(y[i])) if which == 0 else second(float(x[i]), float(y[i]))
            bits, known = settle(w, h, rest, d, low, narrow)
            out[i] = float_of(bits)
            pending[count] = i
            count += not known
        return count

    return kernels.compiled(loop, f"function {' '.join(BINARY)}")


@cache
def binary_loop(name: str) -> Callable[..., Any]:
    """Return ``loop(x, y, out, pending, low, narrow)`` of a function of two operands."""
    return partial(pair_loop(), list(BINARY).index(name))
