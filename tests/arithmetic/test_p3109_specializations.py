"""Specializations by their written form, and the minimum that IEEE P3109 v4.0 requires, over all operands."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import oracles
import pytest
from oracles import Draw, assert_bits
from p3109_definitions import exact, placed, results, scaled

import floatemu as fe
from floatemu import Rounding, Saturation

ops = fe.p3109_ops
F4, F8 = ("Binary4p2sf",), ("Binary8p4se", "Binary8p3se")
FX = ("binary32", "binary16", "bfloat16")
SMALL = (*F4, *F8)
BY = "(NearestTiesToEven, SatNone)"
EXTREMA = [name for name in ops.OPERATIONS if name.startswith(("Minimum", "Maximum"))]
QUERIES = [name for name in dir(ops) if name.endswith("Of") and name not in ("RoundOf", "SatOf")]


def minimum() -> list[str]:
    """Every specialization of the list in annex E."""
    texts = [f"{name}<{x}, {r}, {BY}>" for name in ("Convert", "Recip") for x, r in product((*SMALL, *FX), repeat=2)]
    texts += [f"{name}<{f}, {f}, {BY}>" for name in ("Negate", "Abs") for f in SMALL]
    for name in ("Add", "Subtract", "Multiply"):
        texts += [f"{name}<{x}, {y}, {r}, {BY}>" for x, y, r in product(SMALL, SMALL, (*F8, *FX))]
        pairs = [f"(Binary8p1uf, {f})" for f in SMALL]
        texts += [f"Scaled{name}<{x}, {y}, {r}, {BY}>" for x, y, r in product(pairs, pairs, (*F8, *FX))]
    texts += [f"{name}<{x}, {y}, {z}, {z}, {BY}>" for name in ("FMA", "FAA") for x, y, z in product(SMALL, SMALL, FX)]
    texts += [f"{name}<{f}, {f}, {f}, {BY}>" for name in EXTREMA for f in SMALL]
    compared = [f"Compare{how}" for how in ("Less", "LessEqual", "Equal", "Greater", "GreaterEqual")]
    texts += [f"{name}<{f}, {f}>" for name in compared for f in SMALL]
    asked = [f"Is{what}" for what in "Zero One NaN Infinite Finite SignMinus Normal Subnormal".split()]
    texts += [f"{name}<{f}>" for name in (*asked, "NextGreaterThan", "NextLessThan") for f in SMALL]
    return texts + [f"{name}<{f}>" for name in QUERIES for f in (*SMALL, *FX)]


def judge(text: str, *codes: np.ndarray) -> None:
    """Compare the codes that a specialization returns to nearest with those of its definition."""
    chosen = ops.specialization(text)
    values = [fe.decode(c, fmt) for c, fmt in zip(codes, chosen.operands, strict=True)]
    if chosen.name.startswith("Scaled"):
        right = np.array([placed(scaled(chosen.name, *map(exact, row))) for row in zip(*values, strict=True)])
    else:
        right = results(chosen.name, *values)
    fmt = chosen.result
    assert fmt is not None
    if fmt.name == "binary32":
        with np.errstate(over="ignore", under="ignore"):
            expected = (right.astype(np.float32) + np.float32(0)).view(np.uint32)
    else:
        placed_right = oracles.Projected(right + 0.0, fmt, Draw(Rounding.NEAREST_TIES_TO_EVEN)).at(Saturation.SAT_NONE)
        expected = fe.encode(placed_right.values + 0.0, fmt)
    assert_bits(chosen(*codes), expected, what=text)


def all_codes(*names: str) -> list[np.ndarray]:
    """All tuples of codes of formats of at most 8 bits."""
    counts = [np.arange(1 << fe.get_format(name).k, dtype=np.uint8) for name in names]
    return [grid.ravel() for grid in np.meshgrid(*counts, indexing="ij")]


def test_the_minimum_exists() -> None:
    texts = minimum()
    assert len(EXTREMA) == 10
    assert len(QUERIES) == 12
    assert len(texts) == len(set(texts)) == 72 + 6 + 3 * (45 + 45) + 54 + 30 + 15 + 30 + 72
    assert [text for text in texts if not ops.exists(text)] == []
    assert not any(ops.exists(text.replace("<", "<Binary8p4se, ", 1)) for text in texts)


@pytest.mark.parametrize("name", ["Convert", "Recip"])
def test_minimum_from_every_format_to_every_format(name: str) -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    for source in (*SMALL, *FX):
        k = fe.get_format(source).k
        codes = all_codes(source)[0] if k <= 8 else rng.integers(0, 1 << k, 600, np.uint64).astype(f"u{k // 8}")
        codes = np.append(codes, np.array([0, 1 << (k - 1), (1 << k) - 1], codes.dtype))
        for target in (*SMALL, *FX):
            judge(f"{name}<{source}, {target}, {BY}>", codes)


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply"])
def test_minimum_sums_and_products(name: str) -> None:
    rng = np.random.Generator(np.random.PCG64(6))
    for x, y in product(SMALL, repeat=2):
        codes = all_codes(x, y)
        for target in (*F8, *FX):
            some = [c[:: 5 if target == F8[0] else 31] for c in codes]  # the slow tests take all pairs
            judge(f"{name}<{x}, {y}, {target}, {BY}>", *some)
        scales = [rng.integers(0, 256, 400, np.uint8) for _ in range(2)]
        scales[1][:200] = np.clip(scales[0][:200].astype(int) + rng.integers(-9, 9, 200), 0, 255)
        elements = [rng.choice(c, 400) for c in codes]
        target = str(rng.choice((*F8, *FX)))
        pairs = f"(Binary8p1uf, {x}), (Binary8p1uf, {y})"
        judge(f"Scaled{name}<{pairs}, {target}, {BY}>", scales[0], elements[0], scales[1], elements[1])


@pytest.mark.parametrize("name", ["FMA", "FAA"])
def test_minimum_of_three_operands(name: str) -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    for x, y, z in product(SMALL, SMALL, FX):
        codes = [rng.choice(c, 400) for c in all_codes(x, y)]
        fmt = fe.get_format(z)
        near = fe.encode(rng.choice([-1.0, 1.0], 400) * np.ldexp(rng.random(400) + 1, rng.integers(-20, 12, 400)), fmt)
        anything = rng.integers(0, 1 << fmt.k, 400, np.uint64).astype(near.dtype)
        judge(f"{name}<{x}, {y}, {z}, {z}, {BY}>", *codes, np.where(rng.random(400) < 0.8, near, anything))


@pytest.mark.parametrize("fmt", SMALL)
def test_minimum_inside_one_format(fmt: str) -> None:
    for name in ("Negate", "Abs"):
        judge(f"{name}<{fmt}, {fmt}, {BY}>", *all_codes(fmt))
    codes = all_codes(fmt, fmt)
    for name in EXTREMA:
        judge(f"{name}<{fmt}, {fmt}, {fmt}, {BY}>", *(c[:: 1 if c.size < 1000 else 13] for c in codes))
    x, y = (fe.decode(c, fmt) for c in codes)
    for how, relation in (("Less", np.less), ("LessEqual", np.less_equal), ("Equal", np.equal)):
        assert_bits(ops.specialization(f"Compare{how}<{fmt}, {fmt}>")(*codes), relation(x, y))
        opposite = {"Less": "Greater", "LessEqual": "GreaterEqual", "Equal": "Equal"}[how]
        assert_bits(ops.specialization(f"Compare{opposite}<{fmt}, {fmt}>")(*codes), relation(y, x))
    order = np.isnan(x) | (x <= y)
    assert_bits(ops.specialization(f"TotalOrder<{fmt}, {fmt}>")(*codes), order)


@pytest.mark.parametrize("fmt", oracles.P3109_SMALL, ids=lambda fmt: fmt.name)
def test_predicates_and_neighbours_of_all_codes(fmt: fe.Format) -> None:
    """In code order, of which the standard's rules for neighbours are made; classes by the fields of the code."""
    name = fmt.name.capitalize()
    codes = np.arange(1 << fmt.k, dtype=np.uint8)
    x = [exact(value) for value in fe.values(fmt).tolist()]
    half = 1 << (fmt.k - 1) if fmt.signed else 1 << fmt.k
    field = (codes.astype(int) % half) >> (fmt.p - 1)
    finite = np.array([value is not None and value not in (np.inf, -np.inf) for value in x])
    zero = np.array([value == 0 for value in x])
    normal = finite & ~zero & ((field > 0) | (fmt.p == 1))
    negative = np.array([value is not None and value < 0 for value in x])
    facts = {
        "IsZero": zero,
        "IsOne": np.array([value == 1 for value in x]),
        "IsNaN": np.array([value is None for value in x]),
        "IsInfinite": np.array([value in (np.inf, -np.inf) for value in x]),
        "IsFinite": finite,
        "IsSignMinus": negative,
        "IsNormal": normal,
        "IsSubnormal": finite & ~zero & ~normal,
    }
    for predicate, right in facts.items():
        assert_bits(ops.specialization(f"{predicate}<{name}>")(codes), right, what=predicate)
    words = ops.specialization(f"Class<{name}>")(codes).tolist()
    for i, word in enumerate(words):
        kind = "Infinity" if facts["IsInfinite"][i] else "Normal" if normal[i] else "Subnormal"
        side = "Negative" if negative[i] else "Positive"
        assert word == ("ClsNaN" if x[i] is None else "ClsZero" if x[i] == 0 else f"Cls{side}{kind}")
    ordered = sorted((value, code) for code, value in enumerate(x) if value is not None)
    nan = fmt.nan_code
    up = {code: after for (_, code), (_, after) in pairwise(ordered)}
    down = {after: code for code, after in up.items()}
    for way, steps in (("Greater", up), ("Less", down)):
        stepped = ops.specialization(f"Next{way}Than<{name}>")(codes)
        assert stepped.tolist() == [steps.get(code, nan) for code in codes.tolist()]


