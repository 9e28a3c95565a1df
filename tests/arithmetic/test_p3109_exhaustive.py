"""Every operation of IEEE P3109 on all operands of small formats against its definition over fractions."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from oracles import DETERMINISTIC, P3109_SMALL, SATURATIONS, STOCHASTIC, Draw, assert_bits
from p3109_definitions import BINARY, DEFINITIONS, TERNARY, UNARY, results

import floatemu as fe

DRAWS = [Draw(mode) for mode in DETERMINISTIC] + [Draw(mode, 2, r) for mode in STOCHASTIC for r in range(4)]
EVERY = [(draw, saturation) for draw in DRAWS for saturation in SATURATIONS]
NAMED = [fe.get_format(name) for name in ("binary8p4se", "binary8p3se", "binary8p4uf", "binary8p1ue")]


def judge(name: str, operands: tuple[np.ndarray, ...], fmt: fe.Format, choices: list[Any]) -> None:
    """Compare an operation on arrays with the projection of its exact results by the breakpoint oracle."""
    right = results(name, *operands)
    for draw in {draw: None for draw, _ in choices}:
        placed = oracles.Projected(right, fmt, draw)
        for saturation in (s for d, s in choices if d == draw):
            got = getattr(fe.p3109_ops, name)(*operands, fmt, dtype=np.float64, **oracles.call(draw, saturation))
            expected = placed.at(saturation).values + 0.0  # P3109 has one zero, in external formats too
            assert_bits(got, expected, operands[0], f"{name} into {fmt.name} by {draw} {saturation.name}")


def everything(fmt: fe.Format, name: str) -> tuple[np.ndarray, ...]:
    """All tuples of values of a format, as many as the operation has operands."""
    count = 1 if name in UNARY else 2 if name in BINARY else 3
    grids = np.meshgrid(*[fe.values(fmt)] * count, indexing="ij")
    return tuple(grid.ravel() for grid in grids)


def seeded(*key: Any) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(bytes("/".join(map(str, key)), "utf-8"))))


def some(fmt: fe.Format, name: str, count: int) -> list[Any]:
    """A few modes with saturations, chosen by the format's and the operation's names."""
    chosen = seeded(fmt.name, name).choice(len(EVERY), count, replace=False)
    return [EVERY[i] for i in chosen]


def test_every_operation_that_projects_has_a_definition() -> None:
    assert set(fe.p3109_ops.OPERATIONS) == set(DEFINITIONS) == {*UNARY, *BINARY, *TERNARY}


@pytest.mark.parametrize("fmt", [f for f in P3109_SMALL if f.k == 3], ids=lambda fmt: fmt.name)
def test_all_operands_of_three_bits_by_every_projection(fmt: fe.Format) -> None:
    for name in DEFINITIONS:
        judge(name, everything(fmt, name), fmt, EVERY)


@pytest.mark.parametrize("fmt", [f for f in P3109_SMALL if 4 <= f.k <= 6], ids=lambda fmt: fmt.name)
def test_all_pairs_of_four_to_six_bits(fmt: fe.Format) -> None:
    """Each operation of one or two operands by a seeded projection."""
    for name in (*UNARY, *BINARY):
        judge(name, everything(fmt, name), fmt, some(fmt, name, 1 if fmt.k == 6 else 3))


@pytest.mark.parametrize("name", TERNARY)
def test_triples_of_four_bits(name: str) -> None:
    for fmt in (f for f in P3109_SMALL if f.k == 4):
        judge(name, everything(fmt, name), fmt, some(fmt, name, 1))


@pytest.mark.parametrize("fmt", NAMED[::3], ids=lambda fmt: fmt.name)
def test_functions_of_all_operands_of_eight_bits(fmt: fe.Format) -> None:
    for name in UNARY:
        judge(name, everything(fmt, name), fmt, some(fmt, name, 6))


@pytest.mark.parametrize("name", [*BINARY, *TERNARY])
def test_operands_of_eight_bits_into_other_formats(name: str) -> None:
    """Seeded operands from different formats of 8 bits, into another, into wider ones and the external ones."""
    rng = seeded("mixed", name)
    formats = [f for f in P3109_SMALL if f.k == 8]
    wider = [fe.get_format(f) for f in ("binary16", "bfloat16", "binary12p7se", "binary10p10uf", "binary11p4ue")]
    for fmt in [*(formats[i] for i in rng.integers(0, len(formats), 5)), *wider]:
        chosen = [formats[i] for i in rng.integers(0, len(formats), len(DEFINITIONS))]
        count = 2 if name in BINARY else 3
        operands = tuple(rng.choice(fe.values(source), 300) for source in chosen[:count])
        judge(name, operands, fmt, some(fmt, name, 2))


@pytest.mark.parametrize("name", [*UNARY, "ArcTan2", "ArcTan2Pi", "Hypot"])
def test_functions_of_eight_bits_into_binary32(name: str) -> None:
    """24 bits, of which the definitions' 53 rounded to odd tell any rounding to nearest."""
    x = fe.values("binary8p4se")
    operands = (x,) if name in UNARY else (x, np.roll(x, 77))
    with np.errstate(over="ignore", under="ignore"):
        expected = results(name, *operands).astype(np.float32) + np.float32(0)
    got = getattr(fe.p3109_ops, name)(*operands, "binary32", dtype=np.float32)
    assert_bits(got, expected, x, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
@pytest.mark.parametrize("fmt", [f for f in P3109_SMALL if 4 <= f.k <= 6], ids=lambda fmt: fmt.name)
def test_all_pairs_by_every_projection(fmt: fe.Format, name: str) -> None:
    """Formats of 4 to 6 bits: all pairs, modes, random integers and saturations."""
    judge(name, everything(fmt, name), fmt, EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
@pytest.mark.parametrize("fmt", NAMED, ids=lambda fmt: fmt.name)
def test_all_pairs_of_eight_bits(fmt: fe.Format, name: str) -> None:
    """The named formats: all pairs by a few projections, those of functions of two operands by one."""
    judge(name, everything(fmt, name), fmt, some(fmt, name, 1 if name.startswith("ArcTan2") else 9))
