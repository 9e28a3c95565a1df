"""Elementary functions: every value of narrow dtypes, the kernels' bounds, samples of formats, modes and flags."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from function_values import C, inside, value
from oracles import assert_bits

import floatemu as fe
from floatemu import functions, reference
from floatemu._core.elementary import BOTTOM, TOP
from floatemu._core.elementary_loops import UNARY
from floatemu.functions_engine import narrow_table

NAMES = sorted(UNARY)
SOURCES = {"binary16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
ODD = fe.Projection("to_odd", "sat_finite")
BINARY64 = fe.get_format("binary64")


def odd(name: str, x: float) -> float:
    return float(reference.round(value(name, x), BINARY64, ODD))


def check_table(name: str, source: str, start: int, step: int) -> None:
    """A result rounded to odd in binary64 determines the rounding in every mode into every format with p <= 51."""
    dtype = SOURCES[source]
    codes = np.arange(start, 1 << 16, step, dtype=np.uint16)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        x = codes.view(dtype).astype(np.float64)
    chosen = np.array([inside(name, v) for v in x.tolist()])
    expected = np.array([odd(name, v) for v in x[chosen].tolist()])
    assert expected.size > 1000 // step
    assert_bits(narrow_table(name, dtype)[codes][chosen], expected, x[chosen], name)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NAMES)
def test_narrow_values_sample(name: str, source: str) -> None:
    check_table(name, source, 3, 23)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NAMES)
def test_narrow_values_all(name: str, source: str) -> None:
    check_table(name, source, 0, 1)


def operands(name: str, count: int, seed: int, dtype: Any) -> np.ndarray:
    """Ordinary operands: around 1, over some binades, near the ends of the domain, and raw bits."""
    generator = np.random.Generator(np.random.PCG64(seed))
    normal = generator.standard_normal(count)
    spread = np.sign(normal) * 2.0 ** generator.uniform(-30, 11, count)
    ends = np.array([1.0, -1.0])[generator.integers(0, 2, count)] * (1 - 2.0 ** generator.uniform(-24, -1, count))
    near = 1 + generator.standard_normal(count) * 2.0 ** generator.uniform(-24, -1, count)
    word = np.uint32 if np.dtype(dtype).itemsize == 4 else np.uint64
    raw = generator.integers(0, np.iinfo(word).max, count, dtype=word).view(dtype)
    with np.errstate(all="ignore"):
        x = np.concatenate([v.astype(dtype) for v in (normal, spread, ends, near, raw)])
    if name in ("log", "log2", "log10", "rsqrt"):
        x = abs(x)
    return x[[inside(name, v) for v in x.tolist()]]


@pytest.mark.parametrize("name", NAMES)
def test_stated_bounds_hold_with_room(name: str) -> None:
    """The pair lies within half of the bound that the kernel states; the plain text of the kernel is measured."""
    kernel, worst, counted = UNARY[name], 0.0, 0
    for x in operands(name, 200, 5, np.float64).tolist():
        h, low, d = map(float, kernel(x))
        if not 0 < d < float("inf"):
            continue
        counted += 1
        error = abs(C.mpf(h) + C.mpf(low) - value(name, x))
        worst = max(worst, float(error / C.mpf(d)))
        assert abs(low) <= np.spacing(abs(h)) / 2
    assert counted > 150
    assert worst < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_sticky_answers_lie_on_the_right_side(name: str) -> None:
    """Where a kernel says "h and a bit", the value lies strictly between h and its neighbour on that side."""
    kernel = UNARY[name]
    for x in operands(name, 200, 6, np.float64).tolist():
        h, low, d = map(float, kernel(x))
        exact = value(name, x)
        if d < 0:
            assert (abs(exact) > 2.0**960) == (abs(h) > 1)
            assert (abs(exact) < 2.0**-960) == (abs(h) < 1)
            assert (exact > 0) == (h > 0)
        elif d == 0 and abs(h) in (TOP, BOTTOM) and low == 0:
            assert abs(exact) > C.mpf(2) ** 1024 if abs(h) > 1 else abs(exact) < 2.0**-1074
            assert (exact > 0) == (h > 0)
        elif d == 0:
            end = C.mpf(float(np.nextafter(h, np.copysign(np.inf, low))) if low else h)
            assert (exact == h) if low == 0 else (min(end, h) < exact < max(end, h))


DRAWS = {
    "TiesToEven": {}, "TiesToAway": {}, "TowardZero": {}, "TowardPositive": {}, "TowardNegative": {}, "ToOdd": {},
    "StochasticA": {"random_bits": 1}, "StochasticB": {"random_bits": 3}, "StochasticC": {"random_bits": 16},
}  # fmt: skip
TARGETS = ["binary32", "tf32", "bfloat16", "binary16", "e5m2", "e4m3fn", "e4m3fnuz", "e2m1fn", "e8m0fnu", "binary8p3uf"]


@pytest.mark.parametrize("mode", DRAWS)
@pytest.mark.parametrize("name", NAMES)
def test_formats_modes_saturations_flags(name: str, mode: str) -> None:
    rounding = fe.Projection(mode, random_bits=DRAWS[mode].get("random_bits")).rounding
    x = operands(name, 3, 7, np.float32)
    exact = [value(name, v) for v in x.tolist()]
    for k, target in enumerate(TARGETS):
        fmt = fe.get_format(target)
        saturation = list(fe.Saturation)[(k + len(name)) % 3]
        projection = fe.Projection(rounding, saturation, DRAWS[mode].get("random_bits"))
        draws = {**DRAWS[mode]}
        words = np.zeros(x.size, np.int64)
        if rounding.stochastic:
            words = np.random.Generator(np.random.PCG64(k)).integers(0, 2 ** draws["random_bits"], x.size)
            draws["random"] = words
        got, flags = getattr(functions, name)(
            x, fmt, rounding, saturation=saturation, nan="max", dtype=np.float64, flags=True, **draws
        )
        pairs = list(zip(exact, words.tolist(), strict=True))
        expected = [float(reference.round(v, fmt, projection, r, "max")) for v, r in pairs]
        assert_bits(got, np.array(expected), x, f"{name} {target} {mode}")
        assert flags.tolist() == [reference.flags(v, fmt, projection, r, "max") for v, r in pairs]


@pytest.mark.parametrize("name", NAMES)
def test_binary32_and_its_halves(name: str) -> None:
    x = operands(name, 60, 8, np.float32)
    got = getattr(functions, name)(x, "binary32")
    assert got.dtype == np.float32
    fmt = fe.get_format("binary32")
    expected = [float(reference.round(value(name, v), fmt)) for v in x.tolist()]
    assert_bits(got, np.array(expected, np.float32), x, name)


@pytest.mark.parametrize("name", NAMES)
def test_wide_targets(name: str) -> None:
    """p > 24: binary64 and p = 52 go through mpmath, p = 40 through the kernel."""
    x = operands(name, 4, 9, np.float64)
    for p in (25, 40, 52, 53):
        fmt = fe.get_format("binary64") if p == 53 else fe.Format(name=f"p{p}", k=p + 10, p=p, bias=511)
        for mode in ("TiesToEven", "TowardPositive"):
            got = getattr(functions, name)(x, fmt, mode)
            expected = [float(reference.round(value(name, v), fmt, fe.Projection(mode))) for v in x.tolist()]
            assert_bits(got, np.array(expected), x, f"{name} {p} {mode}")
