"""finfo, ulp, nextafter and isrepresentable against the sorted list of a format's values."""

from __future__ import annotations

import bisect
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import floatemu as fe

SMALL = [name for name, fmt in fe.FORMATS.items() if fmt.k <= 8] + [
    "binary8p3se", "binary8p4ue", "binary8p1uf", "binary6p6uf", "binary5p4sf", "binary4p1se",
]  # fmt: skip
CUSTOM = [
    fe.Format("flush", k=8, p=4, subnormals=False, high_nans=7),
    fe.Format("bare", k=7, p=3, infinities=False, signed=False),
]
FORMATS = [fe.get_format(name) for name in SMALL] + CUSTOM


def datums(fmt: fe.Format) -> list[float]:
    """Every value but NaN in order, zero once, infinities included; from the format's own definition."""
    positive = [float(s * Fraction(2) ** q) for s, q in map(fmt.scaled, range(fmt.max_code + 1))]
    if fmt.infinities:
        positive.append(math.inf)
    return sorted({*positive, *((-v for v in positive) if fmt.signed else ())})


def probes(fmt: fe.Format) -> np.ndarray:
    values = np.array([v for v in datums(fmt) if math.isfinite(v)])
    between = [np.nextafter(values, np.inf), np.nextafter(values, -np.inf), (values[1:] + values[:-1]) / 2]
    return np.unique(np.concatenate([values, *between, [-1e300, 1e300, -np.inf, np.inf]]))


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_nextafter_is_the_neighbour_in_the_list(fmt: fe.Format) -> None:
    ordered, x = datums(fmt), probes(fmt)
    up, down = fe.nextafter(x, np.inf, fmt), fe.nextafter(x, -np.inf, fmt)
    for i, value in enumerate(x):
        above = bisect.bisect_right(ordered, value)
        below = bisect.bisect_left(ordered, value)
        expected_up = ordered[min(above, len(ordered) - 1)]
        expected_down = ordered[max(below - 1, 0)]
        if value == np.inf:  # nextafter(x, x) is x, in the format
            expected_up = ordered[-1]
        if value == -np.inf:
            expected_down = ordered[0]
        assert up[i] == expected_up, (value, up[i], expected_up)
        assert down[i] == expected_down, (value, down[i], expected_down)


def test_nextafter_keeps_the_sign_of_a_zero_where_there_is_one() -> None:
    assert np.signbit(fe.nextafter(-(2.0**-9), 0.0, "e4m3fn"))
    assert not np.signbit(fe.nextafter(2.0**-9, 0.0, "e4m3fn"))
    assert not np.signbit(fe.nextafter(-(2.0**-10), 0.0, "e4m3fnuz"))
    assert np.isnan(fe.nextafter(np.nan, 0.0, "e4m3fn"))
    assert np.isnan(fe.nextafter(1.0, np.nan, "e4m3fn"))
    assert fe.nextafter(np.array([[1.0], [2.0]]), np.array([0.0, 9.0]), "e5m2").tolist() == [[0.875, 1.25], [1.75, 2.5]]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_ulp_is_the_gap_above_each_magnitude(fmt: fe.Format) -> None:
    magnitudes = [v for v in datums(fmt) if v >= 0 and math.isfinite(v)]
    for low, high in itertools.pairwise(magnitudes):
        gap = high - low
        if not fmt.zero and low == magnitudes[0]:
            gap = magnitudes[0]
        if fmt.p == 1 and fmt.zero is False:
            gap = low  # a power of two: the quantum of a one-bit significand is the value itself
        if fmt.p == 1 and low > 0:
            gap = low
        assert fe.ulp(low, fmt) == gap
        assert fe.ulp(-low, fmt) == gap
        assert fe.ulp(np.nextafter(high, 0.0), fmt) == gap


def test_ulp_of_special_values() -> None:
    assert np.isnan(fe.ulp([np.inf, -np.inf, np.nan], "binary16")).all()
    assert fe.ulp(0.0, "binary32") == 2.0**-149
    assert fe.ulp(1e30, "binary16") == 2.0 ** (99 - 10)  # as if the exponent went on


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_isrepresentable_is_membership(fmt: fe.Format) -> None:
    ordered, x = set(datums(fmt)), probes(fmt)
    expected = [value in ordered for value in x]
    assert fe.isrepresentable(x, fmt).tolist() == expected
    assert fe.isrepresentable(np.array([-0.0, np.nan]), fmt).tolist() == [fmt.negative_zero, fmt.has_nan]


def test_integers_that_binary64_does_not_hold_are_refused() -> None:
    with pytest.raises(fe.UnsupportedError, match="no binary64 number"):
        fe.ulp(2**53 + 1, "binary16")
    assert fe.ulp(2**53, "binary64") == 2.0
    assert fe.isrepresentable(np.arange(5, dtype=np.int64), "e2m1fn").tolist() == [True] * 5


@pytest.mark.parametrize("name", fe.FORMATS)
def test_finfo_agrees_with_the_values(name: str) -> None:
    fmt, info = fe.get_format(name), fe.finfo(name)
    assert (info.bits, info.precision, info.emin, info.emax) == (fmt.k, fmt.p, fmt.emin, fmt.emax)
    assert info.eps == 2 * info.unit_roundoff
    if fmt.k <= 16:
        finite = fe.values(fmt)
        finite = finite[np.isfinite(finite)]
        assert (info.max, info.min) == (finite.max(), finite.min())
        assert info.smallest_subnormal == finite[finite > 0].min()
        if fmt.p > 1:
            assert fe.nextafter(1.0, 2.0, fmt) - 1 == info.eps


def test_beyond_binary64() -> None:
    wide = fe.Format("wide", k=40, p=25, high_nans=2**24 - 1)
    info = fe.finfo(wide)
    assert isinstance(info.max, Fraction)
    assert info.max == (2 - Fraction(1, 2**24)) * 2**16383
    with pytest.raises(fe.UnsupportedError, match="binary64 does not hold"):
        fe.ulp(1.0, wide)
