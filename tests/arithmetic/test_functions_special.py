"""Elementary functions: special operands, exact cases, hard cases, single numbers, options and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
from function_values import C, inside, value
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_bits

import floatemu as fe
from floatemu import functions, functions_engine, reference
from floatemu._core.elementary_loops import BINARY, UNARY, unary_loop
from floatemu.functions_exact import function

INF, NAN = float("inf"), float("nan")
NONE, BORN, POLE = 0, int(fe.Flag.INVALID | fe.Flag.NAN_BORN), int(fe.Flag.DIVIDE_BY_ZERO)

# IEEE 754-2019, 9.2.1, and the limits where the standard does not name the function: operand, result, flags.
EVEN = {"cos": 1.0, "cosh": 1.0, "exp": 1.0, "exp2": 1.0, "sigmoid": 0.5}
ODD_ONES = ["expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh", "erf", "gelu", "gelu_tanh", "silu"]
SPECIAL: list[tuple[str, float, float, int]] = [
    *[(name, zero, result, NONE) for name, result in EVEN.items() for zero in (0.0, -0.0)],
    *[(name, zero, zero, NONE) for name in ODD_ONES for zero in (0.0, -0.0)],
    *[(name, NAN, NAN, NONE) for name in (*UNARY, "reciprocal")],
    *[(name, x, NAN, BORN) for name in ("sin", "cos", "tan", "asin", "acos") for x in (INF, -INF)],
    *[(name, x, NAN, BORN) for name in ("log", "log2", "log10", "rsqrt") for x in (-INF, -1.0, -1e-40)],
    *[(name, zero, -INF, POLE) for name in ("log", "log2", "log10") for zero in (0.0, -0.0)],
    *[(name, INF, INF, NONE) for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sinh", "cosh")],
    *[(name, INF, INF, NONE) for name in ("gelu", "gelu_tanh", "silu", "softplus")],
    *[(name, -INF, -0.0, NONE) for name in ("gelu", "gelu_tanh", "silu")],
    *[(name, -INF, 0.0, NONE) for name in ("exp", "exp2", "sigmoid", "softplus")],
    *[(name, x, np.copysign(1.0, x), NONE) for name in ("tanh", "erf") for x in (INF, -INF)],
    *[(name, x, NAN, BORN) for name in ("asin", "acos") for x in (1.0000001, -2.0)],
    ("expm1", -INF, -1.0, NONE), ("sigmoid", INF, 1.0, NONE), ("sinh", -INF, -INF, NONE), ("cosh", -INF, INF, NONE),
    ("log", 1.0, 0.0, NONE), ("log2", 1.0, 0.0, NONE), ("log10", 1.0, 0.0, NONE), ("acos", 1.0, 0.0, NONE),
    ("log1p", -1.0, -INF, POLE), ("log1p", -1.5, NAN, BORN), ("log1p", -INF, NAN, BORN),
    ("rsqrt", 0.0, INF, POLE), ("rsqrt", -0.0, -INF, POLE), ("rsqrt", INF, 0.0, NONE),
    ("reciprocal", 0.0, INF, POLE), ("reciprocal", -0.0, -INF, POLE), ("reciprocal", -INF, -0.0, NONE),
    ("exp2", 10.0, 1024.0, NONE), ("exp2", -14.0, 2.0**-14, NONE), ("log2", 2.0**-140, -140.0, NONE),
    ("log10", 1e4, 4.0, NONE), ("rsqrt", 0.0625, 4.0, NONE), ("reciprocal", 8.0, 0.125, NONE),
]  # fmt: skip


@pytest.mark.parametrize("fmt", ["binary32", "binary64", "bfloat16"])
@pytest.mark.parametrize("mode", ["TiesToEven", "TowardPositive", "TowardNegative", "ToOdd"])
def test_special_operands(fmt: str, mode: str) -> None:
    for name, x, expected, flag in SPECIAL:
        operand = np.array([x], np.float64)
        got, flags = getattr(functions, name)(operand, fmt, mode, flags=True)
        assert_bits(got, np.array([expected]), operand, f"{name} {fmt} {mode}")
        assert flags.tolist() == [flag], (name, x)


def test_atan_of_infinity_is_a_rounded_quarter_turn() -> None:
    for fmt in ("binary64", "binary32", "e4m3fn"):
        for mode in ("TiesToEven", "TowardPositive", "TowardNegative"):
            got, flags = functions.atan(np.array([INF, -INF]), fmt, mode, flags=True)
            by = fe.Projection(mode)
            assert_bits(got, np.array([float(reference.round(s * C.pi / 2, fe.get_format(fmt), by)) for s in (1, -1)]))
            assert flags.tolist() == [1, 1]


def test_every_function_has_special_operands_for_zero_and_infinity() -> None:
    for name in UNARY:
        given_ = [x for other, x, _, _ in SPECIAL if other == name]
        assert INF in given_ or name == "atan"
        assert 0.0 in given_ or name in ("acos", "softplus")


POW: list[tuple[float, float, float, int]] = [
    *[(x, zero, 1.0, NONE) for x in (NAN, INF, -INF, 0.0, -3.0, 2.0) for zero in (0.0, -0.0)],
    *[(1.0, y, 1.0, NONE) for y in (NAN, INF, -INF, 0.3)],
    *[(-1.0, y, 1.0, NONE) for y in (INF, -INF, 2.0, 2.0**60)], (-1.0, 3.0, -1.0, NONE),
    (NAN, 1.0, NAN, NONE), (2.0, NAN, NAN, NONE), (-8.0, 1 / 3, NAN, BORN), (-2.5, 0.5, NAN, BORN),
    (0.0, -3.0, INF, POLE), (-0.0, -3.0, -INF, POLE), (-0.0, -2.0, INF, POLE), (-0.0, -0.5, INF, POLE),
    (0.0, -INF, INF, NONE), (-0.0, -INF, INF, NONE), (-0.0, INF, 0.0, NONE),
    (-0.0, 3.0, -0.0, NONE), (-0.0, 2.0, 0.0, NONE), (-0.0, 0.5, 0.0, NONE),
    (2.0, INF, INF, NONE), (2.0, -INF, 0.0, NONE), (0.5, INF, 0.0, NONE), (0.5, -INF, INF, NONE),
    (INF, 0.5, INF, NONE), (INF, -1.0, 0.0, NONE), (-INF, 3.0, -INF, NONE), (-INF, 2.0, INF, NONE),
    (-INF, -3.0, -0.0, NONE), (-INF, -0.5, 0.0, NONE), (-INF, 0.5, INF, NONE),
    (-2.0, 3.0, -8.0, NONE), (-2.0, -2.0, 0.25, NONE), (9.0, 0.5, 3.0, NONE), (9.0, -0.5, 1 / 3, 1),
    (81.0, 0.25, 3.0, NONE), (4.0, 1.5, 8.0, NONE), (2.25, 1.5, 3.375, NONE), (3.0, 5.0, 243.0, NONE),
    (8.0, -2 / 3, float.fromhex("0x1.0000000000001p-2"), 1),
]  # fmt: skip
HYPOT = [
    (INF, NAN, INF), (NAN, -INF, INF), (NAN, 1.0, NAN), (0.0, -0.0, 0.0), (-3.0, 0.0, 3.0), (3.0, -4.0, 5.0),
    (2.0**600 * 5, 2.0**600 * 12, 2.0**600 * 13), (2.0**-700 * 8, 2.0**-700 * 15, 2.0**-700 * 17),
]  # fmt: skip


def test_special_operands_of_pow_and_hypot() -> None:
    for x, y, expected, flag in POW:
        got, flags = functions.pow(np.array([x]), y, "binary64", flags=True)
        if (x, y) != (8.0, -2 / 3):
            assert_bits(got, np.array([expected]), (x, y), f"pow {x} {y}")
        assert flags.tolist() == [flag], (x, y)
    for x, y, expected in HYPOT:
        got, flags = functions.hypot(np.array([x]), y, "binary64", flags=True)
        assert_bits(got, np.array([expected]), (x, y), f"hypot {x} {y}")
        assert flags.tolist() == [NONE]


def power(x: float, y: float) -> Any:
    """|x|^y as an mpf: exact where it has at most 80 bits, which exact arithmetic decides, else at 400 bits."""
    near = C.exp(C.mpf(y) * C.log(abs(C.mpf(x))))
    with C.workprec(80):
        short = +near
    exponent = Fraction(y)
    if (
        abs(exponent.numerator) < 200
        and exponent.denominator < 64
        and abs(short - near) <= abs(near) * C.mpf(2) ** -300
    ):
        _, man, exp, _ = short._mpf_
        rational = Fraction(int(man)) * Fraction(2) ** int(exp)
        assert rational**exponent.denominator == abs(Fraction(x)) ** exponent.numerator
        near = short
    return -near if x < 0 and exponent % 2 == 1 else near


def hypotenuse(x: float, y: float) -> Any:
    with C.workprec(3000):
        return C.sqrt(C.mpf(x) ** 2 + C.mpf(y) ** 2)


def check_binary(name: str, x: np.ndarray, y: np.ndarray, fmt: Any, projection: fe.Projection, seed: int) -> None:
    draws: dict[str, Any] = {}
    words = np.zeros(x.size, np.int64)
    if projection.random_bits:
        words = np.random.Generator(np.random.PCG64(seed)).integers(0, 2**projection.random_bits, x.size)
        draws = {"random_bits": projection.random_bits, "random": words}
    got, flags = getattr(functions, name)(
        x,
        y,
        fmt,
        projection.rounding,
        saturation=projection.saturation,
        nan="max",
        dtype=np.float64,
        flags=True,
        **draws,
    )
    oracle = power if name == "pow" else hypotenuse
    exact = [oracle(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    pairs = list(zip(exact, words.tolist(), strict=True))
    fmt = fe.get_format(fmt)
    expected = [float(reference.round(v, fmt, projection, r, "max")) for v, r in pairs]
    assert_bits(got, np.array(expected), list(zip(x, y, strict=True)), f"{name} {fmt.name} {projection}")
    assert flags.tolist() == [reference.flags(v, fmt, projection, r, "max") for v, r in pairs]


def pairs_of(name: str, dtype: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Operands: moderate and wide ranges, small integers and halves (exact results), values next to 1."""
    g = np.random.Generator(np.random.PCG64(seed))
    with np.errstate(all="ignore"):
        x = np.concatenate(
            [
                abs(g.standard_normal(count)), 2.0 ** g.uniform(-100, 100, count), g.integers(1, 40, count) / 4,
                1 + g.standard_normal(count) * 2.0**-10, -g.integers(1, 40, count).astype(float),
            ]
        ).astype(dtype).astype(np.float64)  # fmt: skip
        y = np.concatenate(
            [
                g.standard_normal(count) * 4, g.standard_normal(count), g.integers(-12, 13, count) / 4,
                g.standard_normal(count) * 100, g.integers(-9, 9, count).astype(float),
            ]
        ).astype(dtype).astype(np.float64)  # fmt: skip
    y[y == 0] = 3
    keep = (x != 0) & (abs(x) != 1)
    return x[keep], y[keep]


