"""How matrix units add: one step of each published family, as parameters that a row of the table composes.

A step turns an accumulator and a run of products into the next accumulator. :class:`Fused` serves every
NVIDIA row and has a parameter for each question that sources answer differently; the others are AMD's
published models, plain chains of fused multiply-adds, and integers. All of them see binary64 arrays that
hold the operands' exact values, and leave values of the accumulator's format.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from floatemu._core import matrix as core
from floatemu.arithmetic import fma
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.projection import Projection, Rounding, Saturation
from floatemu.target import carrier_target

Array = np.ndarray[Any, Any]
BINARY16, BINARY32, BINARY64 = (get_format(name) for name in ("binary16", "binary32", "binary64"))
E8M13 = Format(name="e8m13", k=22, p=14, bias=127, high_nans=2**13 - 1)
"""The accumulator of fp8 instructions on Ada and Hopper: 13 fraction bits, kept in a binary32 register."""
TOWARD_ZERO, NEAREST = Rounding.TOWARD_ZERO, Rounding.NEAREST_TIES_TO_EVEN


class Operands(NamedTuple):
    """One matrix product: binary64 arrays a (m, k), b (k, n), c (m, n) of values in their formats, k a multiple of the
    step's depth; scales (m, k / block), (k / block, n) or None."""

    a: Array
    b: Array
    c: Array
    a_format: Format
    b_format: Format
    scale_a: Array | None = None
    scale_b: Array | None = None
    scale_format: Format | None = None


class Step(Protocol):
    """What a row's arithmetic offers."""

    @property
    def depth(self) -> int:
        """K is filled with zeros up to a multiple of this."""

    @property
    def accumulator(self) -> Format:
        """The format of what a step leaves."""

    def run(self, x: Operands) -> Array:
        """Return the accumulators (m, n) after all products, as binary64."""


@lru_cache(maxsize=64)
def _target(fmt: Format) -> Any:
    """Values beyond the range become infinities whatever the rounding: hardware that truncates does so too."""
    projection = Projection(NEAREST, Saturation.SAT_NONE)
    return carrier_target(fmt, projection, None, "float64", False)


def _exponents(values: Array, emin: int) -> Array:
    result = np.empty(values.shape, np.int32)
    core.split_loop()(values.reshape(-1), emin, result.reshape(-1))
    return result


@dataclass(frozen=True)
class Fused:
    """A fused dot product of ``length`` terms and the accumulator, cut at alignment, rounded once.

    Attributes
    ----------
    length : int
        L, terms added at once.
    fraction : int
        F, bits kept below the largest exponent of a step.
    zero_exponent : int
        Exponent of a term that is zero: the largest exponent is at least this.
    result : Format
        Format of the accumulator.
    rounding : Rounding
        How the sum is rounded to ``result``; what is beyond its range is an infinity in every mode.
    alignment : Rounding
        How terms are cut: TOWARD_ZERO, TOWARD_NEGATIVE or NEAREST_TIES_TO_EVEN.
    normalised : bool
        Whether a product of 2 or more counts with the exponent it has, rather than its factors' sum.
    group : int
        Products added exactly before the block scales; then only the scales' exponents count.
    order : tuple of int
        If not empty, the accumulator is added, to nearest, after as many products as this has entries, which
        have entered in this order: instructions that are emulated in software by two others.
    accumulator_emin : int, optional
        Least exponent of a nonzero accumulator; default ``result.emin``, so that subnormals are not normalised.
    signed_zero : bool
        Whether terms that are all -0 give -0.
    operand_emin : int, optional
        Least exponent of a nonzero operand; default its format's. Instructions that convert operands first have
        the other format's.
    """

    length: int
    fraction: int
    zero_exponent: int
    result: Format = BINARY32
    rounding: Rounding = TOWARD_ZERO
    alignment: Rounding = TOWARD_ZERO
    normalised: bool = False
    group: int = 1
    order: tuple[int, ...] = ()
    accumulator_emin: int | None = None
    signed_zero: bool = False
    operand_emin: int | None = None

    @property
    def depth(self) -> int:
        """K is filled with zeros up to a multiple of this."""
        return len(self.order) or self.length

    @property
    def accumulator(self) -> Format:
        """The format of what a step leaves."""
        return self.result

    def run(self, x: Operands) -> Array:
        """Return the accumulators (m, n) after all products, as binary64."""
        scales = _scales(x, self.group)
        a, b = x.a, x.b
        least_a, least_b = (
            f.emin if self.operand_emin is None else self.operand_emin for f in (x.a_format, x.b_format)
        )
        if scales is None and x.scale_a is not None and x.scale_b is not None:
            # A power of two beside every operand: exact in binary64, and it moves the exponents along.
            left, right = _spread(x.scale_a, a.shape[1], 1), _spread(x.scale_b, a.shape[1], 0)
            ea, eb = _shifted(a, least_a, left), _shifted(b, least_b, right)
            a, b = a * left, b * right
        elif scales is None:
            ea, eb = _exponents(a, least_a), _exponents(b, least_b)
        else:
            ea, eb = scales.ea, scales.eb
            a, b = np.where(scales.bad_a, math.nan, a), np.where(scales.bad_b, math.nan, b)
        none = np.empty((0, 0))
        sa, sb = (none, none) if scales is None else (scales.sa, scales.sb)
        if self.order:
            places = (np.arange(0, a.shape[1], self.depth)[:, None] + np.array(self.order)).reshape(-1)
            a, b, ea, eb = a[:, places], b[places], ea[:, places], eb[places]
        wild = self.signed_zero or not (np.isfinite(a).all() and np.isfinite(b).all())
        emin = self.result.emin if self.accumulator_emin is None else self.accumulator_emin
        step = core.Fused(
            self.length, self.depth, self.group, self.fraction, self.zero_exponent, emin, int(self.alignment),
            int(self.rounding), self.normalised, bool(self.order), self.signed_zero,
        )  # fmt: skip
        c = np.array(x.c, np.float64, order="C")
        # One layout for all: every other one would be compiled anew.
        a, b, ea, eb = (np.ascontiguousarray(x) for x in (a, b, ea, eb))
        core.fused_loop()(a, ea, sa, b, eb, sb, c, _target(self.result), step, wild)
        return c


