"""An oracle for reductions: every order as plain recursive Python over exact rationals and floatemu.reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from floatemu import reference
from floatemu.format import Format
from floatemu.projection import Projection, Rounding
from floatemu.reference import INVALID, NAN, NAN_BORN, Datum, exact, infinity


def product_of(x: Datum, y: Datum) -> Datum:
    """The exact product, with IEEE 754's special cases."""
    negative = x.negative != y.negative
    if NAN in (x, y):
        return NAN
    if "infinite" in (x.kind, y.kind):
        zero = any(v.kind == "finite" and v.magnitude == 0 for v in (x, y))
        return NAN if zero else infinity(negative)
    return Datum(x.magnitude * y.magnitude, negative)


def sum_of(terms: Sequence[Datum], down: bool) -> Datum:
    """The exact sum; a zero is negative if all terms are, or if one is and rounding goes ``down``."""
    if NAN in terms:
        return NAN
    signs = {t.negative for t in terms if t.kind == "infinite"}
    if signs:
        return NAN if len(signs) == 2 else infinity(signs.pop())
    total = sum((t.value for t in terms), Fraction(0))
    if total == 0:
        return Datum(Fraction(0), all(t.negative for t in terms) or (down and any(t.negative for t in terms)))
    return Datum(abs(total), total < 0)


def root_of(x: Datum) -> Datum:
    """The square root, to 200 bits and a sticky one."""
    if x == NAN or (x.magnitude == 0 and x.kind == "finite"):
        return x
    if x.negative:
        return NAN
    if x.kind == "infinite":
        return x
    scaled = x.magnitude * 4**3000
    whole = isqrt(scaled.__floor__())
    sticky = Fraction(0) if whole * whole == scaled else Fraction(1, 2)
    return Datum((whole + sticky) / 2**3000)


def quotient_of(x: Datum, count: int) -> Datum:
    """The quotient by a positive integer."""
    return x if x.kind != "finite" else Datum(x.magnitude / count, x.negative)


@dataclass
class Machine:
    """Rounds operation after operation, counting them as the contract's random bits do, and or-s their flags."""

    by: Projection
    seed: int = 0
    stream: int = 0
    size: int = 1
    position: int = 0
    nan: Any = None
    m: int = 0
    flags: int = 0
    flagged: bool = True  #: whether flags are found: they take as long as all the rest

    def round(self, x: Datum, fmt: Format, operands: Sequence[Datum]) -> Datum:
        """Round the exact result x of an operation on ``operands``."""
        random = 0
        if self.by.random_bits:
            word = reference.random_word(self.seed, self.stream, self.m * self.size + self.position)
            random = word >> (32 - self.by.random_bits)
        self.m += 1
        if self.flagged:
            raised = reference.flags(x, fmt, self.by, random, self.nan)
            if x == NAN and NAN not in operands:
                raised |= INVALID | NAN_BORN
            self.flags |= raised if fmt.has_nan else raised & ~NAN_BORN  # what would be born is replaced
        return reference.round(x, fmt, self.by, random, self.nan)

    @property
    def down(self) -> bool:
        return self.by.rounding is Rounding.TOWARD_NEGATIVE

    def add(self, x: Datum, y: Datum, fmt: Format) -> Datum:
        return self.round(sum_of((x, y), self.down), fmt, (x, y))


def negated(x: Datum) -> Datum:
    return x if x == NAN else Datum(x.magnitude, not x.negative, x.kind)


Terms = Sequence[tuple[Datum, Datum]]
"""Factors of every term; a sum's second ones are 1, a fused operation multiplies both."""


def _run(machine: Machine, terms: Terms, fmt: Format) -> Datum:
    s = machine.round(product_of(*terms[0]), fmt, terms[0])
    for x, y in terms[1:]:
        s = machine.round(sum_of((product_of(x, y), s), machine.down), fmt, (x, y, s))
    return s