@pytest.mark.parametrize("mode", list(fe.Rounding))
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name: str, mode: fe.Rounding) -> None:
    for k, (fmt, dtype) in enumerate(
        [("binary32", np.float32), ("bfloat16", ml_dtypes.bfloat16), ("binary16", np.float16), ("e4m3fn", np.float16)]
    ):
        x, y = pairs_of(name, dtype, 8, 10 + k)
        n = (1, 3, 16, 12)[k] if mode.stochastic else None
        check_binary(name, x, y, fmt, fe.Projection(mode, list(fe.Saturation)[k % 3], n), k)


@pytest.mark.parametrize("name", BINARY)
def test_two_operands_wide_target(name: str) -> None:
    x, y = pairs_of(name, np.float64, 4, 20)
    for mode in ("TiesToEven", "TowardNegative", "ToOdd"):
        check_binary(name, x, y, "binary64", fe.Projection(mode), 0)


@pytest.mark.parametrize("name", BINARY)
def test_scalars_broadcast(name: str) -> None:
    x, y = pairs_of(name, np.float32, 2, 21)
    call = getattr(functions, name)
    grid = call(x[:, None], y[None, :5], "binary32")
    assert grid.shape == (x.size, 5)
    for i in (0, 3, 9):
        assert_bits(grid[i], call(np.float64(x[i]), y[:5], "binary32"))


