"""The published models of AMD's matrix cores. No results of real devices are public; see the rows' evidence.

Written as array expressions in binary64 and binary32, whose basic operations are exact or rounded once: an
account of the models, not a fast path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu._core import matrix as core
from floatemu.format import Format
from floatemu.matrix.steps import BINARY32, Array, Operands
from floatemu.reductions import sum as reduce_sum
from floatemu.rounding import round as project

PLANE = 2**17
"""Products looked at together."""
ZERO_PRODUCT = -999
"""Exponent of a product that is zero: it never decides where others are cut."""


def _bands(x: Operands, length: int) -> Iterator[slice]:
    """Rows whose products with all columns, ``length`` at a time, are few enough."""
    height = max(1, PLANE // max(1, x.b.shape[1] * length))
    for top in range(0, x.a.shape[0], height):
        yield slice(top, top + height)


def _products(x: Operands, rows: slice, k: int, length: int) -> tuple[Array, Array]:
    """Products k .. k + length - 1, exact, and their operands' exponents added up: (rows, n, length)."""
    a, b = x.a[rows, k : k + length], x.b[k : k + length].T
    ea, eb = _exponents(a, x.a_format), _exponents(b, x.b_format)
    with np.errstate(invalid="ignore"):  # 0 times an infinity is the NaN it should be
        product = a[:, None, :] * b[None]
    return product, np.where(product == 0, ZERO_PRODUCT, ea[:, None, :] + eb[None])


def _exponents(values: Array, fmt: Format) -> Array:
    """Floor of log2 |x|, at least the format's emin, which zeros have too; -1 where x is not finite."""
    result = np.empty(values.shape, np.int32)
    core.split_loop()(np.ascontiguousarray(values).reshape(-1), fmt.emin, result.reshape(-1))
    return np.where(np.isfinite(values), np.maximum(result, fmt.emin), -1)


def _power(e: Array) -> Array:
    """2^e, exact; zero below binary64's range."""
    return np.ldexp(1.0, e)


@dataclass(frozen=True)
class Exact:
    """CDNA1: accumulator and ``length`` products added exactly, rounded once to nearest even in binary32."""

    length: int

    @property
    def depth(self) -> int:
        """K is filled with zeros up to a multiple of this."""
        return self.length

    @property
    def accumulator(self) -> Format:
        """The format of what a step leaves."""
        return BINARY32

    def run(self, x: Operands) -> Array:
        """Return the accumulators (m, n) after all products, as binary64."""
        c = np.array(x.c, np.float64)
        for rows in _bands(x, self.length):
            for k in range(0, x.a.shape[1], self.length):
                product, _ = _products(x, rows, k, self.length)
                # A term +0 makes terms that are all -0 add up to +0, and changes nothing else.
                own = c[rows, :, None]
                terms = np.concatenate([product, own, np.zeros_like(own)], axis=2)
                c[rows] = np.asarray(reduce_sum(terms, BINARY32, order="exact", axis=2))
        return c


@dataclass(frozen=True)
class PairwiseFlush:
    """CDNA2: products in binary32, added in pairs, then to the accumulator; subnormals flushed at every turn.

    Attributes
    ----------
    pairs : int
        Products that are added up before they meet the accumulator: 2 or 4.
    """

    pairs: int

    @property
    def depth(self) -> int:
        """K is filled with zeros up to a multiple of this."""
        return self.pairs

    @property
    def accumulator(self) -> Format:
        """The format of what a step leaves."""
        return BINARY32

    def run(self, x: Operands) -> Array:
        """Return the accumulators (m, n) after all products, as binary64."""
        with np.errstate(all="ignore"):
            a, b, c = (np.where(np.abs(v) < 2.0**f.emin, 0.0, v).astype(np.float32) for v, f in self._inputs(x))
            for k in range(0, a.shape[1], self.pairs):
                total = self._sum([self._flush(a[:, k + i, None] * b[None, k + i]) for i in range(self.pairs)])
                c = self._flush(c + total)
        return c.astype(np.float64)

    @staticmethod
    def _inputs(x: Operands) -> list[tuple[Array, Format]]:
        return [(x.a, x.a_format), (x.b, x.b_format), (x.c, BINARY32)]

    def _sum(self, terms: list[Array]) -> Array:
        while len(terms) > 1:
            terms = [self._flush(left + right) for left, right in zip(terms[::2], terms[1::2])]
        return terms[0]

    @staticmethod
    def _flush(x: Any) -> Array:
        """Binary32 subnormals become zeros of their sign."""
        return np.asarray(np.where(np.abs(x) < np.float32(2.0**-126), np.copysign(np.float32(0), x), x))


