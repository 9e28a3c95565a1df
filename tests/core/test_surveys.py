"""Surveys beside the same measures one by one: correctly rounded sums, masks and counts of numpy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import floatemu as fe
from floatemu.errors import UnsupportedError
from floatemu.surveys import PIECE, Sample, Scan, Step, scan_all, survey, survey_all

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
    exact[0, :4] = 1.0  # also beside infinities and NaN
    raw[0, :4] = np.resize([np.inf, np.nan, 1.5, -np.inf], 4) if special else raw[0, :4]
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
    below = (np.abs(values) < least) & (values != 0)
    assert (found.subnormal, found.subnormal_new) == (below.sum(), (below & (values != raw)).sum())
    assert found.unfit_inherited == (~np.isfinite(values) & ~np.isfinite(raw) & np.isfinite(exact)).sum()
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
    long = np.arange(PIECE + 5.0)
    odd = np.frombuffer(b"?" + long.tobytes(), np.float64, offset=1)
    assert not odd.flags.aligned
    for given in (odd, np.stack([long, long], axis=1)[:, 0]):
        assert survey(given, long + 1.0, "bf16") == survey(long, long + 1.0, "bf16")
        pair = [Sample(given[:9], long[:9]), Sample(long[:9], given[:9])]
        assert len(set(survey_all(pair))) == 1


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


def _samples(draw: np.random.Generator) -> list[Sample]:
    """Of many shapes, more than one piece holds, each with some of the companions an array can have."""
    shapes = [(), (0,), (1,), (3, 5), (PIECE,), (PIECE - 1, 2), (7,), *((n, 3) for n in range(40))]
    samples = []
    for k, shape in enumerate(shapes):
        raw = draw.standard_normal(shape) * 2.0 ** draw.integers(-30, 12, shape)
        fmt = (None, "bfloat16", "e4m3fn", "binary16")[k % 4]
        values, flags = fe.round_with_flags(raw, fmt or "binary32", dtype=np.float64)
        exact = np.asarray(raw * (1 + 1e-3))
        whole = (
            np.asarray(raw * 2.0**-55),
            np.asarray(raw),
            np.asarray(raw * 2.0**-54),
            np.abs(raw),
            np.asarray(flags),
        )
        rest = [part if draw.random() < 0.6 else None for part in whole]
        samples.append(Sample(np.asarray(values), exact, fmt, *rest))
    return samples


def test_many_surveys_at_once_are_those_one_by_one() -> None:
    samples = _samples(np.random.default_rng(3))
    alone = [survey(**sample._asdict()) for sample in samples]
    assert repr(list(survey_all(samples))) == repr(alone)  # text tells every bit of a number, and NaN equals NaN in it
    assert repr(list(survey_all(iter(samples[::-1])))) == repr(alone[::-1])
    assert list(survey_all([])) == []


def test_scans_equal_masks() -> None:
    draw = np.random.default_rng(5)
    steps, expected = [], []
    for k, shape in enumerate([(4, 6), (), (0, 2), (PIECE + 1,), (300,), (90,), (2, 8, 3), (50,), (6, 6)]):
        drawn = [draw.standard_normal(shape) * 2.0 ** draw.integers(-14, 8, shape) for _ in range(2)]
        drawn = [np.where(draw.random(shape) < 0.1, np.resize(SPECIALS, shape), x) for x in drawn]
        if k > 4:  # now sums underflow, now one operand is absorbed
            drawn = [np.asarray(fe.round(x, "e5m2", dtype=np.float64)) for x in drawn]
        a, b = drawn
        with np.errstate(all="ignore"):
            raw = np.asarray(a - b if k % 2 else a + b)
        values, flags = (np.asarray(x) for x in fe.round_with_flags(raw, "e5m2", dtype=np.float64))
        given = (a, b, bool(k % 2)) if k % 4 else ()
        steps.append(Step(raw, values, flags, *given))
        tiny = (flags & fe.Flag.UNDERFLOW) != 0
        other = -b if k % 2 else b
        kept = ((values == a) & (other != 0) | (values == other) & (a != 0)) & np.isfinite(values) & bool(given)
        first = [int(np.argmax(mask)) if mask.any() else -1 for mask in (tiny, kept)]
        masks = (~np.isfinite(raw), ~np.isfinite(values), tiny, (flags & fe.Flag.FLUSHED) != 0, kept)
        counts = [int(np.count_nonzero(mask)) for mask in masks]
        least = float(np.abs(raw)[tiny].min(initial=np.inf))
        raised = int(np.bitwise_or.reduce(flags, axis=None))
        expected.append(Scan(raised, *counts[:3], first[0], counts[3], counts[4], first[1], least))
    assert list(scan_all(steps)) == expected
    assert sum(scan.underflows > 0 for scan in expected) > 1
    assert sum(scan.absorbed > 0 for scan in expected) > 1
