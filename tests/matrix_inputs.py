"""Inputs that show how a matrix unit adds: what is left after large terms cancel lies where terms are cut.

Drawn numbers rarely do: in a binary16 result, rounded to 11 bits, no bit of the alignment is seen. The families do not
know a unit's parameters; they cover every place at which a unit might cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import floatemu as fe

Array = np.ndarray[Any, Any]
Terms = list[tuple[float, float]]


class Formats:
    """Formats of one unit, and the random numbers that the families draw."""

    def __init__(self, a: fe.Format, b: fe.Format, c: fe.Format, seed: int) -> None:
        self.a, self.b, self.c, self.rng = a, b, c, np.random.default_rng(seed)

    def whole(self, low: int, high: int) -> int:
        """low .. high."""
        return int(self.rng.integers(low, high, endpoint=True)) if low < high else low

    @property
    def sign(self) -> float:
        return float(self.rng.choice([-1.0, 1.0]))

    def product(
        self, e: int, left: float = 1.0, right: float = 1.0, normal: bool = False
    ) -> tuple[float, float] | None:
        """Operands left 2^i and right 2^(e - i), if the formats hold such, as normal numbers if need be; else None."""
        least_a, least_b = (f.emin if normal else f.qmin for f in (self.a, self.b))
        low, high = max(least_a, e - self.b.emax), min(self.a.emax, e - least_b)
        if low > high:
            return None
        i = self.whole(low, high)
        x, y = left * 2.0**i, right * 2.0 ** (e - i)
        fits = fe.isrepresentable(x, self.a) and fe.isrepresentable(y, self.b)
        return (x * self.sign, y) if fits else None

    def near(self, low: int, high: int, count: int) -> Terms:
        """Products of exponents low .. high with short significands, as far as the formats hold them."""
        found = (
            self.product(self.whole(low, high), 1 + self.whole(0, 1) / 2, 1 + self.whole(0, 1) / 2)
            for _ in range(count)
        )
        return [term for term in found if term is not None]

    def top(self, x: tuple[float, float]) -> int:
        """The exponent fields' sum."""
        ex, ey = (max(int(np.frexp(v)[1]) - 1, f.emin) for v, f in zip(x, (self.a, self.b)))
        return ex + ey


def cancelled(f: Formats) -> tuple[Terms, float]:
    """x - x plus terms 8 to 40 places below; c takes part, or x is 1.5 * 1.5, or has a subnormal factor."""
    low, high = f.a.qmin + f.b.qmin, f.a.emax + f.b.emax
    wide = f.whole(0, 3) == 0
    # Low enough for what is left to count in the result, high enough for the formats to hold it.
    e = f.whole(max(low + 6, f.c.qmin + 6), min(high, f.c.emax - 2, 60))
    big = f.product(e, *((1.5, 1.5) if wide else (1.0, 1.0)))
    if f.whole(0, 2) == 0:  # a subnormal factor: its exponent field says more than its leading bit
        x = 2.0 ** f.whole(f.a.qmin, f.a.emin - 1) if f.a.subnormals and f.a.qmin < f.a.emin else 1.0
        y = 2.0 ** f.whole(max(f.b.emin, 0), min(f.b.emax, 100))
        big = (x * f.sign, y)
    if big is None:
        return [], 0.0
    cut = f.top(big) - f.whole(8, 38)
    small = f.near(max(cut - 3, low), cut + 6, f.whole(1, 4))
    partner = -big[0] * big[1]
    if f.whole(0, 3) == 0 and fe.isrepresentable(partner, f.c):
        return [big, *small], partner
    c = 0.0
    if f.whole(0, 2) == 0 and small:
        value = small[-1][0] * small[-1][1]
        small, c = (small[:-1], value) if fe.isrepresentable(value, f.c) else (small, 0.0)
    return [big, (-big[0], big[1]), *small], c


def subnormal(f: Formats) -> tuple[Terms, float]:
    """A subnormal accumulator and terms about the place where its exponent field would cut."""
    c = f.sign * 2.0 ** f.whole(f.c.qmin, f.c.emin) * f.whole(1, 3)
    head = f.near(f.c.qmin - 1, f.c.qmin, 1)
    return head + f.near(f.c.emin - 34, f.c.qmin - 1, f.whole(1, 2)), c if fe.isrepresentable(c, f.c) else f.c.qmin


def zeros(f: Formats) -> tuple[Terms, float]:
    """Zeros of one sign or of both, and results that round to zero."""
    sign = f.sign
    terms = [(sign * 0.0, 1.0)] * 40 if f.whole(0, 1) else [(f.sign * 0.0, f.sign) for _ in range(40)]
    return terms, sign * 0.0


