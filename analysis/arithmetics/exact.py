"""mpmath at a chosen precision: the reference of record.

Every operation is rounded to ``bits`` bits, dot products once at the end (they are formed exactly, in integers).
A private context is used: the caller's ``mpmath.mp`` is neither read nor changed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from mpmath.ctx_mp import MPContext
from mpmath.libmp import from_float, from_man_exp

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array

__all__ = ["MAX_BITS", "Exact"]

MAX_BITS = 2**16
_LONG = 4000


class Exact:
    """Arrays of mpmath numbers with ``bits`` bits of precision and an unbounded exponent.

    Parameters
    ----------
    bits : int
        Precision, 54..65536.

    Raises
    ------
    UnsupportedError
        If the precision is outside that range.

    Notes
    -----
    Infinities and NaN behave as in IEEE 754, but zero has no sign: 1/0 is plus infinity.

    Examples
    --------
    >>> import numpy as np
    >>> exact = Exact(106)
    >>> third = exact.div(exact.lift(np.array([1.0])), exact.lift(np.array([3.0])))
    >>> [part.item() for part in exact.lower(third)]
    [0.3333333333333333, 1.8503717077085944e-17]
    """

    name = "mpmath"

    def __init__(self, bits: int = 106) -> None:
        if isinstance(bits, bool) or not isinstance(bits, int) or not 54 <= bits <= MAX_BITS:
            raise UnsupportedError(f"bits={bits!r}: the reference's precision is an integer in 54..{MAX_BITS}")
        self.bits = bits
        self._mp = MPContext()
        self._mp.prec = bits
        self.zero: Any = self._mp.mpf(0)

    def lift(self, x: Array) -> Array:
        """Return x as mpmath numbers, exactly; integer and boolean arrays pass through."""
        if x.dtype.kind != "f":
            return x
        make = self._mp.make_mpf
        return self._each(lambda value: make(from_float(value)), x)

    def lower(self, x: Array) -> tuple[Array, Array | None]:
        """Return float64 arrays (head, tail), head nearest to x and head + tail within 2^-106 |x|."""
        if x.dtype != object:
            return x, None
        once = x[(*(slice(0, 1) if stride == 0 else slice(None) for stride in x.strides), ...)]  # of repeated numbers
        pairs = np.array(list(map(_split, once.ravel().tolist())), dtype=np.float64).reshape(*once.shape, 2)
        head, tail = (np.broadcast_to(pairs[..., part], x.shape).copy() for part in (0, 1))
        return head, tail

    def _each(self, function: Callable[..., Any], *arrays: Array) -> Array:
        out = np.empty(arrays[0].shape, dtype=object)
        flat = [array.ravel().tolist() for array in arrays]
        out[...] = np.fromiter(map(function, *flat), dtype=object, count=out.size).reshape(out.shape)
        return out

    def add(self, x: Array, y: Array) -> Array:
        """Return x + y."""
        return self._each(lambda a, b: a + b, x, y)

    def sub(self, x: Array, y: Array) -> Array:
        """Return x - y."""
        return self._each(lambda a, b: a - b, x, y)

    def mul(self, x: Array, y: Array) -> Array:
        """Return x y."""
        return self._each(lambda a, b: a * b, x, y)

    def div(self, x: Array, y: Array) -> Array:
        """Return x / y, infinite or NaN where y is 0."""
        return self._each(self._quotient, x, y)

    def _quotient(self, a: Any, b: Any) -> Any:
        if b:
            return a / b
        return self._mp.nan if not a or self._mp.isnan(a) else self._mp.inf if a > 0 else self._mp.ninf

    def neg(self, x: Array) -> Array:
        """Return -x."""
        return self._each(lambda a: -a, x)

    def exp(self, x: Array) -> Array:
        """Return e^x."""
        return self._each(self._mp.exp, x)

    def log(self, x: Array) -> Array:
        """Return ln x."""
        mp = self._mp
        return self._each(lambda a: mp.ln(a) if a > 0 else mp.nan if a < 0 or mp.isnan(a) else mp.ninf, x)

    def sqrt(self, x: Array) -> Array:
        """Return the square root."""
        return self._each(lambda a: self._mp.sqrt(a) if a >= 0 else self._mp.nan, x)

    def tanh(self, x: Array) -> Array:
        """Return tanh x."""
        return self._each(self._mp.tanh, x)

    def erf(self, x: Array) -> Array:
        """Return erf x."""
        return self._each(self._mp.erf, x)

    def erf_slope(self, x: Array) -> Array:
        """Return 2/sqrt(pi) e^(-x^2)."""
        mp = self._mp
        factor = 2 / mp.sqrt(mp.pi)
        return self._each(lambda a: factor * mp.exp(-a * a), x)

    def sin(self, x: Array) -> Array:
        """Return sin x."""
        return self._each(self._mp.sin, x)

    def cos(self, x: Array) -> Array:
        """Return cos x."""
        return self._each(self._mp.cos, x)

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Return the sum along an axis, rounded once."""
        rows = np.moveaxis(x, axis, -1)
        out = np.empty(rows.shape[:-1], dtype=object)
        for index in np.ndindex(*out.shape):
            out[index] = self._mp.fsum(rows[index].tolist())
        return np.expand_dims(out, axis) if keepdims else out

    def matmul(self, x: Array, y: Array) -> Array:
        """Return x @ y, each element rounded once."""
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        left = np.broadcast_to(x, (*batch, *x.shape[-2:]))
        right = np.broadcast_to(y, (*batch, *y.shape[-2:]))
        out = np.empty((*batch, x.shape[-2], y.shape[-1]), dtype=object)
        for index in np.ndindex(*batch):
            rows, columns = left[index].tolist(), right[index].T.tolist()
            row_integers, column_integers = list(map(_integers, rows)), list(map(_integers, columns))
            for i, row in enumerate(row_integers):
                for j, column in enumerate(column_integers):
                    if row is None or column is None:
                        out[(*index, i, j)] = self._mp.fdot(zip(rows[i], columns[j], strict=True))
                    else:
                        total = sum(map(operator.mul, row[0], column[0]))
                        exact = from_man_exp(total, row[1] + column[1], self.bits, "n")
                        out[(*index, i, j)] = self._mp.make_mpf(exact)
        return out

    def positive(self, x: Array) -> npt.NDArray[np.bool_]:
        """Return where x > 0 or x is NaN."""
        return self._each(lambda a: not a <= 0, x).astype(np.bool_)

    def greater(self, x: Array, y: Array) -> npt.NDArray[np.bool_]:
        """Return where x > y."""
        return self._each(lambda a, b: a > b, x, y).astype(np.bool_)

    def argmax(self, x: Array, axis: int) -> npt.NDArray[np.int64]:
        """Return the index of the first largest element along an axis."""
        rows = np.moveaxis(x, axis, -1)
        out = np.empty(rows.shape[:-1], dtype=np.int64)
        for index in np.ndindex(*out.shape):
            row = rows[index].tolist()
            out[index] = max(range(len(row)), key=row.__getitem__)
        return out


