"""Breakpoints, ties and range ends, with the numbers next to them, from every kind of source into every format."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import oracles
import pytest
from faces import FACES, Face, result_dtype
from oracles import DRAWS, SATURATIONS, SMALL, Draw, assert_bits

import floatemu as fe
from floatemu import Rounding, Saturation, reference

SOURCES = {"float32": np.float32, "float64": np.float64}
SIXTEEN = [fe.FORMATS["binary16"], fe.FORMATS["bfloat16"]]
FEW = (
    *DRAWS[:6],
    Draw(Rounding.STOCHASTIC_A, 1, 0),
    Draw(Rounding.STOCHASTIC_B, 2, 1),
    Draw(Rounding.STOCHASTIC_C, 3, 6),
)
TWO = Fraction(2)
BINARY64_MAX = fe.FORMATS["binary64"].max


def as_source(x: np.ndarray, source: str) -> np.ndarray:
    """The numbers that the source holds."""
    with np.errstate(over="ignore", under="ignore"):
        narrowed = x.astype(SOURCES[source])
    return narrowed[narrowed == x] if source == "float32" else x


def check(x: np.ndarray, fmt: fe.Format, draw: Draw, saturation: Saturation) -> None:
    right = oracles.expected(x.astype(np.float64), fmt, draw, saturation)
    call = oracles.call(draw, saturation)
    what = f"{x.dtype} to {fmt.name} {draw} {saturation.name}"
    values, flags = fe.round_with_flags(x, fmt, **call)
    assert_bits(values, right.values.astype(result_dtype(x, fmt)), x, what)
    assert_bits(flags, right.flags, x, f"flags of {what}")
    codes = fe.encode(x, fmt, **call)
    assert_bits(codes, right.codes.astype(codes.dtype), x, f"codes of {what}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_breakpoints_of_small_formats(fmt: fe.Format, source: str) -> None:
    for draw in DRAWS:
        x = as_source(oracles.probes(fmt, draw), source)
        for saturation in SATURATIONS:
            check(x, fmt, draw, saturation)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fmt", SIXTEEN, ids=lambda fmt: fmt.name)
def test_breakpoints_of_sixteen_bit_formats(fmt: fe.Format, source: str) -> None:
    for draw in FEW:
        x = as_source(oracles.probes(fmt, draw), source)
        check(x, fmt, draw, Saturation.SAT_NONE)
        for saturation in SATURATIONS[1:]:
            check(x[~(np.abs(x) < float(fmt.max) * 0.99)], fmt, draw, saturation)


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "e4m3b11fnuz", "e2m3fn", "binary8p4se"])
def test_faces_agree_at_ties(name: str, source: str, face: Face) -> None:
    fmt = fe.get_format(name)
    for draw in FEW:
        x = as_source(oracles.probes(fmt, draw), source)[::3]
        right = oracles.expected(x.astype(np.float64), fmt, draw).values
        assert_bits(face(x, fmt, **oracles.call(draw)), right.astype(result_dtype(x, fmt)), x, f"{name} {draw}")


def ladder(fmt: fe.Format, seed: int, count: int) -> list[Fraction]:
    """Values at the edges and at random codes, the ties above them, and points next to both; exact."""
    rng = np.random.default_rng(seed)
    hidden = 2**fmt.trailing_bits
    codes = {0, 1, 2, hidden - 1, hidden, hidden + 1, fmt.max_code - 1, fmt.max_code}
    codes |= {int(code) for code in rng.integers(0, fmt.max_code, count, dtype=np.uint64)}
    points = []
    for code in sorted(codes):
        significand, quantum = fmt.scaled(code)
        for eighths in (0, 2, 4, 8):
            point = (significand + Fraction(eighths, 8)) * TWO**quantum
            off = TWO ** (quantum - 70)
            points += [point, point + off, point - off if point else point]
    return points


def settle(x: Any, fmt: fe.Format, draw: Draw, saturation: Saturation, got: Any, mask: Any = None) -> None:
    """Compare one result, and its flags if given, with the literal oracle."""
    by = fe.Projection(draw.rounding, saturation, draw.n or None)
    right = float(reference.round(x, fmt, by, draw.r))
    assert_bits(np.float64(got), np.float64(right), None, f"{x!r} to {fmt.name} {draw} {saturation.name}")
    if mask is not None:
        assert mask == reference.flags(x, fmt, by, draw.r), f"flags of {x!r} to {fmt.name} {draw} {saturation.name}"


WIDE = ("tf32", "binary32", "binary64")


@pytest.mark.parametrize("name", WIDE)
def test_rationals_next_to_ties_of_wide_formats(name: str) -> None:
    """Fractions 2^-70 quanta from a tie: no carrier narrower than the number itself can be right."""
    fmt = fe.FORMATS[name]
    for position, point in enumerate(ladder(fmt, 1, 12)):
        draw = FEW[position % len(FEW)]
        for x in (point, -point):
            got, mask = fe.round_with_flags(x, fmt, **oracles.call(draw))
            settle(x, fmt, draw, Saturation.SAT_NONE, got, mask)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", WIDE)
def test_arrays_around_ties_of_wide_formats(name: str, source: str) -> None:
    fmt, dtype = fe.FORMATS[name], SOURCES[source]
    with np.errstate(over="ignore"):
        points = np.array([float(min(point, BINARY64_MAX)) for point in ladder(fmt, 2, 40)]).astype(dtype)
        x = np.unique(np.concatenate([points, np.nextafter(points, dtype(0)), np.nextafter(points, dtype(np.inf))]))
    x = np.concatenate([x, -x, np.array([np.inf, -np.inf, np.nan], dtype)])
    for draw in FEW:
        for saturation in SATURATIONS if draw.n == 0 else SATURATIONS[:1]:
            values, flags = fe.round_with_flags(x, fmt, **oracles.call(draw, saturation))
            assert values.dtype == result_dtype(x, fmt)
            for position in range(draw.rounding % 4, x.size, 4):
                source_value = float(x[position])
                settle(source_value, fmt, draw, saturation, values[position].astype(np.float64), flags[position])


INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "bfloat16", "binary16", "e8m0fnu", "binary8p3ue", "binary32"])
def test_integer_arrays_of_every_width(name: str, dtype: type) -> None:
    fmt, info = fe.get_format(name), np.iinfo(dtype)
    powers = {
        2**exponent + off for exponent in range(65) for off in (-1, 0, 1, 2**exponent // 2 + 1, 3 * 2**exponent // 8)
    }
    integers = [*sorted(n for m in powers for n in (m, -m) if info.min <= n <= info.max), int(info.min), int(info.max)]
    x = np.array(integers, dtype)
    for draw in (DRAWS[0], DRAWS[3], DRAWS[5], Draw(Rounding.STOCHASTIC_C, 2, 1)):
        values, flags = fe.round_with_flags(x, fmt, **oracles.call(draw))
        assert values.dtype == np.float64
        for position in range(0, x.size, 2 if dtype().itemsize < 8 else 5):
            settle(integers[position], fmt, draw, Saturation.SAT_NONE, values[position], flags[position])


@pytest.mark.parametrize("name", ["e4m3fn", "bfloat16", "binary16", "binary32", "binary64"])
def test_python_numbers_are_taken_exactly(name: str) -> None:
    fmt = fe.FORMATS[name]
    tie = 1 + TWO**-fmt.p
    mp = mpmath.mp.clone()
    mp.prec = 500
    numbers: list[Any] = [
        *(10**400, -(10**400), 3**200, 2**2000, 2**53 + 1, -(2**64) - 1, 0, -7, True + 1),
        *(tie, tie + TWO**-900, -tie - TWO**-900, Fraction(1, 3), Fraction(-(10**500), 7), Fraction(1, 10**500)),
        *(Decimal("0.1"), Decimal("1e-400"), Decimal("-Infinity")),
        *(mp.mpf(1) + mp.mpf(2) ** -fmt.p, mp.mpf(1) + mp.mpf(2) ** -fmt.p + mp.mpf(2) ** -400, mp.mpf(2) ** 100000),
        *(-mp.pi, mp.inf, -mp.inf, mp.nan),
        *(
            np.float16(0.1),
            np.float32(0.1),
            np.float64(0.1),
            np.int64(2**62 + 1),
            np.uint64(2**64 - 1),
            np.float32(-0.0),
        ),
    ]
    for x in numbers:
        for draw in FEW:
            got, mask = fe.round_with_flags(x, fmt, **oracles.call(draw))
            settle(x, fmt, draw, Saturation.SAT_NONE, got, mask)


@pytest.mark.parametrize("name", ["e4m3fn", "bfloat16", "binary64"])
def test_lists_and_object_arrays_are_taken_exactly(name: str) -> None:
    fmt = fe.FORMATS[name]
    tie = 1 + TWO**-fmt.p
    for numbers in (
        [tie, tie + TWO**-900, -(10**400), 0.5, Fraction(1, 3), mpmath.mpf("0.1"), 2**64 + 1],
        [[2**70 + 1, 1], [3, 2**53 + 1]],
        [],
    ):
        flat = np.array(numbers, object).ravel()
        for given in (numbers, np.array(numbers, object)):
            values = fe.round(given, fmt)
            assert values.dtype == np.float64
            assert values.shape == np.array(numbers, object).shape
            for x, got in zip(flat, values.ravel(), strict=True):
                settle(x, fmt, DRAWS[0], Saturation.SAT_NONE, got)


ML_DTYPES = [
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e4m3,
    ml_dtypes.float8_e3m4,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2fnuz,
    ml_dtypes.float8_e4m3b11fnuz,
    ml_dtypes.float8_e8m0fnu,
    ml_dtypes.float6_e2m3fn,
    ml_dtypes.float6_e3m2fn,
    ml_dtypes.float4_e2m1fn,
]


@pytest.mark.parametrize("dtype", ML_DTYPES, ids=lambda dtype: dtype.__name__)
def test_arrays_of_ml_dtypes(dtype: type) -> None:
    """Every number of every dtype of ml_dtypes is taken as the value it has."""
    own = fe.get_format(dtype.__name__)
    codes = np.arange(2**own.k, dtype=np.uint16 if own.k > 8 else np.uint8)[:: 1 if own.k <= 8 else 7]
    x = codes.view(dtype)
    with np.errstate(invalid="ignore"):
        exact = x.astype(np.float64)
    for name in ("e2m1fn", "e4m3fn", "e5m2", "binary8p3ue", "bfloat16"):
        fmt = fe.get_format(name)
        nan = None if fmt.has_nan else "max"
        for draw in (DRAWS[0], DRAWS[4], Draw(Rounding.STOCHASTIC_A, 3, 5)):
            right = oracles.expected(exact, fmt, draw, nan=nan)
            values, flags = fe.round_with_flags(x, fmt, nan=nan, **oracles.call(draw))
            assert_bits(values.astype(np.float64), right.values, codes, f"{dtype.__name__} to {name} {draw}")
            assert_bits(flags, right.flags, codes, f"{dtype.__name__} to {name} {draw}")
            assert_bits(fe.encode(x, fmt, nan=nan, **oracles.call(draw)).astype(np.int64), right.codes, codes, name)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is binary64 here")
def test_long_double_is_refused_rather_than_narrowed() -> None:
    with pytest.raises(fe.UnsupportedError, match="binary64 is the widest array source"):
        fe.round(np.ones(3, np.longdouble), "e4m3fn")


LIMITS = {np.float16: (15, 11), ml_dtypes.bfloat16: (127, 8), np.float32: (127, 24), np.float64: (1023, 53)}
"""Bias and precision of array dtypes."""


@pytest.mark.parametrize("shift", [0, 1, -1])
@pytest.mark.parametrize("dtype", LIMITS, ids=lambda dtype: dtype.__name__)
def test_formats_without_subnormals_flush_those_of_the_source(dtype: type, shift: int) -> None:
    """Where the format's least normal is the source's own, the source's subnormals lie in the gap below it."""
    bias, p_source = LIMITS[dtype]
    units = [0, 1, 2, 3, 2 ** (p_source - 3), 2 ** (p_source - 2) - 1, 2 ** (p_source - 2), 2 ** (p_source - 2) + 1]
    units += [3 * 2 ** (p_source - 3), 2 ** (p_source - 1) - 1, 2 ** (p_source - 1), 2 ** (p_source - 1) + 1]
    with np.errstate(under="ignore"):
        x = np.array([unit * 2.0 ** (2 - bias - p_source) for unit in units]).astype(dtype)
        x = np.concatenate([x, -x])
        exact = x.astype(np.float64)
    for p in (1, 3, p_source - 1):
        for signed in (True, False):
            k = 4 + p - (not signed)
            fmt = fe.Format("f", k=k, p=p, bias=bias + shift, signed=signed, subnormals=False, infinities=False)
            for draw in FEW:
                values, flags = fe.round_with_flags(x, fmt, **oracles.call(draw))
                codes = fe.encode(x, fmt, **oracles.call(draw))
                by = fe.Projection(draw.rounding, Saturation.SAT_NONE, draw.n or None)
                for position, number in enumerate(exact.tolist()):
                    what = f"{number!r} to {fmt} {draw}"
                    settle(number, fmt, draw, Saturation.SAT_NONE, values[position].astype(np.float64), flags[position])
                    assert codes[position] == reference.project(number, fmt, by, draw.r), what


@pytest.mark.parametrize("dtype", LIMITS, ids=lambda dtype: dtype.__name__)
def test_a_dtype_holds_its_own_format_without_subnormals(dtype: type) -> None:
    """Every finite value of the format is one of the dtype, so the result keeps it."""
    bias, p = LIMITS[dtype]
    ieee = 2 ** (p - 1) - 1
    fmt = fe.Format("f", k=np.dtype(dtype).itemsize * 8, p=p, bias=bias, subnormals=False, high_nans=ieee)
    assert fe.round(np.ones(3, dtype), fmt).dtype == np.dtype(dtype)