# Hard cases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(UNARY))
def test_near_ties_and_near_values_of_binary32(name: str) -> None:
    """The operands among 2^16 whose results lie nearest to a binary32 number or to a midpoint of two."""
    g = np.random.Generator(np.random.PCG64(3))
    x = (g.uniform(0.05, 0.999, 1 << 16) * (1 if name in ("asin", "acos") else 6)).astype(np.float32)
    odd = functions_engine._settled(name, [x.astype(np.float64)], 0, False)
    rest = (odd.view(np.uint64) & np.uint64(2**28 - 1)).astype(np.int64)  # above a multiple of half a quantum
    hard = np.argsort(np.minimum(rest, 2**28 - rest))[:6]
    chosen = x[hard]
    assert np.all(np.minimum(rest, 2**28 - rest)[hard] < 2**18)
    fmt = fe.get_format("binary32")
    for mode in ("TiesToEven", "TiesToAway", "TowardPositive", "TowardNegative", "TowardZero", "ToOdd"):
        got = getattr(functions, name)(chosen, fmt, mode)
        expected = [float(reference.round(value(name, v), fmt, fe.Projection(mode))) for v in chosen.tolist()]
        assert_bits(got, np.array(expected, np.float32), chosen, f"{name} {mode}")


@pytest.mark.parametrize("name", sorted(UNARY))
def test_what_the_kernel_leaves_open_is_decided_alike(name: str) -> None:
    """Numbers through mpmath equal the kernel's, wherever the kernel knows; asked for 53 bits it leaves some open."""
    g = np.random.Generator(np.random.PCG64(4))
    x = g.uniform(0.02, 0.98, 40) if name in ("asin", "acos") else g.uniform(0.02, 9, 40)
    odd = functions_engine._settled(name, [x], 0, False)
    numbers = [functions_engine.odd_float(function(name, (Fraction(v),), 53)) for v in x.tolist()]
    assert_bits(odd, np.array(numbers), x, name)


