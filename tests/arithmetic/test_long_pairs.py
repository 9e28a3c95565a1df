"""Slow: every pair of codes of every P3109 format, and what the quick tests leave out for the named formats."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import P3109_SMALL, SATURATIONS, SMALL
from pairs import DRAWS, OPERATIONS, judge, pairs

import floatemu as fe


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fmt", P3109_SMALL, ids=lambda fmt: fmt.name)
def test_every_pair_of_codes_of_p3109(fmt: fe.Format, name: str) -> None:
    """All formats of 3 to 8 bits, all operations, modes and saturations."""
    for draw in DRAWS:
        judge(name, *pairs(fmt), fmt, draw, SATURATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_pair_of_codes_in_stochastic_modes(fmt: fe.Format, name: str) -> None:
    """The named formats: each random integer of each stochastic mode under each saturation."""
    for draw in DRAWS:
        if draw.n:
            judge(name, *pairs(fmt), fmt, draw, SATURATIONS[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("first", SMALL, ids=lambda fmt: fmt.name)
def test_cross_format_pairs_in_every_mode(first: fe.Format, name: str) -> None:
    """A seeded 2 % of the pairs of operands from two formats, into a third, by all modes and saturations."""
    generator = np.random.Generator(np.random.PCG64([SMALL.index(first), list(OPERATIONS).index(name)]))
    for second in SMALL:
        x, y = fe.values(first), fe.values(second)
        count = x.size * y.size // 50
        x, y = generator.choice(x, count), generator.choice(y, count)
        target = SMALL[int(generator.integers(len(SMALL)))]
        for draw in DRAWS:
            judge(name, x, y, target, draw, SATURATIONS)