def test_queries_of_formats() -> None:
    """Codes and numbers of section 1's tables, and of the external formats."""
    for fmt in [f for f in oracles.P3109_SMALL if f.k > 3] + [fe.get_format(name) for name in (*FX, "binary64")]:
        finite = [c for c in (fmt.max_code, 1) if c]
        top, least = (float(fe.decode(code, fmt)) for code in finite)
        ask = {name: ops.specialization(f"{name}<{fmt.name}>")() for name in QUERIES}
        assert (ask["BitwidthOf"], ask["PrecisionOf"]) == (fmt.k, fmt.p)
        assert ask["ExponentBitwidthOf"] == fmt.k - fmt.p + (0 if fmt.signed else 1)
        assert ask["TrailingSignificandBitwidthOf"] == fmt.p - 1
        assert (ask["SignednessOf"], ask["DomainOf"]) == (
            "Signed" if fmt.signed else "Unsigned",
            "Extended" if fmt.infinities else "Finite",
        )
        assert float(fe.decode(ask["MaxFiniteOf"], fmt)) == top == float(fmt.max)
        assert float(fe.decode(ask["MinFiniteOf"], fmt)) == (-top if fmt.signed else 0.0)
        assert float(fe.decode(ask["MinPositiveOf"], fmt)) == least == float(fmt.min_positive)
        assert float(fe.decode(ask["MinNormalOf"], fmt)) == 2.0 ** (1 - ask["ExponentBiasOf"])
        below = float(fe.decode(ask["MaxSubnormalOf"], fmt))
        assert np.isnan(below) if fmt.p == 1 else below == 2.0 ** (1 - ask["ExponentBiasOf"]) - least


