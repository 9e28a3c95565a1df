"""Matrix products as hardware makes them: one instruction chained over K, and whole GEMMs around it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from floatemu.arithmetic import add as add_rounded
from floatemu.arithmetic import fma, mul
from floatemu.codec import decode, encode
from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.landmarks import isrepresentable
from floatemu.matrix.steps import BINARY32, Array, Integers, Operands
from floatemu.matrix.unit import Integer, MatrixUnit
from floatemu.operands import as_array
from floatemu.rounding import round as project
from floatemu.target import smallest_float


def mma(
    unit: MatrixUnit,
    a: Any,
    b: Any,
    c: Any = None,
    *,
    scale_a: Any = None,
    scale_b: Any = None,
    codes: bool = False,
    threads: int = 1,
) -> Array:
    """Return a b + c as the unit's instruction computes it, chained over K in ascending order.

    Parameters
    ----------
    unit : MatrixUnit
    a, b : array_like
        (..., M, K) and (..., K, N): values of ``unit.a`` and ``unit.b``, leading axes broadcast. K is filled with zeros
        up to what the instruction adds at once.
    c : array_like, optional
        (..., M, N), values of ``unit.output``; default 0.
    scale_a, scale_b : array_like, optional
        (..., M, K / block) and (..., K / block, N), values of ``unit.scale``, for units that take scales.
    codes : bool
        Whether operands, scales and result are codes (unsigned integers) instead of values. Operands of a unit
        with a ``register`` format are codes of that.
    threads : int
        Threads that share the rows. Bits do not depend on it.

    Returns
    -------
    numpy.ndarray
        (..., M, N); float32, float64 for binary64 and int32 for integer units; or codes, in which a NaN is
        ``unit.nan_code``.

    Raises
    ------
    UnsupportedError
        If shapes do not fit, scales lack or are given to a unit without, or a value is none of its format.
    FormatError
        If a code is out of range.

    Notes
    -----
    What one step does stands with :mod:`floatemu.matrix.steps`; the unit's ``source`` says whose model it is.

    Examples
    --------
    >>> import floatemu as fe
    >>> unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    >>> fe.matrix.mma(unit, [[16.0, 16.0, 0.5]], [[16.0], [-16.0], [0.25]], [[1.0]])[0, 0]
    np.float32(1.125)
    """
    work = _Work.make(unit, a, b, c, scale_a, scale_b, codes, threads)
    return work.deliver(work.run(0, work.k, work.c), codes)


def gemm(
    unit: MatrixUnit,
    a: Any,
    b: Any,
    c: Any = None,
    *,
    promote_every: int | None = None,
    split_k: int = 1,
    alpha: float = 1.0,
    beta: float = 0.0,
    output: Format | str | None = None,
    scale_a: Any = None,
    scale_b: Any = None,
    codes: bool = False,
    threads: int = 1,
) -> Array:
    """Return cast(alpha * (a b) + beta * c): a whole matrix product around a unit's instruction.

    Accumulators start at 0 and take K in ascending order. Every ``promote_every`` elements along K they are
    added to a binary32 total, to nearest, and start anew, as in cuBLAS's fp8 products without fast
    accumulation (128) and DeepSeek-V3 (arXiv 2412.19437). With ``split_k`` parts each makes its own
    total, and these are added in ascending order, to nearest. The epilogue is that of CUTLASS's linear
    combination, in binary32: ``fma(alpha, total, round(beta * c))``, or ``round(alpha * total)`` without c, then
    rounded to ``output``.

    Parameters
    ----------
    unit, a, b, scale_a, scale_b, codes, threads
        As for :func:`mma`.
    c : array_like, optional
        (..., M, N), values of ``output``; used if ``beta`` is not 0.
    promote_every : int, optional
        Elements along K between two promotions, a multiple of the instruction's depth; None: none.
    split_k : int
        Parts of K that are summed apart: of equal length, a multiple of the instruction's depth, the last one
        maybe shorter.
    alpha, beta : float
        Binary32 numbers.
    output : Format or str, optional
        Format of the result; default ``unit.output``.

    Returns
    -------
    numpy.ndarray
        (..., M, N); float32 or float64, whichever holds the output; int32 for integer units; or codes.

    Raises
    ------
    UnsupportedError
        As for :func:`mma`; if ``promote_every`` or ``split_k`` does not fit; if a unit that does not accumulate in
        binary32 is to be promoted, split, or given an epilogue.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    >>> a = np.full((1, 4096), 2.0**-6); b = np.ones((4096, 1))
    >>> a[0, 0] = 256
    >>> float(fe.matrix.gemm(unit, a, b)[0, 0]), float(fe.matrix.gemm(unit, a, b, promote_every=128)[0, 0])
    (256.0, 318.0)
    """
    work = _Work.make(unit, a, b, None, scale_a, scale_b, codes, threads)
    target = unit.output if output is None else get_format(output)
    narrow = unit.output is not BINARY32
    if narrow and (promote_every is not None or split_k != 1 or alpha != 1 or beta != 0 or target != unit.output):
        raise UnsupportedError(
            f"{unit.name} accumulates in {unit.output.name}; promote_every, split_k, alpha, beta and output are "
            "for units with binary32 accumulators"
        )
    if narrow:
        return work.deliver(work.run(0, work.k, work.c), codes)
    total = work.total(_interval(promote_every, work), _count(split_k)).reshape(work.shape)
    assert isinstance(target, Format)
    values = _epilogue(total, c, alpha, beta, target, codes)
    if target == unit.output:
        return work.deliver(values, codes)
    return np.asarray(encode(values, target)) if codes else values.astype(smallest_float(target))


def _epilogue(total: Array, c: Any, alpha: float, beta: float, target: Format, codes: bool) -> Array:
    """alpha * total + beta * c in binary32, then in ``target``; binary64 array."""
    for name, factor in (("alpha", alpha), ("beta", beta)):
        if not isrepresentable(float(factor), BINARY32):
            raise UnsupportedError(f"{name}={factor!r} is no binary32 number; round it first")
    if beta != 0:
        if c is None:
            raise UnsupportedError(f"beta={beta!r} needs c")
        other = np.broadcast_to(_values(c, target, codes, "c"), total.shape)
        total = np.asarray(fma(float(alpha), total, mul(float(beta), other, BINARY32), BINARY32), np.float64)
    elif alpha != 1:
        total = np.asarray(mul(float(alpha), total, BINARY32), np.float64)
    return np.asarray(project(total, target, dtype=np.float64))


def _interval(every: int | None, work: _Work) -> int:
    step = work.granule
    if every is None:
        return max(work.k, step)
    if not isinstance(every, (int, np.integer)) or every < 1 or every % step:
        raise UnsupportedError(
            f"promote_every={every!r} is not a multiple of {step}, which the instruction adds at once"
        )
    return int(every)


def _count(parts: Any) -> int:
    if not isinstance(parts, (int, np.integer)) or parts < 1:
        raise UnsupportedError(f"split_k={parts!r} is not a positive integer")
    return int(parts)


def _values(x: Any, fmt: Format | Integer, codes: bool, what: str, register: Format | None = None) -> Array:
    """The operand as binary64 (int64 for integers) values, each checked to be one of its format."""
    if isinstance(fmt, Integer):
        return _integers(x, fmt, codes, what)
    if codes:
        cut = np.asarray(x)
        if register is not None and register is not fmt:
            if cut.dtype.kind not in "iu":
                raise FormatError(f"{what} has dtype {cut.dtype}; codes of {register.name} are integers")
            # The unit reads the upper bits of the register.
            cut = (cut.astype(np.uint64) >> np.uint64(register.p - fmt.p)) << np.uint64(register.p - fmt.p)
        try:
            return np.asarray(decode(cut, register or fmt), np.float64)
        except (FormatError, UnsupportedError) as error:
            raise type(error)(f"{what}: {error}") from None
    array = as_array(x, what)
    fits = np.asarray(isrepresentable(array, register or fmt))
    if not fits.all():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmin(fits)), fits.shape))
        value = array[place]
        raise UnsupportedError(
            f"{what}{list(place)} = {value!s} is no value of {(register or fmt).name}; the unit takes exact operands: "
            f"use fe.round({what}, {(register or fmt).name!r})"
        )
    values = np.asarray(array, np.float64)
    if register is None or register is fmt:
        return values
    return np.asarray(project(values, fmt, "TOWARD_ZERO", dtype=np.float64))


def _integers(x: Any, fmt: Integer, codes: bool, what: str) -> Array:
    array = np.asarray(x)
    if array.dtype.kind not in "iu":
        raise UnsupportedError(f"{what} has dtype {array.dtype}; this unit takes integers of {fmt.name}")
    least, most = (0, 2**fmt.bits - 1) if codes else (fmt.least, fmt.most)
    if array.size and (int(array.min()) < least or int(array.max()) > most):
        raise UnsupportedError(
            f"{what} holds {int(array.min())}..{int(array.max())}, outside {fmt.name}'s {least}..{most}"
        )
    values = array.astype(np.int64)
    return np.where(values > fmt.most, values - 2**fmt.bits, values) if codes else values


@dataclass
class _Work:
    """One product, checked: operands (batch, ...) and what the unit needs to know."""

    unit: MatrixUnit
    a: Array
    b: Array
    c: Array
    scale_a: Array | None
    scale_b: Array | None
    shape: tuple[int, ...]
    k: int
    threads: int

    @property
    def granule(self) -> int:
        """K is filled up to a multiple of this: what is added at once, and whole scales."""
        return max(self.unit.step.depth, self.unit.block or 1)

    @staticmethod
    def make(unit: MatrixUnit, a: Any, b: Any, c: Any, scale_a: Any, scale_b: Any, codes: bool, threads: int) -> _Work:
        """Check the operands of :func:`mma`."""
        if not isinstance(unit, MatrixUnit):
            raise UnsupportedError(f"unit is {unit!r}; give a MatrixUnit, for instance from fe.matrix.find(...)")
        if not isinstance(threads, (int, np.integer)) or threads < 1:
            raise UnsupportedError(f"threads={threads!r} is not a positive integer")
        left = _values(a, unit.a, codes, "a", unit.register)
        right = _values(b, unit.b, codes, "b", unit.register)
        first = np.zeros((), left.dtype) if c is None else _values(c, unit.output, codes, "c")
        fits = left.ndim >= 2 and right.ndim >= 2 and left.shape[-1] == right.shape[-2]
        try:
            batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
            shape = (*batch, left.shape[-2], right.shape[-1]) if fits else ()
            full = np.broadcast_to(first, shape)
        except ValueError:
            fits = False
        if not fits:
            given = "" if c is None else f", c {np.shape(c)}"
            raise UnsupportedError(
                f"shapes do not fit: a {left.shape}, b {right.shape}{given}; "
                "accepted: (..., M, K), (..., K, N), (..., M, N)"
            )
        k = left.shape[-1]
        scales = _Work._scales(unit, scale_a, scale_b, left.shape, right.shape, codes)
        work = _Work(unit, left, right, full, *scales, shape, k, int(threads))
        work._fill(batch)
        return work

    @staticmethod
    def _scales(
        unit: MatrixUnit, scale_a: Any, scale_b: Any, a_shape: Any, b_shape: Any, codes: bool
    ) -> tuple[Array | None, Array | None]:
        if unit.scale is None or unit.block is None:
            if scale_a is not None or scale_b is not None:
                raise UnsupportedError(f"{unit.name} takes no block scales; see fe.matrix.units(..., scale=...)")
            return None, None
        if scale_a is None or scale_b is None:
            raise UnsupportedError(
                f"{unit.name} needs scale_a (..., M, K / {unit.block}) and scale_b (..., K / {unit.block}, N)"
            )
        found = []
        blocks = -(-a_shape[-1] // unit.block)
        for name, given, rows, columns in (
            ("scale_a", scale_a, a_shape[-2], blocks), ("scale_b", scale_b, blocks, b_shape[-1]),
        ):  # fmt: skip
            if codes and unit.scale.name == "e4m3fn":
                given = np.asarray(given) & 0x7F  # ue4m3: the sign bit is not looked at
            values = _values(given, unit.scale, codes, name)
            if values.ndim < 2 or values.shape[-2:] != (rows, columns):
                raise UnsupportedError(f"{name} has shape {values.shape}; accepted: (..., {rows}, {columns})")
            found.append(np.abs(values))
        return found[0], found[1]

    def _fill(self, batch: tuple[int, ...]) -> None:
        """Three axes everywhere, contiguous, and zeros at the end of K."""
        more = -self.k % self.granule
        count = int(np.prod(batch, dtype=np.int64))

        def planes(x: Array, axis: int, value: float, fill: int) -> Array:
            widths = [(0, 0)] * x.ndim
            widths[axis] = (0, fill)
            wide = np.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(count, *x.shape[-2:])
            return np.ascontiguousarray(np.pad(wide, [(0, 0), *widths[-2:]], constant_values=value))

        self.a, self.b = planes(self.a, -1, 0, more), planes(self.b, -2, 0, more)
        self.c = np.ascontiguousarray(self.c).reshape(count, *self.shape[-2:])
        self.k += more
        if self.scale_a is not None and self.scale_b is not None and self.unit.block is not None:
            blocks = self.k // self.unit.block
            self.scale_a = planes(self.scale_a, -1, 1, blocks - self.scale_a.shape[-1])
            self.scale_b = planes(self.scale_b, -2, 1, blocks - self.scale_b.shape[-2])

    def run(self, start: int, stop: int, c: Array) -> Array:
        """Products start .. stop - 1 of every element, added to c (batch, m, n)."""
        result = np.empty(c.shape, c.dtype)
        rows = c.shape[1]
        bounds = [rows * t // self.threads for t in range(self.threads + 1)]
        tasks = [(i, slice(low, high)) for i in range(c.shape[0]) for low, high in pairwise(bounds) if low < high]

        def one(i: int, band: slice) -> None:
            result[i, band] = self._plane(i, band, start, stop, c[i, band])

        if self.threads == 1:
            for task in tasks:
                one(*task)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                for done in [pool.submit(one, *task) for task in tasks]:
                    done.result()
        return result

    def _plane(self, i: int, band: slice, start: int, stop: int, c: Array) -> Array:
        unit, a, b = self.unit, self.a[i, band, start:stop], self.b[i, start:stop]
        if isinstance(unit.step, Integers):
            return unit.step.run(a, b, c)
        assert isinstance(unit.a, Format)
        assert isinstance(unit.b, Format)
        scale_a, scale_b = None, None
        if self.scale_a is not None and self.scale_b is not None and unit.block is not None:
            blocks = slice(start // unit.block, stop // unit.block)
            scale_a, scale_b = self.scale_a[i, band, blocks], self.scale_b[i, blocks]
        return unit.step.run(Operands(a, b, c, unit.a, unit.b, scale_a, scale_b, unit.scale))

    def total(self, every: int, parts: int) -> Array:
        """Sums (batch, m, n) from 0, in parts and with promotions."""
        length = -(-self.k // (parts * self.granule)) * self.granule
        totals: list[Array] = []
        for low in range(0, max(self.k, 1), max(length, 1)):
            high, own = min(low + length, self.k), None
            for start in range(low, max(high, low + 1), every):
                piece = self.run(start, min(start + every, high), np.zeros(self.c.shape))
                own = piece if own is None else np.asarray(add_rounded(own, piece, BINARY32), np.float64)
            assert own is not None
            totals.append(own)
        result = totals[0]
        for other in totals[1:]:
            result = np.asarray(add_rounded(result, other, BINARY32), np.float64)
        return result

    def deliver(self, result: Array, codes: bool) -> Array:
        """The result in the caller's shape, as values or codes."""
        unit, result = self.unit, result.reshape(self.shape)
        if isinstance(unit.output, Integer):
            return result.astype(np.int32).view(np.uint32) if codes else result.astype(np.int32)
        if not codes:
            return result.astype(smallest_float(unit.output))
        found = np.asarray(encode(result, unit.output))
        found[np.isnan(result)] = unit.nan_code
        return found