@dataclass(frozen=True)
class TwoStage:
    """CDNA3: products cut and added first, then the accumulator, rounded down on the way; binary32, nearest even.

    Attributes
    ----------
    length : int
        Products of a step.
    interleaved : bool
        Whether products of even and of odd index are added apart, and an accumulator too small to matter is
        dropped (fp8); the others take a product of 2^128 or more for an infinity.
    fraction : int
        Bits kept of products, and of the accumulator, below the largest exponent.
    final : int
        Bits kept of the sum before it is rounded to binary32.
    first : int, optional
        Bits kept of the products' sum when it meets the accumulator; default ``final + 1``. Sources differ:
        MMA-Sim 2.1.1 has 32, its paper's algorithm one cut at 31.
    special_exponent : int
        Exponent that an infinite or NaN accumulator counts with where small ones are dropped: -1 in MMA-Sim, an
        artefact of its frexp that no device has confirmed. With a large number specials are never dropped.
    """

    length: int
    interleaved: bool = False
    fraction: int = 24
    final: int = 31
    first: int | None = None
    special_exponent: int = -1

    @property
    def depth(self) -> int:
        """K is filled with zeros up to a multiple of this."""
        return self.length

    @property
    def accumulator(self) -> Format:
        """The format of what a step leaves."""
        return BINARY32

    def run(self, x: Operands) -> Array:
        """Return the accumulators (m, n) after all products, as binary64."""
        c = np.array(x.c, np.float64)
        with np.errstate(all="ignore"):
            for rows in _bands(x, self.length):
                for k in range(0, x.a.shape[1], self.length):
                    product, e = _products(x, rows, k, self.length)
                    c[rows] = self._step(product, e, c[rows])
        return c

    def _step(self, product: Array, e: Array, c: Array) -> Array:
        if self.interleaved:
            parts = [self._cut(product[..., i::2], e[..., i::2]) for i in (0, 1)]
            top = np.maximum(parts[0][1], parts[1][1])
            dot = self._down(parts[0][0], top, self.fraction) + self._down(parts[1][0], top, self.fraction)
        else:
            product = np.where(np.abs(product) >= 2.0**128, product * np.inf, product)
            dot, top = self._cut(product, e)
        ec = np.where(np.isfinite(c), _exponents(c, BINARY32), self.special_exponent)
        largest = np.maximum(top, ec)
        dot = self._down(dot, largest, self.final + 1 if self.first is None else self.first)
        own = self._down(c, largest, self.fraction)
        if self.interleaved:
            own = np.where(ec < largest - self.fraction - 1, 0.0, own)
        total = dot + own
        return np.asarray(project(self._down(total, _exponents(total, BINARY32), self.final), BINARY32))

    def _cut(self, product: Array, e: Array) -> tuple[Array, Array]:
        """Sum of the products, each cut toward zero at the largest exponent less ``fraction``, and that exponent."""
        top = e.max(axis=-1)
        shift = self.fraction - top[..., None]
        kept = np.trunc(product * _power(shift))
        return kept.sum(axis=-1) * _power(-shift[..., 0]), top

    @staticmethod
    def _down(value: Array, e: Array, bits: int) -> Array:
        """``value`` rounded down to a multiple of 2^(e - bits)."""
        shift = bits - e
        return np.asarray(np.floor(value * _power(shift)) * _power(-shift))
