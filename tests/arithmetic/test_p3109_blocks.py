"""Block operations of IEEE P3109 v4.0 (section 5): hand-computed cases, and every form against fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import p3109_definitions as definitions
import pytest
from oracles import DETERMINISTIC, SATURATIONS, STOCHASTIC, Draw, assert_bits
from p3109_definitions import BINARY, DEFINITIONS, NAN, UNARY, exact, placed

import floatemu as fe

ops = fe.p3109_ops
Block = ops.Block
DRAWS = [Draw(mode) for mode in DETERMINISTIC] + [Draw(mode, 2, 1) for mode in STOCHASTIC]
SCALES = ("binary8p1uf", "binary8p1ue", "binary8p4se", "binary6p3ue", "bfloat16")
ELEMENTS = ("binary4p2sf", "binary4p2se", "binary6p3se", "binary5p2ue", "binary8p4se", "binary8p3uf")


def codes(values: Any, fmt: str) -> str:
    return " ".join(f"{int(code):X}" for code in fe.encode(np.asarray(values, np.float64), fmt))


def of_block(block: ops.Block, scale: str = "binary8p1uf", elements: str = "binary4p2sf") -> str:
    return f"{int(fe.encode(block.scale, scale)):X}: {codes(block.elements, elements)}"


def test_p3109_case_24_scale_of_the_greatest_finite_magnitude() -> None:
    x = [3.5, -48.0, 0.0, 0.3125, 10.0]
    for modes, wanted in (
        (("TowardPositive", "NearestTiesToEven"), "86: 0 B 0 0 1"),
        (("TowardNegative", "ToOdd"), "85: 0 D 0 0 1"),
    ):
        for mode in modes:
            block = ops.ConvertToBlockMaxAbsFinite(x, "binary4p2sf", "binary8p1uf", scale_rounding=mode)
            assert of_block(block) == wanted
    special = np.array([np.inf, -np.inf, np.nan, 0.0, 6.0])
    up: Any = {"scale_fmt": "binary8p1uf", "scale_rounding": "TowardPositive"}
    block = ops.ConvertToBlockMaxAbsFinite(special, "binary4p2sf", **up)
    assert_bits(block.elements, np.array([3.0, -3.0, np.nan, 0.0, 0.75]))
    assert block.scale == 8
    block = ops.ConvertToBlockMaxAbsFinite(special, "binary8p4se", **up)
    assert_bits(block.elements, np.array([np.inf, -np.inf, np.nan, 0.0, 0.75]))


def test_p3109_case_24_zero_and_infinite_scales() -> None:
    """Trap 17 too: the elements of an infinite scale are +-1, those of a zero scale 0."""
    block = ops.ConvertToBlockMaxAbsFinite([np.inf, 0.0, np.nan], "binary4p2sf", "binary8p1uf")
    assert_bits(np.float64(block.scale), np.float64(0.0))
    assert_bits(block.elements, np.array([0.0, 0.0, np.nan]))
    block = ops.ConvertToBlockMaxAbsFinite([np.inf, -np.inf], "binary4p2sf", "binary8p1ue")
    assert_bits(np.float64(block.scale), np.float64(np.inf))
    assert_bits(block.elements, np.array([1.0, -1.0]))
    # A finite domain has no infinite scale: the elements stay infinite until they are projected.
    block = ops.ConvertToBlockMaxAbsFinite([np.inf, -np.inf], "binary8p4se", "binary8p1uf")
    assert (float(block.scale), block.elements.tolist()) == (2.0**126, [np.inf, -np.inf])
    block = ops.ConvertToBlockMaxAbsFinite([np.nan, np.nan], "binary4p2sf", "binary8p1uf")
    assert_bits(np.float64(block.scale), np.float64(np.nan))
    assert_bits(block.elements, np.array([np.nan, np.nan]))


def test_p3109_case_24_dot_and_scaled_operations() -> None:
    """Trap 17 too: a reduction is one rounding of the exact sum."""
    x, y = Block(4.0, [1.5, -2.0, 0.5]), Block(0.5, [3.0, 1.5, 0.25])
    assert ops.BlockDotProduct(x, y, "binary8p4se") == 3.25
    x, y = Block(1.0, [224.0, 224.0, -224.0, 1.0]), Block(1.0, [224.0, 1.0, 224.0, 1.0])
    assert ops.BlockDotProduct(x, y, "binary8p4se") == 224
    assert ops.BlockDotProduct(x, y, "binary8p4se", "TowardPositive") == np.inf
    assert ops.ScaledMultiply(8.0, 1.5, 0.5, -3.0, "binary8p4se") == -18
    assert ops.ScaledAdd(8.0, 13 / 8, 0.5, 9 / 8, "binary8p4se") == 14
    assert fe.round(217 / 16, "binary8p4se") == 14


def judge(right: list[Any], got: Any, fmt: str, draw: Draw, saturation: Any, what: str) -> None:
    exactly = np.array([placed(x) for x in right])
    expected = oracles.Projected(exactly, fe.get_format(fmt), draw).at(saturation).values + 0.0
    assert_bits(np.asarray(got, np.float64).reshape(-1), expected, what=f"{what} into {fmt} {draw} {saturation.name}")


def drawn(seed: int, length: int = 4) -> tuple[list[Any], Any, Draw, Any, str]:
    """Two or three seeded blocks with special values among their elements and scales, a result scale, a projection."""
    rng = np.random.Generator(np.random.PCG64(seed))
    count = 24
    blocks = []
    for _ in range(3):
        scales = fe.values(str(rng.choice(SCALES)))
        near = scales[~(abs(np.log2(np.maximum(abs(scales), 1e-300))) > 12)]  # most of them neither huge nor tiny
        scale = np.where(rng.random(count) < 0.85, rng.choice(near, count), rng.choice(scales, count))
        blocks.append(Block(scale, rng.choice(fe.values(str(rng.choice(ELEMENTS))), (count, length))))
    results = fe.values(str(rng.choice(SCALES[:4])))
    middle = results[abs(np.log2(np.maximum(abs(results), 1e-300))) < 9]
    result = np.where(rng.random(count) < 0.8, rng.choice(middle, count), rng.choice(results, count))
    draw, saturation = DRAWS[rng.integers(len(DRAWS))], SATURATIONS[rng.integers(3)]
    return blocks, result, draw, saturation, str(rng.choice(ELEMENTS))


def decode(block: Any) -> list[list[Any]]:
    return [
        definitions.block_decode(exact(s), [exact(x) for x in row])
        for s, row in zip(block.scale, block.elements, strict=True)
    ]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_block_and_scaled_forms_of_every_operation(name: str) -> None:
    """The exact operation on decoded elements, divided by the result's scale, projected once."""
    count = 1 if name in UNARY else 2 if name in BINARY else 3
    for seed in range(3):
        blocks, scale, draw, saturation, fmt = drawn(1000 * list(DEFINITIONS).index(name) + seed)
        blocks = blocks[:count]
        rows = [decode(block) for block in blocks]
        options = oracles.call(draw, saturation) | {"dtype": np.float64}
        right = [
            [DEFINITIONS[name](*operands) for operands in zip(*(columns[i] for columns in rows), strict=True)]
            for i in range(scale.size)
        ]
        block = getattr(ops, f"Block{name}")(*blocks, scale, fmt, **options)
        assert_bits(block.scale, scale)
        over = [definitions.over_scale(x, exact(s)) for s, row in zip(scale, right, strict=True) for x in row]
        judge(over, block.elements, fmt, draw, saturation, f"Block{name}")
        pairs = [part for block in blocks for part in (block.scale[:, None], block.elements)]
        got = getattr(ops, f"Scaled{name}")(*pairs, fmt, **options)
        judge([x for row in right for x in row], got, fmt, draw, saturation, f"Scaled{name}")


