"""What an arithmetic is: the primitive operations from which every rule in :mod:`analysis.ops` is built.

A rule such as "tanh's derivative" is written once and evaluated in binary64, emulated or at any precision by
handing it another object with these methods. Arrays are float64 arrays, or object arrays of the arithmetic's
own numbers; moving data about (transpose, gather ...) is plain numpy on either.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Arithmetic", "Array"]

Array = npt.NDArray[Any]


class Arithmetic(Protocol):
    """The primitives; elementwise operands have equal shapes.

    Attributes
    ----------
    name : str
        Shown in reports.
    zero : object
        The additive identity in the arithmetic's own numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.arithmetics.float64 import Float64
    >>> Float64().matmul(np.ones((2, 3)), np.ones((3, 1))).tolist()
    [[3.0], [3.0]]
    """

    name: str
    zero: Any

    def lift(self, x: Array) -> Array:
        """Bring float64 data into the arithmetic, exactly; integers and booleans pass through."""

    def lower(self, x: Array) -> tuple[Array, Array | None]:
        """Return (head, tail): float64 arrays whose sum is x to 106 bits; tail None where x is float64."""

    def add(self, x: Array, y: Array) -> Array:
        """Sum."""

    def sub(self, x: Array, y: Array) -> Array:
        """Difference."""

    def mul(self, x: Array, y: Array) -> Array:
        """Product."""

    def div(self, x: Array, y: Array) -> Array:
        """Quotient; x/0 is infinite, 0/0 NaN, as in IEEE 754."""

    def neg(self, x: Array) -> Array:
        """Negation."""

    def exp(self, x: Array) -> Array:
        """Exponential."""

    def log(self, x: Array) -> Array:
        """Natural logarithm; minus infinity at 0, NaN below."""

    def sqrt(self, x: Array) -> Array:
        """Square root; NaN below 0."""

    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""

    def erf(self, x: Array) -> Array:
        """Error function."""

    def erf_slope(self, x: Array) -> Array:
        """Derivative of the error function, 2/sqrt(pi) e^(-x^2)."""

    def sin(self, x: Array) -> Array:
        """Sine; NaN at the infinities."""

    def cos(self, x: Array) -> Array:
        """Cosine; NaN at the infinities."""

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Sum along one axis, in index order."""

    def matmul(self, x: Array, y: Array) -> Array:
        """(..., M, K) by (..., K, N); each element is a sum over K in index order."""

    def positive(self, x: Array) -> npt.NDArray[np.bool_]:
        """Where x > 0, or x is NaN: a rectifier lets NaN through, as those of real frameworks do."""

    def greater(self, x: Array, y: Array) -> npt.NDArray[np.bool_]:
        """Where x > y."""

    def argmax(self, x: Array, axis: int) -> npt.NDArray[np.int64]:
        """Index of the first largest element along an axis."""