def test_some_elements_are_left_open() -> None:
    x = np.linspace(1, 2, 1 << 16)
    x.flags.writeable = False
    out, pending = np.empty(x.size), np.empty(x.size + 1, np.int64)
    assert 0 < unary_loop("erf")(x, out, pending, np.uint64(0), True) < 2000
    assert unary_loop("erf")(x, out, pending, np.uint64(2**28 - 1), True) == 0


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_binary64_operand(data: st.DataObject) -> None:
    """Any function, operand bits, precision and mode, against the oracle."""
    name = data.draw(st.sampled_from(sorted(UNARY)))
    x = data.draw(st.floats(width=data.draw(st.sampled_from([16, 32, 64])), allow_nan=False, allow_infinity=False))
    if name in ("asin", "acos"):
        x = float(np.clip(x, -1, 1))
    if not inside(name, x):
        return
    p = data.draw(st.integers(1, 24))
    width = data.draw(st.integers(3, 9))
    fmt = fe.Format(name="drawn", k=p + width, p=p, bias=data.draw(st.integers(-300, 600)))
    mode = data.draw(st.sampled_from(list(fe.Rounding)))
    n = data.draw(st.integers(1, 16)) if mode.stochastic else None
    r = data.draw(st.integers(0, 2 ** (n or 1) - 1))
    projection = fe.Projection(mode, data.draw(st.sampled_from(list(fe.Saturation))), n)
    draws = {"random_bits": n, "random": r} if n else {}
    got, flags = getattr(functions, name)(
        np.array([x]), fmt, mode, saturation=projection.saturation, flags=True, **draws
    )
    exact = value(name, x)
    assert_bits(got, np.array([float(reference.round(exact, fmt, projection, r))]), x, name)
    assert int(flags[0]) == reference.flags(exact, fmt, projection, r)


