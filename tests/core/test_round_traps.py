"""Cases on which emulators, libraries and hardware models were found wrong; the numbers are their labels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import oracles
import pytest
from oracles import SATURATIONS, Draw, assert_bits

import floatemu as fe
from floatemu import Rounding, Saturation

NONE, FINITE, PROPAGATE = SATURATIONS
TO_ODD = Rounding.TO_ODD


def carriers(x: float | Fraction) -> list[Any]:
    """The same number in every carrier that holds it."""
    given: list[Any] = [Fraction(x), mpmath.mpf(float(x)), np.array([float(x)]), np.array([float(x)]).astype(">f8")]
    if Fraction(float(x)) == x:
        given.append(float(x))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
            narrow = np.array([float(x)]).astype(dtype)
            if float(narrow[0]) == x:
                given.append(narrow)
    return given


def gives(x: float | Fraction, fmt: str, wanted: float, **arguments: Any) -> None:
    """Every carrier, the value and the code faces give the wanted bits."""
    for given in carriers(x):
        got = np.asarray(fe.round(given, fmt, **arguments)).astype(np.float64)
        assert_bits(got.ravel(), np.array([wanted], np.float64), None, f"{given!r} to {fmt} {arguments}")
        code = np.asarray(fe.encode(given, fmt, **arguments))
        assert_bits(
            np.asarray(fe.decode(code, fmt)).ravel(), np.array([wanted], np.float64), None, f"codes of {given!r}"
        )


@pytest.mark.parametrize(
    ("x", "fmt", "right", "through_float32"),
    [
        (1 + 2.0**-4 + 2.0**-40, "e4m3fn", 1.125, 1.0),
        (1 + 2.0**-8 + 2.0**-40, "bfloat16", 1.0078125, 1.0),
        (1 + 2.0**-11 + 2.0**-40, "binary16", 1.0009765625, 1.0),
        (2.0**-25 + 2.0**-60, "binary16", 2.0**-24, 0.0),
    ],
)
def test_trap_01_double_rounding_of_float64(x: float, fmt: str, right: float, through_float32: float) -> None:
    gives(x, fmt, right)
    gives(-x, fmt, -right)
    # The shortcut is wrong, which is what makes this a trap.
    assert fe.round(np.float32(x), fmt) == through_float32


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_trap_02_double_rounding_of_integers(dtype: type) -> None:
    n = 2**24 + 2**16 + 1
    assert n == 16842753
    assert fe.round(n, "bfloat16") == 16908288
    assert fe.round(np.array([n], dtype), "bfloat16")[0] == 16908288
    assert fe.round(np.array([n]).astype(np.float32), "bfloat16")[0] == 16777216  # what the float32 route gives


def test_trap_02_integers_beyond_binary64() -> None:
    n = 2**62 + 2**38 + 1  # binary64 would drop the 1 and leave a tie of binary32
    for given in (n, np.array([n], np.int64), np.array([n], np.uint64)):
        assert np.ravel(fe.round(given, "binary32"))[0] == 2**62 + 2**39
        assert np.ravel(fe.round(np.negative(np.array([n])), "binary32"))[0] == -(2**62 + 2**39)
    assert float(n) == 2**62 + 2**38


def test_trap_03_chained_narrowing() -> None:
    x = 1 + 2.0**-4 + 2.0**-12
    assert fe.round(x, "e4m3fn") == 1.125
    assert fe.round(fe.round(x, "binary16"), "e4m3fn") == 1.0
    y = np.float32(1 + 2.0**-4 + 2.0**-9)
    assert fe.round(y, "e4m3fn") == 1.125
    assert fe.round(fe.round(y, "bfloat16"), "e4m3fn") == 1.0


def test_trap_09_nearest_is_not_floor_of_x_plus_a_half() -> None:
    x = np.nextafter(np.float32(2.0**-25), np.float32(0))
    gives(float(x), "binary16", 0.0)
    gives(0.49999997019767761, "binary4p4uf", 0.5)
    gives(float(np.nextafter(0.0625, 0)), "binary4p4uf", 0.0)


def test_trap_10_exponent_just_below_a_power_of_two() -> None:
    """floor(log2(x)) by floating-point logarithm is one too large there."""
    for exponent in range(-14, 15):
        for x in (np.nextafter(2.0**exponent, 0), float(np.nextafter(np.float32(2.0**exponent), np.float32(0)))):
            below = 2.0**exponent - max(2.0 ** (exponent - 11), 2.0**-24)
            gives(float(x), "binary16", below, rounding="toward_zero")
            gives(float(x), "binary16", 2.0**exponent)
            assert fe.ulp(float(x), "binary16") == max(2.0 ** (exponent - 11), 2.0**-24)


@pytest.mark.parametrize(
    ("fmt", "x", "none", "finite"),
    [
        ("e4m3fn", 463.99, 448, 448),
        ("e4m3fn", 464.0, 448, 448),  # a tie: 448 is even
        ("e4m3fn", 464.0001, np.nan, 448),
        ("e5m2", 61440.0, np.inf, 57344),
        ("e5m2", 61439.99, 57344, 57344),
        ("binary16", 65519.99, 65504, 65504),
        ("binary16", 65520.0, np.inf, 65504),
        ("e4m3fnuz", 248.0, np.nan, 240),  # a tie: 240 is odd
        ("e4m3fnuz", 247.99, 240, 240),
        ("bfloat16", float((2 - Fraction(1, 256)) * 2**127), np.inf, float(fe.FORMATS["bfloat16"].max)),
    ],
)
def test_trap_11_ties_at_the_top(fmt: str, x: float, none: float, finite: float) -> None:
    gives(x, fmt, none)
    gives(-x, fmt, -none if not np.isnan(none) else none)
    gives(x, fmt, finite, saturation=FINITE)
    gives(-x, fmt, -finite, saturation=PROPAGATE)


def test_trap_12_infinity_into_e4m3fn_is_a_named_choice() -> None:
    for x in (np.inf, -np.inf):
        sign = np.copysign(1.0, x)
        for mode in oracles.DETERMINISTIC:
            for saturation, wanted in ((NONE, np.nan), (FINITE, 448.0 * sign), (PROPAGATE, 448.0 * sign)):
                for given in (x, np.array([x]), np.array([x], np.float32), np.array([x], np.float16)):
                    got = np.ravel(fe.round(given, "e4m3fn", mode, saturation=saturation)).astype(np.float64)
                    assert_bits(got, np.array([wanted]))


@pytest.mark.parametrize("fmt", ["e2m1fn", "e2m3fn", "e3m2fn"])
def test_trap_13_nan_into_formats_without_nan(fmt: str) -> None:
    x = np.array([[1.0, 2.0], [np.nan, -np.nan]])
    for face in (fe.round, fe.encode, fe.round_with_flags):
        with pytest.raises(fe.ProjectionError, match=r"\(1, 0\)") as caught:
            face(x, fmt)
        assert "nan=" in str(caught.value)
        assert fmt in str(caught.value)
    with pytest.raises(fe.ProjectionError, match="nan="):
        fe.round(float("nan"), fmt)
    top = float(fe.FORMATS[fmt].max)
    assert_bits(fe.round(x, fmt, nan="zero"), np.array([[1.0, 2.0], [0.0, 0.0]]))
    assert_bits(fe.round(x, fmt, nan="max"), np.array([[1.0, 2.0], [top, top]]))
    _, flags = fe.round_with_flags(x, fmt, nan="max")
    assert flags.tolist() == [[0, 0], [fe.Flag.INVALID, fe.Flag.INVALID]]
    with pytest.raises(fe.ProjectionError, match=r"nan='inf'.*zero.*max"):
        fe.round(x, fmt, nan="inf")


@pytest.mark.parametrize("fmt", ["e2m1fn", "e2m3fn", "e3m2fn"])
def test_trap_13_zero_over_zero_is_refused_too(fmt: str) -> None:
    with pytest.raises(fe.ProjectionError, match="nan="):
        fe.div(0.0, 0.0, fmt)
    top = float(fe.FORMATS[fmt].max)
    assert_bits(np.asarray(fe.div([0.0, 1.0], 0.0, fmt, nan="zero"), np.float64), np.array([0.0, top]))


@pytest.mark.parametrize("fmt", ["e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz", "binary8p4se", "binary8p3sf", "binary6p2ue"])
def test_trap_14_no_negative_zero_where_the_format_has_none(fmt: str) -> None:
    tiny = float(fe.get_format(fmt).min_positive)
    for x in (-0.0, -tiny / 4, -5e-324, 0.0, tiny / 4):
        for given in (x, np.array([x]), np.array([x], np.float32)):
            for mode in (Rounding.NEAREST_TIES_TO_EVEN, Rounding.TOWARD_ZERO, Rounding.TOWARD_POSITIVE):
                if x > 0 and mode is Rounding.TOWARD_POSITIVE:
                    continue
                got = np.ravel(fe.round(given, fmt, mode)).astype(np.float64)
                assert_bits(got, np.array([0.0]), given, fmt)
                assert np.ravel(fe.encode(given, fmt, mode))[0] == 0


def test_trap_14_negative_zero_is_kept_where_the_format_has_it() -> None:
    for fmt in ("e4m3fn", "e5m2", "e2m1fn", "bfloat16", "binary64"):
        for x in (-0.0, Fraction(-1, 10**400)):
            assert_bits(np.float64(fe.round(x, fmt)), np.float64(-0.0))
            assert fe.encode(x, fmt) == fe.get_format(fmt).sign_code
        assert_bits(fe.round(np.array([-0.0, 0.0]), fmt), np.array([-0.0, 0.0]))


NAN_BITS = [0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0xFF800001, 0x7FC00000, 0xFFC00000, 0x7FBFFFFF]


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("fmt", ["bfloat16", "binary16", "e5m2", "e4m3fn", "e4m3fnuz", "e8m0fnu", "binary8p4ue"])
def test_trap_15_every_nan_becomes_the_canonical_one(fmt: str, mode: Rounding) -> None:
    arguments: dict[str, Any] = {"rounding": mode}
    if mode.stochastic:
        arguments |= {"random_bits": 8, "random": 255}
    target = fe.get_format(fmt)
    single = np.array(NAN_BITS, np.uint32).view(np.float32)
    double = np.array([0x7FF0000000000001, 0xFFF0000000000001, 0x7FFFFFFFFFFFFFFF, 2**64 - 1], np.uint64).view(
        np.float64
    )
    half = np.array([0x7C01, 0xFC01, 0x7FFF, 0xFFFF], np.uint16).view(np.float16)
    brain = np.array([0x7F81, 0xFF81, 0x7FFF, 0xFFFF], np.uint16).view(ml_dtypes.bfloat16)
    canonical = {2: 0x7E00, 4: 0x7FC00000, 8: 0x7FF8000000000000}
    for saturation in SATURATIONS:
        for x in (single, double, half, brain):
            values, flags = fe.round_with_flags(x, fmt, saturation=saturation, **arguments)
            bits = 0x7FC0 if values.dtype == ml_dtypes.bfloat16 else canonical[values.dtype.itemsize]
            assert set(oracles.bits(values).tolist()) == {bits}
            assert not flags.any()
            assert set(fe.encode(x, fmt, saturation=saturation, **arguments).tolist()) == {target.nan_code}


def test_trap_15_canonical_nan_codes() -> None:
    codes = {"bfloat16": 0x7FC0, "binary16": 0x7E00, "e5m2": 0x7E, "e4m3fn": 0x7F, "e4m3fnuz": 0x80, "e8m0fnu": 0xFF}
    for fmt, code in codes.items():
        assert fe.encode(float("nan"), fmt) == code


@pytest.mark.parametrize(
    ("x", "none", "finite"),
    [
        (0.0, np.nan, 2.0**-127),
        (-0.0, np.nan, 2.0**-127),
        (-1.0, np.nan, 2.0**-127),
        (-np.inf, np.nan, 2.0**-127),
        (3.0, 2.0, 2.0),  # a tie goes to the even code: 2 has code 128, 4 has 129
        (1.5, 2.0, 2.0),
        (6.0, 8.0, 8.0),
        (1.5 * 2.0**127, 2.0**127, 2.0**127),  # code 254 is even, so the tie at the top stays in range
        (float(np.nextafter(1.5 * 2.0**127, np.inf)), np.nan, 2.0**127),
        (2.0**-130, 2.0**-127, 2.0**-127),
        (5e-324, 2.0**-127, 2.0**-127),
        (np.inf, np.nan, 2.0**127),
        (np.nan, np.nan, np.nan),
    ],
)
def test_trap_16_e8m0(x: float, none: float, finite: float) -> None:
    for given in (x, np.array([x]), np.array([x], ">f8")):
        for saturation, wanted in ((NONE, none), (FINITE, finite), (PROPAGATE, finite)):
            got = np.ravel(fe.round(given, "e8m0fnu", saturation=saturation)).astype(np.float64)
            assert_bits(got, np.array([wanted]), given, saturation.name)
            code = np.ravel(fe.encode(given, "e8m0fnu", saturation=saturation))[0]
            assert code == (0xFF if np.isnan(wanted) else int(np.log2(wanted)) + 127)


@pytest.mark.parametrize("mode", oracles.DETERMINISTIC)
def test_trap_16_e8m0_least_value_in_every_mode(mode: Rounding) -> None:
    for saturation in SATURATIONS:
        for x in (2.0**-127, 2.0**-128, 1e-300, 5e-324):
            assert fe.round(x, "e8m0fnu", mode, saturation=saturation) == 2.0**-127
        assert np.isnan(fe.round(-1e-300, "e8m0fnu", mode, saturation=saturation)) == (saturation is NONE)


def test_trap_17_p3109_conversions() -> None:
    assert fe.round(1e9, "binary8p4sf") == 240  # finite domain: the largest value, not NaN
    assert_bits(np.float64(fe.round(-0.0, "binary8p4se")), np.float64(0.0))
    ue = "binary8p4ue"
    for mode, wanted in (
        (Rounding.NEAREST_TIES_TO_EVEN, np.nan),
        (Rounding.TOWARD_ZERO, 0.0),
        ("toward_positive", 0.0),
    ):
        assert_bits(np.float64(fe.round(-1.0, ue, mode)), np.float64(wanted))
    for saturation in (FINITE, PROPAGATE):
        assert_bits(np.float64(fe.round(-1.0, ue, saturation=saturation)), np.float64(0.0))
    assert fe.round(np.inf, ue, saturation=PROPAGATE) == np.inf
    assert fe.round(np.inf, "binary8p4uf", saturation=PROPAGATE) == 57344
    assert fe.round(1e9, ue, TO_ODD) == 53248
    assert fe.round(1e9, "binary8p4se", TO_ODD) == np.inf


def test_trap_18_round_to_odd_overflow() -> None:
    assert fe.round(1e300, "binary16", TO_ODD) == np.inf
    assert fe.round(1e300, "binary16", TO_ODD, saturation=FINITE) == 65504
    assert fe.round(-1e300, "binary16", TO_ODD) == -np.inf
    assert fe.round(65535.0, "binary16", TO_ODD) == 65504  # rounds within the range: 65504 is odd


def test_trap_18_round_to_odd_keeps_exact_values_and_makes_odd_codes() -> None:
    x = fe.values("binary16")
    x = x[np.isfinite(x)]
    assert_bits(fe.round(x, "binary16", TO_ODD), x)
    between = np.concatenate([np.nextafter(x[1:31743], np.inf), np.nextafter(x[1:31743], 0)])
    assert (fe.encode(between, "binary16", TO_ODD) % 2 == 1).all()


@pytest.mark.parametrize(
    ("nu", "a", "b", "c"),
    [
        (Fraction(1, 8), 0, 1, 0),
        (Fraction(3, 10), 1, 1, 1),
        (Fraction(4, 10), 1, 2, 2),
        (Fraction(7, 8), 3, 4, 4),
        (Fraction(9, 10), 3, 4, 4),
        (Fraction(1, 10), 0, 0, 0),
    ],
)
def test_trap_20_stochastic_counts(nu: Fraction, a: int, b: int, c: int) -> None:
    """How many of R = 0..3 (N = 2) round 1 + nu/8 up; B and C always do when nu rounds to 1."""
    x = 1 + nu / 8
    for mode, count in zip(oracles.STOCHASTIC, (a, b, c), strict=True):
        for given in (x, np.array([float(x)]), mpmath.mpf(x.numerator) / x.denominator):
            drawn = [np.ravel(fe.round(given, "e4m3fn", mode, random_bits=2, random=r))[0] for r in range(4)]
            assert sorted(set(drawn) - {1.0, 1.125}) == []
            assert drawn.count(1.125) == count


@pytest.mark.parametrize("n", [8, 16, 24, 32])
def test_trap_20_stochastic_carry_with_many_bits(n: int) -> None:
    """nu within 2^-(N+1) of 1 goes away in B and C whatever R is; in A all but one R take it away."""
    x = 1 + (1 - Fraction(1, 2 ** (n + 2))) / 8
    for given in (x, np.array([float(x)])):
        for mode in oracles.STOCHASTIC:
            for r in (0, 1, 2**n - 1):
                got = np.ravel(fe.round(given, "e4m3fn", mode, random_bits=n, random=r))[0]
                assert got == (1.0 if mode is Rounding.STOCHASTIC_A and r == 0 else 1.125)


def test_trap_21_stochastic_at_the_top() -> None:
    for saturation, top in ((NONE, np.nan), (FINITE, 448.0), (PROPAGATE, 448.0)):
        got = fe.round(
            np.full(8, 460.0), "e4m3fn", "stochastic_c", random_bits=3, random=np.arange(8), saturation=saturation
        )
        assert_bits(got, np.array([448.0] * 5 + [top] * 3))


def test_trap_21_stochastic_is_biased_at_the_top() -> None:
    """The mean over R is x inside the range, and the largest value, 12 too small, for 460 with saturation."""
    for mode in oracles.STOCHASTIC:
        drawn: dict[str, Any] = {"random_bits": 3, "random": np.arange(8), "saturation": FINITE}
        for x in (420.0, 440.0, 444.0):
            assert fe.round(np.full(8, x), "e4m3fn", mode, **drawn).mean() == x
        assert fe.round(np.full(8, 460.0), "e4m3fn", mode, **drawn).mean() == 448


def test_trap_21_stochastic_never_moves_exact_values() -> None:
    for name in ("e4m3fn", "binary16", "bfloat16"):
        x = fe.values(name)
        x = x[np.isfinite(x)]
        for mode in oracles.STOCHASTIC:
            assert_bits(fe.round(x, name, mode, random_bits=32, random=2**32 - 1), x)
            assert_bits(fe.round(x, name, mode, seed=3, stream=4), x)


def test_trap_21_stochastic_subnormals_use_the_subnormal_quantum() -> None:
    quantum = 2.0**-9
    x = np.full(256, 3 * quantum + quantum * 0.25)
    for mode in oracles.STOCHASTIC:
        got = fe.round(x, "e4m3fn", mode, random_bits=8, random=np.arange(256))
        assert np.count_nonzero(got == 4 * quantum) == 64
        assert np.count_nonzero(got == 3 * quantum) == 192
    # Below the least value, from a float32 source with its own subnormals.
    tiny = np.full(256, 2.0**-140, np.float32)
    got = fe.round(tiny, "bfloat16", "stochastic_a", random_bits=8, random=np.arange(256))
    assert np.count_nonzero(got == np.float32(2.0**-133)) == 2
    assert np.count_nonzero(got == 0) == 254


def test_flags_follow_the_table() -> None:
    """One row for each line of the flags table: format, saturation, x, mask."""
    flag = fe.Flag
    rows = [
        ("e5m2", NONE, 1e6, flag.OVERFLOW | flag.INEXACT),
        ("e5m2", FINITE, 1e6, flag.OVERFLOW | flag.INEXACT | flag.SATURATED),
        ("e2m1fn", NONE, 1e6, flag.OVERFLOW | flag.INEXACT | flag.SATURATED),
        ("e4m3fn", NONE, 1e6, flag.OVERFLOW | flag.INEXACT | flag.NAN_BORN),
        ("binary8p4ue", NONE, -1.0, flag.OVERFLOW | flag.INEXACT | flag.NAN_BORN),
        ("binary8p4ue", FINITE, -1.0, flag.OVERFLOW | flag.INEXACT | flag.SATURATED),
        ("e5m2", NONE, np.inf, flag(0)),
        ("e5m2", FINITE, -np.inf, flag.SATURATED),
        ("e4m3fn", NONE, np.inf, flag.INVALID | flag.NAN_BORN),
        ("e8m0fnu", NONE, 0.0, flag.INVALID | flag.NAN_BORN),
        ("e8m0fnu", NONE, -2.0, flag.INVALID | flag.NAN_BORN),
        ("e8m0fnu", FINITE, 0.0, flag.SATURATED),
        ("e8m0fnu", FINITE, -2.0, flag.SATURATED | flag.INEXACT | flag.OVERFLOW),
        ("e8m0fnu", NONE, 2.0**-128, flag.UNDERFLOW | flag.INEXACT),
        ("e4m3fn", NONE, np.nan, flag(0)),
        ("e4m3fn", NONE, 2.0**-9, flag(0)),  # tiny and exact
        ("e4m3fn", NONE, 1.3 * 2.0**-9, flag.UNDERFLOW | flag.INEXACT),
        ("e4m3fn", NONE, 2.0**-11, flag.UNDERFLOW | flag.INEXACT | flag.FLUSHED),
        ("e4m3fn", NONE, 2.0**-6 * (1 - 2.0**-5), flag.INEXACT),  # rounds to 2^emin with 4 bits: not tiny
        ("e4m3fn", NONE, 2.0**-6 * (1 - 2.0**-5 - 2.0**-20), flag.INEXACT | flag.UNDERFLOW),
        ("e4m3fn", NONE, 0.1, flag.INEXACT),
        ("e4m3fn", NONE, 0.5, flag(0)),
        ("e4m3fn", NONE, -0.0, flag(0)),
    ]
    for fmt, saturation, x, mask in rows:
        for given in (x, np.array([x])):
            got = fe.round_with_flags(given, fmt, saturation=saturation)[1]
            assert np.asarray(got).dtype == np.uint8
            assert int(np.ravel(got)[0]) == int(mask), f"{x!r} to {fmt} {saturation.name}"


def test_flag_bits() -> None:
    names = ["INEXACT", "OVERFLOW", "UNDERFLOW", "FLUSHED", "SATURATED", "INVALID", "DIVIDE_BY_ZERO", "NAN_BORN"]
    assert [(member.name, int(member)) for member in fe.Flag] == [(name, 1 << bit) for bit, name in enumerate(names)]


def test_inward_overflow_flags() -> None:
    values, flags = fe.round_with_flags(np.array([460.0, 480.0, 1e9]), "e4m3fn", "toward_zero")
    assert values.tolist() == [448.0] * 3
    assert flags.tolist() == [1, 2 | 1 | 16, 2 | 1 | 16]  # 460 stays in range, 480 is the next value after the largest


def test_draws_are_what_the_tests_think() -> None:
    assert len(oracles.DRAWS) == 6 + 3 * (2 + 4 + 8)
    assert Draw(Rounding.STOCHASTIC_C, 3, 7) in oracles.DRAWS
    assert tuple(Saturation) == SATURATIONS
