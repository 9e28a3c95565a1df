"""Every pair of codes of every named format of at most 8 bits, for every operation, against the breakpoint oracle."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from oracles import SATURATIONS, SMALL, assert_bits
from pairs import BORN, DRAWS, OPERATIONS, REPLACED, judge, pairs

import floatemu as fe


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_pair_of_codes(fmt: fe.Format, name: str) -> None:
    """All saturations of the deterministic modes; those of the stochastic ones have a slow test."""
    for draw in DRAWS:
        judge(name, *pairs(fmt), fmt, draw, SATURATIONS if not draw.n else SATURATIONS[:1])


@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_root(fmt: fe.Format) -> None:
    """The binary64 root of a value that is no square is irrational: no breakpoint is nearer than 2^-12 of it."""
    x = fe.values(fmt)
    with np.errstate(invalid="ignore"):
        result = np.sqrt(x)
    extra = np.where(x < 0, BORN if fmt.has_nan else REPLACED, 0).astype(np.uint8)
    for draw in DRAWS:
        for saturation in SATURATIONS:
            nan = None if fmt.has_nan else "zero"
            right = oracles.Projected(result, fmt, draw).at(saturation, nan)
            arguments = oracles.call(draw, saturation) | {"nan": nan, "dtype": np.float64}
            values, flags = fe.sqrt(x, fmt, flags=True, **arguments)
            assert_bits(values, right.values, x, f"sqrt in {fmt.name} {draw}")
            assert_bits(flags, right.flags | extra, x, f"flags of sqrt in {fmt.name} {draw}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_sample_of_cross_format_pairs(name: str) -> None:
    """A seeded 2 % of the pairs of operands from two formats, into a third, by one mode and saturation each."""
    generator = np.random.Generator(np.random.PCG64(3))
    for first in SMALL:
        for second in SMALL:
            x, y = fe.values(first), fe.values(second)
            count = x.size * y.size // 50
            x, y = generator.choice(x, count), generator.choice(y, count)
            target = SMALL[int(generator.integers(len(SMALL)))]
            draw = DRAWS[int(generator.integers(len(DRAWS)))]
            judge(name, x, y, target, draw, [SATURATIONS[int(generator.integers(3))]])