def test_large_arguments_of_the_circle() -> None:
    """Reduction by pi needs a thousand bits of it; 0x1.6ac5b262ca1ffp+849 is nearest to a multiple of pi / 2."""
    x = np.array([float.fromhex("0x1.6ac5b262ca1ffp+849"), 1e22, 1.7976931348623157e308, 2.0**1000, 16367173.0 * 2**72])
    fmt = fe.get_format("binary32")
    for name in ("sin", "cos", "tan"):
        with C.workprec(2400):
            expected = [float(reference.round(value(name, v), fmt)) for v in x.tolist()]
        assert_bits(getattr(functions, name)(x, fmt), np.array(expected), x, name)


def test_exact_results_raise_no_flag_and_round_alike_in_every_mode() -> None:
    for mode in ("TiesToEven", "TowardPositive", "TowardNegative", "TowardZero", "ToOdd"):
        for call, operands, expected in [
            (functions.exp2, (np.arange(-140.0, 120),), 2.0 ** np.arange(-140.0, 120)),
            (functions.log2, (2.0 ** np.arange(-140.0, 120),), np.arange(-140.0, 120)),
            (functions.log10, (10.0 ** np.arange(0.0, 11),), np.arange(0.0, 11)),
            (functions.rsqrt, (4.0 ** np.arange(-60.0, 60),), 2.0 ** -np.arange(-60.0, 60)),
            (functions.pow, (np.arange(1.0, 40), 3.0), np.arange(1.0, 40) ** 3),
            (functions.pow, (np.arange(1.0, 40) ** 4, 0.25), np.arange(1.0, 40)),
            (functions.pow, (np.arange(1.0, 200) ** 2, 0.5), np.arange(1.0, 200)),
            (functions.hypot, (np.arange(1.0, 50) * 20, np.arange(1.0, 50) * 21), np.arange(1.0, 50) * 29),
        ]:
            got, flags = call(*operands, "binary32", mode, flags=True)
            assert_bits(got, expected.astype(np.float64))
            assert not flags.any()


# Faces ----------------------------------------------------------------------------------------------------------------


def test_python_numbers_are_exact_operands() -> None:
    big = Fraction(1, 3)
    with mpmath.workprec(200):
        expected = reference.round(mpmath.exp(mpmath.mpf(1) / 3), fe.get_format("binary32"))
    assert float(functions.exp(big, "binary32")) == float(expected)
    assert functions.pow(Fraction(1, 9), Decimal("0.5"), "binary64") == 1 / 3
    assert functions.log10(10**25, "binary16") == 25
    assert functions.log2(Fraction(1, 2**200), "bfloat16", "TowardPositive") == -200
    assert functions.exp(10**400, "e5m2", saturation="SatFinite") == 57344
    assert functions.sin(10**30, "binary16") == float(
        reference.round(value("sin", 1e30), fe.get_format("binary16"))
    ) or (int(1e30) != 10**30)
    values, flags = functions.asin(1 + Fraction(1, 2**80), "binary16", flags=True)
    assert np.isnan(values)
    assert flags == BORN
    assert functions.tanh(2**70, "binary64", "TowardZero") == np.nextafter(1, 0)
    assert functions.hypot(10**200, Fraction(1, 10**9), "binary64") == 1e200


def test_narrow_sources_through_their_table_equal_the_kernel() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        dtype = np.dtype(dtype)
        codes = (
            np.arange(8192, dtype=f"u{dtype.itemsize}")
            if dtype.itemsize == 2
            else np.tile(np.arange(256, dtype="u1"), 32)
        )
        x = codes.view(dtype).reshape(64, 128)
        with np.errstate(invalid="ignore"):
            doubles = x.astype(np.float64)
        for mode in ("TowardPositive", "StochasticA"):
            draws = {"seed": 1, "stream": 2} if mode == "StochasticA" else {}
            one = functions.gelu(x, "e4m3fn", mode, dtype=np.float64, flags=True, **draws)
            two = functions.gelu(doubles, "e4m3fn", mode, flags=True, **draws)
            assert_bits(one[0], two[0])
            assert one[1].tolist() == two[1].tolist()


