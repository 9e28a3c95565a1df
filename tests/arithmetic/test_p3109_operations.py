"""Operations of IEEE P3109 v4.0 by hand-computed cases; their numbers continue tests/core/test_p3109_cases.py."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from oracles import assert_bits

import floatemu as fe
from floatemu import Rounding
from floatemu.functions_exact import function

ops = fe.p3109_ops
INF, NAN = float("inf"), float("nan")
SIX = (
    Rounding.NEAREST_TIES_TO_EVEN,
    Rounding.NEAREST_TIES_TO_AWAY,
    Rounding.TOWARD_POSITIVE,
    Rounding.TOWARD_NEGATIVE,
    Rounding.TOWARD_ZERO,
    Rounding.TO_ODD,
)
FOUR = ("binary8p4se", "binary8p4sf", "binary8p4ue", "binary8p4uf")
SE = "binary8p4se"


def call(text: str, fmt: str = SE, rounding: Any = "rne", **options: Any) -> float:
    """A result of an operation written as in the standard, such as ``Divide(1, -inf)``; fractions as 15/8."""
    name, _, rest = text.rstrip(")").partition("(")
    operands = [NAN if word.strip() == "NaN" else number(word) for word in rest.split(",")]
    arrays = getattr(ops, name)(*(np.array([x]) for x in operands), fmt, rounding, **options)
    single = getattr(ops, name)(*operands, fmt, rounding, **options)
    assert_bits(np.float64(single), np.float64(arrays[0]), what=text)
    return float(single)


def number(text: str) -> float:
    return float(text) if "inf" in text else float(Fraction(text.strip()))


def same(got: Any, wanted: Any, what: str = "") -> None:
    assert_bits(np.asarray(got, np.float64), np.asarray(wanted, np.float64), what=what)


def test_p3109_case_17_convert_by_codes() -> None:
    def convert(source: str, target: str, pairs: str) -> None:
        specialized = ops.specialization(f"Convert<{source}, {target}, (NearestTiesToEven, SatNone)>")
        for pair in pairs.split():
            code, wanted = (int(text, 16) for text in pair.split(">"))
            assert int(specialized(code)) == wanted, f"{source} {code:#x} to {target}"

    convert("Binary8p3se", "Binary8p4se", "7E>7F 01>00 80>80 41>42 FF>FF")
    convert("Binary8p4se", "Binary4p2sf", "34>2 28>0 7F>7 FF>F 80>8")
    convert("binary32", "Binary8p4se", "80000000>00")
    convert("Binary8p4se", "binary16", "80>7E00 FF>FC00 81>9400 00>0")  # NaN with no payload but the quiet bit


NAN_CASES = """
Divide(0, 0); Divide(1, 0); Divide(-1, 0); Divide(inf, 0); Divide(inf, inf); Multiply(0, inf); Add(inf, -inf)
Subtract(inf, inf); Recip(0); RSqrt(0); Sqrt(-1); Log(-1); ArcTan2(0, 0); TanPi(1/2); Sin(inf); ArcTanh(inf)
ArcCosh(1/2); FMA(0, inf, 1); FAA(inf, 1, -inf); Hypot(inf, NaN); Clamp(1, 2, 0); ArcTan2(inf, -inf); TanPi(-7/2)
CopySign(NaN, 1); CopySign(1, NaN); FAA(NaN, 1, 1); SinPi(inf); CosPi(-inf); ArcSinPi(2); ArcCosPi(-2); ArcTan2Pi(0, 0)
"""


@pytest.mark.parametrize("text", [case.strip() for case in NAN_CASES.replace("\n", ";").split(";") if case.strip()])
def test_p3109_case_18_nan_results(text: str) -> None:
    for fmt in FOUR:
        same(call(text, fmt), NAN, text)


def test_p3109_case_18_results_that_are_no_nan() -> None:
    for text, wanted in (
        ("Divide(1, -inf)", 0.0),
        ("ArcTanh(1)", INF),
        ("LogOnePlus(-1)", -INF),
        ("ExpMinusOne(-inf)", -1.0),
        ("Divide(-inf, 2)", -INF),
    ):
        same(call(text), wanted, text)


def test_p3109_case_19_infinite_and_negative_results_of_operations() -> None:
    table = {
        ("Log(0)", "SatNone"): (-INF, -240, NAN, NAN),
        ("Log(0)", "SatPropagate"): (-INF, -240, 0, 0),
        ("Log(0)", "SatFinite"): (-224, -240, 0, 0),
        ("Exp(inf)", "SatNone"): (INF, 240, INF, 57344),
        ("Exp(inf)", "SatPropagate"): (INF, 240, INF, 57344),
        ("Exp(inf)", "SatFinite"): (224, 240, 53248, 57344),
    }
    for (text, saturation), wanted in table.items():
        for fmt, value in zip(FOUR, wanted, strict=True):
            same(call(text, fmt, saturation=saturation), float(value), f"{text} {fmt} {saturation}")
    for mode, value in (("rne", NAN), ("TowardZero", 0.0), ("TowardPositive", 0.0), ("TowardNegative", NAN)):
        same(call("Negate(1)", "binary8p4ue", mode), value)
        for saturation in ("SatFinite", "SatPropagate"):
            same(call("Negate(1)", "binary8p4ue", mode, saturation=saturation), 0.0)
    assert int(ops.specialization("Log<Binary8p4se, Binary8p4ue, (NearestTiesToEven, SatNone)>")(0)) == 0xFF


def test_p3109_case_20_one_rounding() -> None:
    for text, once in (
        ("FMA(9/8, 9/8, -5/4)", 1 / 64),
        ("FMA(15/8, 15/8, -7/2)", 1 / 64),
        ("FMA(224, 2, -224)", 224.0),
        ("FAA(1, 1/16, 1/16)", 9 / 8),
        ("FAA(224, 224, -224)", 224.0),
    ):
        same(call(text), once, text)
    # In two steps, which is what makes these cases.
    same(ops.Add(ops.Multiply(9 / 8, 9 / 8, SE), -5 / 4, SE), 0.0)
    same(ops.Add(ops.Multiply(15 / 8, 15 / 8, SE), -7 / 2, SE), 0.0)
    same(ops.Add(ops.Multiply(224.0, 2.0, SE), -224.0, SE), INF)
    same(ops.Add(ops.Add(1.0, 1 / 16, SE), 1 / 16, SE), 1.0)


CASE_21 = """
Exp(1)             | 11/4 11/4 11/4 5/2 5/2 11/4
Exp(11/2)          | inf inf inf 224 224 inf
ExpMinusOne(-1/8)  | -15/128 -15/128 -15/128 -1/8 -15/128 -15/128
Softplus(0)        | 11/16 11/16 3/4 11/16 11/16 11/16
ArcTan(inf)        | 13/8 13/8 13/8 3/2 3/2 13/8
ArcTan2(-1, -inf)  | 13/4 13/4 13/4 3 3 13/4
Sin(224)           | -13/16 -13/16 -3/4 -13/16 -3/4 -13/16
Tanh(4)            | 1 1 1 15/16 15/16 15/16
Recip(3)           | 11/32 11/32 11/32 5/16 5/16 11/32
Hypot(15, 8)       | 16 18 18 16 16 18
Recip(1/1024)      | inf inf inf 224 224 inf
"""


@pytest.mark.parametrize("line", CASE_21.strip().splitlines(), ids=lambda line: line.split("|")[0].strip())
def test_p3109_case_21_functions_in_six_modes(line: str) -> None:
    text, wanted = (part.strip() for part in line.split("|"))
    for mode, value in zip(SIX, wanted.split(), strict=True):
        same(call(text, SE, mode), number(value), f"{text} {mode.name}")


def test_p3109_case_22_extrema() -> None:
    for text, wanted in (
        ("Minimum(NaN, 1)", NAN),
        ("MinimumNumber(NaN, inf)", INF),
        ("MinimumMagnitude(-2, 2)", -2.0),
        ("MaximumMagnitude(-2, 2)", 2.0),
        ("MaximumMagnitude(-inf, inf)", INF),
        ("MinimumFinite(-inf, 3)", 3.0),
        ("MaximumFinite(inf, -3)", -3.0),
        ("MinimumFinite(NaN, inf)", INF),
        ("Clamp(-inf, -1, inf)", -1.0),
        ("Clamp(5, inf, inf)", INF),
        ("Clamp(1, -inf, -inf)", -INF),
    ):
        same(call(text), wanted, text)


def neighbours(fmt: str, upward: str, up: str = "", down: str = "") -> None:
    """Codes in rising order, then single steps "from>to"."""
    above, below = (ops.specialization(f"Next{way}Than<{fmt}>") for way in ("Greater", "Less"))
    codes = [int(code, 16) for code in upward.split()]
    for low, high in pairwise(codes):
        assert (int(above(low)), int(below(high))) == (high, low)
    for step, steps in ((above, up), (below, down)):
        for pair in steps.split():
            start, end = (int(code, 16) for code in pair.split(">"))
            assert int(step(start)) == end, f"{fmt} {pair}"


def test_p3109_case_23_neighbours_order_and_classes() -> None:
    neighbours("Binary4p2se", "F E D C B A 9 0 1 2 3 4 5 6 7", up="7>8 8>8", down="F>8 8>8")
    neighbours("Binary4p2sf", "F E D C B A 9 0 1 2 3 4 5 6 7", up="7>8", down="F>8")
    neighbours("Binary4p2ue", "0 1 2 3 4 5 6 7 8 9 A B C D E", up="E>F F>F", down="0>F")
    neighbours("Binary4p2uf", "0 1 2 3 4 5 6 7 8 9 A B C D E", up="E>F", down="0>F")
    assert ops.TotalOrder(NAN, -INF)
    assert ops.TotalOrder(NAN, NAN)
    assert not ops.TotalOrder(-INF, NAN)
    assert ops.specialization("Class<Binary4p2se>")(0x9) == "ClsNegativeSubnormal"
    assert ops.specialization("Class<Binary4p1se>")(0x9) == "ClsNegativeNormal"


@pytest.mark.parametrize("fmt", ["binary16", "binary32", "binary64", "bfloat16"])
def test_neighbours_in_external_formats(fmt: str) -> None:
    tiny, top = float(fe.get_format(fmt).min_positive), float(fe.get_format(fmt).max)
    x = [-tiny, 0.0, tiny, top, INF, -INF, NAN]
    same(ops.NextGreaterThan(x, fmt), [0.0, tiny, 2 * tiny, INF, NAN, -top, NAN])
    same(ops.NextLessThan([tiny, -0.0, -top, -INF, INF], fmt), [0.0, -tiny, -INF, NAN, top])


def test_p3109_case_25_kappa() -> None:
    x = fe.values("binary8p3se")
    right = ops.Convert(x, SE)
    least = 2.0**-7
    size = abs(right)
    flushed = np.where((size > 0) & (size < least), np.where(size <= least / 2, 0.0, np.copysign(least, right)), right)
    assert ops.kappa(right, flushed, SE) == 4
    y = fe.values(SE)
    assert ops.kappa(ops.Convert(y, "binary4p2sf"), ops.Convert(y, "binary4p2sf", "TowardZero"), "binary4p2sf") == 1
    assert ops.kappa([1.0, -0.125], [1.0, 0.125], SE) == 2 * int(fe.encode(0.125, SE))  # zero is one step
    assert ops.kappa([1.0, INF], [1.0, INF], SE) == 0
    assert ops.kappa([1.0, INF], [1.0, -INF], SE) == INF
    assert ops.kappa([1.0, 224.0], [1.0, INF], SE) == INF
    assert np.isnan(ops.kappa([1.0, NAN, 224.0], [1.0, 1.0, INF], SE))
    assert ops.kappa([], [], SE) == 0


# Traps 14 and 17: what is special about formats without -0, and about P3109.


def test_trap_14_no_sign_of_zero_comes_back_by_operations() -> None:
    """copysign(0, -1) is 0, not NaN, and a unary minus does not flip zero, in P3109 and in the FNUZ formats."""
    zeros = np.array([0.0, -0.0])
    for fmt in FOUR:
        for result in (ops.CopySign(zeros, -1.0, fmt), ops.Negate(zeros, fmt), ops.Multiply(zeros, -1.0, fmt)):
            same(result, [0.0, 0.0])
    for fmt in ("e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz", "binary8p4se", "binary8p3sf"):
        x = fe.asarray(zeros, fmt)
        for array in (-x, x * -1.0, abs(x) * -1.0, np.negative(x)):
            assert array.codes.tolist() == [0, 0], fmt
        assert np.asarray(fe.encode(np.copysign(0.0, -1.0), fmt)) == 0


def test_trap_17_p3109_layout() -> None:
    """Bias, the code of NaN, and no -0; the codes that gfloat, FPy and older drafts place elsewhere."""
    assert fe.decode(0x01, "binary8p1se") == 2.0**-63
    for k in range(3, 17):
        for p in range(1 + (k == 16), k + 1):  # exponents of 16 bits are beyond this library
            for extended in (True, False):
                if p < k:
                    signed = fe.p3109(k, p, True, extended)
                    assert (signed.bias, signed.nan_code) == (2 ** (k - p - 1), 2 ** (k - 1))
                    assert ops.ExponentBiasOf(signed) == 2 ** (k - p - 1)
                unsigned = fe.p3109(k, p, False, extended)
                assert (unsigned.bias, unsigned.nan_code) == (2 ** (k - p), 2**k - 1)
                assert ops.MaxFiniteOf(unsigned) == 2**k - 2 - extended


def test_trap_17_division_by_zero_is_nan() -> None:
    x = fe.values(SE)
    same(ops.Divide(x, 0.0, SE), np.full(x.shape, NAN))
    same(ops.Divide(x, -0.0, "binary32"), np.full(x.shape, NAN))
    same(fe.div(1.0, 0.0, SE), INF)  # IEEE 754's


# The faces themselves -------------------------------------------------------------------------------------------------


def test_results_have_the_operands_own_dtype() -> None:
    x = np.array([1.5, -0.0], np.float32)
    assert ops.Add(x, x, SE).dtype == np.float32
    assert ops.Add(x.astype(np.float16), x.astype(np.float16), SE).dtype == np.float16
    assert ops.SinPi(x, SE).dtype == np.float32
    assert ops.Add(1, 2, SE).dtype == np.float64
    out = np.empty(2, np.float32)
    assert ops.Negate(x, SE, out=out) is out
    same(out, [-1.5, 0.0])
    assert ops.Add(x, x[:, None], SE).shape == (2, 2)
    assert isinstance(ops.FAA(1.0, 1.0, 1.0, SE), np.floating)
    assert ops.Convert(np.array(1.0), SE).shape == ()


def test_keywords_name_the_operands() -> None:
    assert ops.Divide(y=2.0, x=1.0, fmt=SE, rounding="rz") == 0.5
    with pytest.raises(TypeError):
        ops.Divide(1.0, SE)


def test_refusals_teach() -> None:
    with pytest.raises(fe.FormatError, match=r"e4m3fn is not a format of P3109.*fe\.div"):
        ops.Divide(1.0, 2.0, "e4m3fn")
    with pytest.raises(fe.UnsupportedError, match=r"binary12p1ue has values that binary64 does not hold"):
        ops.Divide(1.0, 2.0, "binary12p1ue")
    with pytest.raises(fe.UnsupportedError, match=r"unknown option flags.*P3109 has no flags"):
        ops.Add(1.0, 2.0, SE, flags=True)
    with pytest.raises(fe.UnsupportedError, match="no binary64 numbers"):
        ops.Add(Fraction(1, 3), 2.0, SE)
    with pytest.raises(fe.UnsupportedError, match="do not broadcast"):
        ops.Add([1.0, 2.0], [1.0, 2.0, 3.0], SE)
    with pytest.raises(fe.UnsupportedError, match=r"0.1.* is no value of binary8p4se.*Convert"):
        ops.NextGreaterThan(0.1, SE)
    with pytest.raises(fe.ProjectionError, match="needs random bits"):
        ops.Add(1.0, 2.0, SE, "StochasticA")
    with pytest.raises(fe.UnsupportedError, match=r"shape \(1,\), approximate \(2,\)"):
        ops.kappa([1.0], [1.0, 2.0], SE)
    with pytest.raises(fe.UnsupportedError, match="no values of binary8p4se"):
        ops.kappa([1.0], [0.1], SE)


def test_random_bits_are_those_of_round() -> None:
    """One draw for each element, by its place, whatever the operation does before."""
    x = np.linspace(-3, 3, 61)
    options: dict[str, Any] = {"random_bits": 7, "seed": 3, "stream": 2}
    for mode in ("StochasticA", "StochasticB", "StochasticC"):
        rounded = fe.round(x, SE, mode, **options) + 0.0
        assert_bits(ops.Convert(x, SE, mode, **options), rounded)
        assert_bits(ops.FAA(x, 0.0, 0.0, SE, mode, **options), rounded)
        assert_bits(ops.CopySign(abs(x), x, SE, mode, **options), rounded)
    drawn = ops.FAA(np.full(4, 1.0), 1 / 32, 1 / 64, SE, "StochasticA", random_bits=2, random=np.arange(4))
    assert drawn.tolist() == [1.0, 1.0, 1.0, 1.125]
    assert ops.SinPi(np.full(4, 0.25), SE, "StochasticA", random_bits=2, random=np.arange(4)).tolist() == [
        *(0.6875, 0.6875, 0.6875, 0.75)
    ]


def test_external_formats_have_one_zero() -> None:
    """P3109 encodes 0 as +0 there, underflowed negative values too, and reads -0 as 0."""
    for fmt in ("binary16", "bfloat16", "binary32", "binary64"):
        same(ops.Negate([0.0, 2.0], fmt), [0.0, -2.0])
        tiny = float(fe.get_format(fmt).min_positive)
        same(ops.Multiply(-tiny, 0.25, fmt), 0.0)
        same(ops.Recip(-0.0, fmt), NAN)
        same(ops.Divide(1.0, -INF, fmt), 0.0)
    same(ops.Convert(-(2.0**-25), "binary16", "TowardNegative"), -(2.0**-24))


THIRD, SIXTH, HALF = Fraction(1, 3), Fraction(1, 6), Fraction(1, 2)


@pytest.mark.parametrize(
    ("name", "operands", "value"),
    [
        *[("sinpi", (x,), y) for x, y in ((SIXTH, HALF), (5 * SIXTH, HALF), (-SIXTH, -HALF), (Fraction(7, 2), -1))],
        *[("cospi", (x,), y) for x, y in ((THIRD, HALF), (2 * THIRD, -HALF), (Fraction(10**30), 1), (HALF, 0))],
        *[("tanpi", (x,), y) for x, y in ((Fraction(7, 4), -1), (Fraction(1, 4), 1), (Fraction(5), 0))],
        *[("asinpi", (x,), y) for x, y in ((-HALF, -SIXTH), (Fraction(1), HALF), (Fraction(0), 0))],
        *[("acospi", (x,), y) for x, y in ((HALF, THIRD), (-HALF, 2 * THIRD), (Fraction(-1), 1))],
        ("atanpi", (Fraction(-1),), Fraction(-1, 4)),
        *[
            ("atan2pi", (Fraction(y), Fraction(x)), Fraction(r, 4))
            for y, x, r in ((2, -2, 3), (-3, -3, -3), (0, -9, 4))
        ],
        ("atan2", (Fraction(0), Fraction(5)), 0),
        *[("asinh", (Fraction(0),), 0), ("acosh", (Fraction(1),), 0), ("atanh", (Fraction(0),), 0)],
    ],
)
def test_rational_values_of_functions_are_known(name: str, operands: tuple[Fraction, ...], value: Any) -> None:
    """No search ends at them; between them 24 bits and a sticky one."""
    got = function(name, operands, 24)
    signed = (-1) ** got.negative * got.significand * Fraction(2) ** got.quantum
    dyadic = Fraction(value).denominator in (1, 2, 4)
    assert (signed == value) if dyadic else (got.sticky and 0 < (value - signed) / value < Fraction(1, 2**22))
    beside = function(name, (operands[0] + (-1 if operands[0] >= 1 else 1) * Fraction(1, 10**9), *operands[1:]), 24)
    assert beside.sticky or name == "acosh"  # whose other side is no number


def test_domains_end_where_they_should() -> None:
    for name, x in (
        ("tanpi", HALF),
        ("tanpi", -7 * HALF),
        ("acosh", HALF),
        ("atanh", Fraction(1)),
        ("asinpi", 3 * HALF),
    ):
        assert function(name, (x,), 24).special == "nan"
    assert function("atan2", (Fraction(0), Fraction(0)), 24).special == "nan"


def test_binary64_results_are_rounded_once() -> None:
    """Where 53 bits cannot hold a result rounded to odd, it is exact numbers that are projected."""
    same(ops.FAA(1.0, 2.0**-53, 2.0**-200, "binary64"), 1 + 2.0**-52)
    same(ops.FAA(1.0, 2.0**-53, -(2.0**-200), "binary64"), 1.0)
    for mode, wanted in (("rne", 0.881373587019543), ("TowardPositive", 0.8813735870195431)):
        same(ops.ArcSinh(1.0, "binary64", mode), wanted)
    same(ops.ArcTan2(1.0, [-INF, 0.0], "binary64"), [np.pi, np.pi / 2])
    same(ops.SinPi([1 / 6, 0.5, 1e300], "binary64", "TowardZero"), [0.49999999999999994, 1.0, 0.0])
    same(ops.ArcTanPi([1.0, INF, NAN], "binary64"), [0.25, 0.5, NAN])
    same(ops.FAA([INF, INF], [-INF, 1.0], [1.0, 1.0], "binary64"), [NAN, INF])
