"""The oracles against each other and against gfloat and ml_dtypes, before anything is measured with them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import gfloat
import gfloat.formats
import ml_dtypes
import mpmath
import numpy as np
import oracles
import pytest
from oracles import DRAWS, P3109_SMALL, SATURATIONS, SMALL, Draw, assert_bits

from floatemu import reference
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import FORMATS, p3109
from floatemu.projection import Projection, Rounding, Saturation

RNE = Draw(Rounding.NEAREST_TIES_TO_EVEN)
NARROW = [fmt for fmt in FORMATS.values() if fmt.k <= 16]
NO_ZERO_NO_NAN = Format("powers", k=4, p=1, signed=False, zero=False, infinities=False)
FLUSHING = Format("flushing", k=6, p=3, subnormals=False, high_nans=1, negative_zero=False)


def literal(x: float, fmt: Format, draw: Draw, saturation: Saturation) -> tuple[float, int, int]:
    by = Projection(draw.rounding, saturation, draw.n or None)
    value = reference.round(x, fmt, by, draw.r)
    return float(value), reference.encode(value, fmt), reference.flags(x, fmt, by, draw.r)


def compare(x: np.ndarray, fmt: Format, draw: Draw, saturation: Saturation) -> None:
    fast = oracles.expected(x, fmt, draw, saturation)
    slow = [literal(float(value), fmt, draw, saturation) for value in x]
    what = f"{fmt.name} {draw} {saturation.name}"
    assert_bits(fast.values, np.array([row[0] for row in slow]), x, what)
    assert_bits(fast.codes, np.array([row[1] for row in slow]), x, what)
    assert_bits(fast.flags, np.array([row[2] for row in slow], np.uint8), x, what)


def outside(x: np.ndarray, fmt: Format) -> np.ndarray:
    """The inputs on which saturation may matter."""
    below = (x <= 0) if not fmt.signed else np.zeros(x.shape, bool)
    near = ~(np.abs(x) <= float(fmt.max))
    return np.concatenate([x[below][:3], x[below][-8:], x[near][:6], x[near][-6:]])


@pytest.mark.parametrize("fmt", [*SMALL, NO_ZERO_NO_NAN, FLUSHING], ids=lambda fmt: fmt.name)
def test_breakpoints_equal_the_definition(fmt: Format) -> None:
    for draw in DRAWS:
        x = oracles.jumps(fmt, draw)
        compare(x[:: 3 if draw.n == 3 else 1], fmt, draw, Saturation.SAT_NONE)
        for saturation in SATURATIONS:
            compare(outside(x, fmt), fmt, draw, saturation)


@pytest.mark.slow
@pytest.mark.parametrize("fmt", P3109_SMALL, ids=lambda fmt: fmt.name)
def test_breakpoints_of_p3109_equal_the_definition(fmt: Format) -> None:
    for draw in DRAWS:
        x = oracles.jumps(fmt, draw)
        compare(x, fmt, draw, Saturation.SAT_NONE)
        for saturation in SATURATIONS[1:]:
            compare(outside(x, fmt), fmt, draw, saturation)


@pytest.mark.parametrize(
    "fmt", [FORMATS["e4m3fn"], FORMATS["e2m1fn"], p3109(5, 2, False), p3109(4, 1)], ids=lambda f: f.name
)
def test_every_neighbour_of_a_breakpoint_equals_the_definition(fmt: Format) -> None:
    for draw in (*DRAWS[:6], Draw(Rounding.STOCHASTIC_A, 2, 1), Draw(Rounding.STOCHASTIC_C, 2, 3)):
        compare(oracles.probes(fmt, draw), fmt, draw, Saturation.SAT_NONE)


@pytest.mark.parametrize("fmt", [*NARROW, *P3109_SMALL[::7], FLUSHING], ids=lambda fmt: fmt.name)
def test_reference_encode_inverts_decode(fmt: Format) -> None:
    for code in range(0, 2**fmt.k, 1 if fmt.k <= 8 else 37):
        datum = reference.decode(code, fmt)
        if datum.kind == "nan":
            assert reference.encode(datum, fmt) == fmt.nan_code
        elif datum.magnitude or fmt.subnormals:
            assert reference.encode(datum, fmt) == code


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


@pytest.mark.parametrize("name", OF_ML_DTYPES)
def test_reference_decodes_as_ml_dtypes(name: str) -> None:
    fmt = FORMATS[name]
    codes = np.arange(2**fmt.k, dtype=np.uint16 if fmt.k > 8 else np.uint8)
    with np.errstate(invalid="ignore"):  # some codes are signalling NaNs
        theirs = codes.view(OF_ML_DTYPES[name]).astype(np.float64)
    ours = np.array([float(reference.decode(int(code), fmt)) for code in codes])
    assert_bits(ours, np.where(np.isnan(theirs), np.nan, theirs), codes, name)


@pytest.mark.parametrize("name", [name for name in OF_ML_DTYPES if name not in ("bfloat16", "e8m0fnu")])
def test_breakpoints_equal_ml_dtypes_from_float32(name: str) -> None:
    # e8m0fnu is left out: its ties, zero and negative numbers follow another rule there (trap 16).
    fmt = FORMATS[name]
    x = oracles.probes(fmt, RNE).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = x.astype(OF_ML_DTYPES[name]).astype(np.float64)
    ours = oracles.expected(x.astype(np.float64), fmt, RNE).values
    assert_bits(ours, np.where(np.isnan(theirs), np.nan, theirs), x, name)


GFLOAT_MODES = {
    gfloat.RoundMode.TiesToEven: Rounding.NEAREST_TIES_TO_EVEN,
    gfloat.RoundMode.TiesToAway: Rounding.NEAREST_TIES_TO_AWAY,
    gfloat.RoundMode.TowardZero: Rounding.TOWARD_ZERO,
    gfloat.RoundMode.TowardPositive: Rounding.TOWARD_POSITIVE,
    gfloat.RoundMode.TowardNegative: Rounding.TOWARD_NEGATIVE,
}
GFLOAT_STOCHASTIC = {
    gfloat.RoundMode.StochasticFastest: Rounding.STOCHASTIC_A,
    gfloat.RoundMode.StochasticFast: Rounding.STOCHASTIC_B,
    gfloat.RoundMode.Stochastic: Rounding.STOCHASTIC_C,
}
OF_GFLOAT = {
    "binary16": gfloat.formats.format_info_binary16,
    "bfloat16": gfloat.formats.format_info_bfloat16,
    "e4m3fn": gfloat.formats.format_info_ocp_e4m3,
    "e5m2": gfloat.formats.format_info_ocp_e5m2,
    "e2m3fn": gfloat.formats.format_info_ocp_e2m3,
    "e3m2fn": gfloat.formats.format_info_ocp_e3m2,
    "e2m1fn": gfloat.formats.format_info_ocp_e2m1,
}


@pytest.mark.parametrize("name", OF_GFLOAT)
def test_reference_decodes_as_gfloat(name: str) -> None:
    fmt, info = FORMATS[name], OF_GFLOAT[name]
    codes = np.arange(0, 2**fmt.k, 1 if fmt.k <= 8 else 5, dtype=np.uint16)
    ours = np.array([float(reference.decode(int(code), fmt)) for code in codes])
    assert_bits(ours, np.array([gfloat.decode_float(info, int(code)).fval for code in codes]), codes, name)


@pytest.mark.parametrize("theirs", GFLOAT_MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", [name for name in OF_GFLOAT if FORMATS[name].k <= 8])
def test_breakpoints_equal_gfloat(name: str, theirs: gfloat.RoundMode) -> None:
    fmt, draw = FORMATS[name], Draw(GFLOAT_MODES[theirs])
    x = oracles.probes(fmt, draw)
    ours = oracles.expected(x, fmt, draw, Saturation.SAT_FINITE).values
    assert_bits(gfloat.round_ndarray(OF_GFLOAT[name], x, theirs, sat=True), ours, x, name)


@pytest.mark.parametrize("theirs", GFLOAT_STOCHASTIC, ids=lambda mode: mode.name)
@pytest.mark.parametrize("p", [1, 3, 5])
def test_breakpoints_equal_gfloat_stochastic(p: int, theirs: gfloat.RoundMode) -> None:
    fmt = p3109(6, p)
    info = gfloat.formats.format_info_p3109(6, p, gfloat.Signedness.Signed, gfloat.Domain.Extended)
    for n in (1, 2, 3):
        for r in range(2**n):
            draw = Draw(GFLOAT_STOCHASTIC[theirs], n, r)
            # gfloat adds its random number in binary64, which rounds beside a breakpoint; float32 inputs leave room.
            x = oracles.probes(fmt, draw)
            with np.errstate(under="ignore"):
                x = x[x.astype(np.float32) == x]
            bits = np.full(x.shape, r)
            rounded = gfloat.round_ndarray(info, x, theirs, sat=False, srbits=bits, srnumbits=n)
            # gfloat keeps the sign of a zero that P3109 formats do not have.
            assert_bits(rounded + 0.0, oracles.expected(x, fmt, draw).values, x, f"{fmt.name} {draw}")


@pytest.mark.parametrize(
    ("x", "value", "negative"),
    [
        (3, Fraction(3), False),
        (-(2**200) - 1, Fraction(-(2**200) - 1), True),
        (Fraction(-1, 3), Fraction(-1, 3), True),
        (-0.0, Fraction(0), True),
        (np.float16(-0.0), Fraction(0), True),
        (np.float32(1.1), Fraction(9227469, 8388608), False),
        (np.int8(-128), Fraction(-128), True),
        (Decimal("0.1"), Fraction(1, 10), False),
        (mpmath.mpf("-0.75"), Fraction(-3, 4), True),
        (mpmath.mpf(2) ** -5000, Fraction(1, 2**5000), False),
    ],
    ids=repr,
)
def test_exact_takes_numbers_as_they_are(x: object, value: Fraction, negative: bool) -> None:
    datum = reference.exact(x)
    assert (datum.value, datum.negative, datum.kind) == (value, negative, "finite")


@pytest.mark.parametrize("infinite", [float("-inf"), np.float32("-inf"), mpmath.mpf("-inf")], ids=repr)
def test_exact_takes_infinities(infinite: object) -> None:
    assert reference.exact(infinite) == reference.infinity(True)


@pytest.mark.parametrize("nan", [float("nan"), np.float16("nan"), mpmath.mpf("nan")], ids=repr)
def test_exact_takes_nan(nan: object) -> None:
    assert reference.exact(nan) == reference.NAN


@pytest.mark.parametrize("wrong", [True, "1", 1j, None], ids=repr)
def test_exact_refuses_what_is_no_number(wrong: object) -> None:
    with pytest.raises(UnsupportedError, match="is not a real number; give an int, Fraction, float or mpf"):
        reference.exact(wrong)


def test_reference_refuses_what_the_format_cannot_hold() -> None:
    e4m3fn, e2m1fn = FORMATS["e4m3fn"], FORMATS["e2m1fn"]
    for wrong in (reference.exact(449), reference.exact(2.0**-10), reference.infinity()):
        with pytest.raises(ProjectionError, match=r"is not a value of e4m3fn; round it first"):
            reference.encode(wrong, e4m3fn)
    with pytest.raises(ProjectionError, match="e2m1fn has no NaN; give nan='zero' or nan='max'"):
        reference.round(float("nan"), e2m1fn)
    with pytest.raises(ProjectionError, match=r"code 0x100 is outside 0\.\.0xff"):
        reference.decode(256, e4m3fn)
    with pytest.raises(UnsupportedError, match="is not a binary64 number"):
        float(reference.exact(Fraction(1, 3)))


def test_splitmix64_known_answers() -> None:
    """The first outputs for seed 1234567, as published (rosettacode.org, "Pseudo-random numbers/Splitmix64")."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [reference.splitmix64(1234567, position) for position in range(5)] == published


def test_splitmix64_is_the_sequential_generator() -> None:
    """Written as it is published, with a state that is advanced."""
    mask, state = 2**64 - 1, 2**64 - 3
    for position in range(50):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        assert reference.splitmix64(2**64 - 3, position) == z ^ (z >> 31)