def test_random_bits_are_those_of_round() -> None:
    """Same seed, stream and position: the exact result rounded to odd in binary64, given to round, rounds alike."""
    x = np.linspace(-3, 3, 1000)
    odd = functions.exp(x, fe.Format(name="p51", k=61, p=51, bias=511), "ToOdd")
    for mode in ("StochasticA", "StochasticB", "StochasticC"):
        got = functions.exp(x, "binary16", mode, random_bits=16, seed=7, stream=3)
        assert_bits(got, fe.round(odd, "binary16", mode, random_bits=16, seed=7, stream=3))


def test_results_go_where_they_are_told() -> None:
    x = np.array([[0.5, 1.0], [2.0, 3.0]], np.float32)
    assert functions.exp(x, "binary16").dtype == np.float32
    assert functions.reciprocal(x, "binary16").dtype == np.float32
    assert functions.exp(x.astype(np.float16), "e4m3fn").dtype == np.float16
    out = np.empty((2, 2), np.float64)
    assert functions.exp(x, "binary16", out=out) is out
    assert_bits(out, functions.exp(x.astype(np.float64), "binary16"))
    assert isinstance(functions.exp(1.0, "binary16"), np.floating)
    assert functions.exp(np.empty((0, 3)), "binary16").shape == (0, 3)
    assert functions.exp(x[::-1, ::-1], "binary32").tolist() == functions.exp(x, "binary32")[::-1, ::-1].tolist()
    assert functions.exp(x.astype(">f4"), "binary32").tolist() == functions.exp(x, "binary32").tolist()


def test_refusals_say_what_and_where() -> None:
    with pytest.raises(fe.ProjectionError, match=r"NaN at index \(1, 0\), but e2m1fn has no NaN"):
        functions.log(np.array([[1.0], [-1.0]]), "e2m1fn")
    values, flags = functions.log(np.array([[1.0], [-1.0]]), "e2m1fn", nan="zero", flags=True)
    assert values.tolist() == [[0.0], [0.0]]
    assert flags.tolist() == [[NONE], [BORN]]
    with pytest.raises(fe.UnsupportedError, match=r"the shapes do not broadcast: x \(2,\), y \(3,\)"):
        functions.pow(np.ones(2), np.ones(3), "binary16")
    with pytest.raises(fe.UnsupportedError, match="x has dtype complex128"):
        functions.exp(np.ones(2, complex), "binary16")
    with pytest.raises(fe.UnsupportedError, match=r"unknown option among \['saturate'\]; accepted: saturation"):
        functions.exp(1.0, "binary16", saturate=True)
    frozen = np.empty(1)
    frozen.flags.writeable = False
    with pytest.raises(fe.UnsupportedError, match="read-only"):
        functions.exp(np.ones(1), "binary16", out=frozen)


def test_the_users_mpmath_precision_is_left_alone() -> None:
    before = mpmath.mp.prec
    functions.erf(np.linspace(0, 1, 50), "binary64")
    assert mpmath.mp.prec == before


PROGRAM = """
import json, warnings
import numpy as np
from floatemu import functions as f
x = np.array([0.3, -0.7, 1.0, 2.5, -30.0, 1e4, -1e30, 1e-300, 0.0, -0.0, np.inf, -np.inf, np.nan])
result = {}
for name in f.__all__:
    operands = (abs(x), x[::-1]) if name in ("pow", "hypot") else (x,)
    values, flags = getattr(f, name)(*operands, "binary32", "ToOdd", flags=True)
    result[name] = [values.view(np.uint64).tolist(), flags.tolist()]
print(json.dumps(result))
"""


def test_plain_python_and_compiled_kernels_agree() -> None:
    """The text run by the interpreter, JIT disabled, gives the same bits, and no warning."""
    arguments = [sys.executable, "-W", "error", "-c", PROGRAM]
    plain = subprocess.run(arguments, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, check=True)
    here: dict[str, Any] = {}
    exec(PROGRAM.replace("print(json.dumps(result))", ""), here)
    assert json.loads(plain.stdout) == here["result"]