def carries(f: Formats) -> tuple[Terms, float]:
    """Sums that end between two results: how they are rounded, either sign."""
    e = f.whole(max(f.c.emin + 2, f.a.emin + f.b.emin), min(f.c.emax - 4, f.a.emax + f.b.emax, 40))
    heads = [f.product(e), f.product(e - f.whole(0, 2)), *f.near(e - f.c.p - 1, e - f.c.p + 3, 3)]
    sign = f.sign
    terms = [(sign * abs(t[0]), t[1]) for t in heads if t is not None]
    c = sign * 2.0 ** (e - f.whole(-1, f.c.p))
    return terms, c if fe.isrepresentable(c, f.c) else 0.0


FAMILIES: tuple[Callable[[Formats], tuple[Terms, float]], ...] = (cancelled, cancelled, subnormal, zeros, carries)
PLACES = range(6, 41)
"""Distances below the largest exponent at which a unit might cut."""


def sweep_cut(f: Formats) -> Iterator[tuple[Terms, float]]:
    """x - x and a term at every distance below: kept or not, and how it is cut; c too; x of 1.5 * 1.5; x of a subnormal
    factor."""
    low, high = f.a.qmin + f.b.qmin, min(f.a.emax + f.b.emax, f.c.emax - 2, 60)
    for place in PLACES:
        e = f.whole(max(low + place, f.c.qmin + place), high)
        for left, right in ((1.0, 1.0), (1.5, 1.5)):
            big = f.product(e, left, right)
            for sign, m in ((1.0, 1.0), (1.0, 1.5), (-1.0, 1.5)):
                tail = f.product(e - place, m)
                if big is not None and tail is not None:
                    x, y = abs(tail[0]) * sign, tail[1]
                    yield [big, (-big[0], big[1]), (x, y)], 0.0
                    partner = -big[0] * big[1]
                    if left == 1 and m == 1 and fe.isrepresentable(partner, f.c):
                        yield [big, (x, y)], partner
        g = f.whole(max(f.c.qmin + place - f.a.emin, f.b.emin), f.b.emax)
        tail = f.product(f.a.emin + g - place)
        if tail is not None and f.a.qmin < f.a.emin and fe.isrepresentable(2.0**g, f.b):
            big = (2.0**f.a.qmin, 2.0**g)
            yield [big, (-big[0], big[1]), tail], 0.0


def sweep_floor(f: Formats) -> Iterator[tuple[Terms, float]]:
    """Half the least number of the result and a term far below, or that number less such a term: what zeros and
    subnormal accumulators let through."""
    for place in range(3, 31):
        heads = (f.product(f.c.qmin - 1, normal=True), 1.0), (f.product(f.c.qmin, normal=True), -1.0)
        for head, opposite in heads:
            tail = f.product(f.c.qmin - 1 - place)
            if head is not None and tail is not None:
                terms = [(abs(head[0]), head[1]), (opposite * abs(tail[0]), tail[1])]
                yield terms, 0.0
                yield terms, 2.0 ** (f.c.qmin + 1)


def sweeps(
    a: fe.Format, b: fe.Format, c: fe.Format, k: int, places: Sequence[int], seed: int
) -> tuple[Array, Array, Array]:
    """Codes a (n, k), b (n, k), c (n,): every distance once; the terms lie at ``places``."""
    f = Formats(a, b, c, seed)
    found = [*sweep_cut(f), *sweep_floor(f)]
    x, y, z = np.zeros((len(found), k)), np.zeros((len(found), k)), np.zeros(len(found))
    for i, (terms, z[i]) in enumerate(found):
        for place, (left, right) in zip(places, terms):
            x[i, place], y[i, place] = left, right
    left, right, accumulator = (np.asarray(fe.encode(values, fmt)) for values, fmt in ((x, a), (y, b), (z, c)))
    return left, right, accumulator


def designed(
    a: fe.Format, b: fe.Format, c: fe.Format, n: int, k: int, reach: int, seed: int
) -> tuple[Array, Array, Array]:
    """Codes a (n, k), b (n, k), c (n,), vector i of family i mod 5; in two of three all terms lie below ``reach``."""
    f = Formats(a, b, c, seed)
    x, y, z = np.zeros((n, k)), np.zeros((n, k)), np.zeros(n)
    for i in range(n):
        terms, z[i] = FAMILIES[i % len(FAMILIES)](f)
        y[i] = 1.0
        room = min(k, reach) if i // len(FAMILIES) % 3 else k
        terms = terms[:room]
        places = f.rng.permutation(room)[: len(terms)]
        for place, (left, right) in zip(places, terms):
            x[i, place], y[i, place] = left, right
        if FAMILIES[i % len(FAMILIES)] is zeros:
            x[i] = np.copysign(0.0, x[i, places[0]]) if len(terms) < k else x[i]
    codes = (np.asarray(fe.encode(values, fmt)) for values, fmt in ((x, a), (y, b), (z, c)))
    left, right, accumulator = codes
    return left, right, accumulator
