"""Inputs for identification: designed vectors, matrices drawn for one purpose each, and which level they may judge.

A batch is a matrix product of which some elements are asked for, so that one run of a hypothesis answers many
questions: A and B are small, C is whatever is wanted of each element. Numbers are drawn from the counter-based
words of :mod:`floatemu.matrix.generator`; the same seed asks the same questions everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from floatemu.codec import decode, encode
from floatemu.format import Format
from floatemu.matrix.generator import Layout, words
from floatemu.matrix.hypotheses import Question
from floatemu.matrix.probe_vectors import PROBES, probe_vectors
from floatemu.matrix.steps import Array, Integers, Operands
from floatemu.matrix.unit import Integer
from floatemu.rounding import round as project

SQUARE = 32
"""Dot products that are put on the diagonal of one matrix product."""
HEAD = 32
"""No promotion comes sooner: what stands beyond is zero in inputs that must not meet one."""
FAR = 2**14
"""A place below every bit of any format."""


def layout_of(fmt: Format | Integer, register: Format | None = None) -> Layout:
    """The layout of a format's codes, as :mod:`floatemu.matrix.generator` wants it.

    Parameters
    ----------
    fmt : Format or Integer
    register : Format, optional
        The format of the register whose upper bits the codes are.

    Returns
    -------
    Layout

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> from floatemu.matrix.generator import LAYOUTS
    >>> layout_of(get_format("tf32"), get_format("binary32")) == LAYOUTS["tf32"]
    True
    """
    if isinstance(fmt, Integer):
        return Layout(fmt.name, fmt.bits)
    spare = register.k - fmt.k if register is not None else 0
    bias = 1 - fmt.emin
    return Layout(fmt.name, fmt.k, fmt.p, bias, fmt.max_code, fmt.inf_code, fmt.nan_code, spare)


def to_codes(values: Array, fmt: Format | Integer, register: Format | None = None) -> Array:
    """Codes of values that the format holds, in the smallest unsigned dtype."""
    if isinstance(fmt, Integer):
        width = next(w for w in (8, 16, 32, 64) if fmt.bits <= w)
        return np.asarray((values.astype(np.int64) & (2**fmt.bits - 1)).astype(f"uint{width}"))
    return np.asarray(encode(values, register or fmt))


def to_values(codes: Array, fmt: Format | Integer, register: Format | None = None) -> Array:
    """Values of codes: int64, or binary64 as the unit reads its register."""
    if isinstance(fmt, Integer):
        values = np.asarray(codes).astype(np.int64) & (2**fmt.bits - 1)
        return np.asarray(np.where(values > fmt.most, values - 2**fmt.bits, values))
    if register is not None:
        spare = np.uint64(register.p - fmt.p)
        codes = (np.asarray(codes).astype(np.uint64) >> spare) << spare
    return np.asarray(decode(codes, register or fmt), np.float64)


@dataclass(frozen=True)
class Batch:
    """A matrix product and the elements of it that are asked for.

    Attributes
    ----------
    name : str
    q : Question
    a, b, c : ndarray
        Values (m, k), (n, k), (m, n): binary64, or int64 of integer units.
    rows, columns : ndarray
        Indices of the elements asked for.
    scale_a, scale_b : ndarray, optional
        Values (m, k / block), (n, k / block).
    labels : list of str
        One for each element asked for, or none.
    few : bool
        Whether products cancel but for a few bits.
    codes : tuple of ndarray, optional
        Codes of a, b and c, where they are more than the values: bits of a register below a format.
    """

    name: str
    q: Question
    a: Array
    b: Array
    c: Array
    rows: Array
    columns: Array
    scale_a: Array | None = None
    scale_b: Array | None = None
    labels: list[str] = field(default_factory=list)
    few: bool = False
    codes: tuple[Array, Array, Array] | None = None

    @property
    def size(self) -> int:
        """Number of elements asked for."""
        return len(self.rows)

    def predict(self, step: Any) -> Array:
        """What a step answers: (size,) binary64, or int64 of integer units."""
        more = -self.a.shape[1] % step.depth
        a, b = (np.pad(x, ((0, 0), (0, more))) if more else x for x in (self.a, self.b))
        if isinstance(step, Integers):
            return step.run(a, b.T, self.c)[self.rows, self.columns]
        q = self.q
        a_format, b_format, _ = q.formats
        scale_b = None if self.scale_b is None else np.ascontiguousarray(self.scale_b.T)
        x = Operands(a, np.ascontiguousarray(b.T), self.c, a_format, b_format, self.scale_a, scale_b, q.scale)
        return np.asarray(step.run(x))[self.rows, self.columns]

    def inputs(self, wanted: Array | None = None) -> dict[str, Array]:
        """Codes of the elements asked for, each on its own: a, b (n, k), c (n,) and scales (n, k / block)."""
        i, j = (self.rows, self.columns) if wanted is None else (self.rows[wanted], self.columns[wanted])
        q = self.q
        if self.codes is not None:
            a, b, c = self.codes
        else:
            a, b = to_codes(self.a, q.a, q.register), to_codes(self.b, q.b, q.register)
            c = to_codes(self.c, q.output)
        found = {"a": a[i], "b": b[j], "c": c[i, j]}
        if self.scale_a is not None and self.scale_b is not None and q.scale is not None:
            found["scale_a"], found["scale_b"] = (
                to_codes(self.scale_a, q.scale)[i], to_codes(self.scale_b, q.scale)[j],
            )  # fmt: skip
        return found

    def only(self, wanted: Array) -> Batch:
        """The same with fewer elements asked for."""
        labels = [label for label, keep in zip(self.labels, wanted) if keep]
        return replace(self, rows=self.rows[wanted], columns=self.columns[wanted], labels=labels)

    @cached_property
    def _places(self) -> tuple[Array, Array, Array]:
        """Of every element: the lowest place of a bit, the highest exponent, and the last product that is not zero."""
        last = [_last_bits(x) for x in (self.a, self.b)]
        if self.scale_a is not None and self.scale_b is not None and self.q.block is not None:
            for x, scale in zip(last, (self.scale_a, self.scale_b)):
                x += np.repeat(_last_bits(scale), self.q.block, 1)[:, : x.shape[1]]
        low = last[0][self.rows] + last[1][self.columns]
        used = np.where(low < FAR, np.arange(low.shape[1]), -1).max(axis=1, initial=-1)
        c = np.abs(self.c[self.rows, self.columns])
        tops = (np.abs(x).max(axis=1, initial=0)[i] for x, i in ((self.a, self.rows), (self.b, self.columns)))
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.multiply(*tops)
        low = np.minimum(low.min(axis=1, initial=2 * FAR), _last_bits(c))
        return low, np.maximum(size, c), used

    @cached_property
    def _normal(self) -> Array:
        """Whether no operand of more than 8 bits is subnormal."""
        q = self.q
        a_format, b_format, _ = q.formats
        if max(a_format.k, b_format.k) <= 8:
            return np.ones(self.size, bool)
        a, b = (
            ((x == 0) | (np.abs(x) >= 2.0**f.emin)).all(axis=1) for x, f in ((self.a, a_format), (self.b, b_format))
        )
        return np.asarray(a[self.rows] & b[self.columns])

    def mask(self, kind: str) -> Array:
        """Which elements asked for may judge a level: its ``sees``, see :mod:`floatemu.matrix.hypotheses`."""
        everything = np.ones(self.size, bool)
        for word in kind.split():
            everything &= self._mask(word)
        return everything

    def _mask(self, word: str) -> Array:
        if word == "all":
            return np.ones(self.size, bool)
        low, size, used = self._places
        if word == "head":
            return used < HEAD
        with np.errstate(invalid="ignore"):
            safe = (low >= self.q.bottom) & (size < 2.0**100) & self._normal
        if word == "passing":
            return safe & (used < 0) & np.isfinite(size)
        return safe & self.few if word == "few" else safe


def _last_bits(x: Array) -> Array:
    """Exponent of the lowest bit that is set; ``FAR`` for zeros; -``FAR`` for what is not finite."""
    fraction, e = np.frexp(np.where(np.isfinite(x), x, 0.0))
    significand = np.ldexp(np.abs(fraction), 53).astype(np.int64)
    lowest = np.log2((significand & -significand).astype(np.float64), where=significand != 0, out=np.zeros(x.shape))
    place = np.where(significand == 0, FAR, e - 53 + lowest.astype(np.int64))
    return np.where(np.isfinite(x), place, -FAR).astype(np.int64)


def diagonal(
    name: str, q: Question, codes: dict[str, Array], labels: list[str] | None = None, few: bool = False
) -> Iterator[Batch]:
    """Batches of dot products that are given one by one.

    Parameters
    ----------
    name : str
    q : Question
    codes : dict
        ``a``, ``b`` (n, k), ``c`` (n,), for scaled units ``scale_a``, ``scale_b`` (n, k / block).
    labels : list of str, optional
    few : bool

    Yields
    ------
    Batch
    """
    for start in range(0, len(codes["a"]), SQUARE):
        part = {key: array[start : start + SQUARE] for key, array in codes.items()}
        n = len(part["a"])
        i = np.arange(n)
        c = np.zeros((n, n), part["c"].dtype)
        c[i, i] = part["c"]
        a, b = to_values(part["a"], q.a, q.register), to_values(part["b"], q.b, q.register)
        left, right = (to_values(part[key], q.scale) if q.scale else None for key in ("scale_a", "scale_b"))
        own = labels[start : start + n] if labels else []
        yield Batch(name, q, a, b, to_values(c, q.output), i, i, left, right, own, few, (part["a"], part["b"], c))


def designed(q: Question) -> dict[str, list[Batch]]:
    """Every designed vector that the formats can hold, by probe; scales are 1.

    Parameters
    ----------
    q : Question

    Returns
    -------
    dict
        From the ids of :data:`floatemu.matrix.probe_vectors.PROBES` to batches.
    """
    layouts = layout_of(q.a, q.register), layout_of(q.b, q.register), layout_of(q.output)
    found: dict[str, list[Batch]] = {}
    for probe in PROBES:
        if probe.id == "P5t" and q.k > 64:
            continue  # thousands of vectors, and P5 reads the same
        labels, a, b, c = probe_vectors(*layouts, q.k, ids=(probe.id,))
        keep = np.ones(len(labels), bool) if q.accumulator else c == 0
        if not keep.any():
            continue
        codes = {"a": a[keep], "b": b[keep], "c": c[keep]}
        if q.scale is not None and q.block is not None:
            one = to_codes(np.ones((int(keep.sum()), q.k // q.block)), q.scale)
            codes |= {"scale_a": one, "scale_b": one}
        kept = [label for label, wanted in zip(labels, keep) if wanted]
        found[probe.id] = list(diagonal(probe.id, q, codes, kept, few=probe.id == "P1"))
    return found


class Words:
    """Random integers of a seed, one after the other."""

    def __init__(self, seed: int, stream: int) -> None:
        self.seed, self.stream, self.used = seed, stream, 0

    def codes(self, bits: int, *shape: int) -> Array:
        """Random codes of so many bits, as uint64."""
        count = int(np.prod(shape, dtype=np.int64))
        found = words(self.seed, self.stream, self.used, count).reshape(shape)
        self.used += count
        return found >> np.uint64(64 - bits)

    def whole(self, low: int, high: int, *shape: int) -> Array:
        """Integers low .. high."""
        return self.codes(53, *shape).astype(np.int64) % (high - low + 1) + low

    def chance(self, percent: int, *shape: int) -> Array:
        """Whether, so many times in a hundred."""
        return self.whole(0, 99, *shape) < percent

    def numbers(self, fmt: Format, exponents: Array, bits: int) -> Array:
        """Numbers of random sign with these exponents and at most ``bits`` bits after the first."""
        bits = min(bits, fmt.p - 1)
        significand = self.whole(2**bits, 2 ** (bits + 1) - 1, *exponents.shape).astype(np.float64)
        value = np.ldexp(significand, np.clip(exponents, fmt.qmin, fmt.emax) - bits)
        if fmt.signed:
            value *= np.where(self.chance(50, *exponents.shape), -1.0, 1.0)
        most = float(fmt.max)
        return np.asarray(project(np.clip(value, -most, most), fmt, "TOWARD_ZERO", dtype=np.float64))
