"""Surveys beside the same measures one by one: correctly rounded sums, masks and counts of numpy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import floatemu as fe
from floatemu.errors import UnsupportedError
from floatemu.surveys import survey

SPECIALS = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324, 1e-310, 1.0, -1.0])


def _norm(x: np.ndarray) -> float:
    """The Euclidean norm: rounded squares, added exactly."""
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    exponent = math.frexp(largest)[1]
    squares = np.ldexp(x, -exponent) ** 2
    root = Fraction(math.sqrt(math.fsum(squares.ravel().tolist()))) * Fraction(2) ** exponent
    return float(root) if root < 2**1024 else math.inf


def _apart(x: np.ndarray, y: np.ndarray, low: np.ndarray | float = 0.0) -> np.ndarray:
    with np.errstate(all="ignore"):
        error = np.where(x == y, 0.0, x - y)
        return np.where(np.isfinite(error), error - low, error)


@pytest.mark.parametrize("fmt", ["binary16", "bfloat16", "e4m3fn", "binary32", "binary64"])
@pytest.mark.parametrize("scale", [1.0, 2.0**-20, 2.0**-600, 2.0**600, 2.0**-1060])
@pytest.mark.parametrize("special", [False, True])
def test_survey_equals_its_parts(fmt: str, scale: float, special: bool) -> None:
    draw = np.random.default_rng(7)
    raw = draw.standard_normal((40, 13)) * 2.0 ** draw.integers(-20, 20, (40, 13)) * scale
    if special:
        raw.ravel()[draw.choice(raw.size, 60, replace=False)] = np.resize(SPECIALS, 60)
    exact = np.where(draw.random(raw.shape) < 0.9, raw * (1 + 1e-3 * draw.standard_normal(raw.shape)), raw)
    tail, rest = (draw.standard_normal(raw.shape) * 2.0**-55 * np.nan_to_num(np.abs(x)) for x in (exact, raw))
    values, flags = fe.round_with_flags(raw, fmt, dtype=np.float64)
    felt = np.abs(np.nan_to_num(raw)) * 0.75
    found = survey(values, exact, fmt, tail=tail, unrounded=raw, rest=rest, flags=flags, sensitivity=felt)
    error = _apart(values, exact, tail)
    inherited = _apart(raw, exact, tail)
    inherited = np.where(np.isfinite(inherited), inherited + rest, inherited)
    expected = (exact, error, inherited, _apart(values, raw, rest), felt)
    for got, array in zip(found[:5], expected):
        assert np.array_equal(got, _norm(array), equal_nan=True)
    with np.errstate(all="ignore"):
        for index, wrong in enumerate(expected[1:4]):
            for place, unit in ((5, fe.ulp(exact, fmt)), (8, np.abs(exact))):
                largest = np.where(wrong == 0, 0.0, np.abs(wrong) / unit).max()
                assert np.array_equal(found[place + index], largest, equal_nan=True)
        ratio = (felt / np.abs(exact))[exact != 0]
    assert found.ratio == ratio[np.isfinite(ratio)].max()
    for got, array in ((found[11:13], values), (found[13:15], exact)):
        magnitude = np.abs(array)
        assert np.array_equal(got[0], magnitude.max(), equal_nan=True)
        assert got[1] == min(magnitude[magnitude > 0].tolist(), default=None)
    new = (values == 0) & (raw != 0)
    assert found.zeros_new == new.sum()
    assert found.zeros_inherited == ((values == 0) & (exact != 0) & ~new).sum()
    least = float(fe.get_format(fmt).min_normal)
    assert found.subnormal == ((np.abs(values) < least) & (values != 0)).sum()
    over, saturated = (flags & fe.Flag.OVERFLOW) != 0, (flags & fe.Flag.SATURATED) != 0
    assert (found.overflowed, found.saturated, found.beyond) == (over.sum(), saturated.sum(), (over | saturated).sum())


def test_ulps_are_nan_exactly_where_the_quotient_is() -> None:
    one = np.array([1.0, 2.0])
    assert math.isnan(survey(np.array([1.0, np.nan]), one, "bf16").ulps)
    assert survey(np.array([1.0, np.inf]), np.array([1.0, np.inf]), "bf16").ulps == 0.0
    assert survey(one, np.array([1.0, 2.0 + 2.0**-7]), "bf16").ulps == 0.5


def test_sums_carry_what_each_addition_loses() -> None:
    # added one by one and rounded, a million squares of 2^-27 vanish beside 1
    x = np.full(10**6 + 1, 2.0**-27)
    x[0] = 1.0
    assert survey(x, x).size == math.sqrt(1 + 10**6 * 2.0**-54) > 1


def test_empty_arrays_and_scalars() -> None:
    empty = np.empty((0, 3))
    found = survey(empty, empty, "bf16")
    assert (found.size, found.error, found.amax, found.amin) == (0.0, 0.0, None, None)
    found = survey(np.array(1.0), np.array(1.5))
    assert (found.size, found.error, found.local, found.ulps) == (1.5, 0.5, 0.0, 0.0)


def test_a_rounded_number_is_surveyed_as_the_array_of_it() -> None:
    value, flags = fe.round_with_flags(np.float64(0.1), "e4m3fn")
    alone = survey(value, np.float64(0.1), "e4m3fn", unrounded=np.float64(0.1), flags=flags)
    arrays = [np.asarray(one) for one in (value, np.float64(0.1), flags)]
    assert alone == survey(arrays[0], arrays[1], "e4m3fn", unrounded=arrays[1], flags=arrays[2])


def test_layout_does_not_matter() -> None:
    x = np.random.default_rng(1).standard_normal((30, 20))
    y = x + 1e-3
    assert survey(x.T.copy().T, y[:, ::1], "bf16") == survey(x, y, "bf16")
    assert survey(np.broadcast_to(x[0], x.shape), y).amax == np.abs(x[0]).max()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"values": [1.0]}, "values is list"),
        ({"values": np.zeros(3)}, r"values is float64 of shape \(3,\); accepted: an array of float64"),
        ({"tail": np.zeros(2, np.float32)}, "tail is float32"),
        ({"flags": np.zeros(2)}, "flags is float64 .* array of uint8"),
        ({"fmt": fe.Format("wide", k=24, p=10)}, "wide has values that binary64 does not hold"),
    ],
)
def test_refusals(given: dict, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        survey(**({"values": np.zeros(2), "exact": np.zeros(2)} | given))