@pytest.mark.parametrize("seed", range(12))
def test_reductions_and_conversions(seed: int) -> None:
    blocks, scale, draw, saturation, fmt = drawn(seed, length=1 + seed)
    first, second = (decode(block) for block in blocks[:2])
    options = oracles.call(draw, saturation) | {"dtype": np.float64}

    def check(right: list[Any], got: Any, what: str) -> None:
        judge(right, got, fmt, draw, saturation, what)

    fold = definitions.fold
    sums = [fold(definitions.add, Fraction(0), row) for row in first]
    check(sums, ops.BlockReduceAdd(blocks[0], fmt, **options), "sum")
    powers = [fold(definitions.multiply, Fraction(1), row) for row in first]
    check(powers, ops.BlockReduceMultiply(blocks[0], fmt, **options), "product")
    products = [[definitions.multiply(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(first, second)]
    dots = [fold(definitions.add, Fraction(0), row) for row in products]
    check(dots, ops.BlockDotProduct(*blocks[:2], fmt, **options), "dot")
    flat = [x for row in first for x in row]
    assert_bits(ops.BlockDecode(blocks[0]).reshape(-1), np.array([placed(x) for x in flat]))
    check(flat, ops.ConvertFromBlock(blocks[0], fmt, **options), "values")
    x = blocks[1].elements
    over = [definitions.over_scale(exact(v), exact(s)) for s, row in zip(scale, x) for v in row]
    check(over, ops.BlockProject(scale, x, fmt, **options), "elements")
    block = ops.ConvertToBlock(x, scale, fmt, **options)
    assert_bits(block.scale, scale)
    check(over, block.elements, "block")


@pytest.mark.parametrize("scale_fmt", ["binary8p1uf", "binary8p1ue", "binary8p4se", "binary6p3uf"])
def test_scales_of_the_greatest_finite_magnitude(scale_fmt: str) -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    x = rng.choice(fe.values("binary8p3se"), (200, 3))
    x[:20] = rng.choice([np.inf, -np.inf, np.nan, 0.0], (20, 3))
    largest = definitions.ranked(definitions.maximum)
    for draw, saturation in zip(DRAWS, SATURATIONS * 3, strict=True):
        chosen = oracles.call(draw, saturation)
        extra = {key: chosen[key] for key in ("random_bits", "random") if key in chosen}
        block = ops.ConvertToBlockMaxAbsFinite(
            x, "binary4p2sf", scale_fmt, scale_rounding=draw.rounding, scale_saturation=saturation, scale_options=extra
        )
        sizes = [[NAN if v is NAN else definitions.magnitude(v) for v in map(exact, row)] for row in x]
        right = [definitions.fold(largest, NAN, row) for row in sizes]
        judge(right, block.scale, scale_fmt, draw, saturation, "scale")
        assert_bits(block.elements, ops.BlockProject(block.scale, x, "binary4p2sf"))


def test_sums_near_a_tie_of_a_narrow_result() -> None:
    """What lies beyond binary64's 53 bits still decides the one rounding."""
    x, ones = Block(1.0, [1.0, 1 / 16, 2.0**-60]), Block(1.0, [1.0, 1.0, -1.0])
    assert ops.BlockReduceAdd(x, "binary8p4se") == 1.125
    assert ops.BlockDotProduct(x, ones, "binary8p4se") == 1
    assert ops.BlockDotProduct(x, x, "binary8p4se", "TowardPositive") == 1.125
    for order in ([1.0, 2.0**-60, 1 / 16], [1.0, 1 / 16, 2.0**-60]):
        assert ops.FAA(*order, "binary8p4se") == 1.125
        assert ops.FAA(*order, "binary8p4se", "ToOdd") == 1.125
        halves = ops.BlockFAA(*(Block(1.0, [v]) for v in order), 2.0, "binary8p4se")
        assert halves.elements.tolist() == [0.5625]
        assert ops.ScaledFAA(*(v for pair in zip([1.0] * 3, order) for v in pair), "binary8p4se") == 1.125


def test_reductions_beyond_fifty_three_bits() -> None:
    x = Block(1.0, [1.0, 2.0**-53, 2.0**-300])
    assert ops.BlockReduceAdd(x, "binary64") == 1 + 2.0**-52
    assert ops.BlockReduceAdd(x, "binary64", "TowardZero") == 1
    assert ops.BlockDotProduct(x, Block(1.0, [1.0, 1.0, -1.0]), "binary64") == 1
    wide = Block(2.0**-20, [2.0**300] * 9 + [2.0**-300] * 8 + [2.0**60])
    assert ops.BlockReduceMultiply(wide, "binary64") == 1
    same = ops.BlockReduceMultiply(Block(1.0, [2.0**300] * 9 + [2.0**-300] * 9), "binary8p4se")
    assert same == 1


def test_shapes() -> None:
    x = Block(np.ones((2, 3)), np.ones((2, 3, 8)))
    assert ops.BlockReduceAdd(x, "binary8p4se").shape == (2, 3)
    y = ops.BlockAdd(x, x, np.full((2, 3), 2.0), "binary8p4se")
    assert (y.scale.shape, y.elements.shape, float(y.elements.max())) == ((2, 3), (2, 3, 8), 1.0)
    assert ops.BlockExp(x, 1.0, "binary8p4se").elements.shape == (2, 3, 8)
    assert ops.ScaledAdd(np.ones((4, 1)), np.ones(3), 1.0, 1.0, "binary8p4se").shape == (4, 3)
    assert ops.ConvertToBlockMaxAbsFinite(np.ones((5, 4)), "binary4p2sf", "binary8p1uf").scale.shape == (5,)


def test_refusals_teach() -> None:
    one = Block(1.0, [1.0])
    with pytest.raises(fe.UnsupportedError, match="is no block"):
        ops.BlockDecode(3.0)
    with pytest.raises(fe.UnsupportedError, match=r"scales of shape \(2,\) and elements of shape \(3,\)"):
        ops.BlockDecode(Block([1.0, 2.0], [1.0, 2.0, 3.0]))
    with pytest.raises(fe.UnsupportedError, match="equally many elements"):
        ops.BlockAdd(one, Block(1.0, [1.0, 2.0]), 1.0, "binary8p4se")
    with pytest.raises(fe.UnsupportedError, match="BlockAdd takes 2 blocks"):
        ops.BlockAdd(one, 1.0, "binary8p4se")
    with pytest.raises(fe.UnsupportedError, match="ScaledNegate takes 1 scale"):
        ops.ScaledNegate(1.0, "binary8p4se")
    with pytest.raises(fe.UnsupportedError, match="no operation with a block form"):
        ops.block_operation("Class")
    with pytest.raises(fe.UnsupportedError, match="at least one element"):
        ops.ConvertToBlockMaxAbsFinite(np.ones((2, 0)), "binary4p2sf", "binary8p1uf")
    with pytest.raises(fe.UnsupportedError, match="up to 76 bits"):
        ops.BlockDecode(Block(float(np.float32(1.1)), [0.1]))
    with pytest.raises(fe.UnsupportedError, match="fewer random bits"):
        ops.BlockExp(one, float(np.float32(1.1)), "binary8p4se", "StochasticA", random_bits=32, seed=0)
    with pytest.raises(fe.UnsupportedError, match=r"2\^960"):
        ops.BlockDecode(Block(2.0**500, [2.0**500]))
    with pytest.raises(AttributeError, match="BlockClass"):
        ops.BlockClass  # noqa: B018
    assert {"BlockAdd", "ScaledExp", "BlockDotProduct", "Class"} <= set(dir(ops))


def test_published_bounds_of_sequential_reductions() -> None:
    """Section 6: eight Binary8p4se elements, summed in binary16 one by one, into Binary8p4se; bounds derived again."""
    u, last = Fraction(1, 2**11), Fraction(1, 16)
    of_sums = (1 + last) * ((1 + u) ** 7 - 1)
    of_products = (1 + last) * (1 + u) ** 7 - 1
    assert 0.003636 < of_sums < 0.003637
    assert 0.06613 < of_products < 0.06614
    rng = np.random.Generator(np.random.PCG64(11))
    values = fe.values("binary8p4se")
    values = values[np.isfinite(values) & (abs(values) < 4)]
    worst = Fraction(0)
    for _ in range(300):
        x, y = rng.choice(values, (2, 8))
        terms = [Fraction(float(v)) for v in x]
        for right, got in (
            (terms, fe.sum(x, "binary8p4se", accumulate="binary16")),
            ([t * Fraction(float(v)) for t, v in zip(terms, y)], fe.dot(x, y, "binary8p4se", accumulate="binary16")),
        ):
            bound = abs(sum(right)) / 16 + of_sums * sum(map(abs, right))
            error = abs(Fraction(float(got)) - sum(right))
            if abs(Fraction(float(got))) >= Fraction(1, 128):  # no underflow at the end
                assert error <= bound
                worst = max(worst, error / bound)
    assert worst > Fraction(1, 2)  # the bound is near what happens