def test_stochastic_specializations_take_their_bits() -> None:
    chosen = ops.specialization("Add<Binary8p4se, Binary8p4se, Binary8p4se, (StochasticA(2), SatNone)>")
    assert chosen.projection == fe.Projection("StochasticA", "SatNone", 2)
    one, little = int(fe.encode(1.0, "binary8p4se")), int(fe.encode(1 / 32, "binary8p4se"))
    got = chosen(np.full(4, one), little, random=np.arange(4))
    assert fe.decode(got, "binary8p4se").tolist() == [1.0, 1.0, 1.0, 1.125]
    assert chosen(np.full(9, one), little, seed=1).tolist() == chosen(np.full(9, one), little, seed=1).tolist()
    assert ops.RoundOf(chosen.projection) == "StochasticA"
    assert ops.SatOf(chosen.projection) == "SatNone"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Pow<Binary8p4se, Binary8p4se, (ToOdd, SatNone)>", fe.UnsupportedError, "Pow is no operation"),
        ("Add<Binary8p4se, Binary8p4se, (ToOdd, SatNone)>", fe.UnsupportedError, r"Add has 4 arguments.*given 3"),
        ("Add<Binary8p4se, Binary8p4se, Binary8p4se>", fe.UnsupportedError, r"\(rounding, saturation\); given 3"),
        ("Exp<Binary8p4se, e4m3fn, (ToOdd, SatNone)>", fe.FormatError, "e4m3fn is not a format of P3109"),
        ("Exp<Binary8p9se, Binary8p4se, (ToOdd, SatNone)>", fe.FormatError, "1 <= p <= k - 1"),
        ("Exp<Binary8p4se, Binary8p4se, (rne, SatNone)>", fe.ProjectionError, "NearestTiesToEven"),
        ("Exp<Binary8p4se, Binary8p4se, (ToOdd, OvfInf)>", fe.ProjectionError, "SatPropagate"),
        ("Exp<Binary8p4se, Binary8p4se, (ToOdd(3), SatNone)>", fe.ProjectionError, "uses no random bits"),
        ("ScaledExp<Binary8p1uf, Binary8p4se, Binary8p4se, (ToOdd, SatNone)>", fe.UnsupportedError, "has 3 arguments"),
        (
            "ScaledExp<Binary8p1uf, Binary8p4se, (ToOdd, SatNone)>",
            fe.UnsupportedError,
            "Binary8p1uf in ScaledExp.* pair",
        ),
        ("ScaledExp<(Binary8p1uf), Binary8p4se, (ToOdd, SatNone)>", fe.UnsupportedError, "is no pair"),
        ("IsZero<Binary8p4se, Binary8p4se>", fe.UnsupportedError, "IsZero has 1 arguments"),
        (
            "BlockReduceAdd<0, Binary8p1uf, Binary4p2sf, binary32, (ToOdd, SatNone)>",
            fe.UnsupportedError,
            "at least one",
        ),
        ("BlockClass<8, (Binary8p1uf, Binary4p2sf)>", fe.UnsupportedError, "BlockClass is no operation"),
        ("Block<8>", fe.UnsupportedError, "Block is no operation"),
        ("Exp", fe.UnsupportedError, "write Name<format"),
        (3, fe.UnsupportedError, "write Name<format"),
    ],
)
def test_refusals_teach(text: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ops.specialization(text)
    assert not ops.exists(text)


def random_block(rng: np.random.Generator, scale: str, element: str, length: int) -> tuple[Any, Any]:
    """Codes of thirty blocks."""
    near = fe.encode(np.ldexp(1.0, rng.integers(-6, 7, 30)), scale)
    anything = rng.integers(0, 1 << fe.get_format(scale).k, 30).astype(near.dtype)
    elements = rng.integers(0, 1 << fe.get_format(element).k, (30, length), np.uint8)
    return np.where(rng.random(30) < 0.8, near, anything), elements


@pytest.mark.parametrize("name", ["Add", "FMA", "Exp", "Clamp", "MinimumFinite"])
def test_blocks_by_codes(name: str) -> None:
    """The same bits as on values; what these give is judged in test_p3109_blocks.py."""
    rng = np.random.Generator(np.random.PCG64(8))
    kinds = (("Binary8p1uf", "Binary4p2sf"), ("Binary8p4se", "Binary8p3se"), ("Binary6p3ue", "Binary6p3se"))
    kinds = kinds[: 3 if name in ("FMA", "Clamp") else 1 if name == "Exp" else 2]
    given = [random_block(rng, *kind, 5) for kind in kinds]
    values = [ops.Block(*(fe.decode(c, f) for c, f in zip(block, kind))) for block, kind in zip(given, kinds)]
    scale, _ = random_block(rng, "Binary8p1ue", "Binary4p2sf", 5)
    pairs = ", ".join(f"({s}, {x})" for s, x in kinds)
    chosen = ops.specialization(f"Block{name}<5, {pairs}, Binary8p1ue, Binary4p2se, (StochasticB(3), SatFinite)>")
    got = chosen(*given, scale, seed=4)
    options: dict[str, Any] = {"saturation": "SatFinite", "random_bits": 3, "seed": 4}
    wanted = ops.block_operation(name)(
        *values, fe.decode(scale, "Binary8p1ue"), "Binary4p2se", rounding="StochasticB", **options
    )
    assert_bits(got.scale, scale)
    assert_bits(got.elements, fe.encode(wanted.elements, "Binary4p2se"))


def test_conversions_and_reductions_of_blocks_by_codes() -> None:
    rng = np.random.Generator(np.random.PCG64(9))
    first = random_block(rng, "Binary8p1uf", "Binary4p2sf", 4)
    second = random_block(rng, "Binary8p4se", "Binary8p3se", 4)
    x = ops.Block(fe.decode(first[0], "Binary8p1uf"), fe.decode(first[1], "Binary4p2sf"))
    y = ops.Block(fe.decode(second[0], "Binary8p4se"), fe.decode(second[1], "Binary8p3se"))
    for name in ("ConvertFromBlock", "BlockReduceAdd", "BlockReduceMultiply"):
        chosen = ops.specialization(f"{name}<4, Binary8p1uf, Binary4p2sf, binary16, (TowardZero, SatNone)>")
        assert_bits(chosen(first), fe.encode(getattr(ops, name)(x, "binary16", "TowardZero"), "binary16"))
    kinds = "Binary8p1uf, Binary4p2sf, Binary8p4se, Binary8p3se"
    chosen = ops.specialization(f"BlockDotProduct<4, {kinds}, bfloat16, {BY}>")
    assert_bits(chosen(first, second), fe.encode(ops.BlockDotProduct(x, y, "bfloat16"), "bfloat16"))
    chosen = ops.specialization(f"ConvertToBlock<4, Binary8p3se, Binary8p1uf, Binary4p2sf, {BY}>")
    block = chosen(second[1], first[0])
    wanted = ops.ConvertToBlock(y.elements, x.scale, "Binary4p2sf")
    assert_bits(block.scale, first[0])
    assert_bits(block.elements, fe.encode(wanted.elements, "Binary4p2sf"))
    by = "(StochasticA(2), SatNone), (TowardZero, SatFinite)"
    chosen = ops.specialization(f"ConvertToBlockMaxAbsFinite<4, Binary8p3se, Binary8p1uf, Binary4p2sf, {by}>")
    for r in range(4):
        block = chosen(second[1], scale_random=r)
        wanted = ops.ConvertToBlockMaxAbsFinite(
            y.elements,
            "Binary4p2sf",
            "Binary8p1uf",
            "TowardZero",
            saturation="SatFinite",
            scale_rounding="StochasticA",
            scale_options={"random_bits": 2, "random": r},
        )
        assert_bits(block.scale, fe.encode(wanted.scale, "Binary8p1uf"))
        assert_bits(block.elements, fe.encode(wanted.elements, "Binary4p2sf"))
    assert chosen(second[1], seed=1).scale.tolist() == chosen(second[1], seed=1).scale.tolist()


def test_calls_are_checked() -> None:
    exp = ops.specialization("Exp⟨Binary8p4se, Binary8p4se, (ToOdd, SatNone)⟩")
    with pytest.raises(fe.UnsupportedError, match="Exp takes 1 operands"):
        exp(1, 2)
    with pytest.raises(fe.FormatError, match=r"codes hold 256\.\.256"):
        exp(256)
    dot = ops.specialization(f"BlockReduceAdd<2, Binary8p1uf, Binary4p2sf, binary32, {BY}>")
    with pytest.raises(fe.UnsupportedError, match=r"blocks of 2 elements; given shape \(3,\)"):
        dot((128, [1, 2, 3]))
    with pytest.raises(fe.UnsupportedError, match="operand 1 of BlockReduceAdd is no block"):
        dot([1, 2, 3])
    with pytest.raises(fe.UnsupportedError, match="BlockReduceAdd takes 1 operands"):
        dot((128, [1, 2]), 128)
