"""Measures on two arrays, at the ends of the range too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import floatemu as fe
from analysis import measures

ARRAYS = arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e6, 1e6))


@given(ARRAYS)
def test_norm_against_math_hypot(x: np.ndarray) -> None:
    assert measures.norm(x) == pytest.approx(math.hypot(*x.tolist()), rel=1e-14, abs=0)


@given(ARRAYS, st.integers(-900, 900))
def test_norm_scales_exactly_by_powers_of_two(x: np.ndarray, power: int) -> None:
    big = np.abs(x)
    x = np.where(big < 1e-6, 0.0, x)  # so that neither end of the range is met
    assert measures.norm(x * 2.0**power) == measures.norm(x) * 2.0**power


def test_norm_at_the_ends_of_the_range() -> None:
    assert measures.norm(np.array([])) == 0.0
    assert measures.norm(np.array([5e-324])) == 5e-324
    assert measures.norm(np.array([1.7e308])) == 1.7e308
    assert measures.norm(np.array([1.0, math.inf])) == math.inf
    assert math.isnan(measures.norm(np.array([1.0, math.nan])))


@pytest.mark.parametrize(
    ("actual", "exact", "expected"),
    [
        ([1.0], [1.0], 0.0),
        ([0.0], [0.0], 0.0),
        ([1.5], [1.0], 0.5),
        ([0.0], [1.0], 1.0),
        ([1.0], [0.0], math.inf),
        ([math.inf], [1.0], math.inf),
        ([math.inf], [math.inf], 0.0),
        ([3.0, 4.0], [0.0, 5.0], math.sqrt(10) / 5),
    ],
)
def test_relative_error(actual: list[float], exact: list[float], expected: float) -> None:
    assert measures.relative_error(np.array(actual), np.array(exact)) == pytest.approx(expected, rel=1e-15, abs=0)
    assert math.isnan(measures.relative_error(np.array([math.nan]), np.array([1.0])))
    assert math.isnan(measures.relative_error(np.array([math.nan]), np.array([0.0])))


def test_tails_show_errors_that_binary64_hides() -> None:
    third = np.array([1.0 / 3.0])
    tail = np.array([2.0**-54 / 3.0])  # 1/3 = 0x1.5555555555555p-2 + 2^-54 / 3
    assert measures.relative_error(third, third, tail) == pytest.approx(2.0**-54, rel=1e-12, abs=0)
    assert measures.relative_error(third, third) == 0.0


def test_bits_and_decibels_are_logarithms_of_the_relative_error() -> None:
    actual, exact = np.array([1.0 + 2.0**-8]), np.array([1.0])
    assert measures.significant_bits(measures.relative_error(actual, exact)) == 8.0
    assert measures.sqnr(actual, exact) == pytest.approx(20 * 8 * math.log10(2), rel=1e-12, abs=0)
    assert measures.significant_bits(0.0) == measures.sqnr(exact, exact) == math.inf
    assert measures.significant_bits(math.inf) == -math.inf
    assert math.isnan(measures.significant_bits(math.nan))


def test_ulp_error_of_a_rounding_to_nearest_is_at_most_half() -> None:
    x = np.random.default_rng(0).normal(size=1000)
    for fmt in ("bfloat16", "e4m3fn", "e5m2"):
        error = measures.ulp_error(fe.round(x, fmt), x, fe.ulp(x, fmt))
        assert 0.49 < error <= 0.5
    assert measures.ulp_error(np.array([]), np.array([]), np.array([])) == 0.0


def test_cosine_norm_ratio_and_zero_fraction() -> None:
    x, y = np.array([3.0, 4.0]), np.array([-4.0, 3.0])
    assert measures.cosine(x, 7 * x) == pytest.approx(1.0, rel=1e-15, abs=0)
    assert measures.cosine(x, y) == pytest.approx(0.0, abs=1e-15)
    assert math.isnan(measures.cosine(x, 0 * x))
    assert measures.norm_ratio(2 * x, x) == 2.0
    assert math.isnan(measures.norm_ratio(0 * x, 0 * x))
    assert measures.norm_ratio(x, 0 * x) == math.inf
    assert measures.zero_fraction(np.array([0.0, -0.0, 1.0, 2.0])) == 0.5
    assert measures.zero_fraction(np.array([])) == 0.0


def test_acceptance_15_sqnr_of_amax_scaled_gaussians() -> None:
    x = np.random.default_rng(0).normal(size=2**16)
    expected = {"e4m3fn": 31.6, "e5m2": 25.6, "bfloat16": 55.6, "binary16": 73.7}
    for name, decibels in expected.items():
        fmt = fe.get_format(name)
        scale = float(fmt.max) / np.abs(x).max() if fmt.k == 8 else 1.0
        assert measures.sqnr(fe.round(x * scale, fmt), x * scale) == pytest.approx(decibels, abs=0.2)
