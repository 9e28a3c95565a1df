"""floatemu against gfloat and ml_dtypes, on the inputs on which those are known to be right.

ml_dtypes is compared from float32, because its casts from float64 and from integers round twice; its e8m0fnu is left
out, because it has another rule for ties, zero and negative numbers. gfloat follows P3109 3.1: it does not bring
negative numbers into unsigned formats, and gives NaN above the range of finite ones; elsewhere it agrees with 4.0.
"""

from __future__ import annotations

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import oracles
import pytest
from gfloat import Domain, RoundMode, Signedness
from oracles import Draw, assert_bits

import floatemu as fe
from floatemu import Rounding, Saturation

RNE = Draw(Rounding.NEAREST_TIES_TO_EVEN)
OF_ML_DTYPES = {
    "bfloat16": ml_dtypes.bfloat16,
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e4m3": ml_dtypes.float8_e4m3,
    "e3m4": ml_dtypes.float8_e3m4,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "e2m3fn": ml_dtypes.float6_e2m3fn,
    "e3m2fn": ml_dtypes.float6_e3m2fn,
    "e2m1fn": ml_dtypes.float4_e2m1fn,
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
MODES = {
    RoundMode.TiesToEven: Rounding.NEAREST_TIES_TO_EVEN,
    RoundMode.TiesToAway: Rounding.NEAREST_TIES_TO_AWAY,
    RoundMode.TowardZero: Rounding.TOWARD_ZERO,
    RoundMode.TowardPositive: Rounding.TOWARD_POSITIVE,
    RoundMode.TowardNegative: Rounding.TOWARD_NEGATIVE,
}
STOCHASTIC = {
    RoundMode.StochasticFastest: Rounding.STOCHASTIC_A,
    RoundMode.StochasticFast: Rounding.STOCHASTIC_B,
    RoundMode.Stochastic: Rounding.STOCHASTIC_C,
}


def inputs(name: str) -> np.ndarray:
    """Breakpoints with their neighbours, and random bits, in float32; NaN is another matter (trap 15)."""
    fmt = fe.FORMATS[name]
    points = oracles.probes(fmt, RNE)[:: 1 if fmt.k <= 8 else 11]
    bits = np.random.default_rng(1).integers(0, 2**32, 50_000, dtype=np.uint64).astype(np.uint32)
    with np.errstate(over="ignore", under="ignore"):
        x = np.concatenate([points.astype(np.float32), bits.view(np.float32)])
    return x[~np.isnan(x)]


@pytest.mark.parametrize("name", OF_ML_DTYPES)
def test_casts_of_ml_dtypes_from_float32(name: str) -> None:
    x = inputs(name)
    fmt = fe.FORMATS[name]
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = x.astype(OF_ML_DTYPES[name])
    ours = fe.round(x, fmt).astype(np.float32)
    assert_bits(
        ours, np.where(np.isnan(theirs.astype(np.float32)), np.float32("nan"), theirs.astype(np.float32)), x, name
    )
    codes = fe.encode(x, fmt)
    number = ~np.isnan(ours)
    assert_bits(codes[number], theirs.view(codes.dtype)[number], x[number], name)


def test_casts_of_numpy() -> None:
    """numpy's own conversions are IEEE 754's, from binary64 too."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.integers(0, 2**64, 200_000, dtype=np.uint64).view(np.float64), rng.normal(size=100_000)])
    x = np.concatenate([x, oracles.probes(fe.FORMATS["binary16"], RNE)[::5]])
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore", under="ignore"):
        for name, dtype in (("binary16", np.float16), ("binary32", np.float32)):
            assert_bits(fe.round(x, name), x.astype(dtype).astype(np.float64), x, name)
            codes = fe.encode(x, name)
            assert_bits(codes, x.astype(dtype).view(codes.dtype), x, name)


@pytest.mark.parametrize("theirs", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", OF_GFLOAT)
def test_gfloat_from_float64_with_saturation(name: str, theirs: RoundMode) -> None:
    fmt = fe.FORMATS[name]
    x = np.concatenate(
        [oracles.probes(fmt, Draw(MODES[theirs]))[:: 1 if fmt.k <= 8 else 23], inputs(name).astype(float)]
    )
    x = x[~np.isnan(x)]
    ours = fe.round(x, fmt, MODES[theirs], saturation=Saturation.SAT_FINITE)
    assert_bits(ours, gfloat.round_ndarray(OF_GFLOAT[name], x, theirs, sat=True), x, f"{name} {theirs.name}")


@pytest.mark.parametrize("name", ["binary16", "bfloat16", "e5m2"])
@pytest.mark.parametrize("theirs", MODES, ids=lambda mode: mode.name)
def test_gfloat_from_float64_without_saturation(name: str, theirs: RoundMode) -> None:
    fmt = fe.FORMATS[name]
    x = oracles.probes(fmt, Draw(MODES[theirs]))[:: 1 if fmt.k <= 8 else 23]
    ours = fe.round(x, fmt, MODES[theirs])
    assert_bits(ours, gfloat.round_ndarray(OF_GFLOAT[name], x, theirs, sat=False), x, f"{name} {theirs.name}")


@pytest.mark.parametrize("theirs", [*MODES, *STOCHASTIC], ids=lambda mode: mode.name)
@pytest.mark.parametrize(("k", "p"), [(4, 2), (5, 1), (6, 4), (8, 3), (8, 4), (8, 7)])
def test_gfloat_on_signed_extended_p3109(k: int, p: int, theirs: RoundMode) -> None:
    fmt = fe.p3109(k, p)
    info = gfloat.formats.format_info_p3109(k, p)
    if theirs in MODES:
        x = oracles.probes(fmt, Draw(MODES[theirs]))
        rounded = gfloat.round_ndarray(info, x, theirs, sat=False)
        assert_bits(fe.round(x, fmt, MODES[theirs]), rounded + 0.0, x, fmt.name)
        return
    rng = np.random.default_rng(3)
    for n in (1, 3, 8):
        # gfloat adds the random number in binary64: float32 inputs leave it room to be exact.
        points = oracles.probes(fmt, Draw(STOCHASTIC[theirs], min(n, 3), 1))
        with np.errstate(under="ignore"):
            x = points[points.astype(np.float32) == points]
        r = rng.integers(0, 2**n, x.size)
        rounded = gfloat.round_ndarray(info, x, theirs, sat=False, srbits=r, srnumbits=n)
        assert_bits(fe.round(x, fmt, STOCHASTIC[theirs], random=r, random_bits=n), rounded + 0.0, x, fmt.name)


def info_of_gfloat(fmt: fe.Format) -> gfloat.FormatInfo:
    signedness = Signedness.Signed if fmt.signed else Signedness.Unsigned
    domain = Domain.Extended if fmt.infinities else Domain.Finite
    return gfloat.formats.format_info_p3109(fmt.k, fmt.p, signedness, domain)


def test_gfloat_decodes_every_p3109_format_alike() -> None:
    for fmt in oracles.P3109_SMALL:
        theirs = gfloat.decode_ndarray(info_of_gfloat(fmt), np.arange(1 << fmt.k)) + 0.0
        ours = fe.values(fmt)
        assert_bits(np.where(np.isnan(ours), 0.0, ours), np.where(np.isnan(theirs), 0.0, theirs), what=fmt.name)
        assert_bits(np.isnan(ours), np.isnan(theirs), what=fmt.name)


@pytest.mark.parametrize("theirs", MODES, ids=lambda mode: mode.name)
def test_gfloat_where_its_p3109_agrees_with_the_present_one(theirs: RoundMode) -> None:
    """Formats of four kinds: positive numbers into unsigned ones, numbers in the range of finite ones."""
    for fmt in (f for f in oracles.P3109_SMALL if f.k == 4 or (f.k == 8 and f.p in (1, 3, 4, 8))):
        x = oracles.probes(fmt, Draw(MODES[theirs]))
        x = x if fmt.signed else x[x > 0]
        for saturation in (Saturation.SAT_FINITE, Saturation.SAT_NONE):
            clamps = saturation is Saturation.SAT_FINITE
            given = x if clamps or fmt.infinities else x[abs(x) <= float(fmt.max)]
            rounded = gfloat.round_ndarray(info_of_gfloat(fmt), given, theirs, sat=clamps) + 0.0
            assert_bits(fe.round(given, fmt, MODES[theirs], saturation=saturation), rounded, given, fmt.name)