def _pairs(machine: Machine, values: list[Datum], fmt: Format) -> Datum:
    while len(values) > 1:
        paired = [machine.add(values[i], values[i + 1], fmt) for i in range(0, len(values) - 1, 2)]
        values = paired + values[len(values) // 2 * 2 :]
    return values[0]


def _numpy(machine: Machine, terms: Terms, fmt: Format, block: int, lanes: int) -> Datum:
    n = len(terms)
    if n > block:
        half = n // 2 // lanes * lanes
        left = _numpy(machine, terms[:half], fmt, block, lanes)
        right = _numpy(machine, terms[half:], fmt, block, lanes)
        return machine.add(left, right, fmt)
    if n < lanes:
        return _run(machine, terms, fmt)
    partial = [machine.round(product_of(*t), fmt, t) for t in terms[:lanes]]
    whole = n // lanes * lanes
    for k in range(lanes, whole):
        s = partial[k % lanes]
        partial[k % lanes] = machine.round(sum_of((product_of(*terms[k]), s), machine.down), fmt, (*terms[k], s))
    s = _pairs(machine, partial, fmt)
    for x, y in terms[whole:]:
        s = machine.round(sum_of((product_of(x, y), s), machine.down), fmt, (x, y, s))
    return s


def _kahan(machine: Machine, values: list[Datum], fmt: Format) -> Datum:
    s, c = machine.round(values[0], fmt, values[:1]), Datum()
    for x in values[1:]:
        y = machine.add(x, negated(c), fmt)
        t = machine.add(s, y, fmt)
        c = machine.add(machine.add(t, negated(s), fmt), negated(y), fmt)
        s = t
    return s


def _size(x: Datum) -> Any:
    return float("inf") if x.kind == "infinite" else x.magnitude


def _neumaier(machine: Machine, values: list[Datum], fmt: Format) -> Datum:
    s, c = machine.round(values[0], fmt, values[:1]), Datum()
    for x in values[1:]:
        t = machine.add(s, x, fmt)
        first, second = (s, x) if NAN not in (s, x) and _size(s) >= _size(x) else (x, s)
        c = machine.add(c, machine.add(machine.add(first, negated(t), fmt), second, fmt), fmt)
        s = t
    return machine.add(s, c, fmt)


def reduce(
    machine: Machine, x: Sequence[Any], y: Sequence[Any] | None, kind: str, numbers: Sequence[int], fused: bool,
    product: Format, accumulate: Format, result: Format, finish: str = "sum",
) -> Datum:  # fmt: skip
    """Reduce one list of terms, as floatemu.reductions documents it."""
    one = exact(1.0)
    xs = [exact(float(v)) for v in x]
    ys = [one] * len(xs) if y is None else [exact(float(v)) for v in y]
    terms = list(zip(xs, ys, strict=True))
    if kind == "exact":
        total = sum_of([product_of(*t) for t in terms], machine.down) if terms else Datum()
    elif not terms:
        total = Datum()
    else:
        if y is not None and not fused:
            terms = [(machine.round(product_of(*t), product, t), one) for t in terms]
        values = [t[0] for t in terms]
        match kind:
            case "sequential":
                total = _run(machine, terms, accumulate)
            case "pairwise":
                few = len(values) == 1
                total = machine.round(values[0], accumulate, values) if few else _pairs(machine, values, accumulate)
            case "blocked":
                parts = [terms[i : i + numbers[0]] for i in range(0, len(terms), numbers[0])]
                total = _run(machine, parts[0], accumulate)
                for part in parts[1:]:
                    total = machine.add(total, _run(machine, part, accumulate), accumulate)
            case "numpy_pairwise":
                total = _numpy(machine, terms, accumulate, *numbers)
            case "kahan":
                total = _kahan(machine, values, accumulate)
            case "neumaier":
                total = _neumaier(machine, values, accumulate)
            case _:
                raise ValueError(kind)
    final = {"sum": total, "mean": quotient_of(total, max(len(xs), 1)), "norm": None}[finish]
    # An exact sum is one operation on all its terms; any other's last step is one on the sum.
    operands = [v for t in terms for v in t] if kind == "exact" else [total]
    return machine.round(root_of(total) if final is None else final, result, operands)


def as_float(x: Datum) -> np.float64:
    return np.float64(float(x))
