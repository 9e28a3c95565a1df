"""Balls: every number is a midpoint with a proven radius (python-flint's arb), so that a replay is its own proof.

An operation's ball contains the exact result for every choice of operands inside theirs, rounding included
(F. Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic", IEEE Transactions on
Computers 66(8), 2017). Infinities and NaN follow IEEE 754 where the operands decide them; where a ball leaves open
what comes out (1/x with 0 inside x, the logarithm of a ball that reaches below 0) the result is *unknown*: a ball
of infinite radius, which stands for any number, infinity or NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array

try:
    import flint
except ImportError:
    raise UnsupportedError("balls need python-flint: pip install 'floatemu[flint]'") from None

__all__ = ["MAX_BITS", "Ball"]

MAX_BITS = 2**16
_INF = float("inf")
# What a ball says about its number.
_FINITE, _PLUS, _MINUS, _NAN, _UNKNOWN = range(5)


class Ball:
    """Object arrays of arb balls, computed with ``bits`` bits of precision.

    Parameters
    ----------
    bits : int
        Precision of midpoints, 54..65536. A radius is right whatever the precision; more bits make it smaller.

    Attributes
    ----------
    bits : int
    undecided : ndarray of bool or None
        Where a decision (``positive``, ``greater``, ``argmax``) could not be proven and the midpoint decided, of all
        decisions since this was last set to None; None if all were proven.

    Raises
    ------
    UnsupportedError
        If the precision is outside its range. (Without python-flint importing the module raises it, naming the extra.)

    Notes
    -----
    python-flint keeps its precision in one place for the whole process; it is set for each operation here and put
    back. Zero has no sign, as in :class:`~analysis.arithmetics.exact.Exact`: 1/0 is plus infinity.

    Examples
    --------
    >>> import numpy as np
    >>> ball = Ball(106)
    >>> third = ball.div(ball.lift(np.array([1.0])), ball.lift(np.array([3.0])))
    >>> [part.item() for part in ball.lower(third)], 0 < ball.radius(third).item() < 2.0**-100
    ([0.3333333333333333, 1.8503717077085938e-17], True)
    >>> ball.positive(ball.sub(ball.mul(third, ball.lift(np.array([3.0]))), ball.lift(np.array([1.0])))).item()
    False
    >>> ball.undecided.tolist()
    [True]
    """

    name = "ball"

    def __init__(self, bits: int = 106) -> None:
        if isinstance(bits, bool) or not isinstance(bits, int) or not 54 <= bits <= MAX_BITS:
            raise UnsupportedError(f"bits={bits!r}: the precision of balls is an integer in 54..{MAX_BITS}")
        self.bits = bits
        self.undecided: npt.NDArray[np.bool_] | None = None
        arb = flint.arb
        self.zero: Any = arb(0)
        self._special = {_PLUS: arb(_INF), _MINUS: arb(-_INF), _NAN: arb(float("nan")), _UNKNOWN: arb(0, _INF)}

    @contextmanager
    def _precision(self) -> Iterator[None]:
        before = flint.ctx.prec
        flint.ctx.prec = self.bits
        try:
            yield
        finally:
            flint.ctx.prec = before

    # Into the arithmetic and out of it.

    def lift(self, x: Array) -> Array:
        """Return x as balls of radius 0; integer and boolean arrays pass through."""
        if x.dtype.kind != "f":
            return x
        return self._array(map(flint.arb, x.ravel().tolist()), x.shape)

    def lower(self, x: Array) -> tuple[Array, Array | None]:
        """Return float64 arrays (head, tail), head + tail within 2^-106 of the midpoint; NaN where unknown."""
        if x.dtype != object:
            return x, None
        head, tail, _ = self.enclose(x)
        return head, tail

    def radius(self, x: Array) -> npt.NDArray[np.float64]:
        """Return proven bounds of |exact - (head + tail)|; infinite where the value is unknown or beyond binary64."""
        if x.dtype != object:
            return np.zeros(x.shape)
        return self.enclose(x)[2]

    def enclose(self, x: Array) -> tuple[Array, Array, npt.NDArray[np.float64]]:
        """Return (head, tail, radius), float64: the exact value lies within the radius of head + tail.

        Parameters
        ----------
        x : ndarray of balls

        Returns
        -------
        tuple of ndarray
            Infinities and NaN that are proven have radius 0. A ball that holds 0 has head 0.
        """
        flat = x.ravel().tolist()
        head = np.array([float(a) for a in flat], dtype=np.float64)
        with self._precision():
            rest = [a - h for a, h in zip(flat, head.tolist())]
        tail = np.array([float(a) for a in rest], dtype=np.float64)
        radius = np.array([float(a.rad()) for a in rest], dtype=np.float64)
        maybe_exact = np.flatnonzero((tail == 0) & (radius == 0))
        # float() is off by less than an ulp of the tail; what it flushes is below the least number of binary64
        radius = np.nextafter(radius + np.abs(tail) * 2.0**-51 + 2.0**-1074, _INF)
        for i in maybe_exact.tolist():
            if rest[i].is_zero():
                radius[i] = 0.0
        if not all(map(flint.arb.is_finite, flat)) or not np.isfinite(head).all():
            for i, a in enumerate(flat):
                if (kind := _kind(a)) != _FINITE or not np.isfinite(head[i]):
                    tail[i] = 0.0
                    radius[i] = 0.0 if kind in (_PLUS, _MINUS, _NAN) else _INF
                    head[i] = np.nan if kind == _UNKNOWN else head[i]
        total = head + tail  # float() may cut where the nearest number lies above
        with np.errstate(invalid="ignore"):
            tail = np.where(np.isfinite(head), tail - (total - head), 0.0)
        zero = (np.abs(total) <= radius) & (total != 0) & np.isfinite(radius)
        if zero.any():  # of a ball around zero the midpoint is noise: zero with a wider radius encloses as much
            radius[zero] = np.nextafter((radius + np.abs(total)) * (1 + 2.0**-50), _INF)[zero]
            total[zero], tail[zero] = 0.0, 0.0
        return total.reshape(x.shape), tail.reshape(x.shape), radius.reshape(x.shape)

    def _array(self, items: Any, shape: tuple[int, ...]) -> Array:
        out = np.empty(shape, dtype=object)
        out[...] = np.fromiter(items, dtype=object, count=out.size).reshape(shape)
        return out

    # Elementwise.

    def _binary(self, function: Callable[[Any, Any], Any], special: Callable[..., Any], x: Array, y: Array) -> Array:
        left, right = x.ravel().tolist(), y.ravel().tolist()
        with self._precision():
            flat = list(map(function, left, right))
            if not all(map(flint.arb.is_finite, flat)):
                for i, a in enumerate(flat):
                    if not a.is_finite():
                        flat[i] = special(left[i], right[i])
        return self._array(flat, x.shape)

    def _unary(self, function: Callable[[Any], Any], limits: tuple[Any, Any], x: Array, pole: Any = None) -> Array:
        # limits: at plus and minus infinity; pole: at zero. None: NaN there.
        flat = x.ravel().tolist()
        with self._precision():
            found = list(map(function, flat))
            if not (all(map(flint.arb.is_finite, flat)) and all(map(flint.arb.is_finite, found))):
                for i, a in enumerate(flat):
                    if not (a.is_finite() and found[i].is_finite()):
                        found[i] = self._limit(a, limits, pole)
        return self._array(found, x.shape)

    def _limit(self, a: Any, limits: tuple[Any, Any], pole: Any) -> Any:
        kind = _kind(a)
        if kind == _FINITE:
            if a.is_zero() and pole is not None:
                return flint.arb(pole)
            # all but log and sqrt are finite for finite arguments, and those two make NaN below 0
            return self._special[_NAN if a < 0 else _UNKNOWN]
        if kind in (_NAN, _UNKNOWN):
            return a
        value = limits[0 if kind == _PLUS else 1]
        return self._special[_NAN] if value is None else flint.arb(value)

    def add(self, x: Array, y: Array) -> Array:
        """Return x + y."""
        return self._binary(flint.arb.__add__, self._sum_of, x, y)

    def sub(self, x: Array, y: Array) -> Array:
        """Return x - y."""
        return self._binary(flint.arb.__sub__, lambda a, b: self._sum_of(a, -b), x, y)

    def mul(self, x: Array, y: Array) -> Array:
        """Return x y."""
        return self._binary(flint.arb.__mul__, self._product, x, y)

    def div(self, x: Array, y: Array) -> Array:
        """Return x / y, infinite or NaN where y is 0, unknown where y may be 0."""
        return self._binary(flint.arb.__truediv__, self._quotient, x, y)

    def _sum_of(self, a: Any, b: Any) -> Any:
        kinds = {_kind(a), _kind(b)} - {_FINITE}
        if _NAN in kinds:
            return self._special[_NAN]
        if _UNKNOWN in kinds or not kinds:
            return self._special[_UNKNOWN]
        return self._special[_NAN] if len(kinds) == 2 else self._special[kinds.pop()]

    def _signed(self, *parts: Any) -> Any:
        # an infinity with the sign of a product; unknown where a factor's sign is open
        signs = [1 if a > 0 else -1 if a < 0 else 0 for a in parts]
        product = int(np.prod(signs))
        return self._special[_UNKNOWN if product == 0 else _PLUS if product > 0 else _MINUS]

    def _product(self, a: Any, b: Any) -> Any:
        kinds = {_kind(a), _kind(b)}
        if _NAN in kinds:
            return self._special[_NAN]
        if _UNKNOWN in kinds or kinds == {_FINITE}:
            return self._special[_UNKNOWN]
        return self._special[_NAN] if a.is_zero() or b.is_zero() else self._signed(a, b)

    def _quotient(self, a: Any, b: Any) -> Any:
        above, below = _kind(a), _kind(b)
        if _NAN in (above, below):
            return self._special[_NAN]
        if _UNKNOWN in (above, below):
            return self._special[_UNKNOWN]
        if below != _FINITE:
            return self.zero if above == _FINITE else self._special[_NAN]
        if b.is_zero():
            return self._special[_NAN] if a.is_zero() else self._signed(a)
        if above == _FINITE:
            return self._special[_UNKNOWN]
        return self._signed(a, b)

    def neg(self, x: Array) -> Array:
        """Return -x."""
        with self._precision():  # or it would be rounded to whatever precision the process has
            return self._array(map(flint.arb.__neg__, x.ravel().tolist()), x.shape)

    def exp(self, x: Array) -> Array:
        """Return e^x."""
        return self._unary(flint.arb.exp, (_INF, 0), x)

    def log(self, x: Array) -> Array:
        """Return ln x; unknown where x may be 0 or less."""
        return self._unary(flint.arb.log, (_INF, None), x, -_INF)

    def sqrt(self, x: Array) -> Array:
        """Return the square root; unknown where x may be below 0."""
        return self._unary(flint.arb.sqrt, (_INF, None), x)

    def tanh(self, x: Array) -> Array:
        """Return tanh x."""
        return self._unary(flint.arb.tanh, (1, -1), x)

    def erf(self, x: Array) -> Array:
        """Return erf x."""
        return self._unary(flint.arb.erf, (1, -1), x)

    def erf_slope(self, x: Array) -> Array:
        """Return 2/sqrt(pi) e^(-x^2)."""
        with self._precision():
            factor = 2 / flint.arb.pi().sqrt()
        return self._unary(lambda a: factor * (-a * a).exp(), (0, 0), x)

    def sin(self, x: Array) -> Array:
        """Return sin x."""
        return self._unary(flint.arb.sin, (None, None), x)

    def cos(self, x: Array) -> Array:
        """Return cos x."""
        return self._unary(flint.arb.cos, (None, None), x)

    # Along axes.

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Return the sum along an axis."""
        rows = np.moveaxis(x, axis, -1)
        lists = rows.reshape(-1, rows.shape[-1]).tolist() if rows.size else [[]] * int(np.prod(rows.shape[:-1]))
        with self._precision():
            flat = [sum(row, self.zero) for row in lists]
            for i, row in enumerate(lists):
                if not flat[i].is_finite():
                    flat[i] = self._fold(row)
        out = self._array(flat, rows.shape[:-1])
        return np.expand_dims(out, axis) if keepdims else out

    def _fold(self, terms: list[Any]) -> Any:
        total = self.zero
        for term in terms:
            found = total + term
            total = found if found.is_finite() else self._sum_of(total, term)
        return total

    def matmul(self, x: Array, y: Array) -> Array:
        """Return x @ y."""
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        left = np.broadcast_to(x, (*batch, *x.shape[-2:]))
        right = np.broadcast_to(y, (*batch, *y.shape[-2:]))
        out = np.empty((*batch, x.shape[-2], y.shape[-1]), dtype=object)
        with self._precision():
            for index in np.ndindex(*batch):
                out[index] = self._matrix_product(left[index], right[index])
        return out

    def _matrix_product(self, a: Array, b: Array) -> Array:
        rows, columns = a.ravel().tolist(), b.ravel().tolist()
        product = flint.arb_mat(len(a), len(b), rows) * flint.arb_mat(len(b), b.shape[1], columns)
        shape = (len(a), b.shape[1])
        flat = product.entries()
        if not all(map(flint.arb.is_finite, flat)):
            for place, (i, j) in enumerate(np.ndindex(*shape)):
                if not flat[place].is_finite():
                    terms = [(p, q, p * q) for p, q in zip(a[i].tolist(), b[:, j].tolist())]
                    flat[place] = self._fold([r if r.is_finite() else self._product(p, q) for p, q, r in terms])
        return self._array(flat, shape)

    # Decisions: proven where the balls allow, by the midpoint otherwise.

    def _decide(
        self, yes: npt.NDArray[np.bool_], no: npt.NDArray[np.bool_], middle: Callable[[int], bool]
    ) -> npt.NDArray[np.bool_]:
        doubt = ~(yes | no)
        self._note(doubt)
        for i in np.flatnonzero(doubt):
            yes.flat[i] = middle(int(i))
        return yes

    def _note(self, doubt: npt.NDArray[np.bool_]) -> None:
        if doubt.any():
            self.undecided = doubt if self.undecided is None else self.undecided | doubt

    def positive(self, x: Array) -> npt.NDArray[np.bool_]:
        """Return where x > 0 or x is NaN; adds to :attr:`undecided`."""
        if x.dtype != object:
            return np.asarray(x > 0, dtype=np.bool_)
        flat, zero = x.ravel().tolist(), self.zero
        nan = [a.is_nan() for a in flat]
        yes = np.array([a > zero for a in flat], dtype=np.bool_) | np.array(nan, dtype=np.bool_)
        no = np.array([a <= zero for a in flat], dtype=np.bool_)
        shape = x.shape
        return self._decide(yes.reshape(shape), no.reshape(shape), lambda i: bool(flat[i].mid() > zero))

    def greater(self, x: Array, y: Array) -> npt.NDArray[np.bool_]:
        """Return where x > y; adds to :attr:`undecided`."""
        if x.dtype != object:
            return np.asarray(x > y, dtype=np.bool_)
        left, right = x.ravel().tolist(), y.ravel().tolist()
        yes = np.array([a > b for a, b in zip(left, right)], dtype=np.bool_).reshape(x.shape)
        no = np.array([a <= b or a.is_nan() or b.is_nan() for a, b in zip(left, right)], dtype=np.bool_)
        return self._decide(yes, no.reshape(x.shape), lambda i: bool(left[i].mid() > right[i].mid()))

    def argmax(self, x: Array, axis: int) -> npt.NDArray[np.int64]:
        """Return the index of the first largest element along an axis, a NaN counting as largest."""
        if x.dtype != object:
            return np.asarray(np.argmax(x, axis=axis), dtype=np.int64)
        rows = np.moveaxis(x, axis, -1)
        out = np.empty(rows.shape[:-1], dtype=np.int64)
        doubt = np.zeros(out.shape, dtype=np.bool_)
        for index in np.ndindex(*out.shape):
            out[index], doubt[index] = _first_largest(rows[index].tolist())
        self._note(doubt)
        return out


def _first_largest(row: list[Any]) -> tuple[int, bool]:
    unknown = any(_kind(a) == _UNKNOWN for a in row)
    for i, a in enumerate(row):
        if a.is_nan():
            return i, unknown
    middles = [a.mid() for a in row]
    best = 0
    for i, a in enumerate(middles):
        if a > middles[best]:
            best = i
    top = row[best]
    proven = all(a < top for a in row[:best]) and all(a <= top for a in row[best + 1 :])
    return best, unknown or not proven


def _kind(a: Any) -> int:
    if a.is_finite():
        return _FINITE
    if a.is_nan():
        return _NAN
    if not a.rad().is_zero():
        return _UNKNOWN
    return _PLUS if a > 0 else _MINUS