def test_threads_do_not_disturb_each_other() -> None:
    """Elements that mpmath decides, from several threads at different precisions."""
    x = np.linspace(0.5, 2, 40)
    jobs = [(name, fmt) for name in ("exp", "erf", "log") for fmt in ("binary64", "binary32")] * 2
    expected = [getattr(functions, name)(x, fmt) for name, fmt in jobs]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda job: getattr(functions, job[0])(x, job[1]), jobs))
    for one, other in zip(got, expected, strict=True):
        assert_bits(one, other)


def test_pieces_of_large_arrays_are_those_of_small_ones() -> None:
    """Arrays longer than what is handled at a time, with flags, broadcasting and rows that do not divide it."""
    x = np.linspace(-4, 4, 3 * 12345).reshape(3, 12345)
    assert x.size > 2 * functions_engine.PIECE
    for call, operands in [(functions.tanh, (x,)), (functions.pow, (abs(x), np.array([[1.5], [2.0], [-0.5]])))]:
        values, flags = call(*operands, "bfloat16", "TowardPositive", flags=True)
        assert_bits(values, call(*operands, "bfloat16", "TowardPositive"))
        for i in range(3):
            row = [v[i] for v in operands]
            one, raised = call(*row, "bfloat16", "TowardPositive", flags=True)
            assert_bits(values[i], one)
            assert flags[i].tolist() == raised.tolist()
    x[2, 12000] = -1e9
    with pytest.raises(fe.ProjectionError, match=r"NaN at index \(0, 0\), but e2m1fn"):
        functions.log(x, "e2m1fn")
    with pytest.raises(fe.ProjectionError, match=r"NaN at index \(2, 12000\), but e2m1fn"):
        functions.log(abs(x) * np.where(x == -1e9, -1, 1), "e2m1fn")
    drawn = functions.exp(x, "binary16", "StochasticA", seed=5, stream=1)
    assert_bits(drawn[0, :50], functions.exp(x[0, :50], "binary16", "StochasticA", seed=5, stream=1))
    assert drawn[1].tolist() != functions.exp(x[1], "binary16", "StochasticA", seed=5, stream=1).tolist()


@pytest.mark.parametrize("name", ["erf", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("bits", [10, 60, 300])
def test_tails_are_taken_for_their_limits_only_where_no_bit_could_tell(name: str, bits: int) -> None:
    """mpmath, with room for the gap: from the first x that counts as far it is narrower than 2^-bits."""
    reach = {"erf": lambda x: x * x, "gelu": lambda x: x * x / 2, "gelu_tanh": lambda x: x**3 / 10}[name]
    x = next(Fraction(n, 4) for n in range(1, 10**4) if reach(Fraction(n, 4)) > bits + 32)
    limit = Fraction(1) if name == "erf" else x
    found = function(name, (x,), bits)
    number = Fraction(found.significand) * Fraction(2) ** found.quantum
    assert found.sticky
    assert 0 < 1 - number / limit < Fraction(1, 2**bits)
    with mpmath.workprec(20 * bits + 2000):
        z = mpmath.mpf(x.numerator) / x.denominator
        u = mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf(44715) / 10**6 * z**3)
        gap = {
            "erf": mpmath.erfc(z),
            "gelu": mpmath.erfc(z / mpmath.sqrt(2)) / 2,
            "gelu_tanh": 1 / (1 + mpmath.exp(2 * u)),
        }[name]
        assert 0 < gap < mpmath.mpf(2) ** -bits


@pytest.mark.parametrize(
    ("name", "x", "limit"), [("erf", 1e5, 1.0), ("gelu", 1e5, 1e5), ("gelu_tanh", 100.0, 100.0), ("erf", -86.0, -1.0)]
)
def test_far_tails_are_decided_at_once(name: str, x: float, limit: float) -> None:
    """Not by more and more digits: the gap to the limit may need a hundred thousand."""
    face = getattr(fe, name)
    assert face(x, "binary64") == limit
    assert face(x, "binary64", "TOWARD_ZERO") == np.nextafter(limit, 0)
    assert face(x, "binary64", "sa", random_bits=32, seed=1) == limit
