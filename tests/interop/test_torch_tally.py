"""The tally of a rounding against sums and counts of fractions, one element after the other."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from floatemu import UnsupportedError, get_format

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

import floatemu.interop.torch as ft  # noqa: E402
from floatemu.interop.torch.tallies import _by_operations  # noqa: E402


def _norm(values: list[Fraction]) -> float:
    square = sum(value * value for value in values)
    if not square:
        return 0.0
    shift = 2 * ((square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    return math.ldexp(math.sqrt(square * Fraction(2) ** -shift), shift // 2)


def _expected(x: list[float], y: list[float], e: list[float], fmt: Any) -> dict[str, float]:
    largest, rows = float(fmt.max), list(zip(x, y, e, strict=True))
    fine = [tuple(map(Fraction, row)) for row in rows if all(map(math.isfinite, row))]
    sizes = [abs(one) for one in e if math.isfinite(one)]
    return {
        "elements": len(x),
        "nonfinite": sum(not math.isfinite(one) for one in y),
        "nonfinite_exact": sum(not math.isfinite(one) for one in e),
        "overflowed": sum(math.isfinite(a) and not math.isfinite(b) for a, b, _ in rows),
        "saturated": sum(abs(b) == largest and abs(a) > largest for a, b, _ in rows),
        "zeros_exact": sum(one == 0 for one in e),
        "zeros_new": sum(b == 0 and c != 0 for _, b, c in rows),
        "flushed": sum(b == 0 and a != 0 for a, b, _ in rows),
        "subnormal": sum(0 < abs(b) < float(fmt.min_normal) for b in y),
        "amax": max(sizes, default=0.0),
        "amin": min((one for one in sizes if one), default=math.inf),
        "local": _norm([b - a for a, b, _ in fine]),
        "before": _norm([a for a, _, _ in fine]),
        "error": _norm([b - c for _, b, c in fine]),
        "exact": _norm([c for _, _, c in fine]),
        "after": _norm([b for _, b, _ in fine]),
    }


NAN, INF = math.nan, math.inf
SPECIAL = [0.0, -0.0, NAN, INF, -INF, 1e-30, 500.0, -700.0, 448.0, 0.001953125, 0.01, 2.0**-9, 1e-4, 3.0]


def _numbers(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    numbers = random.standard_normal(count) * 2.0 ** random.integers(-14, 12, count)
    numbers[random.integers(0, count, min(count, 20))] = random.choice(SPECIAL, min(count, 20))
    return numbers


CASES = [(n, wide, exact) for n in (1, 63, 512, 1300) for wide in (False, True) for exact in (False, True)]


@pytest.mark.parametrize(("count", "wide", "wide_exact"), CASES)
@pytest.mark.parametrize("saturation", ["SAT_NONE", "SAT_FINITE"])
def test_counts_and_norms_are_those_of_fractions(count: int, wide: bool, wide_exact: bool, saturation: str) -> None:
    fmt = get_format("e4m3fn")
    x = torch.from_numpy(_numbers(count, count)).to(torch.float64 if wide else torch.float32)
    e = torch.from_numpy(_numbers(count, count + 1)).to(torch.float64 if wide_exact else torch.float32)
    e[: count // 2] = x[: count // 2].to(e.dtype)
    y = ft.round(x, fmt, saturation=saturation)
    wanted = _expected(x.tolist(), y.tolist(), e.tolist(), fmt)
    for found in (ft.tally(x, y, e, fmt), _by_operations(x.double(), y.double(), e.double(), 448.0, 2.0**-6)):
        for name, value in wanted.items():
            if isinstance(value, int) or name in ("amax", "amin"):
                assert getattr(found, name) == value, name
            else:
                assert getattr(found, name) == pytest.approx(value, rel=2e-15, abs=0.0), name


def test_tiles_with_and_without_infinities() -> None:
    fmt, fine = get_format("e4m3fn"), torch.linspace(-3.0, 500.0, 600)
    x = torch.cat([fine, torch.tensor([math.inf, math.nan, -0.0, 1e-9]), fine.roll(300)])
    for e in (x.roll(-1), x.roll(600).double()):
        rounded, found = ft.round_with_tally(x, fmt, e)
        wanted = _expected(x.tolist(), rounded.tolist(), e.tolist(), fmt)
        for key, value in wanted.items():
            if isinstance(value, int) or key in ("amax", "amin"):
                assert getattr(found, key) == value, key
            else:
                assert getattr(found, key) == pytest.approx(value, rel=2e-15, abs=0.0), key


@pytest.mark.parametrize("name", ["bfloat16", "binary16", "e4m3fn", "e2m1fn", "binary32"])
def test_words_of_binary32_count_and_sum_as_those_of_binary64(name: str) -> None:
    random = np.random.default_rng(9)
    raw = torch.from_numpy(random.integers(0, 2**32, 3000, dtype=np.uint32).view(np.float32))
    edges = torch.tensor([0.0, -0.0, 2.0**-149, -(2.0**-126), math.inf, -math.inf, math.nan, 3.4028234663852886e38])
    fine = torch.linspace(-3.0, 500.0, 600)  # a whole tile of finite numbers, before others and after them
    mixed = torch.cat([fine, edges.repeat(70), fine])
    for x in (raw, torch.from_numpy(_numbers(1500, 7)).float(), edges.repeat(9), fine, mixed):
        e = x.roll(-1)
        rounded, narrow = ft.round_with_tally(x, name, e, nan="max")
        wide = ft.round_with_tally(x.double(), name, e.double(), nan="max")
        assert rounded.double().numpy().tobytes() == wide[0].numpy().tobytes()
        assert repr(narrow) == repr(wide[1])
        assert repr(ft.tally(x, rounded, e, name)) == repr(ft.tally(x, rounded, e.double(), name)) == repr(narrow)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300], ids=str)
def test_squares_neither_overflow_nor_underflow(scale: float) -> None:
    e = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64) * scale
    for found in (ft.tally(e, 2 * e, e, "binary64"), _by_operations(e, 2 * e, e, 1.0, 1e-307)):
        assert found.exact == pytest.approx(5 * scale, rel=1e-15)
        assert found.error == pytest.approx(5 * scale, rel=1e-15)
        assert found.after == pytest.approx(10 * scale, rel=1e-15)


def test_an_empty_tensor_and_narrow_dtypes() -> None:
    none = torch.empty(0, 3)
    assert ft.tally(none, none, none, "bf16") == (0,) * 9 + (0.0, math.inf) + (0.0,) * 5
    assert _by_operations(*[none.double()] * 3, 1.0, 1.0) == ft.tally(none, none, none, "bf16")
    half = torch.tensor([1.0, 2.0**-20], dtype=torch.float16)
    assert ft.tally(half, half, half.double(), "binary16").subnormal == 1
    bf16 = torch.tensor([1.0, 2.0**-130], dtype=torch.bfloat16)
    assert ft.tally(bf16.double(), bf16, bf16.double(), "bfloat16")[8:] == (1, 1.0, 2.0**-130, 0.0, 1.0, 0.0, 1.0, 1.0)


def test_what_does_not_belong_together_is_refused() -> None:
    x = torch.ones(2)
    with pytest.raises(UnsupportedError, match="give floating tensors of one shape and device"):
        ft.tally(x, x, torch.ones(3), "bf16")
    with pytest.raises(UnsupportedError, match="give floating tensors of one shape and device"):
        ft.tally(x, x, torch.ones(2, dtype=torch.int64), "bf16")


@pytest.mark.parametrize("name", ["bfloat16", "e4m3fn", "e5m2", "binary64", "e8m0fnu", "e2m1fn"])
@pytest.mark.parametrize("rounding", ["rne", "toward_zero", "STOCHASTIC_A"])
def test_one_pass_is_a_rounding_and_a_tally(name: str, rounding: str) -> None:
    x, e = torch.from_numpy(_numbers(900, 3)), torch.from_numpy(_numbers(900, 4)).float()
    random = {"random_bits": 8, "seed": 1, "stream": 2} if rounding.startswith("STOCHASTIC") else {}
    for part in (x, x.reshape(30, 30).t(), x.reshape(30, 30)[:, ::3]):
        exact = e[: part.numel()].reshape(part.shape)
        found = ft.round_with_tally(part, name, exact, rounding, nan="max", **random)
        rounded = ft.round(part, name, rounding, nan="max", dtype=torch.float64, **random)
        assert found[0].numpy().tobytes() == rounded.numpy().tobytes()
        assert repr(found[1]) == repr(ft.tally(part, rounded, exact, name))


def test_transposed_tensors_are_read_as_they_lie() -> None:
    x, e = (torch.from_numpy(_numbers(900, seed)).reshape(3, 10, 30).permute(2, 0, 1) for seed in (5, 6))
    rounded, found = ft.round_with_tally(x, "e5m2", e.clone(), out=(out := torch.empty_strided(x.shape, x.stride())))
    assert rounded is out
    assert torch.equal(out.nan_to_num(7.0), ft.round(x, "e5m2", dtype=torch.float32).nan_to_num(7.0))
    wanted = ft.tally(x, ft.round(x, "e5m2"), e, "e5m2")
    again = ft.round_with_tally(x, "e5m2", e, out=torch.empty_strided(x.shape, x.stride(), dtype=x.dtype))[1]
    assert again[:11] == found[:11] == wanted[:11]
    assert again[11:] == pytest.approx(wanted[11:], rel=2e-15)
