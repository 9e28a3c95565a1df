"""Binary64 with a fixed order of operations: the same bits on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arithmetics import elementary
from ..arithmetics.base import Array

__all__ = ["Float64"]


class Float64:
    """IEEE binary64; sums and products of matrices run in index order, never through BLAS.

    Examples
    --------
    >>> import numpy as np
    >>> Float64().sum(np.array([1e16, 1.0, -1e16]), 0, False).item()
    0.0
    """

    name = "float64"
    zero = 0.0

    def lift(self, x: Array) -> Array:
        """Return x itself."""
        return x

    def lower(self, x: Array) -> tuple[Array, Array | None]:
        """Return (x, None)."""
        return x, None

    def add(self, x: Array, y: Array) -> Array:
        """Return x + y."""
        return np.asarray(x + y)

    def sub(self, x: Array, y: Array) -> Array:
        """Return x - y."""
        return np.asarray(x - y)

    def mul(self, x: Array, y: Array) -> Array:
        """Return x y."""
        return np.asarray(x * y)

    def div(self, x: Array, y: Array) -> Array:
        """Return x / y, infinite or NaN where y is 0."""
        return np.asarray(x / y)

    def neg(self, x: Array) -> Array:
        """Return -x."""
        return np.asarray(-x)

    def exp(self, x: Array) -> Array:
        """Return e^x."""
        return elementary.exp(x)

    def log(self, x: Array) -> Array:
        """Return ln x."""
        return elementary.log(x)

    def sqrt(self, x: Array) -> Array:
        """Return the square root, correctly rounded."""
        return np.asarray(np.sqrt(x))

    def tanh(self, x: Array) -> Array:
        """Return tanh x."""
        return elementary.tanh(x)

    def erf(self, x: Array) -> Array:
        """Return erf x."""
        return elementary.erf(x)

    def erf_slope(self, x: Array) -> Array:
        """Return 2/sqrt(pi) e^(-x^2)."""
        return elementary.erf_slope(x)

    def sin(self, x: Array) -> Array:
        """Return sin x."""
        return elementary.sin(x)

    def cos(self, x: Array) -> Array:
        """Return cos x."""
        return elementary.cos(x)

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Return the sum along an axis, added in index order (0 for an empty axis)."""
        if x.shape[axis] == 0:
            return np.asarray(np.sum(x, axis=axis, keepdims=keepdims))
        # np.add.reduce adds in blocks whose size depends on the memory layout; a running sum has one order
        last = np.add.accumulate(x, axis=axis).take(-1, axis=axis)
        return np.asarray(np.expand_dims(last, axis) if keepdims else last)

    def matmul(self, x: Array, y: Array) -> Array:
        """Return x @ y, each element a sum over K in index order."""
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        total = np.zeros((*batch, x.shape[-2], y.shape[-1]))
        for k in range(x.shape[-1]):
            total += x[..., :, k, None] * y[..., None, k, :]
        return total

    def positive(self, x: Array) -> npt.NDArray[np.bool_]:
        """Return where x > 0 or x is NaN."""
        return np.asarray(~(x <= 0), dtype=np.bool_)

    def greater(self, x: Array, y: Array) -> npt.NDArray[np.bool_]:
        """Return where x > y."""
        return np.asarray(x > y, dtype=np.bool_)

    def argmax(self, x: Array, axis: int) -> npt.NDArray[np.int64]:
        """Return the index of the first largest element; a NaN counts as largest, as in numpy."""
        return np.asarray(np.argmax(x, axis=axis), dtype=np.int64)