def _integers(numbers: list[Any]) -> tuple[list[Any], int] | None:
    # the same numbers as integers times one power of two, of which exact sums of products are quickly made; None where
    # one is no finite number, or their exponents lie so far apart that the integers would be long
    parts = [number._mpf_ for number in numbers]
    exponents = [part[2] for part in parts if part[1]]
    if not all(part[1] or not part[2] for part in parts):
        return None
    low = min(exponents, default=0)
    if max(exponents, default=0) - low > _LONG:
        return None
    return [(-man if sign else man) << (exponent - low) if man else man for sign, man, exponent, _ in parts], low


def _split(number: Any) -> tuple[float, float]:
    # head + tail: the integer significand is divided by hand, since float(mpf) truncates beyond 100 bits
    sign, significand, exponent, length = number._mpf_
    if not significand:
        return float(number), 0.0
    significand = -int(significand) if sign else int(significand)
    if length < 1000 and -900 < exponent and exponent + length < 1000:
        # int to float rounds to nearest; within this range nothing is subnormal, so that scaling is exact
        whole = float(significand)
        return math.ldexp(whole, exponent), math.ldexp(float(significand - int(whole)), exponent)
    head = _scale(significand, exponent)
    if math.isinf(head):
        return head, 0.0
    return head, _scale(*_minus(significand, exponent, head))


def _scale(significand: int, exponent: int) -> float:
    # significand * 2^exponent to nearest; double rounding is possible in the subnormal range only
    excess = significand.bit_length() - 1000
    if excess > 0:  # keep int -> float finite; the bits dropped here are far below the 53 that stay
        significand, exponent = significand >> excess, exponent + excess
    try:
        return math.ldexp(float(significand), exponent)
    except OverflowError:
        return math.copysign(math.inf, significand)


def _minus(significand: int, exponent: int, head: float) -> tuple[int, int]:
    numerator, denominator = head.as_integer_ratio()
    power = -(denominator.bit_length() - 1)  # head = numerator * 2^power
    low = min(exponent, power)
    return (significand << (exponent - low)) - (numerator << (power - low)), low
