"""Codes: all of them decoded, encoded again, and walked in order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracles
import pytest
from oracles import P3109_SMALL, assert_bits

import floatemu as fe
from floatemu import reference

NARROW = [fmt for fmt in fe.FORMATS.values() if fmt.k <= 16]
WIDER_P3109 = [
    fe.p3109(k, p, signed, extended)
    for k in (9, 12, 16)
    for p in (7, 8)
    for signed in (True, False)
    for extended in (True, False)
]
FLUSHING = [
    fe.Format("flushing", k=6, p=3, subnormals=False),
    fe.Format("flushing_fnuz", k=6, p=3, subnormals=False, negative_zero=False, infinities=False),
    fe.Format("many_nans", k=7, p=4, high_nans=21),
    fe.Format("powers_without_nan", k=4, p=1, signed=False, zero=False, infinities=False),
]


def unsigned(k: int) -> np.dtype:
    return np.dtype(np.uint8 if k <= 8 else np.uint16 if k <= 16 else np.uint32 if k <= 32 else np.uint64)


def check(fmt: fe.Format) -> None:
    codes = np.arange(2**fmt.k, dtype=unsigned(fmt.k))
    right = np.array([float(reference.decode(int(code), fmt)) for code in codes])
    values = fe.decode(codes, fmt)
    assert_bits(values, right, codes, fmt.name)
    assert_bits(fe.values(fmt), right, codes, fmt.name)
    again = fe.encode(values, fmt, nan="zero")
    canonical = [reference.encode(reference.decode(int(code), fmt), fmt) for code in codes]
    assert_bits(again, np.array(canonical, unsigned(fmt.k)), codes, fmt.name)
    assert_bits(fe.decode(again, fmt), values, codes, fmt.name)
    assert_bits(fe.round(values, fmt, nan="zero"), right, codes, fmt.name)


@pytest.mark.parametrize("fmt", [*NARROW, *FLUSHING], ids=lambda fmt: fmt.name)
def test_every_code_of_a_named_format_comes_back(fmt: fe.Format) -> None:
    check(fmt)


@pytest.mark.parametrize("fmt", P3109_SMALL, ids=lambda fmt: fmt.name)
def test_every_code_of_p3109_up_to_eight_bits_comes_back(fmt: fe.Format) -> None:
    check(fmt)


@pytest.mark.slow
@pytest.mark.parametrize("fmt", WIDER_P3109, ids=lambda fmt: fmt.name)
def test_every_code_of_wider_p3109_comes_back(fmt: fe.Format) -> None:
    check(fmt)


@pytest.mark.parametrize("name", ["tf32", "binary32", "binary64"])
def test_codes_of_wide_formats_come_back(name: str) -> None:
    fmt = fe.FORMATS[name]
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2**fmt.k, 20_000, dtype=np.uint64)
    edges = [0, 1, 2**fmt.trailing_bits - 1, 2**fmt.trailing_bits, fmt.max_code, fmt.inf_code]
    codes = np.concatenate([codes, np.array(edges + [edge + fmt.sign_code for edge in edges], np.uint64)])
    codes = codes.astype(unsigned(fmt.k))
    if name == "tf32":
        with np.errstate(invalid="ignore"):
            right = (codes << np.uint32(13)).view(np.float32).astype(np.float64)
    else:
        with np.errstate(invalid="ignore"):
            right = codes.view(f"f{fmt.k // 8}").astype(np.float64)
    right = np.where(np.isnan(right), np.nan, right)
    values = fe.decode(codes, fmt)
    assert_bits(values, right, codes, name)
    canonical = np.where(np.isnan(right), fmt.nan_code, codes).astype(codes.dtype)
    assert_bits(fe.encode(values, fmt), canonical, codes, name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_decode_into_any_dtype_that_holds_the_format(dtype: type) -> None:
    for name in ("e4m3fn", "e5m2", "e2m1fn", "binary8p4ue"):
        codes = np.arange(2 ** fe.get_format(name).k, dtype=np.uint8)
        assert_bits(fe.decode(codes, name, dtype=dtype), fe.decode(codes, name).astype(dtype), codes, name)


@pytest.mark.parametrize(("name", "dtype"), [("e8m0fnu", "f2"), ("bfloat16", "f2"), ("binary64", "f4")])
def test_decode_refuses_a_dtype_that_cannot_hold_the_format(name: str, dtype: str) -> None:
    with pytest.raises(fe.UnsupportedError, match=name):
        fe.decode(np.array([1], np.uint64), name, dtype=dtype)


def test_decode_refuses_codes_that_are_none() -> None:
    with pytest.raises(fe.FormatError, match="16"):
        fe.decode(np.array([16], np.uint8), "e2m1fn")
    with pytest.raises(fe.FormatError, match="-1"):
        fe.decode(np.array([-1]), "e2m1fn")
    with pytest.raises(fe.UnsupportedError):
        fe.decode(np.array([1.0]), "e2m1fn")


WIDTHS = {2: "u1", 8: "u1", 9: "u2", 16: "u2", 17: "u4", 32: "u4", 33: "u8"}


@pytest.mark.parametrize(("k", "dtype"), WIDTHS.items())
def test_encode_gives_the_smallest_unsigned_dtype(k: int, dtype: str) -> None:
    assert fe.encode(
        np.array([1.0]), fe.Format("f", k=k, p=min(k - 1, 10 if k < 20 else 20), infinities=k > 2)
    ).dtype == np.dtype(dtype)


def test_values_of_wide_formats_are_refused() -> None:
    with pytest.raises(fe.UnsupportedError, match="tf32"):
        fe.values("tf32")


@pytest.mark.parametrize("fmt", [fmt for fmt in NARROW if fmt.k <= 8] + FLUSHING, ids=lambda fmt: fmt.name)
def test_neighbours_ulps_and_membership(fmt: fe.Format) -> None:
    grid = oracles.grid(fmt)
    x = grid.values[:-1]
    signs = (1, -1) if fmt.signed else (1,)
    for sign in signs:
        outward = sign * np.inf
        # Adding 0.0 drops the sign of a zero: which zero is met from below is a matter of its own.
        assert_bits(fe.nextafter(sign * x[:-1], outward, fmt), sign * x[1:], x[:-1], fmt.name)
        assert_bits(fe.nextafter(sign * x[1:], 0.0, fmt) + 0.0, sign * x[:-1] + 0.0, x[1:], fmt.name)
        assert fe.isrepresentable(sign * x[x > 0], fmt).all()
        assert not fe.isrepresentable(sign * (x[:-1] + x[1:]) / 2, fmt).any()
    quantum = [2.0 ** (max(int(np.floor(np.log2(value))), fmt.emin) - fmt.p + 1) if value else 0.0 for value in x]
    quantum = np.maximum(quantum, 2.0**fmt.qmin)
    if fmt.subnormals or fmt.p == 1:
        assert_bits(fe.ulp(x, fmt), quantum, x, fmt.name)
    top = fe.nextafter(float(fmt.max), np.inf, fmt)
    assert top == (np.inf if fmt.infinities else float(fmt.max))
    assert not fe.isrepresentable(grid.values[-1], fmt)


def test_special_values_are_members_where_they_exist() -> None:
    x = [np.inf, -np.inf, np.nan, 0.0, -0.0]
    assert fe.isrepresentable(x, "e5m2").tolist() == [True] * 5
    assert fe.isrepresentable(x, "e4m3fn").tolist() == [False, False, True, True, True]
    assert fe.isrepresentable(x, "e4m3fnuz").tolist() == [False, False, True, True, False]
    assert fe.isrepresentable(x, "e2m1fn").tolist() == [False, False, False, True, True]
    assert fe.isrepresentable(x, "e8m0fnu").tolist() == [False, False, True, False, False]
    assert fe.isrepresentable(x, "binary8p4ue").tolist() == [True, False, True, True, False]


def test_ulp_between_values() -> None:
    assert fe.ulp([0.1, 464.0, 2.0**-12, -3.5], "e4m3fn").tolist() == [2.0**-7, 32.0, 2.0**-9, 0.25]
    assert np.isnan(fe.ulp([np.inf, np.nan], "e4m3fn")).all()


def test_neighbours_of_numbers_between_values() -> None:
    assert fe.nextafter([0.1, 0.1, -0.1, -0.1], [1, -1, 1, -1], "e4m3fn").tolist() == [
        0.1015625,
        0.09375,
        -0.09375,
        -0.1015625,
    ]
    assert fe.nextafter(float(Fraction(1, 3)), 1.0, "e2m1fn") == 0.5