class _Scales(NamedTuple):
    """Scales of groups, one per group: exponents, values, and which operands a NaN scale spoils."""

    ea: Array
    sa: Array
    eb: Array
    sb: Array
    bad_a: Array
    bad_b: Array


def _spread(scale: Array, count: int, axis: int) -> Array:
    """One scale for each of ``count`` operands along K."""
    return np.repeat(scale, count // scale.shape[axis], axis) if scale.shape[axis] else scale


def _shifted(values: Array, emin: int, scale: Array) -> Array:
    """Exponents of scaled operands: those of operand and scale added up, the operand's not below its format's."""
    own = _exponents(values, emin)
    moved = own + _exponents(np.ascontiguousarray(scale), -1022)
    return np.where(own == core.NONE, own, moved).astype(np.int32)


def _scales(x: Operands, group: int) -> _Scales | None:
    """The scales of a step that adds groups before it scales them; None for other steps."""
    if group == 1:
        return None
    if x.scale_a is None or x.scale_b is None or x.scale_format is None:
        raise UnsupportedError("this unit adds groups of products and scales them: give scale_a and scale_b")
    groups, emin = x.a.shape[1] // group, x.scale_format.emin
    sa, sb = _spread(x.scale_a, groups, 1), _spread(x.scale_b, groups, 0)
    bad_a, bad_b = np.repeat(np.isnan(sa), group, 1), np.repeat(np.isnan(sb), group, 0)
    sa, sb = (np.ascontiguousarray(np.where(np.isnan(s), 0.0, s)) for s in (sa, sb))
    return _Scales(_exponents(sa, emin), sa, _exponents(sb, emin), sb, bad_a, bad_b)


@dataclass(frozen=True)
class Chain:
    """One fused multiply-add per product, k ascending, rounded to nearest even in ``result``."""

    result: Format = BINARY64

    @property
    def depth(self) -> int:
        """K is not filled up: even a zero product may turn -0 into +0."""
        return 1

    @property
    def accumulator(self) -> Format:
        """The format of what a step leaves."""
        return self.result

    def run(self, x: Operands) -> Array:
        """Return the accumulators (m, n) after all products, as binary64."""
        c = np.array(x.c, np.float64)
        for k in range(x.a.shape[1]):
            c = np.asarray(fma(x.a[:, k, None], x.b[None, k], c, self.result))
        return c


@dataclass(frozen=True)
class Integers:
    """Exact sums in 32 bits, wrapped or, once per instruction, clamped.

    Attributes
    ----------
    depth : int
        Products of one instruction.
    saturate : bool
        Whether each instruction clamps its result to the ends of the range, rather than wrap modulo 2^32.
    """

    depth: int
    saturate: bool = False

    def run(self, a: Array, b: Array, c: Array) -> Array:
        """Return the accumulators (m, n) as int64 within the range of 32 bits; all arrays int64, k a multiple."""
        if not self.saturate:
            return np.asarray((c + a @ b + 2**31) % 2**32 - 2**31)
        for k in range(0, a.shape[1], self.depth):
            c = np.clip(c + a[:, k : k + self.depth] @ b[k : k + self.depth], -(2**31), 2**31 - 1)
        return c
