"""Everything that a format's few numbers imply, against what the standards print and two other libraries derive."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import gfloat.formats
import ml_dtypes
import numpy as np
import pytest
from gfloat import Domain, Signedness
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import formats

import floatemu as fe
from floatemu import reference

TWO = Fraction(2)

# k, p, bias, emax, max, exponent of min normal, of min positive, codes of max, inf, NaN.
STANDARDS = {
    # IEEE 754-2019, table 3.5 and section 3.4
    "binary16": (16, 11, 15, 15, 65504, -14, -24, 0x7BFF, 0x7C00, 0x7E00),
    "binary32": (32, 24, 127, 127, (2 - TWO**-23) * TWO**127, -126, -149, 0x7F7FFFFF, 0x7F800000, 0x7FC00000),
    "binary64": (
        *(64, 53, 1023, 1023, (2 - TWO**-52) * TWO**1023, -1022, -1074),
        *(0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF8000000000000),
    ),
    # bfloat16 is the upper half of binary32, tf32 its upper 19 bits
    "bfloat16": (16, 8, 127, 127, (2 - TWO**-7) * TWO**127, -126, -133, 0x7F7F, 0x7F80, 0x7FC0),
    "tf32": (19, 11, 127, 127, (2 - TWO**-10) * TWO**127, -126, -136, 0x3FBFF, 0x3FC00, 0x3FE00),
    # OCP OFP8 1.0, table 2
    "e4m3fn": (8, 4, 7, 8, 448, -6, -9, 0x7E, None, 0x7F),
    "e5m2": (8, 3, 15, 15, 57344, -14, -16, 0x7B, 0x7C, 0x7E),
    # IEEE 754's layout in 8 bits
    "e4m3": (8, 4, 7, 7, 240, -6, -9, 0x77, 0x78, 0x7C),
    "e3m4": (8, 5, 3, 3, Fraction(31, 2), -2, -6, 0x6F, 0x70, 0x78),
    # no infinities, NaN in the place of -0
    "e4m3fnuz": (8, 4, 8, 7, 240, -7, -10, 0x7F, None, 0x80),
    "e5m2fnuz": (8, 3, 16, 15, 57344, -15, -17, 0x7F, None, 0x80),
    "e4m3b11fnuz": (8, 4, 11, 4, 30, -10, -13, 0x7F, None, 0x80),
    # OCP MX 1.0, tables 3 to 7
    "e8m0fnu": (8, 1, 127, 127, TWO**127, -127, -127, 0xFE, None, 0xFF),
    "e2m3fn": (6, 4, 1, 2, Fraction(15, 2), 0, -3, 0x1F, None, None),
    "e3m2fn": (6, 3, 3, 4, 28, -2, -4, 0x1F, None, None),
    "e2m1fn": (4, 2, 1, 2, 6, 0, -1, 0x7, None, None),
}

OF_ML_DTYPES = {
    "bfloat16": ml_dtypes.bfloat16,
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e4m3": ml_dtypes.float8_e4m3,
    "e3m4": ml_dtypes.float8_e3m4,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "e8m0fnu": ml_dtypes.float8_e8m0fnu,
    "e2m3fn": ml_dtypes.float6_e2m3fn,
    "e3m2fn": ml_dtypes.float6_e3m2fn,
    "e2m1fn": ml_dtypes.float4_e2m1fn,
}
OF_GFLOAT = {
    fe.get_format(info.name).name: info
    for info in (
        gfloat.formats.format_info_binary16,
        gfloat.formats.format_info_binary32,
        gfloat.formats.format_info_binary64,
        gfloat.formats.format_info_bfloat16,
        gfloat.formats.format_info_ocp_e4m3,
        gfloat.formats.format_info_ocp_e5m2,
        gfloat.formats.format_info_ocp_e2m3,
        gfloat.formats.format_info_ocp_e3m2,
        gfloat.formats.format_info_ocp_e2m1,
    )
}


def test_every_named_format_is_in_the_table_of_standards() -> None:
    assert set(fe.FORMATS) == set(STANDARDS)


@pytest.mark.parametrize("name", STANDARDS)
def test_landmarks_of_the_standards(name: str) -> None:
    k, p, bias, emax, largest, normal, positive, max_code, inf_code, nan_code = STANDARDS[name]
    fmt = fe.FORMATS[name]
    assert (fmt.k, fmt.p, fmt.bias, fmt.emax, fmt.max) == (k, p, bias, emax, largest)
    assert (fmt.emin, fmt.min_normal, fmt.qmin, fmt.min_positive) == (normal, TWO**normal, positive, TWO**positive)
    assert (fmt.max_code, fmt.inf_code, fmt.nan_code) == (max_code, inf_code, nan_code)
    assert fmt.min == (-fmt.max if fmt.signed else fmt.min_positive)
    assert (fmt.infinities, fmt.has_nan) == (inf_code is not None, nan_code is not None)


@pytest.mark.parametrize("name", STANDARDS)
def test_finfo_says_the_same(name: str) -> None:
    fmt, info = fe.FORMATS[name], fe.finfo(name)
    assert info.fmt == fmt
    assert (info.bits, info.precision, info.emin, info.emax) == (fmt.k, fmt.p, fmt.emin, fmt.emax)
    assert (Fraction(info.max), Fraction(info.min)) == (fmt.max, fmt.min)
    assert (Fraction(info.smallest_normal), Fraction(info.smallest_subnormal)) == (fmt.min_normal, fmt.min_positive)
    assert (Fraction(info.eps), Fraction(info.unit_roundoff)) == (TWO ** (1 - fmt.p), TWO**-fmt.p)


@pytest.mark.parametrize("name", ["binary16", "binary32", "binary64"])
def test_finfo_equals_numpy(name: str) -> None:
    ours, theirs = fe.finfo(name), np.finfo(name.replace("binary", "float"))
    assert (ours.max, ours.min, ours.eps) == (theirs.max, theirs.min, theirs.eps)
    assert (ours.smallest_normal, ours.smallest_subnormal) == (theirs.smallest_normal, theirs.smallest_subnormal)


@pytest.mark.parametrize("name", OF_ML_DTYPES)
def test_finfo_equals_ml_dtypes(name: str) -> None:
    ours, theirs = fe.finfo(name), ml_dtypes.finfo(OF_ML_DTYPES[name])
    assert (ours.bits, ours.precision - 1) == (theirs.bits, theirs.nmant)
    assert (ours.max, ours.min, ours.eps) == (float(theirs.max), float(theirs.min), float(theirs.eps))
    assert ours.smallest_normal == float(theirs.smallest_normal)
    assert ours.smallest_subnormal == float(theirs.smallest_subnormal)


def compare_with_gfloat(fmt: fe.Format, info: gfloat.FormatInfo) -> None:
    assert (fmt.k, fmt.p, fmt.bias, fmt.signed) == (info.k, info.precision, info.bias, info.is_signed)
    assert (float(fmt.max), float(fmt.min)) == (info.max, info.min)
    assert (fmt.max_code, fmt.negative_zero, fmt.infinities) == (info.code_of_max, info.has_nz, info.num_posinfs == 1)
    assert float(fmt.min_positive) == info.smallest
    if fmt.infinities:
        assert fmt.inf_code == info.code_of_posinf
    assert fmt.has_nan == (info.num_nans > 0)


@pytest.mark.parametrize("name", OF_GFLOAT)
def test_landmarks_equal_gfloat(name: str) -> None:
    compare_with_gfloat(fe.FORMATS[name], OF_GFLOAT[name])


P3109 = [
    (k, p, signed, extended)
    for k in (3, 4, 5, 8, 12, 16)
    for signed in (True, False)
    for p in range(1, k + (not signed))
    for extended in (True, False)
    if 2 ** (k - p) < 1000  # gfloat computes landmarks in binary64
]


@pytest.mark.parametrize(("k", "p", "signed", "extended"), P3109)
def test_p3109_landmarks_equal_gfloat(k: int, p: int, signed: bool, extended: bool) -> None:
    signedness = Signedness.Signed if signed else Signedness.Unsigned
    domain = Domain.Extended if extended else Domain.Finite
    compare_with_gfloat(fe.p3109(k, p, signed, extended), gfloat.formats.format_info_p3109(k, p, signedness, domain))


@pytest.mark.parametrize(("k", "p", "signed", "extended"), P3109)
def test_p3109_landmarks_follow_the_report(k: int, p: int, signed: bool, extended: bool) -> None:
    """Sections 3 and 4.14: the formulas as they are printed there, not as Format derives them."""
    fmt = fe.p3109(k, p, signed, extended)
    bias = 2 ** (k - p - 1) if signed else 2 ** (k - p)
    letters = ("s" if signed else "u") + ("e" if extended else "f")
    if p == 1:
        emax = {"ue": 2 ** (k - 1) - 3, "uf": 2 ** (k - 1) - 2, "se": 2 ** (k - 2) - 2, "sf": 2 ** (k - 2) - 1}[letters]
    elif p == 2 and letters == "ue":
        emax = 2 ** (k - 2) - 2
    else:
        emax = 2 ** (k - p - (1 if signed else 0)) - 1
    scaled = {"sf": 2**p - 1, "se": 2**p - 2, "uf": 2**p - 2, "ue": 3 if p == 2 else 2**p - 3}[letters] if p > 1 else 1
    assert fmt.name == f"binary{k}p{p}{letters}"
    assert (fmt.bias, fmt.emax, fmt.max) == (bias, emax, scaled * TWO ** (1 - p) * TWO**emax)
    assert (fmt.min_positive, fmt.min_normal) == (TWO ** (2 - p - bias), TWO ** (1 - bias))
    top = 2 ** (k - 1) if signed else 2**k - 1
    assert (fmt.nan_code, fmt.inf_code) == (top, top - 1 if extended else None)
    assert fmt.max_code == top - 1 - extended
    assert fmt.min == (-fmt.max if signed else 0)
    assert fe.encode(1.0, fmt) == (2 ** (k - 2) if signed else 2 ** (k - 1))
    assert not fmt.negative_zero


@pytest.mark.parametrize(
    ("name", "bias", "largest", "max_code", "normal", "positive"),
    [
        ("Binary8p4se", 8, 224, 0x7E, -7, -10),
        ("Binary8p4sf", 8, 240, 0x7F, -7, -10),
        ("Binary8p3se", 16, 49152, 0x7E, -15, -17),
        ("Binary8p1uf", 128, TWO**126, 0xFE, -127, -127),
        ("Binary8p4ue", 16, 53248, 0xFD, -15, -18),
        ("Binary8p4uf", 16, 57344, 0xFE, -15, -18),
        ("Binary12p7se", 16, 64512, 0x7FE, -15, -21),
        ("Binary4p2sf", 2, 3, 0x7, -1, -2),
    ],
)
def test_p3109_table_of_examples(name: str, bias: int, largest: int, max_code: int, normal: int, positive: int) -> None:
    fmt = fe.get_format(name)
    assert (fmt.bias, fmt.max, fmt.max_code) == (bias, largest, max_code)
    assert (fmt.min_normal, fmt.min_positive) == (TWO**normal, TWO**positive)


def test_p3109_all_values_of_four_bits() -> None:
    nan, inf = np.nan, np.inf
    positive = [0, 0.25, 0.5, 0.75, 1, 1.5, 2]
    for name, top in (("binary4p2sf", 3), ("binary4p2se", inf)):
        half = [*positive, top]
        assert np.array_equal(fe.values(name), [*half, nan, *(-value for value in half[1:])], equal_nan=True)
    low = [0, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 1.5, 2, 3, 4, 6]
    for name, top in (("binary4p2uf", 8), ("binary4p2ue", inf)):
        assert np.array_equal(fe.values(name), [*low, top, nan], equal_nan=True)


def test_trap_17_p3109_bias_and_nan() -> None:
    """Binary8p1se has bias 2^6, so code 1 is 2^-63; NaN lies at 0x80 signed and at 2^K - 1 unsigned."""
    assert fe.decode(np.array([0x01], np.uint8), "binary8p1se")[0] == 2.0**-63
    assert fe.p3109(8, 1).nan_code == 0x80
    assert fe.p3109(8, 1, signed=False).nan_code == 0xFF


def test_equal_numbers_are_equal_formats_whatever_the_name() -> None:
    again = fe.Format("mine", k=8, p=4, infinities=False, high_nans=1)
    assert again == fe.FORMATS["e4m3fn"]
    assert hash(again) == hash(fe.FORMATS["e4m3fn"])
    # The same 256 values, but another overflow: another format.
    fnuz, p3109 = fe.FORMATS["e4m3fnuz"], fe.p3109(8, 4, extended=False)
    assert np.array_equal(fe.values(fnuz), fe.values(p3109), equal_nan=True)
    assert fnuz != p3109


def test_formats_are_frozen() -> None:
    with pytest.raises(AttributeError):
        fe.FORMATS["e4m3fn"].bias = 8  # type: ignore[misc]
    with pytest.raises(TypeError):
        fe.FORMATS["mine"] = fe.FORMATS["e4m3fn"]  # type: ignore[index]


@pytest.mark.parametrize("fmt", [fmt for fmt in fe.FORMATS.values() if fmt.k <= 16], ids=lambda fmt: fmt.name)
def test_holds_is_inclusion_of_value_sets(fmt: fe.Format) -> None:
    mine = {value for value in fe.values(fmt).tolist() if np.isfinite(value)}
    for other in fe.FORMATS.values():
        if other.k <= 8:
            theirs = {value for value in fe.values(other).tolist() if np.isfinite(value)}
            assert fmt.holds(other) == (theirs <= mine), f"{fmt.name} {other.name}"


@given(formats(max_p=5, max_exponent_bits=3), formats(max_p=5, max_exponent_bits=3), st.integers(-2, 2))
@example(
    fe.Format("full", k=4, p=3, infinities=False),
    fe.Format("flushing", k=4, p=3, subnormals=False, infinities=False),
    2,
)
def test_holds_never_promises_too_much(mine: fe.Format, other: fe.Format, shift: int) -> None:
    """A carrier that is said to hold a format holds each of its finite values."""
    other = dataclasses.replace(other, bias=mine.bias + shift)
    pairs = ((mine, other), (other, mine), (mine, mine))
    for holder, held in pairs:
        values = [{v.value for v in finite(fmt)} for fmt in (holder, held)]
        if holder.holds(held):
            assert values[1] <= values[0], f"{holder!r} does not hold {held!r}: {sorted(values[1] - values[0])}"
    assert mine.holds(mine)


def finite(fmt: fe.Format) -> list[reference.Datum]:
    decoded = [reference.decode(code, fmt) for code in range(2**fmt.k)]
    return [datum for datum in decoded if datum.kind == "finite"]


def test_holds_counts_the_quantum_of_the_least_normal() -> None:
    """Without subnormals the finest quantum is that of the lowest binade, p - 1 bits below 2^emin."""
    low = fe.Format("low", k=43, p=43, bias=1034, signed=False, subnormals=False, infinities=False)
    assert low.max == (2 - TWO**-42) * TWO**-1033
    assert not fe.FORMATS["binary64"].holds(low)
    assert fe.FORMATS["binary64"].holds(dataclasses.replace(low, bias=1032))
    assert isinstance(fe.round(1.0, low), Fraction)
    assert fe.round(1.0, low) == low.max
