"""Operations on wide operands, into any width, against exact rationals and the literal oracle."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import assert_bits

import floatemu as fe
from floatemu import reference

FUNCTIONS = {"add": fe.add, "sub": fe.sub, "mul": fe.mul, "div": fe.div, "sqrt": fe.sqrt, "fma": fe.fma}
FUNCTIONS |= {"remainder": fe.remainder, "minimum": fe.minimum, "maximumNumber": fe.maximumNumber}
ARITY = {"sqrt": 1, "fma": 3}
FORMATS = [
    *map(fe.get_format, ("e4m3fn", "e2m1fn", "e8m0fnu", "binary8p3se", "binary8p1uf")),
    *map(fe.get_format, ("binary16", "bfloat16", "tf32", "binary32", "binary64")),
    *(fe.Format(f"p{p}", k=p + 9, p=p, high_nans=2 ** (p - 1) - 1) for p in (2, 3, 23, 25, 26, 27)),
    fe.Format("p52", k=63, p=52, high_nans=2**51 - 1),
    fe.Format("p53", k=60, p=53, high_nans=1),
    fe.Format("flush", k=16, p=8, subnormals=False, high_nans=2**7 - 1),
]


def root(x: Fraction) -> Fraction:
    """The square root, or a rational that no format here tells from it: exact to 2^-1400, with a sticky bit."""
    scale = 2**1400
    scaled = x * scale * scale
    whole = math.isqrt(math.floor(scaled))
    return Fraction(whole, scale) if whole * whole == scaled else Fraction(2 * whole + 1, 2 * scale)


def exactly(name: str, x: tuple[float, ...], mode: fe.Rounding) -> tuple[Any, int]:
    """The exact result as IEEE 754 defines it, and the flags that it raises before any rounding."""
    invalid = int(fe.Flag.INVALID | fe.Flag.NAN_BORN)
    a, b, c = (*x, 1.0, 0.0)[:3] if len(x) < 3 else x
    if name == "sub":
        name, b = "add", -b
    if any(math.isnan(v) for v in x):
        numbers = [v for v in x if not math.isnan(v)]
        return (numbers[0] if numbers and name == "maximumNumber" else math.nan), 0
    if name == "remainder":
        undefined = math.isinf(a) or b == 0
        return (math.nan, invalid) if undefined else (math.remainder(a, b), 0)
    if name in ("minimum", "maximumNumber"):
        order = sorted((a, b), key=lambda v: (v, math.copysign(1, v)))
        return order[name == "maximumNumber"], 0
    negative = math.copysign(1, a) * math.copysign(1, b) < 0
    if name in ("mul", "fma"):
        if {0.0, math.inf} == {min(abs(a), abs(b)), max(abs(a), abs(b))}:
            return math.nan, invalid
        infinite = math.isinf(a) or math.isinf(b)
        product: Any = (-math.inf if negative else math.inf) if infinite else Fraction(a) * Fraction(b)
        if name == "mul":
            return (-0.0 if negative else 0.0) if product == 0 else product, 0
        return total((product, negative), (c, math.copysign(1, c) < 0), mode)
    if name == "add":
        return total((a, math.copysign(1, a) < 0), (b, math.copysign(1, b) < 0), mode)
    if name == "div":
        if (a == 0 and b == 0) or (math.isinf(a) and math.isinf(b)):
            return math.nan, invalid
        if b == 0 or math.isinf(a):
            return (-math.inf if negative else math.inf), 0 if math.isinf(a) else int(fe.Flag.DIVIDE_BY_ZERO)
        if a == 0 or math.isinf(b):
            return (-0.0 if negative else 0.0), 0
        return Fraction(a) / Fraction(b), 0
    if a < 0:
        return math.nan, invalid
    return (a, 0) if a == 0 or math.isinf(a) else (root(Fraction(a)), 0)


def total(x: tuple[Any, bool], y: tuple[Any, bool], mode: fe.Rounding) -> tuple[Any, int]:
    """The sum of two signed terms; a sum of zero has the sign of IEEE 754-2019, 6.3."""
    infinite = [v for v, _ in (x, y) if isinstance(v, float) and math.isinf(v)]
    if infinite:
        if len(set(infinite)) > 1:
            return math.nan, int(fe.Flag.INVALID | fe.Flag.NAN_BORN)
        return infinite[0], 0
    value = Fraction(x[0]) + Fraction(y[0])
    if value:
        return value, 0
    down = mode is fe.Rounding.TOWARD_NEGATIVE
    return -0.0 if (x[1] and y[1]) or (down and (x[1] or y[1])) else 0.0, 0


def operand(draw: random.Random) -> float:
    kind = draw.randrange(6)
    if kind == 0:
        return float(np.uint64(draw.getrandbits(64)).view(np.float64))
    if kind == 1:
        return float(np.float16(draw.gauss(0, 1) * 2 ** draw.randrange(-12, 12)))
    if kind == 2:
        edges = [0.0, 1.0, math.inf, math.nan, 5e-324, 1.7976931348623157e308, 2.0**-1022, 1 + 2**-52]
        return draw.choice(edges) * draw.choice([1, -1])
    if kind == 3:
        return float(np.float32(draw.gauss(0, 1) * 2.0 ** draw.randrange(-30, 30)))
    if kind == 4:
        return math.ldexp(1 + draw.getrandbits(draw.randrange(1, 53)) * 2.0**-52, draw.randrange(-1074, 1020))
    ties = [1, 1.5, 1 + 2**-10, 1 - 2**-11, 1 + 2**-23, 2 - 2**-52]
    return math.ldexp(draw.choice(ties), draw.randrange(-60, 60)) * draw.choice([1, -1])


def operands(draw: random.Random, count: int) -> tuple[float, ...]:
    """Independent operands, or such as nearly cancel."""
    x, y, z = operand(draw), operand(draw), operand(draw)
    if draw.random() < 0.3:
        y = draw.choice([-x, x, -x * (1 + 2.0 ** -draw.randrange(40, 53))])
    if count == 3 and draw.random() < 0.4:
        z = -(x * y)
    return (x, y, z)[:count]


def check(name: str, fmt: fe.Format, projection: fe.Projection, cases: list[tuple[float, ...]], r: list[int]) -> None:
    nan = None if fmt.has_nan else "max"
    options = {"saturation": projection.saturation, "nan": nan, "dtype": np.float64, "flags": True}
    if projection.rounding.stochastic:
        options |= {"random": np.array(r), "random_bits": projection.random_bits}
    columns = [np.array(column) for column in zip(*cases, strict=True)]
    values, flags = FUNCTIONS[name](*columns, fmt, projection.rounding, **options)
    numbers = [np.array([Fraction(v) if math.isfinite(v) and v else v for v in c], object) for c in columns]
    slow_values, slow_flags = FUNCTIONS[name](*numbers, fmt, projection.rounding, **options)
    for i, case in enumerate(cases):
        exact, extra = exactly(name, case, projection.rounding)
        expected = fe.decode(reference.project(exact, fmt, projection, r[i], nan), fmt)
        raised = reference.flags(exact, fmt, projection, r[i], nan) | extra
        if not fmt.has_nan:
            raised &= ~int(fe.Flag.NAN_BORN)  # it is replaced
        what = f"{name}{case} into {fmt.name} by {projection} R={r[i]}"
        assert_bits(values[i : i + 1], np.array([expected]), None, what)
        assert flags[i] == raised, f"flags of {what}: {flags[i]} instead of {raised}"
        assert_bits(slow_values[i : i + 1], np.array([expected]), None, f"{what}, as Fractions")
        assert slow_flags[i] == raised, f"flags of {what}, as Fractions: {slow_flags[i]} instead of {raised}"


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_structured_operands(fmt: fe.Format, name: str) -> None:
    draw = random.Random(f"{fmt.name} {name}")
    with np.errstate(all="ignore"):
        for mode in fe.Rounding:
            n = draw.choice([1, 3, 8, 17, 32]) if mode.stochastic else None
            projection = fe.Projection(mode, draw.choice(list(fe.Saturation)), n)
            cases = [operands(draw, ARITY.get(name, 2)) for _ in range(12)]
            check(name, fmt, projection, cases, [draw.getrandbits(n) if n else 0 for _ in cases])


@given(
    st.sampled_from(sorted(FUNCTIONS)),
    st.sampled_from(FORMATS),
    st.sampled_from(list(fe.Rounding)),
    st.sampled_from(list(fe.Saturation)),
    st.tuples(*[st.floats(width=64)] * 3),
    st.sampled_from([1, 7, 32]),
    st.data(),
)
def test_any_operands(
    name: str, fmt: fe.Format, mode: fe.Rounding, saturation: fe.Saturation, x: Any, n: int, data: st.DataObject
) -> None:
    projection = fe.Projection(mode, saturation, n if mode.stochastic else None)
    r = data.draw(st.integers(0, 2**n - 1)) if mode.stochastic else 0
    check(name, fmt, projection, [x[: ARITY.get(name, 2)]], [r])


def test_trap_04_fma_where_binary64_is_too_narrow() -> None:
    assert fe.fma(17, 19, -(2.0**-60), "bfloat16") == 322


def test_trap_06_fma_in_binary16() -> None:
    assert fe.fma(145 * 2.0**-12, 113 * 2.0**-13, 1.0, "binary16") == 1.0009765625
    codes = fe.decode([0x520B, 0x00E9, 0x2FF6], "binary16")
    assert fe.encode(fe.fma(*codes, "binary16"), "binary16") == 0x3001


def test_trap_07_a_sum_of_two_binary32_numbers_into_23_bits() -> None:
    p23 = fe.Format("p23", k=32, p=23, bias=127, high_nans=2**22 - 1)
    assert fe.add(np.float32(1), np.float32(2**-23 * (1 + 2**-17)), p23) == 1 + 2.0**-22


def test_operands_are_not_rounded_first() -> None:
    assert fe.add(1 + 2**-4, 2.0**-60, "e4m3fn") == 1.125
    assert fe.add(1.0, 2.0**-100, "bfloat16", "TowardPositive") == 1.0078125
    assert fe.add(2**60 + 1, -(2**60), "binary16") == 1.0
    assert fe.add(np.array([2**60 + 1]), np.array([-(2**60)]), "binary16").tolist() == [1.0]


def test_operands_of_every_kind() -> None:
    third = Fraction(1, 3)
    assert fe.add(third, third, "binary64") == 2 / 3
    assert fe.mul([third, 2], 3, "binary16").tolist() == [1.0, 6.0]
    assert fe.sqrt(mpmath.mpf(2), "binary32") == float(np.sqrt(np.float32(2)))
    assert fe.sub(0, 0, "binary16", "down") == 0
    assert np.signbit(fe.sub(0, 0, "binary16", "down"))
    assert fe.div(np.int8(1), np.uint64(3), "binary32") == np.float32(1) / np.float32(3)


def test_shapes_strides_and_dtypes() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    result = fe.add(x.T[::-1], np.array([[10.0, 20.0, 30.0]], np.float16), "binary16")
    assert result.shape == (4, 3)
    assert result.dtype == np.float32
    assert_bits(result, x.T[::-1] + np.array([[10, 20, 30]], np.float32))
    assert fe.add(x.astype(np.float16), np.float16(1), "e4m3fn").dtype == np.float16
    assert fe.add(x, 1, "e4m3fn").dtype == np.float32
    out = x.copy()
    assert fe.mul(out, out, "binary32", out=out) is out
    assert_bits(out, x * x)
    assert fe.add(np.empty((0, 3)), 1.0, "e5m2").shape == (0, 3)
    assert isinstance(fe.add(1.0, 2.0, "e5m2"), np.floating)


def test_random_bits_follow_the_position_in_the_result() -> None:
    x, y = np.full((5, 1), 1.0), np.full(3, 0.03)
    whole = fe.add(x, y, "e4m3fn", "stochastic_b", seed=3, stream=4)
    assert_bits(whole, fe.round(np.full((5, 3), 1.03), "e4m3fn", "stochastic_b", seed=3, stream=4))


def test_bad_input_is_one_clear_error() -> None:
    with pytest.raises(fe.UnsupportedError, match=r"do not broadcast: x \(2,\), y \(3,\)"):
        fe.add([1.0, 2.0], [1.0, 2.0, 3.0], "e4m3fn")
    with pytest.raises(fe.UnsupportedError, match="y has dtype complex128"):
        fe.add(1.0, 1j, "e4m3fn")
    with pytest.raises(fe.UnsupportedError, match=r"saturate.*accepted: saturation"):
        fe.add(1.0, 1.0, "e4m3fn", saturate=True)
    with pytest.raises(fe.ProjectionError, match="NaN at index 1, but e2m1fn has no NaN"):
        fe.div([1.0, 0.0], [1.0, 0.0], "e2m1fn")
    with pytest.raises(fe.ProjectionError, match="needs random bits"):
        fe.add(1.0, 1.0, "e4m3fn", "stochastic_a")
    with pytest.raises(fe.UnsupportedError, match="is not a real number"):
        fe.add(np.array([1.0, None]), 1.0, "e4m3fn")


def test_sub_is_exact_whatever_the_ambient_precision() -> None:
    long = Decimal("1.0625" + "0" * 30 + "1")
    assert fe.sub(0, long, "e4m3fn") == -1.125
    with mpmath.workprec(200):
        wide = mpmath.mpf(1) + mpmath.mpf(2) ** -4 + mpmath.mpf(2) ** -150
    assert fe.sub(0, wide, "e4m3fn") == -1.125
    assert fe.sub(4.0, np.array([1.0], ml_dtypes.float8_e8m0fnu), "binary32").tolist() == [3.0]


@pytest.mark.parametrize("zero", [0, np.array([0]), np.array([0], np.uint8), [0], Decimal(0), Fraction(0)], ids=repr)
def test_sub_of_zeros(zero: Any) -> None:
    assert np.signbit(fe.sub(-0.0, zero, "binary32")).all()
    assert np.signbit(fe.sub(0.0, zero, "binary32", "down")).all()
    assert not np.signbit(fe.sub(0.0, zero, "binary32")).any()
    assert not np.signbit(fe.sub(-0.0, Decimal("-0"), "binary32"))


JUNK = {
    "None": None,
    "list": [None],
    "dict": {},
    "object": object(),
    "text": "one",
    "boolean": [True, 2.5],
    "masked": np.ma.array([1.0], mask=[1]),
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_what_is_no_number_is_refused(junk: Any) -> None:
    for function in (fe.add, fe.sub):
        with pytest.raises(fe.UnsupportedError):
            function(1.0, junk, "e5m2")


def test_a_python_number_adapts_to_the_array_beside_it() -> None:
    x = np.ones(3, np.float32)
    assert fe.mul(x, 2, "bfloat16").dtype == np.float32
    assert fe.mul(2.5, x, "bfloat16").dtype == np.float32
    assert fe.mul(x, 1 / 3, "binary64").dtype == np.float64
    assert fe.add(x, np.arange(3), "bfloat16").dtype == np.float64
    assert fe.add(2**60 + 1, x, "binary64").tolist() == [float(2**60)] * 3


def test_a_nan_that_is_replaced_is_not_born() -> None:
    value, flags = fe.div(0.0, 0.0, "e2m1fn", nan="zero", flags=True)
    assert (value, flags) == (0.0, fe.Flag.INVALID)
