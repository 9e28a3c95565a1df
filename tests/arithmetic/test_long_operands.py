"""Operands of one kind at a time, as arrays, into binary16, 32, 64 and odd widths, against exact rationals."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from operands import between, rounded, solved
from operations import ARITY, operate
from oracles import assert_bits

import floatemu as fe
from floatemu import reference

FORMATS = [
    *map(fe.get_format, ("binary16", "binary32", "binary64")),
    *(fe.Format(f"p{p}", k=p + 9, p=p, high_nans=2 ** (p - 1) - 1) for p in (2, 3, 23, 25, 26, 27)),
    fe.Format("p52", k=63, p=52, high_nans=2**51 - 1),
    fe.Format("p53", k=60, p=53, high_nans=1),
]


def anything(draw: random.Random, fmt: fe.Format) -> float:
    """A 53-bit number whose exponent lies in, or near, the target's range."""
    reach = max(-1000, fmt.emin - fmt.p - 2), min(1000, fmt.emax + 2)
    return math.ldexp(draw.getrandbits(53) | 1 << 52, draw.randint(*reach) - 52) * draw.choice((1, -1))


def limited(x: Any) -> float:
    """The number as binary64 has it, or its largest one."""
    size = min(abs(rounded(Fraction(x))), 1.7976931348623157e308)
    return -size if x < 0 else size


def goal(draw: random.Random, fmt: fe.Format, codes: tuple[int, int], nu: Fraction) -> Fraction:
    return between(fmt, draw.randint(*codes), nu) * draw.choice((1, -1))


def tie(draw: random.Random, fmt: fe.Format) -> Fraction:
    """Half-way between two values, or 2^-20 to 2^-80 of a quantum beside."""
    beside = Fraction(draw.choice((0, 0, 1, -1)), 2 ** draw.choice((20, 30, 52, 80)))
    return goal(draw, fmt, (0, fmt.max_code), Fraction(1, 2) + beside)


def subnormal(draw: random.Random, fmt: fe.Format) -> Fraction:
    """Below the least normal number, or just above it."""
    return goal(draw, fmt, (0, 2**fmt.trailing_bits), Fraction(draw.randint(0, 64), 64))


def brim(draw: random.Random, fmt: fe.Format) -> Fraction:
    """Around the largest value."""
    return goal(draw, fmt, (max(fmt.max_code - 2, 0), fmt.max_code), Fraction(draw.randint(0, 40), 16))


Maker = Callable[[random.Random, fe.Format, str], list[Any]]


def aimed(at: Callable[[random.Random, fe.Format], Fraction]) -> Maker:
    """Operands whose exact result is the number aimed at, as nearly as binary64 has them."""

    def make(draw: random.Random, fmt: fe.Format, name: str) -> list[Any]:
        x = [anything(draw, fmt) for _ in range(ARITY[name])]
        return [limited(v) for v in solved(name, x, at(draw, fmt))]

    return make


def cancelling(draw: random.Random, fmt: fe.Format, name: str) -> list[Any]:
    """Operands that are equal, or opposite, but for their last bits; an addend that undoes the product."""
    x = anything(draw, fmt)
    y = draw.choice((x, -x)) * (1 + draw.randint(-3, 3) * 2.0**-52)
    z = -(x * y) if abs(x) < 2.0**500 else x
    return [x, y, z * (1 + draw.randint(-1, 1) * 2.0**-52)][: ARITY[name]]


def gaps(draw: random.Random, fmt: fe.Format, name: str) -> list[Any]:
    """A value of the format, or a tie, beside something smaller by 2^30 to 2^1500."""
    x = limited(tie(draw, fmt))
    y = math.ldexp(draw.choice((1.0, -1.0, 1.5)), max(-1074, math.frexp(x)[1] - draw.choice((30, 54, 110, 300, 1500))))
    return [[x, y, x], [x, 1.0, y], [y, x, x]][draw.randrange(3) if ARITY[name] == 3 else 0][: ARITY[name]]


def wide(draw: random.Random, fmt: fe.Format, name: str) -> list[Any]:
    """53-bit operands of like size, wider than all targets but two."""
    return [(1 + draw.getrandbits(52) * 2.0**-52) * draw.choice((1.0, -2.0, 0.25)) for _ in range(ARITY[name])]


def ends(draw: random.Random, fmt: fe.Format, name: str) -> list[Any]:
    """Where binary64 ends, and special values."""
    numbers = (5e-324, 2.0**-1022, 1.7976931348623157e308, 2.0**1023, 0.0, 1.0, math.inf, math.nan, 2.0**-1022 * 1.5)
    return [draw.choice(numbers) * draw.choice((1, -1)) for _ in range(ARITY[name])]


KINDS: dict[str, Maker] = {
    "ties": aimed(tie), "subnormals": aimed(subnormal), "overflow": aimed(brim), "cancelling": cancelling,
    "gaps": gaps, "wide": wide, "ends": ends,
}  # fmt: skip


def check(name: str, fmt: fe.Format, kind: str, count: int, saturations: list[fe.Saturation]) -> None:
    draw = random.Random(f"{name} {fmt.name} {kind}")
    for mode in fe.Rounding:
        for saturation in saturations:
            n = draw.choice((1, 3, 8, 17, 32)) if mode.stochastic else None
            by = fe.Projection(mode, saturation, n)
            cases = [KINDS[kind](draw, fmt, name) for _ in range(count)]
            words = [draw.getrandbits(n or 1) for _ in cases]
            random_bits = {"random_bits": n, "random": np.array(words)} if n else {}
            columns = [np.array(column, np.float64) for column in zip(*cases, strict=True)]
            options = {"saturation": saturation, "dtype": np.float64, "flags": True, **random_bits}
            values, flags = getattr(fe, name)(*columns, fmt, mode, **options)
            right, raised = [], []
            for case, r in zip(cases, words, strict=True):
                exact, extra = operate(name, [reference.exact(v) for v in case], mode)
                right.append(float(reference.round(exact, fmt, by, r if n else 0)))
                raised.append(reference.flags(exact, fmt, by, r if n else 0) | extra)
            what = f"{name} into {fmt.name} by {by}"
            assert_bits(values, np.array(right), columns[0], what)
            assert_bits(flags, np.array(raised, np.uint8), columns[0], f"flags of {what}")


@pytest.mark.parametrize("name", ARITY)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_a_few_operands_of_each_kind(fmt: fe.Format, name: str) -> None:
    for kind in KINDS:
        check(name, fmt, kind, 2, [fe.Saturation.SAT_NONE])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ARITY)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_many_operands_of_each_kind(fmt: fe.Format, name: str, kind: str) -> None:
    """Ties, subnormal results, overflow, cancellation, gaps, wide operands: all operations, modes and saturations."""
    check(name, fmt, kind, 100, list(fe.Saturation))
