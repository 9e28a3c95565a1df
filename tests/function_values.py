"""Values of elementary functions for tests: mpmath at 400 bits, written apart from what they check.

At the ends, where 400 bits do not tell a value from its limit, the value is replaced by one on the same
side of that limit and nearer to it than any rounding can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath

C = mpmath.MPContext()
C.prec = 400
LITTLE = C.mpf(2) ** -300


def _gelu_tanh(x: Any) -> Any:
    """x / 2 (1 + tanh u) = x e^2u / (1 + e^2u), which does not cancel where tanh u is near -1."""
    grown = C.exp(2 * C.sqrt(2 / C.pi) * (x + C.mpf("0.044715") * x**3))
    return x * grown / (1 + grown)


FORMULAS: dict[str, Callable[[Any], Any]] = {
    "exp": C.exp,
    "exp2": lambda x: C.exp(x * C.ln2),
    "expm1": C.expm1,
    "log": C.log,
    "log2": lambda x: C.log(x) / C.ln2,
    "log10": lambda x: C.log(x) / C.ln10,
    "log1p": lambda x: C.log1p(x),
    "sin": C.sin,
    "cos": C.cos,
    "tan": lambda x: C.sin(x) / C.cos(x),
    "asin": lambda x: 2 * C.atan(x / (1 + C.sqrt((1 - x) * (1 + x)))),
    "acos": lambda x: 2 * C.atan2(C.sqrt(1 - x), C.sqrt(1 + x)),
    "atan": C.atan,
    "sinh": C.sinh,
    "cosh": C.cosh,
    "tanh": C.tanh,
    "sigmoid": lambda x: C.exp(x) / (1 + C.exp(x)),
    "erf": C.erf,
    "gelu": lambda x: x * C.erfc(-x / C.sqrt(2)) / 2,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x * C.exp(x) / (1 + C.exp(x)),
    "softplus": lambda x: C.log1p(C.exp(x)),
    "rsqrt": lambda x: 1 / C.sqrt(x),
}
GATED = {"silu", "gelu", "gelu_tanh"}
AT_INTEGERS = {"exp2": lambda x: C.mpf(2) ** int(x)}
DOMAIN = {
    **{name: (0.0, float("inf")) for name in ("log", "log2", "log10", "rsqrt")},
    "log1p": (-1.0, float("inf")),
    "asin": (-1.0, 1.0),
    "acos": (-1.0, 1.0),
}


def inside(name: str, x: float) -> bool:
    """Whether x is an ordinary operand: finite, not zero, and inside the domain without its poles."""
    low, high = DOMAIN.get(name, (-float("inf"), float("inf")))
    closed = name in ("asin", "acos")
    return x - x == 0 and x != 0 and (low <= x <= high if closed else low < x < high)


def value(name: str, x: float) -> Any:
    """f(x) as an mpf, rounded at 400 bits or nudged toward where it lies; x as :func:`inside`."""
    if name == "acos" and x == 1:
        return C.zero
    operand = C.mpf(x)
    if abs(x) > (15 if name == "erf" else 120) and name in ("tanh", "erf"):
        return C.sign(operand) * (1 - LITTLE)
    if name == "sigmoid" and x > 120:
        return 1 - LITTLE
    if name == "expm1" and x < -120:
        return -1 + LITTLE
    if name in GATED and x > (120 if name == "silu" else 15):
        return operand * (1 - LITTLE)
    if name == "softplus" and x > 120:
        return operand * (1 + LITTLE)
    if name in ("gelu", "gelu_tanh") and x < -60:
        return -(C.mpf(2) ** -1500)
    if name in ("exp", "exp2", "expm1", "sinh", "cosh", "sigmoid", "silu", "softplus") and abs(x) > 1500:
        return _beyond(name, x)
    tiny = abs(x) < 2.0**-110
    if tiny and name in ("sin", "tanh", "atan"):
        return operand * (1 - LITTLE)
    if tiny and name in ("tan", "sinh", "asin"):
        return operand * (1 + LITTLE)
    if tiny and name in ("cos", "cosh"):
        return 1 + (LITTLE if name == "cosh" else -LITTLE)
    if tiny and name in ("exp", "exp2"):
        return 1 + LITTLE * C.sign(operand)
    if tiny and name == "sigmoid":
        return (1 + LITTLE * C.sign(operand)) / 2
    if tiny and name in ("expm1", "log1p"):
        return operand + (LITTLE if name == "expm1" else -LITTLE) * abs(operand)
    if tiny and name in GATED:
        return operand / 2 + LITTLE * abs(operand)
    if name == "exp2" and x == int(x):
        return C.mpf(2) ** int(x)
    if name == "log2" and C.frexp(operand)[0] == 0.5:
        return C.mpf(C.frexp(operand)[1] - 1)
    if name == "log10" and x >= 1 and x == int(x) and set(str(int(x))[1:]) <= {"0"} and str(int(x))[0] == "1":
        return C.mpf(len(str(int(x))) - 1)
    if name == "rsqrt" and Fraction(x) == Fraction(2) ** (2 * ((C.frexp(operand)[1] - 1) // 2)):
        return C.mpf(2) ** (-((C.frexp(operand)[1] - 1) // 2))
    return FORMULAS[name](operand)


def _beyond(name: str, x: float) -> Any:
    huge, tiny = C.mpf(2) ** 3000, C.mpf(2) ** -3000
    if name in ("sinh", "cosh"):
        return huge if x > 0 or name == "cosh" else -huge
    if x > 0:
        return huge
    return -tiny if name == "silu" else tiny
